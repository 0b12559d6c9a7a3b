"""Runs: keys, rows, and sweeps that are killed, fail, run out of time, or go through other executors."""

import contextlib
import json
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from tqdm import tqdm

from lib import datasets, methods, paths
from lib.methods.base import Method
from lib.methods.geocrowdnet import GeoCrowdNet
from lib.runs import ledger, schedule
from lib.runs import sweep as runs
from lib.runs.config import RunConfig, each_once
from lib.runs.sweep import RunFailed, sweep
from lib.runs.workers import processes
from lib.training import loop
from lib.training.recipe import Recipe
from tests.toys import toy_config, toy_row
from tests.worked_example import small_dataset

RECIPE = Recipe(epochs=2, batch_size=200)


def config(seed=0, method="crowdlayer-mw", **changes):
    return toy_config(seed, method, **({"recipe": RECIPE} | changes))


def run(configs, **options):
    """In this process, so that what a test has replaced is used."""
    return sweep(configs, progress=False, **({"workers": 1} | options))


def seeds_of(rows):
    return [None if row is None else row["config"]["seed"] for row in rows]


def values_of(rows):
    return [row["metrics"]["test_acc_last"] for row in rows]


# ------------------------------------------------------------------ keys


def test_the_scheme_of_keys_does_not_move(monkeypatch):
    """A change here would make every committed row unfindable."""
    monkeypatch.setattr(datasets, "fingerprint", lambda name, **options: "0123456789abcdef")
    monkeypatch.setattr(methods, "info", lambda name: SimpleNamespace(revision=1, options={}))
    changed = config(seed=3, method_options={"variant": "VW"}, backbone_options={"width": 16}, scale="smoke")
    plain = RunConfig("toy", "digits", "crowdlayer-mw")
    assert (plain.key(), changed.key()) == ("72349c16224580d0", "f36443b35ad608b6")


def test_key_changes_with_everything_that_decides_a_number():
    changes = [
        {"experiment": "other"},
        {"dataset": "music"},
        {"dataset_options": {"annotators": 7}},
        {"method": "ccem"},
        {"method_options": {"variant": "VW"}},
        {"backbone": "linear"},
        {"backbone_options": {"width": 64}},
        {"case": "ten passes"},
        {"scale": "smoke"},
        {"seed": 1},
    ]
    different = Recipe(
        epochs=3, batch_size=7, passes=2, optimizer="sgd", lr=0.5, weight_decay=0.1, momentum=0.5, schedule="step",
        milestones=(1,), gamma=0.5, crop=1, flip=True, precision="mixed", compiled=True,
    )  # fmt: skip
    for name, value in asdict(different).items():
        assert value != getattr(Recipe(), name), f"give {name} a value here that is not its default"
        changes.append({"recipe": replace(Recipe(), **{name: value})})
    plain = replace(config(), recipe=Recipe())
    assert len({plain.key(), *(replace(plain, **change).key() for change in changes)}) == 1 + len(changes)


def test_key_changes_with_the_methods_revision_and_with_the_data(monkeypatch):
    before, info = config().key(), methods.info("crowdlayer-mw")
    monkeypatch.setattr(methods, "info", lambda name: replace(info, revision=info.revision + 1))
    revised = config().key()
    monkeypatch.setattr(datasets, "fingerprint", lambda name, **options: "0123456789abcdef")
    assert len({before, revised, config().key()}) == 3


def test_key_minds_neither_defaults_that_are_written_out_nor_the_order_of_options():
    explicit = config(case="real", scale="quick", method_options={"variant": "MW"}, backbone_options={"dropout": 0.5})
    assert explicit.key() == config().key()
    preset = config(method="crowdlayer-vw", method_options={"variant": "VW"})
    assert preset.key() == config(method="crowdlayer-vw").key()
    one, other = ({"width": 3, "dropout": 0.1}, {"dropout": 0.1, "width": 3})
    assert config(backbone_options=one).key() == config(backbone_options=other).key()


