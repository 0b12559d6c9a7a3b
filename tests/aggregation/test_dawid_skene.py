"""Votes and Dawid-Skene against arithmetic, slow loops and what must hold for any crowd."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax

from lib.aggregation import em_steps
from lib.aggregation.dawid_skene import MODELS, dawid_skene, e_step, m_step, majority_vote, soft_vote
from lib.crowd.labels import CrowdLabels
from tests.strategies import crowds, simulated
from tests.worked_example import CROWD, LOGITS, MATRICES


def random_posterior(crowd, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(crowd.n_classes), size=crowd.n_items)


# ------------------------------------------------------------------ votes


@given(crowds())
def test_votes_agree_with_counting(crowd):
    hard, soft, random = majority_vote(crowd), soft_vote(crowd), majority_vote(crowd, ties="random", seed=3)
    for item in range(crowd.n_items):
        said = crowd.label[crowd.item == item].tolist()
        if not said:
            assert hard[item] == random[item] == -1
            np.testing.assert_allclose(soft[item], 1 / crowd.n_classes)
            continue
        tied = [k for k in range(crowd.n_classes) if said.count(k) == max(map(said.count, said))]
        assert hard[item] == tied[0]
        assert random[item] in tied
        np.testing.assert_allclose(soft[item], [said.count(k) / len(said) for k in range(crowd.n_classes)])


def test_random_ties_are_even_and_repeatable():
    items = 3000
    crowd = CrowdLabels(np.repeat(np.arange(items), 3), np.tile([0, 1, 2], items), np.tile([1, 3, 2], items), items, 3, 4)
    votes = majority_vote(crowd, ties="random", seed=0)
    shares = np.bincount(votes, minlength=4) / items
    np.testing.assert_allclose(shares, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.04)  # over four standard deviations
    np.testing.assert_array_equal(votes, majority_vote(crowd, ties="random", seed=0))
    np.testing.assert_array_equal(votes, majority_vote(crowd, ties="random", seed=np.random.default_rng(0)))
    assert (votes != majority_vote(crowd, ties="random", seed=1)).any()
    with pytest.raises(ValueError, match="ties must be one of lowest, random, found 'highest'"):
        majority_vote(crowd, ties="highest")
    with pytest.raises(ValueError, match="random ties need a seed"):
        majority_vote(crowd, ties="random")


# ------------------------------------------------------------------ the check values of the specification, section 15


def test_dawid_skene_check_values():
    found = dawid_skene(CROWD, max_iterations=1)
    np.testing.assert_allclose(found.posterior[0], [0.4956143511, 0.5010936644, 0.0032919845], atol=1e-8, rtol=0)
    assert found.log_likelihood == pytest.approx(-6.9648274941, abs=1e-8)
    found = dawid_skene(CROWD, max_iterations=3, tolerance=-np.inf)
    np.testing.assert_allclose(found.posterior[2], [0.8766970018, 0.1077013568, 0.0156016414], atol=1e-8, rtol=0)
    assert found.log_likelihood == pytest.approx(-6.4737863979, abs=1e-8)
    assert found.n_iterations == 3


def test_e_step_check_values_with_a_prior_for_each_item():
    posterior, _ = e_step(log_softmax(LOGITS.numpy(), axis=1), softmax(MATRICES.numpy(), axis=2), CROWD)
    np.testing.assert_allclose(posterior[0], [0.4241519059, 0.4967459187, 0.0791021754], atol=1e-8, rtol=0)
    np.testing.assert_allclose(posterior[3], [0.2568473411, 0.5974718919, 0.1456807670], atol=1e-8, rtol=0)


# ------------------------------------------------------------------ the two steps


def test_m_step_without_evidence_is_uniform_over_what_the_annotator_says():
    crowd = CrowdLabels([0, 1], [0, 0], [0, 2], 2, 1, 3)
    posterior = np.array([[1.0, 0, 0], [1.0, 0, 0]])  # nothing is of class 1 or 2
    np.testing.assert_allclose(m_step(posterior, crowd, smoothing=0)[0], [[0.5, 0, 0.5]] * 3)
    np.testing.assert_allclose(m_step(posterior, crowd, smoothing=0.01)[0, 1:], 1 / 3)


def test_e_step_on_more_items_than_a_block():
    crowd, _ = simulated(10_000, 2, [0.9, 0.5, 0.7])
    log_prior = np.log(random_posterior(crowd, 0))
    confusion = m_step(random_posterior(crowd, 1), crowd)
    posterior, log_likelihood = e_step(log_prior, confusion, crowd)
    scores = log_prior.copy()
    assert (log_prior == np.log(random_posterior(crowd, 0))).all()  # what the caller gave stays as it was
    np.add.at(scores, crowd.item, np.log(confusion[crowd.annotator, :, crowd.label]))
    np.testing.assert_allclose(posterior, softmax(scores, axis=1), atol=1e-12)
    assert log_likelihood == pytest.approx(logsumexp(scores, axis=1).sum(), rel=1e-12)
    more = CrowdLabels(crowd.item, crowd.annotator, crowd.label, 10_001, 3, 3)
    rough = np.vstack([log_prior, np.log([0.6, 0.5, 0.1])])  # a network's rounding must not count where nobody labeled
    assert e_step(rough, confusion, more)[1] == pytest.approx(log_likelihood, rel=1e-12)


def test_many_labels_do_not_underflow():
    annotators = 5000  # a product of 5000 probabilities is far below the smallest float
    crowd = CrowdLabels(np.zeros(annotators, int), np.arange(annotators), np.arange(annotators) % 2, 1, annotators, 2)
    confusion = np.tile([[0.6, 0.4], [0.4, 0.6]], (annotators, 1, 1))
    posterior, log_likelihood = e_step(np.log([0.9, 0.1]), confusion, crowd)
    np.testing.assert_allclose(posterior, [[0.9, 0.1]], atol=1e-9)  # as many votes for either class: the prior
    assert log_likelihood == pytest.approx(annotators / 2 * math.log(0.24), rel=1e-12)


@pytest.mark.parametrize("confusion", [np.zeros((1, 2, 2)), np.array([[[1.0, 0.0], [1.0, 0.0]]])])
def test_impossible_labels_give_no_nan(confusion):
    crowd = CrowdLabels([0], [0], [1], 1, 1, 2)
    posterior, log_likelihood = e_step(np.log([0.25, 0.75]), confusion, crowd)
    np.testing.assert_allclose(posterior, [[0.25, 0.75]])
    assert np.isfinite(log_likelihood)
    assert log_likelihood < -700


# ------------------------------------------------------------------ Dawid-Skene


@given(crowds(min_labels=1, min_classes=2), st.sampled_from(["soft", "hard"]), st.sampled_from(MODELS))
def test_likelihood_never_falls_without_smoothing(crowd, start, model):
    found = dawid_skene(crowd, smoothing=0, start=start, model=model, max_iterations=20, tolerance=-np.inf)
    assert found.n_iterations == 20
    assert np.diff(found.log_likelihoods).min() > -1e-7  # the floor of 1e-10 may cost that much
    assert found.log_likelihood == found.log_likelihoods[-1]


@pytest.mark.parametrize("model", MODELS)
def test_degenerate_crowds(model):
    for items, annotators in ((0, 0), (0, 2), (3, 0), (3, 2)):
        found = dawid_skene(CrowdLabels([], [], [], items, annotators, 2), smoothing=0, model=model)
        np.testing.assert_array_equal(found.posterior, np.full((items, 2), 0.5))
        np.testing.assert_array_equal(found.confusion, np.full((annotators, 2, 2), 0.5))
        np.testing.assert_array_equal(found.prior, [0.5, 0.5])
        assert (found.log_likelihood, found.converged) == (0, True)
    one_class = dawid_skene(CrowdLabels([0, 1], [0, 0], [0, 0], 2, 1, 1), model=model)
    np.testing.assert_array_equal(one_class.confusion, [[[1.0]]])
    assert one_class.log_likelihood == 0


@given(crowds(), st.sampled_from([0.0, 0.01]))
def test_result_is_one_consistent_state(crowd, smoothing):
    found = dawid_skene(crowd, smoothing=smoothing, max_iterations=7)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.confusion.sum(axis=2), 1, atol=1e-12)
    assert found.prior.sum() == pytest.approx(1)
    posterior, log_likelihood = e_step(np.log(np.maximum(found.prior, 1e-10)), found.confusion, crowd)
    np.testing.assert_array_equal(found.posterior, posterior)
    assert found.log_likelihood == log_likelihood
    np.testing.assert_array_equal(found.labels, posterior.argmax(axis=1))
    assert found.labels.dtype == np.int64


@given(crowds(), st.data())
def test_order_of_annotators_items_and_classes_does_not_matter(crowd, data):
    by_item, by_annotator, by_class = (
        np.array(data.draw(st.permutations(range(size))), dtype=int)
        for size in (crowd.n_items, crowd.n_annotators, crowd.n_classes)
    )
    sizes = (crowd.n_items, crowd.n_annotators, crowd.n_classes)
    moved = CrowdLabels(by_item[crowd.item], by_annotator[crowd.annotator], by_class[crowd.label], *sizes)
    options = {"smoothing": 0.1, "max_iterations": 5, "tolerance": -np.inf}
    one, other = dawid_skene(crowd, **options), dawid_skene(moved, **options)
    np.testing.assert_allclose(other.posterior[np.ix_(by_item, by_class)], one.posterior, atol=1e-8)
    np.testing.assert_allclose(other.confusion[np.ix_(by_annotator, by_class, by_class)], one.confusion, atol=1e-8)
    np.testing.assert_allclose(other.prior[by_class], one.prior, atol=1e-8)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-7)


@given(crowds(min_labels=1), st.integers(1, 4), st.integers(0, 3), st.sampled_from([0.0, 0.01]))
def test_unlabeled_items_and_silent_annotators_cost_nothing(crowd, items, annotators, smoothing):
    sizes = (crowd.n_items + items, crowd.n_annotators + annotators, crowd.n_classes)
    more = CrowdLabels(crowd.item + items, crowd.annotator, crowd.label, *sizes)  # the new items come first
    one, other = dawid_skene(crowd, smoothing=smoothing), dawid_skene(more, smoothing=smoothing)
    assert other.n_iterations == one.n_iterations
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(other.posterior[items:], one.posterior, atol=1e-6)
    np.testing.assert_allclose(other.posterior[:items], np.tile(one.prior, (items, 1)), atol=1e-6)
    np.testing.assert_allclose(other.confusion[: crowd.n_annotators], one.confusion, atol=1e-6)
    np.testing.assert_allclose(other.confusion[crowd.n_annotators :], 1 / crowd.n_classes)


def test_finds_the_truth_that_a_majority_hides_and_stops():
    crowd, truth = simulated(2000, 5, [0.95, 0.95, 0.4, 0.4, 0.4])
    found = dawid_skene(crowd, tolerance=1e-4)
    gains = np.diff(found.log_likelihoods) / len(crowd)
    assert found.converged
    assert gains[-1] < 1e-4 <= gains[:-1].min()
    assert not dawid_skene(crowd, tolerance=1e-4, max_iterations=found.n_iterations - 1).converged
    by_vote, by_model = (majority_vote(crowd) == truth).mean(), (found.labels == truth).mean()
    # Two of five who are right in 19 of 20 cases leave little doubt; a vote drowns them.
    assert by_model > 0.95 > by_vote + 0.03
    np.testing.assert_allclose(found.confusion, crowd.true_confusion(truth), atol=0.05)


def test_starts():
    crowd, _ = simulated(50, 3, [0.9, 0.6, 0.6, 0.5])
    options = {"max_iterations": 3, "tolerance": -np.inf}
    one_hot = np.eye(3)[majority_vote(crowd)]
    hard = dawid_skene(crowd, start="hard", **options)
    np.testing.assert_array_equal(hard.posterior, dawid_skene(crowd, start=one_hot, **options).posterior)
    soft = dawid_skene(crowd, start="soft", **options)
    np.testing.assert_array_equal(soft.posterior, dawid_skene(crowd, start=soft_vote(crowd), **options).posterior)
    assert np.abs(hard.posterior - soft.posterior).max() > 1e-3
    kept = dawid_skene(crowd, max_iterations=0)
    assert (kept.n_iterations, kept.converged) == (0, False)
    np.testing.assert_array_equal(kept.posterior, soft_vote(crowd))
    np.testing.assert_array_equal(kept.confusion, m_step(soft_vote(crowd), crowd))
    assert kept.log_likelihood == dawid_skene(crowd, max_iterations=1).log_likelihood


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": -0.1}, "smoothing must be finite and at least 0, found -0.1"),
        ({"max_iterations": -1}, "max_iterations must be finite and at least 0, found -1"),
        ({"model": "two coins"}, "model must be one of confusion, per class, one coin, found 'two coins'"),
        ({"known": [0, 1]}, r"known must be one whole number for each of the 4 items, found shape \(2,\)"),
        ({"known": [0, 1, 3, -1]}, "known must lie in 0 .. 2, or -1 where it is not known, found 3 for item 2"),
        ({"prior_counts": np.ones((3, 3))}, r"prior_counts must have the shape \(3, 3, 3\), found \(3, 3\)"),
        ({"prior_counts": -np.ones((3, 3, 3))}, "prior_counts must be finite and at least 0"),
        ({"start": np.ones((3, 3, 3))}, "rows of probabilities"),
        ({"tolerance": np.nan}, "tolerance must be a number, found NaN"),
        ({"start": "flat"}, "start must be 'soft', 'hard' or an array of posteriors, found 'flat'"),
        ({"start": np.ones((4, 2)) / 2}, r"start must have the shape \(4, 3\), found \(4, 2\)"),
        ({"start": np.ones((4, 3))}, r"rows of probabilities that sum to one, found \[1. 1. 1.\] in row 0"),
        ({"start": np.tile([1.5, -0.5, 0], (4, 1))}, "rows of probabilities"),
    ],
)
def test_dawid_skene_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        dawid_skene(CROWD, **options)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda: e_step(np.zeros((1, 3)), np.ones((3, 3, 3)) / 3, CROWD), r"log_prior .* shape \(3,\) or \(4, 3\), found"),
        (lambda: e_step(np.zeros(3), np.ones((3, 3, 2)), CROWD), r"confusion .* shape \(3, 3, 3\), found \(3, 3, 2\)"),
        (lambda: e_step(np.zeros(3), np.ones((3, 3, 3)), CROWD), "to one .*, found 3.0 for annotator 0 and class 0"),
        (lambda: m_step(np.ones((4, 2)), CROWD), r"posterior must have the shape \(4, 3\), found \(4, 2\)"),
    ],
)
def test_steps_refuse(step, message):
    with pytest.raises(ValueError, match=message):
        step()


# ------------------------------------------------------------------ known classes, counts from before, fewer parameters


def slow_confusion(counts, model):
    """The matrices of a model, from ``[annotators, true class, label]`` counts, a cell at a time."""
    confusion = np.empty(counts.shape)
    classes = range(counts.shape[1])
    for r, matrix in enumerate(counts):
        for j in classes:
            pooled = list(classes) if model == "one coin" else [j]
            right = sum(matrix[i, i] for i in pooled) / sum(matrix[i].sum() for i in pooled)
            for k in classes:
                plain = matrix[j, k] / matrix[j].sum()
                confusion[r, j, k] = plain if model == "confusion" else right if j == k else (1 - right) / (len(classes) - 1)
    return confusion


def slow_fit(crowd, rounds, smoothing=0.1, model="confusion", known=None, prior_counts=0):
    """Dawid-Skene from vote shares, a label at a time: matrices, posterior, likelihood."""
    known = [-1] * crowd.n_items if known is None else known
    labels = list(zip(crowd.item, crowd.annotator, crowd.label, strict=True))
    labeled = crowd.labels_per_item > 0

    def fixed(posterior):
        return np.array([np.eye(crowd.n_classes)[k] if k >= 0 else row for row, k in zip(posterior, known, strict=True)])

    posterior = fixed(soft_vote(crowd))
    for _ in range(rounds):
        counts = np.full((crowd.n_annotators, crowd.n_classes, crowd.n_classes), smoothing) + prior_counts
        for item, annotator, label in labels:
            counts[annotator, :, label] += posterior[item]
        confusion = slow_confusion(counts, model)
        scores = np.tile(np.log(posterior[labeled].mean(axis=0)), (crowd.n_items, 1))
        for item, annotator, label in labels:
            scores[item] += np.log(confusion[annotator, :, label])
        joint = np.array([scores[i, k] if k >= 0 else logsumexp(scores[i]) for i, k in enumerate(known)])
        posterior = fixed(softmax(scores, axis=1))
    return confusion, posterior, joint[labeled].sum()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("extras", ["nothing more", "known", "prior_counts"])
def test_every_model_equals_a_slow_one(model, extras):
    crowd, truth = simulated(40, 2, [0.9, 0.6, 0.5, 0.4], seed=5)
    crowd = CrowdLabels(crowd.item, crowd.annotator, crowd.label, 42, 5, 3)  # two items and an annotator without labels
    options = {}
    if extras == "known":
        options = {"known": np.where(np.arange(42) % 3 == 0, np.append(truth, [1, 2]), -1)}
    elif extras == "prior_counts":
        options = {"prior_counts": np.random.default_rng(0).integers(4, size=(5, 3, 3))}
    found = dawid_skene(crowd, 0.1, max_iterations=4, tolerance=-np.inf, model=model, **options)
    confusion, posterior, log_likelihood = slow_fit(crowd, 4, 0.1, model, **options)
    np.testing.assert_allclose(found.confusion, confusion, rtol=1e-10)
    np.testing.assert_allclose(found.posterior, posterior, rtol=1e-10, atol=1e-300)
    assert found.log_likelihood == pytest.approx(log_likelihood, rel=1e-12)
    assert found.parameters.ndim == {"confusion": 3, "per class": 2, "one coin": 1}[model]


def test_known_classes_are_held_and_help():
    crowd, truth = simulated(300, 2, [0.9, 0.3, 0.3, 0.3, 0.3], seed=2)
    known = np.where(np.arange(300) < 60, truth, -1)
    start = np.full((300, 3), 1 / 3)
    found, without = dawid_skene(crowd, known=known, start=start), dawid_skene(crowd)
    np.testing.assert_array_equal(found.posterior[:60], np.eye(3)[truth[:60]])
    assert (start == 1 / 3).all()  # what the caller gave stays as it was
    assert (found.labels[60:] == truth[60:]).mean() > (without.labels[60:] == truth[60:]).mean() + 0.05


def test_start_from_matrices():
    crowd, _ = simulated(50, 2, [0.9, 0.7, 0.7, 0.6])
    fitted = dawid_skene(crowd)
    kept = dawid_skene(crowd, start=fitted.confusion, max_iterations=0)
    np.testing.assert_array_equal(kept.confusion, fitted.confusion)
    expected, _ = e_step(np.log(soft_vote(crowd).mean(axis=0)), fitted.confusion, crowd)
    np.testing.assert_allclose(kept.posterior, expected, rtol=1e-10)
    onwards = dawid_skene(crowd, start=fitted.confusion, max_iterations=3)
    np.testing.assert_allclose(onwards.posterior, dawid_skene(crowd, start=expected, max_iterations=3).posterior, rtol=1e-8)


def test_many_classes_are_refused_in_time_and_fit_in_other_models(monkeypatch):
    with pytest.raises(MemoryError, match=r"3000 annotators and 20000 classes take 19,200,000,000,000 bytes, and this machine"):
        dawid_skene(CrowdLabels([0], [0], [7], 1, 3000, 20_000))
    crowd, _ = simulated(50, 2, [0.9, 0.7, 0.7, 0.6])
    monkeypatch.setattr(em_steps, "_memory", lambda: 8 * 4 * 3 * 3 - 1)
    found = dawid_skene(crowd, model="one coin", max_iterations=3)
    with pytest.raises(MemoryError, match="4 annotators and 3 classes take 288 bytes, and this machine has 287"):
        _ = found.confusion


# ------------------------------------------------------------------ weighted votes


def test_weighted_votes():
    crowd = CrowdLabels([0, 0, 0, 1, 2], [0, 1, 2, 2, 0], [0, 0, 1, 1, 1], 4, 3, 2)
    np.testing.assert_array_equal(majority_vote(crowd, weights=[1, 1, 3]), [1, 1, 1, -1])
    np.testing.assert_allclose(soft_vote(crowd, weights=[1, 1, 3]), [[0.4, 0.6], [0, 1], [0, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(majority_vote(crowd, weights=[1, 0, 0]), [0, -1, 1, -1])
    np.testing.assert_array_equal(soft_vote(crowd, weights=[2, 2, 2]), soft_vote(crowd))
    for wrong in ([1, 1], [0, 0, 0], [1, 1, -1]):
        with pytest.raises(ValueError, match="for each of the 3 annotators, not all 0"):
            majority_vote(crowd, weights=wrong)
    with pytest.raises(ValueError, match="random ties are for whole votes"):
        majority_vote(crowd, "random", seed=0, weights=[1, 1, 3])
