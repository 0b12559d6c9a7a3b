"""How a trained method is scored when its run is done, by task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lib import metrics, training

if TYPE_CHECKING:
    from lib.datasets import CrowdDataset
    from lib.methods import Method

__all__ = ["as_numpy", "classification"]


def classification(method: Method, data: CrowdDataset, history: dict[str, list[float]]) -> dict[str, float]:
    """Measures of a trained classifier.

    Args:
        method: trained.
        data: what it was trained on, with whatever truth there is.
        history: of its training.

    Returns:
        The accuracies of :func:`lib.metrics.accuracies`; ``train_acc_last``; ``label_acc`` of a method with a posterior;
        ``confusion_error`` of one with matrices, aligned and not; the method's own scores; ``posterior_error`` where the
        true posterior is known.
    """
    scores = metrics.accuracies(history, method.warmup_epochs)
    labeled = data.crowd.labels_per_item > 0
    prob = as_numpy(method.predict_proba, data.x, method)
    if data.y is not None:
        truth = data.y.numpy()[labeled]
        scores["train_acc_last"] = float((prob.argmax(axis=1)[labeled] == truth).mean())
        if (posterior := method.posterior()) is not None:
            scores["label_acc"] = float((posterior.argmax(dim=1).cpu().numpy()[labeled] == truth).mean())
    estimate, known = method.confusion(), data.true_confusion
    if known is None and data.y is not None:
        known = data.crowd.true_confusion(data.y.numpy())
    order = np.arange(data.n_classes)
    if estimate is not None and known is not None:
        estimate = estimate.double().cpu().numpy()
        order = metrics.alignment(estimate, known)
        scores["confusion_error"] = metrics.confusion_error(estimate[:, order], known)
        scores["confusion_error_unaligned"] = metrics.confusion_error(estimate, known)
    scores |= method.scores(data)
    scores |= _by_test_kind(method, data)
    if "true_posterior_test" in data.extra:
        prob = as_numpy(method.predict_proba, data.x_test, method)
        scores["posterior_error"] = float(np.abs(prob[:, order] - data.true_posterior_test).sum(axis=1).mean())
    return scores


def _by_test_kind(method: Method, data: CrowdDataset) -> dict[str, float]:
    """The last epoch's accuracy on each kind of test images, where there are several."""
    kind = np.asarray(data.extra.get("test_kind", []))
    kinds = sorted(set(kind.tolist()))
    if len(kinds) < 2:
        return {}
    right = as_numpy(method.predict_proba, data.x_test, method).argmax(axis=1) == data.y_test.numpy()
    return {f"test_acc_last_{part}": float(right[kind == part].mean()) for part in kinds}


def as_numpy(function: Callable[[Tensor], Tensor], x: Tensor, method: Method) -> np.ndarray:
    """``function(x)`` in evaluation mode, on the method's device, as float64."""
    place = next(method.parameters()).device
    return training.predict(function, x.to(place), method).double().cpu().numpy()
