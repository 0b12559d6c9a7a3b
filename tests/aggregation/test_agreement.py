"""Alpha and kappa beside worked examples of their textbooks."""

import numpy as np
import pytest

from lib.aggregation import agreement
from lib.crowd.labels import CrowdLabels

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", example C: four observers, twelve units; alpha = .743.
_ = -1
KRIPPENDORFF = np.array(
    [
        [0, 1, 2, 2, 1, 0, 3, 0, 1, _, _, _],
        [0, 1, 2, 2, 1, 1, 3, 0, 1, 4, _, 2],
        [_, 2, 2, 2, 1, 2, 3, 1, 1, 4, 0, _],
        [0, 1, 2, 2, 1, 3, 3, 0, 1, 4, 0, _],
    ]
).T


def test_alpha_of_the_textbook():
    value, low, high = agreement.alpha(CrowdLabels.from_dense(KRIPPENDORFF))
    assert value == pytest.approx(0.743, abs=5e-4)
    assert low < value < high <= 1


def test_kappa_by_hand():
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement .7, chance .5, kappa .4."""
    dense = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [20, 5, 10, 15], axis=0)
    line = agreement.kappas(CrowdLabels.from_dense(dense, annotator_names=["ann", "ben"])).iloc[0]
    assert (line["first"], line["second"], line["n_items"]) == ("ann", "ben", 50)
    assert line["agreement"] == pytest.approx(0.7)
    assert line["kappa"] == pytest.approx(0.4)


def test_pairs_of_several_on_one_item():
    pairs = agreement.kappas(CrowdLabels.from_dense(KRIPPENDORFF, annotator_names=list("abcd")))
    assert pairs["n_items"].tolist() == [9, 8, 9, 9, 10, 10]  # units that both observed


def test_undefined_is_said():
    lonely = CrowdLabels(np.arange(4), np.arange(4) % 2, np.arange(4) % 2, 4, 2, 2, annotator_names=["a", "b"])
    table = agreement.agreement(lonely)
    assert table["value"].isna().all()
    assert table["remark"].tolist() == ["undefined: no item has two labels"]
    same = agreement.agreement(CrowdLabels.from_dense([[0, 0], [0, 0]], n_classes=2, annotator_names=["a", "b"]))
    assert same["value"].isna().all()
    assert set(same["remark"]) == {"undefined: all labels are the same class"}
