"""What the tests of backends share: a path for a file, and programs to run beside the test."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import SQLITE_PROGRAMS, Process, Run, Start, start_program

from esbank.backends.sqlite import SQLiteEventStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "events.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteEventStore]:
    """Open a store in that file."""
    with SQLiteEventStore(path) as store:
        yield store


@pytest.fixture
def programs() -> Path:
    """Name the file that the programs are in; a module of tests may name another one."""
    return SQLITE_PROGRAMS


@pytest.fixture
def start(programs: Path) -> Iterator[Start]:
    """Start one of the programs; whatever still runs after the test is killed."""
    started: list[Process] = []

    def start(name: str, *arguments: object) -> Process:
        process = start_program(programs, name, *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def run(start: Start) -> Run:
    """Run one of the programs to its end; return what it printed, as JSON."""

    def run(name: str, *arguments: object) -> object:
        process = start(name, *arguments)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        told: object = json.loads(output)
        return told

    return run
