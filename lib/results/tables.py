"""How tables and numbers look: in a notebook, in Markdown, in README and RESULTS.md. Nothing here computes a result.

A number of ours is rounded from its six leading digits, which is what ``table.csv`` and ``claims.json`` hold: so a cell made
from a run and one made from a file never differ. A paper's number is shown as it is printed.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import ClassVar

import numpy as np
import pandas as pd

__all__ = [
    "COLUMNS",
    "MISSING", "Table", "dataset_title", "facts", "is_share", "markdown", "method_title", "metric_title",
    "number", "show", "spread", "unit", "with_lines",
]  # fmt: skip

MISSING = "–"
# of table.csv, in this order
COLUMNS = ["dataset", "case", "method", "metric", "mean", "std", "n_seeds", "scale", "paper_mean", "paper_std", "paper"]

SHARES = {"acc", "f1", "precision", "recall"}  # words of a metric's name
METRICS = {
    "test_acc_last": "test accuracy, last epoch",
    "test_acc_selected": "test accuracy, epoch chosen on validation labels",
    "test_acc_best": "test accuracy, best test epoch",
    "test_acc": "test accuracy",
    "valid_acc_selected": "validation accuracy at the chosen epoch",
    "label_acc": "accuracy of the estimated training labels",
    "test_f1_last": "entity F1, last epoch",
    "test_precision_last": "entity precision",
    "test_recall_last": "entity recall",
    "test_f1_unconstrained_last": "entity F1 without the rules of BIO",
    "second_f1_last": "entity F1, second test set",
    "label_f1": "entity F1 of the estimated training labels",
    "confusion_error": "error of the confusion matrices (L1, 0 to 2)",
    "test_mae_last": "mean absolute error, last epoch",
    "test_rmse_last": "RMSE, last epoch",
    "test_r2_last": "R², last epoch",
    "test_r2_clipped_last": "R² clipped at 0, last epoch",
    "test_pearson_last": "correlation, last epoch",
    "test_shift_last": "prediction minus truth, last epoch",
    "label_r2": "R² of the estimated training ratings",
    "label_mae": "mean absolute error of the estimated training ratings",
    "bias_error": "error of the biases (RMS over ratings)",
}


FACTS = {
    "items": "items",
    "valid_items": "validation items",
    "test_items": "test items",
    "labels_per_item": "labels per item",
    "label_accuracy": "share of right labels",
    "rating_mae": "mean absolute error of a rating",
}


class Table(pd.DataFrame):
    """A DataFrame of finished cells, shown whole: no index, nothing cut off, the same at every terminal width.

    Text stands to the left, numbers to the right. ``caption`` is shown above it.

    Raises:
        ValueError: an index with names or words, which would not be shown, or a column without a name.
    """

    _metadata: ClassVar = ["caption"]

    def __init__(self, data=None, *args, caption: str = "", **options) -> None:
        super().__init__(data, *args, **options)
        self.caption = caption
        index = self.index
        if len(self) and (any(name is not None for name in index.names) or not pd.api.types.is_integer_dtype(index)):
            shown = ", ".join(map(str, index[:3]))
            raise ValueError(f"a table shows no index, and this one has {shown}, ...: make it a column by reset_index()")
        if nameless := [place for place, name in enumerate(self.columns) if not str(name).strip()]:
            raise ValueError(f"column {nameless[0]} of the table has no name")

    def folded(self, *columns: str) -> Table:
        """The table without those of the columns that hold one value throughout; the caption says it instead."""
        alike = [name for name in columns if len(self) > 1 and len(set(self[name])) == 1]
        words = [f"{name}: {self[name].iloc[0]}" for name in alike if str(self[name].iloc[0]) != MISSING]
        return Table(self.drop(columns=alike), caption="; ".join([*filter(None, [self.caption]), *words]))

    def __repr__(self) -> str:
        if not len(self):
            return "(an empty table)"
        text = self.to_string(index=False)
        return f"{self.caption}\n\n{text}" if self.caption else text

    def _repr_html_(self) -> str:
        sides = ["right" if _is_numbers(self.iloc[:, place]) else "left" for place in range(self.shape[1])]
        head = "".join(
            f'<th scope="col" style="text-align:{side}">{_text(name)}</th>'
            for side, name in zip(sides, self.columns, strict=True)
        )
        lines = [
            "".join(f'<td style="text-align:{side}">{_text(cell)}</td>' for side, cell in zip(sides, line, strict=True))
            for line in self.itertuples(index=False, name=None)
        ]
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        caption = f'<caption style="text-align:left">{_text(self.caption)}</caption>\n' if self.caption else ""
        return f"<table>\n{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _text(cell: object) -> str:
    return html.escape(str(cell), quote=False)


def _is_numbers(column: pd.Series) -> bool:
    """Whether every cell begins with a number or is missing."""
    cells = [str(cell) for cell in column if str(cell) not in (MISSING, "")]
    return bool(cells) and all(re.match(r"[<−-]?\d[\d.,]*( |%|$)", cell) for cell in cells)


def facts(summaries: Mapping[str, Mapping[str, object]]) -> Table:
    """What data sets hold: a line a fact, in words, a column a data set.

    Args:
        summaries: title of a data set to names and numbers, as from ``data.summary()``.
    """
    names = dict.fromkeys(name for summary in summaries.values() for name in summary)
    lines = [
        [FACTS.get(name, name.replace("_", " ")), *(_fact(summary.get(name)) for summary in summaries.values())]
        for name in names
    ]
    return Table(lines, columns=["fact", *summaries])


def _fact(value: object) -> str:
    if not isinstance(value, float | np.floating):
        return MISSING if value is None else str(value)
    return MISSING if math.isnan(value) else f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as a GitHub table, ending in a newline; pipes and line ends inside cells are made harmless.

    Numbers stand to the right; a table's caption comes before it.
    """
    rules = ["---:" if _is_numbers(table.iloc[:, place]) else "---" for place in range(table.shape[1])]
    lines = [list(table.columns), rules, *table.astype(str).to_numpy().tolist()]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    caption = f"{table.caption}\n\n" if getattr(table, "caption", "") else ""
    return caption + "".join(f"| {' | '.join(line)} |\n" for line in cells)


