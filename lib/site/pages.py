"""The pages around the notebooks: landing, papers, results, gallery, lessons, glossary.

What is said of a paper, and what a term means, stands in ``data/papers.toml``; other sentences in ``texts``.
"""

from __future__ import annotations

import csv
import html
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lib import paths
from lib.methods import CATALOGUE
from lib.results.verdicts import ORIGINS, VERDICTS
from lib.site import leaderboard
from lib.site.claims import PAPERS, counts, hyphenated, numbers
from lib.site.copies import Figure, Page, linked

TEXTS = paths.SITE_SOURCES / "texts"  # the sentences; what a run made is filled in here
RESULTS = paths.ROOT / "RESULTS.md"
MAP = paths.NOTEBOOKS / "README.md"


def write(
    folder: Path, notebooks: Sequence[Page], figures: Sequence[Figure], claims: Sequence[Mapping], with_api: bool
) -> None:
    """Write all of them as MyST files into ``folder``."""
    told = tomllib.loads((paths.DATA / "papers.toml").read_text(encoding="utf-8"))
    main = [page for page in notebooks if not page.folder]
    more = [page for page in notebooks if page.folder]
    titles = {page.stem: page.title for page in main}  # solutions have the names of their notebooks

    def put(name: str, text: str) -> None:
        file = folder / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.rstrip() + "\n", encoding="utf-8")

    shown = {"picture": _picture(figures), "headlines": _headlines(claims, told), "commands": _commands()}
    put("index", _fill("index", **shown, toc=_toc_index(told, with_api)))
    put("start", _fill("start", toc=_toc([page for page in main if page.stem[0] == "0"])))
    for paper, entry in told["papers"].items():
        own = [page for page in main if page.stem[:2] in entry["notebooks"]]
        stems = {page.stem for page in own}
        parts = {name: entry[name].strip() for name in ("scope", "method", "easy", "hard")}
        parts |= {"title": PAPERS[paper], "cited": _cited(entry), "left": "\n".join(f"- {text}" for text in entry["left"])}
        results = _claims_of([claim for claim in claims if claim["paper"] == paper], paper)
        drawn = _cards([figure for figure in figures if figure.notebook in stems], titles, "../")
        put(f"papers/{paper}", _fill("paper", **parts, results=results, figures=drawn, toc=_toc(own, "../")))
    put("across", _fill("across", toc=_toc([page for page in main if page.stem[0] == "9"])))
    put("results", _fill("results", counts=_counts(claims), verdicts=_meanings(VERDICTS), origins=_meanings(ORIGINS)))
    put("leaderboard", _fill("leaderboard", **leaderboard.parts()))
    put("gallery", _fill("gallery", figures=_gallery(figures, titles)))
    put("lessons", _fill("lessons", plans=_toc(_lessons(put)), solutions=_toc(more)))
    put("dawid-skene", _fill("dawid-skene", lesson=(paths.SITE_SOURCES / "lesson.html").read_text(encoding="utf-8")))
    words = "\n\n".join(f"{term}\n    {text}" for term, text in told["glossary"].items())
    put("glossary", _fill("glossary", words=f"```{{glossary}}\n{words}\n```"))
    for file, name in ((RESULTS, "results-in-full"), (MAP, "map")):
        if file.exists():
            put(name, linked(file.read_text(encoding="utf-8"), file))


def _lessons(put: Callable[[str, str], None]) -> list[Page]:
    """Copy the plans of lessons; a plan's page is where a notebook's would be."""
    pages = []
    for file in sorted((paths.NOTEBOOKS / "lessons").glob("*.md")):
        text = linked(file.read_text(encoding="utf-8"), file)
        pages.append(Page(file.stem, text.splitlines()[0].removeprefix("# "), "lessons"))
        put(pages[-1].document, text)
    return pages


def _cited(entry: Mapping) -> str:
    links = {"paper": entry["paper"], "DOI": entry["doi"], "authors' code": entry["code"]}
    return f"{entry['authors']}: *{entry['title']}*, {entry['venue']}. " + " · ".join(
        f"[{name}]({address})" for name, address in links.items() if address
    )


def _fill(name: str, **parts: str) -> str:
    """A text with each line ``{{part}}`` replaced.

    Raises:
        ValueError: a part has no place in the text.
    """
    text = (TEXTS / f"{name}.md").read_text(encoding="utf-8")
    for part, content in parts.items():
        if f"{{{{{part}}}}}" not in text:
            raise ValueError(f"{name}.md has no place for {part!r}: expected a line {{{{{part}}}}}")
        text = text.replace(f"{{{{{part}}}}}", content)
    return text


def _toc(pages: Sequence[Page], up: str = "") -> str:
    if not pages:
        return ""
    return "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(f"{up}{page.document}" for page in pages) + "\n```"


def _toc_index(told: Mapping, with_api: bool) -> str:
    parts = {
        "Read": ["start", *(f"papers/{paper}" for paper in told["papers"]), "across"],
        "See": ["results", *(["results-in-full"] if RESULTS.exists() else []), "leaderboard", "gallery"],
        "Learn": ["lessons", *(["map"] if MAP.exists() else []), "glossary", *(["api/index"] if with_api else [])],
    }
    return "\n\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(documents) + "\n```"
        for caption, documents in parts.items()
    )


