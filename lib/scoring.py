"""How a trained method is scored, by task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lib import metrics, training
from lib import tagging as bio
from lib.datasets.tagged import token_counts

if TYPE_CHECKING:
    from lib.datasets import CrowdDataset
    from lib.datasets.tagged import TaggedDataset
    from lib.methods import Method

__all__ = ["as_numpy", "classification", "tagging", "tags"]


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


def tags(method: Method, data: TaggedDataset, x: Tensor, y: Tensor) -> dict[str, float]:
    """Scores of a tagger on some sentences, shares of 0 to 1.

    Args:
        method: trained, or in training.
        data: whose tags they are.
        x: ``[sentences, length, columns]``.
        y: ``[tokens]`` true tags.

    Returns:
        ``acc`` of the most probable tag of each token; ``f1``, ``precision``, ``recall`` of whole entities in the most
        probable *valid* sequence; ``f1_unconstrained`` of the most probable tags as they are.
    """
    prob, truth, lengths = as_numpy(method.predict_proba, x, method), y.cpu().numpy(), token_counts(x).cpu().numpy()
    plain = prob.argmax(axis=1)
    free = bio.entity_scores(plain, truth, lengths, data.class_names)["f1"]
    scores = {"acc": float((plain == truth).mean())} | _entities(prob, truth, lengths, data)
    return scores | {"f1_unconstrained": free}


def _entities(prob: np.ndarray, truth: np.ndarray, lengths: np.ndarray, data: TaggedDataset) -> dict[str, float]:
    log_prob = np.log(np.maximum(prob, np.finfo(np.float64).tiny))  # a hard vote has zeros
    return bio.entity_scores(bio.decode(log_prob, lengths, data.class_names), truth, lengths, data.class_names)


def tagging(method: Method, data: TaggedDataset, history: dict[str, list[float]]) -> dict[str, float]:
    """Measures of a trained tagger: those of :func:`classification`, counted in tokens, and those of whole entities.

    Returns:
        Besides, ``test_f1_last``, ``_best`` and, with a validation part, ``_selected`` (by validation F1); the same of
        precision, recall and the unconstrained F1, last epoch only; ``label_f1`` of a method with a posterior of the
        training tokens; ``second_<measure>_last`` on a second test set where the data have one.
    """
    scores = classification(method, data, history) | metrics.over_epochs(history, "f1", method.warmup_epochs)
    for measure in ("precision", "recall", "f1_unconstrained"):
        if f"test_{measure}" in history:
            scores[f"test_{measure}_last"] = history[f"test_{measure}"][-1]
    if data.y is not None and (posterior := method.posterior()) is not None:
        lengths, labeled = np.diff(data.offsets), np.add.reduceat(data.crowd.labels_per_item, data.offsets[:-1]) > 0
        token = np.repeat(labeled, lengths)
        prob = posterior.double().cpu().numpy()[token]
        scores["label_f1"] = _entities(prob, data.y.numpy()[token], lengths[labeled], data)["f1"]
    if "x_second" in data.extra:
        second = tags(method, data, data.x_second, data.y_second)
        scores |= {f"second_{name}_last": second[name] for name in ("f1", "precision", "recall")}
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
