"""What went wrong in other event stores and is tested nowhere else: docs/lessons.md tells which test covers which."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from attrs import field, frozen
from attrs.validators import ge
from psycopg_pool import ConnectionPool

from esbank import EventCodec, EventEnvelope, EventRegistry, ProjectionRunner, Repository, side_effects
from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, AppendTransaction, EventStore, Metadata, NewEvent, StoredEvent, StreamId
from tests.basket import Added, Basket, Ensure
from tests.doubles import PlainStore, WatchedStore
from tests.journal import Journal, add, journal, running, until

PATIENCE: Final = 30
A_WHILE: Final = 0.2
ACCOUNT: Final = StreamId("Account", "1")


def numbers(events: Iterable[StoredEvent]) -> list[int]:
    return [int(event.data) for event in events]


# Rebuilding while appends are on their way


class Gate:
    """Stops appends after their events are stored, and before they are committed, until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def on_append(self, _: AppendTransaction, events: tuple[StoredEvent, ...]) -> None:
        if events:
            self.reached.set()
            assert self.opened.wait(PATIENCE)


def test_a_rebuild_skips_no_append_that_another_one_overtakes(server_dsn: str, schema: str) -> None:
    gate = Gate()
    with (
        PostgresEventStore(server_dsn, schema=schema) as store,
        PostgresEventStore(server_dsn, schema=schema, inline=[gate]) as slow_store,
        MemoryEventStore() as views,
        ThreadPoolExecutor(2) as threads,
    ):
        add(store, "pen")
        runner = ProjectionRunner(store, [Journal()], views=views)
        slow = threads.submit(add, slow_store, "ink", key="b2")
        assert gate.reached.wait(PATIENCE)
        fast = threads.submit(add, store, "cup", key="b3")
        wait([fast], A_WHILE)  # it cannot come first; if it could, the rebuild would see it

        runner.rebuild()
        gate.opened.set()
        slow.result(PATIENCE)
        fast.result(PATIENCE)
        runner.catch_up()

        assert journal(views) == ["pen", "ink", "cup"]


# Following


class Teasing(PlainStore):
    """A store to which something is appended right after somebody has found nothing more, five times."""

    def __init__(self, inner: EventStore) -> None:
        super().__init__(inner)
        self.left = 5
        self.on_end: Callable[[], object]

    def wait(self, *, after: int | None, timeout: float) -> bool:  # noqa: ARG002  # there is nobody to wait for
        found = super().wait(after=after, timeout=0)
        if not found:
            self._append_or_end()
        return found

    def read_all(self, **options: Any) -> Iterator[StoredEvent]:  # noqa: ANN401  # they are handed on
        yield from list(super().read_all(**options))
        self._append_or_end()

    def _append_or_end(self) -> None:
        if self.left:
            self.left -= 1
            self.inner.append(ACCOUNT, [NewEvent("Noted", str(self.left))], expected_version=ANY_VERSION)
        else:
            self.on_end()


def test_a_subscription_misses_nothing_that_comes_right_after_it_found_nothing() -> None:
    with MemoryEventStore() as inner:
        store = Teasing(inner)
        subscription = store.subscribe(types=["Noted"])
        store.on_end = subscription.close

        assert numbers(subscription) == [4, 3, 2, 1, 0]


def test_a_runner_does_not_rest_before_it_has_taken_what_came_while_it_caught_up() -> None:
    def follow_up(sku: str) -> None:
        if sku == "pen":
            add(store, "ink")

    with MemoryEventStore() as store, MemoryEventStore() as views:
        runner = ProjectionRunner(store, [Journal(follow_up)], views=views)
        runner.catch_up()  # makes the tables
        add(store, "pen")
        with running(runner):
            until(lambda: journal(views) == ["pen", "ink"])


# Deciding


def test_a_version_counts_no_event_that_the_state_does_not_have() -> None:
    with MemoryEventStore() as inner:
        store = WatchedStore(inner)
        store.after("read", lambda: add(inner, "pen"))

        Repository(store, Basket).execute("b1", Ensure("pen"))

        assert Repository(inner, Basket).load("b1").state.skus == ["pen"]


# Side effects


