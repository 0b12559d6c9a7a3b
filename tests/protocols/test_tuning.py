"""The weights in use are those that the committed tuning runs chose on validation data."""

from lib.protocols import overview, real_crowds
from lib.runs import ledger


def test_the_settings_are_what_tuning_chose():
    rows = [row for row in ledger.reference_rows("tuning") if row["config"]["scale"] == "quick"]
    chosen = real_crowds.chosen(rows)
    in_use = {
        (dataset, method): setting.method_options[method]["weight"]
        for dataset, setting in real_crowds.SETTINGS.items()
        for method in real_crowds.WEIGHTS
    }
    assert chosen == in_use


def test_the_choice_is_by_validation_accuracy_alone():
    def row(weight, valid, test):
        config = {"dataset": "d", "method": "m", "method_options": {"weight": weight}}
        return {"config": config, "history": {"valid_acc": [0.99, valid], "test_acc": [0, test]}}

    rows = [row(0.1, 0.6, 0.9), row(0.01, 0.7, 0.1), row(0.01, 0.6, 0.1), row(0.1, 0.6, 0.9), row(0.001, 0.65, 0.2)]
    # 0.01 and 0.001 have the same mean: the smaller one is taken; 0.1 would be best on test
    assert real_crowds.chosen(rows) == {("d", "m"): 0.001}


def test_equal_trials_are_chosen_for_each_seed_by_validation_alone():
    def row(seed, rate, valid, test):
        config = {"dataset": "d", "method": "m", "seed": seed, "recipe": {"lr": rate}}
        return {"config": config, "history": {"valid_acc": [0.99, valid]}, "metrics": {"test_acc_last": test}}

    rows = [row(0, 0.01, 0.7, 0.9), row(0, 0.001, 0.7, 0.1), row(1, 0.001, 0.5, 0.9), row(1, 0.01, 0.6, 0.2)]
    assert overview.nested(rows) == [rows[1], rows[3]]  # of equals the smaller rate; test scores play no part


def test_every_method_has_the_same_trials():
    tried = {}
    for config in overview.trials([0, 1]):
        data = config.dataset, repr(config.dataset_options), config.seed
        tried.setdefault((config.method, *data), []).append(config.recipe.lr)
    assert {tuple(rates) for rates in tried.values()} == {overview.RATES}
    assert {place[0] for place in tried} == set(overview.METHODS)
