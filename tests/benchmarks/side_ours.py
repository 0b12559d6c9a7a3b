"""This project's side: the same tasks as the peers', and the forms in which our own variants compute the same thing."""

import itertools
import subprocess
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch

from lib import methods, networks, paths
from lib.aggregation import dawid_skene as ds
from lib.aggregation import glad as glad_module
from lib.aggregation import mace as mace_module
from lib.crowd.labels import CrowdLabels
from lib.datasets.kinds import CrowdDataset
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.benchmarks import ccc_forms, loss_forms
from tests.worked_example import batch_of

Arrays = dict[str, np.ndarray]


def version() -> str:
    """The commit, with a + where something is not committed."""
    say = partial(subprocess.run, capture_output=True, text=True, check=False, cwd=paths.ROOT)
    commit = say(["git", "rev-parse", "--short", "HEAD"]).stdout.strip() or "no git"
    return commit + ("+" if say(["git", "status", "--porcelain", "-uno"]).stdout.strip() else "")


# ------------------------------------------------------------------ aggregation, from a table or from a checked crowd


def _table(data: Arrays) -> pd.DataFrame:
    return pd.DataFrame({"task": data["item"], "worker": data["annotator"], "label": data["label"]})


def _read_and(table: pd.DataFrame, aggregate: Callable[[CrowdLabels], Arrays]) -> Arrays:
    return aggregate(CrowdLabels.from_frame(table, item="task", annotator="worker", label="label"))


def majority_vote(data: Arrays):
    return partial(_read_and, _table(data), lambda crowd: {"posterior": ds.soft_vote(crowd)})


def dawid_skene(data: Arrays, iterations: int):
    options = {"smoothing": 0.0, "max_iterations": iterations, "tolerance": -np.inf}
    return partial(_read_and, _table(data), lambda crowd: {"posterior": ds.dawid_skene(crowd, **options).posterior})


def glad(data: Arrays, iterations: int, tolerance: float, m_steps: int):
    options = {"max_iterations": iterations, "tolerance": tolerance, "m_steps": m_steps}
    return partial(_read_and, _table(data), lambda crowd: {"posterior": glad_module.glad(crowd, **options).posterior})


def mace(data: Arrays, iterations: int):
    options = {"iterations": iterations, "restarts": 1}
    return partial(_read_and, _table(data), lambda crowd: {"posterior": mace_module.mace(crowd, **options).posterior})


# ------------------------------------------------------------------ training


def _crowd(data: Arrays) -> CrowdLabels:
    sizes = (len(data["x"]), int(data["n_annotators"]), int(data["n_classes"]))
    return CrowdLabels(data["item"], data["annotator"], data["label"], *sizes)


def _build(method: str, network: str, x: torch.Tensor, crowd: CrowdLabels, **options):
    make = partial(networks.build, network, tuple(x.shape[1:]), crowd.n_classes)
    return methods.build(method, make, crowd, **options)


def train(data: Arrays, method: str, network: str, epochs: int, batch_size: int):
    crowd, calls = _crowd(data), iter(range(100))
    x, x_test, y_test = (torch.from_numpy(data[name]) for name in ("x", "x_test", "y_test"))
    names = tuple(map(str, range(crowd.n_classes)))
    dataset = CrowdDataset("data", "Data", x, crowd, None, x_test, y_test, class_names=names)

    def run() -> Arrays:
        torch.set_num_threads(1)
        seed = next(calls)
        torch.manual_seed(seed)
        found = fit(_build(method, network, x, crowd), dataset, Recipe(epochs=epochs, batch_size=batch_size), seed=seed)
        return {"accuracy": np.array(100 * found.history["test_acc"][-1])}

    return run


def step(data: Arrays, method: str, network: str, steps: int):
    """Steps on one batch, as the training loop takes them; first one that is not timed."""
    torch.set_num_threads(1)
    crowd, x = _crowd(data), torch.from_numpy(data["x"])
    batch = batch_of(crowd, x)
    torch.manual_seed(0)
    model = _build(method, network, x, crowd)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-3, 0.0), lr=1e-3, fused=True)

    def run(steps: int = steps) -> Arrays:
        for _ in range(steps):
            loss = model.step(batch, optimizer)
        return {"loss": np.array(float(loss))}

    run(1)
    return run


