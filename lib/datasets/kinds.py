"""What a data set holds, by task: items with features, what a crowd said of them, and the truth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lib.crowd.labels import CrowdLabels, CrowdRatings
from lib.crowd.tag_sequences import PADDING, CrowdSequences
from lib.crowd.triples import Triples
from lib.registry import within


@dataclass(frozen=True, eq=False, repr=False)
class CrowdData:
    """Items with features, what a crowd said of the training items, and the truth: what every task has.

    Args:
        name, title: for the registry, for a reader.
        x: ``[items, ...]`` float32 features of the training items; or, with ``normalize``, images as bytes,
            ``[items, channels, height, width]`` uint8.
        crowd: what was said of the training items.
        y: ``[items]`` truth of the training items, for scoring only; None where nobody knows it.
        x_test, y_test: the same of items that no annotator saw; None where there are none.
        x_valid, y_valid: the same of items to choose an epoch with; None where there are none.
        extra: what else the data set has, such as texts; each entry is also an attribute. An entry with one value for
            each training item and a sibling ``<name>_test`` is divided along when a validation part is split off.
        normalize: of images, each channel's mean and standard deviation, of values from 0 to 1: what a backbone takes off
            and divides by.

    Raises:
        ValueError: sizes that do not fit each other, a true value that is not allowed, or a feature that is not finite.
    """

    y_dtype: ClassVar[torch.dtype]

    name: str
    title: str
    x: Tensor
    crowd: Triples
    y: Tensor | None
    x_test: Tensor | None
    y_test: Tensor | None
    x_valid: Tensor | None = None
    y_valid: Tensor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for part in ("", "_valid", "_test"):
            x, y = getattr(self, f"x{part}"), getattr(self, f"y{part}")
            if x is None and not part:
                raise self._refused("x is missing")
            if part and (x is None) != (y is None):
                missing, given = ("x", "y") if x is None else ("y", "x")
                raise self._refused(f"{missing}{part} is missing, though {given}{part} is given")
            if x is not None:
                self._check_x(f"x{part}", x)
            if y is not None:
                self._check_y(f"y{part}", y, x)
        if (items := self._items(self.x)) != self.crowd.n_items:
            raise self._refused(f"the crowd labels are of {self.crowd.n_items} items, found {items} in x")

    def _refused(self, why: str) -> ValueError:
        return ValueError(f"{self.name}: {why}")

    def _check_x(self, name: str, x: Tensor) -> None:
        wanted, axes = (torch.float32, x.ndim >= 2) if self.normalize is None else (torch.uint8, x.ndim == 4)
        if x.dtype != wanted or not axes or x.shape[1:] != self.x.shape[1:]:
            kind = "float32 [items, ...]" if self.normalize is None else "uint8 [items, channels, height, width]"
            expected = f"{kind} of {tuple(self.x.shape[1:])} numbers per item"
            raise self._refused(f"{name} must be {expected}, found {x.dtype} {tuple(x.shape)}")
        if self.normalize is None:
            self._check_finite(name, x.flatten(1), "row")
        elif {len(values) for values in self.normalize} != {x.shape[1]}:
            raise self._refused(f"normalize must hold {x.shape[1]} means and deviations, found {self.normalize}")

    def _check_y(self, name: str, y: Tensor, x: Tensor) -> None:
        if y.dtype != self.y_dtype or y.shape != (self._items(x),):
            wanted = f"{str(self.y_dtype).removeprefix('torch.')} [{self._items(x)}]"
            raise self._refused(f"{name} must be {wanted}, as x{name[1:]}, found {y.dtype} {tuple(y.shape)}")

    def _check_finite(self, name: str, values: Tensor, unit: str) -> None:
        if len(bad := torch.nonzero(~torch.isfinite(values).all(dim=1)).flatten()):
            raise self._refused(f"{name} is not finite in {len(bad)} {unit}s, the first is {unit} {int(bad[0])}")

    def _items(self, x: Tensor) -> int:
        """How many items some rows of ``x`` hold."""
        return len(x)

    @property
    def offsets(self) -> np.ndarray | None:
        """``[rows of x + 1]`` where the items of each row begin, in data whose rows hold several (sentences of tokens); None
        where a row is an item."""
        return None

    def __getattr__(self, name: str) -> Any:
        extra = self.__dict__.get("extra") or {}  # not there yet while a copy is being put together
        if name in extra:
            return extra[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, x {tuple(self.x.shape)}, {self.crowd!r})"

    @property
    def n_outputs(self) -> int:
        """How many numbers a network gives for an item: as many as there are classes, one for a rating."""
        return self.crowd.n_outputs

    def summary(self) -> dict[str, Any]:
        """Sizes: ``items``, ``valid_items``, ``test_items``, ``annotators``, ``labels``, ``labels_per_item`` (mean)."""
        return {
            "items": self.crowd.n_items,
            "valid_items": 0 if self.x_valid is None else self._items(self.x_valid),
            "test_items": 0 if self.x_test is None else self._items(self.x_test),
            "annotators": self.crowd.n_annotators,
            "labels": len(self.crowd),
            "labels_per_item": len(self.crowd) / max(self.crowd.n_items, 1),
        }


@dataclass(frozen=True, eq=False, repr=False)
class CrowdDataset(CrowdData):
    """Items of classes, labeled by a crowd: :class:`CrowdData` with ``y`` int64 ``[items]``, and

    Args:
        class_names: one per class.
        true_confusion: ``[annotators, true class, label]`` where the annotators are simulated.
    """

    y_dtype = torch.int64

    crowd: CrowdLabels
    class_names: tuple[str, ...] = field(kw_only=True)
    true_confusion: np.ndarray | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if len(self.class_names) != self.n_classes:
            raise self._refused(f"the crowd has {self.n_classes} classes, found {len(self.class_names)} class_names")
        super().__post_init__()
        if self.true_confusion is not None:
            wanted = (self.crowd.n_annotators, self.n_classes, self.n_classes)
            found = self.true_confusion.shape
            if found != wanted or not np.allclose(self.true_confusion.sum(axis=2), 1):
                raise self._refused(f"true_confusion must have the shape {wanted}, rows that sum to one; found shape {found}")

    def _check_y(self, name: str, y: Tensor, x: Tensor) -> None:
        super()._check_y(name, y, x)
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes:
            raise self._refused(f"{name} must lie in 0 .. {self.n_classes - 1}, found {int(y.min())} .. {int(y.max())}")

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.crowd.n_classes

    def summary(self) -> dict[str, Any]:
        """As in :class:`CrowdData`, and ``classes`` and ``label_accuracy`` (share of labels that are true; None without
        labels or truth)."""
        crowd, accuracy = self.crowd, None
        if self.y is not None and len(crowd):
            accuracy = float((crowd.label == self.y.numpy()[crowd.item]).mean())
        facts = super().summary() | {"classes": crowd.n_classes, "label_accuracy": accuracy}
        order = "items valid_items test_items classes annotators labels labels_per_item label_accuracy"
        return {name: facts[name] for name in order.split()}


@dataclass(frozen=True, eq=False, repr=False)
class RatingDataset(CrowdData):
    """Items with a number each, rated by a crowd: :class:`CrowdData` with ``y`` float32 ``[items]``, finite."""

    y_dtype = torch.float32

    crowd: CrowdRatings

    def _check_y(self, name: str, y: Tensor, x: Tensor) -> None:
        super()._check_y(name, y, x)
        self._check_finite(name, y[:, None], "item")

    def summary(self) -> dict[str, Any]:
        """As in :class:`CrowdData`, and ``rating_mae``: mean distance of a rating from the truth (None without either)."""
        crowd, error = self.crowd, None
        if self.y is not None and len(crowd):
            error = float(np.abs(crowd.value - self.y.numpy()[crowd.item]).mean())
        return super().summary() | {"rating_mae": error}


def token_counts(x: Tensor) -> Tensor:
    """``[sentences]`` how many tokens the sentences of ``[sentences, length, columns]`` have."""
    return (x[:, :, 0] != PADDING).sum(dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class TaggedDataset(CrowdDataset):
    """Sentences whose tokens are the items: :class:`CrowdDataset` with these differences.

    Args:
        x, x_test, x_valid: ``[sentences, length, columns]`` int64 indices of words and, in further columns, of their
            spelling. A row of zeros is padding and comes only after a sentence.
        crowd: labels of the training tokens, sentence after sentence; an annotator tags all of a sentence or nothing.
        y, y_test, y_valid: ``[tokens]`` int64 true tags, sentence after sentence.
        class_names: the tags, in the scheme BIO.
        extra: may hold ``words`` and ``words_test``, the tokens themselves.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        stand_ins = [("",) * length for length in token_counts(self.x).tolist()]
        CrowdSequences(self.extra.get("words", stand_ins), self.crowd)  # checks that sentences are tagged whole

    def _check_x(self, name: str, x: Tensor) -> None:
        if x.dtype != torch.int64 or x.ndim != 3 or x.shape[2] != self.x.shape[2]:
            expected = f"int64 [sentences, length, columns] of {self.x.shape[-1]} columns"
            raise self._refused(f"{name} must be {expected}, found {x.dtype} {tuple(x.shape)}")
        if x.numel() and int(x.min()) < 0:
            raise self._refused(f"{name} must hold indices of at least 0, found {int(x.min())}")
        real = x[:, :, 0] != PADDING
        if len(wrong := torch.nonzero((real[:, 1:] & ~real[:, :-1]).any(dim=1)).flatten()):
            raise self._refused(f"padding must come after a sentence, found a token after it in row {int(wrong[0])}")

    def _items(self, x: Tensor) -> int:
        return int(token_counts(x).sum())

    @cached_property
    def offsets(self) -> np.ndarray:
        """``[sentences + 1]``: row ``i`` of ``x`` holds the items ``offsets[i] : offsets[i + 1]``."""
        return np.concatenate([[0], np.cumsum(token_counts(self.x).numpy())])

    def summary(self) -> dict[str, Any]:
        """Sizes, and how often the crowd is right, counted in tokens; ``sentences`` and ``test_sentences`` besides."""
        facts = {"sentences": len(self.x), "test_sentences": 0 if self.x_test is None else len(self.x_test)}
        return facts | super().summary()


def stratified(y: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """``[size]`` ascending indices of a random part of the items of classes ``y`` ``[items]``, with the classes in the same
    proportions to within one item per class. Raises ValueError for a size outside 0 .. items."""
    within("size", size, 0, len(y))
    return first_of_each(y, size, rng.permutation(len(y)))


def first_of_each(y: np.ndarray, size: int, order: np.ndarray) -> np.ndarray:
    """As :func:`stratified`, the first of each class in an order of the items; the largest remainders are rounded up."""
    share = np.bincount(y) * size / max(len(y), 1)
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: size - take.sum()]] += 1
    parts = [order[y[order] == k][:n] for k, n in enumerate(take)]
    return np.sort(np.concatenate([np.zeros(0, dtype=int), *parts]))
