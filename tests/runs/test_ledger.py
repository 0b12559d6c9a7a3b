"""The ledger: whole rows or none, rows that are not what was written, two writers at once, and merging.

Files damaged in many ways are in ``tests/faults.py``.
"""

import errno
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lib import paths
from lib.runs import ledger
from lib.runs.config import as_read, from_row
from lib.runs.ledger import LedgerError
from lib.storage import NotWritable
from tests.toys import toy_config, toy_row


def row(seed=0, value=0.5, experiment="toy", **changes):
    return toy_row(toy_config(seed, experiment=experiment), value) | changes


def seeds(rows):
    return [found["config"]["seed"] for found in rows]


def own_file(made):
    return paths.runs() / made["config"]["experiment"] / f"{made['key']}.json"


def committed(experiment="toy"):
    return paths.reference() / f"{experiment}.jsonl"


# ------------------------------------------------------------------ reading and writing


def test_a_row_comes_back_as_it_was():
    assert ledger.own_rows() == ledger.reference_rows() == []
    assert ledger.write(row()) == row()
    assert ledger.own_rows() == [row()]
    assert ledger.own_row("toy", row()["key"]) == row()
    assert ledger.own_row("toy", row(1)["key"]) is None
    ledger.write(row(value=0.7))
    assert ledger.own_rows() == [row(value=0.7)]


ARRAYS = {"correct_last": np.array([1, 200], dtype=np.uint8), "confusion": np.eye(2, dtype=np.float32)[None]}


def test_arrays_are_kept_beside_their_row_and_merged_with_it(tmp_path):
    stored, again = (ledger.write(row() | {"arrays": ARRAYS}, tmp_path) for _ in range(2))
    assert stored == again, "other bytes each time"
    assert stored["arrays"]["names"] == ["confusion", "correct_last"]
    assert ledger.write(stored, tmp_path) == stored
    ledger.copy(stored, tmp_path, tmp_path / "copy")
    assert ledger.merge(tmp_path / "copy") == {"added": 1, "already": 0}
    (merged,) = ledger.reference_rows("toy")
    assert merged == stored
    found = ledger.arrays(merged)
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[name], values) for name, values in ARRAYS.items())
    assert ledger.has_arrays(merged, ["correct", "confusion"])
    assert not ledger.has_arrays(merged, ["bias"])
    assert ledger.arrays(row(1)) == {}


def test_a_row_with_arrays_takes_the_place_of_its_like_without():
    ledger.write_reference("toy", [row(0), row(1)])
    stored = ledger.write(row(0) | {"arrays": ARRAYS})
    assert ledger.lookup(["toy"]) == {stored["key"]: stored, row(1)["key"]: row(1)}
    assert ledger.merge(paths.runs()) == {"added": 1, "already": 0}
    assert ledger.reference_rows("toy") == [stored, row(1)]
    fewer = ledger.write(row(0) | {"arrays": {"confusion": ARRAYS["confusion"]}})
    assert fewer["arrays"]["names"] == ["confusion"]
    assert ledger.lookup(["toy"])[stored["key"]] == stored
    assert ledger.merge(paths.runs()) == {"added": 0, "already": 1}


