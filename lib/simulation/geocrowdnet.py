"""The synthetic annotators of GeoCrowdNet's released scripts (Ibrahim, Nguyen & Fu, ICLR 2023).

``I`` is the identity, ``U`` has entries uniform in 0 .. 1, and every row is then brought to the sum one. With ten classes the
expert ``I + gamma U`` is right with probability 0.96, 0.70 and 0.47 at gamma 0.01, 0.1 and 0.3. A spammer is ``1/C + 1e-4 I``:
a guesser but for the fourth digit.

=====================================  ====================================================================================
case (after ``geo-``)                  annotators
=====================================  ====================================================================================
separable-and-uniform                  one expert, all others spammers: *one hammer among spammers* (the scripts' default)
separable-and-uniform-random           one expert, all others ``U``
random                                 all ``U``
diagonally-dominant                    all ``I + gamma U``
separable-and-diagonally-dominant      the same, but one is never wrong
hammer-spammer                         never wrong with probability gamma, else a spammer
symmetric-flipping                     ``1 - gamma`` on the diagonal, ``gamma / C`` elsewhere
=====================================  ====================================================================================

**Who labels what.** ``budget``: ``labels_per_item`` distinct annotators per item, all alike. ``random``: each (item, annotator)
pair with ``probability``, so an item may have no label. ``correlated``: as ``random``, and then one annotator copies another,
answers and absences alike. (The released ``budget`` keeps one label whatever it is asked for; here it does what it says.)
"""

from functools import partial

import numpy as np

from lib.crowd.labels import CrowdLabels
from lib.registry import choice, within
from lib.simulation import SimulatedCrowd, drawing, register

FAMILIES = (
    "separable-and-uniform", "separable-and-uniform-random", "random", "diagonally-dominant",
    "separable-and-diagonally-dominant", "hammer-spammer", "symmetric-flipping",
)  # fmt: skip


def matrices(
    family: str, n_annotators: int, n_classes: int, gamma: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``[annotators, classes, classes]`` of one of :data:`FAMILIES`, and ``[annotators]`` int64, 1 for an expert.

    Raises:
        ValueError: no annotators, or a gamma that is negative, or above 1 where it is a probability.
    """
    within("n_annotators", n_annotators, 1)
    within("gamma", gamma, 0, 1 if family in ("hammer-spammer", "symmetric-flipping") else np.inf)  # a probability there
    eye = np.eye(n_classes)
    chosen, uniform = int(rng.integers(n_annotators)), rng.random((n_annotators, n_classes, n_classes))  # one expert per seed
    one, nobody = np.arange(n_annotators) == chosen, np.zeros(n_annotators, dtype=bool)
    spammer, dominant = np.full((n_classes, n_classes), 1 / n_classes) + 1e-4 * eye, eye + gamma * uniform
    expert, best, others = {
        "separable-and-uniform": (one, dominant, spammer),
        "separable-and-uniform-random": (one, dominant, uniform),
        "random": (nobody, eye, uniform),
        "diagonally-dominant": (nobody, eye, dominant),
        "separable-and-diagonally-dominant": (one, eye, dominant),
        "hammer-spammer": (rng.random(n_annotators) < gamma, eye, spammer),
        "symmetric-flipping": (nobody, eye, np.where(eye, 1 - gamma, gamma / n_classes)),
    }[family]
    matrix = np.where(expert[:, None, None], best, others)
    return matrix / matrix.sum(axis=2, keepdims=True), expert.astype(np.int64)


def build(
    family: str,
    y: np.ndarray,
    n_classes: int,
    seed: int,
    gamma: float = 0.01,
    n_annotators: int = 5,
    assignment: str = "budget",
    labels_per_item: float = 1.0,
    probability: float = 0.1,
) -> SimulatedCrowd:
    """A crowd of one of :data:`FAMILIES`; ``labels_per_item`` is of the assignment ``budget``, ``probability`` of others."""
    choice("assignment", assignment, ("budget", "random", "correlated"))
    within("probability", probability, 0, 1)
    if assignment == "correlated" and n_annotators < 2:
        raise ValueError(f"copying needs two annotators, found {n_annotators}")
    people, answers = np.random.default_rng(seed).spawn(2)
    confusion, expert = matrices(family, n_annotators, n_classes, gamma, people)
    who, said, copies = answers.spawn(3)
    if assignment == "budget":
        item, annotator = drawing.assign(len(y), np.ones(n_annotators), labels_per_item, who)
    else:
        item, annotator = np.nonzero(who.random((len(y), n_annotators)) < probability)
    label, origin = drawing.draw(y, confusion, item, annotator, said), np.arange(n_annotators)
    if assignment == "correlated":
        source, copier = copies.choice(n_annotators, 2, replace=False)
        kept, again = np.flatnonzero(annotator != copier), np.flatnonzero(annotator == source)
        rows = np.concatenate([kept, again])
        item, label = item[rows], label[rows]
        annotator = np.concatenate([annotator[kept], np.full(len(again), copier)])
        origin[copier] = source
    crowd = CrowdLabels(item, annotator, label, len(y), n_annotators, n_classes)
    return SimulatedCrowd(crowd, confusion[origin], groups=expert[origin])


for _family in FAMILIES:
    register(f"geo-{_family}", _family.replace("-", " ").capitalize())(partial(build, _family))
