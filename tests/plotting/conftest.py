"""Figures of tests are saved in a folder of their own; settings stay as they were."""

import matplotlib as mpl
import pytest
from matplotlib.text import Text

from lib.plotting import style
from tests.results import conftest as results


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path))
    with mpl.rc_context():
        yield tmp_path


@pytest.fixture
def save():
    """Saves a figure, which needs names at its axes and words that can be read."""

    def saved(fig, data, name="drawn", alt="A figure drawn for a test: a mark for each number.", **options):
        style.save(fig, "10_made_up", name, data, alt, **options)

    return saved


def row(method="majority-vote", seed=0, dataset="labelme", case="real", history=(0.5, 0.7), **metrics):
    """A ledger row; by default its accuracy is that of the last epoch."""
    made = results.row(method, seed, dataset, case, **metrics or {"test_acc_last": history[-1]})
    return made | {"history": {"test_acc": list(history)}}


def text_of(fig) -> str:
    """All words of a figure in one line."""
    return " ".join(" ".join(text.get_text() for text in fig.findobj(Text)).split())


def legend_of(fig) -> list[str]:
    """The heading of a figure's only legend, and its entries."""
    (legend,) = fig.legends
    return [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]
