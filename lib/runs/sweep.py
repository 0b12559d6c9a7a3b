"""Runs: one configuration, one key, one row.

A :class:`RunConfig` says everything that decides a number; its hash is the key of its row in the ledger. :func:`sweep`
takes the rows that exist and trains the others, each written by the worker that made it, so that a killed sweep goes on
where it stopped.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import platform
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from lib import datasets, methods, networks, paths
from lib.datasets.kinds import CrowdData, CrowdDataset
from lib.methods.base import Method
from lib.networks.predict import as_numpy
from lib.runs import ledger
from lib.runs.config import RunConfig, as_read, each_once
from lib.runs.schedule import Queue
from lib.runs.workers import processors, workers_for
from lib.storage import NotWritable
from lib.training import scoring
from lib.training.device import check_device
from lib.training.loop import Fit, fit

log = logging.getLogger(__name__)
__all__ = ["RunFailed", "find", "processor", "sweep", "train"]


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
        keep_correct = "correct" in config.keep
        fitted = fit(method, data, config.recipe, seed=config.seed, device=device, progress=progress, keep_correct=keep_correct)
        row = {
            "key": config.key(),
            "config": as_read(config),
            "metrics": {name: round(value, 6) for name, value in scoring.summary(method, data, fitted.history).items()},
            "history": {name: [round(value, 5) for value in values] for name, values in fitted.history.items()},
            "seconds": round(fitted.seconds, 2),
            "provenance": _provenance(config, device) | _test_images(data),
        }
        if config.keep:
            row["arrays"] = arrays(config.keep, method, data, fitted)
    return row, method


KEEP = ("correct", "confusion", "weight", "bias", "predictions")


def arrays(keep: Sequence[str], method: Method, data: CrowdData, fitted: Fit) -> dict[str, np.ndarray]:
    """What is kept beside a row, numbers as float32.

    Args:
        keep: some of :data:`KEEP`. ``correct``: the arrays ``correct_last``, ``correct_best`` and ``correct_selected``, which
            test items were right after the epochs that the row's accuracies are of, as bits (:func:`numpy.packbits`);
            ``confusion``: the method's matrices ``[annotators, true class, label]``; ``weight``: a crowd layer's own, as its
            variant has them; ``bias``: ``[annotators]`` of a method for ratings; ``predictions``: the class probabilities
            ``predictions_train`` and ``predictions_test`` ``[items, classes]`` after the last epoch.
        method: trained.
        data: what it was trained on.
        fitted: its training.

    Raises:
        ValueError: another name, or an array that this method does not have.
    """
    kept: dict[str, np.ndarray] = {}
    for name in keep:
        if name == "correct" and fitted.correct is not None:
            epochs = scoring.reported_epochs(fitted.history, "acc", method.warmup_epochs)
            kept |= {f"correct_{which}": np.packbits(fitted.correct[epoch]) for which, epoch in epochs.items()}
        elif name == "predictions" and method.task == "classification":
            splits = {"train": data.x, "test": data.x_test}
            kept |= {
                f"predictions_{split}": as_numpy(method.predict_proba, x, method).astype(np.float32)
                for split, x in splits.items()
                if x is not None
            }
        elif name in ("confusion", "weight", "bias") and (array := _array(method, name)) is not None:
            kept[name] = array
        else:
            known = ", ".join(KEEP)
            raise ValueError(
                f"keep must name arrays that the method has, of {known}; found {name!r} of {type(method).__name__}"
            )
    return kept


def _array(method: Method, name: str) -> np.ndarray | None:
    """A method's tensor of that name, or what its function of that name returns; None where it has neither."""
    value = getattr(method, name, None)
    value = value() if callable(value) else value
    return value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else None  # some have a weight of a penalty


def _provenance(config: RunConfig, device: str) -> dict[str, str]:
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": _code_version(),
        "data": datasets.fingerprint(config.dataset, **config.dataset_options),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "processor": processor(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _test_images(data: CrowdDataset) -> dict[str, str]:
    """Which test images an accuracy is of, where there are several kinds of them."""
    kinds = Counter(np.asarray(data.extra.get("test_kind", [])).tolist())
    return {"test": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))} if kinds else {}


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
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"  # an exported copy, or a machine without git


# ---------------------------------------------------------------------- training many


