"""The grids of notebooks 11 and 20 to 22: complete, of the sizes they claim, and what is compared is comparable."""

from collections import defaultdict

import pytest

from lib import protocols
from lib.protocols import geocrowdnet


@pytest.mark.parametrize(
    "name",
    [
        "crowdlayer_simulated_annotators",
        "geocrowdnet_identifiability",
        "geocrowdnet_machine_annotators",
        "geocrowdnet_cifar10",
    ],
)
@pytest.mark.parametrize("scale", protocols.SCALES)
def test_methods_see_the_same_crowd_and_recipe(name, scale):
    recipes, backbones = defaultdict(set), defaultdict(set)
    for config in protocols.grid(name, scale, [0, 1]):
        assert config.dataset_options["crowd_seed"] == config.seed
        data = repr(sorted(config.dataset_options.items()))
        recipes[config.dataset, data, config.backbone].add(config.recipe)
        backbones[config.dataset, data].add(config.backbone)
    assert all(len(found) == 1 for found in recipes.values())
    if name != "geocrowdnet_machine_annotators" or scale not in ("quick", "overnight"):  # which have a family with LeNet
        assert all(len(found) == 1 for found in backbones.values())


# ------------------------------------------------------------------ 20


def test_every_method_is_run_from_every_start_in_every_regime():
    family = geocrowdnet.regime_families("quick", [0])["regime"]
    runs = {(c.method, c.method_options["start"], geocrowdnet.regime_of(vars(c))) for c in family}
    assert runs == {
        (m, start, regime) for m in geocrowdnet.STARTED for start in geocrowdnet.STARTS for regime in geocrowdnet.REGIMES
    }


def test_each_penalty_is_weighted_in_the_regime_that_it_is_made_for():
    family = geocrowdnet.regime_families("quick", [0])["weight"]
    found = {(c.method, geocrowdnet.regime_of(vars(c)), c.method_options["weight"]) for c in family}
    assert found == {(m, regime, weight) for m, regime in geocrowdnet.MADE_FOR.items() for weight in geocrowdnet.REGIME_WEIGHTS}
    assert geocrowdnet.WEIGHT in geocrowdnet.REGIME_WEIGHTS


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_run_has_about_as_many_steps(scale):
    for config in protocols.grid("20_geocrowdnet_identifiability", scale, [0]):
        recipe, items = config.recipe, config.dataset_options["items"]
        steps = recipe.epochs * recipe.passes * -(-items // recipe.batch_size)
        assert steps == pytest.approx(geocrowdnet.STEPS[scale], rel=0.06)


def test_what_lies_between_the_regimes_has_no_name():
    names = {geocrowdnet.regime_of(vars(config)) for config in geocrowdnet.regime_families("quick", [0])["specialist"]}
    assert names == {"specialist and anchors", "anchors only", ""}


# ------------------------------------------------------------------ 21


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
