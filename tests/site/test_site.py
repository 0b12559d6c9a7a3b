"""What the site is made of: claims counted and shown, the leaderboard's intervals, links, the lesson's numbers."""

import json
import re
import shutil
from pathlib import Path

import pytest
from scipy import stats

from lib import datasets, paths
from lib.aggregation.dawid_skene import dawid_skene
from lib.crowd.labels import CrowdLabels
from lib.results.numbers import spread
from lib.results.verdicts import Claim, load
from lib.site import claims, copies, leaderboard

SITE = Path(claims.__file__).parent


def claim(number=1, **changed) -> Claim:
    fields = {
        "id": f"33-{number}", "notebook": "33_ccc_table2", "paper": "ccc", "locator": "Table 2", "origin": "paper number",
        "statement": "CCC above the majority vote", "headline": False, "dataset": "labelme", "case": "", "methods": ("ccc",),
        "metric": "", "unit": "points", "paper_value": "3.1", "ours": 2.0, "low": 1.0, "high": 3.0, "seeds": 5, "band": None,
        "scale": "quick", "kind": "difference", "keys": (), "verdict": "reproduced", "shown": "2.0 [1.0, 3.0]",
    }  # fmt: skip
    return Claim(**fields | changed)


def test_the_tally_keeps_origins_apart():
    assert claims.tally([claim(1), claim(2, verdict="inconclusive"), claim(3, origin="ours")]) == [
        ["verdict", "paper number", "ours"],
        ["reproduced", "1", "1"],
        ["inconclusive", "1", "·"],
        ["all", "2", "1"],
    ]


def explorer(folder, some) -> tuple[str, dict]:
    """The explorer of some claims, and the data in it."""
    claims.write_explorer(folder / "explorer.html", some)
    text = (folder / "explorer.html").read_text(encoding="utf-8")
    return text, json.loads(re.search(r"const DATA = (.*);\n", text)[1])


def test_the_explorer_holds_its_data_under_200_kb(tmp_path):
    many = [claim(number, statement=f"claim {number}: </script> of two methods one is ahead") for number in range(900)]
    text, data = explorer(tmp_path, many)
    assert len(text.encode()) < 200_000
    first = dict(zip(data["fields"], data["rows"][0], strict=True))
    assert all(values[first[name]] == getattr(many[0], name) for name, values in data["pools"].items())
    assert (first["statement"], first["methods"], first["shown"]) == (many[0].statement, ["ccc"], many[0].shown)
    assert len(data["rows"]) == 900
    assert text.count("</script>") == 1
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_the_explorer_names_methods_and_data_sets_in_words(tmp_path):
    _, data = explorer(tmp_path, list(load(paths.ROOT / "figures").values()))
    keys = {name for line in data["pools"]["dataset"] for name in line.split(", ") if name in datasets.names()}
    assert len(keys) > 10
    assert {name: data["datasets"].get(name) for name in keys} == {name: datasets.info(name).title for name in keys}
    assert data["papers"]["crowd-layer"] == "Rodrigues & Pereira 2018 (Crowd Layer)"
    assert [title for title in data["methods"].values() if re.fullmatch(r"[a-z0-9]+([-+_][a-z0-9]+)+", title)] == [
        "cross-entropy"
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "paper 3.1, ours 2.0 [1.0, 3.0] points"),
        ({"paper_value": "3", "shown": "1", "unit": "of 4", "parts": ("33-2",)}, "paper 3 of 4, ours 1 of 4"),
        ({"paper_value": None, "shown": "81.0", "unit": "%"}, "ours 81.0 %"),
        ({"ours": None}, "paper 3.1, ours not run"),
    ],
)
def test_both_numbers_of_a_claim_in_words(changed, words):
    assert claims.numbers(claim(**changed)) == words


