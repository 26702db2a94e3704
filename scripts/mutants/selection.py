"""A plugin for pytest that notes how long each test takes, or runs those that it is told to, in that order."""

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

NOTES = "MUTANTS_NOTES"
"""The environment variable that names the file for the seconds, by the name of the test."""
TESTS = "MUTANTS_TESTS"
"""The environment variable that names the file with the names of the tests to run."""

_seconds: dict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the phases of a test."""
    _seconds[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    """Write down what was noted."""
    if NOTES in os.environ:
        Path(os.environ[NOTES]).write_text(json.dumps(_seconds))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that are named, in that order."""
    if TESTS in os.environ:
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in json.loads(Path(os.environ[TESTS]).read_text()) if name in found]
