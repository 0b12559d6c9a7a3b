"""MNIST and Fashion-MNIST, labeled by fifteen machines (:mod:`lib.simulation.machines`), as in GeoCrowdNet's released script.

Of the 60,000 training images 10,000 are set aside to train the machines, and of the others some to validate on. A pool of those
left is labeled by every machine, once; a crowd is a draw from it: ``items`` images, and each label kept with ``probability``.
An image may end without any label. All crowds are of the same fifteen machines, as in the script, and differ in images and in
which labels were kept.

**True confusion matrices** are what each machine says of the whole pool, as shares. A machine's errors depend on the image, not
on its class alone, so these matrices are averages and no law that labels are drawn from.
"""

from functools import partial

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.datasets import image_parts
from lib.datasets.mnist import SETS, Gray
from lib.registry import within
from lib.simulation import machines

MACHINE_SEED = 0  # of the machines, and of which images are for what
TO_TRAIN = 10_000  # images that machines are trained on
SMALL_POOL, LARGE_POOL = 4000, 20_000


def divide(n_images: int, n_valid: int, pool: int) -> dict[str, np.ndarray]:
    """Which images are for what: ``machines``, ``valid`` and ``pool``, without overlap.

    Raises ValueError for a negative number of validation images, or fewer images than that takes.
    """
    within("n_valid", n_valid, 0, n_images - TO_TRAIN - pool)
    order = np.random.default_rng(MACHINE_SEED).permutation(n_images)
    # From the other end, so that the pool is the same whatever the number of validation images.
    return {
        "machines": order[:TO_TRAIN],
        "pool": order[TO_TRAIN : TO_TRAIN + pool],
        "valid": np.sort(order[n_images - n_valid :]),
    }


def draw(said: np.ndarray, items: int, probability: float, seed: int, n_classes: int) -> tuple[np.ndarray, CrowdLabels]:
    """A crowd from what everybody would say, ``said`` ``[annotators, images]``: ``[items]`` which images were drawn, ascending,
    and the labels of them, each kept with a probability. A seed draws the same images whatever the probability, and with a
    higher one more labels of the same. Raises ValueError for more items than images, or a probability outside 0 .. 1."""
    within("items", items, 1, said.shape[1])
    within("probability", probability, 0, 1)
    which, kept = np.random.default_rng(seed).spawn(2)
    chosen = np.sort(which.choice(said.shape[1], items, replace=False))
    item, annotator = np.nonzero(kept.random((items, len(said))) < probability)
    return chosen, CrowdLabels(item, annotator, said[annotator, chosen[item]], items, len(said), n_classes)


def load(
    gray: Gray,
    experts: bool = True,
    items: int = 1000,
    probability: float = 0.1,
    crowd_seed: int = 0,
    n_valid: int = 500,
    n_test: int | None = None,
    mismatched: bool = False,
    sketch: bool = False,
) -> dict:
    """The fields of the data set; ``extra`` has ``machines``, what each annotator is.

    Args:
        experts: whether two of the machines saw 9000 images, or 400 at most like the others.
        items: images to label; up to 2000 of a pool of 4000, more of a pool of 20,000.
        probability: with which each of the fifteen labels of an image is kept.
        crowd_seed: of images and labels.
        n_valid: images to validate on, of which nobody labels any (the script: 5 % of the items).
        n_test: how many test images, all by default.
        mismatched: train logistic regression on labels of other images, as the released script does.
        sketch: poorer machines and a small pool, for tests of everything behind them.
    """
    whole, test = gray.images(n_test)
    pool = machines.SKETCH_POOL if sketch else SMALL_POOL if 2 * items <= SMALL_POOL else LARGE_POOL
    part = divide(len(whole), n_valid, pool)
    teach, asked = whole.take(part["machines"]), whole.take(part["pool"])
    n_classes = len(gray.class_names)
    how = {"experts": experts, "mismatched": mismatched, "sketch": sketch, "seed": MACHINE_SEED}
    said = machines.label_all(teach.x[:, 0], teach.y, asked.x[:, 0], n_classes, **how)
    confusion = CrowdLabels.from_dense(said.T, n_classes=n_classes).true_confusion(asked.y)
    chosen, crowd = draw(said, items, probability, crowd_seed, n_classes)
    names = tuple(str(machine) for machine in machines.crew(experts))
    used = (part["pool"][chosen], part["valid"])
    return image_parts.fields(whole, test, gray.class_names, gray.normalize, used, crowd, confusion, machines=names)


for _name, _gray in SETS.items():
    _gray.registered(f"{_name}_machines", "machine annotators")(partial(load, _gray))
