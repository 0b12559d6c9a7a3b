"""What a finished run is scored by."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def select_epoch(valid: list[float]) -> int:
    """The epoch with the best validation score; the last of them where several tie (Ibrahim et al. 2023 select so)."""
    return len(valid) - 1 - int(np.argmax(valid[::-1]))


def accuracies(history: dict[str, list[float]], warmup: int = 0) -> dict[str, float]:
    """Test accuracies (shares, 0 to 1) of a run.

    Args:
        history: per epoch, ``test_acc`` and, where there is a validation split, ``valid_acc``.
        warmup: epochs at the start that do not count, except where there are no others.

    Returns:
        ``test_acc_last``; ``test_acc_best``, the best *test* epoch, which the papers report and which is optimistic;
        ``test_acc_selected``, the epoch chosen on validation labels, and ``valid_acc_selected``, its validation score.
        Nothing without a test split.
    """
    return over_epochs(history, "acc", warmup)


def over_epochs(history: dict[str, list[float]], measure: str, warmup: int = 0) -> dict[str, float]:
    """As :func:`accuracies`, for any measure of which more is better: ``test_<measure>_last`` and so on."""
    epochs = reported_epochs(history, measure, warmup)
    scores = {f"test_{measure}_{name}": history[f"test_{measure}"][epoch] for name, epoch in epochs.items()}
    if "selected" in epochs:
        scores[f"valid_{measure}_selected"] = history[f"valid_{measure}"][epochs["selected"]]
    return scores


def reported_epochs(history: dict[str, list[float]], measure: str, warmup: int = 0) -> dict[str, int]:
    """Which epochs, counted from 0, a run reports: ``last``, ``best`` on test and, with a validation split, ``selected``.

    Args:
        history, measure, warmup: as in :func:`over_epochs`. Nothing without a test split.
    """
    test, valid = history.get(f"test_{measure}", []), history.get(f"valid_{measure}", [])
    if not test:
        return {}
    first = min(warmup, len(test) - 1)
    epochs = {"last": len(test) - 1, "best": first + int(np.argmax(test[first:]))}
    return epochs | ({"selected": first + select_epoch(valid[first:])} if valid else {})


def errors(history: dict[str, list[float]], warmup: int = 0) -> dict[str, float]:
    """Test scores of a run that predicts numbers.

    Args:
        history: per epoch ``test_<score>``, and ``valid_<score>`` where there is a validation split, for the scores of
            :func:`lib.ratings.scores`.
        warmup: epochs at the start that do not count, except where there are no others.

    Returns:
        ``test_<score>_last``; ``test_<score>_selected`` and ``valid_<score>_selected`` at the epoch with the least
        validation RMSE (the last of them where several tie); each R squared also clipped at 0, as the authors' notebook of
        Crowd Layer reports it. Nothing without a test split but the validation scores, if there are any.
    """
    valid = history.get("valid_rmse", [])
    first = min(warmup, max(len(history["loss"]) - 1, 0))
    found = {f"{name}_last": values[-1] for name, values in history.items() if name.startswith("test_")}
    if valid:
        epoch = first + select_epoch([-value for value in valid[first:]])
        splits = ("test_", "valid_")
        found |= {f"{name}_selected": values[epoch] for name, values in history.items() if name.startswith(splits)}
    clipped = {name.replace("_r2_", "_r2_clipped_"): max(value, 0.0) for name, value in found.items() if "_r2_" in name}
    return found | clipped


def alignment(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The one order of the estimate's classes, for *all* annotators, that agrees best with the truth.

    A permutation for each annotator would hide that labels were switched between them.

    Args:
        estimate, truth: ``[annotators, true class, label]``.

    Returns:
        ``[classes]``; ``estimate[:, order]`` is aligned (Hungarian method on the summed agreement). The identity when
        nothing was switched.

    Raises:
        ValueError: different shapes.
    """
    _check_shapes(estimate, truth)
    agreement = np.einsum("rik,rjk->ji", estimate, truth)
    return linear_sum_assignment(-agreement)[1]


def confusion_error(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Mean relative L1 error of confusion matrices, 0 (equal) to 2.

    ``mean over r of |A^_r - A_r|_1 / |A_r|_1`` over the annotators with a label, and their rows with a label in truth
    (Ibrahim et al. 2023, without the slips of the released function).

    Args:
        estimate: ``[annotators, true class, label]``.
        truth: the same; a row of zeros (the annotator saw no item of that class) is left out.

    Raises:
        ValueError: different shapes, or no row to compare.
    """
    _check_shapes(estimate, truth)
    seen = truth.sum(axis=2) > 0
    annotators = seen.any(axis=1)
    if not annotators.any():
        raise ValueError("no annotator has a true confusion matrix to compare with")
    difference = (np.abs(estimate - truth).sum(axis=2) * seen).sum(axis=1)
    return float((difference[annotators] / seen.sum(axis=1)[annotators]).mean())


def _check_shapes(estimate: np.ndarray, truth: np.ndarray) -> None:
    if estimate.shape != truth.shape:
        raise ValueError(f"confusion matrices must have equal shapes, found {estimate.shape} and {truth.shape}")
