"""Which column of a file holds what: by its name, or because an export of Mechanical Turk or Appen is recognized."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.own_data.tables import Refusal, TextTable, counted, shown

__all__ = ["DEFAULTS", "Options", "long_table"]

NAMES = {
    "item": ("item", "item_id", "items", "task", "task_id", "unit", "image", "text", "file", "filename", "id", "question"),
    "annotator": (
        *("annotator", "annotator_id", "worker", "worker_id", "workerid", "rater", "coder", "labeler", "user", "user_id"),
    ),
    "label": ("label", "labels", "class", "answer", "choice", "category", "annotation", "response"),
}
KNOWN = ("known", "gold", "gold_label", "truth", "true", "true_label", "ground_truth")


@dataclass(frozen=True)
class Options:
    """How to read labels. What is not set is found by name, or refused where it is ambiguous.

    Attributes:
        item, annotator, label: names of their columns.
        classes: all classes in the desired order, including those that nobody chose.
        missing: words that stand for a missing label.
        merge_spellings: whether names that differ only in case, spaces, Unicode form or as numbers (0 and 0.0) are one.
        duplicates: which label of a repeated (item, annotator) pair counts: ``first``, ``last`` or ``none``.
        known_column: a column of known classes, empty where unknown.
        known: a file of known classes: a column of items and one of classes.
        trusted: an annotator whose labels are taken as known classes.
    """

    item: str = ""
    annotator: str = ""
    label: str = ""
    classes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    merge_spellings: bool = False
    duplicates: str = ""
    known_column: str = ""
    known: str = ""
    trusted: str = ""


DEFAULTS = Options()


def long_table(table: TextTable, options: Options) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """A frame with columns item, annotator, label, known and row (in the file); the roles' columns in the file; notes."""
    frame, columns = table.frame, list(table.frame.columns)
    for given in (options.item, options.annotator, options.label, options.known_column):
        if given and given not in columns:
            raise Refusal(f"{table.path.name} has no column {given!r}; its columns are {shown(columns, 20)}")
    found = {role: getattr(options, role) or _called(columns, names) for role, names in NAMES.items()}
    notes, keep, known = [], np.ones(len(frame), dtype=bool), options.known_column
    lower = {column.lower(): column for column in columns}
    if {"hitid", "workerid", "assignmentstatus"} <= set(lower):
        frame, found, keep, notes = _mechanical_turk(frame, lower, found, options)
    elif {"_unit_id", "_worker_id"} <= set(lower):
        gold = [c for c in columns if c.endswith("_gold") and c.removesuffix("_gold") in columns]
        found = {
            "item": options.item or "_unit_id",
            "annotator": options.annotator or "_worker_id",
            "label": options.label or (gold[0].removesuffix("_gold") if gold else found["label"]),
        }
        known = known or (gold[0] if gold else "")
        notes.append(f"read as an export of Appen; known classes are in {known!r}" if known else "read as an export of Appen")
        if "_tainted" in lower:
            keep = (frame[lower["_tainted"]].str.lower() != "true").to_numpy()
            notes += [f"{counted(int((~keep).sum()), 'tainted answer')} left out"] if not keep.all() else []
    elif table.notes[:1] == ["read as an export of Label Studio"]:
        known = known or ("known" if (frame["known"] != "").any() else "")
    elif found["item"] and not found["annotator"] and not found["label"] and len(columns) >= 3:
        return _wide(table, found["item"], notes)
    elif {"item", "annotator"} <= {role for role in found if found[role]} and not found["label"]:
        _refuse_soft(table, found)
    if lost := [role for role in NAMES if not found[role]]:
        raise Refusal(
            f"{table.path.name}: which column holds the {lost[0]}? Its columns are {shown(columns, 20)}; name one with "
            f"--{lost[0]} COLUMN"
        )
    if len(set(found.values())) < len(found):
        raise Refusal(f"item, annotator and label must be three columns, found {shown(found.values())}")
    if not known and (gold := _called(columns, KNOWN)) and (frame[gold] != "").any():
        notes.append(f"column {gold!r} is not used; if it holds known classes, add --known-column {gold}")
    used = {role: frame[column].to_numpy() for role, column in found.items()}
    used["known"] = frame[known].to_numpy() if known else np.full(len(frame), "", dtype=object)
    return pd.DataFrame({**used, "row": np.arange(len(frame))}, dtype=object)[keep], found, notes


