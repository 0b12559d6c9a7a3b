"""The engine under the notebooks, on toy notebooks: finding, inspecting, running, normalizing."""

import copy
import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib import paths
from lib.reproduce import notebooks
from tests.toys import write_notebook

PARAMETERS = 'scale: str = "quick"  # smoke or quick\nseeds: list = [0, 1]\nrate: float = 0.5\nflag: bool = False'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty notebooks folder, with the build folder beside it."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("CROWDS_BUILD", str(tmp_path / "build"))
    paths.NOTEBOOKS.mkdir()
    return paths.NOTEBOOKS


# ---------------------------------------------------------------------- finding


def test_metadata_and_parameters_are_read(folder):
    write_notebook("20_second")
    write_notebook("10_first", data=["labelme"], parameters=PARAMETERS)
    (folder / "draft.ipynb").write_text("{}")  # no number: none of ours
    first, second = notebooks.select()
    assert (first.stem, first.number, second.stem) == ("10_first", "10", "20_second")
    assert (first.reproduces, first.data) == ("Table of 10_first", ("labelme",))
    assert first.types == {"scale": "str", "seeds": "list", "rate": "float", "flag": "bool"}
    assert first.defaults == {"scale": "quick", "seeds": [0, 1], "rate": 0.5, "flag": False}


@pytest.mark.parametrize("source", ["a: int = 1 + len('x')", "import os", "a: int", "a, b = 1, 2", "a: int = ("])
def test_a_parameters_cell_of_anything_but_literals_is_refused(folder, source):
    path = write_notebook("10_a", parameters=source)
    with pytest.raises(notebooks.NotebookError, match=r"10_a\.ipynb: the parameters cell"):
        notebooks.inspect(path)


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[]",
        '{"cells": []}',
        '{"cells": [{}], "metadata": {}}',
        '{"cells": [{"cell_type": "code"}], "metadata": {"companion": []}}',
        '{"cells": [], "metadata": {"companion": {"data": [1]}}}',
    ],
)
def test_a_file_that_is_no_notebook_is_named(folder, content):
    (folder / "10_broken.ipynb").write_text(content)
    with pytest.raises(notebooks.NotebookError, match=r"10_broken\.ipynb is no notebook"):
        notebooks.select()


def test_select_takes_numbers_stems_and_paths_in_notebook_order(folder):
    for stem in ("00_start", "10_labelme", "23_real"):
        write_notebook(stem)
    stems = [notebook.stem for notebook in notebooks.select(["23_real", "10", "notebooks/10_labelme.ipynb"])]
    assert stems == ["10_labelme", "23_real"]
    assert len(notebooks.select()) == 3
    with pytest.raises(notebooks.NotebookError, match=r"unknown notebook '10_labelmee'.*mean '10_labelme'.*Known: 00_start"):
        notebooks.select(["10_labelmee"])
    with pytest.raises(notebooks.NotebookError, match="unknown notebook '1'"):
        notebooks.select(["1"])


# ---------------------------------------------------------------------- parameters and running


@pytest.mark.parametrize(("name", "value"), [("scale", 3), ("seeds", "0"), ("rate", "x"), ("rate", True), ("flag", 1)])
def test_a_parameter_of_the_wrong_type_is_an_error(folder, name, value):
    notebook = notebooks.inspect(write_notebook("10_a", parameters=PARAMETERS))
    notebooks.check_parameters(notebook, {"scale": "smoke", "seeds": [3], "rate": 1, "flag": True})
    with pytest.raises(notebooks.NotebookError, match=f"parameter '{name}' must be .*found"):
        notebooks.check_parameters(notebook, {name: value})


def test_an_unknown_parameter_is_an_error_that_lists_the_known(folder):
    notebook = notebooks.inspect(write_notebook("10_a", parameters=PARAMETERS))
    with pytest.raises(notebooks.NotebookError, match=r"10_a.*'seed'.*mean 'seeds'.*scale, seeds, rate, flag"):
        notebooks.check_parameters(notebook, {"seed": [1]})


