"""CCC's options are those that the committed tuning runs chose on validation data; pairs are named after their base."""

import pytest

from lib.protocols import ccc, real_crowds
from lib.results.rows import summary
from lib.runs import ledger


def test_the_settings_are_what_tuning_chose():
    rows = [row for row in ledger.reference_rows("tuning_ccc") if row["config"]["scale"] == "quick"]
    in_use = {dataset: real_crowds.SETTINGS[dataset].method_options["ccc"] for dataset in ccc.TABLE_2_PER_CLASS}
    assert ccc.table2_options(rows) == in_use


def test_the_choice_is_by_the_mean_validation_accuracy_of_the_last_epochs():
    def row(groups, per_class, valid, test):
        config = {"dataset": "d", "method_options": {"groups": groups, "per_class": per_class}}
        return {"config": config, "history": {"valid_acc": valid, "test_acc": test}}

    early, late = [0.99] * 5, ccc.JUDGED_EPOCHS
    rows = [
        row(5, 10, early + [0.6] * late, [0.9]),
        row(10, 10, early + [0.7] * late, [0.1]),
        row(10, 10, early + [0.6] * late, [0.1]),
        row(20, 10, early + [0.5, 0.8] * (late // 2), [0.9]),
    ]
    assert ccc.table2_scores(rows) == {"d": {(5, 10): 0.6, (10, 10): 0.65, (20, 10): 0.65}}
    assert ccc.table2_options(rows) == {"d": {"groups": 10, "per_class": 10}}  # the smaller of equals


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_every_baseline_is_there_once_alone_and_once_as_a_pair(scale):
    grid = [config for config in ccc.table2(scale, [0, 1]) if config.experiment != "tuning_ccc"]
    rows = [{"config": vars(config), "metrics": {"test_acc_last": 0.5}} for config in grid]
    table = summary(ccc.named(rows))
    for base in ccc.BASELINES:
        for name in (base, ccc.pair(base)):
            assert list(table.loc[table["method"] == name, "n_seeds"]) == [2] * len(ccc.present())


def test_corrections_begin_within_the_run_at_every_scale():
    for scale in ("smoke", "quick"):
        for config in ccc.table2(scale, [0]):
            if config.method == "ccc":
                assert config.method_options.get("warmup", 10) < config.recipe.epochs


def test_methods_have_as_many_scored_epochs():
    for config in ccc.table2("quick", [0]):
        if config.experiment != "tuning_ccc":
            warmup = 10 if config.method == "ccc" else 0
            assert config.recipe.epochs - warmup == real_crowds.SETTINGS[config.dataset].recipe.epochs
