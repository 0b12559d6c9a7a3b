"""Zhang et al., *Coupled Confusion Correction* (AAAI 2024): the runs of notebooks 32 to 35.

**Real crowds** (33, Table 2), with a pair of networks of every baseline as a control. CCC's groups and meta items a class are
chosen here, on validation data, with seeds of their own: what was chosen stands in :mod:`lib.protocols.real_crowds`.

**Images** (32, Table 1, on reconstructions of its simulated crowds; 34, Figure 4; 35, CIFAR-10N of Table 2): one setting a
data set and scale, whatever the method. ``paper``: CCC's released script, written for CIFAR-10N: ResNet-34 with an unpadded
first convolution, SGD at 0.01 with momentum 0.9 and weight decay 5e-4, a tenth of that rate after epoch 40, batches of 128,
no augmentation, 60 epochs of which ten are CCC's warm-up; 30 groups and 1000 meta items. The paper's other settings are not
released: Fashion-MNIST has the script's other network, ResNet-18, and baselines have the same recipe and number of epochs.
``fast``: the same data, a fifth of the epochs and a smaller network. ``quick``: a class-balanced part of the data, 50
annotators instead of 250, a small network, and CCC's groups in the paper's proportion to the annotators (30 of 250). The
number of epochs is such that majority vote's network memorizes its labels, which is what the paper is about; about a
sixth is CCC's warm-up, as in the paper. Augmentation would take that away, so there is none. How many meta items a class CCC
takes, and how large its corrections are, is chosen at ``quick`` on validation images, with a crowd that no result has: of the
few items there the paper's share would be nine a class, and a batch a fourth as large makes noisier corrections.

``overnight`` is the released recipe, all 60 epochs and nothing tuned, on what two cores can train: a LeNet with batch
normalization on Fashion-MNIST, and a batch-normalized head on frozen features of CIFAR-10
(:mod:`lib.datasets.image_features`), both of which memorize their labels. The simulated crowds are a fifth of the paper's in
every respect: 10,800 images, 50 annotators, 6 groups, 20 meta items per class. CIFAR-10N has all 45,000 images, 30 groups and
100 meta items per class; besides features, its images themselves (:data:`PIXELS`). Networks compute in bfloat16, on a
processor as on CUDA.

All methods of a seed see the same crowd.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lib.datasets import image_features
from lib.protocols import real_crowds, selection
from lib.registry import unknown
from lib.runs.config import RunConfig, each_once
from lib.simulation.ccc import CASES
from lib.training.recipe import Recipe

# Our names of the paper's six baselines and theirs. The paper does not say which UnionNet it ran.
BASELINES = {
    "majority-vote": "MajorVote",
    "crowdlayer-mw": "CrowdLayer",
    "doctornet": "DoctorNet",
    "max-mig": "Max-MIG",
    "conal": "CoNAL",
    "unionnet-b": "UnionNet",
}


def pair(base: str) -> str:
    """The name of a pair of networks of a method."""
    return f"{base}-pair"


# ---------------------------------------------------------------------- 33: Table 2, real crowds

# Our data sets and the paper's names of them. CIFAR-10N joins when `real.py` has a setting for it.
TABLE_2 = {"cifar10n": "CIFAR-10N", "labelme": "LabelMe", "music": "MUSIC"}
OURS = ("true-labels", "dawid-skene", "dl-em", "unionnet-a", "ccem", "geocrowdnet-f")
PAIR_CASE = "pair of networks"
# The released code's virtual step, through the last layer alone.
SHORTCUT = "last layer only"

TABLE_2_PER_CLASS = {"labelme": (5, 10, 20, 40), "music": (5, 10, 20)}  # meta items a class
TABLE_2_GROUPS = (5, 10, 20)
TABLE_2_EPOCHS = 60  # of which ten are warm-up
TABLE_2_SEEDS = {"labelme": (100, 101, 102), "music": (100, 101, 102, 103)}
JUDGED_EPOCHS = 10


def present() -> list[str]:
    """The data sets of Table 2 that have a setting."""
    return [dataset for dataset in TABLE_2 if dataset in real_crowds.SETTINGS]


def table2(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods, the pairs and CCC's shortcut on every data set that there is, then :func:`table2_tuning`."""
    configs = []
    for dataset in present():
        configs += real_crowds.runs(dataset, (*BASELINES, *OURS, "ccc"), scale, seeds)
        for base in BASELINES:
            options = {"base": base, "base_options": real_crowds.SETTINGS[dataset].method_options.get(base)}
            configs += [
                replace(config, method="ensemble", method_options=options, case=PAIR_CASE)
                for config in real_crowds.runs(dataset, [base], scale, seeds)
            ]
        for config in real_crowds.runs(dataset, ["ccc"], scale, seeds):
            configs.append(replace(config, method_options=config.method_options | {"gradient": "head"}, case=SHORTCUT))
    return _short_warmup(configs, scale) + table2_tuning(scale)