@pytest.mark.parametrize(("content", "found"), [(b"no arrays", "'something else'"), (None, r"\['bias'\]")])
def test_arrays_that_are_other_than_their_row_says_are_not_merged(content, found):
    """Though their digest is right, as that of somebody's own program would be."""
    stored = ledger.write(row() | {"arrays": {"bias": ARRAYS["confusion"]}})
    file = own_file(stored).with_suffix(".npz")
    file.write_bytes(content or file.read_bytes())
    about = {"names": ["confusion"], "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    ledger.write(stored | {"arrays": about})
    with pytest.raises(LedgerError, match=rf"\.npz: the row's arrays are \['confusion'\], found {found}"):
        ledger.merge(paths.runs())
    assert ledger.reference_rows() == []


def test_a_reference_file_is_one_json_row_a_line_in_a_stable_order():
    ledger.write_reference("toy", [row(2), row(0), row(1)])
    first = committed().read_text()
    assert [json.loads(line) for line in first.splitlines()] == ledger.reference_rows() == [row(0), row(1), row(2)]
    ledger.write_reference("toy", [row(1), row(2), row(0)])
    assert committed().read_text() == first


# ------------------------------------------------------------------ rows that are not what was written


@pytest.mark.parametrize("content", ['{"key": "a", "con', "[]", '{"key": "a"}', "[" * 100_000])
def test_a_broken_row_is_set_aside_and_blocks_nothing(content, caplog):
    ledger.write(row(0))
    ledger.write(row(1))
    own_file(row(1)).write_text(content + "\n", encoding="utf-8")
    assert seeds(ledger.own_rows()) == [0]
    assert f"{own_file(row(1))}, line 1: expected a ledger row in JSON, found" in caplog.text
    assert f"set aside as {own_file(row(1)).name}.broken, and trained again" in caplog.text
    caplog.clear()
    assert seeds(ledger.own_rows()) == [0]
    assert caplog.text == ""


def test_a_row_under_another_name_or_experiment_is_set_aside(caplog):
    ledger.write(row(0))
    own_file(row(0)).rename(own_file(row(1)))
    assert ledger.own_rows() == []
    assert f"the key must be that of the file, '{row(1)['key']}', found '{row(0)['key']}'" in caplog.text
    ledger.write(row(0))
    (paths.runs() / "toy").rename(paths.runs() / "other")
    assert ledger.own_rows() == []
    assert "the experiment must be that of the file, 'other', found 'toy'" in caplog.text


def test_a_reference_row_that_is_wrong_is_named_with_its_line():
    ledger.write_reference("toy", [row(0, value=0.853535), row(1)])
    lines = committed().read_text().splitlines(keepends=True)
    for content, told in (
        (lines[0].replace("0.853535", "0.953535") + lines[1], "line 1: the row is not the one whose digest is in toy.digests"),
        (lines[0], f"1 rows of toy.digests are missing, the first: {row(1)['key']}"),
        (lines[0] + '{"key": \n', "line 2: expected a ledger row"),
    ):
        committed().write_text(content)
        with pytest.raises(LedgerError) as error:
            ledger.reference_rows()
        assert told in str(error.value)
        assert f"to restore both files: git checkout -- {committed()} " in str(error.value)
    ledger.write_reference("toy", [row(0)])
    committed().rename(committed("other"))
    with pytest.raises(
        LedgerError, match=r"other\.jsonl, line 1: the experiment must be that of the file, 'other', found 'toy'"
    ):
        ledger.reference_rows()


def test_a_file_whose_lines_git_has_merged_is_sealed_on_request():
    def append(made):
        with committed().open("a") as file:
            file.write(json.dumps(made, sort_keys=True) + "\n")

    ledger.write_reference("toy", [row(0)])
    append(row(1))
    with pytest.raises(LedgerError, match="line 2"):
        ledger.reference_rows()
    ledger.seal("toy")
    assert seeds(ledger.reference_rows()) == [0, 1]
    append(row(2) | {"key": "f" * 16})
    with pytest.raises(LedgerError, match=r"toy\.jsonl, line 3: the key of this configuration is"):
        ledger.seal("toy")


@pytest.mark.parametrize("step", range(4))
def test_a_merge_that_is_killed_leaves_old_rows_or_new_ones(folders, monkeypatch, step):
    ledger.write_reference("toy", [row(0)])
    arrived = arrive(folders / "out", row(1))
    steps, replace = [], os.replace

    def killed(source, target, **options):
        if len(steps) == step:
            raise KeyboardInterrupt
        steps.append(target)
        replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        if step < 3:
            with pytest.raises(KeyboardInterrupt):
                ledger.merge(arrived)
        else:
            ledger.merge(arrived)
    assert seeds(ledger.reference_rows()) in ([0], [0, 1])
    ledger.merge(arrived)
    assert seeds(ledger.reference_rows()) == [0, 1]


def test_the_committed_rows_are_what_their_digests_and_keys_say(monkeypatch):
    monkeypatch.delenv("CROWDS_REFERENCE")
    rows = ledger.reference_rows()
    assert len(rows) > 2000
    assert [made["key"] for made in rows[::40]] == [from_row(made).key() for made in rows[::40]]


# ------------------------------------------------------------------ which ledger


@pytest.mark.parametrize(("order", "value"), [("", 0.1), ("own", 0.2), ("reference", 0.1)])
def test_order_decides_between_two_rows_of_a_key(monkeypatch, order, value):
    ledger.write_reference("toy", [row(0, value=0.1)])
    ledger.write(row(0, value=0.2))
    ledger.write(row(1))
    monkeypatch.setenv("CROWDS_LEDGER", order)
    found = ledger.lookup(["toy"])
    assert found[row(0)["key"]]["metrics"]["test_acc_last"] == value
    assert (row(1)["key"] in found) == (order != "reference")


def test_unknown_order_is_named(monkeypatch):
    monkeypatch.setenv("CROWDS_LEDGER", "mine")
    with pytest.raises(ValueError, match="CROWDS_LEDGER must be one of '', 'own', 'reference', found 'mine'"):
        ledger.lookup(["toy"])


# ------------------------------------------------------------------ trouble


def test_a_full_disk_leaves_no_half_row(monkeypatch):
    ledger.write(row(0))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for changed in (row(0, value=0.9), row(1)):
            with pytest.raises(NotWritable, match=rf"No space left on device.*{changed['key']}\.json"):
                ledger.write(changed)
    assert ledger.own_rows() == [row(0)]
    assert [path.name for path in (paths.runs() / "toy").iterdir()] == [own_file(row(0)).name]


def together(code, *arguments):
    """Processes that begin their work at the same time."""
    start = f"import sys\nfrom lib.runs import ledger\nprint(flush=True)\nsys.stdin.readline()\n{code}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": paths.ROOT}
    started = [subprocess.Popen([sys.executable, "-c", start, *map(str, words)], **pipes) for words in arguments]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