WORKER_DIED = "a worker process died (killed, or out of memory). Finished runs are in the ledger: run again to go on."
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
    on_row: Callable[[dict], None] | None = None,
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
    keys = [config.key() for config in configs]
    wanted = each_once(configs)
    experiments = {config.experiment for config in configs}
    stored = ledger.lookup(experiments)
    own = stored if folder is None else {row["key"]: row for name in experiments for row in ledger.own_rows(name, folder)}
    rows = {key: row for key, row in own.items() if key in wanted and ledger.has_arrays(row, wanted[key].keep)}
    if recompute:
        rows = {}
    missing = {key: config for key, config in wanted.items() if key not in rows}
    if missing and folder is None and ledger.order() == "reference":
        config = next(iter(missing.values()))
        raise ValueError(
            f"CROWDS_LEDGER is 'reference', and {len(missing)} of {len(wanted)} runs are not in the reference ledger "
            f"{paths.reference()} or are to be retrained, the first: {config.describe()}. Unset it to train them."
        )
    if missing:
        queue = Queue(missing, stored.values(), deadline, device)
        old = {key: ledger.own_row(config.experiment, key, folder) for key, config in missing.items()} if recompute else {}
        workers = workers or (processors() if device == "cpu" else 1)
        with contextlib.nullcontext(executor) if executor else workers_for(len(missing), workers) as pool:
            rows |= _train_all(queue, pool, device, folder, old, progress, on_row)
    return [rows.get(key) for key in keys]


def _train_all(
    queue: Queue,
    pool: Executor,
    device: str,
    folder: Path | None,
    old: Mapping[str, dict | None],
    progress: bool,
    on_row: Callable[[dict], None] | None,
) -> dict[str, dict]:
    from tqdm.auto import tqdm

    rows, failures, running = {}, [], {}
    with tqdm(total=len(queue.waiting), desc="runs", disable=not progress) as bar, contextlib.ExitStack() as claims:
        while True:
            elsewhere = False  # whether another process is at work on a run that we wait for
            for key in queue.fitting():
                # A run is weighed against the deadline only when a worker is free for it.
                if len(running) >= _slots(pool):
                    break
                config = queue.waiting[key]
                if (claim := ledger.claim(key, folder)) is None:
                    elsewhere = True
                    continue
                del queue.waiting[key]
                row = ledger.own_row(config.experiment, key, folder)  # another process may just have finished it
                if row is not None and row != old.get(key) and ledger.has_arrays(row, config.keep):
                    rows[key] = row
                    claim.release()
                    bar.update()
                    continue
                claims.callback(claim.release)
                begun = time.time()  # before, since an executor may train at once
                running[_submit(pool, config, device, folder)] = (config, claim, begun)
            if not running:
                if not elsewhere:
                    break
                time.sleep(_LOOK_AGAIN)
                continue
            done, _ = wait(running, timeout=_LOOK_AGAIN if elsewhere else None, return_when=FIRST_COMPLETED)
            under_way = [config.describe() for config, _, _ in running.values()]
            for future in done:
                config, claim, begun = running.pop(future)
                try:
                    row = future.result()
                except BrokenProcessPool as error:
                    raise RunFailed(f"{WORKER_DIED} It was at work on one of these: {'; '.join(under_way)}") from error
                except NotWritable:
                    raise
                except Exception as error:
                    if hasattr(pool, "check"):
                        pool.check()  # a lost cluster is no fault of a run
                    log.error("%s failed: %s", config.describe(), error)
                    failures.append((config, error))
                else:
                    # Written again, for a run of another machine; the same bytes otherwise.
                    row = rows[row["key"]] = ledger.write(row, folder)
                    queue.learn(row, time.time() - begun)
                    if on_row is not None:
                        on_row(row)
                claim.release()
                bar.update()
    if failures:
        config, error = failures[0]
        raise RunFailed(f"{len(failures)} runs failed, the first: {config.describe()}: {error}") from error
    return rows


def _slots(pool: Executor) -> int:
    """How many runs an executor can have under way; a cluster's size changes."""
    return pool.slots() if hasattr(pool, "slots") else getattr(pool, "_max_workers", processors())


def _submit(pool: Executor, config: RunConfig, device: str, folder: Path | None) -> Future:
    try:
        if hasattr(pool, "slots"):
            return pool.submit(_train_elsewhere, config, device)
        return pool.submit(_train_and_write, config, device, folder)
    except BrokenProcessPool as error:
        raise RunFailed(WORKER_DIED) from error


def _train_and_write(config: RunConfig, device: str, folder: Path | None) -> dict:
    """Written by the worker, so that a finished run is not lost with the process that asked for it."""
    row, _ = train(config, device)
    return ledger.write(row, folder)


def _train_elsewhere(config: RunConfig, device: str) -> dict:
    """On another machine, whose ledger is none of ours: the arrays come along with the row."""
    return train(config, device)[0]