def table2_tuning(scale: str) -> list[RunConfig]:
    """Every number of groups with every number of meta items. Of Music's training items, a fifth is set aside, another one
    for each seed; LabelMe has a validation split."""
    configs = []
    for dataset in (name for name in present() if name in TABLE_2_PER_CLASS):
        seeds = TABLE_2_SEEDS[dataset] if scale != "smoke" else TABLE_2_SEEDS[dataset][:1]
        for config in real_crowds.runs(dataset, ["ccc"], scale, seeds):
            split = {} if dataset == "labelme" else {"validation": 0.2, "seed": config.seed - seeds[0]}
            epochs = min(config.recipe.epochs, TABLE_2_EPOCHS)
            configs += [
                replace(
                    config,
                    experiment="tuning_ccc",
                    dataset_options=split,
                    recipe=replace(config.recipe, epochs=epochs),
                    method_options={"groups": groups, "per_class": per_class},
                    case=f"{groups} groups, {per_class} a class",
                )
                for groups in TABLE_2_GROUPS
                for per_class in TABLE_2_PER_CLASS[dataset]
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


def table2_scores(rows: Sequence[dict]) -> dict[str, dict[tuple[int, int], float]]:
    """By data set, the score of each (groups, meta items a class): the validation accuracy, a share, of the last ten epochs
    and all seeds on average, so that no epoch is table2_options along with it, nor the luck of one.

    Args:
        rows: ledger rows of :func:`table2_tuning`.
    """
    return selection.scores(
        rows,
        value=lambda config: (config["method_options"]["groups"], config["method_options"]["per_class"]),
        score=selection.late("valid_acc", JUDGED_EPOCHS),
        place=lambda config: config["dataset"],
    )


def table2_options(rows: Sequence[dict]) -> dict[str, dict[str, int]]:
    """CCC's options with the best score, by data set; the smallest ones of equals."""
    best = {dataset: selection.best(scores) for dataset, scores in table2_scores(rows).items()}
    return {dataset: {"groups": groups, "per_class": per_class} for dataset, (groups, per_class) in best.items()}


def named(rows: Sequence[dict]) -> list[dict]:
    """The rows of Table 2 under the names of the tables: pairs, and CCC with its shortcut, are methods of their own."""
    return [row | {"config": row["config"] | _table2_name(row["config"])} for row in rows]


def _table2_name(config: dict) -> dict[str, str]:
    if config["case"] == SHORTCUT:
        return {"method": "ccc-head", "case": "real"}
    return {"method": pair(config["method_options"]["base"]), "case": "real"} if config["case"] == PAIR_CASE else {}


# ---------------------------------------------------------------------- images: settings of each scale

# The controls that the paper lacks: as two networks, what CCC is without its correction, and the paper's strongest baseline.
PAIRS = {"smoke": ("crowdlayer-mw",), "quick": ("crowdlayer-mw",)}
PAIRS |= dict.fromkeys(("overnight", "fast", "paper"), ("crowdlayer-mw", "unionnet-b"))
# The paper argues for correcting each network by what the other is sure of, and does not test it: by what it is sure of itself.
OWN_SET = "ccc-own-set"
OWN_SETS = dict.fromkeys(("overnight", "fast", "paper"), (OWN_SET,)) | dict.fromkeys(("smoke", "quick"), ())
# The released code's choices on images: the virtual step through the last layer alone. CoNAL's gate reads the features.
IMAGE_OPTIONS = {"ccc": {"gradient": "head"}, "conal": {"gate_input": "features"}}
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


# Meta items a class, of 4000 items, and rate; chosen among :data:`IMAGE_TUNED`.
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


def image_runs(
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
            dataset_options=_image_data(dataset, using, case, seed, dict(data or {})),
            case=case,
            scale=scale,
            seed=seed,
            keep=KEEP.get(scale, ()),
            **_image_method(method, using, dict(options or {})),
        )
        for method in methods
        for seed in seeds
    ]


