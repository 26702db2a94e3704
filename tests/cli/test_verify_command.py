"""``python -m esbank verify``: it reads a store that is there, and touches nothing else."""

from __future__ import annotations

import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import Run

from esbank import StorageError
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank
from esbank.store import NewEvent, StreamId

HEAD = re.compile(r"head (3:[0-9a-f]{64})\n")


def tamper(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(sql)


def test_a_store_that_is_whole_gives_its_head(start: Run, store: Path) -> None:
    result = start("verify", store)

    assert (result.code, result.errors) == (0, "")
    first, _, rest = result.output.partition("\n")
    assert first == "3 events in 2 streams: all as they were written."
    assert HEAD.fullmatch(rest)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("where", ["bank.db", "./bank.db", "sqlite:///bank.db", "sqlite:///%62ank.db"])
def test_a_store_is_named_by_path_or_url(run: Run, where: str) -> None:
    assert run("verify", where).code == 0


def test_an_absolute_path_can_be_in_a_url_too(run: Run, store: Path) -> None:
    assert run("verify", f"sqlite:///{store}").code == 0


def test_a_head_that_was_kept_is_compared(run: Run, store: Path) -> None:
    head = HEAD.search(run("verify", store).output)
    assert head is not None
    with SQLiteEventStore(store) as opened:
        Bank(opened).deposit("acc-002", 1)

    result = run("verify", store, "--head", head[1])

    assert (result.code, result.errors) == (0, "")
    assert result.output.startswith("4 events in 2 streams: all as they were written.\nhead 4:")
    assert run("verify", store, "--head", f"head {head[1]}").code == 0


def test_a_changed_event_is_named_with_its_stream(start: Run, store: Path) -> None:
    tamper(store, "UPDATE esbank_events SET data = replace(data, '500.00', '50.00') WHERE position = 2")

    result = start("verify", store)

    assert (result.code, result.errors) == (1, "")
    assert result.output == (
        "broken: BankAccount-acc-001 version 2 (Deposited, position 2): its digest is not that of what is stored\n"
        "3 events in 2 streams: not as they were written. Keep the store as it is, and find out why.\n"
    )


def test_names_are_shown_as_they_are(run: Run, folder: Path) -> None:
    with SQLiteEventStore(folder / "events.db") as opened:
        opened.append(StreamId("Account", "[red]:key:"), [NewEvent("Paid", "{}")], expected_version=0)
    tamper(folder / "events.db", "UPDATE esbank_events SET data = '[]'")

    assert run("verify", "events.db").output.startswith("broken: Account-[red]:key: version 1 (Paid, position 1): ")


def test_an_end_that_is_missing_shows_by_the_head_alone(run: Run, store: Path) -> None:
    head = HEAD.search(run("verify", store).output)
    assert head is not None
    tamper(store, "DELETE FROM esbank_events WHERE position = 3")

    assert run("verify", store).code == 0
    result = run("verify", store, "--head", head[1])

    assert (result.code, result.errors) == (1, "")
    assert result.output == (
        "broken: the log ends at position 2, before position 3: its end is missing\n"
        "2 events in 1 stream: not as they were written. Keep the store as it is, and find out why.\n"
    )


def test_an_empty_store_has_no_head(run: Run, folder: Path) -> None:
    with SQLiteEventStore(folder / "empty.db"):
        pass

    result = run("verify", "empty.db")

    assert (result.code, result.output) == (0, "0 events in 0 streams: all as they were written.\n")


def test_a_store_without_digests_cannot_be_verified(run: Run, folder: Path) -> None:
    with SQLiteEventStore(folder / "plain.db", digests=False) as opened:
        Bank(opened).open_account("acc-001", "Alice")

    result = run("verify", "plain.db")

    assert (result.code, result.output) == (2, "")
    assert "digests" in result.errors


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("head", ["", "3", "3:abc", "three:" + "0" * 64, "3:" + "0" * 63])
def test_what_is_no_head_is_refused(run: Run, head: str) -> None:
    result = run("verify", "bank.db", f"--head={head}")

    assert (result.code, result.output) == (2, "")
    assert result.errors == f"{head!r} is no head: it is a position, a colon, and 64 hexadecimal digits\n"


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("mysql://localhost/bank", "names no store: give the path of a SQLite file, or a URL such as sqlite:///"),
        ("sqlite://bank.db", "names no store: give the path of a SQLite file, or a URL such as sqlite:///bank.db"),
        ("sqlite:///", "a path is needed"),
        (":memory:", "a path is needed"),
        ("missing.db", "missing.db: there is no event store here; check the path"),
        ("missing/bank.db", "missing/bank.db: there is no event store here; check the path"),
        ("sqlite:///missing.db", "missing.db: there is no event store here; check the path"),
    ],
)
def test_a_store_that_is_not_there_is_said_and_not_made(run: Run, folder: Path, where: str, problem: str) -> None:
    result = run("verify", where)

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors
    assert list(folder.iterdir()) == []


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (x)")
        database.commit()


def other_database_with_a_log(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE mine (x)")
        database.commit()


OTHERS = [
    pytest.param(lambda path: path.write_bytes(b""), "there is no event store here", id="empty"),
    pytest.param(lambda path: path.write_bytes(b"dear diary, " * 100), "file is not a database", id="text"),
    pytest.param(other_database, "there is no event store here", id="another database"),
    pytest.param(other_database_with_a_log, "there is no event store here", id="another database with a log"),
    pytest.param(Path.mkdir, "this is a folder", id="folder"),
]


@pytest.mark.parametrize(("make", "problem"), OTHERS)
def test_a_file_of_something_else_is_left_alone(run: Run, folder: Path, make: object, problem: str) -> None:
    path = folder / "other.db"
    assert callable(make)
    make(path)
    before = None if path.is_dir() else path.read_bytes()

    result = run("verify", "other.db")

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors
    assert (None if path.is_dir() else path.read_bytes()) == before
    assert [file.name for file in folder.iterdir()] == ["other.db"]


@pytest.mark.parametrize(("make", "problem"), OTHERS)
def test_a_store_is_made_in_no_such_file_unless_that_is_asked_for(folder: Path, make: object, problem: str) -> None:
    path = folder / "other.db"
    assert callable(make)
    make(path)

    with pytest.raises(StorageError, match=problem):
        SQLiteEventStore(path, create=False)


def test_a_store_that_is_there_is_opened_without_making_one(store: Path, folder: Path) -> None:
    with pytest.raises(StorageError, match=r"no event store here; check the path") as raised:
        SQLiteEventStore(folder / "missing.db", create=False)
    assert raised.value.store == str(folder / "missing.db")

    with SQLiteEventStore(store, create=False) as opened:
        assert Bank(opened).account("acc-001").balance == 500
    assert not (folder / "missing.db").exists()


def test_tables_of_an_application_do_not_make_a_store(folder: Path) -> None:
    other_database(folder / "mine.db")
    with SQLiteEventStore(folder / "mine.db") as made:
        identity = made.identity

    with SQLiteEventStore(folder / "mine.db", create=False) as opened:
        assert opened.identity == identity


def test_whoever_looks_on_sees_how_far_it_is(store: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "esbank", "verify", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=environment, text=True) as process:
        os.close(follower)
        seen = b""
        while chunk := read_terminal(leader):
            seen += chunk
        output, _ = process.communicate(timeout=60)
    os.close(leader)

    assert process.returncode == 0
    assert output.startswith("3 events in 2 streams: all as they were written.\nhead 3:")
    assert b"Verifying" in seen
    assert b"3/3" in seen


def read_terminal(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:  # the other end was closed
        return b""
