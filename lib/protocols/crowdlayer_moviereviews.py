"""Notebook 12: Rodrigues & Pereira's movie reviews: a network that predicts a rating, from several raters.

Sources. Batch 128, Adam at 1e-3 and, in the case ``as released``, 100 epochs, free biases and the mean and deviation of the
*true* ratings are those of the authors' notebook. The network is ours, a hidden layer on bags of words: the reviews' texts
are not published. Epochs and the annotators' options were chosen on a fifth of the training reviews, whose true ratings
stood for a validation set, three times drawn; a test holds choice and settings together. Test reviews played no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols import at_scale
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe

METHODS = ("true-ratings", "ratings-mean", "ratings-em", "crowdlayer-s", "crowdlayer-b", "crowdlayer-sb")
LAYERS = ("crowdlayer-s", "crowdlayer-b", "crowdlayer-sb")
RELEASED = ("true-ratings", "ratings-mean", *LAYERS)

TUNING_SEEDS = 3
BUDGETS = (5, 10, 20)  # epochs; a shorter run is the beginning of a longer one
PRIOR = 2.0  # ratings without bias that every annotator of a layer is thought to have given; half gave fewer than seven
OPTIONS = {
    "ratings-mean": ({},),
    "ratings-em": tuple({"prior": prior} for prior in (0.5, 2.0, 8.0)),
} | dict.fromkeys(LAYERS, tuple({"annotator_lr": rate, "prior": PRIOR} for rate in (1.0, 10.0)))

# What was chosen.
EPOCHS = 10
CHOSEN = {"ratings-em": {"prior": 0.5}} | {layer: {"annotator_lr": 1.0, "prior": PRIOR} for layer in LAYERS}
RECIPE = Recipe(epochs=EPOCHS, batch_size=128, lr=1e-3)
RELEASED_EPOCHS = 100
TRUTH = {"center": 0.57382, "scale": 0.18292}  # mean and deviation of the training reviews' true ratings


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods (case ``real``); the authors' settings (``as released``), the layers also with constant and factor fixed
    (``released, fixed``), and EM, whose constant always is; and the choice of the options, with the first three seeds."""
    free = {method: {"free": True} for method in LAYERS}
    cases = [("as released", method, free.get(method, {})) for method in RELEASED]
    cases += [("released, fixed", method, {}) for method in LAYERS]
    cases.append(("released, fixed", "ratings-em", CHOSEN["ratings-em"]))  # the authors released none
    ours = [_run(method, scale, seed, CHOSEN.get(method, {})) for method in METHODS for seed in seeds]
    theirs = [
        _run(method, scale, seed, TRUTH | options, case, RELEASED_EPOCHS) for case, method, options in cases for seed in seeds
    ]
    return ours + theirs + tuning(scale, seeds[:TUNING_SEEDS])


def tuning(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every option of every method, with a validation part of its own for each seed."""
    return [
        replace(
            _run(method, scale, seed, options, case=describe(options), epochs=BUDGETS[-1]),
            experiment="moviereviews_tuning",
            dataset_options={"validation": 0.2, "seed": seed},
        )
        for method, choices in OPTIONS.items()
        for options in choices
        for seed in seeds
    ]


def describe(options: dict) -> str:
    """A case's name: ``annotator_lr 10, prior 2``."""
    return ", ".join(f"{name} {value:g}" for name, value in options.items()) or "no option"


def budget(rows: Sequence[dict]) -> int:
    """The number of epochs, of :data:`BUDGETS`, at which the *mean of the ratings* has its least validation RMSE: the
    baseline gets what suits it, and all methods get the same.

    Args:
        rows: ledger rows of :func:`tuning`.
    """
    baseline = [row["history"]["valid_rmse"] for row in rows if row["config"]["method"] == "ratings-mean"]
    return min(BUDGETS, key=lambda epochs: round(sum(history[epochs - 1] for history in baseline), 4))


def chosen(rows: Sequence[dict], epochs: int) -> dict[str, dict]:
    """The options with the least mean validation RMSE after so many epochs, by method; the first of those that are equal to
    four digits.

    Args:
        rows: ledger rows of :func:`tuning`.
    """
    best = {}
    for method, choices in OPTIONS.items():
        if len(choices) > 1:
            errors = []
            for options in choices:
                found = [
                    row for row in rows if row["config"]["method"] == method and row["config"]["method_options"] == options
                ]
                errors.append(round(sum(row["history"]["valid_rmse"][epochs - 1] for row in found) / len(found), 4))
            best[method] = choices[errors.index(min(errors))]
    return best


def _run(method: str, scale: str, seed: int, options: dict, case: str = "real", epochs: int = EPOCHS) -> RunConfig:
    return RunConfig(
        experiment="moviereviews",
        dataset="moviereviews",
        method=method,
        recipe=at_scale(replace(RECIPE, epochs=epochs), scale),
        method_options=options,
        case=case,
        scale=scale,
        seed=seed,
    )
