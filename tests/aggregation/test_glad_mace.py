"""GLAD and MACE against crowd-kit, and against slow references written from the formulas."""

import math

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import GLAD, MACE
from scipy.optimize import approx_fprime

from lib.aggregation import em_steps
from lib.aggregation import glad as glad_module
from lib.aggregation.dawid_skene import e_step
from lib.aggregation.glad import _negative_q, glad
from lib.aggregation.mace import _fit, mace
from lib.crowd.labels import CrowdLabels
from tests.strategies import simulated

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def toy_crowd(seed: int = 0, n_classes: int = 3) -> tuple[CrowdLabels, np.ndarray]:
    """Good, middling and guessing annotators, nine in all; three labels an item."""
    return simulated(120, 3, np.repeat([0.93, 0.73, 1 / n_classes], 3), n_classes, seed)


def table(crowd: CrowdLabels) -> pd.DataFrame:
    return pd.DataFrame({"task": crowd.item, "worker": crowd.annotator, "label": crowd.label})


def slow_q(ability, log_easiness, posterior, crowd) -> float:
    """Whitehill et al.'s auxiliary function, label by label and class by class."""
    q = 0.0
    for i, r, k in zip(crowd.item, crowd.annotator, crowd.label, strict=True):
        sigma = 1 / (1 + math.exp(-ability[r] * math.exp(log_easiness[i])))
        for j in range(crowd.n_classes):
            q += posterior[i, j] * math.log(sigma if j == k else (1 - sigma) / (crowd.n_classes - 1))
    return q - 0.5 * sum((a - 1) ** 2 for a in ability) - 0.5 * sum((b - 1) ** 2 for b in log_easiness)


def test_q_and_its_gradient_are_those_of_the_formula():
    crowd, _ = toy_crowd()
    random = np.random.default_rng(1)
    posterior = random.dirichlet(np.ones(3), size=crowd.n_items)
    point = random.normal(size=crowd.n_annotators + crowd.n_items)
    right = posterior[crowd.item, crowd.label]
    value, gradient = _negative_q(point, right, crowd)
    assert value == pytest.approx(-slow_q(point[:9], point[9:], posterior, crowd), rel=1e-12)
    numeric = approx_fprime(point, lambda at: _negative_q(at, right, crowd)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-4)


def test_blocks_of_labels_change_nothing(monkeypatch):
    crowd, _ = toy_crowd()
    # Items without labels at the end of blocks, and at both ends.
    item = crowd.item + 1 + (crowd.item > 40)
    crowd = CrowdLabels(item, crowd.annotator, crowd.label, crowd.n_items + 4, 9, 3)
    point = np.random.default_rng(1).normal(size=9 + crowd.n_items)
    right = np.random.default_rng(2).random(len(crowd))
    expected = _negative_q(point, right, crowd)
    posterior = glad(crowd, max_iterations=3).posterior
    for labels in (1, 7):
        monkeypatch.setattr(glad_module, "BLOCK", labels)
        value, gradient = _negative_q(point, right, crowd)
        assert value == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(glad(crowd, max_iterations=3).posterior, posterior, atol=1e-6)
    # What the labels say of everything far away from zero is said without overflow.
    value, gradient = _negative_q(np.where(np.arange(len(point)) < 9, 1000, 1) * point, right, crowd)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_crowd_kit_has_nothing_to_improve_where_glad_converged(n_classes):
    # Its own fit is no oracle: it compares a first Q that is a sum with later ones that are means, and stops early.
    crowd, _ = toy_crowd(n_classes=n_classes)
    ours = glad(crowd, max_iterations=300, tolerance=1e-10, m_steps=200)
    assert ours.converged
    peer, data = GLAD(silent=True), table(crowd)
    peer._init(data)
    peer.alphas_ = pd.Series(ours.ability, index=range(crowd.n_annotators))
    peer.betas_ = pd.Series(np.log(ours.easiness), index=range(crowd.n_items))
    joined = peer._e_step(peer._join_all(data, peer.alphas_, peer.betas_, peer.priors_))
    np.testing.assert_allclose(ours.posterior, peer.probas_.sort_index(axis=0).sort_index(axis=1), atol=1e-9)
    for gradient in peer._gradient_Q(joined):
        np.testing.assert_allclose(gradient, 0, atol=1e-3)
    kept = glad(crowd, max_iterations=0)
    np.testing.assert_array_equal(np.log(kept.easiness), 1)  # the means of the priors
    np.testing.assert_array_equal(kept.ability, 1)
    assert (kept.n_iterations, kept.converged) == (0, False)


