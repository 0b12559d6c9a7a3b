"""KD-Crowd (knowledge distillation around any crowd method): the runs of notebooks 40 to 42.

**With and without** (40): every base method alone and guided, on three real crowds and on two simulated ones. The runs
without KD-Crowd are those of :mod:`lib.protocols.real_crowds` and :func:`lib.protocols.overview.all_methods`, shared with the
notebooks 33, 90 and 91. KD-Crowd's two weights are chosen here by held-out labels, with seeds of their own and no true class:
what was chosen stands in :data:`TUNED`, and a test holds the two together.

**The loss** (41) by which one network teaches the other, everything else equal: KD-Crowd's weights too, which are its defaults,
chosen by nobody's score.

**Expertise** (42): what is learned about the annotators, against what their labels could tell anyone who knew the truth. The
simulated crowd of notebook 40 is here with fewer and with more labels an image.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lib.aggregation import held_out_labels
from lib.aggregation.confusion import confusion_error
from lib.datasets.kinds import CrowdDataset
from lib.protocols import keeping, overview, real_crowds, selection
from lib.runs.config import RunConfig

# ---------------------------------------------------------------------- 40: with and without

# One method a system; `paper` runs their variants too.
BASES = ("crowdlayer-mw", "trace-reg", "ccem", "geocrowdnet-f", "dl-em", "conal", "doctornet", "unionnet-b", "max-mig")
VARIANTS = ("crowdlayer-vw", "crowdlayer-vwb", "geocrowdnet-w", "weighted-doctornet", "unionnet-a")
# The sentiment data, whose runs are the longest, get fewer methods and seeds below `paper`.
FEW_BASES, FEW_SEEDS = ("crowdlayer-mw", "trace-reg", "dl-em"), 3
LIFT_CROWDS = ("labelme", "music", "sentiment_polarity", "independent", "correlated")  # the last two on digits

# The same epochs as KD-Crowd's three stages together.
STAGES, LONGER, LONGER_ON = 3, ("crowdlayer-mw", "dl-em"), ("labelme", "correlated")
LONG = "three times as long"
ROBUST, ROBUST_ON = "majority-vote-elr", ("labelme", "music", "correlated")

# Held-out labels choose to switch the robust learner off; here it is on, with the weight of its authors on CIFAR-10 (Liu et
# al., NeurIPS 2020).
ELR_ON, ELR_ON_WEIGHT, ELR_CASE = ROBUST_ON, 3.0, "robust learner on"

TUNED = {name: {"weight": 0.3, "elr_weight": 0.0} for name in ("labelme", "music", "sentiment_polarity", "digits")}
TUNING_BASE = "crowdlayer-mw"
TUNING_ON = {"labelme": (100, 101), "music": (100, 101), "sentiment_polarity": (100,), "correlated": (100, 101)}


def lift(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every base method alone and guided, the controls, then :func:`weight_tuning`."""
    configs = []
    for crowd in LIFT_CROWDS:
        fewer = crowd == "sentiment_polarity" and scale != "paper"
        alone = base_runs(crowd, _bases(crowd, scale), scale, seeds[:FEW_SEEDS] if fewer else seeds)
        configs += alone + [_tuned(config) for config in alone]
    for crowd in LONGER_ON:
        for config in base_runs(crowd, LONGER, scale, seeds):
            recipe = replace(config.recipe, epochs=STAGES * config.recipe.epochs)
            configs.append(replace(config, recipe=recipe, case=f"{config.case}, {LONG}"))
    for crowd in ROBUST_ON:
        configs += base_runs(crowd, (ROBUST,), scale, seeds)
    for crowd in ELR_ON:
        for config in base_runs(crowd, FEW_BASES, scale, seeds):
            on = _tuned(config, elr_weight=ELR_ON_WEIGHT)
            configs.append(replace(on, case=f"{config.case}, {ELR_CASE}"))
    return configs + weight_tuning(scale)