class Letters(Journal):
    """A journal that tells the world of what was added."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    @side_effects(Added)
    def _write(self, envelope: EventEnvelope[Added]) -> None:
        self.told.append(envelope.event.sku)


def test_the_world_is_told_of_what_comes_after_pages_of_other_events() -> None:
    letters = Letters()
    with MemoryEventStore() as store:
        runner = ProjectionRunner(store, [letters])
        runner.catch_up()
        store.append(ACCOUNT, [NewEvent("Noted", "{}") for _ in range(2_000)], expected_version=0)
        add(store, "pen")

        runner.catch_up()

    assert letters.told == ["pen"]


# Order


AS_THEY_LIE: Final = (4, 1, 0, 7, 6, 3, 2, 5)
"""The numbers of events in the order of their ids."""


def fill(store: EventStore) -> None:
    """Append eight events of one conversation to two streams in turn."""
    for number in range(8):
        event_id = UUID(int=AS_THEY_LIE.index(number))
        event = NewEvent("Noted", str(number), event_id=event_id, metadata=Metadata(correlation_id="c"))
        store.append(StreamId("Account", str(number % 2)), [event], expected_version=ANY_VERSION)


def assert_in_order(store: SQLiteEventStore | PostgresEventStore) -> None:
    even, odd = StreamId("Account", "0"), StreamId("Account", "1")
    assert numbers(store.read_all()) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert numbers(store.read_all(after=2, categories=["Account"], types=["Noted"], limit=3)) == [2, 3, 4]
    assert numbers(store.read(even)) == [0, 2, 4, 6]
    assert numbers(store.read(odd, limit=3, backwards=True)) == [7, 5, 3]
    assert numbers(store.read_correlated("c")) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [numbers(events) for events in store.read_appends(after=5)] == [[5], [6], [7]]
    assert list(store.streams("Account")) == [even, odd]
    assert (store.head(), store.version(even), store.version(odd)) == (8, 4, 4)


@pytest.mark.parametrize("is_reversed", ["ON", "OFF"])
def test_sqlite_is_asked_for_the_order_of_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_reversed: str
) -> None:
    """Where a statement asks for no order, SQLite can be told to give the rows in reverse."""
    connect = sqlite3.connect

    def connect_and_tell(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401  # they are handed on
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA reverse_unordered_selects={is_reversed}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_and_tell)
    with SQLiteEventStore(tmp_path / "events.db") as store:
        fill(store)

        assert_in_order(store)


def test_postgresql_is_asked_for_the_order_of_events(server_dsn: str, schema: str) -> None:
    """Without its indexes, a table is read as its rows lie: here in the order of the ids."""
    settings = " ".join(f"-c enable_{kind}scan=off" for kind in ("index", "indexonly", "bitmap"))
    with (
        ConnectionPool(server_dsn, min_size=1, max_size=2, kwargs={"options": settings}) as pool,
        PostgresEventStore(pool, schema=schema) as store,
    ):
        fill(store)
        with psycopg.connect(server_dsn, autocommit=True) as connection:
            connection.execute(f"CLUSTER {schema}.esbank_events USING esbank_events_id".encode())

        assert_in_order(store)


# Cost


def calls_of(work: Callable[[], object]) -> int:
    """Count how often Python calls anything to get it done."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_an_append_in_memory_takes_no_more_steps_in_a_longer_stream() -> None:
    with MemoryEventStore() as store:

        def append(count: int = 1) -> None:
            store.append(ACCOUNT, [NewEvent("Noted", "{}") for _ in range(count)], expected_version=ANY_VERSION)

        append(20)
        steps = calls_of(append)
        append(2_000)

        assert calls_of(append) < 2 * steps


# Rules


@frozen
class Amount:
    """A part of an event whose rule came after some were stored."""

    value: int = field(validator=ge(10))


@frozen
class Deposited:
    amount: Amount


@pytest.mark.parametrize("data", ['{"amount":{"value":1}}', '{"amount": {"value": 1}}'], ids=["as written", "laid out"])
def test_a_part_of_an_event_is_read_whatever_its_rules_have_become(data: str) -> None:
    stored = StoredEvent(ACCOUNT, 1, 1, UUID(int=1), "Deposited", 1, data, Metadata(), 0)

    event = EventCodec(EventRegistry(Deposited)).decode(stored)

    assert isinstance(event, Deposited)
    assert event.amount.value == 1


# Time


def test_an_event_is_recorded_when_it_is_appended_and_not_when_its_transaction_began(
    server_dsn: str, schema: str
) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        with store.transaction() as tx:
            ((later,),) = tx.execute("SELECT clock_timestamp()")
            pending = tx.append(ACCOUNT, [NewEvent("Noted", "{}")], expected_version=0)

        assert pending.result.events[0].recorded_at >= later
