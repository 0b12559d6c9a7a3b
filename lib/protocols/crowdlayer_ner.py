"""Notebook 13: Rodrigues & Pereira's named entities.

Sources. Network and stages are those of the authors' released notebook: embedding, a convolution of width 5, dropout 0.5,
50 recurrent units; batches of 64; Adam; the Crowd Layer first trains five epochs on the majority vote. At ``paper`` also
their sizes (300 numbers a word, 512 channels), rate (1e-3) and epochs (20 on the true tags, 10 on the majority vote, 5 and
30 with the Crowd Layer; DL-EM, which they did not run here, as many as the Crowd Layer). Ours at ``quick``: 64 numbers a
word, 128 channels and the same 15 epochs for every method; the rate was chosen by :func:`tuning_grid`.

Their words start from GloVe vectors, which are not among the published files; ours start from scratch, beside a second
index for how a word is written. ``runs(..., vectors_file=...)`` starts from a file of vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lib.protocols import at_scale
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

CROWD_LAYERS = ("crowdlayer-vw", "crowdlayer-vwb", "crowdlayer-mw")
METHODS = ("true-labels", "majority-vote", "dawid-skene", "dl-em", *CROWD_LAYERS)
PRETRAIN = 5
SMOKE_SENTENCES = 200
FROM_SCRATCH = "no start on votes"

QUICK = Recipe(epochs=15, batch_size=64, lr=8e-3)
PAPER = Recipe(epochs=30, batch_size=64, lr=1e-3)
PAPER_EPOCHS = {"true-labels": 20, "majority-vote": 10, "dawid-skene": 10}
PAPER_SIZES = {"dimension": 300, "channels": 512}

# The rate, for all methods together, on a fifth of the training sentences set aside.
RATES = (2e-3, 4e-3, 8e-3, 16e-3)
TUNED_ON = ("majority-vote", "dl-em", "crowdlayer-mw")
TUNING_SEED = 100
VALIDATION = 0.2
JUDGED_EPOCHS = 5


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All of :data:`METHODS`, the Crowd Layer without its first stage, and the choice of the rate."""
    return runs(METHODS, scale, seeds) + runs(["crowdlayer-mw"], scale, seeds, pretrain=0) + tuning_grid(scale)


def runs(
    methods: Iterable[str], scale: str, seeds: Iterable[int], pretrain: int = PRETRAIN, **dataset_options
) -> list[RunConfig]:
    """Methods with every seed.

    Args:
        pretrain: epochs of the Crowd Layer on the majority vote.
        dataset_options: such as ``answers_file`` and ``vectors_file``.
    """
    sizes = PAPER_SIZES if scale == "paper" else {}

    def config(method: str, seed: int) -> RunConfig:
        recipe = replace(PAPER, epochs=PAPER_EPOCHS.get(method, PAPER.epochs)) if scale == "paper" else QUICK
        first = min(pretrain, 1) if scale == "smoke" else pretrain
        return RunConfig(
            experiment="conll_ner",
            dataset="conll_ner",
            method=method,
            backbone="tagger",
            recipe=at_scale(recipe, scale),
            dataset_options=({"sentences": SMOKE_SENTENCES} if scale == "smoke" else {}) | dataset_options,
            method_options={"pretrain": first} if method in CROWD_LAYERS else {},
            backbone_options=sizes,
            case="real" if pretrain == PRETRAIN else FROM_SCRATCH,
            scale=scale,
            seed=seed,
        )

    return [config(method, seed) for method in methods for seed in seeds]


def tuning_grid(scale: str) -> list[RunConfig]:
    """Every rate of :data:`RATES` for three methods, at ``quick`` only: at ``paper`` the rate is the paper's, and ``smoke``
    has no use for it."""
    if scale != "quick":
        return []
    return [
        replace(config, experiment="tuning_ner", recipe=replace(config.recipe, lr=rate), case=f"rate {rate:g}")
        for rate in RATES
        for config in runs(TUNED_ON, scale, [TUNING_SEED], validation=VALIDATION)
    ]


def tuned(rows: Sequence[dict]) -> dict[float, float]:
    """The score of each rate: F1 on the validation sentences against their true tags, in the last five epochs on average, so
    that no epoch is chosen along with it; the mean over methods.

    Args:
        rows: ledger rows of :func:`tuning_grid`.
    """
    found: dict[float, list[float]] = {}
    for row in rows:
        late = row["history"]["valid_f1"][-JUDGED_EPOCHS:]
        found.setdefault(row["config"]["recipe"]["lr"], []).append(sum(late) / len(late))
    return {rate: round(sum(scores) / len(scores), 6) for rate, scores in found.items()}


def chosen(rows: Sequence[dict]) -> float:
    """The rate with the best score; the smallest of equals."""
    scores = tuned(rows)
    return max(sorted(scores), key=scores.get)
