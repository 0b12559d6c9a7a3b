"""Notebook 14: classification of raw text.

The published test texts with all methods are the leaderboard's runs. Beside them a few methods on *held-out sentences*: a
fifth of the training sentences, set aside with their true classes, since the published test texts are another kind. There
with both kinds of features; those of the pretrained network only where it is installed (see
``lib/datasets/sentence_vectors.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lib.datasets import sentence_vectors
from lib.protocols import leaderboard, real_crowds
from lib.runs.config import RunConfig

DATASET = "sentiment_polarity"
HELD_OUT_METHODS = ("true-labels", "majority-vote", "dawid-skene", "dl-em", "crowdlayer-mw")
FEATURES = {"tfidf": "bag of words", "minilm": "sentence vectors"}
VALIDATION = 0.2


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The leaderboard's runs on these data (at ``smoke`` a few of them), then :func:`held_out` with the features there are."""
    compared = [config for config in leaderboard.grid(scale, seeds) if config.dataset == DATASET]
    if scale == "smoke":
        compared = [config for config in compared if config.method in HELD_OUT_METHODS]
    there = [features for features in FEATURES if features == "tfidf" or sentence_vectors.available() is None]
    return compared + [config for features in there for config in held_out(features, scale, seeds)]


def held_out(features: str, scale: str, seeds: Iterable[int]) -> list[RunConfig]:
    """Runs that are scored on sentences set aside; a seed sets aside its own. The case names the features."""
    options = {"validation": VALIDATION} | ({} if features == "tfidf" else {"features": features})
    return [
        replace(config, dataset_options=options | {"seed": config.seed})
        for config in real_crowds.runs(DATASET, HELD_OUT_METHODS, scale, seeds, case=FEATURES[features])
    ]
