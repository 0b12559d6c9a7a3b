"""A few sentences that two annotators tagged, as a data set; made without random numbers."""

import torch

from lib.crowd.labels import CrowdLabels
from lib.crowd.tag_sequences import CrowdSequences
from lib.datasets.kinds import TaggedDataset, token_counts

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
WORDS = (("Anna", "lives", "in", "New", "York"), ("Rome",), ("old", "Rome", "sleeps"), ("Anna", "Lee"))
TRUTH = (("B-PER", "O", "O", "B-LOC", "I-LOC"), ("B-LOC",), ("O", "B-LOC", "O"), ("B-PER", "I-PER"))
GIVEN = (
    {0: TRUTH[0], 2: ("B-PER", "O", "O", "O", "B-LOC")},
    {0: TRUTH[1], 2: ("O",)},
    {2: TRUTH[2]},
    {0: TRUTH[3], 2: ("B-PER", "B-PER")},
)


def crowd() -> CrowdSequences:
    """Three annotators, of whom annotator 1 tagged nothing."""
    triples, first = [], 0
    for sentence, given in zip(WORDS, GIVEN, strict=True):
        triples += [(first + t, r, TAGS.index(tag)) for r, tags in given.items() for t, tag in enumerate(tags)]
        first += len(sentence)
    return CrowdSequences(WORDS, CrowdLabels(*zip(*triples, strict=True), first, 3, len(TAGS), class_names=TAGS))


def tagged(longest: int = 5) -> TaggedDataset:
    """The same with indices of words, padded to ``longest``."""
    sequences = crowd()
    words = sorted({word for sentence in WORDS for word in sentence})
    x = torch.zeros(len(WORDS), longest, 1, dtype=torch.int64)
    for row, sentence in zip(x, WORDS, strict=True):
        row[: len(sentence), 0] = torch.tensor([words.index(word) + 2 for word in sentence])
    y = torch.tensor([TAGS.index(tag) for sentence in TRUTH for tag in sentence])
    assert int(token_counts(x).sum()) == len(y)
    extra = {"words": WORDS, "words_test": WORDS, "x_second": x, "y_second": y}
    return TaggedDataset("toy", "Toy", x, sequences.labels, y, x, y, class_names=TAGS, extra=extra)
