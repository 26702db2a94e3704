"""Whoever looks a public name up finds it in the reference, which Sphinx builds."""

import re
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest

import esbank

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def described(page: str) -> set[str]:
    """List the names that a page describes one by one."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    return set(re.findall(r"^\.\. (?:auto(?!module)\w+|data):: (\w+)$", text, re.MULTILINE))


def test_every_name_for_applications_is_in_the_reference() -> None:
    of_the_store = set(import_module("esbank.store").__all__)

    assert described("application.md") == set(esbank.__all__) - of_the_store


@pytest.mark.parametrize(
    ("page", "module"), [("store.md", "esbank.store"), ("testing.md", "esbank.testing"), ("bank.md", "esbank.bank")]
)
def test_what_has_no_docstring_of_its_own_is_in_the_reference(page: str, module: str) -> None:
    names = import_module(module)

    assert described(page) == {
        name for name in names.__all__ if not (isclass(value := getattr(names, name)) or isfunction(value))
    }
