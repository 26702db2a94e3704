"""Whoever reads why a failure of others cannot happen here finds the test that shows it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "lessons.md"


def lessons() -> list[tuple[str, str, str]]:
    """List the lines of the table: what went wrong, why it cannot happen here, and the tests."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    return [(failure, reason, tests) for failure, reason, tests in cells]


def names_in(file: str) -> set[str]:
    """List the tests in a file, those of a class with its name before theirs."""
    names: set[str] = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return {name for name in names if name.rpartition(":")[2].startswith("test_")}


def test_every_lesson_names_tests_that_are_there() -> None:
    named = {test for _, _, tests in lessons() for test in re.findall("`(.+?)`", tests)}
    files = {test.partition("::")[0] for test in named}

    assert named
    assert named <= {f"{file}::{test}" for file in files for test in names_in(file)}


def test_every_lesson_has_a_reason_and_either_tests_or_none_to_name() -> None:
    for failure, reason, tests in lessons():
        assert failure
        assert reason
        assert re.fullmatch("none|`[^`]+`(, `[^`]+`)*", tests), failure
