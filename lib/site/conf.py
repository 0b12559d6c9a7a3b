"""Sphinx's settings for the site; ``python -m lib.site`` writes the sources that it reads."""

from importlib.metadata import files

from lib import paths

project = "Learning from crowds"
author = "The companion's authors"
html_title = "Learning from crowds"

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton", "sphinx_design"]
nb_execution_mode = "off"
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
exclude_patterns = ["extra"]
suppress_warnings = ["misc.highlighting_failure", "ref.python"]  # cells with magics; types that several rooms have

# MathJax 3.2.2 in one file, copied from a package of the lock. (MathJax 4 fetches its script letters from a CDN.)
MATHJAX = next(file.locate() for file in files("sphinx-mathjax-offline") if file.name == "tex-svg.js")
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False, "enableAssistiveMml": True}}

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_favicon = str(paths.SITE_SOURCES / "static" / "icon.svg")
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_sourcelink_suffix = ""  # the button then serves the notebook itself
html_show_copyright = False
html_show_sphinx = False
html_sidebars = {"**": ["navbar-logo", "search-button-field", "sbt-sidebar-nav"]}
html_theme_options = {
    "logo": {"text": "Learning from crowds"},
    "article_header_start": ["toggle-primary-sidebar", "breadcrumbs"],
    # The book theme has its own; these would be a second bar with a second search.
    **{f"navbar_{part}": [] for part in ("start", "center", "end", "persistent")},
    **{f"footer_{part}": [] for part in ("start", "end", "content_items")},
    "show_navbar_depth": 1,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def setup(app):
    """Serve the explorer and the figures as they are, and MathJax beside the pages."""

    def extra(app, config):
        config.html_extra_path = [str(app.srcdir / "extra")]  # Sphinx would look for it beside this file

    def copy(app, error):
        if error is None:
            target = app.outdir / "_static" / mathjax_path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(MATHJAX.read_bytes())

    app.connect("config-inited", extra)
    app.connect("build-finished", copy)
