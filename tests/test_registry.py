"""The registry imports the module that the catalogue names, and says what it knows when asked for something else."""

from __future__ import annotations

import sys

import pytest

from lib.registry import Registry, unknown


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A package whose modules register shapes; a function adds a module."""
    package = tmp_path / "shapes"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from lib.registry import Registry\n"
        "shapes = Registry('shape', __name__, {'circle': 'round', 'square': 'angular', 'lost': 'round'})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def add(module, name, code=""):
        source = f"from shapes import shapes\n{code}\nshapes.add({name!r}, {name!r}.upper())\n"
        (package / f"{module}.py").write_text(source)

    yield add
    for module in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        del sys.modules[module]


def test_only_the_module_that_is_asked_for_is_imported(shapes):
    shapes("round", "circle")
    shapes("angular", "square", code="1 / 0")
    import shapes as package

    assert package.shapes.names() == ["circle", "lost", "square"]
    assert package.shapes.get("circle") == package.shapes.get("circle") == "CIRCLE"
    for _ in range(2):  # an error in a module is not hidden
        with pytest.raises(ZeroDivisionError):
            package.shapes.get("square")


def test_a_name_is_in_the_catalogue_and_taken_once(shapes):
    shapes("round", "circle")
    shapes("angular", "oval")
    import shapes as package

    package.shapes.get("circle")
    with pytest.raises(ValueError, match="shape 'circle' is registered twice"):
        package.shapes.add("circle", 1)
    with pytest.raises(ValueError, match="shape 'oval' has no line in the catalogue of shapes"):
        package.shapes.get("square")
    with pytest.raises(ValueError, match=r"shapes\.round registers no shape 'lost', as the catalogue says"):
        package.shapes.get("lost")


def test_unknown_names_what_was_found_and_what_is_known():
    with pytest.raises(ValueError) as error:
        Registry("backbone", "lib.networks", {"linear": "mlp", "mlp": "mlp"}).get("linaer")
    assert str(error.value) == "unknown backbone 'linaer'; did you mean 'linear'? Known: linear, mlp"


def test_unknown_guesses_only_what_is_near():
    assert unknown("scale", "tiny", ["quick", "smoke"]) == "unknown scale 'tiny'. Known: quick, smoke"
    assert unknown("scale", 3, ["quick", "smoke"]).startswith("unknown scale 3.")
