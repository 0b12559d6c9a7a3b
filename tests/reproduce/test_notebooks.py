"""Every committed notebook, found and not listed: how it is built, what it shows, and that its code still trains."""

import base64
import json
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from lib import datasets, paths, protocols
from lib.reproduce import notebooks
from lib.results import tables

FOUND = notebooks.select()
COMMON = {"scale": "str", "seeds": "list", "device": "str", "recompute": "bool"}
COMMITTED = paths.ROOT / "figures"  # paths.figures() is a temporary folder here, see conftest.py
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home|work|tmp|Users|usr|opt|mnt|var)/\w|[A-Z]:\\Users")
ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}")

MAX_CELLS = 44
MAX_CELL_LINES = 30
MAX_STDOUT_LINES = 15  # a cell
MAX_PICTURE = 150_000  # bytes
MAX_FILE = 650_000  # bytes

each = pytest.mark.parametrize("notebook", FOUND, ids=lambda notebook: notebook.stem)
each_reproduction = pytest.mark.parametrize(
    "notebook", [n for n in FOUND if int(n.number) >= 10], ids=lambda notebook: notebook.stem
)
each_with_data = pytest.mark.parametrize(
    "notebook", [pytest.param(n, marks=pytest.mark.needs_data(*n.data), id=n.stem) for n in FOUND]
)


def read(notebook):
    """The raw JSON, and its code cells with their sources joined."""
    content = json.loads(notebook.path.read_text(encoding="utf-8"))
    code = [
        SimpleNamespace(
            source="".join(cell["source"]),
            count=cell["execution_count"],
            outputs=cell["outputs"],
            tags=cell["metadata"].get("tags", []),
        )
        for cell in content["cells"]
        if cell["cell_type"] == "code"
    ]
    return content, code


def texts(output):
    """Everything readable in an output; pictures are not."""
    for kind, value in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield value if isinstance(value, str) else "".join(map(str, value))
    yield "".join(output.get("text", ()))


# ---------------------------------------------------------------------- how it is built


@each
def test_the_name_says_number_paper_and_result(notebook):
    assert re.fullmatch(r"[0-9]{2}(_[a-z0-9]+)+", notebook.stem)
    content, _ = read(notebook)
    assert "".join(content["cells"][0]["source"]).startswith(f"# {notebook.number} · ")


def test_numbers_are_given_once():
    numbers = [notebook.number for notebook in FOUND]
    assert len(set(numbers)) == len(numbers), numbers


@each
def test_one_parameters_cell_with_the_common_names(notebook):
    (cell,) = (cell for cell in read(notebook)[1] if notebooks.PARAMETERS_TAG in cell.tags)
    assert notebook.types | COMMON == notebook.types, f"expected {COMMON}"
    assert all("  # " in line for line in cell.source.splitlines()), "every parameter has a comment that explains it"
    # What is committed is the cheap, checkable case. (Seeds are checked by the grid that is asked for with them, below.)
    assert [notebook.defaults[name] for name in ("scale", "device", "recompute")] == ["quick", "cpu", False]
    notebooks.check_parameters(notebook, notebook.defaults)


@each
def test_the_metadata_is_complete(notebook):
    content, _ = read(notebook)
    companion = content["metadata"]["companion"]
    assert set(companion) == {"reproduces", "data", "paper", "says", "takeaways"}
    assert companion["says"]
    assert len(companion["takeaways"]) == 3
    assert bool(companion["reproduces"]) or int(notebook.number) < 10
    year = re.search(r"(?<!-)\b20\d\d\b", companion["reproduces"])  # CoNLL-2003 is a data set
    assert not (companion["paper"] and year), "pages put the paper's name in front"
    assert set(companion["data"]) <= set(datasets.names())


@each
def test_its_runs_need_the_data_it_names(notebook):
    """Else a machine without the data would fail where it should skip by name."""
    needed = {config.dataset for config in protocols.grid(notebook.stem, "quick", notebook.defaults["seeds"])}
    with_files = {name for name in needed if datasets.info(name).files}
    assert with_files <= set(notebook.data)


@each
def test_it_is_made_of_short_cells_with_words_between(notebook):
    content, code = read(notebook)
    kinds = [cell["cell_type"] for cell in content["cells"]]
    assert len(kinds) <= MAX_CELLS
    assert kinds.count("markdown") >= kinds.count("code")
    long = {cell.count: lines for cell in code if (lines := len(cell.source.splitlines())) > MAX_CELL_LINES}
    assert not long, f"lines by cell: {long}"


