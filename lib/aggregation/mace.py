"""MACE: aggregation that asks of every label whether its annotator knew or spammed.

With probability ``competence_r`` annotator r knows the true class and says it; else r says a class drawn from a habit
``strategy_r``, whatever the item. As confusion matrices: ``A_r = competence_r I + (1 - competence_r) 1 strategy_r^T``. A label
is evidence for its own class and equally against all others, so an E-step costs what the labels cost and needs no matrices.
The M-step is variational, with a Beta prior on competences and a Dirichlet prior on strategies, as Hovy et al. recommend; of
several random starts the one with the highest likelihood in its last E-step is kept.

Reference: Hovy, Berg-Kirkpatrick, Vaswani, Hovy, *Learning Whom to Trust with MACE*, NAACL 2013.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import digamma, logsumexp

from lib.aggregation.confusion import rows_to_one
from lib.aggregation.em_steps import check_memory
from lib.crowd.labels import CrowdLabels
from lib.registry import within

COMPETENCE_PRIOR = 0.5  # Beta pseudo-count of spamming, and of knowing
START_NOISE = 0.5  # random starts: 1 + noise * uniform, normalized


@dataclass(frozen=True, eq=False)
class Mace:
    """What MACE estimates.

    Attributes:
        posterior: ``[items, classes]`` of the last variational E-step, uniform for an item that nobody labeled.
        competence: ``[annotators]`` probability of knowing, 0 to 1.
        strategy: ``[annotators, classes]`` what an annotator says who does not know.
        log_likelihood: of the labels under ``competence`` and ``strategy`` (which are ``confusion``), in nats.
    """

    posterior: np.ndarray
    competence: np.ndarray
    strategy: np.ndarray
    log_likelihood: float

    @cached_property
    def confusion(self) -> np.ndarray:
        """``[annotators, true class, label]`` of competences and strategies; MemoryError where this machine cannot hold
        them."""
        check_memory(*self.strategy.shape, 1)
        spam = np.repeat(((1 - self.competence)[:, None] * self.strategy)[:, None], self.strategy.shape[1], axis=1)
        diagonal = np.arange(self.strategy.shape[1])
        spam[:, diagonal, diagonal] += self.competence[:, None]
        return spam


def mace(crowd: CrowdLabels, iterations: int = 50, restarts: int = 10, strategy_prior: float = 10.0, seed: int = 0) -> Mace:
    """Fit MACE by variational EM; classes are equally likely before the labels are seen.

    Args:
        iterations: of each start.
        restarts: random starts; the paper uses 10 (and 50 iterations).
        strategy_prior: Dirichlet pseudo-count of every class of a strategy.
        seed: of the random starts.

    Raises:
        ValueError: no iterations or restarts, or a prior that is not positive.
    """
    within("iterations", iterations, 1)
    within("restarts", restarts, 1)
    if not strategy_prior > 0:
        raise ValueError(f"strategy_prior must be above 0, found {strategy_prior}")
    generator, fits = np.random.default_rng(seed), []
    for _ in range(restarts):
        sizes = ((crowd.n_annotators, width) for width in (2, crowd.n_classes))
        start = (rows_to_one(1 + START_NOISE * generator.random(size)) for size in sizes)
        fits.append(_fit(*start, crowd, iterations, strategy_prior))
    return max(fits, key=lambda fit: fit[1])[0]


def _fit(
    weights: np.ndarray, strategy: np.ndarray, crowd: CrowdLabels, iterations: int, strategy_prior: float
) -> tuple[Mace, float]:
    """A fit, from weights ``[annotators, 2]`` of spamming and knowing and from strategies ``[annotators, classes]``, and the
    likelihood in its last E-step."""
    posterior, known, reached = _e_step(weights, strategy, crowd)
    for _ in range(iterations):
        spam = crowd.sums_by_annotator(1 - known)  # [annotators, classes] expected labels of those who did not know
        knowing = np.bincount(crowd.annotator, known, minlength=crowd.n_annotators)
        weights = _expected(np.stack([spam.sum(axis=1), knowing], axis=1) + COMPETENCE_PRIOR)
        strategy = _expected(spam + strategy_prior)
        posterior, known, reached = _e_step(weights, strategy, crowd)
    # The geometric means of the variational step do not sum to one: what is reported does.
    weights, strategy = rows_to_one(weights), rows_to_one(strategy)
    return Mace(posterior, weights[:, 1], strategy, _e_step(weights, strategy, crowd)[2]), reached


def _e_step(weights: np.ndarray, strategy: np.ndarray, crowd: CrowdLabels) -> tuple[np.ndarray, np.ndarray, float]:
    """``[items, classes]`` posteriors, ``[labels]`` the probability that the annotator knew, and the labels' log-likelihood,
    from weights (spamming, knowing) and strategies."""
    spam, knows = weights[crowd.annotator, 0] * strategy[crowd.annotator, crowd.label], weights[crowd.annotator, 1]
    log_spam = np.log(spam)
    scores = crowd.sums_by_item(np.log(spam + knows) - log_spam)
    evidence = logsumexp(scores, axis=1, keepdims=True)
    posterior = np.exp(scores - evidence)
    known = crowd.said_in(posterior) * knows / (knows + spam)  # who knows says nothing but the truth
    labeled = crowd.labels_per_item > 0
    reached = log_spam.sum() + evidence[labeled].sum() - labeled.sum() * np.log(crowd.n_classes)
    return posterior, known, float(reached)


def _expected(counts: np.ndarray) -> np.ndarray:
    """``exp E log p`` of rows ``p`` that are Dirichlet with these counts."""
    return np.exp(digamma(counts) - digamma(counts.sum(axis=1, keepdims=True)))
