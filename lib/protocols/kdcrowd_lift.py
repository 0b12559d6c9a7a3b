"""Notebook 40: every base method with and without KD-Crowd, on three real crowds and on two simulated ones.

The runs without KD-Crowd are those of ``real.py`` and ``all_methods_embedded.py``, so they are shared with the notebooks
33, 90 and 91. KD-Crowd's two weights are chosen here by held-out labels, with seeds of their own and no true class: what was
chosen stands in :data:`TUNED`, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lib.protocols import all_methods_embedded, real_crowds
from lib.runs.config import RunConfig

# One method a system; `paper` runs their variants too.
BASES = ("crowdlayer-mw", "trace-reg", "ccem", "geocrowdnet-f", "dl-em", "conal", "doctornet", "unionnet-b", "max-mig")
VARIANTS = ("crowdlayer-vw", "crowdlayer-vwb", "geocrowdnet-w", "weighted-doctornet", "unionnet-a")
# The sentiment data, whose runs are the longest, get fewer methods and seeds below `paper`.
FEW_BASES, FEW_SEEDS = ("crowdlayer-mw", "trace-reg", "dl-em"), 3
CROWDS = ("labelme", "music", "sentiment_polarity", "independent", "correlated")  # the last two on digits

# The same epochs as KD-Crowd's three stages together.
STAGES, LONGER, LONGER_ON = 3, ("crowdlayer-mw", "dl-em"), ("labelme", "correlated")
LONG = "three times as long"
ROBUST, ROBUST_ON = "majority-vote-elr", ("labelme", "music", "correlated")

TUNED = {
    "labelme": {"weight": 0.3, "elr_weight": 0.0},
    "music": {"weight": 0.3, "elr_weight": 0.0},
    "sentiment_polarity": {"weight": 0.3, "elr_weight": 0.0},
    "digits": {"weight": 0.3, "elr_weight": 0.0},
}
TUNING_BASE = "crowdlayer-mw"
TUNING_ON = {"labelme": (100, 101), "music": (100, 101), "sentiment_polarity": (100,), "correlated": (100, 101)}


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every base method alone and guided, the controls, then :func:`tuning_grid`."""
    configs = []
    for crowd in CROWDS:
        alone = base_runs(crowd, _bases(crowd, scale), scale, _seeds(crowd, scale, seeds))
        configs += alone + [guided(config, **TUNED[config.dataset]) for config in alone]
    for crowd in LONGER_ON:
        configs += [_longer(config) for config in base_runs(crowd, LONGER, scale, seeds)]
    for crowd in ROBUST_ON:
        configs += base_runs(crowd, (ROBUST,), scale, seeds)
    return configs + tuning_grid(scale)


def base_runs(crowd: str, methods: Iterable[str], scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Methods without KD-Crowd.

    Args:
        crowd: a data set of ``real.py``, or one of the digits' simulated crowds, ``independent`` or ``correlated``.
        methods: to run.
        scale, seeds: as of :func:`grid`.
    """
    methods = tuple(methods)
    if crowd not in all_methods_embedded.CROWDS:
        return real_crowds.runs(crowd, methods, scale, seeds)
    configs = all_methods_embedded.grid(scale, seeds)
    return [config for name in methods for config in configs if (config.case, config.method) == (crowd, name)]


def guided(config: RunConfig, **options) -> RunConfig:
    """A run with KD-Crowd around its method; ``options`` are KD-Crowd's."""
    base = {"base": config.method} | ({"base_options": config.method_options} if config.method_options else {})
    return replace(config, method="kd-crowd", method_options=base | options)


def tuning_grid(scale: str) -> list[RunConfig]:
    """One base method on each crowd, with a choice of both weights by held-out labels."""
    return [
        replace(guided(config, weight=None, elr_weight=None), experiment="tuning_kd")
        for crowd, seeds in TUNING_ON.items()
        for config in base_runs(crowd, (TUNING_BASE,), scale, seeds if scale != "smoke" else seeds[:1])
    ]


def tuned(rows: Sequence[dict]) -> dict[tuple[str, str], dict[float, float]]:
    """By (data set, ``weight`` or ``elr_weight``): the mean log-probability of the held-out labels with each weight, in nats.

    Args:
        rows: ledger rows of :func:`tuning_grid`.
    """
    found: dict[tuple[str, str], dict[float, list[float]]] = {}
    for row in rows:
        for option, prefix in (("weight", "final_held_out_"), ("elr_weight", "student_held_out_elr_")):
            scores = found.setdefault((row["config"]["dataset"], option), {})
            for name, score in row["metrics"].items():
                if name.startswith(prefix):
                    scores.setdefault(float(name.removeprefix(prefix)), []).append(score)
    return {
        place: {weight: round(sum(values) / len(values), 6) for weight, values in sorted(scores.items())}
        for place, scores in found.items()
    }


def chosen(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """The weights that explain the held-out labels best, by data set; the smallest of equals. As :data:`TUNED`."""
    best: dict[str, dict[str, float]] = {}
    for (dataset, option), scores in tuned(rows).items():
        best.setdefault(dataset, {})[option] = max(scores, key=scores.get)
    return best


def with_kd(base: str) -> str:
    """The name of a base method under KD-Crowd in tables."""
    return f"{base}+kd"


def longer(base: str) -> str:
    """The name of a base method that is trained as long as KD-Crowd's stages together."""
    return f"{base}+longer"


def named(rows: Iterable[dict | None]) -> list[dict]:
    """Rows under the names of the tables: KD-Crowd, and longer training, are methods of their own, named after the base."""
    return [row | {"config": row["config"] | _name(row["config"])} for row in rows if row is not None]


def _name(config: dict) -> dict[str, str]:
    if config["case"].endswith(LONG):
        return {"method": longer(config["method"]), "case": config["case"].removesuffix(LONG).removesuffix(", ") or "real"}
    # The default base is left out of the options by nobody here, so that a row says what it is.
    return {"method": with_kd(config["method_options"]["base"])} if config["method"] == "kd-crowd" else {}


def _longer(config: RunConfig) -> RunConfig:
    recipe = replace(config.recipe, epochs=STAGES * config.recipe.epochs)
    return replace(config, recipe=recipe, case=f"{config.case}, {LONG}")


def _bases(crowd: str, scale: str) -> tuple[str, ...]:
    if scale == "paper":
        return (*BASES, *VARIANTS)
    if scale == "smoke" and crowd != "correlated":  # every method once, and every data set
        return FEW_BASES[:1]
    return FEW_BASES if crowd == "sentiment_polarity" else BASES


def _seeds(crowd: str, scale: str, seeds: Sequence[int]) -> Sequence[int]:
    return seeds[:FEW_SEEDS] if crowd == "sentiment_polarity" and scale != "paper" else seeds
