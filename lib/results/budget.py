"""What each method was allowed: how many networks it trains, for how many epochs, and how many settings were tried for it.

Nothing is typed: networks and stages are counted while the method is built and prepared on a toy crowd, epochs come from the
runs' recipes, and settings from the configurations of the tuning protocols.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import pandas as pd
import torch

from lib import methods, paths
from lib.crowd.labels import CrowdLabels
from lib.datasets.batches import TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.methods.base import Method
from lib.networks import Backbone
from lib.results.tables import Table, dataset_title, method_title
from lib.runs.config import RunConfig
from lib.storage import write_atomically

__all__ = ["budgets", "save", "show"]

COLUMNS = ["dataset", "method", "networks", "epochs", "settings"]


def budgets(rows: Iterable[Mapping | None], trials: Iterable[RunConfig] = ()) -> pd.DataFrame:
    """The budget of each method on each data set.

    Args:
        rows: ledger rows of one experiment, in the order in which methods are to be listed.
        trials: what was run to choose settings, such as :func:`lib.protocols.real_crowds.tuning`.

    Returns:
        Columns dataset, method, networks, epochs (of all its stages together), settings (options that were tried there).
    """
    tried = {((trial.dataset, trial.method), json.dumps(trial.method_options, sort_keys=True)) for trial in trials}
    first: dict[tuple[str, str], Mapping] = {}
    for row in rows:
        if row is not None:
            first.setdefault((row["config"]["dataset"], row["config"]["method"]), row["config"])
    lines = []
    for place, config in first.items():
        networks, stages = _built(config["method"], json.dumps(config["method_options"], sort_keys=True))
        epochs = sum(config["recipe"]["epochs"] if stage is None else stage for stage in (*stages, None))
        lines.append([*place, networks, epochs, sum(there == place for there, _ in tried)])
    return pd.DataFrame(lines, columns=COLUMNS)


@cache
def _built(method: str, options: str) -> tuple[int, list[int | None]]:
    """How many networks a method makes, and the epochs of each stage before the last; None for as many as the recipe has."""
    made, stages = [], []

    def backbone() -> Backbone:
        made.append(1)
        network = Backbone(torch.nn.Flatten(), 4, 4)
        network.x_shape = (4,)
        return network

    truth = torch.arange(240) % 4
    crowd = CrowdLabels.from_dense(np.tile(truth[:, None].numpy(), (1, 60)), n_classes=4)
    x = torch.eye(4)[truth]
    toy = TrainingData(CrowdDataset("toy", "Toy", x, crowd, truth, x, truth, class_names=tuple("abcd")), torch.device("cpu"))

    def fit(first: Method, data: TrainingData = toy, **changes: object) -> dict[str, list[float]]:
        """In place of training: notes that there is a stage, and ends its only epoch."""
        stages.append(changes.get("epochs"))
        first.end_epoch(0, data)
        return {"loss": [0.0]}

    with torch.random.fork_rng(devices=[]):
        methods.build(method, backbone, crowd, truth=truth, **json.loads(options)).prepare(toy, fit)
    return len(made), stages


def save(notebook: str, table: pd.DataFrame) -> None:
    """Write ``figures/<notebook>/budget.csv``, which the site reads. Raises OSError where it cannot be written."""
    write_atomically(paths.figures(notebook) / "budget.csv", table.to_csv(index=False, lineterminator="\n"))


def show(table: pd.DataFrame) -> Table:
    """For a reader: a line a method; what differs between data sets is told apart by slashes, in the caption's order."""
    datasets = list(table["dataset"].unique())
    lines = []
    for method, part in table.groupby("method", sort=False):
        columns = part.set_index("dataset").reindex(datasets)[COLUMNS[2:]]
        words = [["–" if pd.isna(value) else f"{value:.0f}" for value in columns[name]] for name in columns]
        lines.append([method_title(method), *(each[0] if len(set(each)) == 1 else " / ".join(each) for each in words)])
    caption = f"where data sets differ: {' / '.join(map(dataset_title, datasets))}"
    return Table(lines, columns=["method", "networks", "epochs", "settings tried"], caption=caption)
