"""The registry imports the module that the catalogue names, and says what it knows when asked for something else."""

import sys

import pytest

from lib.registry import Registry, unknown


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A package with a registry of shapes."""
    package = tmp_path / "shapes"
    package.mkdir()
    modules = {
        "__init__": "from lib.registry import Registry\n"
        "shapes = Registry('shape', __name__, {'circle': 'round', 'square': 'angular', 'lost': 'round', 'cube': 'solid'})",
        "round": "from shapes import shapes\nshapes.add('circle', 'CIRCLE')",
        "angular": "from shapes import shapes\nshapes.add('oval', 'OVAL')",
        "solid": "1 / 0",
    }
    for name, source in modules.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import shapes

    yield shapes.shapes
    for module in [name for name in sys.modules if name.split(".")[0] == "shapes"]:
        del sys.modules[module]


def test_only_the_module_that_is_asked_for_is_imported(shapes):
    assert shapes.names() == ["circle", "cube", "lost", "square"]
    assert shapes.get("circle") == shapes.get("circle") == "CIRCLE"
    for _ in range(2):  # an error in a module is not hidden
        with pytest.raises(ZeroDivisionError):
            shapes.get("cube")


def test_a_name_is_in_the_catalogue_and_taken_once(shapes):
    shapes.get("circle")
    with pytest.raises(ValueError, match="shape 'circle' is registered twice"):
        shapes.add("circle", 1)
    with pytest.raises(ValueError, match="shape 'oval' has no line in the catalogue of shapes"):
        shapes.get("square")
    with pytest.raises(ValueError, match=r"shapes\.round registers no shape 'lost', as the catalogue says"):
        shapes.get("lost")


def test_unknown_names_what_is_known_and_guesses_only_what_is_near():
    with pytest.raises(ValueError) as error:
        Registry("backbone", "lib.networks", {"linear": "mlp", "mlp": "mlp"}).get("linaer")
    assert str(error.value) == "unknown backbone 'linaer'; did you mean 'linear'? Known: linear, mlp"
    assert unknown("scale", "tiny", ["quick", "smoke"]) == "unknown scale 'tiny'. Known: quick, smoke"
    assert unknown("scale", 3, ["quick", "smoke"]).startswith("unknown scale 3.")
