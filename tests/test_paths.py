"""The project's folders: movable where a run writes, and joined in one place only."""

import csv
import re

import pytest

from lib import paths

MOVABLE = {
    "CROWDS_BUILD": paths.build,
    "CROWDS_CACHE": paths.cache,
    "CROWDS_RUNS": paths.runs,
    "CROWDS_REFERENCE": paths.reference,
    "CROWDS_FIGURES": paths.figures,
    "CROWDS_MIRROR": paths.mirror,
}


@pytest.mark.parametrize("variable", MOVABLE)
def test_a_folder_moves_with_its_variable(variable, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, str(tmp_path))
    assert MOVABLE[variable]() == tmp_path


@pytest.mark.parametrize("variable", [name for name in MOVABLE if name != "CROWDS_MIRROR"])
def test_without_the_variable_a_folder_is_the_projects_own(variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    folder = MOVABLE[variable]()
    assert folder.is_relative_to(paths.ROOT)
    monkeypatch.setenv(variable, "")
    assert MOVABLE[variable]() == folder != paths.ROOT


def test_folders_made_of_others(monkeypatch, tmp_path):
    for variable in ("CROWDS_FIGURES", "CROWDS_BUILD"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert paths.figures("10_crowdlayer_labelme") == tmp_path / "10_crowdlayer_labelme"
    assert paths.site() == tmp_path / "site"
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path / "absent"))
    assert paths.mirror() is None


def test_the_tests_write_nothing_into_the_project():
    """The root conftest moves what notebooks and sweeps write."""
    assert not paths.figures().is_relative_to(paths.ROOT)
    assert not paths.runs().is_relative_to(paths.ROOT)


def test_only_paths_knows_where_the_project_is():
    knowing = [
        file.relative_to(paths.ROOT).as_posix()
        for file in (paths.ROOT / "lib").rglob("*.py")
        if "__file__" in file.read_text(encoding="utf-8")
    ]
    assert knowing == ["lib/paths.py"]


def test_every_variable_is_explained():
    used = set()
    for file in (paths.ROOT / "lib").rglob("*.py"):
        used.update(re.findall(r"\bCROWDS_[A-Z_]+\b", file.read_text(encoding="utf-8")))
    explained = set(re.findall(r"`(CROWDS_[A-Z_]+)`", (paths.DATA / "README.md").read_text(encoding="utf-8")))
    assert used == explained


# ---------------------------------------------------------------------- the papers' numbers


def papers() -> list[dict[str, str]]:
    with paths.PAPER_RESULTS.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_each_number_of_a_paper_is_a_number_with_a_source():
    rows = papers()
    assert list(rows[0]) == ["paper", "result_id", "dataset", "case", "method", "metric", "mean", "std", "source"]
    for row in rows:
        assert all(row[column] for column in ("paper", "result_id", "dataset", "case", "metric", "source")), row
        assert float(row["mean"]) == float(row["mean"]), row  # neither absent nor NaN
        assert row["std"] == "" or float(row["std"]) >= 0, row


def test_no_two_rows_say_the_same_thing():
    columns = ("paper", "result_id", "dataset", "case", "method", "metric")
    keys = [tuple(row[column] for column in columns) for row in papers()]
    twice = {key for key in keys if keys.count(key) > 1}
    assert not twice
