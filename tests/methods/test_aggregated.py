"""Aggregate first, train afterwards: what each baseline is trained on."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lib import methods
from lib.aggregation import em_steps
from lib.aggregation.dawid_skene import dawid_skene
from lib.aggregation.glad import glad
from lib.aggregation.mace import mace
from lib.crowd.labels import CrowdLabels
from lib.losses.early_learning import MOMENTUM
from lib.methods.aggregated import ELR_WEIGHT
from tests.worked_example import batch_of, build, pass_through, random_example, scramble

# Item 0: classes 0 and 2 are tied; item 1: two of three say 1; item 2: nobody; item 3: one says 2.
CROWD = CrowdLabels([0, 0, 1, 1, 1, 3], [0, 1, 0, 1, 2, 2], [0, 2, 1, 1, 0, 2], 4, 3, 3)
LABELED = [0, 1, 3]
LOGITS = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1]], dtype=torch.float64).log()


def loss_of(method, items=LABELED):
    return method.loss(batch_of(CROWD, LOGITS, items)).item()


def test_majority_vote_trains_on_the_most_frequent_label():
    method = build("majority-vote", CROWD)
    assert method.posterior()[LABELED].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]  # a tie goes to the lowest class
    assert loss_of(method) == pytest.approx(-np.log([0.7, 0.3, 0.1]).mean())
    assert loss_of(method, [3, 1]) == pytest.approx(-np.log([0.1, 0.3]).mean())


def test_majority_vote_with_the_early_learning_penalty():
    method = scramble(build("majority-vote-elr", CROWD))
    p = torch.softmax(method.backbone(LOGITS), dim=1).detach().numpy()[LABELED]
    penalty = np.log(1 - (1 - MOMENTUM) * (p**2).sum(axis=1))  # against the first running means
    surprise = -np.log(p[np.arange(3), [0, 1, 2]])
    assert loss_of(method) == pytest.approx((surprise + ELR_WEIGHT * penalty).mean(), abs=1e-12)


def test_soft_majority_vote_trains_on_shares():
    method = build("soft-majority-vote", CROWD)
    thirds = [1 / 3, 2 / 3, 0]
    assert_close(method.posterior()[LABELED], torch.tensor([[0.5, 0, 0.5], thirds, [0, 0, 1]]))
    by_hand = -np.array([(np.log(0.7) + np.log(0.1)) / 2, (np.log(0.1) + 2 * np.log(0.3)) / 3, np.log(0.1)]).mean()
    assert loss_of(method) == pytest.approx(by_hand)


@pytest.mark.parametrize(("name", "aggregate"), [("dawid-skene", dawid_skene), ("glad", glad), ("mace", mace)])
def test_a_model_of_the_annotators_trains_on_its_most_likely_classes(name, aggregate):
    crowd = random_example().crowd
    method, fitted = build(name, crowd), aggregate(crowd)
    assert_close(method.posterior(), torch.from_numpy(np.eye(4)[fitted.posterior.argmax(axis=1)]).float())
    if name != "glad":
        assert_close(method.confusion(), torch.from_numpy(fitted.confusion).float())


def test_mace_trains_where_its_matrices_do_not_fit(monkeypatch):
    """The labels are few; matrices of 21 classes are not."""
    crowd = CrowdLabels([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 2], [20, 20, 5, 7, 7, 1], 3, 3, 21)
    whole = build("mace", crowd)
    assert whole.confusion().shape == (3, 21, 21)
    monkeypatch.setattr(em_steps, "_memory", lambda: 16 * 3 * 21 * 21 - 1)
    method = build("mace", crowd)
    assert method.confusion() is None
    assert torch.equal(method.posterior(), whole.posterior())
    assert method.posterior().argmax(dim=1).tolist()[:2] == [20, 7]


def test_true_labels_trains_on_the_truth():
    method = methods.build("true-labels", pass_through(3), CROWD, truth=torch.tensor([2, 0, 1, 1])).double()
    assert method.posterior().tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert loss_of(method) == pytest.approx(-np.log([0.1, 0.1, 0.4]).mean())


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (None, "true-labels needs the truth of each of the 4 items, found none"),
        (torch.zeros(3, dtype=torch.int64), "true-labels needs the truth of each of the 4 items, found 3"),
        (torch.tensor([0, 1, 2, 3]), r"must lie in 0 \.\. 2, found 0 \.\. 3"),
        (torch.tensor([0, 1, 2, -1]), r"must lie in 0 \.\. 2, found -1 \.\. 2"),
    ],
)
def test_true_labels_needs_the_truth(truth, message):
    with pytest.raises(ValueError, match=message):
        methods.build("true-labels", pass_through(3), CROWD, truth=truth)
