"""Measured minutes: one file, read and written; a page shows no others."""

import re

import pytest

from lib import paths
from lib.results import minutes
from lib.results.minutes import Measured
from lib.results.pages import GB, GB_CPU

HEAD = "what,scale,minutes,processes,processor,day\n"
OLD = Measured("10_one", "quick", 4.2, 2, "Some processor", "2026-11-29")


def test_a_newer_line_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "minutes.csv"
    assert minutes.read(path) == []
    other = Measured("10_one", "overnight", 90.0, 2, "Some processor", "2026-11-29")
    assert minutes.take_in([OLD, other], path) == 2
    new = Measured("10_one", "quick", 3.0, 4, "A, faster one", "2026-11-30")
    assert minutes.take_in([new], path) == 1
    assert minutes.read(path) == [other, new]


def test_a_line_about_this_machine():
    line = minutes.measured("10_one", "quick", 252.0, 2)
    assert (line.minutes, line.processes) == (4.2, 2)
    assert line.processor
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", line.day)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines of what, scale, minutes.*not enough values"),
        ("what,minutes\n", "expected lines of what, scale.*: found what, minutes"),
        (HEAD + "10_one,quick,some,2,x,y\n", "could not convert string to float: 'some'"),
        (HEAD + "10_one,quick,1.0,2,x\n", "missing 1 required positional argument: 'day'"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "minutes.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"minutes\.csv: .*{message}"):
        minutes.read(path)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.4, "under a minute"), (1.2, "1 minute"), (4.2, "4 minutes"), (61, "61 minutes"), (126, "2.1 hours")],
)
def test_words(value, words):
    assert minutes.words(value) == words


def test_the_committed_lines_are_about_what_there_is():
    stems = {path.stem for path in paths.NOTEBOOKS.glob("[0-9]*.ipynb")} | {minutes.EVERYTHING, minutes.TESTS}
    assert {line.what for line in minutes.read()} <= stems


def test_the_readme_types_no_minutes_and_its_gigabytes_are_those_of_the_makefile():
    typed = re.sub(r"<!-- generated:.*?<!-- end -->", "", paths.README.read_text(encoding="utf-8"), flags=re.S)
    assert re.findall(r"[\d.]+ (?:minutes?|hours?|GB)", typed) == []
    assert f"$(if $(CPU),{GB_CPU},{GB}) GB" in (paths.ROOT / "Makefile").read_text(encoding="utf-8")
