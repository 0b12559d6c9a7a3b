"""What a data set of tagged sentences holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.crowd.tag_sequences import PADDING, CrowdSequences
from lib.datasets.kinds import CrowdData, CrowdDataset

__all__ = ["TaggedDataset", "token_counts"]


def token_counts(x: Tensor) -> Tensor:
    """``[sentences]`` how many tokens the sentences of ``[sentences, length, columns]`` have."""
    return (x[:, :, 0] != PADDING).sum(dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class TaggedDataset(CrowdDataset):
    """Sentences whose tokens are the items: :class:`CrowdDataset` with two differences.

    Args:
        x, x_test, x_valid: ``[sentences, length, columns]`` int64 indices of words and, in further columns, of their
            spelling. A row of zeros is padding and comes only after a sentence.
        crowd: labels of the training tokens, sentence after sentence; an annotator tags all of a sentence or nothing.
        y, y_test, y_valid: ``[tokens]`` int64 true tags, sentence after sentence.
        class_names: the tags, in the scheme BIO.
        extra: may hold ``words`` and ``words_test``, the tokens themselves, and ``vectors``: ``[words, dimension]``
            float32 pretrained vectors of the words in column 0, NaN where a word has none.

    Raises:
        ValueError: sizes that do not fit each other, a tag out of range, a negative index, or a token after padding.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = token_counts(self.x).tolist()
        stand_ins = [("",) * length for length in lengths]
        CrowdSequences(self.extra.get("words", stand_ins), self.crowd)  # checks that sentences are tagged whole

    def _check_x(self, part: str, x: Tensor) -> None:
        if x.dtype != torch.int64 or x.ndim != 3 or x.shape[2] != self.x.shape[2]:
            raise ValueError(
                f"{self.name}: x{part} must be int64 [sentences, length, columns] of {self.x.shape[-1]} columns, "
                f"found {x.dtype} {tuple(x.shape)}"
            )
        if x.numel() and int(x.min()) < 0:
            raise ValueError(f"{self.name}: x{part} must hold indices of at least 0, found {int(x.min())}")
        real = x[:, :, 0] != PADDING
        if len(wrong := torch.nonzero((real[:, 1:] & ~real[:, :-1]).any(dim=1)).flatten()):
            raise ValueError(f"{self.name}: padding must come after a sentence, found a token after it in row {int(wrong[0])}")

    def _check_y(self, part: str, x: Tensor, y: Tensor) -> None:
        tokens = torch.empty(int(token_counts(x).sum()), 0)
        super()._check_y(part, tokens, y)

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Sentences, any of them."""
        return CrowdData.draw(self, size, rng)

    @cached_property
    def offsets(self) -> np.ndarray:
        """``[sentences + 1]``: row ``i`` of ``x`` holds the items ``offsets[i] : offsets[i + 1]``."""
        return np.concatenate([[0], np.cumsum(token_counts(self.x).numpy())])

    def summary(self) -> dict[str, Any]:
        """Sizes, and how often the crowd is right, counted in tokens; ``sentences`` and ``test_sentences`` besides."""
        facts = {"sentences": len(self.x), "test_sentences": 0 if self.x_test is None else len(self.x_test)}
        facts |= super().summary()
        for part in ("valid", "test"):
            x = getattr(self, f"x_{part}")
            facts[f"{part}_items"] = 0 if x is None else int(token_counts(x).sum())
        return facts
