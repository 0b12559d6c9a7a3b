"""The one training loop: batches held on the device, optimizer and schedule, scores after every epoch."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lib.datasets.augmentation import Augmentation
from lib.datasets.batches import Batch, TrainingData, edges_of
from lib.datasets.kinds import CrowdData
from lib.methods.base import Method
from lib.networks import Backbone
from lib.networks.predict import is_out_of_memory
from lib.training.device import adapt, check_device, deterministic, out_of_memory
from lib.training.recipe import Recipe
from lib.training.scoring import evaluate


@dataclass(frozen=True)
class Fit:
    """What a training run leaves.

    Attributes:
        history: per epoch, ``loss``, and what :func:`lib.training.scoring.evaluate` says of the splits that there are:
            ``test_acc`` and ``valid_acc`` of a classifier.
        seconds: wall-clock time.
        correct: of a classifier ``[epochs, test items]`` bool, whether the most probable class was the true one; None where
            there is no test split, and of a tagger or of numbers.
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    correct: np.ndarray | None = None


def fit(
    method: Method,
    data: CrowdData,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> Fit:
    """Train a method in place and score it after every epoch; it is left in evaluation mode.

    Args:
        seed: of batch order, augmentation and dropout. The same seed gives the same numbers on the same device with the same
            versions (on a CPU, with one thread). The global generator is left as it was found.
        device: as :func:`lib.training.device.check_device` takes it.
        progress: show a bar over epochs.

    Raises:
        ValueError: a device that is not there, data of other sizes than the method was built for, or no labeled item.
        FloatingPointError: a loss that is not finite (names epoch and batch), or a parameter at the end (names it).
        OutOfMemory: a batch does not fit; names a size that would.
    """
    place = check_device(device)
    built_for, sizes = (method.n_annotators, method.n_classes), (data.crowd.n_annotators, data.n_outputs)
    if built_for != sizes:
        raise ValueError(f"the method was built for {built_for} annotators and classes, the data have {sizes}")
    started = time.perf_counter()
    on_device = TrainingData(data, place)
    generator = np.random.default_rng(seed)
    with deterministic(place), torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        for part in method.modules():
            if isinstance(part, Backbone):
                part.prepare(data)
        method.to(place)

        def fit_first(other: Method, data: TrainingData = on_device, **changes) -> dict[str, list[float]]:
            return _train(other.to(place), data, replace(recipe, **changes), generator, progress)[0]

        method.prepare(on_device, fit_first)
        history, right = _train(method, on_device, recipe, generator, progress)
    method.eval()
    return Fit(history, time.perf_counter() - started, torch.stack(right).cpu().numpy() if right else None)


def _train(
    method: Method, data: TrainingData, recipe: Recipe, generator: np.random.Generator, progress: bool
) -> tuple[dict[str, list[float]], list[Tensor]]:
    """The history, and of a classifier what it gets right of the test items after each epoch."""
    from tqdm.auto import tqdm

    adapt(method, data.device, recipe.precision, recipe.compiled)
    augmentation = Augmentation(recipe.crop, recipe.flip)
    optimizer = _optimizer(method, recipe)
    if not len(data.labeled):
        raise ValueError(f"there is nothing to train on: none of the {data.crowd.n_items} items has a label")
    batches = len(edges_of(len(data.labeled), recipe.batch_size)) - 1
    schedule, per_step = _schedule(optimizer, recipe, recipe.passes * batches)
    history: dict[str, list[float]] = {"loss": []}
    correct: list[Tensor] = []
    for epoch in tqdm(range(recipe.epochs), desc="epochs", disable=not progress, leave=False):
        method.begin_epoch(epoch, data)
        method.train()
        losses = []
        for _ in range(recipe.passes):
            for batch in data.batches(recipe.batch_size, generator, augmentation):
                losses.append(_step(method, batch, optimizer))
                if per_step:
                    schedule.step()
        if not per_step:
            schedule.step()
        method.end_epoch(epoch, data)
        history["loss"].append(_mean_loss(losses, epoch))
        for split, (x, y) in data.splits.items():
            scores, right = evaluate(method, data.dataset, x, y)
            if right is not None and split == "test":
                correct.append(right)
            for name, value in scores.items():
                history.setdefault(f"{split}_{name}", []).append(value)
    # The loss of a step is that before it: only the parameters tell of a last step that went astray.
    for name, parameter in method.named_parameters():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"the parameter {name} is not finite at the end of training")
    return history, correct


def _step(method: Method, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
    try:
        return method.step(batch, optimizer)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Outside of the handler, whose traceback would hold on to what the failed step had made.
    raise out_of_memory(batch, lambda part: method.step(part, optimizer), batch.x.device)


def _mean_loss(losses: list[Tensor], epoch: int) -> float:
    """One look at the device per epoch, not one per batch."""
    values = torch.stack(losses).cpu()
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
