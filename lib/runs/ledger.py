"""The ledger: one row per finished run, never half a row, and none that is not what was written.

The user's own ledger (``data/runs``, ignored by git) holds one small JSON file per run, ``<experiment>/<key>.json``, written by
the worker that made it; functions that take a ``folder`` look into another of this layout instead. The committed reference
(``data/reference``) holds one JSONL file per experiment. ``CROWDS_LEDGER`` says which are read: the reference first, then own
rows (default), ``own`` rows first, or ``reference`` rows alone.

Every row has a digest of its content: a row of the user's ledger inside its file, the rows of ``<experiment>.jsonl`` in
``<experiment>.digests`` beside them; arrays have theirs in the row. File, key and digest agree, or the row is not believed: one
of the user's ledger is set aside and trained again, one of the reference is an error that says how to get it back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from lib import paths
from lib.storage import locked, try_lock, unpacked, write_atomically

if TYPE_CHECKING:
    from lib.runs.config import RunConfig  # torch, which reading does not need

log = logging.getLogger(__name__)

_PARTS = {"key", "config", "metrics", "seconds", "provenance"}


class LedgerError(ValueError):
    """A row that cannot be believed; the message has the file, what is wrong with it, and what to do."""


# ---------------------------------------------------------------------- the user's own ledger


def digest(line: str) -> str:
    """32 hexadecimal digits over a row's content, as JSON with sorted keys: what a line of the reference is."""
    return hashlib.sha256(line.encode()).hexdigest()[:32]


def write(row: dict, folder: Path | None = None) -> dict:
    """Put a row into the user's own ledger, whole or not at all; returns it as it will be read.

    Its arrays go first, into ``<key>.npz`` beside it; the row then holds their names and the file's SHA-256.

    Raises:
        NotWritable: the disk is full or read-only; names the file.
    """
    path = _place(row["config"]["experiment"], row["key"], folder)
    if (kept := row.get("arrays")) and "sha256" not in kept:
        content = io.BytesIO()
        np.savez_compressed(content, **kept)
        write_atomically(path.with_suffix(".npz"), content.getvalue())
        row = row | {"arrays": {"names": sorted(kept), "sha256": hashlib.sha256(content.getvalue()).hexdigest()}}
    row = json.loads(json.dumps(row))
    sealed = row | {"digest": digest(json.dumps(row, sort_keys=True))}
    write_atomically(path, json.dumps(sealed, sort_keys=True) + "\n")
    return row


def copy(row: dict, folder: Path | None, target: Path) -> None:
    """Put a row of the user's own ledger into another folder, with its arrays. Raises NotWritable."""
    if "arrays" in row:
        source, copied = (_place(row["config"]["experiment"], row["key"], place) for place in (folder, target))
        write_atomically(copied.with_suffix(".npz"), source.with_suffix(".npz").read_bytes())
    write(row, target)


def _place(experiment: str, key: str, folder: Path | None) -> Path:
    return (folder or paths.runs()) / experiment / f"{key}.json"


def own_rows(experiment: str | None = None, folder: Path | None = None) -> list[dict]:
    """Rows of the user's own ledger; broken ones are set aside, with a warning, and a row whose arrays are broken has none."""
    files = sorted((folder or paths.runs()).glob(f"{experiment or '*'}/*.json"))
    return [row for path in files if (row := _believed(path, folder)) is not None]


def own_row(experiment: str, key: str, folder: Path | None = None) -> dict | None:
    """One row of the user's own ledger, or None; otherwise as :func:`own_rows`."""
    return _believed(_place(experiment, key, folder), folder)


def _believed(path: Path, folder: Path | None) -> dict | None:
    try:
        row = _read(path)
    except FileNotFoundError:
        return None
    except (OSError, LedgerError) as error:
        log.warning("%s; set aside as %s.broken, and trained again where it is needed", error, path.name)
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{path.name}.broken"))
        return None
    try:
        _beside(row, folder)
    except LedgerError as error:
        log.warning("%s, which happens where they are needed", error)
        del row["arrays"]
    return row


