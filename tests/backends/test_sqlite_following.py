"""Waiting and subscribing at a file that other processes write to: nothing is missed, and idling costs little."""

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import StorageError, StoreClosed
from esbank.store import ANY_VERSION, NewEvent, StoredEvent, StreamAppend, StreamId, Subscription
from esbank.testing.conformance._given import in_threads
from tests.doubles import WatchedStore, fail

SPAWN: Final = get_context("spawn")
PATIENCE: Final = 60
ACCOUNT: Final = StreamId("Account", "1")
LAST: Final = StreamId("Account", "last")

Start = Callable[..., tuple[BaseProcess, Connection]]


def append(store: SQLiteEventStore, stream: StreamId = ACCOUNT, count: int = 1) -> int:
    events = [NewEvent("Deposited", "{}") for _ in range(count)]
    return store.append(stream, events, expected_version=ANY_VERSION).position


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a function in a process of its own; it can be talked to. What still runs after the test is killed."""
    with ExitStack() as stack:

        def start(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
            here, there = SPAWN.Pipe()
            process = SPAWN.Process(target=target, args=(there, *arguments))
            process.start()
            there.close()
            stack.callback(process.close)
            stack.callback(process.join)
            stack.callback(process.kill)
            stack.enter_context(here)
            return process, here

        yield start


def hear(connection: Connection) -> object:
    assert connection.poll(PATIENCE)
    return connection.recv()


def read_until_the_last(subscription: Subscription) -> list[StoredEvent]:
    read: list[StoredEvent] = []
    with subscription:
        for event in subscription:
            read.append(event)
            if event.stream == LAST:
                break
    return read


# Other processes and other stores


def append_when_told(connection: Connection, path: Path) -> None:
    """Append an event whenever told to; tell where it is."""
    with SQLiteEventStore(path) as store:
        connection.send("ready")
        while connection.recv() == "append":
            connection.send(append(store))


def append_many_times(connection: Connection, path: Path, count: int) -> None:
    """Append one to three events to two streams at a time, as often as told to."""
    with SQLiteEventStore(path, durability="normal") as store:
        connection.send("ready")
        for number in range(count):
            events = [NewEvent("Deposited", "{}") for _ in range(number % 3 + 1)]
            streams = [StreamId("Account", str(os.getpid())), StreamId("Basket", str(number % 3))]
            store.append_many([StreamAppend(stream, events, ANY_VERSION) for stream in streams])
    connection.send("done")


def follow(connection: Connection, path: Path, categories: list[str] | None) -> None:
    """Tell the positions of all events up to the last one, as they come."""
    with SQLiteEventStore(path) as store:
        connection.send("ready")
        connection.send([event.position for event in read_until_the_last(store.subscribe(categories=categories))])


def test_an_append_of_another_process_is_noticed_soon(store: SQLiteEventStore, path: Path, start: Start) -> None:
    _, connection = start(append_when_told, path)
    hear(connection)
    last: int | None = None
    waited: list[float] = []
    for _ in range(5):
        assert not store.wait(after=last, timeout=0.06)
        connection.send("append")
        began = time.monotonic()
        assert store.wait(after=last, timeout=PATIENCE)
        waited.append(time.monotonic() - began)
        last = store.head()
        assert hear(connection) == last

    assert min(waited) < 1


def test_an_append_of_another_store_of_this_process_is_noticed(path: Path) -> None:
    with SQLiteEventStore(path) as one, SQLiteEventStore(path) as other:
        subscription = one.subscribe()
        for count in range(1, 6):
            threading.Timer(0.02, partial(append, other)).start()
            assert one.wait(after=subscription.position, timeout=PATIENCE)
            assert next(subscription).version == count


def test_an_append_of_the_same_store_is_noticed_at_once(store: SQLiteEventStore) -> None:
    """Two threads that answer each other come further than looking twenty times a second would allow."""
    rounds = 100

    def play(own: int) -> None:
        position = None
        with store.subscribe() as subscription:
            for number in range(rounds):
                if number % 2 == own:
                    append(store)
                assert next(subscription).version == number + 1
                position = subscription.position
        assert position is not None

    began = time.monotonic()
    assert in_threads([partial(play, 0), partial(play, 1)]) == [None, None]

    assert time.monotonic() - began < rounds * 0.05 * 0.8


def test_subscriptions_miss_and_repeat_nothing_while_processes_write(path: Path, start: Start) -> None:
    with SQLiteEventStore(path, durability="normal") as store:
        followers = [start(follow, path, categories)[1] for categories in (None, ["Account"])]
        assert [hear(follower) for follower in followers] == ["ready"] * 2
        writers = [start(append_many_times, path, 60)[1] for _ in range(2)]
        assert [hear(writer) for writer in writers] == ["ready"] * 2

        def write() -> list[StoredEvent]:
            for number in range(60):
                append(store, StreamId("Basket", str(number % 3)), number % 2 + 1)
            assert [hear(writer) for writer in writers] == ["done"] * 2
            append(store, LAST)
            return []

        here: list[Callable[[], list[StoredEvent]]] = [
            partial(read_until_the_last, store.subscribe()),
            partial(read_until_the_last, store.subscribe(categories=["Account"])),
        ]
        _, *read = in_threads([write, *here])

        events = list(store.read_all())
        accounts = [event for event in events if event.stream.category == "Account"]
        assert len(events) == store.count() == 2 * 2 * 120 + 90 + 1
        assert read == [events, accounts]
        assert [hear(follower) for follower in followers] == [
            [event.position for event in events],
            [event.position for event in accounts],
        ]


def test_a_writer_that_is_killed_leaves_nothing_to_miss_or_to_repeat(path: Path, start: Start) -> None:
    with SQLiteEventStore(path, durability="normal") as store:
        subscription = store.subscribe()
        read: list[StoredEvent] = []
        for round_ in range(3):
            process, connection = start(append_many_times, path, 1_000_000)
            hear(connection)
            before = len(read)
            while len(read) < before + 10 * (round_ + 1):
                read.append(next(subscription))
            process.kill()
            process.join(PATIENCE)
            append(store, LAST)
            while read[-1].stream != LAST:
                read.append(next(subscription))

        assert read == list(store.read_all())
        assert Counter(event.stream for event in read)[LAST] == 3


def test_a_subscription_is_taken_up_at_another_store_where_it_was(path: Path) -> None:
    with SQLiteEventStore(path, durability="normal") as store, SQLiteEventStore(path) as other:
        append(store, count=5)
        with store.subscribe() as subscription:
            read = [next(subscription) for _ in range(3)]
            position = subscription.position
        append(store, LAST)

        assert [event.position for event in read] == [1, 2, 3]
        assert [event.position for event in read_until_the_last(other.subscribe(after=position))] == [4, 5, 6]


# Errors


@pytest.mark.parametrize("method", ["head", "read_all"])
def test_an_error_of_the_store_is_no_end_of_a_subscription(store: SQLiteEventStore, method: str) -> None:
    watched = WatchedStore(store)
    append(store, count=2)
    with watched.subscribe() as subscription:
        read = [next(subscription)]
        watched.before(method, fail(StorageError("events.db", "the disk failed")))
        watched.before(method, fail(StorageError("events.db", "the disk failed again")))
        read.append(next(subscription))  # was read with the one before it
        append(store, count=2)

        for _ in range(2):
            with pytest.raises(StorageError, match="the disk failed"):
                next(subscription)
            assert subscription.position == 2
        read += [next(subscription) for _ in range(2)]

    assert read == list(store.read_all())
    assert list(subscription) == []


def test_a_subscription_goes_on_once_its_file_is_mended(store: SQLiteEventStore, path: Path) -> None:
    append(store, count=1)
    subscription = store.subscribe()
    assert next(subscription).position == 1

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE esbank_events RENAME TO mislaid")
        with pytest.raises(StorageError, match="no such table"):
            next(subscription)
        other.execute("ALTER TABLE mislaid RENAME TO esbank_events")
    append(store)

    assert next(subscription).position == 2


# Forks


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_child(action: Callable[[], bool]) -> int:
    """Run an action in a fork; return the child's process id. Its status is 0 if the action returned true."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = 0 if action() else 2
    finally:
        os._exit(status)


