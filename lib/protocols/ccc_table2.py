"""Notebook 33: Table 2 of the CCC paper on the real crowds, with a pair of networks of every baseline as a control.

CCC's groups and meta items a class are chosen here, on validation data, with seeds of their own: what was chosen stands in
``real.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols import real_crowds
from lib.runs.config import RunConfig

# Our data sets and the paper's names of them. CIFAR-10N joins when `real.py` has a setting for it.
TABLE_2 = {"cifar10n": "CIFAR-10N", "labelme": "LabelMe", "music": "MUSIC"}
# Our names of the paper's six baselines and theirs. The paper does not say which UnionNet it ran.
BASELINES = {
    "majority-vote": "MajorVote",
    "crowdlayer-mw": "CrowdLayer",
    "doctornet": "DoctorNet",
    "max-mig": "Max-MIG",
    "conal": "CoNAL",
    "unionnet-b": "UnionNet",
}
OURS = ("true-labels", "dawid-skene", "dl-em", "unionnet-a", "ccem", "geocrowdnet-f")
PAIR = "pair of networks"
# The released code's virtual step, through the last layer alone.
SHORTCUT = "last layer only"

TUNED = {"labelme": (5, 10, 20, 40), "music": (5, 10, 20)}  # meta items a class
GROUPS = (5, 10, 20)
TUNING_EPOCHS = 60  # of which ten are warm-up
TUNING_SEEDS = {"labelme": (100, 101, 102), "music": (100, 101, 102, 103)}
JUDGED_EPOCHS = 10


def present() -> list[str]:
    """The data sets of Table 2 that have a setting."""
    return [dataset for dataset in TABLE_2 if dataset in real_crowds.SETTINGS]


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods, the pairs and CCC's shortcut on every data set that there is, then :func:`tuning_grid`."""
    configs = []
    for dataset in present():
        configs += real_crowds.runs(dataset, (*BASELINES, *OURS, "ccc"), scale, seeds)
        for base in BASELINES:
            options = {"base": base, "base_options": real_crowds.SETTINGS[dataset].method_options.get(base)}
            configs += [
                replace(config, method="ensemble", method_options=options, case=PAIR)
                for config in real_crowds.runs(dataset, [base], scale, seeds)
            ]
        for config in real_crowds.runs(dataset, ["ccc"], scale, seeds):
            configs.append(replace(config, method_options=config.method_options | {"gradient": "head"}, case=SHORTCUT))
    return _short_warmup(configs, scale) + tuning_grid(scale)


def tuning_grid(scale: str) -> list[RunConfig]:
    """Every number of groups with every number of meta items. Of Music's training items, a fifth is set aside, another one
    for each seed; LabelMe has a validation split."""
    configs = []
    for dataset in (name for name in present() if name in TUNED):
        seeds = TUNING_SEEDS[dataset] if scale != "smoke" else TUNING_SEEDS[dataset][:1]
        for config in real_crowds.runs(dataset, ["ccc"], scale, seeds):
            split = {} if dataset == "labelme" else {"validation": 0.2, "seed": config.seed - seeds[0]}
            epochs = min(config.recipe.epochs, TUNING_EPOCHS)
            configs += [
                replace(
                    config,
                    experiment="tuning_ccc",
                    dataset_options=split,
                    recipe=replace(config.recipe, epochs=epochs),
                    method_options={"groups": groups, "per_class": per_class},
                    case=f"{groups} groups, {per_class} a class",
                )
                for groups in GROUPS
                for per_class in TUNED[dataset]
            ]
    return _short_warmup(configs, scale)


def _short_warmup(configs: list[RunConfig], scale: str) -> list[RunConfig]:
    """At ``smoke``, whose two epochs are fewer than the warm-up's, one of them is left to the corrections."""
    if scale != "smoke":
        return configs
    return [
        replace(config, method_options=config.method_options | {"warmup": 1}) if config.method == "ccc" else config
        for config in configs
    ]


def tuned(rows: Sequence[dict]) -> dict[str, dict[tuple[int, int], float]]:
    """By data set, the score of each (groups, meta items a class): the validation accuracy, a share, of the last ten epochs
    and all seeds on average, so that no epoch is chosen along with it, nor the luck of one.

    Args:
        rows: ledger rows of :func:`tuning_grid`.
    """
    found: dict[str, dict[tuple[int, int], list[float]]] = {}
    for row in rows:
        options = row["config"]["method_options"]
        place = (options["groups"], options["per_class"])
        late = row["history"]["valid_acc"][-JUDGED_EPOCHS:]
        found.setdefault(row["config"]["dataset"], {}).setdefault(place, []).append(sum(late) / len(late))
    return {
        dataset: {place: round(sum(scores) / len(scores), 6) for place, scores in places.items()}
        for dataset, places in found.items()
    }


def chosen(rows: Sequence[dict]) -> dict[str, dict[str, int]]:
    """CCC's options with the best score, by data set; the smallest ones of equals."""
    best = {dataset: max(sorted(places), key=places.get) for dataset, places in tuned(rows).items()}
    return {dataset: {"groups": groups, "per_class": per_class} for dataset, (groups, per_class) in best.items()}


def named(rows: Sequence[dict]) -> list[dict]:
    """The rows under the names of the tables: pairs, and CCC with its shortcut, are methods of their own."""
    return [row | {"config": row["config"] | _name(row["config"])} for row in rows]


def pair(base: str) -> str:
    """The name of a pair of networks of a method."""
    return f"{base}-pair"


def _name(config: dict) -> dict[str, str]:
    if config["case"] == SHORTCUT:
        return {"method": "ccc-head", "case": "real"}
    return {"method": pair(config["method_options"]["base"]), "case": "real"} if config["case"] == PAIR else {}
