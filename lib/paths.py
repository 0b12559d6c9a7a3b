"""Every folder of the project. Nobody else joins paths.

Those that a run writes to are functions: an environment variable moves them, so that tests and rehearsals touch nothing
that is committed.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SITE_SOURCES = ROOT / "lib" / "site"
DATA = ROOT / "data"
SOURCES = DATA / "sources.toml"
PAPER_RESULTS = DATA / "paper_results.csv"
README = ROOT / "README.md"


def _movable(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default)


def build() -> Path:
    """Executed notebooks, reports, and what is not complete yet (ignored by git)."""
    return _movable("CROWDS_BUILD", ROOT / "build")


def cache() -> Path:
    """Downloaded data files (ignored by git)."""
    return _movable("CROWDS_CACHE", DATA / "cache")


def mirror() -> Path | None:
    """A read-only folder of the published files, laid out as in ``data/sources.toml``; None where there is none."""
    folder = _movable("CROWDS_MIRROR", ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def runs() -> Path:
    """The user's own ledger: one JSON file a run (ignored by git)."""
    return _movable("CROWDS_RUNS", DATA / "runs")


def reference() -> Path:
    """The committed ledger: one JSONL file an experiment."""
    return _movable("CROWDS_REFERENCE", DATA / "reference")


def site() -> Path:
    """Where ``make site`` writes the pages; what it makes them from goes beside it (both ignored by git)."""
    return build() / "site"


def figures(notebook: str | None = None) -> Path:
    """Where a notebook's figures and tables go; without a name, the folder of all of them."""
    folder = _movable("CROWDS_FIGURES", ROOT / "figures")
    return folder / notebook if notebook else folder