def fork_while_waiting(connection: Connection, path: Path) -> None:
    """Fork while a thread waits; the child waits, appends and subscribes, and the parent's thread hears of it."""
    with SQLiteEventStore(path) as store:
        last = append(store)
        reading = store.subscribe()
        next(reading)
        woken: list[bool] = []
        waiting = threading.Thread(target=lambda: woken.append(store.wait(after=last, timeout=PATIENCE)))
        waiting.start()
        time.sleep(0.1)

        def child() -> bool:
            idle = not store.wait(after=last, timeout=0.1)
            append(store)
            own = [next(subscription).version for subscription in (reading, store.subscribe(after=last))]
            return idle and own == [2, 2] and store.wait(after=last, timeout=0)

        status = status_of(in_child(child))
        waiting.join(PATIENCE)
        connection.send([status, woken, next(reading).version])
        threading.Timer(0.1, partial(append, store)).start()
        connection.send(next(reading).version)


def fork_just_after_an_append_of_another(connection: Connection, path: Path) -> None:
    """Fork between an append of another process and the moment in which a waiting thread would have noticed it."""
    told: list[float] = []
    with SQLiteEventStore(path) as store:
        last = append(store)
        for _ in range(6):

            def wait(last: int = last) -> None:
                began = time.monotonic()
                assert store.wait(after=last, timeout=5)
                told.append(time.monotonic() - began)

            waiting = threading.Thread(target=wait)
            waiting.start()
            time.sleep(0.12)
            connection.send("append")
            last = connection.recv()
            status_of(in_child(lambda: True))
            waiting.join(PATIENCE)
    connection.send(max(told, default=PATIENCE) if len(told) == 6 else told)


