"""Tag sequences from a crowd: sentences whose tokens are tagged one by one.

A token is an item of :class:`lib.crowd.labels.CrowdLabels`, so votes, Dawid-Skene and the sparse triples of the losses hold
for tokens as they are. What a sentence adds is here: where it begins and ends, the rule that an annotator tags all of it or
nothing, and files in the format of the CoNLL shared tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.crowd.triples import mask_to_places

UNTAGGED = "?"  # in a file: this annotator did not tag the sentence
PADDING = 0  # as a word's index: there is no token here


@dataclass(frozen=True, eq=False)
class CrowdSequences:
    """Sentences, and the crowd's labels of their tokens.

    Args:
        words: the tokens of each sentence.
        labels: of the tokens, numbered through all sentences: token ``t`` of sentence ``s`` is the item
            ``offsets[s] + t``. Its classes are the tags and have names.

    Raises:
        ValueError: a sentence without tokens, labels of another number of tokens or without names of tags, or a sentence
            that an annotator tagged only partly.
    """

    words: tuple[tuple[str, ...], ...]
    labels: CrowdLabels

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(map(tuple, self.words)))
        if self.labels.class_names is None:
            raise ValueError("the labels of tokens need class_names, the tags; found none")
        if (empty := np.flatnonzero(self.lengths == 0)).size:
            raise ValueError(f"every sentence must have a token, found none in sentence {empty[0]}")
        if self.labels.n_items != self.offsets[-1]:
            raise ValueError(
                f"the labels must be of the {self.offsets[-1]} tokens of {len(self)} sentences, "
                f"found {self.labels.n_items} items"
            )
        annotators = max(self.labels.n_annotators, 1)
        pair, tagged = np.unique(self.sentence[self.labels.item] * annotators + self.labels.annotator, return_counts=True)
        wrong = np.flatnonzero(tagged != self.lengths[pair // annotators])
        if wrong.size:
            s, r = divmod(int(pair[wrong[0]]), annotators)
            words = " ".join(self.words[s][:6]) + (" ..." if self.lengths[s] > 6 else "")
            raise ValueError(
                f"an annotator tags all tokens of a sentence or none, found {tagged[wrong[0]]} of {self.lengths[s]} tags of "
                f"annotator {r} in sentence {s} ({words!r}); {len(wrong)} such cases"
            )

    # ------------------------------------------------------------------ from files

    @classmethod
    def read(cls, path: str | Path, tag_names: Sequence[str]) -> CrowdSequences:
        """From a file with a line for each token, an empty line after each sentence.

        A line holds the token and one column for each annotator: its tag, or ``?`` in all lines of a sentence that the
        annotator did not tag. A file of true tags is the same with one annotator.

        Raises:
            FileNotFoundError: no such file.
            ValueError: another number of columns than in the first line, no column of tags, no sentence, an unknown tag,
                a partly tagged sentence; the message names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no file of tag sequences at {path}")
        try:
            return cls._parsed(path.read_text(encoding="utf-8").split("\n"), tag_names)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def _parsed(cls, lines: Sequence[str], tag_names: Sequence[str]) -> CrowdSequences:
        rows = [line.split() for line in lines]
        filled = [row for row in rows if row]
        if not filled:
            raise ValueError("expected sentences, one token per line, found none")
        columns = len(filled[0])
        for number, row in enumerate(rows, start=1):
            if row and (len(row) != columns or columns < 2):
                expected = f"{columns} columns as in the first line" if columns > 1 else "a token and at least one tag"
                raise ValueError(f"line {number} must have {expected}, found {len(row)}: {lines[number - 1]!r}")
        cells = np.array([row[1:] for row in filled], dtype=object)
        token, annotator = np.nonzero(cells != UNTAGGED)
        places = {name: k for k, name in enumerate(tag_names)}
        label = np.array([places.get(tag, -1) for tag in cells[token, annotator]], dtype=np.int64)
        if (wrong := np.flatnonzero(label < 0)).size:
            t, r = token[wrong[0]], annotator[wrong[0]]
            raise ValueError(f"unknown tag {cells[t, r]!r} (token {t}, annotator {r}); expected one of {', '.join(tag_names)}")
        words = [[row[0] for row in sentence] for full, sentence in groupby(rows, bool) if full]
        return cls(words, CrowdLabels(token, annotator, label, *cells.shape, len(tag_names), class_names=tag_names))

    # ------------------------------------------------------------------ views that the rest uses

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"CrowdSequences({len(self)} sentences, {self.labels!r})"

    @property
    def tag_names(self) -> tuple[str, ...]:
        """The tags, by index."""
        return self.labels.class_names

    @cached_property
    def lengths(self) -> np.ndarray:
        """``[sentences]`` numbers of tokens."""
        return np.array([len(sentence) for sentence in self.words], dtype=np.int64)

    @cached_property
    def offsets(self) -> np.ndarray:
        """``[sentences + 1]``: sentence ``s`` holds the tokens ``offsets[s] : offsets[s + 1]``."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @cached_property
    def sentence(self) -> np.ndarray:
        """``[tokens]`` the sentence of each token."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def annotators_per_sentence(self) -> np.ndarray:
        """``[sentences]`` how many annotators tagged each sentence."""
        return self.labels.labels_per_item[self.offsets[:-1]]

    def tags(self, sentence: int) -> dict[int, tuple[str, ...]]:
        """The tag sequences of one sentence, by annotator."""
        rows = slice(*self.labels.offsets[[self.offsets[sentence], self.offsets[sentence + 1]]])
        annotator, label = self.labels.annotator[rows], self.labels.label[rows]
        return {int(r): tuple(self.tag_names[k] for k in label[annotator == r]) for r in np.unique(annotator)}

    def select(self, sentences: Sequence[int] | np.ndarray) -> CrowdSequences:
        """Some of the sentences, given as indices without repeats or as a mask, in that order; annotators stay.

        Raises ValueError for a sentence out of range or named twice.
        """
        sentences = mask_to_places("sentences", sentences, len(self))
        tokens = np.concatenate([np.arange(*self.offsets[s : s + 2]) for s in sentences] or [np.zeros(0, dtype=np.int64)])
        return CrowdSequences([self.words[s] for s in sentences], self.labels.select_items(tokens))
