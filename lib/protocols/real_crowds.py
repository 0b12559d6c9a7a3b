"""Settings shared by all experiments on the real crowds: one network, recipe and budget a data set, whatever the method.

Sources. LabelMe: network, optimizer, batch and 50 epochs of Rodrigues & Pereira's released notebook; their images are stored
ten times over, so an epoch there is ten passes over the items (the case ``ten passes``), here one. Music: the network of
CoNAL's released code, 100 epochs, Adam at its usual rate. Sentiment: ours, a hidden layer on TF-IDF. The weights of the
penalties are chosen on validation data by :func:`tuning`, and CCC's options by :func:`lib.protocols.ccc.table2_tuning`; a
test holds choice and settings together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lib.protocols import at_scale, selection
from lib.registry import unknown
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe


@dataclass(frozen=True)
class Setting:
    """How every method is trained on a data set.

    Attributes:
        backbone, recipe: the same for all methods.
        method_options: by method, where they differ from the method's defaults.
        warmup: by method, epochs on top of the recipe's for a warm-up that is not scored, so that all methods have as many
            scored epochs.
    """

    backbone: str
    recipe: Recipe
    method_options: dict[str, dict] = field(default_factory=dict)
    warmup: dict[str, int] = field(default_factory=dict)


def _weights(f: float, w: float, trace: float) -> dict[str, dict]:
    """The penalty weights that :func:`tuning` chose."""
    return {"geocrowdnet-f": {"weight": f}, "geocrowdnet-w": {"weight": w}, "trace-reg": {"weight": trace}}


# Not scored, so on top of the other methods' epochs.
WARMUP = {"ccc": 10}


def _ccc(groups: int, per_class: int) -> dict[str, dict]:
    """The groups and the meta items per class that were chosen for CCC; the sentiment data keep its own."""
    return {"ccc": {"groups": groups, "per_class": per_class}}


SETTINGS = {
    "labelme": Setting("mlp", Recipe(epochs=50, batch_size=64, lr=1e-3), _weights(0.01, 0.0001, 0.001) | _ccc(20, 40), WARMUP),
    "music": Setting(
        "mlp-norm", Recipe(epochs=100, batch_size=64, lr=1e-3), _weights(0.001, 0.0001, 0.1) | _ccc(5, 10), WARMUP
    ),
    "sentiment_polarity": Setting("mlp", Recipe(epochs=20, batch_size=128, lr=1e-3), _weights(0.1, 0.0001, 0.01), WARMUP),
}


def runs(
    dataset: str, methods: Iterable[str], scale: str, seeds: Iterable[int], case: str = "real", passes: int = 1
) -> list[RunConfig]:
    """Every method with every seed on one data set.

    Args:
        passes: over the items, per epoch.

    Raises:
        ValueError: a data set without a setting here.
    """
    if dataset not in SETTINGS:
        raise ValueError(unknown("real data set", dataset, list(SETTINGS)))
    setting = SETTINGS[dataset]

    def recipe(method: str) -> Recipe:
        epochs = setting.recipe.epochs + setting.warmup.get(method, 0)
        return at_scale(replace(setting.recipe, epochs=epochs, passes=passes), scale)

    return [
        RunConfig(
            experiment=dataset,
            dataset=dataset,
            method=method,
            backbone=setting.backbone,
            recipe=recipe(method),
            method_options=setting.method_options.get(method, {}),
            case=case,
            scale=scale,
            seed=seed,
        )
        for method in methods
        for seed in seeds
    ]


# ---------------------------------------------------------------------- the weights of the penalties

# Ibrahim et al.'s scripts: 0.2 and 0.1 on LabelMe, 1e-2 to 1e-4 elsewhere. Tanno et al.: 0.01 in the later ports.
WEIGHTS = {
    "geocrowdnet-f": (0.1, 0.01, 0.001, 0.0001),
    "geocrowdnet-w": (0.1, 0.01, 0.001, 0.0001),
    "trace-reg": (0.1, 0.01, 0.001),
}


def tuning(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every weight, of the papers' lists, on every real data set; the case names the weight. LabelMe has a validation split; of
    Music and the sentiment data a fifth of the training items is set aside."""
    return [
        replace(
            config,
            experiment="tuning",
            dataset_options={} if dataset == "labelme" else {"validation": 0.2},
            method_options={"weight": weight},
            case=f"weight {weight:g}",
        )
        for dataset in SETTINGS
        for method, weights in WEIGHTS.items()
        for config in runs(dataset, [method], scale, seeds)
        for weight in weights
    ]


def chosen(rows: Iterable[dict]) -> dict[tuple[str, str], float]:
    """The weight with the best mean validation accuracy after the last epoch, by (data set, method); the smaller one of equals.

    Args:
        rows: ledger rows of :func:`tuning`.
    """
    by_place = selection.scores(
        rows,
        value=lambda config: config["method_options"]["weight"],
        score=selection.late("valid_acc"),
        place=lambda config: (config["dataset"], config["method"]),
    )
    return {place: selection.best(by_weight) for place, by_weight in by_place.items()}
