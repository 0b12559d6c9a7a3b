"""What a crowd said, as sparse triples: who said what about which item.

``CrowdLabels`` and ``CrowdRatings`` are the shapes in which a crowd's classes and numbers enter the library; ``Answers`` is
what they share. They are validated once, here; everything after may rely on it. An answer that nobody gave has no row, so
memory and work grow with the answers, never with items x annotators.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

__all__ = ["Answers", "CrowdLabels", "CrowdRatings", "whole_numbers"]


class Answers:
    """Triples, sorted by item, then annotator. A subclass is a frozen dataclass with at least the fields ``item``,
    ``annotator``, the answers' own column, ``n_items``, ``n_annotators``, ``item_names`` and ``annotator_names``.

    Attributes:
        task: what can be learned from such answers; a method is for one task.
        column: the answers' field. Its first axis is that of the triples.
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

    # ------------------------------------------------------------------ what a kind of answers says of itself

    @property
    def n_outputs(self) -> int:
        """How many numbers a network gives for an item (or for each place of a sequence)."""
        raise NotImplementedError

    def _checked(self, answers) -> np.ndarray:
        """The answers as a new array that owns its memory; ValueError where one is not allowed."""
        raise NotImplementedError

    def _answer_names(self) -> Sequence | None:
        """What :meth:`to_frame` shows for answer ``0, 1, ...``; None shows the answers themselves."""
        return None

    @property
    def answer(self) -> np.ndarray:
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
            self.column: self._checked(self.answer),
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
        """From a CSV file with a header; the options are those of ``from_frame``.

        Names are read as text, and names given as something else are compared as text.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not readable as CSV, or as in ``from_frame``; the message names the file.
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
            return cls.from_frame(frame, **columns)
        except (ValueError, pd.errors.ParserWarning) as error:
            raise ValueError(f"{path}: {error}") from error

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
        """One row an answer, with the caller's names: columns ``item``, ``annotator`` and the answers' own."""
        columns = {"item": self.item_names, "annotator": self.annotator_names, self.column: self._answer_names()}
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
        changes = {"item": item, "annotator": self.annotator[keep], self.column: self.answer[keep]}
        return replace(self, **changes, n_items=n_items, item_names=item_names)


@dataclass(frozen=True, eq=False)
class CrowdLabels(Answers):
    """Triples (item, annotator, label), sorted by item, then annotator.

    Args:
        item: ``[labels]`` whole numbers in ``0 .. n_items - 1``.
        annotator: ``[labels]`` whole numbers in ``0 .. n_annotators - 1``.
        label: ``[labels]`` whole numbers in ``0 .. n_classes - 1``.
        n_items, n_annotators, n_classes: sizes. An item that nobody labeled and an annotator without labels are
            allowed.
        item_names, annotator_names, class_names: the caller's own names, one for each index (default: the indices).

    Raises:
        ValueError: vectors of different lengths, an index or label out of range, a value that is no whole number (NaN
            included), a repeated (item, annotator) pair, or names that do not fit the sizes or repeat.
    """

    item: np.ndarray
    annotator: np.ndarray
    label: np.ndarray
    n_items: int
    n_annotators: int
    n_classes: int
    item_names: Sequence | None = None
    annotator_names: Sequence | None = None
    class_names: Sequence | None = None

    task: ClassVar[str] = "classification"
    column: ClassVar[str] = "label"
    _sizes: ClassVar[Mapping[str, int]] = Answers._sizes | {"n_classes": 1}
    _names: ClassVar[Mapping[str, str]] = Answers._names | {"class_names": "n_classes"}
    _named: ClassVar[tuple[str, ...]] = (*Answers._named, "classes")

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    def _checked(self, answers) -> np.ndarray:
        return whole_numbers("label", answers, self.n_classes)

    def _answer_names(self) -> Sequence | None:
        return self.class_names

    # ------------------------------------------------------------------ from and to other shapes

    @classmethod
    def from_dense(cls, labels, n_classes: int | None = None, missing: int = -1, **names) -> CrowdLabels:
        """From a dense matrix.

        Args:
            labels: ``[items, annotators]`` class indices, ``missing`` (or masked) where there is none.
            n_classes: number of classes; by default the largest label plus one.
            missing: the code of a missing label.
            names: ``item_names``, ``annotator_names``, ``class_names``.

        Raises:
            ValueError: not two-dimensional, a NaN, or a label outside ``0 .. n_classes - 1``.
        """
        labels = np.asarray(np.ma.filled(labels, missing))
        if labels.ndim != 2:
            raise ValueError(f"labels must have the two axes items x annotators, found shape {labels.shape}")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError(f"labels hold {int(np.isnan(labels).sum())} NaN; code a missing label as {missing}")
        item, annotator = np.nonzero(labels != missing)
        label = labels[item, annotator]
        if n_classes is None:
            n_classes = _classes_seen(label)
        return cls(item, annotator, label, *labels.shape, n_classes, **names)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        item: str = "item",
        annotator: str = "annotator",
        label: str = "label",
        items: Sequence | None = None,
        annotators: Sequence | None = None,
        classes: Sequence | None = None,
    ) -> CrowdLabels:
        """From a long table, one row a label, with any names for items, annotators and classes.

        Args:
            frame: one row a label.
            item, annotator, label: the columns' names.
            items, annotators, classes: all names, in the wanted order, also those that occur in no row. By default
                those that occur, sorted; whole numbers by value, also where they are text.

        Raises:
            ValueError: a column is missing, a cell is empty, a name is not among those given, a pair is repeated.
        """
        wanted = {"item": item, "annotator": annotator, "label": label}
        _check_columns(frame, list(wanted.values()))
        codes, names = cls._coded(frame, wanted, (items, annotators, classes))
        if not names["label"]:
            raise ValueError("the table has no rows and no classes were given: at least one class is needed")
        return cls(*codes.values(), *map(len, names.values()), *names.values())

    # ------------------------------------------------------------------ views that the rest uses

    def __repr__(self) -> str:
        return (
            f"CrowdLabels({len(self)} labels: {self.n_items} items, {self.n_annotators} annotators, {self.n_classes} classes)"
        )

    @cached_property
    def counts(self) -> np.ndarray:
        """``[items, classes]`` how often each class was said of each item (float64, as all arithmetic on it is)."""
        flat = np.bincount(self.item * self.n_classes + self.label, minlength=self.n_items * self.n_classes)
        return flat.reshape(self.n_items, self.n_classes).astype(np.float64)

    @cached_property
    def incidence(self) -> sparse.csr_array:
        """Sparse ``[items, annotators * classes]`` of ones: column ``annotator * n_classes + label``."""
        column = self.annotator * self.n_classes + self.label
        width = self.n_annotators * self.n_classes
        small = np.int32 if max(width, len(self)) < 2**31 else np.int64
        ones = np.ones(len(self), dtype=np.float64)
        pointers = self.offsets.astype(small)
        return sparse.csr_array((ones, column.astype(small), pointers), shape=(self.n_items, width))

    def true_confusion(self, y, smoothing: float = 0.0) -> np.ndarray:
        """Each annotator's confusion matrix, counted against the truth.

        Args:
            y: ``[items]`` true classes.
            smoothing: added to every count.

        Returns:
            ``[annotators, true class, label]``; rows sum to one, or are zero where the annotator labeled no item of
            that class and ``smoothing`` is 0.

        Raises:
            ValueError: ``y`` does not fit the items or classes.
        """
        y = whole_numbers("y", y, self.n_classes)
        if len(y) != self.n_items:
            raise ValueError(f"y must have one true class for each of the {self.n_items} items, found {len(y)}")
        shape = (self.n_annotators, self.n_classes, self.n_classes)
        flat = np.ravel_multi_index((self.annotator, y[self.item], self.label), shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape) + smoothing
        totals = counts.sum(axis=2, keepdims=True)
        return np.divide(counts, totals, out=np.zeros(shape), where=totals > 0)


def _classes_seen(label: np.ndarray) -> int:
    if len(label) == 0:
        raise ValueError("there are no labels, so n_classes must be given")
    return int(whole_numbers("label", label, None).max()) + 1


@dataclass(frozen=True, eq=False)
class CrowdRatings(Answers):
    """Triples (item, annotator, value) where an answer is a number, sorted by item, then annotator.

    Args:
        item: ``[ratings]`` whole numbers in ``0 .. n_items - 1``.
        annotator: ``[ratings]`` whole numbers in ``0 .. n_annotators - 1``.
        value: ``[ratings]`` finite numbers.
        n_items, n_annotators: sizes. An item that nobody rated and an annotator without ratings are allowed.
        item_names, annotator_names: the caller's own names, one for each index (default: the indices).

    Raises:
        ValueError: vectors of different lengths, an index out of range, a value that is not finite, a repeated (item,
            annotator) pair, or names that do not fit the sizes or repeat.
    """

    item: np.ndarray
    annotator: np.ndarray
    value: np.ndarray
    n_items: int
    n_annotators: int
    item_names: Sequence | None = None
    annotator_names: Sequence | None = None

    task: ClassVar[str] = "regression"
    column: ClassVar[str] = "value"

    @property
    def n_outputs(self) -> int:
        return 1

    def _checked(self, answers) -> np.ndarray:
        values = np.asarray(answers)
        if values.ndim != 1:
            raise ValueError(f"value must be a vector, found shape {values.shape}")
        if len(values) and values.dtype.kind not in "iuf":
            raise ValueError(f"value must hold numbers, found values of type {values.dtype}")
        values = values.astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            found = f"found {values[wrong[0]]} at position {wrong[0]}; {len(wrong)} such values"
            raise ValueError(f"value must hold finite numbers, {found}")
        return values

    @classmethod
    def from_dense(cls, values, missing: float = np.nan, **names) -> CrowdRatings:
        """From a dense matrix.

        Args:
            values: ``[items, annotators]`` numbers, ``missing`` (or masked) where there is none.
            missing: the code of a missing rating: NaN, or a number that stands for it.
            names: ``item_names``, ``annotator_names``.

        Raises:
            ValueError: not two-dimensional, or a rating that is not finite.
        """
        masked = np.ma.getmaskarray(values)
        values = np.asarray(np.ma.getdata(values))
        if values.ndim != 2:
            raise ValueError(f"values must have the two axes items x annotators, found shape {values.shape}")
        if values.dtype.kind not in "iuf":
            raise ValueError(f"values must hold numbers, found values of type {values.dtype}")
        given = ~masked & ~(np.isnan(values) if np.isnan(missing) else values == missing)
        wrong = np.argwhere(given & ~np.isfinite(values))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"values must be finite or {missing} (missing), found {values[row, column]} in row {row}, column {column}; "
                f"{len(wrong)} such values"
            )
        item, annotator = np.nonzero(given)
        return cls(item, annotator, values[item, annotator], *values.shape, **names)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        item: str = "item",
        annotator: str = "annotator",
        value: str = "value",
        items: Sequence | None = None,
        annotators: Sequence | None = None,
    ) -> CrowdRatings:
        """From a long table, one row a rating, with any names for items and annotators.

        Args:
            frame: one row a rating; numbers may be text.
            item, annotator, value: the columns' names.
            items, annotators: all names, in the wanted order, also those that occur in no row. By default those that
                occur, sorted; whole numbers by value, also where they are text.

        Raises:
            ValueError: a column is missing, a cell is empty, a rating is no finite number, a name is not among those
                given, a pair is repeated.
        """
        _check_columns(frame, [item, annotator, value])
        numbers = pd.to_numeric(frame[value], errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            found = f"found {frame[value].iloc[wrong[0]]!r} in row {wrong[0]}; {len(wrong)} such cells"
            raise ValueError(f"column {value!r} must hold finite numbers, {found}")
        codes, names = cls._coded(frame, {"item": item, "annotator": annotator}, (items, annotators))
        return cls(*codes.values(), numbers, *map(len, names.values()), *names.values())

    def __repr__(self) -> str:
        return f"CrowdRatings({len(self)} ratings: {self.n_items} items, {self.n_annotators} annotators)"


# ---------------------------------------------------------------------- tables and names


def _check_columns(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
    """A table has the columns that are read from it, without an empty cell.

    Raises:
        ValueError: a column is missing or there twice, or has an empty cell.
    """
    found = list(frame.columns)
    if any(found.count(column) != 1 for column in wanted):
        raise ValueError(f"the table needs the columns {list(wanted)}, each once, found {found}")
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
        ValueError: a value that is not among the names given, or names of several types.
    """
    codes, seen = pd.factorize(values, use_na_sentinel=False)  # in the order of first appearance; every cell is hashed once
    seen = seen.tolist()
    names = _in_order(column, seen) if given is None else _as_list(given)
    positions = {name: position for position, name in enumerate(names)}
    for value in seen:
        if value not in positions:
            raise ValueError(f"column {column!r} has the value {value!r}, expected one of {_shorten(names)}")
    return np.array([positions[value] for value in seen], dtype=np.int64)[codes], names


def _in_order(column: str, names: list) -> list:
    """Sorted; whole numbers written as text by value, so that "10" comes after "9" and indices stay what they were."""
    if all(isinstance(name, str) and name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    try:
        return sorted(names)
    except TypeError as error:
        types = sorted({type(name).__name__ for name in names})
        raise ValueError(f"column {column!r} must hold names of one type, found {', '.join(types)}") from error


def _shorten(names: list, most: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > most else shown
