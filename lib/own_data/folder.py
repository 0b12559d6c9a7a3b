"""The one folder that everything is written to: tables, report, classifier, settings."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from lib.own_data.columns import Options
from lib.own_data.features import Source
from lib.own_data.outcome import Outcome
from lib.own_data.page import report_page
from lib.own_data.tables import Refusal
from lib.storage import write_atomically

RISKY = ("=", "+", "-", "@", "\t", "\r")
ODD = re.compile(r"\n[=+\-@\t\r]")  # a risky name among others
ROWS = 100_000  # of a table whose lines are in memory at a time
TABLES = ("cleaned_labels", "label_quality", "annotators", "to_relabel", "agreement")
WITH_FEATURES = ("classifier", "classifier_quality.csv")  # files that a run without features does not make
FILES = (*(f"{name}.csv" for name in TABLES), *WITH_FEATURES, "report.html", "settings.json")


def check_place(folder: str | Path, names: Iterable[str], inputs: Iterable[str | Path]) -> None:
    """Raises a Refusal where files of these names could not be written to a folder, or would replace one of the inputs; makes
    nothing."""
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise Refusal(f"cannot write to {folder}: expected a folder, found the file {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise Refusal(f"cannot write to {folder}: there is no permission to write in {there}")
    for path in (folder / name for name in names):
        if path.is_dir():
            raise Refusal(f"cannot write {path}: expected a file, found a folder")
        if path.exists() and any(other and Path(other).exists() and path.samefile(other) for other in inputs):
            raise Refusal(f"{path} would replace a file that is read; write somewhere else with --out")


def write(outcome: Outcome, folder: str | Path, settings: dict | None = None) -> None:
    """Write all files to a folder, which is made where it is missing, each whole or not at all.

    ``settings`` are more entries of ``settings.json``, such as those of :func:`settings_of`. Raises OSError, which names the
    file that could not be written.
    """
    folder, crowd, found, held = Path(folder), outcome.intake.crowd, outcome.estimate, outcome.held_out
    for name, table in outcome.tables.items():
        write_atomically(folder / f"{name}.csv", safe_csv(table))
    if outcome.classifier is not None:
        outcome.classifier.save(folder / "classifier")
    write_atomically(folder / "report.html", report_page(outcome))
    facts = {
        "labels": len(crowd),
        "items": crowd.n_items,
        "annotators": crowd.n_annotators,
        "classes": list(map(str, crowd.class_names)),
        "model": found.model,
        "leaning": found.leaning,
        "converged": found.converged,
        "accuracies_told_apart": found.told_apart,
        "shared_errors_detected": outcome.shared.detected,
        "expected_wrong_labels": None if np.isnan(outcome.misled[1]) else [round(n, 1) for n in outcome.wrong()],
        "classifier_method": held.method if held else None,
        "agreement_with_unseen_labels": held.agreement if held else None,
        "notes": outcome.intake.notes,
    }
    write_atomically(folder / "settings.json", json.dumps(facts | (settings or {}), indent=1, ensure_ascii=False))


def leftover(outcome: Outcome, folder: str | Path) -> list[str]:
    """Files in the folder that an earlier run has made of features, and this one, without any, has not."""
    if outcome.held_out is not None:
        return []
    return [name for name in WITH_FEATURES if (Path(folder) / name).exists()]


def settings_of(options: Options, labels: str, source: Source | None, path: str, extra: dict) -> dict:
    """All that determines the results, for ``settings.json``."""
    about = {"labels_file": Path(labels).name, "labels_sha256": _digest(labels), "options": asdict(options)}
    if source is not None:
        about |= {"features_kind": source.kind, "features_from": Path(path).name if path else source.columns[0]}
        if Path(path).is_file():
            about["features_sha256"] = _digest(path)
    return about | extra | {"made": time.strftime("%Y-%m-%d %H:%M:%S")}


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def safe_csv(table: pd.DataFrame) -> str:
    """CSV text in which no name starts a formula: a name that begins with ``= + - @``, a tab or a carriage return, and is not
    a number, is preceded by an apostrophe, which spreadsheets read as "text". Numbers have four decimals."""
    columns = [_cells(table.iloc[:, place]) for place in range(table.shape[1])]
    parts = [",".join(_quoted(list(map(str, table.columns))))]
    for start in range(0, len(table), ROWS):
        cells = (column[start : start + ROWS].tolist() for column in columns)
        parts.append("\n".join(map(",".join, zip(*cells, strict=True))))
    return "\n".join(parts) + "\n"


def _cells(values: pd.Series) -> np.ndarray:
    """Text of each cell; equal ones are written once, which is several times as fast as a writer that looks at each."""
    if pd.api.types.is_float_dtype(values.dtype):
        codes, unique = pd.factorize(values.to_numpy().round(4) + 0.0)  # without a negative zero
        texts = [f"{value:.4f}" for value in unique]
    else:
        codes, unique = pd.factorize(values.to_numpy())
        texts = _quoted(list(map(str, unique)))
    return np.array([*texts, ""], dtype=object)[codes]  # -1: missing


def _quoted(texts: list[str]) -> list[str]:
    """Each as a cell; of a million names at once where none needs a mark."""
    together = "\n".join(["", *texts])
    plain = together.count("\n") == len(texts) and not any(mark in together for mark in ',"\r')
    return texts if plain and not ODD.search(together) else list(map(_cell, texts))


def _cell(text: str) -> str:
    if text[:1] in RISKY and not re.fullmatch(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?", text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text
