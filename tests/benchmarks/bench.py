"""Benchmarks: this project beside its peers, and beside variants of its own, measured in the same run.

    python -m tests.benchmarks.bench                        every question, at full size: about twelve minutes
    python -m tests.benchmarks.bench --only aggregation ccc some of them
    python -m tests.benchmarks.bench --resume --budget 5m   go on with what is not measured yet, at most so long
    python -m tests.benchmarks.bench --smoke                tiny sizes, into build/benchmarks: does everything still run?
    python -m tests.benchmarks.bench --install              environments for peerannot and MaML, in build/peers

Where the peers are is told by environment variables, see :mod:`tests.benchmarks.peers`; one that is not there becomes a row
that says so. What is asked is in :mod:`tests.benchmarks.questions`. Both sides run in processes of their own on one thread and
take turns, three times; of a task that takes longer than ``--limit`` there is one, which is stopped. Seconds are those that
the processor spent, which other work on the machine hardly changes; a row says nevertheless whether the machine was idle.

Each row is written when it is finished, into ``figures/benchmarks/<question>.csv``; ``benchmarks.png`` and ``own_variants.png``
are drawn from all of them.
"""

import argparse
import datetime
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from lib import paths
from lib.registry import unknown
from lib.reproduce import flags
from lib.storage import write_atomically
from tests.benchmarks.peers import OURS, PEERS, Missing, Side, Sides, Stopped, install
from tests.benchmarks.questions import OWN, QUESTIONS, Case, NoData

REPEATS = 3
LONG = 20.0  # seconds of both sides together, from which on one repetition must do
QUICK = 2.0  # seconds of a first run of both sides, below which it only warms up
IDLE = 0.5  # load average at the start, up to which the machine counts as idle
KEY = ["what", "size", "peer"]
MEASURED = "measured"


def measure(case: Case, sides: Sides, load: float = np.nan) -> dict:
    """One row: times, ratios with their spread, memory, and whether both sides say the same. ``load`` is the machine's load
    average before anything was measured."""
    row = dict(zip(KEY, _key(case), strict=True)) | {"size_unit": case.size_unit, "status": MEASURED}
    row |= dict.fromkeys(
        ["ours_seconds", "peer_seconds", "ratio", "ratio_low", "ratio_high", "repeats", "ours_mb", "peer_mb", "compared",
         "ours_score", "peer_score", "difference", "tolerance", "equal", "ours_version", "peer_version"]
    )  # fmt: skip
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = Path(folder) / "data.npz"
            np.savez(file, **case.data())
            row |= _both(case, file, sides)
        except NoData as error:
            row["status"] = f"no data: {error}"
    row |= {"limit_seconds": case.limit_seconds, "limit_mb": case.limit_mb, "load": load, "idle": bool(load <= IDLE)}
    row |= {"date": datetime.date.today().isoformat(), "machine": _machine(), "threads": 1, "python": platform.python_version()}
    row |= {package: metadata.version(package) for package in ("numpy", "scipy", "pandas", "torch")}
    return row | {"took": time.perf_counter() - started}