def test_mace_agrees_with_crowd_kit_from_the_same_start():
    crowd, _ = toy_crowd()
    peer = MACE(n_restarts=1, n_iter=20, random_state=0)
    started = {}
    initialize = peer._initialize

    def remember(*sizes):
        initialize(*sizes)
        started.update(spamming=peer.spamming_.copy(), thetas=peer.thetas_.copy())

    peer._initialize = remember
    # crowd-kit numbers annotators and classes by first occurrence, and its tables of counts by sorted order: the first
    # rows must bring both in order, or its strategies get mixed up.
    rows = table(crowd)
    first = pd.DataFrame({"task": range(1000, 1009), "worker": range(9), "label": [0, 1, 2] * 3})
    rows = pd.concat([first, rows], ignore_index=True)
    peer.fit(rows)
    whole = CrowdLabels.from_frame(rows, item="task", annotator="worker", label="label")
    ours, _ = _fit(started["spamming"], started["thetas"], whole, 20, 10.0)
    np.testing.assert_allclose(ours.competence, peer.spamming_[:, 1] / peer.spamming_.sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(ours.strategy, peer.thetas_ / peer.thetas_.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(ours.posterior, peer.probas_.sort_index().sort_index(axis=1), atol=1e-6)


def test_both_tell_good_annotators_from_guessers_and_beat_the_vote():
    crowd, truth = toy_crowd(seed=3)
    vote = (crowd.counts.argmax(axis=1) == truth).mean()
    by_ability, by_competence = glad(crowd).ability, mace(crowd).competence
    assert by_ability[:3].min() > by_ability[6:].max()
    assert by_competence[:3].min() > by_competence[6:].max()
    for posterior in (glad(crowd).posterior, mace(crowd).posterior):
        assert (posterior.argmax(axis=1) == truth).mean() >= vote


@pytest.mark.parametrize("aggregate", [glad, mace])
def test_permuting_annotators_changes_nothing_and_unlabeled_ones_stay_out(aggregate):
    crowd, _ = toy_crowd()
    # An item and an annotator without labels.
    larger = CrowdLabels(crowd.item, crowd.annotator, crowd.label, crowd.n_items + 1, 10, 3)
    found = aggregate(larger)
    assert np.isfinite(found.posterior).all()
    np.testing.assert_allclose(found.posterior[-1], 1 / 3)
    if aggregate is glad:  # the starts of MACE are random, one for each annotator
        np.testing.assert_allclose(found.posterior[:-1], glad(crowd).posterior, atol=1e-4)
        order = np.random.default_rng(0).permutation(9)
        permuted = CrowdLabels(crowd.item, order[crowd.annotator], crowd.label, crowd.n_items, 9, 3)
        np.testing.assert_allclose(glad(permuted).posterior, glad(crowd).posterior, atol=1e-4)


def test_likelihood_of_mace_is_that_of_its_matrices():
    crowd, _ = toy_crowd()
    fitted = mace(crowd)
    _, expected = e_step(np.full(3, -np.log(3)), fitted.confusion, crowd)
    assert fitted.log_likelihood == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(fitted.confusion.sum(axis=2), 1)
    np.testing.assert_array_equal(fitted.posterior, mace(crowd, seed=0).posterior)


def test_mace_needs_no_matrices(monkeypatch):
    monkeypatch.setattr(em_steps, "_memory", lambda: 0)
    fitted = mace(toy_crowd()[0], iterations=1, restarts=1)
    with pytest.raises(MemoryError, match="9 annotators and 3 classes take 648 bytes"):
        _ = fitted.confusion


def test_bad_settings_are_named():
    crowd, _ = toy_crowd()
    with pytest.raises(ValueError, match="at least 2 classes, found 1"):
        glad(CrowdLabels([0], [0], [0], 1, 1, 1))
    with pytest.raises(ValueError, match="max_iterations must be finite and at least 0, found -1"):
        glad(crowd, max_iterations=-1)
    with pytest.raises(ValueError, match="restarts must be finite and at least 1, found 0"):
        mace(crowd, restarts=0)
    with pytest.raises(ValueError, match="strategy_prior must be above 0"):
        mace(crowd, strategy_prior=0)
