"""Speed of training on images, on any device: images a second, the share of what the device can do, and what limits the rest.

    python -m tests.benchmarks.bench_images --out DIR                    on this machine's processor
    python -m tests.benchmarks.bench_images --device cuda --out DIR      on a GPU

``image_steps`` times training steps at each batch size. ``share_of_peak`` is of the operations a second that a large matrix
product reaches on the same device in the same precision; steps of CCC count for the operations of a crowd layer's step, so
that what the correction costs shows. ``limit`` says what more speed would need: ``calls`` where a step of twice as many
images takes hardly longer, since the time goes into calling torch; ``arithmetic`` where half of the peak or more is
reached; ``memory`` otherwise.

``image_seeds`` compares several networks of one kind stepped together (``torch.func.stack_module_state`` and ``vmap``) with
one after the other, and ``image_processes`` several runs at once in processes of their own with one alone.

**Several seeds at once** are runs in processes, not stacked networks. On the processor, where it could be measured so far,
stacked networks are slower (``image_seeds``); and a stacked step would need every method, with its hooks between epochs and
its inner loops, in a second, functional form, whereas processes take all methods as they are.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import methods
from lib import networks as backbones
from lib.datasets import image_parts
from lib.datasets.batches import TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.methods.base import Method
from lib.storage import write_atomically
from lib.training.device import adapt, check_device, deterministic
from lib.training.loop import _optimizer
from lib.training.recipe import Recipe

NORMALIZE = ((0.5,), (0.25,))
FAST = 12 * 45_000  # images of a run at `fast`, for `seconds_a_run`
REPEATS = 5
METHODS = {"crowdlayer-mw": {}, "ccc": {"gradient": "head", "warmup": 0, "groups": 30}}


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

    def count(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        flops.append(2 * output.numel() * module.weight[0].numel())

    # One real input: counting on torch's meta device would load its compiler, which takes longer.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = backbones.build(backbone, x_shape, 10, **json.loads(options)).eval()
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.register_forward_hook(count)
        network(torch.zeros(1, *x_shape))
    return sum(flops), sum(1 for _ in network.modules())


@dataclass(frozen=True)
class Images:
    """A row about images.

    Args:
        what: what was computed, in a few words.
        size, size_unit: how much of it.
        ours_seconds: median wall time.
        peer_seconds: of the variant ``peer``.
        max_abs_difference: between the results of both.
        repeats: runs behind each median.
        images_per_second: through training steps.
        share_of_peak: of the operations a second of a large matrix product.
        seconds_a_run: of twelve passes over 45,000 images.
        limit: what more speed would need.
        device: its name.
    """

    what: str
    size: int
    size_unit: str
    ours_seconds: float
    peer_seconds: float | None = None
    peer: str | None = None
    max_abs_difference: float | None = None
    repeats: int = 1
    images_per_second: float | None = None
    share_of_peak: float | None = None
    seconds_a_run: float | None = None
    limit: str | None = None
    device: str = "cpu"


# ------------------------------------------------------------------ the benchmarks


def image_steps(smoke: bool, device: str = "cpu") -> list[Images]:
    """Steps of the crowd layer on each network, and of CCC, at a batch size and twice it."""
    place, rows = check_device(device), []
    networks = ["lenet"] if smoke else ["lenet", "lenet-bn"]
    if place.type == "cuda":
        networks += ["resnet18", "resnet34"]
    peak = peak_speed(place, 64 if smoke else 0)
    for network in networks:
        for method in METHODS:
            sizes = (8, 16) if smoke else ((128, 256, 512, 1024) if place.type == "cuda" else (32, 64, 128))
            seconds = {size: step_seconds(method, network, size, place, 1 if smoke else REPEATS) for size in sizes}
            rows += [_row(method, network, size, seconds, peak, place) for size in sizes]
    return rows


def image_seeds(smoke: bool, device: str = "cpu", seeds: int = 4) -> list[Images]:
    """One step each of several networks: one after the other, and stacked."""
    place, rows = check_device(device), []
    for network in ["lenet"] if smoke else ["lenet", "lenet-bn"]:
        size = 8 if smoke else 64
        alone, together = several(network, size, seeds, place)
        seconds, results = take_turns({"alone": alone, "stacked": together}, 1 if smoke else REPEATS)
        difference = float((results["alone"] - results["stacked"]).abs().max())
        rows.append(
            Images(
                f"{seeds} x {network}",
                size,
                "images",
                seconds["alone"],
                seconds["stacked"],
                "stacked (vmap)",
                difference,
                repeats=REPEATS,
                images_per_second=seeds * size / seconds["alone"],
                device=_name(place),
            )
        )
    return rows


def image_processes(smoke: bool, device: str = "cpu", counts: Sequence[int] = ()) -> list[Images]:
    """Runs at once, each in a process: seconds a step and run, beside one run alone."""
    place, rows = check_device(device), []
    size, steps = (8, 2) if smoke else (128, 60)
    network = "lenet" if place.type == "cpu" else "lenet-bn"
    alone = None
    # To start processes takes longer than the rest of a smoke test.
    for count in counts or ((1,) if smoke else (1, 2) if place.type == "cpu" else (1, 2, 4, 8)):
        among = _one_of_them(network, size, steps, device) if smoke else at_once(network, size, steps, device, count)
        seconds = among / count
        alone = alone or seconds
        rows.append(
            Images(
                f"{count} run{'s' * (count > 1)} at once",
                size,
                "images",
                seconds,
                alone,
                "one run",
                images_per_second=size / seconds,
                device=_name(place),
            )
        )
    return rows


# ------------------------------------------------------------------ steps


def take_turns(candidates: dict[str, Callable], repeats: int) -> tuple[dict[str, float], dict[str, object]]:
    """Run the candidates one after the other, ``repeats`` times; the median seconds and the last result of each."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    results: dict[str, object] = {}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            begin = time.perf_counter()
            results[name] = candidate()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in seconds.items()}, results


