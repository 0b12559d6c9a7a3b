"""What is common to all that a crowd can say: sparse triples (item, annotator, what was said), validated once, here.

Something that nobody said has no row, so memory and work grow with what was said, never with items x annotators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import pandas as pd

SIZES = {"n_items": "item_names", "n_annotators": "annotator_names", "n_classes": "class_names"}


class Triples:
    """Triples, sorted by item, then annotator. A subclass is a frozen dataclass with at least these fields and a column of
    what was said.

    Attributes:
        task: what can be learned from them; a method is for one task.
        column: the name of that column. Its first axis is that of the triples.
    """

    task: ClassVar[str]
    column: ClassVar[str]
    class_names: Sequence | None = None  # of what was said, where it is a class

    item: np.ndarray
    annotator: np.ndarray
    n_items: int
    n_annotators: int
    item_names: Sequence | None
    annotator_names: Sequence | None

    # ------------------------------------------------------------------ what a subclass says of itself

    @property
    def n_outputs(self) -> int:
        """How many numbers a network gives for an item (or for each place of a sequence)."""
        raise NotImplementedError

    def _checked(self, values) -> np.ndarray:
        """What was said, as a new array that owns its memory; ValueError where something is not allowed."""
        raise NotImplementedError

    @property
    def said(self) -> np.ndarray:
        """``[labels, ...]`` what was said, whatever its field is called."""
        return getattr(self, self.column)

    # ------------------------------------------------------------------ validation

    def __post_init__(self) -> None:
        for size, names in SIZES.items():
            if hasattr(self, size):  # numbers have no classes
                object.__setattr__(self, size, _size(size, getattr(self, size)))
                object.__setattr__(self, names, _unique_names(names, getattr(self, names), getattr(self, size)))
        columns = {
            "item": whole_numbers("item", self.item, self.n_items),
            "annotator": whole_numbers("annotator", self.annotator, self.n_annotators),
            self.column: self._checked(self.said),
        }
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"item, annotator and {self.column} must be equally long, found lengths {lengths}")
        pair = columns["item"] * max(self.n_annotators, 1) + columns["annotator"]
        if not (pair[1:] > pair[:-1]).all():  # as those of a selection of labels are
            order = np.argsort(pair)  # a repeated pair is an error, so the order of equals does not matter
            columns = {name: column[order] for name, column in columns.items()}
            if len(again := np.flatnonzero(np.diff(pair[order]) == 0)):
                item, annotator = (int(columns[role][again[0]]) for role in ("item", "annotator"))
                if self.item_names and self.annotator_names:
                    item, annotator = self.item_names[item], self.annotator_names[annotator]
                raise ValueError(
                    f"each (item, annotator) pair may occur once, found ({item!r}, {annotator!r}) more than once; "
                    f"{len(again)} such repeats"
                )
        for name, column in columns.items():
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    # ------------------------------------------------------------------ from and to tables

    @staticmethod
    def _coded(frame: pd.DataFrame, columns: Mapping[str, str], given: Mapping[str, Sequence | None]) -> tuple[dict, dict]:
        """A table's columns by role, with the indices of names for the roles in ``given``; and the names of those.

        Raises:
            ValueError: a column is missing or there twice, an empty cell, or a name that is not among those given.
        """
        found = list(frame.columns)
        if any(found.count(column) != 1 for column in columns.values()):
            raise ValueError(f"the table needs the columns {list(columns.values())}, each once, found {found}")
        for column in columns.values():
            if len(empty := np.flatnonzero(frame[column].isna())):
                raise ValueError(f"column {column!r} has {len(empty)} empty cells, the first in row {empty[0]}")
        coded, names = {role: frame[column] for role, column in columns.items()}, {}
        for role, known in given.items():
            coded[role], names[role] = _encode(columns[role], frame[columns[role]], known)
        return coded, names

    def to_frame(self) -> pd.DataFrame:
        """One row per triple, with the caller's names: columns ``item``, ``annotator`` and what was said."""
        columns = {"item": self.item_names, "annotator": self.annotator_names, self.column: self.class_names}
        frame = {}
        for role, names in columns.items():
            code = getattr(self, role)
            # Not by `asarray`, which would make two columns of names that are pairs.
            frame[role] = code if names is None else np.fromiter(names, dtype=object, count=len(names))[code]
        return pd.DataFrame(frame).infer_objects()

    # ------------------------------------------------------------------ views that the rest uses

    def __len__(self) -> int:
        return len(self.item)

    @cached_property
    def offsets(self) -> np.ndarray:
        """``[items + 1]``: the labels of item ``i`` are the rows ``offsets[i] : offsets[i + 1]``."""
        return np.concatenate([[0], np.cumsum(self.labels_per_item)])

    @cached_property
    def labels_per_item(self) -> np.ndarray:
        """``[items]`` how many labels each item has."""
        return np.bincount(self.item, minlength=self.n_items)

    @cached_property
    def labels_per_annotator(self) -> np.ndarray:
        """``[annotators]`` how many labels each annotator gave."""
        return np.bincount(self.annotator, minlength=self.n_annotators)

    def select_items(self, items) -> Self:
        """The labels of some items, given as indices without repeats or as a mask, which become items ``0, 1, ...`` in that
        order; annotators stay. Raises ValueError for an item out of range or named twice."""
        items = mask_to_places("items", items, self.n_items)
        place = np.full(self.n_items, -1)
        place[items] = np.arange(len(items))
        keep = place[self.item] >= 0
        names = None if self.item_names is None else [self.item_names[i] for i in items]
        return self._with_rows(keep, place[self.item[keep]], len(items), names)

    def select_labels(self, keep) -> Self:
        """Some of the labels, by a mask ``[labels]``, with all items and annotators kept. Raises ValueError for anything
        else."""
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != (len(self),):
            raise ValueError(f"keep must be a mask of shape ({len(self)},), found {keep.dtype} of shape {keep.shape}")
        return self._with_rows(keep, self.item[keep], self.n_items, self.item_names)

    def _with_rows(self, keep, item, n_items, item_names) -> Self:
        changes = {"item": item, "annotator": self.annotator[keep], self.column: self.said[keep]}
        return replace(self, **changes, n_items=n_items, item_names=item_names)


