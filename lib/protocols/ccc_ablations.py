"""Notebook 34: Figure 4 of the CCC paper, labels an item and number of groups, on the reconstruction of IND-I.

At ``fast`` and ``paper`` on CIFAR-10, as in the paper, at ``overnight`` on Fashion-MNIST; there its base point is a run of
notebook 32. At ``quick`` on a part of Fashion-MNIST half as large as there, with fewer epochs. Numbers of groups are in the
paper's proportion to the annotators.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lib.protocols import ccc_images
from lib.protocols.ccc_images import Setting
from lib.protocols.ccc_table1 import EXPERIMENT
from lib.runs.config import RunConfig

CASE = "rec-IND-I"
LABELS = (1, 3, 5, 7, 9)  # an item, on average
BASE = 3
PAIR = "crowdlayer-mw-pair"
METHODS = ("crowdlayer-mw", "ccc")
# Where the control is run: everywhere, or at few points.
PAIRED = {"smoke": (1,), "quick": (1, 3, 9), "overnight": LABELS, "fast": LABELS, "paper": LABELS}
# The paper's {5, 30, 100, 250} of 250 annotators, and as many of fewer annotators.
GROUPS = dict.fromkeys(("fast", "paper"), (5, 30, 100, 250)) | {"smoke": (1, 5, 20)}
GROUPS |= dict.fromkeys(("quick", "overnight"), (1, 6, 20, 50))


def dataset(scale: str) -> str:
    """The data set of a scale."""
    return "cifar10" if scale in ("fast", "paper") else "fashion_mnist"


def setting(scale: str) -> Setting:
    """How runs are trained at a scale: as in notebook 32, at ``quick`` on half as many items for fewer epochs."""
    found = ccc_images.setting(dataset(scale), scale)
    if scale != "quick":
        return found
    half = {"data": dict(found.data) | {"n_train": 2000}, "per_class": found.per_class // 2}
    return replace(found, recipe=replace(found.recipe, epochs=12), warmup=2, **half)


def families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied: ``labels`` an item or ``groups``; the base point belongs to both."""
    using = setting(scale)

    def some(names, labels=BASE, **options) -> list[RunConfig]:
        crowd = {"labels_per_item": labels} if labels != BASE else {}
        data = {"crowd_options": crowd}
        where = {"experiment": EXPERIMENT, "case": CASE, "changed": using}
        return ccc_images.runs(dataset(scale), names, scale, seeds, data=data, options=options, **where)

    return {
        "labels": [
            config for labels in LABELS for config in some([*METHODS, PAIR] if labels in PAIRED[scale] else METHODS, labels)
        ],
        "groups": [config for groups in GROUPS[scale] for config in some(["ccc"], groups=groups)],
    }


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All runs of :func:`families`, each once."""
    configs = [config for family in families(scale, seeds).values() for config in family]
    return list({config.key(): config for config in configs}.values())


def labels_per_item(config: dict) -> int:
    """How many labels an item has in a run, on average, from its config."""
    return config["dataset_options"]["crowd_options"].get("labels_per_item", BASE)


def varied(rows: Iterable[dict | None], scale: str, seeds: Sequence[int]) -> list[dict]:
    """Rows of :func:`grid` under what is varied: the case says ``labels=3`` or ``groups=30``, ``family`` and ``x`` have the two
    parts. The base point comes twice; pairs have the names of the tables."""
    there = {row["key"]: row for row in rows if row is not None}
    found = []
    for family, configs in families(scale, seeds).items():
        for row in ccc_images.named(there.get(config.key()) for config in configs):
            config = row["config"]
            x = labels_per_item(config) if family == "labels" else config["method_options"]["groups"]
            found.append(row | {"config": config | {"case": f"{CASE} {family}={x}", "family": family, "x": x}})
    return found
