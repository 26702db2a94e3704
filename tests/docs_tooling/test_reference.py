"""Whoever looks a public name up finds it in the reference, and whoever searches the documentation finds the page."""

import json
import subprocess
import sys
import zlib
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name, walk_packages

import pytest

import esbank

DOCS = Path(__file__).parents[2] / "docs"
NAMED = ["esbank", *(module.name for module in walk_packages(esbank.__path__, "esbank.") if "._" not in module.name)]
MODULES = [name for name in NAMED if hasattr(import_module(name), "__all__")]
"""Those that anybody may import, and that say what of them is public."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation, as ``make docs`` does."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--builder", "html", str(DOCS), str(folder)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def described(built: Path) -> set[str]:
    """List the names of Python that the pages describe, as other projects' pages may refer to them."""
    *_, compressed = (built / "objects.inv").read_bytes().split(b"\n", 4)
    entries = [line.split() for line in zlib.decompress(compressed).decode().splitlines()]
    return {name for name, kind, *_ in entries if kind.startswith("py:")}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module: str, described: set[str]) -> None:
    # What is imported from another module is described once, under one of its names.
    elsewhere = [resolve_name(name) for name in described]
    names = [name for name in import_module(module).__all__ if f"{module}.{name}" not in described]

    assert [name for name in names if not any(resolve_name(f"{module}:{name}") is one for one in elsewhere)] == []


def test_every_name_for_applications_is_in_the_reference_under_that_name(described: set[str]) -> None:
    of_the_store = set(import_module("esbank.store").__all__)

    assert {f"esbank.{name}" for name in set(esbank.__all__) - of_the_store} <= described


def test_every_page_is_known_to_the_search(built: Path) -> None:
    script = (built / "searchindex.js").read_text(encoding="utf-8")
    known = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))["docnames"]
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}

    assert set(known) == {page for page in pages if not page.startswith("performance/")}  # a page includes those
    assert 'src="searchindex.js' in (built / "search.html").read_text(encoding="utf-8")