def _image_data(dataset: str, using: Setting, case: str, seed: int, data: dict) -> dict:
    if case not in CASES:
        return dict(using.data) | data
    crowd = {"n_annotators": using.annotators, "partner": dataset} | data.pop("crowd_options", {})
    return dict(using.data) | {"crowd": case, "crowd_seed": seed, "crowd_options": crowd} | data


def _image_method(name: str, using: Setting, options: dict) -> dict:
    if name.endswith("-pair"):
        base = name.removesuffix("-pair")
        return {"method": "ensemble", "method_options": {"base": base, "base_options": IMAGE_OPTIONS.get(base)}}
    if name == OWN_SET:
        return _image_method("ccc", using, options | {"coupled": False})
    own = dict(IMAGE_OPTIONS.get(name, {}))
    if name == "ccc":
        own |= {"groups": using.groups, "per_class": using.per_class, "rate": using.rate, "warmup": using.warmup}
        own |= {"meta_batch": using.recipe.batch_size} | options
    return {"method": name, "method_options": own}


def named_images(rows: Iterable[dict | None]) -> list[dict]:
    """The rows that there are, pairs under the names of the tables, ``<name>-pair``."""
    return [row | {"config": row["config"] | {"method": image_name(row["config"])}} for row in rows if row is not None]


def image_name(config: Mapping) -> str:
    """A run's method in tables, from its config."""
    if config["method"] == "ensemble":
        return pair(config["method_options"]["base"])
    return OWN_SET if not config["method_options"].get("coupled", True) else config["method"]


# ---------------------------------------------------------------------- 32: Table 1

SIMULATED = "ccc_simulated"
# Our data sets and the paper's names of them.
TABLE_1 = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}
TABLE_1_METHODS = (*BASELINES, "ccc")
COLUMNS = {
    "smoke": {"fashion_mnist": ("rec-IND-II",)},
    "quick": {"fashion_mnist": ("rec-IND-II", "rec-COR-I")},  # the hardest case of each family, by the paper's majority vote
} | {scale: {dataset: tuple(CASES) for dataset in TABLE_1} for scale in ("overnight", "fast", "paper")}
TUNING = "tuning_ccc_images"
IMAGE_TUNED = {"per_class": (9, 20, 40), "rate": (0.1, 0.5)}
TUNING_SEED = 100


