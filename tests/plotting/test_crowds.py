"""Figures of annotators: what is drawn, in which order, and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from lib.aggregation import annotator_report
from lib.aggregation.dawid_skene import dawid_skene
from lib.crowd.labels import CrowdLabels
from lib.plotting import crowds
from tests.plotting.conftest import legend_of


@pytest.fixture
def report() -> pd.DataFrame:
    y = np.arange(40) % 2
    dense = np.stack([y, y, np.where(np.arange(40) < 10, 1 - y, y), np.zeros_like(y), np.full_like(y, -1)], axis=1)
    crowd = CrowdLabels.from_dense(dense, annotator_names=["ann", "ben", "cy", "dee", "eve"])
    fitted = dawid_skene(crowd)
    return annotator_report.report(crowd, fitted.posterior, fitted.confusion)


def test_annotators_go_from_the_best_to_the_worst(report, save):
    fig, data = crowds.accuracies(report)
    assert data.annotator.tolist() == ["ann", "ben", "cy", "dee"]  # eve gave no label
    assert data.group.tolist() == ["no sign of guessing"] * 3 + ["looks random"]
    assert data.accuracy.is_monotonic_decreasing
    assert data.accuracy.iloc[0] > 90  # percent
    (axis,) = fig.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["ann (40)", "ben (40)", "cy (40)", "dee (40)"]
    assert legend_of(fig) == ["(mean and 95 % interval)", "no sign of guessing", "looks random"]
    save(fig, data)


def test_names_are_drawn_as_they_are(report, save):
    """Not as formulas, of which one that is wrong would stop the figure."""
    names = ["$a$", r"$\x{$", r"\$", "dee"]
    fig, data = crowds.accuracies(report.replace({"annotator": dict(zip(["ann", "ben", "cy"], names, strict=False))}))
    save(fig, data)
    assert {text.get_text() for text in fig.axes[0].get_yticklabels()} == {f"{name} (40)" for name in names}
    crowd = CrowdLabels.from_dense([[0, 1]], annotator_names=names[:2], class_names=names[1:3])
    save(*crowds.disagreement(np.zeros((1, 2, 2)), crowd, [0], np.array([0])))
    assert not any(label.get_parse_math() for label in fig.axes[0].get_yticklabels())


def test_groups_and_truth_are_shown(report):
    groups = {"ann": "good", "ben": "good", "cy": "middling", "dee": "bad", "eve": "bad"}
    truth = dict.fromkeys(groups, 0.5)
    fig, data = crowds.accuracies(report, groups, truth, legend="kind")
    assert data.true_accuracy.tolist() == [50] * 4
    assert legend_of(fig) == ["kind\n(mean and 95 % interval)", "good", "middling", "bad", "true accuracy"]


def test_too_many_groups_or_nobody(report):
    few = report[report.n_labels == 0]
    with pytest.raises(ValueError, match="nobody gave a label"):
        crowds.accuracies(few)
    many = pd.concat([report.head(1).assign(annotator=f"a{i}") for i in range(7)], ignore_index=True)
    with pytest.raises(ValueError, match="at most 6 groups can be told apart, found 7"):
        crowds.accuracies(many, groups={name: name for name in many.annotator})


def test_images_say_who_said_what(save):
    crowd = CrowdLabels.from_dense([[0, 1], [-1, 1], [-1, -1]], annotator_names=["ann", "ben"], class_names=["cat", "dog"])
    fig, data = crowds.disagreement(np.zeros((3, 2, 2)), crowd, [0, 2, 1, 2, 2], np.array([0, 1, 1]))
    assert [axis.get_title() for axis in fig.axes] == ["ann: cat\nben: dog", "", "ben: dog", *[""] * 5]
    assert [axis.get_xlabel() for axis in fig.axes] == ["true: cat", *["true: dog"] * 4, *[""] * 3]
    assert data.to_numpy().tolist() == [[0, "cat", "ann", "cat"], [0, "cat", "ben", "dog"], [1, "dog", "ben", "dog"]]
    save(fig, data)
    with pytest.raises(ValueError, match="no items were given"):
        crowds.disagreement(np.zeros((3, 2, 2)), crowd, [], np.array([0, 1, 1]))


def test_a_covered_picture_gives_no_answer_away():
    fig, data = crowds.disagreement(np.zeros((1, 2, 2)), CrowdLabels.from_dense([[0, 1]]), [0], None)
    assert fig.axes[0].get_xlabel() == "true: ?"
    assert fig.axes[0].get_title() == "0: 0\n1: 1"
    assert data.true_class.isna().all()
