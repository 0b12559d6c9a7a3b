"""The report on annotators, against crowds of which everything is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import beta, norm

from lib.aggregation import annotator_report
from lib.aggregation.annotator_report import accuracy_interval, guessing
from lib.aggregation.confusion import rows_to_one
from lib.aggregation.dawid_skene import dawid_skene, e_step
from lib.aggregation.fusion import Fit, without_own
from lib.crowd.labels import CrowdLabels
from lib.results import tables
from lib.simulation import drawing
from tests.strategies import crowds

KINDS = ["expert"] * 4 + ["ordinary"] * 6 + ["guesser", "constant"]


def known_crowd(seed, n_items=300, n_classes=4):
    """A crowd of :data:`KINDS`, and everybody's true accuracy."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_items)
    accuracy = np.concatenate([rng.uniform(0.9, 0.98, 4), rng.uniform(0.6, 0.85, 6)])
    matrices = [drawing.symmetric(a, n_classes) for a in accuracy]
    matrices += [drawing.symmetric(1 / n_classes, n_classes), drawing.constant(seed % n_classes, n_classes)]
    return drawing.simulate(y, np.array(matrices), 4.0, seed=seed), np.trace(matrices, axis1=1, axis2=2) / n_classes


def reported(crowd, **options):
    found = dawid_skene(crowd, model="one coin", **options)
    return annotator_report.report(crowd, found.posterior, found.confusion)


# ------------------------------------------------------------------ the report


def test_intervals_hold_the_truth_about_as_often_as_they_say_and_guessers_look_random():
    held, flags = [], []
    for seed in range(12):
        crowd, truth = known_crowd(seed)
        lines = reported(crowd)
        held.append((lines.ci_low <= truth) & (truth <= lines.ci_high))
        flags.append(lines.looks_random)
        assert np.abs(lines.accuracy - truth).max() < 0.2
        assert np.corrcoef(lines.accuracy, truth)[0, 1] > 0.95
    assert 0.88 <= np.mean(held) <= 0.995  # of 144 intervals of 95 %; the spread of that share is .018
    guessers = np.isin(KINDS, ["guesser", "constant"])
    assert np.mean(flags, axis=0)[guessers].mean() >= 0.9
    assert not np.any(flags, axis=0)[~guessers].any()


def test_mixing_up_classes_does_not_look_random():
    y = np.random.default_rng(0).integers(3, size=300)
    matrices = [drawing.symmetric(0.9, 3)] * 5 + [drawing.symmetric(0.95, 3)[:, [0, 2, 1]]]
    line = reported(drawing.simulate(y, np.array(matrices), 3.0, seed=1)).iloc[5]
    assert line.accuracy < 0.5
    assert line.p_guessing < 0.01
    assert not line.looks_random


def test_the_report_by_hand():
    # Two who agree everywhere, so each is sure of the other; a third who was never asked.
    crowd = CrowdLabels.from_dense([[0, 0, -1], [0, 0, -1], [1, 1, -1], [1, 1, -1]], annotator_names=["ann", "ben", "cy"])
    fitted = dawid_skene(crowd, smoothing=1e-6)
    lines = annotator_report.report(crowd, fitted.posterior, fitted.confusion)
    assert lines.annotator.tolist() == ["ann", "ben", "cy"]
    assert lines.n_labels.tolist() == [4, 4, 0]
    assert lines.accuracy[:2].tolist() == pytest.approx([4.5 / 5] * 2, abs=1e-3)  # Jeffreys: (4 + 1/2) / (4 + 1)
    assert lines.loc[2, ["accuracy", "ci_low", "ci_high", "p_guessing"]].isna().all()
    assert lines.looks_random.tolist() == [False] * 3
    shown = tables.show_report(lines.assign(confusions=""))
    assert shown["accuracy (%)"].tolist() == ["90 (56 to 100)", "90 (56 to 100)", "–"]
    assert shown["p (guessing)"].tolist()[2] == "–"
    assert shown.columns.tolist() == ["annotator", "labels", "accuracy (%)", "typical errors", "p (guessing)", "looks random"]
    with pytest.raises(ValueError, match=r"posterior must have the shape \(4, 2\), found \(4, 3\)"):
        annotator_report.report(crowd, np.ones((4, 3)), fitted.confusion)
    with pytest.raises(ValueError, match=r"confusion must have the shape \(3, 2, 2\), found \(2, 2, 2\)"):
        annotator_report.report(crowd, fitted.posterior, fitted.confusion[:2])


