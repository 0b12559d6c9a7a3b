"""Benchmarks: our time and memory beside those of peer libraries, measured in the same run.

    python -m tests.benchmarks.bench                          all of them, at full size
    python -m tests.benchmarks.bench dawid_skene_memory       some of them
    python -m tests.benchmarks.bench --smoke                  tiny sizes, into build/benchmarks: does it still run?

Each benchmark is a function in ``BENCHMARKS`` that returns one :class:`Measurement` a row; a new one is a new function with
the decorator, here or in a module ``bench_*``. It becomes ``figures/benchmarks/<name>.csv``, and ``benchmarks.png`` is drawn
anew from all CSV files there. Ours and the peer take turns on one thread, and a time is the median over the repeats.
"""

from __future__ import annotations

import argparse
import importlib
import io
import multiprocessing
import pkgutil
import platform
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from lib import paths
from lib.aggregation.dawid_skene import dawid_skene
from lib.crowd.labels import CrowdLabels
from lib.registry import unknown
from lib.storage import write_atomically

__all__ = ["BENCHMARKS", "Measurement", "benchmark", "draw", "fresh_process", "load_all", "main", "measure", "take_turns"]

THREADS = 1
REPEATS = 3
OURS, PEER, LIMIT = "#0072B2", "#D55E00", "#000000"  # Okabe and Ito's blue and vermilion: color-blind safe


@dataclass(frozen=True)
class Measurement:
    """One row of a benchmark.

    Args:
        what: what was computed, in a few words.
        size: how much of it, in ``size_unit``.
        size_unit: "labels", "items", ...
        ours_seconds, peer_seconds: median wall time; None where not measured.
        peer: name and version of the library compared with.
        max_abs_difference: between our result and the peer's.
        peak_memory_mb: largest resident memory of a process that did only this, in MiB.
        repeats: runs behind each median.
        target_ratio: how many times faster than the peer we want to be.
        target_memory_mb: what the peak should stay under.
        target_seconds: what our own time should stay under.
    """

    what: str
    size: int
    size_unit: str
    ours_seconds: float | None = None
    peer_seconds: float | None = None
    peer: str | None = None
    max_abs_difference: float | None = None
    peak_memory_mb: float | None = None
    repeats: int = 1
    target_ratio: float | None = None
    target_memory_mb: float | None = None
    target_seconds: float | None = None


BENCHMARKS: dict[str, Callable[[bool], list[Measurement]]] = {}


def benchmark(function: Callable[[bool], list[Measurement]]) -> Callable[[bool], list[Measurement]]:
    """Register a benchmark under its function's name. It is called with ``smoke``: whether tiny sizes are enough."""
    BENCHMARKS[function.__name__] = function
    return function


def load_all() -> None:
    """Import every module ``bench_*`` beside this one, which registers its benchmarks."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("bench_"):
            importlib.import_module(f"tests.benchmarks.{module.name}")


# ------------------------------------------------------------------ the benchmarks


@benchmark
def dawid_skene_vs_crowdkit(smoke: bool) -> list[Measurement]:
    """Ten iterations on the same labels: ours from a checked crowd and from the table, crowd-kit's from the table."""
    rows = []
    sizes = [(60, 6)] if smoke else [(2_000, 100), (20_000, 300), (200_000, 1_000)]  # items, annotators
    for items, annotators in sizes:
        item, annotator, label = _triples(items, annotators)
        table = pd.DataFrame({"task": item, "worker": annotator, "label": label})
        # A crowd keeps its incidence matrix, which is part of the work: so each repeat gets a crowd of its own.
        fresh = iter([CrowdLabels(item, annotator, label, items, annotators, 10) for _ in range(REPEATS)])
        candidates = {
            "Dawid-Skene": lambda fresh=fresh: _ten_iterations(next(fresh)),
            "Dawid-Skene, from a table": lambda table=table: _ten_iterations(_crowd_of(table)),
            "peer": lambda table=table: _ten_iterations_of_crowdkit(table),
        }
        seconds, results = take_turns(candidates)
        expected = results["peer"].sort_index(axis=0).sort_index(axis=1).to_numpy()
        rows += [
            Measurement(
                what,
                len(item),
                "labels",
                seconds[what],
                seconds["peer"],
                f"crowd-kit {metadata.version('crowd-kit')}",
                float(np.abs(results[what] - expected).max()),
                repeats=REPEATS,
                target_ratio=8.0 if what == "Dawid-Skene" and items == 200_000 else None,
            )
            for what in ("Dawid-Skene", "Dawid-Skene, from a table")
        ]
    return rows


