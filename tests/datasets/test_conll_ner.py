"""The named entities: facts of the published files, and made-up files for what those do not show."""

import numpy as np
import pytest

from lib import datasets
from lib.aggregation.dawid_skene import majority_vote
from lib.datasets import conll_ner, download
from lib.protocols import crowd_layer

FIRST = "Anna B-PER ?\nsings O ?\n\nRome B-LOC O\n\n"
# The first sentence again, a sentence of the same words with other answers, and a new one.
SECOND = "Anna B-PER ?\nsings O ?\n\nRome B-LOC B-LOC\n\nsings ? O\n8-10 ? O\n\n"
TRUTH = "Rome B-LOC\n\nAnna B-PER\nsings O\n\nRome O\n\nsings O\n8-10 O\n\n"


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Small files in place of the published ones."""
    contents = [FIRST, SECOND, FIRST, TRUTH, "sings O\nRome B-LOC\n\n", "Paris B-LOC\n\n"]
    for name, text in zip(datasets.info("conll_ner").files, contents, strict=True):
        (tmp_path / name.replace("/", "_")).write_text(text)
    monkeypatch.setattr(download, "path", lambda name: tmp_path / name.replace("/", "_"))
    return tmp_path


def words(data, part=""):
    """Words of the table, looked up again."""
    names = ("<padding>", "<unknown>", *data.vocabulary)
    return [[names[k] for k in row if k] for row in getattr(data, f"x{part}")[:, :, 0].tolist()]


def test_a_sentence_of_two_files_counts_once(made_up):
    data = datasets.load("conll_ner")
    assert data.words == (("Anna", "sings"), ("Rome",), ("Rome",), ("sings", "8-10"))
    assert (data.crowd.n_annotators, len(data.crowd)) == (2, 2 + 2 + 2 + 2)
    assert [data.class_names[k] for k in data.y] == ["B-PER", "O", "B-LOC", "B-LOC", "O", "O"]
    assert words(data) == [["<unknown>", "sings"], ["rome"], ["rome"], ["sings", "<unknown>"]]
    assert words(data, "_test") == [["sings", "rome"]]
    shapes = [conll_ner.SHAPES[k - 1] for k in data.x[:, :, 1].flatten().tolist() if k]
    assert shapes == ["Title", "lower", "Title", "Title", "lower", "number"]
    assert data.x_second.tolist() == [[[1, 1 + conll_ner.SHAPES.index("Title")]]]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("1996-08-23", "number"), ("3rd", "digits and letters"), ("--", "mark"), ("lower", "lower"), ("U.N.", "UPPER"),
     ("Rome", "Title"), ("A", "Title"), ("al-Ahram", "miXed"), ("McCain", "miXed"), ("Änne", "Title")],
)  # fmt: skip
def test_shapes(word, expected):
    assert conll_ner.shape(word) == expected


@pytest.mark.needs_data("conll_ner")
def test_facts_of_the_published_files():
    data = datasets.load("conll_ner")
    facts = data.summary()
    assert (facts["sentences"], len(set(data.words)), facts["annotators"], facts["classes"]) == (3078, 2845, 47, 9)
    assert (facts["items"], facts["labels"]) == (41910, 207303)
    assert (facts["test_sentences"], facts["test_items"]) == (3250, 51362)  # CoNLL's development file, as in the paper
    assert (len(data.x_second), len(data.y_second)) == (3453, 46435)
    assert round(facts["label_accuracy"], 4) == 0.8918
    vote = majority_vote(data.crowd)
    assert round(float((vote == data.y.numpy()).mean()), 4) == 0.9109
    assert np.bincount(np.add.reduceat(data.crowd.labels_per_item, data.offsets[:-1]) // np.diff(data.offsets)).tolist() == [
        0, 23, 65, 207, 680, 1156, 684, 231, 32,
    ]  # fmt: skip
    assert int(data.x[:, :, 0].max()) < 4096 > int(data.x_test[:, :, 0].max())


# ---------------------------------------------------------------------- the grid


def test_the_grid_at_each_scale():
    quick = crowd_layer.named_entities("quick", [0, 1])
    compared = [config for config in quick if config.experiment == "conll_ner"]
    assert len(compared) == 2 * (7 + 1)
    assert {config.method_options.get("pretrain") for config in compared} == {None, 0, 5}
    paper = {config.method: config for config in crowd_layer.named_entities("paper", [0])}
    assert paper["true-labels"].recipe.epochs == 20
    assert paper["crowdlayer-mw"].backbone_options == {"dimension": 300, "channels": 512}


def test_the_rate_is_chosen_on_sentences_set_aside():
    for config in crowd_layer.rate_tuning("quick"):
        assert config.dataset_options == {"validation": 0.2}
        assert config.seed == crowd_layer.RATE_SEED
