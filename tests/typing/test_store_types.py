"""The stores are what the protocols ask for."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import assert_type

import pytest

from esbank import EventStore, ProjectionRunner
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountDetails, Bank
from esbank.store import (
    AppendResult,
    NewEvent,
    PendingAppend,
    PortableLog,
    Rows,
    SnapshotStore,
    StoredEvent,
    StoreTransaction,
    StreamId,
    Transaction,
    TransactionalStore,
    ViewStore,
)


def test_the_memory_store_is_every_kind_of_store() -> None:
    with MemoryEventStore() as store:
        assert_type(store, MemoryEventStore)
        events: EventStore = store
        snapshots: SnapshotStore = store
        views: ViewStore = store
        transactions: TransactionalStore = store
        assert transactions is store
        log: PortableLog = store
        assert log.head() is None
        assert events.head() is None
        assert snapshots.load_snapshot(StreamId("A", "1")) is None
        assert views.query("SELECT 1") == [(1,)]


def test_the_sqlite_store_is_every_kind_of_store(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "events.db") as store:
        assert_type(store, SQLiteEventStore)
        events: EventStore = store
        snapshots: SnapshotStore = store
        views: ViewStore = store
        transactions: TransactionalStore = store
        assert transactions is store
        log: PortableLog = store
        assert log.head() is None
        assert events.head() is None
        assert snapshots.load_snapshot(StreamId("A", "1")) is None
        assert views.query("SELECT 1") == [(1,)]


def test_what_a_store_gives_back_has_a_type() -> None:
    with MemoryEventStore() as memory:
        store: EventStore = memory
        stream = StreamId("A", "1")
        assert_type(store.append(stream, [NewEvent("Happened", "{}")], expected_version=0), AppendResult)
        assert_type(store.read(stream), Iterator[StoredEvent])
        assert_type(store.read_all(), Iterator[StoredEvent])
        assert_type(store.streams("A"), Iterator[StreamId])
        assert_type(store.version(stream), int)
        assert_type(store.head(), int | None)


def test_a_view_transaction_has_a_type() -> None:
    with MemoryEventStore() as memory:
        views: ViewStore = memory
        with views.view_transaction() as tx:
            assert_type(tx, Transaction)
            assert_type(tx.execute("SELECT :a", {"a": 1}), Rows)
        assert_type(views.query("SELECT 1"), Rows)


def test_a_transaction_for_rows_and_events_has_a_type(tmp_path: Path) -> None:
    with MemoryEventStore() as memory, SQLiteEventStore(tmp_path / "events.db") as sqlite:
        stores: list[TransactionalStore] = [memory, sqlite]
        for store in stores:
            with store.transaction() as tx:
                assert_type(tx, StoreTransaction)
                plain: Transaction = tx
                assert_type(plain.execute("SELECT :a", {"a": 1}), Rows)
                pending = tx.append(StreamId("A", "1"), [NewEvent("Happened", "{}")], expected_version=0)
                assert_type(pending, PendingAppend)
                with pytest.raises(TypeError):
                    tx.append("A-1", [], expected_version=0)  # type: ignore[arg-type]
            assert_type(pending.stream, StreamId)
            assert_type(pending.result, AppendResult)
            assert repr(pending) == "PendingAppend(A-1)"


def test_a_store_serves_where_a_kind_of_store_is_asked_for(tmp_path: Path) -> None:
    with closing(MemoryEventStore()) as events, closing(SQLiteEventStore(tmp_path / "views.db")) as views:
        bank = Bank(events, views=views)
        assert_type(bank.projections, ProjectionRunner)
        assert_type(bank.projections.views, ViewStore)
        ProjectionRunner(views, [AccountDetails()], views=events).catch_up()
        wrong: list[EventStore] = ["a store"]  # type: ignore[list-item]
        assert wrong