def table1(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method and the pairs on every column of the table; true labels, which no crowd changes, on one of each data set;
    then :func:`table1_tuning`."""
    configs = []
    for dataset, cases in COLUMNS[scale].items():
        for case in cases:
            names = [
                *TABLE_1_METHODS,
                *map(pair, PAIRS[scale]),
                *OWN_SETS[scale],
                *(["true-labels"] if case == cases[0] else []),
            ]
            configs += image_runs(dataset, names, scale, seeds, experiment=SIMULATED, case=case)
    return configs + table1_tuning(scale)


def table1_tuning(scale: str) -> list[RunConfig]:
    """CCC with each number of meta items a class and each rate, where they are not the paper's."""
    if scale not in ("smoke", "quick"):
        return []
    (dataset, cases), *_ = COLUMNS[scale].items()
    return [
        config
        for values in itertools.product(*IMAGE_TUNED.values())
        for config in image_runs(
            dataset,
            ["ccc"],
            scale,
            [TUNING_SEED],
            experiment=TUNING,
            case=cases[0],
            options=dict(zip(IMAGE_TUNED, values, strict=True)),
        )
    ]


def table1_scores(rows: Iterable[dict]) -> dict[tuple[int, float], float]:
    """Validation accuracy, a share, averaged over the last epochs, by meta items a class and rate.

    Args:
        rows: ledger rows of :func:`table1_tuning`.
    """
    found = selection.scores(
        rows,
        value=lambda config: (config["method_options"]["per_class"], config["method_options"].get("rate", PAPER_RATE)),
        score=selection.late("valid_acc", 5),
    )
    return found.get(None, {})


def table1_options(rows: Iterable[dict]) -> tuple[int, float]:
    """Meta items a class and rate with the best score; the smaller ones of equals."""
    return selection.best(table1_scores(rows))


def paper_case(case: str) -> str:
    """What the paper calls the case that ours reconstructs."""
    return case.removeprefix("rec-")


# ---------------------------------------------------------------------- 34: Figure 4

FIGURE_4 = "rec-IND-I"
LABELS = (1, 3, 5, 7, 9)  # an item, on average
BASE_LABELS = 3
FIGURE_4_PAIR = "crowdlayer-mw-pair"
# Where the control is run: everywhere, or at few points.
PAIRED = {"smoke": (1,), "quick": (1, 3, 9), "overnight": LABELS, "fast": LABELS, "paper": LABELS}
# The paper's {5, 30, 100, 250} of 250 annotators, and as many of fewer annotators.
GROUPS = dict.fromkeys(("fast", "paper"), (5, 30, 100, 250)) | {"smoke": (1, 5, 20)}
GROUPS |= dict.fromkeys(("quick", "overnight"), (1, 6, 20, 50))


def figure4_data(scale: str) -> str:
    """The data set of a scale."""
    return "cifar10" if scale in ("fast", "paper") else "fashion_mnist"


def figure4_setting(scale: str) -> Setting:
    """How runs are trained at a scale: as in notebook 32, at ``quick`` on half as many items for fewer epochs."""
    found = setting(figure4_data(scale), scale)
    if scale != "quick":
        return found
    half = {"data": dict(found.data) | {"n_train": 2000}, "per_class": found.per_class // 2}
    return replace(found, recipe=replace(found.recipe, epochs=12), warmup=2, **half)


def figure4_families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied: ``labels`` an item or ``groups``; the base point belongs to both."""
    using = figure4_setting(scale)

    def some(names, labels=BASE_LABELS, **options) -> list[RunConfig]:
        crowd = {"labels_per_item": labels} if labels != BASE_LABELS else {}
        data = {"crowd_options": crowd}
        where = {"experiment": SIMULATED, "case": FIGURE_4, "changed": using}
        return image_runs(figure4_data(scale), names, scale, seeds, data=data, options=options, **where)

    return {
        "labels": [
            config
            for labels in LABELS
            for config in some(("crowdlayer-mw", "ccc", *([FIGURE_4_PAIR] if labels in PAIRED[scale] else [])), labels)
        ],
        "groups": [config for groups in GROUPS[scale] for config in some(["ccc"], groups=groups)],
    }


def figure4(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All runs of :func:`figure4_families`, each once."""
    return list(each_once(config for family in figure4_families(scale, seeds).values() for config in family).values())


def labels_per_item(config: dict) -> int:
    """How many labels an item has in a run, on average, from its config."""
    return config["dataset_options"]["crowd_options"].get("labels_per_item", BASE_LABELS)


def varied(rows: Iterable[dict | None], scale: str, seeds: Sequence[int]) -> list[dict]:
    """Rows of :func:`figure4` under what is varied: the case says ``labels=3`` or ``groups=30``, ``family`` and ``x`` have the
    two parts. The base point comes twice; pairs have the names of the tables."""
    there = {row["key"]: row for row in rows if row is not None}
    found = []
    for family, configs in figure4_families(scale, seeds).items():
        for row in named_images(there.get(config.key()) for config in configs):
            config = row["config"]
            x = labels_per_item(config) if family == "labels" else config["method_options"]["groups"]
            found.append(row | {"config": config | {"case": f"{FIGURE_4} {family}={x}", "family": family, "x": x}})
    return found


# ---------------------------------------------------------------------- 35: CIFAR-10N

CIFAR10N = "cifar10n"
# The workers cannot be told apart (notebook 31): the same labels as if given by three annotators.
ANONYMOUS = "three annotators"
FROM_PIXELS = "from pixels"


def cifar10n(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The paper's methods, the pairs and true labels with the published workers; Crowd Layer and CCC without them. At
    ``overnight``, where these are trained on features, all with the workers from pixels too."""
    names = ("true-labels", *BASELINES, *map(pair, PAIRS[scale]), "ccc", *OWN_SETS[scale])
    configs = image_runs(CIFAR10N, names, scale, seeds, experiment=CIFAR10N)
    places = {"data": {"variant": "places"}, "options": {"groups": 3}}
    configs += image_runs(CIFAR10N, ("crowdlayer-mw", "ccc"), scale, seeds, experiment=CIFAR10N, case=ANONYMOUS, **places)
    if scale == "overnight":
        configs += image_runs(CIFAR10N, names, scale, seeds, experiment=CIFAR10N, case=FROM_PIXELS, changed=PIXELS)
    return configs