def _called(columns: list[str], names: tuple[str, ...]) -> str:
    """The column whose name comes first in ``names``; empty if there is none."""
    lower = {column.lower().replace(" ", "_"): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), "")


def _mechanical_turk(frame: pd.DataFrame, lower: dict[str, str], found: dict[str, str], options: Options):
    inputs = [column for column in frame.columns if column.lower().startswith("input.")]
    answers = [column for column in frame.columns if column.lower().startswith("answer.")]
    keep = (frame[lower["assignmentstatus"]].str.lower() != "rejected").to_numpy()
    notes = ["read as a batch of Mechanical Turk"]
    if not keep.all():
        notes.append(f"{counted(int((~keep).sum()), 'rejected assignment')} left out")
    label = options.label
    if not label:
        values = {column: set(frame[column].str.lower()) for column in answers}
        boxes = [column for column in answers if values[column] <= {"true", "false", "on", "off", ""}]
        if len(answers) == 1 and not boxes:
            label = answers[0]
        elif boxes and len(boxes) == len(answers):
            frame, label = frame.assign(checked=_checked_boxes(frame, boxes)), "checked"
            notes.append(f"the answers are {len(boxes)} check boxes: {shown(boxes)}")
        else:
            raise Refusal(f"there are {len(answers)} columns of answers: {shown(answers)}; name one with --label COLUMN")
    item = options.item or (inputs[0] if len(inputs) == 1 else lower["hitid"])
    return frame, {"item": item, "annotator": options.annotator or lower["workerid"], "label": label}, keep, notes


def _checked_boxes(frame: pd.DataFrame, boxes: list[str]) -> np.ndarray:
    """The name of the checked box; several as a list, which is refused later with its line."""
    checked = frame[boxes].apply(lambda column: column.str.lower().isin(["true", "on"])).to_numpy()
    names = np.array([re.sub(r"\.(on|true)$", "", box.split(".", 1)[1]) for box in boxes], dtype=object)
    single = np.where(checked.any(axis=1), names[checked.argmax(axis=1)], "")
    several = np.flatnonzero(checked.sum(axis=1) > 1)
    single[several] = [str(names[checked[row]].tolist()) for row in several]
    return single


def _wide(table: TextTable, item: str, notes: list[str]):
    """One column per annotator."""
    people = [column for column in table.frame.columns if column != item]
    cells = table.frame[people].to_numpy()
    if len(np.unique(cells)) > max(30, len(cells) // 2):
        raise Refusal(
            f"{table.path.name}: which columns hold annotator and label? Its columns are "
            f"{shown(table.frame.columns, 20)}; name them with --annotator COLUMN --label COLUMN"
        )
    row, column = np.nonzero(np.ones(cells.shape, dtype=bool))
    frame = pd.DataFrame(
        {
            "item": table.frame[item].to_numpy()[row],
            "annotator": np.array(people, dtype=object)[column],
            "label": cells[row, column],
            "known": "",
            "row": row,
        },
        dtype=object,
    )
    notes.append(f"read as one row per item and one column per annotator: {shown(people)}; empty cells are missing labels")
    return frame[frame["label"] != ""], {"item": item, "annotator": "", "label": ""}, notes


def _refuse_soft(table: TextTable, found: dict[str, str]) -> None:
    rest = [column for column in table.frame.columns if column not in found.values()]
    values = table.frame[rest].apply(pd.to_numeric, errors="coerce")
    if len(rest) > 1 and np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise Refusal(
            f"{table.place(0)}: columns {shown(rest)} add up to one, so the labels are probabilities. Each label "
            "must be one class: add a column with the most probable one"
        )