def test_a_field_that_is_added_later_moves_no_key():
    @dataclass(frozen=True)
    class Later(RunConfig):
        precision: str = "full"
        stages: list = field(default_factory=list)

    later = Later(**{**vars(config()), "recipe": RECIPE})
    assert later.key() == config().key()
    assert replace(later, precision="half").key() != config().key()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "crowdlayer"}, "unknown method 'crowdlayer'"),
        ({"dataset": "digit"}, "unknown data set 'digit'"),
        ({"backbone": "resnet"}, "unknown backbone 'resnet'"),
        ({"dataset_options": {"annotator": 3}}, "'annotator'; did you mean 'annotators'"),
        ({"method_options": {"weight": float("nan")}}, "Out of range float values"),
    ],
)
def test_what_does_not_exist_has_no_key(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(config(), **changes).key()


# ------------------------------------------------------------------ one run


@pytest.fixture
def given(monkeypatch):
    """Puts another data set in place of the digits."""

    def put(data):
        monkeypatch.setattr(runs, "_dataset", lambda name, options: data)
        return data

    return put


@pytest.fixture
def small(given):
    """A data set of ninety items in place of the digits."""
    return given(small_dataset())


def test_a_row_tells_everything(small):
    row, method = runs.train(config(method="dawid-skene"))
    assert set(row) == {"key", "config", "metrics", "history", "seconds", "provenance"}
    assert row["key"] == config(method="dawid-skene").key()
    assert row["config"]["recipe"]["batch_size"] == 200
    expected = {"test_acc_last", "test_acc_best", "train_acc_last", "label_acc", "confusion_error"}
    assert expected | {"confusion_error_unaligned"} == set(row["metrics"])
    assert set(row["history"]) == {"loss", "test_acc"}
    assert all(len(values) == 2 for values in row["history"].values())
    assert {"made", "code", "data", "device", "processor", "torch", "numpy", "python"} == set(row["provenance"])
    assert row["provenance"]["data"] == datasets.fingerprint("digits")
    assert datetime.fromisoformat(row["provenance"]["made"]).timestamp() == pytest.approx(time.time(), abs=60)
    assert isinstance(method, Method)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert ledger.own_rows() == []


def test_an_exported_copy_inside_another_repository_has_no_version(monkeypatch, tmp_path):
    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-q", "--allow-empty", "-m", "a"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    (tmp_path / "copy").mkdir()
    found = []
    for folder in (tmp_path, tmp_path / "copy"):
        monkeypatch.setattr(paths, "ROOT", folder)
        found.append(runs._code_version.__wrapped__())
    assert found[0] != "unknown"
    assert found[1] == "unknown"


def test_arrays_are_kept_on_request_and_move_no_key(small):
    plain, kept = config(method="crowdlayer-mw"), replace(config(method="crowdlayer-mw"), keep=("correct", "confusion"))
    assert plain.key() == kept.key()
    (row,) = run([plain])
    assert "arrays" not in row
    (row,) = run([kept])  # trained again
    assert run([plain]) == [row]
    arrays, data = ledger.arrays(row), small
    assert set(arrays) == {"correct_last", "correct_best", "confusion"}
    right = np.unpackbits(arrays["correct_last"], count=len(data.y_test))
    assert right.mean() == pytest.approx(row["metrics"]["test_acc_last"], abs=1e-6)
    assert arrays["confusion"].shape == (data.crowd.n_annotators, data.n_classes, data.n_classes)


@pytest.mark.parametrize("content", [b"damaged", None])
def test_arrays_that_are_damaged_or_lost_are_made_again(small, caplog, content):
    kept = replace(config(), keep=("confusion",))
    (row,) = run([kept])
    file = paths.runs() / "toy" / f"{row['key']}.npz"
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    (found,) = run([config()])
    assert found["metrics"] == row["metrics"]
    assert "arrays" not in found
    assert f"the arrays of row {row['key']} are in none of" in caplog.text
    (again,) = run([kept])
    assert again["arrays"] == row["arrays"]
    assert file.read_bytes() == whole


def test_weights_and_predictions_are_kept_as_the_method_has_them(small):
    row, method = runs.train(replace(config(method="crowdlayer-mw"), keep=("weight", "predictions")))
    assert set(row["arrays"]) == {"weight", "predictions_train", "predictions_test"}
    assert {values.dtype for values in row["arrays"].values()} == {np.dtype(np.float32)}
    assert np.array_equal(row["arrays"]["weight"], method.weight.detach().numpy())
    prob = method.predict_proba(small.x_test).detach().numpy()
    np.testing.assert_allclose(row["arrays"]["predictions_test"], prob, atol=1e-6)
    assert row["arrays"]["predictions_train"].shape == (len(small.x), small.n_classes)


def test_runs_that_differ_in_their_arrays_alone_are_one_run_with_all_of_them(small):
    configs = [replace(config(method="crowdlayer-mw"), keep=keep) for keep in (("weight",), (), ("confusion", "weight"))]
    found = each_once([*configs, config(seed=1)])
    assert [(c.seed, c.keep) for c in found.values()] == [(0, ("weight", "confusion")), (1, ())]
    assert list(found) == [configs[0].key(), config(seed=1).key()]
    rows = run(configs)
    assert [row["arrays"]["names"] for row in rows] == [["confusion", "weight"]] * 3


@pytest.mark.parametrize(
    ("method", "name"), [("crowdlayer-mw", "bias"), ("geocrowdnet-f", "weight"), ("majority-vote", "matrix")]
)
def test_arrays_that_a_method_does_not_have_are_named(small, method, name):
    with pytest.raises(ValueError, match=f"keep must name arrays that the method has, of correct, .*; found '{name}'"):
        runs.train(replace(config(method=method), keep=(name,)))


def test_metrics_by_hand(small):
    row, method = runs.train(config(method="dawid-skene"))
    share = (method.predict_proba(small.x).argmax(dim=1) == small.y).double().mean().item()
    assert row["metrics"]["test_acc_last"] == pytest.approx(share, abs=1e-6)  # its test items are the training items
    assert row["metrics"]["train_acc_last"] == pytest.approx(share, abs=1e-6)
    share = (method.posterior().argmax(dim=1) == small.y).double().mean().item()
    assert row["metrics"]["label_acc"] == pytest.approx(share, abs=1e-6)
    difference = np.abs(method.confusion().numpy() - small.crowd.true_confusion(small.y.numpy()))
    assert row["metrics"]["confusion_error_unaligned"] == pytest.approx(difference.sum(axis=(1, 2)).mean() / 3, abs=1e-6)


def test_switched_classes_are_put_right_for_one_of_the_two_errors(small, monkeypatch):
    """A method that calls class 0 by the name of class 1, and so on, consistently: all it has learned is right."""
    known = small.crowd.true_confusion(small.y.numpy())
    turned = torch.from_numpy(np.roll(known, 1, axis=1))
    monkeypatch.setattr(GeoCrowdNet, "confusion", lambda self: turned)
    metrics = runs.train(config(method="ccem"))[0]["metrics"]
    assert metrics["confusion_error"] == 0
    assert metrics["confusion_error_unaligned"] > 0.5


def test_unlabeled_items_are_not_scored_as_training_items(small, given):
    given(replace(small, crowd=small.crowd.select_labels(small.crowd.item < 30)))
    row, method = runs.train(config(method="majority-vote"))
    share = (method.posterior()[:30].argmax(dim=1) == small.y[:30]).double().mean().item()
    assert row["metrics"]["label_acc"] == pytest.approx(share, abs=1e-6)


def test_a_method_without_matrices_has_no_error_of_them(small):
    assert "confusion_error" not in runs.train(config(method="majority-vote"))[0]["metrics"]
    assert "label_acc" not in runs.train(config(method="ccem"))[0]["metrics"]


def test_data_without_truth_has_no_scores_of_it(small, given):
    given(replace(small, y=None, x_test=None, y_test=None))
    assert runs.train(config())[0]["metrics"] == {}


def test_the_seed_decides_the_start_of_the_network(small, monkeypatch):
    heads = []

    def watched(method, *rest, **options):
        heads.append(method.backbone.head.weight)
        return loop.Fit({}, 0.0)

    monkeypatch.setattr(runs, "fit", watched)
    torch.manual_seed(99)
    for seed in (0, 0, 1):
        runs.train(config(seed))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(99)))  # is left alone


