"""The store in a SQLite file keeps the promises of every store, however durable it is asked to be."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import EventStore
from esbank.testing.conformance import EventStoreConformance


class TestSQLiteEventStore(EventStoreConformance):
    has_exclusive_transactions = True
    is_shared_by_processes = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EventStore]:
        self.path = tmp_path / "events.db"
        with SQLiteEventStore(self.path) as store:
            yield store

    def open_elsewhere(self) -> Callable[[], SQLiteEventStore]:
        return partial(SQLiteEventStore, self.path)


class TestSQLiteEventStoreOfNormalDurability(EventStoreConformance):
    has_exclusive_transactions = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EventStore]:
        with SQLiteEventStore(tmp_path / "events.db", durability="normal") as store:
            yield store


class TestSQLiteEventStoreWithoutDigests(EventStoreConformance):
    has_digests = False
    has_exclusive_transactions = True

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EventStore]:
        with SQLiteEventStore(tmp_path / "events.db", durability="normal", digests=False) as store:
            yield store
