"""Machine annotators: real classifiers, trained on a few images, that then label other images.

The fifteen of Ibrahim, Nguyen & Fu's script (ICLR 2023): two saw 9000 images, thirteen saw 100 to 400. Their errors are those
of a classifier: an image that is hard for one is hard for others, so labels are *not* independent given the true class, which
every crowd model assumes. Kinds, sizes, neighbors and epochs are the script's; its slips are mended: logistic regression is
trained on its images' own labels (``mismatched=True`` brings back those of other images, which make guessers), softmax is
applied once, and a network sees its images in batches of 32, where the script's batch of 512 is one step per epoch.

**The same labels everywhere.** Pixels are multiples of 1/256 in float64, so inner products and distances are exact in any
order of summation. Networks compute in float64, and start, order and dropout come from NumPy's generator: what is left to a
machine is the last digits of a few thousand operations, which decide a label about once in a billion.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from lib import paths
from lib.storage import cached

SKETCH_POOL = 600
REVISION = 1  # raised whenever a change here moves a label; part of the cache's key
RATE, DECAY, BATCH = 1e-3, 1e-3, 32
WIDTHS = (16, 32)  # of the convolutions; the script has 32 and 64, four times the work, which float64 makes slow
# What is counted besides images, in the words of `str`.
AMOUNTS = {
    "nearest neighbors": "{} nearest neighbors",
    "one-layer network": "one-layer network, {} epochs",
    "CNN": "CNN, {} epochs",
}


@dataclass(frozen=True)
class Machine:
    """One annotator, trained on some images. The amount is of neighbors or, for a network, of epochs."""

    kind: str
    images: int
    amount: int = 0

    def __str__(self) -> str:
        return f"{AMOUNTS.get(self.kind, self.kind).format(self.amount)}, {self.images} images"


MACHINES = (
    Machine("linear SVM", 9000),
    Machine("CNN", 200, 5),
    Machine("nearest neighbors", 400, 3),
    Machine("one-layer network", 400, 10),
    Machine("logistic regression", 300),
    Machine("RBF SVM", 300),
    Machine("CNN", 200, 10),
    Machine("nearest neighbors", 9000, 5),
    Machine("one-layer network", 300, 15),
    Machine("logistic regression", 200),
    Machine("polynomial SVM", 400),
    Machine("CNN", 100, 15),
    Machine("nearest neighbors", 300, 7),
    Machine("one-layer network", 400, 20),
    Machine("logistic regression", 100),
)
# The script draws sizes with `default_rng(i).choice([100, 200, 300, 400])` and then overrides two; without the override both
# get 400, which is what they have where experts are absent.


def crew(experts: bool = True, sketch: bool = False) -> tuple[Machine, ...]:
    """The fifteen machines: without ``experts`` the two saw 400 images like the others; a ``sketch`` is a rough copy for tests,
    of at most 100 images and 1 epoch, and 500 images for experts."""
    most = 9000 if experts else 400
    full = tuple(replace(machine, images=min(machine.images, most)) for machine in MACHINES)
    if not sketch:
        return full
    return tuple(replace(one, images=500 if one.images > 400 else 100, amount=min(one.amount, 1)) for one in full)


def fit(machine: Machine, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier of gray images ``x`` ``[items, height, width]`` uint8, fitted to their classes ``y`` ``[items]`` int64, as a
    function from such images to ``[items]`` int64 labels. The seed is of a network's start, order and dropout."""
    return _fit_cnn(machine, x, y, n_classes, seed) if machine.kind == "CNN" else _fit_model(machine, x, y, seed)


