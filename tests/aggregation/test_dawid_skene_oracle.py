"""Votes and Dawid-Skene against crowd-kit, an implementation of other hands on other data structures."""

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene, MajorityVote, OneCoinDawidSkene

from lib.aggregation.dawid_skene import dawid_skene, m_step, majority_vote, soft_vote
from lib.crowd.labels import CrowdLabels
from tests.strategies import simulated

# crowd-kit 1.4 calls pandas in ways that pandas 3 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def dense_crowd() -> CrowdLabels:
    """Every annotator labels every item and uses every class."""
    return simulated(300, 6, [0.9, 0.8, 0.7, 0.6, 0.5, 0.3], 4)[0]


def sparse_crowd() -> CrowdLabels:
    """Two labels an item, half of the annotators with five labels or fewer: most of them never say some of the classes."""
    random = np.random.default_rng(1)
    truth = random.integers(5, size=400)
    weight = random.pareto(1, size=100) + 0.02
    annotator = np.array([random.choice(100, size=2, replace=False, p=weight / weight.sum()) for _ in range(400)]).ravel()
    item = np.repeat(np.arange(400), 2)
    knows = random.random(800) < random.beta(4, 2, size=100)[annotator]
    label = np.where(knows, truth[item], random.integers(5, size=800))
    present = np.unique(annotator, return_inverse=True)[1]  # crowd-kit knows only annotators who said something
    return CrowdLabels(item, present, label, 400, present.max() + 1, 5)


@pytest.fixture(params=[dense_crowd, sparse_crowd], ids=["dense", "sparse"])
def crowd(request) -> CrowdLabels:
    return request.param()


def table(crowd: CrowdLabels) -> pd.DataFrame:
    """crowd-kit's input, with the rows in another order than ours."""
    frame = pd.DataFrame({"task": crowd.item, "worker": crowd.annotator, "label": crowd.label})
    return frame.sample(frac=1, random_state=0, ignore_index=True)


def in_order(frame: pd.DataFrame) -> np.ndarray:
    return frame.sort_index(axis=0).sort_index(axis=1).to_numpy()


def test_votes(crowd):
    np.testing.assert_allclose(soft_vote(crowd), in_order(MajorityVote().fit_predict_proba(table(crowd))), atol=1e-12)
    theirs = MajorityVote().fit_predict(table(crowd)).sort_index().to_numpy()
    counts = np.sort(crowd.counts, axis=1)
    clear = counts[:, -1] > counts[:, -2]  # they break ties by another rule
    assert clear.sum() > 100
    np.testing.assert_array_equal(majority_vote(crowd)[clear], theirs[clear])


@pytest.mark.parametrize("iterations", [1, 10])
def test_dawid_skene(crowd, iterations):
    ours = dawid_skene(crowd, smoothing=0, max_iterations=iterations, tolerance=-np.inf)
    # Their bound counts the prior once a label, so they would stop elsewhere: as many rounds for both.
    theirs = DawidSkene(n_iter=iterations, tol=-np.inf).fit(table(crowd))
    assert len(theirs.loss_history_) == ours.n_iterations == iterations
    np.testing.assert_allclose(ours.posterior, in_order(theirs.probas_), atol=1e-6)

    # They end with an M-step, we with an E-step. Theirs: rows (worker, label said), columns true class.
    confusion = m_step(ours.posterior, crowd, smoothing=0)
    errors = theirs.errors_.sort_index(axis=1)
    worker, said = (errors.index.get_level_values(level).to_numpy() for level in ("worker", "label"))
    np.testing.assert_allclose(confusion[worker, :, said], errors.to_numpy(), atol=1e-6)
    np.testing.assert_allclose(ours.posterior.mean(axis=0), theirs.priors_.sort_index().to_numpy(), atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 10])
def test_one_coin(crowd, iterations):
    ours = dawid_skene(crowd, smoothing=0, model="one coin", max_iterations=iterations, tolerance=-np.inf)
    theirs = OneCoinDawidSkene(n_iter=iterations, tol=-np.inf).fit(table(crowd))
    np.testing.assert_allclose(ours.posterior, in_order(theirs.probas_), atol=1e-6)
    # They end with an M-step, we with an E-step.
    skill = np.bincount(crowd.annotator, ours.posterior[crowd.item, crowd.label]) / crowd.labels_per_annotator
    np.testing.assert_allclose(skill, theirs.skills_.sort_index(), atol=1e-6)


def test_known_classes(crowd):
    known = np.where(np.arange(crowd.n_items) % 5 == 0, np.arange(crowd.n_items) % crowd.n_classes, -1)
    ours = dawid_skene(crowd, smoothing=0, known=known, max_iterations=10, tolerance=-np.inf)
    gold = pd.Series(known, index=range(crowd.n_items))
    theirs = DawidSkene(n_iter=10, tol=-np.inf).fit(table(crowd), gold[gold >= 0])
    np.testing.assert_allclose(ours.posterior, in_order(theirs.probas_), atol=1e-6)


def test_weighted_votes(crowd):
    weights = np.random.default_rng(0).random(crowd.n_annotators)
    theirs = MajorityVote().fit_predict_proba(table(crowd), skills=pd.Series(weights, name="skill").rename_axis("worker"))
    np.testing.assert_allclose(soft_vote(crowd, weights), in_order(theirs), atol=1e-12)
