"""CCC's options are those that the committed tuning runs chose on validation data; pairs are named after their base."""

import pytest

from lib import ledger, report
from lib.experiments import ccc_images, ccc_table2, real


def test_the_settings_are_what_tuning_chose():
    rows = [row for row in ledger.reference_rows("tuning_ccc") if row["config"]["scale"] == "quick"]
    in_use = {dataset: real.SETTINGS[dataset].method_options["ccc"] for dataset in ccc_table2.TUNED}
    assert ccc_table2.chosen(rows) == in_use


def test_the_choice_is_by_the_mean_validation_accuracy_of_the_last_epochs():
    def row(groups, per_class, valid, test):
        config = {"dataset": "d", "method_options": {"groups": groups, "per_class": per_class}}
        return {"config": config, "history": {"valid_acc": valid, "test_acc": test}}

    early, late = [0.99] * 5, ccc_table2.JUDGED_EPOCHS
    rows = [
        row(5, 10, early + [0.6] * late, [0.9]),
        row(10, 10, early + [0.7] * late, [0.1]),
        row(10, 10, early + [0.6] * late, [0.1]),
        row(20, 10, early + [0.5, 0.8] * (late // 2), [0.9]),
    ]
    assert ccc_table2.tuned(rows) == {"d": {(5, 10): 0.6, (10, 10): 0.65, (20, 10): 0.65}}
    assert ccc_table2.chosen(rows) == {"d": {"groups": 10, "per_class": 10}}  # the smaller of equals


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_every_baseline_is_there_once_alone_and_once_as_a_pair(scale):
    grid = [config for config in ccc_table2.grid(scale, [0, 1]) if config.experiment in ccc_table2.present()]
    rows = [{"config": vars(config), "metrics": {"test_acc_last": 0.5}} for config in grid]
    table = report.summary(ccc_table2.named(rows))
    for base in ccc_table2.BASELINES:
        for name in (base, ccc_table2.pair(base)):
            assert list(table.loc[table["method"] == name, "n_seeds"]) == [2] * len(ccc_table2.present())


def test_corrections_begin_within_the_run_at_every_scale():
    for scale in ("smoke", "quick"):
        for config in ccc_table2.grid(scale, [0]):
            if config.method == "ccc":
                assert config.method_options.get("warmup", 10) < config.recipe.epochs


def test_methods_have_as_many_scored_epochs():
    for config in ccc_table2.grid("quick", [0]):
        if config.experiment in ccc_table2.present():
            warmup = 10 if config.method == "ccc" else 0
            assert config.recipe.epochs - warmup == real.SETTINGS[config.dataset].recipe.epochs


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
def test_images_have_the_papers_methods_and_the_controls(scale):
    grid = ccc_table2.image_grid(scale, range(5))
    seeds = 3 if scale == "quick" else 5
    names = [(ccc_images.name(vars(config)), config.case) for config in grid]
    wanted = {(name, "real") for name in [*ccc_table2.BASELINES, "ccc", "true-labels", "crowdlayer-mw-pair"]}
    assert {names.count(pair) for pair in wanted} == {seeds}
    anonymous = [config for config in grid if config.case == ccc_table2.ANONYMOUS]
    assert {config.dataset_options["variant"] for config in anonymous} == {"places"}
    assert {config.recipe for config in grid} == {ccc_images.setting("cifar10n", scale).recipe}  # as many epochs for all
    assert max(config.method_options.get("groups", 0) for config in anonymous) == 3