def _read(path: Path) -> dict:
    where = f"{path}, line 1"
    row = _parsed(path.read_text(encoding="utf-8", errors="replace").strip(), where)
    stated, expected = row.pop("digest", None), digest(json.dumps(row, sort_keys=True))
    _require(stated == expected, where, f"the digest of its content is {expected}", stated)
    _require(row["key"] == path.stem, where, f"the key must be that of the file, {path.stem!r}", row["key"])
    _require_experiment(row, where, path.parent.name)
    return row


def _parsed(text: str, where: str) -> dict:
    row = None
    with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(text)
    whole = isinstance(row, dict) and row.keys() >= _PARTS and isinstance(row["config"], dict)
    _require(whole, where, "expected a ledger row in JSON", text[:60])
    return row


def _require_experiment(row: dict, where: str, name: str) -> None:
    found = row["config"].get("experiment")
    _require(found == name, where, f"the experiment must be that of the file, {name!r}", found)


def _require(right: object, where: str, rule: str, found: object) -> None:
    if not right:
        raise LedgerError(f"{where}: {rule}, found {found!r}")


def claim(key: str, folder: Path | None = None) -> FileLock | None:
    """The right to train a run, until it is released or this process ends; None while another process has it.

    Raises:
        NotWritable: the ledger's folder is read-only, or its disk full.
    """
    return try_lock((folder or paths.runs()) / ".claims" / key)


# ---------------------------------------------------------------------- arrays beside a row


def names(row: dict) -> set[str]:
    """The names of the arrays that are kept beside a row."""
    return set(row.get("arrays", {}).get("names", ()))


def has_arrays(row: dict, keep: Iterable[str]) -> bool:
    """Whether arrays were kept beside a row that begin with each of the names."""
    return set(keep) <= {name.split("_")[0] for name in names(row)}


def arrays(row: dict, folder: Path | None = None) -> dict[str, np.ndarray]:
    """What is kept beside a row, in the reference or the user's own ledger, by name; empty where it was made without.

    Raises:
        LedgerError: the file is not there, or is not the one that the row names; says where it was looked for.
    """
    content = _beside(row, folder)
    return {} if content is None else unpacked(content)


def _beside(row: dict, folder: Path | None) -> bytes | None:
    """The file of a row's arrays, None where it was made without; raises LedgerError as :func:`arrays`."""
    if "arrays" not in row:
        return None
    name = f"{row['config']['experiment']}/{row['key']}.npz"
    looked = [place / name for place in (paths.reference() / "arrays", folder or paths.runs())]
    for path in looked:
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == row["arrays"]["sha256"]:
                return content
    raise LedgerError(
        f"the arrays of row {row['key']} are in none of {', '.join(map(str, looked))}; git checkout brings back those of the "
        "reference, others are to be trained again"
    )


# ---------------------------------------------------------------------- the committed reference


def reference_rows(experiment: str | None = None) -> list[dict]:
    """Rows of the committed ledger.

    Raises:
        LedgerError: a line that is no row, or not the one that was committed; names file and line, and says what to do.
    """
    files = sorted(paths.reference().glob(f"{experiment or '*'}.jsonl"))
    return [row for path in files for row in _reference(path)]


def _reference(path: Path) -> list[dict]:
    seals = path.with_suffix(".digests")
    try:
        return list(_lines(path, seals))
    except LedgerError as error:
        with contextlib.suppress(LedgerError):  # of a merge that was killed between its two files
            return list(_lines(path, path.with_suffix(".new")))
        raise LedgerError(
            f"{error}; to restore both files: git checkout -- {path} {seals} (after a merge of branches: ledger.seal)"
        ) from error