def test_trains_on_one_thread_without_denormal_numbers(small, monkeypatch):
    seen, fit = [], loop.fit

    def denormal():
        return float(torch.tensor([1e-30]) * torch.tensor([1e-10]))

    def watched(*arguments, **options):
        seen.append((torch.get_num_threads(), denormal()))
        return fit(*arguments, **options)

    monkeypatch.setattr(runs, "fit", watched)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        runs.train(config())
        assert seen == [(1, 0.0)]
        assert torch.get_num_threads() == 2
        assert denormal() > 0
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------ sweeps and the ledger


def test_only_what_is_not_there_is_trained(trained, caplog):
    """One row deleted, one broken."""
    assert runs.find(config(1)) is None
    configs = [config(seed) for seed in (3, 1, 2, 1)]
    rows = run(configs)
    assert seeds_of(rows) == [3, 1, 2, 1]
    assert sorted(trained) == [1, 2, 3]
    assert runs.find(config(1)) == rows[1]
    trained.clear()
    (paths.runs() / "toy" / f"{config(2).key()}.json").unlink()
    (paths.runs() / "toy" / f"{config(3).key()}.json").write_text("{")
    assert run(configs) == rows
    assert sorted(trained) == [2, 3]
    assert "set aside" in caplog.text


def test_recompute_trains_all_anew_even_in_the_same_second(trained):
    run([config(0), config(1)])
    trained.clear()
    run([config(0), config(1)], recompute=True)
    assert sorted(trained) == [0, 1]


