"""Threads that share a SQLite store, and what happens when it is closed or dropped under them."""

import gc
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import StorageError, StoreClosed
from esbank.store import ANY_VERSION, NewEvent, StreamId

T = TypeVar("T")
SHARED = StreamId("Account", "shared")


def append(store: SQLiteEventStore, stream: StreamId = SHARED, count: int = 1) -> None:
    events = [NewEvent("Deposited", "{}") for _ in range(count)]
    store.append(stream, events, expected_version=ANY_VERSION)


def in_threads(functions: list[Callable[[], T]]) -> list[T | Exception]:
    """Call each function in a thread of its own; return what each returned or raised."""
    outcomes: list[T | Exception] = [TimeoutError("stuck")] * len(functions)

    def run(index: int) -> None:
        try:
            outcomes[index] = functions[index]()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_fifty_threads_may_read_and_append_at_once(path: Path) -> None:
    with SQLiteEventStore(path, durability="normal") as store:

        def work(number: int) -> int:
            own = StreamId("Account", str(number))
            for count in (1, 2, 3):
                append(store, own, count)
                append(store)
                assert store.find(own, next(store.read(own)).event_id) is not None
                assert len(list(store.read(own))) == store.version(own)
                assert store.head() is not None
            return len(list(store.read_all(categories=["Account"], limit=400)))

        outcomes = in_threads([partial(work, number) for number in range(50)])

        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert store.version(SHARED) == 150
        assert len(list(store.read_all())) == 450
        assert [store.version(StreamId("Account", str(number))) for number in range(50)] == [6] * 50


def test_a_store_closed_while_threads_use_it_says_so_and_nothing_else(path: Path) -> None:
    for _ in range(5):
        store = SQLiteEventStore(path, durability="normal")
        working = threading.Semaphore(0)

        def work(store: SQLiteEventStore = store, working: threading.Semaphore = working) -> None:
            while True:
                append(store)
                list(store.read_all(limit=20))
                working.release()

        def close(store: SQLiteEventStore = store, working: threading.Semaphore = working) -> None:
            for _ in range(10):
                working.acquire()
            store.close()

        *outcomes, closed = in_threads([*[work] * 6, close])

        assert closed is None
        assert [type(outcome) for outcome in outcomes] == [StoreClosed] * 6

    with SQLiteEventStore(path) as store:
        assert [event.version for event in store.read(SHARED)] == list(range(1, store.version(SHARED) + 1))


def test_closing_waits_for_the_transaction_of_another_thread(path: Path) -> None:
    store = SQLiteEventStore(path)
    inside, closing = threading.Event(), threading.Event()

    def write() -> None:
        with store.view_transaction() as tx:
            inside.set()
            closing.wait(60)
            tx.execute("CREATE TABLE numbers AS SELECT 1")

    def close() -> None:
        inside.wait(60)
        closing.set()
        store.close()

    assert in_threads([write, close]) == [None, None]
    with SQLiteEventStore(path) as again:
        assert again.query("SELECT * FROM numbers") == [(1,)]


def test_closing_inside_a_transaction_of_the_same_thread_is_an_error(path: Path) -> None:
    store = SQLiteEventStore(path)

    def close_inside() -> None:
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 1")
            store.close()

    (outcome,) = in_threads([close_inside])

    assert isinstance(outcome, StorageError)
    store.close()


def test_an_append_inside_a_transaction_of_the_same_thread_is_an_error(store: SQLiteEventStore) -> None:
    def append_inside() -> None:
        with store.view_transaction():
            append(store)

    (outcome,) = in_threads([append_inside])

    assert isinstance(outcome, StorageError)
    append(store)
    assert store.version(SHARED) == 1


def open_and_drop(path: Path) -> None:
    append(SQLiteEventStore(path))
    gc.collect()


def test_a_store_dropped_without_close_warns(path: Path) -> None:
    with pytest.warns(ResourceWarning, match=r"SQLiteEventStore\(.*events.db'\) was dropped without close"):
        open_and_drop(path)

    with SQLiteEventStore(path) as again:
        assert again.version(SHARED) == 1


def test_a_store_that_was_closed_or_never_opened_does_not_warn(path: Path, tmp_path: Path) -> None:
    store = SQLiteEventStore(path)
    store.close()
    del store
    with pytest.raises(StorageError):
        SQLiteEventStore(tmp_path)
    with pytest.raises(ValueError, match="MemoryEventStore"):
        SQLiteEventStore("")

    gc.collect()


def half_read(path: Path) -> list[int]:
    store = SQLiteEventStore(path)
    append(store, count=2)
    reading = store.read_all()
    del store
    gc.collect()
    versions = [event.version for event in reading]
    del reading
    gc.collect()
    return versions


def test_a_half_read_log_keeps_its_store(path: Path) -> None:
    with pytest.warns(ResourceWarning):
        versions = half_read(path)

    assert versions == [1, 2]
