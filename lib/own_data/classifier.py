"""A classifier from crowd labels: trained without true classes, judged by labels it never saw, saved in one plain file."""

from __future__ import annotations

import functools
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import methods, networks
from lib.crowd.labels import CrowdLabels
from lib.datasets.kinds import CrowdDataset
from lib.methods.base import Method
from lib.networks import Backbone
from lib.own_data.features import Source
from lib.own_data.tables import Refusal, shown
from lib.storage import write_atomically
from lib.training.loop import fit
from lib.training.recipe import Recipe

BACKBONE = "mlp-norm"
METHODS = ("dl-em", "crowdlayer-mw", "majority-vote")
FOLDS = 5
FEWEST = 10  # labeled items, to train on
FORMAT = 1
ROUNDING = 1e-9  # a spread that is smaller, beside the largest value of a column, is none
# What reading a file of another kind, or half of one, raises.
DAMAGED = (ValueError, KeyError, TypeError, EOFError, RuntimeError, IsADirectoryError, zipfile.BadZipFile, zlib.error)

Progress = Callable[[str], None]


def recipe_for(n_items: int) -> Recipe:
    """How to train on so many items: about as many steps for any number, in 10 to 50 epochs."""
    batch = int(2 ** np.clip(np.round(np.log2(max(n_items, 1) / 50)), 5, 9))
    epochs = int(np.clip(1000 * batch // max(n_items, 1), 10, 50))
    return Recipe(epochs=epochs, batch_size=batch, lr=0.001 * (batch / 32) ** 0.5)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions for items by networks that never saw their labels.

    Attributes:
        method: the one that agrees best with labels it never saw.
        prob: ``[items, classes]`` its predictions.
        agreement: for each method, the share of unseen labels that it agrees with.
    """

    method: str
    prob: np.ndarray
    agreement: dict[str, float]


def check_enough(crowd: CrowdLabels) -> None:
    """Raises a Refusal where fewer than ten items have a label."""
    if (labeled := int((crowd.labels_per_item > 0).sum())) < FEWEST:
        raise Refusal(f"a classifier needs at least {FEWEST} labeled items, found {labeled}; leave out the features")


def held_out(
    features: pd.DataFrame,
    crowd: CrowdLabels,
    recipe: Recipe | None = None,
    seeds: tuple[int, ...] = (0,),
    device: str = "cpu",
    progress: Progress = lambda text: None,
) -> HeldOut:
    """Cross-validate each method in five folds of the items, and keep the predictions of the one that agrees best.

    ``features`` are ``[items, features]``, finite; ``seeds`` those of folds, initial weights and training, over which
    predictions are averaged; ``progress`` is called with what is done and how long the rest will take. Raises a Refusal for
    fewer than ten labeled items, or features that are not finite numbers.
    """
    x, recipe = _scaled(features, *_scale(features)), recipe or recipe_for(crowd.n_items)
    check_enough(crowd)
    labeled = np.flatnonzero(crowd.labels_per_item)
    total = {method: np.zeros((crowd.n_items, crowd.n_classes)) for method in METHODS}
    times = np.zeros(crowd.n_items)
    begun, done, jobs = time.monotonic(), 0, len(METHODS) * FOLDS * len(seeds)
    for seed in seeds:
        fold = np.full(crowd.n_items, -1)  # items without a label are in no fold
        fold[np.random.default_rng(seed).permutation(labeled)] = np.arange(len(labeled)) % FOLDS
        for part in range(FOLDS):
            rest = crowd.select_labels(fold[crowd.item] != part)
            unseen = np.flatnonzero((fold == part) | (fold == -1))
            for method in METHODS:
                total[method][unseen] += _predicted(_train(x, rest, method, recipe, seed, device), x[unseen])
                done += 1
                left = (time.monotonic() - begun) / done * (jobs - done)
                words = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
                progress(f"training {done} of {jobs} ({method}); about {words} left")
            times[unseen] += 1
    prob = {method: values / times[:, None] for method, values in total.items()}
    agreement = {method: float((prob[method].argmax(axis=1)[crowd.item] == crowd.label).mean()) for method in METHODS}
    best = max(agreement, key=agreement.get)  # the first of equals
    return HeldOut(best, prob[best], agreement)


def train(
    features: pd.DataFrame,
    crowd: CrowdLabels,
    method: str,
    source: Source,
    recipe: Recipe | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    device: str = "cpu",
) -> Classifier:
    """A classifier trained on all labels by one of ``METHODS``, for new items: a network for each seed.

    ``source`` is that of the features; the rest is as in :func:`held_out`.
    """
    mean, scale = _scale(features)
    x, recipe = _scaled(features, mean, scale), recipe or recipe_for(crowd.n_items)
    trained = tuple(_train(x, crowd, method, recipe, seed, device) for seed in seeds)
    return Classifier(trained, source, tuple(map(str, features.columns)), mean, scale, tuple(map(str, crowd.class_names)))


@dataclass(frozen=True, eq=False)
class Classifier:
    """Networks whose predictions are averaged, with all that is needed to use them on new features.

    Attributes:
        networks: one per seed, on the CPU.
        source: where the features come from.
        columns: names of the features, in order.
        mean, scale: ``[features]`` what is subtracted from them, and what they are then divided by.
        class_names: one per class.
    """

    networks: tuple[Backbone, ...]
    source: Source
    columns: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    class_names: tuple[str, ...]

    def predict_proba(self, features: pd.DataFrame) -> pd.DataFrame:
        """The probability of each class, a column each, for every row of ``features``, whose columns are those that the
        classifier was trained with, in any order; others are ignored. Raises a Refusal where one is missing, or a cell is not
        a finite number."""
        if lost := [name for name in self.columns if name not in features.columns]:
            raise Refusal(f"the classifier needs the features {shown(self.columns)}; missing: {shown(lost)}")
        x = _scaled(features[list(self.columns)], self.mean, self.scale)
        prob = np.mean([_predicted(network, x) for network in self.networks], axis=0)
        return pd.DataFrame(prob, index=features.index, columns=list(self.class_names))

    def save(self, path: str | Path) -> None:
        """Write one file of arrays and text, from which no code is ever run. Raises OSError if it cannot be written."""
        about = {
            "format": FORMAT,
            "backbone": BACKBONE,
            "networks": len(self.networks),
            "kind": self.source.kind,
            "source": self.source.columns,
            "columns": self.columns,
            "class_names": self.class_names,
        }
        arrays = {"mean": self.mean, "scale": self.scale}
        for number, network in enumerate(self.networks):
            arrays |= {f"{number}/{name}": value.numpy() for name, value in network.state_dict().items()}
        content = io.BytesIO()
        np.savez(content, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)
        write_atomically(Path(path), content.getvalue())


def load(path: str | Path) -> Classifier:
    """Read what :meth:`Classifier.save` wrote. Raises FileNotFoundError, or a Refusal where the file is of another kind."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}; expected the file DIR/classifier of a run")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            if about["format"] != FORMAT:
                raise Refusal(f"{path} is a classifier of format {about['format']}; this version reads format {FORMAT}")
            loaded = []
            for number in range(about["networks"]):
                network = networks.build(about["backbone"], (len(about["columns"]),), len(about["class_names"]))
                state = {name: torch.from_numpy(arrays[f"{number}/{name}"].copy()) for name in network.state_dict()}
                network.load_state_dict(state)
                loaded.append(network.eval())
            source, columns = Source(about["kind"], tuple(about["source"])), tuple(about["columns"])
            return Classifier(tuple(loaded), source, columns, arrays["mean"], arrays["scale"], tuple(about["class_names"]))
    except Refusal:
        raise
    except DAMAGED as error:
        # Without NumPy's words, which advise to load a file of another kind unsafely.
        raise Refusal(
            f"{path} is not a classifier written by this program; expected the file DIR/classifier of a run"
        ) from error


def _scale(features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 where all values are equal but for rounding."""
    values = _finite(features)
    size = np.maximum(np.abs(values).max(axis=0), 1e-300)  # huge numbers must not overflow when they are squared
    scale = (values / size).std(axis=0) * size
    return (values / size).mean(axis=0) * size, np.where(scale <= ROUNDING * size, 1.0, scale)


def _scaled(features: pd.DataFrame, mean: np.ndarray, scale: np.ndarray) -> torch.Tensor:
    with np.errstate(over="ignore"):
        # What lies this far outside of anything seen in training need not lie farther.
        return torch.from_numpy(np.clip((_finite(features) - mean) / scale, -1e4, 1e4).astype(np.float32))


def _finite(features: pd.DataFrame) -> np.ndarray:
    values = features.to_numpy(dtype=np.float64)
    if len(wrong := np.argwhere(~np.isfinite(values))):
        row, column = wrong[0]
        raise Refusal(
            f"features must be finite numbers, found {values[row, column]} for item {features.index[row]!r} in column "
            f"{features.columns[column]!r}; {len(wrong)} such cells"
        )
    return values


def _train(x: torch.Tensor, crowd: CrowdLabels, method: str, recipe: Recipe, seed: int, device: str) -> Backbone:
    names = tuple(map(str, crowd.class_names))
    data = CrowdDataset("your-own", "Your own labels", x, crowd, None, None, None, class_names=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = functools.partial(networks.build, BACKBONE, tuple(x.shape[1:]), crowd.n_classes)
        fitted = methods.build(method, make, crowd)
        fit(fitted, data, recipe, seed=seed, device=device)
    if type(fitted).predict_proba is not Method.predict_proba:
        raise ValueError(f"{method!r} predicts with more than its backbone; expected one of {', '.join(METHODS)}")
    return fitted.backbone.cpu().eval()


def _predicted(network: Backbone, x: torch.Tensor) -> np.ndarray:
    """``[rows, classes]`` float64, rows sum to one."""
    with torch.inference_mode():
        return torch.cat([torch.softmax(network(part).double(), dim=1) for part in x.split(8192)]).numpy()
