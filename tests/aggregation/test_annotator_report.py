"""The report on annotators, against crowds of which everything is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import xlogy
from scipy.stats import beta

from lib.aggregation import annotator_report, fusion
from lib.aggregation.annotator_report import accuracy_interval, guess_odds, guessing_p_value, said_by_others
from lib.aggregation.dawid_skene import dawid_skene, e_step
from lib.crowd.labels import CrowdLabels
from lib.results import tables
from lib.simulation import drawing
from tests.strategies import crowds

KINDS = ["expert"] * 4 + ["ordinary"] * 6 + ["guesser", "constant"]


def known_crowd(seed, n_items=300, n_classes=4, classifier=0.9):
    """A crowd of :data:`KINDS` with a classifier of that accuracy, and everybody's true accuracy."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_items)
    accuracy = np.concatenate([rng.uniform(0.9, 0.98, 4), rng.uniform(0.6, 0.85, 6)])
    matrices = [drawing.symmetric(a, n_classes) for a in accuracy]
    matrices += [drawing.symmetric(1 / n_classes, n_classes), drawing.constant(seed % n_classes, n_classes)]
    crowd = drawing.simulate(y, np.array(matrices), 3.0, seed=seed)
    dense = np.full((n_items, crowd.n_annotators + 1), -1)
    dense[crowd.item, crowd.annotator] = crowd.label
    dense[:, -1] = [rng.choice(n_classes, p=p) for p in drawing.symmetric(classifier, n_classes)[y]]
    truth = np.array([np.trace(matrix) / n_classes for matrix in matrices] + [classifier])
    return CrowdLabels.from_dense(dense, n_classes), truth


@pytest.fixture(scope="module")
def reports():
    """Report and true accuracies of a dozen crowds."""
    found = []
    for seed in range(12):
        crowd, accuracy = known_crowd(seed)
        estimate = fusion.estimate(crowd)
        found.append((annotator_report.report(crowd, estimate.posterior, estimate.matrices(), permutations=199), accuracy))
    return found


# ------------------------------------------------------------------ the report


def test_accuracies_are_near_and_intervals_hold_the_truth_about_as_often_as_they_say(reports):
    held = [(lines.ci_low <= truth) & (truth <= lines.ci_high) for lines, truth in reports]
    share = np.concatenate(held).mean()  # of 156 intervals of 95 %; the spread of that share is .017
    assert 0.88 <= share <= 0.995
    for lines, truth in reports:
        assert np.abs(lines.accuracy - truth).max() < 0.2
        assert np.corrcoef(lines.accuracy, truth)[0, 1] > 0.95


def test_guessers_look_random_and_nobody_else_does(reports):
    kinds = np.array([*KINDS, "classifier"])
    flags = np.array([lines.looks_random for lines, _ in reports])
    assert flags[:, np.isin(kinds, ["guesser", "constant"])].mean() >= 0.9
    assert not flags[:, ~np.isin(kinds, ["guesser", "constant"])].any()


def test_mixing_up_classes_does_not_look_random():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    matrices = [drawing.symmetric(0.9, 3)] * 5 + [drawing.symmetric(0.95, 3)[:, [0, 2, 1]]]
    crowd = drawing.simulate(y, np.array(matrices), 3.0, seed=1)
    estimate = fusion.estimate(crowd)
    line = annotator_report.report(crowd, estimate.posterior, estimate.matrices()).iloc[5]
    assert line.accuracy < 0.5
    assert not line.looks_random
    pairs = line.confusions.split(", ")
    assert {pair.split(" (")[0] for pair in pairs} == {"1 → 2", "2 → 1"}
    assert all(int(pair.split("(")[1].split(" ")[0]) > 80 for pair in pairs)


def test_the_report_by_hand():
    # Two who agree everywhere, so each is sure of the other; a third who was never asked.
    crowd = CrowdLabels.from_dense(
        [[0, 0, -1], [0, 0, -1], [1, 1, -1], [1, 1, -1]], annotator_names=["ann", "ben", "cy"], class_names=["no", "yes"]
    )
    fitted = dawid_skene(crowd, smoothing=1e-6)
    lines = annotator_report.report(crowd, fitted.posterior, fitted.confusion)
    assert list(lines.columns) == annotator_report.COLUMNS
    assert lines.annotator.tolist() == ["ann", "ben", "cy"]
    assert lines.n_labels.tolist() == [4, 4, 0]
    assert lines.confusions.tolist() == ["", "", ""]
    assert lines.accuracy[:2].tolist() == pytest.approx([4.5 / 5] * 2, abs=1e-3)  # Jeffreys: (4 + 1/2) / (4 + 1)
    assert lines.loc[2, ["accuracy", "ci_low", "ci_high", "p_guessing", "log10_guess_odds"]].isna().all()
    assert lines.looks_random.tolist() == [False] * 3
    shown = tables.show_report(lines)
    assert shown["accuracy (%)"].tolist() == ["90 (56 to 100)", "90 (56 to 100)", "–"]
    assert shown["p (guessing)"].tolist()[2] == "–"
    assert shown.columns.tolist() == ["annotator", "labels", "accuracy (%)", "typical errors", "p (guessing)", "looks random"]


