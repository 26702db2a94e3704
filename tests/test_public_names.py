"""The names that people may use are listed, whole, sorted, and cheap to import."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import esbank

PACKAGES = ["esbank", "esbank.store", "esbank.codec", "esbank.bank", "esbank.testing"]


def rank(name: str) -> tuple[int, str]:
    """Order names as ruff does: CONSTANTS, then Classes, then functions."""
    if re.fullmatch(r"[A-Z0-9_]{2,}", name):
        return 0, name
    return (1 if name[0].isupper() else 2), name


def public_names(module: ModuleType) -> set[str]:
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and name != "TYPE_CHECKING" and not isinstance(getattr(module, name), ModuleType)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_are_sorted(package: str) -> None:
    names = import_module(package).__all__

    assert names == sorted(names, key=rank)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_listed_twice(package: str) -> None:
    names = import_module(package).__all__

    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_are_all_there_and_no_other_leaks(package: str) -> None:
    module = import_module(package)

    assert public_names(module) == set(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_star_imports_all_the_public_names(package: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from {package} import *", namespace)  # noqa: S102 - it is our own

    assert set(import_module(package).__all__) == namespace.keys() - {"__builtins__"}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_there_is_not_is_refused_as_anywhere(package: str) -> None:
    name = "nothing"

    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        getattr(import_module(package), name)


def test_an_error_that_can_be_raised_can_be_imported_from_the_top() -> None:
    errors = {
        name
        for name, value in vars(import_module("esbank.errors")).items()
        if isinstance(value, type) and issubclass(value, esbank.EsbankError)
    }

    assert errors <= set(esbank.__all__)


@pytest.mark.parametrize("path", sorted(Path(esbank.__file__).parent.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_every_package_says_what_it_is_for(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith('"""')


def imported_by(statement: str) -> set[str]:
    """Return what a new process has imported after a statement."""
    # A process whose coverage is measured imports more than its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    code = f"import sys; {statement}; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return set(process.stdout.split())


@pytest.fixture(scope="module")
def imported() -> set[str]:
    return imported_by("import esbank")


@pytest.mark.parametrize(
    "module",
    [
        "asyncio",
        "cattrs",
        "esbank.backends",
        "esbank.bank",
        "esbank.projection",
        "esbank.testing",
        "logging.config",
        "logging.handlers",
        "matplotlib",
        "pathlib",
        "psycopg",
        "pytest",
        "sqlite3",
    ],
)
def test_importing_esbank_does_not_import(module: str, imported: set[str]) -> None:
    assert module not in imported


def test_accounts_need_no_projections() -> None:
    imported = imported_by("from esbank.bank import BankAccount, Deposit; import esbank.backends.sqlite")

    assert "esbank.bank.account" in imported
    assert not {"cattrs", "esbank.projection", "esbank.bank.service", "esbank.bank.views"} & imported


def test_projections_are_imported_when_they_are_asked_for() -> None:
    assert "esbank.projection" in imported_by("from esbank import Projector")
    assert "esbank.bank.service" in imported_by("from esbank.bank import Bank")


def test_esbank_tells_type_checkers_that_it_is_typed() -> None:
    assert (Path(esbank.__file__).parent / "py.typed").exists()
