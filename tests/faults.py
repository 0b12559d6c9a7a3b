"""Faults, many of each kind: files damaged by the thousand, passes that are killed, two at once. Run by ``make faults``.

    python -m tests.faults [--times 0.1] [--only ledger caches]

Each trial ends in one of two ways. It *survived*: the result is right, or there is an error that names the file and what to do.
It *failed*: a wrong result without a word, a traceback, something lost, a process left behind. The report counts both, and the
exit code is 1 where one failed. ``make test`` has a few of each kind; here they take some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib import paths, storage
from lib.reproduce import notebooks
from lib.runs import ledger

Trials = Iterator[str | None]  # of each trial what went wrong, or None
MOVED = ("RUNS", "REFERENCE", "FIGURES", "BUILD", "CACHE")  # every trial has folders of its own
DAMAGES = ("a bit", "a piece lost", "a piece doubled", "a digit", "cut off", "zeros")


def damaged(content: bytes, rng: random.Random) -> bytes:
    """As a bad disk or a careless hand leaves a file."""
    kind, place = rng.choice(DAMAGES), rng.randrange(len(content))
    end = place + rng.randrange(1, 40)
    if kind == "a bit":
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    if kind == "a piece lost":
        return content[:place] + content[end:]
    if kind == "a piece doubled":
        return content[:end] + content[place:]
    if kind == "zeros":
        return content[:place] + b"\0" * (end - place) + content[end:]
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    if kind == "cut off" or not digits:
        return content[:place]
    at = rng.choice(digits)
    return content[:at] + str((content[at] - 48 + rng.randrange(1, 10)) % 10).encode() + content[at + 1 :]


def some_rows(count: int) -> list[dict]:
    """Committed rows of small size, as they are."""
    os.environ.pop("CROWDS_REFERENCE", None)
    rows = ledger.reference_rows("music")[:count]
    os.environ["CROWDS_REFERENCE"] = str(paths.runs().parent / "reference")
    return rows


# ---------------------------------------------------------------------- files


def own_rows(times: int, rng: random.Random) -> Trials:
    """The user's own rows: believed as they were, or set aside."""
    rows = {row["key"]: ledger.write(row) for row in some_rows(20)}
    folder = paths.runs() / "music"
    contents = {key: (folder / f"{key}.json").read_bytes() for key in rows}
    for _ in range(times):
        key = rng.choice(list(rows))
        (folder / f"{key}.json").write_bytes(damaged(contents[key], rng))
        found = {row["key"]: row for row in ledger.own_rows("music")}
        wrong = [name for name, row in found.items() if row != rows.get(name)]
        lost = rows.keys() - found.keys() - {key}
        yield f"believed {wrong}, lost {sorted(lost)}" if wrong or lost else None
        (folder / f"{key}.json").write_bytes(contents[key])


def reference_rows(times: int, rng: random.Random) -> Trials:
    """The committed rows: as they were, or an error with file, line and remedy."""
    rows = some_rows(20)
    ledger.write_reference("music", rows)
    rows = ledger.reference_rows("music")
    files = [paths.reference() / f"music.{kind}" for kind in ("jsonl", "digests")]
    contents = {file: file.read_bytes() for file in files}
    for _ in range(times):
        file = rng.choices(files, [4, 1])[0]
        file.write_bytes(damaged(contents[file], rng))
        try:
            yield None if ledger.reference_rows("music") == rows else f"believed a damaged {file.name}"
        except ledger.LedgerError as error:
            yield None if "music.jsonl" in str(error) and "git checkout --" in str(error) else f"says only {error}"
        file.write_bytes(contents[file])