@settings(max_examples=40, deadline=None)
@given(crowds(min_classes=2), st.integers(0, 2**32 - 1))
def test_any_crowd_gets_a_report_in_which_names_of_classes_do_not_matter(crowd, seed):
    order = np.random.default_rng(seed).permutation(crowd.n_classes)
    sizes = (crowd.n_items, crowd.n_annotators, crowd.n_classes)
    lines = reported(crowd, max_iterations=5)
    assert lines.annotator.tolist() == list(range(crowd.n_annotators))
    assert lines.n_labels.tolist() == crowd.labels_per_annotator.tolist()
    some = lines[lines.n_labels > 0]
    assert ((some.ci_low >= 0) & (some.ci_low < some.accuracy) & (some.accuracy < some.ci_high) & (some.ci_high <= 1)).all()
    assert some.p_guessing.between(0, 1).all()
    assert lines[lines.n_labels == 0].accuracy.isna().all()
    other = reported(CrowdLabels(crowd.item, crowd.annotator, order[crowd.label], *sizes), max_iterations=5)
    columns = ["accuracy", "ci_low", "ci_high"]
    np.testing.assert_allclose(other[columns], lines[columns], atol=1e-6)


# ------------------------------------------------------------------ what the others say


@given(crowds(), st.integers(0, 2**32 - 1))
def test_what_the_others_say_is_the_posterior_without_the_label(crowd, seed):
    rng = np.random.default_rng(seed)
    confusion = rng.dirichlet(np.ones(crowd.n_classes), size=(crowd.n_annotators, crowd.n_classes))
    log_prior = np.log(rng.dirichlet(np.ones(crowd.n_classes)))
    posterior, _ = e_step(log_prior, confusion, crowd)
    fit = Fit(posterior, np.zeros(crowd.n_annotators), confusion, True)
    found = rows_to_one(without_own(crowd, fit, np.arange(len(crowd))))
    assert found.shape == (len(crowd), crowd.n_classes)
    for row in range(len(crowd)):
        without, _ = e_step(log_prior, confusion, crowd.select_labels(np.arange(len(crowd)) != row))
        np.testing.assert_allclose(found[row], without[crowd.item[row]], atol=1e-9)


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize(("right", "wrong"), [(3, 0), (0, 3), (7, 3), (1, 400), (3000, 1000)])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_certain_others_give_the_jeffreys_interval(right, wrong, n_classes):
    exact = beta(right + 0.5, wrong + 0.5)
    found = accuracy_interval(np.concatenate([np.ones(right), np.zeros(wrong)]), n_classes)
    np.testing.assert_allclose(found, [exact.mean(), *exact.ppf([0.025, 0.975])], atol=5e-4)


@given(arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1)), st.integers(2, 6))
def test_the_interval_is_that_of_the_whole_grid(support, n_classes):
    accuracy = np.sin(np.pi / 2 * (np.arange(annotator_report.GRID) + 0.5) / annotator_report.GRID) ** 2
    prob = accuracy * support[:, None] + (1 - accuracy) * (1 - support[:, None]) / (n_classes - 1)
    weight = np.exp(np.log(prob).sum(axis=0) - np.log(prob).sum(axis=0).max())
    mean, low, high = accuracy_interval(support, n_classes)
    assert 0 <= low < mean < high <= 1
    assert mean == pytest.approx(weight @ accuracy / weight.sum(), rel=1e-9)
    inside = (accuracy > low) & (accuracy < high)
    assert weight[inside].sum() / weight.sum() == pytest.approx(0.95, abs=2 * weight.max() / weight.sum())


def test_accuracy_interval_refuses():
    with pytest.raises(ValueError, match="at least two classes, found 1"):
        accuracy_interval([0.5], 1)
    with pytest.raises(ValueError, match="found a number outside"):
        accuracy_interval([1.5], 2)


# ------------------------------------------------------------------ guessing


