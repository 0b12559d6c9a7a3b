"""A data set on a device, and its labeled items in shuffled batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.crowd.triples import Triples
from lib.datasets.augmentation import Augmentation

if TYPE_CHECKING:
    from lib.datasets.kinds import CrowdData


POOL = 16  # batches whose rows are sorted by length together; the fewer, the more random


@dataclass(frozen=True)
class Batch:
    """Some training items with their labels, as flat triples.

    Attributes:
        x: ``[batch, ...]`` inputs.
        items: ``[batch]`` int64, which training items they are.
        position: ``[labels]`` int64, the row of ``x`` that each label is about.
        annotator: ``[labels]`` int64, who gave it.
        label: ``[labels, ...]`` what was said: int64 where it is a class, float32 where it is a number.
    """

    x: Tensor
    items: Tensor
    position: Tensor
    annotator: Tensor
    label: Tensor


class TrainingData:
    """A data set on a device: training inputs ``x`` ``[rows, ...]``, their labels ``crowd``, and ``offsets`` ``[rows + 1]``
    where the items of each row begin, None where a row is an item."""

    def __init__(self, data: CrowdData, device: torch.device) -> None:
        self.dataset = data
        self.device = device
        self.crowd: Triples = data.crowd
        self.x = data.x.to(device)
        self.offsets = data.offsets
        splits = {"test": (data.x_test, data.y_test), "valid": (data.x_valid, data.y_valid)}
        self.splits = {name: (x.to(device), y.to(device)) for name, (x, y) in splits.items() if x is not None}

    @property
    def labeled(self) -> np.ndarray:
        """The rows that training visits: one that nobody labeled costs nothing."""
        labels = self.crowd.labels_per_item
        return np.flatnonzero(labels if self.offsets is None else np.add.reduceat(labels, self.offsets[:-1]))

    def with_crowd(self, crowd: Triples) -> TrainingData:
        """The same items with other labels (some held out, say); nothing is copied. Raises ValueError for another number of
        items."""
        if crowd.n_items != self.crowd.n_items:
            raise ValueError(f"the labels must be about the same {self.crowd.n_items} items, found {crowd.n_items}")
        other = copy.copy(self)
        other.crowd = crowd
        return other

    def batches(
        self, batch_size: int, generator: np.random.Generator, augmentation: Augmentation | None = None
    ) -> Iterator[Batch]:
        """One pass over the labeled items in random order. A last batch of one joins its neighbor (batch normalization
        has no variance of a single item). Rows that hold several items come in batches of about equally many, see
        :func:`by_length`. Images are augmented one batch at a time."""
        # The bookkeeping of a pass stays in NumPy and moves to the device at once: no synchronization per batch.
        visited = generator.permutation(self.labeled)
        row_edges = edges_of(len(visited), batch_size)
        order, edges = visited, row_edges
        if self.offsets is not None:
            visited = by_length(visited, np.diff(self.offsets), row_edges, generator)
            order, ends = _ranges(self.offsets, visited)
            edges = ends[row_edges]
        lengths = self.crowd.labels_per_item[order]
        rows, ends = _ranges(self.crowd.offsets, order)
        within = np.arange(len(order)) - np.repeat(edges[:-1], np.diff(edges))
        pairs = np.stack([np.repeat(within, lengths), self.crowd.annotator[rows]])
        position, annotator = torch.from_numpy(pairs).to(self.device)
        label = torch.from_numpy(self.crowd.said[rows]).to(self.device)
        label = label.float() if label.is_floating_point() else label
        items = torch.from_numpy(order).to(self.device)
        chosen = items if self.offsets is None else torch.from_numpy(visited).to(self.device)
        sizes, labels = np.diff(edges).tolist(), np.diff(ends[edges]).tolist()
        drawn = torch.from_numpy(augmentation.draw(len(visited), generator)).to(self.device) if augmentation else chosen
        by_row = (part.split(np.diff(row_edges).tolist()) for part in (chosen, drawn))
        by_label = (part.split(labels) for part in (position, annotator, label))
        for now, change, *given in zip(*by_row, items.split(sizes), *by_label, strict=True):
            x = self.x.index_select(0, now)
            yield Batch(augmentation.apply(x, change) if augmentation else x, *given)


def edges_of(items: int, batch_size: int) -> list[int]:
    """Where the batches of a pass begin, and its end."""
    edges = list(range(0, items, batch_size))
    if items % batch_size == 1 and len(edges) > 1:
        edges.pop()
    return [*edges, items]


def _ranges(offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers ``offsets[i] : offsets[i + 1]`` of the chosen ``i``, one after the other, and where those of each begin."""
    lengths = np.diff(offsets)[chosen]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(ends[-1]) + np.repeat(offsets[chosen] - ends[:-1], lengths), ends


def by_length(order: np.ndarray, lengths: np.ndarray, edges: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Random batches of rows of similar length, so that little of a batch is padding.

    ``order`` ``[rows]``, which is random, is sorted by length inside each pool; then whole batches are shuffled, except for the
    last, which may be of another size. ``lengths`` are those of all rows, ``edges`` where the batches begin, and the end.
    """
    sizes = np.diff(edges)
    pools = np.repeat(np.arange(len(sizes)) // POOL, sizes)
    order = order[np.lexsort((lengths[order], pools))]
    batches = np.split(order, edges[1:-1])
    shuffled = [batches[k] for k in generator.permutation(len(batches) - 1)]
    return np.concatenate([*shuffled, batches[-1]])
