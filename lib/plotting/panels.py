"""What charts share: means over seeds, how many seeds in words, panels by data set, one legend for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.plotting.style import color, line, marker
from lib.results.tables import dataset_title, method_title

__all__ = ["Titles", "legend", "name_panels", "over_seeds", "panels_of", "seed_counts", "seeds_in_words"]

Titles = Mapping[str, str] | None


def over_seeds(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Columns ``by``, mean, std (of a sample) and n_seeds of the column ``value``, in the order of first appearance."""
    groups = frame.groupby(list(by), sort=False)["value"]
    return groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n_seeds"})


def seed_counts(n_seeds: pd.Series) -> str:
    """How many seeds the numbers of a figure have."""
    counts = sorted(set(n_seeds[n_seeds > 0].astype(int)))
    if len(counts) < 2:
        return "no runs" if not counts else "one seed" if counts == [1] else f"{counts[0]} seeds"
    return f"{counts[0]} to {counts[-1]} seeds"


def seeds_in_words(n_seeds: pd.Series, spread: str = "") -> str:
    """What is drawn, for the legend; ``spread`` is what the std is drawn as, where that is not plain."""
    counts = seed_counts(n_seeds)
    if counts in ("no runs", "one seed"):
        return counts
    return f"mean, {spread} ± std,\n{counts}" if spread else f"mean ± std over {counts}"


def legend(fig: Figure, names: Iterable[str], titles: Titles, heading: str, others: Sequence[Line2D] = ()) -> None:
    """One legend to the right, each name once."""
    looks = {name: {"color": color(name), "ls": line(name), "marker": marker(name)} for name in map(str, names)}
    handles = [Line2D([], [], label=method_title(name, titles), **look) for name, look in looks.items()]
    legend = fig.legend(handles=[*handles, *others], title=heading, loc="outside right upper", alignment="left")
    legend.get_title().set_multialignment("left")


def panels_of(data: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Lines of a table by (data set, case), in the order in which they come."""
    return dict(list(data.groupby(["dataset", "case"], sort=False)))


def name_panels(fig: Figure, axes: Sequence[Axes], panels: Mapping[tuple[str, str], object], title: str, titles: Titles):
    """The figure's title; above several panels, their data set and case."""
    if len(panels) == 1:
        axes[0].set_title(title)
        return
    fig.suptitle(title, fontsize=14)
    for axis, name in zip(axes, panels, strict=True):
        dataset, case = dataset_title(name[0], titles), (titles or {}).get(name[1], name[1])
        axis.set_title(dataset if case == "real" else f"{dataset}, {case}")