def test_execute_injects_parameters_and_runs_in_the_notebooks_folder(folder, monkeypatch):
    """Without a home folder, and without a trace in our own environment."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    for variable in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, "/proc/no-such-home")
    seen = (
        "import os, pathlib, lib.paths, matplotlib.pyplot\n"
        "print(scale, rate, pathlib.Path.cwd(), os.environ['PYTHONHASHSEED'], os.environ['MPLBACKEND'], os.environ['TOY'])"
    )
    source = write_notebook("10_a", seen, parameters=PARAMETERS)
    before, output = source.read_bytes(), paths.build() / "out" / "10_a.ipynb"
    notebooks.execute(notebooks.inspect(source), {"scale": "smoke"}, output, {"TOY": "yes"})
    (printed,) = nbformat.read(output, 4).cells[-1].outputs  # no notice on stderr either
    assert printed.text == f"smoke 0.5 {folder} 0 module://matplotlib_inline.backend_inline yes\n"
    assert source.read_bytes() == before
    assert os.environ["MPLBACKEND"] == "agg"
    assert "TOY" not in os.environ


# ---------------------------------------------------------------------- normalizing


def dirty_notebook():
    """What papermill leaves: stamps, injected parameters, pieces of a stream, odd counts, a foreign kernel."""
    outputs = [
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stdout", text="b"),
        new_output("stream", name="stderr", text="c"),
        new_output("display_data", data={"image/png": "aGVsbG8=\n", "text/plain": "<Figure>"}),
        new_output("execute_result", data={"text/plain": "'quick'"}, execution_count=7),
    ]
    tagged = {"tags": ["parameters"], "slideshow": {"slide_type": "skip"}, "collapsed": True}
    timed = {"execution": {"iopub.busy": "2020"}, "scrolled": True}
    cells = [
        new_markdown_cell("# T", id="x1", metadata={"papermill": {"duration": 1}, "tags": []}),
        new_code_cell("scale = 'quick'", id="x2", execution_count=2, metadata=tagged),
        new_code_cell("scale = 'smoke'", id="x3", execution_count=3, metadata={"tags": ["injected-parameters"]}),
        new_code_cell("scale", id="x4", execution_count=7, metadata=timed, outputs=outputs),
        new_code_cell("", id="x5"),
        new_code_cell("scale", id="x6", execution_count=9),
    ]
    metadata = {
        "papermill": {"input_path": "/somewhere"},
        "kernelspec": {"name": "my-conda-env", "display_name": "mine", "language": "python"},
        "language_info": {"name": "python", "version": "3.12.1"},
        "widgets": {"state": {}},
        "companion": {"data": ["digits"]},
    }
    return new_notebook(cells=cells, metadata=metadata)


def test_normalize_takes_the_traces_out():
    notebook = dirty_notebook()
    before = copy.deepcopy(notebook)
    clean = notebooks.normalize(notebook)
    assert notebook == before  # not changed
    assert set(clean["metadata"]) == {"kernelspec", "language_info", "companion"}
    assert clean["metadata"]["kernelspec"] == {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert "version" not in clean["metadata"]["language_info"]
    kept = {"tags": ["parameters"], "slideshow": {"slide_type": "skip"}}
    assert [cell["metadata"] for cell in clean["cells"]] == [{}, kept, {}, {}, {}]
    code = [cell for cell in clean["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, None, 3]
    outputs = code[1]["outputs"]
    kinds = [output.get("name") or output["output_type"] for output in outputs]
    assert kinds == ["stdout", "stderr", "display_data", "execute_result"]
    assert outputs[0]["text"] == "a\nb"
    assert outputs[3]["execution_count"] == 2


def test_normalize_gives_stable_unique_ids():
    clean = notebooks.normalize(dirty_notebook())
    ids = [cell["id"] for cell in clean["cells"]]
    assert len(set(ids)) == len(ids)
    assert ids[4] == ids[2] + "-2"  # the same source twice
    longer = dirty_notebook()
    longer.cells.insert(1, new_markdown_cell("New words"))
    assert [cell["id"] for cell in notebooks.normalize(longer)["cells"]][2:] == ids[1:]


def test_the_bytes_of_a_normalized_notebook_are_stable(tmp_path):
    text = notebooks.dumps(notebooks.normalize(dirty_notebook()))
    path = tmp_path / "n.ipynb"
    path.write_text(text, encoding="utf-8")
    read = nbformat.read(path, 4)
    assert notebooks.dumps(notebooks.normalize(read)) == text
    nbformat.write(read, path)  # saving without a change is no change
    assert path.read_text(encoding="utf-8") == text


def test_dumps_refuses_what_is_no_notebook():
    clean = notebooks.normalize(dirty_notebook())
    del clean["cells"][1]["outputs"]
    with pytest.raises(nbformat.ValidationError):
        notebooks.dumps(clean)


def test_is_complete_wants_every_cell_run_in_order_without_errors():
    clean = notebooks.normalize(dirty_notebook())
    assert notebooks.is_complete(clean)
    stopped = copy.deepcopy(clean)
    stopped["cells"][-1]["execution_count"] = None
    assert not notebooks.is_complete(stopped)
    raised = copy.deepcopy(clean)
    raised["cells"][-1]["outputs"] = [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]
    assert not notebooks.is_complete(raised)