def test_of_two_that_recompute_at_once_one_trains_a_run(trained):
    """The other takes its row, as without recompute."""
    run([config(0), config(1)])
    trained.clear()
    anew = toy_row(config(1), 0.9)
    rows = run([config(0), config(1)], recompute=True, on_row=lambda row: ledger.write(anew))
    assert trained == [0]
    assert rows[1]["metrics"] == anew["metrics"]


def test_a_folder_of_its_own_has_the_fresh_rows(trained, folders):
    """What is in it is fresh, whatever clocks say; neither the reference nor the user's own rows are."""
    ledger.write_reference("toy", [toy_row(config(0), 0.1)])
    ledger.write(toy_row(config(1), 0.1))
    ledger.write(toy_row(config(2), 0.2), folders / "fresh")
    rows = run([config(seed) for seed in range(3)], folder=folders / "fresh")
    assert values_of(rows) == [0.8, 0.81, 0.2]
    assert trained == [0, 1]
    assert values_of(ledger.own_rows()) == [0.1]
    trained.clear()
    assert run([config(seed) for seed in range(3)], folder=folders / "fresh") == rows
    assert trained == []


def test_a_run_that_another_process_trains_is_waited_for(trained, monkeypatch):
    """Others come first; then its row is taken, or, where that process died, it is trained here."""
    claims = {config(seed).key(): ledger.claim(config(seed).key()) for seed in (0, 1)}

    def other(seconds):
        if claims:
            _, claim = claims.popitem()
            if not claims:
                ledger.write(toy_row(config(0), 0.7))  # one is finished, the other is not
            claim.release()

    monkeypatch.setattr(runs.time, "sleep", other)
    rows = run([config(seed) for seed in range(3)])
    assert trained == [2, 1]
    assert values_of(rows) == pytest.approx([0.7, 0.81, 0.82])


def test_reference_rows_alone(trained, monkeypatch):
    ledger.write_reference("toy", [toy_row(config(0))])
    ledger.write(toy_row(config(1)))
    monkeypatch.setenv("CROWDS_LEDGER", "reference")
    assert seeds_of(run([config(0)])) == [0]
    with pytest.raises(ValueError) as error:
        run([config(0), config(1)])
    for part in ("1 of 2 runs are not in the reference ledger", config(1).describe(), str(paths.reference()), "Unset"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="to be retrained"):
        run([config(0)], recompute=True)
    assert trained == []


def test_each_trained_row_is_handed_over_once_as_it_comes(trained, monkeypatch):
    """Not at the end: on one worker each row is there before the next run begins."""
    run([config(0)])
    order, train = [], runs.train

    def watched(given, *rest, **options):
        order.append(f"train {given.seed}")
        return train(given, *rest, **options)

    monkeypatch.setattr(runs, "train", watched)
    run([config(seed) for seed in range(3)], on_row=lambda row: order.append(f"row {row['config']['seed']}"))
    assert order == ["train 1", "row 1", "train 2", "row 2"]


# ------------------------------------------------------------------ failures


def test_a_failing_run_lets_the_others_finish(trained):
    trained.failing = frozenset({1})
    with pytest.raises(RunFailed, match=r"1 runs failed, the first: toy: .*seed 1\): no luck with 1") as error:
        run([config(seed) for seed in range(4)])
    assert isinstance(error.value.__cause__, ValueError)
    assert sorted(seeds_of(ledger.own_rows())) == [0, 2, 3]
    trained.clear()
    trained.failing = frozenset()
    run([config(seed) for seed in range(4)])
    assert trained == [1]


