"""Which column of a file holds what: by its name, or because an export of Mechanical Turk or Appen is recognized."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.own_data.tables import LABEL_STUDIO, Refusal, TextTable, counted, shown

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
        text: a column of texts, which is no annotator's in a table with one column per annotator.
    """

    item: str = ""
    annotator: str = ""
    label: str = ""
    classes: Sequence[str] = ()
    missing: Sequence[str] = ()
    merge_spellings: bool = False
    duplicates: str = ""
    known_column: str = ""
    known: str = ""
    trusted: str = ""
    text: str = ""


DEFAULTS = Options()


def long_table(table: TextTable, options: Options) -> tuple[pd.DataFrame, str]:
    """A frame with columns item, annotator, label, known and row (in the file), the first four categorical, and the name of the
    items' column; what was recognized is added to the notes of ``table``."""
    frame, columns, known = table.frame, list(table.frame.columns), options.known_column
    for given in (options.item, options.annotator, options.label, known, options.text):
        if given and given not in columns:
            raise Refusal(f"{table.path.name} has no column {given!r}; its columns are {shown(columns, 20)}")
    found = {role: getattr(options, role) or _called(columns, names) for role, names in NAMES.items()}
    lower, dropped = {column.lower(): column for column in columns}, np.zeros(len(frame), dtype=bool)
    if {"hitid", "workerid", "assignmentstatus"} <= set(lower):
        table.notes.append("read as a batch of Mechanical Turk")
        dropped = _dropped(table, lower["assignmentstatus"], "rejected", "rejected assignment")
        inputs = [column for column in columns if column.lower().startswith("input.")]
        found["item"] = options.item or (inputs[0] if len(inputs) == 1 else lower["hitid"])
        found["annotator"] = options.annotator or lower["workerid"]
        frame, found["label"] = (frame, options.label) if options.label else _answers(table)
    elif {"_unit_id", "_worker_id"} <= set(lower):
        gold = [c for c in columns if c.endswith("_gold") and c.removesuffix("_gold") in columns][:1]
        found["item"], found["annotator"] = options.item or "_unit_id", options.annotator or "_worker_id"
        if gold:
            known, found["label"] = known or gold[0], options.label or gold[0].removesuffix("_gold")
        table.notes.append("read as an export of Appen" + (f"; known classes are in {known!r}" if known else ""))
        if "_tainted" in lower:
            dropped = _dropped(table, lower["_tainted"], "true", "tainted answer")
    elif table.notes[:1] == [LABEL_STUDIO]:
        known = known or ("known" if (frame["known"] != "").any() else "")
    elif found["item"] and not found["annotator"] and not found["label"] and len(columns) >= 3:
        return _wide(table, found["item"], known, options.text), found["item"]
    elif found["item"] and found["annotator"] and not found["label"]:
        rest = [column for column in columns if column not in found.values()]
        values = frame[rest].apply(pd.to_numeric, errors="coerce")
        if len(rest) > 1 and np.allclose(values.sum(axis=1), 1, atol=1e-3):
            raise Refusal(
                f"{table.place(0)}: columns {shown(rest)} add up to one, so the labels are probabilities. Each label "
                "must be one class: add a column with the most probable one"
            )
    if lost := [role for role in NAMES if not found[role]]:
        raise Refusal(
            f"{table.path.name}: which column holds the {lost[0]}? Its columns are {shown(columns, 20)}; name one with "
            f"--{lost[0]} COLUMN" + ("; the first line must name the columns" if len(lost) == len(NAMES) else "")
        )
    if len(set(found.values())) < len(found):
        raise Refusal(f"item, annotator and label must be three columns, found {shown(found.values())}")
    long = pd.DataFrame({role: coded(frame[column]) for role, column in found.items()})
    if (again := (long["label"] == found["label"]) & (long["item"] == found["item"])).any():
        raise Refusal(f"{table.place(int(again.argmax()))} is the header again; remove it, and whatever else repeats")
    if not known and (gold := _called(columns, KNOWN)) and (frame[gold] != "").any():
        table.notes.append(f"column {gold!r} is not used; if it holds known classes, add --known-column {gold}")
    unknown = pd.Categorical.from_codes(np.zeros(len(frame), dtype=np.int8), [""])
    long["known"] = coded(frame[known]) if known else unknown
    long["row"] = np.arange(len(frame))
    return without(long, dropped), found["item"]


