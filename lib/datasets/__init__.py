"""Data sets by name: features, crowd labels, and the truth to score against.

``load("labelme")`` gives a :class:`CrowdDataset`; data for another task come as another kind of :class:`CrowdData`. One
module of this package holds one data set and registers its loader with :func:`register`; a new data set is its file, its line
in :data:`CATALOGUE`, and its test. A data set's module is imported when the data set is asked for.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lib.datasets import download
from lib.datasets.download import DataUnavailable
from lib.datasets.kinds import CrowdData, CrowdDataset, stratified
from lib.registry import Registry, check_options, options_of


@dataclass(frozen=True)
class Info:
    """A registered data set: what :func:`register` was told, and the loader's options with their defaults."""

    title: str
    files: tuple[str, ...]
    revision: int
    options: Mapping[str, Any]
    loader: Callable[..., dict[str, Any]]
    kind: type[CrowdData]
    ensure: Callable[[], None] | None


# The module of each.
CATALOGUE = {
    "digits": "digits",
    "identifiability": "identifiability",
    "labelme": "labelme",
    "music": "music",
    "sentiment_polarity": "sentiment_polarity",
    "moviereviews": "moviereviews",
    "conll_ner": "conll_ner",
    "cifar10": "cifar10",
    "cifar10n": "cifar10n",
    "cifar10n_labels": "cifar10n",
    "cats_dogs": "dogs_vs_cats",
    "dogs_vs_cats": "dogs_vs_cats",
    "mnist": "mnist",
    "mnist_machines": "machine_crowds",
    "fashion_mnist": "mnist",
    "fashion_mnist_machines": "machine_crowds",
}
_registry: Registry[Info] = Registry("data set", __name__, CATALOGUE)
_shared = {"validation": 0.0, "seed": 0}  # options that every data set takes


def register(
    name: str,
    title: str,
    files: Sequence[str] = (),
    revision: int = 1,
    kind: type[CrowdData] = CrowdDataset,
    ensure: Callable[[], None] | None = None,
):
    """Decorator for a loader: a function of keyword options that returns the fields of ``kind``.

    Args:
        name, title: in the catalogue, for a reader; the loader leaves these two fields out.
        files: paths in ``data/sources.toml``; they are there before the loader is called.
        revision: raised whenever new code loads other data, so that old results are not taken for new ones.
        kind: the dataclass of the task.
        ensure: what to do instead of getting all files, where there are several ways to the same data; raises
            DataUnavailable.

    Raises:
        ValueError: the name is taken, or not in the catalogue.
    """

    def decorate(loader: Callable[..., dict[str, Any]]):
        _registry.add(name, Info(title, tuple(files), revision, options_of(loader, first=0), loader, kind, ensure))
        return loader

    return decorate


def names() -> list[str]:
    """The data sets there are, in alphabetical order."""
    return _registry.names()


def info(name: str) -> Info:
    """What is known of a data set without loading it. Raises ValueError for an unknown one."""
    return _registry.get(name)


def fingerprint(name: str, **options) -> str:
    """16 hex digits that change whenever the loaded data would: from file hashes, loader revision and options.

    Needs no file. Options at their default are left out, so one that a loader gets later moves no fingerprint. Raises
    ValueError for an unknown data set or option.
    """
    entry, options = info(name), _options(name, options)
    if not options["validation"]:
        del options["seed"]  # without a split the seed changes nothing
    defaults = {**_shared, **entry.options}
    options = {option: value for option, value in options.items() if value != defaults[option]}
    files = {file: download.source(file).sha256 for file in entry.files}
    content = {"name": name, "revision": entry.revision, "files": files, "options": options}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def ensure(name: str) -> None:
    """Get every file of a data set: from the cache, the mirror, or the internet. Raises ValueError for an unknown data set,
    DataUnavailable with the reason and how to get the file."""
    entry = info(name)
    if entry.ensure is not None:
        entry.ensure()
        return
    for file in entry.files:
        download.path(file)


def missing(name: str) -> str | None:
    """Why a data set cannot be had and how to get it; None when it is there (or was downloaded just now)."""
    try:
        ensure(name)
    except DataUnavailable as error:
        return str(error)
    return None


def load(name: str, validation: float = 0.0, seed: int = 0, **options) -> CrowdData:
    """A data set by name. The same call gives the same data.

    Args:
        validation: share of the training items to move to ``x_valid``, ``y_valid``, with as even a share of each true
            class as can be, where there are classes; their crowd labels are dropped. Features are made (standardized,
            TF-IDF) before, from all of them.
        seed: of that split.
        options: the data set's own (see its module).

    Raises:
        ValueError: unknown data set or option, ``validation`` outside 0 .. 1, or asked for where there is such a part.
        DataUnavailable: a file cannot be had.
    """
    entry, options = info(name), _options(name, {"validation": validation, "seed": seed, **options})
    if not 0 <= validation < 1:
        raise ValueError(f"validation must be a share of at least 0 and below 1, found {validation!r}")
    ensure(name)
    fields = entry.loader(**{option: options[option] for option in entry.options})
    data = entry.kind(name=name, title=entry.title, **fields)
    return _split(data, validation, seed) if validation else data


def _options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = {**_shared, **info(name).options}
    check_options(f"data set {name!r}", given, known)
    return {**known, **given}


def _split(data: CrowdData, share: float, seed: int) -> CrowdData:
    if data.x_valid is not None:
        raise ValueError(f"{data.name} has its own validation part of {len(data.x_valid)} items; leave validation at 0")
    rows, rng = len(data.x), np.random.default_rng(seed)
    by_class = isinstance(data, CrowdDataset) and data.offsets is None
    size, moved = round(share * rows), np.zeros(rows, dtype=bool)
    moved[stratified(data.y.numpy(), size, rng) if by_class else rng.permutation(rows)[:size]] = True
    if moved.all() or not moved.any():
        raise ValueError(f"validation={share} of {rows} items leaves {(~moved).sum()} to train and {moved.sum()} to validate")
    moved_items = moved if data.offsets is None else np.repeat(moved, np.diff(data.offsets))
    extra = dict(data.extra)
    for key, values in data.extra.items():
        if f"{key}_test" in data.extra and len(values) == rows:
            extra[key], extra[f"{key}_valid"] = (
                tuple(value for value, away in zip(values, moved, strict=True) if away == part) for part in (False, True)
            )
    return replace(
        data,
        x=data.x[torch.from_numpy(~moved)],
        y=data.y[torch.from_numpy(~moved_items)],
        crowd=data.crowd.select_items(~moved_items),
        x_valid=data.x[torch.from_numpy(moved)],
        y_valid=data.y[torch.from_numpy(moved_items)],
        extra=extra,
    )
