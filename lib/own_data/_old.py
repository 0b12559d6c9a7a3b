"""Your own labels and features: read, checked, trained on, written.

Features come as a CSV: the first column names the item, the others are numbers. Items that nobody labeled are welcome;
they get a label from the classifier. A labeled item without features is an error.
"""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import methods, paths
from lib import networks as backbones
from lib.crowd.labels import CrowdLabels
from lib.datasets import wine_tasting
from lib.datasets.kinds import CrowdDataset
from lib.methods.base import Method
from lib.networks import Backbone
from lib.networks import predict as in_batches
from lib.storage import write_atomically
from lib.training.loop import fit
from lib.training.recipe import Recipe

__all__ = ["Classifier", "data_set", "held_out_predictions", "load_classifier", "read", "read_features", "train", "write"]

BACKBONE = "mlp-norm"


# ---------------------------------------------------------------------- in


def read(
    labels_csv: str = "", features_csv: str = "", item: str = "item", annotator: str = "annotator", label: str = "label"
) -> tuple[pd.DataFrame, CrowdLabels]:
    """Your two files, or the example that comes with the project where both are left empty.

    Args:
        labels_csv, features_csv: paths; a relative one starts at the project's folder.
        item, annotator, label: the columns of the labels.

    Returns:
        As :func:`read_features`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: only one file was given, or as in ``CrowdLabels.from_csv`` and :func:`read_features`.
    """
    if bool(labels_csv) != bool(features_csv):
        given, absent = ("labels_csv", "features_csv") if labels_csv else ("features_csv", "labels_csv")
        raise ValueError(f"labels and features go together: {given} was given, {absent} is empty")
    files = (wine_tasting.FOLDER / "labels.csv", wine_tasting.FOLDER / "features.csv")
    if labels_csv:
        files = (paths.ROOT / labels_csv, paths.ROOT / features_csv)
    return read_features(files[1], CrowdLabels.from_csv(files[0], item=item, annotator=annotator, label=label))


def read_features(path: str | Path, crowd: CrowdLabels) -> tuple[pd.DataFrame, CrowdLabels]:
    """A table of features, and the labels arranged to its items.

    Args:
        path: CSV with a header; first column: the item's name, as in the labels; all others: numbers.
        crowd: from ``CrowdLabels.from_csv``, with item names.

    Returns:
        float64 table of all items of the file, in its order, with their names as index; and the same labels with these
        items, so that row ``i`` of the table is item ``i`` of the labels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no CSV, no column of numbers, a cell that is empty or no finite number, an item that is unnamed or
            occurs twice, or a labeled item that is not in the file. The message names the file and the place.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no CSV file of features at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would be cut
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
        return _arrange(table, crowd)
    except (ValueError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path}: {error}") from error


def _arrange(table: pd.DataFrame, crowd: CrowdLabels) -> tuple[pd.DataFrame, CrowdLabels]:
    if table.shape[1] < 2:
        raise ValueError(f"expected a column of item names and at least one of numbers, found {list(table.columns)}")
    items = table.iloc[:, 0]
    if (unnamed := np.flatnonzero(items == "")).size:
        raise ValueError(f"column {items.name!r} has {len(unnamed)} items without a name, the first in row {unnamed[0]}")
    if (again := items.duplicated()).any():
        raise ValueError(f"each item may have one row, found {items[again].iloc[0]!r} again; {int(again.sum())} such rows")
    columns = {name: _numbers(table[name], items) for name in table.columns[1:]}
    rows = {name: row for row, name in enumerate(items)}
    names = range(crowd.n_items) if crowd.item_names is None else crowd.item_names
    place = np.array([rows.get(str(name), -1) for name in names], dtype=np.int64)
    if lost := [str(name) for name, row in zip(names, place, strict=True) if row < 0]:
        shown = ", ".join(map(repr, lost[:5])) + (", ..." if len(lost) > 5 else "")
        raise ValueError(f"{len(lost)} items of the labels have no row of features: {shown}; expected one for each")
    arranged = CrowdLabels(
        place[crowd.item],
        crowd.annotator,
        crowd.label,
        len(items),
        crowd.n_annotators,
        crowd.n_classes,
        items.tolist(),
        crowd.annotator_names,
        crowd.class_names,
    )
    return pd.DataFrame(columns, index=pd.Index(items, name=items.name)), arranged


def _numbers(column: pd.Series, items: pd.Series) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        found = f"{column.iloc[wrong[0]]!r} for item {items.iloc[wrong[0]]!r}"
        raise ValueError(f"column {column.name!r} must hold finite numbers, found {found}; {len(wrong)} such cells")
    return values


def data_set(features: pd.DataFrame, crowd: CrowdLabels, title: str = "Your own labels") -> CrowdDataset:
    """Features brought to mean 0 and standard deviation 1, with the labels; no truth, nothing to test on.

    Raises:
        ValueError: sizes that do not fit.
    """
    mean, std = _scale(features)
    x = torch.from_numpy(((features.to_numpy() - mean) / std).astype(np.float32))
    names = range(crowd.n_classes) if crowd.class_names is None else crowd.class_names
    return CrowdDataset("your-own", title, x, crowd, None, None, None, class_names=tuple(map(str, names)))


def _scale(features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; one where a column is constant."""
    std = features.std(ddof=0).to_numpy()
    return features.mean().to_numpy(), np.where(std > 0, std, 1.0)


