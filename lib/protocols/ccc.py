"""Zhang et al., *Coupled Confusion Correction* (AAAI 2024): the runs of notebooks 32 to 35.

**Real crowds** (33, Table 2), with a pair of networks of every baseline as a control. CCC's groups and meta items a class are
chosen here, on validation data, with seeds of their own: what was chosen stands in :mod:`lib.protocols.real_crowds`.

**Images** (32, Table 1, on reconstructions of its simulated crowds; 34, Figure 4; 35, CIFAR-10N of Table 2): one setting a
data set and scale, whatever the method; all methods of a seed see the same crowd. ``paper`` is CCC's released script, written
for CIFAR-10N. The paper's other settings are not released: Fashion-MNIST has the script's other network, and baselines have
the same recipe and number of epochs.

``overnight`` is the released recipe, nothing tuned, on what two cores can train and what memorizes its labels: LeNet, and a
head on frozen features of CIFAR-10 (:mod:`lib.datasets.image_features`). Simulated crowds are a fifth of the paper's in every
respect; CIFAR-10N is whole. ``quick`` is a small part of that, half as long. Both test CIFAR-10 on its last training images,
which every machine has exactly and nothing is trained on. ``fast`` is the paper's data with the networks that memorize here.
Augmentation would take memorization away, so there is none at any scale.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lib.datasets import image_features
from lib.datasets.cifar10 import HELD_OUT
from lib.protocols import real_crowds, selection
from lib.registry import unknown
from lib.runs.config import RunConfig
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
PAIR_CASE = "pair of networks"
SHORTCUT = "last layer only"  # the released code's virtual step
OWN_SET = "ccc-own-set"


def pair(base: str) -> str:
    """The name of a pair of networks of a method."""
    return f"{base}-pair"


def named(rows: Iterable[dict | None]) -> list[dict]:
    """The rows that there are, under the names of the tables: pairs, and CCC with its shortcut or with each network corrected
    by its own set, are methods of their own."""
    return [row | {"config": row["config"] | _name(row["config"])} for row in rows if row is not None]


def _name(config: Mapping) -> dict[str, str]:
    case = {"case": "real"} if config["case"] in (PAIR_CASE, SHORTCUT) else {}
    if config["method"] == "ensemble":
        return {"method": pair(config["method_options"]["base"])} | case
    if config["case"] == SHORTCUT:
        return {"method": "ccc-head"} | case
    return {} if config["method_options"].get("coupled", True) else {"method": OWN_SET}


# ---------------------------------------------------------------------- 33: Table 2, real crowds

# Our data sets and the paper's names of them; its third column is notebook 35's.
TABLE_2 = {"labelme": "LabelMe", "music": "MUSIC"}
OURS = ("true-labels", "dawid-skene", "dl-em", "unionnet-a", "ccem", "geocrowdnet-f")

TABLE_2_PER_CLASS = {"labelme": (5, 10, 20, 40), "music": (5, 10, 20)}  # meta items a class
TABLE_2_GROUPS = (5, 10, 20)
TABLE_2_EPOCHS = 60  # of which ten are warm-up
TABLE_2_SEEDS = {"labelme": (100, 101, 102), "music": (100, 101, 102, 103)}
JUDGED_EPOCHS = 10


def table2(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """All methods, the pairs and CCC's shortcut on both data sets, then :func:`table2_tuning`."""
    configs = []
    for dataset in TABLE_2:
        configs += real_crowds.runs(dataset, (*BASELINES, *OURS, "ccc"), scale, seeds)
        for config in real_crowds.runs(dataset, BASELINES, scale, seeds):
            options = {"base": config.method, "base_options": config.method_options or None}
            configs.append(replace(config, method="ensemble", method_options=options, case=PAIR_CASE))
        for config in real_crowds.runs(dataset, ["ccc"], scale, seeds):
            configs.append(replace(config, method_options=config.method_options | {"gradient": "head"}, case=SHORTCUT))
    return _short_warmup(configs, scale) + table2_tuning(scale)


def table2_tuning(scale: str) -> list[RunConfig]:
    """Every number of groups with every number of meta items. Of Music's training items, a fifth is set aside, another one
    for each seed; LabelMe has a validation split."""
    configs = []
    for dataset, numbers in TABLE_2_PER_CLASS.items():
        seeds = TABLE_2_SEEDS[dataset] if scale != "smoke" else TABLE_2_SEEDS[dataset][:1]
        for config in real_crowds.runs(dataset, ["ccc"], scale, seeds):
            split = {} if dataset == "labelme" else {"validation": 0.2, "seed": config.seed - seeds[0]}
            recipe = replace(config.recipe, epochs=min(config.recipe.epochs, TABLE_2_EPOCHS))
            config = replace(config, experiment="tuning_ccc", dataset_options=split, recipe=recipe)
            for groups in TABLE_2_GROUPS:
                for per_class in numbers:
                    options = {"groups": groups, "per_class": per_class}
                    configs.append(replace(config, method_options=options, case=f"{groups} groups, {per_class} a class"))
    return _short_warmup(configs, scale)


