"""Table 1 and its ablations: the grids hold what the paper shows, all methods of a seed see one crowd."""

from __future__ import annotations

import pytest

from lib import report
from lib.experiments import ccc_ablations, ccc_cifar10n, ccc_images, ccc_table1
from lib.simulators.reconstructed import CASES


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
def test_every_column_has_all_methods_on_the_same_crowds(scale):
    grid = ccc_table1.grid(scale, [0, 1])
    for dataset, cases in ccc_table1.COLUMNS[scale].items():
        for case in cases:
            column = [config for config in grid if (config.dataset, config.case) == (dataset, case)]
            names = [ccc_images.name(vars(config)) for config in column]
            for name in (*ccc_table1.METHODS, "crowdlayer-mw-pair"):
                assert names.count(name) == 2
            for seed in (0, 1):
                crowds = [config.dataset_options for config in column if config.seed == seed]
                assert all(crowd == crowds[0] for crowd in crowds)
                assert (crowds[0]["crowd"], crowds[0]["crowd_seed"]) == (case, seed)
                assert crowds[0]["crowd_options"]["partner"] == dataset


def test_the_whole_table_is_there_at_the_larger_scales():
    theirs = report.paper("CCC", result_id="Table 1")
    columns = {(dataset, case) for dataset, case in zip(theirs["dataset"], theirs["case"], strict=True)}
    for scale in ("fast", "paper"):
        ours = {
            (ccc_table1.TABLE_1[dataset], ccc_table1.paper_case(case))
            for dataset, cases in ccc_table1.COLUMNS[scale].items()
            for case in cases
        }
        assert ours == columns
    assert set(ccc_table1.FEW["fashion_mnist"]) <= set(CASES)


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
def test_all_methods_have_as_many_epochs_and_the_warm_up_is_among_them(scale):
    for config in ccc_table1.grid(scale, [0]):
        using = ccc_images.setting(config.dataset, scale)
        assert config.recipe == using.recipe
        if config.method == "ccc":
            assert 0 < config.method_options["warmup"] < config.recipe.epochs


def test_the_papers_recipe():
    recipe = ccc_images.setting("cifar10", "paper").recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.milestones) == (60, 128, 0.01, (40,))
    assert (recipe.momentum, recipe.weight_decay, recipe.gamma) == (0.9, 5e-4, 0.1)


def test_the_ablations_share_their_base_point_with_the_table():
    for scale in ("fast", "paper"):
        table = {config.key() for config in ccc_table1.grid(scale, [0])}
        shared = [config for config in ccc_ablations.grid(scale, [0]) if config.key() in table]
        assert {ccc_images.name(vars(config)) for config in shared} == {"crowdlayer-mw", "crowdlayer-mw-pair", "ccc"}
        assert {ccc_ablations.labels_per_item(vars(config)) for config in shared} == {3}


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
def test_ablations_vary_one_thing(scale):
    families = ccc_ablations.families(scale, [0])
    by_labels = [c for c in families["labels"] if c.method == "ccc"]
    assert [ccc_ablations.labels_per_item(vars(c)) for c in by_labels] == list(ccc_ablations.LABELS)
    assert len({c.method_options["groups"] for c in by_labels}) == 1
    groups = [c.method_options["groups"] for c in families["groups"]]
    assert groups == list(ccc_ablations.GROUPS[scale])
    assert by_labels[0].method_options["groups"] in groups
    annotators = {c.dataset_options["crowd_options"]["n_annotators"] for c in families["groups"]}
    assert annotators == {groups[-1]}  # the largest number is one group an annotator
    assert {ccc_ablations.labels_per_item(vars(c)) for c in families["groups"]} == {3}


def test_unknown_image_data_set_is_named():
    with pytest.raises(ValueError, match="unknown image data set 'cifar'; did you mean 'cifar10'"):
        ccc_images.setting("cifar", "quick")


def test_names_of_pairs():
    config = {"method": "ensemble", "method_options": {"base": "conal"}}
    rows = [{"config": config}, None, {"config": {"method": "ccc", "method_options": {}}}]
    assert [row["config"]["method"] for row in ccc_images.named(rows)] == ["conal-pair", "ccc"]


@pytest.mark.parametrize("scale", ["smoke", "quick", "fast", "paper"])
def test_cifar10n_has_the_papers_methods_and_the_controls(scale):
    grid = ccc_cifar10n.grid(scale, [0, 1])
    names = [(ccc_images.name(vars(config)), config.case) for config in grid]
    wanted = {(name, "real") for name in [*ccc_table1.METHODS, "true-labels", "crowdlayer-mw-pair"]}
    wanted |= {(name, ccc_cifar10n.ANONYMOUS) for name in ("crowdlayer-mw", "ccc")}
    assert wanted <= set(names)
    assert {names.count(place) for place in names} == {2}
    anonymous = [config for config in grid if config.case == ccc_cifar10n.ANONYMOUS]
    assert {config.dataset_options["variant"] for config in anonymous} == {"places"}
    assert max(config.method_options.get("groups", 0) for config in anonymous) == 3  # as many as annotators
    assert {config.recipe for config in grid} == {ccc_images.setting("cifar10n", scale).recipe}  # as many epochs for all
