"""The one folder that everything is written to: tables, report, classifier, settings."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from lib.own_data.features import Source
from lib.own_data.intake import Options
from lib.own_data.outcome import Outcome
from lib.own_data.page import report_page
from lib.storage import write_atomically

__all__ = ["TABLES", "safe_csv", "settings_of", "write"]

TABLES = ("cleaned_labels", "label_quality", "annotators", "to_relabel", "agreement")


def write(outcome: Outcome, folder: str | Path, settings: dict | None = None) -> None:
    """Write all files to a folder, each whole or not at all.

    Args:
        outcome: of ``fit``.
        folder: created if it is missing.
        settings: more entries of ``settings.json``, such as those of :func:`settings_of`.

    Raises:
        OSError: a file could not be written; the message names it.
    """
    folder = Path(folder)
    for name in TABLES:
        write_atomically(folder / f"{name}.csv", safe_csv(outcome.tables[name]))
    if outcome.classifier is not None:
        outcome.classifier.save(folder / "classifier")
    write_atomically(folder / "report.html", report_page(outcome))
    write_atomically(folder / "settings.json", json.dumps(_facts(outcome) | (settings or {}), indent=1, ensure_ascii=False))


def _facts(outcome: Outcome) -> dict:
    crowd, found, held = outcome.intake.crowd, outcome.estimate, outcome.held_out
    return {
        "labels": len(crowd),
        "items": crowd.n_items,
        "annotators": crowd.n_annotators,
        "classes": list(map(str, crowd.class_names)),
        "model": found.model,
        "leaning": found.leaning,
        "converged": found.converged,
        "accuracies_told_apart": found.told_apart,
        "classifier_method": held.method if held else None,
        "agreement_with_unseen_labels": held.agreement if held else None,
        "notes": outcome.intake.notes,
    }


def safe_csv(table: pd.DataFrame) -> str:
    """CSV text in which no name starts a formula: a name that begins with ``= + - @``, a tab or a carriage return, and is not
    a number, is preceded by an apostrophe, which spreadsheets read as "text". Numbers have four decimals."""
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
    """All that determines the results, for ``settings.json``."""
    about = {"labels_file": Path(labels).name, "labels_sha256": file_digest(labels), "options": asdict(options)}
    if source is not None:
        about |= {"features_kind": source.kind, "features_from": Path(path).name if path else source.columns[0]}
        if Path(path).is_file():
            about["features_sha256"] = file_digest(path)
    return about | extra | {"made": time.strftime("%Y-%m-%d %H:%M:%S")}
