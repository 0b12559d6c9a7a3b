"""The first stages of KD-Crowd: a teacher that learns from labels, and a student that learns from the teacher.

See :mod:`lib.methods.kd_crowd` for the whole, and for what of it is a reconstruction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.aggregation import held_out_labels
from lib.aggregation.confusion import confusion_error
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.losses import early_learning
from lib.losses.distillation import Distillation
from lib.methods.base import Fitting, MakeBackbone, Method
from lib.networks.predict import as_numpy

LEARNERS = ("elr", "co-teaching", "early-stopping", "none")
ELR_WEIGHTS = (0.0, 1.0, 3.0)  # to choose from
HELD_OUT = 0.15  # share of the labels that both stages do without


@dataclass(frozen=True, eq=False)
class Stage(held_out_labels.Chosen):
    """What a stage left: the predictions that it hands on, and how they were chosen.

    Attributes:
        history: of the stage's training, by epoch.
        rivals: score by weight of the regularization, where the stage was run with several.
    """

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

    guide: Distillation
    noise: float = 0.0

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, learner: str = "elr", elr_weight: float = 1.0) -> None:
        super().__init__(backbone, crowd)
        self.learner, self.elr_weight, self._forget = learner, elr_weight, 0.0
        self.other = backbone() if learner == "co-teaching" else None
        self.early = early_learning.EarlyLearning(crowd.n_items, crowd.n_classes) if learner == "elr" else None

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        self._forget = early_learning.forget_rate(epoch, self.noise)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats; for co-teaching the sum over both networks, each of the items that it is given."""
        log_prob, items = F.log_softmax(self.backbone(batch.x), dim=1), batch.items
        if self.other is not None:
            views = log_prob, F.log_softmax(self.other(batch.x), dim=1)
            surprises = (self.guide.surprise(view.detach(), items) for view in views)
            chosen = early_learning.exchange(*surprises, self._forget)
            return sum(self.guide(view[kept], items[kept]) for view, kept in zip(views, chosen, strict=True))
        loss = self.guide(log_prob, items)
        return loss if self.early is None else loss + self.elr_weight * self.early(log_prob.exp(), items)


class FirstStages:
    """Both stages, ready to be run once. Weights, and which labels are hidden, come from torch's global generator.

    ``build`` makes an untrained teacher for some labels. There is a student for each of the ``elr_weights``, with one of
    :data:`LEARNERS` and a loss as of :class:`lib.losses.distillation.Distillation`; of several the held-out labels choose one.
    """

    def __init__(
        self,
        build: Callable[[CrowdLabels], Method],
        backbone: MakeBackbone,
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
        """Train ``teacher`` and ``student``, given what :meth:`lib.methods.base.Method.prepare` is given. The teacher gets the
        visible labels; the student visits the labeled items, without labels."""
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
        if len(stages) == 1:
            return {"teacher": teacher, "student": stages.popitem()[1]}
        best = max(stages.values(), key=lambda stage: stage.score)
        return {"teacher": teacher, "student": replace(best, rivals={weight: stages[weight].score for weight in stages})}

    def _train(self, method: Method, data: TrainingData, fit: Fitting, every_epoch: bool) -> Stage:
        """Train, and hand on the predictions of the last epoch or of the one that explains the hidden labels best."""
        choice = held_out_labels.Choice(self.visible, self.hidden)

        def offer(epoch: int, data: TrainingData) -> None:
            choice.offer(epoch, as_numpy(method.predict_proba, data.x, method))

        if every_epoch:
            method.end_epoch = offer  # a student has nothing of its own to do then
        history = fit(method)
        if not every_epoch:
            offer(len(history["loss"]) - 1, data)
        return Stage(**vars(choice.best), history=history)


def guide(prob: np.ndarray, data: TrainingData, loss: str, divergence: str) -> Distillation:
    """The loss against ``[items, classes]`` predictions, on the data's device; labeled items are its negatives."""
    teacher = torch.as_tensor(prob, dtype=torch.get_default_dtype(), device=data.device)
    return Distillation(teacher, torch.as_tensor(data.labeled, device=data.device), loss, divergence)


def scores(stages: dict[str, Stage], data: CrowdDataset) -> dict[str, float]:
    """What the stages reached (if there were any), see :meth:`lib.methods.kd_crowd.KDCrowd.scores`; ``data`` has the truth, as
    far as it is known, which is used here alone."""
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
    if right:
        teacher, student = right["teacher"], right["student"]
        changed = {"errors_fixed": student[~teacher], "correct_broken": ~student[teacher]}
        scored |= {name: float(items.mean()) for name, items in changed.items() if len(items)}
    return scored
