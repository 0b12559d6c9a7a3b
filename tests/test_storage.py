"""Arrays that take time are made once, healed where they are damaged, and never in the way."""

from __future__ import annotations

import numpy as np
import pytest

from lib.storage import cached_array


def made(values):
    calls = []

    def make():
        calls.append(1)
        return np.array(values)

    return make, calls


def test_an_array_is_made_once(tmp_path):
    make, calls = made([1.5, 2.5])
    found = [cached_array(tmp_path / "a", "key", make) for _ in range(3)]
    assert all(np.array_equal(array, [1.5, 2.5]) for array in found)
    assert len(calls) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b[:-1] + b"\0", lambda b: b"", lambda b: b"no array"])
def test_damage_is_healed(tmp_path, damage, caplog):
    make, calls = made([1.5, 2.5])
    cached_array(tmp_path, "key", make)
    file = tmp_path / "key.npy"
    file.write_bytes(damage(file.read_bytes()))
    assert np.array_equal(cached_array(tmp_path, "key", make), [1.5, 2.5])
    assert len(calls) == 2
    assert "damaged" in caplog.text
    cached_array(tmp_path, "key", make)
    assert len(calls) == 2


def test_a_file_without_its_digest_is_made_again(tmp_path):
    make, calls = made([3])
    np.save(tmp_path / "key.npy", np.array([4]))
    assert cached_array(tmp_path, "key", make) == [3]
    assert len(calls) == 1


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    make, calls = made([3])
    for _ in range(2):
        assert cached_array(tmp_path / "file" / "cache", "key", make) == [3]
    assert len(calls) == 2
    assert "cannot be locked" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
