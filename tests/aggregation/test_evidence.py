"""Judging annotators by the others: against arithmetic, slow loops and crowds of known makeup."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import beta

from lib.aggregation.dawid_skene import e_step
from lib.aggregation.evidence import accuracy_interval, agreement_bound, evidence_of_others, guess_odds, guessing_p_value
from lib.crowd.labels import CrowdLabels
from lib.simulation import drawing
from tests.strategies import crowds

shares = arrays(np.float64, st.integers(0, 30), elements=st.floats(0, 1))


# ------------------------------------------------------------------ evidence of others


def test_evidence_of_others_by_hand():
    crowd = CrowdLabels.from_dense([[0, 1]])
    confusion = np.array([[[0.8, 0.2], [0.4, 0.6]], [[0.5, 0.5], [0.1, 0.9]]])
    posterior, _ = e_step(np.log([0.5, 0.5]), confusion, crowd)
    # The first is judged by the second alone, whose 1 has probability .5 for class 0 and .9 for class 1.
    expected = [[0.5 / 1.4, 0.9 / 1.4], [0.8 / 1.2, 0.4 / 1.2]]
    np.testing.assert_allclose(evidence_of_others(crowd, posterior, confusion), expected)


@given(crowds(), st.integers(0, 2**32 - 1))
def test_evidence_of_others_is_the_posterior_without_the_label(crowd, seed):
    rng = np.random.default_rng(seed)
    confusion = rng.dirichlet(np.ones(crowd.n_classes), size=(crowd.n_annotators, crowd.n_classes))
    log_prior = np.log(rng.dirichlet(np.ones(crowd.n_classes)))
    posterior, _ = e_step(log_prior, confusion, crowd)
    found = evidence_of_others(crowd, posterior, confusion)
    assert found.shape == (len(crowd), crowd.n_classes)
    for row in range(len(crowd)):
        without, _ = e_step(log_prior, confusion, crowd.select_labels(np.arange(len(crowd)) != row))
        np.testing.assert_allclose(found[row], without[crowd.item[row]], atol=1e-9)


@pytest.mark.parametrize(("posterior", "confusion"), [((2, 3), (2, 2, 2)), ((1, 2), (2, 2)), ((1, 2), (1, 2, 2))])
def test_evidence_of_others_names_wrong_shapes(posterior, confusion):
    crowd = CrowdLabels.from_dense([[0, 1]])
    with pytest.raises(ValueError, match=r"must have the shape .* found"):
        evidence_of_others(crowd, np.ones(posterior), np.ones(confusion))


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize(("right", "wrong"), [(3, 0), (0, 3), (7, 3), (50, 5), (1, 400), (3000, 1000)])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_certain_others_give_the_jeffreys_interval(right, wrong, n_classes):
    support = np.concatenate([np.ones(right), np.zeros(wrong)])
    exact = beta(right + 0.5, wrong + 0.5)
    for level in (0.5, 0.95):
        found = accuracy_interval(support, n_classes, level)
        expected = [exact.mean(), exact.ppf((1 - level) / 2), exact.ppf((1 + level) / 2)]
        np.testing.assert_allclose(found, expected, atol=5e-4)


def test_others_who_know_nothing_leave_the_prior():
    mean, low, high = accuracy_interval(np.full(50, 1 / 4), n_classes=4)
    np.testing.assert_allclose([mean, low, high], [0.5, *beta(0.5, 0.5).ppf([0.025, 0.975])], atol=1e-4)


def test_doubt_widens_the_interval():
    sure = accuracy_interval(np.array([1.0, 1, 1, 1, 0, 0]), 3)
    unsure = accuracy_interval(np.array([0.8, 0.8, 0.8, 0.8, 0.1, 0.1]), 3)
    assert unsure[2] - unsure[1] > sure[2] - sure[1]


@given(shares, st.integers(2, 6))
def test_an_interval_holds_its_mean(support, n_classes):
    mean, low, high = accuracy_interval(support, n_classes)
    if len(support) == 0:
        assert np.isnan([mean, low, high]).all()
    else:
        assert 0 <= low < mean < high <= 1


@given(shares.filter(len), st.integers(2, 6))
def test_more_support_never_lowers_the_accuracy(support, n_classes):
    more = np.minimum(support + 0.1, 1)
    assert accuracy_interval(more, n_classes)[0] >= accuracy_interval(support, n_classes)[0] - 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], 1), "at least two classes, found 1"),
        (([0.5], 2, 1.0), "between 0 and 1, found 1.0"),
        (([1.5], 2), "found a number outside"),
        (([np.nan], 2), "found a number outside"),
    ],
)
def test_accuracy_interval_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        accuracy_interval(*arguments)


# ------------------------------------------------------------------ guessing


def judged(confusion, n_labels, seed):
    """Labels from one matrix, judged by others who know every class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(len(confusion), size=n_labels)
    items = np.arange(n_labels)
    said = drawing.draw(y, np.asarray(confusion)[None], items, np.zeros(n_labels, dtype=int), rng)
    return np.eye(len(confusion))[y], said