def fork_inside_a_transaction(connection: Connection, path: Path) -> None:
    """Fork inside a transaction: the parent can still wait, and the child is told that it cannot."""
    with SQLiteEventStore(path) as store:
        append(store)
        assert store.wait(after=None, timeout=0)

        def child() -> bool:
            try:
                store.wait(after=None, timeout=0)
            except StorageError as error:
                return "forked inside a transaction" in str(error)
            return False

        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 1")
            status = status_of(in_child(child))
            found = store.wait(after=None, timeout=0)
        connection.send([status, found, store.wait(after=1, timeout=0.1), store.query("SELECT * FROM numbers")])


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
def test_parent_and_child_both_go_on_waiting_and_reading(path: Path, start: Start) -> None:
    _, connection = start(fork_while_waiting, path)

    assert hear(connection) == [0, [True], 2]
    assert hear(connection) == 3


@needs_fork
def test_no_append_of_another_process_is_overlooked_because_of_a_fork(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as other:
        _, connection = start(fork_just_after_an_append_of_another, path)
        for _ in range(6):
            assert hear(connection) == "append"
            connection.send(append(other))

        longest = hear(connection)

    assert isinstance(longest, float)
    assert longest < 4


@needs_fork
def test_a_child_that_was_forked_inside_a_transaction_cannot_wait(path: Path, start: Start) -> None:
    _, connection = start(fork_inside_a_transaction, path)

    assert hear(connection) == [0, True, False, [(1,)]]


# What it costs


class AskedStore(SQLiteEventStore):
    """Notes what is asked of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.heads = 0
        self.read_after: list[int | None] = []

    def head(self) -> int | None:
        self.heads += 1
        return super().head()

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        self.read_after.append(after)
        return super().read_all(after=after, categories=categories, types=types, limit=limit)


def test_waiting_for_nothing_costs_nearly_nothing(path: Path) -> None:
    with AskedStore(path) as store:
        last = append(store)
        busy = time.thread_time()

        assert not store.wait(after=last, timeout=1)

        assert time.thread_time() - busy < 0.25
        assert store.heads <= 5
        assert store.read_after == []


def test_an_idle_subscription_reads_nothing(path: Path) -> None:
    with AskedStore(path) as store:
        append(store, count=10)
        subscription = store.subscribe(types=["Opened"])
        busy: list[float] = []

        def follow() -> None:
            assert list(subscription) == []
            busy.append(time.thread_time())

        def end() -> None:
            time.sleep(1)
            subscription.close()

        assert in_threads([follow, end]) == [None, None]
        assert store.read_after == [None]
        assert store.heads < 40
        assert busy[0] < 0.25


def test_a_filter_does_not_make_a_subscription_read_again_what_it_left_out(path: Path) -> None:
    with AskedStore(path) as store:
        append(store, count=1_500)
        with store.subscribe(categories=["Basket"]) as subscription:
            for number in range(3):
                store.append(StreamId("Basket", "1"), [NewEvent("Added", "{}")], expected_version=number)
                assert next(subscription).version == number + 1
                append(store, count=3)

        assert store.read_after[0] is None
        assert [after for after in store.read_after[1:] if after is None or after <= 1_500] == []


def test_a_transaction_on_views_wakes_a_subscription_without_making_it_read(path: Path) -> None:
    with AskedStore(path) as store:
        append(store)
        with store.subscribe() as subscription:
            next(subscription)
            threading.Timer(0.3, subscription.close).start()
            reading = threading.Thread(target=list, args=(subscription,))
            reading.start()
            for number in range(5):
                with store.view_transaction() as tx:
                    tx.execute(f"CREATE TABLE numbers_{number} (number INTEGER)")
            reading.join(PATIENCE)

        assert store.read_after == [None]


# The end


def test_closing_a_store_ends_all_that_follow_it(path: Path) -> None:
    for _ in range(5):
        store = SQLiteEventStore(path, durability="normal")
        working = threading.Semaphore(0)

        # Before any of them begins, because the store may be closed before the last one does.
        subscriptions = [store.subscribe(after=store.head()) for _ in range(2)]

        def follow(subscriptions: list[Subscription] = subscriptions, working: threading.Semaphore = working) -> None:
            for _ in subscriptions.pop():
                working.release()

        def wait(store: SQLiteEventStore = store) -> None:
            last = store.head()
            while store.wait(after=last, timeout=PATIENCE):
                last = store.head()

        def write(store: SQLiteEventStore = store) -> None:
            while True:
                append(store)

        def close(store: SQLiteEventStore = store, working: threading.Semaphore = working) -> None:
            for _ in range(5):
                assert working.acquire(timeout=PATIENCE)
            store.close()

        *followed, waited, wrote, closed = in_threads([follow, follow, wait, write, close])

        assert followed == [None, None]
        assert isinstance(waited, StoreClosed)
        assert isinstance(wrote, StoreClosed)
        assert closed is None


def test_a_subscription_without_a_block_leaves_nothing_open(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        append(store, count=3)
        subscription = store.subscribe()
        assert next(subscription).version == 1
        del subscription

    path.unlink()
    assert not path.with_name("events.db-wal").exists()