def base_runs(crowd: str, methods: Iterable[str], scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Methods without KD-Crowd on a data set of :mod:`lib.protocols.real_crowds`, or on one of the digits' simulated crowds,
    ``independent`` or ``correlated``."""
    runs = overview.on_digits if crowd in overview.CROWDS else real_crowds.runs
    return runs(crowd, methods, scale, seeds)


def guided(config: RunConfig, **options) -> RunConfig:
    """A run with KD-Crowd around its method; ``options`` are KD-Crowd's."""
    base = {"base": config.method} | ({"base_options": config.method_options} if config.method_options else {})
    return replace(config, method="kd-crowd", method_options=base | options)


def _tuned(config: RunConfig, **options) -> RunConfig:
    return guided(config, **TUNED[config.dataset] | options)


def weight_tuning(scale: str) -> list[RunConfig]:
    """One base method on each crowd, with a choice of both weights by held-out labels."""
    return [
        replace(guided(config, weight=None, elr_weight=None), experiment="tuning_kd")
        for crowd, seeds in TUNING_ON.items()
        for config in base_runs(crowd, (TUNING_BASE,), scale, seeds if scale != "smoke" else seeds[:1])
    ]


def weight_scores(rows: Sequence[dict]) -> dict[tuple[str, str], dict[float, float]]:
    """By (data set, ``weight`` or ``elr_weight``): the mean log-probability of the held-out labels with each weight, in nats,
    in rows of :func:`weight_tuning`."""
    prefixes = {"weight": "final_held_out_", "elr_weight": "student_held_out_elr_"}
    return selection.scores(
        ((row["config"]["dataset"], option), float(name.removeprefix(prefix)), score)
        for row in rows
        for option, prefix in prefixes.items()
        for name, score in row["metrics"].items()
        if name.startswith(prefix)
    )


def weights(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """The weights that explain the held-out labels best, by data set; the smallest of equals. As :data:`TUNED`."""
    best: dict[str, dict[str, float]] = {}
    for (dataset, option), scores in weight_scores(rows).items():
        best.setdefault(dataset, {})[option] = selection.best(scores)
    return best


def with_kd(base: str) -> str:
    """The name of a base method under KD-Crowd in tables."""
    return f"{base}+kd"


def longer(base: str) -> str:
    """The name of a base method that is trained as long as KD-Crowd's stages together."""
    return f"{base}+longer"


def robust(base: str) -> str:
    """The name of a base method under KD-Crowd whose robust learner is on."""
    return f"{base}+kd+elr"


def named(rows: Iterable[dict | None]) -> list[dict]:
    """Rows under the names of the tables: KD-Crowd, and longer training, are methods of their own, named after the base."""
    return [row | {"config": row["config"] | _name(row["config"])} for row in rows if row is not None]


def _name(config: dict) -> dict[str, str]:
    if config["case"].endswith(LONG):
        return {"method": longer(config["method"]), "case": config["case"].removesuffix(LONG).removesuffix(", ") or "real"}
    if config["case"].endswith(ELR_CASE):
        return {"method": robust(config["method_options"]["base"]), "case": config["case"].removesuffix(f", {ELR_CASE}")}
    # The default base is left out of the options by nobody here, so that a row says what it is.
    return {"method": with_kd(config["method_options"]["base"])} if config["method"] == "kd-crowd" else {}


def _bases(crowd: str, scale: str) -> tuple[str, ...]:
    if scale == "paper":
        return (*BASES, *VARIANTS)
    if scale == "smoke" and crowd != "correlated":  # every method once, and every data set
        return FEW_BASES[:1]
    return FEW_BASES if crowd == "sentiment_polarity" else BASES


# ---------------------------------------------------------------------- 41: the loss

LOSS_BASE = "crowdlayer-mw"
LOSS_CROWDS = ("labelme", "correlated")  # the second on digits

LOSSES = {
    "MIG, KL": {},
    "MIG, Pearson": {"divergence": "pearson"},
    "MIG, JS": {"divergence": "js"},
    "KL distillation": {"distillation": "kl"},
    "cross-entropy": {"distillation": "ce"},
}
# The loss of one stage swapped, the other one's kept.
STAGE_LOSSES = {"KL in stage 1 only": {"student_distillation": "kl"}, "KL in stage 2 only": {"final_distillation": "kl"}}
LEARNERS = {"none": "no robust learner", "early-stopping": "early stopping", "co-teaching": "co-teaching"}
MAIN = ("MIG, KL", "KL distillation", "cross-entropy")
# LabelMe's runs are twice as long: below `paper` it leaves out what is not about the main comparison.
LEFT_OUT = {"labelme": {*(set(LOSSES) - set(MAIN)), *STAGE_LOSSES, "early stopping", "co-teaching"}}


def variants(crowd: str, scale: str) -> dict[str, dict]:
    """KD-Crowd's options by the name of the variant."""
    named = LOSSES | STAGE_LOSSES
    for learner, title in LEARNERS.items():
        for loss in ("MIG, KL", "KL distillation"):
            named |= {f"{loss}; {title}": LOSSES[loss] | {"robust": learner}}
    left_out = LEFT_OUT.get(crowd, set()) if scale != "paper" else set()
    return {name: options for name, options in named.items() if not left_out & {name, name.partition("; ")[2]}}


def distillation_losses(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The base method alone, then every variant of KD-Crowd around it; the case names the variant."""
    configs = []
    for crowd in LOSS_CROWDS:
        alone = base_runs(crowd, (LOSS_BASE,), scale, seeds)
        configs += alone
        for name, options in variants(crowd, scale).items():
            configs += [replace(guided(config, **options), experiment="kdcrowd_loss", case=name) for config in alone]
    return configs


# ---------------------------------------------------------------------- 42: expertise

CROWD = "independent"  # confusion matrices are known, and are all there is to know
EXPERTISE_CROWDS = ("independent", "correlated", "labelme", "music")
MATRICES = ("trace-reg", "ccem", "geocrowdnet-f", "dl-em", "max-mig")  # they estimate probabilities
FEWER = ("trace-reg", "dl-em")
USUAL = 3.0
SIZES = (1.0, 2.0, 5.0)  # an image; `USUAL` besides, from notebook 40
# Stage 2 without guidance: what is due to the matrices that it starts at alone.
STARTED, STARTED_ON, STARTED_BASES = "started, not guided", ("labelme", "independent"), ("trace-reg", "ccem")


def expertise(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Methods with matrices, alone and guided: all on the usual crowds, some with other numbers of labels. :func:`drawn` keep
    theirs."""
    configs = []
    for crowd in EXPERTISE_CROWDS:
        bases = MATRICES if scale != "smoke" or crowd == CROWD else FEWER
        alone = base_runs(crowd, bases, scale, seeds)
        configs += alone + [_tuned(config) for config in alone]
    pair = drawn(scale, seeds[0])
    configs = keeping(configs, ("confusion",), lambda config: config in pair)
    # Methods that start at the matrices which the student's predictions imply, and are left alone from there.
    for crowd in STARTED_ON:
        for config in base_runs(crowd, STARTED_BASES, scale, seeds):
            started = _tuned(config, weight=0.0, warm_confusion=True)
            configs.append(replace(started, experiment="kdcrowd_start", case=STARTED))
    for labels in SIZES:
        for config in base_runs(CROWD, FEWER if scale != "paper" else MATRICES, scale, seeds):
            options = config.dataset_options | {"labels_per_item": labels}
            alone = replace(config, experiment="kdcrowd_sizes", dataset_options=options, case=f"{labels:g} labels an image")
            configs += [alone, _tuned(alone)]
    return configs


def drawn(scale: str, seed: int) -> tuple[RunConfig, RunConfig]:
    """The method whose annotators are drawn, alone and guided."""
    (alone,) = base_runs(CROWD, MATRICES[:1], scale, [seed])
    return alone, _tuned(alone)


def labels_an_item(config: dict) -> float:
    """How many labels an image has on average, from a row's config."""
    return float(config["dataset_options"].get("labels_per_item", USUAL))


def floor(data: CrowdDataset) -> float:
    """Error of the matrices that somebody who knew every true class would count from these labels: the least to ask for.

    A few labels say little about a row even then: counting draws it toward the whole crowd's, as stage 2 of KD-Crowd does. The
    error is :func:`lib.aggregation.confusion.confusion_error`, 0 to 2.

    Raises:
        ValueError: the annotators' true matrices are not known.
    """
    if data.true_confusion is None or data.y is None:
        raise ValueError("a floor needs the true classes and the true confusion matrices, which real data do not have")
    truth = np.eye(data.n_classes)[data.y.numpy()]
    return confusion_error(held_out_labels.fit_confusion(truth, data.crowd, rounds=0), data.true_confusion)