def label_all(
    x: np.ndarray,
    y: np.ndarray,
    asked: np.ndarray,
    n_classes: int,
    experts: bool = True,
    mismatched: bool = False,
    sketch: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """``[15, items]`` int64 what each machine says of each image, fitted once: kept under ``machines`` in the cache folder.

    Args:
        x, y: images with their classes, as in :func:`fit`, of which each is trained on some, drawn without repeats.
        asked: the images that they label.
        experts, sketch: as in :func:`crew`.
        mismatched: whether logistic regression gets labels of other images, as in the released script.
        seed: of subsets and networks.

    Raises:
        ValueError: fewer images than a machine wants.
    """
    pool = hashlib.sha256()
    for part in (x, asked, y):
        pool.update(np.ascontiguousarray(part))
    labels = []
    for number, machine in enumerate(crew(experts, sketch)):
        wrong = mismatched and machine.kind == "logistic regression"
        content = {"revision": REVISION, "pool": pool.hexdigest(), "number": number, "seed": seed, "classes": n_classes}
        content |= {"machine": asdict(machine), "mismatched": wrong}
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

        def label(number=number, machine=machine, wrong=wrong) -> np.ndarray:
            chosen = np.random.default_rng([seed, number]).choice(len(x), machine.images, replace=False)
            own = y[: len(chosen)] if wrong else y[chosen]
            network_seed = int(np.random.SeedSequence([seed, number, 1]).generate_state(1)[0])
            return fit(machine, x[chosen], own, n_classes, network_seed)(asked).astype(np.uint8)

        labels.append(cached(paths.cache() / "machines" / f"{key}.npy", label).astype(np.int64))
    return np.stack(labels)


def _fit_model(machine: Machine, x: np.ndarray, y: np.ndarray, seed: int):
    """One of scikit-learn's classifiers."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 256

    x = flat(x)
    if machine.kind == "nearest neighbors":
        model = KNeighborsClassifier(machine.amount, algorithm="brute")
    elif machine.kind == "one-layer network":
        options = {"alpha": DECAY, "batch_size": BATCH, "learning_rate_init": RATE}
        model = MLPClassifier((128,), max_iter=machine.amount, random_state=seed, **options)
    elif machine.kind == "logistic regression":
        model = LogisticRegression(max_iter=1000)
    else:
        # scikit-learn's "scale", with few enough digits that no order of summation changes it
        width = float(f"{1 / (x.shape[1] * x.var()):.3g}")
        model = SVC(kernel={"linear SVM": "linear", "RBF SVM": "rbf", "polynomial SVM": "poly"}[machine.kind], gamma=width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs and no more is what was asked for
        model.fit(x, y)
    return lambda images: model.predict(flat(images))


# ---------------------------------------------------------------------- the convolutional network


def _fit_cnn(machine: Machine, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int):
    """Two convolutions of 3 x 3, pooling, a layer of 128: the script's network at half the width; Adam, cross-entropy."""
    rng = np.random.default_rng(seed)
    images, truth = torch.from_numpy(x[:, None] / 256), torch.from_numpy(y)
    weights = _cnn_start(x.shape[1:], n_classes, rng)
    optimizer = torch.optim.Adam(weights, lr=RATE, weight_decay=DECAY)
    with torch.enable_grad():
        for _ in range(machine.amount):
            order = rng.permutation(len(x))
            for start in range(0, len(x), BATCH):
                chosen = torch.from_numpy(order[start : start + BATCH])
                optimizer.zero_grad()
                F.cross_entropy(_cnn(images[chosen], weights, rng), truth[chosen]).backward()
                optimizer.step()

    def label(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            parts = torch.from_numpy(images).split(500)
            return np.concatenate([_cnn(part[:, None].double() / 256, weights).argmax(dim=1).numpy() for part in parts])

    return label


def _cnn_start(shape: tuple[int, int], n_classes: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """Weights and biases, uniform within one over the root of a unit's inputs (PyTorch's own start)."""
    inputs = WIDTHS[1] * ((shape[0] - 4) // 2) * ((shape[1] - 4) // 2)
    start = []
    for size in ((WIDTHS[0], 1, 3, 3), (WIDTHS[1], WIDTHS[0], 3, 3), (128, inputs), (n_classes, 128)):
        bound = 1 / np.sqrt(np.prod(size[1:]))
        start += [rng.uniform(-bound, bound, size), rng.uniform(-bound, bound, size[0])]
    return [torch.from_numpy(weight).requires_grad_() for weight in start]


def _cnn(x: torch.Tensor, weights: list[torch.Tensor], rng: np.random.Generator | None = None) -> torch.Tensor:
    """``[batch, classes]`` logits; with dropout where a generator is given."""
    first, first_bias, second, second_bias, hidden, hidden_bias, last, last_bias = weights
    x = F.relu(F.conv2d(x, first, first_bias))
    x = F.max_pool2d(F.relu(F.conv2d(x, second, second_bias)), 2)
    x = F.relu(F.linear(_drop(x, 0.25, rng).flatten(1), hidden, hidden_bias))
    return F.linear(_drop(x, 0.5, rng), last, last_bias)


def _drop(x: torch.Tensor, share: float, rng: np.random.Generator | None) -> torch.Tensor:
    """Dropout whose mask is the same on every machine, which torch does not promise for its own."""
    if rng is None:
        return x
    return x * torch.from_numpy((rng.random(tuple(x.shape)) >= share) / (1 - share))
