"""KD-Crowd (Li, Zheng, Shi, Huang & Chen, "KD-Crowd: a knowledge distillation framework for learning from crowds", Frontiers
of Computer Science 19(1), 2025): a wrapper around any other crowd method.

Crowd methods overfit what their model of the annotators cannot explain. Two networks of different kinds teach each other:

    0  teacher   the base method, trained on the labels                                 -> q, for each training item
    1  student   a fresh network without annotators, trained by a robust learner on
                 distillation(p, q)                                                     -> p, calibrated
    2  final     the base method again, started at the confusion matrices that p implies,
                 trained on its own loss + weight * distillation(h, p)

The distillation loss is the f-mutual information gain (:mod:`lib.losses.distillation`). **Only the paper's abstract was at
hand, which says this much and no more.** The choice of f, the robust learners (:mod:`lib.losses.early_learning`), calibration,
the start of stage 2 and all settings are a reconstruction, not the paper's.

Every stage takes as many epochs as the recipe says. Nothing is chosen by true classes: some labels are kept out of stages 0
and 1, and the student's epoch, both temperatures and, where asked for, both weights are those that explain them best
(:mod:`lib.aggregation.held_out_labels`). The teacher's epoch is the last. Stage 2, whose epochs are scored, uses all labels.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.aggregation.confusion import confusion_error, rows_to_one
from lib.aggregation.held_out_labels import Choice, Chosen, fit_confusion, hide
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.losses.distillation import LOSSES, Distillation
from lib.losses.early_learning import EarlyLearning, exchange, forget_rate
from lib.losses.information import DIVERGENCES
from lib.methods import build
from lib.methods.base import Fitting, MakeBackbone, Method
from lib.methods.ensemble import Ensemble
from lib.networks.predict import as_numpy
from lib.registry import choice

LEARNERS = ("elr", "co-teaching", "early-stopping", "none")  # of the student
ELR_WEIGHTS = (0.0, 1.0, 3.0)  # of early-learning regularization in stage 1, to choose from
WEIGHTS = (0.3, 1.0, 3.0)  # of the distillation in stage 2, to choose from
HELD_OUT = 0.15  # share of the labels that stages 0 and 1 do without
LEAST = 1e-3  # of an entry of the matrices that stage 2 starts at: a logarithm far below is not reached again


@dataclass(frozen=True, eq=False)
class Stage(Chosen):
    """What a stage left: the predictions that it hands on, how they were chosen, and the ``history`` of its training."""

    history: dict[str, list[float]]


class Student(Method):
    """A network that learns from a teacher's predictions and never sees a label.

    Args:
        learner: ``elr``: early-learning regularization; ``co-teaching``: two networks, of which the first predicts;
            ``early-stopping`` and ``none``: the distillation loss alone.
        elr_weight: of the regularization.

    Attributes:
        guide: the loss against the teacher; as the others, to be set before training.
        noise: co-teaching's estimate of the share of wrong targets.
        offers: where each epoch's predictions are offered; None for nowhere.
    """

    guide: Distillation
    noise: float = 0.0
    offers: Choice | None = None

    def __init__(self, backbone: MakeBackbone, crowd: CrowdLabels, learner: str = "elr", elr_weight: float = 1.0) -> None:
        super().__init__(backbone, crowd)
        self.learner, self.elr_weight, self._forget = learner, elr_weight, 0.0
        self.other = backbone() if learner == "co-teaching" else None
        self.early = EarlyLearning(crowd.n_items, crowd.n_classes) if learner == "elr" else None

    def begin_epoch(self, epoch: int, data: TrainingData) -> None:
        self._forget = forget_rate(epoch, self.noise)

    def end_epoch(self, epoch: int, data: TrainingData) -> None:
        if self.offers is not None:
            self.offers.offer(epoch, as_numpy(self.predict_proba, data.x, self))

    def loss(self, batch: Batch) -> Tensor:
        """Mean over items, in nats; for co-teaching the sum over both networks, each of the items that it is given."""
        log_prob, items = F.log_softmax(self.backbone(batch.x), dim=1), batch.items
        if self.other is not None:
            views = log_prob, F.log_softmax(self.other(batch.x), dim=1)
            surprises = (self.guide.surprise(view.detach(), items) for view in views)
            chosen = exchange(*surprises, self._forget)
            return sum(self.guide(view[kept], items[kept]) for view, kept in zip(views, chosen, strict=True))
        loss = self.guide(log_prob, items)
        return loss if self.early is None else loss + self.elr_weight * self.early(log_prob.exp(), items)


class Untrained(NamedTuple):
    """What both stages begin with: labels to learn from, labels that choose an epoch, and networks that nobody has trained."""

    visible: CrowdLabels
    hidden: CrowdLabels
    teacher: Method
    students: list[Student]


class KDCrowd(Ensemble):
    """A base method, trained by the three stages above; it predicts, and judges annotators, as its base does.

    With a ``weight`` of 0 the first stages have nothing to say and are left out: it is then its base, number by number.
    Of a base that has several stages itself, only the last one is guided.

    Args:
        base: the method of teacher and final model; no ensemble (and so not ``ccc``), whose networks have steps of their own.
        base_options: its options; None for its defaults.
        weight: of the distillation in stage 2. None for the one of :data:`WEIGHTS` that the held-out labels choose, at the
            price of one more training without them for each.
        distillation: ``mig``, or a control, everything else equal: ``kl`` (Kullback-Leibler) or ``ce`` (the most probable
            class as a label).
        student_distillation, final_distillation: for stage 1 or 2 alone; None for ``distillation``.
        divergence: of ``mig``: ``kl``, ``pearson`` or ``js``.
        robust: stage 1's learner: ``elr``, ``co-teaching``, ``early-stopping``; or ``none``, which takes the last epoch
            where the others take the one that the held-out labels choose.
        elr_weight: of early-learning regularization. None: the held-out labels choose among students, one for each of
            :data:`ELR_WEIGHTS`.
        warm_confusion: start stage 2 at the matrices implied by stage 1, where the base can; None: if ``weight`` is not 0.

    Attributes:
        stages: after training, the :class:`Stage` of ``teacher`` and ``student``; empty where left out.
        rivals: what the held-out labels say of each weight that was tried, as in :meth:`scores`; empty where none was chosen.
    """

    size = 1

    def __init__(
        self,
        backbone: MakeBackbone,
        crowd: CrowdLabels,
        base: str = "crowdlayer-mw",
        base_options: dict | None = None,
        weight: float | None = 1.0,
        distillation: str = "mig",
        student_distillation: str | None = None,
        final_distillation: str | None = None,
        divergence: str = "kl",
        robust: str = "elr",
        elr_weight: float | None = 1.0,
        warm_confusion: bool | None = None,
    ) -> None:
        for_student, for_final = (given or distillation for given in (student_distillation, final_distillation))
        choice("student_distillation", for_student, LOSSES)
        choice("final_distillation", for_final, LOSSES)
        choice("divergence", divergence, DIVERGENCES)
        choice("robust", robust, LEARNERS)
        for name, value in (("weight", weight), ("elr_weight", elr_weight)):
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must not be negative, or None for a choice, found {value}")
        # The final model first, so that it starts exactly as its base would alone.
        super().__init__(backbone, crowd, base, base_options)
        if isinstance(self.final, Ensemble):
            raise ValueError(f"kd-crowd cannot guide {base!r}, which has training steps of its own; choose another base")
        self.weight, self.divergence = weight, divergence
        self.student_distillation, self.final_distillation = for_student, for_final
        self.warm_confusion = weight != 0 if warm_confusion is None else warm_confusion
        self.guide: Distillation | None = None
        self.stages: dict[str, Stage] = {}
        self.rivals: dict[str, float] = {}
        self._make = functools.partial(build, base, backbone, **(base_options or {}))
        # No part of the final model (so no module of it), and gone when the networks have been trained.
        self._first: Untrained | None = None
        if weight != 0 or self.warm_confusion:
            elr_weights = ELR_WEIGHTS if elr_weight is None and robust == "elr" else (elr_weight or 0.0,)
            visible, hidden = hide(crowd, HELD_OUT, np.random.default_rng(int(torch.randint(2**31, ()))))
            teacher = self._make(visible)
            students = [Student(backbone, crowd, robust, elr) for elr in elr_weights]
            self._first = Untrained(visible, hidden, teacher, students)

    @property
    def final(self) -> Method:
        """The base method of stage 2."""
        return self.members[0]

    def prepare(self, data: TrainingData, fit: Fitting) -> None:
        """Stages 0 and 1, then roles are switched: the student's predictions start and guide the final model."""
        if self._first is not None:
            self._train_first(data, fit)
            if self.weight is None:
                scores = self._compare_weights(data, fit)
                self.weight = max(scores, key=scores.get)
                self.rivals |= {"weight": self.weight} | {f"final_held_out_{tried:g}": scores[tried] for tried in scores}
            self._first = None
            self._switch_roles(self.final, data, self.weight)
        self.final.prepare(data, fit)

    def _train_first(self, data: TrainingData, fit: Fitting) -> None:
        """The teacher gets the visible labels; a student visits the labeled items, without labels. Of several students the
        hidden labels choose one."""
        visible, hidden, teacher, students = self._first
        taught = train_stage(teacher, data.with_crowd(visible), fit, Choice(visible, hidden))
        targets = guide(taught.prob, data, self.student_distillation, self.divergence)
        noise, found = 1 - float(taught.prob[data.labeled].max(axis=1).mean()), {}
        for student in students:
            offers = Choice(visible, hidden)
            student.guide, student.noise, student.offers = targets, noise, None if student.learner == "none" else offers
            found[student.elr_weight] = train_stage(student, data, fit, offers)
        self.stages = {"teacher": taught, "student": max(found.values(), key=lambda stage: stage.score)}
        if len(found) > 1:
            self.rivals = {f"student_held_out_elr_{weight:g}": stage.score for weight, stage in found.items()}

    def _switch_roles(self, final: Method, data: TrainingData, weight: float) -> None:
        """Start and guide a base model by the student's predictions; ``data`` has the labels that it learns from."""
        prob = self.stages["student"].prob
        if self.warm_confusion:
            confusion = rows_to_one(np.maximum(fit_confusion(prob, data.crowd), LEAST))
            final.set_confusion(torch.as_tensor(confusion, dtype=torch.get_default_dtype(), device=data.device))
        if weight > 0:
            self.guide = guide(prob, data, self.final_distillation, self.divergence)
            # In place of the base's own loss, so that whatever else a base does in a step still happens.
            final.loss = functools.partial(guided_loss, final, final.loss, self.guide, weight)

    def _compare_weights(self, data: TrainingData, fit: Fitting) -> dict[float, float]:
        """Train stage 2 on the visible labels with each weight; how well its last epoch explains the hidden ones."""
        visible, hidden, *_ = self._first
        part, scores = data.with_crowd(visible), {}
        for weight in WEIGHTS:
            final = self._make(visible).to(data.device)
            self._switch_roles(final, part, weight)
            scores[weight] = train_stage(final, part, fit, Choice(visible, hidden)).score
        return scores

    def scores(self, data: CrowdDataset) -> dict[str, float]:
        """Of the first stages; each name begins with ``teacher_`` or ``student_``:

        ``test_acc_last``, ``test_acc_best`` and ``test_acc_used`` (after the epoch that was handed on); ``train_acc`` of the
        labeled items; ``epoch``, ``temperature`` and ``held_out`` (mean log-probability of the held-out labels, in nats) of
        what was handed on; ``confusion_error`` of the matrices that its predictions imply.

        And how the student corrects the teacher: ``errors_fixed``, the share of the teacher's wrong items that become right,
        and ``correct_broken``, of its right items that become wrong. After a choice of weights: ``weight``, and what the
        held-out labels say of each, ``final_held_out_`` and ``student_held_out_elr_`` with the weight.
        """
        scored = super().scores(data) | self.rivals
        if not self.stages:
            return scored
        labeled, known = data.crowd.labels_per_item > 0, data.true_confusion
        if known is None and data.y is not None:
            known = data.crowd.true_confusion(data.y.numpy())
        right: dict[str, np.ndarray] = {}
        for name, stage in self.stages.items():
            scored |= {f"{name}_epoch": float(stage.epoch), f"{name}_temperature": stage.temperature}
            if not np.isnan(stage.score):  # a row of the ledger holds numbers only
                scored[f"{name}_held_out"] = stage.score
            if test := stage.history.get("test_acc"):
                parts = {"last": test[-1], "best": max(test), "used": test[stage.epoch]}
                scored |= {f"{name}_test_acc_{part}": value for part, value in parts.items()}
            if data.y is not None:
                right[name] = (stage.prob.argmax(axis=1) == data.y.numpy())[labeled]
                scored[f"{name}_train_acc"] = float(right[name].mean())
            if known is not None:
                scored[f"{name}_confusion_error"] = confusion_error(fit_confusion(stage.prob, data.crowd), known)
        if data.y is not None:
            teacher, student = right["teacher"], right["student"]
            changed = {"errors_fixed": student[~teacher], "correct_broken": ~student[teacher]}
            scored |= {name: float(items.mean()) for name, items in changed.items() if len(items)}
        return scored


