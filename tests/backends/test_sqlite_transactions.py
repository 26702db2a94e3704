"""Rows and events in one transaction, where SQLite ends one by itself, a commit fails, or a process is killed."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from processes import Start, hear

from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError, DuplicateEvent, StorageError, UnknownOutcome
from esbank.store import ANY_VERSION, AppendResult, NewEvent, StoreTransaction, StreamId

ACCOUNT = StreamId("Account", "1")
INSERT = "INSERT INTO numbers VALUES (:number)"
NUMBERS = "SELECT number FROM numbers ORDER BY number"

Store = SQLiteEventStore | MemoryEventStore


@pytest.fixture(params=[SQLiteEventStore, MemoryEventStore])
def either(request: pytest.FixtureRequest, path: Path) -> Iterator[Store]:
    """Give a store in a file, then one in memory, each with tables of somebody's own."""
    with SQLiteEventStore(path) if request.param is SQLiteEventStore else MemoryEventStore() as store:
        with store.transaction() as tx:
            tx.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
            tx.execute("CREATE TABLE children (parent REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)")
        yield store


def event() -> NewEvent:
    return NewEvent("Deposited", "{}")


def state_of(store: Store) -> tuple[list[int], list[UUID]]:
    return [number for (number,) in store.query(NUMBERS)], [stored.event_id for stored in store.read_all()]


def ignore_the_failure_of(tx: StoreTransaction, sql: str) -> None:
    with pytest.raises(StorageError, match="UNIQUE"):
        tx.execute(sql)


def test_a_statement_that_fails_may_be_ignored(either: Store) -> None:
    with either.transaction() as tx:
        tx.execute(INSERT, {"number": 1})
        ignore_the_failure_of(tx, "INSERT INTO numbers VALUES (1)")
        pending = tx.append(ACCOUNT, [event()], expected_version=0)

    assert state_of(either) == ([1], [pending.result.events[0].event_id])


@pytest.mark.parametrize("then", ["nothing", "a statement"])
@pytest.mark.parametrize("appends", [0, 1])
def test_a_transaction_that_sqlite_rolled_back_by_itself_stores_nothing(either: Store, then: str, appends: int) -> None:
    def change() -> None:
        with either.transaction() as tx:
            tx.execute(INSERT, {"number": 1})
            ignore_the_failure_of(tx, "INSERT OR ROLLBACK INTO numbers VALUES (1)")
            if appends:
                tx.append(ACCOUNT, [event()], expected_version=0)
            if then == "a statement":
                with pytest.raises(StorageError, match="begin it again"):
                    tx.execute(INSERT, {"number": 2})

    with pytest.raises(StorageError, match="undid the whole transaction") as raised:
        change()

    assert not isinstance(raised.value, UnknownOutcome)
    assert state_of(either) == ([], [])


def test_a_view_transaction_that_sqlite_rolled_back_by_itself_stores_nothing(either: Store) -> None:
    def change() -> None:
        with either.view_transaction() as tx:
            with pytest.raises(StorageError, match="UNIQUE"):
                tx.executemany("INSERT OR ROLLBACK INTO numbers VALUES (:number)", [{"number": 1}] * 2)
            with pytest.raises(StorageError, match="begin it again"):
                tx.execute(INSERT, {"number": 2})

    with pytest.raises(StorageError, match="undid the whole transaction"):
        change()

    assert state_of(either) == ([], [])


def test_a_commit_that_fails_stores_neither_rows_nor_events(either: Store) -> None:
    database = either._database if isinstance(either, SQLiteEventStore) else either._views  # noqa: SLF001  # to make it fail
    assert database._writer is not None  # noqa: SLF001  # same
    database._writer.rows("PRAGMA foreign_keys=ON")  # noqa: SLF001  # same
    events = [event()]

    def count(number: int, parent: int) -> AppendResult:
        with either.transaction() as tx:
            tx.execute(INSERT, {"number": number})
            tx.execute("INSERT INTO children VALUES (:parent)", {"parent": parent})
            pending = tx.append(ACCOUNT, events, expected_version=0)
        return pending.result

    with pytest.raises(UnknownOutcome) as raised:
        count(1, parent=7)
    assert isinstance(raised.value.__cause__, sqlite3.IntegrityError)
    assert state_of(either) == ([], [])

    assert count(7, parent=7) == count(8, parent=7)
    assert state_of(either) == ([7], [events[0].event_id])


def test_a_constraint_of_ones_own_table_is_no_duplicate_event(either: Store) -> None:
    def change(*events: NewEvent) -> None:
        with either.transaction() as tx:
            tx.append(ACCOUNT, events, expected_version=ANY_VERSION)
            tx.execute(INSERT, {"number": 1})

    first = event()
    change(first)

    for events in ([event()], [first]):
        with pytest.raises(StorageError, match="UNIQUE"):
            change(*events)
    assert state_of(either) == ([1], [first.event_id])


def test_the_store_goes_on_after_a_transaction_that_failed(either: Store) -> None:
    taken = event()
    either.append(ACCOUNT, [taken], expected_version=0)

    def change(*events: NewEvent, expected_version: int) -> None:
        with either.transaction() as tx:
            tx.execute(INSERT, {"number": 1})
            tx.append(ACCOUNT, events, expected_version=expected_version)

    with pytest.raises(ConcurrencyError):
        change(event(), expected_version=0)
    with pytest.raises(DuplicateEvent):
        change(taken, event(), expected_version=1)
    change(taken, expected_version=1)  # a repeat
    assert state_of(either) == ([], [taken.event_id])

    change(event(), expected_version=1)

    assert either.version(ACCOUNT) == 2
    assert either.query(NUMBERS) == [(1,)]


def test_rows_and_events_stay_together_whenever_their_writers_are_killed(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store, store.transaction() as tx:
        tx.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    told: set[int] = set()
    first = 0
    for round_ in range(0, 6, 2):
        processes = [start("keep_numbers_for_ever", path, first + parity) for parity in (0, 1)]
        for process in processes:
            told |= {int(hear(process)) for _ in range(round_ * 3 + 1)}
        for process in processes:
            process.kill()
            process.wait(60)

        with SQLiteEventStore(path) as store:
            numbers = [number for (number,) in store.query(NUMBERS)]
            assert sorted(stored.data for stored in store.read_all()) == sorted(
                f'{{"number":{number}}}' for number in numbers
            )
        assert told <= set(numbers)
        first = max(numbers) + 2 - max(numbers) % 2
