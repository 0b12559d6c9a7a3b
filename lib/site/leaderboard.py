"""The leaderboard page: methods against data sets, made from the committed table of notebook 90."""

from __future__ import annotations

import csv
import html
from pathlib import Path
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


def write(folder: Path) -> None:
    """The page; sorting and the switch are in ``site.js``, and without it the last epoch is shown."""
    found = table()
    budget = {name: next(iter(found.values()))[name]["last"][2] for name in DATASETS}
    seeds = ", ".join(f"{budget[name]} on {title}" for name, title in DATASETS.items())
    (folder / "leaderboard.md").write_text(
        f"""# Leaderboard

Every classification method on every real crowd: test accuracy in percent, with the 95 % interval of its mean over seeds.

```{{raw}} html
{_switch()}
<div class="scrolls" tabindex="0" role="region" aria-label="Leaderboard">
{_table(found)}
</div>
<p class="note" id="epoch-note">The bars show the intervals on one scale a column. Shown: <span id="epoch-words">last epoch, {EPOCHS["last"]}</span>.</p>
```

## What is equal for all

- **Budget.** The same items and labels, the same network, optimizer, batch size and number of epochs; hyper-parameters by one rule, on
  validation data ([notebook 23](notebooks/23_geocrowdnet_real.ipynb) shows the choice). Seeds: {seeds}.
- **What this costs.** One recipe for all is fair, and nobody's favorite: a method that its paper trains with another rate or schedule is not
  at its best here. Each paper's own protocol is in its notebooks.
- **True labels** are meant as the upper bound. On sentiment polarity they are none: what limits every method there is the features.
- **Intervals** say how much a mean over seeds may move with the seeds. They say nothing about other crowds: three crowds are three.

The numbers: [table.csv](figures/{NOTEBOOK}/table.csv); how they came about, with ranks and tests:
[notebook 90](notebooks/{NOTEBOOK}.ipynb).

## Add a method

1. Write `lib/methods/<name>.py`: a class with `loss` and `predict_proba`, and `confusion` where it estimates one.
   The shortest one to read first is `lib/methods/geocrowdnet.py`.
2. Add its line to the catalogue in `lib/methods/__init__.py`: title, paper, family.
3. Add `tests/methods/test_<name>.py`, with a slow plain version of its loss to compare with.
4. Give the name to the grid of notebook 90 (`lib/protocols/`), then:

```
python -m lib.reproduce --only 90 --in-place
make test
make site
```
""",
        encoding="utf-8",
    )


def _switch() -> str:
    choices = "".join(
        f'<label><input type="radio" name="epoch" value="{name}"{" checked" if name == "last" else ""} data-words="{name} epoch, {words}"> '
        f"{name}</label>"
        for name, words in EPOCHS.items()
    )
    return f'<fieldset class="needs-script switch"><legend>Epoch</legend>{choices}</fieldset>'


def _table(found: dict) -> str:
    heads = ['<th scope="col" data-sort="text">method</th>', '<th scope="col" data-sort="text">paper</th>']
    heads += [f'<th scope="col" data-sort="number" class="number">{title}</th>' for title in DATASETS.values()]
    heads.append(
        '<th scope="col" data-sort="number" class="number" title="mean of the ranks on the data sets, 1 is best">mean rank</th>'
    )
    spans = {}
    for dataset in DATASETS:
        entries = [entry for row in found.values() for entry in row.get(dataset, {}).values()]
        spans[dataset] = min(m - h for m, h, _ in entries), max(m + h for m, h, _ in entries)
    lines = []
    for method, row in found.items():
        entry = CATALOGUE[method]
        cells = [f'<th scope="row">{html.escape(entry.title)}</th>', f"<td>{html.escape(entry.paper)}</td>"]
        cells += [_cell(row.get(dataset, {}), spans[dataset]) for dataset in DATASETS]
        ranks = {epoch: _mean_rank(found, method, epoch) for epoch in EPOCHS}
        data = " ".join(f'data-{epoch}="{"" if rank is None else f"{rank:.1f}"}"' for epoch, rank in ranks.items())
        cells.append(f'<td class="number" {data}>{"–" if ranks["last"] is None else f"{ranks['last']:.1f}"}</td>')
        bound = ' class="bound"' if entry.family == "bound" else ""
        lines.append(f"<tr{bound}>{''.join(cells)}</tr>")
    return (
        '<table class="board"><caption>Test accuracy (%)<span class="needs-script">; a column\'s name sorts by it</span></caption>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(entries: dict[str, tuple[float, float, int]], span: tuple[float, float]) -> str:
    low, high = span
    data = []
    for epoch in EPOCHS:
        if epoch in entries:
            mean, half, _ = entries[epoch]
            left, width = 100 * (mean - half - low) / (high - low), 100 * 2 * half / (high - low)
            data.append(f'data-{epoch}="{mean:.2f}|{half:.2f}|{left:.1f}|{width:.1f}"')
        else:
            data.append(f'data-{epoch}=""')
    mean, half, _ = entries["last"]
    left, width = 100 * (mean - half - low) / (high - low), 100 * 2 * half / (high - low)
    return (
        f'<td class="number" {" ".join(data)}><span class="value">{mean:.1f} ± {half:.1f}</span>'
        f'<span class="bar" aria-hidden="true"><i style="left:{left:.1f}%;width:{width:.1f}%"></i></span></td>'
    )


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
