"""How tables look: in a notebook, in Markdown, in README and RESULTS.md. Nothing here computes a result."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from lib import datasets
from lib.results.numbers import MISSING, number, spanned, spread
from lib.results.titles import case_title, method_title

__all__ = [
    "COLUMNS", "MISSING", "NOTE", "Table", "dataset_title", "facts", "is_share", "markdown", "method_title", "metric_title",
    "number", "page", "show", "show_report", "spanned", "spread", "with_lines",
]  # fmt: skip

NOTE = (  # beside tables of files
    "Mean ± standard deviation (n − 1) over seeds, the number of seeds in parentheses; accuracies in percent; a paper's number "
    f"with all the digits that the paper, or its authors' notebook, prints; {MISSING} where there is no number."
)
PAPERS = ["paper_mean", "paper_std", "paper"]
COLUMNS = ["dataset", "case", "method", "metric", "mean", "std", "n_seeds", "scale", *PAPERS]  # of table.csv, in this order

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
    "posterior_error": "error of the classifier (L1 to the true probabilities, 0 to 2)",
    "held_out_acc": "accuracy on held-out items",
    "student_test_acc_used": "student's test accuracy, epoch that is used",
    "student_train_acc": "student's accuracy on the training items",
    "student_held_out": "student's log-likelihood of held-out labels (nats per label)",
    "annotators_in_first_bin": "annotators in the first bin",
    "inside_the_funnel": "annotators inside the funnel",
    "std_between_annotators": "standard deviation between annotators",
    "distance_percentile_10_thousandths": "distance between annotators, 10th percentile (thousandths)",
    "distance_percentile_90_thousandths": "distance between annotators, 90th percentile (thousandths)",
    "mean_distance_thousandths": "distance between annotators, mean (thousandths)",
}
FACTS = {  # what is more than its name without underscores
    "valid_items": "validation items",
    "label_accuracy": "share of right labels",
    "rating_mae": "mean absolute error of a rating",
}


class Table(pd.DataFrame):
    """A DataFrame of finished cells, shown whole: no index, nothing cut off, text to the left, numbers to the right.

    ``caption`` is shown above it.

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
        styles = [f'style="text-align:{"right" if numeric else "left"}"' for numeric in _numeric(self)]

        def line(cells: Sequence[object], tag: str, end: str) -> str:
            texts = [html.escape(str(cell), quote=False) for cell in cells]
            return "".join(f"<{tag} {style}>{text}</{end}>" for style, text in zip(styles, texts, strict=True))

        head = line(self.columns, 'th scope="col"', "th")
        body = "\n".join(f"<tr>{line(cells, 'td', 'td')}</tr>" for cells in self.itertuples(index=False, name=None))
        caption = html.escape(self.caption, quote=False)
        caption = f'<caption style="text-align:left">{caption}</caption>\n' if caption else ""
        return f"<table>\n{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _numeric(table: pd.DataFrame) -> list[bool]:
    """For each column, whether every cell begins with a number or is missing."""
    columns = [[str(cell) for cell in table.iloc[:, place]] for place in range(table.shape[1])]
    filled = [[cell for cell in column if cell not in (MISSING, "")] for column in columns]
    return [bool(column) and all(re.match(r"[<−-]?\d[\d.,]*( |%|$)", cell) for cell in column) for column in filled]


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as a GitHub table after its caption, ending in a newline; no cell can break it."""
    rules = ["---:" if numeric else "---" for numeric in _numeric(table)]
    lines = [list(table.columns), rules, *table.astype(str).to_numpy().tolist()]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    caption = f"{table.caption}\n\n" if getattr(table, "caption", "") else ""
    return caption + "".join(f"| {' | '.join(line)} |\n" for line in cells)


def facts(summaries: Mapping[str, Mapping[str, object]]) -> Table:
    """What data sets hold, a line a fact, a column a data set; from title to names and numbers, as of ``data.summary()``."""
    names = dict.fromkeys(name for summary in summaries.values() for name in summary)
    lines = [
        [FACTS.get(name, name.replace("_", " ")), *(_fact(summary.get(name)) for summary in summaries.values())]
        for name in names
    ]
    return Table(lines, columns=["fact", *summaries])


def _fact(value: object) -> str:
    if value is None or value != value:
        return MISSING
    if not isinstance(value, float | np.floating):
        return str(value)
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def is_share(metric: str) -> bool:
    """Whether a metric is a share, such as that of right answers, kept as 0..1 in rows and shown in percent."""
    return not metric.endswith("_pct") and not SHARES.isdisjoint(metric.split("_"))


def dataset_title(name: str, titles: Mapping[str, str] | None = None) -> str:
    """The caller's title for a data set, else the catalogue's, else its bare name."""
    if titles and name in titles:
        return titles[name]
    return datasets.info(name).title if name in datasets.names() else name


def metric_title(metric: str, titles: Mapping[str, str] | None = None) -> str:
    """A metric in words, with the unit that it is shown in."""
    if titles and metric in titles:
        return titles[metric]
    base = metric.removesuffix("_pct")
    words = METRICS.get(base, base.replace("_", " "))
    return f"{words} (%)" if is_share(metric) or base != metric else words


def show(table: pd.DataFrame, titles: Mapping[str, str] | None = None) -> Table:
    """A summary as a reader wants it: one line a (data set, case, method, scale), cells such as ``84.1 ± 0.6 (10)``.

    Args:
        table: from ``rows.summary`` or ``papers.beside``.
        titles: other titles for methods, metrics or data sets than those of the catalogues.

    Returns:
        Mean ± std (number of seeds), shares in percent, and the paper's number as printed beside ours where it has one; ``–``
        for what is missing. Data, case and scale are in the caption where they are alike throughout.
    """
    head = [name for name in table.columns if name not in ("metric", "mean", "std", "n_seeds", *PAPERS)]
    lines: dict[tuple, dict] = {}
    for cell in table.to_dict("records"):
        line = lines.setdefault(tuple(cell[name] for name in head), {name: cell[name] for name in head})
        line[cell["metric"], "ours"], line[cell["metric"], "paper"] = _cells(cell)
    heads = {(metric, who): metric_title(metric, titles) for metric in table["metric"].unique() for who in ("ours", "paper")}
    shown = pd.DataFrame(list(lines.values()), columns=[*head, *heads])
    shown = shown.astype(object).where(shown.notna(), MISSING)
    empty = [place for place in heads if place[1] == "paper" and (shown[place] == MISSING).all()]
    shown = shown.drop(columns=empty + (["case"] if (shown["case"] == "real").all() else []))
    if "case" in shown:
        shown["case"] = [case_title(case) for case in shown["case"]]
    shown["method"] = [method_title(name, titles) for name in shown["method"]]
    shown["dataset"] = [dataset_title(name, titles) for name in shown["dataset"]]
    words = {name: name.replace("_", " ") for name in head} | {"dataset": "data"}
    words |= {place: title if place[1] == "ours" else f"paper: {title}" for place, title in heads.items()}
    alike = [words[name] for name in ("dataset", "case", "scale") if name in shown]
    return Table(shown.astype(str).set_axis([words[name] for name in shown.columns], axis=1)).folded(*alike)


def page(table: pd.DataFrame) -> str:
    """``table.md``: a summary as :func:`show` has it, in Markdown, with a note on what its cells mean."""
    return f"{markdown(show(table))}\n{NOTE}\n"


def _cells(cell: Mapping) -> tuple[str, str]:
    """Our cell and the paper's: a percentage with one decimal, any other number with three."""
    share, percent = is_share(cell["metric"]), cell["metric"].endswith("_pct")
    factor, digits = 100 if share else 1, 1 if share or percent else 3
    ours, theirs = (
        spread(cell.get(mean, np.nan) * factor, cell.get(std, np.nan) * factor, digits)
        for mean, std in (("mean", "std"), ("paper_mean", "paper_std"))
    )
    printed = cell.get("paper")
    return ours if ours == MISSING else f"{ours} ({cell['n_seeds']})", printed if isinstance(printed, str) else theirs


def with_lines(table: pd.DataFrame, lines: list[dict]) -> pd.DataFrame:
    """A table with further lines at its end."""
    # By records: pandas warns where it joins a full column to an empty one.
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
