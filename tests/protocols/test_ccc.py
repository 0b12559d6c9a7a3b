"""CCC's grids hold what the paper shows, and all methods of a seed see one crowd."""

from itertools import product

import pytest

from lib import methods, protocols
from lib.datasets import cifar10
from lib.protocols import ccc, real_crowds
from lib.results import papers
from lib.results.rows import summary

every_scale = pytest.mark.parametrize("scale", protocols.SCALES)


def names_of(configs) -> list[str]:
    return [row["config"]["method"] for row in ccc.named({"config": vars(config)} for config in configs)]


@every_scale
def test_every_column_has_all_methods_on_the_same_crowds(scale):
    grid = ccc.table1(scale, [0, 1])
    for dataset, cases in ccc.COLUMNS[scale].items():
        using = ccc.setting(dataset, scale)
        for case, seed in product(cases, (0, 1)):
            column = [config for config in grid if (config.dataset, config.case, config.seed) == (dataset, case, seed)]
            names = names_of(column)
            assert {*ccc.TABLE_1_METHODS, "crowdlayer-mw-pair"} <= set(names)
            assert len(set(names)) == len(names)
            crowd = column[0].dataset_options
            assert all(config.dataset_options == crowd for config in column)
            assert (crowd["crowd"], crowd["crowd_seed"], crowd["crowd_options"]["partner"]) == (case, seed, dataset)
            assert {config.recipe for config in column} == {using.recipe}  # as many epochs for all
            (corrected,) = (config for config in column if config.method == "ccc" and "coupled" not in config.method_options)
            assert 0 < corrected.method_options["warmup"] < using.recipe.epochs


def test_the_whole_table_is_there_at_the_larger_scales():
    theirs = papers.paper("CCC", result_id="Table 1")
    columns = {(dataset, case) for dataset, case in zip(theirs["dataset"], theirs["case"], strict=True)}
    for scale in ("overnight", "fast", "paper"):
        ours = {(ccc.TABLE_1[dataset], ccc.paper_case(case)) for dataset, cases in ccc.COLUMNS[scale].items() for case in cases}
        assert ours == columns


def test_the_papers_recipe():
    recipe = ccc.setting("cifar10", "paper").recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == (60, 128, 0.01, (40,))
    assert (recipe.momentum, recipe.weight_decay, recipe.gamma) == (0.9, 5e-4, 0.1)
    assert methods.info("ccc").options["rate"] == 0.5  # the released one, which no setting changes


def test_every_scale_has_the_same_share_of_warm_up():
    for scale in ("quick", "overnight", "fast", "paper"):
        for using in ccc.SETTINGS[scale].values():
            assert using.recipe.epochs == 6 * using.warmup


def test_unknown_image_data_set_is_named():
    with pytest.raises(ValueError, match="unknown image data set 'cifar'; did you mean 'cifar10'"):
        ccc.setting("cifar", "quick")


# ------------------------------------------------------------------ 34


def test_the_ablations_share_their_base_point_with_the_table():
    for scale in ("overnight", "fast", "paper"):
        table = {config.key() for config in ccc.table1(scale, [0])}
        shared = [config for config in protocols.grid("ccc_ablations", scale, [0]) if config.key() in table]
        assert set(names_of(shared)) == {"crowdlayer-mw", "crowdlayer-mw-pair", "ccc"}
        assert {ccc.labels_per_item(vars(config)) for config in shared} == {3}


@every_scale
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


def test_rows_are_named_by_what_is_varied():
    grid = protocols.grid("ccc_ablations", "quick", [0])
    rows = [{"key": config.key(), "config": vars(config)} for config in grid]
    found = ccc.varied([None, *rows[1:]], "quick", [0])
    cases = [row["config"]["case"] for row in found if row["config"]["method"] == "ccc"]
    wanted = [f"rec-IND-I labels={n}" for n in (1, 3, 5, 7, 9)] + [f"rec-IND-I groups={n}" for n in (1, 6, 20, 50)]
    assert cases == wanted
    alone = [row["config"]["x"] for row in found if row["config"]["method"] == "crowdlayer-mw"]
    assert alone == [3, 5, 7, 9]  # one is not there
    assert len(found) == len(grid)  # without that one, and with the base point twice


# ------------------------------------------------------------------ 33 and 35


@every_scale
def test_cifar10n_has_the_papers_methods_and_the_controls(scale):
    grid = ccc.cifar10n(scale, [0, 1])
    names = list(zip(names_of(grid), (config.case for config in grid), strict=True))
    wanted = {(name, "real") for name in [*ccc.TABLE_1_METHODS, "true-labels", "crowdlayer-mw-pair"]}
    wanted |= {(name, ccc.ANONYMOUS) for name in ("crowdlayer-mw", "ccc")} | {("crowdlayer-mw", ccc.DEALT)}
    assert wanted <= set(names)
    assert {names.count(place) for place in names} == {2}
    anonymous = [config for config in grid if config.case == ccc.ANONYMOUS]
    assert {config.dataset_options["variant"] for config in anonymous} == {"places"}
    assert max(config.method_options.get("groups", 0) for config in anonymous) == 3  # as many as annotators
    assert {config.recipe for config in grid} == {ccc.setting("cifar10n", scale).recipe}  # as many epochs for all


def test_no_number_comes_from_jpeg_copies():
    for name, scale in product(("ccc_table1", "ccc_ablations", "ccc_cifar10n"), ("smoke", "quick", "overnight")):
        for config in protocols.grid(name, scale, [0]):
            assert config.dataset == "fashion_mnist" or config.dataset_options["test"] == cifar10.HELD_OUT
            assert config.recipe.precision == ("mixed" if scale == "overnight" else "float32")


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_table_2_has_every_baseline_alone_and_as_a_pair_with_as_many_scored_epochs(scale):
    grid = [config for config in ccc.table2(scale, [0, 1]) if config.experiment != "tuning_ccc"]
    table = summary(ccc.named({"config": vars(config), "metrics": {"test_acc_last": 0.5}} for config in grid))
    for name in ("ccc", "ccc-head", *ccc.BASELINES, *map(ccc.pair, ccc.BASELINES)):
        assert list(table.loc[table["method"] == name, "n_seeds"]) == [2] * len(ccc.TABLE_2)
    for config in grid:
        warmup = config.method_options.get("warmup", 10) if config.method == "ccc" else 0
        assert warmup < config.recipe.epochs
        if scale == "quick":
            assert config.recipe.epochs - warmup == real_crowds.SETTINGS[config.dataset].recipe.epochs
