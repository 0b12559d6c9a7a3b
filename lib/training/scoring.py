"""How a method is scored: on a split after every epoch, and what a finished run's row holds, by task."""

import numpy as np
from torch import Tensor

from lib.aggregation import ratings
from lib.aggregation.confusion import alignment, confusion_error
from lib.crowd import bio_tags as bio
from lib.datasets.kinds import CrowdData, CrowdDataset, RatingDataset, TaggedDataset, token_counts
from lib.methods.base import Method
from lib.methods.ratings import RatingMethod
from lib.networks.predict import as_numpy, predict

History = dict[str, list[float]]  # scores by epoch


def evaluate(method: Method, data: CrowdData, x: Tensor, y: Tensor) -> tuple[dict[str, float], Tensor | None]:
    """Scores on a split ``x, y`` of the data after an epoch, ``test_<name>`` and ``valid_<name>`` of the history: ``acc`` of a
    classifier, those of :func:`tags` for a tagger, of :func:`rating_scores` for numbers. And of a classifier ``[items]`` bool,
    whether the most probable class is the true one; of the others None."""
    if method.task == "regression":
        return rating_scores(as_numpy(method.predict, x, method), y.cpu().double().numpy()), None
    if data.offsets is not None:
        return tags(method, data, x, y), None
    right = predict(method.predict_proba, x, method).argmax(dim=1) == y
    return {"acc": float(right.cpu().double().mean())}, right


def summary(method: Method, data: CrowdData, history: History) -> dict[str, float]:
    """What a finished run's row holds: from the data that the method was trained on, with whatever truth there is, and the
    history of its training."""
    if method.task == "regression":
        return regression(method, data, history)
    return (classification if data.offsets is None else tagging)(method, data, history)


# ---------------------------------------------------------------------- classes


def classification(method: Method, data: CrowdDataset, history: History) -> dict[str, float]:
    """The accuracies of :func:`over_epochs`; ``train_acc_last``; ``label_acc`` of a method with a posterior;
    ``confusion_error`` of one with matrices, aligned and not; the method's own scores; ``test_acc_last_<kind>`` where test
    images are of several kinds; ``posterior_error`` where the true posterior is known."""
    scores = over_epochs(history, "acc", method.warmup_epochs)
    labeled = data.crowd.labels_per_item > 0
    known = data.true_confusion
    if data.y is not None:
        truth = data.y.numpy()
        said = as_numpy(method.predict_proba, data.x, method).argmax(axis=1)
        scores["train_acc_last"] = float((said == truth)[labeled].mean())
        if (posterior := method.posterior()) is not None:
            scores["label_acc"] = float((posterior.argmax(dim=1).cpu().numpy() == truth)[labeled].mean())
    estimate, order = method.confusion(), np.arange(data.n_classes)
    if estimate is not None and known is None and data.y is not None:  # a method without matrices may be one for too many
        known = data.crowd.true_confusion(truth)
    if estimate is not None and known is not None:
        estimate = estimate.cpu().double().numpy()
        order = alignment(estimate, known)
        scores["confusion_error"] = confusion_error(estimate[:, order], known)
        scores["confusion_error_unaligned"] = confusion_error(estimate, known)
    scores |= method.scores(data)
    kind = np.asarray(data.extra.get("test_kind", []))
    if len(np.unique(kind)) > 1:
        right = as_numpy(method.predict_proba, data.x_test, method).argmax(axis=1) == data.y_test.numpy()
        scores |= {f"test_acc_last_{part}": float(right[kind == part].mean()) for part in np.unique(kind)}
    if "true_posterior_test" in data.extra:
        prob = as_numpy(method.predict_proba, data.x_test, method)
        scores["posterior_error"] = float(np.abs(prob[:, order] - data.true_posterior_test).sum(axis=1).mean())
    return scores


# ---------------------------------------------------------------------- tags


def tags(method: Method, data: TaggedDataset, x: Tensor, y: Tensor) -> dict[str, float]:
    """Scores of a tagger on sentences ``x`` ``[sentences, length, columns]`` with the true tags ``y`` ``[tokens]``, shares of 0
    to 1: ``acc`` of the most probable tag of each token; ``f1``, ``precision``, ``recall`` of whole entities in the most
    probable *valid* sequence; ``f1_unconstrained`` of the most probable tags as they are."""
    prob, truth, lengths = as_numpy(method.predict_proba, x, method), y.cpu().numpy(), token_counts(x).cpu().numpy()
    plain = prob.argmax(axis=1)
    free = bio.entity_scores(plain, truth, lengths, data.class_names)["f1"]
    scores = {"acc": float((plain == truth).mean())} | _entities(prob, truth, lengths, data)
    return scores | {"f1_unconstrained": free}


def _entities(prob: np.ndarray, truth: np.ndarray, lengths: np.ndarray, data: TaggedDataset) -> dict[str, float]:
    log_prob = np.log(np.maximum(prob, np.finfo(np.float64).tiny))  # a hard vote has zeros
    return bio.entity_scores(bio.decode(log_prob, lengths, data.class_names), truth, lengths, data.class_names)


