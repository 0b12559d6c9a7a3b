"""The report on annotators, what to relabel and the cleaned labels, against crowds of which everything is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aggregation import annotator_report
from lib.aggregation.dawid_skene import dawid_skene, e_step
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
    crowd = annotator_report.with_classifier(crowd, np.eye(n_classes)[[rng.choice(n_classes, p=p) for p in prob]])
    return y, crowd, np.array([np.trace(matrix) / n_classes for matrix in matrices] + [classifier])


@pytest.fixture(scope="module")
def reports():
    """Truth, crowd, posterior, report and true accuracies of a dozen crowds."""
    found = []
    for seed in range(12):
        y, crowd, accuracy = known_crowd(seed)
        estimate = annotator_report.estimate(crowd)
        lines = annotator_report.report(crowd, estimate.posterior, estimate.confusion, permutations=199)
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
    estimate = annotator_report.estimate(crowd)
    line = annotator_report.report(crowd, estimate.posterior, estimate.confusion).iloc[5]
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
    estimate = annotator_report.estimate(crowd)
    lines = annotator_report.report(crowd, estimate.posterior, estimate.confusion, permutations=19)
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
        estimate = annotator_report.estimate(version)
        lines = annotator_report.report(version, estimate.posterior, estimate.confusion, permutations=1)
        columns.append(lines[["accuracy", "ci_low", "ci_high", "log10_guess_odds"]].to_numpy())
    np.testing.assert_allclose(*columns, atol=1e-6)


# ------------------------------------------------------------------ estimates


@settings(deadline=None)
@given(crowds(min_labels=1))
def test_an_estimate_is_consistent(crowd):
    found = annotator_report.estimate(crowd)
    for values in (found.posterior, found.confusion, found.prior):
        np.testing.assert_allclose(values.sum(axis=-1), 1)
    again, _ = e_step(np.log(found.prior), found.confusion, crowd)
    np.testing.assert_allclose(found.posterior, again)


def test_a_rare_annotator_is_taken_for_average():
    y = np.arange(200) % 2
    dense = np.stack([y, y, y, np.where(np.arange(200) < 1, 1 - y, -1)], axis=1)
    crowd = CrowdLabels.from_dense(dense)
    assert dawid_skene(crowd).confusion[3, 0, 0] < 0.02  # believes the one label
    assert annotator_report.estimate(crowd).confusion[3, 0, 0] > 0.7


def test_little_strength_gives_dawid_and_skene():
    _, crowd, _ = known_crowd(0)
    weak = annotator_report.estimate(crowd, strength=1e-6, max_iterations=1000, tolerance=1e-9)
    plain = dawid_skene(crowd, smoothing=1e-6, tolerance=1e-12, max_iterations=1000)
    np.testing.assert_allclose(weak.posterior, plain.posterior, atol=0.02)


@pytest.mark.parametrize("setting", [{"strength": 0.0}, {"strength": np.nan}, {"max_iterations": 0}])
def test_estimate_refuses(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"{name} must be"):
        annotator_report.estimate(CrowdLabels.from_dense([[0, 1]]), **setting)


# ------------------------------------------------------------------ the classifier as an annotator


def test_the_classifier_labels_every_item():
    crowd = CrowdLabels.from_dense([[0, -1], [-1, -1]], n_classes=2, annotator_names=["ann", "ben"], item_names=["a", "b"])
    both = annotator_report.with_classifier(crowd, np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert both.to_frame().to_records(index=False).tolist() == [("a", "ann", 0), ("a", "classifier", 1), ("b", "classifier", 0)]


def test_the_classifier_needs_its_own_name_and_all_items():
    crowd = CrowdLabels.from_dense([[0, 1]], annotator_names=["classifier", "ben"])
    with pytest.raises(ValueError, match="'classifier' already"):
        annotator_report.with_classifier(crowd, np.array([[0.5, 0.5]]))
    with pytest.raises(ValueError, match=r"prob must have the shape \(1, 2\), found \(2, 2\)"):
        annotator_report.with_classifier(crowd, np.eye(2), name="network")


# ------------------------------------------------------------------ items


def test_gain_is_the_expected_drop_of_entropy(reports):
    _, crowd, posterior, _, _ = reports[0]
    counts = np.zeros((4, 4))
    np.add.at(counts.T, crowd.label, posterior[crowd.item])
    typical = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)

    def entropy(p):
        return -(p[p > 0] * np.log2(p[p > 0])).sum()

    table = annotator_report.relabel(crowd, posterior).set_index("item")
    for item in range(0, 300, 17):
        p = posterior[item]
        after = sum(entropy(p * typical[:, k] / (p @ typical[:, k])) * (p @ typical[:, k]) for k in range(4))
        assert table.loc[item, "gain"] == pytest.approx(entropy(p) - after, abs=1e-9)
        assert table.loc[item, "entropy"] == pytest.approx(entropy(p), abs=1e-9)


def test_the_first_to_relabel_are_wrong_more_often(reports):
    first, rest = [], []
    for y, crowd, posterior, _, _ in reports:
        table = annotator_report.relabel(crowd, posterior)
        wrong = table.label.to_numpy() != y[table.item]
        first.extend(wrong[:30])
        rest.extend(wrong[30:])
        assert (np.diff(table.gain) <= 1e-8).all()
    assert np.mean(first) > 4 * np.mean(rest)


def test_nothing_is_gained_where_the_class_is_certain_or_nobody_can_say():
    crowd = CrowdLabels.from_dense([[0, 0], [0, 1], [1, 0], [1, 1]])
    certain = annotator_report.relabel(crowd, np.eye(2)[[0, 0, 1, 1]])
    assert certain.gain.tolist() == pytest.approx([0] * 4, abs=1e-12)
    blind = annotator_report.relabel(crowd, np.full((4, 2), 0.5))  # so the labels say nothing of the class
    assert blind.gain.tolist() == pytest.approx([0] * 4, abs=1e-12)
    assert blind.entropy.tolist() == pytest.approx([1] * 4)


def test_relabel_names_the_runner_up():
    crowd = CrowdLabels.from_dense([[0], [2]], class_names=["x", "y", "z"], item_names=["a", "b"])
    table = annotator_report.relabel(crowd, np.array([[0.9, 0.0, 0.1], [0.2, 0.5, 0.3]]))
    assert table.item.tolist() == ["b", "a"]
    assert table.runner_up.tolist() == ["z", "z"]
    assert table.runner_up_confidence.tolist() == [0.3, 0.1]
    assert table.n_labels.tolist() == [1, 1]
    shown = tables.show_ranking(table)
    assert shown["label"].tolist() == ["y (50 %)", "x (90 %)"]
    assert shown["or"].tolist() == ["z (30 %)", "z (10 %)"]


def test_cleaned_keeps_names_and_order():
    crowd = CrowdLabels.from_dense([[1, 1], [0, 1], [-1, -1]], class_names=["no", "yes"], item_names=["b", "a", "c"])
    found = annotator_report.cleaned(crowd, np.array([[0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]))
    expected = pd.DataFrame(
        {
            "item": ["b", "a", "c"],
            "label": ["yes", "no", "no"],
            "confidence": [0.8, 0.5, 0.7],
            "n_labels": [2, 2, 0],
            "majority_vote": ["yes", "no", ""],
        }
    )
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_items_need_a_fitting_posterior():
    crowd = CrowdLabels.from_dense([[0, 1]])
    for function in (annotator_report.relabel, annotator_report.cleaned):
        with pytest.raises(ValueError, match=r"posterior must have the shape \(1, 2\), found \(1, 3\)"):
            function(crowd, np.full((1, 3), 1 / 3))
    with pytest.raises(ValueError, match="between 1 classes; expected at least two"):
        annotator_report.relabel(CrowdLabels.from_dense([[0, 0]]), np.ones((1, 1)))