def _short_warmup(configs: list[RunConfig], scale: str) -> list[RunConfig]:
    """At ``smoke``, whose two epochs are fewer than the warm-up's, one of them is left to the corrections."""
    if scale != "smoke":
        return configs
    return [replace(c, method_options=c.method_options | {"warmup": 1}) if c.method == "ccc" else c for c in configs]


def table2_scores(rows: Sequence[dict]) -> dict[str, dict[tuple[int, int], float]]:
    """By data set, the score of each (groups, meta items a class) in rows of :func:`table2_tuning`: the validation accuracy, a
    share, of the last ten epochs and all seeds on average, so that no epoch is chosen along with it, nor the luck of one."""
    return selection.scores(
        (row["config"]["dataset"], (own["groups"], own["per_class"]), selection.late(row, "valid_acc", JUDGED_EPOCHS))
        for row in rows
        for own in [row["config"]["method_options"]]
    )


def table2_options(rows: Sequence[dict]) -> dict[str, dict[str, int]]:
    """CCC's options with the best score, by data set; the smallest ones of equals."""
    best = {dataset: selection.best(scores) for dataset, scores in table2_scores(rows).items()}
    return {dataset: {"groups": groups, "per_class": per_class} for dataset, (groups, per_class) in best.items()}


# ---------------------------------------------------------------------- images: settings of each scale

_LARGE = ("overnight", "fast", "paper")
# The controls that the paper lacks: as two networks, what CCC is without its correction, and the paper's strongest baseline.
# The paper argues for correcting each network by what the other is sure of, and does not test it: by what it is sure of itself.
_PAIR = pair("crowdlayer-mw")
PAIRS = dict.fromkeys(("smoke", "quick"), (_PAIR,)) | dict.fromkeys(_LARGE, (_PAIR, pair("unionnet-b")))
OWN_SETS = dict.fromkeys(("smoke", "quick"), ()) | dict.fromkeys(_LARGE, (OWN_SET,))
# The released code's choices on images: the virtual step through the last layer alone. CoNAL's gate reads the features.
IMAGE_OPTIONS = {"ccc": {"gradient": "head"}, "conal": {"gate_input": "features"}}


@dataclass(frozen=True)
class Setting:
    """How every method is trained on a data set at a scale."""

    backbone: str
    recipe: Recipe
    warmup: int  # CCC's epochs without correction, among those of the recipe
    data: Mapping = field(default_factory=dict)  # options of the data set: its parts
    backbone_options: Mapping = field(default_factory=dict)
    annotators: int = 250  # of a simulated crowd
    groups: int = 30  # of CCC
    per_class: int = 100  # CCC's meta items


_SGD = Recipe(epochs=60, batch_size=128, optimizer="sgd", lr=0.01, weight_decay=5e-4, schedule="step", milestones=(40,))
_HALF = replace(_SGD, epochs=30, milestones=(20,))
_SMOKE = replace(_SGD, epochs=2, batch_size=32, milestones=(1,))
_PAPER = replace(_SGD, precision="mixed")  # bfloat16 inside the network
_CIFAR = {"n_valid": 5000, "test": "all"}
_SPLIT = {"n_valid": 2000, "test": HELD_OUT}  # no JPEG copies, on which features are ten points worse
_STEM = {"padding": 0}
_FEATURES = {"features": image_features.NAME}
_FIFTH = {"annotators": 50, "groups": 6, "per_class": 20}


def _part(items: int, valid: int, test: int) -> dict[str, int | str]:
    """A class-balanced part of CIFAR-10, as features."""
    return {"n_train": items, "n_valid": valid, "n_test": test, "test": HELD_OUT} | _FEATURES