@benchmark
def dawid_skene_memory(smoke: bool) -> list[Measurement]:
    """Peak memory of a process that makes the labels, checks them, and runs ten iterations."""
    items, annotators = (60, 6) if smoke else (2_000_000, 10_000)
    (labels, seconds), peak = fresh_process(_dawid_skene_alone, items, annotators)
    return [Measurement("Dawid-Skene", labels, "labels", seconds, peak_memory_mb=peak, target_memory_mb=4096.0)]


def _dawid_skene_alone(items: int, annotators: int) -> tuple[int, float]:
    crowd = CrowdLabels(*_triples(items, annotators), items, annotators, 10)
    begin = time.perf_counter()
    _ten_iterations(crowd)
    return len(crowd), time.perf_counter() - begin


def _ten_iterations(crowd: CrowdLabels) -> np.ndarray:
    return dawid_skene(crowd, smoothing=0.0, max_iterations=10, tolerance=-np.inf).posterior


def _crowd_of(table: pd.DataFrame) -> CrowdLabels:
    return CrowdLabels.from_frame(table, item="task", annotator="worker", label="label")


def _ten_iterations_of_crowdkit(table: pd.DataFrame) -> pd.DataFrame:
    from crowdkit.aggregation import DawidSkene

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # crowd-kit 1.4 calls pandas in ways that pandas 3 deprecates
        return DawidSkene(n_iter=10, tol=-np.inf).fit(table).probas_


def _triples(items: int, annotators: int, per_item: int = 5, classes: int = 10, seed: int = 0):
    """Item, annotator and label of a simulated crowd, in random order; ``per_item`` different annotators an item."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=items)
    first = random.integers(annotators, size=(items, 1))
    stride = random.integers(1, annotators // per_item + 1, size=(items, 1))
    annotator = ((first + stride * np.arange(per_item)) % annotators).ravel()
    item = np.repeat(np.arange(items), per_item)
    knows = random.random(len(item)) < random.beta(4, 2, size=annotators)[annotator]
    label = np.where(knows, truth[item], random.integers(classes, size=len(item)))
    order = random.permutation(len(item))
    return item[order], annotator[order], label[order]


# ------------------------------------------------------------------ measuring


def take_turns(candidates: dict[str, Callable], repeats: int = REPEATS) -> tuple[dict[str, float], dict[str, object]]:
    """Run the candidates one after the other, ``repeats`` times; the median seconds and the last result of each."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    results: dict[str, object] = {}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            begin = time.perf_counter()
            results[name] = candidate()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in seconds.items()}, results