def merges(times: int, rng: random.Random) -> Trials:
    """Rows that arrive damaged, some with a digest that fits: nothing is merged, or what was sent."""
    # Committed rows name arrays that lie elsewhere: each gets a small one of its own, and is then as it will be read.
    rows = [row | {"arrays": {"correct_last": np.arange(9, dtype=np.uint8)}} for row in some_rows(6)]
    out = paths.runs().parent / "out"
    rows = [ledger.write(row, out) for row in rows]
    arrays = {row["key"]: (out / "music" / f"{row['key']}.npz").read_bytes() for row in rows}
    for number in range(times):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(paths.reference())
        for row in rows:
            ledger.write(row, out)
            (out / "music" / f"{row['key']}.npz").write_bytes(arrays[row["key"]])
        victim = rng.choice(rows)
        file = out / "music" / f"{victim['key']}.{'npz' if number % 4 == 0 else 'json'}"
        content = damaged(file.read_bytes(), rng)
        if number % 2:  # somebody's own program has sealed it
            with contextlib.suppress(ValueError, AttributeError):
                changed = json.loads(content)
                changed.pop("digest", None)
                content = json.dumps(changed | {"digest": ledger.digest(changed)}, sort_keys=True).encode()
        file.write_bytes(content)
        try:
            ledger.merge(out)
        except ledger.LedgerError as error:
            kept = [path.name for path in paths.reference().glob("*.jsonl")]
            named = str(file.with_suffix("")) in str(error)  # the row's file, or that of its arrays
            yield None if named and not kept else f"merged {kept} all the same, or does not name the file: {error}"
            continue
        other = [row for row in ledger.reference_rows() if row not in rows]
        # A number that was changed and sealed anew is what somebody says it is; its configuration and key are what they were.
        wrong = [row["key"] for row in other if row["config"] != victim["config"] or not number % 2]
        yield f"merged {wrong}" if wrong else None


def caches(times: int, rng: random.Random) -> Trials:
    """Derived arrays: as they were, made again where damaged, healed afterwards."""
    folder, one = paths.cache(), np.arange(500, dtype=np.float32)
    several = {"images": np.arange(600, dtype=np.uint8), "labels": np.arange(7)}
    for number in range(times):
        made: list[int] = []

        def again(value, made=made):
            made.append(1)
            return value

        if number % 2:
            read = lambda: storage.cached_array(folder, "one", lambda: again(one))  # noqa: E731
        else:
            read = lambda: storage.cached_arrays(folder, "several", lambda: again(several))  # noqa: E731
        read()
        made.clear()
        file = rng.choice(list(folder.glob("one.[ns]*" if number % 2 else "several.[ns]*")))
        file.write_bytes(damaged(file.read_bytes(), rng))
        found, tries = read(), len(made)
        read()
        same = np.array_equal(found, one) if number % 2 else all(np.array_equal(found[k], v) for k, v in several.items())
        yield None if same and len(made) == tries <= 1 else f"{file.name}: same {same}, made {tries} and {len(made)} times"


def arrays(times: int, rng: random.Random) -> Trials:
    """Arrays beside a row: as they were, or an error that names the row."""
    kept = {"confusion": np.arange(300, dtype=np.float32)}
    row = ledger.write(some_rows(1)[0] | {"arrays": kept})
    file = paths.runs() / "music" / f"{row['key']}.npz"
    content = file.read_bytes()
    for _ in range(times):
        file.write_bytes(damaged(content, rng))
        try:
            yield None if np.array_equal(ledger.arrays(row)["confusion"], kept["confusion"]) else "believed other arrays"
        except ledger.LedgerError as error:
            yield None if row["key"] in str(error) else f"says only {error}"


def notebook_files(times: int, rng: random.Random) -> Trials:
    """Notebooks: read, or an error that names the notebook."""
    cells = [new_markdown_cell("# One"), new_code_cell('scale: str = "quick"', metadata={"tags": ["parameters"]})]
    file = paths.runs().parent / "10_one.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"companion": {"data": ["digits"]}}), file)
    content = file.read_bytes()
    for _ in range(times):
        file.write_bytes(damaged(content, rng))
        try:
            notebooks.inspect(file)
            yield None
        except notebooks.NotebookError as error:
            yield None if file.name in str(error) else f"says only {error}"


# ---------------------------------------------------------------------- passes

PROGRAM = """
import os, pathlib, sys, time
from lib import paths, protocols
from lib.reproduce import __main__ as reproduce
from lib.runs import sweep
from tests.toys import toy_grid, toy_row

root = pathlib.Path(sys.argv[1])
paths.NOTEBOOKS, paths.README = root / "notebooks", root / "README.md"
protocols.grid = toy_grid

def train(config, device="cpu", progress=False):
    with (root / "trained").open("a") as file:
        file.write(f"{config.scale} {config.seed}\\n")
    time.sleep(0.05)
    return toy_row(config), None

sweep.train = train  # at the top level, so that the workers have it too
if __name__ == "__main__":
    sys.exit(reproduce.main(sys.argv[2:]))
"""
SEEDS = 16


