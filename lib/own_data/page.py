"""``report.html``: one file with everything in it, the summary in plain words first. All names are escaped."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.sparse import csgraph, csr_array

from lib.crowd.labels import CrowdLabels
from lib.plotting import crowds
from lib.plotting.style import GRAY, color, in_style

if TYPE_CHECKING:
    from lib.own_data.outcome import Outcome

__all__ = ["confidence_chart", "islands", "relabeling_chart", "report_page", "sentences"]

ROWS = 20  # of a table on the page
STYLE = """body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:14px;margin:1rem 0}th,td{border-bottom:1px solid #ddd;padding:.3rem
.7rem;text-align:left} td.number,th.number{text-align:right}img{max-width:100%}.lead li{margin:.4rem
0}h2{margin-top:2.5rem}.warning{background:#fff3d6;padding:.6rem 1rem}"""


def report_page(outcome: Outcome) -> str:
    """The page, as text."""
    tables, parts = outcome.tables, []
    told, warned = sentences(outcome)
    parts.append("<ul class=lead>" + "".join(f"<li>{html.escape(text)}</li>" for text in told) + "</ul>")
    parts += [f"<p class=warning>{html.escape(text)}</p>" for text in warned]
    parts.append("<h2>Annotators</h2>")
    people = tables["annotators"]
    judged = people[people["accuracy"].notna()]
    if len(judged):
        worst = judged.sort_values("accuracy", ascending=False, kind="stable")
        shown = worst if len(worst) <= 2 * ROWS else pd.concat([worst.head(ROWS), worst.tail(ROWS)])
        names = shown.assign(annotator=shown["annotator"].astype(str).str.replace("$", r"\$"))
        parts.append(_image(crowds.accuracies(names, title="Annotators, judged by the others")[0]))
    first = pd.concat([people[people["looks_random"]], people[~people["looks_random"]].sort_values("accuracy", kind="stable")])
    columns = ["annotator", "n_labels", "accuracy", "ci_low", "ci_high", "confusions", "looks_random"]
    parts.append(_table(first[columns], "annotators.csv"))
    parts.append("<h2>Items to look at again</h2>")
    if outcome.estimate.told_apart:
        parts.append(_image(relabeling_chart(tables["to_relabel"])[0]))
    parts.append(_table(tables["to_relabel"], "to_relabel.csv"))
    parts.append("<h2>Cleaned labels</h2>")
    if outcome.estimate.told_apart:
        parts.append(_image(confidence_chart(tables["cleaned_labels"])[0]))
    columns = ["item", "label", "confidence", "n_labels", "votes", "majority_vote"]
    cleaned = tables["cleaned_labels"]
    differ = (cleaned["n_labels"] > 0) & (cleaned["label"] != cleaned["majority_vote"])
    parts.append("<p>Labels that differ from the vote, or where the vote is tied:</p>")
    parts.append(_table(cleaned.loc[differ, columns], "cleaned_labels.csv"))
    parts.append("<h2>Agreement</h2>")
    parts.append(_table(tables["agreement"], "agreement.csv"))
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Report on labels</title>'
        f"<style>{STYLE}</style></head><body><h1>Report on {len(outcome.intake.crowd):,} labels</h1>\n{body}\n</body></html>\n"
    )


