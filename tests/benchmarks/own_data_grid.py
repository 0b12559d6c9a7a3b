"""Own labels on a grid of simulated crowds: how often each method is right, beside the vote and peer libraries.

    python -m tests.benchmarks.own_data_grid                        72 cells, some minutes
    python -m tests.benchmarks.own_data_grid --cleanlab PYTHON      also cleanlab, from an environment that has it
    python -m tests.benchmarks.own_data_grid --cells 6              a part

A cell is a crowd with a number of labels per item, classes and annotators; balanced or imbalanced classes; a classifier from
chance to 95 %; and errors that are independent, or shared: one item in six is hard, and three in five of its labels are the
same wrong class. All levels of all six are drawn equally often. It writes ``figures/benchmarks/own_data_grid.csv`` and
``.png``: shares of right labels (a tied vote counts in proportion), and how many 95 % intervals contain the true accuracy.

cleanlab gets the same predictions of the classifier as we do; it refuses crowds with one label per item. The other peers do
not use a classifier, and neither does the column ``labels_alone``.

With independent errors and a classifier we are within a point of the best method in every cell; from labels alone, in all but
one of 36. With shared errors we are up to eleven points below it, where two or three annotators share errors that a classifier
of 95 % does not make: it gets too little weight, since annotators who confirm each other look better than they are. Labels
seldom reveal this (the test of ``lib.aggregation.shared_errors`` does in six of 26 cells), only known classes always do.
Weighing labels less in all cells, by that module's allowance, gains up to five points with shared errors and loses up to four
with independent ones; so only intervals, confidences and the number of wrong labels make use of it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from lib.aggregation import fusion, judging, shared_errors
from lib.aggregation.glad import glad
from lib.crowd.labels import CrowdLabels
from lib.plotting import style
from lib.plotting.style import GRAY, color, in_style

LEVELS = {
    "per_item": (1.0, 1.2, 2.0, 3.0, 5.0),
    "classes": (2, 5, 10, 100),
    "annotators": (3, 10, 30, 300),
    "imbalance": (False, True),
    "classifier": (0.0, 0.5, 0.8, 0.95),  # 0: at chance
    "errors": ("independent", "shared"),
}
ITEMS = 400
HARD, PULL = 1 / 6, 0.6  # share of hard items, and of their labels that are the same wrong class
METHODS = {
    "labels_alone": "ours, labels alone",
    "with_classifier": "ours, with classifier",
    "dawid_skene": "crowd-kit Dawid-Skene",
    "one_coin": "crowd-kit one coin",
    "glad": "GLAD",
    "cleanlab": "cleanlab",
}

ALT = (
    "For each method a dot per simulated crowd: how many points more of its labels are right than of the majority vote's. Ours "
    "are never more than a point below the vote; crowd-kit's Dawid-Skene often is, by up to seventy points."
)

CLEANLAB = """
import sys, warnings
import numpy as np, pandas as pd
warnings.filterwarnings("ignore")
from cleanlab.multiannotator import get_label_quality_multiannotator
for name in sys.argv[1:]:
    cell = np.load(name)
    dense = np.full((len(cell["prob"]), int(cell["annotators"])), np.nan)
    dense[cell["item"], cell["annotator"]] = cell["label"]
    dense = pd.DataFrame(dense).dropna(axis=1, how="all").astype("Int64")
    try:
        found = get_label_quality_multiannotator(dense, cell["prob"], verbose=False)["label_quality"]["consensus_label"]
        np.save(name + ".npy", found.to_numpy().astype(int))
    except Exception as error:
        print(name, error, file=sys.stderr)
