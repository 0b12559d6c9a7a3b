"""Notebooks and figures as the site shows them: set-up folded away, each output image replaced by the saved figure."""

import base64
import html
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

from lib import paths

THUMBNAIL = (480, 360)  # pixels, twice what a card of the gallery shows
FINGERPRINT = (64, 48)
PAGES = {"README.md": "index", "RESULTS.md": "results-in-full", "notebooks/README.md": "map"}


@dataclass(frozen=True)
class Figure:
    """A saved figure: the notebook that draws it, its file name without ending, its size in pixels, and its alt text."""

    notebook: str
    name: str
    size: tuple[int, int]
    alt: str

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def path(self) -> str:
        """Where its image is in the site."""
        return f"figures/{self.notebook}/{self.name}.png"

    @property
    def has_numbers(self) -> bool:
        """Whether a table stands beside it; a picture of a model has none."""
        return (paths.figures(self.notebook) / f"{self.name}.csv").exists()


@dataclass(frozen=True)
class Page:
    """A notebook's page: the file's name without ending, its title, and the folder of ``notebooks`` that it is in."""

    stem: str
    title: str
    folder: str = ""

    @property
    def document(self) -> str:
        """Its name among the site's documents."""
        return "/".join(filter(None, ("notebooks", self.folder, self.stem)))


def figures(target: Path) -> list[Figure]:
    """Copy every figure with its numbers and make its thumbnail.

    Raises:
        ValueError: a figure has no alt text beside it.
    """
    found = []
    for file in (*paths.figures().glob("*/*.csv"), *paths.figures().glob("*/table.md")):  # notebooks link to both
        (target / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / file.parent.name / file.name)
    for file in sorted(paths.figures().glob("*/*.png")):
        folder, text = target / file.parent.name, file.with_suffix(".alt.txt")
        if not text.exists():
            name = f"{file.parent.name}/{file.name}"
            raise ValueError(f"{name} has no alt text: expected {text.name} beside it, as style.save writes it")
        shutil.copyfile(file, folder / file.name)
        with Image.open(file) as image:
            found.append(Figure(file.parent.name, file.stem, image.size, text.read_text(encoding="utf-8").strip()))
            small = image.convert("RGB")
            small.thumbnail(THUMBNAIL)
            small.save(folder / f"{file.stem}.webp", quality=80)
    return found


def notebooks(target: Path, drawn: list[Figure]) -> list[Page]:
    """Write a copy of every notebook, lessons and solutions included, for Sphinx to render."""
    done = []
    for file in sorted(paths.NOTEBOOKS.rglob("*.ipynb")):
        place = file.relative_to(paths.NOTEBOOKS)
        if ".ipynb_checkpoints" in place.parts:
            continue
        content = json.loads(file.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = linked("".join(cell["source"]), file)
            elif cell["cell_type"] == "code":
                prepare(cell, [figure for figure in drawn if figure.notebook == file.stem], "../" * len(place.parts))
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).write_text(json.dumps(content), encoding="utf-8")
        done.append(Page(file.stem, title(content["cells"]), "/".join(place.parts[:-1])))
    return done


def linked(text: str, file: Path) -> str:
    """A committed file's Markdown with its links as they are in the site; what the site does not have stays as words."""
    up = "../" * len(file.relative_to(paths.ROOT).parent.parts)

    def link(match: re.Match) -> str:
        words, target, anchor = match.groups(default="")
        path = (file.parent / target).resolve()
        if not path.is_relative_to(paths.ROOT):
            return match[0]
        place = path.relative_to(paths.ROOT).as_posix()
        if place in PAGES:
            return f"[{words}](/{PAGES[place]}.md)"
        if place.startswith("notebooks/") and path.suffix == ".ipynb":
            return f"[{words}](/{place}{anchor})"
        return f'<a href="{up}{place}">{words}</a>' if place.startswith("figures/") else words

    text = re.sub(r"!?\[([^\]]*)\]\(((?!https?:|mailto:|/)[^)#\s]+)(#[^)\s]*)?\)", link, text)
    return re.sub(r"`build/site/(slides/[^`]+)`", rf'<a href="{up}\1">\1</a>', text)  # what only the site has


def filled(name: str, /, **parts: str) -> str:
    """A file of this room with each ``{{part}}`` replaced; raises ValueError for a part that has no place in it."""
    text = (paths.SITE_SOURCES / name).read_text(encoding="utf-8")
    for part, content in parts.items():
        if f"{{{{{part}}}}}" not in text:
            raise ValueError(f"{name} has no place for {part!r}: expected {{{{{part}}}}}")
        text = text.replace(f"{{{{{part}}}}}", content)
    return text


def title(cells: list[dict]) -> str:
    """A notebook's first heading."""
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.search(r"^# (.*)$", text, re.M)[1].strip()


def prepare(cell: dict, own: list[Figure], up: str) -> None:
    """Fold the set-up cell; turn images into links to the saved figures, which are in ``up`` + ``figures/``."""
    if "sys.path.insert" in "".join(cell["source"]):  # the first cell, which puts the project on the path
        cell["metadata"].setdefault("tags", []).append("hide-cell")
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            data["text/html"] = _shown("".join(data.pop("image/png")), own, up)
            data.pop("text/plain", None)


def _shown(encoded: str, own: list[Figure], up: str) -> str:
    """An image of an output as HTML: the saved figure that looks like it, as wide as the output is."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        width, mark = image.width, _fingerprint(image)
    if not own:  # a notebook whose widgets draw, and which saves nothing
        alt = "What the cell above draws; the text beside it says what to look for."
        return f'<img src="data:image/png;base64,{encoded}" alt="{alt}" width="{width}">'

    def distance(figure: Figure) -> int:
        with Image.open(paths.figures(figure.notebook) / f"{figure.name}.png") as image:
            difference = ImageChops.difference(mark, _fingerprint(image))
        return sum(value * count for value, count in enumerate(difference.histogram()))

    figure = min(own, key=distance)
    height = round(figure.size[1] * width / figure.size[0])
    caption = ""
    if figure.has_numbers:
        numbers = f"{up}figures/{figure.notebook}/{figure.name}.csv"
        caption = f'<figcaption><a href="{numbers}">numbers of this figure (CSV)</a></figcaption>'
    return (
        f'<figure class="drawn" id="figure-{figure.name}"><a href="{up}{figure.path}"><img src="{up}{figure.path}" '
        f'alt="{html.escape(figure.alt)}" width="{width}" height="{height}" loading="lazy"></a>{caption}</figure>'
    )


def _fingerprint(image: Image.Image) -> Image.Image:
    """The image without its margins, tiny and gray: the same for one figure at two resolutions."""
    gray = image.convert("L")
    return gray.crop(ImageChops.invert(gray).getbbox()).resize(FINGERPRINT)
