"""Ensembles: each member trains as it would alone, and the whole is the mean of its parts."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from lib.training.loop import fit
from lib.training.recipe import Recipe
from tests import worked_example
from tests.worked_example import CROWD, build, random_example, scramble, small_dataset

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.01)


# Without dropout, whose masks a member would draw in another order than alone.
make = partial(worked_example.make, sizes={"width": 8, "dropout": 0.0})


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, optimizer="sgd", weight_decay=0.01, schedule="onecycle")])
@pytest.mark.parametrize("base", ["dl-em", "geocrowdnet-w"])
def test_a_member_trains_as_it_would_alone(base, recipe):
    data = small_dataset()
    alone, ensemble = make(base, data), make("ensemble", data, base=base)
    history = fit(alone, data, recipe).history
    together = fit(ensemble, data, recipe).history
    for mine, other in zip(ensemble.members[0].parameters(), alone.parameters(), strict=True):
        assert torch.equal(mine, other)
    second = fit(make("ensemble", data, base=base).members[1], data, recipe).history
    expected = [sum(losses) / 2 for losses in zip(history["loss"], second["loss"], strict=True)]
    assert together["loss"] == pytest.approx(expected, rel=1e-6)
    assert history["loss"] != second["loss"]


def test_means():
    example = random_example()
    ensemble = scramble(build("ensemble", example.crowd))
    assert len(ensemble.members) == 2
    for whole, part in (
        (ensemble.loss(example.batch), lambda member: member.loss(example.batch)),
        (ensemble.predict_proba(example.logits), lambda member: torch.softmax(member.backbone(example.logits), dim=1)),
        (ensemble.confusion(), lambda member: torch.softmax(member.weight, dim=2)),
    ):
        parts = [part(member).detach() for member in ensemble.members]
        assert_close(whole.detach(), sum(parts) / 2)
        assert not torch.allclose(parts[0], parts[1])
    assert ensemble.posterior() is None


def test_posterior_and_missing_matrices():
    data = small_dataset()
    ensemble = make("ensemble", data, base="dl-em")
    fit(ensemble, data, RECIPE)
    assert_close(ensemble.posterior(), (ensemble.members[0].posterior() + ensemble.members[1].posterior()) / 2)
    assert make("ensemble", data, base="majority-vote").confusion() is None


def test_options_reach_the_base():
    ensemble = build("ensemble", CROWD, base="geocrowdnet-f", base_options={"weight": 0.25})
    assert [member.weight for member in ensemble.members] == [0.25, 0.25]
    assert [group["weight_decay"] for group in ensemble.parameter_groups(0.1, 0.5)] == [0.5, 0.0] * 2
    assert build("ensemble", CROWD, base="ccc", base_options={"warmup": 4}).warmup_epochs == 4


def test_scores_are_means(monkeypatch):
    ensemble = build("ensemble", CROWD)
    values = iter([{"a": 1.0}, {"a": 2.0}])
    monkeypatch.setattr(type(ensemble.members[0]), "scores", lambda self, data: next(values))
    assert ensemble.scores(None) == {"a": 1.5}