@pytest.mark.parametrize("guesser", [drawing.symmetric(0.25, 4), np.tile([0.7, 0.1, 0.1, 0.1], (4, 1))])
def test_guessers_seldom_have_small_p_values(guesser):
    p_values = np.array([guessing_p_value(*judged(guesser, 40, seed), 99) for seed in range(200)])
    assert (p_values <= 0.05).mean() <= 0.08  # a valid test has at most .05; 200 draws have a spread of .015
    assert (p_values <= 0.5).mean() <= 0.6


@pytest.mark.parametrize("worker", [drawing.symmetric(0.6, 4), drawing.symmetric(0.9, 4)[[1, 0, 3, 2]]])
def test_workers_and_those_who_mix_up_classes_have_small_p_values(worker):
    p_values = np.array([guessing_p_value(*judged(worker, 60, seed), 199) for seed in range(30)])
    assert p_values.max() <= 0.01


def test_always_the_same_label_has_p_value_one():
    others, _ = judged(drawing.symmetric(0.9, 4), 30, 0)
    assert guessing_p_value(others, np.full(30, 2), 99) == 1


def test_p_value_by_all_exchanges():
    # Two labels, both agreed with: one of the two orders is as good, so each statistic has probability 1/2 or more.
    assert guessing_p_value(np.eye(2), np.array([0, 1]), 199) > 0.5
    # Eight of one kind and eight of another: 1 in 12870 exchanges agrees as well.
    others = np.repeat(np.eye(2), 8, axis=0)
    assert guessing_p_value(others, np.repeat([0, 1], 8), 199) == pytest.approx(2 / 200)


def test_p_values_repeat_and_need_permutations():
    case = judged(drawing.symmetric(0.4, 4), 20, 1)
    assert guessing_p_value(*case, 49, rng=3) == guessing_p_value(*case, 49, rng=3)
    assert np.isnan(guessing_p_value(np.zeros((0, 4)), np.zeros(0, dtype=int)))
    with pytest.raises(ValueError, match="permutations must be at least 1, found 0"):
        guessing_p_value(*case, 0)


def test_odds_of_guessing_by_hand():
    # Guessing: Jeffreys' Dirichlet for two classes gives 1/2, then (1/2) / 2 for the label not yet seen.
    # Working: .9 and .5 * .9 + .5 * .1.
    typical = np.array([[0.9, 0.1], [0.1, 0.9]])
    others = np.array([[1.0, 0.0], [0.5, 0.5]])
    expected = np.log10(1 / 2 * 1 / 4) - np.log10(0.9 * 0.5)
    assert guess_odds(others, np.array([0, 1]), typical) == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_odds_tell_guessing_from_working(seed):
    typical = drawing.symmetric(0.8, 4)
    assert guess_odds(*judged(typical, 60, seed), typical) < -1
    assert guess_odds(*judged(drawing.symmetric(0.25, 4), 60, seed), typical) > 1


def test_odds_without_labels_are_unknown():
    assert np.isnan(guess_odds(np.zeros((0, 2)), np.zeros(0, dtype=int), np.full((2, 2), 0.5)))


def test_bound_of_agreement_holds_and_spares_the_permutations():
    rng = np.random.default_rng(0)
    others = rng.dirichlet(np.ones(3) / 4, size=12)
    for said in rng.integers(3, size=(20, 12)):
        exchanged = np.array([others[rng.permutation(12)][np.arange(12), said].sum() for _ in range(2000)])
        bound = agreement_bound(others, said)
        assert 0 < bound <= 1
        assert (exchanged >= others[np.arange(12), said].sum()).mean() <= bound + 0.03
    said = rng.integers(3, size=400)
    knows, guesses = np.eye(3)[said], np.eye(3)[rng.integers(3, size=400)]
    assert agreement_bound(knows, said) < 1e-20 < 0.001 < agreement_bound(guesses, said)
    assert guessing_p_value(knows, said, 49, negligible=1e-9) == guessing_p_value(knows, said, 49) == 2 / 50
    assert guessing_p_value(guesses, said, 49, negligible=1e-9) == guessing_p_value(guesses, said, 49)


@pytest.mark.parametrize("right", [0.0, 0.3, 0.97, 1.0])
@pytest.mark.parametrize("labels", [1, 30, 5000])
def test_a_coarse_grid_first_gives_the_same_interval(right, labels):
    rng = np.random.default_rng(1)
    support = np.where(rng.random(labels) < right, rng.beta(9, 1, size=labels), rng.beta(1, 9, size=labels))
    np.testing.assert_allclose(accuracy_interval(support, 4, stride=40), accuracy_interval(support, 4), rtol=1e-12)
    sure = np.repeat([1.0, 0.0], labels)[: labels + 1]
    np.testing.assert_allclose(accuracy_interval(sure, 4, stride=40), accuracy_interval(sure, 4), rtol=1e-12)
