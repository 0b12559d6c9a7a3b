"""The papers' printed numbers, and ours beside them. A paper's number is shown with the digits that it is printed with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from lib import paths
from lib.results.tables import is_share, unit, with_lines

__all__ = ["beside", "less", "paper", "printed"]


def paper(paper: str | None = None, **where: str | Sequence[str]) -> pd.DataFrame:
    """The papers' printed numbers.

    Args:
        paper: how the paper's entry begins, such as ``"CCC"``.
        where: one value or several of ``result_id``, ``dataset``, ``case``, ``method``, ``metric``. Case, blanks and
            punctuation do not matter: ``dataset="labelme"`` finds "LabelMe".

    Returns:
        Columns paper, result_id, dataset, case, method, metric, mean, std, source, with the papers' own names and
        units; and ``printed``, mean and std as they are shown: with the printed digits, accuracies in percent.

    Raises:
        ValueError: nothing fits; the message names what there is.
    """
    data = pd.read_csv(paths.PAPER_RESULTS, dtype={"mean": str, "std": str})
    data["printed"] = [_as_shown(*line) for line in data[["metric", "mean", "std"]].itertuples(index=False)]
    data = data.astype({"mean": float, "std": float})
    if paper is not None:
        fits = data["paper"].map(_loose).str.startswith(_loose(paper))
        data = _some(data, fits, "paper", paper)
    for column, wanted in where.items():
        if column not in ("result_id", "dataset", "case", "method", "metric"):
            raise ValueError(f"the papers' numbers cannot be chosen by {column!r}; they have {', '.join(data.columns)}")
        options = [wanted] if isinstance(wanted, str) else list(wanted)
        fits = data[column].map(_loose).isin([_loose(option) for option in options])
        data = _some(data, fits, column, wanted)
    return data.reset_index(drop=True)


def printed(paper_name: str, **where: str) -> str:
    """One printed number with its printed digits: an accuracy in percent, anything else as the paper has it.

    Raises:
        ValueError: the choice, as in :func:`paper`, fits no number or several.
    """
    found = paper(paper_name, **where)
    if len(found) != 1:
        places = "; ".join(found[["result_id", "dataset", "case", "method", "metric"]].astype(str).agg(", ".join, axis=1)[:5])
        raise ValueError(f"expected one printed number, found {len(found)}: {places}")
    return found["printed"].iloc[0].split(" ")[0]


def less(first: str, second: str) -> str:
    """The difference of two printed numbers, with the digits of the finer one: ``less("83.9", "77.2")`` is ``"6.7"``."""
    return f"{Decimal(first) - Decimal(second):f}"


def _as_shown(metric: str, mean: str, std: object) -> str:
    texts = [text for text in (mean, std) if isinstance(text, str)]
    return " ± ".join(f"{Decimal(text).scaleb(2):f}" if is_share(metric) else text for text in texts)


def beside(
    table: pd.DataFrame,
    paper: pd.DataFrame,
    names: Mapping[str, str],
    metrics: Mapping[str, str] | None = None,
    datasets: Mapping[str, str] | None = None,
    cases: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Our summary with the paper's numbers in two more columns, in our units.

    Args:
        table: from :func:`summary`.
        paper: from :func:`paper`; its metrics ending in ``_pct`` are brought to fractions (or ours to theirs, if
            ours do).
        names: our registry's name of a method to the paper's name. A method that the paper has and we did not run
            gets a line of its own.
        metrics, datasets, cases: our names to the paper's, where they differ by more than unit, case, blanks,
            punctuation.

    Returns:
        ``table`` with ``paper_mean`` and ``paper_std``, NaN where the paper has none, and ``paper``, both as printed.

    Raises:
        ValueError: ``names`` leads to a name that the paper does not have, or the paper gives two numbers for one line.
    """
    metrics, datasets, cases = metrics or {}, datasets or {}, cases or {}
    if strange := [name for name in names.values() if name not in set(paper["method"])]:
        raise ValueError(f"the paper has no method {strange[0]!r}; it has: {', '.join(map(str, paper['method'].unique()))}")
    theirs = {}
    for line in paper.itertuples():
        metric, factor = unit(line.metric)
        place = (_loose(line.dataset), _loose(line.case), line.method, metric)
        if place in theirs:
            raise ValueError(f"the paper gives two numbers for {place}; choose one by result_id in report.paper()")
        theirs[place] = (line.mean * factor, line.std * factor, line.printed)
    table = _with_unrun(table, names, lambda line: _place_in_paper(line, names, metrics, datasets, cases) in theirs)
    found = [
        theirs.get(_place_in_paper(line, names, metrics, datasets, cases), (np.nan, np.nan, np.nan))
        for line in table.to_dict("records")
    ]
    ours = table["metric"].map(lambda metric: unit(metric)[1]).to_numpy()
    means, stds = np.asarray([line[:2] for line in found], dtype=float).reshape(-1, 2).T
    return table.assign(paper_mean=means / ours, paper_std=stds / ours, paper=[line[2] for line in found])


def _with_unrun(table: pd.DataFrame, names: Mapping[str, str], printed: Callable[[dict], bool]) -> pd.DataFrame:
    """Lines without seeds for methods that the paper has and we did not run."""
    by = [name for name in table.columns if name not in ("method", "mean", "std", "n_seeds")]
    lines = []
    for place, group in table.groupby(by, sort=False, dropna=False):
        for method in names:
            line = dict(zip(by, place, strict=True)) | {"method": method}
            if method not in set(group["method"]) and printed(line):
                lines.append(line | {"mean": np.nan, "std": np.nan, "n_seeds": 0})
    return with_lines(table, lines)


def _loose(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).casefold())


def _some(data: pd.DataFrame, fits: pd.Series, column: str, wanted: object) -> pd.DataFrame:
    if not fits.any():
        there = ", ".join(repr(str(value)) for value in data[column].dropna().unique()[:20])
        raise ValueError(f"the papers' numbers have no {column} {wanted!r} here; they have {there}")
    return data[fits.astype(bool)]


def _place_in_paper(line: Mapping, names, metrics, datasets, cases) -> tuple:
    metric = unit(metrics.get(line["metric"], line["metric"]))[0]
    dataset = datasets.get(line["dataset"], line["dataset"])
    return _loose(dataset), _loose(cases.get(line["case"], line["case"])), names.get(line["method"]), metric
