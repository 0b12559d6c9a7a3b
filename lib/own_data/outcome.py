"""From labels to tables."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lib.aggregation import agreement, judging, shared_errors
from lib.aggregation.fusion import Estimate, estimate, mean_accuracy
from lib.aggregation.shared_errors import SharedErrors
from lib.own_data import classifier as training
from lib.own_data.classifier import Classifier, HeldOut, Progress
from lib.own_data.columns import DEFAULTS, Options
from lib.own_data.features import Source, read_source
from lib.own_data.intake import Intake, read_labels
from lib.own_data.report import annotator_table, beliefs, classifier_quality, cleaned_labels, decided, label_quality, to_relabel


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a run.

    Attributes:
        intake: labels and known classes, with the items in the order of the features.
        estimate: the class of every item, and the accuracy of every annotator.
        tables: ``cleaned_labels``, ``label_quality``, ``annotators`` (people only), ``to_relabel``, ``agreement``, and with
            features ``classifier_quality``.
        held_out: predictions for items by networks that never saw their labels; None without features.
        classifier: trained on all labels; None without features.
        mean_accuracy: probability that a label is right, with a 95 % interval, if annotators err independently.
        shared: what the labels reveal of errors that annotators share.
        misled: share of items on which shared errors may mislead the estimate: low, middle, high; NaN if unknown. Confidences
            and scores allow for the middle, intervals for anything between low and high.
    """

    intake: Intake
    estimate: Estimate
    tables: dict[str, pd.DataFrame]
    held_out: HeldOut | None
    classifier: Classifier | None
    mean_accuracy: tuple[float, float, float]
    shared: SharedErrors
    misled: tuple[float, float, float]

    def wrong(self) -> tuple[float, float, float]:
        """The number of wrong cleaned labels: low, middle, high; NaN if accuracies cannot be told apart."""
        return shared_errors.wrong_labels(self.estimate.posterior[self.intake.known < 0], self.misled)


def fit(
    labels: str | Path | pd.DataFrame | Intake,
    source: Source | None = None,
    path: str | Path = "",
    options: Options = DEFAULTS,
    match: str = "exact",
    decimal: str = "",
    device: str = "cpu",
    progress: Progress = lambda text: None,
) -> Outcome:
    """Estimate classes and accuracies from labels and, if there is a source of features, train a classifier.

    ``source``, ``path``, ``match`` and ``decimal`` are as in ``features.read_source``, ``device`` and ``progress`` as in
    ``classifier.held_out``. Raises a Refusal where labels or features are ambiguous, unusable or too few.
    """
    intake = labels if isinstance(labels, Intake) else read_labels(labels, options)
    held, network = None, None
    if source is not None:
        progress("reading features")
        features, intake, source = read_source(intake, source, path, match, decimal)
        held = training.held_out(features, intake.crowd, device=device, progress=progress)
        progress(f"training the classifier with {held.method}")
        network = training.train(features, intake.crowd, held.method, source, device=device)
    progress("weighing labels")
    return assemble(intake, held, network)


def assemble(intake: Intake, held: HeldOut | None = None, network: Classifier | None = None) -> Outcome:
    """The outcome of labels and, if there is one, a classifier that has been trained already."""
    crowd, known, prob = intake.crowd, intake.known, held.prob if held else None
    found = estimate(crowd, prob, known)
    said = None if prob is None else prob.argmax(axis=1)
    shared = shared_errors.detect(crowd, said)
    misled = shared_errors.allowance(crowd, found, known)
    accuracies = judging.accuracies(crowd, found, known, said, (misled[0], misled[2]))
    people = annotator_table(crowd, found, known, accuracies[: crowd.n_annotators])
    label = decided(found, crowd, intake.first_said)
    tables = {
        "cleaned_labels": cleaned_labels(crowd, beliefs(found, known, misled[1]), label, known),
        "label_quality": label_quality(crowd, found, prob, misled[1]),
        "annotators": people,
        "to_relabel": to_relabel(crowd, found, people, known, prob, misled[1]),
        "agreement": agreement.agreement(crowd),
    }
    if held is not None:
        agreed = held.agreement[held.method]
        tables["classifier_quality"] = classifier_quality(crowd, known, held.method, agreed, accuracies[-1])
    return Outcome(intake, found, tables, held, network, mean_accuracy(crowd, known), shared, misled)
