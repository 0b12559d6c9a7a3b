"""Table 1 and its ablations: the grids hold what the paper shows, all methods of a seed see one crowd."""

from __future__ import annotations

from itertools import product

import pytest

from lib import methods, protocols
from lib.datasets import cifar10
from lib.protocols import ccc
from lib.results import papers
from lib.simulation.ccc import CASES


@pytest.mark.parametrize("scale", protocols.SCALES)
def test_every_column_has_all_methods_on_the_same_crowds(scale):
    grid = ccc.table1(scale, [0, 1])
    for dataset, cases in ccc.COLUMNS[scale].items():
        for case in cases:
            column = [config for config in grid if (config.dataset, config.case) == (dataset, case)]
            names = [ccc.image_name(vars(config)) for config in column]
            for name in (*ccc.TABLE_1_METHODS, "crowdlayer-mw-pair"):
                assert names.count(name) == 2
            for seed in (0, 1):
                crowds = [config.dataset_options for config in column if config.seed == seed]
                assert all(crowd == crowds[0] for crowd in crowds)
                assert (crowds[0]["crowd"], crowds[0]["crowd_seed"]) == (case, seed)
                assert crowds[0]["crowd_options"]["partner"] == dataset


def test_the_whole_table_is_there_at_the_larger_scales():
    theirs = papers.paper("CCC", result_id="Table 1")
    columns = {(dataset, case) for dataset, case in zip(theirs["dataset"], theirs["case"], strict=True)}
    for scale in ("overnight", "fast", "paper"):
        ours = {(ccc.TABLE_1[dataset], ccc.paper_case(case)) for dataset, cases in ccc.COLUMNS[scale].items() for case in cases}
        assert ours == columns
    assert set(ccc.COLUMNS["quick"]["cifar10"]) <= set(CASES)


@pytest.mark.parametrize("scale", protocols.SCALES)
def test_all_methods_have_as_many_epochs_and_the_warm_up_is_among_them(scale):
    for config in ccc.table1(scale, [0]):
        using = ccc.setting(config.dataset, scale)
        assert config.recipe == using.recipe
        if config.method == "ccc":
            assert 0 < config.method_options["warmup"] < config.recipe.epochs


def test_the_papers_recipe():
    recipe = ccc.setting("cifar10", "paper").recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == (60, 128, 0.01, (40,))
    assert (recipe.momentum, recipe.weight_decay, recipe.gamma) == (0.9, 5e-4, 0.1)


def test_the_ablations_share_their_base_point_with_the_table():
    for scale in ("overnight", "fast", "paper"):
        table = {config.key() for config in ccc.table1(scale, [0])}
        shared = [config for config in ccc.figure4(scale, [0]) if config.key() in table]
        assert {ccc.image_name(vars(config)) for config in shared} == {"crowdlayer-mw", "crowdlayer-mw-pair", "ccc"}
        assert {ccc.labels_per_item(vars(config)) for config in shared} == {3}


@pytest.mark.parametrize("scale", protocols.SCALES)
def test_ablations_vary_one_thing(scale):
    families = ccc.figure4_families(scale, [0])
    by_labels = [c for c in families["labels"] if c.method == "ccc"]
    assert [ccc.labels_per_item(vars(c)) for c in by_labels] == list(ccc.LABELS)
    assert len({c.method_options["groups"] for c in by_labels}) == 1
    groups = [c.method_options["groups"] for c in families["groups"]]
    assert groups == list(ccc.GROUPS[scale])
    assert by_labels[0].method_options["groups"] in groups
    annotators = {c.dataset_options["crowd_options"]["n_annotators"] for c in families["groups"]}
    assert annotators == {groups[-1]}  # the largest number is one group an annotator
    assert {ccc.labels_per_item(vars(c)) for c in families["groups"]} == {3}


def test_unknown_image_data_set_is_named():
    with pytest.raises(ValueError, match="unknown image data set 'cifar'; did you mean 'cifar10'"):
        ccc.setting("cifar", "quick")


def test_names_of_pairs():
    config = {"method": "ensemble", "method_options": {"base": "conal"}}
    rows = [{"config": config}, None, {"config": {"method": "ccc", "method_options": {}}}]
    assert [row["config"]["method"] for row in ccc.named_images(rows)] == ["conal-pair", "ccc"]


@pytest.mark.parametrize("scale", protocols.SCALES)
def test_cifar10n_has_the_papers_methods_and_the_controls(scale):
    grid = ccc.cifar10n(scale, [0, 1])
    names = [(ccc.image_name(vars(config)), config.case) for config in grid]
    wanted = {(name, "real") for name in [*ccc.TABLE_1_METHODS, "true-labels", "crowdlayer-mw-pair"]}
    wanted |= {(name, ccc.ANONYMOUS) for name in ("crowdlayer-mw", "ccc")}
    assert wanted <= set(names)
    assert {names.count(place) for place in names} == {2}
    anonymous = [config for config in grid if config.case == ccc.ANONYMOUS]
    assert {config.dataset_options["variant"] for config in anonymous} == {"places"}
    assert max(config.method_options.get("groups", 0) for config in anonymous) == 3  # as many as annotators
    assert {config.recipe for config in grid} == {ccc.setting("cifar10n", scale).recipe}  # as many epochs for all


def test_rows_are_named_by_what_is_varied():
    grid = ccc.figure4("quick", [0])
    rows = [{"key": config.key(), "config": vars(config)} for config in grid]
    found = ccc.varied([None, *rows[1:]], "quick", [0])
    cases = [row["config"]["case"] for row in found if row["config"]["method"] == "ccc"]
    wanted = [f"rec-IND-I labels={n}" for n in (1, 3, 5, 7, 9)] + [f"rec-IND-I groups={n}" for n in (1, 6, 20, 50)]
    assert cases == wanted
    assert [row["config"]["x"] for row in found if row["config"]["method"] == "crowdlayer-mw"] == [
        3,
        5,
        7,
        9,
    ]  # one is not there
    assert len(found) == len(grid)  # without that one, and with the base point twice


def test_every_scale_has_the_released_rate_and_the_same_share_of_warm_up():
    for scale in ("quick", "overnight", "fast", "paper"):
        for dataset, using in ccc.SETTINGS[scale].items():
            assert using.recipe.epochs == 6 * using.warmup
            rates = {c.method_options.get("rate", 0.5) for c in ccc.image_runs(dataset, ["ccc"], scale, [0], experiment="x")}
            assert rates == {0.5} == {methods.info("ccc").options["rate"]}


def test_no_number_comes_from_jpeg_copies():
    for name, scale in product(("table1", "figure4", "cifar10n"), ("smoke", "quick", "overnight")):
        for config in getattr(ccc, name)(scale, [0]):
            assert config.dataset == "fashion_mnist" or config.dataset_options["test"] == cifar10.HELD_OUT
            assert config.recipe.precision == ("mixed" if scale == "overnight" else "float32")
