"""The solutions of the exercises, and the notebook of the lessons, run from top to bottom in seconds."""

import itertools
import re

import nbformat
import pytest

from lib import datasets, paths

FOUND = sorted([*paths.NOTEBOOKS.glob("solutions/*.ipynb"), *paths.NOTEBOOKS.glob("lessons/*.ipynb")])
PLANS = sorted(paths.NOTEBOOKS.glob("lessons/*.md"))
SOLVED = [path for path in FOUND if path.parent.name == "solutions"]
MAX_CELL_LINES = 30  # the first cell has imports
MAX_FILE = 150_000  # bytes


def read(path):
    return nbformat.read(path, as_version=4)


def words(path):
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def needs(path):
    return pytest.param(
        path, marks=pytest.mark.needs_data(*read(path).metadata.companion["data"]), id=f"{path.parent.name}/{path.stem}"
    )


each = pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.stem}")
each_solution = pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)


@pytest.mark.parametrize("path", [needs(path) for path in FOUND])
def test_it_runs_at_smoke(path, run_notebook, tmp_path):
    environment = {"CROWDS_LEDGER": "", "CROWDS_RUNS": str(tmp_path), "CROWDS_FIGURES": str(tmp_path)}
    failure = run_notebook(path, {"scale": "smoke"}, environment)
    assert failure is None, failure


@each
def test_it_is_committed_with_its_outputs(path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert len(cell.source.splitlines()) <= MAX_CELL_LINES
        assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in cell.outputs)
    assert path.stat().st_size <= MAX_FILE
    assert set(notebook.metadata.companion["data"]) <= set(datasets.names())


@each_solution
def test_each_exercise_is_linked_predicted_and_solved(path):
    exercises = (paths.NOTEBOOKS / path.name).read_text(encoding="utf-8")
    assert f"(solutions/{path.name})" in exercises, "its notebook must link to it"
    text = words(path)
    assert f"(../{path.name})" in text, "it must link to its notebook"
    titles = re.findall(r"^## (\d) · (.+)$", text, re.MULTILINE)
    assert 3 <= len(titles) <= 5
    assert [int(number) for number, _ in titles] == list(range(1, len(titles) + 1))
    assert text.count("*Predict first:*") == text.count("**Solution.**") == len(titles)
    assert sum(title.startswith("Paper and pencil") for _, title in titles) == 1


@pytest.mark.parametrize("path", [*FOUND, *PLANS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_links_to_other_files_lead_somewhere(path):
    text = path.read_text(encoding="utf-8") if path in PLANS else words(path)
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert targets
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_a_plan_fills_fifty_minutes(path):
    times = [tuple(map(int, row)) for row in re.findall(r"^\| (\d+)–(\d+) \|", path.read_text(encoding="utf-8"), re.MULTILINE)]
    assert times[0][0] == 0
    assert times[-1][1] == 50
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(times))
