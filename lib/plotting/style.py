"""The house style of figures, one color a method, and the one door through which figures are saved."""

import io
import math
import re
import zlib
from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib import paths
from lib.plotting.legibility import faults
from lib.storage import write_atomically

STYLE = paths.ROOT / "lib" / "plotting" / "house.mplstyle"

# Okabe and Ito's palette, told apart by people of any color vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
PAPER = "#222222"  # the papers' numbers
GRAY = "#767676"  # guides and notes

# A family shares a hue; its members differ in lightness, marker and line.
METHODS: dict[str, tuple[str, str, str]] = {
    "true-labels": ("#000000", "X", "--"),
    "majority-vote": ("#8C8C8C", "o", "-"),
    "soft-majority-vote": ("#BFBFBF", "s", "--"),
    "dawid-skene": ("#E69F00", "o", "-"),
    "glad": ("#FFBE55", "^", "--"),
    "mace": ("#B87F00", "v", "-."),
    "dl-em": ("#9A6A00", "s", "-"),
    "dl-em-released": ("#F2CF80", "D", "--"),
    "crowdlayer-mw": ("#0072B2", "o", "-"),
    "crowdlayer-vw": ("#56B4E9", "s", "--"),
    "crowdlayer-vwb": ("#003C5E", "^", "-."),
    "ccem": ("#009E73", "o", "-"),
    "geocrowdnet-f": ("#005740", "^", "-"),
    "geocrowdnet-w": ("#6CCBB0", "v", "--"),
    "trace-reg": ("#B3A600", "D", "-."),
    "max-mig": ("#D55E00", "P", "-"),
    "ccc": ("#8A2F00", "h", "-"),
    "conal": ("#CC79A7", "o", "-"),
    "unionnet-a": ("#8F3F6E", "s", "-"),
    "unionnet-b": ("#E3B5CE", "D", "--"),
    "doctornet": ("#7A5CC2", "o", "-"),
    "weighted-doctornet": ("#B7A6E3", "s", "--"),
    "kd-crowd": ("#D0B800", "p", "-"),
    "true-ratings": ("#000000", "X", "--"),
    "ratings-mean": ("#8C8C8C", "o", "-"),
    "ratings-em": ("#9A6A00", "s", "-"),
    "crowdlayer-s": ("#56B4E9", "s", "--"),
    "crowdlayer-b": ("#0072B2", "o", "-"),
    "crowdlayer-sb": ("#003C5E", "^", "-."),
}
# KD-Crowd's losses (notebook 41): information gain is blue, KL distillation orange, cross-entropy gray.
LOSSES: dict[str, tuple[str, str, str]] = {
    "MIG, KL": ("#0072B2", "v", "-"),
    "MIG, Pearson": ("#56B4E9", ">", "--"),
    "MIG, JS": ("#003C5E", "<", "-."),
    "KL distillation": ("#D55E00", "s", "-"),
    "KL in stage 1 only": ("#E69F00", "D", "--"),
    "KL in stage 2 only": ("#B87F00", "^", "-."),
    "cross-entropy": ("#767676", "P", "-"),
    "floor": (GRAY, "d", "--"),
}
_COLORS = [BLUE, RED, GREEN, PURPLE, ORANGE, SKY, GRAY, "#5E3C99"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]
_LINES = ["-", "--", "-.", (0, (1, 1))]


def style() -> None:
    """Use the house style for all figures from here on; the functions of ``lib.plotting`` use it anyway."""
    plt.style.use(STYLE)


def in_style():
    """The house style for the time of a ``with``."""
    return plt.style.context(STYLE)


