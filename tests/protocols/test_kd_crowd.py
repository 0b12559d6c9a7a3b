"""KD-Crowd's grids: pairs that differ in KD-Crowd alone, rows shared with other notebooks, and weights from held-out labels."""

from dataclasses import replace

import numpy as np
import pytest

from lib import datasets, protocols
from lib.aggregation.confusion import confusion_error
from lib.protocols import ccc, kd_crowd, overview
from lib.results.rows import summary


def as_rows(configs):
    return [{"config": vars(config), "metrics": {"test_acc_last": 0.5}} for config in configs]


def without_kd(config):
    options = config.method_options
    return replace(config, method=options["base"], method_options=options.get("base_options", {}))


# ------------------------------------------------------------------ 40


def test_every_guided_run_has_its_base_run():
    grid = [config for config in kd_crowd.lift("quick", [0, 1]) if config.experiment != "tuning_kd"]
    keys = {config.key() for config in grid}
    robust = [config for config in grid if config.case.endswith(kd_crowd.ELR_CASE)]
    guided = [config for config in grid if config.method == "kd-crowd" and config not in robust]
    assert len(guided) == 2 * (4 * len(kd_crowd.BASES) + len(kd_crowd.FEW_BASES))
    assert all(without_kd(config).key() in keys for config in guided)
    assert len(robust) == 2 * 3 * len(kd_crowd.FEW_BASES)
    for config in robust:  # one thing differs
        case, options = config.case.split(", ")[0], kd_crowd.TUNED[config.dataset]
        assert replace(config, case=case, method_options=config.method_options | options).key() in keys


def test_base_runs_are_those_of_the_other_notebooks():
    others = {
        config.key()
        for grid in (overview.leaderboard, ccc.table2, overview.all_methods)
        for config in grid("quick", [0, 1, 2, 3, 4])
    }
    ours = [
        config for config in kd_crowd.lift("quick", [0, 1]) if config.method != "kd-crowd" and kd_crowd.LONG not in config.case
    ]
    missing = {config.describe() for config in ours if config.key() not in others}
    # No other notebook has these on the real crowds.
    assert {text.split(" on ")[0].split(": ")[1] for text in missing} <= {"majority-vote-elr"}


def test_names_of_the_tables_tell_all_runs_apart():
    grid = [config for config in kd_crowd.lift("quick", [0, 1]) if config.experiment != "tuning_kd"]
    table = summary(kd_crowd.named(as_rows(grid)))
    assert list(table["n_seeds"]) == [2] * len(table)
    labelme = set(table.loc[table["dataset"] == "labelme", "method"])
    assert {"dl-em", "dl-em+kd", "dl-em+kd+elr", "dl-em+longer", "crowdlayer-mw+kd", "majority-vote-elr"} <= labelme
    assert set(table.loc[table["dataset"] == "digits", "case"]) == {"independent", "correlated"}
    assert kd_crowd.named([None]) == []


def test_longer_is_as_long_as_all_stages():
    grid = kd_crowd.lift("quick", [0])
    usual = {(c.method, c.dataset): c.recipe.epochs for c in grid if kd_crowd.LONG not in c.case}
    longer = [c for c in grid if kd_crowd.LONG in c.case]
    assert len(longer) == len(kd_crowd.LONGER) * len(kd_crowd.LONGER_ON)
    assert all(c.recipe.epochs == 3 * usual[c.method, c.dataset] for c in longer)


def test_sentiment_has_fewer_runs_below_paper_only():
    def seeds(scale):
        return {
            c.seed for c in kd_crowd.lift(scale, range(5)) if c.dataset == "sentiment_polarity" and c.experiment != "tuning_kd"
        }

    assert (seeds("quick"), seeds("paper")) == ({0, 1, 2}, set(range(5)))
    bases = {c.method_options["base"] for c in kd_crowd.lift("paper", [0]) if c.method == "kd-crowd"}
    assert bases == {*kd_crowd.BASES, *kd_crowd.VARIANTS}


def test_tuning_has_seeds_of_its_own():
    for config in kd_crowd.weight_tuning("quick"):
        assert config.seed >= 100
        assert config.method_options["weight"] is None is config.method_options["elr_weight"]
        assert config.dataset_options.get("crowd_seed", config.seed) == config.seed


# ------------------------------------------------------------------ 41


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_variants_differ_in_the_loss_or_the_learner_alone(scale):
    for crowd in kd_crowd.LOSS_CROWDS:
        found = kd_crowd.variants(crowd, scale)
        assert set(kd_crowd.MAIN) <= set(found)
        assert len({repr(sorted(options.items())) for options in found.values()}) == len(found)
        assert {name for options in found.values() for name in options} <= {
            "divergence", "distillation", "student_distillation", "final_distillation", "robust"
        }  # fmt: skip
        for learner in kd_crowd.LEARNERS.values():
            assert (f"MIG, KL; {learner}" in found) == (f"KL distillation; {learner}" in found)
    assert len(kd_crowd.variants("labelme", "quick")) < len(kd_crowd.variants("labelme", "paper"))


def test_a_variant_is_a_case_of_its_own():
    rows = as_rows(protocols.grid("41_kdcrowd_distillation_loss", "quick", [0, 1]))
    assert set(summary(rows)["n_seeds"]) == {2}


# ------------------------------------------------------------------ 42


def test_sizes_are_of_the_same_annotators():
    configs = [c for c in kd_crowd.expertise("quick", [3]) if c.dataset == "digits" and c.case != "correlated"]
    assert {kd_crowd.labels_an_item(vars(config)) for config in configs} == {1.0, 2.0, 3.0, 5.0}
    matrices = [datasets.load("digits", **config.dataset_options).true_confusion for config in configs[:1] + configs[-1:]]
    assert np.array_equal(*matrices)
    assert set(summary(kd_crowd.named(as_rows(configs)))["n_seeds"]) == {1}


def test_floor_by_hand():
    data = datasets.load("digits", crowd_seed=1)
    crowd, y, known = data.crowd, data.y.numpy(), data.true_confusion
    pooled = np.zeros((10, 10))
    np.add.at(pooled, (y[crowd.item], crowd.label), 1)
    pooled /= pooled.sum(axis=1, keepdims=True)
    counts = np.zeros_like(known)
    np.add.at(counts, (crowd.annotator, y[crowd.item], crowd.label), 1)
    counts += 5 * pooled
    expected = confusion_error(counts / counts.sum(axis=2, keepdims=True), known)
    assert kd_crowd.floor(data) == pytest.approx(expected)
    sizes = [kd_crowd.floor(datasets.load("digits", labels_per_item=n)) for n in (1.0, 3.0, 8.0)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    with pytest.raises(ValueError, match="which real data do not have"):
        kd_crowd.floor(replace(data, true_confusion=None))
