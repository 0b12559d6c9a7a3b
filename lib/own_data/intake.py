"""What a file of labels says, reported before anything is computed.

Whatever can be read in two ways is refused, with the line of the file and the option that decides; nothing is merged or dropped
silently. Columns are found in :mod:`lib.own_data.columns`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels
from lib.own_data.columns import DEFAULTS, Options, long_table
from lib.own_data.tables import Refusal, TextTable, counted, natural, read_table, shown

__all__ = ["Intake", "folded", "read_labels"]

MISSING = {"nan", "none", "null", "n/a", "na", "#n/a", "<na>", "-", "?", "missing"}
UNSURE = {"unsure", "not sure", "unknown", "don't know", "dont know", "skip", "skipped", "other/unsure", "cannot tell"}


@dataclass(frozen=True, eq=False)
class Intake:
    """Labels as they were read.

    Attributes:
        crowd: the labels, with the names from the file.
        known: ``[items]`` known class, -1 where unknown.
        first_said: ``[classes]`` rank by first occurrence in the file; decides ties independently of the classes' names.
        notes: sentences for the user.
        table: the file itself, for a column of texts.
        item_column: its column of items.
    """

    crowd: CrowdLabels
    known: np.ndarray
    first_said: np.ndarray
    notes: list[str] = field(default_factory=list)
    table: TextTable | None = None
    item_column: str = "item"

    def summary(self) -> str:
        """How the labels were read, one fact per line."""
        crowd = self.crowd
        per_item = crowd.labels_per_item
        votes = np.bincount(crowd.label, minlength=crowd.n_classes)
        sizes = [counted(len(crowd), "label"), counted(crowd.n_items, "item"), counted(crowd.n_annotators, "annotator")]
        lines = [
            f"{sizes[0]} for {sizes[1]} from {sizes[2]}",
            f"labels per item: {per_item.mean():.2f} (from {per_item.min()} to {per_item.max()}); "
            f"items with two or more: {int((per_item >= 2).sum()):,}",
            f"{crowd.n_classes} classes: "
            + ", ".join(f"{name} ({count})" for name, count in list(zip(crowd.class_names, votes, strict=True))[:12])
            + (", ..." if crowd.n_classes > 12 else ""),
        ]
        if (self.known >= 0).any():
            lines.append(f"items whose class is known: {int((self.known >= 0).sum()):,}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def read_labels(source: str | Path | pd.DataFrame, options: Options = DEFAULTS) -> Intake:
    """Read a file, or a frame, of labels.

    Raises:
        FileNotFoundError: no such file.
        Refusal: the content is ambiguous or unusable; says where, and which option decides.
    """
    if len({folded(name) for name in options.classes}) < len(options.classes):
        raise Refusal(f"--classes must name each class once, in one spelling; found {shown(options.classes)}")
    if options.duplicates not in ("", "first", "last", "none"):
        raise Refusal(f"duplicates must be first, last or none, found {options.duplicates!r}")
    if isinstance(source, pd.DataFrame):
        text = source.map(lambda cell: "" if cell is None or cell is pd.NA or cell != cell else str(cell))
        table = TextTable(text, Path("the table"))
    else:
        table = read_table(source)
    frame, roles, notes = long_table(table, options)
    frame, more = _cells(frame, table, options)
    notes += more
    frame, more = _without_repeats(frame, table, options)
    notes += more
    classes = list(options.classes) or natural(frame["label"].unique().tolist())
    if unseen := sorted(set(frame["label"].unique()) - set(classes)):
        raise Refusal(
            f"{_where(frame, table, frame['label'] == unseen[0])}: the label {unseen[0]!r} is not among the given classes"
        )
    if len(classes) < 2:
        raise Refusal(
            f"all labels are {classes[0]!r}: nothing to decide. If there are more classes, name them all with --classes"
        )
    if frame["item"].nunique() < 2:
        raise Refusal(f"there is one item only, {frame['item'].iloc[0]!r}: nothing can be learned from so little")
    if len(classes) > 2 and all(re.fullmatch(r"-?\d+", name) for name in classes):
        notes.append("the classes are whole numbers; if they are grades, their order is not used")
    item_names, known, more = _known(frame, classes, table, options)
    crowd = CrowdLabels.from_frame(
        frame, items=item_names, annotators=natural(frame["annotator"].unique().tolist()), classes=classes
    )
    said = list(dict.fromkeys([*frame.sort_values("row", kind="stable")["label"].unique(), *classes]))
    first_said = np.array([said.index(name) for name in classes])
    return Intake(crowd, known, first_said, [*table.notes, *notes, *more], table, roles["item"])


# ---------------------------------------------------------------------- cells


def folded(name: str) -> str:
    """What equal names have in common: without case, extra spaces and Unicode variants; whole numbers as integers."""
    plain = name.lower()
    if not name.isascii():
        plain = unicodedata.normalize("NFKC", name).casefold()
        plain = "".join(mark for mark in plain if unicodedata.category(mark) != "Cf")  # marks that are not seen
    plain = " ".join(plain.split())
    if plain.isascii() and plain.isdecimal():  # half a million items are often called so
        return plain.lstrip("0") or "0"
    if plain[:1] in "+-0123456789" and re.fullmatch(r"[+-]?\d+([.,]0*)?", plain):
        return str(int(re.split("[.,]", plain)[0]))
    return plain


def _cells(frame: pd.DataFrame, table: TextTable, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """Labels without empty ones, each name in one spelling; refuses what cannot be a class."""
    notes, frame = [], frame.copy()
    for role in ("item", "annotator"):
        if (empty := _empty(frame[role])).any():
            number = counted(int(empty.sum()), "label")
            raise Refusal(f"{_where(frame, table, empty)}: {number} without {role}; fill it in or remove the row")
    empty = _empty(frame["label"])
    if empty.any():
        notes.append(f"{counted(int(empty.sum()), 'empty label')} left out, the first at {_where(frame, table, empty)}")
    frame = frame[~empty]
    _words(frame, table, options)
    if options.missing:
        gone = frame["label"].isin([value for value in frame["label"].unique() if value.strip() in options.missing])
        notes.append(f"{int(gone.sum())} labels that stand for a missing label left out: {shown(options.missing)}")
        frame = frame[~gone]
    if frame.empty:
        raise Refusal(f"{table.path.name} holds no labels")
    frame = frame.copy()
    for role in ("item", "annotator", "label"):
        frame[role], more = _one_spelling(frame, role, table, options)
        notes += more
    _classes(frame, table, options)
    return frame, notes


def _empty(column: pd.Series) -> pd.Series:
    return column.isin([value for value in column.unique() if not value.strip()])


def _words(frame: pd.DataFrame, table: TextTable, options: Options) -> None:
    values = list(dict.fromkeys(value.strip() for value in frame["label"].unique()))
    numbers = all(re.fullmatch(r"-?\d+(\.0*)?", value) for value in values)
    decided = {*options.missing, *options.classes}
    words = [v for v in values if v not in decided and (v.casefold() in MISSING | UNSURE or (numbers and v.startswith("-1")))]
    if words and len(values) > len(words):
        raise Refusal(
            f"{_where(frame, table, frame['label'].map(str.strip) == words[0])}: is {words[0]!r} a class, or a missing "
            f"label? If it is missing, say --missing {' '.join(repr(word) for word in words)}; if it is a class, name all "
            "classes with --classes"
        )


def _one_spelling(frame: pd.DataFrame, role: str, table: TextTable, options: Options) -> tuple[pd.Series, list[str]]:
    codes, names = pd.factorize(frame[role])  # every cell is hashed once
    names = names.to_numpy(dtype=object)
    keys = [folded(name) for name in names]
    if role == "label" and {"true", "false"} & set(keys) and set(keys) <= {"true", "false", "1", "0"}:
        keys = [{"true": "1", "false": "0"}.get(key, key) for key in keys]
    group, distinct = pd.factorize(np.array(keys, dtype=object))
    several = np.flatnonzero(np.bincount(group)[group] > 1)
    if len(several) and not options.merge_spellings:
        first = names[group == group[several[0]]].tolist()
        place = _where(frame, table, frame[role] == first[-1])
        raise Refusal(
            f"{place}: are {shown(first)} the same {role}? {counted(len(set(group[several])), role)} in several "
            "spellings. If each is one, say --merge-spellings; otherwise rename them"
        )
    wanted = {folded(name): name for name in options.classes} if role == "label" else {}
    best = np.empty(len(distinct), dtype=object)
    seldom_first = np.argsort(-np.bincount(codes), kind="stable")[::-1]
    best[group[seldom_first]] = [name.strip() for name in names[seldom_first]]  # the last one written stays
    best = np.array([wanted.get(key, name) for key, name in zip(distinct, best, strict=True)], dtype=object)
    notes = [f"spellings of {len(set(group[several]))} {role}s merged, such as {shown(names[several])}"] if len(several) else []
    return pd.Series(best[group][codes], index=frame.index, dtype=object), notes


def _classes(frame: pd.DataFrame, table: TextTable, options: Options) -> None:
    values = frame["label"].unique()
    if (lists := frame["label"].isin([value for value in values if re.match(r"\s*[\[{(].*[\]})]\s*$", value)])).any():
        raise Refusal(
            f"{_where(frame, table, lists)}: the label is a list, {frame['label'][lists].iloc[0]!r}; "
            f"{int(lists.sum())} such labels. Each label "
            "must be one class: turn every class into a yes/no question with a file of its own"
        )
    for mark in ("|", ";"):
        parts = frame["label"].isin([value for value in values if mark in value])
        if parts.any() and {part.strip() for value in frame["label"][parts].unique() for part in value.split(mark)} & set(
            values
        ):
            found = frame["label"][parts].iloc[0]
            raise Refusal(
                f"{_where(frame, table, parts)}: several answers in one cell, {found!r}; each label must be one class"
            )
    numbers = pd.to_numeric(pd.Series(values), errors="coerce")
    if numbers.notna().all() and (numbers != numbers.round()).any() and not options.classes:
        broken = frame["label"] == values[(numbers != numbers.round()).to_numpy()][0]
        raise Refusal(
            f"{_where(frame, table, broken)}: the label {frame['label'][broken].iloc[0]!r} is a measurement, not a "
            "class. Divide the numbers into classes first (for ratings, see lib.crowd.CrowdRatings)"
        )
    if len(values) > 20 and 2 * len(values) > len(frame) and not options.classes:
        raise Refusal(
            f"{len(values)} different labels among {len(frame)}: these cannot be classes. If another column of "
            f"{table.path.name} holds the labels, name it with --label COLUMN; if these are classes, name all with --classes"
        )


def _without_repeats(frame: pd.DataFrame, table: TextTable, options: Options) -> tuple[pd.DataFrame, list[str]]:
    pairs = ["item", "annotator"]
    again = frame.duplicated(pairs)
    if not again.any():
        return frame, []
    if not options.duplicates:
        equal = int(frame.duplicated([*pairs, "label"]).sum())
        row = frame[again].iloc[0]
        first = frame[(frame["item"] == row["item"]) & (frame["annotator"] == row["annotator"])].iloc[0]
        raise Refusal(
            f"{table.place(row['row'])}: {row['annotator']!r} labeled {row['item']!r} again ({row['label']!r}; in "
            f"{table.line(first['row'])} {first['label']!r}). {counted(int(again.sum()), 'such row')}, {equal} with the same "
            "label. "
            "Say which counts with --duplicates first, last or none"
        )
    keep = {"first": "first", "last": "last", "none": False}[options.duplicates]
    kept = frame[~frame.duplicated(pairs, keep=keep)]
    return kept, [f"{len(frame) - len(kept)} repeated labels left out (duplicates: {options.duplicates})"]


# ---------------------------------------------------------------------- known classes


def _known(frame: pd.DataFrame, classes: list[str], table: TextTable, options: Options):
    """Names of all items, ``[items]`` known classes, notes."""
    told = frame.loc[~_empty(frame["known"]), ["item", "known"]]
    if options.trusted:
        if options.trusted not in set(frame["annotator"]):
            raise Refusal(
                f"there is no annotator {options.trusted!r} to trust; the annotators are {shown(frame['annotator'].unique())}"
            )
        trusted = frame[frame["annotator"] == options.trusted]
        told = pd.concat([told, trusted[["item", "label"]].set_axis(["item", "known"], axis=1)])
    if options.known:
        other = read_table(options.known).frame
        if other.shape[1] < 2:
            raise Refusal(f"{options.known}: expected a column of items and one of known classes, found {shown(other.columns)}")
        told = pd.concat([told, other.iloc[:, :2].set_axis(["item", "known"], axis=1)])
    told = told.assign(known=told["known"].str.strip()).drop_duplicates()
    names = natural(frame["item"].unique().tolist())
    known = np.full(len(names), -1)
    if told.empty:
        return names, known, []
    by_key = {folded(name): number for number, name in enumerate(classes)}
    codes = [by_key.get(folded(name), -1) for name in told["known"]]
    if -1 in codes:
        raise Refusal(f"the known class {told['known'].iloc[codes.index(-1)]!r} is not among the classes {shown(classes)}")
    if (twice := told["item"].duplicated()).any():
        raise Refusal(f"item {told['item'][twice].iloc[0]!r} has two different known classes")
    places = pd.Series(np.arange(len(names)), index=names)
    here = told["item"].isin(names).to_numpy()
    known[places[told["item"][here]].to_numpy()] = np.array(codes)[here]
    if not here.any():
        raise Refusal(
            f"none of the items with a known class has a label: known are {shown(told['item'])}, labeled are {shown(names)}"
        )
    return (
        names,
        known,
        [] if here.all() else [f"{int((~here).sum())} known classes of items without a label are not used"],
    )


def _where(frame: pd.DataFrame, table: TextTable, mask: pd.Series) -> str:
    return table.place(int(frame.loc[mask, "row"].iloc[0]))
