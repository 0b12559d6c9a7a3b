"""BIO: which sequences are valid, the best of them, and scores of whole entities."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.crowd.bio_tags import allowed, decode, entities, entity_scores

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def numbers(*sentences):
    """Tag indices of sentences written as text, and their lengths."""
    split = [sentence.split() for sentence in sentences]
    return np.array([TAGS.index(tag) for tags in split for tag in tags], dtype=np.int64), np.array([len(s) for s in split])


def test_only_an_entity_of_the_same_type_goes_on():
    rules = allowed(TAGS)
    forbidden = {("O", "I-LOC"), ("O", "I-PER"), ("B-LOC", "I-PER"), ("I-LOC", "I-PER"), ("B-PER", "I-LOC"), ("I-PER", "I-LOC")}
    for (i, before), (k, after) in itertools.product(enumerate(TAGS), repeat=2):
        assert rules[i, k] == ((before, after) not in forbidden), (before, after)
    assert rules[-1].tolist() == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("tags", "words"),
    [(("O", "LOC"), "O, B-<type> or I-<type>, found 'LOC'"), (("O", "B-"), "found 'B-'"), (("O", "I-X"), "expected a tag B-X")],
)
def test_other_schemes_are_refused(tags, words):
    with pytest.raises(ValueError, match=words):
        allowed(tags)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 2**31))
def test_decoding_is_the_best_valid_sequence(lengths, seed):
    lengths = np.array(lengths)
    log_prob = np.log(np.random.default_rng(seed).dirichlet(np.full(len(TAGS), 0.5), size=lengths.sum()))
    found, rules, first = decode(log_prob, lengths, TAGS), allowed(TAGS), 0
    for n in lengths:
        part = log_prob[first : first + n]
        valid = [
            s for s in itertools.product(range(len(TAGS)), repeat=int(n))
            if not n or (rules[-1, s[0]] and all(rules[a, b] for a, b in itertools.pairwise(s)))
        ]  # fmt: skip
        best = max(valid, key=lambda s: sum(part[t, k] for t, k in enumerate(s)))
        assert tuple(found[first : first + n]) == best
        first += n


def test_scores_by_hand():
    truth, lengths = numbers("B-PER I-PER O B-LOC", "B-LOC O", "O O B-PER")
    found, _ = numbers("B-PER I-PER O B-PER", "B-LOC I-LOC", "B-LOC O B-PER")
    # Right: both B-PER. Wrong: a type, an end, one too many. So 2 of 5 found, 2 of 4 true.
    scores = entity_scores(found, truth, lengths, TAGS)
    assert scores == pytest.approx({"precision": 2 / 5, "recall": 2 / 4, "f1": 2 * 0.4 * 0.5 / 0.9})


def test_nothing_to_find_scores_zero():
    tags, lengths = numbers("O O")
    one, _ = numbers("B-LOC O")
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert entities(tags, lengths, TAGS).shape == (0, 3)
    assert entity_scores(tags, tags, lengths, TAGS) == nothing
    assert entity_scores(one, tags, lengths, TAGS) == entity_scores(tags, one, lengths, TAGS) == nothing
    assert entity_scores(one, one, lengths, TAGS) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def slow_entities(sentences):
    """A second opinion: a loop over tokens, in the words of CoNLL's scorer."""
    found, place = set(), 0
    for tags in sentences:
        open_type, start = None, None
        for t, tag in enumerate([*tags, "O"]):
            mark, kind = tag[0], tag[2:]
            if open_type and (mark != "I" or kind != open_type):
                found.add((start, place + t - 1, open_type))
                open_type = None
            if mark != "O" and not open_type:
                open_type, start = kind, place + t
        place += len(tags)
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=6), min_size=1, max_size=5))
def test_entities_agree_with_a_loop(sentences):
    tags, lengths = numbers(*(" ".join(sentence) for sentence in sentences))
    found = {(first, last, ("LOC", "PER")[kind]) for first, last, kind in entities(tags, lengths, TAGS).tolist()}
    assert found == slow_entities(sentences)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"found \(2, 5\) for 3 tokens and 5 tags"):
        decode(np.zeros((2, 5)), np.array([3]), TAGS)
    with pytest.raises(ValueError, match="each of the 3 tokens, found 2"):
        entities(np.zeros(2, dtype=np.int64), np.array([3]), TAGS)