# ---------------------------------------------------------------------- numbers and names


def whole_numbers(name: str, values, size: int | None) -> np.ndarray:
    """``values`` as a new int64 vector.

    Raises:
        ValueError: no vector, a value that is no whole number, or one outside ``0 .. size - 1`` (None: below 0).
    """
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a vector, found shape {values.shape}")
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    if values.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)))
        if len(wrong):
            raise ValueError(f"{name} must hold whole numbers, found {values[wrong[0]]} at position {wrong[0]}")
    elif values.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold whole numbers, found values of type {values.dtype}")
    wrong = np.flatnonzero((values < 0) | (values >= (2**62 if size is None else size)))
    if len(wrong):
        expected = "be at least 0" if size is None else f"lie in 0 .. {size - 1}" if size else "be empty"
        raise ValueError(f"{name} must {expected}, found {values[wrong[0]]} at position {wrong[0]}; {len(wrong)} such values")
    return values.astype(np.int64, copy=True)


def mask_to_places(name: str, chosen, size: int) -> np.ndarray:
    """Indices without repeats, from those or from a mask ``[size]``; ValueError where they are neither."""
    chosen = np.asarray(chosen)
    if chosen.dtype == bool:
        if chosen.shape != (size,):
            raise ValueError(f"a mask needs the shape ({size},), found {chosen.shape}")
        return np.flatnonzero(chosen)
    chosen = whole_numbers(name, chosen, size)
    if len(np.unique(chosen)) != len(chosen):
        raise ValueError(f"{name} must not repeat")
    return chosen


def _size(name: str, size) -> int:
    least = int(name == "n_classes")
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, found {size!r}")
    return int(size)


def _unique_names(name: str, values: Sequence | None, size: int) -> tuple | None:
    if values is None:
        return None
    values = tuple(_as_list(values))
    if len(values) != size:
        raise ValueError(f"{name} must have {size} entries, found {len(values)}")
    if len(set(values)) != size:
        raise ValueError(f"{name} must not repeat")
    return values


def _as_list(names: Sequence) -> list:
    """Names as plain Python values."""
    return names.tolist() if isinstance(names, np.ndarray | pd.Series | pd.Index) else list(names)


def _encode(column: str, values: pd.Series, given: Sequence | None) -> tuple[np.ndarray, list]:
    """Positions of a table's values among the names, and the names: those given, else those that occur, sorted."""
    types = set(map(type, values)) if values.dtype == object else set()
    if bool in types and len(types) > 1:  # for Python True is 1
        raise ValueError(_several_types(column, types))
    try:
        codes, seen = pd.factorize(values, use_na_sentinel=False)  # in the order of first appearance; every cell is hashed once
    except TypeError as error:
        raise ValueError(f"column {column!r} must hold names, found a value that cannot be one: {error}") from error
    seen = seen.tolist()
    try:
        names = [seen[place] for place in natural_order(seen)] if given is None else _as_list(given)
    except TypeError as error:
        raise ValueError(_several_types(column, set(map(type, seen)))) from error
    positions = {name: position for position, name in enumerate(names)}
    for value in seen:
        if value not in positions:
            shown = ", ".join(map(repr, names[:10])) + (f", ... ({len(names)} in all)" if len(names) > 10 else "")
            raise ValueError(f"column {column!r} has the value {value!r}, expected one of {shown}")
    return np.array([positions[value] for value in seen], dtype=np.int64)[codes], names


def natural_order(names: list) -> list[int]:
    """Their places, sorted; whole numbers written as text by value, so that "10" comes after "9" and indices stay what they
    were."""
    order = sorted(range(len(names)), key=names.__getitem__)
    if all(isinstance(name, str) and name.removeprefix("-").isdecimal() for name in names):
        order.sort(key=lambda place: int(names[place]))
    return order


def _several_types(column: str, types: set[type]) -> str:
    return f"column {column!r} must hold names of one type, found {', '.join(sorted(t.__name__ for t in types))}"
