"""Pictures of the models: every word can be read, descriptions say what is drawn, and nothing hides in the drawing."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from lib.plotting import models, style
from lib.plotting.legibility import faults

SENTENCE = ["Lions", "beat", "Queensland", "at", "Newlands"]
TAGS = {
    "annotator 3": ["B-ORG", "O", "B-LOC", "I-LOC", "O"],
    "annotator 12": ["O", "O", "I-ORG", "O", "B-LOC"],
    "truth": ["O"] * 5,
}
ACCURACIES = {"true-labels": 0.96, "majority-vote": 0.8, "dawid-skene": 0.86, "crowdlayer-mw": 0.944}
IMAGES, ANSWERS = np.random.default_rng(0).random((3, 8, 8)), [["3", "5"], ["5", "9", "6"], ["8", "1", "8", "8"]]

PICTURES = {
    "ccc": models.ccc,
    "ccem": models.ccem,
    "crowd_layer": models.crowd_layer,
    "dawid_skene": models.dawid_skene,
    "dl_em": models.dl_em,
    "field": lambda: models.field(IMAGES, ANSWERS, ACCURACIES),
    "kd_crowd": models.kd_crowd,
    "tagged_sentence": lambda: models.tagged_sentence(SENTENCE, TAGS),
}


@pytest.fixture(autouse=True)
def _settings():
    with mpl.rc_context():
        yield


each = pytest.mark.parametrize("name", PICTURES)


def words_of(fig) -> str:
    return "\n".join(text.get_text() for text in fig.findobj(mpl.text.Text))


def test_every_picture_is_looked_at_here():
    assert set(PICTURES) == set(models.__all__)


@each
def test_every_word_can_be_read(name):
    fig, _ = PICTURES[name]()
    assert faults(fig) == []
    sizes = [text.get_fontsize() for text in fig.findobj(mpl.text.Text) if text.get_text().strip()]
    assert min(sizes) >= models.SMALL >= 12
    assert to_rgb(fig.get_facecolor()[:3]) == (1, 1, 1)


@each
def test_it_comes_with_a_description_and_leaves_settings_alone(name):
    before = dict(mpl.rcParams)
    _, alt = PICTURES[name]()
    assert dict(mpl.rcParams) == before
    assert 100 < len(alt) < 700
    assert alt.endswith(".")
    assert "\n" not in alt
    assert "  " not in alt


@each
def test_saving_it_in_the_house_style_does_not_move_it(name, tmp_path):
    style.style()  # as every notebook does; a warning would be an error here
    fig, _ = PICTURES[name]()
    for number in range(2):
        fig.savefig(tmp_path / f"{number}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_picture_of_a_model_is_saved_without_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(tmp_path))
    fig, alt = models.kd_crowd()
    style.save(fig, "10_made_up", "model_kd_crowd", None, alt=alt)
    assert {path.name for path in (tmp_path / "10_made_up").iterdir()} == {"model_kd_crowd.png", "model_kd_crowd.alt.txt"}
    with pytest.raises(ValueError, match="needs a DataFrame of the numbers it shows, found NoneType"):
        style.save(fig, "10_made_up", "kd_crowd", None, alt=alt)


@each
def test_drawing_twice_gives_the_same_picture(name):
    first, second = (PICTURES[name]()[0] for _ in range(2))
    for fig in (first, second):
        fig.canvas.draw()
    np.testing.assert_array_equal(first.canvas.buffer_rgba(), second.canvas.buffer_rgba())


# ---------------------------------------------------------------------- the field


def test_the_field_shows_the_accuracies_it_is_given():
    fig, alt = models.field(IMAGES, ANSWERS, ACCURACIES)
    assert "True labels, Majority vote, Dawid-Skene, then train, Crowd Layer (MW)" in alt
    assert "%" not in alt, "a number would change with the runs"
    for share in ("96.0 %", "80.0 %", "86.0 %", "94.4 %"):
        assert share in words_of(fig)
    bars = [patch for patch in fig.findobj(Rectangle) if patch.get_height() == pytest.approx(0.4)]
    lengths = sorted({round(bar.get_width() / 2, 3) for bar in bars})
    assert lengths == [0.8, 0.86, 0.944, 0.96, 1.0]


def test_the_field_shows_at_most_three_labels_an_item():
    fig, _ = models.field(IMAGES, ANSWERS, ACCURACIES)
    assert words_of(fig).split("\n").count("8") == 2  # the third 8 is the fourth label


@pytest.mark.parametrize(
    ("images", "answers", "shares"), [(IMAGES[:0], [], ACCURACIES), (IMAGES, ANSWERS[:2], ACCURACIES), (IMAGES, ANSWERS, {})]
)
def test_the_field_needs_items_answers_and_accuracies(images, answers, shares):
    with pytest.raises(ValueError, match="need images, as many answers and accuracies, found"):
        models.field(images, answers, shares)


# ---------------------------------------------------------------------- a tagged sentence


def test_a_name_is_one_box_and_told_in_words():
    fig, alt = models.tagged_sentence(SENTENCE, TAGS)
    assert "annotator 3: Lions (ORG), Queensland at (LOC)" in alt
    assert "annotator 12: Queensland (ORG), Newlands (LOC)" in alt  # an I- that continues nothing begins a name
    assert "truth: no name" in alt
    words = words_of(fig).split("\n")
    assert words.count("LOC") == 2
    assert words.count("ORG") == 2


@pytest.mark.parametrize(("words", "tags"), [([], {}), (["one"], {}), (["one"], {"truth": ["O", "O"]})])
def test_a_sentence_needs_a_tag_for_each_word(words, tags):
    with pytest.raises(ValueError, match="one tag for each of"):
        models.tagged_sentence(words, tags)


# ---------------------------------------------------------------------- the helper itself finds what it is there to find


def figure():
    return plt.subplots(figsize=(4, 3))


def test_words_on_top_of_each_other_are_found():
    fig, axes = figure()
    axes.text(0.5, 0.5, "first")
    axes.text(0.52, 0.5, "second")
    assert faults(fig) == ["overlap: 'first' and 'second'"]


def test_words_beyond_the_edge_are_found():
    fig, axes = figure()
    axes.text(0.9, 0.5, "a rather long line of words")
    assert faults(fig) == ["cut off: 'a rather long line of words'"]


def test_words_that_stick_out_of_their_box_are_found():
    fig, axes = figure()
    axes.add_patch(mpl.patches.FancyBboxPatch((0.4, 0.4), 0.2, 0.2, boxstyle="round,pad=0"))
    axes.text(0.5, 0.5, "much wider than its box", ha="center", va="center")
    assert faults(fig) == ["sticks out of its box: 'much wider than its box'"]


def test_crowded_tick_labels_are_found_and_undrawn_ones_are_not():
    fig, axes = figure()
    axes.plot([0, 1], [0, 1])
    assert faults(fig) == []
    axes.set_xticks(np.linspace(0, 1, 15), [f"{x:.4f}" for x in np.linspace(0, 1, 15)])
    assert any("overlap" in line for line in faults(fig))
    axes.xaxis.set_visible(False)
    assert faults(fig) == []


def test_words_at_a_slant_are_held_against_the_edge_only():
    fig, axes = figure()
    axes.text(0.3, 0.3, "up the hill", rotation=45)
    axes.text(0.45, 0.3, "up the hill again", rotation=45)
    assert faults(fig) == []
