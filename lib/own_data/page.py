"""``report.html``: one self-contained file that starts with a summary in plain words. All names are escaped."""

import base64
import html
import io
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.sparse import csgraph, csr_array

from lib.aggregation.shared_errors import FEWEST_KNOWN
from lib.crowd.labels import CrowdLabels
from lib.own_data.outcome import Outcome
from lib.own_data.tables import counted
from lib.plotting import crowds
from lib.plotting.style import GRAY, color, in_style
from lib.results.titles import method_title

SHARED = (
    "Annotators appear to share errors: the labels of an item are equal more often than independent errors explain. Estimated "
    "accuracies are then upper bounds, and some labels are wrong although everybody agrees. "
)
CURE = (
    "To measure them, find out the classes of 50 or more items chosen at random and give these (--known FILE, --known-column "
    "COLUMN or --trusted ANNOTATOR)."
)
SHOWN = ("annotators", "to_relabel", "cleaned_labels", "agreement")
ROWS = 20  # of a table on the page
LONGEST = 40  # characters of a name in a figure
# What the columns of the tables are called on the page; other names are shown with spaces. Shares are shown in percent.
HEADINGS = {
    "n_labels": "labels", "n_items": "items", "n_judged": "items judged", "gain": "gain (bits)", "ask": "best to ask",
    "votes": "votes for it",
}  # fmt: skip
SHARES = {"accuracy": "accuracy (%)", "confidence": "confidence (%)", "agreement": "agreement (%)"}
MEASURES = {"krippendorff_alpha": "Krippendorff's alpha", "cohen_kappa": "Cohen's kappa"}
NARROW = 5.8  # inches; figures are legible at half their size, and so this wide on a phone
# What is wider than the screen, a figure or a table, is scrolled by itself.
STYLE = """:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{overflow-wrap:break-word}.wide{overflow-x:auto;margin:1rem 0}img{display:block;max-width:100%}
table{width:max-content;border-collapse:collapse;font-size:14px}th,td{border-bottom:1px solid #ddd;padding:.3rem .7rem}
th,td{text-align:left;vertical-align:top}td{max-width:20rem}td.number,th.number{text-align:right;white-space:nowrap}
.lead li{margin:.4rem 0}h2{margin-top:2.5rem}.warning{background:#fff3d6;padding:.6rem 1rem}code{white-space:nowrap}
@media(max-width:40rem){th,td{padding:.3rem .4rem;font-size:13px}}"""


