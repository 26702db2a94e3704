"""The store in memory keeps the promises of every store, and what is its own."""

import gc
from collections.abc import Iterator

import pytest

from esbank.backends.memory import MemoryEventStore
from esbank.errors import StorageError
from esbank.store import ANY_VERSION, EventStore, NewEvent, StreamId
from esbank.testing.conformance import EventStoreConformance
from tests.doubles import WatchedStore, fail

ACCOUNT = StreamId("Account", "1")


class TestMemoryEventStore(EventStoreConformance):
    has_queries_during_transactions = False

    @pytest.fixture
    def store(self) -> Iterator[EventStore]:
        with MemoryEventStore() as store:
            yield store


class TestMemoryEventStoreWithoutDigests(EventStoreConformance):
    has_digests = False
    has_queries_during_transactions = False

    @pytest.fixture
    def store(self) -> Iterator[EventStore]:
        with MemoryEventStore(digests=False) as store:
            yield store


def append(store: MemoryEventStore) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION)


def test_a_recorded_time_never_goes_back_with_the_clock() -> None:
    seconds = iter([50, 40, 60])
    store = MemoryEventStore(clock=lambda: next(seconds) * 1_000_000_000)
    for _ in range(3):
        append(store)

    assert [event.recorded_at.timestamp() for event in store.read_all()] == [50, 50, 60]


def test_every_store_has_an_identity_of_its_own() -> None:
    assert MemoryEventStore().identity != MemoryEventStore().identity


def test_a_store_says_how_much_it_holds() -> None:
    store = MemoryEventStore()
    append(store)
    assert repr(store) == "MemoryEventStore(1 events)"

    store.close()
    assert repr(store) == "MemoryEventStore(closed)"


def test_a_store_that_is_dropped_needs_no_close() -> None:
    store = MemoryEventStore()
    append(store)
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers (number INTEGER)")
    del store

    gc.collect()


def test_views_speak_the_sql_of_sqlite() -> None:
    with MemoryEventStore() as store, store.view_transaction() as tx:
        assert tx.dialect == "sqlite"


def test_a_follower_sees_what_was_appended_while_it_read() -> None:
    store = MemoryEventStore()
    append(store)
    following = store.read_all()
    assert next(following).version == 1

    append(store)

    assert next(following).version == 2


def test_an_error_is_no_end_of_a_subscription() -> None:
    with MemoryEventStore() as store:
        watched = WatchedStore(store)
        append(store)
        append(store)
        subscription = watched.subscribe(after=1)
        watched.before("read_all", fail(StorageError("memory", "out of order")))

        with pytest.raises(StorageError, match="out of order"):
            next(subscription)

        assert next(subscription).position == 2
