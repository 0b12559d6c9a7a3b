"""The ledger: whole rows or none, two writers at once, which ledger is read, and merging."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from lib import paths
from lib.runs import ledger


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Empty ledgers of our own; the default order."""
    for variable in ("RUNS", "REFERENCE"):
        monkeypatch.setenv(f"CROWDS_{variable}", str(tmp_path / variable.lower()))
    monkeypatch.setenv("CROWDS_LEDGER", "")
    return tmp_path


def row(key="a", value=0.5, experiment="toy", seed=0, made="2026-01-02T03:04:05+00:00", **changes):
    config = {"experiment": experiment, "dataset": "digits", "method": "ccem", "case": "real", "scale": "quick"}
    return {
        "key": key,
        "config": config | {"seed": seed},
        "metrics": {"test_acc_last": value},
        "history": {"test_acc": [value]},
        "seconds": 1.0,
        "provenance": {"made": made},
    } | changes


def keys(rows):
    return [found["key"] for found in rows]


# ------------------------------------------------------------------ reading and writing


def test_a_row_comes_back_as_it_was():
    assert ledger.write(row("a")) == row("a")
    assert (paths.runs() / "toy" / "a.json").is_file()
    assert ledger.own_rows() == [row("a")]
    ledger.write(row("a", value=0.7))
    assert ledger.own_rows() == [row("a", value=0.7)]


ARRAYS = {"correct_last": np.array([1, 200], dtype=np.uint8), "confusion": np.eye(2, dtype=np.float32)[None]}


def test_arrays_are_kept_beside_their_row_and_merged_with_it(tmp_path):
    stored = ledger.write(row("a") | {"arrays": ARRAYS}, tmp_path)
    assert stored["arrays"]["names"] == ["confusion", "correct_last"]
    assert ledger.write(stored, tmp_path) == stored
    ledger.merge(tmp_path)
    (merged,) = ledger.reference_rows("toy")
    assert merged == stored
    found = ledger.arrays(merged)
    assert all(np.array_equal(found[name], values) for name, values in ARRAYS.items())
    assert found.keys() == ARRAYS.keys()
    assert ledger.has_arrays(merged, ["correct", "confusion"])
    assert not ledger.has_arrays(merged, ["bias"])
    assert ledger.arrays(row("b")) == {}


def test_arrays_are_the_same_bytes_each_time(tmp_path):
    assert len({ledger.write(row("a") | {"arrays": ARRAYS}, tmp_path)["arrays"]["sha256"] for _ in range(2)}) == 1