def look(name: str) -> tuple:
    """A method's color, marker and line, the same in every figure; an unknown name has its own, taken from the palette."""
    base, added, _ = name.partition("+")
    if added and base in METHODS:  # under KD-Crowd, or trained as long: in the base's color
        return (METHODS[base][0], "*", _LINES[3]) if name.endswith("+kd") else (METHODS[base][0], "X", "-.")
    number = zlib.crc32(name.encode())  # unlike hash(), the same in every process
    unknown = (_COLORS[number % len(_COLORS)], _MARKERS[number // 8 % len(_MARKERS)], _LINES[number // 128 % len(_LINES)])
    return METHODS.get(name) or LOSSES.get(name, unknown)


def color(name: str) -> str:
    """A method's color."""
    return look(name)[0]


def marker(name: str) -> str:
    """A method's marker."""
    return look(name)[1]


def save(
    fig: Figure, notebook: str, name: str, data: pd.DataFrame | None, alt: str = "", allow_unlabeled: bool = False
) -> None:
    """Write ``figures/<notebook>/<name>.png`` beside ``<name>.csv``, the numbers that were drawn, and ``<name>.alt.txt``.

    The image carries no version or date, so equal figures are equal files. The figure stays open, to be shown.

    Args:
        fig, notebook: the figure, and the notebook's name without ending.
        name: the figure's name: lower case letters, digits, hyphens, underscores; not ``table``.
        data: what was drawn, one line a mark; an index with a name becomes a column. None for a picture of a model, which
            shows no numbers: it has no table, and its name begins with ``model_``.
        alt: the figure in words, for those who do not see it: what is drawn against what, and what stands out. No number that
            another run would change. White space is joined, so it may be broken over lines.
        allow_unlabeled: for a figure whose axes have ticks that need no name.

    Raises:
        ValueError: an axis with ticks has no name, words overlap or are cut off, there are no data or no alt text, or
            ``name`` will not do.
        OSError: a file could not be written.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name) or name == "table":
        raise ValueError(f"a figure's name has lower case letters, digits, - and _, and is not 'table'; found {name!r}")
    no_numbers = data is None and name.startswith("model_")
    if not no_numbers and (not isinstance(data, pd.DataFrame) or data.empty):
        raise ValueError(f"figure {name!r} needs a DataFrame of the numbers it shows, found {type(data).__name__}")
    alt = " ".join(alt.split())
    if len(alt) < 30:
        raise ValueError(f"figure {name!r} needs alt=, one to three sentences that say what it shows; found {alt!r}")
    fig.canvas.draw()  # the layout settles in two passes; only then are tick labels known
    if not allow_unlabeled and (unnamed := list(_unnamed_axes(fig))):
        raise ValueError(f"figure {name!r} has axes without a name: {', '.join(unnamed)}")
    if unreadable := faults(fig):
        raise ValueError(f"figure {name!r} has words that cannot be read: {'; '.join(unreadable)}")
    image = io.BytesIO()
    fig.savefig(image, format="png", dpi=fig.dpi, metadata={"Software": None})
    folder = paths.figures(notebook)
    write_atomically(folder / f"{name}.png", image.getvalue())
    write_atomically(folder / f"{name}.alt.txt", alt + "\n")
    if no_numbers:
        return
    data = data.reset_index() if any(level is not None for level in data.index.names) else data.copy()
    numbers = data.select_dtypes("floating")
    size = numbers.abs()
    # What is nothing beside the largest number of its column becomes zero: another processor rounds otherwise.
    data[numbers.columns] = numbers.mask(size <= 1e-12 * size[size < math.inf].max(), 0.0)
    write_atomically(folder / f"{name}.csv", data.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _unnamed_axes(fig: Figure) -> Iterator[str]:
    """Axes that show tick labels and have no name, neither of their own nor of the whole figure."""
    for number, axes in enumerate(fig.axes, 1):
        where = f"panel {number}" + (f" ({axes.get_title()!r})" if axes.get_title() else "")
        for letter, axis, whole in (("x", axes.xaxis, fig.get_supxlabel()), ("y", axes.yaxis, fig.get_supylabel())):
            if axis.get_label_text() or whole or not (axes.get_visible() and axes.axison and axis.get_visible()):
                continue
            if any(label.get_visible() and label.get_text() for label in axis.get_ticklabels()):
                yield f"{letter} axis of {where}"
