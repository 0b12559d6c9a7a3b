"""The grids of notebooks 11, 21 and 22: what is compared is comparable, and weights are what validation chose."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch

from lib import networks, protocols
from lib.datasets import dogs_vs_cats
from lib.protocols import crowd_layer, geocrowdnet
from lib.runs import ledger

GEO = {
    "machine_annotators": (geocrowdnet.machine_families, geocrowdnet.MACHINE_WEIGHTS),
    "cifar10_hammer": (geocrowdnet.hammer_families, geocrowdnet.HAMMER_WEIGHTS["quick"]),
}
FAMILIES = {
    "geocrowdnet_machine_annotators": geocrowdnet.machine_families,
    "geocrowdnet_cifar10": geocrowdnet.hammer_families,
}


@pytest.mark.parametrize("experiment", GEO)
def test_the_weights_are_what_validation_chose(experiment):
    families, used = GEO[experiment]
    wanted = {c.key() for c in families("quick", range(geocrowdnet.TUNING_SEEDS))["weight"]}
    rows = [row for row in ledger.reference_rows(experiment) if row["key"] in wanted]
    if not rows:
        pytest.skip("no reference rows of the weights yet")
    assert len(rows) == len(wanted)
    found = geocrowdnet.chosen(rows)
    if experiment == "cifar10_hammer":
        found = {method: weight for (_, _, method), weight in found.items()}
    assert found == used


def test_the_choice_is_by_validation_alone():
    def row(weight, valid, test):
        config = {"dataset": "d", "case": "c", "method": "m", "method_options": {"weight": weight}}
        return {"config": config, "metrics": {"valid_acc_selected": valid, "test_acc_selected": test}}

    rows = [row(0.1, 0.6, 0.9), row(0.01, 0.7, 0.1), row(0.01, 0.6, 0.1), row(0.1, 0.6, 0.9), row(0.001, 0.65, 0.2)]
    assert geocrowdnet.chosen(rows) == {("d", "c", "m"): 0.001}  # as good as 0.01, and smaller


def compared_of(name: str, scale: str) -> list:
    if name in FAMILIES:
        same = scale == "overnight" and name not in protocols.OVERNIGHT
        return FAMILIES[name]("quick" if same else scale, [0, 1])["compared"]
    return protocols.grid(name, scale, [0, 1])


@pytest.mark.parametrize("name", ["crowdlayer_simulated_annotators", *FAMILIES])
@pytest.mark.parametrize("scale", protocols.SCALES)
def test_methods_see_the_same_crowd_and_recipe(name, scale):
    settings = defaultdict(set)
    for config in protocols.grid(name, scale, [0, 1]):
        assert config.dataset_options["crowd_seed"] == config.seed
        data = repr(sorted(config.dataset_options.items()))
        settings[config.dataset, data, config.backbone].add(config.recipe)
    assert all(len(found) == 1 for found in settings.values())
    backbones_of = defaultdict(set)
    for config in compared_of(name, scale):
        backbones_of[config.dataset].add(config.backbone)
    assert all(len(found) == 1 for found in backbones_of.values())


def test_machine_crowds_cover_the_specified_settings():
    families = geocrowdnet.machine_families("paper", [0, 1, 2, 3, 4])
    sizes = {(c.dataset_options["items"], c.dataset_options["probability"]) for c in families["size"]}
    assert sizes == {(n, p) for n in (1000, 5000, 10_000) for p in (0.1, 0.2)}
    assert {c.dataset_options["experts"] for c in families["compared"]} == {True, False}
    assert len(families["compared"]) == 2 * 2 * 10 * 5


def test_small_crowds_get_as_many_steps():
    grid = geocrowdnet.machine_families("quick", [0])["size"]
    images = {c.dataset_options["items"]: c.recipe.epochs * c.recipe.passes * c.dataset_options["items"] for c in grid}
    assert images[300] == pytest.approx(images[1000], rel=0.03)
    assert images[2000] == 2 * images[1000]


def test_the_users_photographs_take_the_place_of_cifar10(monkeypatch, tmp_path):
    monkeypatch.delenv(dogs_vs_cats.VARIABLE, raising=False)
    assert {c.dataset for c in crowd_layer.simulated_annotators("paper", [0])} == {"cats_dogs"}
    for name in ("cat.0", "cat.1", "dog.0", "dog.1"):
        (tmp_path / f"{name}.jpg").write_bytes(b"x")
    monkeypatch.setenv(dogs_vs_cats.VARIABLE, str(tmp_path))
    own = crowd_layer.simulated_annotators("paper", [0])
    assert {(c.dataset, c.dataset_options["collection"]) for c in own} == {("dogs_vs_cats", dogs_vs_cats.digest(tmp_path))}
    assert {c.dataset for c in crowd_layer.simulated_annotators("quick", [0])} == {"cats_dogs"}


def test_the_published_network_and_its_small_form():
    published = networks.build("dogs-vs-cats", (3, 150, 150), 2)
    assert published.trunk[-3].in_features == 7 * 7 * 64  # as the released notebook prints
    assert networks.build("dogs-vs-cats", (3, 32, 32), 2, padding=1)(torch.zeros(2, 3, 32, 32)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"leaves nothing of \(3, 32, 32\) images with padding 0"):
        networks.build("dogs-vs-cats", (3, 32, 32), 2)
    with pytest.raises(ValueError, match=r"needs images of \(channels, height, width\), found \(512,\)"):
        networks.build("dogs-vs-cats", (512,), 2)
