"""What a crowd said, as sparse triples: who said what about which item.

``CrowdLabels`` and ``CrowdRatings`` are the shapes in which a crowd's classes and numbers enter the library. They are
validated once, when they are made; everything after may rely on it. What the two share is in :mod:`lib.crowd.triples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from lib.crowd.triples import Triples, whole_numbers


@dataclass(frozen=True, eq=False)
class CrowdLabels(Triples):
    """Triples (item, annotator, label), sorted by item, then annotator.

    Args:
        item, annotator, label: ``[labels]`` whole numbers from 0 to below the sizes.
        n_items, n_annotators, n_classes: sizes. An item that nobody labeled and an annotator without labels are allowed.
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

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    def _checked(self, values) -> np.ndarray:
        return whole_numbers("label", values, self.n_classes)

    # ------------------------------------------------------------------ from other shapes

    @classmethod
    def from_dense(cls, labels, n_classes: int | None = None, missing: int = -1, **names) -> CrowdLabels:
        """From class indices ``[items, annotators]``, ``missing`` (or masked) where there is no label.

        ``n_classes`` is the largest label plus one by default; ``names`` are the dataclass's. Raises ValueError for another
        shape, a NaN, or a label outside ``0 .. n_classes - 1``.
        """
        labels = np.asarray(np.ma.filled(labels, missing))
        if labels.ndim != 2:
            raise ValueError(f"labels must have the two axes items x annotators, found shape {labels.shape}")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError(f"labels hold {int(np.isnan(labels).sum())} NaN; code a missing label as {missing}")
        item, annotator = np.nonzero(labels != missing)
        label = labels[item, annotator]
        if n_classes is None:
            if len(label) == 0:
                raise ValueError("there are no labels, so n_classes must be given")
            n_classes = int(whole_numbers("label", label, None).max()) + 1
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
        """From a long table, one row per label, with any names for items, annotators and classes.

        Args:
            frame: one row per label.
            item, annotator, label: the columns' names.
            items, annotators, classes: all names, in the wanted order, also those that occur in no row. By default
                those that occur, sorted; whole numbers by value, also where they are text.

        Raises:
            ValueError: a column is missing, a cell is empty, a name is not among those given, a pair is repeated.
        """
        given = {"item": items, "annotator": annotators, "label": classes}
        codes, names = cls._coded(frame, {"item": item, "annotator": annotator, "label": label}, given)
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
        return self.sums_by_item(None).astype(np.float64)

    @cached_property
    def agreeing_pairs(self) -> np.ndarray:
        """``[items]`` how many ordered pairs of labels of an item are equal."""
        others = self.said_in(self.counts) - 1
        return np.bincount(self.item, others, minlength=self.n_items)

    @cached_property
    def cell(self) -> np.ndarray:
        """``[labels]`` the place of each label's item and class in a table ``[items, classes]``, row by row."""
        return self.item * self.n_classes + self.label

    def said_in(self, table: np.ndarray) -> np.ndarray:
        """``[labels]``: of a table ``[items, classes]``, the entry at each label's item and class."""
        return np.take(table, self.cell)

    def sums_by_item(self, values: np.ndarray | None) -> np.ndarray:
        """``[items, classes]``: of numbers ``[labels]``, the sum over the labels that say a class of an item; None counts."""
        return self._sums(self.cell, self.n_items, values)

    def sums_by_annotator(self, values: np.ndarray) -> np.ndarray:
        """``[annotators, classes]``: of numbers ``[labels]``, the sum over the times that an annotator says a class."""
        return self._sums(self.annotator * self.n_classes + self.label, self.n_annotators, values)

    def _sums(self, cell: np.ndarray, size: int, values: np.ndarray | None) -> np.ndarray:
        sums = np.bincount(cell, values, minlength=size * self.n_classes).reshape(size, self.n_classes)
        return sums if values is None else sums.astype(np.float64, copy=False)  # of no labels NumPy makes integers

    @cached_property
    def incidence(self) -> sparse.csr_array:
        """Sparse ``[items, annotators * classes]`` of ones: column ``annotator * n_classes + label``."""
        return self._ones(self.annotator * self.n_classes + self.label, self.n_annotators * self.n_classes)

    @cached_property
    def participation(self) -> sparse.csr_array:
        """Sparse ``[items, annotators]`` of ones: who labeled what."""
        return self._ones(self.annotator, self.n_annotators)

    def _ones(self, column: np.ndarray, width: int) -> sparse.csr_array:
        small = np.int32 if max(width, len(self)) < 2**31 else np.int64
        pointers = self.offsets.astype(small)
        return sparse.csr_array((np.ones(len(self)), column.astype(small), pointers), shape=(self.n_items, width))

    def confusion_counts(self, y) -> np.ndarray:
        """``[annotators, true class, label]`` int64: how often each annotator said what of items of each class.

        Raises:
            ValueError: the true classes ``y`` do not fit the items or classes.
        """
        y = whole_numbers("y", y, self.n_classes)
        if len(y) != self.n_items:
            raise ValueError(f"y must have one true class for each of the {self.n_items} items, found {len(y)}")
        shape = (self.n_annotators, self.n_classes, self.n_classes)
        cell = np.ravel_multi_index((self.annotator, y[self.item], self.label), shape)
        return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)

    def true_confusion(self, y, smoothing: float = 0.0) -> np.ndarray:
        """Each annotator's confusion matrix ``[annotators, true class, label]``, of :meth:`confusion_counts` plus
        ``smoothing``.

        Rows sum to one, or are zero where the annotator labeled no item of that class and ``smoothing`` is 0.
        """
        counts = self.confusion_counts(y) + smoothing
        totals = counts.sum(axis=2, keepdims=True)
        return np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)


@dataclass(frozen=True, eq=False)
class CrowdRatings(Triples):
    """Triples (item, annotator, value) whose values are finite numbers, sorted by item, then annotator.

    Sizes, names and errors are those of :class:`CrowdLabels`, without classes.
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

    def _checked(self, values) -> np.ndarray:
        values = np.asarray(values)
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
        """From numbers ``[items, annotators]``, ``missing`` (NaN, or a number that stands for it; or masked) where there is
        none.

        Raises ValueError for another shape, or a rating that is not finite.
        """
        masked = np.ma.getmaskarray(values)
        values = np.asarray(np.ma.getdata(values))
        if values.ndim != 2:
            raise ValueError(f"values must have the two axes items x annotators, found shape {values.shape}")
        if values.dtype.kind not in "iuf":
            raise ValueError(f"values must hold numbers, found values of type {values.dtype}")
        item, annotator = np.nonzero(~masked & ~(np.isnan(values) if np.isnan(missing) else values == missing))
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
        """From a long table, one row per rating; as :meth:`CrowdLabels.from_frame`. Numbers may be text.

        Raises:
            ValueError: as there, or a rating that is no finite number.
        """
        columns = {"item": item, "annotator": annotator, "value": value}
        codes, names = cls._coded(frame, columns, {"item": items, "annotator": annotators})
        codes["value"] = pd.to_numeric(frame[value], errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(~np.isfinite(codes["value"]))
        if len(wrong):
            found = f"found {frame[value].iloc[wrong[0]]!r} in row {wrong[0]}; {len(wrong)} such cells"
            raise ValueError(f"column {value!r} must hold finite numbers, {found}")
        return cls(*codes.values(), *map(len, names.values()), *names.values())

    def __repr__(self) -> str:
        return f"CrowdRatings({len(self)} ratings: {self.n_items} items, {self.n_annotators} annotators)"
