"""The API reference, read from the source: no module is imported, so that the site needs no torch."""

import ast
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst.roles import register_generic_role
from sphinx.ext.napoleon import Config, GoogleDocstring

from lib import paths

_STYLE = Config(napoleon_use_rtype=False, napoleon_use_ivar=True)
for _role in ("func", "class", "meth", "mod", "data", "attr", "doc"):  # Sphinx's own, which docutils alone does not know
    register_generic_role(_role, nodes.literal)


def write(folder: Path) -> None:
    """One page a room of ``lib``: every module with its public classes and functions."""
    folder.mkdir(parents=True, exist_ok=True)
    library = paths.ROOT / "lib"
    rooms = [room for room in sorted(library.iterdir()) if (room / "__init__.py").exists() or room.suffix == ".py"]
    rooms = [room for room in rooms if room.name not in ("__init__.py", "site")]
    for room in rooms:
        files = [room] if room.suffix else sorted(room.rglob("*.py"))
        modules = [_module(file, "=" if file == files[0] else "-") for file in files if file.name != "__main__.py"]
        (folder / f"{room.stem}.rst").write_text("\n".join(modules), encoding="utf-8")
    summary = ast.get_docstring(ast.parse((library / "__init__.py").read_text(encoding="utf-8")))
    lines = ["API reference", "=============", "", summary, "", ".. toctree::", "   :maxdepth: 1", ""]
    lines += [f"   {room.stem}" for room in rooms]
    (folder / "index.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _module(file: Path, underline: str) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    name = ".".join(file.relative_to(paths.ROOT).with_suffix("").parts).removesuffix(".__init__")
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    exported = ast.literal_eval(assigned[0].value) if assigned else None
    lines = [name, underline * len(name), "", f".. py:module:: {name}", "", _text(tree), ""]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            public = not node.name.startswith("_") if exported is None else node.name in exported
            lines += _described(node, "") if public else []
    return "\n".join(lines)


def _described(node: ast.FunctionDef | ast.ClassDef, indent: str) -> Iterator[str]:
    """The directive of a function or class, with its methods inside."""
    decorators = {ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list}
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        yield f"{indent}.. py:class:: {node.name}{f'({bases})' if bases else ''}"
    elif "property" in decorators:
        yield f"{indent}.. py:property:: {node.name}"
    else:
        if indent and "staticmethod" not in decorators:
            node.args.args = node.args.args[1:]  # self or cls
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        yield f"{indent}.. py:{'method' if indent else 'function'}:: {node.name}({ast.unparse(node.args)}){returns}"
    yield ""
    yield from (f"{indent}   {line}" if line else "" for line in _text(node).splitlines())
    yield ""
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_") and ast.get_docstring(member):
                yield from _described(member, indent + "   ")


def _text(node: ast.AST) -> str:
    """A docstring as reStructuredText; one that is none is shown as it is written."""
    written = ast.get_docstring(node) or ""
    text = str(GoogleDocstring(written, _STYLE, what="function"))
    complaints = io.StringIO()
    publish_doctree(text, settings_overrides={"warning_stream": complaints, "report_level": 2, "halt_level": 5})
    return "::\n\n" + textwrap.indent(written, "   ") if complaints.getvalue() else text