"""


def cells(number: int, seed: int = 0) -> pd.DataFrame:
    """So many crowds, one line each: every level of every column equally often, in random combinations."""
    rng = np.random.default_rng(seed)
    table = {name: rng.permutation(np.resize(np.array(levels, dtype=object), number)) for name, levels in LEVELS.items()}
    frame = pd.DataFrame(table)
    frame["per_item"] = [min(per, float(people)) for per, people in zip(frame["per_item"], frame["annotators"], strict=True)]
    return frame.assign(cell=np.arange(number))


def crowd_of(cell: pd.Series, seed: int = 0) -> tuple[CrowdLabels, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, truth ``[items]``, the classifier's probabilities, and each annotator's probability of being right."""
    rng = np.random.default_rng([seed, int(cell["cell"])])
    n_classes, people = int(cell["classes"]), int(cell["annotators"])
    shares = 0.9 ** np.arange(n_classes) if n_classes > 10 else 0.5 ** np.arange(n_classes)
    y = rng.choice(n_classes, ITEMS, p=shares / shares.sum() if cell["imbalance"] else None)
    n_labels = np.floor(cell["per_item"] + rng.random(ITEMS)).astype(int)
    order = np.argsort(rng.random((ITEMS, people)) / rng.gamma(2, 1, people), axis=1)  # some do most of the work
    chosen = np.arange(people) < n_labels[:, None]
    item, who = np.nonzero(chosen)[0], order[chosen]
    accuracy = 1 / n_classes + (1 - 1 / n_classes) * rng.beta(3, 1.2, people)

    def other(true):
        return (true + rng.integers(1, n_classes, len(true))) % n_classes

    label = np.where(rng.random(len(item)) < accuracy[who], y[item], other(y[item]))
    pulled, wrong = np.zeros(ITEMS, dtype=bool), other(y)
    if cell["errors"] == "shared":
        pulled = rng.random(ITEMS) < HARD
        label = np.where(pulled[item] & (rng.random(len(item)) < PULL), wrong[item], label)
        accuracy = accuracy * (1 - HARD * PULL)
    crowd = CrowdLabels(item, who, label, ITEMS, people, n_classes)
    right = max(float(cell["classifier"]), 1 / n_classes)
    sure = rng.beta(4, 2, ITEMS)  # how sure it is, and rightly so on the whole
    hit = rng.random(ITEMS) < np.clip(right + (sure - sure.mean()) * min(right, 1 - right) * 2, 0, 1)
    said = np.where(hit, y, np.where(pulled, wrong, other(y)))
    prob = np.full((ITEMS, n_classes), 0.0) + ((1 - sure) / n_classes)[:, None]
    prob[np.arange(ITEMS), said] += sure
    return crowd, y, prob, accuracy


def vote_accuracy(crowd: CrowdLabels, y: np.ndarray) -> float:
    """Share of right votes; of tied ones, the share that the true class has among the tied."""
    top = crowd.counts == crowd.counts.max(axis=1, keepdims=True)
    return float((top[np.arange(len(y)), y] / top.sum(axis=1)).mean())


def ours(cell: pd.Series) -> dict:
    """Shares of right labels in percent, and of intervals that hold the truth, in one cell: the vote, and ours."""
    crowd, y, prob, accuracy = crowd_of(cell)
    started = time.process_time()
    found = fusion.estimate(crowd, prob)
    seconds = time.process_time() - started
    line = dict(cell) | {"vote": 100 * vote_accuracy(crowd, y), "classifier_right": 100 * (prob.argmax(axis=1) == y).mean()}
    line |= {"model": found.model, "converged": found.converged, "told_apart": found.told_apart, "seconds": seconds}
    line["labels_alone"] = 100 * (found.people.argmax(axis=1) == y).mean()
    line["with_classifier"] = 100 * (found.posterior.argmax(axis=1) == y).mean()
    known, said = np.full(ITEMS, -1), prob.argmax(axis=1)
    shares = shared_errors.allowance(crowd, found, known)
    line["detected"] = shared_errors.detect(crowd, said).detected
    line["wrong"] = int((found.posterior.argmax(axis=1) != y).sum())
    range_ = shared_errors.wrong_labels(found.posterior, shares)
    line |= dict(zip(["wrong_low", "wrong_middle", "wrong_high"], range_, strict=True))
    ends = judging.accuracies(crowd, found, said=said, misled=(shares[0], shares[2]))
    judged = np.flatnonzero(np.isfinite(ends[:-1, 0]))
    line["intervals"] = len(judged)
    line["intervals_hold"] = int(((ends[judged, 1] <= accuracy[judged]) & (accuracy[judged] <= ends[judged, 2])).sum())
    right = (said == y).mean()
    line["classifier_held"] = float(ends[-1, 1] <= right <= ends[-1, 2]) if found.told_apart else np.nan
    return line