def step_seconds(method: str, network: str, size: int, place: torch.device, repeats: int = REPEATS, steps: int = 0) -> float:
    """Median seconds of a training step, after two that choose algorithms and load formulas."""
    run = Steps(method, network, size, place)
    run(2)
    steps = steps or (10 if place.type == "cuda" else 1)
    found, _ = take_turns({"step": partial(run, steps)}, repeats)
    return found["step"] / steps


class Steps:
    """A method in training on random images as bytes, a crowd of three labels an item.

    Args:
        method, network: names.
        size: batch size.
        place: the device.
    """

    def __init__(self, method: str, network: str, size: int, place: torch.device) -> None:
        data = random_images(max(2 * size, 64), (1, 28, 28) if network == "lenet" else (3, 32, 32))
        make = partial(backbones.build, network, data.x.shape[1:], 10, normalize=data.normalize)
        options = METHODS.get(method, {})
        if method == "ccc":
            options = options | {"groups": min(30, data.crowd.n_annotators), "per_class": 10}
        recipe = Recipe(batch_size=size, optimizer="sgd", lr=0.01, precision="mixed")
        self.method: Method = methods.build(method, make, data.crowd, **options).to(place)
        self.data, self.place = TrainingData(data, place), place
        adapt(self.method, place, recipe.precision)
        self.optimizer = _optimizer(self.method, recipe)
        self.method.begin_epoch(0, self.data)
        self.method.train()
        self.batch = next(self.data.batches(size, np.random.default_rng(0)))

    def __call__(self, steps: int) -> None:
        """So many steps on one batch, to their end."""
        with deterministic(self.place):
            for _ in range(steps):
                self.method.step(self.batch, self.optimizer)
        synchronize(self.place)


def random_images(items: int, shape: tuple[int, ...], annotators: int = 50) -> CrowdDataset:
    """Bytes without meaning, with labels."""
    rng = np.random.default_rng(0)
    y = np.arange(items) % 10
    crowd, _ = image_parts.plain(y, 10, 0, annotators=annotators)
    x, y = torch.from_numpy(rng.integers(0, 256, (items, *shape), dtype=np.uint8)), torch.from_numpy(y)
    normalize = tuple(part * shape[0] for part in NORMALIZE)
    names = tuple(map(str, range(10)))
    return CrowdDataset("random", "Random", x, crowd, y, None, None, class_names=names, normalize=normalize)