def test_without_javascript_the_explorer_has_counts_and_headline_claims(tmp_path):
    some = [claim(1, statement="A & B is above C", headline=True), claim(2, statement="nobody's")]
    text, _ = explorer(tmp_path, some)
    static = re.search(r"<noscript>(.*?)</noscript>", text, re.S)[1]
    assert "A &amp; B is above C" in static
    assert "nobody" not in static
    assert '<th scope="row">reproduced</th><td>2</td>' in static


@pytest.mark.parametrize("seeds", [4, 5, 10, 30])
def test_half_widths_are_students(seeds):
    assert leaderboard.half_width(1.0, seeds) == pytest.approx(stats.t.ppf(0.975, seeds - 1) / seeds**0.5, rel=2e-3)


def test_too_few_seeds_have_no_interval():
    with pytest.raises(ValueError, match="at least four seeds for an interval, found 3"):
        leaderboard.half_width(1.0, 3)


def test_the_leaderboard_shows_the_committed_table(monkeypatch):
    monkeypatch.setenv("CROWDS_FIGURES", str(paths.ROOT / "figures"))
    mean, half, seeds = leaderboard.table()["majority-vote"]["labelme"]["last"]
    cell = re.search(
        r'<th scope="row">Majority vote</th><td>baseline</td><td class="number" data-last="([^"]*)"',
        leaderboard.parts()["board"],
    )
    assert cell[1].split("|")[:2] == [f"{mean:.6g}", spread(mean, half, 1)]
    assert seeds >= 5


def test_links_lead_to_what_the_site_has():
    file = paths.NOTEBOOKS / "10_crowdlayer_labelme.ipynb"
    text = "[a](20_geocrowdnet_identifiability.ipynb) [b](../README.md) [c](../lib/paths.py) [d](../figures/x/y.csv) [e](https://example.org)"
    assert copies.linked(text, file) == (
        '[a](/notebooks/20_geocrowdnet_identifiability.ipynb) [b](/index.md) c <a href="../figures/x/y.csv">d</a> '
        "[e](https://example.org)"
    )
    assert copies.linked("see `build/site/slides/00.html`", file) == 'see <a href="../slides/00.html">slides/00.html</a>'


def test_a_text_must_have_a_place_for_each_part():
    with pytest.raises(ValueError, match=r"glossary.md has no place for 'board'"):
        copies.filled("texts/glossary.md", board="")


LESSON = (SITE / "lesson.html").read_text(encoding="utf-8")
LABELS = json.loads(re.search(r'data-labels="([^"]*)"', LESSON)[1])


def test_the_lessons_numbers_are_the_librarys():
    fitted = dawid_skene(CrowdLabels.from_dense(LABELS, n_classes=2))
    expected = json.loads((Path(__file__).parent / "lesson.json").read_text(encoding="utf-8"))
    assert fitted.n_iterations == expected["rounds"]
    assert fitted.posterior[:, 1].tolist() == pytest.approx(expected["posterior"], abs=1e-12)


def test_what_the_lesson_says_comes_out():
    def judged(rows):
        return dawid_skene(CrowdLabels.from_dense(rows, n_classes=2)).labels.tolist()

    found, votes = judged(LABELS), [int(sum(row) >= 3) for row in LABELS]
    assert [n for n, (vote, best) in enumerate(zip(votes, found, strict=True), 1) if vote != best] == [1, 3, 12]
    assert [LABELS[n] for n in (0, 2, 11)] == [[0, 1, 1, 1, 0]] * 3
    assert judged([[*row[:4], 1 - row[4]] for row in LABELS]) == found  # Eli turned round
    assert judged([[*row[:3], 1, row[4]] for row in LABELS]) == found  # Dora says deadly to everything


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_scripts_are_javascript(tmp_path):
    import subprocess

    for name, text in {
        "site.js": (SITE / "static" / "site.js").read_text(encoding="utf-8"),
        "lesson.js": re.search(r"<script>(.*)</script>", LESSON, re.S)[1],
        "explorer.js": re.search(r"<script>(.*)</script>", (SITE / "explorer.html").read_text(encoding="utf-8"), re.S)[1],
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        done = subprocess.run(["node", "--check", tmp_path / name], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
