"""The one training loop: batches held on the device, optimizer and schedule, scores after every epoch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lib import engine
from lib.answers import Answers
from lib.augmentation import Augmentation
from lib.backbones import Backbone
from lib.methods import Batch, Method

if TYPE_CHECKING:
    from lib.datasets import CrowdData

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "step", "cosine", "onecycle")


@dataclass(frozen=True)
class Recipe:
    """How to train; part of every run's key. Defaults are never changed: add a field with a neutral default instead.

    Attributes:
        epochs: number of scored epochs.
        batch_size: items in a batch.
        passes: times that an epoch goes through the items (the papers' LabelMe holds each image ten times).
        optimizer: ``adam`` or ``sgd``.
        lr: learning rate (the highest one, with a schedule).
        weight_decay: L2 term added to the gradient.
        momentum: of SGD.
        schedule: ``constant``, ``step`` (times ``gamma`` at each milestone), ``cosine`` or ``onecycle`` (both a step at a
            time, to the end of training).
        milestones: epochs of ``step``.
        gamma: factor of ``step``.
        crop: pixels of black border from which training images are cropped at random, anew each time; 0 for none.
        flip: whether half of the training images are flipped from left to right, anew each time.
        precision: ``float32``, or ``mixed``: backbones compute in bfloat16 (see :mod:`lib.engine`).
        compiled: on CUDA, compile the backbones; pays for long runs only.
    """

    epochs: int = 50
    batch_size: int = 64
    passes: int = 1
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    crop: int = 0
    flip: bool = False
    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "passes"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, found {getattr(self, name)!r}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, found {self.lr!r}")
        if not isinstance(self.crop, int) or self.crop < 0:
            raise ValueError(f"crop must be a whole number of at least 0, found {self.crop!r}")
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": engine.PRECISIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, found {getattr(self, name)!r}")
        object.__setattr__(self, "milestones", tuple(self.milestones))


@dataclass(frozen=True)
class Fit:
    """What a training run leaves.

    Attributes:
        history: per epoch, ``loss``, and what the method's ``evaluate`` says of the splits that there are: ``test_acc`` and
            ``valid_acc`` of a classifier.
        seconds: wall-clock time.
        correct: ``[epochs, test items]`` bool, whether the most probable class was the true one; None where it was not asked
            for.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    correct: np.ndarray | None = None


class TrainingData:
    """A data set on a device, and its labeled items in shuffled batches.

    Attributes:
        x: ``[rows, ...]`` training inputs on the device.
        offsets: ``[rows + 1]`` where the items of each row begin; None where a row is an item.
        crowd: their labels.
        device: where everything lies.
    """

    def __init__(self, data: CrowdData, device: torch.device) -> None:
        self.dataset = data
        self.device = device
        self.crowd: Answers = data.crowd
        self.x = data.x.to(device)
        self.offsets = data.offsets
        splits = {"test": (data.x_test, data.y_test), "valid": (data.x_valid, data.y_valid)}
        self.splits = {name: (x.to(device), y.to(device)) for name, (x, y) in splits.items() if x is not None}

    @property
    def labeled(self) -> np.ndarray:
        """The rows that training visits: one that nobody labeled costs nothing."""
        labels = self.crowd.labels_per_item
        return np.flatnonzero(labels if self.offsets is None else np.add.reduceat(labels, self.offsets[:-1]))

    def with_crowd(self, crowd: Answers) -> TrainingData:
        """The same items with other labels (some held out, say); nothing is copied.

        Raises:
            ValueError: another number of items.
        """
        if crowd.n_items != self.crowd.n_items:
            raise ValueError(f"the labels must be about the same {self.crowd.n_items} items, found {crowd.n_items}")
        other = copy.copy(self)
        other.crowd = crowd
        return other

    def batches(
        self, batch_size: int, generator: np.random.Generator, augmentation: Augmentation | None = None
    ) -> Iterator[Batch]:
        """One pass over the labeled items in random order. A last batch of one joins its neighbor (batch normalization
        has no variance of a single item). Rows that hold several items come in batches of about equally many, see
        :func:`by_length`. Images are augmented a batch at a time."""
        # The bookkeeping of a pass stays in NumPy and moves to the device at once: no synchronization a batch.
        visited = generator.permutation(self.labeled)
        row_edges = _edges(len(visited), batch_size)
        order, edges = visited, row_edges
        if self.offsets is not None:
            visited = by_length(visited, np.diff(self.offsets), row_edges, generator)
            order, ends = _ranges(self.offsets, visited)
            edges = ends[row_edges]
        lengths = self.crowd.labels_per_item[order]
        rows, ends = _ranges(self.crowd.offsets, order)
        within = np.arange(len(order)) - np.repeat(edges[:-1], np.diff(edges))
        pairs = np.stack([np.repeat(within, lengths), self.crowd.annotator[rows]])
        position, annotator = torch.from_numpy(pairs).to(self.device)
        label = torch.from_numpy(self.crowd.answer[rows]).to(self.device)
        label = label.float() if label.is_floating_point() else label
        items = torch.from_numpy(order).to(self.device)
        chosen = items if self.offsets is None else torch.from_numpy(visited).to(self.device)
        sizes, labels = np.diff(edges).tolist(), np.diff(ends[edges]).tolist()
        drawn = torch.from_numpy(augmentation.draw(len(visited), generator)).to(self.device) if augmentation else chosen
        by_row = (part.split(np.diff(row_edges).tolist()) for part in (chosen, drawn))
        by_label = (part.split(labels) for part in (position, annotator, label))
        for now, change, *given in zip(*by_row, items.split(sizes), *by_label, strict=True):
            x = self.x.index_select(0, now)
            yield Batch(augmentation.apply(x, change) if augmentation else x, *given)

    def predict(self, function: Callable[[Tensor], Tensor], module: nn.Module) -> Tensor:
        """``function`` of all training inputs, in evaluation mode and without gradient: ``[items, ...]``."""
        return predict(function, self.x, module)


def _edges(items: int, batch_size: int) -> list[int]:
    """Where the batches of a pass begin, and its end."""
    edges = list(range(0, items, batch_size))
    if items % batch_size == 1 and len(edges) > 1:
        edges.pop()
    return [*edges, items]


def _ranges(offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers ``offsets[i] : offsets[i + 1]`` of the chosen ``i``, one after the other, and where those of each begin."""
    lengths = np.diff(offsets)[chosen]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(ends[-1]) + np.repeat(offsets[chosen] - ends[:-1], lengths), ends


def by_length(
    order: np.ndarray, lengths: np.ndarray, edges: Sequence[int], generator: np.random.Generator, pool: int = 16
) -> np.ndarray:
    """Random batches of rows of similar length, so that little of a batch is padding.

    Args:
        order: ``[rows]`` in random order.
        lengths: of all rows, whether in ``order`` or not.
        edges: where the batches begin, and the end.
        generator: shuffles the batches.
        pool: batches whose rows are sorted together; the fewer, the more random.

    Returns:
        ``order`` rearranged: sorted by length inside each pool, then whole batches shuffled, except for the last, which
        may be of another size.
    """
    sizes = np.diff(edges)
    pools = np.repeat(np.arange(len(sizes)) // pool, sizes)
    order = order[np.lexsort((lengths[order], pools))]
    batches = np.split(order, edges[1:-1])
    shuffled = [batches[k] for k in generator.permutation(len(batches) - 1)]
    return np.concatenate([*shuffled, batches[-1]])


def predict(function: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module) -> Tensor:
    """``function(x)`` in large batches, with ``module`` in evaluation mode (restored afterwards) and no gradient."""
    training = module.training
    module.eval()
    result = engine.evaluate(function, x)
    module.train(training)
    return result


def check_device(device: str) -> torch.device:
    """A device that is there.

    Raises:
        ValueError: an unknown device, or CUDA asked for where there is none.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; expected cpu, cuda or cuda:N") from error
    if found.type == "cuda":
        count = torch.cuda.device_count()
        if not torch.cuda.is_available() or (found.index or 0) >= count:
            raise ValueError(f"device {device!r} was asked for, but torch {torch.__version__} finds {count} CUDA devices")
    elif found.type != "cpu":
        raise ValueError(f"unknown device {device!r}; expected cpu, cuda or cuda:N")
    return found


def fit(
    method: Method,
    data: CrowdData,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
    keep_correct: bool = False,
) -> Fit:
    """Train a method in place and score it after every epoch; it is left in evaluation mode.

    Args:
        method: from :func:`lib.methods.build`.
        data: what it was built for.
        recipe: how to train.
        seed: of batch order, augmentation and dropout. The same seed gives the same numbers on the same device with the same
            versions (on a CPU, with one thread). The global generator is left as it was found.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show a bar over epochs.
        keep_correct: keep which test items were right after every epoch; of a classifier of items.

    Returns:
        The scores of every epoch.

    Raises:
        ValueError: a device that is not there, data of other sizes than the method was built for, or no labeled item.
        FloatingPointError: a loss that is not finite; names epoch and batch.
        OutOfMemory: a batch does not fit; names a size that would.
    """
    place = check_device(device)
    built_for, found = (method.n_annotators, method.n_classes), (data.crowd.n_annotators, data.n_outputs)
    if built_for != found:
        raise ValueError(f"the method was built for {built_for} annotators and classes, the data have {found}")
    started = time.perf_counter()
    on_device = TrainingData(data, place)
    generator = np.random.default_rng(seed)
    with engine.deterministic(place), torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        for part in method.modules():
            if isinstance(part, Backbone):
                part.prepare(data)
        method.to(place)

        def fit_first(other: Method, data: TrainingData = on_device, **changes) -> dict[str, list[float]]:
            return _train(other.to(place), data, replace(recipe, **changes), generator, progress)

        method.prepare(on_device, fit_first)
        watched: list[Tensor] | None = [] if keep_correct and "test" in on_device.splits else None
        history = _train(method, on_device, recipe, generator, progress, watched)
    method.eval()
    return Fit(history, time.perf_counter() - started, None if watched is None else torch.stack(watched).cpu().numpy())


def accuracy(method: Method, x: Tensor, y: Tensor) -> float:
    """Share of items whose most probable class is the true one."""
    return float(correct(method, x, y).double().mean())


def correct(method: Method, x: Tensor, y: Tensor) -> Tensor:
    """``[items]`` bool, whether the most probable class is the true one."""
    return predict(method.predict_proba, x, method).argmax(dim=1) == y


def evaluate(method: Method, data: CrowdData, x: Tensor, y: Tensor) -> dict[str, float]:
    """Scores of a method on a split of its data."""
    if data.offsets is None:
        return method.evaluate(x, y)
    from lib import scoring  # which imports this module

    return scoring.tags(method, data, x, y)


def _train(
    method: Method,
    data: TrainingData,
    recipe: Recipe,
    generator: np.random.Generator,
    progress: bool,
    watched: list[Tensor] | None = None,
) -> dict[str, list[float]]:
    from tqdm.auto import tqdm

    engine.adapt(method, data.device, recipe.precision, recipe.compiled)
    augmentation = Augmentation(recipe.crop, recipe.flip)
    optimizer = _optimizer(method, recipe)
    if not len(data.labeled):
        raise ValueError(f"there is nothing to train on: none of the {data.crowd.n_items} items has a label")
    batches = len(_edges(len(data.labeled), recipe.batch_size)) - 1
    schedule, per_step = _schedule(optimizer, recipe, recipe.passes * batches)
    history: dict[str, list[float]] = {"loss": []}
    for epoch in tqdm(range(recipe.epochs), desc="epochs", disable=not progress, leave=False):
        method.begin_epoch(epoch, data)
        method.train()
        losses = []
        for _ in range(recipe.passes):
            for batch in data.batches(recipe.batch_size, generator, augmentation or None):
                losses.append(_step(method, batch, optimizer))
                if per_step:
                    schedule.step()
        if not per_step:
            schedule.step()
        method.end_epoch(epoch, data)
        history["loss"].append(_mean_loss(losses, epoch))
        if watched is not None:
            watched.append(correct(method, *data.splits["test"]))
        for split, (x, y) in data.splits.items():
            for name, value in evaluate(method, data.dataset, x, y).items():
                history.setdefault(f"{split}_{name}", []).append(value)
    return history


def _step(method: Method, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
    try:
        return method.step(batch, optimizer)
    except RuntimeError as error:
        if not engine.is_out_of_memory(error):
            raise
    # Outside of the handler, whose traceback would hold on to what the failed step had made.
    raise engine.out_of_memory(batch, lambda part: method.step(part, optimizer), batch.x.device)


def _mean_loss(losses: list[Tensor], epoch: int) -> float:
    """One look at the device an epoch, not one a batch."""
    values = torch.stack(losses)
    finite = torch.isfinite(values)
    if not finite.all():
        batch = int((~finite).nonzero()[0])
        raise FloatingPointError(f"the loss is {float(values[batch])} at epoch {epoch}, batch {batch} of {len(values)}")
    return float(values.double().mean())


def _optimizer(method: Method, recipe: Recipe) -> torch.optim.Optimizer:
    groups = method.parameter_groups(recipe.lr, recipe.weight_decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.Adam(groups, lr=recipe.lr, fused=True)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int):
    """The schedule, and whether it moves at every step rather than every epoch."""
    total = recipe.epochs * steps_per_epoch
    schedulers = torch.optim.lr_scheduler
    if recipe.schedule == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return schedulers.OneCycleLR(optimizer, max_lr=rates, total_steps=total), True
    if recipe.schedule == "cosine":
        return schedulers.CosineAnnealingLR(optimizer, T_max=total), True
    milestones = list(recipe.milestones) if recipe.schedule == "step" else []
    return schedulers.MultiStepLR(optimizer, milestones, recipe.gamma), False
