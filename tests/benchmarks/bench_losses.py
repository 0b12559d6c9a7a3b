"""Benchmarks of training: losses on triples beside dense one-hot labels, a large crowd's memory, and seconds a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import datasets, methods, networks
from lib.crowd.labels import CrowdLabels
from lib.datasets.kinds import CrowdDataset
from lib.losses.crowd import coupled_cross_entropy, crowd_layer_logits, label_cross_entropy
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests.benchmarks.bench import REPEATS, THREADS, Measurement, benchmark, fresh_process, take_turns

DENSE = "one-hot labels of all annotators"
GIGABYTE = 1e9 / 2**20  # in MiB
# Data set, backbone, epochs and methods; what it should stay under, in seconds.
RUNS = [
    ("labelme", "mlp", 50, ("majority-vote", "dawid-skene", "dl-em", "crowdlayer-mw", "ccem"), 1.5),
    ("music", "mlp-norm", 100, ("crowdlayer-mw",), 1.0),
    ("digits", "mlp-norm", 30, ("crowdlayer-mw",), None),
]


# ------------------------------------------------------------------ the benchmarks


@benchmark
def losses_vs_dense(smoke: bool) -> list[Measurement]:
    """A loss with its gradient, for a batch of CIFAR-10N's shape."""
    items, annotators, steps = (4, 6, 1) if smoke else (128, 747, 20)
    batch = make_batch(items, annotators, classes=10, per_item=3)
    rows = []
    for what, sparse, dense in (
        ("Coupled cross-entropy", coupled, dense_coupled),
        ("Crowd Layer", crowd_layer, dense_crowd_layer),
    ):
        candidates = {name: partial(gradients, form, batch, steps) for name, form in (("ours", sparse), ("peer", dense))}
        for candidate in candidates.values():
            candidate()
        seconds, found = take_turns(candidates)
        difference = max(float((ours - peer).abs().max()) for ours, peer in zip(*found.values(), strict=True))
        ours, peer = seconds["ours"] / steps, seconds["peer"] / steps
        rows.append(
            Measurement(what, annotators, "annotators", ours, peer, DENSE, difference, repeats=REPEATS, target_ratio=5.0)
        )
    return rows


@benchmark
def crowd_epoch_memory(smoke: bool) -> list[Measurement]:
    """Peak memory of a process that makes a large crowd and trains a linear classifier on it for an epoch."""
    items, annotators = (60, 6) if smoke else (100_000, 1_000)
    _, imported = fresh_process(_nothing)
    rows = [Measurement("nothing but importing torch", 0, "items", peak_memory_mb=imported)]
    for method in ("ccem", "crowdlayer-mw"):
        seconds, peak = fresh_process(_epoch_alone, method, items, annotators)
        title = methods.info(method).title
        rows.append(Measurement(title, items, "items", seconds, peak_memory_mb=peak, target_memory_mb=GIGABYTE))
    return rows


@benchmark
def seconds_a_run(smoke: bool) -> list[Measurement]:
    """A whole training run with the test accuracy of each epoch; data sets that are not there are left out."""
    rows = []
    for name, backbone, epochs, names, target in RUNS:
        if (smoke and name != "digits") or datasets.missing(name) is not None:
            continue
        data = datasets.load(name)
        recipe = Recipe(epochs=1 if smoke else epochs, batch_size=64)
        candidates = {method: partial(train, method, data, backbone, recipe) for method in names}
        seconds, _ = take_turns(candidates)
        for method in names:
            what = f"{methods.info(method).title}, {data.title}"
            rows.append(Measurement(what, recipe.epochs, "epochs", seconds[method], repeats=REPEATS, target_seconds=target))
    return rows


# ------------------------------------------------------------------ losses on triples and dense ones


class LossBatch:
    """Class logits ``[items, classes]``, annotators' matrices ``[annotators, classes, classes]``, and labels in both forms.

    Attributes:
        position, annotator, label: ``[labels]``.
        one_hot: ``[items, annotators, classes]``.
    """

    def __init__(self, logits: Tensor, matrices: Tensor, position: Tensor, annotator: Tensor, label: Tensor) -> None:
        self.logits, self.matrices = logits.requires_grad_(), matrices.requires_grad_()
        self.position, self.annotator, self.label = position, annotator, label
        self.one_hot = torch.zeros(len(logits), len(matrices), matrices.shape[2], dtype=logits.dtype)
        self.one_hot[position, annotator, label] = 1


