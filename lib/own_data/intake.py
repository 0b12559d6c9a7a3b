"""What a file of labels says, reported before anything is computed.

Whatever can be read in two ways is refused, with the line of the file and the option that decides; nothing is merged or dropped
silently. Columns are found in :mod:`lib.own_data.columns`.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels
from lib.crowd.triples import natural_order
from lib.own_data.columns import DEFAULTS, Options, long_table, without
from lib.own_data.tables import Refusal, TextTable, as_text, counted, read_table, short, shown

MISSING = {"nan", "none", "null", "n/a", "na", "#n/a", "<na>", "-", "?", "missing"}
UNSURE = {"unsure", "not sure", "unknown", "don't know", "dont know", "skip", "skipped", "other/unsure", "cannot tell"}
# Lines of ASCII without spaces, which begin with a letter or are numbers without leading zeros: folded, but for their case.
PLAIN = re.compile(r"(?:(?:[a-z][!-~]*+|0|[1-9][0-9]*+)(?:\n|\Z))*+")


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
    notes: list[str]
    table: TextTable
    item_column: str

    def summary(self) -> str:
        """How the labels were read, one fact per line."""
        crowd, known = self.crowd, int((self.known >= 0).sum())
        per_item, votes = crowd.labels_per_item, np.bincount(crowd.label, minlength=crowd.n_classes)
        sizes = [counted(len(crowd), "label"), counted(crowd.n_items, "item"), counted(crowd.n_annotators, "annotator")]
        names = [f"{short(' '.join(name.split()))} ({count})" for name, count in zip(crowd.class_names, votes, strict=True)]
        lines = [
            f"{sizes[0]} for {sizes[1]} from {sizes[2]}",
            f"labels per item: {per_item.mean():.2f} (from {per_item.min()} to {per_item.max()}); "
            f"items with two or more: {int((per_item >= 2).sum()):,}",
            f"{crowd.n_classes} classes: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}",
            *([f"items whose class is known: {known:,}"] if known else []),
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def read_labels(source: str | Path | pd.DataFrame, options: Options = DEFAULTS) -> Intake:
    """Read a file, or a frame, of labels. Raises FileNotFoundError, or a Refusal where the content is ambiguous or unusable,
    which says where, and which option decides."""
    if len({folded(name) for name in options.classes}) < len(options.classes):
        raise Refusal(f"--classes must name each class once, in one spelling; found {shown(options.classes)}")
    if options.duplicates not in ("", "first", "last", "none"):
        raise Refusal(f"duplicates must be first, last or none, found {options.duplicates!r}")
    table = TextTable(as_text(source), Path("the table")) if isinstance(source, pd.DataFrame) else read_table(source)
    frame, item_column = long_table(table, options)
    frame = _without_empty(frame, table, options)
    for role in ("item", "annotator", "label"):
        frame[role] = _one_spelling(frame, role, table, options)
    _check_classes(frame, table, options)
    frame = _without_repeats(frame, table, options)
    said = frame["label"].cat.categories.tolist()
    classes = list(options.classes) or [said[place] for place in natural_order(said)]
    if unseen := sorted(set(said) - set(classes)):
        _refuse(frame, table, frame["label"] == unseen[0], f"the label {unseen[0]!r} is not among the given classes")
    if len(classes) < 2:
        raise Refusal(
            f"all labels are {classes[0]!r}: nothing to decide. If there are more classes, name them all with --classes"
        )
    if len(frame["item"].cat.categories) < 2:
        raise Refusal(f"there is one item only, {frame['item'].iloc[0]!r}: nothing can be learned from so little")
    if len(classes) > 2 and all(re.fullmatch(r"-?\d+", name) for name in classes):
        table.notes.append("the classes are whole numbers; if they are grades, their order is not used")
    (item, items), (annotator, annotators) = _sorted(frame["item"]), _sorted(frame["annotator"])
    label = np.array([classes.index(name) for name in said])[frame["label"].cat.codes]
    names = items, annotators, classes
    crowd = CrowdLabels(item, annotator, label, *map(len, names), *names)
    known = _known(frame, items, classes, table, options)
    said = list(dict.fromkeys([*said, *classes]))
    return Intake(crowd, known, np.array([said.index(name) for name in classes]), table.notes, table, item_column)


def _sorted(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """``[labels]`` the place of each cell of a column among its names in their natural order, and these."""
    names = column.cat.categories.to_numpy()
    order = np.array(natural_order(names.tolist()))
    return np.argsort(order)[column.cat.codes], names[order].tolist()


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


def _all_folded(names: list[str]) -> list[str]:
    """:func:`folded` of each; of a million plain names at once."""
    together = "\n".join(names).lower()
    if PLAIN.fullmatch(together) and len(plain := together.split("\n")) == len(names):
        return plain
    return [folded(name) for name in names]


def _refuse(frame: pd.DataFrame, table: TextTable, mask: pd.Series, words: str) -> NoReturn:
    raise Refusal(f"{_where(frame, table, mask)}: {words}")


def _where(frame: pd.DataFrame, table: TextTable, mask: pd.Series) -> str:
    return table.place(int(frame.loc[mask, "row"].iloc[0]))


def _cells(column: pd.Series, test) -> pd.Series:
    """Which cells pass a test, which sees each value once."""
    passed = np.array([test(value) for value in column.cat.categories.tolist()], dtype=bool)
    return pd.Series(passed[column.cat.codes], column.index)


def _empty(column: pd.Series) -> pd.Series:
    return _cells(column, lambda value: not value.strip())


def _without_empty(frame: pd.DataFrame, table: TextTable, options: Options) -> pd.DataFrame:
    """The labels that are there; refuses words that may stand for a missing one."""
    for role in ("item", "annotator"):
        if (empty := _empty(frame[role])).any():
            number = counted(int(empty.sum()), "label")
            _refuse(frame, table, empty, f"{number} without {role}; fill it in or remove the row")
    if (empty := _empty(frame["label"])).any():
        number = counted(int(empty.sum()), "empty label")
        table.notes.append(f"{number} left out, the first at {_where(frame, table, empty)}")
    frame = without(frame, empty)
    values = list(dict.fromkeys(value.strip() for value in frame["label"].cat.categories))
    numbers = all(re.fullmatch(r"-?\d+(\.0*)?", value) for value in values)
    decided = {*options.missing, *options.classes}
    words = [v for v in values if v not in decided and (v.casefold() in MISSING | UNSURE or (numbers and v.startswith("-1")))]
    if words and len(values) > len(words):
        _refuse(
            frame, table, frame["label"].str.strip() == words[0],
            f"is {words[0]!r} a class, or a missing label? If it is missing, say --missing "
            f"{' '.join(map(repr, words))}; if it is a class, name all classes with --classes",
        )  # fmt: skip
    if options.missing:
        gone = _cells(frame["label"], lambda value: value.strip() in options.missing)
        table.notes.append(f"{int(gone.sum())} labels that stand for a missing label left out: {shown(options.missing)}")
        frame = without(frame, gone)
    if frame.empty:
        raise Refusal(f"{table.path.name} holds no labels")
    return frame


def _one_spelling(frame: pd.DataFrame, role: str, table: TextTable, options: Options) -> pd.Series:
    """A column in which each name has one spelling: the given class, else the most frequent."""
    codes, names = frame[role].cat.codes.to_numpy(), frame[role].cat.categories.to_numpy()
    keys = _all_folded(names.tolist())
    if role != "label" and keys == names.tolist():
        return frame[role]
    if role == "label" and {"true", "false"} & set(keys) and set(keys) <= {"true", "false", "1", "0"}:
        keys = [{"true": "1", "false": "0"}.get(key, key) for key in keys]
    group, distinct = pd.factorize(np.array(keys, dtype=object))
    several = np.flatnonzero(np.bincount(group)[group] > 1)
    if len(several):
        number = len(set(group[several]))
        if not options.merge_spellings:
            first = names[group == group[several[0]]].tolist()
            _refuse(
                frame, table, frame[role] == first[-1],
                f"are {shown(first)} the same {role}? {counted(number, role)} in several spellings. If each is one, say "
                "--merge-spellings; otherwise rename them",
            )  # fmt: skip
        table.notes.append(f"spellings of {number} {role}s merged, such as {shown(names[several])}")
    best = np.empty(len(distinct), dtype=object)
    seldom_first = np.argsort(-np.bincount(codes), kind="stable")[::-1]
    best[group[seldom_first]] = [name.strip() for name in names[seldom_first]]  # the last one written stays
    wanted = {folded(name): name for name in options.classes} if role == "label" else {}
    best = [wanted.get(key, name) for key, name in zip(distinct, best, strict=True)]
    return pd.Series(pd.Categorical.from_codes(group[codes], pd.Index(best, dtype=object)), index=frame.index)


def _check_classes(frame: pd.DataFrame, table: TextTable, options: Options) -> None:
    labels = frame["label"]
    values = labels.cat.categories
    if (lists := _cells(labels, lambda value: re.match(r"\s*[\[{(].*[\]})]\s*$", value))).any():
        _refuse(
            frame, table, lists,
            f"the label is a list, {labels[lists].iloc[0]!r}; {int(lists.sum())} such labels. Each label must be one class: "
            "turn every class into a yes/no question with a file of its own",
        )  # fmt: skip
    for mark in ("|", ";"):
        parts = _cells(labels, lambda value, mark=mark: mark in value)
        if {part.strip() for value in labels[parts].unique() for part in value.split(mark)} & set(values):
            found = labels[parts].iloc[0]
            _refuse(frame, table, parts, f"several answers in one cell, {found!r}; each label must be one class")
    if options.classes:
        return
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    broken = (numbers != numbers.round()).to_numpy()
    if numbers.notna().all() and broken.any():
        _refuse(
            frame, table, labels == values[broken][0],
            f"the label {values[broken][0]!r} is a measurement, not a class. Divide the numbers into classes first (for "
            "ratings, see lib.crowd.labels.CrowdRatings)",
        )  # fmt: skip
    if len(values) > 20 and 2 * len(values) > len(frame):
        raise Refusal(
            f"{len(values)} different labels among {len(frame)}: these cannot be classes. If another column of "
            f"{table.path.name} holds the labels, name it with --label COLUMN; if these are classes, name all with --classes"
        )


def _without_repeats(frame: pd.DataFrame, table: TextTable, options: Options) -> pd.DataFrame:
    pairs = ["item", "annotator"]
    item, annotator = (frame[role].cat.codes.to_numpy().astype(np.int64) for role in pairs)
    ordered = np.sort(item * len(frame["annotator"].cat.categories) + annotator)
    if (ordered[1:] > ordered[:-1]).all():
        return frame
    again = frame.duplicated(pairs)
    if not options.duplicates:
        equal, row = int(frame.duplicated([*pairs, "label"]).sum()), frame[again].iloc[0]
        first = frame[(frame[pairs] == row[pairs]).all(axis=1)].iloc[0]
        raise Refusal(
            f"{table.place(row['row'])}: {row['annotator']!r} labeled {row['item']!r} again ({row['label']!r}; in "
            f"{table.line(first['row'])} {first['label']!r}). {counted(int(again.sum()), 'such row')}, {equal} with the same "
            "label. Say which counts with --duplicates first, last or none"
        )
    kept = {"first": "first", "last": "last", "none": False}[options.duplicates]
    kept = without(frame, frame.duplicated(pairs, keep=kept))
    table.notes.append(f"{len(frame) - len(kept)} repeated labels left out (duplicates: {options.duplicates})")
    return kept


def _known(frame: pd.DataFrame, items: list[str], classes: list[str], table: TextTable, options: Options) -> np.ndarray:
    """``[items]`` known classes, from a column, an annotator and a file."""
    told = [frame.loc[~_empty(frame["known"]), ["item", "known"]]]
    if options.trusted:
        trusted = frame[frame["annotator"] == options.trusted]
        if trusted.empty:
            raise Refusal(
                f"there is no annotator {options.trusted!r} to trust; the annotators are "
                f"{shown(frame['annotator'].cat.categories)}"
            )
        told.append(trusted[["item", "label"]])
    if options.known:
        other = read_table(options.known).frame
        if other.shape[1] < 2:
            raise Refusal(f"{options.known}: expected a column of items and one of known classes, found {shown(other.columns)}")
        told.append(other.iloc[:, :2])
    told = pd.concat([part.set_axis(["item", "known"], axis=1) for part in told])
    known = np.full(len(items), -1)
    if told.empty:
        return known
    told = told.apply(lambda column: column.str.strip()).drop_duplicates()
    by_key = {folded(name): number for number, name in enumerate(classes)}
    codes = np.array([by_key.get(folded(name), -1) for name in told["known"]])
    if (codes < 0).any():
        raise Refusal(f"the known class {told['known'].iloc[codes.argmin()]!r} is not among the classes {shown(classes)}")
    if (twice := told["item"].duplicated()).any():
        raise Refusal(f"item {told['item'][twice].iloc[0]!r} has two different known classes")
    places = pd.Index(items).get_indexer(told["item"])
    here = places >= 0
    known[places[here]] = codes[here]
    if not here.any():
        raise Refusal(
            f"none of the items with a known class has a label: known are {shown(told['item'])}, labeled are {shown(items)}"
        )
    if not here.all():
        table.notes.append(f"{int((~here).sum())} known classes of items without a label are not used")
    return known
