"""Random crowds: any, for property tests, and simulated ones."""

import numpy as np
from hypothesis import strategies as st

from lib.crowd.labels import CrowdLabels


@st.composite
def crowds(draw, max_items: int = 8, min_classes: int = 1, min_labels: int = 0) -> CrowdLabels:
    """Small crowds of any density, with items nobody labeled and annotators without labels among them."""
    n_items = draw(st.integers(1, max_items))
    n_annotators = draw(st.integers(1, 5))
    n_classes = draw(st.integers(min_classes, 4))
    cells = n_items * n_annotators
    cell = np.array(draw(st.lists(st.integers(0, cells - 1), unique=True, min_size=min(min_labels, cells))), dtype=int)
    said = st.lists(st.integers(0, n_classes - 1), min_size=len(cell), max_size=len(cell))
    label = np.array(draw(said), dtype=int)
    return CrowdLabels(cell // n_annotators, cell % n_annotators, label, n_items, n_annotators, n_classes)


def crowd_of(y, per_item, accuracy, seed, n_classes) -> CrowdLabels:
    """Labels of random annotators who are right with a probability of their own, else any other class alike."""
    rng = np.random.default_rng(seed)
    n_labels = np.floor(per_item + rng.random(len(y))).astype(int)
    item = np.repeat(np.arange(len(y)), n_labels)
    who = np.concatenate([rng.permutation(len(accuracy))[:n] for n in n_labels])
    right = rng.random(len(item)) < np.asarray(accuracy)[who]
    label = np.where(right, y[item], (y[item] + rng.integers(1, n_classes, len(item))) % n_classes)
    return CrowdLabels(item, who, label, len(y), len(accuracy), n_classes)


def simulated(n_items, per_item, accuracy, n_classes=3, seed=0) -> tuple[CrowdLabels, np.ndarray]:
    """Such a crowd, and the truth."""
    y = np.random.default_rng([seed, 1]).integers(n_classes, size=n_items)
    return crowd_of(y, per_item, accuracy, seed, n_classes), y


def classifier_of(y, accuracy, seed, n_classes) -> np.ndarray:
    """``[items, classes]`` of a classifier that is right with a probability, else any other class alike; .8 of its choice."""
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(len(y)) < accuracy, y, (y + rng.integers(1, n_classes, len(y))) % n_classes)
    return np.full((len(y), n_classes), 0.2 / (n_classes - 1)) + np.eye(n_classes)[said] * (0.8 - 0.2 / (n_classes - 1))
