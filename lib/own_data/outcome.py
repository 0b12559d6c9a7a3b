"""Everything from labels to tables, and the folder that it is written into."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from lib.aggregation import agreement
from lib.aggregation.fusion import Estimate, estimate, mean_accuracy
from lib.own_data import classifier as training
from lib.own_data import page
from lib.own_data.classifier import Classifier, HeldOut, Progress
from lib.own_data.features import Source, read_source
from lib.own_data.intake import Intake, Options, read_labels
from lib.own_data.report import annotator_table, cleaned_labels, decided, label_quality, to_relabel
from lib.storage import write_atomically
from lib.training.recipe import Recipe

__all__ = ["TABLES", "Outcome", "fit", "safe_csv"]

TABLES = ("cleaned_labels", "label_quality", "annotators", "to_relabel", "agreement")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found.

    Attributes:
        intake: labels and known classes, arranged to the items of the features.
        estimate: the class of every item, and how good people are.
        tables: ``cleaned_labels``, ``label_quality``, ``annotators``, ``to_relabel``, ``agreement``.
        held_out: predictions of items by networks that never saw their labels; None without features.
        classifier: trained on all labels; None without features.
        mean_accuracy: of a label, with a 95 % interval.
    """

    intake: Intake
    estimate: Estimate
    tables: dict[str, pd.DataFrame]
    held_out: HeldOut | None
    classifier: Classifier | None
    mean_accuracy: tuple[float, float, float]

    def write(self, folder: str | Path, settings: dict | None = None) -> None:
        """All files into a folder, each whole or not at all. Raises OSError where one cannot be written."""
        folder = Path(folder)
        for name in TABLES:
            write_atomically(folder / f"{name}.csv", safe_csv(self.tables[name]))
        if self.classifier is not None:
            self.classifier.save(folder / "classifier")
        write_atomically(folder / "report.html", page.report_page(self))
        write_atomically(folder / "settings.json", json.dumps(self._facts() | (settings or {}), indent=1, ensure_ascii=False))

    def _facts(self) -> dict:
        held = self.held_out
        return {
            "labels": len(self.intake.crowd),
            "items": self.intake.crowd.n_items,
            "annotators": self.intake.crowd.n_annotators,
            "classes": list(map(str, self.intake.crowd.class_names)),
            "model": self.estimate.model,
            "leaning": self.estimate.leaning,
            "converged": self.estimate.converged,
            "accuracies_told_apart": self.estimate.told_apart,
            "classifier_method": held.method if held else None,
            "agreement_with_unseen_labels": held.agreement if held else None,
            "notes": self.intake.notes,
        }


def fit(
    labels: str | Path | pd.DataFrame | Intake,
    source: Source | None = None,
    path: str | Path = "",
    options: Options = Options(),
    match: str = "exact",
    decimal: str = "",
    seeds: tuple[int, ...] = (0,),
    recipe: Recipe | None = None,
    device: str = "cpu",
    progress: Progress = lambda text: None,
) -> Outcome:
    """From labels, and features where there are some, to everything that is known.

    Args:
        labels: a file, a frame, or labels already read.
        source, path, match, decimal: of the features, as in ``features.read_source``; no source, no classifier.
        options: how to read the labels.
        seeds, recipe, device: as in ``classifier.held_out``.
        progress: told what is being done.

    Raises:
        Refusal: labels or features that are unclear or too few.
    """
    intake = labels if isinstance(labels, Intake) else read_labels(labels, options)
    held, network = None, None
    if source is not None:
        progress("reading features")
        features, intake, source = read_source(intake, source, path, match, decimal)
        held = training.held_out(features, intake.crowd, recipe, seeds, device, progress)
        progress(f"training the classifier with {held.method}")
        network = training.train(features, intake.crowd, held.method, source, recipe, device=device)
    crowd, prob = intake.crowd, held.prob if held else None
    progress("weighing labels")
    found = estimate(crowd, prob, intake.known)
    progress("judging annotators")
    people, _ = annotator_table(crowd, found, intake.known, prob)
    label = decided(found, crowd, intake.first_said)
    tables = {
        "cleaned_labels": cleaned_labels(crowd, found, label, intake.known),
        "label_quality": label_quality(crowd, found, prob),
        "annotators": people,
        "to_relabel": to_relabel(crowd, found, people, intake.known, prob),
        "agreement": agreement.agreement(crowd),
    }
    return Outcome(intake, found, tables, held, network, mean_accuracy(crowd, intake.known))


def safe_csv(table: pd.DataFrame) -> str:
    """CSV text in which no name starts a formula: one that begins with ``= + - @``, a tab or a return, and is no number, gets an
    apostrophe before it, as spreadsheets mark text. Numbers to four decimals."""
    table = table.rename(columns=_harmless)
    words = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool]
    for name in words:
        values = table[name].astype(object)
        names = {value: _harmless(str(value)) for value in values.unique()}
        table[name] = values.map(names)
    return table.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def _harmless(text: str) -> str:
    risky = text[:1] in ("=", "+", "-", "@", "\t", "\r") and not re.fullmatch(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?", text)
    return f"'{text}" if risky else text


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settings_of(options: Options, labels: str, source: Source | None, path: str, extra: dict) -> dict:
    """What decides the results, for ``settings.json``."""
    about = {"labels_file": Path(labels).name, "labels_sha256": file_digest(labels), "options": asdict(options)}
    if source is not None:
        about |= {"features_kind": source.kind, "features_from": Path(path).name if path else source.columns[0]}
        if Path(path).is_file():
            about["features_sha256"] = file_digest(path)
    return about | extra | {"made": time.strftime("%Y-%m-%d %H:%M:%S")}
