"""Settings shared by CCC's experiments on images: data, network, recipe and budget at each scale, whatever the method.

**Sources.** ``paper``: CCC's released script, written for CIFAR-10N: ResNet-34 with an unpadded first convolution, SGD at 0.01
with momentum 0.9 and weight decay 5e-4, a tenth of that rate after epoch 40, batches of 128, no augmentation, 60 epochs of
which ten are CCC's warm-up; 30 groups and 1000 meta items. The paper's other settings are not released: Fashion-MNIST has
the script's other network, ResNet-18, and baselines have the same recipe and number of epochs. ``fast``: the same data,
a fifth of the epochs and a smaller network. ``quick``: a class-balanced part of the data, 50 annotators instead of 250, a
small network, and CCC's groups in the paper's proportion to the annotators (30 of 250); how many meta items a class and how
large a correction was chosen on validation images, see ``ccc_table1.py``. The number of epochs is such that majority vote's
network learns its labels by heart, which is what the paper is about; about a sixth is CCC's warm-up, as in the paper.
Augmentation would take that away, so there is none.

``overnight`` is the released recipe, all 60 epochs and nothing tuned, on what two cores can train: a LeNet with batch
normalization on Fashion-MNIST, and a batch-normalized head on frozen features of CIFAR-10
(:mod:`lib.datasets.image_features`), both of which memorize their labels. The simulated crowds are a fifth of the paper's in
every respect: 10,800 images, 50 annotators, 6 groups, 20 meta items per class. CIFAR-10N has all 45,000 images, 30 groups and
100 meta items per class; besides features, its images themselves (:data:`PIXELS`). Networks compute in bfloat16, on a
processor as on CUDA.

All methods of a seed see the same crowd.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lib.datasets import image_features
from lib.protocols.ccc_table2 import pair
from lib.registry import unknown
from lib.runs.config import RunConfig
from lib.simulation.ccc import CASES
from lib.training.recipe import Recipe

# The controls that the paper lacks: as two networks, what CCC is without its correction, and the paper's strongest baseline.
PAIRS = {"smoke": ("crowdlayer-mw",), "quick": ("crowdlayer-mw",)}
PAIRS |= dict.fromkeys(("overnight", "fast", "paper"), ("crowdlayer-mw", "unionnet-b"))
# The paper argues for correcting each network by what the other is sure of, and does not test it: by what it is sure of itself.
OWN_SET = "ccc-own-set"
OWN_SETS = dict.fromkeys(("overnight", "fast", "paper"), (OWN_SET,)) | dict.fromkeys(("smoke", "quick"), ())
# The released code's choices on images: the virtual step through the last layer alone. CoNAL's gate reads the features.
METHODS = {"ccc": {"gradient": "head"}, "conal": {"gate_input": "features"}}
KEEP = dict.fromkeys(("overnight", "fast", "paper"), ("correct",))

PAPER_RATE = 0.5


@dataclass(frozen=True)
class Setting:
    """How every method is trained on a data set at a scale.

    Attributes:
        backbone, backbone_options, recipe: the same for all methods.
        warmup: CCC's epochs without correction, among those of the recipe.
        data: options of the data set: its parts.
        annotators: of a simulated crowd.
        groups, per_class, rate: CCC's groups, meta items of a class, and size of corrections.
    """

    backbone: str
    recipe: Recipe
    warmup: int
    data: Mapping = field(default_factory=dict)
    backbone_options: Mapping = field(default_factory=dict)
    annotators: int = 250
    groups: int = 30
    per_class: int = 100
    rate: float = PAPER_RATE


_SGD = Recipe(epochs=60, batch_size=128, optimizer="sgd", lr=0.01, weight_decay=5e-4, schedule="step", milestones=(40,))
_PAPER = replace(_SGD, precision="mixed")  # bfloat16 inside the network, on CUDA
_FAST = replace(_PAPER, epochs=12, milestones=(8,))
_QUICK = Recipe(epochs=15, batch_size=32, lr=1e-3)
_SHORT = replace(_QUICK, epochs=12)
_SMOKE = Recipe(epochs=2, batch_size=32, lr=1e-3)
_CIFAR = {"n_valid": 5000, "test": "all"}
_STEM = {"padding": 0}
_NIGHT = replace(_SGD, precision="mixed")
_FEATURES = {"test": "all", "features": image_features.NAME}
_FIFTH = {"annotators": 50, "groups": 6, "per_class": 20}


# Meta items a class, of 4000 items, and rate; chosen among `ccc_table1.TUNED`.
META_ITEMS, RATE = 40, 0.1


def _few(recipe: Recipe, warmup: int, items: int, **more) -> Setting:
    """LeNet on a part of the data, with meta items in proportion."""
    return Setting("lenet", recipe, warmup, _part(items), per_class=round(META_ITEMS * items / 4000), rate=RATE, **more)


def _part(items: int) -> dict[str, int]:
    return {"n_train": items, "n_valid": max(items // 8, 100), "n_test": max(items // 4, 100)}


_TINY = Setting("lenet", _SMOKE, 1, _part(200), annotators=20, groups=5, per_class=5)
SETTINGS = {
    "smoke": dict.fromkeys(("cifar10", "fashion_mnist", "cifar10n"), _TINY),
    "quick": {
        "cifar10": _few(_QUICK, 3, 4000, annotators=50, groups=6),
        "fashion_mnist": _few(_QUICK, 3, 4000, annotators=50, groups=6),
        "cifar10n": _few(_SHORT, 2, 3000),
    },
    "overnight": {
        "cifar10": Setting("mlp-bn", _NIGHT, 10, {"n_train": 10_800, "n_valid": 1200} | _FEATURES, **_FIFTH),
        "fashion_mnist": Setting("lenet-bn", _NIGHT, 10, {"n_train": 10_800, "n_valid": 1200}, **_FIFTH),
        "cifar10n": Setting("mlp-bn", _NIGHT, 10, {"n_valid": 5000} | _FEATURES),
    },
    "fast": {
        "cifar10": Setting("resnet-small", _FAST, 2, _CIFAR),
        "fashion_mnist": Setting("resnet-small", _FAST, 2, {"n_valid": 6000}),
        "cifar10n": Setting("resnet-small", _FAST, 2, _CIFAR),
    },
    "paper": {
        "cifar10": Setting("resnet34", _PAPER, 10, _CIFAR, _STEM),
        "fashion_mnist": Setting("resnet18", _PAPER, 10, {"n_valid": 6000}, _STEM),
        "cifar10n": Setting("resnet34", _PAPER, 10, _CIFAR, _STEM),
    },
}


# CIFAR-10N at `overnight` from its images, where memorization has more room than on features.
PIXELS = Setting("lenet-bn", _NIGHT, 10, _CIFAR)


def setting(dataset: str, scale: str) -> Setting:
    """How a data set is trained on at a scale. Raises ValueError where there is none."""
    if dataset not in SETTINGS[scale]:
        raise ValueError(unknown("image data set", dataset, list(SETTINGS[scale])))
    return SETTINGS[scale][dataset]


def runs(
    dataset: str,
    methods: Iterable[str],
    scale: str,
    seeds: Iterable[int],
    *,
    experiment: str,
    case: str = "real",
    data: Mapping | None = None,
    options: Mapping | None = None,
    changed: Setting | None = None,
) -> list[RunConfig]:
    """Every method with every seed on one data set with one crowd.

    Args:
        dataset, scale: of :data:`SETTINGS`.
        methods: names in the registry; ``<name>-pair`` is two networks of a method, :data:`OWN_SET` CCC uncoupled.
        seeds: one run each.
        experiment: the ledger's file.
        case: a simulated crowd of :mod:`lib.simulation`, or ``"real"``, or another word for a variant of real data.
        data: further options of the data set; of a simulated crowd under ``crowd_options``.
        options: CCC's, where they differ from the setting's.
        changed: instead of the scale's setting.
    """
    using = changed or setting(dataset, scale)
    return [
        RunConfig(
            experiment=experiment,
            dataset=dataset,
            backbone=using.backbone,
            backbone_options=dict(using.backbone_options),
            recipe=using.recipe,
            dataset_options=_data(dataset, using, case, seed, dict(data or {})),
            case=case,
            scale=scale,
            seed=seed,
            keep=KEEP.get(scale, ()),
            **_method(method, using, dict(options or {})),
        )
        for method in methods
        for seed in seeds
    ]


def _data(dataset: str, using: Setting, case: str, seed: int, data: dict) -> dict:
    if case not in CASES:
        return dict(using.data) | data
    crowd = {"n_annotators": using.annotators, "partner": dataset} | data.pop("crowd_options", {})
    return dict(using.data) | {"crowd": case, "crowd_seed": seed, "crowd_options": crowd} | data


def _method(name: str, using: Setting, options: dict) -> dict:
    if name.endswith("-pair"):
        base = name.removesuffix("-pair")
        return {"method": "ensemble", "method_options": {"base": base, "base_options": METHODS.get(base)}}
    if name == OWN_SET:
        return _method("ccc", using, options | {"coupled": False})
    own = dict(METHODS.get(name, {}))
    if name == "ccc":
        own |= {"groups": using.groups, "per_class": using.per_class, "rate": using.rate, "warmup": using.warmup}
        own |= {"meta_batch": using.recipe.batch_size} | options
    return {"method": name, "method_options": own}


def named(rows: Iterable[dict | None]) -> list[dict]:
    """The rows that there are, pairs under the names of the tables, ``<name>-pair``."""
    return [row | {"config": row["config"] | {"method": name(row["config"])}} for row in rows if row is not None]


def name(config: Mapping) -> str:
    """A run's method in tables, from its config."""
    if config["method"] == "ensemble":
        return pair(config["method_options"]["base"])
    return OWN_SET if not config["method_options"].get("coupled", True) else config["method"]
