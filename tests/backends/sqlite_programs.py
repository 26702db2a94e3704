"""Programs that tests run in processes of their own: ``python sqlite_programs.py NAME ARGUMENT…``.

What they have to say, they print as JSON.
"""

import json
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
from itertools import count
from multiprocessing import get_context
from typing import Any

from processes import fork, status_of

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError, EsbankError, StorageError
from esbank.store import ANY_VERSION, NewEvent, StreamAppend, StreamId, new_event_id

ACCOUNT = StreamId("Account", "1")
NOBODY = 65534


def say(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201  # this is how a program answers


def wait_for_all() -> None:
    """Say that everything is ready, and wait until it is so everywhere."""
    say("ready")
    sys.stdin.readline()


def event(number: int = 0) -> NewEvent:
    return NewEvent("Deposited", f'{{"number":{number}}}')


def open_new(path: str) -> None:
    wait_for_all()
    with SQLiteEventStore(path) as store:
        version = store.append(StreamId("Account", str(os.getpid())), [event()], expected_version=0).version
        say([store.identity, version])


def append_at_the_end(path: str, count: str) -> None:
    """Append to one stream at the version it is at, again and again; say how often somebody else was first."""
    conflicts = 0
    with SQLiteEventStore(path) as store:
        wait_for_all()
        for number in range(int(count)):
            while True:
                try:
                    store.append(ACCOUNT, [event(number)], expected_version=store.version(ACCOUNT))
                except ConcurrencyError:
                    conflicts += 1
                else:
                    break
    say(conflicts)


def repeat(path: str, event_id: str) -> None:
    """Make the very same append as others do."""
    with SQLiteEventStore(path) as store:
        wait_for_all()
        same = [NewEvent("Deposited", "{}", event_id=type(new_event_id())(event_id))]
        result = store.append(ACCOUNT, same, expected_version=0)
        say([result.version, result.position])


def count_up(path: str, count: str) -> None:
    """Add to a number in a view, reading it before writing it."""
    with SQLiteEventStore(path) as store:
        wait_for_all()
        for _ in range(int(count)):
            with store.view_transaction() as tx:
                ((number,),) = tx.execute("SELECT number FROM numbers")
                tx.execute("UPDATE numbers SET number = :number", {"number": number + 1})
    say("done")


def append_for_ever(path: str, name: str) -> None:
    """Append one to three events to two streams at a time; say the ids of each append once it has returned."""
    batch = 0
    with SQLiteEventStore(path) as store:
        while True:
            batch += 1
            appends = [
                StreamAppend(StreamId("Account", key), [event(batch) for _ in range(batch % 3 + 1)], ANY_VERSION)
                for key in ("shared", name)
            ]
            results = store.append_many(appends)
            say([str(stored.event_id) for result in results for stored in result.events])


def execute(path: str, sql: str) -> None:
    """Execute a statement on views, and a query."""
    with SQLiteEventStore(path) as store:
        with store.view_transaction() as tx:
            rows = tx.execute(sql)
        say([rows, store.query(sql)])


def keep_numbers_for_ever(path: str, first: str) -> None:
    """Keep numbers in a table, each in one transaction with an event that says it."""
    with SQLiteEventStore(path) as store:
        for number in count(int(first), 2):
            with store.transaction() as tx:
                tx.execute("INSERT INTO numbers VALUES (:number)", {"number": number})
                tx.append(ACCOUNT, [event(number)], expected_version=ANY_VERSION)
            say(number)


def hold_write_lock(path: str, statement: str = "BEGIN IMMEDIATE", seconds: str = "") -> None:
    """Hold a lock until told to let go, or for some seconds."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    if "EXCLUSIVE" in statement:
        connection.execute("CREATE TABLE IF NOT EXISTS held (x)")
    say("locked")
    if seconds:
        time.sleep(float(seconds))
    else:
        sys.stdin.readline()
    connection.close()
    say("released")


def open_as_nobody(path: str) -> None:
    """Try to open a store and to append to it without being root."""
    if os.getuid() == 0:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    try:
        with SQLiteEventStore(path) as store:
            store.append(ACCOUNT, [event()], expected_version=ANY_VERSION)
    except EsbankError as error:
        say([type(error).__name__, str(error)])
    else:
        say(None)


def fill_the_disk(path: str) -> None:
    """Append until files cannot grow; then, with more space, repeat the append that failed."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    acknowledged = 0
    failure = None
    with SQLiteEventStore(path) as store:
        store.append(ACCOUNT, [event()], expected_version=0)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
        events: list[NewEvent] = []
        while failure is None:
            events = [NewEvent("Noted", f'"{"x" * 3_000}"') for _ in range(3)]
            try:
                store.append(ACCOUNT, events, expected_version=ANY_VERSION)
                acknowledged += 1
            except EsbankError as error:
                failure = [type(error).__name__, str(error)]
        versions_then = [stored.version for stored in store.read(ACCOUNT)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        store.append(ACCOUNT, events, expected_version=ANY_VERSION)
        versions_now = [stored.version for stored in store.read(ACCOUNT)]
    say({"acknowledged": acknowledged, "failure": failure, "then": versions_then, "now": versions_now})


class Signal:
    """One process tells another that it has come so far."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def set(self) -> None:
        os.write(self._writing, b"!")

    def wait(self) -> None:
        os.read(self._reading, 1)


def append(store: SQLiteEventStore, count: int = 1) -> None:
    for _ in range(count):
        store.append(ACCOUNT, [event()], expected_version=ANY_VERSION)


def state_of(path: str) -> dict[str, Any]:
    with SQLiteEventStore(path) as store:
        (check,) = store.query("PRAGMA integrity_check")
        return {
            "integrity": check[0],
            "versions": [stored.version for stored in store.read(ACCOUNT)],
            "log": len(list(store.read_all())),
        }


def fork_and_append_in_both(path: str, how: str) -> None:
    """Append before, in the child, in the parent beside it, and afterwards; the child ends in one of several ways."""
    store = SQLiteEventStore(path)
    append(store)
    list(store.read_all())
    pid = os.fork()
    if pid == 0:
        append(store, 20)
        if how != "leaves":
            store.close()
        if how == "exits":
            os._exit(0)
        sys.exit(0)
    append(store, 20)
    status = status_of(pid)
    append(store, 20)
    store.close()
    say({"status": status, **state_of(path)})


def fork_and_do_nothing(path: str) -> None:
    """Fork children that end without having used the store, while the parent goes on."""
    store = SQLiteEventStore(path)
    append(store)
    list(store.read_all())
    statuses: list[int] = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        append(store, 5)
        statuses.append(status_of(pid))
        append(store, 5)
    store.close()
    say({"statuses": statuses, **state_of(path)})


def fork_and_close_in_parent(path: str) -> None:
    """Close the store in the parent, the last of its process, while the child goes on with its own."""
    store = SQLiteEventStore(path)
    append(store)
    list(store.read_all())
    appended, closed = Signal(), Signal()

    def child() -> None:
        append(store)
        appended.set()
        closed.wait()
        append(store, 3)
        assert store.version(ACCOUNT) == 5
        store.close()

    pid = fork(child)
    appended.wait()
    store.close()
    closed.set()
    say({"status": status_of(pid), **state_of(path)})


def fork_and_close_in_child(path: str) -> None:
    """Use and close the store in the child, while the parent goes on with its own."""
    store = SQLiteEventStore(path)
    append(store)

    def child() -> None:
        append(store)
        store.close()

    status = status_of(fork(child))
    append(store, 3)
    versions = [stored.version for stored in store.read(ACCOUNT)]
    with SQLiteEventStore(path) as other:
        assert other.version(ACCOUNT) == store.version(ACCOUNT)
    store.close()
    say({"status": status, "seen": versions, **state_of(path)})


def fork_during_transaction_of_another_thread(path: str) -> None:
    """Fork while another thread is between the beginning and the end of a write."""
    store = SQLiteEventStore(path, busy_timeout=5)
    append(store)
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers (number INTEGER)")
            inside.set()
            # Whoever forks may wait for this transaction, so it ends by itself.
            leave.wait(1)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    ended = Signal()

    def child() -> None:
        ended.wait()
        append(store)
        store.close()

    pid = fork(child)
    leave.set()
    thread.join()
    ended.set()
    status = status_of(pid)
    append(store)
    rows = store.query("SELECT count(*) FROM numbers")
    store.close()
    say({"status": status, "rows": rows, **state_of(path)})


def fork_inside_transaction(path: str) -> None:
    """Fork inside a transaction: it is the parent's."""
    store = SQLiteEventStore(path)
    append(store)
    status = None
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers (number INTEGER)")
        tx.execute("INSERT INTO numbers VALUES (1)")
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        status = status_of(pid)
        tx.executemany("INSERT INTO numbers VALUES (:n)", ({"n": number} for number in range(2, 2_000)))
    rows = store.query("SELECT count(*) FROM numbers")
    append(store)
    store.close()
    say({"status": status, "rows": rows, **state_of(path)})


def fork_inside_transaction_that_appends(path: str) -> None:
    """Fork inside a transaction that is to append, and let the child come to the end of the block as well."""
    store = SQLiteEventStore(path)
    append(store)
    pid = -1
    status = None
    try:
        with store.transaction() as tx:
            tx.execute("CREATE TABLE numbers (number INTEGER)")
            pending = tx.append(ACCOUNT, [event()], expected_version=1)
            pid = os.fork()
            if pid:
                status = status_of(pid)
    except StorageError:
        if pid == 0:
            os._exit(7)
        raise
    rows = store.query("SELECT count(*) FROM numbers")
    store.close()
    say({"status": status, "rows": rows, "version": pending.result.version, **state_of(path)})


def fork_while_a_thread_needs_two_stores(path: str) -> None:
    """Fork while a thread that writes to one store is about to read from another, as a rebuild does."""
    events, views = SQLiteEventStore(path), SQLiteEventStore(f"{path}.views")
    append(events)
    inside, read = threading.Event(), []

    def rebuild() -> None:
        with views.view_transaction():
            inside.set()
            time.sleep(0.3)
            read.append(len(list(events.read_all())))

    thread = threading.Thread(target=rebuild)
    thread.start()
    inside.wait()
    status = status_of(fork(lambda: append(events)))
    thread.join()
    events.close()
    views.close()
    say({"status": status, "read": read[0]})


def fork_while_threads_append(path: str) -> None:
    """Fork again and again while threads append; each child appends once."""
    store = SQLiteEventStore(path, busy_timeout=5)
    done = threading.Event()
    counts = [0, 0]

    def write(index: int) -> None:
        while not done.is_set():
            append(store)
            list(store.read_all(limit=5))
            counts[index] += 1

    threads = [threading.Thread(target=write, args=(index,)) for index in range(len(counts))]
    for thread in threads:
        thread.start()

    def child() -> None:
        append(store)
        store.close()

    statuses: list[int] = []
    try:
        while len(statuses) < 15 and not any(statuses):
            statuses.append(status_of(fork(child)))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    store.close()
    say({"statuses": statuses, "appended": sum(counts) + len(statuses), **state_of(path)})


def fork_in_many_threads(path: str) -> None:
    """Threads fork at the same time, with two stores open; each child appends to both."""
    stores = [SQLiteEventStore(path), SQLiteEventStore(f"{path}.other")]
    statuses: list[int] = []

    def child() -> None:
        for store in stores:
            append(store)
            store.close()

    def fork_some() -> None:
        for _ in range(5):
            for store in stores:
                append(store)
            statuses.append(status_of(fork(child)))

    threads = [threading.Thread(target=fork_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    say({"statuses": statuses, "here": state_of(path), "there": state_of(f"{path}.other")})


_shared: SQLiteEventStore


def _append_to_shared(number: int) -> int:
    _shared.append(StreamId("Pool", str(number)), [event()], expected_version=0)
    return _shared.version(StreamId("Pool", str(number)))


def fork_a_pool(path: str) -> None:
    """Use a store of the parent in the workers of a pool."""
    global _shared  # noqa: PLW0603  # this is how a pool's workers inherit
    _shared = SQLiteEventStore(path)
    append(_shared)
    with get_context("fork").Pool(2) as pool:
        versions = pool.map(_append_to_shared, range(20))
        pool.close()
        pool.join()
    append(_shared)
    _shared.close()
    say({"pool": versions, **state_of(path)})


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