def ccc_step(data: Arrays, network: str, gradient: str, widths: list[int], rate: float, lr: float, steps: int):
    """One step of CCC's two networks from given weights; the matrices after it."""
    torch.set_num_threads(1)
    crowd, x = _crowd(data), torch.from_numpy(data["x"])
    model = methods.build("ccc", partial(ccc_network, network, tuple(x.shape[1:]), crowd.n_classes, tuple(widths)), crowd)
    model.gradient, model.rate, model.n_groups = gradient, rate, int(data["n_groups"])
    model.groups = [torch.from_numpy(data[f"groups{number}"]) for number in (0, 1)]
    meta = [(torch.from_numpy(data[f"meta_x{n}"]), torch.from_numpy(data[f"meta_label{n}"])) for n in (0, 1)]
    model.meta_sets = [itertools.repeat(part) for part in meta]
    batch = batch_of(crowd, x)
    identity = torch.eye(crowd.n_classes).repeat(crowd.n_annotators, 1, 1)

    def run(steps: int = steps) -> Arrays:
        for _ in range(steps):
            with torch.no_grad():
                for number, member in enumerate(model.members):
                    member.weight.copy_(identity)
                    for place, parameter in enumerate(member.backbone.parameters()):
                        parameter.copy_(torch.from_numpy(data[f"weight{number}_{place}"]))
            model.train()
            model.step(batch, torch.optim.SGD(model.parameter_groups(lr, 0.0), lr=lr))
        return {"matrices": np.stack([member.weight.detach().numpy() for member in model.members])}

    run(1)
    return run


def ccc_network(kind: str, x_shape: tuple[int, ...], classes: int, widths: tuple[int, ...]):
    """``mlp``: a hidden layer of 128 units. ``resnet``: the authors' stem and blocks, one in each of ``widths``."""
    if kind == "mlp":
        return networks.build("mlp", x_shape, classes, dropout=0.0)
    from lib.networks.resnet import residual

    backbone = residual(x_shape, classes, widths, [1] * len(widths), padding=0)
    backbone.x_shape = x_shape
    return backbone


# ------------------------------------------------------------------ own data


def own_data(data: Arrays, part: str):
    """Reading a file of labels, or the report on them; the file is written before."""
    import tempfile
    from pathlib import Path

    from lib import own_data as own

    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "labels.csv"
    frame = pd.DataFrame({"item": data["item"], "annotator": data["annotator"], "label": data["label"]})
    for column, letter in (("item", "i"), ("annotator", "a"), ("label", "c")):
        frame[column] = letter + frame[column].astype(str)
    frame.to_csv(path, index=False)
    intake = None if part == "read" else own.read_labels(path)

    def run(kept=folder) -> Arrays:
        if part == "read":
            return {"labels": np.array(len(own.read_labels(path).crowd))}
        return {"labels": np.array(len(own.fit(intake).tables["label_quality"]))}

    return run


# ------------------------------------------------------------------ our own variants


def loss(data: Arrays, name: str, steps: int):
    """A loss with its gradients; ``name`` is a function of :mod:`tests.benchmarks.loss_forms`."""
    torch.set_num_threads(1)
    batch, form = loss_forms.make_batch(data), getattr(loss_forms, name)

    def run() -> Arrays:
        found = loss_forms.gradients(form, batch, steps)
        return {"gradients": np.concatenate([part.detach().numpy().ravel() for part in found])}

    run()
    return run


def ccc_form(data: Arrays, network: str, name: str, mode: str, steps: int, smoke: bool):
    """One network's step in a form of :mod:`tests.benchmarks.ccc_forms`; the correction that it makes."""
    torch.set_num_threads(1)
    problem = ccc_forms.make_problem(network, smoke)
    form = getattr(ccc_forms, name)
    form = partial(form, mode=mode) if mode else form

    def run() -> Arrays:
        return {"correction": ccc_forms.repeat(form, problem, steps).numpy()}

    run()
    return run


def training_epoch(data: Arrays, method: str):
    """An epoch of a linear classifier on a large crowd, made and trained here: for its memory."""

    def run() -> Arrays:
        torch.set_num_threads(1)
        crowd, x = _crowd(data), torch.from_numpy(data["x"])
        names = tuple(map(str, range(crowd.n_classes)))
        dataset = CrowdDataset("data", "Data", x, crowd, None, None, None, class_names=names)
        torch.manual_seed(0)
        found = fit(_build(method, "linear", x, crowd), dataset, Recipe(epochs=1, batch_size=128))
        return {"loss": np.array(found.history["loss"][-1])}

    return run


def nothing(data: Arrays):
    """A tenth of a second of work, for the tests of the benchmark itself."""

    def run() -> Arrays:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        return {"nothing": np.zeros(1)}

    return run
