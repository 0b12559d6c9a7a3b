"""The registry finds what stands in a package's modules, and says what it knows when asked for something else."""

from __future__ import annotations

import sys

import pytest

from lib.registry import Registry, unknown


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A package whose modules register shapes; a function adds a module."""
    package = tmp_path / "shapes"
    package.mkdir()
    (package / "__init__.py").write_text("from lib.registry import Registry\nshapes = Registry('shape', __name__)\n")
    monkeypatch.syspath_prepend(tmp_path)

    def add(module, name, code=""):
        source = f"from shapes import shapes\n{code}\nshapes.add({name!r}, {name!r}.upper())\n"
        (package / f"{module}.py").write_text(source)

    yield add
    for module in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        del sys.modules[module]


def test_a_new_entry_is_a_new_file(shapes):
    shapes("round", "circle")
    shapes("angular", "square")
    import shapes as package

    assert package.shapes.names() == ["circle", "square"]
    assert package.shapes.get("square") == "SQUARE"


def test_entries_are_imported_when_they_are_asked_for(shapes, tmp_path):
    # Fails if it is imported a second time.
    shapes("round", "circle", code=f"from pathlib import Path\nPath({str(tmp_path / 'imported')!r}).mkdir()")
    import shapes as package

    assert not (tmp_path / "imported").exists()
    package.shapes.names()
    package.shapes.get("circle")
    assert (tmp_path / "imported").exists()


def test_an_error_in_a_module_is_not_hidden(shapes):
    shapes("broken", "circle", code="1 / 0")
    import shapes as package

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            package.shapes.names()


def test_a_name_is_taken_once(shapes):
    shapes("round", "circle")
    shapes("rounder", "circle")
    import shapes as package

    with pytest.raises(ValueError, match="shape 'circle' is registered twice"):
        package.shapes.names()


def test_unknown_names_what_was_found_and_what_is_known():
    registry = Registry("backbone", "lib.networks")
    registry._imported = True
    registry.add("linear", 1)
    registry.add("mlp", 2)
    with pytest.raises(ValueError) as error:
        registry.get("linaer")
    assert str(error.value) == "unknown backbone 'linaer'; did you mean 'linear'? Known: linear, mlp"


def test_unknown_guesses_only_what_is_near():
    assert unknown("scale", "tiny", ["quick", "smoke"]) == "unknown scale 'tiny'. Known: quick, smoke"
    assert unknown("scale", 3, ["quick", "smoke"]).startswith("unknown scale 3.")
