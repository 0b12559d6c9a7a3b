"""Methods that predict a rating: slow loops, gradients, and what is fixed (what holds for every method: test_every_method)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from lib import methods
from lib.aggregation import ratings
from lib.crowd.labels import CrowdRatings
from lib.datasets.batches import TrainingData
from lib.training import scoring
from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests import worked_example
from tests.worked_example import ANNOTATORS, ITEMS, SILENT, batch_of, check_gradients, in_float64, scramble, toy_ratings

RECIPE = Recipe(epochs=4, batch_size=16, lr=0.01)
every_method = pytest.mark.parametrize("name", methods.names("regression"))
LAYERS = ["crowdlayer-s", "crowdlayer-b", "crowdlayer-sb"]
DATA = toy_ratings()


def build(name, data=DATA, **options):
    return worked_example.make(name, data, "linear", **options)


def double(name, **options):
    """In float64."""
    with in_float64():
        return build(name, **options)


def fitted(name, data=DATA, recipe=RECIPE, **options):
    method = build(name, data, **options)
    return method, fit(method, data, recipe).history


WHOLE = batch_of(DATA.crowd, DATA.x.double())


# ------------------------------------------------------------------ every method


@every_method
def test_predicts_and_is_scored_by_numbers(name):
    method, history = fitted(name)
    assert set(history) == {"loss"} | {f"test_{score}" for score in ("mae", "rmse", "r2", "pearson", "shift")}
    assert method.predict(DATA.x).shape == (ITEMS,)
    summary = scoring.summary(method, DATA, history)
    assert all(np.isfinite(value) for value in summary.values())
    assert summary["test_r2_last"] == history["test_r2"][-1]
    with pytest.raises(TypeError, match="predicts ratings, not classes"):
        method.predict_proba(DATA.x)


@every_method
def test_learns_what_can_be_learned(name):
    history = fitted(name, recipe=replace(RECIPE, epochs=100, lr=0.03), **({"annotator_lr": 3.0} if name in LAYERS else {}))[1]
    # Scales alone cannot hold the biases. Nothing tells how harsh the crowd is as a whole, which costs R squared.
    assert history["test_pearson"][-1] > 0.95
    assert history["loss"][-1] < history["loss"][0]


@every_method
def test_batch_of_one_and_gradients(name):
    method = scramble(double(name))
    check_gradients(method, WHOLE)
    check_gradients(method, batch_of(DATA.crowd, DATA.x.double(), items=[4]))


@every_method
def test_units_do_not_matter(name):
    """Ratings in percent: the same training, predictions a hundred times as large."""
    crowd = DATA.crowd
    percent = CrowdRatings(crowd.item, crowd.annotator, 100 * crowd.value, ITEMS, ANNOTATORS)
    other = replace(DATA, crowd=percent, y=100 * DATA.y, y_test=100 * DATA.y_test)
    (method, history), (scaled, repeated) = fitted(name), fitted(name, other)
    assert_allclose(repeated["loss"], history["loss"], rtol=1e-3)
    assert_allclose(repeated["test_r2"], history["test_r2"], rtol=1e-2, atol=1e-3)
    assert_close(scaled.predict(DATA.x), 100 * method.predict(DATA.x), rtol=1e-2, atol=0.5)


def test_center_and_scale_can_be_told():
    method = build("ratings-mean", center=1.0, scale=4.0)
    assert method.standardized(9.0) == 2.0
    assert_close(method.predict(DATA.x), 1 + 4 * method.output(DATA.x))
    assert build("ratings-mean").center == pytest.approx(DATA.crowd.value.mean())
    same = CrowdRatings([0, 1], [0, 0], [0.5, 0.5], ITEMS, ANNOTATORS)
    assert build("ratings-mean", replace(DATA, crowd=same)).scale == 1


# ------------------------------------------------------------------ fixed targets


def test_mean_and_truth_slowly():
    crowd, terms = DATA.crowd, {"ratings-mean": [], "true-ratings": []}
    method = double("ratings-mean")
    f = method.output(DATA.x.double()).tolist()
    for item in range(ITEMS):
        said = [v for i, v in zip(crowd.item, crowd.value, strict=True) if i == item]
        for name, target in (("ratings-mean", sum(said) / len(said)), ("true-ratings", DATA.y[item].item())):
            terms[name].append((f[item] - (target - crowd.value.mean()) / crowd.value.std()) ** 2)
    for name, squares in terms.items():
        assert double(name).loss(WHOLE).item() == pytest.approx(sum(squares) / ITEMS, abs=1e-12)


# ------------------------------------------------------------------ EM


def test_em_rounds_slowly():
    """The first epoch trains on the means; then an E-step around the network's predictions begins each."""
    method, crowd = double("ratings-em", prior=1.0), DATA.crowd
    data = TrainingData(DATA, torch.device("cpu"))
    method.float()
    method.begin_epoch(0, data)
    assert_allclose(method.target.numpy(), ratings.mean_rating(crowd), rtol=1e-6)
    prediction = method.predict(DATA.x).detach().double().numpy()
    mean = method.target.double().numpy()
    believed = ratings.m_step(prediction, mean, np.zeros(ITEMS), crowd, 1.0)
    for epoch in (1, 2):
        method.begin_epoch(epoch, data)
        if epoch == 2:
            believed = ratings.m_step(prediction, *ratings.e_step(prediction, believed, crowd), crowd, 1.0)
        assert_allclose(method.target.numpy(), ratings.e_step(prediction, believed, crowd)[0], rtol=1e-5)
    assert_allclose(method.bias().numpy(), believed.bias, rtol=1e-5)
    assert method.bias()[SILENT] == 0


