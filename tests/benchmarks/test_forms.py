"""Forms of a loss that the benchmarks compare are the same function; forms of CCC's step are tested beside the method."""

import pytest
import torch
from torch.testing import assert_close

from tests.benchmarks import loss_forms
from tests.benchmarks.questions import simulated


@pytest.mark.parametrize("what", ["coupled", "crowd_layer"])
def test_dense_and_sparse_forms_are_the_same_function(what):
    batch = loss_forms.make_batch(simulated(6, 9, 4, per_item=3), torch.float64)
    sparse, dense = getattr(loss_forms, what), getattr(loss_forms, f"dense_{what}")
    assert_close(sparse(batch), dense(batch))
    for ours, peer in zip(loss_forms.gradients(sparse, batch), loss_forms.gradients(dense, batch), strict=True):
        assert ours.any()
        assert_close(ours, peer)