def train_stage(method: Method, data: TrainingData, fit: Fitting, offers: Choice) -> Stage:
    """Train a method, its own first stages included, on the labels of ``data`` alone, and hand on the best of its offers, or
    the last epoch's predictions if it makes none. ``fit`` is what :meth:`lib.methods.base.Method.prepare` is given."""
    fit = functools.partial(fit, data=data)
    method.prepare(data, fit)
    history = fit(method)
    if offers.best is None:
        offers.offer(len(history["loss"]) - 1, as_numpy(method.predict_proba, data.x, method))
    return Stage(**vars(offers.best), history=history)


def guide(prob: np.ndarray, data: TrainingData, loss: str, divergence: str) -> Distillation:
    """The loss against ``[items, classes]`` predictions, on the data's device; labeled items are its negatives."""
    teacher = torch.as_tensor(prob, dtype=torch.get_default_dtype(), device=data.device)
    return Distillation(teacher, torch.as_tensor(data.labeled, device=data.device), loss, divergence)


def guided_loss(base: Method, own_loss: Callable[[Batch], Tensor], guide: Distillation, weight: float, batch: Batch) -> Tensor:
    """A base's own loss plus ``weight`` times the distillation, in nats, from one pass through the network where the base
    predicts by it."""
    passes = []
    with base.backbone.head.register_forward_hook(lambda module, inputs, output: passes.append(output)):
        loss = own_loss(batch)
    if passes and type(base).predict_proba is Method.predict_proba:
        log_prob = F.log_softmax(passes[-1], dim=1)
    else:
        prob = base.predict_proba(batch.x)
        log_prob = prob.clamp_min(torch.finfo(prob.dtype).tiny).log()
    return loss + weight * guide(log_prob, batch.items)
