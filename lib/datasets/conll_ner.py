"""CoNLL-2003 named entities: newswire sentences, tagged on Amazon Mechanical Turk.

Rodrigues, Pereira & Ribeiro (Machine Learning 2014) had 5985 sentences of the English training part tagged by 47
annotators. Three published files hold some of them, and overlap: ``small`` (2192), ``one-third`` (1800) and
``answers-15`` (898). Their union, with a sentence of the same words *and* the same answers taken once, is 3078 tagged
sentences with 2845 different texts: headlines such as "LONDON 1996-08-23" come many times, each time tagged separately.

Words are in lower case, with a second column for how they are written (:func:`shape`): what a network that starts without
pretrained vectors cannot know of a word that it has not seen. Words of a single training sentence are one unknown word.

Test sentences are those of the paper, which calls test what is CoNLL's development file (3250 sentences); CoNLL's own
test file is there as the second test set. The texts are Reuters': for research only.
"""

import functools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.crowd.labels import CrowdLabels
from lib.crowd.tag_sequences import CrowdSequences
from lib.datasets import download, register
from lib.datasets.kinds import TaggedDataset

TAGS = ("O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
ANSWERS = ["conll_ner_mturk/small/answers.txt", "conll_ner_mturk/one-third/answers.txt", "conll_ner_mturk/answers-15.txt"]
TRUTH = "conll_ner_mturk/ground_truth.txt"
TEST, SECOND = "conll_ner_mturk/dev.bio", "conll_ner_mturk/test.bio"
UNKNOWN = 1  # as a word's index; 0 is padding
MIN_COUNT = 2  # words that occur less often in the training sentences are unknown
SHAPES = ("number", "digits and letters", "mark", "lower", "UPPER", "Title", "miXed")


@register("conll_ner", title="CoNLL-2003", files=[*ANSWERS, TRUTH, TEST, SECOND], revision=1, kind=TaggedDataset)
def load(sentences: int | None = None) -> dict:
    """The fields of the data set, with the tokens themselves as ``words``, ``words_test`` and ``words_second``, the
    ``vocabulary``, and CoNLL's test file as ``x_second``, ``y_second``.

    ``sentences`` keeps the first so many of each part, for tests; None keeps all.
    """
    crowd = _union([download.path(file) for file in ANSWERS])
    truth, test, second = (CrowdSequences.read(download.path(file), TAGS) for file in (TRUTH, TEST, SECOND))
    if sentences is not None:
        crowd, test, second = (part.select(range(min(sentences, len(part)))) for part in (crowd, test, second))
    vocabulary = _vocabulary(_lower(crowd.words))
    parts = {"": crowd.words, "_test": test.words, "_second": second.words}
    x = {f"x{part}": encode(words, vocabulary) for part, words in parts.items()}
    extra = {f"words{part}": words for part, words in parts.items()} | {"vocabulary": tuple(vocabulary)}
    return {
        "x": x["x"],
        "y": torch.from_numpy(_true_tags(crowd, truth)),
        "crowd": crowd.labels,
        "x_test": x["x_test"],
        "y_test": torch.tensor(test.labels.label),
        "class_names": TAGS,
        "extra": extra | {"x_second": x["x_second"], "y_second": torch.tensor(second.labels.label)},
    }


# ---------------------------------------------------------------------- sentences


def _union(files: Sequence[Path]) -> CrowdSequences:
    """All sentences of some files that differ in words or answers, in the files' order."""
    parts = [CrowdSequences.read(file, TAGS) for file in files]
    labels = [part.labels for part in parts]
    shifts = np.cumsum([0, *(part.n_items for part in labels)])
    item = np.concatenate([part.item + shift for part, shift in zip(labels, shifts[:-1], strict=True)])
    annotator, label = (np.concatenate([getattr(part, name) for part in labels]) for name in ("annotator", "label"))
    sizes = (int(shifts[-1]), labels[0].n_annotators, len(TAGS))
    sentences = [words for part in parts for words in part.words]
    whole = CrowdSequences(sentences, CrowdLabels(item, annotator, label, *sizes, class_names=TAGS))
    first: dict[tuple, int] = {}
    for s, words in enumerate(whole.words):
        rows = slice(*whole.labels.offsets[whole.offsets[s : s + 2]])
        first.setdefault((words, whole.labels.annotator[rows].tobytes(), whole.labels.label[rows].tobytes()), s)
    return whole.select(list(first.values()))


def _true_tags(crowd: CrowdSequences, truth: CrowdSequences) -> np.ndarray:
    """``[tokens]`` true tags, found by a sentence's words. (Of the sentences that come more than once in the file of true
    tags, one has two versions, which differ in one token; the first counts.)"""
    tags = np.split(truth.labels.label, truth.offsets[1:-1])
    by_words = dict(zip(reversed(truth.words), reversed(tags), strict=True))
    return np.concatenate([by_words[words] for words in crowd.words])


# ---------------------------------------------------------------------- words


@functools.cache
def shape(word: str) -> str:
    """How a word is written: one of :data:`SHAPES`."""
    if any(letter.isdigit() for letter in word):
        return "digits and letters" if any(letter.isalpha() for letter in word) else "number"
    if not any(letter.isalpha() for letter in word):
        return "mark"
    if word.islower():
        return "lower"
    if word.isupper() and len(word) > 1:
        return "UPPER"
    return "Title" if re.fullmatch(r"[^\W_][^A-Z]*", word) else "miXed"


def encode(sentences: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> Tensor:
    """Padded indices of words and of their spelling: ``[sentences, longest, 2]`` int64."""
    lengths = np.array([len(sentence) for sentence in sentences])
    real = np.arange(lengths.max()) < lengths[:, None]  # [sentences, longest]
    words = [vocabulary.get(word, UNKNOWN) for word in _lower(sentences)]
    spelling = [1 + SHAPES.index(shape(word)) for sentence in sentences for word in sentence]
    x = np.zeros((*real.shape, 2), dtype=np.int64)
    x[real] = np.array([words, spelling]).T
    return torch.from_numpy(x)


def _lower(sentences: Sequence[Sequence[str]]) -> list[str]:
    """All words of some sentences, in the writing of the vocabulary."""
    return [word.lower() for sentence in sentences for word in sentence]


def _vocabulary(words: Sequence[str]) -> dict[str, int]:
    """Indices from 2 on, the most frequent word first."""
    frequent = [word for word, count in Counter(words).most_common() if count >= MIN_COUNT]
    return {word: k for k, word in enumerate(frequent, start=UNKNOWN + 1)}