def fresh_process(function: Callable, *arguments) -> tuple[object, float]:
    """Call a module-level function in a new process; its result and the peak resident memory of that process in MiB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as executor:
        return executor.submit(_with_peak_memory, function, *arguments).result()


def _with_peak_memory(function: Callable, *arguments) -> tuple[object, float]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(THREADS):
        result = function(*arguments)
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: there `ru_maxrss` of a new process begins at the size of its parent
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return result, int(peak.split()[1]) / 1024
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kibibytes elsewhere
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(name: str, smoke: bool = False) -> pd.DataFrame:
    """Run a benchmark.

    Returns:
        One row a measurement: its fields, then ``ratio`` (peer's seconds / ours), threads and versions.

    Raises:
        ValueError: no benchmark of that name.
    """
    from threadpoolctl import threadpool_limits

    if name not in BENCHMARKS:
        raise ValueError(unknown("benchmark", name, sorted(BENCHMARKS)))
    with threadpool_limits(THREADS):
        rows = BENCHMARKS[name](smoke)
    table = pd.DataFrame([asdict(row) for row in rows])
    ratio = pd.to_numeric(table["peer_seconds"]) / pd.to_numeric(table["ours_seconds"])
    table.insert(table.columns.get_loc("peer_seconds") + 1, "ratio", ratio)
    versions = {package: metadata.version(package) for package in ("numpy", "scipy", "pandas", "torch")}
    return table.assign(threads=THREADS, python=platform.python_version(), **versions)


# ------------------------------------------------------------------ the figure


def draw(folder: Path) -> Path:
    """Draw ``benchmarks.png`` from all CSV files of a folder: seconds beside the peer's, and peak memory.

    Raises:
        ValueError: the folder has no measurements.
    """
    from lib.plotting import style  # here, so that measuring needs no matplotlib

    tables = [pd.read_csv(path) for path in sorted(folder.glob("*.csv")) if not path.stem.startswith("own_data")]  # no times
    if not tables:
        raise ValueError(f"no measurements (*.csv) in {folder}")
    table = pd.concat([part.dropna(axis=1, how="all") for part in tables], ignore_index=True)
    table = table.reindex(columns=table.columns.union(["peer_seconds", "peak_memory_mb", "target_memory_mb"]))
    timed, sized = table.dropna(subset="peer_seconds"), table.dropna(subset="peak_memory_mb")
    panels = [(part, panel) for part, panel in ((timed, _draw_seconds), (sized, _draw_memory)) if len(part)]
    with style.in_style():
        from matplotlib.figure import Figure

        heights = [1.7 + 0.62 * len(part) for part, _ in panels]
        figure = Figure(figsize=(8, sum(heights)))
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for (part, panel), ax in zip(panels, axes, strict=True):
            panel(ax, part)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", metadata={"Software": None})
    write_atomically(folder / "benchmarks.png", picture.getvalue())
    return folder / "benchmarks.png"


def _draw_seconds(ax, table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    ax.hlines(rows, table["ours_seconds"], table["peer_seconds"], color="0.75", linewidth=3, zorder=1)
    ax.scatter(table["ours_seconds"], rows, s=110, color=OURS, label="this project", zorder=2)
    ax.scatter(table["peer_seconds"], rows, s=110, color=PEER, marker="s", label="peer", zorder=2)
    for row, (ratio, peer, seconds) in enumerate(table[["ratio", "peer", "peer_seconds"]].itertuples(index=False)):
        name = re.sub(r" [0-9.]+$", "", peer)  # without the version
        text = f"{name}: {ratio:.{int(ratio < 10)}f} ×"
        ax.annotate(text, (seconds, row), (12, 0), textcoords="offset points", va="center")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    low, high = table[["ours_seconds", "peer_seconds"]].min(axis=None), table["peer_seconds"].max()
    ax.set_xlim(low / 1.6, high * (high / low) ** 0.6)  # room for the text
    ax.set_title("Time, and how many times longer a peer takes", loc="left", pad=30)
    _finish(ax, table, "median wall time on one thread (seconds, log scale)")


def _draw_memory(ax, table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    ax.barh(rows, table["peak_memory_mb"], height=0.45, color=OURS, label="this project")
    for row, peak in zip(rows, table["peak_memory_mb"], strict=True):
        # Within the bar, where no limit's line can cross it.
        ax.annotate(f"{peak:,.0f}", (peak, row), (-6, 0), textcoords="offset points", va="center", ha="right", color="white")
    limits = table["target_memory_mb"]
    ax.vlines(limits, rows - 0.35, rows + 0.35, color=LIMIT, linestyle="--", linewidth=2, label="limit")
    ax.set_xlim(0, 1.25 * np.nanmax([table["peak_memory_mb"].max(), limits.max()]))
    ax.set_title("Memory of the whole process at its peak", loc="left", pad=30)
    _finish(ax, table, "peak resident memory (MiB)")


def _finish(ax, table: pd.DataFrame, xlabel: str) -> None:
    shown = table[["what", "size", "size_unit"]].itertuples(index=False)
    names = [f"{what}\n{size:,} {unit}" for what, size, unit in shown]
    ax.set_yticks(np.arange(len(table)), names)
    ax.set_ylim(len(table) - 0.4, -0.6)  # first row on top
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(xlabel)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)


# ------------------------------------------------------------------ command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description="Our time and memory beside peers'.")
    parser.add_argument("names", nargs="*", help=f"benchmarks to run (default: all): {', '.join(sorted(BENCHMARKS))}")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only whether it runs")
    parser.add_argument("--out", type=Path, help="folder for the CSV files and the plot (default: figures/benchmarks)")
    options = parser.parse_args(arguments)
    wrong = [name for name in options.names if name not in BENCHMARKS]
    if wrong:
        parser.error(unknown("benchmark", wrong[0], sorted(BENCHMARKS)))
    # Smoke numbers mean nothing: they must not replace measured ones.
    folder = options.out or (paths.build() / "benchmarks" if options.smoke else paths.figures("benchmarks"))
    for name in options.names or BENCHMARKS:
        table = measure(name, smoke=options.smoke)
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        shown = table.drop(columns=["threads", "python", "numpy", "scipy", "pandas", "torch"]).dropna(axis=1, how="all")
        print(f"{name}\n{shown.to_string(index=False)}\n")
    print(f"drawn: {draw(folder)}")
    return 0


if __name__ == "__main__":
    from tests.benchmarks import bench  # the module that the others register in, which this one, called __main__, is not

    bench.load_all()
    raise SystemExit(bench.main())