def sentences(outcome: Outcome) -> tuple[list[str], list[str]]:
    """The summary, and what to beware of."""
    crowd, found, tables = outcome.intake.crowd, outcome.estimate, outcome.tables
    cleaned, people, several = tables["cleaned_labels"], tables["annotators"], crowd.labels_per_item >= 2
    known = int((outcome.intake.known >= 0).sum())
    told = [
        f"{crowd.n_annotators:,} annotators gave {len(crowd):,} labels of {int((crowd.labels_per_item > 0).sum()):,} items; "
        f"{int(several.sum()):,} items have two or more, so that people can agree. Classes: {crowd.n_classes}."
    ]
    warned = []
    top = tables["agreement"].iloc[0]
    if np.isfinite(top["value"]):
        told.append(
            f"Two people agree on {100 * top['agreement']:.0f} % of the items that both labeled; Krippendorff's alpha "
            f"is {top['value']:.2f} "
            f"(95 % interval {top['ci_low']:.2f} to {top['ci_high']:.2f}; 1 is full agreement, 0 is chance)."
        )
    if found.told_apart:
        a, low, high = outcome.mean_accuracy
        told.append(
            f"A label is right with probability {100 * a:.0f} % ({100 * low:.0f} to {100 * high:.0f}), "
            + ("measured on the items with a known class." if known else "if people err independently.")
        )
        wrong = float((1 - cleaned["confidence"]).sum())
        told.append(f"About {wrong:.0f} of {len(cleaned):,} cleaned labels are expected to be wrong, on the same condition.")
    else:
        warned.append(
            "Too few items have two labels or a known class, so nobody's accuracy can be told, nor which labels are "
            "wrong. The labels are kept as "
            "they are, without confidences. A second label for a few hundred items would change that."
        )
    voted = ~cleaned["tied"] & (cleaned["n_labels"] > 0)
    changed, tied = int((voted & (cleaned["label"] != cleaned["majority_vote"])).sum()), int(cleaned["tied"].sum())
    told.append(f"{changed:,} cleaned labels differ from the vote; {tied:,} votes were tied.")
    told.append(
        f"Held-out labels chose "
        f"{'one coin per annotator' if found.model == 'one coin' else 'a confusion matrix per annotator'}; the fit has "
        + ("converged." if found.converged else "not converged.")
        if found.told_apart
        else "Each label counts alike."
    )
    if outcome.held_out is not None:
        held, line = outcome.held_out, people.iloc[-1]
        text = (
            f"The classifier ({held.method}) agrees with {100 * held.agreement[held.method]:.0f} % of labels that it never saw"
        )
        if np.isfinite(line["accuracy"]):
            text += (
                f"; by the labels of people alone it is right on {100 * line['accuracy']:.0f} % ({100 * line['ci_low']:.0f} to "
            )
            text += f"{100 * line['ci_high']:.0f}) of the items, if its errors are not theirs"
        told.append(f"{text}.")
    if top["ci_low"] <= 0:
        warned.append("People agree no more than chance would have them: the labels may say nothing of the classes.")
    if people["looks_random"].any():
        names = people.loc[people["looks_random"], "annotator"]
        told.append(
            f"{len(names)} annotators look as if they guessed: "
            f"{', '.join(map(str, names[:5]))}{', ...' if len(names) > 5 else ''}."
        )
    if found.told_apart and not found.converged:
        warned.append("The fit had not settled when its rounds ended: take confidences with caution.")
    if (groups := islands(crowd)) > 1:
        warned.append(
            f"The annotators fall into {groups} groups that share no item: accuracies of different groups cannot be compared."
        )
    if not known and found.told_apart:
        warned.append(
            "Errors that people share cannot be seen from labels alone: they confirm each other. To check, give the "
            "classes of some items that "
            "you know (--known FILE, --known-column, --trusted)."
        )
    return told, [*warned, *outcome.intake.notes]


def islands(crowd: CrowdLabels) -> int:
    """Groups of annotators (of those with labels) that no shared item connects."""
    n = crowd.n_items + crowd.n_annotators
    graph = csr_array((np.ones(len(crowd)), (crowd.item, crowd.n_items + crowd.annotator)), shape=(n, n))
    _, group = csgraph.connected_components(graph, directed=False)
    return len(np.unique(group[crowd.n_items :][crowd.labels_per_annotator > 0]))


def relabeling_chart(ranking: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How many cleaned labels are expected to be wrong, if somebody whose word is final goes through the list."""
    doubt = 1 - ranking["confidence"].to_numpy()
    left = doubt.sum() - np.concatenate([[0], np.cumsum(doubt)])
    checked = np.arange(len(left))
    rest = left[0] * (1 - checked / max(len(doubt), 1))
    with in_style():
        fig, axis = plt.subplots()
        axis.plot(checked, left, color=color("dl-em"), label="in this order")
        axis.plot(checked, rest, color=GRAY, ls="--", label="in random order")
        axis.set(xlabel="items checked", ylabel="expected number of wrong labels left", ylim=(0, None))
        axis.legend()
    return fig, pd.DataFrame({"items_checked": checked, "in_this_order": left, "in_random_order": rest})


def confidence_chart(cleaned: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How many cleaned labels have which confidence."""
    edges = np.linspace(0, 1, 21)
    counts, _ = np.histogram(cleaned["confidence"], edges)
    with in_style():
        fig, axis = plt.subplots(figsize=(8, 3))
        axis.bar(edges[:-1], counts, width=0.045, align="edge", color=color("dl-em"))
        axis.set(xlabel="confidence", ylabel="items", xlim=(0, 1))
    return fig, pd.DataFrame({"confidence_from": edges[:-1], "items": counts})


def _image(fig: Figure) -> str:
    content = io.BytesIO()
    fig.savefig(content, format="png", metadata={"Software": None})
    plt.close(fig)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">'


def _table(table: pd.DataFrame, file: str) -> str:
    """The first rows of a table, escaped."""
    numbers = [pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool for name in table.columns]
    kinds = [' class="number"' if number else "" for number in numbers]
    head = "".join(
        f"<th{kind}>{html.escape(str(name).replace('_', ' '))}</th>" for kind, name in zip(kinds, table.columns, strict=True)
    )
    lines = [
        "".join(f"<td{kind}>{html.escape(_cell(value))}</td>" for kind, value in zip(kinds, row, strict=True))
        for row in table.head(ROWS).itertuples(index=False)
    ]
    rest = (
        f"<p>{len(table):,} rows in all; the first {ROWS} are here, all are in {file}.</p>"
        if len(table) > ROWS
        else f"<p>{file}</p>"
    )
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + f"</table>{rest}"


def _cell(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.2f}"
    return str(value)
