"""Speed of training on images, on any device: images a second, and what several runs at once make of it.

    python -m tests.benchmarks.bench_images --out DIR                    on this machine's processor
    python -m tests.benchmarks.bench_images --device cuda --out DIR      on a GPU

``image_steps`` times training steps at each batch size; ``seconds_a_run`` are of twelve passes over 45,000 images.

``image_seeds`` compares several networks of one kind stepped together (``torch.func.stack_module_state`` and ``vmap``) with
one after the other, and ``image_processes`` several runs at once in processes of their own with one alone.

**Several seeds at once** are runs in processes, not stacked networks. On the processor, where it could be measured so far,
stacked networks are slower (``image_seeds``); and a stacked step would need every method, with its hooks between epochs and
its inner loops, in a second, functional form, whereas processes take all methods as they are.
"""

import argparse
import copy
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import methods, simulation
from lib import networks as backbones
from lib.datasets.batches import TrainingData
from lib.datasets.kinds import CrowdDataset
from lib.storage import write_atomically
from lib.training.device import adapt, check_device, deterministic
from lib.training.loop import _optimizer
from lib.training.recipe import Recipe

FAST = 12 * 45_000  # images of a run at `fast`, for `seconds_a_run`
REPEATS = 5
METHODS = {"crowdlayer-mw": {}, "ccc": {"gradient": "head", "warmup": 0, "groups": 30, "per_class": 10}}


def image_shape(network: str) -> tuple[int, int, int]:
    """Fashion-MNIST's for LeNet, CIFAR-10's for the others."""
    return (1, 28, 28) if network == "lenet" else (3, 32, 32)


# ------------------------------------------------------------------ the benchmarks, as rows of tables


def row(what: str, size: int, seconds: float, batches: int = 1) -> dict:
    """What every row says, of seconds for some batches of so many images."""
    speed = batches * size / seconds
    return {"what": what, "size": size, "size_unit": "images", "ours_seconds": seconds, "images_per_second": speed}


def image_steps(smoke: bool, place: torch.device) -> Iterator[dict]:
    """Steps of the crowd layer on each network, and of CCC, at several batch sizes."""
    networks = ["lenet"] if smoke else ["lenet", "lenet-bn"]
    sizes, repeats = (8, 16) if smoke else (32, 64, 128), 1 if smoke else REPEATS
    if place.type == "cuda":
        networks, sizes = [*networks, "resnet18", "resnet34"], (128, 256, 512, 1024)
    steps = 10 if place.type == "cuda" else 1
    for network, method, size in product(networks, METHODS, sizes):
        run = Steps(method, network, size, place)
        run(2)  # chooses algorithms and loads formulas
        seconds = take_turns({"step": partial(run, steps)}, repeats)[0]["step"] / steps
        yield row(f"{method}, {network}", size, seconds) | {"seconds_a_run": FAST / size * seconds, "repeats": repeats}


def image_seeds(smoke: bool, place: torch.device, seeds: int = 4) -> Iterator[dict]:
    """One step each of several networks: one after the other, and stacked."""
    size, repeats = (8, 1) if smoke else (64, REPEATS)
    for network in ["lenet"] if smoke else ["lenet", "lenet-bn"]:
        alone, together = several(network, size, seeds, place)
        seconds, results = take_turns({"alone": alone, "stacked": together}, repeats)
        beside = {"peer": "stacked (vmap)", "peer_seconds": seconds["stacked"], "repeats": repeats}
        beside["max_abs_difference"] = float((results["alone"] - results["stacked"]).abs().max())
        yield row(f"{seeds} x {network}", size, seconds["alone"], seeds) | beside


def image_processes(smoke: bool, place: torch.device) -> Iterator[dict]:
    """Runs at once, each in a process: seconds a step and run, beside one run alone."""
    size, steps = (8, 2) if smoke else (128, 60)
    network = "lenet" if place.type == "cpu" else "lenet-bn"
    counts = (1,) if smoke else (1, 2) if place.type == "cpu" else (1, 2, 4, 8)
    alone = None
    for count in counts:
        what = (network, size, steps, str(place))
        # To start processes takes longer than the rest of a smoke test.
        seconds = (one_of_them(*what) if smoke else at_once(*what, count)) / count
        alone = alone or seconds
        yield row(f"{count} run{'s' * (count > 1)} at once", size, seconds) | {"peer": "one run", "peer_seconds": alone}


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


class Steps:
    """A method in training on random images as bytes, a crowd of three labels an item; called with a number of steps, it takes
    them on one batch, to their end."""

    def __init__(self, method: str, network: str, size: int, place: torch.device) -> None:
        shape, y = image_shape(network), np.arange(max(2 * size, 64)) % 10
        x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (len(y), *shape), dtype=np.uint8))
        crowd = simulation.build("plain", y, 10, 0).crowd
        normalize, names = ((0.5,) * shape[0], (0.25,) * shape[0]), tuple(map(str, range(10)))
        data = CrowdDataset(
            "random", "Random", x, crowd, torch.from_numpy(y), None, None, class_names=names, normalize=normalize
        )
        make = partial(backbones.build, network, shape, 10, normalize=normalize)
        recipe = Recipe(batch_size=size, optimizer="sgd", lr=0.01, precision="mixed")
        self.method = methods.build(method, make, crowd, **METHODS[method]).to(place)
        self.place, data = place, TrainingData(data, place)
        adapt(self.method, place, recipe.precision)
        self.optimizer = _optimizer(self.method, recipe)
        self.method.begin_epoch(0, data)
        self.method.train()
        self.batch = next(data.batches(size, np.random.default_rng(0)))

    def __call__(self, steps: int) -> None:
        with deterministic(self.place):
            for _ in range(steps):
                self.method.step(self.batch, self.optimizer)
        synchronize(self.place)


def synchronize(place: torch.device) -> None:
    """Wait for what the device is still doing."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


# ------------------------------------------------------------------ several at once


def several(network: str, size: int, seeds: int, place: torch.device):
    """Two functions that step ``seeds`` networks once from the same start, by cross-entropy and plain gradient descent, and
    return the last network's head weights."""
    torch.manual_seed(0)
    networks = [backbones.build(network, image_shape(network), 10).to(place) for _ in range(seeds)]
    x = torch.randn(seeds, size, *image_shape(network), device=place)
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
        futures = [pool.submit(one_of_them, network, size, steps, device, start) for _ in range(count)]
        return max(future.result() for future in futures)


def one_of_them(network: str, size: int, steps: int, device: str, start=None) -> float:
    """Seconds a step in one process, which waits for the others."""
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
    from threadpoolctl import threadpool_limits

    measured = {"image_steps": image_steps, "image_seeds": image_seeds, "image_processes": image_processes}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_images", description="Speed of training on images.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, required=True, help="folder for the CSV files")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only whether it runs")
    parser.add_argument("--only", nargs="+", choices=measured, default=tuple(measured))
    options = parser.parse_args(arguments)
    place = check_device(options.device)
    device = torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu"
    for name in options.only:
        with nullcontext() if place.type == "cuda" else threadpool_limits(1):
            table = pd.DataFrame(measured[name](options.smoke, place)).assign(device=device, torch=torch.__version__)
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_atomically(options.out / f"{name}_{place.type}.csv", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
