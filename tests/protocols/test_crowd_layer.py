"""The movie reviews' settings in use are those that the committed tuning runs chose on validation data."""

from lib.protocols import crowd_layer
from lib.runs import ledger


def test_the_settings_are_what_tuning_chose():
    rows = [row for row in ledger.reference_rows("moviereviews_tuning") if row["config"]["scale"] == "quick"]
    epochs = crowd_layer.review_budget(rows)
    assert (epochs, crowd_layer.review_options(rows, epochs)) == (crowd_layer.RATING_EPOCHS, crowd_layer.RATING_CHOSEN)


def row(method, options, valid):
    config = {"method": method, "method_options": options}
    return {"config": config, "history": {"valid_rmse": [0.9] * 4 + [valid] * 16, "test_rmse": [0.0] * 20}}


def test_the_choice_is_by_validation_error_alone():
    rows = [row("ratings-mean", {}, 0.2)]
    rows[0]["history"]["valid_rmse"][9] = 0.1
    errors = {0.5: (0.3, 0.1), 2.0: (0.1, 0.2), 8.0: (0.2, 0.2)}  # the mean over two splits decides
    rows += [row("ratings-em", {"prior": prior}, error) for prior, both in errors.items() for error in both]
    for layer in crowd_layer.RATING_LAYERS:  # equal to four digits: the first
        rows += [row(layer, options, 0.2 - 1e-6 * i) for i, options in enumerate(crowd_layer.RATING_OPTIONS[layer])]
    assert crowd_layer.review_budget(rows) == 10
    assert crowd_layer.review_options(rows, 10) == {"ratings-em": {"prior": 2.0}} | {
        m: crowd_layer.RATING_OPTIONS[m][0] for m in crowd_layer.RATING_LAYERS
    }