def is_share(metric: str) -> bool:
    """Whether a metric is a share, such as that of right answers, kept as 0..1 in rows and shown in percent."""
    return not metric.endswith("_pct") and not SHARES.isdisjoint(metric.split("_"))


def unit(metric: str) -> tuple[str, float]:
    """A metric's name without its unit, and what its values are to be multiplied by to have none: 0.01 for ``_pct``."""
    return (metric.removesuffix("_pct"), 0.01) if metric.endswith("_pct") else (metric, 1.0)


def method_title(name: str, titles: Mapping[str, str] | None = None) -> str:
    """The caller's title for a method, else the registry's, else its bare name."""
    if titles and name in titles:
        return titles[name]
    try:  # the registry needs torch; a table of finished rows does not
        from lib import methods

        return methods.info(name).title
    except (ImportError, ValueError):
        return name


def dataset_title(name: str, titles: Mapping[str, str] | None = None) -> str:
    """The caller's title for a data set, else the catalogue's, else its bare name."""
    if titles and name in titles:
        return titles[name]
    try:
        from lib import datasets

        return datasets.info(name).title
    except (ImportError, ValueError):
        return name


def metric_title(metric: str, titles: Mapping[str, str] | None = None) -> str:
    """A metric in words, with the unit that it is shown in."""
    if titles and metric in titles:
        return titles[metric]
    base, _ = unit(metric)
    words = METRICS.get(base, base.replace("_", " "))
    return f"{words} (%)" if is_share(metric) or base != metric else words