@each
def test_its_code_knows_no_machine(notebook):
    content, _ = read(notebook)
    for cell in content["cells"]:
        assert not MACHINE_PATH.search("".join(cell["source"])), "".join(cell["source"])


# ---------------------------------------------------------------------- what it shows


@each
def test_it_is_committed_as_in_place_leaves_it(notebook):
    content, _ = read(notebook)
    again = notebooks.dumps(notebooks.normalize(content))
    assert notebook.path.read_text(encoding="utf-8") == again, "run python -m lib.reproduce --in-place"


@each
def test_it_ran_from_top_to_bottom(notebook):
    content, code = read(notebook)
    assert notebooks.is_complete(content)
    assert all(cell.source.strip() for cell in code), "an empty code cell"


@each
def test_its_outputs_are_quiet_and_know_no_machine(notebook):
    _, code = read(notebook)
    for cell in code:
        where = f"In [{cell.count}]"
        for output in cell.outputs:
            assert output.get("name") != "stderr", (where, "".join(output["text"]))
            for text in texts(output):
                assert not MACHINE_PATH.search(text), (where, text[:500])
                assert not ADDRESS.search(text), (where, text[:500])
        printed = [line for o in cell.outputs if o.get("name") == "stdout" for line in "".join(o["text"]).splitlines()]
        assert len(printed) <= MAX_STDOUT_LINES, where


@each
def test_its_pictures_are_png_and_the_file_is_small(notebook):
    _, code = read(notebook)
    for cell in code:
        for output in cell.outputs:
            for kind, value in output.get("data", {}).items():
                assert kind in ("text/plain", "text/html", "text/markdown", "image/png"), (cell.count, kind)
                if kind == "image/png":
                    assert len(base64.b64decode("".join(value))) <= MAX_PICTURE, f"In [{cell.count}]"
    assert notebook.path.stat().st_size <= MAX_FILE


@each_reproduction
def test_its_table_and_claims_are_committed(notebook):
    folder = COMMITTED / notebook.stem
    table = pd.read_csv(folder / "table.csv")
    assert list(table.columns) == tables.COLUMNS
    assert len(table)
    assert "\n| " in "\n" + (folder / "table.md").read_text(encoding="utf-8")
    if notebook.stem == "91_all_methods_embedded":
        return  # its orders are about our own simulation: tests, no claims
    assert json.loads((folder / "claims.json").read_text(encoding="utf-8"))  # what is in it: tests/results/test_pages.py


@each_reproduction
def test_each_picture_lies_beside_its_numbers(notebook):
    folder = COMMITTED / notebook.stem
    pictures = {path.stem for path in folder.glob("*.png")}
    assert pictures
    measured = {name for name in pictures if not name.startswith("model_")}  # a picture of a model shows no numbers
    assert measured <= {path.stem for path in folder.glob("*.csv")}


# ---------------------------------------------------------------------- that its code still trains


@each_with_data
def test_it_runs_at_smoke_and_leaves_the_committed_files(notebook, run_notebook, tmp_path):
    environment = {f"CROWDS_{name}": str(tmp_path / name.lower()) for name in ("RUNS", "FIGURES")} | {"CROWDS_LEDGER": ""}
    failure = run_notebook(notebook.path, {"scale": "smoke", "seeds": [0], "recompute": True}, environment)
    assert failure is None, failure
    if protocols.grid(notebook.stem, "smoke", [0]):
        assert list((tmp_path / "runs").glob("*/*.json")), "it trained nothing, in spite of recompute"
    made, committed = (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for folder in (tmp_path / "figures" / notebook.stem, COMMITTED / notebook.stem)
    )
    assert made == committed, "figures/ holds other files than the notebook makes; run --in-place"


@each
def test_reading_computes_no_features(notebook):
    """They take minutes where the cache is empty: a notebook that trains on them loads the images themselves."""
    trained = protocols.grid(notebook.stem, "quick", [0])
    if not any("features" in config.dataset_options for config in trained):
        return
    for cell in read(notebook)[1]:
        if "datasets.load(" in cell.source:
            assert '"features"' in cell.source, cell.source
