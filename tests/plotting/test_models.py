"""Pictures of the models: every word can be read, descriptions say what is drawn, and nothing hides in the drawing."""

import matplotlib as mpl
import numpy as np
import pytest
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
PICTURES = [
    name for name, made in vars(models).items() if getattr(made, "__module__", "") == models.__name__ and name[0] != "_"
]
GIVEN = {"field": (IMAGES, ANSWERS, ACCURACIES), "tagged_sentence": (SENTENCE, TAGS)}


def words_of(fig) -> list[str]:
    return "\n".join(text.get_text() for text in fig.findobj(mpl.text.Text)).split("\n")


def drawn(fig) -> np.ndarray:
    fig.canvas.draw()
    return np.array(fig.canvas.buffer_rgba())


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture(name):
    before = dict(mpl.rcParams)
    fig, alt = getattr(models, name)(*GIVEN.get(name, ()))
    assert dict(mpl.rcParams) == before
    assert 100 < len(alt) < 700
    assert alt.endswith(".")
    assert " ".join(alt.split()) == alt
    assert faults(fig) == []
    assert min(text.get_fontsize() for text in fig.findobj(mpl.text.Text) if text.get_text().strip()) >= models.SMALL >= 12
    first = drawn(fig)
    style.style()  # as every notebook does; a warning would be an error here, and nothing may move
    np.testing.assert_array_equal(drawn(fig), first)
    np.testing.assert_array_equal(drawn(getattr(models, name)(*GIVEN.get(name, ()))[0]), first)


def test_a_picture_of_a_model_is_saved_without_a_table(figures):
    fig, alt = models.kd_crowd()
    style.save(fig, "10_made_up", "model_kd_crowd", None, alt=alt)
    assert {path.name for path in (figures / "10_made_up").iterdir()} == {"model_kd_crowd.png", "model_kd_crowd.alt.txt"}


def test_the_field_shows_the_accuracies_it_is_given_and_at_most_three_labels_an_item():
    fig, alt = models.field(IMAGES, ANSWERS, ACCURACIES)
    assert "True labels, Majority vote, Dawid-Skene, then train, Crowd Layer (MW)" in alt
    assert "%" not in alt, "a number would change with the runs"
    assert {"96.0 %", "80.0 %", "86.0 %", "94.4 %"} <= set(words_of(fig))
    bars = [patch for patch in fig.findobj(Rectangle) if patch.get_height() == pytest.approx(0.4)]
    assert sorted({round(bar.get_width() / 2, 3) for bar in bars}) == [0.8, 0.86, 0.944, 0.96, 1.0]
    assert words_of(fig).count("8") == 2  # the third 8 is the fourth label


@pytest.mark.parametrize(
    ("images", "answers", "shares"), [(IMAGES[:0], [], ACCURACIES), (IMAGES, ANSWERS[:2], ACCURACIES), (IMAGES, ANSWERS, {})]
)
def test_the_field_needs_items_answers_and_accuracies(images, answers, shares):
    with pytest.raises(ValueError, match="need images, as many answers and accuracies, found"):
        models.field(images, answers, shares)


def test_a_name_is_one_box_and_told_in_words():
    fig, alt = models.tagged_sentence(SENTENCE, TAGS)
    assert "annotator 3: Lions (ORG), Queensland at (LOC)" in alt
    assert "annotator 12: Queensland (ORG), Newlands (LOC)" in alt  # an I- that continues nothing begins a name
    assert "truth: no name" in alt
    assert [words_of(fig).count(kind) for kind in ("LOC", "ORG")] == [2, 2]


@pytest.mark.parametrize(("words", "tags"), [([], {}), (["one"], {}), (["one"], {"truth": ["O", "O"]})])
def test_a_sentence_needs_a_tag_for_each_word(words, tags):
    with pytest.raises(ValueError, match="needs a tag of everybody"):
        models.tagged_sentence(words, tags)
