"""Settings in use are those that the committed trials chose on validation data; no choice looks at a test score."""

import pytest

from lib.protocols import ccc, crowd_layer, geocrowdnet, kd_crowd, overview, real_crowds, selection
from lib.runs import ledger


def of_reviews(rows):
    epochs = crowd_layer.review_budget(rows)
    return epochs, crowd_layer.review_options(rows, epochs)


def of_weights(families):
    def choose(rows):
        wanted = {config.key() for config in families("quick", range(geocrowdnet.TUNING_SEEDS))["weight"]}
        rows = [row for row in rows if row["key"] in wanted]
        assert len(rows) == len(wanted)
        return geocrowdnet.chosen(rows)

    return choose


SETTINGS = {dataset: setting.method_options for dataset, setting in real_crowds.SETTINGS.items()}
PENALTIES = geocrowdnet.PENALTIES
CHOICES = {
    "tuning": (
        real_crowds.chosen,
        {(dataset, name): own[name]["weight"] for dataset, own in SETTINGS.items() for name in real_crowds.WEIGHTS},
    ),
    "tuning_ccc": (ccc.table2_options, {dataset: SETTINGS[dataset]["ccc"] for dataset in ccc.TABLE_2_PER_CLASS}),
    "tuning_ner": (lambda rows: selection.best(crowd_layer.rate_scores(rows)), crowd_layer.ENTITY_QUICK.lr),
    "tuning_kd": (kd_crowd.weights, kd_crowd.TUNED),
    "moviereviews_tuning": (of_reviews, (crowd_layer.RATING_EPOCHS, crowd_layer.RATING_CHOSEN)),
    "machine_annotators": (
        of_weights(geocrowdnet.machine_families),
        {
            (*place, name): weight
            for place, weights in geocrowdnet.MACHINE_WEIGHTS.items()
            for name, weight in zip(PENALTIES, weights, strict=True)
        },
    ),
    "cifar10_hammer": (
        of_weights(geocrowdnet.hammer_families),
        {("cifar10", "gamma 0.01", name): geocrowdnet.HAMMER_WEIGHTS[name] for name in PENALTIES},
    ),
}


@pytest.mark.parametrize("experiment", CHOICES)
def test_the_settings_are_what_validation_chose(experiment):
    choose, in_use = CHOICES[experiment]
    rows = [row for row in ledger.reference_rows(experiment) if row["config"]["scale"] == "quick"]
    for row in rows:  # a choice that looks at a test score finds none
        for part in ("history", "metrics"):
            row[part] = {name: value for name, value in row[part].items() if not name.startswith("test_")}
    assert choose(rows) == in_use


def test_means_over_seeds_decide_and_of_equals_the_smallest():
    trials = [("a", 0.1, 0.9), ("a", 0.1, 0.5), ("a", 0.01, 0.7), ("a", 0.001, 0.65), ("b", 0.01, 0.60001), ("b", 0.1, 0.6)]
    scores = selection.scores(trials)
    assert scores == {"a": {0.001: 0.65, 0.01: 0.7, 0.1: 0.7}, "b": {0.01: 0.60001, 0.1: 0.6}}
    assert [list(tried) for tried in scores.values()] == [[0.001, 0.01, 0.1], [0.01, 0.1]]
    assert [selection.best(tried) for tried in scores.values()] == [0.01, 0.01]
    assert selection.late({"history": {"valid_acc": [9.0, 0.6, 0.8]}}, "valid_acc", 2) == pytest.approx(0.7)


def test_reviews_get_the_epochs_of_the_plain_mean():
    row = {"config": {"method": "ratings-mean", "method_options": {}}, "history": {"valid_rmse": [0.9] * 4 + [0.2] * 16}}
    row["history"]["valid_rmse"][9] = 0.1
    assert crowd_layer.review_budget([row]) == 10
    assert crowd_layer.review_options([row], 10) == {}  # nothing to choose


def test_tuning_sees_no_test_items_of_the_tables():
    """Validation items are the data set's own, or are taken from the training items."""
    for config in (*real_crowds.tuning("quick", [0]), *ccc.table2_tuning("quick"), *overview.trials([0])):
        assert ("validation" in config.dataset_options) == (config.dataset != "labelme")


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
