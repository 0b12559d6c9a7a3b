"""The leaderboard page: methods against data sets, made from the committed table of notebook 90."""

from __future__ import annotations

import csv
import html
from statistics import NormalDist

from lib import paths
from lib.methods import CATALOGUE

NOTEBOOK = "90_leaderboard"
DATASETS = {"labelme": "LabelMe", "music": "Music", "sentiment_polarity": "Sentiment polarity"}
EPOCHS = {
    "last": "where training ends; chosen by nobody",
    "selected": "the best on validation labels; only LabelMe has them",
    "best": "the best on the test labels; what a paper reports as its best, and nobody could have chosen",
}


def half_width(std: float, seeds: int) -> float:
    """Half of the 95 % interval of a mean over ``seeds`` runs, by Student's t (Cornish and Fisher's expansion of its quantile).

    Raises:
        ValueError: fewer than four runs, where the expansion is too coarse.
    """
    if seeds < 4:
        raise ValueError(f"expected at least four seeds for an interval, found {seeds}")
    z, v = NormalDist().inv_cdf(0.975), seeds - 1
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    t += (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    return t * std / seeds**0.5


def table() -> dict[str, dict[str, dict[str, tuple[float, float, int]]]]:
    """Method to data set to epoch to (mean, half width of its interval, seeds), in percent, as in the notebook's table."""
    found: dict = {}
    with (paths.figures(NOTEBOOK) / "table.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            epoch = row["metric"].removeprefix("test_acc_")
            if row["dataset"] in DATASETS and epoch in EPOCHS and row["mean"]:
                seeds = int(row["n_seeds"])
                entry = (100 * float(row["mean"]), 100 * half_width(float(row["std"]), seeds), seeds)
                found.setdefault(row["method"], {}).setdefault(row["dataset"], {})[epoch] = entry
    return found


def budgets() -> dict[str, str]:
    """Method to "networks · epochs · settings tried", with slashes where data sets differ, as the notebook counted them."""
    found: dict[str, list[dict]] = {}
    with (paths.figures(NOTEBOOK) / "budget.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["method"], []).append(row)
    numbers = {
        method: [list(dict.fromkeys(row[name] for row in rows)) for name in ("networks", "epochs", "settings")]
        for method, rows in found.items()
    }
    return {method: " · ".join("/".join(values) for values in columns) for method, columns in numbers.items()}


def parts() -> dict[str, str]:
    """What the page's text is filled with; sorting and the switch are in ``site.js``, without it the last epoch is shown."""
    found = table()
    seeds = next(iter(found.values()))
    words = ", ".join(f"{seeds[name]['last'][2]} on {title}" for name, title in DATASETS.items())
    return {"switch": _switch(), "board": _board(found), "seeds": words}


def _switch() -> str:
    choices = ""
    for name, words in EPOCHS.items():
        checked = " checked" if name == "last" else ""
        button = f'<input type="radio" name="epoch" value="{name}"{checked} data-words="{name} epoch, {words}">'
        choices += f"<label>{button} {name}</label>"
    return f'<fieldset class="needs-script switch"><legend>Epoch</legend>{choices}</fieldset>'


def _board(found: dict) -> str:
    heads = [
        ("text", "method"),
        ("text", "paper"),
        *(("number", title) for title in DATASETS.values()),
        ("number", "mean rank"),
        ("text", "networks · epochs · settings tried"),
    ]
    allowed = budgets()
    spans = {}
    for dataset in DATASETS:
        entries = [entry for row in found.values() for entry in row.get(dataset, {}).values()]
        spans[dataset] = min(m - h for m, h, _ in entries), max(m + h for m, h, _ in entries)
    lines = []
    for method, row in found.items():
        entry = CATALOGUE[method]
        cells = [f'<th scope="row">{html.escape(entry.title)}</th>', f"<td>{html.escape(entry.paper)}</td>"]
        cells += [_cell(row.get(dataset, {}), spans[dataset]) for dataset in DATASETS]
        ranks = {epoch: "" if (rank := _mean_rank(found, method, epoch)) is None else f"{rank:.1f}" for epoch in EPOCHS}
        data = " ".join(f'data-{epoch}="{rank}"' for epoch, rank in ranks.items())
        cells += [f'<td class="number" {data}>{ranks["last"] or "–"}</td>', f"<td>{allowed[method]}</td>"]
        lines.append(f"<tr{' class=bound' if entry.family == 'bound' else ''}>{''.join(cells)}</tr>")
    names = "".join(
        f'<th scope="col" class="{kind}" data-sort="{kind}"{" data-low" if title == "mean rank" else ""}>{title}</th>'
        for kind, title in heads
    )
    caption = 'Test accuracy (%)<span class="needs-script">; the name of a column sorts by it</span>'
    return (
        f'<table class="board"><caption>{caption}</caption><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(entries: dict[str, tuple[float, float, int]], span: tuple[float, float]) -> str:
    """A cell with the numbers of all epochs in its attributes: mean|half width|start of the bar|its length."""
    texts = dict.fromkeys(EPOCHS, "")
    for epoch, (mean, half, _) in entries.items():
        left, width = (100 * length / (span[1] - span[0]) for length in (mean - half - span[0], 2 * half))
        texts[epoch] = f"{mean:.2f}|{half:.2f}|{left:.1f}|{width:.1f}"
    data = " ".join(f'data-{epoch}="{text}"' for epoch, text in texts.items())
    mean, half, left, width = map(float, texts["last"].split("|"))
    bar = f'<span class="bar" aria-hidden="true"><i style="left:{left:.1f}%;width:{width:.1f}%"></i></span>'
    return f'<td class="number" {data}><span class="value">{mean:.1f} ± {half:.1f}</span>{bar}</td>'


def _mean_rank(found: dict, method: str, epoch: str) -> float | None:
    """Over the data sets that have this epoch, without the bound; None where there is no rank."""
    if CATALOGUE[method].family == "bound":
        return None
    others = [name for name in found if CATALOGUE[name].family != "bound"]
    ranks = []
    for dataset in DATASETS:
        means = {name: found[name][dataset][epoch][0] for name in others if epoch in found[name].get(dataset, {})}
        if method in means:
            ranks.append(1 + sum(mean > means[method] for mean in means.values()))
    return sum(ranks) / len(ranks) if ranks else None