# ---------------------------------------------------------------------- training


def held_out_predictions(
    data: CrowdDataset,
    method: str,
    recipe: Recipe,
    seeds: Sequence[int] = (0,),
    folds: int = 5,
    device: str = "cpu",
    backbone: str = BACKBONE,
) -> np.ndarray:
    """Class probabilities of each item by networks that never saw its labels.

    For each seed the items are divided into ``folds`` parts, and a network is trained on the labels of all parts but
    one. An item's prediction is the mean over the networks that were trained without its labels: one a seed for a
    labeled item, all of them for an unlabeled one.

    Args:
        data: from :func:`data_set`; its truth is not used.
        method: a name in the registry that needs no truth.
        recipe: how to train.
        seeds: of division, network and training.
        folds: from 2 up to the number of labeled items.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        backbone: a name in the registry.

    Returns:
        ``[items, classes]``, rows sum to one.

    Raises:
        ValueError: no seeds, a number of folds out of range, or what method, backbone or device refuse.
    """
    labeled = np.flatnonzero(data.crowd.labels_per_item)
    if not 2 <= folds <= len(labeled):
        raise ValueError(f"folds must lie between 2 and the {len(labeled)} labeled items, found {folds}")
    if not len(seeds):
        raise ValueError("at least one seed is needed, found none")
    total, times = np.zeros((data.crowd.n_items, data.n_classes)), np.zeros(data.crowd.n_items)
    for seed in seeds:
        fold = np.full(data.crowd.n_items, -1)  # unlabeled items are in no part
        fold[np.random.default_rng(seed).permutation(labeled)] = np.arange(len(labeled)) % folds
        for part in range(folds):
            rest = data.crowd.select_labels(fold[data.crowd.item] != part)
            trained = _train(replace(data, crowd=rest), method, recipe, seed, device, backbone)
            unseen = np.flatnonzero((fold == part) | (fold == -1))
            x = data.x[torch.from_numpy(unseen)].to(device)
            total[unseen] += in_batches.predict(trained.predict_proba, x, trained).double().cpu().numpy()
            times[unseen] += 1
    total /= times[:, None]
    return total / total.sum(axis=1, keepdims=True)


def _train(data: CrowdDataset, method: str, recipe: Recipe, seed: int, device: str, backbone: str) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = functools.partial(backbones.build, backbone, tuple(data.x.shape[1:]), data.n_classes)
        fitted = methods.build(method, make, data.crowd)
        fit(fitted, data, recipe, seed=seed, device=device)
    return fitted


