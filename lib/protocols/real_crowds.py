"""Settings shared by all experiments on the real crowds: one network, recipe and budget a data set, whatever the method.

Sources. LabelMe: network, optimizer, batch and 50 epochs of Rodrigues & Pereira's released notebook; their images are stored
ten times over, so an epoch there is ten passes over the items (the case ``ten passes``), here one. Music: the network of
CoNAL's released code, 100 epochs, Adam at its usual rate. Sentiment: ours, a hidden layer on TF-IDF. The weights of the
penalties are chosen on validation data by :func:`tuning`, and CCC's options by :func:`lib.protocols.ccc.table2_tuning`; a
test holds choice and settings together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lib.protocols import at_scale, selection
from lib.registry import unknown
from lib.runs.config import RunConfig
from lib.training.recipe import Recipe


@dataclass(frozen=True)
class Setting:
    """How every method is trained on a data set."""

    backbone: str
    recipe: Recipe
    method_options: dict[str, dict]  # by method, where they differ from the method's defaults


def _chosen(f: float, w: float, trace: float, **ccc: int) -> dict[str, dict]:
    """The penalty weights that :func:`tuning` chose, and CCC's options; the sentiment data keep its own."""
    weights = {"geocrowdnet-f": {"weight": f}, "geocrowdnet-w": {"weight": w}, "trace-reg": {"weight": trace}}
    return weights | ({"ccc": ccc} if ccc else {})


WARMUP = {"ccc": 10}  # epochs that are not scored, on top of the recipe's, so that all methods have as many scored ones
SETTINGS = {
    "labelme": Setting("mlp", Recipe(epochs=50, batch_size=64, lr=1e-3), _chosen(0.01, 0.0001, 0.001, groups=20, per_class=40)),
    "music": Setting(
        "mlp-norm", Recipe(epochs=100, batch_size=64, lr=1e-3), _chosen(0.001, 0.0001, 0.1, groups=5, per_class=10)
    ),
    "sentiment_polarity": Setting("mlp", Recipe(epochs=20, batch_size=128, lr=1e-3), _chosen(0.1, 0.0001, 0.01)),
}


def runs(
    dataset: str, methods: Iterable[str], scale: str, seeds: Iterable[int], case: str = "real", passes: int = 1
) -> list[RunConfig]:
    """Every method with every seed on one data set, with so many passes over the items per epoch.

    Raises:
        ValueError: a data set without a setting here.
    """
    if dataset not in SETTINGS:
        raise ValueError(unknown("real data set", dataset, list(SETTINGS)))
    setting = SETTINGS[dataset]
    configs = []
    for method in methods:
        epochs = setting.recipe.epochs + WARMUP.get(method, 0)
        recipe = at_scale(replace(setting.recipe, epochs=epochs, passes=passes), scale)
        options = setting.method_options.get(method, {})
        run = RunConfig(dataset, dataset, method, setting.backbone, recipe, {}, options, case=case, scale=scale)
        configs += [replace(run, seed=seed) for seed in seeds]
    return configs


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
    """The weight with the best mean validation accuracy after the last epoch, by (data set, method), from rows of
    :func:`tuning`; the smaller one of equals."""
    by_place = selection.scores(
        ((config["dataset"], config["method"]), config["method_options"]["weight"], selection.late(row, "valid_acc"))
        for row in rows
        for config in [row["config"]]
    )
    return {place: selection.best(by_weight) for place, by_weight in by_place.items()}
