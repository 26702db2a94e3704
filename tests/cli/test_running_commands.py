"""``python -m esbank``: what it says of itself, of a mistake on the command line, and of what is not installed."""

from __future__ import annotations

import os
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest
from commands import Result, Run, run_process


def test_without_a_command_it_says_which_there_are(start: Run) -> None:
    result = start()

    assert (result.code, result.errors) == (0, "")
    assert "Usage: python -m esbank COMMAND" in result.output
    assert "schema" in result.output
    assert "verify" in result.output


def test_importing_it_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    import_module("esbank.__main__")

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", [["schema"], ["schema", "write"], ["schema", "check"], ["verify"]])
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    result = run(*command, "--help")

    assert (result.code, result.errors) == (0, "")
    assert result.output.startswith(f"Usage: python -m esbank {' '.join(command)} ")


def test_it_tells_its_version(run: Run) -> None:
    result = run("--version")

    assert (result.code, result.output) == (0, f"esbank {metadata.version('esbank')}\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing"], 'Unknown command "nothing"'),
        (["schema", "nothing"], 'Unknown command "nothing"'),
        (["schema", "write"], "FILE requires an argument"),
        (["verify"], "STORE requires an argument"),
        (["verify", "a.db", "b.db"], "b.db"),
        (["verify", "a.db", "--nothing"], "--nothing"),
        (["verify", "a.db", "--head"], "--head"),
    ],
)
def test_a_mistake_on_the_command_line_is_explained(run: Run, folder: Path, arguments: list[str], problem: str) -> None:
    result = run(*arguments)

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors
    assert list(folder.iterdir()) == []


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
"""


def without(folder: Path, missing: str, *arguments: str) -> Result:
    """Run a command where a module cannot be found."""
    blocked = folder / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(WITHOUT.format(missing=missing), encoding="utf-8")
    return run_process(folder, *arguments, PYTHONPATH=os.pathsep.join([str(blocked), *filter(None, sys.path)]))


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["verify", "missing.db"]])
def test_without_what_the_commands_need_it_says_how_to_get_it(folder: Path, missing: str, arguments: list[str]) -> None:
    result = without(folder, missing, *arguments)

    assert (result.code, result.output) == (2, "")
    assert result.errors == "The commands need cyclopts and rich; install them: pip install 'esbank[cli]'\n"


@pytest.mark.parametrize("missing", ["msgspec", "esbank.verification"])
def test_whatever_else_is_missing_is_not_hidden(folder: Path, missing: str) -> None:
    result = without(folder, missing, "--help")

    assert result.code == 1
    assert f"ModuleNotFoundError: No module named {missing!r}" in result.errors
    assert "esbank[cli]" not in result.errors