def test_em_weighs_by_precision():
    """One annotator says the truth, two say anything. (What is left is the constant: how far the three are off together.)"""
    random = np.random.default_rng(0)
    values = DATA.y.numpy()[:, None] + np.array([0.01, 2.0, 2.0]) * random.normal(size=(ITEMS, 3))
    data = replace(DATA, crowd=CrowdRatings.from_dense(values))
    method, history = fitted("ratings-em", data, recipe=replace(RECIPE, epochs=30, lr=0.03))
    assert scoring.summary(method, data, history)["label_r2"] > 0.9
    mean, history = fitted("ratings-mean", data)
    assert scoring.summary(mean, data, history)["label_r2"] < 0.5


# ------------------------------------------------------------------ crowd layer


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layer_slowly(name, free):
    method = scramble(double(name, free=free, prior=3.0))
    crowd = DATA.crowd
    f = method.output(DATA.x.double()).tolist()
    n = crowd.labels_per_annotator
    scale, bias = [1.0] * ANNOTATORS, [0.0] * ANNOTATORS
    if "s" in name.split("-")[1]:
        raw = method.raw_scale.tolist()
        common = 0.0 if free else sum(n[r] * raw[r] for r in range(ANNOTATORS)) / len(crowd) - 1
        scale = [value - common for value in raw]
    if "b" in name.split("-")[1]:
        raw = method.raw_bias.tolist()
        common = 0.0 if free else sum(n[r] * raw[r] for r in range(ANNOTATORS)) / len(crowd)
        bias = [value - common for value in raw]
    total = 0.0
    for i, r, value in zip(crowd.item, crowd.annotator, crowd.value, strict=True):
        total += (scale[r] * f[i] + bias[r] - (value - crowd.value.mean()) / crowd.value.std()) ** 2
    prior = 3 * (sum((s - 1) ** 2 for s in scale) + sum(b**2 for b in bias)) / len(crowd)
    assert method.loss(WHOLE).item() == pytest.approx(total / len(crowd) + prior, abs=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_constant_and_factor_cannot_move(name):
    method = fitted(name, annotator_lr=10.0)[0]
    share = torch.as_tensor(ratings.weights(DATA.crowd)).float()
    for line, mean in zip(method.lines(), (1.0, 0.0), strict=True):
        if line is not None:
            assert (share @ line).item() == pytest.approx(mean, abs=1e-5)
            assert (line - line[SILENT]).abs().max() > 0.05  # though each has learned
    assert method.annotator_rate == 10.0
    free = fitted(name, free=True, annotator_lr=10.0)[0]
    moved = [abs((share @ line).item() - mean) for line, mean in zip(free.lines(), (1.0, 0.0), strict=True) if line is not None]
    assert max(moved) > 1e-3


@pytest.mark.parametrize("name", ["crowdlayer-b", "crowdlayer-sb"])
def test_biases_are_found(name):
    recipe = replace(RECIPE, epochs=150, lr=0.02)
    method, history = fitted(name, recipe=recipe, annotator_lr=3.0)
    known = ratings.centered(np.nan_to_num(ratings.true_bias(DATA.crowd, DATA.y.double().numpy())), DATA.crowd)
    found = method.bias().numpy()
    rated = DATA.crowd.labels_per_annotator > 0
    assert np.corrcoef(found[rated], known[rated])[0, 1] > 0.97
    assert scoring.summary(method, DATA, history)["bias_error"] < 0.3
