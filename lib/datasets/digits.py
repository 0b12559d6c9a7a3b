"""Handwritten digits with simulated annotators: always there, since the images come with scikit-learn.

**Images.** 1797 images of 8 x 8 pixels, scaled to 0 .. 1: 1000 to train, 297 to validate, 500 to test, each with the
classes in the same proportions. The split never changes.

**Annotators.** Only the training images are labeled. How much each annotator takes part is Beta(0.5, 2.5) distributed
with a floor (:func:`lib.simulation.drawing.participation`), so some annotators give a few labels and some hundreds. Sorted by
that and cut in blocks of five, each block has one annotator of each kind, in random order, so that every kind is found
among the busy and the idle:

========  ==============================================  =======================================
kind      probability of the true class                   errors
========  ==============================================  =======================================
expert    .95 +- .04                                      any other digit
careful   .80 +- .05                                      any other digit
careless  .60 +- .05                                      any other digit
confuser  .55 +- .05; in the second of every four         nine tenths to the look-alike: 0-6, 1-7,
          blocks .10 +- .05 (an adversary)                2-3, 4-9, 5-8
spammer   .10: any digit alike, or in every other block   any other digit, or always that one
          always the same one
========  ==============================================  =======================================

``+-`` is a uniform spread. With the defaults 56 % of the labels are right, and majority vote is right on 68 % of the
images.
"""

import numpy as np
import torch

from lib.datasets import register
from lib.datasets.kinds import stratified
from lib.registry import choice
from lib.simulation import drawing

KINDS = ("expert", "careful", "careless", "confuser", "spammer")
LOOK_ALIKE = (6, 7, 3, 2, 9, 8, 0, 1, 5, 4)
SPREAD = {"expert": (0.95, 0.04), "careful": (0.8, 0.05), "careless": (0.6, 0.05), "confuser": (0.55, 0.05)}
ADVERSARY = (0.1, 0.05)
COPYING = 0.8


@register("digits", title="Digits, simulated annotators", revision=1)
def load(annotators: int = 20, labels_per_item: float = 3.0, crowd: str = "independent", crowd_seed: int = 0) -> dict:
    """The fields of the data set; ``extra["kinds"]`` has the kind of each annotator.

    Args:
        annotators: how many.
        labels_per_item: average number of labels of a training image; may be fractional.
        crowd: "independent": annotators err independently of each other. "correlated": annotators of the same kind see
            the same thing in an image with probability 0.8, so they err together; confusion matrices are the same.
        crowd_seed: of everything about the annotators.

    Raises:
        ValueError: an unknown ``crowd``, or fewer annotators than ``labels_per_item``.
    """
    choice("crowd", crowd, ("independent", "correlated"))
    x, y, parts = _images()
    who, labels = np.random.SeedSequence(crowd_seed).generate_state(2).tolist()
    rng = np.random.default_rng(who)
    weights = drawing.participation(annotators, rng=rng)
    kinds, confusion = _annotators(weights, rng)
    given = drawing.simulate(
        y[parts[""]],
        confusion,
        labels_per_item,
        seed=labels,
        participation=weights,
        groups=kinds,
        copying=COPYING if crowd == "correlated" else 0.0,
    )
    fields = {"crowd": given, "true_confusion": confusion, "class_names": tuple(str(digit) for digit in range(10))}
    for part, items in parts.items():
        fields[f"x{part}"], fields[f"y{part}"] = torch.from_numpy(x[items]).float(), torch.from_numpy(y[items])
    return {**fields, "extra": {"kinds": tuple(KINDS[kind] for kind in kinds)}}


def _images() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Features ``[1797, 64]``, classes, and the items to train, to validate and to test."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    y, rng = y.astype(np.int64), np.random.default_rng(0)
    test = stratified(y, 500, rng)
    rest = np.setdiff1d(np.arange(len(y)), test)
    train = rest[stratified(y[rest], 1000, rng)]
    return x / 16, y, {"": train, "_valid": np.setdiff1d(rest, train), "_test": test}


def _annotators(weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Kinds ``[annotators]`` and confusion matrices ``[annotators, 10, 10]``, stratified over participation."""
    kinds = np.zeros(len(weights), dtype=np.int64)
    confusion = np.zeros((len(weights), 10, 10))
    busiest_first = np.argsort(-weights, kind="stable")
    for block, start in enumerate(range(0, len(weights), len(KINDS))):
        members = busiest_first[start : start + len(KINDS)]
        kinds[members] = rng.permutation(len(KINDS))[: len(members)]
        for annotator in members:
            confusion[annotator] = _matrix(KINDS[kinds[annotator]], block, rng)
    return kinds, confusion


def _matrix(kind: str, block: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "spammer":
        return drawing.constant(int(rng.integers(10)), 10) if block % 2 else drawing.symmetric(0.1, 10)
    middle, spread = ADVERSARY if kind == "confuser" and block % 4 == 1 else SPREAD[kind]
    accuracy = rng.uniform(middle - spread, middle + spread)
    return drawing.pair_confusion(accuracy, LOOK_ALIKE, 0.9) if kind == "confuser" else drawing.symmetric(accuracy, 10)
