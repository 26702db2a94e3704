"""Sphinx configuration."""

from importlib import metadata

project = "esbank"
author = "The esbank authors"
project_copyright = f"2026, {author}"
release = metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
autodoc_member_order = "bysource"

# Builds need no network, hence no inventories: only references to esbank itself can be checked.
nitpick_ignore_regex = [(r"py:.*", r"(?!esbank\b).*")]

html_theme = "furo"