_TINY = Setting("mlp-bn", _SMOKE, 1, _part(200, 100, 100), annotators=20, groups=5, per_class=5)
SETTINGS = {
    "smoke": dict.fromkeys(("cifar10", "cifar10n"), _TINY),
    "quick": {
        "cifar10": Setting("mlp-bn", _HALF, 5, _part(8000, 1000, 4000), **_FIFTH),
        "cifar10n": Setting("mlp-bn", _HALF, 5, _part(9000, 1000, 4000), per_class=20),
    },
    "overnight": {
        "cifar10": Setting("mlp-bn", _PAPER, 10, _part(10_800, 1200, 10_000), **_FIFTH),
        "fashion_mnist": Setting("lenet-bn", _PAPER, 10, {"n_train": 10_800, "n_valid": 1200}, **_FIFTH),
        "cifar10n": Setting("mlp-bn", _PAPER, 10, _SPLIT | _FEATURES),
    },
    "fast": {
        "cifar10": Setting("mlp-bn", _PAPER, 10, _CIFAR | _FEATURES),
        "fashion_mnist": Setting("lenet-bn", _PAPER, 10, {"n_valid": 6000}),
        "cifar10n": Setting("lenet-bn", _PAPER, 10, _CIFAR),
    },
    "paper": {
        "cifar10": Setting("resnet34", _PAPER, 10, _CIFAR, _STEM),
        "fashion_mnist": Setting("resnet18", _PAPER, 10, {"n_valid": 6000}, _STEM),
        "cifar10n": Setting("resnet34", _PAPER, 10, _CIFAR, _STEM),
    },
}
# CIFAR-10N at `overnight` from its images, where memorization has more room than on features.
PIXELS = Setting("lenet-bn", _PAPER, 10, _SPLIT)


def setting(dataset: str, scale: str) -> Setting:
    """How a data set is trained on at a scale. Raises ValueError where there is none."""
    if dataset not in SETTINGS[scale]:
        raise ValueError(unknown("image data set", dataset, list(SETTINGS[scale])))
    return SETTINGS[scale][dataset]


def image_runs(
    experiment: str,
    dataset: str,
    methods: Iterable[str],
    scale: str,
    seeds: Iterable[int],
    case: str = "real",
    data: Mapping | None = None,
    options: Mapping | None = None,
    changed: Setting | None = None,
) -> list[RunConfig]:
    """Every method with every seed on one data set with one crowd.

    Args:
        methods: names in the registry; ``<name>-pair`` is two networks of a method, :data:`OWN_SET` CCC uncoupled.
        case: a simulated crowd of :mod:`lib.simulation`, or another word for a variant of real data.
        data: further options of the data set; of a simulated crowd under ``crowd_options``.
        options: CCC's, where they differ from the setting's.
        changed: instead of the scale's setting.
    """
    using, data, configs = changed or setting(dataset, scale), dict(data or {}), []
    parts, stem, crowd = dict(using.data), dict(using.backbone_options), {}
    if case in CASES:
        about = {"n_annotators": using.annotators, "partner": dataset} | data.pop("crowd_options", {})
        crowd = {"crowd": case, "crowd_options": about}
    keep = () if scale == "smoke" else ("correct",)
    for method in methods:
        chosen = _image_method(method, using, dict(options or {}))
        for seed in seeds:
            drawn = crowd | {"crowd_seed": seed} if crowd else {}
            data_options = parts | drawn | data
            run = RunConfig(experiment, dataset, chosen[0], using.backbone, using.recipe, data_options, chosen[1], stem)
            configs.append(replace(run, case=case, scale=scale, seed=seed, keep=keep))
    return configs


def _image_method(name: str, using: Setting, options: dict) -> tuple[str, dict]:
    """A method's name in the registry, and its options."""
    if name.endswith("-pair"):
        base = name.removesuffix("-pair")
        return "ensemble", {"base": base, "base_options": IMAGE_OPTIONS.get(base)}
    if name == OWN_SET:
        return _image_method("ccc", using, options | {"coupled": False})
    own = IMAGE_OPTIONS.get(name, {})
    if name == "ccc":
        own = own | {"groups": using.groups, "per_class": using.per_class, "warmup": using.warmup}
        own |= {"meta_batch": using.recipe.batch_size} | options
    return name, own


# ---------------------------------------------------------------------- 32: Table 1

SIMULATED = "ccc_simulated"
# Our data sets and the paper's names of them.
TABLE_1 = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}
TABLE_1_METHODS = (*BASELINES, "ccc")
COLUMNS = {
    "smoke": {"cifar10": ("rec-IND-II",)},
    "quick": {"cifar10": ("rec-IND-II", "rec-COR-I")},  # the hardest case of each family, by the paper's majority vote
} | dict.fromkeys(_LARGE, dict.fromkeys(TABLE_1, tuple(CASES)))


