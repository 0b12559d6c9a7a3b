"""The built site in a real browser: what a reader on a phone, with a keyboard, a screen reader or no network meets.

Runs in ``.venv-site`` after ``make site`` (``make test-site``); elsewhere, or without a Chromium, it is skipped by name.
"""

import importlib.util
import json
import shutil
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest

from lib import paths

try:
    from playwright import sync_api as playwright
except ImportError:
    playwright = None

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
SITE = paths.site()


def lacks() -> str:
    """Why nothing can be tested here; empty where it can."""
    if playwright is None:
        return "playwright is in .venv-site only: run make test-site"
    if CHROMIUM is None:
        return "no Chromium on this machine: apt install chromium"
    return "" if (SITE / "index.html").exists() else f"no site in {SITE}: run make site"


pytestmark = pytest.mark.skipif(bool(lacks()), reason=lacks())

PAGES = sorted(file.relative_to(SITE).as_posix() for file in SITE.rglob("*.html"))
READ = [page for page in PAGES if not page.startswith(("_", "api/")) and page not in ("genindex.html", "py-modindex.html")]
# One page of each kind.
KINDS = ["index.html", "papers/ccc.html", "results.html", "explorer.html", "gallery.html", "leaderboard.html"]
KINDS += ["dawid-skene.html", "glossary.html", "slides/00_start_here.html", "notebooks/90_leaderboard.html"]
KINDS += [page for page in ("api/losses.html",) if page in PAGES]
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1440, "height": 900}
LESSON = json.loads((Path(__file__).parent / "lesson.json").read_text(encoding="utf-8"))


