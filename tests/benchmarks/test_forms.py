"""Forms of a loss and of a step that the benchmarks compare are the same function."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.benchmarks import loss_forms
from tests.benchmarks.questions import simulated


def batch_of(items: int, annotators: int, classes: int, dtype: torch.dtype) -> loss_forms.LossBatch:
    data = simulated(items, annotators, classes, per_item=3)
    return loss_forms.make_batch(data["item"], data["annotator"], data["label"], annotators, classes, dtype)


@pytest.mark.parametrize("what", ["coupled", "crowd_layer"])
def test_dense_and_sparse_forms_are_the_same_function(what):
    batch = batch_of(6, 9, 4, torch.float64)
    sparse, dense = getattr(loss_forms, what), getattr(loss_forms, f"dense_{what}")
    assert_close(sparse(batch), dense(batch))
    for ours, peer in zip(loss_forms.gradients(sparse, batch), loss_forms.gradients(dense, batch), strict=True):
        assert ours.any()
        assert_close(ours, peer)


def test_gradients_agree_at_full_size():
    batch = batch_of(128, 747, 10, torch.float32)
    found = loss_forms.gradients(loss_forms.coupled, batch), loss_forms.gradients(loss_forms.dense_coupled, batch)
    for ours, peer in zip(*found, strict=True):
        assert (ours - peer).abs().max() < 1e-6
