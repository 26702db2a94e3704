"""Run the commands, in this process and in processes of their own, on modules that are written for the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from commands import Result, Run, WriteModule, run_process

from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank
from esbank.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, whose modules can be imported and are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def module(folder: Path) -> WriteModule:
    """Write a module into the folder, in place of what it was before."""

    def write(name: str, source: str) -> None:
        (folder / f"{name}.py").write_text(dedent(source), encoding="utf-8")
        sys.modules.pop(name, None)

    # Two versions of a module can be written within the same second.
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    yield write
    sys.dont_write_bytecode = before


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def start(folder: Path) -> Run:
    """Run a command as a person does, from a shell in the folder."""

    def start(*arguments: object) -> Result:
        return run_process(folder, *arguments)

    return start


@pytest.fixture
def store(folder: Path) -> Path:
    """Make a store with three events in two streams."""
    path = folder / "bank.db"
    with SQLiteEventStore(path) as opened:
        bank = Bank(opened)
        bank.open_account("acc-001", "Alice")
        bank.deposit("acc-001", 500)
        bank.open_account("acc-002", "Bob")
    return path
