"""The first stages of KD-Crowd: a teacher that learns from labels, and a student that learns from the teacher.

See :mod:`lib.methods.kd_crowd` for the whole, and for what of it is a reconstruction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.aggregation import held_out_labels
from lib.aggregation.confusion import confusion_error
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses import early_learning
from lib.losses.distillation import Distillation
from lib.methods.base import Method
from lib.networks import Backbone

if TYPE_CHECKING:
    from lib.datasets.batches import TrainingData
    from lib.datasets.kinds import CrowdDataset

Fitting = Callable[..., dict[str, list[float]]]

LEARNERS = ("elr", "co-teaching", "early-stopping", "none")
ELR_WEIGHTS = (0.0, 1.0, 3.0)  # to choose from
HELD_OUT = 0.15  # share of the labels that both stages do without


@dataclass(frozen=True, eq=False)
class Stage:
    """What a stage left.

    Attributes:
        prob: ``[items, classes]`` float64 predictions of all training items, at the temperature at which they were handed on.
        temperature, epoch, score: how they were chosen, see :class:`lib.aggregation.held_out_labels.Chosen`.
        history: of the stage's training, by epoch.
        rivals: score by weight of the regularization, where the stage was run with several.
    """

    prob: np.ndarray
    temperature: float
    epoch: int
    score: float
    history: dict[str, list[float]]
    rivals: dict[float, float] = field(default_factory=dict)


class Student(Method):
    """A network that learns from a teacher's predictions and never sees a label.

    Args:
        learner: ``elr``: early-learning regularization; ``co-teaching``: two networks, of which the first predicts;
            ``early-stopping`` and ``none``: the distillation loss alone.
        elr_weight: of the regularization.

    Attributes:
        guide: the loss against the teacher; to be set before training.
        noise: co-teaching's estimate of the share of wrong targets; to be set before training.
    """

    def __init__(
        self,
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        learner: str = "elr",
        elr_weight: float = 1.0,
    ) -> None:
        super().__init__(backbone, crowd)
        self.learner = learner
        self.other = backbone() if learner == "co-teaching" else None
        self.early = early_learning.EarlyLearning(crowd.n_items, crowd.n_classes) if learner == "elr" else None
        self.elr_weight, self.noise, self._forget = elr_weight, 0.0, 0.0
        self.guide: Distillation | None = None

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        self._forget = early_learning.forget_rate(epoch, self.noise)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats; for co-teaching the sum over both networks, each of the items that it is given."""
        log_prob = F.log_softmax(self.backbone(batch.x), dim=1)
        if self.other is not None:
            return self._co_teaching((log_prob, F.log_softmax(self.other(batch.x), dim=1)), batch.items)
        loss = self.guide(log_prob, batch.items)
        return loss if self.early is None else loss + self.elr_weight * self.early(log_prob.exp(), batch.items)

    def _co_teaching(self, views: tuple[Tensor, Tensor], items: Tensor) -> Tensor:
        surprises = (self.guide.surprise(log_prob.detach(), items) for log_prob in views)
        chosen = early_learning.exchange(*surprises, self._forget)
        return sum(self.guide(log_prob[kept], items[kept]) for log_prob, kept in zip(views, chosen, strict=True))


