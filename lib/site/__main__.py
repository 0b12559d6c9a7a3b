"""``python -m lib.site [--no-api]``: the whole site, from sources to pages; a warning of Sphinx is an error."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from lib import paths
from lib.results import verdicts
from lib.site import api, claims, copies, pages, slides


def main(arguments: list[str] | None = None) -> int:
    """Build the site; 0 when every page came out without a warning."""
    parser = argparse.ArgumentParser(prog="python -m lib.site", description="Build the readers' site into build/site.")
    parser.add_argument("--no-api", action="store_true", help="leave out the API reference, which takes a third of the time")
    options = parser.parse_args(arguments)
    from sphinx.cmd.build import main as sphinx

    began, target = time.perf_counter(), paths.site()
    sources = target.with_name("site-sources")
    for folder in (sources, target):  # a page that is no longer made would stay, and be served
        shutil.rmtree(folder, ignore_errors=True)
    write_sources(sources, with_api=not options.no_api)
    flags = ["-W", "--keep-going", "-q", "-j", "2", "-c", str(paths.SITE_SOURCES), "-d", str(sources / ".doctrees")]
    failed = sphinx([*flags, str(sources), str(target)])
    if not failed:
        size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
        print(f"{target / 'index.html'}: {size:.0f} MB in {time.perf_counter() - began:.0f} s")
    return failed


def write_sources(folder: Path, with_api: bool = True) -> None:
    """Everything that Sphinx reads, into an empty folder."""
    found = list(verdicts.load(paths.figures()).values())
    figures = copies.figures(folder / "extra" / "figures")
    notebooks = copies.notebooks(folder / "notebooks", figures)
    pages.write(folder, notebooks, figures, found, with_api)
    slides.write(folder / "extra" / "slides", figures)
    claims.write_explorer(folder / "extra" / "explorer.html", found)
    if with_api:
        api.write(folder / "api")


if __name__ == "__main__":
    sys.exit(main())
