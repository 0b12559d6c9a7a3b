"""Words of a figure that cannot be read: cut off at its edge, on top of each other, or sticking out of their box.

:func:`lib.plotting.style.save` refuses a figure that has some, so none is committed.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.5  # pixels: extents hold a little air above small letters


def faults(fig: Figure) -> list[str]:
    """One line for each fault, with the words at fault; none for a good figure.

    Words at a slant are only held against the figure's edge: their extent is a box with empty corners.
    """
    fig.draw_without_rendering()  # only now is it known where words stand
    renderer = fig.canvas.get_renderer()
    places = {text: text.get_window_extent(renderer) for text in _shown(fig)}
    words = {text: repr(" ".join(text.get_text().split())) for text in places}
    found = [f"cut off: {words[text]}" for text, place in places.items() if not _within(place, fig.bbox)]
    straight = [text for text in places if text.get_rotation() % 90 == 0]
    x0, y0, x1, y1 = np.array([places[text].extents for text in straight]).reshape(-1, 4).T
    width = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    height = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    for one, other in np.argwhere(np.triu((width > SLACK) & (height > SLACK), 1)):
        found.append(f"overlap: {words[straight[one]]} and {words[straight[other]]}")
    boxes = [box.get_window_extent(renderer) for box in fig.findobj(FancyBboxPatch)]
    for text in straight:
        holders = [box for box in boxes if box.contains(*(places[text].min + places[text].max) / 2)]
        if holders and not any(_within(places[text], box) for box in holders):
            found.append(f"sticks out of its box: {words[text]}")
    return found


def _shown(fig: Figure) -> list[Text]:
    """All words that are drawn; an axis keeps tick labels beyond its ends that are not."""
    hidden = set()
    for axes in fig.axes:
        for axis in (axes.xaxis, axes.yaxis):
            drawn = axes.axison and axis.get_visible()
            low, high = sorted(axis.get_view_interval())
            air = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not (drawn and low - air <= tick.get_loc() <= high + air):
                    hidden |= {tick.label1, tick.label2}
            if not drawn:
                hidden |= {axis.label, axis.offsetText}
        if not axes.get_visible():
            hidden |= set(axes.findobj(Text))
    return [text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden]


def _within(inner: Bbox, outer: Bbox) -> bool:
    return bool((inner.min >= outer.min - SLACK).all() and (inner.max <= outer.max + SLACK).all())