def report_page(outcome: Outcome) -> str:
    """The page, as text."""
    people, ranking, cleaned, agreement = (outcome.tables[name] for name in SHOWN)
    told, warned = sentences(outcome)
    parts = ["<ul class=lead>" + "".join(f"<li>{_marked(text)}</li>" for text in told) + "</ul>"]
    parts += [f"<p class=warning>{_marked(text)}</p>" for text in warned]
    if notes := outcome.intake.notes:
        parts.append("<p>How the files were read:</p><ul>" + "".join(f"<li>{_marked(text)}</li>" for text in notes) + "</ul>")
    parts.append("<h2>Annotators</h2>")
    judged = people[people["accuracy"].notna()].sort_values("accuracy", ascending=False, kind="stable")
    if len(judged):
        best = judged.sort_values("ci_low", ascending=False, kind="stable").head(ROWS)
        few = judged.drop(best.index).sort_values("ci_high", kind="stable").head(ROWS)
        ends = judged if len(judged) <= 2 * ROWS else pd.concat([best, few])
        names = ends["annotator"].astype(str).str.slice(0, LONGEST)
        title = f"The {ROWS} most and the {ROWS} least accurate of {len(judged):,}" if len(ends) < len(judged) else ""
        chart, _ = crowds.accuracies(ends.assign(annotator=names), title=title or "Annotators, judged by the others")
        _with_legend_below(chart)
        parts.append(_image(chart, "The accuracy of each annotator with its interval"))
    random = people["looks_random"]
    first = pd.concat([people[random], people[~random].sort_values("ci_high", kind="stable")])
    columns = ["annotator", "n_labels"]
    columns += ["accuracy", "ci_low", "ci_high"] if len(judged) else []
    columns += [name for name in ("confusions", "looks_random") if first[name].head(ROWS).astype(bool).any()]
    if len(judged):
        words = "Whoever seems to guess comes first, then those whose intervals end lowest: few labels make nobody the worst."
        if "confusions" in columns:
            words += " Under confusions, cat → dog (40 %) says that 40 % of the cats are labeled dog."
        parts.append(f"<p>{words}</p>")
    parts.append(_table(first[columns], "annotators.csv"))
    if (held := outcome.held_out) is not None:
        quality = outcome.tables["classifier_quality"]
        columns = [name for name in quality if len(judged) or name not in ("accuracy", "ci_low", "ci_high")]
        parts += [
            "<h2>Classifier</h2><p>It learned from the annotators and is not one of them. Agreement is that with labels it "
            "never saw; its accuracy is judged by the annotators' labels alone.</p>",
            _table(quality[columns].assign(method=method_title(held.method)), "classifier_quality.csv"),
        ]
    parts.append("<h2>Items to look at again</h2>")
    columns = ["item", "n_labels", "label"]
    if outcome.estimate.told_apart:
        columns += ["confidence", "runner_up", "gain", "ask"]
        chart, _ = relabeling_chart(ranking)
        chart.set_figwidth(NARROW)
        parts.append(_image(chart, "Wrong labels left, against items checked"))
        parts.append(
            "<p>First come the items of which one more label is expected to tell most (the gain). Best to ask is, of those who "
            "have not labeled the item, the annotator whose interval has the highest lower end; nobody is named where none of "
            "them is known to do better than chance.</p>"
        )
    else:
        order = "with the fewest labels" if outcome.held_out is None else "whose label the classifier finds least probable"
        parts.append(f"<p>First come the items {order}. Any annotator may be asked: the labels do not tell who is better.</p>")
    parts += [_table(ranking[columns], "to_relabel.csv"), "<h2>Cleaned labels</h2>"]
    if outcome.estimate.told_apart:
        parts.append(_image(_confidence_chart(cleaned), "A histogram of the confidences"))
    columns = ["item", "label", *(["confidence"] if outcome.estimate.told_apart else []), "n_labels", "votes", "majority_vote"]
    differ = (cleaned["n_labels"] > 0) & (cleaned["label"] != cleaned["majority_vote"])
    if differ.any():
        parts.append("<p>Items whose cleaned label differs from the majority vote, or whose vote is tied (cat|dog):</p>")
        parts.append(_table(cleaned.loc[differ, columns], "cleaned_labels.csv"))
    else:
        parts.append("<p>All cleaned labels are those of the majority vote, and no vote is tied. See cleaned_labels.csv.</p>")
    parts.append(
        "<h2>Agreement</h2><p>Krippendorff's alpha of all, then Cohen's kappa of each two who share items, from those who "
        "share most. Neither is defined where all labels are the same class.</p>"
    )
    pairs = agreement.iloc[1:].sort_values("n_items", ascending=False, kind="stable")
    agreement = pd.concat([agreement.iloc[:1], pairs]).replace({"measure": MEASURES})
    agreement["value"] = ["undefined" if np.isnan(value) else f"{value:.2f}" for value in agreement["value"]]
    parts.append(_table(agreement.drop(columns="remark"), "agreement.csv"))
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Report on labels</title>'
        f"<style>{STYLE}</style></head><body><h1>Report on {len(outcome.intake.crowd):,} labels</h1>\n{body}\n</body></html>\n"
    )