def make_batch(items: int, annotators: int, classes: int, per_item: int, dtype: torch.dtype = torch.float32) -> LossBatch:
    """Random logits, matrices and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(items, classes, dtype=dtype, generator=generator)
    matrices = torch.eye(classes, dtype=dtype) + 0.1 * torch.randn(
        annotators, classes, classes, dtype=dtype, generator=generator
    )
    annotator = torch.cat([torch.randperm(annotators, generator=generator)[:per_item] for _ in range(items)])
    label = torch.randint(classes, (items * per_item,), generator=generator)
    return LossBatch(logits, matrices, torch.arange(items).repeat_interleave(per_item), annotator, label)


def coupled(batch: LossBatch) -> Tensor:
    """As :class:`lib.methods.geocrowdnet.GeoCrowdNet` does it."""
    log_confusion = batch.matrices - batch.matrices.logsumexp(dim=2, keepdim=True)
    return coupled_cross_entropy(batch.logits, log_confusion, batch.position, batch.annotator, batch.label)


def dense_coupled(batch: LossBatch) -> Tensor:
    """The same, of every annotator for every item."""
    prob, confusion = torch.softmax(batch.logits, dim=1), torch.softmax(batch.matrices, dim=2)
    said = torch.einsum("ij,rjk->irk", prob, confusion)
    return -(batch.one_hot * said.log()).sum() / len(batch.label)


def crowd_layer(batch: LossBatch) -> Tensor:
    """As :class:`lib.methods.crowd_layer.CrowdLayer` does it."""
    logits = crowd_layer_logits(torch.softmax(batch.logits, dim=1), batch.matrices, batch.position, batch.annotator)
    return label_cross_entropy(logits, batch.label)


def dense_crowd_layer(batch: LossBatch) -> Tensor:
    """The same, of every annotator for every item: the form of the released code."""
    logits = torch.einsum("ij,rjk->irk", torch.softmax(batch.logits, dim=1), batch.matrices)
    return -(batch.one_hot * F.log_softmax(logits, dim=2)).sum() / len(batch.label)


def gradients(form: Callable[[LossBatch], Tensor], batch: LossBatch, steps: int = 1) -> tuple[Tensor, Tensor]:
    """Of the logits and the matrices, taken ``steps`` times."""
    for _ in range(steps):
        found = torch.autograd.grad(form(batch), (batch.logits, batch.matrices))
    return found


# ------------------------------------------------------------------ whole runs


def train(method: str, data: CrowdDataset, backbone: str, recipe: Recipe) -> float:
    """Train a method from its start; its last loss."""
    torch.manual_seed(0)
    make = partial(networks.build, backbone, tuple(data.x.shape[1:]), data.n_classes)
    built = methods.build(method, make, data.crowd, truth=data.y)
    return fit(built, data, recipe).history["loss"][-1]


def make_crowd(items: int, annotators: int, classes: int = 10, per_item: int = 3, features: int = 20) -> CrowdDataset:
    """Items around their class's center; labels that are right two times in three."""
    random = np.random.default_rng(0)
    y = random.integers(classes, size=items)
    x = random.normal(size=(classes, features))[y] + random.normal(size=(items, features))
    first, stride = (
        random.integers(annotators, size=(items, 1)),
        random.integers(1, annotators // per_item + 1, size=(items, 1)),
    )
    annotator = ((first + stride * np.arange(per_item)) % annotators).ravel()
    truth = np.repeat(y, per_item)
    label = np.where(random.random(len(truth)) < 2 / 3, truth, random.integers(classes, size=len(truth)))
    item = np.repeat(np.arange(items), per_item)
    crowd = CrowdLabels(item, annotator, label, items, annotators, classes)
    names = tuple(map(str, range(classes)))
    return CrowdDataset("large", "Large", torch.from_numpy(x).float(), crowd, None, None, None, class_names=names)


def _epoch_alone(method: str, items: int, annotators: int) -> float:
    torch.set_num_threads(THREADS)
    data = make_crowd(items, annotators)
    begin = time.perf_counter()
    train(method, data, "linear", Recipe(epochs=1, batch_size=128))
    return time.perf_counter() - begin


def _nothing() -> None:
    """This module and all that it needs are imported when it is called."""
