"""Tag sequences from a crowd: what a sentence adds to labels of tokens."""

from dataclasses import replace

import numpy as np
import pytest

from lib.crowd.tag_sequences import CrowdSequences
from tests.tagged_toys import GIVEN, TAGS, WORDS, crowd

FILE = "Anna B-PER ?\nsings O ?\n\nRome O B-LOC\n\n"


def test_tokens_are_items():
    sequences = crowd()
    assert sequences.offsets.tolist() == [0, 5, 6, 9, 11]
    assert sequences.sentence.tolist() == [0] * 5 + [1] + [2] * 3 + [3] * 2
    assert sequences.annotators_per_sentence.tolist() == [2, 2, 1, 2]
    assert len(sequences.labels) == 2 * 5 + 2 * 1 + 3 + 2 * 2
    assert [sequences.tags(s) for s in range(4)] == [dict(given) for given in GIVEN]


def test_a_file_has_a_column_for_each_annotator(tmp_path):
    (tmp_path / "tags.txt").write_text(FILE)
    read = CrowdSequences.read(tmp_path / "tags.txt", TAGS)
    assert read.words == (("Anna", "sings"), ("Rome",))
    assert [read.tags(s) for s in range(2)] == [{0: ("B-PER", "O")}, {0: ("O",), 1: ("B-LOC",)}]
    assert read.tag_names == TAGS


def test_selection_keeps_sentences_whole():
    part = crowd().select([2, 0])
    assert part.words == (WORDS[2], WORDS[0])
    assert [part.tags(s) for s in range(2)] == [dict(GIVEN[2]), dict(GIVEN[0])]
    assert crowd().select(np.array([True, False, False, True])).words == (WORDS[0], WORDS[3])
    assert len(crowd().select([])) == 0


@pytest.mark.parametrize(
    ("sentences", "words"),
    [([4], "lie in 0 .. 3, found 4"), ([0, 0], "not repeat"), (np.array([True]), r"shape \(4,\), found \(1,\)")],
)
def test_a_wrong_selection_is_refused(sentences, words):
    with pytest.raises(ValueError, match=words):
        crowd().select(sentences)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FILE.replace("sings O ?", "sings O"), r"line 2 must have 3 columns as in the first line, found 2: 'sings O'"),
        (FILE.replace("B-LOC", "B-XYZ"), r"tags.txt: unknown tag 'B-XYZ' \(token 2, annotator 1\)"),
        (FILE.replace("sings O ?", "sings ? ?"), "all tokens of a sentence or none, found 1 of 2"),
        ("Anna\n", "line 1 must have a token and at least one tag, found 1"),
        ("\n\n", "expected sentences, one token per line, found none"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, words):
    (tmp_path / "tags.txt").write_text(text)
    with pytest.raises(ValueError, match=words):
        CrowdSequences.read(tmp_path / "tags.txt", TAGS)
    with pytest.raises(FileNotFoundError, match="no file of tag sequences"):
        CrowdSequences.read(tmp_path / "absent.txt", TAGS)


def test_what_does_not_fit_is_refused():
    labels = crowd().labels
    with pytest.raises(ValueError, match=r"found 4 of 5 tags of annotator 2 in sentence 0 .*; 1 such case"):
        CrowdSequences(WORDS, labels.select_labels(np.arange(len(labels)) != 1))
    with pytest.raises(ValueError, match="of the 6 tokens of 2 sentences, found 11 items"):
        CrowdSequences(WORDS[:2], labels)
    with pytest.raises(ValueError, match="found none in sentence 1"):
        CrowdSequences([("a",), ()], labels)
    with pytest.raises(ValueError, match="need class_names"):
        CrowdSequences(WORDS, replace(labels, class_names=None))