def sentences(outcome: Outcome) -> tuple[list[str], list[str]]:
    """The summary, and the warnings."""
    crowd, found, tables = outcome.intake.crowd, outcome.estimate, outcome.tables
    cleaned, people, top = tables["cleaned_labels"], tables["annotators"], tables["agreement"].iloc[0]
    known = int((outcome.intake.known >= 0).sum())
    labeled, compared = (int((crowd.labels_per_item >= least).sum()) for least in (1, 2))
    told = [
        f"{counted(crowd.n_annotators, 'annotator')} gave {counted(len(crowd), 'label')} to {counted(labeled, 'item')} in "
        f"{crowd.n_classes} classes. Annotators can be compared on items with two labels or more: {compared:,}."
    ]
    warned = []
    if np.isfinite(top["value"]):
        told.append(
            f"Two annotators of the same item agree {100 * top['agreement']:.0f} % of the time; Krippendorff's alpha is "
            f"{top['value']:.2f} (95 % interval {top['ci_low']:.2f} to {top['ci_high']:.2f}; 1 is full agreement, 0 is chance)."
        )
    if found.told_apart:
        if outcome.shared.detected:
            told.insert(1, SHARED + ("The known classes show how often." if known >= FEWEST_KNOWN else CURE))
        a, low, high = outcome.mean_accuracy
        lowest = 100 * max(low - outcome.misled[2], 0)
        told.append(
            f"On average, a label is right with probability {_percent(a, low, high)}, "
            + (
                "measured on the items whose class is known."
                if known
                else f"if annotators err independently; down to {lowest:.0f} % if they share errors."
            )
        )
        low, middle, high = outcome.wrong()
        told.append(
            f"About {middle:,.0f} of the {len(cleaned):,} cleaned labels are expected to be wrong: "
            + (
                f"{low:,.0f} to {high:,.0f}, measured by hiding known classes, which must be of items chosen at random."
                if known >= FEWEST_KNOWN
                else f"from {low:,.0f}, if annotators err independently, to {high:,.0f}, if they share as many errors as they "
                "make on their own. Confidences assume half as many shared errors as that; intervals allow for any number up "
                "to it, and are too narrow if there are more."
            )
        )
    else:
        warned.append(
            "Too few items have two labels or a known class to tell how accurate anybody is, or which labels are wrong. The "
            "labels are kept as they are, without confidences. A second label for a few hundred items would change that."
        )
    voted = ~cleaned["tied"] & (cleaned["n_labels"] > 0)
    changed, tied = int((voted & (cleaned["label"] != cleaned["majority_vote"])).sum()), int(cleaned["tied"].sum())
    told.append(f"Cleaned labels that differ from the majority vote: {changed:,}. Tied votes: {tied:,}.")
    kind = "one accuracy" if found.model == "one coin" else "a confusion matrix"
    end = "The fit has converged." if found.converged else "The fit has not converged."
    fitted = f"Held-out labels were predicted best with {kind} per annotator. {end}"
    told.append(fitted if found.told_apart else "Every label counts the same.")
    if (held := outcome.held_out) is not None:
        line = tables["classifier_quality"].iloc[0]
        agreed = f"{100 * held.agreement[held.method]:.0f} % of labels it never saw"
        text = f"The classifier ({method_title(held.method)}) agrees with {agreed}"
        if np.isfinite(line["accuracy"]):
            right = _percent(*line[["accuracy", "ci_low", "ci_high"]])
            text += f". Judged by the annotators' labels alone, it is right on {right} of the items"
        told.append(f"{text}.")
    if top["ci_low"] <= 0:
        warned.append("Annotators agree no more than by chance: the labels may say nothing about the classes.")
    names = people.loc[people["looks_random"], "annotator"].astype(str).tolist()
    if names:
        rest = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
        told.append(f"Annotators who seem to guess ({len(names):,}): {', '.join(names[:5])}{rest}.")
    if found.told_apart and not found.converged:
        warned.append("The fit had not converged when it was stopped: treat confidences with caution.")
    if (groups := islands(crowd)) > 1:
        warned.append(
            f"The annotators form {groups:,} groups that share no items: accuracies cannot be compared across groups."
        )
    if known < FEWEST_KNOWN and found.told_apart and not outcome.shared.detected:
        warned.append(f"The labels show no sign of errors that annotators share, but most such errors leave none. {CURE}")
    return told, warned


