"""The ledger: one row a finished run, never half a row.

The user's own ledger (``data/runs``, ignored by git) holds one small JSON file a run, written by the worker that made it.
The committed reference (``data/reference``) holds one JSONL file an experiment. ``CROWDS_LEDGER`` says which are read: the
reference first, then own rows (default), ``own`` rows first, or ``reference`` rows alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np

from lib import paths
from lib.storage import write_atomically

ORDERS = ("", "own", "reference")
_PARTS = {"key", "config", "metrics", "seconds", "provenance"}


def write(row: dict, folder: Path | None = None) -> dict:
    """Put a row into the user's own ledger (or another folder of the same layout), whole or not at all.

    Its arrays go first, into ``<key>.npz`` beside it; the row then holds their names and the file's SHA-256.

    Returns:
        The row as it is stored.

    Raises:
        OSError: the disk is full or read-only; names the file.
    """
    path = (folder or paths.runs()) / row["config"]["experiment"] / f"{row['key']}.json"
    if (kept := row.get("arrays")) and "sha256" not in kept:
        content = io.BytesIO()
        np.savez_compressed(content, **kept)
        write_atomically(path.with_suffix(".npz"), content.getvalue())
        row = row | {"arrays": {"names": sorted(kept), "sha256": hashlib.sha256(content.getvalue()).hexdigest()}}
    write_atomically(path, json.dumps(row, sort_keys=True) + "\n")
    return row


def has_arrays(row: dict, keep: Iterable[str]) -> bool:
    """Whether arrays were kept beside a row that begin with each of the names."""
    names = row.get("arrays", {}).get("names", [])
    return all(any(name.split("_")[0] == wanted for name in names) for wanted in keep)


def arrays(row: dict) -> dict[str, np.ndarray]:
    """What is kept beside a row, by name; empty where it was made without.

    Raises:
        ValueError: the file is not there, or is not the one that the row names; says where it was looked for.
    """
    if "arrays" not in row:
        return {}
    name, looked = f"{row['config']['experiment']}/{row['key']}.npz", []
    for folder in (paths.reference() / "arrays", paths.runs()):
        looked.append(folder / name)
        if not looked[-1].is_file():
            continue
        content = looked[-1].read_bytes()
        if hashlib.sha256(content).hexdigest() == row["arrays"]["sha256"]:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return dict(stored)
    raise ValueError(f"the arrays of row {row['key']} are in none of {', '.join(map(str, looked))}; train it again")


def own_rows(experiment: str | None = None, folder: Path | None = None) -> list[dict]:
    """Rows of the user's own ledger (or another folder of the same layout).

    Raises:
        ValueError: a file that holds no row; names it.
    """
    files = (folder or paths.runs()).glob(f"{experiment or '*'}/*.json")
    return [row for path in sorted(files) for row in _read(path)]


def reference_rows(experiment: str | None = None) -> list[dict]:
    """Rows of the committed ledger. Raises ValueError for a line that is no row; names it."""
    files = paths.reference().glob(f"{experiment or '*'}.jsonl")
    return [row for path in sorted(files) for row in _read(path)]


def _read(path: Path) -> list[dict]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            complete = isinstance(row, dict) and row.keys() >= _PARTS
        except ValueError:
            complete = False
        if not complete:
            raise ValueError(f"{path}, line {number}: expected a ledger row in JSON, found {line[:60]!r}")
        rows.append(row)
    return rows


def order() -> str:
    """The value of ``CROWDS_LEDGER``. Raises ValueError for an unknown one."""
    value = os.environ.get("CROWDS_LEDGER", "")
    if value not in ORDERS:
        raise ValueError(f"CROWDS_LEDGER must be one of {', '.join(map(repr, ORDERS))}, found {value!r}")
    return value


def lookup(experiments: Iterable[str], newer_than: float | None = None) -> dict[str, dict]:
    """All rows of some experiments, by key, as ``CROWDS_LEDGER`` orders the two ledgers; with ``newer_than`` (UNIX time)
    only those that were made since."""
    found: dict[str, dict] = {}
    for experiment in sorted(set(experiments)):
        sources = [own_rows, reference_rows]  # a later one overwrites an earlier one
        if order() == "own":
            sources.reverse()
        if order() == "reference":
            sources = [reference_rows]
        for rows in sources:
            # Rows carry whole seconds, rounded down.
            fresh = (row for row in rows(experiment) if newer_than is None or made(row) >= int(newer_than))
            found |= {row["key"]: row for row in fresh}
    return found


def made(row: dict) -> float:
    """When a row was made, as UNIX time."""
    return datetime.fromisoformat(row["provenance"]["made"]).timestamp()


def merge(folder: Path | str) -> dict[str, int]:
    """Take rows made elsewhere into the reference.

    Args:
        folder: of the own ledger's layout (``<experiment>/<key>.json``).

    Returns:
        How many rows were ``added`` and how many were there ``already``.

    Raises:
        ValueError: no rows there, or a row that differs in its numbers from the reference row of the same key. Then
            nothing is taken.
    """
    arrived = own_rows(folder=Path(folder))
    if not arrived:
        raise ValueError(f"no ledger rows in {folder}; expected files <experiment>/<key>.json")
    with _reference_lock():
        known = {row["key"]: row for row in reference_rows()}
        new = {}
        for row in arrived:
            other = known.get(row["key"])
            if other is None:
                new[row["key"]] = row
            elif other["metrics"] != row["metrics"]:
                raise ValueError(
                    f"row {row['key']} of {row['config']['experiment']} ({row['config']['method']}, seed "
                    f"{row['config']['seed']}) has {row['metrics']}, the reference has {other['metrics']}; nothing was merged"
                )
        kept = {}
        for row in (row for row in new.values() if "arrays" in row):
            name = f"{row['config']['experiment']}/{row['key']}.npz"
            kept[name] = (Path(folder) / name).read_bytes()
            if hashlib.sha256(kept[name]).hexdigest() != row["arrays"]["sha256"]:
                raise ValueError(f"{Path(folder) / name} has another SHA-256 than its row says; nothing was merged")
        for name, content in kept.items():
            write_atomically(paths.reference() / "arrays" / name, content)
        for experiment in {row["config"]["experiment"] for row in new.values()}:
            rows = [row for row in new.values() if row["config"]["experiment"] == experiment]
            write_reference(experiment, reference_rows(experiment) + rows)
    return {"added": len(new), "already": len(arrived) - len(new)}


def write_reference(experiment: str, rows: list[dict]) -> None:
    """Replace an experiment's committed rows, in an order that keeps differences between versions readable."""

    def place(row: dict) -> tuple:
        config = row["config"]
        return (config["scale"], config["dataset"], config["case"], config["method"], config["seed"], row["key"])

    lines = [json.dumps(row, sort_keys=True) for row in sorted(rows, key=place)]
    write_atomically(paths.reference() / f"{experiment}.jsonl", "\n".join(lines) + "\n")


@contextmanager
def _reference_lock():
    """Two merges at once would each read, then overwrite the other's rows; a finished one frees the lock, a killed one too."""
    paths.reference().mkdir(parents=True, exist_ok=True)
    with (paths.reference() / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
