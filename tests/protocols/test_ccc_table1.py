"""Table 1 and its ablations: the grids hold what the paper shows, all methods of a seed see one crowd."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib import methods
from lib.protocols import ccc
from lib.results import papers
from lib.runs import ledger
from lib.simulation.ccc import CASES


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
def test_every_column_has_all_methods_on_the_same_crowds(scale):
    grid = [config for config in ccc.table1(scale, [0, 1]) if config.experiment == ccc.SIMULATED]
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
    for scale in ("fast", "paper"):
        ours = {(ccc.TABLE_1[dataset], ccc.paper_case(case)) for dataset, cases in ccc.COLUMNS[scale].items() for case in cases}
        assert ours == columns
    assert set(ccc.COLUMNS["quick"]["fashion_mnist"]) <= set(CASES)


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
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
    for scale in ("fast", "paper"):
        table = {config.key() for config in ccc.table1(scale, [0])}
        shared = [config for config in ccc.figure4(scale, [0]) if config.key() in table]
        assert {ccc.image_name(vars(config)) for config in shared} == {"crowdlayer-mw", "crowdlayer-mw-pair", "ccc"}
        assert {ccc.labels_per_item(vars(config)) for config in shared} == {3}


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
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


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
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


def test_options_are_chosen_on_validation_images_alone():
    def row(valid, test, **options):
        return {"config": {"method_options": options}, "history": {"valid_acc": valid, "test_acc": test}}

    rows = [
        row([0.99] + [0.5] * 5, [0.9], per_class=9, rate=0.1),
        row([0.1] + [0.6] * 5, [0.1], per_class=20),  # a row of the paper's rate need not say so
        row([0.1, 0.7, 0.5, 0.6, 0.6, 0.6], [0.9], per_class=40, rate=0.1),
    ]
    assert ccc.table1_scores(rows) == {(9, 0.1): 0.5, (20, 0.5): 0.6, (40, 0.1): 0.6}
    assert ccc.table1_options(rows) == (20, 0.5)  # the smaller of equals


def test_tuning_has_seeds_of_its_own_and_two_things_varied():
    grid = ccc.table1_tuning("quick")
    assert {config.seed for config in grid} == {ccc.TUNING_SEED}
    assert {config.dataset_options["crowd_seed"] for config in grid} == {ccc.TUNING_SEED}
    found = [(config.method_options["per_class"], config.method_options["rate"]) for config in grid]
    assert found == [(per_class, rate) for per_class in (9, 20, 40) for rate in (0.1, 0.5)]
    assert len({replace(config, method_options={}).key() for config in grid}) == 1
    assert ccc.table1_tuning("paper") == []  # the paper's numbers


def test_the_setting_is_what_tuning_chose():
    rows = [row for row in ledger.reference_rows(ccc.TUNING) if row["config"]["scale"] == "quick"]
    if not rows:
        pytest.skip("the tuning runs are not in the reference ledger")
    using = ccc.setting("fashion_mnist", "quick")
    assert ccc.table1_options(rows) == (ccc.META_ITEMS, ccc.RATE) == (using.per_class, using.rate)


def test_larger_scales_have_the_papers_rate():
    for scale in ("fast", "paper"):
        assert ccc.setting("cifar10", scale).rate == ccc.PAPER_RATE == methods.info("ccc").options["rate"]
