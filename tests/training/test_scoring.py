"""Scores: which epoch counts, and the error of confusion matrices by hand, against a loop, and turned around."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.aggregation.confusion import alignment, confusion_error
from lib.training.scoring import errors, over_epochs, reported_epochs

HISTORY = {"loss": [1.0, 0.5, 0.4], "test_acc": [0.5, 0.8, 0.7], "valid_acc": [0.9, 0.6, 0.9]}


def random_matrices(annotators=4, classes=3, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), size=(annotators, classes))


# ------------------------------------------------------------------ which epoch counts


def test_last_best_and_selected():
    found = {"test_acc_last": 0.7, "test_acc_best": 0.8, "test_acc_selected": 0.7, "valid_acc_selected": 0.9}
    assert over_epochs(HISTORY, "acc") == found  # selected: of two equally good validation epochs the later one
    other = over_epochs(HISTORY | {"test_acc": [0.1, 0.2, 0.3]}, "acc")  # which the test items do not decide
    assert (other["test_acc_selected"], other["valid_acc_selected"]) == (0.3, 0.9)
    assert over_epochs({"test_acc": [0.5, 0.8, 0.7]}, "acc") == {"test_acc_last": 0.7, "test_acc_best": 0.8}
    assert over_epochs({"loss": [1.0]}, "acc") == {}


def test_warm_up_epochs_do_not_count():
    history = {"test_acc": [0.9, 0.6, 0.7], "valid_acc": [0.9, 0.8, 0.7]}
    found = over_epochs(history, "acc", warmup=1)
    assert (found["test_acc_best"], found["test_acc_selected"], found["test_acc_last"]) == (0.7, 0.6, 0.7)
    # Where there is nothing but warm-up, the last epoch stands for the run.
    assert over_epochs(history, "acc", warmup=10)["test_acc_best"] == 0.7


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1))
def test_the_selected_epoch_is_the_last_of_the_best(valid):
    epoch = reported_epochs({"test_acc": valid, "valid_acc": valid}, "acc")["selected"]
    assert valid[epoch] == max(valid)
    assert max(valid[epoch + 1 :], default=0.0) < max(valid)


def test_errors_of_a_history():
    history = {"loss": [1, 1, 1], "test_r2": [0.3, -0.2, -0.1], "test_rmse": [1, 2, 3], "valid_rmse": [0.5, 0.4, 0.4]}
    found = errors(history)
    assert (found["test_r2_last"], found["test_r2_clipped_last"]) == (-0.1, 0.0)
    assert (found["test_r2_selected"], found["test_rmse_selected"], found["valid_rmse_selected"]) == (-0.1, 3, 0.4)
    earlier = history | {"valid_rmse": [0.1, 0.4, 0.4]}
    assert errors(earlier)["test_r2_clipped_selected"] == 0.3
    assert errors(earlier, warmup=1)["test_rmse_selected"] == 3
    assert errors({"loss": [1.0]}) == {}


# ------------------------------------------------------------------ confusion matrices


def test_error_by_hand():
    truth = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    estimate = np.array([[[0.9, 0.1], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]]])
    # The first annotator is off by 0.2 of 2 rows, the second by 1.0.
    assert confusion_error(estimate, truth) == pytest.approx((0.2 / 2 + 1.0 / 2) / 2)
    assert confusion_error(truth, truth) == 0.0
    assert confusion_error(np.roll(np.eye(3)[None], 1, axis=2), np.eye(3)[None]) == 2.0
    assert confusion_error(random_matrices().transpose(0, 2, 1), random_matrices()) > 0.1


def test_error_against_a_loop():
    """Over what was seen in truth: neither annotators nor classes without labels count."""
    estimate, truth = random_matrices(seed=0), random_matrices(seed=1)
    truth[0] = 0  # gave no label
    truth[1, 2] = 0  # saw no item of class 2
    errors = []
    for r in (1, 2, 3):
        rows = [j for j in range(3) if truth[r, j].sum() > 0]
        difference = sum(abs(estimate[r, j, k] - truth[r, j, k]) for j in rows for k in range(3))
        errors.append(difference / sum(truth[r, j].sum() for j in rows))
    assert confusion_error(estimate, truth) == pytest.approx(np.mean(errors))


@given(st.permutations(range(4)), st.integers(0, 50))
def test_alignment_undoes_one_permutation_of_the_true_classes(order, seed):
    truth = 0.7 * np.eye(4) + 0.3 * random_matrices(3, 4, seed)
    estimate = truth[:, list(order)]  # class order[j] is called j
    assert (estimate[:, alignment(estimate, truth)] == truth).all()


def test_alignment_is_the_best_of_all():
    estimate, truth = random_matrices(seed=2), random_matrices(seed=3)

    def agreement(order):
        return (estimate[:, list(order)] * truth).sum()

    best = max(itertools.permutations(range(3)), key=agreement)
    assert alignment(estimate, truth).tolist() == list(best)


def test_what_cannot_be_compared():
    for compare in (confusion_error, alignment):
        with pytest.raises(ValueError, match=r"estimate must have the shape \(3, 3, 3\), found \(4, 3, 3\)"):
            compare(random_matrices(4), random_matrices(3))
    with pytest.raises(ValueError, match="no annotator has a true confusion matrix"):
        confusion_error(random_matrices(), np.zeros((4, 3, 3)))
