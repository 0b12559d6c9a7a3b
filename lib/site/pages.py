"""The pages around the notebooks: landing, papers, results, gallery, lessons, glossary.

What is said of a paper, and what a term means, stands in ``data/papers.toml``; other sentences in ``texts``.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lib import paths
from lib.methods import CATALOGUE
from lib.results.numbers import number
from lib.results.titles import paper_title
from lib.results.verdicts import ORIGINS, VERDICTS, Claim
from lib.site import leaderboard
from lib.site.claims import numbers, tally, told
from lib.site.copies import Figure, Page, filled, linked


def write(folder: Path, notebooks: Sequence[Page], figures: Sequence[Figure], claims: Sequence[Claim], with_api: bool) -> None:
    """Write all of them as MyST files into ``folder``."""
    texts = told()
    main = [page for page in notebooks if not page.folder]
    titles = {page.stem: page.title for page in main}  # solutions have the names of their notebooks

    def put(name: str, text: str) -> None:
        file = folder / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.rstrip() + "\n", encoding="utf-8")

    commands = paths.README.read_text(encoding="utf-8").split("<!-- generated:commands -->")[1].split("<!-- end -->")[0]
    shown = {"picture": _picture(figures), "headlines": _headlines(claims, texts), "commands": commands.strip()}
    put("index", filled("texts/index.md", **shown, toc=_toc_index(texts, with_api)))
    put("start", filled("texts/start.md", toc=_toc(page.document for page in main if page.stem[0] == "0")))
    for paper, entry in texts["papers"].items():
        own = [page for page in main if page.stem[:2] in entry["notebooks"]]
        parts = {name: entry[name].strip() for name in ("scope", "method", "easy", "hard")}
        parts |= {"title": paper_title(entry), "cited": _cited(entry), "left": "\n".join(f"- {text}" for text in entry["left"])}
        parts["results"] = _claims_of([claim for claim in claims if claim.paper == paper], paper)
        stems = {page.stem for page in own}
        parts["figures"] = _cards([figure for figure in figures if figure.notebook in stems], titles, "../")
        put(f"papers/{paper}", filled("texts/paper.md", **parts, toc=_toc(f"../{page.document}" for page in own)))
    put("across", filled("texts/across.md", toc=_toc(page.document for page in main if page.stem[0] == "9")))
    put("results", filled("texts/results.md", counts=_counts(claims), verdicts=_meanings(VERDICTS), origins=_meanings(ORIGINS)))
    put("leaderboard", filled("texts/leaderboard.md", **leaderboard.parts()))
    put("gallery", filled("texts/gallery.md", figures=_gallery(figures, titles)))
    plans = []
    for file in sorted((paths.NOTEBOOKS / "lessons").glob("*.md")):
        plans.append(f"notebooks/lessons/{file.stem}")
        put(plans[-1], linked(file.read_text(encoding="utf-8"), file))
    more = [page.document for page in notebooks if page.folder]
    put("lessons", filled("texts/lessons.md", plans=_toc(plans), solutions=_toc(more)))
    put("dawid-skene", filled("texts/dawid-skene.md", lesson=(paths.SITE_SOURCES / "lesson.html").read_text(encoding="utf-8")))
    words = "\n\n".join(f"{term}\n    {text}" for term, text in texts["glossary"].items())
    put("glossary", filled("texts/glossary.md", words=f"```{{glossary}}\n{words}\n```"))
    # Both are lists of wide tables with their own contents at the top: without the side bar the tables fit.
    for name, file in (("results-in-full", paths.ROOT / "RESULTS.md"), ("map", paths.NOTEBOOKS / "README.md")):
        put(name, "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n" + linked(file.read_text(encoding="utf-8"), file))


def _toc(documents: Iterable[str], options: str = ":maxdepth: 1") -> str:
    return f"```{{toctree}}\n{options}\n\n" + "\n".join(documents) + "\n```"


def _toc_index(texts: Mapping, with_api: bool) -> str:
    parts = {
        "Read": ["start", *(f"papers/{paper}" for paper in texts["papers"]), "across"],
        "See": ["results", "results-in-full", "leaderboard", "gallery"],
        "Learn": ["lessons", "map", "glossary", *(["api/index"] if with_api else [])],
    }
    return "\n\n".join(_toc(documents, f":hidden:\n:caption: {caption}") for caption, documents in parts.items())


def _cited(entry: Mapping) -> str:
    links = {"paper": entry["paper"], "DOI": entry["doi"], "authors' code": entry["code"]}
    words = " · ".join(f"[{name}]({address})" for name, address in links.items() if address)
    return f"{entry['authors']}: *{entry['title']}*, {entry['venue']}. {words}"


def _picture(figures: Sequence[Figure]) -> str:
    """Images, what people said of them, and what comes of it: from notebook 00's figure and table."""
    drawn = next(figure for figure in figures if (figure.notebook, figure.name) == ("00_start_here", "disagreement"))
    lines = leaderboard.rows("table.csv", "00_start_here")
    accuracy = {row["method"]: 100 * float(row["mean"]) for row in lines if row["metric"] == "test_acc_last"}
    bars = "".join(
        f"<li><span>{html.escape(CATALOGUE[name].title)}</span><b>{number(value, 1)} %</b>"
        f'<i style="width:{value:.1f}%" aria-hidden="true"></i></li>'
        for name, value in sorted(accuracy.items(), key=lambda item: item[1])
    )
    first = "1. Images, and what three of twenty simulated annotators said about each: little more than half of it is right."
    second = "2. Test accuracy of one network, trained on four readings of these labels"
    return f"""```{{raw}} html
<div class="picture">
<figure><img src="{drawn.path}" alt="{html.escape(drawn.alt)}" width="{drawn.size[0]}" height="{drawn.size[1]}">
<figcaption>{first}</figcaption></figure>
<figure><ol class="bars">{bars}</ol>
<figcaption>{second} (<a href="notebooks/00_start_here.html">notebook 00</a>).</figcaption></figure>
</div>
```"""