def peers(cell: pd.Series) -> dict:
    """Shares of right labels in percent in one cell: the others, without cleanlab."""
    from crowdkit.aggregation import DawidSkene, OneCoinDawidSkene

    crowd, y, _, _ = crowd_of(cell)
    line = {}
    frame = pd.DataFrame({"task": crowd.item, "worker": crowd.annotator, "label": crowd.label})
    models = {"dawid_skene": DawidSkene(n_iter=50), "one_coin": OneCoinDawidSkene(n_iter=50)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in models.items():
            line[name] = 100 * (model.fit_predict(frame).reindex(range(ITEMS)).to_numpy() == y).mean()
    # Our own GLAD, which is tested against crowd-kit's: that one takes longer than all others together.
    line["glad"] = 100 * (glad(crowd).posterior.argmax(axis=1) == y).mean()
    return line


def with_cleanlab(table: pd.DataFrame, python: str) -> pd.DataFrame:
    """The column ``cleanlab``, made by another environment's Python; NaN where it refuses."""
    values = np.full(len(table), np.nan)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, (_, cell) in enumerate(table.iterrows()):
            crowd, _, prob, _ = crowd_of(cell)
            files.append(str(Path(folder, f"{number}.npz")))
            arrays = {"item": crowd.item, "annotator": crowd.annotator, "label": crowd.label, "annotators": crowd.n_annotators}
            np.savez(files[-1], prob=prob, **arrays)
        subprocess.run([python, "-c", CLEANLAB, *files], check=True, stderr=subprocess.DEVNULL)
        for number, (_, cell) in enumerate(table.iterrows()):
            if Path(f"{files[number]}.npy").is_file():
                values[number] = 100 * (np.load(f"{files[number]}.npy") == crowd_of(cell)[1]).mean()
    return table.assign(cleanlab=values)


def _present(table: pd.DataFrame) -> list[str]:
    return [name for name in METHODS if name in table and table[name].notna().any()]


def draw(table: pd.DataFrame) -> plt.Figure:
    """Points above the vote, a dot a cell, for each method; independent and shared errors side by side."""
    present, rng = _present(table), np.random.default_rng(0)
    with in_style():
        fig, axes = plt.subplots(1, 2, figsize=(11, 1 + 0.6 * len(present)), sharey=True)
        for axis, errors in zip(axes, LEVELS["errors"], strict=True):
            part = table[table["errors"] == errors]
            for level, name in enumerate(present):
                gain = (part[name] - part["vote"]).to_numpy(dtype=float)
                shade = color("dl-em") if level < 2 else color("crowdlayer-mw")
                axis.plot(gain, level + rng.uniform(-0.25, 0.25, len(gain)), "o", ms=4, alpha=0.6, color=shade)
                below = int((gain < -1).sum())
                place = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right", "color": GRAY, "fontsize": 12}
                axis.annotate(f"{below} below", (0.99, level), **place)  # right of all dots
            axis.axvline(-1, color=GRAY, ls="--", lw=1)
            axis.set(title=f"{errors} errors", xlabel="right labels, minus those of the vote (points)")
            axis.set_yticks(range(len(present)), [METHODS[name] for name in present])
            axis.set_xlim(-75, 65)
            axis.grid(axis="y", visible=False)
        axes[0].set_ylabel("method")
        axes[0].invert_yaxis()
    return fig


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Run and write; returns the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=72)
    parser.add_argument("--cleanlab", default="", metavar="PYTHON", help="of an environment that has cleanlab")
    given = parser.parse_args(arguments)
    lines = []
    for _, cell in cells(given.cells).iterrows():
        lines.append(ours(cell) | peers(cell))
        print(f"\r{len(lines)} of {given.cells} cells", end="", file=sys.stderr, flush=True)
    table = pd.DataFrame(lines)
    if given.cleanlab:
        table = with_cleanlab(table, given.cleanlab)
    style.save(draw(table), "benchmarks", "own_data_grid", table.round(3), ALT)
    print("\n" + summary(table))
    return table


def summary(table: pd.DataFrame) -> str:
    """How often each method is more than a point below the vote, and below the best of all."""
    present = _present(table)
    best = table[[*present, "vote"]].astype(float).max(axis=1)
    words = []
    for name in present:
        values = table[name].astype(float)
        gain, rest = (values - table["vote"]).dropna(), (values - best).dropna()
        words.append(
            f"{METHODS[name]:24s} {gain.mean():6.2f} points above the vote; more than a point below it in "
            f"{(gain < -1).sum()} of {len(gain)} cells (worst {gain.min():.1f}); within a point of the best in "
            f"{(rest >= -1).sum()}"
        )
    for name in LEVELS["errors"]:
        part = table[table["errors"] == name]
        share = part["intervals_hold"].sum() / max(part["intervals"].sum(), 1)
        own = 100 * part["classifier_held"].mean()
        words.append(f"95 % intervals, {name} errors: {100 * share:.1f} % hold; the classifier's in {own:.0f} % of the cells")
        told = part[part["told_apart"]]
        held = 100 * ((told["wrong_low"] <= told["wrong"]) & (told["wrong"] <= told["wrong_high"])).mean()
        words.append(f"number of wrong labels in the range said: in {held:.0f} % of the cells")
    return "\n".join(words)


if __name__ == "__main__":
    main()
