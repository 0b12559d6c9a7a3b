"""The report on annotators, against crowds of which everything is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aggregation import annotator_report, fusion
from lib.aggregation.dawid_skene import dawid_skene
from lib.crowd.labels import CrowdLabels
from lib.results import tables
from lib.simulation import drawing
from tests.strategies import crowds

KINDS = ["expert"] * 4 + ["ordinary"] * 6 + ["guesser", "constant"]


def known_crowd(seed, n_items=300, n_classes=4, classifier=0.9):
    """Truth, a crowd of :data:`KINDS` with a classifier of that accuracy, and everybody's true accuracy."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_items)
    accuracy = np.concatenate([rng.uniform(0.9, 0.98, 4), rng.uniform(0.6, 0.85, 6)])
    matrices = [drawing.symmetric(a, n_classes) for a in accuracy]
    matrices += [drawing.symmetric(1 / n_classes, n_classes), drawing.constant(seed % n_classes, n_classes)]
    crowd = drawing.simulate(y, np.array(matrices), 3.0, seed=seed)
    prob = drawing.symmetric(classifier, n_classes)[y]
    everything = np.array([rng.choice(n_classes, p=p) for p in prob])
    items = np.arange(n_items)
    crowd = CrowdLabels(
        np.concatenate([crowd.item, items]),
        np.concatenate([crowd.annotator, np.full(n_items, crowd.n_annotators)]),
        np.concatenate([crowd.label, everything]),
        n_items,
        crowd.n_annotators + 1,
        n_classes,
    )
    return y, crowd, np.array([np.trace(matrix) / n_classes for matrix in matrices] + [classifier])


@pytest.fixture(scope="module")
def reports():
    """Truth, crowd, posterior, report and true accuracies of a dozen crowds."""
    found = []
    for seed in range(12):
        y, crowd, accuracy = known_crowd(seed)
        estimate = fusion.estimate(crowd)
        lines = annotator_report.report(crowd, estimate.posterior, estimate.matrices(), permutations=199)
        found.append((y, crowd, estimate.posterior, lines, accuracy))
    return found


# ------------------------------------------------------------------ the report


def test_intervals_hold_the_true_accuracy_about_as_often_as_they_say(reports):
    held = [(lines.ci_low <= truth) & (truth <= lines.ci_high) for _, _, _, lines, truth in reports]
    share = np.concatenate(held).mean()  # of 156 intervals of 95 %; the spread of that share is .017
    assert 0.88 <= share <= 0.995


def test_accuracies_are_near_and_in_order(reports):
    for _, _, _, lines, truth in reports:
        assert np.abs(lines.accuracy - truth).max() < 0.2
        assert np.corrcoef(lines.accuracy, truth)[0, 1] > 0.95


def test_guessers_look_random_and_nobody_else_does(reports):
    kinds = np.array([*KINDS, "classifier"])
    flags = np.array([lines.looks_random for *_, lines, _ in reports])
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


def test_confusions_are_shares_of_the_true_class():
    y = np.array([0] * 10 + [1] * 10)
    said = np.array([0] * 6 + [1] * 4 + [1] * 9 + [0])
    crowd = CrowdLabels.from_dense(np.stack([y, y, y, said], axis=1), class_names=["3", "8"])
    fitted = dawid_skene(crowd)
    lines = annotator_report.report(crowd, fitted.posterior, fitted.confusion)
    assert lines.confusions.tolist() == ["", "", "", "3 → 8 (40 %)"]  # the other error was made once only


@settings(max_examples=40, deadline=None)
@given(crowds(max_classes=4).filter(lambda crowd: crowd.n_classes > 1))
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


@given(crowds(max_classes=4, min_labels=1).filter(lambda crowd: crowd.n_classes > 1), st.integers(0, 2**32 - 1))
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


# ------------------------------------------------------------------ estimates