def _both(case: Case, file: Path, sides: Sides) -> dict:
    """What both sides found: the fields of a row that say so."""
    own: list[tuple[dict, dict]] = []
    theirs: list[tuple[dict, dict]] = []
    status, peer, ours = MEASURED, None, sides.get(OURS)
    try:
        ours.prepare(case.task, file, case.options)
        if case.peer:
            peer, status = _ready(case, file, sides)
        started, warm = time.perf_counter(), 0
        while len(own) < REPEATS + warm and time.perf_counter() - started < LONG:
            own.append(ours.run())
            if peer is not None:
                try:
                    theirs.append(peer.run())
                except Stopped as error:
                    status = f"stopped: {error}"
                    break
            if len(own) == 1 and time.perf_counter() - started < QUICK:
                warm = 1
    except Stopped as error:
        return {"status": f"ours stopped: {error}"}
    finally:
        for side in (ours, peer):
            if side is not None:
                side.end()
    found = {"status": status, "repeats": len(own) - warm, "ours_version": ours.version}
    found["ours_mb"] = own[0][0]["peak_mb"]  # later runs find memory that is held already
    if theirs:
        found["peer_mb"] = theirs[0][0]["peak_mb"]
    own, theirs = own[warm:] or own, theirs[warm:] or theirs
    seconds, other = ([max(answer["cpu"], 1e-9) / case.steps for answer, _ in runs] for runs in (own, theirs))
    found["ours_seconds"] = statistics.median(seconds)
    if peer is not None:
        found["peer_version"] = peer.version
    if theirs:
        ratios = [slow / fast for fast, slow in zip(seconds, other, strict=False)]
        found |= {"ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios)}
        found |= {"peer_seconds": statistics.median(other)} | compare(case, [run[1] for run in own], [run[1] for run in theirs])
    return found


def _ready(case: Case, file: Path, sides: Sides) -> tuple[Side | None, str]:
    """The other side with the task prepared; or None, and why."""
    side = None
    try:
        side = sides.get(case.peer, number=int(case.peer == OURS))
        side.prepare(case.task, file, case.options if case.peer_options is None else case.peer_options)
    except (Missing, Stopped) as error:
        if side is not None:
            side.end()
        return None, f"{'not installed' if isinstance(error, Missing) else 'stopped'}: {error}"
    return side, MEASURED


def compare(case: Case, ours: list[dict], theirs: list[dict]) -> dict:
    """Whether both sides found the same in their repetitions: see :class:`tests.benchmarks.questions.Case`."""
    if case.compared == "accuracy":
        scores = [float(np.mean([run["accuracy"] for run in runs])) for runs in (ours, theirs)]
        found = {"ours_score": scores[0], "peer_score": scores[1], "difference": abs(scores[0] - scores[1])}
    elif case.compared == "answers":
        one, other = (runs[-1]["posterior"].argmax(axis=1) for runs in (ours, theirs))
        found = {"difference": float((one != other).mean())}
    elif case.tolerance is not None:
        found = {"difference": float(np.abs(ours[-1][case.compared] - theirs[-1][case.compared]).max())}
    else:
        return {}
    equal = None if case.tolerance is None else bool(found["difference"] <= case.tolerance)
    return found | {"compared": case.compared, "tolerance": case.tolerance, "equal": equal}


def _machine() -> str:
    """The processor and how many cores; no name of a machine."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        name = found.group(1)
    return f"{name}, {os.cpu_count()} cores"


# ------------------------------------------------------------------ rows in files


def _read(file: Path) -> dict[tuple, dict]:
    """The rows of a file by their keys."""
    table = pd.read_csv(file, dtype={"peer": str}).fillna({"peer": ""}) if file.is_file() else pd.DataFrame()
    return {tuple(row[name] for name in KEY): row for row in table.to_dict("records")}


def _keep(file: Path, row: dict, order: list[tuple]) -> None:
    """Put a row into a file in the place of the one of the same key; rows of no case any more are dropped."""
    rows = _read(file) | {tuple(row[name] for name in KEY): row}
    table = pd.DataFrame([rows[key] for key in order if key in rows])
    write_atomically(file, table.to_csv(index=False, float_format="%.5g", lineterminator="\n"))


def _key(case: Case) -> tuple:
    return (case.what, case.size, case.peer_title or PEERS.get(case.peer, ""))


def _say(row: dict) -> str:
    """A row in a few words."""
    if pd.isna(row["ours_seconds"]):
        return row["status"]
    words = f"ours {row['ours_seconds']:.3g} s"
    if row["ratio"] is not None:
        words += f", {row['ratio']:.3g} times as long ({row['ratio_low']:.3g} to {row['ratio_high']:.3g})"
    if row["status"] != MEASURED:
        words += f", {row['status']}"
    return words + {True: ", equal", False: f", DIFFERENT by {row['difference']}", None: ""}[row["equal"]]


# ------------------------------------------------------------------ command line


def main(arguments: Sequence[str] | None = None, measure: Callable[..., dict] = measure) -> int:
    """The command line; returns the exit status: 1 where both sides differ."""
    known = QUESTIONS | OWN
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="QUESTION", help=", ".join(known))
    parser.add_argument("--budget", type=flags.seconds, default=np.inf, help="start nothing after so long, such as 12m")
    parser.add_argument("--limit", type=flags.seconds, default=60.0, help="stop a run after so long (default: 60s)")
    parser.add_argument("--resume", action="store_true", help="leave out what an idle machine has measured")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only whether it runs")
    parser.add_argument("--out", type=Path, help="folder of the files (default: figures/benchmarks)")
    parser.add_argument("--install", action="store_true", help="make the environments of peerannot and MaML, and stop")
    options = parser.parse_args(arguments)
    if options.install:
        install()
        return 0
    for name in options.only or ():
        if name not in known:
            parser.error(unknown("question", name, sorted(known)))
    # Smoke numbers mean nothing: they must not replace measured ones.
    folder = options.out or (paths.build() / "benchmarks" if options.smoke else paths.figures("benchmarks"))
    cases = {name: list(known[name](options.smoke)) for name in options.only or known}
    before = {name: _read(folder / f"{name}.csv") for name in cases}

    def done(name: str, case: Case) -> bool:
        row = before[name].get(_key(case), {"status": ""})
        return options.resume and row["status"] == MEASURED and bool(row["idle"])

    waiting = [(name, case) for name, parts in cases.items() for case in parts if not done(name, case)]
    took = {(name, key): row["took"] for name, rows in before.items() for key, row in rows.items() if "took" in row}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else np.nan  # before our own work adds to it
    started, differ = time.perf_counter(), 0
    with Sides(options.limit) as sides:
        for number, (name, case) in enumerate(waiting):
            spent = time.perf_counter() - started
            if spent > options.budget:
                print(f"the time is up: {len(waiting) - number} rows are left, go on with --resume")
                break
            guess = statistics.mean(took.values()) if took else spent / number if number else 10.0
            left = sum(took.get((part, _key(other)), guess) for part, other in waiting[number:])
            place = f"[{number + 1}/{len(waiting)}, about {min(left, options.budget - spent) / 60:.0f} min left]"
            beside = f" beside {_key(case)[2]}" if case.peer else ""
            print(f"{place} {name}: {case.what}, {case.size:,} {case.size_unit}{beside}", flush=True)
            row = measure(case, sides, load)
            print(f"    {_say(row)}", flush=True)
            _keep(folder / f"{name}.csv", row, [_key(part) for part in cases[name]])
            differ += row["equal"] is False
    from tests.benchmarks.figure import draw_all  # here, so that measuring needs no matplotlib

    for file in draw_all(folder):
        print(f"drawn: {file}")
    if differ:
        print(f"{differ} rows in which both sides differ", file=sys.stderr)
    return int(differ > 0)


if __name__ == "__main__":
    raise SystemExit(main())
