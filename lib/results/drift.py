"""Drift: every number of a fresh pass beside the committed reference, and whether the seeds' spread explains the gap.

On one processor, with one version of torch and NumPy, the same seeds give the same numbers, bit for bit: where the rows of
both sides say that they were made so, a number that differs has *changed*. Another processor or version rounds differently,
training amplifies that, and a fresh mean is then as good as one over new seeds. So the tolerance is the half width of
the 99 % prediction interval for the mean of ``m`` new seeds, from ``n`` reference seeds with standard deviation ``s``::

    tolerance = t(0.995; n - 1) * s * sqrt(1 / m + 1 / n)  +  0.002 * |reference mean|

The last term is for numbers that hardly vary with the seed. The fresh spread stays out on purpose: a run gone wild must
not widen its own tolerance. A seed is a seed of whatever kind: of the network, of a simulated crowd, of a validation split.

A number with one reference seed takes ``s``, and the degrees of freedom, from its like: pooled over the numbers of the same
metric with several seeds, of the same method on the same data where there are some, else of the same method, of the same data,
or of any. What no seed moves, in its own seeds and in its like, has no tolerance but the last of its six decimals.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lib import methods
from lib.storage import write_atomically
from lib.training.recipe import Recipe

__all__ = ["compare", "spread", "summary", "table", "tolerance", "write"]

LEVEL = 0.99
FLOOR = 0.002  # relative
SAME = 1e-9  # relative: the last bits of a sum
LAST_DECIMAL = 1.5e-6  # rows hold six decimals, the last of which may round the other way

SEEDS = ("crowd_seed", "seed")  # options of data sets that are seeds
MACHINE = ("processor", "device", "torch", "numpy")  # of a row's provenance: equal ones round equally
LIKE = (("experiment", "dataset", "method"), ("dataset", "method"), ("method",), ("dataset",), ())  # whose spread to borrow

LABELS = ["experiment", "dataset", "case", "method", "metric", "scale"]
NUMBERS = ["fresh", "reference", "difference", "tolerance"]
COLUMNS = [*LABELS, "n_fresh", "n_reference", *NUMBERS, "verdict"]
VERDICTS = {
    "identical": "identical",
    "within": "within tolerance",
    "changed": "CHANGED on the processor that made the reference",
    "outside": "OUTSIDE",
    "no tolerance": "different, with one reference seed and no like to take a tolerance from",
    "no reference": "without a reference",
}


def spread(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation over seeds, pooled over groups, each around its own mean, and its degrees of freedom.

    NaN and 0 where no group has two values.
    """
    several = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    # Equal values have a spread of exactly zero, which the rounding of their mean must not spoil.
    squares = sum(np.var(values) * len(values) for values in several if min(values) != max(values))
    return (math.sqrt(squares / freedom), freedom) if freedom else (math.nan, 0)


def tolerance(reference: Sequence[float], n_fresh: int, like: tuple[float, int] = (math.nan, 0)) -> float:
    """How far the mean of ``n_fresh`` new seeds may lie from the mean of these reference seeds, one value each.

    ``like`` is the :func:`spread` to take where the reference has one value, or equal values only. NaN where neither has one.
    """
    std, freedom = own = spread([reference])
    if not std > 0:
        std, freedom = like if like[1] else own
    if not freedom:
        return math.nan
    if std == 0:
        return LAST_DECIMAL
    noise = stdtrit(freedom, (1 + LEVEL) / 2) * std * math.sqrt(1 / n_fresh + 1 / len(reference))
    return float(noise + FLOOR * abs(np.mean(reference)))


def compare(fresh: Iterable[Mapping], reference: Iterable[Mapping]) -> pd.DataFrame:
    """Set the rows of a pass beside the reference rows: one line for each configuration without its seed, and metric.

    Reference rows of other configurations are left alone. Returns :data:`COLUMNS`, the largest deviation in units of its
    tolerance first.
    """
    new, old = _by_place(fresh), _by_place(reference)
    groups = {group for group, _ in new}
    borrowed: dict[tuple, list[list[float]]] = {}
    for (group, metric), by_seed in old.items():
        values = [value for value, _ in by_seed.values() if math.isfinite(value)]
        for like in _likes(json.loads(group), metric):
            borrowed.setdefault(like, []).append(values)
    pooled = {like: found for like, values in borrowed.items() if (found := spread(values))[1]}
    lines = []
    for group, metric in sorted(new.keys() | {place for place in old if place[0] in groups}):
        config, sides = json.loads(group), [side.get((group, metric), {}) for side in (new, old)]
        like = next((pooled[like] for like in _likes(config, metric) if like in pooled), (math.nan, 0))
        lines.append({name: config.get(name) for name in LABELS} | {"metric": metric} | _line(*sides, like))
    frame = pd.DataFrame(lines, columns=COLUMNS)
    # What changed comes first, and a number that vanished or became NaN, which has no finite distance.
    distance = (frame["difference"].abs() / frame["tolerance"]).where(frame["verdict"] != "identical", 0.0)
    distance = distance.mask(frame["verdict"].eq("outside") & distance.isna() | frame["verdict"].eq("changed"), math.inf)
    return frame.iloc[np.argsort(-distance.fillna(-1.0).to_numpy(), kind="stable")].reset_index(drop=True)