def synchronize(place: torch.device) -> None:
    """Wait for what the device is still doing."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def peak_speed(place: torch.device, side: int = 0) -> float:
    """Floating point operations a second of a square matrix product: bfloat16 on CUDA, float32 on one processor core."""
    side = side or (8192 if place.type == "cuda" else 1024)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    one, other = (torch.randn(side, side, device=place, dtype=dtype) for _ in range(2))

    def product() -> None:
        torch.mm(one, other)
        synchronize(place)

    product()
    seconds, _ = take_turns({"product": product}, REPEATS)
    return 2 * side**3 / seconds["product"]


def _row(method: str, network: str, size: int, seconds: dict[int, float], peak: float, place: torch.device) -> Images:
    flops, _ = forward_flops(network, (1, 28, 28) if network == "lenet" else (3, 32, 32), "{}")
    share = 3 * flops * size / seconds[size] / peak
    # Of the largest size nothing is known of its double; it is judged by the step before.
    twice = seconds.get(2 * size, seconds[size] / seconds[size // 2] * seconds[size] if size // 2 in seconds else np.nan)
    if twice < 1.4 * seconds[size]:
        limit = "calls"
    else:
        limit = "arithmetic" if share > 0.5 else "memory"
    return Images(
        f"{method}, {network}",
        size,
        "images",
        seconds[size],
        repeats=REPEATS,
        images_per_second=size / seconds[size],
        share_of_peak=share,
        seconds_a_run=FAST / size * seconds[size],
        limit=limit,
        device=_name(place),
    )


def _name(place: torch.device) -> str:
    return torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu"


# ------------------------------------------------------------------ several at once


def several(network: str, size: int, seeds: int, place: torch.device):
    """Two functions that step ``seeds`` networks once from the same start, by cross-entropy and plain gradient descent, and
    return the last network's head weights."""
    shape = (1, 28, 28) if network == "lenet" else (3, 32, 32)
    torch.manual_seed(0)
    networks = [backbones.build(network, shape, 10).to(place) for _ in range(seeds)]
    x = torch.randn(seeds, size, *shape, device=place)
    y = torch.arange(size, device=place) % 10
    parameters, buffers = torch.func.stack_module_state(networks)
    skeleton = copy.deepcopy(networks[0]).to("meta")

    def loss(parameters: dict, buffers: dict, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(skeleton, (parameters, buffers), (x,)), y)

    gradient = torch.func.vmap(torch.func.grad(loss), randomness="different")

    def alone() -> torch.Tensor:
        for network, batch in zip(networks, x, strict=True):
            own = dict(network.named_parameters())
            found = torch.autograd.grad(nn.functional.cross_entropy(network(batch), y), tuple(own.values()))
            moved = {name: value.detach() - 0.01 * step for (name, value), step in zip(own.items(), found, strict=True)}
        synchronize(place)
        return moved["head.weight"]

    def stacked() -> torch.Tensor:
        found = gradient(parameters, buffers, x)
        moved = {name: value.detach() - 0.01 * found[name].detach() for name, value in parameters.items()}
        synchronize(place)
        return moved["head.weight"][-1]

    return alone, stacked


def at_once(network: str, size: int, steps: int, device: str, count: int) -> float:
    """Seconds a step, when so many processes train at the same time."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(count, mp_context=context) as pool:
        start = manager.Barrier(count)
        futures = [pool.submit(_one_of_them, network, size, steps, device, start) for _ in range(count)]
        return max(future.result() for future in futures)


def _one_of_them(network: str, size: int, steps: int, device: str, start=None) -> float:
    torch.set_num_threads(1)
    run = Steps("crowdlayer-mw", network, size, check_device(device))
    run(2)
    if start is not None:
        start.wait()
    begin = time.perf_counter()
    run(steps)
    return (time.perf_counter() - begin) / steps


# ------------------------------------------------------------------ command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure on a device and write one CSV file a benchmark; returns the exit status."""
    measured = {"image_steps": image_steps, "image_seeds": image_seeds, "image_processes": image_processes}
    names = tuple(measured)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_images", description="Speed of training on images.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, required=True, help="folder for the CSV files")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only whether it runs")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args(arguments)
    kind = check_device(options.device).type
    for name in options.only:
        with nullcontext() if kind == "cuda" else _one_thread():
            rows = measured[name](options.smoke, device=options.device)
        table = pd.DataFrame([vars(row) for row in rows]).dropna(axis=1, how="all").assign(torch=torch.__version__)
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_atomically(options.out / f"{name}_{kind}.csv", text)
    return 0


def _one_thread():
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


if __name__ == "__main__":
    raise SystemExit(main())