def _lines(path: Path, seals: Path | None) -> Iterator[dict]:
    """The rows of a reference file, each with the digest that ``seals`` has for its key, or any where that is None."""
    missing: dict[str, str] = {}
    if seals is not None and seals.exists():
        digests = seals.read_text(encoding="utf-8", errors="replace").splitlines()
        missing = {key: found for key, _, found in (line.partition(" ") for line in digests)}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        where = f"{path}, line {number}"
        row = _parsed(line, where)
        _require_experiment(row, where, path.stem)
        if seals is not None and missing.pop(row["key"], None) != digest(line):
            raise LedgerError(f"{where}: the row is not the one whose digest is in {path.stem}.digests")
        yield row
    if missing:
        raise LedgerError(f"{path}: {len(missing)} rows of {path.stem}.digests are missing, the first: {min(missing)}")


def write_reference(experiment: str, rows: list[dict]) -> None:
    """Replace an experiment's committed rows, in an order that keeps differences between versions readable."""

    def place(row: dict) -> tuple:
        return (*(row["config"][name] for name in ("scale", "dataset", "case", "method", "seed")), row["key"])

    path = paths.reference() / f"{experiment}.jsonl"
    lines = {row["key"]: json.dumps(row, sort_keys=True) for row in sorted(rows, key=place)}
    begun = path.with_suffix(".new")
    write_atomically(begun, "".join(sorted(f"{key} {digest(line)}\n" for key, line in lines.items())))
    write_atomically(path, "\n".join(lines.values()) + "\n")
    begun.replace(path.with_suffix(".digests"))


def seal(experiment: str) -> None:
    """Write a reference file's digests again, after lines of two branches were merged by git.

    Raises:
        LedgerError: a row whose key is not that of its configuration, or that lacks numbers or arrays; nothing is written.
    """
    path = paths.reference() / f"{experiment}.jsonl"
    rows = list(_lines(path, None))
    for number, row in enumerate(rows, 1):
        _sound(row, f"{path}, line {number}", paths.reference() / "arrays" / experiment / f"{row['key']}.npz")
    write_reference(experiment, rows)


# ---------------------------------------------------------------------- both


# By the value of CROWDS_LEDGER; rows of a later one overwrite those of an earlier one.
_SOURCES = {"": (own_rows, reference_rows), "own": (reference_rows, own_rows), "reference": (reference_rows,)}


def order() -> str:
    """The value of ``CROWDS_LEDGER``. Raises ValueError for an unknown one."""
    value = os.environ.get("CROWDS_LEDGER", "")
    if value not in _SOURCES:
        raise ValueError(f"CROWDS_LEDGER must be one of {', '.join(map(repr, _SOURCES))}, found {value!r}")
    return value


def lookup(experiments: Iterable[str], folder: Path | None = None) -> dict[str, dict]:
    """All rows of some experiments, by key: those of a folder alone, or of both ledgers as ``CROWDS_LEDGER`` orders them, where
    a row with more arrays goes before its like.

    Raises:
        LedgerError: see :func:`reference_rows`.
    """
    by_key: dict[str, dict] = {}
    for experiment in sorted(set(experiments)):
        if folder is not None:
            by_key |= {row["key"]: row for row in own_rows(experiment, folder)}
            continue
        for rows in _SOURCES[order()]:
            by_key |= {row["key"]: row for row in rows(experiment) if not names(row) < names(by_key.get(row["key"], {}))}
    return by_key


def finished(configs: Mapping[str, RunConfig], folder: Path | None = None) -> dict[str, dict]:
    """The rows, by key, of the runs that need not be trained any more; see :func:`lookup`."""
    rows = lookup({config.experiment for config in configs.values()}, folder)
    return {key: rows[key] for key, config in configs.items() if key in rows and has_arrays(rows[key], config.keep)}


# ---------------------------------------------------------------------- taking in what was made elsewhere