def _percent(value: float, low: float, high: float) -> str:
    """A share with its interval, in whole percent unless the interval is narrower than two."""
    digits = 0 if high - low >= 0.02 else 1
    return f"{100 * value:.{digits}f} % ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def islands(crowd: CrowdLabels) -> int:
    """Number of groups of annotators that no shared item connects; those without labels are not counted."""
    n = crowd.n_items + crowd.n_annotators
    graph = csr_array((np.ones(len(crowd)), (crowd.item, crowd.n_items + crowd.annotator)), shape=(n, n))
    _, group = csgraph.connected_components(graph, directed=False)
    return len(np.unique(group[crowd.n_items :][crowd.labels_per_annotator > 0]))


def relabeling_chart(ranking: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """How many cleaned labels are expected to be wrong while somebody whose word is final works down the list."""
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


def _confidence_chart(cleaned: pd.DataFrame) -> Figure:
    with in_style():
        fig, axis = plt.subplots(figsize=(NARROW, 3))
        axis.hist(100 * cleaned["confidence"], np.linspace(0, 100, 21), rwidth=0.9, color=color("dl-em"))
        axis.set(xlabel="confidence (%)", ylabel="items", xlim=(0, 100))
        axis.yaxis.get_major_locator().set_params(integer=True)
    return fig


def _with_legend_below(chart: Figure) -> None:
    """As narrow as the other figures."""
    (old,) = chart.legends
    names = [text.get_text() for text in old.get_texts()]
    with in_style():
        chart.legend(old.legend_handles, names, title=old.get_title().get_text(), loc="outside lower center", ncols=len(names))
    old.remove()
    chart.set_figwidth(NARROW)


def _image(fig: Figure, alt: str) -> str:
    content, half = io.BytesIO(), fig.get_figwidth() * fig.dpi / 2
    with warnings.catch_warnings(record=True) as lacking:
        warnings.simplefilter("always")
        fig.savefig(content, format="png", metadata={"Software": None})
    plt.close(fig)
    source = base64.b64encode(content.getvalue()).decode()
    image = f'<div class=wide><img style="min-width:{half:.0f}px" alt="{alt}" src="data:image/png;base64,{source}"></div>'
    boxes = any("missing from font" in str(warning.message) for warning in lacking)
    return image + ("<p>Characters that the figure shows as boxes are in the table below.</p>" if boxes else "")


def _marked(text: str) -> str:
    """Escaped, with the command's options so marked that no line breaks in them."""
    return re.sub(r"(?<![^\s(])--[a-z-]+( [A-Z]+\b)?", r"<code>\g<0></code>", html.escape(text))


def _table(table: pd.DataFrame, file: str) -> str:
    """The first rows of a table, escaped, in words and units for a reader."""
    shown, columns = table.head(ROWS), {}
    for name in shown.columns.drop(["ci_high"], errors="ignore"):
        values = shown[name]
        if name == "ci_low":
            unit = 100 if "accuracy" in shown else 1
            columns["95 % interval"] = [_interval(*ends, unit) for ends in zip(values, shown["ci_high"], strict=True)]
        elif name in SHARES:
            columns[SHARES[name]] = ["" if np.isnan(value) else f"{100 * value:.1f}" for value in values]
        else:
            columns[HEADINGS.get(name, name.replace("_", " "))] = list(map(_cell, values))
    numbers = {*SHARES.values(), "95 % interval", "labels", "items", "items judged", "gain (bits)", "votes for it", "value"}
    kinds = [' class="number"' if name in numbers else "" for name in columns]
    rows = [("th", columns), *(("td", row) for row in zip(*columns.values(), strict=True))]
    lines = (
        "".join(f"<{tag}{kind}>{html.escape(text)}</{tag}>" for kind, text in zip(kinds, row, strict=True)) for tag, row in rows
    )
    rest = f"The first {ROWS} of {len(table):,} rows; all are in {file}." if len(table) > ROWS else f"Also in {file}."
    return f"<div class=wide><table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table></div><p>{rest}</p>"


def _interval(low: float, high: float, unit: int) -> str:
    digits = 1 if unit == 100 else 2
    return "" if np.isnan(low) else f"{unit * low:.{digits}f} to {unit * high:.{digits}f}"


def _cell(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.2f}"
    return str(value)