class FirstStages:
    """Both stages, ready to be run once.

    Args:
        build: makes an untrained teacher for some labels.
        backbone: makes the students' networks.
        crowd: all labels.
        learner: of the students, one of :data:`LEARNERS`.
        elr_weights: one for each student; of several students the held-out labels choose one.
        distillation, divergence: of the students' loss, see :class:`lib.losses.distillation.Distillation`.

    Weights, and which labels are hidden, come from torch's global generator.
    """

    def __init__(
        self,
        build: Callable[[CrowdLabels], Method],
        backbone: Callable[[], Backbone],
        crowd: CrowdLabels,
        learner: str,
        elr_weights: tuple[float, ...],
        distillation: str,
        divergence: str,
    ) -> None:
        generator = np.random.default_rng(int(torch.randint(2**31, ())))
        self.visible, self.hidden = held_out_labels.hide(crowd, HELD_OUT, generator)
        self.teacher = build(self.visible)
        self.students = [Student(backbone, crowd, learner, weight) for weight in elr_weights]
        self.distillation, self.divergence = distillation, divergence

    def run(self, data: TrainingData, fit: Fitting) -> dict[str, Stage]:
        """Train teacher and student.

        Args:
            data: with all labels. The teacher gets the visible ones; the student visits the labeled items, without labels.
            fit: as :meth:`lib.methods.base.Method.prepare` gets it.

        Returns:
            ``teacher`` and ``student``.
        """
        part = data.with_crowd(self.visible)
        # The teacher's own first stages must not see the hidden labels either.
        fit_part = functools.partial(fit, data=part)
        self.teacher.prepare(part, fit_part)
        teacher = self._train(self.teacher, part, fit_part, every_epoch=False)
        targets = guide(teacher.prob, data, self.distillation, self.divergence)
        stages = {}
        for student in self.students:
            student.guide = targets
            student.noise = 1 - float(teacher.prob[data.labeled].max(axis=1).mean())
            fit_student = functools.partial(fit, data=data)
            stages[student.elr_weight] = self._train(student, data, fit_student, every_epoch=student.learner != "none")
        rivals = {weight: stage.score for weight, stage in stages.items()} if len(stages) > 1 else {}
        best = max(stages.values(), key=lambda stage: stage.score) if rivals else stages[self.students[0].elr_weight]
        return {"teacher": teacher, "student": replace(best, rivals=rivals)}

    def _train(self, method: Method, data: TrainingData, fit: Fitting, every_epoch: bool) -> Stage:
        """Train, and hand on the predictions of the last epoch or of the one that explains the hidden labels best."""
        choice = held_out_labels.Choice(self.visible, self.hidden)
        if every_epoch:
            own = method.end_epoch

            def end_epoch(epoch: int, data: TrainingData) -> None:
                own(epoch, data)
                choice.offer(epoch, self._predict(method, data))

            method.end_epoch = end_epoch
        history = fit(method)
        if not every_epoch:
            choice.offer(len(history["loss"]) - 1, self._predict(method, data))
        best = choice.best
        return Stage(best.prob, best.temperature, best.epoch, best.score, history)

    def _predict(self, method: Method, data: TrainingData) -> np.ndarray:
        return data.predict(method.predict_proba, method).double().cpu().numpy()


def guide(prob: np.ndarray, data: TrainingData, loss: str, divergence: str) -> Distillation:
    """The loss against predictions of the training items, on the data's device; labeled items are its negatives."""
    teacher = torch.as_tensor(prob, dtype=torch.get_default_dtype(), device=data.device)
    return Distillation(teacher, torch.as_tensor(data.labeled, device=data.device), loss, divergence)


def scores(stages: dict[str, Stage], data: CrowdDataset) -> dict[str, float]:
    """What the stages reached, see :meth:`lib.methods.kd_crowd.KDCrowd.scores`; truth is used here alone.

    Args:
        stages: from :meth:`FirstStages.run`, or none.
        data: with the truth, as far as it is known.
    """
    scored: dict[str, float] = {}
    right: dict[str, np.ndarray] = {}
    labeled = data.crowd.labels_per_item > 0
    for name, stage in stages.items():
        scored |= {f"{name}_epoch": float(stage.epoch), f"{name}_temperature": stage.temperature}
        scored |= {f"{name}_held_out_elr_{weight:g}": score for weight, score in stage.rivals.items()}
        if not np.isnan(stage.score):  # a row of the ledger holds numbers only
            scored[f"{name}_held_out"] = stage.score
        if test := stage.history.get("test_acc"):
            parts = {"last": test[-1], "best": max(test), "used": test[stage.epoch]}
            scored |= {f"{name}_test_acc_{part}": value for part, value in parts.items()}
        known = data.true_confusion
        if data.y is not None:
            known = data.crowd.true_confusion(data.y.numpy()) if known is None else known
            right[name] = (stage.prob.argmax(axis=1) == data.y.numpy())[labeled]
            scored[f"{name}_train_acc"] = float(right[name].mean())
        if known is not None:
            implied = held_out_labels.fit_confusion(stage.prob, data.crowd)
            scored[f"{name}_confusion_error"] = confusion_error(implied, known)
    return scored | (corrections(right["teacher"], right["student"]) if right else {})


def corrections(teacher: np.ndarray, student: np.ndarray) -> dict[str, float]:
    """How the student changes what the teacher says.

    Args:
        teacher, student: ``[items]`` bool, whether each is right.

    Returns:
        ``errors_fixed``: share of the teacher's wrong items that become right; ``correct_broken``: share of its right items
        that become wrong. Either is left out where there are no such items.
    """
    shares = {}
    if not teacher.all():
        shares["errors_fixed"] = float(student[~teacher].mean())
    if teacher.any():
        shares["correct_broken"] = float((~student[teacher]).mean())
    return shares
