"""How a SQLite file is used: with a write-ahead log, synced as asked, and locked before anything is read."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, NewEvent, StreamId

ACCOUNT = StreamId("Account", "1")


def append(store: SQLiteEventStore) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION)


def test_the_file_has_a_write_ahead_log(store: SQLiteEventStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.query("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_commits_are_synced_as_asked(path: Path, durability: Literal["full", "normal"], synchronous: int) -> None:
    with SQLiteEventStore(path, durability=durability) as store:
        append(store)
        writer = store._database._writer  # noqa: SLF001  # nothing else tells
        assert writer is not None

        assert writer.rows("PRAGMA synchronous") == [(synchronous,)]


def test_commits_are_synced_in_full_unless_asked_otherwise(store: SQLiteEventStore) -> None:
    append(store)
    writer = store._database._writer  # noqa: SLF001  # nothing else tells
    assert writer is not None

    assert writer.rows("PRAGMA synchronous") == [(2,)]


def test_a_transaction_holds_the_write_lock_before_its_first_statement(store: SQLiteEventStore, path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        with store.view_transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")


def test_a_transaction_that_has_read_may_still_write(store: SQLiteEventStore, path: Path) -> None:
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers (number INTEGER)")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        with store.view_transaction() as tx:
            assert tx.execute("SELECT count(*) FROM numbers") == [(0,)]
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("INSERT INTO numbers VALUES (1)")
            tx.execute("INSERT INTO numbers VALUES (2)")
        other.execute("INSERT INTO numbers VALUES (3)")

    assert store.query("SELECT number FROM numbers") == [(2,), (3,)]


def test_an_idle_reader_elsewhere_holds_up_nobody(store: SQLiteEventStore, path: Path) -> None:
    append(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as idle:
        idle.execute("BEGIN")
        assert idle.execute("SELECT count(*) FROM esbank_events").fetchone() == (1,)

        for _ in range(5):
            append(store)

        assert [event.version for event in store.read_all()] == [1, 2, 3, 4, 5, 6]
        assert idle.execute("SELECT count(*) FROM esbank_events").fetchone() == (1,)


def test_a_recorded_time_never_goes_back_with_the_clock(path: Path) -> None:
    seconds = iter([50, 40, 60, 10])
    second = 1_000_000_000
    with SQLiteEventStore(path, clock=lambda: next(seconds) * second) as store:
        for _ in range(3):
            append(store)
    with SQLiteEventStore(path, clock=lambda: next(seconds) * second) as store:
        append(store)

        assert [event.recorded_at.timestamp() for event in store.read_all()] == [50, 50, 60, 60]
