"""A run's configuration: everything that decides a number, and the key that is its hash."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from lib import datasets, methods, networks
from lib.training.recipe import Recipe


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a number.

    Attributes:
        experiment: the ledger's file; experiments that share runs share rows.
        dataset, method, backbone: names, each with its options.
        case: a variant of the experiment that tables show as a column of its own.
        seed: of network, batch order and dropout. A simulated crowd has its own seed among ``dataset_options``.
        keep: arrays to keep beside the row, see :func:`lib.runs.sweep.arrays`: they decide no number and are not in the key.
    """

    experiment: str
    dataset: str
    method: str
    backbone: str = "mlp"
    recipe: Recipe = field(default_factory=Recipe)
    dataset_options: dict = field(default_factory=dict)
    method_options: dict = field(default_factory=dict)
    backbone_options: dict = field(default_factory=dict)
    case: str = "real"
    scale: str = "quick"
    seed: int = 0
    keep: tuple[str, ...] = field(default=(), compare=False)

    def key(self) -> str:
        """16 hexadecimal digits over the method's revision, the data's fingerprint, and all that differs from its default: a
        field or an option that is added later moves no key.

        Raises:
            ValueError: an unknown data set, method or backbone, or an unknown option of the data set.
        """
        options = {
            "method_options": _changed(self.method_options, methods.info(self.method).options),
            "backbone_options": _changed(self.backbone_options, networks.defaults(self.backbone)),
        }
        content = {
            "config": _without_defaults(replace(self, **options)),
            "revision": methods.info(self.method).revision,
            "data": datasets.fingerprint(self.dataset, **self.dataset_options),
        }
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def describe(self) -> str:
        """One line for messages."""
        return f"{self.experiment}: {self.method} on {self.dataset} ({self.case}, {self.scale}, seed {self.seed})"


def each_once(configs: Iterable[RunConfig]) -> dict[str, RunConfig]:
    """The different ones, by key, in order; each keeps the arrays that any of its like is to keep."""
    different: dict[str, RunConfig] = {}
    for config in configs:
        key = config.key()
        before = different[key].keep if key in different else ()
        different[key] = replace(config, keep=tuple(dict.fromkeys((*before, *config.keep))))
    return different


def _changed(options: dict, defaults: dict) -> dict:
    return {name: value for name, value in options.items() if name not in defaults or defaults[name] != value}


def _without_defaults(settings: Any) -> dict:
    kept = {}
    for entry in fields(settings):
        if not entry.compare:
            continue
        value = getattr(settings, entry.name)
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if value != default:
            kept[entry.name] = _without_defaults(value) if isinstance(value, Recipe) else value
    return kept


def as_read(config: RunConfig) -> dict:
    """A configuration as its row has it."""
    content = json.loads(json.dumps(asdict(config)))
    del content["keep"]
    return content


def from_row(row: dict) -> RunConfig:
    """The configuration of a row, with the same key where code and data are what they were.

    Raises:
        TypeError: the row has a setting that is no more, or lacks one that has no default.
    """
    config = dict(row["config"])
    recipe = {name: tuple(value) if isinstance(value, list) else value for name, value in config.pop("recipe").items()}
    return RunConfig(**config, recipe=Recipe(**recipe))
