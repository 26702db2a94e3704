"""Whoever meets an error finds it on the page of errors."""

from importlib import import_module
from inspect import isclass
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def errors(module: str) -> list[str]:
    return [
        name
        for name, value in vars(import_module(module)).items()
        if isclass(value) and issubclass(value, Exception) and value.__module__ == module
    ]


@pytest.mark.parametrize("name", errors("esbank.errors") + errors("esbank.bank.errors"))
def test_every_public_error_is_on_the_page_of_errors(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
