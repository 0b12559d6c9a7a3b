"""CIFAR-10N's labels: the facts of the published files, and that reading them runs no code of theirs."""

import os
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from lib.aggregation import sparsity
from lib.datasets import cifar10n, download

needs_labels = pytest.mark.needs_data("cifar10n_labels")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two batches of ten images in the published shape; a test may write other files over them."""
    rng, n = np.random.default_rng(0), 20
    names = ("clean_label", "random_label1", "random_label2", "random_label3", "aggre_label", "worse_label")
    arrays = {name: rng.integers(0, 10, n) for name in names}
    torch.save(arrays, tmp_path / "CIFAR-10_human.pt")
    head = "Image-batch,Worker1-id,Work-time-in-seconds-1,Worker2-id,Work-time-in-seconds-2,Worker3-id,Work-time-in-seconds-3"
    (tmp_path / "side_info_cifar10N.csv").write_text(f"{head}\n0--9,3,25,0,40,1,21\n10--19,4,46,2,27,3,92\n")
    monkeypatch.setattr(download, "path", lambda relative: tmp_path / relative.split("/")[1])
    return tmp_path, arrays


@needs_labels
def test_facts():
    crowd, y = cifar10n.crowd()
    assert (crowd.n_items, len(crowd), crowd.n_annotators, crowd.n_classes) == (50_000, 150_000, 747, 10)
    assert set(crowd.labels_per_item) == {3}
    assert_array_equal(np.bincount(y), 5000)
    n = crowd.labels_per_annotator
    assert (n.min(), np.median(n), n.max()) == (10, 80, 3070)
    assert round((crowd.label == y[crowd.item]).mean(), 3) == 0.823
    assert round((crowd.counts.argmax(axis=1) == y).mean(), 4) == 0.9118
    assert crowd.class_names[y[0]] == "frog"  # the first training image of CIFAR-10


@needs_labels
def test_workers_cannot_be_told_apart():
    """What the module says of the workers' file: no more spread than among annotators who are all the same."""
    crowd, y = cifar10n.crowd()
    chance = [sparsity.accuracy_spread(sparsity.interchangeable(crowd, y, seed), y) for seed in range(5)]
    assert sparsity.accuracy_spread(crowd, y) < np.mean(chance) + 4 * np.std(chance)


def test_places_are_the_same_labels_without_workers(files):
    _, arrays = files
    crowd, _ = cifar10n.crowd("places")
    assert crowd.n_annotators == 3
    assert_array_equal(crowd.label.reshape(20, 3).T, [arrays[f"random_label{place}"] for place in (1, 2, 3)])
    assert_array_equal(crowd.annotator, np.tile([0, 1, 2], 20))


def test_who_gave_which_label(files):
    _, arrays = files
    before = set(map(str, torch.serialization.get_safe_globals()))
    crowd, y = cifar10n.crowd()
    assert set(map(str, torch.serialization.get_safe_globals())) == before  # nothing stays allowed
    assert_array_equal(y, arrays["clean_label"])
    dense = np.full((20, 5), -1)
    for rows, workers in ((slice(0, 10), (3, 0, 1)), (slice(10, 20), (4, 2, 3))):
        for place, worker in enumerate(workers, 1):
            dense[rows, worker] = arrays[f"random_label{place}"][rows]
    found = np.full((20, 5), -1)
    found[crowd.item, crowd.annotator] = crowd.label
    assert_array_equal(found, dense)


@needs_labels
def test_names_dealt_at_random_keep_the_labels_and_how_many_are_whose():
    (known, _), (dealt, _) = cifar10n.crowd(), cifar10n.crowd("dealt")
    assert_array_equal(dealt.item, known.item)
    assert_array_equal(dealt.labels_per_annotator, known.labels_per_annotator)
    assert_array_equal(dealt.counts, known.counts)
    same = [set(zip(crowd.item, crowd.annotator, strict=True)) for crowd in (known, dealt)]
    assert len(same[0] & same[1]) < 0.02 * len(known)  # by chance, of those who gave thousands


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant must be one of all, places, dealt, found 'rand1'"):
        cifar10n.crowd("rand1")


class _Command:
    """Pickled, it asks for a call of ``os.system``."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __reduce__(self):
        return os.system, (self.line,)


def test_a_pickle_with_code_is_not_run(files):
    folder, arrays = files
    torch.save({**arrays, "clean_label": _Command(f"touch {folder / 'ran'}")}, folder / "CIFAR-10_human.pt")
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL (posix|nt)\.system"):
        cifar10n.crowd()
    assert not (folder / "ran").exists()
