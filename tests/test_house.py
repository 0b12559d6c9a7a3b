"""The rooms of ``lib``: an import goes down, never up and never round, wherever it stands in a module.

Imports inside functions count like any other. Those under ``TYPE_CHECKING`` count too: what a signature names is known.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from lib import paths

# From the ground up. A room may import itself and what stands before it.
ROOMS = [
    "paths", "registry", "storage", "losses", "crowd", "networks", "simulation", "datasets", "aggregation", "methods",
    "training", "runs", "protocols", "results", "plotting", "own_data", "reproduce", "site",
]  # fmt: skip
LIB = paths.ROOT / "lib"
MODULES = {
    ".".join(file.relative_to(paths.ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(LIB.rglob("*.py"))
}


def imported(module: str) -> set[str]:
    """The modules of ``lib`` that a module names in its imports; a package where something of its own is taken from it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= names & set(MODULES)
            if names - set(MODULES):
                found.add(node.module)
    return {name for name in found if name.split(".")[0] == "lib"} - {"lib", module}


def room(module: str) -> str:
    return module.split(".")[1]


IMPORTS = {module: imported(module) for module in MODULES}


def test_every_room_is_on_the_list_and_on_the_map():
    assert sorted({room(module) for module in MODULES if module != "lib"}) == sorted(ROOMS)
    described = ast.get_docstring(ast.parse((LIB / "__init__.py").read_text(encoding="utf-8")))
    assert [name for name in ROOMS if f"``{name}``" not in described] == []


@pytest.mark.parametrize("module", [module for module in MODULES if module != "lib"])
def test_imports_go_down(module):
    below = ROOMS[: ROOMS.index(room(module)) + 1]
    above = sorted(name for name in IMPORTS[module] if room(name) not in below)
    assert not above, f"{module} imports {', '.join(above)}"


def test_no_module_imports_itself_by_way_of_others():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_imports_name_modules_that_there_are():
    strangers = {module: unknown for module, names in IMPORTS.items() if (unknown := names - set(MODULES))}
    assert not strangers
