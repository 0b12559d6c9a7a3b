"""The papers' printed numbers, and ours beside them. A paper's number is shown with the digits that it is printed with."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from lib import paths
from lib.results.tables import is_share, with_lines

__all__ = ["beside", "less", "paper", "printed"]

PLACE = ["result_id", "dataset", "case", "method", "metric"]


def paper(paper: str, **where: str | Sequence[str]) -> pd.DataFrame:
    """The papers' printed numbers, with their own names and units, as ``data/paper_results.csv`` has them.

    Args:
        paper: how the paper's entry begins, such as ``"CCC"``.
        where: one value or several of ``result_id``, ``dataset``, ``case``, ``method``, ``metric``. Case, blanks and
            punctuation do not matter: ``dataset="labelme"`` finds "LabelMe".

    Returns:
        The file's columns, and ``printed``: mean and std as they are shown, with the printed digits, accuracies in percent.

    Raises:
        ValueError: nothing fits; the message names what there is.
    """
    data = pd.read_csv(paths.PAPER_RESULTS, dtype={"mean": str, "std": str})
    data["printed"] = [_as_shown(*line) for line in data[["metric", "mean", "std"]].itertuples(index=False)]
    data = data.astype({"mean": float, "std": float})
    data = _some(data, data["paper"].map(_loose).str.startswith(_loose(paper)), "paper", paper)
    for column, wanted in where.items():
        if column not in PLACE:
            raise ValueError(f"the papers' numbers cannot be chosen by {column!r}; they have {', '.join(data.columns)}")
        options = {_loose(option) for option in ([wanted] if isinstance(wanted, str) else wanted)}
        data = _some(data, data[column].map(_loose).isin(options), column, wanted)
    return data.reset_index(drop=True)


def _some(data: pd.DataFrame, fits: pd.Series, column: str, wanted: object) -> pd.DataFrame:
    if not fits.any():
        there = ", ".join(repr(str(value)) for value in data[column].dropna().unique()[:20])
        raise ValueError(f"the papers' numbers have no {column} {wanted!r} here; they have {there}")
    return data[fits.astype(bool)]


def _loose(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def _as_shown(metric: str, mean: str, std: object) -> str:
    texts = [text for text in (mean, std) if isinstance(text, str)]
    return " ± ".join(f"{Decimal(text).scaleb(2):f}" if is_share(metric) else text for text in texts)


def printed(paper_name: str, **where: str) -> str:
    """One printed number as it is shown; raises ValueError where the choice, as in :func:`paper`, fits none or several."""
    found = paper(paper_name, **where)
    if len(found) != 1:
        places = "; ".join(found[PLACE].astype(str).agg(", ".join, axis=1)[:5])
        raise ValueError(f"expected one printed number, found {len(found)}: {places}")
    return found["printed"].iloc[0].split(" ")[0]


def less(first: str, second: str) -> str:
    """The difference of two printed numbers, with the digits of the finer one: ``less("83.9", "77.2")`` is ``"6.7"``."""
    return f"{Decimal(first) - Decimal(second):f}"


def beside(
    table: pd.DataFrame,
    paper: pd.DataFrame,
    names: Mapping[str, str],
    metrics: Mapping[str, str] | None = None,
    datasets: Mapping[str, str] | None = None,
    cases: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Our summary with the paper's numbers in further columns, in our units.

    Args:
        table: from ``rows.summary``.
        paper: from :func:`paper`; metrics ending in ``_pct`` are brought to fractions.
        names: our name of a method to the paper's. One that the paper has and we did not run gets a line of its own.
        metrics, datasets, cases: our names to the paper's, where they differ by more than unit, case, blanks, punctuation.

    Returns:
        ``table`` with ``paper_mean`` and ``paper_std``, NaN where the paper has none, and ``paper``, both as printed.

    Raises:
        ValueError: ``names`` leads to a name that the paper does not have, or the paper gives two numbers for one line.
    """
    if strange := [name for name in names.values() if name not in set(paper["method"])]:
        raise ValueError(f"the paper has no method {strange[0]!r}; it has: {', '.join(map(str, paper['method'].unique()))}")
    theirs = {}
    for line in paper.itertuples():
        place = (_loose(line.dataset), _loose(line.case), line.method, line.metric.removesuffix("_pct"))
        if place in theirs:
            raise ValueError(f"the paper gives two numbers for {place}; choose one by result_id in papers.paper()")
        factor = 0.01 if line.metric.endswith("_pct") else 1.0
        theirs[place] = (line.mean * factor, line.std * factor, line.printed)

    def place_of(line: Mapping) -> tuple:
        dataset, case, metric = (
            (other or {}).get(line[name], line[name])
            for name, other in (("dataset", datasets), ("case", cases), ("metric", metrics))
        )
        return _loose(dataset), _loose(case), names.get(line["method"]), metric.removesuffix("_pct")

    by, unrun = [name for name in table.columns if name not in ("method", "mean", "std", "n_seeds")], []
    for place, group in table.groupby(by, sort=False, dropna=False):
        lines = (dict(zip(by, place, strict=True)) | {"method": name, "n_seeds": 0} for name in names)
        unrun += [line for line in lines if line["method"] not in set(group["method"]) and place_of(line) in theirs]
    table = with_lines(table, unrun)
    found = [theirs.get(place_of(line), (np.nan, np.nan, np.nan)) for line in table.to_dict("records")]
    return table.assign(**{name: [line[at] for line in found] for at, name in enumerate(("paper_mean", "paper_std", "paper"))})