def tagging(method: Method, data: TaggedDataset, history: History) -> dict[str, float]:
    """Measures of a trained tagger: those of :func:`classification`, counted in tokens, and those of whole entities:
    ``test_f1_last``, ``_best`` and, with a validation part, ``_selected`` (by validation F1); the same of precision, recall
    and the unconstrained F1, last epoch only; ``label_f1`` of a method with a posterior of the training tokens;
    ``second_<measure>_last`` on a second test set where the data have one."""
    scores = classification(method, data, history) | over_epochs(history, "f1", method.warmup_epochs)
    for measure in ("precision", "recall", "f1_unconstrained"):
        if f"test_{measure}" in history:
            scores[f"test_{measure}_last"] = history[f"test_{measure}"][-1]
    if data.y is not None and (posterior := method.posterior()) is not None:
        lengths, labeled = np.diff(data.offsets), np.add.reduceat(data.crowd.labels_per_item, data.offsets[:-1]) > 0
        token = np.repeat(labeled, lengths)
        prob = posterior.cpu().double().numpy()[token]
        scores["label_f1"] = _entities(prob, data.y.numpy()[token], lengths[labeled], data)["f1"]
    if "x_second" in data.extra:
        second = tags(method, data, data.x_second, data.y_second)
        scores |= {f"second_{name}_last": second[name] for name in ("f1", "precision", "recall")}
    return scores


# ---------------------------------------------------------------------- numbers


def regression(method: RatingMethod, data: RatingDataset, history: History) -> dict[str, float]:
    """The measures of :func:`errors`; ``train_r2_last`` of the rated items' predictions; ``label_r2`` and ``label_mae`` of a
    method that estimates the ratings; ``bias_error`` of one with biases: root mean square over the ratings, so that an
    annotator weighs by how many ratings it gave; the method's own scores."""
    scores = errors(history, method.warmup_epochs)
    if data.y is not None:
        labeled = data.crowd.labels_per_item > 0
        truth = data.y.double().numpy()
        fitted = as_numpy(method.predict, data.x, method)
        scores["train_r2_last"] = rating_scores(fitted[labeled], truth[labeled])["r2"]
        if (estimate := method.estimate()) is not None:
            fit = rating_scores(estimate.cpu().double().numpy()[labeled], truth[labeled])
            scores |= {"label_r2": fit["r2"], "label_mae": fit["mae"]}
        if (bias := method.bias()) is not None:
            known = ratings.centered(np.nan_to_num(ratings.true_bias(data.crowd, truth)), data.crowd)
            square = (bias.cpu().double().numpy() - known) ** 2
            scores["bias_error"] = float(np.sqrt(ratings.weights(data.crowd) @ square))
    return scores | method.scores(data)


def rating_scores(prediction: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """How near ``[items]`` predictions are to ``[items]`` true ratings: ``mae`` and ``rmse`` in the ratings' unit; ``r2``, the
    share of the truth's variance that is explained, below zero for predictions that are worse than its mean (NaN where the
    truth does not vary); ``pearson`` correlation, which a constant or a factor in all predictions leaves alone (0 where one
    side does not vary); ``shift``, the mean of prediction minus truth. Raises ValueError for different shapes, or no item."""
    if np.shape(prediction) != np.shape(y) or np.ndim(y) != 1 or not len(y):
        raise ValueError(f"expected two equally long vectors, not empty, found shapes {np.shape(prediction)} and {np.shape(y)}")
    error = np.asarray(prediction, dtype=np.float64) - y
    square, total = np.mean(error**2), np.var(y)
    moving = total > 0 and np.var(prediction) > 0
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(square)),
        "r2": float(1 - square / total) if total > 0 else float("nan"),
        "pearson": float(np.corrcoef(prediction, y)[0, 1]) if moving else 0.0,
        "shift": float(error.mean()),
    }


# ---------------------------------------------------------------------- which epoch counts


def reported_epochs(history: History, measure: str, warmup: int = 0, sign: int = 1) -> dict[str, int]:
    """Which epochs, counted from 0, a run reports; none without a test split.

    Args:
        history: per epoch, ``test_<measure>`` and, where there is a validation split, ``valid_<measure>``.
        measure: ``acc``, say.
        warmup: epochs at the start that do not count, except where there are no others.
        sign: -1 for a measure of which less is better.

    Returns:
        ``last``; ``best`` on *test*, which the papers report and which is optimistic; ``selected``, the best on validation, the
        last of them where several tie (Ibrahim et al. 2023 select so).
    """
    test, valid = (sign * np.array(history.get(f"{split}_{measure}", [])) for split in ("test", "valid"))
    if not len(test):
        return {}
    first = min(warmup, len(test) - 1)
    epochs = {"last": len(test) - 1, "best": first + int(np.argmax(test[first:]))}
    return epochs | ({"selected": len(valid) - 1 - int(np.argmax(valid[first:][::-1]))} if len(valid) else {})


def over_epochs(history: History, measure: str, warmup: int = 0) -> dict[str, float]:
    """A measure, of which more is better, after the :func:`reported_epochs`: ``test_<measure>_last``, ``_best`` and, with a
    validation split, ``_selected`` and ``valid_<measure>_selected``."""
    epochs = reported_epochs(history, measure, warmup)
    scores = {f"test_{measure}_{name}": history[f"test_{measure}"][epoch] for name, epoch in epochs.items()}
    if "selected" in epochs:
        scores[f"valid_{measure}_selected"] = history[f"valid_{measure}"][epochs["selected"]]
    return scores


def errors(history: History, warmup: int = 0) -> dict[str, float]:
    """``test_<score>_last`` for each score of :func:`rating_scores` and, with a validation split, ``test_<score>_selected`` and
    ``valid_<score>_selected`` at the epoch with the least validation RMSE; each R squared also clipped at 0, as the authors'
    notebook of Crowd Layer reports it."""
    scores = {f"{name}_last": values[-1] for name, values in history.items() if name.startswith("test_")}
    epochs = reported_epochs(history, "rmse", warmup, sign=-1)
    if "selected" in epochs:
        scores |= {f"{name}_selected": values[epochs["selected"]] for name, values in history.items() if name != "loss"}
    clipped = {name.replace("_r2_", "_r2_clipped_"): max(value, 0.0) for name, value in scores.items() if "_r2_" in name}
    return scores | clipped
