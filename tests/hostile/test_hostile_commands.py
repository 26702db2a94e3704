"""Arguments of the commands, of any sort: an exit code and a message, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Final

import pytest
from hostile_values import FEW_OR_MANY, TEXTS, explore, texts
from hypothesis import strategies as st

from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank
from esbank.cli import main

COMMANDS: Final = [
    "@",
    "verify @",
    "verify bank.db --head @",
    "verify bank.db @",
    "copy @ @",
    "copy missing.db @",
    "copy bank.db @",
    "schema @",
    "schema check @",
    "schema check @ esbank.bank:BankAccount",
    "schema check schema.json @",
    "schema write @ @",
    "projections @",
    "projections status @",
    "projections status bank.db @",
    "projections status bank.db esbank.bank:AccountDetails @",
    "projections rebuild bank.db esbank.bank:AccountDetails @",
    "projections resume bank.db esbank.bank:AccountDetails @",
    "projections skip bank.db esbank.bank:AccountDetails @ --reason @ --by @",
    "projections skip bank.db esbank.bank:AccountDetails 1 --reason @ --by @",
]
ARGUMENTS: Final = [
    *TEXTS,
    "--",
    "--head",
    "--head=",
    "--no-such=1",
    "-x",
    "[/red]",
    "[bold]",
    "@file",
    "$HOME",
    ":memory:",
    "/dev/null",
    "/",
    ".",
    "events.jsonl",
    "a\0.jsonl",
    "\ud800.jsonl",
    "a\udc80",
    "://",
    "x://y",
    "sqlite:///",
    "sqlite:///%00",
    "sqlite:///\ud800",
    "postgresql://[::1",
    "postgresql://127.0.0.1:99999999/x",
    "postgresql://127.0.0.1:1/x?esbank_schema=%00",
    "postgresql://127.0.0.1:1/x?no_such=1",
    "-1",
    "9" * 5000,
    "1e999",
    "nan",
    "1.5",
    "True",
    "1:" + "0" * 64,
    "9" * 5000 + ":" + "0" * 64,
    ":a",
    "a:",
    "..a:b",
    "a..b:c",
    "\ud800:a",
    "os:\ud800",
    "esbank.bank:BankAccount.__init__.__globals__",
    "os:system",
    "builtins:exec",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteEventStore("bank.db") as store:
        Bank(store).open_account("acc-001", "Alice")


def check(command: str, argument: str) -> None:
    """Run a command with streams as Python's own are: only the one for errors can write everything."""
    said = BytesIO()
    output = TextIOWrapper(said, "utf-8", write_through=True)
    errors = TextIOWrapper(said, "utf-8", errors="backslashreplace", write_through=True)
    with redirect_stdout(output), redirect_stderr(errors):
        code = main([argument if part == "@" else part for part in command.split()])

    assert code in {0, 1, 2}
    assert said.getvalue().strip()
    assert b"Traceback" not in said.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_its_work_or_says_why_not(command: str) -> None:
    for argument in ARGUMENTS:
        check(command, argument)


@FEW_OR_MANY
def test_whatever_is_said_to_a_command_is_answered(examples: int) -> None:
    @explore(examples, command=st.sampled_from(COMMANDS), argument=texts)
    def _(command: str, argument: str) -> None:
        check(command, argument.replace("/", "_"))


def test_bytes_that_are_no_text_are_answered_too() -> None:
    command = [sys.executable, "-W", "error", "-m", "esbank", "verify", b"\xff\xfe.db", "--head", b"\xed\xa0\x80"]
    process = subprocess.run(command, env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, check=False)

    assert process.returncode == 2
    assert process.stderr.strip()
    assert b"Traceback" not in process.stderr