def test_arrays_that_are_not_the_rows_are_refused(tmp_path):
    stored = ledger.write(row("a") | {"arrays": ARRAYS})
    (paths.runs() / "toy" / "a.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"arrays of row a are in none of .*a\.npz"):
        ledger.arrays(stored)
    with pytest.raises(ValueError, match=r"a\.npz has another SHA-256 than its row says; nothing was merged"):
        ledger.merge(paths.runs())


def test_experiments_are_apart():
    ledger.write(row("a", experiment="one"))
    ledger.write(row("b", experiment="two"))
    ledger.write_reference("three", [row("c", experiment="three")])
    assert keys(ledger.own_rows()) == ["a", "b"]
    assert keys(ledger.own_rows("two")) == ["b"]
    assert keys(ledger.reference_rows()) == ["c"]
    assert ledger.reference_rows("one") == []
    assert set(ledger.lookup(["one", "three"])) == {"a", "c"}


def test_nothing_was_ever_written():
    assert ledger.own_rows() == ledger.reference_rows() == []
    assert ledger.lookup(["toy"]) == {}


@pytest.mark.parametrize("content", ['{"key": "a", "con', "", "[]", '{"key": "a"}', "\xff"])
def test_a_file_that_holds_no_row_is_named(content):
    ledger.write(row("a"))
    (paths.runs() / "toy" / "b.json").write_text(content + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.json, line 1: expected a ledger row in JSON, found"):
        ledger.own_rows()


def test_a_reference_line_that_is_no_row_is_named():
    ledger.write_reference("toy", [row("a")])
    with (paths.reference() / "toy.jsonl").open("a") as file:
        file.write('{"key": \n')
    with pytest.raises(ValueError, match=r"toy\.jsonl, line 2: expected a ledger row"):
        ledger.reference_rows()


def test_reference_rows_are_in_a_stable_order():
    rows = [row("c", seed=1), row("b", seed=0), row("a", seed=2)]
    ledger.write_reference("toy", rows)
    first = (paths.reference() / "toy.jsonl").read_bytes()
    assert keys(ledger.reference_rows()) == ["b", "c", "a"]
    ledger.write_reference("toy", rows[::-1])
    assert (paths.reference() / "toy.jsonl").read_bytes() == first


# ------------------------------------------------------------------ which ledger


@pytest.mark.parametrize(("order", "value"), [("", 0.1), ("own", 0.2), ("reference", 0.1)])
def test_order_decides_between_two_rows_of_a_key(monkeypatch, order, value):
    ledger.write_reference("toy", [row("a", value=0.1)])
    ledger.write(row("a", value=0.2))
    ledger.write(row("b"))
    monkeypatch.setenv("CROWDS_LEDGER", order)
    found = ledger.lookup(["toy"])
    assert found["a"]["metrics"]["test_acc_last"] == value
    assert ("b" in found) == (order != "reference")


def test_unknown_order_is_named(monkeypatch):
    monkeypatch.setenv("CROWDS_LEDGER", "mine")
    with pytest.raises(ValueError, match="CROWDS_LEDGER must be one of '', 'own', 'reference', found 'mine'"):
        ledger.lookup(["toy"])


def test_newer_than_leaves_older_rows_out_of_either_ledger():
    ledger.write_reference("toy", [row("a", value=0.1, made="2026-01-01T00:00:00+00:00")])
    ledger.write(row("a", value=0.2, made="2026-01-03T00:00:00+00:00"))
    ledger.write(row("b", made="2026-01-01T00:00:00+00:00"))
    since = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    found = ledger.lookup(["toy"], newer_than=since)
    assert keys(found.values()) == ["a"]
    assert found["a"]["metrics"]["test_acc_last"] == 0.2
    # A row says its second only, rounded down: one made right after the start must count.
    made = ledger.made(found["a"])
    assert "a" in ledger.lookup(["toy"], newer_than=made + 0.9)
    assert "a" not in ledger.lookup(["toy"], newer_than=made + 1)


# ------------------------------------------------------------------ trouble


def test_a_full_disk_leaves_no_half_row(monkeypatch):
    ledger.write(row("a"))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for changed in (row("a", value=0.9), row("b")):
            with pytest.raises(OSError, match="No space left on device") as error:
                ledger.write(changed)
            assert error.value.errno == errno.ENOSPC
            assert f"{changed['key']}.json" in str(error.value)
    assert ledger.own_rows() == [row("a")]
    assert [path.name for path in (paths.runs() / "toy").iterdir()] == ["a.json"]


WRITER = """
import sys
from lib.runs import ledger
row = {"key": "a", "config": {"experiment": "toy"}, "metrics": {"who": sys.argv[1] * 20000}, "seconds": 1, "provenance": {}}
print("ready", flush=True)
sys.stdin.readline()
for n in range(60):
    ledger.write(row)
    ledger.write(row | {"key": f"{sys.argv[1]}{n}"})
"""


def start(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=paths.ROOT)


def test_two_writers_at_once_corrupt_nothing():
    """Of the same row and of others, while a third process reads."""
    writers = [start(WRITER, who) for who in "xy"]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        assert all(len(set(found["metrics"]["who"])) == 1 for found in ledger.own_rows())
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    rows = ledger.own_rows()
    assert sorted(keys(rows)) == sorted(["a"] + [f"{who}{n}" for who in "xy" for n in range(60)])
    assert all(len(set(found["metrics"]["who"])) == 1 and len(found["metrics"]["who"]) == 20000 for found in rows)
    assert not list(paths.runs().rglob("*.tmp"))


# ------------------------------------------------------------------ merging


def arrive(folder, *rows):
    for arrived in rows:
        ledger.write(arrived, folder)
    return folder


def test_merge_adds_what_is_new(folders):
    ledger.write_reference("toy", [row("a", seed=0)])
    arrived = arrive(folders / "out", row("a", seed=0), row("b", seed=1), row("c", experiment="other"))
    assert ledger.merge(arrived) == {"added": 2, "already": 1}
    assert keys(ledger.reference_rows("toy")) == ["a", "b"]
    assert keys(ledger.reference_rows("other")) == ["c"]
    before = (paths.reference() / "toy.jsonl").read_bytes()
    assert ledger.merge(arrived) == {"added": 0, "already": 3}
    assert (paths.reference() / "toy.jsonl").read_bytes() == before


def test_merge_refuses_conflicting_rows_and_takes_nothing(folders):
    ledger.write_reference("toy", [row("b", value=0.5, seed=7)])
    before = (paths.reference() / "toy.jsonl").read_bytes()
    arrived = arrive(folders / "out", row("a"), row("b", value=0.6, seed=7), row("c", experiment="other"))
    with pytest.raises(ValueError) as error:
        ledger.merge(arrived)
    for part in ("row b of toy", "seed 7", "0.6", "the reference has", "0.5", "nothing was merged"):
        assert part in str(error.value)
    assert (paths.reference() / "toy.jsonl").read_bytes() == before
    assert not (paths.reference() / "other.jsonl").exists()


def test_merge_does_not_mind_another_time_or_machine(folders):
    ledger.write_reference("toy", [row("a")])
    arrived = arrive(folders / "out", row("a", made="2026-05-05T00:00:00+00:00", seconds=9.0))
    assert ledger.merge(arrived) == {"added": 0, "already": 1}
    assert ledger.reference_rows() == [row("a")]


def test_merge_of_nothing_is_an_error(folders):
    with pytest.raises(ValueError, match=r"no ledger rows in .*nowhere; expected files <experiment>/<key>\.json"):
        ledger.merge(folders / "nowhere")


def test_merge_of_a_broken_row_takes_nothing(folders):
    arrived = arrive(folders / "out", row("a"))
    (arrived / "toy" / "b.json").write_text('{"key": "b"')
    with pytest.raises(ValueError, match=r"b\.json, line 1: expected a ledger row"):
        ledger.merge(arrived)
    assert ledger.reference_rows() == []


MERGER = """
import sys
from lib.runs import ledger
print("ready", flush=True)
sys.stdin.readline()
for folder in sys.argv[1:]:
    ledger.merge(folder)
"""


def test_two_merges_at_once_lose_nothing(folders):
    mergers = []
    for who in "xy":
        arrived = [arrive(folders / f"{who}{n}", row(f"{who}{n}", seed=n)) for n in range(40)]
        mergers.append(start(MERGER, *map(str, arrived)))
    for merger in mergers:
        merger.stdout.readline()
    for merger in mergers:
        merger.stdin.write("go\n")
        merger.stdin.flush()
    for merger in mergers:
        merger.communicate()
        assert merger.returncode == 0
    assert sorted(keys(ledger.reference_rows())) == sorted(f"{who}{n}" for who in "xy" for n in range(40))


def test_a_reference_file_is_one_json_row_a_line(folders):
    ledger.merge(arrive(folders / "out", row("a"), row("b", seed=1)))
    lines = (paths.reference() / "toy.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "b"]
