"""Learning from a teacher's predictions: by information gain, by KL divergence, or as if they were labels.

With ``p`` the student's and ``q`` the teacher's predictions (fixed), ``pi`` the class prior,

    mig   - s J(p, q; pi)             f-mutual information gain, :mod:`lib.losses.information`; s lets every f end near log C
    kl    mean_i KL(q_i || p_i)       copies the teacher, errors included
    ce    mean_i - log p_i[argmax q_i]

The KL form of the gain has the gradient ``(p_i - r_i) / n`` for the logits, ``r_i`` proportional to ``p_i q_i / pi``: the
teacher's prediction counts as *evidence* beside what the student believes already, where KL divergence has ``q_i`` itself
for ``r_i``. Where the teacher is in doubt, the student is free; where the teacher is certain, both are cross-entropy. So a
teacher must be soft for the two to differ.
"""

import torch
from torch import Tensor

from lib.losses.information import Negatives, class_prior, information_gain, scale
from lib.registry import choice

LOSSES = ("mig", "kl", "ce")


class Distillation:
    """The loss against one fixed teacher. It has no parameters and lies where the teacher's predictions lie.

    For ``mig`` the second term runs over all items that count, not over the batch: the teacher does not move.

    Args:
        teacher: ``[items, classes]`` probabilities for all training items.
        items: ``[some]`` int64, those that count for prior and negatives (not those that nobody labeled); None for all.
        loss: ``mig``, ``kl`` or ``ce``.
        divergence: of ``mig``: ``kl``, ``pearson`` or ``js``.
        prior: ``[classes]`` of ``mig``; None for the teacher's mean prediction, kept away from zero.

    Raises:
        ValueError: another loss or divergence, or no item.
    """

    def __init__(
        self,
        teacher: Tensor,
        items: Tensor | None = None,
        loss: str = "mig",
        divergence: str = "kl",
        prior: Tensor | None = None,
    ) -> None:
        choice("loss", loss, LOSSES)
        teacher = teacher.detach()
        counted = teacher if items is None else teacher[items]
        if len(counted) == 0:
            raise ValueError("a teacher needs predictions of at least one item, found none")
        self.loss, self.divergence, self.teacher = loss, divergence, teacher
        self.prior = class_prior(counted) if prior is None else prior
        self.negatives = Negatives.of(counted)
        self.factor = scale(self.prior, divergence)

    def __call__(self, log_prob: Tensor, items: Tensor) -> Tensor:
        """Scalar in nats, mean over a batch of the student's log-probabilities ``[batch, classes]`` about these training
        items ``[batch]`` (int64); smaller is better."""
        if self.loss != "mig":
            return self.surprise(log_prob, items).mean()
        log_q = self.teacher[items].log()
        gain = information_gain(log_prob, log_q, self.prior.log(), self.divergence, self.negatives)
        return -self.factor * gain

    def surprise(self, log_prob: Tensor, items: Tensor) -> Tensor:
        """``[batch]`` how badly each item's prediction fits the teacher's, in nats: what co-teaching selects by.

        For ``mig`` it is ``- log sum_c p[c] q[c] / pi[c]`` whatever the divergence, which only reshapes it.
        """
        q = self.teacher[items]
        if self.loss == "mig":
            return -torch.logsumexp(log_prob + q.log() - self.prior.log(), dim=1)
        if self.loss == "ce":
            return -log_prob.gather(1, q.argmax(dim=1, keepdim=True)).squeeze(1)
        return (torch.special.xlogy(q, q) - q * log_prob).sum(dim=1)