def _picture(figures: Sequence[Figure]) -> str:
    """Images, what people said of them, and what comes of it: from notebook 00's figure and table."""
    drawn = next(figure for figure in figures if (figure.notebook, figure.name) == ("00_start_here", "disagreement"))
    with (paths.figures("00_start_here") / "table.csv").open(encoding="utf-8", newline="") as file:
        accuracy = {row["method"]: 100 * float(row["mean"]) for row in csv.DictReader(file) if row["metric"] == "test_acc_last"}
    bars = "".join(
        f"<li><span>{html.escape(CATALOGUE[name].title)}</span><b>{value:.1f} %</b>"
        f'<i style="width:{value:.1f}%" aria-hidden="true"></i></li>'
        for name, value in sorted(accuracy.items(), key=lambda item: item[1])
    )
    first = "1. Images, and what three of twenty simulated annotators said of each: little more than half of it is right."
    second = "2. Test accuracy of one network, trained on four readings of these labels"
    return f"""```{{raw}} html
<div class="picture">
<figure><img src="{drawn.path}" alt="{html.escape(drawn.alt)}" width="{drawn.size[0]}" height="{drawn.size[1]}">
<figcaption>{first}</figcaption></figure>
<figure><ol class="bars">{bars}</ol>
<figcaption>{second} (<a href="notebooks/00_start_here.html">notebook 00</a>).</figcaption></figure>
</div>
```"""


def _commands() -> str:
    """The README's two commands, with what they take."""
    text = paths.README.read_text(encoding="utf-8")
    return text.split("<!-- generated:commands -->")[1].split("<!-- end -->")[0].strip()


def _headlines(claims: Sequence[Mapping], told: Mapping) -> str:
    """The headline claims, a table a paper; missed ones included."""
    parts = []
    for paper, entry in told["papers"].items():
        chosen = [claim for claim in claims if claim["id"] in entry["headlines"]]
        if chosen:
            parts.append(f"**[{PAPERS[paper]}](papers/{paper}.md)**\n\n{_listed(chosen, '')}")
    return "\n\n".join(parts) or "The claims of each paper stand in its notebooks."


def _listed(claims: Sequence[Mapping], up: str) -> str:
    lines = [
        f'<li><a href="{up}notebooks/{claim["notebook"]}.html">{html.escape(claim["statement"])}</a>'
        f'<span class="numbers"><span class="verdict" data-verdict="{claim["verdict"]}">{claim["verdict"]}</span> · '
        f"{html.escape(numbers(claim))} · {html.escape(claim['scale'])}</span></li>"
        for claim in claims
    ]
    return '```{raw} html\n<ul class="claims">\n' + "\n".join(lines) + "\n</ul>\n```"


def _counts(claims: Sequence[Mapping]) -> str:
    found = counts(claims)
    if not found:
        return "No claims are committed in the form that this page reads."
    lines = [f"| | {' | '.join(map(hyphenated, found))} |", "|---|" + "--:|" * len(found)]
    lines += [
        f"| {verdict} | " + " | ".join(str(number[verdict] or "·") for number in found.values()) + " |"
        for verdict in VERDICTS
        if any(number[verdict] for number in found.values())
    ]
    lines.append("| all | " + " | ".join(str(number.total()) for number in found.values()) + " |")
    return "\n".join(lines)


def _claims_of(claims: Sequence[Mapping], paper: str) -> str:
    if not claims:
        return "The verdicts on the claims stand at the end of each notebook."
    head = [claim for claim in claims if claim["headline"]]
    parts = [_listed(head, "../")] if head else []
    link = (
        f'<a class="sd-btn sd-btn-primary" href="../explorer.html#paper={paper}">All {len(claims)} claims in the explorer</a>'
    )
    return "\n\n".join([*parts, "By origin, never added up:", _counts(claims), link])


def _meanings(words: Mapping[str, str]) -> str:
    return "\n\n".join(f"**{name}**\n: {meaning}" for name, meaning in words.items())


def _gallery(figures: Sequence[Figure], titles: Mapping[str, str]) -> str:
    parts = []
    for notebook in dict.fromkeys(figure.notebook for figure in figures):
        heading = titles.get(notebook, notebook.capitalize())
        parts.append(f"## {heading}\n\n" + _cards([figure for figure in figures if figure.notebook == notebook], titles, ""))
    return "\n\n".join(parts)


def _cards(figures: Sequence[Figure], titles: Mapping[str, str], up: str) -> str:
    cards = []
    for figure in figures:
        base = f"{up}figures/{figure.notebook}/{figure.name}"
        page = f"{up}notebooks/{figure.notebook}.html#figure-{figure.name}" if figure.notebook in titles else f"{base}.png"
        links = f'<a href="{page}">{html.escape(figure.title)}</a>'
        if (paths.figures(figure.notebook) / f"{figure.name}.csv").exists():
            links += f' <a class="numbers" href="{base}.csv" aria-label="numbers of {html.escape(figure.title)} (CSV)">CSV</a>'
        cards.append(
            f'<li><img src="{base}.webp" alt="{html.escape(figure.alt)}" loading="lazy"><p class="name">{links}</p></li>'
        )
    return '```{raw} html\n<ul class="cards">\n' + "\n".join(cards) + "\n</ul>\n```"
