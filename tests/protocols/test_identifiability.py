"""The grid of notebook 20: complete, each run once, comparisons in pairs, and of the size it claims."""

from __future__ import annotations

import pytest

from lib import methods, protocols
from lib.protocols import geocrowdnet

NOTEBOOK = "20_geocrowdnet_identifiability"


@pytest.mark.parametrize("scale", [scale for scale in protocols.SCALES if scale != "overnight"])
def test_the_grid_is_the_union_of_the_families_without_repeats(scale):
    grid = [config.key() for config in protocols.grid(NOTEBOOK, scale, [0, 1])]
    families = {config.key() for family in geocrowdnet.regime_families(scale, [0, 1]).values() for config in family}
    assert len(set(grid)) == len(grid)
    assert set(grid) == families


def test_a_run_that_belongs_to_several_families_is_trained_once():
    families = geocrowdnet.regime_families("quick", [0])
    plain = {"dataset_options": families["regime"][0].dataset_options}
    shared = [name for name, configs in families.items() if any(c.dataset_options == plain["dataset_options"] for c in configs)]
    assert {"labels", "specialist", "anchor", "regime", "control"} <= set(shared)
    assert len(protocols.grid(NOTEBOOK, "quick", [0])) < sum(map(len, families.values()))


def test_every_method_is_run_from_every_start_in_every_regime():
    runs = {
        (c.method, c.method_options["start"], geocrowdnet.regime_of(vars(c)))
        for c in geocrowdnet.regime_families("quick", [0])["regime"]
    }
    assert runs == {
        (m, start, regime) for m in geocrowdnet.STARTED for start in geocrowdnet.STARTS for regime in geocrowdnet.REGIMES
    }


def test_each_penalty_is_weighted_in_the_regime_that_it_is_made_for():
    family = geocrowdnet.regime_families("quick", [0])["weight"]
    found = {(c.method, geocrowdnet.regime_of(vars(c)), c.method_options["weight"]) for c in family}
    assert found == {(m, regime, weight) for m, regime in geocrowdnet.MADE_FOR.items() for weight in geocrowdnet.REGIME_WEIGHTS}
    assert geocrowdnet.WEIGHT in geocrowdnet.REGIME_WEIGHTS


def test_runs_of_a_seed_are_about_the_same_crowd():
    """The claims compare in pairs."""
    for config in protocols.grid(NOTEBOOK, "quick", [3]):
        assert config.dataset_options["crowd_seed"] == config.seed == 3
        assert set(config.method_options) <= set(methods.info(config.method).options)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_run_has_about_as_many_steps(scale):
    for config in protocols.grid(NOTEBOOK, scale, [0]):
        recipe, items = config.recipe, config.dataset_options["items"]
        steps = recipe.epochs * recipe.passes * -(-items // recipe.batch_size)
        assert steps == pytest.approx(geocrowdnet.STEPS[scale], rel=0.06)


def test_what_lies_between_the_regimes_has_no_name():
    names = {geocrowdnet.regime_of(vars(config)) for config in geocrowdnet.regime_families("quick", [0])["specialist"]}
    assert names == {"specialist and anchors", "anchors only", ""}
