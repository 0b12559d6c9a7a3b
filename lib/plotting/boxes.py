"""What pictures of models are made of: a canvas in inches, words, boxes, arrows and matrices as grids."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from lib.plotting.style import in_style

INK = "#222222"
SMALL = 12  # points, the least that can be read at half size


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure in the house style with one pair of axes over all of it, measured in inches."""
    with in_style():
        fig = plt.figure(figsize=(width, height), layout="constrained")
        # Turned off, not left out: saving a figure that never had a layout gives it the one of the house style.
        fig.set_layout_engine("none")
        axes = fig.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        yield fig, axes


def write(axes: Axes, x: float, y: float, words: str, **looks) -> None:
    """Words around (x, y), centered unless told otherwise."""
    looks = {"ha": "center", "va": "center", "color": INK, "fontsize": 13, "linespacing": 1.35} | looks
    axes.text(x, y, words, **looks)


def box(axes: Axes, x: float, y: float, size: tuple[float, float], words: str, tint: str, title: str = "") -> None:
    """A rounded box around (x, y), filled with a light shade of ``tint``, with words in it, below a title in bold."""
    width, height = size
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.08",
        fc=light(tint, 0.15), ec=tint, lw=1.6,
    )  # fmt: skip
    axes.add_patch(shape)
    if title:
        write(axes, x, y + height / 2 - 0.22, title, fontweight="bold")
    write(axes, x, y - (0.15 if title else 0), words, fontsize=SMALL)


def arrow(axes: Axes, start: tuple, end: tuple, tint: str = INK, bend: float = 0.0, ls: str = "-") -> None:
    """From one point to another; ``bend`` curves it to the right (positive) or left of its way."""
    looks = {"arrowstyle": "-|>", "mutation_scale": 16, "lw": 1.8, "color": tint, "ls": ls}
    bent = f"arc3,rad={bend}"
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, connectionstyle=bent, **looks))


def grid(
    axes: Axes, x: float, y: float, matrix: np.ndarray, cell: float, tint: str, words: Sequence[Sequence[str]] | None = None
) -> None:
    """A matrix around (x, y): cells of ``cell`` inches, darker where the entry, from 0 to 1, is larger."""
    rows, columns = np.shape(matrix)
    left, top = x - columns * cell / 2, y + rows * cell / 2
    for i, j in np.ndindex(rows, columns):
        corner = left + j * cell, top - (i + 1) * cell
        shade = light(tint, float(matrix[i][j]))
        axes.add_patch(Rectangle(corner, cell, cell, fc=shade, ec="white", lw=1.2))
        if words is not None:
            dark = np.dot((0.299, 0.587, 0.114), shade) < 0.55  # as bright as the eye takes it to be
            write(axes, corner[0] + cell / 2, corner[1] + cell / 2, words[i][j], color="white" if dark else INK, fontsize=SMALL)
    axes.add_patch(Rectangle((left, top - rows * cell), columns * cell, rows * cell, fc="none", ec=tint, lw=1.4))


def brace(axes: Axes, left: float, right: float, y: float, words: str, tint: str) -> None:
    """A line under a part of the picture, with its name below."""
    axes.plot([left, left, right, right], [y + 0.1, y, y, y + 0.1], color=tint, lw=1.6, solid_joinstyle="miter")
    write(axes, (left + right) / 2, y - 0.1, words, va="top", color=tint)


def light(tint: str, amount: float) -> tuple[float, float, float]:
    """``tint`` mixed with white: white at 0, itself at 1."""
    return tuple(1 - amount * (1 - channel) for channel in to_rgb(tint))
