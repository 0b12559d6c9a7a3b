"""Runs: :func:`sweep` takes the rows that exist and trains the others, each written by the worker that made it, so that a
killed sweep goes on where it stopped.
"""

import contextlib
import functools
import json
import logging
import os
import platform
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from lib import datasets, methods, networks, paths
from lib.datasets.kinds import CrowdData
from lib.methods.base import Method
from lib.networks.predict import as_numpy
from lib.runs import ledger
from lib.runs.cluster import Cluster
from lib.runs.config import RunConfig, as_read, each_once
from lib.runs.schedule import Queue
from lib.runs.workers import InThisProcess, processes, processors
from lib.storage import NotWritable
from lib.training import scoring
from lib.training.device import check_device
from lib.training.loop import Fit, fit

log = logging.getLogger(__name__)


# ---------------------------------------------------------------------- training one run

# Torch's random generator and number of threads belong to the process: in an executor of threads, two runs at once would
# draw from each other's random numbers.
_alone = threading.Lock()


@functools.lru_cache(maxsize=4)
def _dataset(name: str, options: str) -> CrowdData:
    return datasets.load(name, **json.loads(options))


@contextmanager
def _one_thread(device: str):
    # Sums split over threads differ in their last digits, so a row made on two cores would not repeat on one.
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
        # Moments of weights that get no gradient any more fade below 1e-38, where a processor takes many times as long for a
        # product. As zeros they move a weight as little, but not by the same last digits: the committed rows are made so.
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def train(config: RunConfig, device: str = "cpu", progress: bool = False) -> tuple[dict, Method]:
    """Train one configuration, again and without touching any ledger.

    Returns:
        The ledger row, with the arrays to keep beside it under ``arrays``, and the trained method.
    """
    data = _dataset(config.dataset, json.dumps(config.dataset_options, sort_keys=True))
    with _alone, _one_thread(device), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        shape, options = tuple(data.x.shape[1:]), config.backbone_options
        backbone = functools.partial(
            networks.build, config.backbone, shape, data.n_outputs, normalize=data.normalize, **options
        )
        method = methods.build(config.method, backbone, data.crowd, truth=data.y, **config.method_options)
        fitted = fit(method, data, config.recipe, seed=config.seed, device=device, progress=progress)
        row = {
            "key": config.key(),
            "config": as_read(config),
            "metrics": {name: round(value, 6) for name, value in scoring.summary(method, data, fitted.history).items()},
            "history": {name: [round(value, 5) for value in values] for name, values in fitted.history.items()},
            "seconds": round(fitted.seconds, 2),
            "provenance": _provenance(config, device, data),
        }
        if config.keep:
            row["arrays"] = arrays(config.keep, method, data, fitted)
    return row, method


KEEP = ("correct", "confusion", "weight", "bias", "predictions")


def arrays(keep: Sequence[str], method: Method, data: CrowdData, fitted: Fit) -> dict[str, np.ndarray]:
    """What is kept beside a row of a trained method, numbers as float32.

    Args:
        keep: some of :data:`KEEP`. ``correct``: the arrays ``correct_last``, ``correct_best`` and ``correct_selected``, which
            test items were right after the epochs that the row's accuracies are of, as bits (:func:`numpy.packbits`);
            ``confusion``: the method's matrices ``[annotators, true class, label]``; ``weight``: a crowd layer's own, as its
            variant has them; ``bias``: ``[annotators]`` of a method for ratings; ``predictions``: the class probabilities
            ``predictions_train`` and ``predictions_test`` ``[items, classes]`` after the last epoch.

    Raises:
        ValueError: another name, or an array that this method does not have.
    """
    kept: dict[str, np.ndarray] = {}
    for name in keep:
        if name == "correct" and fitted.correct is not None:
            epochs = scoring.reported_epochs(fitted.history, "acc", method.warmup_epochs)
            kept |= {f"correct_{which}": np.packbits(fitted.correct[epoch]) for which, epoch in epochs.items()}
        elif name == "predictions" and method.task == "classification":
            for split, x in (("train", data.x), ("test", data.x_test)):
                if x is not None:
                    kept[f"predictions_{split}"] = as_numpy(method.predict_proba, x, method).astype(np.float32)
        elif name in ("confusion", "weight", "bias") and isinstance(found := _attribute(method, name), torch.Tensor):
            kept[name] = found.detach().float().cpu().numpy()
        else:
            known, kind = ", ".join(KEEP), type(method).__name__
            raise ValueError(f"keep must name arrays that the method has, of {known}; found {name!r} of {kind}")
    return kept