class Quiet(SimpleHTTPRequestHandler):
    """Serves without a line a request."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=PHONE)
    page.set_default_timeout(60_000)
    yield page
    page.close()


AT_ONCE = 4  # pages that load side by side: a browser gives each a process, and MathJax needs most of the time
# A formula that MathJax cannot read stays as text or becomes an error node.
FORMULAS = """async () => {
    await window.MathJax?.startup?.promise;
    const left = [...document.querySelectorAll('.math')].filter(math => !math.querySelector('mjx-container')).length;
    return left + document.querySelectorAll('[data-mjx-error]').length;
}"""
CUT = """() => [...document.querySelectorAll('mjx-container[display="true"]')].filter(
    formula => formula.scrollWidth > formula.clientWidth + 3
).length"""


def test_pages_ask_nobody_else_show_all_formulas_and_fit_a_phone(browser, address):
    asked, broken, unrendered, wide, cut = set(), [], [], {}, []
    context = browser.new_context(viewport=PHONE)
    context.on("request", lambda request: asked.add(request.url))
    context.on("weberror", lambda error: broken.append(str(error.error)))
    context.on("response", lambda response: broken.append(response.url) if response.status >= 400 else None)
    pages = [context.new_page() for _ in range(AT_ONCE)]
    for start in range(0, len(READ), AT_ONCE):
        loading = list(zip(pages, READ[start : start + AT_ONCE], strict=False))
        for page, name in loading:
            page.goto(address + name, wait_until="commit", timeout=60_000)
        for page, name in loading:
            page.wait_for_load_state("load", timeout=60_000)
            page.wait_for_function(
                "() => !document.querySelector('.math') || document.querySelector('mjx-container')", timeout=60_000
            )
            if page.evaluate(FORMULAS):
                unrendered.append(name)
            if (width := page.evaluate("() => document.documentElement.scrollWidth")) > PHONE["width"]:
                wide[name] = width
            page.set_viewport_size(WIDE)  # where no formula has to be scrolled
            if page.evaluate(CUT):
                cut.append(name)
            page.set_viewport_size(PHONE)
    context.close()
    assert {url for url in asked if not url.startswith((address, "data:"))} == set()
    assert broken == []
    assert unrendered == []
    assert wide == {}
    assert cut == []


class Links(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(filter(None, (attributes.get("id"), attributes.get("name") if tag == "a" else None)))
        for name in ("href", "src"):
            if attributes.get(name) is not None and tag in ("a", "img", "script", "link"):
                self.links.add(attributes[name])


def test_no_link_or_anchor_is_dead():
    read = {page: Links((SITE / page).read_text(encoding="utf-8")) for page in PAGES if not page.startswith("_")}
    dead = []
    for page, found in read.items():
        for link in found.links:
            target, anchor = urldefrag(urljoin("/" + page, link))
            if urlparse(target).scheme:
                continue
            file = unquote(target.split("?")[0]).lstrip("/") or "index.html"
            script_made = file == "explorer.html" or anchor == ""
            if not (SITE / file).is_file() or (not script_made and file in read and unquote(anchor) not in read[file].anchors):
                dead.append(f"{page}: {link}")
    assert dead == []


# In the dark only the colors are others.
RULES = {"light": ["wcag2a", "wcag2aa", "wcag21aa"], "dark": {"type": "rule", "values": ["color-contrast"]}}


AXE = playwright and Path(importlib.util.find_spec("axe_playwright_python").origin).parent / "axe.min.js"


def serious(page, scheme: str, name: str) -> list[str]:
    """What axe, already in the page, finds serious or critical in what is shown."""
    result = page.evaluate("rules => axe.run(document, {resultTypes: ['violations'], runOnly: rules})", RULES[scheme])
    return [
        f"{name}: {rule['impact']} {rule['id']} {rule['nodes'][0]['html'][:160]} ({len(rule['nodes'])})"
        for rule in result["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", RULES)
def test_axe_finds_nothing_serious(browser, address, scheme):
    page = browser.new_page(color_scheme=scheme)
    found = []
    for name in KINDS:
        page.goto(address + name, wait_until="load", timeout=60_000)
        if name != "explorer.html":
            page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        page.add_script_tag(path=str(AXE))
        found += serious(page, scheme, name)
    page.close()
    assert found == []


def test_figures_have_words(address, page):
    page.goto(address + "gallery.html")
    alts = page.eval_on_selector_all("ul.cards img", "images => images.map(image => image.alt)")
    assert len(alts) == len(list((paths.ROOT / "figures").rglob("*.png")))
    assert all(len(alt) >= 30 for alt in alts)


# ---------------------------------------------------------------------- explorer

SHOWN = "document.querySelectorAll('#rows > li:not([hidden])').length"


def focus(page, wanted: str, at_most: int = 30) -> None:
    """Press Tab until the focus is where ``wanted`` says."""
    for _ in range(at_most):
        page.keyboard.press("Tab")
        if page.evaluate(f"() => document.activeElement.matches({json.dumps(wanted)})"):
            return
    raise AssertionError(f"{wanted} cannot be reached with {at_most} presses of Tab")


def test_the_explorer_is_small_and_works_from_disk_by_keyboard(page):
    file = SITE / "explorer.html"
    assert file.stat().st_size < 200_000
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    everything = page.evaluate(SHOWN)
    focus(page, "[name=paper]")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => location.hash.includes('paper=')")
    one_paper = page.evaluate(SHOWN)
    assert 0 < one_paper < everything
    assert page.text_content("#count") == f"{one_paper} of {everything} claims"
    focus(page, "[name=q]")
    page.keyboard.type("no such words")
    page.wait_for_function(f"{SHOWN} === 0")
    focus(page, "button[type=reset]")
    page.keyboard.press("Enter")
    page.wait_for_function(f"{SHOWN} === {everything}")
    focus(page, "#rows a")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_explorers_view_is_in_its_address(address, page):
    page.goto(address + "explorer.html#verdict=reproduced&sort=gap")
    verdicts = page.eval_on_selector_all("#rows > li:not([hidden]) .v", "all => [...new Set(all.map(v => v.textContent))]")
    assert verdicts == ["reproduced"]
    assert page.eval_on_selector("[name=sort]", "select => select.value") == "gap"
    claim = page.eval_on_selector("#rows > li:not([hidden])", "row => row.id")
    page.goto(address + f"explorer.html#claim={claim}")
    page.wait_for_function(f"{SHOWN} === 1")
    assert page.eval_on_selector("#rows > li.chosen", "row => row.id") == claim
    page.goto(address + "explorer.html#claim=99-nobodys")
    page.wait_for_function("() => document.getElementById('count').textContent.startsWith('There is no claim 99-nobodys.')")
    page.keyboard.press("Escape")
    page.wait_for_function(f"{SHOWN} > 100 && location.hash === ''")


def test_the_explorer_goes_back_a_choice_and_keeps_its_view_where_the_keyboard_skips(address, page):
    page.goto(address + "explorer.html")
    page.select_option("[name=paper]", "ccc")
    page.wait_for_function("() => location.hash === '#paper=ccc'")
    one_paper = page.evaluate(SHOWN)
    page.select_option("[name=verdict]", "contradicted")
    page.wait_for_function(f"{SHOWN} < {one_paper}")
    page.go_back()
    page.wait_for_function(f"{SHOWN} === {one_paper}")
    assert page.eval_on_selector_all("select", "all => all.map(s => s.value).filter(v => v)") == ["ccc"]
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("() => [document.activeElement.id, location.hash]") == ["listed", "#paper=ccc"]
    page.reload()
    assert page.evaluate(SHOWN) == one_paper


def test_the_explorer_redraws_at_once(address, page):
    page.goto(address + "explorer.html")
    times = []
    for verdict in ("reproduced", "", "inconclusive", ""):
        page.select_option("[name=verdict]", verdict)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        times.append(page.evaluate("() => parseFloat(document.documentElement.dataset.redraw)"))
    assert sorted(times)[1] < 300, times  # the lower middle: a busy machine is no slow page


# ---------------------------------------------------------------------- lesson and leaderboard


def test_the_lesson_by_keyboard_gives_what_the_library_gives(address, page):
    page.goto(address + "dawid-skene.html", wait_until="load")
    focus(page, "#m-step", at_most=120)
    page.keyboard.press("Enter")
    focus(page, "#run")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Run to the end')")
    lesson = page.evaluate("() => ({...document.getElementById('lesson').dataset})")
    assert int(lesson["rounds"]) == LESSON["rounds"]
    assert json.loads(lesson["belief"]) == pytest.approx(LESSON["posterior"], abs=1e-12)
    focus(page, "button.label")
    page.keyboard.press("Space")
    assert page.text_content("#said").startswith("Label changed")


MEANS = "rows => rows.map(row => parseFloat(row.cells[2].dataset.%s))"


def test_the_leaderboard_sorts_and_switches(address, page):
    page.goto(address + "leaderboard.html", wait_until="load")
    assert page.eval_on_selector_all("table.board tbody tr", "rows => rows.length") > 15
    head = page.locator("table.board thead button", has_text="LabelMe")
    head.focus()
    page.keyboard.press("Enter")
    means = page.eval_on_selector_all("table.board tbody tr", MEANS % "last")
    assert means == sorted(means, reverse=True)
    assert page.get_attribute("table.board thead th:nth-child(3)", "aria-sort") == "descending"
    page.check("input[value=best]")
    means = page.eval_on_selector_all("table.board tbody tr", MEANS % "best")
    assert means == sorted(means, reverse=True)
    assert "best epoch" in page.text_content("#epoch-words")


# ---------------------------------------------------------------------- slides

SLIDE = """() => {
    const slide = Reveal.getCurrentSlide();
    const drawn = [...slide.querySelectorAll('*:not(.notes, .notes *, mjx-assistive-mml, mjx-assistive-mml *)')];
    return {
        title: slide.querySelector('h1, h2').textContent,
        words: slide.innerText.split(/\\s+/).length,
        right: Math.max(...drawn.map(element => element.getBoundingClientRect().right)),
        bottom: Math.max(...drawn.map(element => element.getBoundingClientRect().bottom)),
        broken: [...slide.querySelectorAll('img')].filter(image => !image.complete || !image.naturalWidth).length,
        figures: slide.querySelectorAll('figure').length,
        notes: slide.querySelector('.notes')?.textContent.trim().length ?? 0,
    };
}"""


def test_the_slides_turn_by_keyboard_and_fit_the_screen(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    said, hard = [], []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address + "slides/00_start_here.html", wait_until="load")
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    page.add_script_tag(path=str(AXE))
    seen = []
    while True:
        while page.evaluate("() => Reveal.availableFragments().next"):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("() => [...Reveal.getCurrentSlide().querySelectorAll('img')].every(image => image.complete)")
        seen.append(page.evaluate(SLIDE))
        hard += serious(page, "light", seen[-1]["title"])
        if page.evaluate("() => Reveal.isLastSlide()"):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("() => Reveal.getIndices().h") == len(seen) - 2
    page.close()
    assert 15 <= len(seen) <= 30
    assert [slide["title"] for slide in seen if slide["right"] > 1280 or slide["bottom"] > 720] == []
    assert [slide["title"] for slide in seen if slide["words"] > 110 or slide["figures"] > 1 or slide["broken"]] == []
    assert sum(slide["figures"] for slide in seen) >= 5
    assert sum(slide["notes"] > 0 for slide in seen) > len(seen) / 2
    assert said == []
    assert hard == []


def test_pages_can_be_read_without_javascript(browser, address):
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    page = context.new_page()
    for name in ("index.html", "leaderboard.html", "notebooks/10_crowdlayer_labelme.html"):
        page.goto(address + name)
        assert len(page.inner_text("main")) > 1000
        assert not any(element.is_visible() for element in page.query_selector_all(".needs-script"))
    page.goto(address + "explorer.html")
    assert not page.is_visible("#filters")
    assert not page.is_visible("#listed")
    assert page.locator("noscript table.words tbody tr").count() > 20
    assert page.get_attribute("noscript a", "href") == "results-in-full.html"
    page.goto(address + "slides/00_start_here.html")
    slides = page.locator("main.slides > section").all()
    tops = [slide.bounding_box()["y"] for slide in slides]
    assert len(slides) > 15
    assert tops == sorted(set(tops))
    assert all(slide.is_visible() and slide.bounding_box()["width"] <= PHONE["width"] for slide in slides)
    assert all(part.is_visible() for part in page.locator(".fragment").all())
    context.close()
