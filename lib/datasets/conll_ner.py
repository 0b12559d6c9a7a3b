"""CoNLL-2003 named entities: newswire sentences, tagged on Amazon Mechanical Turk.

Rodrigues, Pereira & Ribeiro (Machine Learning 2014) had 5985 sentences of the English training part tagged by 47
annotators. Three published files hold some of them, and overlap: ``small`` (2192), ``one-third`` (1800) and
``answers-15`` (898). Their union, with a sentence of the same words *and* the same answers taken once, is 3078 tagged
sentences with 2845 different texts: headlines such as "LONDON 1996-08-23" come many times, each time tagged anew.
Whoever has the file of all answers gives it as ``answers_file``.

Test sentences are those of the paper, which calls test what is CoNLL's development file (3250 sentences); CoNLL's own
test file is there as the second test set. The texts are Reuters': for research only.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.crowd.labels import CrowdLabels
from lib.crowd.tag_sequences import CrowdSequences
from lib.datasets import download, register
from lib.datasets.tagged import TaggedDataset

TAGS = ("O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
ANSWERS = ["conll_ner_mturk/small/answers.txt", "conll_ner_mturk/one-third/answers.txt", "conll_ner_mturk/answers-15.txt"]
TRUTH = "conll_ner_mturk/ground_truth.txt"
TEST, SECOND = "conll_ner_mturk/dev.bio", "conll_ner_mturk/test.bio"
UNKNOWN = 1  # as a word's index; 0 is padding
SHAPES = ("number", "digits and letters", "mark", "lower", "UPPER", "Title", "miXed")


@register("conll_ner", title="CoNLL-2003 NER", files=[*ANSWERS, TRUTH, TEST, SECOND], revision=1, kind=TaggedDataset)
def load(
    spelling: bool = True,
    min_count: int = 2,
    sentences: int | None = None,
    answers_file: str = "",
    vectors_file: str = "",
) -> dict:
    """The fields of the data set, with the tokens themselves as ``words``, ``words_test`` and ``words_second``, the
    vocabulary, and CoNLL's test file as ``x_second``, ``y_second``.

    Args:
        spelling: words in lower case, with a second column for how they are written (:func:`shape`): what a network that
            starts without pretrained vectors cannot know of a word that it has not seen. Without it, words as they are.
        min_count: words that occur less often in the training sentences are one unknown word.
        sentences: the first so many of each part, for tests; None keeps all.
        answers_file: a file of all answers, in the format of the published ones, in place of their union.
        vectors_file: a text file of word vectors (GloVe's format: word, then its numbers). Words of all sentences that
            have a vector then belong to the vocabulary.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read, or a sentence without true tags.
    """
    crowd = CrowdSequences.read(answers_file, TAGS) if answers_file else _union([download.path(file) for file in ANSWERS])
    truth, test, second = (CrowdSequences.read(download.path(file), TAGS) for file in (TRUTH, TEST, SECOND))
    if sentences is not None:
        crowd, test, second = (part.select(range(min(sentences, len(part)))) for part in (crowd, test, second))
    vectors = read_vectors(vectors_file, _normal(spelling, crowd.words, test.words, second.words)) if vectors_file else {}
    vocabulary = _vocabulary(_normal(spelling, crowd.words), min_count, vectors)
    parts = {"": crowd.words, "_test": test.words, "_second": second.words}
    x = {f"x{part}": encode(words, vocabulary, spelling) for part, words in parts.items()}
    extra = {f"words{part}": words for part, words in parts.items()} | {"vocabulary": tuple(vocabulary)}
    if vectors:
        extra["vectors"] = _table(vocabulary, vectors)
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
    kept, seen = [], set()
    for part in parts:
        keys = [_content(part, s) for s in range(len(part))]
        new = [s for s, key in enumerate(keys) if key not in seen and not seen.add(key)]
        kept.append(part.select(new))
    shifts = np.cumsum([0, *(part.labels.n_items for part in kept)])
    labels = [part.labels for part in kept]
    columns = (
        np.concatenate([each.item + shift for each, shift in zip(labels, shifts[:-1], strict=True)]),
        np.concatenate([each.annotator for each in labels]),
        np.concatenate([each.label for each in labels]),
    )
    sizes = (int(shifts[-1]), labels[0].n_annotators, len(TAGS))
    return CrowdSequences([words for part in kept for words in part.words], CrowdLabels(*columns, *sizes, class_names=TAGS))


def _content(part: CrowdSequences, s: int) -> tuple:
    """What makes two sentences the same: words, annotators and their tags."""
    rows = slice(*part.labels.offsets[part.offsets[s : s + 2]])
    return part.words[s], part.labels.annotator[rows].tobytes(), part.labels.label[rows].tobytes()


def _true_tags(crowd: CrowdSequences, truth: CrowdSequences) -> np.ndarray:
    """``[tokens]`` true tags, found by a sentence's words. (Of the sentences that come more than once in the file of true
    tags, one has two versions, which differ in one token; the first counts.)"""
    place: dict[tuple[str, ...], int] = {}
    for s, words in enumerate(truth.words):
        place.setdefault(words, s)
    for s, words in enumerate(crowd.words):
        if words not in place:
            raise ValueError(f"sentence {s} ({' '.join(words[:8])!r}) has no true tags in {TRUTH}")
    tags = np.split(truth.labels.label, truth.offsets[1:-1])
    return np.concatenate([tags[place[words]] for words in crowd.words])


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


def encode(sentences: Sequence[Sequence[str]], vocabulary: dict[str, int], spelling: bool) -> Tensor:
    """Padded indices of words and of their spelling: ``[sentences, longest, 1 or 2]`` int64."""
    lengths = np.array([len(sentence) for sentence in sentences])
    real = np.arange(lengths.max()) < lengths[:, None]  # [sentences, longest]
    columns = [[vocabulary.get(word, UNKNOWN) for word in _normal(spelling, sentences)]]
    if spelling:
        columns.append([1 + SHAPES.index(shape(word)) for sentence in sentences for word in sentence])
    x = np.zeros((*real.shape, len(columns)), dtype=np.int64)
    x[real] = np.array(columns).T
    return torch.from_numpy(x)


def _normal(spelling: bool, *parts: Iterable[Sequence[str]]) -> list[str]:
    """All words of some sentences, in the writing of the vocabulary."""
    normal: Callable[[str], str] = str.lower if spelling else str
    return [normal(word) for part in parts for sentence in part for word in sentence]


def _vocabulary(words: Sequence[str], min_count: int, vectors: dict[str, np.ndarray]) -> dict[str, int]:
    """Indices from 2 on: the frequent words first, then those known by their vectors alone."""
    frequent = [word for word, count in Counter(words).most_common() if count >= min_count]
    return {word: k for k, word in enumerate(dict.fromkeys([*frequent, *sorted(vectors)]), start=UNKNOWN + 1)}


def read_vectors(file: str | Path, words: Iterable[str]) -> dict[str, np.ndarray]:
    """The vectors of some words from a text file: a word a line, then its numbers.

    A first line of two whole numbers (words and dimension, as word2vec writes it) is passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line with another count of numbers than the first, or with something that is no number; no vector
            of any of the words.
    """
    file, wanted, found, dimension = Path(file), set(words), {}, None
    if not file.is_file():
        raise FileNotFoundError(f"no file of word vectors at {file}")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1:
                continue
            dimension = dimension or len(values)
            if len(values) != dimension:
                raise ValueError(f"{file}: line {number} must hold a word and {dimension} numbers, found {len(values)}")
            if word in wanted:
                try:
                    found[word] = np.array(values, dtype=np.float32)
                except ValueError as error:
                    raise ValueError(f"{file}: line {number} ({word!r}): {error}") from error
    if not found:
        raise ValueError(f"{file}: none of its words occurs in the sentences; expected some, in the same writing")
    return found


def _table(vocabulary: dict[str, int], vectors: dict[str, np.ndarray]) -> Tensor:
    """``[words, dimension]``, NaN where a word has no vector."""
    table = np.full((len(vocabulary) + UNKNOWN + 1, len(next(iter(vectors.values())))), np.nan, dtype=np.float32)
    for word, vector in vectors.items():
        table[vocabulary[word]] = vector
    return torch.from_numpy(table)