def _by_place(rows: Iterable[Mapping]) -> dict[tuple[str, str], dict[tuple, tuple[float, tuple]]]:
    """(Configuration without its seeds, metric) -> seeds -> value and machine; of two rows of one run the later counts."""
    # A reference row may be older than a field of the recipe or an option of the method, which then was what its default is
    # now; and who writes a default out means the same run.
    defaults = {entry.name: entry.default for entry in fields(Recipe)}
    found: dict[tuple[str, str], dict[tuple, tuple[float, tuple]]] = {}
    for row in rows:
        config = dict(row["config"])
        config["recipe"] = defaults | config.get("recipe", {})
        with contextlib.suppress(ValueError):  # a method of another version or of somebody's own
            config["method_options"] = methods.info(config["method"]).options | config["method_options"]
        config["dataset_options"] = data = dict(config.get("dataset_options", {}))
        seeds = (config.pop("seed"), *(data.pop(name, 0) for name in SEEDS))
        machine = tuple(row.get("provenance", {}).get(name) for name in MACHINE)
        group = json.dumps(config, sort_keys=True, default=str)
        for metric, value in row["metrics"].items():
            found.setdefault((group, metric), {})[seeds] = (math.nan if value is None else float(value), machine)
    return found


def _likes(config: Mapping, metric: str) -> list[tuple]:
    """Whose spread a number may borrow, the nearest first."""
    return [(metric, names, *(config.get(name) for name in names)) for names in LIKE]


def _line(new: Mapping[tuple, tuple[float, tuple]], old: Mapping[tuple, tuple[float, tuple]], like: tuple[float, int]) -> dict:
    values, known = ([value for value, _ in side.values()] for side in (new, old))
    fresh, reference = (float(np.mean(side)) if side else math.nan for side in (values, known))
    difference, allowed = fresh - reference, tolerance(known, max(len(values), 1), like) if known else math.nan
    # Rows that do not say where they were made were made anywhere.
    alike = [seed for seed in new.keys() & old.keys() if new[seed][1] == old[seed][1] and None not in old[seed][1]]
    if not old:
        verdict = "no reference"
    elif not all(_same(new[seed][0], old[seed][0]) for seed in alike):
        verdict, allowed = "changed", 0.0
    elif _same(fresh, reference) and new:
        verdict = "identical"
    elif new and math.isnan(allowed) and len(old) == 1 and not math.isnan(fresh):
        verdict = "no tolerance"
    else:
        verdict = "within" if abs(difference) <= allowed else "outside"  # NaN compares false: outside
    numbers = zip(NUMBERS, (fresh, reference, difference, allowed), strict=True)
    return {"n_fresh": len(new), "n_reference": len(old), **dict(numbers), "verdict": verdict}


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(1.0, abs(other)) or (math.isnan(one) and math.isnan(other))


def summary(frame: pd.DataFrame) -> str:
    """The counts in one line, and one more line when something changed or lies outside."""
    counts = frame["verdict"].value_counts()
    parts = [f"{counts[name]} {words}" for name, words in VERDICTS.items() if name in counts]
    text = f"Drift from the reference: {', '.join(parts) or 'nothing to compare'}."
    if "changed" in counts:
        text += (
            "\nThe same seeds on the same processor, with the same torch and NumPy, gave other numbers: the code changed them."
        )
    if "outside" in counts:
        text += (
            f"\nOutside their tolerance: {counts['outside']} of {len(frame)}. On another processor or torch "
            f"version about {1 - LEVEL:.0%} do so by chance; more, or far outside, means that something changed."
        )
    return text


def table(frame: pd.DataFrame) -> str:
    """The twelve largest deviations as text, without those that are identical; empty when there are none."""
    shown = frame[~frame["verdict"].isin(["identical", "no reference"])].head(12)
    if shown.empty:
        return ""
    shown = shown.assign(**{name: [f"{value:.4g}" for value in shown[name]] for name in NUMBERS})
    shown = shown.assign(seeds=shown["n_fresh"].astype(str) + "/" + shown["n_reference"].astype(str))
    return shown[[*LABELS[:-1], "seeds", *NUMBERS, "verdict"]].to_string(index=False)


def write(frame: pd.DataFrame, path: Path) -> None:
    """The whole comparison as CSV. Raises OSError where it cannot be written."""
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n"))