WRITER = """
row = {"key": "a", "config": {"experiment": "toy"}, "metrics": {"who": sys.argv[1] * 20000}, "seconds": 1, "provenance": {}}
for n in range(60):
    ledger.write(row)
    ledger.write(row | {"key": f"{sys.argv[1]}{n}"})
"""


def test_two_writers_at_once_corrupt_nothing():
    """Of the same row and of others, while a third process reads."""
    writers = together(WRITER, "x", "y")
    while any(writer.poll() is None for writer in writers):
        assert all(len(set(found["metrics"]["who"])) == 1 for found in ledger.own_rows())
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    rows = ledger.own_rows()
    assert sorted(found["key"] for found in rows) == sorted(["a"] + [f"{who}{n}" for who in "xy" for n in range(60)])
    assert all(len(set(found["metrics"]["who"])) == 1 and len(found["metrics"]["who"]) == 20000 for found in rows)
    assert not list(paths.runs().rglob("*.tmp"))


# ------------------------------------------------------------------ merging


def arrive(folder, *rows):
    for arrived in rows:
        ledger.write(arrived, folder)
    return folder


def test_merge_adds_what_is_new(folders):
    ledger.write_reference("toy", [row(0)])
    arrived = arrive(folders / "out", row(0, seconds=9.0), row(1), row(2, experiment="other"))  # 0 took another time
    assert ledger.merge(arrived) == {"added": 2, "already": 1}
    assert ledger.reference_rows("toy") == [row(0), row(1)]
    assert seeds(ledger.reference_rows("other")) == [2]
    before = committed().read_bytes()
    assert ledger.merge(arrived) == {"added": 0, "already": 3}
    assert committed().read_bytes() == before


def test_merge_refuses_conflicting_rows_and_takes_nothing(folders):
    ledger.write_reference("toy", [row(7, value=0.5)])
    before = committed().read_bytes()
    arrived = arrive(folders / "out", row(1), row(7, value=0.6), row(2, experiment="other"))
    with pytest.raises(LedgerError) as error:
        ledger.merge(arrived)
    for part in (f"row {row(7)['key']} of toy", "seed 7", "0.6", "the reference has", "0.5", "nothing was merged: 1 of 3"):
        assert part in str(error.value)
    assert committed().read_bytes() == before
    assert not committed("other").exists()


def test_merge_of_a_broken_row_takes_nothing_and_leaves_it_there(folders):
    arrived = arrive(folders / "out", row())
    (arrived / "toy" / "b.json").write_text('{"key": "b"')
    with pytest.raises(LedgerError, match=r"b\.json, line 1: expected a ledger row"):
        ledger.merge(arrived)
    assert ledger.reference_rows() == []
    assert (arrived / "toy" / "b.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": None}, "metrics must be finite numbers by name, found None"),
        ({"metrics": {"test_acc_last": float("nan")}}, "metrics must be finite numbers by name"),
        ({"metrics": {"test_acc_last": "0.5"}}, "metrics must be finite numbers by name"),
        ({"seconds": -1}, "seconds must be a number from 0 on, found -1"),
        ({"provenance": {}}, "provenance must say when, by which code, data and torch"),
        ({"arrays": {"sha256": 1}}, "arrays must have names, and the SHA-256"),
        ({"key": "f" * 16}, "the key of this configuration is .* by this code and data, found 'ffffffffffffffff'"),
        ({"key": "../../../a"}, "the key must be that of the file"),
        ({"config": {"experiment": "../../X"}}, "the experiment must be that of the file"),
        ({"config": {"experiment": "X"}}, "an experiment is named by a-z, 0-9 and _"),
        ({"config": {"seed": "0"}}, "the key of this configuration is"),
        ({"config": {"method": "no-such"}}, "must be one that this code knows, found .*no-such"),
        ({"config": {"sead": 1}}, "must be one that this code knows, found .*sead"),
    ],
)
def test_merge_believes_no_row_that_this_code_would_not_have_made(folders, changes, message):
    made = row() | changes | {"config": as_read(toy_config()) | changes.get("config", {})}
    folder = folders / "deep" / "down" / "out"
    path = folder / made["config"]["experiment"].rsplit("/", 1)[-1] / f"{made['key'].rsplit('/', 1)[-1]}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made | {"digest": ledger.digest(json.dumps(made, sort_keys=True))}))
    with pytest.raises(LedgerError, match=f"nothing was merged: 1 of 2 rows are wrong, .*{message}"):
        ledger.merge(arrive(folder, row(1)))
    assert not list(paths.reference().glob("*.jsonl"))


MERGER = """
import pathlib
ledger._sound = lambda row, where, beside: row  # without torch, which takes seconds to import
for folder in sys.argv[1:]:
    ledger.merge(pathlib.Path(folder))
"""


def test_two_merges_at_once_lose_nothing(folders):
    arrived = [arrive(folders / f"{seed}", row(seed)) for seed in range(40)]
    for merger in together(MERGER, arrived[:20], arrived[20:]):
        merger.communicate()
        assert merger.returncode == 0
    assert seeds(ledger.reference_rows()) == list(range(40))
