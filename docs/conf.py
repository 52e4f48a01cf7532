"""How Sphinx builds the documentation: `hatch run docs`, the pages are in `dist/docs`. Needs no network."""

from importlib.metadata import version as version_of

project = "Scaler"
author = "the authors of Scaler"
release = version = version_of("scaler-runtime")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "docs.option_directive"]
exclude_patterns = ["plots"]
html_theme = "furo"
html_title = f"Scaler {release}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["tables.css"]
smartquotes = False

nitpicky = True
# Types of libraries, and private ones, have no page here.
nitpick_ignore_regex = [("py:.*", r".*")]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings are plain text in which backticks mark code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
