"""Own labels on crowds whose truth is known: how many cleaned labels are said to be wrong, and how many are.

    python -m tests.benchmarks.own_data_real

It writes ``figures/benchmarks/own_data_real.csv``, a line per crowd and number of known classes (0 or 60, drawn at random): the
number of wrong labels, the range said, whether shared errors were detected, how many annotators have twenty labels or more, and
for how many of these the 95 % interval contains the share of right labels. The assumption of
:func:`lib.aggregation.shared_errors.allowance` was set on simulated crowds, but with these in view: they are no independent
test of it.
"""

import sys

import numpy as np
import pandas as pd

from lib import datasets, paths
from lib.aggregation import fusion, judging, shared_errors
from lib.crowd.labels import CrowdLabels
from lib.datasets import DataUnavailable
from lib.storage import write_atomically

CROWDS = {
    "labelme": {},
    "sentiment_polarity": {},
    "music": {},
    "cifar10n": {"n_train": 5000, "n_test": 100, "variant": "all"},
    "conll_ner": {},
    "fashion_mnist_machines": {},
    "mnist_machines": {},
}
ITEMS = 8000  # at most, drawn at random
KNOWN = 60
ENOUGH = 20  # labels of an annotator


def said_and_true(crowd: CrowdLabels, y: np.ndarray, n_known: int, seed: int = 0) -> dict:
    """Numbers of wrong labels among the items that have a label and whose class is not known."""
    labeled = crowd.labels_per_item > 0
    known = np.full(crowd.n_items, -1)
    given = np.random.default_rng(seed).permutation(np.flatnonzero(labeled))[:n_known]
    known[given] = y[given]
    found = fusion.estimate(crowd, known=known)
    rest = labeled & (known < 0)
    shares = shared_errors.allowance(crowd, found, known)
    line = {"items": int(rest.sum()), "known": n_known, "wrong": int((found.posterior.argmax(axis=1) != y)[rest].sum())}
    line |= dict(zip(["low", "middle", "high"], shared_errors.wrong_labels(found.posterior[rest], shares), strict=True))
    line["holds"] = line["low"] <= line["wrong"] <= line["high"]
    line["detected"] = shared_errors.detect(crowd).detected
    n = crowd.labels_per_annotator
    right = np.bincount(crowd.annotator, weights=crowd.label == y[crowd.item], minlength=crowd.n_annotators) / np.maximum(n, 1)
    ends = judging.accuracies(crowd, found, known, misled=(shares[0], shares[2]))[n >= ENOUGH]
    return line | {
        "intervals": len(ends),
        "intervals_hold": int(((ends[:, 1] <= right[n >= ENOUGH]) & (right[n >= ENOUGH] <= ends[:, 2])).sum()),
    }


def main() -> pd.DataFrame:
    """Run and write; returns the table. Crowds whose files are not here are left out."""
    lines = []
    for name, options in CROWDS.items():
        try:
            data = datasets.load(name, **options)
        except DataUnavailable:
            continue
        crowd, y = data.crowd, np.asarray(data.y)
        items = np.sort(np.random.default_rng(0).permutation(crowd.n_items)[:ITEMS])
        crowd, y = crowd.select_items(items), y[items]
        lines += [{"crowd": name} | said_and_true(crowd, y, n_known) for n_known in (0, KNOWN)]
    table = pd.DataFrame(lines)
    text = table.to_csv(index=False, float_format="%.1f", lineterminator="\n")
    write_atomically(paths.figures("benchmarks") / "own_data_real.csv", text)
    sys.stdout.write(table.to_string() + "\n")
    return table


if __name__ == "__main__":
    main()
