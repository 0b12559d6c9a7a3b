"""``claims.json``: claims written, read, and made again from the rows behind them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib import paths
from lib.results.claim_tables import shown
from lib.results.samples import BOTH, Sample, ends, per_item, stable
from lib.results.verdicts import KINDS, ORIGINS, VERDICTS, Claim, judge
from lib.storage import write_atomically

__all__ = ["load", "misprinted", "recompute", "save"]


def save(notebook: str, claims: Sequence[Claim]) -> None:
    """Write ``figures/<notebook>/claims.json``; numbers to six significant digits, so that the file is stable.

    Each entry also has ``shown``, our number as it stands everywhere, for readers without this module.

    Raises:
        OSError: it could not be written.
    """
    entries = [dataclasses.asdict(claim) | {"shown": shown(claim)} for claim in claims]
    lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
    write_atomically(paths.figures(notebook) / "claims.json", text)


def load(path: Path) -> list[Claim]:
    """The claims of a ``claims.json``.

    Raises:
        ValueError: not a list of claims; the message names the file and what is wrong.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
        for entry in entries:
            del entry["shown"]
        claims = [Claim(**{name: _frozen(entry) for name, entry in line.items()}) for line in entries]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{path} is no list of claims: {error!r}") from error
    for name, known in (("verdict", VERDICTS), ("origin", ORIGINS), ("kind", KINDS)):
        if strange := [getattr(claim, name) for claim in claims if getattr(claim, name) not in known]:
            raise ValueError(f"{path} has the {name} {strange[0]!r}; expected one of {', '.join(known)}")
    return claims


def misprinted(path: Path) -> list[str]:
    """A line for each claim of a ``claims.json`` whose number is not shown as its other fields say."""
    texts = {entry["id"]: entry["shown"] for entry in json.loads(path.read_text("utf-8"))}
    return [
        f"{path.name}, claim {claim.id!r}: shown as {texts[claim.id]!r}, its numbers say {shown(claim)!r}"
        for claim in load(path)
        if texts[claim.id] != shown(claim)
    ]


def recompute(claim: Claim, rows: Mapping[str, Mapping], others: Mapping[str, Claim] | None = None) -> Claim | None:
    """A claim made again from the rows behind it.

    Args:
        claim: as it is written.
        rows: ledger rows by key; all keys of the claim must be there.
        others: claims by id, for one in parts, which is made from its parts made again.

    Returns:
        The claim with its numbers and verdict recomputed; None for one that comes from no rows, or from more than their
        metrics (a count of published labels, a simulation, a history), whose notebook alone can make it again.

    Raises:
        KeyError: a key without a row.
    """
    if claim.parts:
        parts = [recompute(others[name], rows, others) or others[name] for name in claim.parts]
        held = sum(part.verdict in ("reproduced", "holds on our reconstruction") for part in parts)
        run = any(part.ours is not None for part in parts)
        claim = dataclasses.replace(claim, ours=float(held) if run else None)
        return dataclasses.replace(claim, verdict=judge(claim, parts))
    metrics = [rows[key]["metrics"] for key in claim.keys]
    kept = all(metric in metrics[at] for _, metric, places in claim.terms if metric for at in places)
    if not claim.terms or not kept:
        return None
    sample = _summed(claim, rows)
    center, low, high = (None if math.isnan(end) else stable(end) for end in ends(sample))
    seeds, over = len(sample.values), sample.over
    claim = dataclasses.replace(claim, ours=center, low=low, high=high, seeds=seeds, over=over)
    return dataclasses.replace(claim, verdict=judge(claim))


def _summed(claim: Claim, rows: Mapping[str, Mapping]) -> Sample:
    """The sum of the claim's terms, a value a seed, with the numbers of the items where its interval is over them too."""
    values, items = {}, {}
    for number, places in enumerate(zip(*(places for _, _, places in claim.terms), strict=True)):
        runs = [
            (factor, metric, rows[claim.keys[at]] if metric else None)
            for (factor, metric, _), at in zip(claim.terms, places, strict=True)
        ]
        parts = [factor * (row["metrics"][metric] if metric else 1.0) for factor, metric, row in runs]
        values[number] = 0.0 if abs(sum(parts)) <= 1e-12 * max(map(abs, parts)) else sum(parts)
        if claim.over == BOTH:
            items[number] = np.sum([factor * per_item(row, metric) for factor, metric, row in runs if metric], axis=0)
    return Sample(values, claim.scale, claim.unit, items=items)


def _frozen(entry: object) -> object:
    return tuple(_frozen(part) for part in entry) if isinstance(entry, list) else entry
