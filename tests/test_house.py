"""The rooms of ``lib``: an import goes down, never up and never round, wherever it stands in a module.

Imports inside functions count like any other. Those under ``TYPE_CHECKING`` count too: what a signature names is known.
What texts and messages name of ``lib`` is there.
"""

import ast
import re
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


def defined(module: str) -> set[str]:
    """The names that a module binds at its top, by an import too."""
    found = set()
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.asname or name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            found |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return found


def test_what_texts_and_messages_name_in_lib_is_there():
    texts = [*MODULES.values(), *(paths.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md"))]
    texts += sorted(paths.NOTEBOOKS.rglob("*.md")) + sorted(paths.NOTEBOOKS.rglob("*.ipynb"))
    lost = []
    for text in texts:
        for named in sorted(set(re.findall(r"\blib(?:\.[A-Za-z_]\w*)+", text.read_text(encoding="utf-8")))):
            parts = named.split(".")
            module = next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in MODULES)
            rest = named.removeprefix(module).split(".")[1:]
            if rest and rest[0] not in defined(module):
                lost.append(f"{text.relative_to(paths.ROOT)}: {named}")
    assert not lost
