"""What is common to all that a crowd can say: sparse triples (item, annotator, what was said), validated once, here.

Something that nobody said has no row, so memory and work grow with what was said, never with items x annotators.
"""

from __future__ import annotations

import logging
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd

__all__ = ["Triples", "check_columns", "whole_numbers"]

log = logging.getLogger(__name__)


class Triples:
    """Triples, sorted by item, then annotator. A subclass is a frozen dataclass with at least the fields ``item``,
    ``annotator``, a column of what was said, ``n_items``, ``n_annotators``, ``item_names`` and ``annotator_names``.

    Attributes:
        task: what can be learned from them; a method is for one task.
        column: the name of that column. Its first axis is that of the triples.
    """

    task: ClassVar[str]
    column: ClassVar[str]
    _sizes: ClassVar[Mapping[str, int]] = {"n_items": 0, "n_annotators": 0}  # the least that each may be
    _names: ClassVar[Mapping[str, str]] = {"item_names": "n_items", "annotator_names": "n_annotators"}
    _named: ClassVar[tuple[str, ...]] = ("items", "annotators")  # options of ``from_frame`` that are lists of names

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

    def _said_names(self) -> Sequence | None:
        """What :meth:`to_frame` shows for ``0, 1, ...``; None shows the numbers themselves."""
        return None

    @property
    def said(self) -> np.ndarray:
        """``[labels, ...]`` what was said, whatever its field is called."""
        return getattr(self, self.column)

    # ------------------------------------------------------------------ validation

    def __post_init__(self) -> None:
        for name, least in self._sizes.items():
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, found {size!r}")
            object.__setattr__(self, name, int(size))
        columns = {
            "item": whole_numbers("item", self.item, self.n_items),
            "annotator": whole_numbers("annotator", self.annotator, self.n_annotators),
            self.column: self._checked(self.said),
        }
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"item, annotator and {self.column} must be equally long, found lengths {lengths}")
        pair = columns["item"] * max(self.n_annotators, 1) + columns["annotator"]
        order = np.argsort(pair)  # a repeated pair is an error, so the order of equals does not matter
        repeated = np.flatnonzero(np.diff(pair[order]) == 0)
        if len(repeated):
            row = order[repeated[0]]
            raise ValueError(
                "each (item, annotator) pair may occur once, found "
                f"({columns['item'][row]}, {columns['annotator'][row]}) more than once; {len(repeated)} such repeats"
            )
        for name, column in columns.items():
            column = column[order]
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        for name, size in self._names.items():
            object.__setattr__(self, name, _unique_names(name, getattr(self, name), getattr(self, size)))

    # ------------------------------------------------------------------ from and to tables

    @classmethod
    def from_csv(cls, path: str | Path, **columns) -> Self:
        """From a CSV file with a header (also ``.gz``, ``.bz2``, ``.xz``, ``.zip``); the options are those of ``from_frame``.

        Names are read as text, and names given as something else are compared as text. A warning names annotators and classes
        that differ in case, spaces or Unicode form alone, since each is taken for one of its own.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not readable as CSV, two columns of one name, or as in ``from_frame``; the message names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no CSV file of {cls.column}s at {path}")
        for role in cls._named:
            if columns.get(role) is not None:
                columns[role] = [str(name) for name in columns[role]]
        try:
            with warnings.catch_warnings():
                # Rows longer than the header: pandas would shift or drop columns.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], index_col=False)
            header = pd.read_csv(path, dtype=str, keep_default_na=False, header=None, nrows=1).iloc[0].tolist()
        except Exception as error:  # a damaged archive raises this or that, by its kind
            raise ValueError(f"{path}: {error}") from error
        # Pandas has renamed the second of two equal columns.
        if again := [name for place, name in enumerate(header) if name and name in header[:place]]:
            raise ValueError(f"{path}: two columns are named {again[0]!r}; rename one of them")
        try:
            made = cls.from_frame(frame, **columns)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        for role, names in (("annotators", made.annotator_names), (f"{cls.column}s", made._said_names())):
            if alike := _alike(names or ()):
                log.warning("%s: the %s %s are taken for different ones", path, role, " and ".join(map(repr, alike)))
        return made

    @staticmethod
    def _coded(
        frame: pd.DataFrame, columns: Mapping[str, str], given: Sequence[Sequence | None]
    ) -> tuple[dict[str, np.ndarray], dict[str, list]]:
        """Indices and names of a table's columns, by role; the first two are ``item`` and ``annotator``.

        Raises:
            ValueError: a name that is not among those given, or a pair that is there twice.
        """
        codes, names = {}, {}
        for (role, column), known in zip(columns.items(), given, strict=True):
            codes[role], names[role] = _encode(column, frame[column], known)
        item, annotator = (columns[role] for role in ("item", "annotator"))
        pair = pd.DataFrame({role: codes[role] for role in ("item", "annotator")})
        if (again := pair.duplicated()).any():
            row = int(np.flatnonzero(again)[0])
            repeated = f"({frame[item].iloc[row]!r}, {frame[annotator].iloc[row]!r}) again in row {row}"
            raise ValueError(f"each (item, annotator) pair may occur once, found {repeated}; {int(again.sum())} such rows")
        return codes, names

    def to_frame(self) -> pd.DataFrame:
        """One row per triple, with the caller's names: columns ``item``, ``annotator`` and what was said."""
        columns = {"item": self.item_names, "annotator": self.annotator_names, self.column: self._said_names()}
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
        """The labels of some items only, which become items ``0, 1, ...`` in the given order; annotators stay.

        Args:
            items: item indices without repeats, or a mask ``[n_items]``.

        Raises:
            ValueError: an item out of range or named twice.
        """
        items = np.asarray(items)
        if items.dtype == bool:
            if items.shape != (self.n_items,):
                raise ValueError(f"a mask needs the shape ({self.n_items},), found {items.shape}")
            items = np.flatnonzero(items)
        items = whole_numbers("items", items, self.n_items)
        place = np.full(self.n_items, -1)
        place[items] = np.arange(len(items))
        if (place >= 0).sum() != len(items):
            raise ValueError("items must not repeat")
        keep = place[self.item] >= 0
        names = None if self.item_names is None else [self.item_names[i] for i in items]
        return self._with_rows(keep, place[self.item[keep]], len(items), names)

    def select_labels(self, keep) -> Self:
        """Some of the labels, with all items and annotators kept.

        Args:
            keep: ``[labels]`` mask, in the order of the triples.

        Raises:
            ValueError: not a mask of that length.
        """
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != (len(self),):
            raise ValueError(f"keep must be a mask of shape ({len(self)},), found {keep.dtype} of shape {keep.shape}")
        return self._with_rows(keep, self.item[keep], self.n_items, self.item_names)

    def _with_rows(self, keep, item, n_items, item_names) -> Self:
        changes = {"item": item, "annotator": self.annotator[keep], self.column: self.said[keep]}
        return replace(self, **changes, n_items=n_items, item_names=item_names)


