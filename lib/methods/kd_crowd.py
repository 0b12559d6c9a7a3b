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

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.aggregation.held_out_labels import Choice, fit_confusion
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import Batch, TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.losses.distillation import LOSSES, Distillation
from lib.losses.information import DIVERGENCES
from lib.methods import build, kd_stages
from lib.methods.base import Fitting, MakeBackbone, Method
from lib.methods.ensemble import Ensemble
from lib.networks.predict import as_numpy
from lib.registry import choice

WEIGHTS = (0.3, 1.0, 3.0)  # of the distillation in stage 2, to choose from
LEAST = 1e-3  # of an entry of the matrices that stage 2 starts at: a logarithm far below is not reached again


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
            :data:`lib.methods.kd_stages.ELR_WEIGHTS`.
        warm_confusion: start stage 2 at the matrices implied by stage 1, where the base can; None: if ``weight`` is not 0.

    Attributes:
        stages: after training, the :class:`lib.methods.kd_stages.Stage` of ``teacher`` and ``student``; empty where left out.
        rivals: held-out score by weight, in nats, after a choice of the weight; else empty.
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
        choice("robust", robust, kd_stages.LEARNERS)
        for name, value in (("weight", weight), ("elr_weight", elr_weight)):
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must not be negative, or None for a choice, found {value}")
        # The final model first, so that it starts exactly as its base would alone.
        super().__init__(backbone, crowd, base, base_options)
        if isinstance(self.final, Ensemble):
            raise ValueError(f"kd-crowd cannot guide {base!r}, which has training steps of its own; choose another base")
        self.weight, self.distillation, self.divergence = weight, for_final, divergence
        self.warm_confusion = weight != 0 if warm_confusion is None else warm_confusion
        self.guide: Distillation | None = None
        self.stages: dict[str, kd_stages.Stage] = {}
        self.rivals: dict[float, float] = {}
        self._make = functools.partial(build, base, backbone, **(base_options or {}))
        # No part of the final model (so no module of it), and gone when it has been run.
        self._first_stages: kd_stages.FirstStages | None = None
        if weight != 0 or self.warm_confusion:
            weights = kd_stages.ELR_WEIGHTS if elr_weight is None and robust == "elr" else (elr_weight or 0.0,)
            self._first_stages = kd_stages.FirstStages(self._make, backbone, crowd, robust, weights, for_student, divergence)

    @property
    def final(self) -> Method:
        """The base method of stage 2."""
        return self.members[0]

    def prepare(self, data: TrainingData, fit: Fitting) -> None:
        """Stages 0 and 1, then roles are switched: the student's predictions start and guide the final model."""
        if self._first_stages is not None:
            self.stages = self._first_stages.run(data, fit)
            if self.weight is None:
                self.rivals = self._compare_weights(data, fit)
                self.weight = max(self.rivals, key=self.rivals.get)
            self._first_stages = None
            self._switch_roles(self.final, data, self.weight)
        self.final.prepare(data, fit)

    def _switch_roles(self, final: Method, data: TrainingData, weight: float) -> None:
        """Start and guide a base model by the student's predictions; ``data`` has the labels that it learns from."""
        prob = self.stages["student"].prob
        if self.warm_confusion:
            confusion = np.maximum(fit_confusion(prob, data.crowd), LEAST)
            confusion /= confusion.sum(axis=2, keepdims=True)
            final.set_confusion(torch.as_tensor(confusion, dtype=torch.get_default_dtype(), device=data.device))
        if weight > 0:
            self.guide = kd_stages.guide(prob, data, self.distillation, self.divergence)
            # In place of the base's own loss, so that whatever else a base does in a step still happens.
            final.loss = functools.partial(guided_loss, final, final.loss, self.guide, weight)

    def _compare_weights(self, data: TrainingData, fit: Fitting) -> dict[float, float]:
        """Train stage 2 on the visible labels with each weight; how well its last epoch explains the hidden ones."""
        visible, hidden = self._first_stages.visible, self._first_stages.hidden
        part, scores = data.with_crowd(visible), {}
        fit_part = functools.partial(fit, data=part)
        for weight in WEIGHTS:
            final = self._make(visible).to(data.device)
            self._switch_roles(final, part, weight)
            final.prepare(part, fit_part)
            fit_part(final)
            offers = Choice(visible, hidden)
            offers.offer(0, as_numpy(final.predict_proba, data.x, final))
            scores[weight] = offers.best.score
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
        scores = super().scores(data) | kd_stages.scores(self.stages, data)
        if self.rivals:
            scores |= {"weight": self.weight} | {f"final_held_out_{weight:g}": score for weight, score in self.rivals.items()}
        return scores


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