@settings(max_examples=40, deadline=None)
@given(crowds(min_classes=2))
def test_any_crowd_gets_a_report(crowd):
    estimate = fusion.estimate(crowd)
    lines = annotator_report.report(crowd, estimate.posterior, estimate.matrices(), permutations=19)
    assert lines.annotator.tolist() == list(range(crowd.n_annotators))
    assert lines.n_labels.tolist() == crowd.labels_per_annotator.tolist()
    some = lines[lines.n_labels > 0]
    assert ((some.ci_low >= 0) & (some.ci_low < some.accuracy) & (some.accuracy < some.ci_high) & (some.ci_high <= 1)).all()
    assert ((some.p_guessing > 0) & (some.p_guessing <= 1)).all()
    assert np.isfinite(some.log10_guess_odds).all()
    assert lines[lines.n_labels == 0].accuracy.isna().all()


@given(crowds(min_classes=2, min_labels=1), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_names_of_classes_do_not_matter(crowd, seed):
    order = np.random.default_rng(seed).permutation(crowd.n_classes)
    sizes = (crowd.n_items, crowd.n_annotators, crowd.n_classes)
    other = CrowdLabels(crowd.item, crowd.annotator, order[crowd.label], *sizes)
    columns = []
    for version in (crowd, other):
        estimate = fusion.estimate(version)
        lines = annotator_report.report(version, estimate.posterior, estimate.matrices(), permutations=1)
        columns.append(lines[["accuracy", "ci_low", "ci_high", "log10_guess_odds"]].to_numpy())
    np.testing.assert_allclose(*columns, atol=1e-6)


# ------------------------------------------------------------------ what the others say


@given(crowds(), st.integers(0, 2**32 - 1))
def test_said_by_others_is_the_posterior_without_the_label(crowd, seed):
    rng = np.random.default_rng(seed)
    confusion = rng.dirichlet(np.ones(crowd.n_classes), size=(crowd.n_annotators, crowd.n_classes))
    log_prior = np.log(rng.dirichlet(np.ones(crowd.n_classes)))
    posterior, _ = e_step(log_prior, confusion, crowd)
    found = said_by_others(crowd, posterior, confusion)
    assert found.shape == (len(crowd), crowd.n_classes)
    for row in range(len(crowd)):
        without, _ = e_step(log_prior, confusion, crowd.select_labels(np.arange(len(crowd)) != row))
        np.testing.assert_allclose(found[row], without[crowd.item[row]], atol=1e-9)


@pytest.mark.parametrize(("posterior", "confusion"), [((2, 3), (2, 2, 2)), ((1, 2), (2, 2)), ((1, 2), (1, 2, 2))])
def test_said_by_others_names_wrong_shapes(posterior, confusion):
    crowd = CrowdLabels.from_dense([[0, 1]])
    with pytest.raises(ValueError, match=r"must have the shape .* found"):
        said_by_others(crowd, np.ones(posterior), np.ones(confusion))


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize(("right", "wrong"), [(3, 0), (0, 3), (7, 3), (1, 400), (3000, 1000)])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_certain_others_give_the_jeffreys_interval(right, wrong, n_classes):
    support = np.concatenate([np.ones(right), np.zeros(wrong)])
    exact = beta(right + 0.5, wrong + 0.5)
    for level in (0.5, 0.95):
        found = accuracy_interval(support, n_classes, level)
        expected = [exact.mean(), exact.ppf((1 - level) / 2), exact.ppf((1 + level) / 2)]
        np.testing.assert_allclose(found, expected, atol=5e-4)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], 1), "at least two classes, found 1"),
        (([0.5], 2, 1.0), "between 0 and 1, found 1.0"),
        (([1.5], 2), "found a number outside"),
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


@given(st.integers(2, 60), st.integers(2, 4), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_p_value_by_one_exchange_after_the_other(n_labels, n_classes, share, seed):
    rng = np.random.default_rng(seed)
    others = rng.dirichlet(np.full(n_classes, 0.5), size=n_labels)
    said = np.where(rng.random(n_labels) < share, others.argmax(axis=1), rng.integers(n_classes, size=n_labels))

    def statistics(q):
        table = np.eye(n_classes)[said].T @ q
        return np.array([np.trace(table), xlogy(table, table).sum()])

    order = np.argsort(said, kind="stable")  # as the function sorts them, so that the same exchanges are drawn
    said, others, draw = said[order], others[order], np.random.default_rng(seed)
    drawn = [statistics(others[draw.permutation(n_labels)]) for _ in range(99)]
    hits = np.sum(np.array(drawn) >= statistics(others) - 1e-9, axis=0).min()
    assert guessing_p_value(others, said, 99, rng=seed) == min(1.0, 2 * (hits + 1) / 100)


def test_who_agrees_beyond_chance_needs_no_exchange():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert guessing_p_value(*judged(drawing.symmetric(0.75, 4), 1000, 0), 499, rng) == 2 / 500
    assert rng.bit_generator.state == before
    guessing_p_value(*judged(drawing.symmetric(0.75, 4), 40, 0), 499, rng)  # here only the exchanges can tell
    assert rng.bit_generator.state != before
    with pytest.raises(ValueError, match="permutations must be at least 1, found 0"):
        guessing_p_value(*judged(drawing.symmetric(0.75, 4), 40, 0), 0)


def test_odds_of_guessing_by_hand():
    # Guessing: Jeffreys' Dirichlet for two classes gives 1/2, then (1/2) / 2 for the label not yet seen.
    # Working: .9 and .5 * .9 + .5 * .1.
    typical = np.array([[0.9, 0.1], [0.1, 0.9]])
    others = np.array([[1.0, 0.0], [0.5, 0.5]])
    expected = np.log10(1 / 2 * 1 / 4) - np.log10(0.9 * 0.5)
    assert guess_odds(others, np.array([0, 1]), typical) == pytest.approx(expected)