def table1(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every method and the controls on every column of the table; true labels, which no crowd changes, on one of each data
    set."""
    configs = []
    for dataset, cases in COLUMNS[scale].items():
        for case in cases:
            names = (*TABLE_1_METHODS, *PAIRS[scale], *OWN_SETS[scale], *(["true-labels"] if case == cases[0] else []))
            configs += image_runs(SIMULATED, dataset, names, scale, seeds, case)
    return configs


def paper_case(case: str) -> str:
    """What the paper calls the case that ours reconstructs."""
    return case.removeprefix("rec-")


# ---------------------------------------------------------------------- 34: Figure 4

FIGURE_4 = "rec-IND-I"
LABELS = (1, 3, 5, 7, 9)  # an item, on average
BASE_LABELS = 3
FIGURE_4_PAIR = _PAIR
# Where the control is run: everywhere, or at few points.
PAIRED = {"smoke": (1,), "quick": (1, 3, 9)} | dict.fromkeys(_LARGE, LABELS)
# The paper's {5, 30, 100, 250} of 250 annotators, and as many of fewer annotators.
GROUPS = dict.fromkeys(("fast", "paper"), (5, 30, 100, 250)) | {"smoke": (1, 5, 20)}
GROUPS |= dict.fromkeys(("quick", "overnight"), (1, 6, 20, 50))


def figure4_data(scale: str) -> str:
    """The data set of a scale."""
    return "fashion_mnist" if scale == "overnight" else "cifar10"


def figure4_setting(scale: str) -> Setting:
    """How runs are trained at a scale: as in notebook 32, at ``quick`` on half as many items."""
    whole = setting(figure4_data(scale), scale)
    if scale != "quick":
        return whole
    return replace(whole, data=_part(4000, 1000, 4000), per_class=whole.per_class // 2)


def figure4_families(scale: str, seeds: Sequence[int]) -> dict[str, list[RunConfig]]:
    """The runs, by what is varied: ``labels`` an item or ``groups``; the base point belongs to both."""

    def some(names: Sequence[str], labels: int = BASE_LABELS, **options) -> list[RunConfig]:
        crowd = {"labels_per_item": labels} if labels != BASE_LABELS else {}
        about = {"data": {"crowd_options": crowd}, "options": options, "changed": figure4_setting(scale)}
        return image_runs(SIMULATED, figure4_data(scale), names, scale, seeds, FIGURE_4, **about)

    families: dict[str, list[RunConfig]] = {"labels": [], "groups": []}
    for labels in LABELS:
        control = [FIGURE_4_PAIR] if labels in PAIRED[scale] else []
        families["labels"] += some(("crowdlayer-mw", "ccc", *control), labels)
    for groups in GROUPS[scale]:
        families["groups"] += some(["ccc"], groups=groups)
    return families


def labels_per_item(config: dict) -> int:
    """How many labels an item has in a run, on average, from its config."""
    return config["dataset_options"]["crowd_options"].get("labels_per_item", BASE_LABELS)


def varied(rows: Iterable[dict | None], scale: str, seeds: Sequence[int]) -> list[dict]:
    """Rows of :func:`figure4_families` under what is varied: the case says ``labels=3`` or ``groups=30``, ``family`` and ``x``
    have the two parts. The base point comes twice; pairs have the names of the tables."""
    there = {row["key"]: row for row in rows if row is not None}
    found = []
    for family, configs in figure4_families(scale, seeds).items():
        for row in named(there.get(config.key()) for config in configs):
            config = row["config"]
            x = labels_per_item(config) if family == "labels" else config["method_options"]["groups"]
            found.append(row | {"config": config | {"case": f"{FIGURE_4} {family}={x}", "family": family, "x": x}})
    return found


# ---------------------------------------------------------------------- 35: CIFAR-10N

CIFAR10N = "cifar10n"
# The workers cannot be told apart (notebook 31): the same labels as if given by three annotators.
ANONYMOUS = "three annotators"
# As many annotators with as many labels each, but who gave which label is random.
DEALT = "names dealt at random"
FROM_PIXELS = "from pixels"


def cifar10n(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The paper's methods, the controls and true labels with the published workers; Crowd Layer and CCC without them; Crowd
    Layer with their names dealt at random. At ``overnight``, where these are trained on features, all with the workers from
    pixels too."""
    names = ("true-labels", *BASELINES, *PAIRS[scale], "ccc", *OWN_SETS[scale])
    configs = image_runs(CIFAR10N, CIFAR10N, names, scale, seeds)
    places = {"data": {"variant": "places"}, "options": {"groups": 3}}
    configs += image_runs(CIFAR10N, CIFAR10N, ("crowdlayer-mw", "ccc"), scale, seeds, ANONYMOUS, **places)
    configs += image_runs(CIFAR10N, CIFAR10N, ("crowdlayer-mw",), scale, seeds, DEALT, data={"variant": "dealt"})
    if scale == "overnight":
        configs += image_runs(CIFAR10N, CIFAR10N, names, scale, seeds, FROM_PIXELS, changed=PIXELS)
    return configs
