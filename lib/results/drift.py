"""Drift: every number of a fresh pass beside the committed reference, and whether the seeds' spread explains the gap.

On one machine the same seeds give the same numbers, bit for bit. Another processor or torch version rounds differently,
training amplifies that, and a fresh mean is then as good as one over new seeds. So the tolerance is the half width of
the 99 % prediction interval for the mean of ``m`` new seeds, from ``n`` reference seeds with standard deviation ``s``::

    tolerance = t(0.995; n - 1) * s * sqrt(1 / m + 1 / n)  +  0.002 * |reference mean|

The last term is for numbers that hardly vary with the seed. The fresh spread stays out on purpose: a run gone wild must
not widen its own tolerance.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lib.storage import write_atomically

__all__ = ["compare", "summary", "table", "tolerance", "write"]

LEVEL = 0.99
FLOOR = 0.002  # relative
SAME = 1e-9  # relative: the last bits of a sum

LABELS = ["experiment", "dataset", "case", "method", "metric", "scale"]
COLUMNS = [*LABELS, "n_fresh", "n_reference", "fresh", "reference", "difference", "tolerance", "verdict"]
VERDICTS = {
    "identical": "identical",
    "within": "within tolerance",
    "outside": "OUTSIDE",
    "one seed": "different, with one reference seed and so no tolerance",
    "no reference": "without a reference",
}


def tolerance(reference: Iterable[float], n_fresh: int) -> float:
    """How far the mean of ``n_fresh`` new seeds may lie from the mean of these reference seeds.

    Returns:
        A half width in the unit of the values; NaN for fewer than two reference values, which have no spread.
    """
    values = np.asarray(list(reference), dtype=float)
    if len(values) < 2:
        return math.nan
    quantile = stdtrit(len(values) - 1, (1 + LEVEL) / 2)
    noise = quantile * values.std(ddof=1) * math.sqrt(1 / n_fresh + 1 / len(values))
    return float(noise + FLOOR * abs(values.mean()))


def compare(fresh: Iterable[Mapping], reference: Iterable[Mapping]) -> pd.DataFrame:
    """Set the rows of a pass beside the reference rows: one line for each configuration without its seed, and metric.

    Args:
        fresh: ledger rows just computed.
        reference: the committed rows; those of other experiments or scales are left alone.

    Returns:
        ``COLUMNS``, the largest deviation in units of its tolerance first.
    """
    expected = _by_group(reference)
    lines = []
    for group, found in _by_group(fresh).items():
        config = json.loads(group)
        for metric in sorted({*found, *expected.get(group, {})}):
            new, old = found.get(metric, {}), expected.get(group, {}).get(metric, {})
            labels = {name: config.get(name) for name in LABELS} | {"metric": metric}
            lines.append(labels | _line(list(new.values()), list(old.values())))
    frame = pd.DataFrame(lines, columns=COLUMNS)
    # A number that vanished or became NaN has no finite distance: it comes first, as outside.
    distance = (frame["difference"].abs() / frame["tolerance"]).where(frame["verdict"] != "identical", 0.0)
    distance = distance.mask(frame["verdict"].eq("outside") & distance.isna(), math.inf)
    return frame.iloc[np.argsort(-distance.fillna(-1.0).to_numpy(), kind="stable")].reset_index(drop=True)


def summary(frame: pd.DataFrame) -> str:
    """The counts in one line, and one more line when something lies outside."""
    counts = frame["verdict"].value_counts()
    parts = [f"{counts[name]} {words}" for name, words in VERDICTS.items() if name in counts]
    text = f"Drift from the reference: {', '.join(parts) or 'nothing to compare'}."
    if counts.get("outside", 0):
        text += (
            f"\nOutside their tolerance: {counts['outside']} of {len(frame)}. On another processor or torch "
            f"version about {1 - LEVEL:.0%} do so by chance; more, or far outside, means that something changed."
        )
    return text


def table(frame: pd.DataFrame, limit: int = 12) -> str:
    """The largest deviations as text, without those that are identical; empty when there are none."""
    shown = frame[~frame["verdict"].isin(["identical", "no reference"])].head(limit)
    if shown.empty:
        return ""
    numbers = ["fresh", "reference", "difference", "tolerance"]
    shown = shown.assign(**{name: [f"{value:.4g}" for value in shown[name]] for name in numbers})
    shown = shown.assign(seeds=shown["n_fresh"].astype(str) + "/" + shown["n_reference"].astype(str))
    return shown[[*LABELS[:-1], "seeds", *numbers, "verdict"]].to_string(index=False)


def write(frame: pd.DataFrame, path: Path) -> None:
    """The whole comparison as CSV.

    Raises:
        OSError: it could not be written.
    """
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n"))


def _by_group(rows: Iterable[Mapping]) -> dict[str, dict[str, dict[int, float]]]:
    """Configuration without its seed -> metric -> seed -> value; of two rows of one run the later in order counts."""
    from lib import methods
    from lib.training.recipe import Recipe

    # A reference row may be older than a field of the recipe or an option of the method, which then was what its default is
    # now; and who writes a default out means the same run.
    defaults = {entry.name: entry.default for entry in fields(Recipe)}
    groups: dict[str, dict[str, dict[int, float]]] = {}
    for row in rows:
        config = {name: value for name, value in row["config"].items() if name != "seed"}
        config["recipe"] = defaults | config.get("recipe", {})
        with contextlib.suppress(ValueError):  # a method of another version or of somebody's own
            config["method_options"] = methods.info(config["method"]).options | config["method_options"]
        metrics = groups.setdefault(json.dumps(config, sort_keys=True, default=str), {})
        for metric, value in row["metrics"].items():
            metrics.setdefault(metric, {})[row["config"]["seed"]] = math.nan if value is None else float(value)
    return groups


def _line(new: list[float], old: list[float]) -> dict:
    fresh, reference = (float(np.mean(values)) if values else math.nan for values in (new, old))
    difference, allowed = fresh - reference, tolerance(old, max(len(new), 1))
    if not old:
        verdict = "no reference"
    elif abs(difference) <= SAME * max(1.0, abs(reference)) or (new and math.isnan(fresh) and math.isnan(reference)):
        verdict = "identical"
    elif new and math.isnan(allowed) and len(old) == 1 and not math.isnan(fresh):
        verdict = "one seed"
    else:
        verdict = "within" if abs(difference) <= allowed else "outside"  # NaN compares false: outside
    return {
        "n_fresh": len(new),
        "n_reference": len(old),
        "fresh": fresh,
        "reference": reference,
        "difference": difference,
        "tolerance": allowed,
        "verdict": verdict,
    }
