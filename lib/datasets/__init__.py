"""Data sets by name: features, crowd labels, and the truth to score against.

``load("labelme")`` gives a :class:`CrowdDataset`. One module of this package holds one data set and registers itself
with :func:`register`; a new data set is a new file here, nothing else.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.crowd import CrowdLabels
from lib.datasets import fetch
from lib.datasets.fetch import DataUnavailable
from lib.registry import Registry, unknown

__all__ = [
    "CrowdDataset",
    "DataUnavailable",
    "Info",
    "ensure",
    "fingerprint",
    "info",
    "load",
    "missing",
    "names",
    "register",
    "register_files",
    "stratified",
]


@dataclass(frozen=True, eq=False)
class CrowdDataset:
    """Items with features, what a crowd said of the training items, and the truth.

    Args:
        name, title: for the registry, for a reader.
        x: ``[items, ...]`` float32 features of the training items; or, with ``normalize``, images as bytes,
            ``[items, channels, height, width]`` uint8.
        crowd: labels of the training items.
        y: ``[items]`` int64 true classes of the training items, for scoring only; None where nobody knows them.
        x_test, y_test: the same of items that no annotator saw; None where there are none.
        class_names: one a class.
        x_valid, y_valid: the same of items to choose an epoch with; None where there are none.
        true_confusion: ``[annotators, true class, label]`` where the annotators are simulated.
        normalize: of images, each channel's mean and standard deviation, of values from 0 to 1: what a backbone takes off
            and divides by.
        extra: what else the data set has, such as texts; each entry is also an attribute. An entry with one value for
            each training item and a sibling ``<name>_test`` is divided along when a validation part is split off.

    Raises:
        ValueError: sizes that do not fit each other, a class out of range, or a feature that is not finite.
    """

    name: str
    title: str
    x: Tensor
    crowd: CrowdLabels
    y: Tensor | None
    x_test: Tensor | None
    y_test: Tensor | None
    class_names: tuple[str, ...]
    x_valid: Tensor | None = None
    y_valid: Tensor | None = None
    true_confusion: np.ndarray | None = None
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if len(self.class_names) != self.crowd.n_classes:
            raise ValueError(
                f"{self.name}: the crowd has {self.crowd.n_classes} classes, found {len(self.class_names)} class_names"
            )
        for part in ("", "_valid", "_test"):
            self._check_part(part)
        if len(self.x) != self.crowd.n_items:
            raise ValueError(f"{self.name}: the crowd labels are of {self.crowd.n_items} items, found {len(self.x)} rows of x")
        if self.true_confusion is not None:
            wanted = (self.crowd.n_annotators, self.n_classes, self.n_classes)
            if self.true_confusion.shape != wanted or not np.allclose(self.true_confusion.sum(axis=2), 1):
                raise ValueError(
                    f"{self.name}: true_confusion must have the shape {wanted} and rows that sum to one, "
                    f"found shape {self.true_confusion.shape}"
                )

    def _check_part(self, part: str) -> None:
        x, y = getattr(self, f"x{part}"), getattr(self, f"y{part}")
        if x is None and (y is not None or not part):
            raise ValueError(f"{self.name}: x{part} is missing" + (f", though y{part} is given" if part else ""))
        if x is not None:
            wanted, axes = (torch.float32, x.ndim >= 2) if self.normalize is None else (torch.uint8, x.ndim == 4)
            if x.dtype != wanted or not axes or x.shape[1:] != self.x.shape[1:]:
                kind = "float32 [items, ...]" if self.normalize is None else "uint8 [items, channels, height, width]"
                raise ValueError(
                    f"{self.name}: x{part} must be {kind} of {tuple(self.x.shape[1:])} numbers an item, "
                    f"found {x.dtype} {tuple(x.shape)}"
                )
            if self.normalize is not None and {len(part) for part in self.normalize} != {x.shape[1]}:
                raise ValueError(f"{self.name}: normalize must hold {x.shape[1]} means and deviations, found {self.normalize}")
            if x.is_floating_point() and not (finite := torch.isfinite(x.flatten(1)).all(dim=1)).all():
                bad = torch.nonzero(~finite).flatten()
                raise ValueError(f"{self.name}: x{part} is not finite in {len(bad)} rows, the first is row {int(bad[0])}")
        if y is None:
            if x is not None and part:
                raise ValueError(f"{self.name}: y{part} is missing, though x{part} is given")
            return
        if y.dtype != torch.int64 or y.shape != (len(x),):
            raise ValueError(f"{self.name}: y{part} must be int64 [{len(x)}], as x{part}, found {y.dtype} {tuple(y.shape)}")
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes:
            found = f"{int(y.min())} .. {int(y.max())}"
            raise ValueError(f"{self.name}: y{part} must lie in 0 .. {self.n_classes - 1}, found {found}")

    def __getattr__(self, name: str) -> Any:
        extra = self.__dict__.get("extra") or {}  # not there yet while a copy is being put together
        if name in extra:
            return extra[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"CrowdDataset({self.name!r}, x {tuple(self.x.shape)}, {self.crowd!r})"

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.crowd.n_classes

    def summary(self) -> dict[str, Any]:
        """Sizes, and how often the crowd is right: the facts a reader asks for first.

        Returns:
            ``items``, ``valid_items``, ``test_items``, ``classes``, ``annotators``, ``labels``, ``labels_per_item``
            (mean), ``label_accuracy`` (share of labels that are true; None without labels or truth).
        """
        crowd, accuracy = self.crowd, None
        if self.y is not None and len(crowd):
            accuracy = float((crowd.label == self.y.numpy()[crowd.item]).mean())
        return {
            "items": crowd.n_items,
            "valid_items": 0 if self.x_valid is None else len(self.x_valid),
            "test_items": 0 if self.x_test is None else len(self.x_test),
            "classes": crowd.n_classes,
            "annotators": crowd.n_annotators,
            "labels": len(crowd),
            "labels_per_item": len(crowd) / max(crowd.n_items, 1),
            "label_accuracy": accuracy,
        }


@dataclass(frozen=True)
class Info:
    """A registered data set: what :func:`register` was told, and the loader's options with their defaults.

    ``loader`` is None for files without features, see :func:`register_files`. ``ensure`` is None where all files are needed.
    """

    name: str
    title: str
    files: tuple[str, ...]
    revision: int
    options: Mapping[str, Any]
    loader: Callable[..., dict[str, Any]] | None
    ensure: Callable[[], None] | None = None


_registry: Registry[Info] = Registry("data set", __name__)
_shared = {"validation": 0.0, "seed": 0}  # options that every data set takes


def register(name: str, title: str, files: Sequence[str] = (), revision: int = 1, ensure: Callable[[], None] | None = None):
    """Decorator for a loader: a function of keyword options that returns the fields of :class:`CrowdDataset`.

    Args:
        name, title: for the registry, for a reader; the loader leaves these two fields out.
        files: paths in ``data/sources.toml``; they are there before the loader is called.
        revision: raised whenever new code loads other data, so that old results are not taken for new ones.
        ensure: what to do instead of getting all files, where there are several ways to the same data; raises
            DataUnavailable.

    Raises:
        ValueError: the name is taken.
    """

    def decorate(loader: Callable[..., dict[str, Any]]):
        options = {key: parameter.default for key, parameter in inspect.signature(loader).parameters.items()}
        _registry.add(name, Info(name, title, tuple(files), revision, options, loader, ensure))
        return loader

    return decorate


def register_files(name: str, title: str, files: Sequence[str], revision: int = 1) -> None:
    """Name some files that are no :class:`CrowdDataset` by themselves, such as labels whose items lie elsewhere.

    A notebook or test that needs them lists the name, is skipped by it where they cannot be had, and reads them through
    the module that registered them: :func:`load` refuses.

    Args:
        name, title, files, revision: as in :func:`register`.

    Raises:
        ValueError: the name is taken.
    """
    _registry.add(name, Info(name, title, tuple(files), revision, {}, None))


def names() -> list[str]:
    """The data sets there are, in alphabetical order."""
    return _registry.names()


def info(name: str) -> Info:
    """What is known of a data set without loading it.

    Raises:
        ValueError: no such data set.
    """
    return _registry.get(name)


def fingerprint(name: str, **options) -> str:
    """16 hex digits that change whenever the loaded data would: from file hashes, loader revision and options.

    Needs no data file. Options at their default are left out, so one that a loader gets later moves no fingerprint.

    Raises:
        ValueError: unknown data set or option.
    """
    entry, options = info(name), _options(name, options)
    if not options["validation"]:
        del options["seed"]  # without a split the seed changes nothing
    defaults = {**_shared, **entry.options}
    options = {option: value for option, value in options.items() if value != defaults[option]}
    files = {file: fetch.source(file).sha256 for file in entry.files}
    content = {"name": name, "revision": entry.revision, "files": files, "options": options}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def ensure(name: str) -> None:
    """Get every file of a data set: from the cache, the mirror, or the internet.

    Raises:
        ValueError: unknown data set.
        DataUnavailable: with the reason and how to get the file.
    """
    entry = info(name)
    if entry.ensure is not None:
        entry.ensure()
        return
    for file in entry.files:
        fetch.path(file)


def missing(name: str) -> str | None:
    """Why a data set cannot be had and how to get it; None when it is there (or was downloaded just now)."""
    try:
        ensure(name)
    except DataUnavailable as error:
        return str(error)
    return None


def load(name: str, validation: float = 0.0, seed: int = 0, **options) -> CrowdDataset:
    """A data set by name. The same call gives the same data.

    Args:
        name: one of :func:`names`.
        validation: share of the training items to move to ``x_valid``, ``y_valid``, with as even a share of each true
            class as can be; their crowd labels are dropped. Features are made (standardized, TF-IDF) before, from all
            of them.
        seed: of that split.
        options: the data set's own (see its module).

    Raises:
        ValueError: unknown data set or option, ``validation`` outside 0 .. 1, or asked for where there is such a part;
            a name of files only.
        DataUnavailable: a file cannot be had.
    """
    entry = info(name)
    if entry.loader is None:
        raise ValueError(f"{name!r} ({entry.title}) names files without features: its module in lib.datasets reads them")
    options = _options(name, {"validation": validation, "seed": seed, **options})
    for shared in _shared:
        options.pop(shared)
    if not 0 <= validation < 1:
        raise ValueError(f"validation must be a share of at least 0 and below 1, found {validation!r}")
    ensure(name)
    data = CrowdDataset(name=name, title=entry.title, **entry.loader(**options))
    return _split(data, validation, seed) if validation else data


def _options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = {**_shared, **info(name).options}
    for option in given:
        if option not in known:
            raise ValueError(unknown(f"option of data set {name!r}:", option, list(known)))
    return {**known, **given}


def _split(data: CrowdDataset, share: float, seed: int) -> CrowdDataset:
    if data.x_valid is not None:
        raise ValueError(f"{data.name} has its own validation part of {len(data.x_valid)} items; leave validation at 0")
    items = len(data.x)
    moved = np.zeros(items, dtype=bool)
    moved[stratified(data.y.numpy(), round(share * items), np.random.default_rng(seed))] = True
    if moved.all() or not moved.any():
        raise ValueError(f"validation={share} of {items} items leaves {(~moved).sum()} to train and {moved.sum()} to validate")
    stay, go = torch.from_numpy(~moved), torch.from_numpy(moved)
    extra = dict(data.extra)
    for key, values in data.extra.items():
        if f"{key}_test" in data.extra and len(values) == items:
            extra[key] = tuple(value for value, away in zip(values, moved, strict=True) if not away)
            extra[f"{key}_valid"] = tuple(value for value, away in zip(values, moved, strict=True) if away)
    return replace(
        data,
        x=data.x[stay],
        y=data.y[stay],
        crowd=data.crowd.select_items(~moved),
        x_valid=data.x[go],
        y_valid=data.y[go],
        extra=extra,
    )


def stratified(y: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random part with the classes in the same proportions, to within one item a class.

    Args:
        y: ``[items]`` classes.
        size: number of items to take, 0 .. items.
        rng: generator.

    Returns:
        ``[size]`` item indices, ascending.

    Raises:
        ValueError: size out of range.
    """
    if not 0 <= size <= len(y):
        raise ValueError(f"size must lie between 0 and the {len(y)} items, found {size}")
    counts = np.bincount(y)
    share = counts * size / max(len(y), 1)
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: size - take.sum()]] += 1  # the largest remainders are rounded up
    order = rng.permutation(len(y))
    parts = [order[y[order] == k][:n] for k, n in enumerate(take)]
    return np.sort(np.concatenate([np.zeros(0, dtype=int), *parts]))
