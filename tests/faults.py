"""Faults, many of each kind: files damaged by the thousand, passes that are killed, two at once. Run by ``make faults``.

    python -m tests.faults [--times 0.1] [--only ledger caches]

Each trial ends in one of two ways. It *survived*: the result is right, or there is an error that names the file and what to do.
It *failed*: a wrong result without a word, a traceback, something lost, a process left behind. The report counts both, and the
exit code is 1 where one failed. ``make test`` has a few of each kind; here they take some minutes.
"""

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

import numpy as np

from lib import paths, storage
from lib.reproduce import notebooks
from lib.runs import ledger
from lib.runs.config import from_row
from tests.toys import write_notebook

Trials = Iterator[str | None]  # of each trial what went wrong, or None
MOVED = ("RUNS", "REFERENCE", "FIGURES", "BUILD", "CACHE")  # every trial has folders of its own


def damaged(content: bytes, rng: random.Random) -> bytes:
    """As a bad disk or a careless hand leaves a file."""
    place = rng.randrange(len(content))
    end = place + rng.randrange(1, 40)
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()] or [place]
    digit = rng.choice(digits)
    kinds = [
        content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :],  # a bit
        content[:place] + content[end:],  # a piece lost
        content[:end] + content[place:],  # a piece doubled
        content[:place] + b"\0" * (end - place) + content[end:],  # zeros
        content[:digit] + b"%d" % ((content[digit] - 48 + rng.randrange(1, 10)) % 10) + content[digit + 1 :],  # a digit
        content[:place],  # cut off
    ]
    return rng.choice(kinds)


def some_rows(count: int) -> list[dict]:
    """Committed rows of small size, without their arrays."""
    os.environ.pop("CROWDS_REFERENCE", None)
    rows = ledger.reference_rows("music")[:count]
    os.environ["CROWDS_REFERENCE"] = str(paths.runs().parent / "reference")
    return [{name: part for name, part in row.items() if name != "arrays"} for row in rows]


# ---------------------------------------------------------------------- files


def _damage(
    files: list[Path], times: int, rng: random.Random, read: Callable[[], object], right: Callable, *words: str
) -> Trials:
    """Damage one of the files and read: what is read is right, or there is an error that says all of the words."""
    contents = {file: file.read_bytes() for file in files}
    for _ in range(times):
        file = rng.choice(files)
        file.write_bytes(damaged(contents[file], rng))
        try:
            yield None if right(read(), file) else f"believed a damaged {file.name}"
        except (ledger.LedgerError, notebooks.NotebookError) as error:
            yield None if all(word in str(error) for word in words) else f"says only {error}"
        file.write_bytes(contents[file])


def own_rows(times: int, rng: random.Random) -> Trials:
    """The user's own rows: believed as they were, or set aside."""
    rows = {row["key"]: ledger.write(row) for row in some_rows(20)}

    def right(found: list[dict], file: Path) -> bool:
        lost = rows.keys() - {row["key"] for row in found}
        return all(row == rows.get(row["key"]) for row in found) and lost <= {file.stem}

    files = [paths.runs() / "music" / f"{key}.json" for key in rows]
    return _damage(files, times, rng, lambda: ledger.own_rows("music"), right)


def reference_rows(times: int, rng: random.Random) -> Trials:
    """The committed rows: as they were, or an error with file, line and remedy."""
    ledger.write_reference("music", some_rows(20))
    rows = ledger.reference_rows("music")
    files = [paths.reference() / f"music.{kind}" for kind in ("jsonl", "jsonl", "jsonl", "digests")]
    words = ("music.jsonl", "git checkout --")
    return _damage(files, times, rng, lambda: ledger.reference_rows("music"), lambda found, _: found == rows, *words)


