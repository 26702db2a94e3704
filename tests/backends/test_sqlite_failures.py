"""When a commit fails, SQLite refuses a value, or the file is locked: it is said, and the store goes on."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Run, Start, hear, tell

from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import EsbankError, StorageError, UnknownOutcome
from esbank.store import ANY_VERSION, NewEvent, StreamId

ACCOUNT = StreamId("Account", "1")


def writer_of(store: SQLiteEventStore) -> Connection:
    writer = store._database._writer  # noqa: SLF001  # to make it fail
    assert writer is not None
    return writer


def append(store: SQLiteEventStore) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION)


def test_a_commit_that_fails_is_an_unknown_outcome_and_the_store_goes_on(store: SQLiteEventStore) -> None:
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        tx.execute("CREATE TABLE children (parent REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
    writer_of(store).rows("PRAGMA foreign_keys=ON")

    with pytest.raises(UnknownOutcome, match="repeat the same append") as raised, store.view_transaction() as tx:
        tx.execute("INSERT INTO children VALUES (7)")

    assert isinstance(raised.value.__cause__, sqlite3.IntegrityError)
    assert store.query("SELECT * FROM children") == []
    append(store)
    assert store.version(ACCOUNT) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.append(ACCOUNT, [NewEvent("A", "{}", schema_version=2**63)], expected_version=ANY_VERSION),
        lambda store: store.query("SELECT :value", {"value": 2**64}),
        lambda store: store.query("SELECT :value", {"value": "\ud800"}),
        lambda store: store.query("SELECT :value", {"value": object()}),
        lambda store: store.query("SELECT '\ud800'"),
        lambda store: list(store.streams("\ud800")),
        lambda store: list(store.read_all(types=["\ud800"])),
        lambda store: list(store.read_all(categories=["\ud800"])),
    ],
    ids=["schema_version", "number", "surrogate", "object", "sql", "category", "types", "categories"],
)
def test_a_value_that_sqlite_cannot_hold_is_no_error_of_the_driver(
    store: SQLiteEventStore, call: Callable[[SQLiteEventStore], object]
) -> None:
    append(store)
    failure: Exception | None = None
    try:
        result = call(store)
    except (EsbankError, ValueError, TypeError) as error:
        failure = error
    else:
        assert result == []

    assert not isinstance(failure, (UnicodeError, sqlite3.Error))
    append(store)
    assert store.version(ACCOUNT) == 2


INDENTED = ["\n" + " " * 64, "\n" * 64 + "\t" * 64, "-- so\n" * 64, "/* so */ " * 64, "/* / " * 64 + "*/"]


@pytest.mark.parametrize("before", INDENTED, ids=["blanks", "lines", "remarks", "comments", "nested"])
def test_a_statement_may_come_after_any_blanks_and_comments(path: Path, run: Run, before: str) -> None:
    assert run("execute", path, f"{before}SELECT 1") == [[[1]], [[1]]]


# Locks


def test_a_lock_that_another_process_holds_for_too_long_is_said(path: Path, start: Start) -> None:
    with SQLiteEventStore(path, busy_timeout=0.1) as store:
        append(store)
        other = start("hold_write_lock", path)
        hear(other)

        with pytest.raises(StorageError, match=r"another process held the file for too long.*busy_timeout"):
            append(store)
        with pytest.raises(StorageError, match="busy_timeout"), store.view_transaction():
            pass
        assert [event.version for event in store.read_all()] == [1]
        assert store.version(ACCOUNT) == 1

        other.communicate("let go\n", timeout=60)
        append(store)
        assert store.version(ACCOUNT) == 2


def test_a_file_whose_write_lock_is_held_may_be_opened_and_read(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        append(store)
    other = start("hold_write_lock", path)
    hear(other)

    with SQLiteEventStore(path, busy_timeout=0.1) as store:
        assert store.version(ACCOUNT) == 1


def test_a_new_file_that_another_process_holds_is_said(path: Path, start: Start) -> None:
    other = start("hold_write_lock", path, "BEGIN EXCLUSIVE")
    hear(other)

    with pytest.raises(StorageError, match="busy_timeout"):
        SQLiteEventStore(path, busy_timeout=0.1)

    other.communicate("let go\n", timeout=60)
    with SQLiteEventStore(path) as store:
        append(store)


def test_who_waits_for_another_process_gets_through(path: Path, start: Start) -> None:
    with SQLiteEventStore(path, busy_timeout=60) as store:
        other = start("hold_write_lock", path)
        hear(other)
        tell(other, "let go")

        append(store)

        assert store.version(ACCOUNT) == 1


def test_who_opens_a_new_file_waits_for_another_process(path: Path, start: Start) -> None:
    other = start("hold_write_lock", path, "BEGIN EXCLUSIVE", 0.5)
    hear(other)

    with SQLiteEventStore(path, busy_timeout=60) as store:
        append(store)

        assert store.version(ACCOUNT) == 1