def number(value: float | None, digits: int) -> str:
    """A number rounded from its six leading digits, halves away from zero; ``–`` for one that is missing; never ``-0.0``."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{Decimal(f'{value:.6g}').quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    return text.removeprefix("-") if float(text) == 0 else text


def spread(mean: float, std: float, digits: int) -> str:
    """``mean ± std``, or the mean alone where there is no std."""
    text = number(mean, digits)
    return text if text == MISSING or math.isnan(std) else f"{text} ± {number(std, digits)}"


def show(table: pd.DataFrame, digits: int = 1, titles: Mapping[str, str] | None = None) -> Table:
    """A summary as a reader wants it: one line a (data set, case, method, scale), cells such as ``84.1 ± 0.6 (10)``.

    Args:
        table: from :func:`summary` or :func:`beside`.
        digits: decimals of a percentage; other numbers get two more.
        titles: other titles for methods, metrics or data sets than those of the registries.

    Returns:
        A table of strings: mean ± std (number of seeds), shares in percent, and the paper's number as printed beside ours
        where it has one. What is missing is ``–``. Data, case and scale are in the caption where they are alike throughout.
    """
    values = {"metric", "mean", "std", "n_seeds", "paper_mean", "paper_std", "paper"}
    head = [name for name in table.columns if name not in values]
    metrics = list(table["metric"].unique())
    lines: dict[tuple, dict] = {}
    for cell in table.to_dict("records"):
        line = lines.setdefault(tuple(cell[name] for name in head), {name: cell[name] for name in head})
        ours, theirs = _cells(cell, digits)
        line |= {(cell["metric"], "ours"): ours, (cell["metric"], "paper"): theirs}
    shown = pd.DataFrame(list(lines.values()), columns=[*head, *((m, who) for m in metrics for who in ("ours", "paper"))])
    shown = shown.astype(object).where(shown.notna(), MISSING)
    for metric in metrics:
        if (shown[(metric, "paper")] == MISSING).all():
            shown = shown.drop(columns=[(metric, "paper")])
    if (shown["case"] == "real").all():
        shown = shown.drop(columns="case")
    shown["method"] = [method_title(name, titles) for name in shown["method"]]
    shown["dataset"] = [dataset_title(name, titles) for name in shown["dataset"]]
    alike = [{"dataset": "data"}.get(name, name) for name in ("dataset", "case", "scale") if name in shown]
    return Table(shown.astype(str).set_axis([_heading(name, titles) for name in shown.columns], axis=1)).folded(*alike)


def _cells(cell: Mapping, digits: int) -> tuple[str, str]:
    """Our cell and the paper's."""
    percent = is_share(cell["metric"]) or cell["metric"].endswith("_pct")
    factor, digits = (100 if is_share(cell["metric"]) else 1), (digits if percent else digits + 2)
    ours = spread(cell["mean"] * factor, cell["std"] * factor, digits)
    if ours != MISSING:
        ours = f"{ours} ({cell['n_seeds']})"
    theirs = cell.get("paper")
    if not isinstance(theirs, str):
        theirs = spread(cell.get("paper_mean", np.nan) * factor, cell.get("paper_std", np.nan) * factor, digits)
    return ours, theirs


def _heading(name: str | tuple, titles: Mapping[str, str] | None) -> str:
    if isinstance(name, str):
        return {"dataset": "data"}.get(name, name.replace("_", " "))
    metric, who = name
    return metric_title(metric, titles) if who == "ours" else f"paper: {metric_title(metric, titles)}"


def with_lines(table: pd.DataFrame, lines: list[dict]) -> pd.DataFrame:
    """A table with further lines at its end (by records: pandas warns where it joins a full column to an empty one)."""
    return pd.DataFrame([*table.to_dict("records"), *lines], columns=table.columns) if lines else table


def show_report(lines: pd.DataFrame) -> Table:
    """A report in words and whole percents; ``–`` where an annotator gave no label."""
    ends = (100 * lines[["accuracy", "ci_low", "ci_high"]]).to_numpy()
    words = [MISSING if np.isnan(a) else f"{a:.0f} ({low:.0f} to {high:.0f})" for a, low, high in ends]
    return Table(
        {
            "annotator": lines["annotator"],
            "labels": lines["n_labels"],
            "accuracy (%)": words,
            "typical errors": lines["confusions"],
            "p (guessing)": [number(p, 3) for p in lines["p_guessing"]],
            "looks random": lines["looks_random"].map({True: "yes", False: ""}),
        }
    )
