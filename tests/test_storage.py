"""Files, locks that end with their process, and arrays that are made once, healed where damaged, and never in the way."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lib import paths, storage
from lib.storage import NotWritable, cached, in_use, locked, remove_unused, try_lock, write_atomically


def made(values):
    calls = []

    def make():
        calls.append(1)
        return np.array(values)

    return make, calls


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b[:-1] + b"\0", lambda b: b"", lambda b: b"no array"])
def test_an_array_is_made_once_and_healed_where_it_is_damaged(tmp_path, damage, caplog):
    make, calls = made([1.5, 2.5])
    for _ in range(2):
        assert np.array_equal(cached(tmp_path / "new" / "key.npy", make), [1.5, 2.5])
    assert len(calls) == 1
    file = tmp_path / "new" / "key.npy"
    file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):
        assert np.array_equal(cached(tmp_path / "new" / "key.npy", make), [1.5, 2.5])
    assert "damaged" in caplog.text
    assert len(calls) == 2


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    make, calls = made([3])
    for _ in range(2):
        assert cached(tmp_path / "file" / "cache" / "key.npy", make) == [3]
    assert len(calls) == 2
    assert "could not be locked" in caplog.text
    assert "not kept, and made again next time" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_cache_that_can_only_be_read_is_read_without_a_word(tmp_path, monkeypatch, caplog):
    make, calls = made([3])
    cached(tmp_path / "key.npy", make)

    def refuse(path):
        raise NotWritable(30, "could not be locked", str(path))

    monkeypatch.setattr(storage, "locked", refuse)
    assert cached(tmp_path / "key.npy", make) == [3]
    assert (len(calls), caplog.text) == (1, "")


def test_several_arrays_are_kept_together_and_healed_together(tmp_path):
    make, calls = made([1, 2])
    both = lambda: {"one": make(), "two": np.array([3])}  # noqa: E731
    for _ in range(2):
        found = cached(tmp_path / "key.npz", both)
        assert {name: values.tolist() for name, values in found.items()} == {"one": [1, 2], "two": [3]}
    content = bytearray((tmp_path / "key.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "key.npz").write_bytes(bytes(content))
    assert cached(tmp_path / "key.npz", both)["one"].tolist() == [1, 2]
    assert len(calls) == 2


@pytest.mark.parametrize(("right", "expected"), [(lambda found: found["one"] == [4], 4), (None, 3), (lambda found: False, 3)])
def test_a_file_without_its_digest_is_taken_only_where_it_is_right_all_the_same(tmp_path, right, expected):
    make, calls = made([3])
    np.savez(tmp_path / "key.npz", one=np.array([4]))
    assert cached(tmp_path / "key.npz", lambda: {"one": make()}, right)["one"] == [expected]
    assert len(calls) == (expected == 3)


HOLD = """
import pathlib, sys
from lib.storage import in_use, locked
folder = pathlib.Path(sys.argv[1])
with in_use(folder), locked(folder / "lock"):
    print("held", flush=True)
    input()
"""


def test_locks_and_marks_end_with_the_process_that_holds_them(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=paths.ROOT) as holder:
        assert holder.stdout.readline() == "held\n"
        assert try_lock(tmp_path / "lock") is None
        remove_unused(tmp_path)
        assert tmp_path.exists()
        holder.kill()
    with locked(tmp_path / "lock"), in_use(tmp_path):
        remove_unused(tmp_path)
        assert tmp_path.exists()
    remove_unused(tmp_path)
    assert not tmp_path.exists()


CLOSED = """
import os, subprocess, sys
from lib.storage import open_closed
open_closed()
print("nowhere")
print("nowhere", file=sys.stderr)
with open(sys.argv[1], "w") as file:
    file.write(f"{file.fileno() > 2} {sys.stdin.read()!r} ")
    file.flush()
    child = "import os, sys; sys.exit(any(os.fstat(number).st_rdev != os.stat(os.devnull).st_rdev for number in range(3)))"
    file.write(str(subprocess.run([sys.executable, "-c", child]).returncode))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_standard_files_are_the_null_device_here_and_in_processes_started_from_here(tmp_path):
    command = [sys.executable, "-c", CLOSED, str(tmp_path / "told")]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=paths.ROOT, check=False)
    assert done.returncode == 0
    assert (tmp_path / "told").read_text() == "True '' 0"


def test_a_file_or_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotWritable, match="could not be locked"):
        try_lock(tmp_path / "file" / "lock")
    with pytest.raises(NotWritable, match=r"could not write 3 bytes .*inside"):
        write_atomically(tmp_path / "file" / "inside", "abc")