def _headlines(claims: Sequence[Claim], texts: Mapping) -> str:
    """The headline claims, a list a paper; missed ones included."""
    parts = []
    for paper, entry in texts["papers"].items():
        chosen = [claim for claim in claims if claim.id in entry["headlines"]]
        parts.append(f"**[{paper_title(entry)}](papers/{paper}.md)**\n\n{_listed(chosen, '')}")
    return "\n\n".join(parts)


def _claims_of(claims: Sequence[Claim], paper: str) -> str:
    heads = _listed([claim for claim in claims if claim.headline], "../")
    words = f"All {len(claims)} claims in the explorer"
    link = f'<a class="sd-btn sd-btn-primary" href="../explorer.html#paper={paper}">{words}</a>'
    return "\n\n".join([heads, "By origin, never added up:", _counts(claims), link])


def _listed(claims: Sequence[Claim], up: str) -> str:
    lines = [
        f'<li><a href="{up}notebooks/{claim.notebook}.html">{html.escape(claim.statement)}</a>'
        f'<span class="numbers"><span class="verdict" data-verdict="{claim.verdict}">{claim.verdict}</span> · '
        f"{html.escape(numbers(claim))} · {html.escape(claim.scale)}</span></li>"
        for claim in claims
    ]
    return _raw_list("claims", lines)


def _raw_list(kind: str, lines: Sequence[str]) -> str:
    return f'```{{raw}} html\n<ul class="{kind}">\n' + "\n".join(lines) + "\n</ul>\n```"


def _counts(claims: Sequence[Claim]) -> str:
    head, *lines = tally(claims)
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


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
        base, title = f"{up}figures/{figure.notebook}/{figure.name}", html.escape(figure.title)
        page = f"{up}notebooks/{figure.notebook}.html#figure-{figure.name}" if figure.notebook in titles else f"{base}.png"
        links = f'<a href="{page}">{title}</a>'
        if figure.has_numbers:
            links += f' <a class="numbers" href="{base}.csv" aria-label="numbers of {title} (CSV)">CSV</a>'
        image = f'<img src="{base}.webp" alt="{html.escape(figure.alt)}" loading="lazy">'
        cards.append(f'<li>{image}<p class="name">{links}</p></li>')
    return _raw_list("cards", cards)