def judged(confusion, n_labels, seed):
    """Whether somebody who labels by a matrix guesses, if the others know every class and are right with .8."""
    rng, n = np.random.default_rng(seed), len(confusion)
    y = rng.integers(n, size=n_labels)
    said = drawing.draw(y, np.asarray(confusion)[None], np.arange(n_labels), np.zeros(n_labels, dtype=int), rng)
    crowd = CrowdLabels(np.arange(n_labels), np.zeros(n_labels, dtype=int), said, n_labels, 1, n)
    fit = Fit(np.eye(n)[y], np.array([0.8]), None, True)
    return [values[0] for values in guessing(crowd, fit, np.arange(n_labels))]


@pytest.mark.parametrize("guesser", [drawing.symmetric(0.25, 4), np.tile([0.7, 0.1, 0.1, 0.1], (4, 1))])
def test_guessers_seldom_have_small_p_values(guesser):
    p_values, random = np.transpose([judged(guesser, 40, seed) for seed in range(200)])
    assert (p_values <= 0.05).mean() <= 0.08  # a valid test has at most .05; 200 draws have a spread of .015
    assert (p_values <= 0.5).mean() <= 0.6
    assert random.mean() > 0.9


@pytest.mark.parametrize("worker", [drawing.symmetric(0.6, 4), drawing.symmetric(0.9, 4)[[1, 0, 3, 2]]])
def test_workers_and_those_who_mix_up_classes_have_small_p_values(worker):
    p_values, random = np.transpose([judged(worker, 60, seed) for seed in range(30)])
    assert p_values.max() <= 0.01
    assert not random.any()


@pytest.mark.parametrize("matrices", [np.full((2, 3, 3), 1 / 3), None])
def test_p_value_by_all_permutations_and_odds_by_hand(matrices):
    """Two annotators, who labeled four items and two: mean and variance of both statistics over each order of the labels."""
    crowd = CrowdLabels.from_dense([[0, -1], [0, 1], [1, 2], [2, -1]], n_classes=3)
    posterior, accuracy = np.random.default_rng(0).dirichlet(np.ones(3), size=4), np.array([0.9, 0.6])
    p_values, random = guessing(crowd, Fit(posterior, accuracy, matrices, True), np.arange(len(crowd)))
    given = [([0, 1, 2, 3], [0, 0, 1, 2]), ([1, 2], [1, 2])]
    for r, (items, said) in enumerate(given):
        if matrices is None:  # all are right as often as the crowd
            own = np.where(np.eye(3)[said] == 1, accuracy[r], (1 - accuracy[r]) / 2)
            typical = np.where(np.eye(3) == 1, (4 * 0.9 + 2 * 0.6) / 6, 1 - (4 * 0.9 + 2 * 0.6) / 6)
            typical[~np.eye(3, dtype=bool)] /= 2
        else:
            own, typical = 1 / 3, np.full((3, 3), 0.5)  # of the other one's labels, and half a label of each class
            for item, label in zip(*given[1 - r], strict=True):
                typical[:, label] += posterior[item]
            typical /= typical.sum(axis=1, keepdims=True)
        q = posterior[items] / own
        q /= q.sum(axis=1, keepdims=True)
        tables = np.array([np.eye(3)[list(order)].T @ q for order in itertools.permutations(said)])
        found = np.eye(3)[said].T @ q
        agreed, cells = np.trace(tables, axis1=1, axis2=2), tables.std(axis=0)
        by_cell = 9 * 2 * norm.sf((np.abs(found - tables.mean(axis=0))[cells > 1e-9] / cells[cells > 1e-9]).max())
        by_agreement = norm.sf((np.trace(found) - agreed.mean()) / agreed.std())
        assert p_values[r] == pytest.approx(min(1, 2 * min(by_cell, by_agreement)))
        working = np.prod((q * typical[:, said].T).sum(axis=1))
        seen, guesses = np.zeros(3), 1.0
        for label in said:  # Jeffreys: half a label of each class before the first
            guesses *= (seen[label] + 0.5) / (seen.sum() + 1.5)
            seen[label] += 1
        assert random[r] == (p_values[r] > 0.01 and guesses >= 10 * working)
