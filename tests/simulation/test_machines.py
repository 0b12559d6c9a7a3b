"""Machine annotators: they learn, the same from one seed; kept once fitted; a crowd is a fair draw of what they say."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lib import paths
from lib.simulation import machines

ONE_OF_A_KIND = {machine.kind: replace(machine, images=300) for machine in machines.MACHINES}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (15 * x).astype(np.uint8).reshape(-1, 8, 8), y.astype(np.int64)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))


def test_the_fifteen_of_the_script():
    crew = machines.crew()
    assert len(crew) == 15
    assert [number for number, machine in enumerate(crew) if machine.images > 400] == [0, 7]
    drawn = [int(np.random.default_rng(number).choice([100, 200, 300, 400])) for number in range(15)]  # the script's sizes
    assert [machine.images for machine in machines.crew(experts=False)] == drawn
    assert {machine.kind for machine in crew} == set(SAID)
    assert all(machine.images <= 500 for machine in machines.crew(sketch=True))


# The first twenty test images; an annotator is right where its digit is the first line's.
TRUTH = "73510022782012633733"
SAID = {
    "linear SVM": "73510022792012633733",
    "RBF SVM": "73510022792012633733",
    "polynomial SVM": "73510022792012633733",
    "nearest neighbors": "73580022782012633733",
    "logistic regression": "73510022792012633733",
    "one-layer network": "73510022792012633733",
    "CNN": "73510022752012633733",
}


@pytest.mark.parametrize("kind", SAID)
def test_every_kind_learns_the_same_on_every_machine(kind, digits):
    x, y = digits
    said = machines.fit(ONE_OF_A_KIND[kind], x[:300], y[:300], 10, seed=0)(x[300:320])
    assert "".join(map(str, y[300:320])) == TRUTH
    assert "".join(map(str, said)) == SAID[kind]


@pytest.mark.parametrize("kind", ["one-layer network", "CNN"])
def test_the_seed_decides_a_network(kind, digits):
    x, y = digits
    machine = replace(ONE_OF_A_KIND[kind], images=100)
    first, same, other = (machines.fit(machine, x[:100], y[:100], 10, seed=seed)(x[100:300]) for seed in (1, 1, 2))
    assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_torchs_generator_is_left_alone(digits):
    import torch

    x, y = digits
    before = torch.get_rng_state()
    machines.fit(replace(ONE_OF_A_KIND["CNN"], amount=1), x[:50], y[:50], 10, seed=0)
    assert_array_equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------- kept


def answers(digits, **options) -> np.ndarray:
    x, y = digits
    return machines.label_all(x[:900], y[:900], x[900:1000], 10, **({"sketch": True} | options))


def test_answers_are_kept_and_only_made_once(digits, monkeypatch):
    first = answers(digits)
    kept = sorted((paths.cache() / "machines").glob("*.npy"))
    assert first.shape == (15, 100)
    assert len(kept) == 15

    def refuse(*_, **__):
        raise AssertionError("fitted again")

    with monkeypatch.context() as patched:
        patched.setattr(machines, "fit", refuse)
        assert_array_equal(answers(digits), first)
        with pytest.raises(AssertionError, match="fitted again"):
            answers(digits, seed=1)
    kept[3].write_bytes(kept[3].read_bytes()[:100])  # cut off
    np.save(kept[4], np.zeros(7, dtype=np.uint8))  # of other images
    assert_array_equal(answers(digits), first)
    assert sorted((paths.cache() / "machines").glob("*.npy")) == kept


def test_mismatched_labels_make_logistic_regression_guess(digits):
    _, y = digits
    mended, slip = (answers(digits, mismatched=mismatched) for mismatched in (False, True))
    logistic = np.array([machine.kind == "logistic regression" for machine in machines.MACHINES])
    assert_array_equal(mended[~logistic], slip[~logistic])
    right = [(said[logistic] == y[900:1000]).mean() for said in (mended, slip)]
    assert right[0] > 0.5
    assert right[1] < 0.25


def test_names_say_what_an_annotator_is():
    assert str(machines.MACHINES[7]) == "5 nearest neighbors, 9000 images"
    assert str(machines.MACHINES[1]) == "CNN, 5 epochs, 200 images"