def _attribute(method: Method, name: str) -> object:
    value = getattr(method, name, None)
    return value() if callable(value) else value


def _provenance(config: RunConfig, device: str, data: CrowdData) -> dict[str, str]:
    kinds = Counter(np.asarray(data.extra.get("test_kind", [])).tolist())  # where an accuracy is of several kinds of images
    tested = {"test": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))} if kinds else {}
    return tested | {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": _code_version(),
        "data": datasets.fingerprint(config.dataset, **config.dataset_options),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "processor": processor(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@functools.cache
def processor() -> str:
    """The processor and the instruction set that torch uses on it."""
    name, facts = platform.processor() or platform.machine(), {}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    # Virtual machines give one name to several processors, which their model's number tells apart.
    model = facts.get("model", facts.get("CPU part", "unknown"))
    return f"{facts.get('model name', name)} (model {model}), {torch.backends.cpu.get_cpu_capability()}"


@functools.cache
def _code_version() -> str:
    command = ["git", "-C", str(paths.ROOT), "describe", "--always", "--dirty"]
    alone = os.environ | {"GIT_CEILING_DIRECTORIES": str(paths.ROOT.parent)}  # no repository that a copy of ours lies in
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=alone).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"  # an exported copy, or a machine without git


# ---------------------------------------------------------------------- training many


_LOOK_AGAIN = 0.5  # seconds between two looks at what other processes, or a cluster, are doing


class RunFailed(RuntimeError):
    """One or more runs of a sweep raised; the others were finished and are in the ledger."""


def find(config: RunConfig) -> dict | None:
    """The ledger's row of a configuration, or None."""
    return ledger.lookup([config.experiment]).get(config.key())


def sweep(
    configs: Sequence[RunConfig],
    recompute: bool = False,
    *,
    folder: Path | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    deadline: float | None = None,
    on_row: Callable[[dict], None] = lambda row: None,
) -> list[dict | None]:
    """Rows of many configurations: taken from the ledger where they are, trained and written where they are not.

    A run is claimed before it starts: of several processes that want it, one trains it and the others take its row.

    Args:
        configs: what to run; the same one twice is trained once.
        recompute: train all of them again.
        folder: a ledger folder of its own, for rows that are fresh: those in it are taken, the others trained and put
            there. By default the reference and the user's own ledger, which gets the new ones.
        executor: any ``concurrent.futures`` executor; the caller shuts it down. Threads of one process train one after the
            other. By default a pool of processes, or this process where there is only one run.
        workers: size of the default pool; by default one per processor, or one on a GPU.
        device: ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``auto``.
        progress: show a bar over runs.
        deadline: UNIX time; start no run that would not end in time, judged by the seconds of earlier ones.
        on_row: called with each row that was trained.

    Returns:
        A row for each configuration, in order; None for one that the deadline left out.

    Raises:
        ValueError: a device that is not there, or ``CROWDS_LEDGER=reference`` and a row is missing there; names the run.
        RunFailed: a run raised; after all others are done. Names the first.
        NotWritable: the ledger cannot be written (a full disk); at once, since no other run could be kept either.
    """
    if executor is None:  # another machine's devices are not ours to check
        device = str(check_device(device))
    wanted = each_once(configs)
    rows = {} if recompute else ledger.finished(wanted, folder)
    missing = {key: config for key, config in wanted.items() if key not in rows}
    if missing and folder is None and ledger.order() == "reference":
        raise ValueError(
            f"CROWDS_LEDGER is 'reference', and {len(missing)} of {len(wanted)} runs are not in the reference ledger "
            f"{paths.reference()} or are to be retrained, the first: {next(iter(missing.values())).describe()}. "
            "Unset it to train them."
        )
    if missing:
        queue = Queue(missing, ledger.lookup(config.experiment for config in configs).values(), deadline, device)
        old = {key: ledger.own_row(config.experiment, key, folder) for key, config in missing.items()} if recompute else {}
        count = min(workers or (processors() if device == "cpu" else 1), len(missing))
        own = processes(count) if count > 1 and not executor else contextlib.nullcontext(executor or InThisProcess())
        with own as pool:
            rows |= _train_all(queue, pool, device, folder, old, progress, on_row)
    return [rows.get(config.key()) for config in configs]


def _train_all(
    queue: Queue,
    pool: Executor,
    device: str,
    folder: Path | None,
    old: Mapping[str, dict | None],
    progress: bool,
    on_row: Callable[[dict], None],
) -> dict[str, dict]:
    from tqdm.auto import tqdm

    remote = isinstance(pool, Cluster)
    rows, failures, running = {}, [], {}
    try:
        with tqdm(total=len(queue.waiting), desc="runs", disable=not progress) as bar, contextlib.ExitStack() as claims:
            while True:
                elsewhere = False  # whether another process is at work on a run that we wait for
                for key in queue.fitting():
                    # A run is weighed against the deadline only when a worker is free for it; a cluster's size changes.
                    if len(running) >= (pool.slots() if remote else getattr(pool, "_max_workers", processors())):
                        break
                    if (claim := ledger.claim(key, folder)) is None:
                        elsewhere = True
                        continue
                    claims.callback(claim.release)
                    config = queue.waiting.pop(key)
                    row = ledger.own_row(config.experiment, key, folder)
                    # Another process may just have finished it; ``old`` are rows that are to be trained again.
                    if row is not None and row != old.get(key) and ledger.has_arrays(row, config.keep):
                        rows[key] = row
                        claim.release()
                        bar.update()
                        continue
                    begun = time.time()  # before, since an executor may train at once
                    running[pool.submit(_train_one, config, device, folder, remote)] = config, claim, begun
                if not running and not elsewhere:
                    break
                if not running:
                    time.sleep(_LOOK_AGAIN)
                    continue
                done, _ = wait(running, timeout=_LOOK_AGAIN if elsewhere else None, return_when=FIRST_COMPLETED)
                for future in done:
                    config, claim, begun = running[future]
                    try:
                        row = future.result()
                    except (NotWritable, BrokenProcessPool):
                        raise
                    except Exception as error:
                        if remote:
                            pool.check()  # a lost cluster is no fault of a run
                        log.error("%s failed: %s", config.describe(), error)
                        failures.append((config, error))
                    else:
                        rows[row["key"]] = row = ledger.write(row, folder) if remote else row
                        queue.learn(row, time.time() - begun)
                        on_row(row)
                    del running[future]
                    claim.release()
                    bar.update()
    except BrokenProcessPool as error:
        at_work = "; ".join(config.describe() for config, _, _ in running.values())
        raise RunFailed(
            "a worker process died (killed, or out of memory). Finished runs are in the ledger: run again to go on. "
            f"It was at work on one of these: {at_work}"
        ) from error
    if failures:
        config, error = failures[0]
        raise RunFailed(f"{len(failures)} runs failed, the first: {config.describe()}: {error}") from error
    return rows


def _train_one(config: RunConfig, device: str, folder: Path | None, remote: bool) -> dict:
    """Written by the worker, so that a finished run is not lost with the process that asked for it; on another machine, whose
    ledger is none of ours, the arrays come along with the row."""
    row, _ = train(config, device)
    return row if remote else ledger.write(row, folder)
