"""A notebook as a deck of slides, from its cells' ``slideshow`` metadata; reveal.js is copied from a package of the lock.

A slide shows what one points at: headings, lists, tables, formulas, figures. Paragraphs are what one says: they become the
speaker's notes (key S). So notebook and slides are one text, and nothing is written twice.
"""

import html
import json
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import files
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lib import paths
from lib.site import copies

DECKS = ("00_start_here",)
CODE_TAG = "slide-code"  # a cell with this tag shows its code; the others only what they put out
REVEAL = ("dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js", "LICENSE")


def write(folder: Path, figures: Sequence[copies.Figure]) -> None:
    """Write each deck as ``NN_name.html`` into ``folder``, and reveal.js with its license beside it."""
    brought = {str(file).split("/revealjs/")[-1]: file.locate() for file in files("sphinx-revealjs")}
    (folder / "reveal").mkdir(parents=True, exist_ok=True)
    for place in REVEAL:
        shutil.copyfile(brought[place], folder / "reveal" / Path(place).name)
    for deck in DECKS:
        content = json.loads((paths.NOTEBOOKS / f"{deck}.ipynb").read_text(encoding="utf-8"))
        own = [figure for figure in figures if figure.notebook == deck]
        parts = {
            "title": html.escape(copies.title(content["cells"]).partition(" · ")[2]),
            "says": html.escape(content["metadata"]["companion"]["says"]),
            "notebook": f"../notebooks/{deck}.html",
            "code_colors": HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".code"),
            "slides": sections(content["cells"], own),
        }
        (folder / f"{deck}.html").write_text(copies.filled("slides.html", **parts), encoding="utf-8")


def sections(cells: Sequence[dict], figures: Sequence[copies.Figure]) -> str:
    """The slides as HTML, one ``<section>`` each.

    A cell's ``slide_type`` is ``slide`` (begins one), ``fragment`` (comes with the next key), ``-`` (goes on), ``notes`` or
    ``skip`` (also where none is given). A slide without a heading of its own repeats the last one; each figure has its own.
    """
    slides, heading = [], ""
    for cell in cells:
        kind = cell["metadata"].get("slideshow", {}).get("slide_type", "skip")
        if kind == "skip":
            continue
        if kind == "slide":
            slides.append({"heading": "", "shown": [], "notes": []})
        if cell["cell_type"] == "markdown":
            found, blocks, notes = _markdown("".join(cell["source"]))
        else:
            found, blocks, notes = "", _code(cell, figures), []
        if kind == "notes":
            blocks, notes = [], blocks + notes
        heading = slides[-1]["heading"] = found or slides[-1]["heading"] or heading
        slides[-1]["notes"] += notes
        for block in blocks:
            if "<figure" in block and any("<figure" in other for other in slides[-1]["shown"]):
                slides.append({"heading": heading, "shown": [], "notes": []})
            slides[-1]["shown"].append(f'<div class="fragment">{block}</div>' if kind == "fragment" else block)
    section = '<section><h2>{}</h2>\n{}\n<aside class="notes">{}</aside></section>'
    return "\n".join(section.format(slide["heading"], "".join(slide["shown"]), "".join(slide["notes"])) for slide in slides)


def _markdown(text: str) -> tuple[str, list[str], list[str]]:
    """A cell's heading, what it shows, as one block, and what is said with it, as HTML. Links become their words."""
    text = re.sub(r"<!-- generated.*?<!-- end -->", "", text, flags=re.DOTALL)
    markdown = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, renderer=_formula)
    heading, shown, said, block = "", "", [], []
    for token in markdown.parse(text):
        token.children = [child for child in token.children or [] if not child.type.startswith("link_")]
        block.append(token)
        if token.level or token.nesting == 1:
            continue
        if block[0].type == "heading_open":
            heading = markdown.renderer.render(block[1:2], markdown.options, {})
        else:
            formula = any(child.type == "math_inline_double" for child in block[min(1, len(block) - 1)].children)
            rendered = markdown.renderer.render(block, markdown.options, {})
            if block[0].type == "paragraph_open" and not formula:
                said.append(rendered)
            else:
                shown += rendered
        block = []
    return heading, [shown] if shown else [], said


def _formula(content: str, options: dict) -> str:
    opened, closed = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
    return f"{opened}{html.escape(content.strip())}{closed}"


def _code(cell: dict, figures: Sequence[copies.Figure]) -> list[str]:
    """A cell's code, if it is to be shown, and its outputs, each as HTML; Markdown among them is left to the notebook."""
    copies.prepare(cell, figures, "../")
    blocks = []
    if CODE_TAG in cell["metadata"].get("tags", ()):
        blocks.append(highlight("".join(cell["source"]), PythonLexer(), HtmlFormatter(cssclass="code")))
    for output in cell["outputs"]:
        if "text/html" in output.get("data", {}):
            blocks.append("".join(output["data"]["text/html"]))
        elif "text" in output:
            blocks.append(f'<pre class="printed">{html.escape("".join(output["text"]))}</pre>')
    return blocks
