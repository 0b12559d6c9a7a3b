"""Notebook 41: the loss by which one network teaches the other, everything else equal.

One base method, two crowds. KD-Crowd keeps its default weights here, which are the same for all losses and were chosen by
nobody's score: a choice per loss would be a second difference between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols.kdcrowd_lift import base_runs, guided
from lib.runs.config import RunConfig

BASE = "crowdlayer-mw"
CROWDS = ("labelme", "correlated")  # the second on digits

LOSSES = {
    "MIG, KL": {},
    "MIG, Pearson": {"divergence": "pearson"},
    "MIG, JS": {"divergence": "js"},
    "KL distillation": {"distillation": "kl"},
    "cross-entropy": {"distillation": "ce"},
}
# The loss of one stage swapped, the other one's kept.
STAGES = {
    "KL in stage 1 only": {"student_distillation": "kl"},
    "KL in stage 2 only": {"final_distillation": "kl"},
}
LEARNERS = {"none": "no robust learner", "early-stopping": "early stopping", "co-teaching": "co-teaching"}
MAIN = ("MIG, KL", "KL distillation", "cross-entropy")
# LabelMe's runs are twice as long: below `paper` it leaves out what is not about the main comparison.
LEFT_OUT = {"labelme": {*(set(LOSSES) - set(MAIN)), *STAGES, "early stopping", "co-teaching"}}


def variants(crowd: str, scale: str) -> dict[str, dict]:
    """KD-Crowd's options by the name of the variant."""
    found = LOSSES | STAGES
    for learner, title in LEARNERS.items():
        for loss in ("MIG, KL", "KL distillation"):
            found |= {f"{loss}; {title}": LOSSES[loss] | {"robust": learner}}
    left_out = LEFT_OUT.get(crowd, set()) if scale != "paper" else set()
    return {name: options for name, options in found.items() if not left_out & {name, name.partition("; ")[2]}}


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """The base method alone, then every variant of KD-Crowd around it; the case names the variant."""
    configs = []
    for crowd in CROWDS:
        alone = base_runs(crowd, (BASE,), scale, seeds)
        configs += alone
        for name, options in variants(crowd, scale).items():
            configs += [replace(guided(config, **options), experiment="kdcrowd_loss", case=name) for config in alone]
    return configs