def _project(root: Path) -> Callable[..., subprocess.Popen]:
    from tests.toys import write_notebook

    for name in ("RUNS", "REFERENCE", "FIGURES", "BUILD"):
        os.environ[f"CROWDS_{name}"] = str(root / name.lower())
    paths.NOTEBOOKS = root / "notebooks"
    paths.NOTEBOOKS.mkdir(parents=True)
    write_notebook("10_one")
    (root / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(root / "program.py"), str(root), "--workers", "2", "--seeds", *map(str, range(SEEDS))]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return lambda *words: subprocess.Popen([*command, *words], env=environment, start_new_session=True, **quiet)


def _trained(root: Path) -> list[str]:
    return (root / "trained").read_text().splitlines() if (root / "trained").exists() else []


def _numbers(root: Path) -> str:
    return str([0.8 + 0.01 * seed for seed in range(SEEDS)])


def kills(times: int, rng: random.Random) -> Trials:
    """A pass that is killed at any moment, by any signal, and given again: all rows, none twice, right figures."""
    for number in range(times):
        root = paths.runs().parent / f"kill{number}"
        start = _project(root)
        how = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        after = rng.randrange(SEEDS)
        process = start()
        while process.poll() is None and len(_trained(root)) < after:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        group = how == signal.SIGKILL and rng.random() < 0.5
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(process.pid, how)
        _, told = process.communicate()
        finished = {file.stem for file in (root / "runs").glob("passes/*/toy/*.json")}
        before = len(_trained(root))
        again = start()
        _, problem = again.communicate()
        figure = root / "figures" / "10_one" / "numbers.csv"
        wrong = []
        if "Traceback" in told or "Traceback" in problem:
            wrong.append("a traceback")
        if again.returncode != 0:
            wrong.append(f"exit code {again.returncode}: {problem[-300:]}")
        elif figure.read_text() != _numbers(root):
            wrong.append("other figures")
        if len(_trained(root)) - before > SEEDS - len(finished):
            wrong.append("a finished run was trained again")
        yield f"{how.name}: {', '.join(wrong)}" if wrong else None


def twins(times: int, rng: random.Random) -> Trials:
    """Two passes at once, of one scale or of two: right files, and no run twice."""
    for number in range(times):
        root = paths.runs().parent / f"twin{number}"
        start = _project(root)
        scales = ("quick", "quick") if number % 2 else ("quick", "smoke")
        both = []
        for scale in scales:
            both.append(start("--scale", scale))
            time.sleep(rng.random() * 3)
        told = [process.communicate()[1] for process in both]
        wrong = [text[-300:] for process, text in zip(both, told, strict=True) if process.returncode or "Traceback" in text]
        figure = root / "figures" / "10_one" / "numbers.csv"
        if not wrong and figure.read_text() != _numbers(root):
            wrong.append("other figures")
        if len(set(_trained(root))) != len(_trained(root)):
            wrong.append("a run was trained twice")
        if number % 2 == 0 and not (root / "build" / "figures" / "10_one" / "numbers.csv").exists():
            wrong.append("no figures of the other scale")
        yield f"{' and '.join(scales)}: {', '.join(wrong)}" if wrong else None


KINDS = {
    "own rows damaged": (own_rows, 1000),
    "reference damaged": (reference_rows, 1000),
    "arrays damaged": (arrays, 300),
    "caches damaged": (caches, 500),
    "merges of damaged rows": (merges, 300),
    "notebooks damaged": (notebook_files, 500),
    "passes killed": (kills, 12),
    "two passes at once": (twins, 6),
}


def main() -> int:
    """Try all, print the report; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=float, default=1.0, help="this many times as many trials (0.1: a tenth)")
    parser.add_argument("--only", nargs="+", default=[""], help="kinds whose name has one of these words in it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("lib").setLevel(logging.CRITICAL)  # warnings are expected here
    failed = 0
    print(f"{'':24} {'tried':>6} {'survived':>9} {'failed':>7} {'seconds':>8}", flush=True)
    for name, (kind, times) in KINDS.items():
        if not any(word in name for word in options.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for variable in MOVED:
                os.environ[f"CROWDS_{variable}"] = str(Path(folder) / variable.lower())
            os.environ["CROWDS_LEDGER"] = ""
            begun = time.monotonic()
            with contextlib.redirect_stdout(io.StringIO()):
                outcomes = list(kind(max(1, round(times * options.times)), random.Random(options.seed)))
        wrong = [outcome for outcome in outcomes if outcome is not None]
        failed += len(wrong)
        seconds = time.monotonic() - begun
        print(f"{name:24} {len(outcomes):6} {len(outcomes) - len(wrong):9} {len(wrong):7} {seconds:8.0f}", flush=True)
        for outcome in wrong[:5]:
            print(f"  {outcome}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
