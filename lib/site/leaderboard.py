"""The leaderboard page: methods against data sets, made from the committed table of notebook 90."""

import csv
import html
from collections.abc import Mapping
from statistics import NormalDist

from lib import paths
from lib.methods import CATALOGUE
from lib.results.numbers import MISSING, number, spread
from lib.site.claims import told

NOTEBOOK = "90_leaderboard"
DATASETS = {name: told()["data"][name][0] for name in ("labelme", "music", "sentiment_polarity")}
EPOCHS = {
    "last": "where training ends; chosen by nobody",
    "selected": "the best on validation labels; only LabelMe has them",
    "best": "the best on the test labels; what papers report as their best, though nobody could have chosen it",
}
Found = dict[str, dict[str, dict[str, tuple[float, float, int]]]]


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


def rows(name: str, notebook: str = NOTEBOOK) -> list[dict[str, str]]:
    """The lines of a committed CSV file of a notebook."""
    with (paths.figures(notebook) / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table() -> Found:
    """Method to data set to epoch to (mean, half width of its interval, seeds), in percent, as in the notebook's table."""
    found: Found = {}
    for row in rows("table.csv"):
        epoch = row["metric"].removeprefix("test_acc_")
        if row["dataset"] in DATASETS and epoch in EPOCHS and row["mean"]:
            seeds = int(row["n_seeds"])
            entry = (100 * float(row["mean"]), 100 * half_width(float(row["std"]), seeds), seeds)
            found.setdefault(row["method"], {}).setdefault(row["dataset"], {})[epoch] = entry
    return found


def _budgets() -> dict[str, str]:
    """Method to "networks · epochs · settings tried", with slashes where data sets differ, as the notebook counted them."""
    found: dict[str, list[dict]] = {}
    for row in rows("budget.csv"):
        found.setdefault(row["method"], []).append(row)
    return {
        method: " · ".join("/".join(dict.fromkeys(row[name] for row in own)) for name in ("networks", "epochs", "settings"))
        for method, own in found.items()
    }


def parts() -> dict[str, str]:
    """What the page's text is filled with; sorting and the switch are in ``site.js``, without it the last epoch is shown."""
    found = table()
    first = next(iter(found.values()))
    seeds = ", ".join(f"{first[name]['last'][2]} on {title}" for name, title in DATASETS.items())
    choices = ""
    for name, words in EPOCHS.items():
        checked = " checked" if name == "last" else ""
        button = f'<input type="radio" name="epoch" value="{name}"{checked} data-words="{name} epoch, {words}">'
        choices += f"<label>{button} {name}</label>"
    switch = f'<fieldset class="needs-script switch"><legend>Epoch</legend>{choices}</fieldset>'
    return {"switch": switch, "board": _board(found), "seeds": seeds}


def _board(found: Found) -> str:
    spans = {}
    for dataset in DATASETS:
        entries = [entry for row in found.values() for entry in row.get(dataset, {}).values()]
        spans[dataset] = min(m - h for m, h, _ in entries), max(m + h for m, h, _ in entries)
    ranks, allowed, lines = _mean_ranks(found), _budgets(), []
    for method, row in found.items():
        entry = CATALOGUE[method]
        cells = [f'<th scope="row">{html.escape(entry.title)}</th>', f"<td>{html.escape(entry.paper)}</td>"]
        cells += [_cell(row.get(dataset, {}), *spans[dataset]) for dataset in DATASETS]
        own = {epoch: ranks[epoch].get(method, "") for epoch in EPOCHS}
        cells += [f'<td class="number" {_data(own)}>{own["last"] or MISSING}</td>', f"<td>{allowed[method]}</td>"]
        lines.append(f"<tr{' class=bound' if entry.family == 'bound' else ''}>{''.join(cells)}</tr>")
    heads = {"method": "text", "paper": "text"} | dict.fromkeys([*DATASETS.values(), "mean rank"], "number")
    heads |= {"networks · epochs · settings tried": "text"}
    names = "".join(
        f'<th scope="col" class="{kind}" data-sort="{kind}"{" data-low" if title == "mean rank" else ""}>{title}</th>'
        for title, kind in heads.items()
    )
    caption = 'Test accuracy (%)<span class="needs-script">; click the name of a column to sort by it</span>'
    return (
        f'<table class="board"><caption>{caption}</caption><thead><tr>{names}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _data(texts: Mapping[str, str]) -> str:
    return " ".join(f'data-{epoch}="{text}"' for epoch, text in texts.items())


def _cell(entries: dict[str, tuple[float, float, int]], least: float, most: float) -> str:
    """A cell with all epochs in its attributes: mean|mean and half width in words|start of the bar|its length."""
    texts = dict.fromkeys(EPOCHS, "")
    for epoch, (mean, half, _) in entries.items():
        left, width = (100 * length / (most - least) for length in (mean - half - least, 2 * half))
        texts[epoch] = f"{mean:.6g}|{spread(mean, half, 1)}|{left:.1f}|{width:.1f}"
    _, shown, left, width = texts["last"].split("|")
    bar = f'<span class="bar" aria-hidden="true"><i style="left:{left}%;width:{width}%"></i></span>'
    return f'<td class="number" {_data(texts)}><span class="value">{shown}</span>{bar}</td>'


def _mean_ranks(found: Found) -> dict[str, dict[str, str]]:
    """Epoch to method to its mean rank over the data sets that have this epoch; the bound has none."""
    ranked = [method for method in found if CATALOGUE[method].family != "bound"]
    ranks: dict[str, dict[str, str]] = {}
    for epoch in EPOCHS:
        each: dict[str, list[int]] = {}
        for dataset in DATASETS:
            means = {name: found[name][dataset][epoch][0] for name in ranked if epoch in found[name].get(dataset, {})}
            for name, mean in means.items():
                each.setdefault(name, []).append(1 + sum(other > mean for other in means.values()))
        ranks[epoch] = {name: number(sum(own) / len(own), 1) for name, own in each.items()}
    return ranks
