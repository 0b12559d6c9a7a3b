"""Words of a figure that cannot be read: cut off at its edge, on top of each other, or sticking out of their box.

:func:`lib.plotting.style.save` refuses a figure that has some, so none is committed.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

__all__ = ["faults"]

SLACK = 1.5  # pixels: extents hold a little air above small letters


def faults(fig: Figure) -> list[str]:
    """One line for each fault, with the words at fault; none for a good figure.

    Words at a slant are only held against the figure's edge: their extent is a box with empty corners.
    """
    fig.canvas.draw()  # only now is it known where words stand
    renderer = fig.canvas.get_renderer()
    places = {text: text.get_window_extent(renderer) for text in _shown(fig)}
    found = [f"cut off: {_words(text)}" for text, place in places.items() if not _within(place, fig.bbox)]
    straight = {text: place for text, place in places.items() if text.get_rotation() % 90 == 0}
    texts = list(straight)
    for one, other in _overlapping(list(straight.values())):
        found.append(f"overlap: {_words(texts[one])} and {_words(texts[other])}")
    boxes = [box.get_window_extent(renderer) for box in fig.findobj(FancyBboxPatch)]
    for text, place in straight.items():
        holders = [box for box in boxes if box.contains((place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2)]
        if holders and not any(_within(place, box) for box in holders):
            found.append(f"sticks out of its box: {_words(text)}")
    return found


def _shown(fig: Figure) -> list[Text]:
    """All words that are drawn; an axis keeps tick labels beyond its ends that are not."""
    hidden = set()
    for axes in fig.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            air = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not (axes.axison and axis.get_visible() and low - air <= tick.get_loc() <= high + air):
                    hidden |= {tick.label1, tick.label2}
            if not (axes.axison and axis.get_visible()):
                hidden |= {axis.label, axis.offsetText}
        if not axes.get_visible():
            hidden |= set(axes.findobj(Text))
    return [text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden]


def _within(inner: Bbox, outer: Bbox) -> bool:
    return (
        inner.x0 >= outer.x0 - SLACK
        and inner.y0 >= outer.y0 - SLACK
        and inner.x1 <= outer.x1 + SLACK
        and inner.y1 <= outer.y1 + SLACK
    )


def _overlapping(places: list[Bbox]) -> list[tuple[int, int]]:
    """Pairs of places that share more than the air around letters, by their numbers."""
    x0, y0, x1, y1 = np.array([place.extents for place in places]).reshape(-1, 4).T
    width = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    height = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    return list(zip(*np.nonzero(np.triu((width > SLACK) & (height > SLACK), 1)), strict=True))


def _words(text: Text) -> str:
    return repr(" ".join(text.get_text().split()))
