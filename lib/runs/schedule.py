"""Runs that are still to start: which comes next, and how long it will take.

With a deadline the most useful runs come first, a complete column of a table before a second seed, and none starts that
would not end in time. How long a run takes is known from its like, the runs that differ in the seed or the crowd alone.
Before there is any, it is reckoned from the work in it (:func:`prior`), and that reckoning is corrected by the slowest of the
runs that there are.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lib import networks
from lib.training.recipe import Recipe

if TYPE_CHECKING:
    from lib.runs.config import RunConfig

__all__ = ["Pending", "forward_flops", "prior"]

# What a data set without the option `n_train` has to train on, and the shape of an image.
_IMAGES = {
    "cifar10": (50_000, (3, 32, 32)),
    "cifar10n": (50_000, (3, 32, 32)),
    "fashion_mnist": (60_000, (1, 28, 28)),
    "mnist": (60_000, (1, 28, 28)),
}
_ITEMS = 1000  # of any other
_GUESSES = ((500,), (3, 32, 32))  # shapes of inputs, the first that a network takes
_LIKE = {"tagger": ("mlp", {"width": 2048})}  # reads indices, not numbers; about as much work a sentence
# Floating point operations a second, seconds a step, and seconds a step for each module: on the slow side. Small networks
# wait for Python on any device.
_SPEED = {"cpu": (2e10, 1e-3, 5e-5), "cuda": (2e13, 2e-3, 1.5e-4)}
# Passes of a network, forward and backward, that a step of a method takes; 1 for those that are not here.
_PASSES = {"ccc": 6.0, "kd-crowd": 5.0, "weighted-doctornet": 2.0, "dl-em": 1.5}
_RECIPE = json.loads(json.dumps(asdict(Recipe())))
_CROWD = {"crowd", "crowd_seed", "seed", "subset_seed"}  # options of data that change nothing about the time


class Pending:
    """A queue of runs.

    Args:
        configs: by key, in the order of a grid.
        stored: rows that there are, of these and other runs.
        deadline: UNIX time, or None.
        device: where the runs will be trained.
    """

    def __init__(
        self, configs: Mapping[str, RunConfig], stored: Mapping[str, dict], deadline: float | None, device: str = "cpu"
    ) -> None:
        self.configs, self.deadline, self.device = dict(configs), deadline, device
        self._kinds = {key: _kind(_as_dict(config)) for key, config in configs.items()}
        self._seconds: dict[str, list[float]] = {}
        self._measured: list[tuple[dict, float]] = []
        self._priors: dict[str, float] = {}
        self._overhead: list[float] = []
        here = device_name(device)
        for row in stored.values():
            if row["provenance"].get("device", here) == here:
                self._learn(row["config"], row["seconds"])
        if deadline is not None:
            columns = {column: place for place, column in reversed(list(enumerate(map(_column, configs.values()))))}
            self.queue = sorted(configs, key=lambda key: (configs[key].seed, columns[_column(configs[key])]))
        else:
            # Long runs go first, so that no processor is left alone with one at the end.
            self.queue = sorted(configs, key=lambda key: -self.seconds(key))

    def __len__(self) -> int:
        return len(self.queue)

    def next(self) -> str | None:
        """The next key to start; None when none is left or none fits."""
        overhead = statistics.median(self._overhead or [0.0])
        for position, key in enumerate(self.queue):
            if self.deadline is None or time.time() + self.seconds(key) + overhead <= self.deadline:
                return self.queue.pop(position)
        return None

    def seconds(self, key: str) -> float:
        """How long a run will take, by its like or by its work."""
        if known := self._seconds.get(self._kinds[key]):
            return statistics.median(known)
        config = _as_dict(self.configs[key])
        alike = [(made, seconds) for made, seconds in self._measured if _family(made) == _family(config)]
        # Against the slowest of the same data and network, if there are any; else of whatever there is.
        slowness = [seconds / expected for made, seconds in alike or self._measured if (expected := self._prior(made))]
        return max(slowness, default=1.0) * self._prior(config)

    def learn(self, row: dict, elapsed: float | None = None) -> None:
        """A finished run tells how long others will take.

        Args:
            row: of the ledger.
            elapsed: seconds from its start in an executor to its end, loading of data included.
        """
        self._learn(row["config"], row["seconds"])
        if elapsed is not None:
            self._overhead.append(max(elapsed - row["seconds"], 0.0))

    def _learn(self, config: dict, seconds: float) -> None:
        known = self._seconds.setdefault(_kind(config), [])
        if not known:
            self._measured.append((config, seconds))
        known.append(seconds)

    def _prior(self, config: dict) -> float:
        """:func:`prior`, reckoned when it is needed; 0 for an old row of a backbone or option that is no more."""
        kind = _kind(config)
        if kind not in self._priors:
            try:
                self._priors[kind] = prior(config, self.device)
            except ValueError:
                self._priors[kind] = 0.0
        return self._priors[kind]


def device_name(device: str) -> str:
    """What a row's provenance calls a device."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") and torch.cuda.is_available() else "cpu"


