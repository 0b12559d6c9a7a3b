"""How a method is run on a device: precision, memory layout, compilation, determinism, and what to do when memory ends.

Compiling takes effect on CUDA alone, since it takes longer than a small run. Mixed precision pays wherever the processor
multiplies bfloat16 by itself: on one with AVX512-BF16 or AMX a step of LeNet takes half of the time, on one without it several
times as long. It is part of a run's key, so its numbers are never taken for those of float32. Convolutions work on images with
their channels last everywhere: tensor cores want it, and on a processor a step of a small residual network takes seven tenths
of the time, one of LeNet nine tenths.
"""

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

COMPILER = "inductor"


def adapt(method: Method, device: torch.device, precision: str = "float32", compiled: bool = False) -> None:
    """Set up a method's backbones for a device, in place; weights stay the same numbers. Convolutions get their channels last.

    Args:
        method: on the device.
        device: where it is.
        precision: ``float32``, or ``mixed``: trunks compute in bfloat16 by autocast; heads, losses and everything about
            annotators stay in float32.
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
            backbone.trunk.compile(backend=COMPILER, dynamic=False)  # in place, so that parameters keep their names


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


class OutOfMemory(RuntimeError):
    """A training step needs more memory than there is; the message says which batch size would fit."""


def out_of_memory(batch: Batch, step: Callable[[Batch], object], device: torch.device) -> OutOfMemory:
    """The error to raise after a training step with a batch that did not fit, found by trying smaller ones, which spoils the
    method."""
    size, fits = len(batch.x), None
    while size > 2 and fits is None:
        size //= 2
        release_memory(device)
        kept = batch.position < size
        labels = {name: getattr(batch, name)[kept] for name in ("position", "annotator", "label")}
        try:
            step(replace(batch, x=batch.x[:size], items=batch.items[:size], **labels))
            fits = size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
    place = "this machine"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        place = f"{torch.cuda.get_device_name(device)} ({total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free)"
    advice = f"a step with {fits} items fits: use batch_size={fits}" if fits else "not even a step with 2 items fits"
    return OutOfMemory(f"a training step with {len(batch.x)} items needs more memory than {place} has; {advice}")


def check_device(device: str) -> torch.device:
    """A device that is there.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` (Apple's GPUs, in float32; nobody has tried them), or ``auto``:
            CUDA where it is, else MPS where it is, else the CPU.

    Raises:
        ValueError: an unknown device, or one that is not there.
    """
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    try:
        chosen = torch.device(next(name for name in counts if counts[name]) if device == "auto" else device)
        there = counts[chosen.type]
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"unknown device {device!r}; expected cpu, cuda, cuda:N, mps or auto") from error
    if (chosen.index or 0) >= there:
        raise ValueError(
            f"device {device!r} was asked for, but torch {torch.__version__} finds {there} {chosen.type.upper()} devices"
        )
    return chosen
