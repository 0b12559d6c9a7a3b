"""Two steps of every method on a fixed toy problem, beside the numbers of the committed revision.

A run's key holds its method's revision but cannot see its code. So where numbers move without a new revision, old ledger
rows would be taken for new ones; this test fails then. When a change is meant: raise the method's ``revision``, and

    python tests/methods/test_golden.py
"""

import functools
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib import methods
from lib.crowd.labels import CrowdLabels, CrowdRatings
from lib.datasets.kinds import CrowdDataset, RatingDataset
from lib.networks.predict import predict
from lib.runs import ledger
from lib.storage import write_atomically
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.worked_example import make

GOLDEN = Path(__file__).parent / "golden.json"
HOW = "python tests/methods/test_golden.py"
TOLERANCE = 1e-4  # versions of torch and processors differ in the last digits
# What would not come into play in two steps otherwise.
OPTIONS = {"ccc": {"warmup": 1, "groups": 2, "per_class": 4}}


@dataclass(frozen=True)
class Numbers:
    """What two steps leave: the losses before each, and the prediction for the first item after both (a classifier's class
    probabilities)."""

    revision: int
    losses: list[float]
    prob: list[float]


def problem() -> CrowdDataset:
    """Twelve items of three classes, four annotators; made without random numbers."""
    item = np.arange(12)
    y = item % 3
    x = torch.from_numpy(np.sin(1 + np.outer(y + 1, np.arange(5)) + 0.3 * np.outer(item, np.ones(5)))).float()
    labels = np.stack([y, np.where(item % 4 == 0, (y + 1) % 3, y), (y + item // 6) % 3, np.full(12, 2)], axis=1)
    labels[(item[:, None] + np.arange(4)) % 3 == 0] = -1
    truth = torch.from_numpy(y)
    crowd = CrowdLabels.from_dense(labels, n_classes=3)
    return CrowdDataset("golden", "Golden", x, crowd, truth, x, truth, class_names=("a", "b", "c"))


def rated() -> RatingDataset:
    """The same items, with numbers for classes."""
    data = problem()
    crowd = data.crowd
    value = crowd.label + 0.3 * np.cos(crowd.item) + np.array([0.0, 0.2, -0.4, 0.1])[crowd.annotator]
    ratings = CrowdRatings(crowd.item, crowd.annotator, value, crowd.n_items, crowd.n_annotators)
    return RatingDataset("golden", "Golden", data.x, ratings, data.y.float(), data.x, data.y.float())


def measure(name: str) -> Numbers:
    """Two epochs of one step each, so that what a method does between epochs counts."""
    data = {"classification": problem, "regression": rated}[methods.info(name).task]()
    # Without dropout, whose random numbers depend on the processor.
    method = make(name, data, sizes={"width": 8, "dropout": 0.0}, **OPTIONS.get(name, {}))
    history = fit(method, data, Recipe(epochs=2, batch_size=12, lr=0.05), seed=0).history
    prediction = predict(method.predict, data.x[:1], method)
    return Numbers(methods.info(name).revision, history["loss"], prediction.flatten().tolist())


def committed() -> dict[str, Numbers]:
    """The stored numbers, by method."""
    stored = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
    return {name: Numbers(**numbers) for name, numbers in stored.items()}


@functools.cache
def with_rows() -> set[str]:
    """Methods that the committed ledger has rows of."""
    return {row["config"]["method"] for row in ledger.reference_rows()}


def complaint(name: str, old: Numbers | None, new: Numbers) -> str | None:
    """What is wrong with a method's numbers, and what to do."""
    if old is None:
        return f"{name} has no golden numbers yet: run `{HOW}`"
    if new.revision < old.revision:
        return f"{name} has revision {new.revision}, but {old.revision} was committed: a revision never goes back"
    if new.revision > old.revision:
        return f"{name} has revision {new.revision}, the golden numbers are of {old.revision}: run `{HOW}`"
    if np.allclose(new.losses + new.prob, old.losses + old.prob, rtol=TOLERANCE, atol=0):
        return None
    return (
        f"{name} computes other numbers than before: {new.losses}, {new.prob}, committed are {old.losses}, {old.prob}. "
        f"If that is meant, raise its revision from {old.revision} where it is registered, then run `{HOW}`"
    )


@pytest.mark.parametrize("name", methods.names())
def test_numbers_move_only_with_the_revision(name):
    if name not in committed() and name not in with_rows():
        pytest.skip(f"{name} has neither rows nor golden numbers yet: run `{HOW}` before its rows are committed")
    problem = complaint(name, committed().get(name), measure(name))
    assert problem is None, problem


def test_every_way_to_be_wrong_is_told():
    assert set(committed()) <= set(methods.names())
    old = Numbers(2, [1.0, 0.5], [0.2, 0.8])
    assert complaint("m", old, Numbers(2, [1.0, 0.50001], [0.2, 0.8])) is None
    for moved in (Numbers(2, [1.0, 0.501], [0.2, 0.8]), Numbers(2, [1.0, 0.5], [0.201, 0.799])):
        assert "raise its revision from 2" in complaint("m", old, moved)
    assert "run `python tests/methods/test_golden.py`" in complaint("m", old, Numbers(3, [1.0, 0.4], [0.2, 0.8]))
    assert "no golden numbers yet" in complaint("m", None, old)
    assert "never goes back" in complaint("m", old, Numbers(1, [1.0, 0.5], [0.2, 0.8]))


def main() -> None:
    """Write the numbers anew; refuses those that moved without a new revision."""
    old = committed()
    new = {name: measure(name) for name in methods.names()}
    refused = [name for name in new if name in old and "raise its" in (complaint(name, old[name], new[name]) or "")]
    if refused:
        raise SystemExit("\n".join(complaint(name, old[name], new[name]) for name in refused))
    # Where nothing moved the old digits stay: another machine's last ones are no news.
    kept = {name: old[name] if name in old and complaint(name, old[name], numbers) is None else numbers
            for name, numbers in new.items()}  # fmt: skip
    content = {name: asdict(numbers) for name, numbers in kept.items()}
    write_atomically(GOLDEN, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
