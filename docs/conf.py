"""Sphinx configuration."""

from importlib import metadata
from time import time_ns

from sphinx.application import Sphinx

from esbank.backends.memory import MemoryEventStore
from esbank.store import NO_METADATA

project = "esbank"
author = "The esbank authors"
project_copyright = f"2026, {author}"
release = metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["performance/*"]  # performance.md includes them
myst_heading_anchors = 3
autodoc_member_order = "bysource"
default_role = "code"  # what docstrings put between single backticks: parameters, and names of all kinds

# Builds need no network, hence no inventories: only references to esbank itself can be checked.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!esbank\b).*"),
    (r"py:class", r"esbank\..*\.[A-Z]\d?(_co)?"),  # type variables
    (r"py:class", r"esbank\._json\.Json"),  # its name says it
]

html_theme = "furo"


def tidy_signature(
    _app: Sphinx,
    _what: str,
    _name: str,
    documented: object,
    _options: object,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write defaults as the code does; show no arguments for a protocol, which nobody calls."""
    if getattr(documented, "_is_protocol", False):
        return "", None
    for value, name in (
        (repr(NO_METADATA), "NO_METADATA"),
        (repr(time_ns), "time_ns"),
        ("= NOTHING", "= ..."),
        ("= Ellipsis", "= ..."),
        (repr(MemoryEventStore), MemoryEventStore.__name__),
    ):
        arguments = arguments and arguments.replace(value, name)
    return arguments, returns


def setup(app: Sphinx) -> None:
    """Register what changes the documentation while it is built."""
    app.connect("autodoc-process-signature", tidy_signature)
