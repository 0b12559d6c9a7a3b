"""How a method is run on a device: precision, memory layout, compilation, determinism, and what to do when memory ends.

What a recipe's ``precision="mixed"`` and ``compiled=True`` mean is decided here. Compiling takes effect on CUDA alone, since
it takes longer than a small run. Mixed precision pays wherever the processor multiplies bfloat16 by itself: on one with
AVX512-BF16 or AMX a step of LeNet takes half of the time, on one without it several times as long. It is part of a run's key,
so its numbers are never taken for those of float32.

Convolutions work on images with their channels last everywhere: tensor cores want it, and on a processor a step of a small
residual network takes seven tenths of the time, one of LeNet nine tenths.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from lib.datasets.batches import Batch
from lib.methods.base import Method
from lib.networks import Backbone
from lib.networks.predict import is_out_of_memory, release_memory

__all__ = ["OutOfMemory", "adapt", "check_device", "deterministic", "out_of_memory", "part_of"]

COMPILER = "inductor"
EXPECTED = "cpu, cuda, cuda:N, mps or auto"


def adapt(method: Method, device: torch.device, precision: str = "float32", compiled: bool = False) -> None:
    """Set up the method's backbones for a device, in place; weights stay the same numbers.

    Networks with convolutions get their channels last. ``mixed`` precision computes trunks in bfloat16 by autocast; heads,
    losses and everything about annotators stay in float32.

    Args:
        method: on the device.
        device: where it is.
        precision: one of :data:`PRECISIONS`.
        compiled: compile trunks. It takes up to a minute at the first batch, so it pays for long runs only. A method that
            differentiates its backbone twice (CCC's full gradient) is left as it is.
    """
    # A method may be made of others (an ensemble, a teacher and its student).
    compiled = compiled and all(part.compilable for part in method.modules() if isinstance(part, Method))
    for backbone in (part for part in method.modules() if isinstance(part, Backbone)):
        if any(isinstance(part, nn.Conv2d) for part in backbone.modules()):
            backbone.channels_last = True
            backbone.to(memory_format=torch.channels_last)
        backbone.half = precision == "mixed"
        if compiled and device.type == "cuda":
            compile_trunk(backbone)


def compile_trunk(backbone: Backbone) -> None:
    """Compile it in place, so that its parameters keep their names."""
    backbone.trunk.compile(backend=COMPILER, dynamic=False)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """CUDA kernels that sum in a fixed order, so that the same seed, device and versions give the same numbers.

    Torch warns of an operation that has no such kernel, once. Nothing to do on a CPU with one thread.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    filling, trying = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a guard against reading it, at the price of writing it
    torch.backends.cudnn.benchmark = False  # which kernel is fastest changes from time to time
    try:
        with warnings.catch_warnings():
            # Windows that do not overlap, as all of ours, leave one addition for each number: no order to depend on.
            warnings.filterwarnings("ignore", message="max_pool2d_with_indices_backward_cuda")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = filling, trying


# ---------------------------------------------------------------------- when memory ends


class OutOfMemory(RuntimeError):
    """A training step needs more memory than there is; the message says which batch size would fit."""


def out_of_memory(batch: Batch, step: Callable[[Batch], object], device: torch.device) -> OutOfMemory:
    """The error to raise after a step that did not fit, found by trying smaller ones. The method is spoiled afterwards.

    Args:
        batch: that did not fit.
        step: a training step.
        device: of both.
    """
    size = len(batch.x)
    asked, fits = size, None
    while size > 2 and fits is None:
        size //= 2
        release_memory(device)
        try:
            step(part_of(batch, size))
            fits = size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
    advice = f"a step with {fits} items fits: use batch_size={fits}" if fits else "not even a step with 2 items fits"
    return OutOfMemory(f"a training step with {asked} items needs more memory than {_memory(device)} has; {advice}")


def part_of(batch: Batch, items: int) -> Batch:
    """The first items of a batch, with their labels."""
    kept = batch.position < items
    labels = {name: getattr(batch, name)[kept] for name in ("position", "annotator", "label")}
    return replace(batch, x=batch.x[:items], items=batch.items[:items], **labels)


def _memory(device: torch.device) -> str:
    if device.type != "cuda":
        return "this machine"
    free, total = torch.cuda.mem_get_info(device)
    return f"{torch.cuda.get_device_name(device)} ({total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free)"


def check_device(device: str) -> torch.device:
    """A device that is there.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` (Apple's GPUs, in float32; nobody has tried them), or ``auto``:
            CUDA where it is, else MPS where it is, else the CPU.

    Raises:
        ValueError: an unknown device, or one that is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; expected {EXPECTED}") from error
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"unknown device {device!r}; expected {EXPECTED}")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[chosen.type]
    if (chosen.index or 0) >= there or (chosen.type == "cuda" and not torch.cuda.is_available()):
        raise ValueError(
            f"device {device!r} was asked for, but torch {torch.__version__} finds {there} {chosen.type.upper()} devices"
        )
    return chosen
