"""Cats and dogs: the user's photographs where there are any."""

from lib.datasets import dogs_vs_cats
from lib.protocols import crowd_layer


def test_the_users_photographs_take_the_place_of_cifar10(monkeypatch, tmp_path):
    monkeypatch.delenv(dogs_vs_cats.VARIABLE, raising=False)
    assert {c.dataset for c in crowd_layer.simulated_annotators("paper", [0])} == {"cats_dogs"}
    for name in ("cat.0", "cat.1", "dog.0", "dog.1"):
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    monkeypatch.setenv(dogs_vs_cats.VARIABLE, str(tmp_path))
    own = crowd_layer.simulated_annotators("paper", [0])
    assert {(c.dataset, c.dataset_options["collection"]) for c in own} == {("dogs_vs_cats", dogs_vs_cats.digest(tmp_path))}
    assert {c.dataset for c in crowd_layer.simulated_annotators("quick", [0])} == {"cats_dogs"}