def _as_dict(config: RunConfig) -> dict:
    """The config of the ledger row that a run will have, as it will be read."""
    content = json.loads(json.dumps(asdict(config)))
    del content["keep"]
    return content


def _kind(config: dict) -> str:
    """Equal for runs that take equally long: neither seed nor case nor crowd matters, but how many labels there are."""
    data = config["dataset_options"]
    labels = (data.get("crowd_options") or {}).get("labels_per_item")
    sizes = {name: value for name, value in data.items() if name not in (*_CROWD, "crowd_options")}
    parts = [config[name] for name in ("dataset", "method", "method_options", "backbone", "backbone_options", "scale")]
    # Old rows lack what came later, so defaults are left out.
    recipe = {name: value for name, value in config["recipe"].items() if value != _RECIPE.get(name)}
    return json.dumps([*parts, sizes, labels, recipe], sort_keys=True)


def _family(config: dict) -> tuple:
    return config["dataset"], config["backbone"], json.dumps(config["backbone_options"], sort_keys=True)


def _column(config: RunConfig) -> str:
    """Runs that a table shows in one column."""
    data = {name: value for name, value in config.dataset_options.items() if name != "crowd_seed"}
    return json.dumps([config.experiment, config.dataset, config.case, data], sort_keys=True)


# ---------------------------------------------------------------------- before anything has been measured


def prior(config: dict, device: str) -> float:
    """Seconds that a run takes, reckoned from the work in it, on a device on the slow side of its kind.

    Args:
        config: of a ledger row.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """
    rate, a_step, a_module = _SPEED[device.partition(":")[0]]
    items, *shapes = _IMAGES.get(config["dataset"], (_ITEMS, *_GUESSES))
    given = config["dataset_options"]
    items = given.get("n_train") or given.get("items") or items
    backbone, options = _LIKE.get(config["backbone"], (config["backbone"], config["backbone_options"]))
    flops, modules = _size(backbone, shapes, json.dumps(options, sort_keys=True))
    recipe = config["recipe"]
    epochs = recipe["epochs"] * recipe.get("passes", 1)
    steps = epochs * -(-items // recipe["batch_size"])
    # Backward takes twice as much as forward.
    return passes(config["method"], config["method_options"]) * (
        steps * (a_step + a_module * modules) + epochs * items * 3 * flops / rate
    )


def passes(method: str, options: dict) -> float:
    """Passes of one network, forward and backward, that a step of a method takes."""
    if method.endswith("ensemble"):
        base = passes(options.get("base", "crowdlayer-mw"), options.get("base_options") or {})
        return options.get("size", 2) * base
    return _PASSES.get(method, 1.0)


def _size(backbone: str, shapes: list[tuple[int, ...]], options: str) -> tuple[int, int]:
    for shape in shapes:
        try:
            return forward_flops(backbone, shape, options)
        except (ValueError, RuntimeError, IndexError) as error:  # not made for such inputs
            failed = error
    raise ValueError(f"cannot tell how much work backbone {backbone!r} does") from failed


@lru_cache(maxsize=64)
def forward_flops(backbone: str, x_shape: tuple[int, ...], options: str) -> tuple[int, int]:
    """Floating point operations of a network's convolutions and linear layers for one input, and how many modules it has.

    Args:
        backbone, x_shape: as in :func:`lib.networks.build`.
        options: the backbone's, in JSON.

    Raises:
        ValueError: no such backbone or option.
    """
    flops = []

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        flops.append(2 * output.numel() * module.weight[0].numel())

    # One real input: counting on torch's meta device would load its compiler, which takes longer.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = networks.build(backbone, x_shape, 10, **json.loads(options)).eval()
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.register_forward_hook(count)
        network(torch.zeros(1, *x_shape))
    return sum(flops), sum(1 for _ in network.modules())
