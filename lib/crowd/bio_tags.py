"""Tags of the BIO scheme: which may follow which, the best sequence among them, and scores of whole entities.

``B-X`` begins an entity of type ``X``, ``I-X`` goes on with it, ``O`` is outside of any (the version IOB2 of Tjong Kim
Sang & De Meulder, CoNLL 2003). Tags are indices ``[tokens]``, sentence after sentence; ``lengths`` ``[sentences]`` are
numbers of tokens. Sizes that do not fit and names that are no such tags raise ValueError.
"""

from collections.abc import Sequence

import numpy as np


def allowed(tag_names: Sequence[str]) -> np.ndarray:
    """``[tags + 1, tags]`` bool: which tag may follow which, ``I-X`` only ``B-X`` or ``I-X``, all others any; the last row
    is for the first token of a sentence. Raises ValueError also for an ``I-X`` without ``B-X``."""
    marks, types = _parts(tag_names)
    inside = marks == "I"
    orphans = sorted(set(types[inside]) - set(types[marks == "B"]))
    if orphans:
        raise ValueError(f"I-{orphans[0]} can never begin: expected a tag B-{orphans[0]} among {', '.join(tag_names)}")
    follows = types[:, None] == types[None, :]
    return np.vstack([~inside[None, :] | follows, ~inside[None, :]])


def decode(log_prob: np.ndarray, lengths: np.ndarray, tag_names: Sequence[str]) -> np.ndarray:
    """``[tokens]`` int64: the most probable valid tags of each sentence, its tokens taken as independent; ties to the lowest.

    The Viterbi algorithm on ``log_prob`` ``[tokens, tags]`` with transitions that cost nothing or are forbidden, so there is
    nothing to learn. All sentences advance together, one token at a time.
    """
    lengths = np.asarray(lengths)
    if log_prob.shape != (lengths.sum(), len(tag_names)):
        found = f"{log_prob.shape} for {lengths.sum()} tokens and {len(tag_names)} tags"
        raise ValueError(f"log_prob must be [tokens, tags], found {found}")
    cost = np.where(allowed(tag_names), 0.0, -np.inf)
    lengths = lengths[lengths > 0]
    order = np.argsort(-lengths, kind="stable")  # the sentences that go on are then always the first ones
    first = (np.cumsum(lengths) - lengths)[order]
    longest = int(lengths.max(initial=0))
    running = [int((lengths > t).sum()) for t in range(longest + 1)]
    back = []
    score = log_prob[first] + cost[-1]  # [sentences, tags]
    for t in range(1, longest):
        n = running[t]
        through = score[:n, :, None] + cost[:-1]  # [sentences, tag before, tag]
        back.append(through.argmax(axis=1))
        score[:n] = np.take_along_axis(through, back[-1][:, None, :], axis=1)[:, 0] + log_prob[first[:n] + t]
    best = score.argmax(axis=1)
    tags = np.zeros(len(log_prob), dtype=np.int64)
    for t in range(longest - 1, -1, -1):
        n, ends = running[t], running[t + 1]
        if ends:  # sentences that go on have a later tag, which says what came before
            best[:ends] = back[t][np.arange(ends), best[:ends]]
        tags[first[:n] + t] = best[:n]
    return tags


def entities(tags: np.ndarray, lengths: np.ndarray, tag_names: Sequence[str]) -> np.ndarray:
    """``[entities, 3]``: first token, last token and type (its place among the sorted types), by the rules of CoNLL's scorer.

    It reads invalid sequences, too: an entity begins at ``B-X``, and at ``I-X`` after anything but a tag of type ``X``; it ends
    before the next that begins, before a tag of another type or ``O``, and with its sentence.
    """
    marks, types = _parts(tag_names)
    tags, lengths = np.asarray(tags), np.asarray(lengths)
    if len(tags) != lengths.sum():
        raise ValueError(f"expected a tag for each of the {lengths.sum()} tokens, found {len(tags)}")
    if not len(tags):
        return np.zeros((0, 3), dtype=np.int64)
    number = {name: k for k, name in enumerate(sorted(set(types) - {""}))}
    kind = np.array([number.get(name, -1) for name in types])[tags]
    opens = np.zeros(len(tags), dtype=bool)
    opens[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    before = np.concatenate([[-1], kind[:-1]])
    begins = (kind >= 0) & (opens | (marks == "B")[tags] | (kind != before))
    goes_on = np.concatenate([(kind[1:] >= 0) & ~begins[1:], [False]])  # the next token belongs to the same entity
    ends = (kind >= 0) & ~goes_on
    return np.stack([np.flatnonzero(begins), np.flatnonzero(ends), kind[begins]], axis=1)


def entity_scores(found: np.ndarray, truth: np.ndarray, lengths: np.ndarray, tag_names: Sequence[str]) -> dict[str, float]:
    """``precision``, ``recall`` and ``f1`` (0 to 1) of whole entities: right are first token, last token and type.

    All types together; 0 where there is nothing to divide by, as in CoNLL's scorer.
    """
    sizes = (max(len(truth), 1), max(len(truth), 1), len(tag_names))
    codes = [np.ravel_multi_index(entities(tags, lengths, tag_names).T, sizes) for tags in (found, truth)]
    right = len(np.intersect1d(*codes, assume_unique=True))
    precision, recall = (right / len(code) if len(code) else 0.0 for code in codes)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _parts(tag_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mark and type of each tag, ``""`` as the type of ``O``."""
    for name in tag_names:
        if name != "O" and (name[:2] not in ("B-", "I-") or len(name) < 3):
            raise ValueError(f"a tag must be O, B-<type> or I-<type>, found {name!r}")
    return np.array([name[0] for name in tag_names]), np.array([name[2:] for name in tag_names])
