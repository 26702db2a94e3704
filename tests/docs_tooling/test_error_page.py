"""Whoever meets an error finds it on the page of errors: what happened, what to do, and what it says."""

import builtins
import re
from importlib import import_module
from inspect import isclass
from pathlib import Path
from pkgutil import walk_packages

import pytest

import esbank

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")

BASES = {"EsbankError", "BankError"}
"""What others derive from, and nobody raises."""
INNER = {"Misfit"}
"""What the parts of the codec tell each other; callers get an `EventEncodingError` or an `EventDecodingError`."""
UNSHOWN = {"StoreUnavailable", "UnknownOutcome"}
"""What needs a server that breaks down, which a page has not."""


def public_errors() -> list[str]:
    """List the errors among the public names of all modules that anybody may import."""
    packages = ["esbank", *(module.name for module in walk_packages(esbank.__path__, "esbank."))]
    modules = [import_module(name) for name in packages if "._" not in name]
    values = [getattr(module, name) for module in modules for name in getattr(module, "__all__", vars(module))]
    errors = {value.__name__ for value in values if isclass(value) and issubclass(value, Exception)}
    return sorted(errors - INNER)


def entries() -> list[tuple[str, str, str]]:
    """List the rows of all tables: an error, what happened, and what to do."""
    rows = re.findall(r"^\| (`.+`) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    return [(name, cause, cure) for names, cause, cure in rows for name in re.findall(r"`(\w+)`", names)]


def shown() -> list[str]:
    """List the errors whose messages were printed, which is tested with the page."""
    outputs = re.findall(r"^```output\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^(\w+): ", "".join(outputs), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(public_errors()) - BASES))
def test_every_public_error_has_one_entry_with_what_happened_and_what_to_do(name: str) -> None:
    ((_, cause, cure),) = [entry for entry in entries() if entry[0] == name]

    assert cause.strip()
    assert cure.strip()


@pytest.mark.parametrize("name", sorted(BASES))
def test_what_errors_have_in_common_is_told_in_the_text(name: str) -> None:
    assert f" `{name}`" in PAGE
    assert name not in {entry[0] for entry in entries()}


def test_every_entry_is_of_an_error_that_there_is() -> None:
    assert {name for name, _, _ in entries()} <= {*public_errors(), *vars(builtins)}


@pytest.mark.parametrize("name", sorted(set(public_errors()) - BASES - UNSHOWN))
def test_the_page_shows_what_an_error_says(name: str) -> None:
    assert name in shown()