# ---------------------------------------------------------------------- tables and names


def check_columns(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
    """A table has the columns that are read from it, without an empty cell.

    Raises:
        ValueError: a column is missing or there twice, or has an empty cell.
    """
    columns = list(frame.columns)
    if any(columns.count(column) != 1 for column in wanted):
        raise ValueError(f"the table needs the columns {list(wanted)}, each once, found {columns}")
    for column in wanted:
        empty = np.flatnonzero(frame[column].isna().to_numpy())
        if len(empty):
            raise ValueError(f"column {column!r} has {len(empty)} empty cells, the first in row {empty[0]}")


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
    """Positions of a table's values among the names, and the names: those given, else those that occur, sorted.

    Raises:
        ValueError: a value that is no name or not among the names given, or names of several types.
    """
    types = set(map(type, values)) if values.dtype == object else set()
    if bool in types and len(types) > 1:  # for Python True is 1
        raise ValueError(f"column {column!r} must hold names of one type, found {', '.join(sorted(t.__name__ for t in types))}")
    try:
        codes, seen = pd.factorize(values, use_na_sentinel=False)  # in the order of first appearance; every cell is hashed once
    except TypeError as error:
        raise ValueError(f"column {column!r} must hold names, found a value that cannot be one: {error}") from error
    seen = seen.tolist()
    names = _in_order(column, seen) if given is None else _as_list(given)
    positions = {name: position for position, name in enumerate(names)}
    for value in seen:
        if value not in positions:
            raise ValueError(f"column {column!r} has the value {value!r}, expected one of {_shorten(names)}")
    return np.array([positions[value] for value in seen], dtype=np.int64)[codes], names


def _alike(names: Sequence) -> list:
    """The first names that are equal but for case, spaces and Unicode form; empty where there are none."""
    groups: dict[str, list] = {}
    for name in map(str, names):
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return next((group for group in groups.values() if len(group) > 1), [])


def _in_order(column: str, names: list) -> list:
    """Sorted; whole numbers written as text by value, so that "10" comes after "9" and indices stay what they were."""
    if all(isinstance(name, str) and name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    try:
        return sorted(names)
    except TypeError as error:
        types = sorted({type(name).__name__ for name in names})
        raise ValueError(f"column {column!r} must hold names of one type, found {', '.join(types)}") from error


def _shorten(names: list) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 10 else shown
