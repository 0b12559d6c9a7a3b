"""The one choice of hyper-parameters for the real crowds, on validation data; test accuracy plays no part.

The weights of the penalties come from the papers' lists. LabelMe has a validation split; of Music and the sentiment data a
fifth of the training items is set aside. Each weight is judged by the validation accuracy of the *last* epoch, so that no
epoch is chosen along with it, averaged over seeds. What was chosen stands in ``real.py``, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.protocols import real_crowds
from lib.runs.config import RunConfig

# Ibrahim et al.'s scripts: 0.2 and 0.1 on LabelMe, 1e-2 to 1e-4 elsewhere. Tanno et al.: 0.01 in the later ports.
WEIGHTS = {
    "geocrowdnet-f": (0.1, 0.01, 0.001, 0.0001),
    "geocrowdnet-w": (0.1, 0.01, 0.001, 0.0001),
    "trace-reg": (0.1, 0.01, 0.001),
}


def grid(scale: str, seeds: Sequence[int]) -> list[RunConfig]:
    """Every weight on every real data set; the case names the weight."""
    configs = []
    for dataset in real_crowds.SETTINGS:
        split = {} if dataset == "labelme" else {"validation": 0.2}
        for method, weights in WEIGHTS.items():
            for config in real_crowds.runs(dataset, [method], scale, seeds):
                configs += [
                    replace(
                        config,
                        experiment="tuning",
                        dataset_options=split,
                        method_options={"weight": weight},
                        case=f"weight {weight:g}",
                    )
                    for weight in weights
                ]
    return configs


def chosen(rows: Sequence[dict]) -> dict[tuple[str, str], float]:
    """The weight with the best mean validation accuracy, by (data set, method); the smaller one of equals.

    Args:
        rows: ledger rows of :func:`grid`.
    """
    scores: dict[tuple[str, str], dict[float, list[float]]] = {}
    for row in rows:
        config = row["config"]
        by_weight = scores.setdefault((config["dataset"], config["method"]), {})
        by_weight.setdefault(config["method_options"]["weight"], []).append(row["history"]["valid_acc"][-1])
    return {
        key: max(sorted(by_weight), key=lambda weight: round(sum(by_weight[weight]) / len(by_weight[weight]), 6))
        for key, by_weight in scores.items()
    }