def merge(folder: Path) -> dict[str, int]:
    """Take rows made elsewhere, in a folder of the own ledger's layout, into the reference.

    Returns:
        How many rows were ``added`` and how many were there ``already``. A row that was there without its arrays, or with
        fewer, gives way to its like and counts as added.

    Raises:
        LedgerError: no rows there; a row that is not what was written, whose key is not that of its configuration, or that
            differs in its numbers from the reference row of the same key. Then nothing is taken.
        NotWritable: the reference cannot be written.
    """
    files = sorted(folder.glob("*/*.json"))
    if not files:
        raise LedgerError(f"no ledger rows in {folder}; expected files <experiment>/<key>.json")
    arrived, wrong = [], []
    for path in files:
        try:
            arrived.append(_sound(_read(path), f"{path}, line 1", path.with_suffix(".npz")))
        except (OSError, LedgerError) as error:
            wrong.append(error)
    with locked(paths.reference() / ".lock"):
        known = {row["key"]: row for row in reference_rows()}
        for row in arrived:
            other = known.get(row["key"], row)
            if other["metrics"] != row["metrics"]:
                wrong.append(
                    f"row {row['key']} of {row['config']['experiment']} ({row['config']['method']}, seed "
                    f"{row['config']['seed']}) has {row['metrics']}, the reference has {other['metrics']}"
                )
        if wrong:
            raise LedgerError(f"nothing was merged: {len(wrong)} of {len(files)} rows are wrong, the first: {wrong[0]}")
        new = [row for row in arrived if row["key"] not in known or names(known[row["key"]]) < names(row)]
        for row in (row for row in new if "arrays" in row):
            name = f"{row['config']['experiment']}/{row['key']}.npz"
            write_atomically(paths.reference() / "arrays" / name, (folder / name).read_bytes())
        known |= {row["key"]: row for row in new}
        for experiment in sorted({row["config"]["experiment"] for row in new}):
            write_reference(experiment, [row for row in known.values() if row["config"]["experiment"] == experiment])
    return {"added": len(new), "already": len(arrived) - len(new)}


def _sound(row: dict, where: str, beside: Path) -> dict:
    """A row of another machine that this code would have made under the same key, with numbers and arrays to it."""
    from lib.runs.config import from_row

    config, metrics, seconds, provenance = (row[name] for name in ("config", "metrics", "seconds", "provenance"))
    name = str(config.get("experiment"))
    _require(re.fullmatch(r"[a-z0-9_]+", name), where, "an experiment is named by a-z, 0-9 and _", name)
    numbers = isinstance(metrics, dict) and all(map(_is_number, metrics.values()))
    _require(numbers, where, "metrics must be finite numbers by name", metrics)
    _require(_is_number(seconds) and seconds >= 0, where, "seconds must be a number from 0 on", seconds)
    known = isinstance(provenance, dict) and provenance.keys() >= {"made", "code", "data", "torch"}
    _require(known, where, "provenance must say when, by which code, data and torch a row was made", provenance)
    try:
        key = from_row(row).key()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LedgerError(f"{where}: the configuration must be one that this code knows, found {str(error)!r}") from error
    _require(key == row["key"], where, f"the key of this configuration is {key} by this code and data", row["key"])
    if "arrays" in row:
        kept = row["arrays"]
        named = isinstance(kept, dict) and {name: type(kept[name]) for name in kept} == {"names": list, "sha256": str}
        _require(named, where, "arrays must have names, and the SHA-256 of their file", kept)
        content = beside.read_bytes() if beside.is_file() else b""
        found = hashlib.sha256(content).hexdigest() if content else "no file"
        _require(found == kept["sha256"], str(beside), f"the SHA-256 of the row's arrays is {kept['sha256']}", found)
        inside = unpacked(content)
        inside = sorted(inside) if isinstance(inside, dict) else "something else"
        _require(inside == kept["names"], str(beside), f"the row's arrays are {kept['names']}", inside)
    return row


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
