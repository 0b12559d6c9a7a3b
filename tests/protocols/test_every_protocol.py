"""The grids: what they ask for exists, every scale is there, and seeds are what was given."""

from __future__ import annotations

import pytest
import torch

from lib import datasets, methods, networks, protocols
from lib.crowd.labels import CrowdLabels, CrowdRatings
from lib.protocols import real_crowds
from lib.runs import ledger
from lib.training.recipe import Recipe

every_grid = pytest.mark.parametrize("name", protocols.GRIDS)


# ------------------------------------------------------------------ every grid


@every_grid
@pytest.mark.parametrize("scale", protocols.SCALES)
def test_every_scale_has_runs_of_these_seeds(name, scale):
    configs = protocols.grid(name, scale, [3, 5])
    assert {config.seed for config in configs} >= {3, 5}  # a choice of settings may have seeds of its own
    same = scale == "overnight" and name not in protocols.OVERNIGHT
    assert {config.scale for config in configs} == {"quick" if same else scale}


@every_grid
def test_no_run_is_asked_for_twice(name):
    keys = [config.key() for config in protocols.grid(name, "quick", [0, 1])]
    assert len(set(keys)) == len(keys)


@every_grid
def test_scales_have_rows_of_their_own(name):
    own = [scale for scale in protocols.SCALES if scale != "overnight" or name in protocols.OVERNIGHT]
    keys = [{config.key() for config in protocols.grid(name, scale, [0])} for scale in own]
    assert len(set.union(*keys)) == sum(map(len, keys))


@every_grid
def test_smoke_is_a_few_epochs_of_the_same(name):
    smoke, quick = (protocols.grid(name, scale, [0]) for scale in ("smoke", "quick"))
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
    for config in protocols.grid(name, "paper", [0]):
        datasets.fingerprint(config.dataset, **config.dataset_options)
        settings = repr((config.backbone, config.backbone_options, config.method, config.method_options))
        if settings not in built:
            built.add(settings)
            crowd = crowds[methods.info(config.method).task]

            def backbone(config=config, crowd=crowd):
                shape = shapes.get(config.backbone, (3,))
                return networks.build(config.backbone, shape, crowd.n_outputs, **config.backbone_options)

            methods.build(config.method, backbone, crowd, truth=torch.tensor([0, 1]), **config.method_options)


@every_grid
def test_more_seeds_only_add_runs(name):
    few, more = ({config.key() for config in protocols.grid(name, "quick", seeds)} for seeds in ([0, 1], [0, 1, 2]))
    assert few <= more


# ------------------------------------------------------------------ asking for a grid


def test_a_notebook_is_known_with_and_without_its_number():
    grids = [protocols.grid(name, "smoke", [0]) for name in ("10_crowdlayer_labelme", "crowdlayer_labelme")]
    assert grids[0] == grids[1]


def test_a_notebook_without_runs_has_an_empty_grid():
    assert protocols.grid("01_something_else", "quick", [0]) == []


def test_unknown_scale_is_named():
    with pytest.raises(ValueError, match="unknown scale 'quik'; did you mean 'quick'"):
        protocols.grid("crowdlayer_labelme", "quik", [0])


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [0.0], [True], ["0"], [None]])
def test_wrong_seeds_are_shown(seeds):
    with pytest.raises(ValueError, match="seeds must be distinct whole numbers from 0 on, at least one; found") as error:
        protocols.grid("crowdlayer_labelme", "quick", seeds)
    assert str(seeds) in str(error.value)


def test_at_scale_cuts_the_epochs_of_smoke_only():
    recipe = Recipe(epochs=50)
    assert [protocols.at_scale(recipe, scale).epochs for scale in protocols.SCALES] == [2, 50, 50, 50, 50]


# ------------------------------------------------------------------ real crowds


def test_every_method_gets_the_same_network_and_recipe():
    names = ["true-labels", "majority-vote", "dl-em", "crowdlayer-mw", "geocrowdnet-f", "trace-reg"]
    configs = real_crowds.runs("labelme", names, "quick", [0])
    assert [config.method for config in configs] == names
    assert len({(config.backbone, config.recipe) for config in configs}) == 1
    assert configs[0].recipe == Recipe(epochs=50, batch_size=64, lr=1e-3)


def test_passes_are_the_papers_copies_of_each_image():
    (once,), (ten,) = (real_crowds.runs("labelme", ["ccem"], "quick", [0], passes=passes) for passes in (1, 10))
    assert (once.recipe.passes, ten.recipe.passes) == (1, 10)


def test_unknown_real_data_set_is_named():
    with pytest.raises(ValueError, match="unknown real data set 'labelmee'; did you mean 'labelme'"):
        real_crowds.runs("labelmee", ["ccem"], "quick", [0])


# ------------------------------------------------------------------ tuning


def row(weight, score, method="ccem", dataset="music", best=1.0):
    config = {"dataset": dataset, "method": method, "method_options": {"weight": weight}}
    return {"config": config, "history": {"valid_acc": [best, score], "test_acc": [1 - score, 1 - score]}}


def test_the_weight_is_chosen_by_the_last_validation_accuracy_alone():
    rows = [row(0.1, 0.6), row(0.1, 0.8), row(0.01, 0.75, best=2.0), row(0.01, 0.75), row(0.001, 0.1, best=9.0)]
    assert real_crowds.chosen(rows) == {("music", "ccem"): 0.01}


def test_of_equally_good_weights_the_smaller_one_is_chosen():
    rows = [row(0.1, 0.7), row(0.01, 0.7), row(0.001, 0.6)]
    assert real_crowds.chosen(rows) == {("music", "ccem"): 0.01}


def test_each_data_set_and_method_has_its_own_choice():
    rows = [row(0.1, 0.7), row(0.01, 0.6), row(0.1, 0.6, "trace-reg"), row(0.01, 0.7, "trace-reg", "labelme")]
    expected = {("music", "ccem"): 0.1, ("music", "trace-reg"): 0.1, ("labelme", "trace-reg"): 0.01}
    assert real_crowds.chosen(rows) == expected


def test_tuning_sees_no_test_items_of_the_tables():
    """Validation items are the data set's own, or are taken from the training items."""
    for config in real_crowds.tuning("quick", [0]):
        assert config.experiment == "tuning"
        assert (config.dataset_options == {}) == (config.dataset == "labelme")


def test_the_settings_hold_what_tuning_chose():
    rows = [found for found in ledger.reference_rows("tuning") if found["config"]["scale"] == "quick"]
    if not rows:
        pytest.skip("there are no committed rows of the tuning yet")
    for (dataset, method), weight in real_crowds.chosen(rows).items():
        settings = methods.info(method).options | real_crowds.SETTINGS[dataset].method_options.get(method, {})
        assert settings["weight"] == weight, f"{method} on {dataset}"
