"""How a method is run on a device: precision, memory layout, compilation, determinism, and what to do when memory ends.

What a recipe's ``precision="mixed"`` and ``compiled=True`` mean is decided here. Compiling takes effect on CUDA alone, since
it takes longer than a small run. Mixed precision pays wherever the processor multiplies bfloat16 by itself: on one with
AVX512-BF16 or AMX a step of LeNet takes half of the time, on one without it several times as long. It is part of a run's key,
so its numbers are never taken for those of float32.

Convolutions work on images with their channels last everywhere: tensor cores want it, and on a processor a step of a small
residual network takes seven tenths of the time, one of LeNet nine tenths.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.backbones import Backbone
from lib.methods import Batch, Method

__all__ = ["OutOfMemory", "adapt", "deterministic", "evaluate", "is_out_of_memory", "out_of_memory", "part_of"]

PRECISIONS = ("float32", "mixed")
COMPILER = "inductor"
# Items in a batch of evaluation. Images take far more memory in a network than features do; on a CPU, large batches of them
# do not fit its caches and are slower.
EVALUATION_BATCH = 8192
IMAGE_BATCH = {"cpu": 256, "cuda": 2048}


def adapt(method: Method, device: torch.device, precision: str = "float32", compiled: bool = False) -> None:
    """Set up the method's backbones for a device, in place; weights stay the same numbers.

    Networks with convolutions get their channels last. ``mixed`` precision computes trunks in bfloat16 by autocast; heads,
    losses and everything about annotators stay in float32.

    Args:
        method: on the device.
        device: where it is.
        precision: one of :data:`PRECISIONS`.
        compiled: compile trunks. It takes up to a minute at the first batch, so it pays for long runs only. A method that
            reads along inside its backbone (CCC's full gradient) is left as it is.
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


# ---------------------------------------------------------------------- evaluation


def evaluate(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)`` in large batches, without gradient; in smaller ones where memory does not suffice."""
    size = IMAGE_BATCH.get(x.device.type, EVALUATION_BATCH) if x.dtype == torch.uint8 else EVALUATION_BATCH
    while True:
        try:
            with torch.no_grad():
                return torch.cat([function(part) for part in x.split(size)])
        except RuntimeError as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        _release(x.device)
        size = max(size // 4, 1)


# ---------------------------------------------------------------------- when memory ends


class OutOfMemory(RuntimeError):
    """A training step needs more memory than there is; the message says which batch size would fit."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ended, on CUDA or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


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
        _release(device)
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


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _memory(device: torch.device) -> str:
    if device.type != "cuda":
        return "this machine"
    free, total = torch.cuda.mem_get_info(device)
    return f"{torch.cuda.get_device_name(device)} ({total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free)"