@dataclass(frozen=True, eq=False)
class Classifier:
    """Networks with what is needed to use them on a table of features; they predict together, by their mean.

    Attributes:
        networks: one a seed, on the CPU.
        backbone: their name in the registry.
        columns: names of the features, in order.
        mean, std: ``[features]`` by which these are scaled.
        class_names: one a class.
    """

    networks: tuple[Backbone, ...]
    backbone: str
    columns: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    class_names: tuple[str, ...]

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """The most probable class of each row.

        Args:
            features: the columns that the classifier was trained with, in any order; others are left alone.

        Returns:
            Columns ``item`` (the index), ``label``, ``confidence``.

        Raises:
            ValueError: a column is missing.
        """
        if absent := [name for name in self.columns if name not in features.columns]:
            raise ValueError(f"the classifier needs the columns {list(self.columns)}, missing are {absent}")
        scaled = (features[list(self.columns)].to_numpy(dtype=np.float64) - self.mean) / self.std
        x = torch.from_numpy(scaled.astype(np.float32))
        prob = torch.stack([in_batches.predict(_softmax(network), x, network) for network in self.networks]).mean(dim=0)
        confidence, best = prob.max(dim=1)
        names = np.array(self.class_names, dtype=object)[best.numpy()]
        return pd.DataFrame({"item": features.index, "label": names, "confidence": confidence.double().numpy()})

    def save(self, path: str | Path) -> None:
        """Write one file, atomically, to be read by :func:`load_classifier`. Raises OSError where it cannot be written."""
        content = {
            "backbone": self.backbone,
            "columns": list(self.columns),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "class_names": list(self.class_names),
            "networks": [network.state_dict() for network in self.networks],
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(Path(path), buffer.getvalue())


def train(
    features: pd.DataFrame,
    crowd: CrowdLabels,
    method: str,
    recipe: Recipe,
    seeds: Sequence[int] = (0,),
    device: str = "cpu",
    backbone: str = BACKBONE,
) -> Classifier:
    """A classifier from all labels, for items still to come.

    Args:
        features, crowd: from :func:`read_features`.
        method, recipe, seeds, device, backbone: as in :func:`held_out_predictions`.

    Raises:
        ValueError: a method that predicts with more than its backbone, so that a backbone is not all of it; no seeds.
    """
    if not len(seeds):
        raise ValueError("at least one seed is needed, found none")
    data, networks = data_set(features, crowd), []
    for seed in seeds:
        fitted = _train(data, method, recipe, seed, device, backbone)
        if type(fitted).predict_proba is not Method.predict_proba:
            raise ValueError(f"{method!r} predicts with more than its backbone; choose a method such as 'dl-em'")
        networks.append(fitted.backbone.cpu().eval())
    mean, std = _scale(features)
    return Classifier(tuple(networks), backbone, tuple(features.columns), mean, std, data.class_names)


def load_classifier(path: str | Path) -> Classifier:
    """What :meth:`Classifier.save` has written.

    Raises:
        FileNotFoundError: no such file.
    """
    content = torch.load(path, weights_only=True)
    shape, names = (len(content["columns"]),), tuple(content["class_names"])
    networks = []
    for state in content["networks"]:
        network = backbones.build(content["backbone"], shape, len(names))
        network.load_state_dict(state)
        networks.append(network.eval())
    scale = (np.array(content["mean"]), np.array(content["std"]))
    return Classifier(tuple(networks), content["backbone"], tuple(content["columns"]), *scale, names)


def _softmax(network: Backbone):
    def prob(x: Tensor) -> Tensor:
        return torch.softmax(network(x), dim=1)

    return prob


# ---------------------------------------------------------------------- out


def write(folder: str | Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write ``<name>.csv`` for each table, atomically; numbers to four decimals.

    Raises:
        OSError: a file could not be written; the message names it.
    """
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
        write_atomically(Path(folder) / f"{name}.csv", text)