def arrays(times: int, rng: random.Random) -> Trials:
    """Arrays beside a row: as they were, or an error that names the row."""
    kept = np.arange(300, dtype=np.float32)
    row = ledger.write(some_rows(1)[0] | {"arrays": {"confusion": kept}})
    files = [paths.runs() / "music" / f"{row['key']}.npz"]
    same = lambda found, _: np.array_equal(found["confusion"], kept)  # noqa: E731
    return _damage(files, times, rng, lambda: ledger.arrays(row), same, row["key"])


def notebook_files(times: int, rng: random.Random) -> Trials:
    """Notebooks: read, or an error that names the notebook."""
    paths.NOTEBOOKS = paths.runs().parent
    file = write_notebook("10_one", data=["digits"])
    return _damage([file], times, rng, lambda: notebooks.inspect(file), lambda *_: True, file.name)


def caches(times: int, rng: random.Random) -> Trials:
    """Derived arrays: as they were, made again where damaged, healed afterwards."""
    made: list[int] = []
    arrays = {"images": np.arange(600, dtype=np.uint8), "labels": np.arange(7)}

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return arrays

    def read() -> tuple:
        made.clear()
        several = storage.cached(paths.cache() / "several.npz", make)
        one = storage.cached(paths.cache() / "one.npy", lambda: make()["images"])
        tries = len(made)
        for _ in range(2):
            storage.cached(paths.cache() / "several.npz", make)
            storage.cached(paths.cache() / "one.npy", lambda: make()["images"])
        return {**several, "one": one}, tries, len(made)

    def right(found: tuple, file: Path) -> bool:
        values, tries, all_tries = found
        expected = arrays | {"one": arrays["images"]}
        return all(np.array_equal(values[name], expected[name]) for name in expected) and all_tries == tries <= 1

    read()
    files = [file for file in sorted(paths.cache().iterdir()) if file.suffix != ".lock"]
    return _damage(files, times, rng, read, right)


def merges(times: int, rng: random.Random) -> Trials:
    """Rows that arrive damaged, some with a digest that fits: nothing is merged, or what was sent."""
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
                sealed = changed | {"digest": ledger.digest(json.dumps(changed, sort_keys=True))}
                content = json.dumps(sealed, sort_keys=True).encode()
        file.write_bytes(content)
        try:
            ledger.merge(out)
        except ledger.LedgerError as error:
            kept = [path.name for path in paths.reference().glob("*.jsonl")]
            named = str(file.with_suffix("")) in str(error)  # the row's file, or that of its arrays
            yield None if named and not kept else f"merged {kept} all the same, or does not name the file: {error}"
            continue
        other = [row for row in ledger.reference_rows() if row not in rows]
        # A number that was changed and sealed anew is what somebody says it is; its run is the one that it was (a setting that
        # is gone from the file has its default, as in a row from before the setting was there).
        wrong = [row["key"] for row in other if from_row(row) != from_row(victim) or not number % 2]
        yield f"merged {wrong}" if wrong else None


# ---------------------------------------------------------------------- passes

SEEDS = 16


def _project(root: Path) -> Callable[..., subprocess.Popen]:
    for name in ("RUNS", "REFERENCE", "FIGURES", "BUILD"):
        os.environ[f"CROWDS_{name}"] = str(root / name.lower())
    paths.NOTEBOOKS = root / "notebooks"
    paths.NOTEBOOKS.mkdir(parents=True)
    write_notebook("10_one")
    command = [sys.executable, "-m", "tests.toy_program", str(root), "--workers", "2", "--seeds", *map(str, range(SEEDS))]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": paths.ROOT}
    return lambda *words: subprocess.Popen([*command, *words], start_new_session=True, **quiet)


def _trained(root: Path) -> list[str]:
    """Scale and seed of each run that was begun."""
    lines = (root / "trained").read_text().splitlines() if (root / "trained").exists() else []
    return [line.rpartition(" ")[0] for line in lines]


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
        # While Python still imports, a Ctrl-C is Python's own to tell.
        while process.poll() is None and not ((root / "runs").exists() and len(_trained(root)) >= after):
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
            wrong.append(f"a traceback: {(told if 'Traceback' in told else problem)[-300:]}")
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
