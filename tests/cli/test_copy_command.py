"""``python -m esbank copy``: a store moves into another one, or into a file and out of it."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import Run

from esbank.backends.jsonl import JsonlLog
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank
from esbank.transfer import compare_logs
from esbank.verification import verify

DONE = "3 events in 3 appends: the target holds what the source held.\n"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("target", ["copy.db", "./copy.db", "sqlite:///copy.db", "sqlite:///%63opy.db"])
def test_a_store_is_copied_into_a_new_one(start: Run, folder: Path, target: str) -> None:
    result = start("copy", "bank.db", target)

    assert (result.code, result.errors) == (0, "")
    assert result.output == "3 events copied.\n" + DONE
    with SQLiteEventStore(folder / "bank.db") as source, SQLiteEventStore(folder / "copy.db", create=False) as copy:
        assert verify(copy) == verify(source)
        assert Bank(copy).account("acc-001").balance == 500


@pytest.mark.usefixtures("store")
def test_a_store_is_copied_into_a_file_and_out_of_it(run: Run, folder: Path) -> None:
    assert run("copy", "bank.db", "bank.jsonl").output == "3 events copied.\n" + DONE
    assert run("copy", "bank.jsonl", "copy.db").output == "3 events copied.\n" + DONE
    assert run("copy", "bank.jsonl", "copy.jsonl").code == 0

    heads = [run("verify", name).output for name in ("bank.db", "copy.db")]
    assert heads[0] == heads[1]
    assert (folder / "copy.jsonl").read_bytes() == (folder / "bank.jsonl").read_bytes()


def test_a_copy_goes_on_where_it_is(run: Run, store: Path) -> None:
    assert run("copy", store, "copy.db").code == 0
    assert run("copy", store, "copy.db").output == "0 events copied.\n" + DONE
    with SQLiteEventStore(store) as opened:
        Bank(opened).deposit("acc-002", 1)

    result = run("copy", store, "copy.db")

    assert (result.code, result.errors) == (0, "")
    assert result.output == "1 event copied.\n4 events in 4 appends: the target holds what the source held.\n"


@pytest.mark.parametrize("digests", [True, False], ids=["digests", "no digests"])
def test_a_copy_has_digests_if_the_source_has_some(run: Run, folder: Path, *, digests: bool) -> None:
    with SQLiteEventStore(folder / "source.db", digests=digests) as opened:
        Bank(opened).open_account("acc-001", "Alice")

    for source, target in (("source.db", "copy.db"), ("source.db", "file.jsonl"), ("file.jsonl", "again.db")):
        assert run("copy", source, target).code == 0

    assert run("verify", "again.db").code == run("verify", "copy.db").code == (0 if digests else 2)


def test_an_empty_store_is_copied(run: Run, folder: Path) -> None:
    with SQLiteEventStore(folder / "empty.db"):
        pass

    result = run("copy", "empty.db", "copy.db")

    assert (result.code, result.errors) == (0, "")
    assert result.output == "0 events copied.\n0 events in 0 appends: the target holds what the source held.\n"


def test_a_target_that_holds_something_else_is_refused(run: Run, store: Path, folder: Path) -> None:
    with SQLiteEventStore(folder / "other.db") as other:
        Bank(other).open_account("acc-001", "Carol")

    result = run("copy", store, "other.db")

    assert (result.code, result.output) == (2, "")
    assert "the target, which goes to position 1, is no beginning of the source" in result.errors
    assert "Copy into a new one" in result.errors


def test_a_difference_is_named(run: Run, store: Path) -> None:
    assert run("copy", store, "copy.db").code == 0
    with closing(sqlite3.connect("copy.db", isolation_level=None)) as database:
        database.execute("DROP TRIGGER esbank_events_no_update")
        database.execute("UPDATE esbank_events SET data = replace(data, '500.00', '50.00') WHERE position = 2")

    result = run("copy", store, "copy.db")

    assert (result.code, result.errors) == (1, "")
    assert result.output == (
        "0 events copied.\n"
        "different: BankAccount-acc-001 version 2 (position 2) has another data in the target\n"
        "1 event before that is the same. Keep both, and find out why.\n"
    )


def test_an_event_that_is_damaged_is_named_and_not_copied(run: Run, store: Path) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("DROP TRIGGER esbank_events_no_update")
        database.execute("UPDATE esbank_events SET data = replace(data, '500.00', '50.00') WHERE position = 2")

    result = run("copy", store, "copy.db")

    assert (result.code, result.output) == (2, "")
    assert result.errors.startswith("BankAccount-acc-001 version 2 (position 2) cannot be imported: its digest is not")
    with SQLiteEventStore("copy.db", create=False) as copy:
        assert copy.head() is None


def test_a_damaged_line_is_named(run: Run, store: Path, folder: Path) -> None:
    run("copy", store, "bank.jsonl")
    path = folder / "bank.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":"2"'))

    result = run("copy", "bank.jsonl", "copy.db")

    assert (result.code, result.output) == (2, "")
    assert result.errors.startswith("bank.jsonl: line 3 is damaged: ")
    assert not (folder / "copy.db").exists()


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ("missing.db", "copy.db", "missing.db: there is no event store here; check the path"),
        ("missing.jsonl", "copy.db", "missing.jsonl: there is no such file"),
        ("bank.db", "missing/copy.db", "make the folder missing first"),
        ("bank.db", "missing/copy.jsonl", "missing/copy.jsonl: there is no such file or folder"),
        ("bank.db", "mysql://localhost/bank", "names no store"),
        ("bank.db", "file:///copy.jsonl", "names no store"),
        ("bank.db", ":memory:", "a path is needed"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_cannot_be_opened_is_said(run: Run, folder: Path, source: str, target: str, problem: str) -> None:
    result = run("copy", source, target)

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors
    assert [path.name for path in folder.iterdir()] == ["bank.db"]


def test_a_file_of_events_is_no_store_for_other_commands(run: Run, store: Path) -> None:
    run("copy", store, "bank.jsonl")

    for command in (["verify", "bank.jsonl"], ["projections", "status", "bank.jsonl", "esbank.bank:AccountDetails"]):
        result = run(*command)
        assert (result.code, result.output) == (2, "")
        assert result.errors == "bank.jsonl is a file of events, and no store: copy it into one first\n"


def test_two_copies_into_one_file_do_not_meet(run: Run, store: Path, folder: Path) -> None:
    with SQLiteEventStore(store) as source, JsonlLog(folder / "bank.jsonl", copy_of=source.identity) as file:
        result = run("copy", store, "bank.jsonl")

        assert (result.code, result.output) == (2, "")
        assert "somebody else copies into the file" in result.errors
        assert not compare_logs(source, file).ok


def test_whoever_looks_on_sees_how_far_it_is(store: Path, folder: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "esbank", "copy", str(store), str(folder / "copy.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=environment, text=True) as process:
        os.close(follower)
        seen = b""
        while chunk := read_terminal(leader):
            seen += chunk
        output, _ = process.communicate(timeout=60)
    os.close(leader)

    assert (process.returncode, output) == (0, "3 events copied.\n" + DONE)
    assert b"Copying" in seen
    assert b"Comparing" in seen
    assert seen.count(b"3/3") >= 2


def read_terminal(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:  # the other end was closed
        return b""