def coded(cells: pd.Series | np.ndarray) -> pd.Categorical:
    """Texts as a column whose categories are those that occur, in the order in which they do; every cell is hashed once."""
    codes, names = pd.factorize(cells)
    return pd.Categorical.from_codes(codes, pd.Index(names, dtype=object))


def without(long: pd.DataFrame, gone: np.ndarray) -> pd.DataFrame:
    """The other rows of a long table, with categories as :func:`coded` makes them."""
    if not gone.any():
        return long
    left = long[~gone]
    for role in left.columns.drop("row"):
        codes, places = pd.factorize(left[role].cat.codes.to_numpy())
        left[role] = pd.Categorical.from_codes(codes, left[role].cat.categories[places])
    return left


def _called(columns: list[str], names: tuple[str, ...]) -> str:
    """The column whose name comes first in ``names``; empty if there is none."""
    lower = {column.lower().replace(" ", "_"): column for column in reversed(columns)}
    return next((lower[name] for name in names if name in lower), "")


def _dropped(table: TextTable, column: str, word: str, what: str) -> np.ndarray:
    dropped = (table.frame[column].str.lower() == word).to_numpy()
    if dropped.any():
        table.notes.append(f"{counted(int(dropped.sum()), what)} left out")
    return dropped


def _answers(table: TextTable) -> tuple[pd.DataFrame, str]:
    """The frame, and its column of answers; check boxes become one, in which several are a list, refused later by its line."""
    frame = table.frame
    answers = [column for column in frame.columns if column.lower().startswith("answer.")]
    boxes = [column for column in answers if set(frame[column].str.lower()) <= {"true", "false", "on", "off", ""}]
    if len(answers) == 1 and not boxes:
        return frame, answers[0]
    if not boxes or len(boxes) < len(answers):
        raise Refusal(f"there are {len(answers)} columns of answers: {shown(answers)}; name one with --label COLUMN")
    table.notes.append(f"the answers are {len(boxes)} check boxes: {shown(boxes)}")
    checked = frame[boxes].apply(lambda column: column.str.lower().isin(["true", "on"])).to_numpy()
    names = np.array([re.sub(r"\.(on|true)$", "", box.split(".", 1)[1]) for box in boxes], dtype=object)
    said = [names[row].tolist() for row in checked]
    return frame.assign(checked=[names[0] if len(names) == 1 else str(names or "") for names in said]), "checked"


def _wide(table: TextTable, item: str, known: str, text: str) -> pd.DataFrame:
    """Of one column per annotator, beside those of items, of known classes and of texts, if there are any."""
    people = [column for column in table.frame.columns if column not in (item, known, text)]
    if not known and (gold := _called(people, KNOWN)):
        raise Refusal(
            f"{table.path.name}: is {gold!r} an annotator, or does it hold known classes? If it holds known classes, say "
            f"--known-column {gold}; otherwise rename or remove it"
        )
    cells = table.frame[people].to_numpy()
    if len(np.unique(cells)) > max(30, len(cells) // 2):
        raise Refusal(
            f"{table.path.name}: which columns hold annotator and label? Its columns are "
            f"{shown(table.frame.columns, 20)}; name them with --annotator COLUMN --label COLUMN"
        )
    table.notes.append(
        f"read as one row per item and one column per annotator: {shown(people)}; empty cells are missing labels"
    )
    row, column = np.nonzero(cells != "")
    items, annotators = table.frame[item].to_numpy()[row], np.array(people, dtype=object)[column]
    told = table.frame[known].to_numpy()[row] if known else np.full(len(row), "", dtype=object)
    used = {"item": items, "annotator": annotators, "label": cells[row, column], "known": told}
    return pd.DataFrame({role: coded(values) for role, values in used.items()} | {"row": row})
