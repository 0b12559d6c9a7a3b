"""Taggers: sentences in batches, padding that counts for nothing, and methods that learn from tokens as from items."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import networks
from lib.datasets import _split
from lib.datasets.batches import TrainingData, by_length
from lib.training import loop, scoring
from lib.training.recipe import Recipe
from tests.tagged_toys import TAGS, TRUTH, WORDS, tagged
from tests.worked_example import batch_of, make, pass_through, scramble

METHODS = (
    "true-labels", "majority-vote", "dawid-skene", "dl-em", "crowdlayer-vw", "crowdlayer-vwb", "crowdlayer-mw"
)  # fmt: skip
SMALL = {"words": 16, "dimension": 6, "channels": 7, "hidden": 4, "dropout": 0.0}


def build(name, data, dtype=torch.float64, **options):
    """A method in evaluation mode, so that no dropout differs."""
    return make(name, data, "tagger", sizes=SMALL, **options).to(dtype).eval()


def batches(data, size=2, seed=0):
    return list(TrainingData(data, torch.device("cpu")).batches(size, np.random.default_rng(seed)))


# ---------------------------------------------------------------------- data


def test_tokens_are_the_items():
    data = tagged()
    assert data.crowd.n_items == data.offsets[-1] == len(data.y) == 11
    facts = data.summary()
    assert (facts["sentences"], facts["items"], facts["test_items"], facts["labels"]) == (4, 11, 11, 19)
    assert facts["label_accuracy"] == pytest.approx(15 / 19)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: {"x": data.x.float()}, r"x must be int64 \[sentences, length, columns\] of 1 columns, found torch.fl"),
        (lambda data: {"x_test": data.x.repeat(1, 1, 2)}, "x_test must be int64 .* of 1 columns"),
        (lambda data: {"x": data.x - 1}, "indices of at least 0, found -1"),
        (lambda data: {"x": data.x.flip(1)}, "found a token after it in row 1"),
        (lambda data: {"x": data.x[1:]}, "labels are of 11 items, found 6 in x"),
        (lambda data: {"y_test": data.y[1:]}, r"y_test must be int64 \[11\]"),
        (lambda data: {"crowd": data.crowd.select_labels(np.arange(19) > 0)}, "found 4 of 5 tags of annotator 0 in sentence 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    data = tagged()
    fields = {"y": None} if "x" in change(data) else {}
    with pytest.raises(ValueError, match=words):
        replace(data, **fields | change(data))


def test_a_validation_part_is_whole_sentences():
    part = _split(tagged(), 0.5, seed=1)
    assert len(part.x) == len(part.x_valid) == 2
    assert len(part.y) + len(part.y_valid) == 11
    order = dict(zip(WORDS, TRUTH, strict=True))
    for words, y in ((part.words, part.y), (part.words_valid, part.y_valid)):
        assert [TAGS[k] for k in y] == [tag for sentence in words for tag in order[sentence]]
    tokens = [word for sentence in part.words for word in sentence]
    assert part.crowd.n_items == len(tokens)


# ---------------------------------------------------------------------- batches


def test_a_pass_visits_every_label_once():
    data = tagged()
    seen = []
    for batch in batches(data):
        tokens = int((batch.x[:, :, 0] != 0).sum())
        assert len(batch.items) == tokens
        assert int(batch.position.max()) < tokens
        items = batch.items[batch.position]
        seen += zip(items.tolist(), batch.annotator.tolist(), batch.label.tolist(), strict=True)
        row = torch.repeat_interleave(torch.arange(len(batch.x)), (batch.x[:, :, 0] != 0).sum(dim=1))
        for token, item in enumerate(batch.items.tolist()):  # the words of the batch are those of its items
            sentence = int(np.searchsorted(data.offsets, item, side="right")) - 1
            assert torch.equal(batch.x[row[token]], data.x[sentence])
    crowd = data.crowd
    assert sorted(seen) == sorted(zip(crowd.item.tolist(), crowd.annotator.tolist(), crowd.label.tolist(), strict=True))
    untagged = replace(data, crowd=crowd.select_labels(~np.isin(crowd.item, [6, 7, 8])))  # costs nothing
    assert TrainingData(untagged, torch.device("cpu")).labeled.tolist() == [0, 1, 3]
    assert sum(len(batch.x) for batch in batches(untagged)) == 3


def test_batches_are_of_similar_length_and_random():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, size=640)
    edges = list(range(0, 641, 32))
    order = rng.permutation(640)
    found = by_length(order, lengths, edges, rng)
    assert sorted(found) == list(range(640))
    padded = sum(32 * lengths[part].max() for part in np.split(found, edges[1:-1]))
    at_random = sum(32 * lengths[part].max() for part in np.split(order, edges[1:-1]))
    assert padded < 1.15 * lengths.sum() < 1.7 * lengths.sum() < at_random
    again = by_length(rng.permutation(640), lengths, edges, rng)
    assert not np.array_equal(found, again)


# ---------------------------------------------------------------------- the network


def test_padding_counts_for_nothing():
    short, long = tagged(longest=5), tagged(longest=9)
    method = build("crowdlayer-mw", short)
    gradients = []
    for data in (short, long):
        method.zero_grad()
        (batch,) = batches(data, size=8)
        loss = method.loss(batch)
        loss.backward()
        gradients.append([loss.detach(), *(parameter.grad.clone() for parameter in method.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    table = method.backbone.trunk.tables[0]
    assert not table.weight.grad[0].any()
    assert table.weight.grad[2:].any(dim=1).sum() == len({word for sentence in WORDS for word in sentence})


def test_a_token_does_not_depend_on_its_batch(monkeypatch):
    data = tagged()
    backbone = build("majority-vote", data).backbone
    alone = torch.cat([backbone(sentence[None]) for sentence in data.x])
    together = backbone(data.x)
    monkeypatch.setattr("lib.networks.tagger.CHUNK", 2)
    in_parts = backbone(data.x)  # sorted by length, then put back
    torch.testing.assert_close(alone, together)
    torch.testing.assert_close(alone, in_parts)


def test_neighbors_and_what_came_before_are_seen():
    data = tagged()
    backbone = build("majority-vote", data).backbone
    changed = data.x.clone()
    changed[0, 4] = 15
    moved = (backbone(data.x) - backbone(changed)).abs().sum(dim=1) > 1e-12
    assert moved.tolist() == [False, False, True, True, True] + [False] * 6  # two words back, no other sentence


def test_a_network_that_does_not_fit_is_refused():
    data = tagged()
    with pytest.raises(ValueError, match="toy needs a tagger with words=11 or more, found 5"):
        networks.build("tagger", data.x.shape[1:], 5, words=5).prepare(data)
    with pytest.raises(ValueError, match="width must be odd"):
        networks.build("tagger", data.x.shape[1:], 5, width=4)
    with pytest.raises(ValueError, match=r"\(length, columns\), found inputs of shape \(7,\)"):
        networks.build("tagger", (7,), 3)


# ---------------------------------------------------------------------- methods


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_of_sentences_is_that_of_their_tokens(name):
    """As if each token were an item by itself, of which the network says the same."""
    data = tagged()
    method = scramble(build(name, data))
    (batch,) = batches(data, size=8)
    loss, logits = method.loss(batch), method.backbone(data.x).detach()
    method.backbone = pass_through(len(TAGS))().double()
    torch.testing.assert_close(method.loss(batch_of(data.crowd, logits)), loss)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_to_tag(name):
    data = tagged()
    method = build(name, data, torch.float32, **({"pretrain": 5} if name.startswith("crowdlayer") else {}))
    history = loop.fit(method, data, Recipe(epochs=30, batch_size=2, lr=0.03)).history
    assert history["loss"][-1] < history["loss"][0]
    assert {"test_acc", "test_f1", "test_precision", "test_recall", "test_f1_unconstrained"} <= set(history)
    row = scoring.summary(method, data, history)
    assert row["test_f1_last"] == history["test_f1"][-1] == row["second_f1_last"]
    assert row["test_f1_best"] == max(history["test_f1"])
    if name == "true-labels":
        assert row["test_f1_last"] == row["label_f1"] == 1.0
    if method.posterior() is not None:
        assert 0 < row["label_f1"] <= 1


def test_the_first_stage_trains_on_votes():
    """With no epoch of the second stage's rate, the Crowd Layer's network is the majority vote's."""
    data, recipe = tagged(), Recipe(epochs=1, batch_size=4, lr=0.02)
    layer, vote = (build(name, data, torch.float32) for name in ("crowdlayer-mw", "majority-vote"))
    layer.pretrain = 3
    stages = []
    place = TrainingData(data, torch.device("cpu"))

    def fit(other, data=place, **changes):
        stages.append((type(other).__name__, other.backbone is layer.backbone, changes))
        return loop._train(other, data, replace(recipe, **changes), np.random.default_rng(0), False)[0]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer.prepare(place, fit)
        torch.manual_seed(0)
        loop._train(vote, place, replace(recipe, epochs=3), np.random.default_rng(0), False)
    assert stages == [("MajorityVote", True, {"epochs": 3})]
    for one, other in zip(layer.backbone.parameters(), vote.backbone.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(layer.weight, torch.eye(5).repeat(3, 1, 1))


def test_scores_are_of_valid_sequences():
    data = tagged()
    method = build("true-labels", data)
    logits = torch.zeros(11, 5, dtype=torch.float64)
    logits[torch.arange(11), data.y] = 5.0
    logits[3] = torch.tensor([3.0, 2.9, 0.0, 0.0, 0.0])  # "New": O a little above B-LOC, "York" stays I-LOC
    method.backbone.forward = lambda x: logits
    scores = scoring.tags(method, data, data.x, data.y)
    assert scores["acc"] == pytest.approx(10 / 11)
    assert scores["f1"] == 1.0  # since I-LOC needs a beginning
    assert scores["f1_unconstrained"] == pytest.approx(4 / 5)  # New York without New


def test_a_selected_epoch_goes_by_validation_f1():
    data = _split(tagged(), 0.25, seed=0)
    history = {"test_acc": [0.5, 0.6], "valid_acc": [0.9, 0.8], "test_f1": [0.3, 0.4], "valid_f1": [0.2, 0.1]}
    row = scoring.summary(build("majority-vote", data), data, history)
    assert (row["test_f1_selected"], row["valid_f1_selected"], row["test_f1_best"]) == (0.3, 0.2, 0.4)
