"""Runs that are still to start, in the order to start them.

With a deadline the most useful runs come first, a complete column of a table before a second seed, and none starts that would
not end in time, as far as that is known from finished runs of the same kind. Without one, long runs come first, so that no
processor is left alone with one at the end.
"""

import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping

from lib.runs.config import RunConfig, as_read

_CROWD = {"crowd", "crowd_seed", "crowd_options", "seed"}  # options of data that hardly change the time


class Queue:
    """Runs by key that wait to be trained on a device until a deadline (UNIX time, or None); rows that are finished tell how
    long they take."""

    def __init__(
        self, configs: Mapping[str, RunConfig], finished: Iterable[dict], deadline: float | None = None, device: str = "cpu"
    ) -> None:
        self.deadline, self._overhead = deadline, [0.0]
        self._kinds = {key: _kind(as_read(config)) for key, config in configs.items()}
        self._seconds: dict[str, list[float]] = {}
        for row in finished:
            if (row["provenance"].get("device", "cpu") == "cpu") == (device == "cpu"):
                self.learn(row)
        places = {_column(config): place for place, config in reversed(list(enumerate(configs.values())))}
        if deadline is None:
            order = sorted(configs, key=lambda key: -self.seconds(key, unknown=math.inf))
        else:
            order = sorted(configs, key=lambda key: (configs[key].seed, places[_column(configs[key])]))
        self.waiting = {key: configs[key] for key in order}

    def fitting(self) -> Iterator[str]:
        """The keys that wait, without those that would not end in time; a run of unknown length fits until the time is up."""
        for key in list(self.waiting):
            needed = self.seconds(key, unknown=0.0) + statistics.median(self._overhead)
            if self.deadline is None or time.time() + needed < self.deadline:
                yield key

    def seconds(self, key: str, unknown: float) -> float:
        """How long a run takes: the median of finished runs that differ in the seed or the crowd alone."""
        return statistics.median(self._seconds.get(self._kinds[key], [unknown]))

    def learn(self, row: dict, elapsed: float | None = None) -> None:
        """A finished run tells how long its like will take; ``elapsed`` has the seconds with start and loading of data."""
        self._seconds.setdefault(_kind(row["config"]), []).append(row["seconds"])
        if elapsed is not None:
            self._overhead.append(max(elapsed - row["seconds"], 0.0))


def _kind(config: Mapping) -> str:
    data = {name: value for name, value in config["dataset_options"].items() if name not in _CROWD}
    parts = [config[name] for name in ("dataset", "method", "method_options", "backbone", "backbone_options", "scale")]
    recipe = [config["recipe"].get(name) for name in ("epochs", "passes", "batch_size", "precision")]
    return json.dumps([*parts, data, recipe], sort_keys=True)


def _column(config: RunConfig) -> str:
    """Runs that a table shows in one column."""
    data = {name: value for name, value in config.dataset_options.items() if name != "crowd_seed"}
    return json.dumps([config.experiment, config.dataset, config.case, data], sort_keys=True)
