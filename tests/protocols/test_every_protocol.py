"""The grids: what they ask for exists, every scale is there, and seeds are what was given."""

from functools import cache, partial

import pytest
import torch

from lib import datasets, methods, networks, protocols
from lib.crowd.labels import CrowdLabels, CrowdRatings
from lib.protocols import real_crowds
from lib.runs import ledger
from lib.training.recipe import Recipe

every_grid = pytest.mark.parametrize("name", protocols.GRIDS)


@cache
def keyed(name: str, scale: str, *seeds: int) -> dict:
    """The grid by key; no run is asked for twice."""
    configs = protocols.grid(name, scale, list(seeds))
    found = {config.key(): config for config in configs}
    assert len(found) == len(configs)
    return found


# ------------------------------------------------------------------ every grid


@every_grid
def test_every_scale_has_runs_and_rows_of_its_own(name):
    keys = set()
    for scale in protocols.SCALES:
        found = keyed(name, scale, 3, 5)
        assert {config.seed for config in found.values()} >= {3, 5}  # a choice of settings may have seeds of its own
        if scale == "overnight" and name not in protocols.OVERNIGHT:
            assert found == keyed(name, "quick", 3, 5)
            continue
        assert {config.scale for config in found.values()} == {scale}
        assert not keys & set(found)
        keys |= set(found)


@every_grid
def test_smoke_is_a_few_epochs_of_the_same(name):
    smoke, quick = (keyed(name, scale, 3, 5).values() for scale in ("smoke", "quick"))
    passes = [sum(config.recipe.epochs * config.recipe.passes for config in configs) for configs in (smoke, quick)]
    assert passes[0] < passes[1]
    assert {config.method for config in smoke} <= {config.method for config in quick}
    assert {config.dataset for config in smoke} == {config.dataset for config in quick}


@every_grid
def test_what_is_asked_for_exists(name):
    crowds = (CrowdLabels([0, 1], [0, 0], [0, 1], 2, 250, 2), CrowdRatings([0], [0], [1], 2, 3))
    crowds = {crowd.task: crowd for crowd in crowds}
    images = ("lenet", "lenet-bn", "resnet18", "resnet34", "resnet9", "dogs-vs-cats")
    shapes = {"tagger": (9, 2)} | dict.fromkeys(images, (3, 32, 32))
    built = set()
    for config in keyed(name, "paper", 3, 5).values():
        datasets.fingerprint(config.dataset, **config.dataset_options)
        crowd = crowds[methods.info(config.method).task]
        network, shape = (config.backbone, config.backbone_options), shapes.get(config.backbone, (3,))
        if repr(network) not in built:
            networks.build(network[0], shape, crowd.n_outputs, **network[1])
        if config.backbone in images:  # a small one serves every method
            network = ("lenet", {})
        settings = repr((network, config.method, config.method_options))
        if settings not in built:
            make = partial(networks.build, network[0], shape, crowd.n_outputs, **network[1])
            methods.build(config.method, make, crowd, truth=torch.tensor([0, 1]), **config.method_options)
        built |= {repr((config.backbone, config.backbone_options)), settings}


@every_grid
def test_more_seeds_only_add_runs(name):
    assert set(keyed(name, "quick", 3, 5)) <= set(keyed(name, "quick", 3, 5, 7))


# ------------------------------------------------------------------ asking for a grid


def test_a_notebook_is_known_with_and_without_its_number():
    grids = [protocols.grid(name, "smoke", [0]) for name in ("10_crowdlayer_labelme", "crowdlayer_labelme")]
    assert grids[0] == grids[1]
    assert protocols.grid("01_something_else", "quick", [0]) == []


def test_an_unknown_scale_and_data_set_are_named():
    with pytest.raises(ValueError, match="unknown scale 'quik'; did you mean 'quick'"):
        protocols.grid("crowdlayer_labelme", "quik", [0])
    with pytest.raises(ValueError, match="unknown real data set 'labelmee'; did you mean 'labelme'"):
        real_crowds.runs("labelmee", ["ccem"], "quick", [0])


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [0.0], [True], ["0"], [None]])
def test_wrong_seeds_are_shown(seeds):
    with pytest.raises(ValueError, match="seeds must be distinct whole numbers from 0 on, at least one; found") as error:
        protocols.grid("crowdlayer_labelme", "quick", seeds)
    assert str(seeds) in str(error.value)


def test_every_method_gets_the_same_network_and_recipe():
    names = ["true-labels", "majority-vote", "dl-em", "crowdlayer-mw", "geocrowdnet-f", "trace-reg"]
    configs = real_crowds.runs("labelme", names, "quick", [0], passes=10)
    assert [config.method for config in configs] == names
    assert {(config.backbone, config.recipe) for config in configs} == {
        ("mlp", Recipe(epochs=50, passes=10, batch_size=64, lr=1e-3))
    }


def test_committed_rows_come_from_clean_trees():
    rows = ledger.reference_rows()
    assert rows
    assert not [row["key"] for row in rows if row["provenance"]["code"].endswith("-dirty")]
