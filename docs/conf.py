"""How the documentation is built: `make docs`."""

import sys
from pathlib import Path

from daskmr import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "daskmr"
author = "the daskmr developers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "myst_nb",
    "tables",
]
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are run by `make test-deploy`

default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Types that Dask and pandas bring are named, not linked: nothing is fetched while building.
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["daskmr.css"]
html_title = "daskmr"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
