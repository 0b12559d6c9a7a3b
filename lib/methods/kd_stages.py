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
from lib.aggregation.dawid_skene import e_step
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch
from lib.losses import early_learning
from lib.losses.distillation import DIVERGENCES, LOSSES, Distillation
from lib.methods.base import Method
from lib.networks import Backbone

if TYPE_CHECKING:
    from lib.datasets.batches import TrainingData
    from lib.datasets.kinds import CrowdDataset

Fitting = Callable[..., dict[str, list[float]]]

LEARNERS = ("elr", "co-teaching", "early-stopping", "none")
OUTPUTS = ("classifier", "posterior")
TEACHER_EPOCHS = ("last", "held-out")
ELR_WEIGHTS = (0.0, 1.0, 3.0)  # to choose from


@dataclass(frozen=True)
class Plan:
    """Settings of stages 0 and 1; their meaning and defaults stand in :class:`lib.methods.kd_crowd.KDCrowd`.

    Raises:
        ValueError: an option outside its range.
    """

    distillation: str
    divergence: str
    learner: str
    elr_weight: float | None
    elr_momentum: float
    teacher_epochs: int | None
    student_epochs: int | None
    teacher_output: str
    teacher_epoch: str
    teacher_temperature: float | None
    student_temperature: float | None
    held_out: float

    def __post_init__(self) -> None:
        known = {
            "distillation": LOSSES,
            "divergence": DIVERGENCES,
            "learner": LEARNERS,
            "teacher_output": OUTPUTS,
            "teacher_epoch": TEACHER_EPOCHS,
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                shown = "robust" if name == "learner" else name
                raise ValueError(f"{shown} must be one of {', '.join(values)}, found {getattr(self, name)!r}")
        if self.elr_weight is not None and not self.elr_weight >= 0:
            raise ValueError(f"elr_weight must not be negative, or None for a choice, found {self.elr_weight}")
        for name in ("teacher_temperature", "student_temperature"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, or None for a choice, found {value}")
        if self.held_out == 0 and (self.learner == "early-stopping" or self.teacher_epoch == "held-out"):
            raise ValueError("an epoch is chosen by held-out labels: held_out must be above 0, found 0")
        if self.held_out == 0 and self.elr_weight is None:
            raise ValueError("a weight is chosen by held-out labels: held_out must be above 0, found 0")

    @property
    def elr_weights(self) -> tuple[float, ...]:
        """Those that students are trained with; of several the held-out labels choose one."""
        if self.elr_weight is not None or self.learner != "elr":
            return (self.elr_weight or 0.0,)
        return ELR_WEIGHTS

    def choice(self, stage: str, visible: CrowdLabels, hidden: CrowdLabels) -> held_out_labels.Choice:
        """What keeps the best of a stage's epochs and temperatures."""
        given = self.teacher_temperature if stage == "teacher" else self.student_temperature
        return held_out_labels.Choice(visible, hidden, held_out_labels.TEMPERATURES if given is None else (given,))

    def epochs(self, stage: str) -> dict[str, int]:
        """The change of the recipe."""
        epochs = self.teacher_epochs if stage == "teacher" else self.student_epochs
        return {} if epochs is None else {"epochs": epochs}


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
        elr_weight, elr_momentum: of the regularization.

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
        elr_momentum: float = 0.7,
    ) -> None:
        super().__init__(backbone, crowd)
        self.other = backbone() if learner == "co-teaching" else None
        self.early = early_learning.EarlyLearning(crowd.n_items, crowd.n_classes, elr_momentum) if learner == "elr" else None
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


class Teaching:
    """Both stages, ready to be run once.

    Args:
        plan: the settings.
        build: makes an untrained teacher for some labels.
        backbone: makes the student's network.
        crowd: all labels.

    Weights, and which labels are hidden, come from torch's global generator.
    """

    def __init__(
        self, plan: Plan, build: Callable[[CrowdLabels], Method], backbone: Callable[[], Backbone], crowd: CrowdLabels
    ) -> None:
        generator = np.random.default_rng(int(torch.randint(2**31, ())))
        self.plan = plan
        self.visible, self.hidden = held_out_labels.hide(crowd, plan.held_out, generator)
        self.teacher = build(self.visible)
        students = [Student(backbone, crowd, plan.learner, weight, plan.elr_momentum) for weight in plan.elr_weights]
        self.student, self.rivals = students[0], students[1:]

    def run(self, data: TrainingData, fit: Fitting) -> dict[str, Stage]:
        """Train teacher and student.

        Args:
            data: with all labels. The teacher gets the visible ones; the student visits the labeled items, without labels.
            fit: as :meth:`lib.methods.base.Method.prepare` gets it.

        Returns:
            ``teacher`` and ``student``.
        """
        part, plan = data.with_crowd(self.visible), self.plan
        # The teacher's own first stages must not see the hidden labels either.
        fit_part = functools.partial(fit, data=part)
        self.teacher.prepare(part, fit_part)
        teacher = self._train(self.teacher, "teacher", part, fit_part, plan.teacher_epoch == "held-out")
        targets = guide(teacher.prob, data, plan.distillation, plan.divergence)
        found = {}
        for student in (self.student, *self.rivals):
            student.guide = targets
            student.noise = 1 - float(teacher.prob[data.labeled].max(axis=1).mean())
            fit_student = functools.partial(fit, data=data)
            found[student.elr_weight] = self._train(student, "student", data, fit_student, plan.learner != "none")
        best = max(found.values(), key=lambda stage: stage.score) if self.rivals else found[self.student.elr_weight]
        rivals = {weight: stage.score for weight, stage in found.items()} if self.rivals else {}
        return {"teacher": teacher, "student": replace(best, rivals=rivals)}

    def _train(self, method: Method, stage: str, data: TrainingData, fit: Fitting, every_epoch: bool) -> Stage:
        """Train, and hand on the predictions of the last epoch or of the one that explains the hidden labels best."""
        choice = self.plan.choice(stage, self.visible, self.hidden)
        if every_epoch:
            own = method.end_epoch

            def end_epoch(epoch: int, data: TrainingData) -> None:
                own(epoch, data)
                choice.offer(epoch, self._predict(method, data))

            method.end_epoch = end_epoch
        history = fit(method, **self.plan.epochs(stage))
        if not every_epoch:
            choice.offer(len(history["loss"]) - 1, self._predict(method, data))
        best = choice.best
        return Stage(best.prob, best.temperature, best.epoch, best.score, history)

    def _predict(self, method: Method, data: TrainingData) -> np.ndarray:
        prob = data.predict(method.predict_proba, method).double().cpu().numpy()
        if isinstance(method, Student) or self.plan.teacher_output == "classifier":
            return prob
        log_prob = np.log(np.maximum(prob, np.finfo(np.float32).tiny))
        return e_step(log_prob, method.confusion().double().cpu().numpy(), self.visible)[0]


def guide(prob: np.ndarray, data: TrainingData, loss: str, divergence: str) -> Distillation:
    """The loss against predictions of the training items, on the data's device; labeled items are its negatives."""
    teacher = torch.as_tensor(prob, dtype=torch.get_default_dtype(), device=data.device)
    return Distillation(teacher, torch.as_tensor(data.labeled, device=data.device), loss, divergence)


def scores(stages: dict[str, Stage], data: CrowdDataset) -> dict[str, float]:
    """What the stages reached, see :meth:`lib.methods.kd_crowd.KDCrowd.scores`; truth is used here alone.

    Args:
        stages: from :meth:`Teaching.run`, or none.
        data: with the truth, as far as it is known.
    """
    found: dict[str, float] = {}
    right: dict[str, np.ndarray] = {}
    labeled = data.crowd.labels_per_item > 0
    for name, stage in stages.items():
        found |= {f"{name}_epoch": float(stage.epoch), f"{name}_temperature": stage.temperature}
        found |= {f"{name}_held_out_elr_{weight:g}": score for weight, score in stage.rivals.items()}
        if not np.isnan(stage.score):  # a row of the ledger holds numbers only
            found[f"{name}_held_out"] = stage.score
        if test := stage.history.get("test_acc"):
            parts = {"last": test[-1], "best": max(test), "used": test[stage.epoch]}
            found |= {f"{name}_test_acc_{part}": value for part, value in parts.items()}
        known = data.true_confusion
        if data.y is not None:
            known = data.crowd.true_confusion(data.y.numpy()) if known is None else known
            right[name] = (stage.prob.argmax(axis=1) == data.y.numpy())[labeled]
            found[f"{name}_train_acc"] = float(right[name].mean())
        if known is not None:
            implied = held_out_labels.fit_confusion(stage.prob, data.crowd)
            found[f"{name}_confusion_error"] = confusion_error(implied, known)
    return found | (corrections(right["teacher"], right["student"]) if right else {})


def corrections(teacher: np.ndarray, student: np.ndarray) -> dict[str, float]:
    """How the student changes what the teacher says.

    Args:
        teacher, student: ``[items]`` bool, whether each is right.

    Returns:
        ``errors_fixed``: share of the teacher's wrong items that become right; ``correct_broken``: share of its right items
        that become wrong. Either is left out where there are no such items.
    """
    found = {}
    if not teacher.all():
        found["errors_fixed"] = float(student[~teacher].mean())
    if teacher.any():
        found["correct_broken"] = float((~student[teacher]).mean())
    return found