def test_a_wrong_option_names_the_run(small):
    with pytest.raises(RunFailed, match=r"seed 3\): unknown option of method 'ccem': 'wieght'; did you mean 'weight'"):
        run([config(3, method="ccem", method_options={"wieght": 0.1})])


class Broken(Executor):
    """As a pool whose worker was killed: at once, or while a run was under way."""

    _max_workers = 2

    def __init__(self, at_once):
        self.at_once = at_once

    def submit(self, fn, /, *args, **kwargs):
        error = BrokenProcessPool("A process in the process pool was terminated abruptly")
        if self.at_once:
            raise error
        future = Future()
        future.set_exception(error)
        return future


@pytest.mark.parametrize("at_once", [False, True])
def test_a_killed_worker_is_told_in_words(trained, at_once):
    with pytest.raises(RunFailed, match=r"a worker process died \(killed, or out of memory\).*run again to go on") as error:
        run([config(seed) for seed in range(5)], executor=Broken(at_once))
    if not at_once:
        assert all(config(seed).describe() in str(error.value) for seed in (0, 1))
        assert config(4).describe() not in str(error.value)


# ------------------------------------------------------------------ time: see also test_schedule.py


def test_a_finished_run_tells_how_long_its_like_will_take(monkeypatch):
    """By a clock that only runs move. A run that is like none so far is started while there is time."""
    seconds, now, started = {"crowdlayer-mw": 2.0, "ccem": 6.0, "trace-reg": 1.0}, [1000.0], []
    for module in (runs, schedule):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now[0]))

    def train(given, device="cpu", progress=False):
        started.append((given.method, given.seed))
        now[0] += seconds[given.method]
        return toy_row(given) | {"seconds": seconds[given.method]}, None

    monkeypatch.setattr(runs, "train", train)
    rows = run([config(seed, method=method) for seed in (0, 1) for method in seconds], deadline=1012.5)
    assert started == [("crowdlayer-mw", 0), ("ccem", 0), ("trace-reg", 0), ("crowdlayer-mw", 1), ("trace-reg", 1)]
    assert seeds_of(rows) == [0, 0, 0, 1, None, 1]


# ------------------------------------------------------------------ executors


def test_threads_give_the_numbers_of_one_process(small):
    """Dropout draws from the process's one generator, which runs side by side would share."""
    configs = [config(seed) for seed in range(6)]
    alone = [runs.train(given)[0] for given in configs]
    with ThreadPoolExecutor(3) as pool:
        rows = run(configs, executor=pool)
    for row, expected in zip(rows, alone, strict=True):
        assert (row["metrics"], row["history"]) == (expected["metrics"], expected["history"])
    assert len(ledger.own_rows()) == 6


def test_a_worker_process_writes_the_numbers_of_this_one():
    with processes(1) as pool:
        (row,) = run([replace(config(), keep=("correct",))], executor=pool)
    assert ledger.own_rows() == [row]
    here, _ = runs.train(config())
    assert (row["metrics"], row["history"]) == (here["metrics"], here["history"])
    assert set(ledger.arrays(row)) == {"correct_last", "correct_best", "correct_selected"}


def lock_of_the_bars() -> str:
    return type(tqdm(disable=True).get_lock()).__name__


def test_bars_of_workers_hold_no_semaphore_that_a_killed_one_would_leave():
    with processes(1) as pool:
        assert pool.submit(lock_of_the_bars).result() == "RLock"


def test_worker_processes_end_at_once_where_something_is_raised():
    """However long the run that one of them is at work on."""

    def ended():
        with processes(1) as pool:
            pool.submit(time.sleep, 600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ended()
    assert multiprocessing.active_children() == []


IMPATIENT = """
import signal, sys
from multiprocessing import forkserver
from lib.runs.workers import processes, warm_up

def stop(number, frame):
    raise KeyboardInterrupt

warm_up()
print(forkserver._forkserver._forkserver_pid, flush=True)
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.1)  # torch takes longer
try:
    if sys.argv[1] == "workers":
        with processes(1) as pool:
            pool.submit(int)
    signal.pause()
except KeyboardInterrupt:
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")
@pytest.mark.parametrize("waiting", ["workers", "nothing"])
def test_what_is_loaded_for_workers_ends_with_a_pass_that_is_interrupted_meanwhile(waiting):
    """And says nothing: a worker that it still forked would look for the pool's lock, which is gone."""
    command = [sys.executable, "-c", IMPATIENT, waiting]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert not done.stderr
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE  # nobody may be there to collect it
