"""Pictures of the models: boxes, arrows and small matrices, one function a picture.

    fig, alt = models.crowd_layer()

Each function returns the figure and its description in words, for readers who do not see it; of a picture that is always the
same, that is the docstring. A picture is laid out in inches, from the lower left corner, so type has the same size in all of
them. Matrices are drawn as grids, darker where the entry is larger, with the true class from top to bottom and the label from
left to right.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from scipy.special import softmax

from lib.aggregation import dawid_skene as aggregate
from lib.crowd.bio_tags import entities
from lib.crowd.labels import CrowdLabels
from lib.plotting.boxes import INK, SMALL, arrow, box, brace, canvas, grid, light, write
from lib.plotting.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED, color
from lib.results.tables import method_title

CAREFUL = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]])
CONFUSES = np.array([[0.9, 0.05, 0.05], [0.05, 0.45, 0.5], [0.05, 0.5, 0.45]])
GUESSES = np.full((3, 3), 1 / 3)


def field(images: np.ndarray, answers: Sequence[Sequence[str]], accuracies: Mapping[str, float]) -> tuple[Figure, str]:
    """The whole subject: items, labels that disagree, and what a network makes of them, by method.

    ``images`` are ``[items, height, width]`` gray values of three or four items, ``answers`` each one's labels in words, of
    which up to three are shown; ``accuracies`` the shares of test items that are right, by method and in the order to be drawn.
    Raises ValueError without items or methods, or for images and answers of different number.
    """
    if not 0 < len(images) == len(answers) or not accuracies:
        raise ValueError(f"need images, as many answers and accuracies, found {len(images)}, {len(answers)}, {len(accuracies)}")
    what = {
        "true-labels": "for comparison",
        "majority-vote": "count, keep the most frequent",
        "dawid-skene": "weigh annotators by their errors",
        "crowdlayer-mw": "all labels, a matrix for each\nannotator behind the network",
    }
    row, bottom = 1.0, 0.4
    height = max(len(images), len(accuracies)) * row + bottom + 0.6
    with canvas(10, height) as (fig, axes):
        heads = ((0.75, "items"), (2.2, "labels"), (5.15, "what the network learns from"), (8.4, "test items right"))
        for x, words in heads:
            write(axes, x, height - 0.42, words, fontweight="bold", va="baseline")
        middle = bottom + (height - 0.6 - bottom) / 2
        for place, (image, said) in enumerate(zip(images, answers, strict=True)):
            y = middle + row * ((len(images) - 1) / 2 - place)
            axes.imshow(image, cmap="gray_r", extent=(0.38, 1.12, y - 0.37, y + 0.37), aspect="auto", interpolation="nearest")
            axes.add_patch(Rectangle((0.38, y - 0.37), 0.74, 0.74, fc="none", ec=GRAY))
            for number, label in enumerate(said[:3]):
                box(axes, 1.65 + 0.55 * number, y, (0.44, 0.44), label, BLUE)
        axes.set(xlim=(0, 10), ylim=(0, height))  # an image moves them
        half = 0.45 * (len(images) - 1) + 0.4
        axes.plot([3.0, 3.1, 3.1, 3.0], [middle - half, middle - half, middle + half, middle + half], color=GRAY, lw=1.8)
        for place, (method, share) in enumerate(accuracies.items()):
            y = middle + row * ((len(accuracies) - 1) / 2 - place)
            tint = color(method)
            box(axes, 5.15, y, (2.9, 0.86), what.get(method, ""), tint, title=method_title(method))
            if method != "true-labels":
                arrow(axes, (3.1, middle), (3.65, y), GRAY)
            arrow(axes, (6.65, y), (7.0, y), GRAY)
            axes.add_patch(Rectangle((7.1, y - 0.2), 2.0, 0.4, fc="#EEEEEE", ec="none"))
            axes.add_patch(Rectangle((7.1, y - 0.2), 2.0 * share, 0.4, fc=tint, ec="none"))
            write(axes, 9.2, y, f"{100 * share:.1f} %", ha="left")
        write(axes, 8.1, 0.2, "whole bar: 100 %", fontsize=SMALL, color=GRAY)
    return fig, (
        f"From left to right: {len(images)} images, the labels that annotators gave them, which disagree, and what a network "
        f"can learn from them: {', '.join(map(method_title, accuracies))}. A bar for each shows how many of the test "
        "items its network gets right."
    )


def dawid_skene() -> tuple[Figure, str]:
    """Dawid-Skene as a loop. A table of five items and three annotators holds labels a and b, some cells empty. Votes start
    the beliefs in each item's hidden true class. The M-step counts, by these beliefs, a confusion matrix for each
    annotator; the E-step weighs the labels by the matrices and gives new beliefs. The third annotator, who says the
    opposite of the others, gets a matrix that is dark off the diagonal.
    """
    said = np.array([[0, 0, 1], [0, 0, -1], [1, 1, 0], [1, -1, 0], [-1, 0, 0]])
    crowd = CrowdLabels.from_dense(said, n_classes=2)
    fitted = aggregate.dawid_skene(crowd, max_iterations=2)  # before it is sure of everything
    with canvas(10, 4.3) as (fig, axes):
        y, cell = 2.2, 0.46
        shades = np.where(said < 0, 0.0, np.where(said == 0, 0.18, 0.75))
        letters = [[("a", "b", "")[k] for k in row] for row in said]
        heads = (
            (1.6, "labels", "white: not asked"),
            (4.75, "hidden truth", "belief in each class"),
            (8.65, "annotators", "rows: truth, columns: label"),
        )
        for x, words, note in heads:
            write(axes, x, 4.0, words, fontweight="bold")
            write(axes, x, 0.42, note, color=GRAY, fontsize=SMALL)
        grid(axes, 1.6, y, shades, cell, BLUE, letters)
        for r in range(3):
            write(axes, 1.6 + (r - 1) * cell, y + 1.35, f"$r_{r + 1}$")
            grid(axes, 8.65, y + (1 - r) * 0.95, fitted.confusion[r], 0.38, GREEN)
            write(axes, 9.4, y + (1 - r) * 0.95, f"$A_{r + 1}$")
        for i in range(5):
            write(axes, 0.55, y + (2 - i) * cell, f"item {i + 1}", fontsize=SMALL)
        beliefs = [[f"{share:.1f}" for share in row] for row in fitted.posterior]
        grid(axes, 4.75, y, fitted.posterior, cell, ORANGE, beliefs)
        for j, name in enumerate("ab"):
            write(axes, 4.75 + (j - 0.5) * cell, y + 1.35, name)
        arrow(axes, (2.45, y), (4.1, y), GRAY, ls="--")
        write(axes, 3.27, y + 0.25, "start: votes", color=GRAY, fontsize=SMALL)
        arrow(axes, (5.4, y + 0.75), (8.0, y + 0.75), GREEN, bend=-0.15)
        write(axes, 6.7, y + 1.3, "M-step: count who said\nwhat of which class", color="#00694D")
        arrow(axes, (8.0, y - 0.75), (5.4, y - 0.75), ORANGE, bend=-0.15)
        write(axes, 6.7, y - 1.3, "E-step: weigh the labels\nby the matrices", color="#8A5E00")
        write(axes, 6.7, y, "repeat", fontsize=SMALL, color=GRAY)
    return fig, _alt(dawid_skene)


def dl_em() -> tuple[Figure, str]:
    """DL-EM as a loop. The E-step combines the network's class probabilities p with the annotators' matrices A and the
    crowd's labels into a belief mu for each item, starting at the majority vote. Two M-steps use mu: one counts the
    annotators' matrices, the other trains the network for one epoch on mu as soft targets. Their A and p go back into the
    next E-step.
    """
    with canvas(10, 4.1) as (fig, axes):
        box(axes, 1.1, 2.05, (1.6, 1.0), "labels of\nthe crowd", BLUE)
        box(
            axes, 3.95, 2.05, (2.2, 1.5), r"$\mu_{ij} \propto p_{ij}\,\prod A_{rjk}$" "\nbelief in each class", ORANGE, "E-step"
        )
        box(axes, 8.3, 3.1, (2.9, 1.25), r"$A_{rjk} \propto \sum \mu_{ij}$" "\ncount by belief", GREEN, "M-step, annotators")
        box(axes, 8.3, 1.0, (2.9, 1.25), "one epoch on the\n" r"soft targets $\mu$", PURPLE, "M-step, network")
        arrow(axes, (1.95, 2.05), (2.8, 2.05), BLUE)
        arrow(axes, (5.1, 2.5), (6.8, 3.3), GREEN, bend=-0.18)
        arrow(axes, (6.8, 2.8), (5.1, 2.2), ORANGE, bend=-0.12)
        arrow(axes, (5.1, 1.6), (6.8, 0.8), PURPLE, bend=0.18)
        arrow(axes, (6.8, 1.3), (5.1, 1.9), ORANGE, bend=0.12)
        write(axes, 5.75, 3.3, r"$\mu$")
        write(axes, 6.4, 2.3, r"$A$")
        write(axes, 6.4, 1.82, r"$p$")
        write(axes, 5.75, 0.8, r"$\mu$")
        write(axes, 3.95, 0.72, "starts at the\nmajority vote", fontsize=SMALL, color=GRAY)
        write(axes, 3.95, 3.45, "a round: E, then both M", fontsize=SMALL, color=GRAY)
    return fig, _alt(dl_em)


def crowd_layer() -> tuple[Figure, str]:
    """The crowd layer as a bottleneck, from left to right: an image, the backbone network, a narrow column of class
    probabilities p, and behind it one matrix for each annotator, which turns p into that annotator's label distribution. A
    careful annotator's matrix is dark on its diagonal, one who confuses two classes has a dark block, one who guesses is
    evenly gray. Everything up to p is kept for new images; the matrices are dropped after training.
    """
    prob = np.array([0.1, 0.75, 0.15])
    with canvas(10, 5.3) as (fig, axes):
        y = 3.2
        image = (
            np.array([[0, 0, 0, 2, 0, 0], [0, 0, 2, 4, 2, 0], [0, 2, 4, 5, 4, 2], [6, 6, 7, 7, 6, 6], [7, 6, 7, 8, 7, 7]]) / 8
        )
        grid(axes, 0.85, y, image, 0.2, GRAY)
        write(axes, 0.85, y + 0.75, "image $x$")
        trapezoid = Polygon(
            [(1.95, y - 1.0), (3.75, y - 0.45), (3.75, y + 0.45), (1.95, y + 1.0)], fc=light(BLUE, 0.15), ec=BLUE, lw=1.6
        )
        axes.add_patch(trapezoid)
        write(axes, 2.8, y, "backbone\n" r"$h(x;\,\theta)$")
        grid(axes, 4.55, y, prob[:, None], 0.42, BLUE, [["a"], ["b"], ["c"]])
        write(axes, 4.55, y + 1.25, "class\nprobabilities $p$")
        arrow(axes, (1.5, y), (1.9, y))
        arrow(axes, (3.8, y), (4.27, y))
        people = ((CAREFUL, "$T_1$", "careful"), (CONFUSES, "$T_2$", "confuses b and c"), (GUESSES, "$T_R$", "guesses"))
        for place, (matrix, name, habit) in enumerate(people):
            level = y + 1.4 * (1 - place)
            arrow(axes, (4.82, y + 0.25 * (1 - place)), (6.0, level), GRAY)
            grid(axes, 6.5, level, matrix, 0.28, GREEN)
            write(axes, 7.2, level, name)
            write(axes, 6.5, level - 0.58, habit, fontsize=SMALL, color="#00694D")
            arrow(axes, (7.5, level), (8.1, level), GRAY)
            grid(axes, 8.4, level, softmax(prob @ (4 * matrix))[:, None], 0.28, ORANGE)
            write(axes, 8.75, level, ("says b", "says c", "says a")[place], ha="left")
        write(axes, 7.78, y + 1.6, "softmax", fontsize=SMALL, color=GRAY)
        brace(axes, 0.35, 4.95, 0.75, "kept: predicts new images", BLUE)
        brace(axes, 5.9, 9.55, 0.75, "dropped after training", "#00694D")
    return fig, _alt(crowd_layer)


def ccem() -> tuple[Figure, str]:
    """Three triangles whose corners are the classes. Left: each item is a point, its class probabilities f; the triangle
    around the points can be stretched to the corners, which penalty (F) rewards. Middle: the three rows of an annotator's
    confusion matrix are the corners of a triangle, which penalty (W) makes large. Right: the labels' distributions are the
    items' points seen through the annotator's triangle. CCEM fits only this product, so a larger left triangle and a
    smaller middle one can give the same labels.
    """
    rng = np.random.default_rng(3)
    posterior = 0.78 * rng.dirichlet((0.45, 0.45, 0.45), 60) + 0.22 / 3
    confusion = np.array([[0.76, 0.12, 0.12], [0.12, 0.76, 0.12], [0.12, 0.12, 0.76]])
    with canvas(10, 4.95) as (fig, axes):
        side, y = 2.5, 1.85
        lefts = (0.35, 3.75, 7.15)
        titles = ("classifier: items $f(x_i)$", "annotator $r$: rows of $A_r$", "labels: $q_{ir} = f(x_i)\\,A_r$")
        for left, title in zip(lefts, titles, strict=True):
            axes.add_patch(Polygon(_corner(left, y, side, np.eye(3)), fc="#F5F5F5", ec=INK, lw=1.4))
            write(axes, left + side / 2, 4.65, title)
        for left in lefts:
            for name, (x, level), dy in zip("123", _corner(left, y, side, np.eye(3)), (-0.18, -0.18, 0.17), strict=True):
                write(axes, x, level + dy, name, fontsize=SMALL)
        inner = np.full((3, 3), 0.22 / 3) + 0.78 * np.eye(3)
        spots = [(posterior, inner, BLUE), (confusion, confusion, GREEN), (posterior @ confusion, inner @ confusion, ORANGE)]
        for left, (points, hull, tint) in zip(lefts, spots, strict=True):
            axes.add_patch(Polygon(_corner(left, y, side, hull), fc=light(tint, 0.2), ec=tint, lw=1.6, ls="--"))
            axes.plot(*_corner(left, y, side, points).T, "o", color=tint, ms=9 if len(points) == 3 else 4)
        for left, hull, tint in ((lefts[0], inner, BLUE), (lefts[1], confusion, GREEN)):
            for start, end in zip(
                _corner(left, y, side, hull), _corner(left, y, side, 0.25 * hull + 0.75 * np.eye(3)), strict=True
            ):
                arrow(axes, tuple(start), tuple(end), tint)
        write(axes, 3.3, y + 0.85, "×", fontsize=22)
        write(axes, 6.7, y + 0.85, "=", fontsize=22)
        criteria = [
            ("(F) makes this triangle large", r"$-\lambda\,\log\det\,\sum_i f(x_i)\,f(x_i)^\top$", BLUE),
            ("(W) makes this triangle large", r"$-\lambda\,\log\det\,\sum_r A_r A_r^\top$", "#00694D"),
            ("CCEM fits this product", r"$-\mathrm{mean}\;\log\,q_{irk}$", "#8A5E00"),
        ]
        for left, (words, formula, tint) in zip(lefts, criteria, strict=True):
            write(axes, left + side / 2, 1.28, words, color=tint)
            write(axes, left + side / 2, 0.85, formula, color=tint)
        words = "Stretch the left triangle and shrink the middle one: the labels stay the same."
        write(axes, 5, 0.25, words, color=GRAY, fontsize=SMALL)
    return fig, _alt(ccem)


def _corner(left: float, bottom: float, side: float, points: np.ndarray) -> np.ndarray:
    """``[points, 2]`` places of distributions over three classes in a triangle with that lower left corner."""
    corners = np.array([[left, bottom], [left + side, bottom], [left + side / 2, bottom + side * 3**0.5 / 2]])
    return np.asarray(points) @ corners


def ccc() -> tuple[Figure, str]:
    """CCC. Once an epoch, annotators are grouped by K-Means on their matrices T, and each of two networks picks a meta set
    of items that it finds easiest. For each batch, network 1 goes round a loop: a virtual step with a correction V for each
    group of annotators; a meta step that asks how V should change for network 2's meta set to fit better; an actual step on
    the corrected matrices, after which V is forgotten. Network 2 does the same with the meta set of network 1.
    """
    with canvas(10, 6.0) as (fig, axes):
        write(axes, 1.5, 5.7, "each epoch", fontweight="bold")
        write(axes, 6.5, 5.7, "each batch, for network 1", fontweight="bold")
        axes.add_patch(Rectangle((0.12, 0.15), 2.86, 5.3, fc="#FAFAFA", ec="#CCCCCC"))
        axes.add_patch(Rectangle((3.2, 0.15), 6.68, 5.3, fc="#FAFAFA", ec="#CCCCCC"))

        write(axes, 1.55, 5.15, "groups of annotators")
        people = [
            (CAREFUL, BLUE),
            (0.8 * CAREFUL + 0.07, BLUE),
            (CONFUSES, ORANGE),
            (0.9 * CONFUSES + 0.03, ORANGE),
            (GUESSES, PURPLE),
        ]
        for place, (matrix, tint) in enumerate(people):
            x, y = 0.65 + 0.9 * (place % 3), 4.5 - 0.85 * (place // 3)
            grid(axes, x, y, matrix, 0.22, tint)
        write(axes, 2.45, 3.65, "K-Means\non $T$", fontsize=SMALL, color=GRAY)
        box(axes, 1.55, 2.4, (2.4, 1.15), "network 1's easiest\nitems of each class", BLUE, "meta set 1")
        box(axes, 1.55, 0.95, (2.4, 1.15), "network 2's easiest\nitems of each class", RED, "meta set 2")

        virtual = r"$\hat\theta(V) = \theta - \eta\nabla_\theta\,\ell(T + V_g)$" "\na correction $V$ for each\ngroup, still 0"
        box(axes, 5.05, 4.4, (3.1, 1.5), virtual, BLUE, "1 · virtual step")
        meta = "which change of $V$ would\nhelp on meta set 2?\n" r"$D = \nabla_V\,\mathrm{CE}(\hat\theta(V))$"
        box(axes, 8.25, 3.0, (2.9, 1.5), meta, RED, "2 · meta step")
        actual = r"set $V \propto -D$, then one step" "\n" r"for $\theta$ and $T$ on $\ell(T + V_g)$"
        box(axes, 5.05, 1.65, (3.1, 1.2), actual, GREEN, "3 · actual step")
        arrow(axes, (6.65, 4.5), (8.0, 3.8), INK, bend=-0.3)
        arrow(axes, (8.0, 2.2), (6.65, 1.6), INK, bend=-0.3)
        arrow(axes, (4.3, 2.3), (4.3, 3.6), INK)
        write(axes, 4.45, 2.95, "forget $V$, next batch", ha="left", fontsize=SMALL, color=GRAY)
        axes.plot([2.8, 8.9], [0.6, 0.6], color=RED, lw=1.8, solid_capstyle="round")
        arrow(axes, (8.9, 0.6), (8.9, 2.2), RED)
        arrow(axes, (2.85, 4.5), (3.45, 4.5), GRAY)
        write(axes, 8.35, 4.85, "network 2: the same,\nwith meta set 1", fontsize=SMALL, color=GRAY)
    return fig, _alt(ccc)


def kd_crowd() -> tuple[Figure, str]:
    """KD-Crowd's three stages from left to right. Stage 0: a crowd model, a network with annotators' matrices, is trained
    on the labels and hands on its soft predictions q. Stage 1: a robust network without a noise model and without labels
    learns from q by information gain and hands on its predictions. Stage 2: a new crowd model is trained on the labels and
    guided by the student's predictions.
    """
    with canvas(10, 4.9) as (fig, axes):
        xs, y = (1.65, 5.0, 8.35), 2.35
        names = ("stage 0: teacher", "stage 1: student", "stage 2: final model")
        for x, name in zip(xs, names, strict=True):
            write(axes, x, 4.62, name, fontweight="bold")
        for x in (xs[0], xs[2]):
            box(axes, x, 3.98, (1.9, 0.55), "labels of the crowd", BLUE)
            arrow(axes, (x, 3.66), (x, y + 0.8), BLUE)
        write(axes, xs[1], 3.98, "no labels", color=GRAY)
        box(axes, xs[0], y, (2.5, 1.5), "network and matrices;\nmemorizes some errors", BLUE, "crowd model")
        box(axes, xs[1], y, (2.5, 1.5), "no annotators;\nstopped in time", GREEN, "robust network")
        box(axes, xs[2], y, (2.5, 1.5), "matrices start where\nthe student puts them", ORANGE, "new crowd model")
        arrow(axes, (xs[0] + 1.3, y), (xs[1] - 1.3, y), BLUE)
        arrow(axes, (xs[1] + 1.3, y), (xs[2] - 1.3, y), GREEN)
        write(axes, (xs[0] + xs[1]) / 2, y + 0.25, r"$q$", fontsize=16)
        write(axes, (xs[1] + xs[2]) / 2, y + 0.28, r"$\tilde p$", fontsize=16)
        losses = (
            r"$\ell_{\mathrm{base}}$",
            r"$-\mathrm{MIG}^f(p,\,q)$ + regularizer",
            r"$\ell_{\mathrm{base}} - \beta\,\mathrm{MIG}^f(h,\,\tilde p)$",
        )
        for x, loss in zip(xs, losses, strict=True):
            write(axes, x, 1.1, loss, fontsize=14)
        words = r"$q$ and $\tilde p$ are soft predictions of all training items. Each stage starts with a new network."
        write(axes, 5.0, 0.35, words, color=GRAY, fontsize=SMALL)
    return fig, _alt(kd_crowd)


def _alt(picture: Callable) -> str:
    return " ".join(picture.__doc__.split())


def tagged_sentence(words: Sequence[str], tags: Mapping[str, Sequence[str]]) -> tuple[Figure, str]:
    """A sentence with its names marked, a line for each annotator.

    ``words`` are up to a dozen, ``tags`` by annotator (or "truth") a BIO tag a word, such as ``B-PER``. Raises ValueError
    without words or tags, or for a line of another length than the sentence.
    """
    if not words or {len(line) for line in tags.values()} != {len(words)}:
        raise ValueError(f"each of {len(words)} words needs a tag of everybody, found {[len(line) for line in tags.values()]}")
    kinds = {"PER": (BLUE, "person"), "LOC": (GREEN, "place"), "ORG": (ORANGE, "organization"), "MISC": (PURPLE, "other name")}
    widths = np.array([0.3 + 0.115 * len(word) for word in words])
    starts = 1.75 + np.concatenate([[0], np.cumsum(widths)])
    used = sorted({tag for line in tags.values() for tag in line})
    types = sorted({tag[2:] for tag in used} - {""})
    spans = {}  # first word, word after the last, type
    for name, line in tags.items():
        found = entities([used.index(tag) for tag in line], [len(line)], used)
        spans[name] = [(first, last + 1, types[kind]) for first, last, kind in found]
    legend = ["no box: outside of all names", *(f"{kind}: {kinds[kind][1]}" for kind in types if kind in kinds)]
    legend = textwrap.wrap("; ".join(legend), int((starts[-1] - starts[0]) / 0.1))
    height = 0.9 + 0.5 * len(tags) + 0.25 * len(legend)
    with canvas(float(starts[-1]) + 0.2, height) as (fig, axes):
        for word, left, width in zip(words, starts, widths, strict=False):
            write(axes, left + width / 2, height - 0.42, word, fontweight="bold", va="baseline")
        for place, (name, found) in enumerate(spans.items()):
            y = height - 0.85 - 0.5 * place
            write(axes, 1.6, y, name, ha="right", fontsize=SMALL)
            axes.plot(starts[[0, -1]], [y, y], color="#DDDDDD", lw=1.2, zorder=0)
            for first, last, kind in found:
                left, width = starts[first] + 0.05, starts[last] - starts[first] - 0.1
                box(axes, left + width / 2, y, (width, 0.36), kind, kinds.get(kind, (GRAY,))[0])
        write(axes, starts[0], 0.15, "\n".join(legend), ha="left", va="bottom", fontsize=SMALL, color=GRAY)
    told = (
        f"{name}: " + (", ".join(f"{' '.join(words[first:last])} ({kind})" for first, last, kind in found) or "no name")
        for name, found in spans.items()
    )
    return fig, f"The sentence “{' '.join(words)}” with the names that each annotator marked. " + "; ".join(told) + "."
