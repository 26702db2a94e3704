"""Programs of the tests of faults, each in a process of its own: ``python postgres_fault_programs.py NAME ARGUMENT…``.

What they have to say, they print as JSON.
"""

import json
import os
import sys
import threading
import time

from processes import fork, status_of
from psycopg_pool import ConnectionPool

from esbank.backends.postgres import PostgresEventStore
from esbank.errors import AlreadyRunning, EsbankError, StoreUnavailable, UnknownOutcome
from esbank.store import ANY_VERSION, NewEvent, StreamId

ACCOUNT = StreamId("Account", "1")


def say(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201  # this is how a program answers


def wait_for_all() -> None:
    """Say that everything is ready, and wait until it is so everywhere."""
    say("ready")
    sys.stdin.readline()


def event() -> NewEvent:
    return NewEvent("Deposited", "{}")


def append(store: PostgresEventStore, count: int = 1) -> None:
    for _ in range(count):
        store.append(ACCOUNT, [event()], expected_version=ANY_VERSION)


def open_new(dsn: str, schema: str) -> None:
    """Make the store, or find it made, as others do at the same time."""
    wait_for_all()
    with PostgresEventStore(dsn, schema=schema) as store:
        version = store.append(StreamId("Account", str(os.getpid())), [event()], expected_version=0).version
        say([store.identity, version])


def append_until_told(dsn: str, schema: str, key: str) -> None:
    """Append with threads to streams of their own until told to stop, and repeat what has an unknown outcome.

    Say which events are acknowledged, and which errors came.
    """
    stop = threading.Event()
    acknowledged: list[list[str]] = [[], []]
    errors: set[str] = set()

    def work(store: PostgresEventStore, number: int) -> None:
        stream = StreamId("Account", f"{key}-{number}")
        while not stop.is_set():
            events = [event(), event()]
            while True:
                try:
                    store.append(stream, events, expected_version=len(acknowledged[number]))
                    break
                except (StoreUnavailable, UnknownOutcome) as error:
                    errors.add(type(error).__name__)
                    time.sleep(0.01)
                except BaseException as error:
                    errors.add(repr(error))
                    raise
            acknowledged[number] += [str(one.event_id) for one in events]

    with PostgresEventStore(dsn, schema=schema, connect_timeout=5.0) as store:
        threads = [threading.Thread(target=work, args=(store, number)) for number in range(2)]
        for thread in threads:
            thread.start()
        wait_for_all()
        stop.set()
        for thread in threads:
            thread.join()
    say({"acknowledged": acknowledged, "errors": sorted(errors)})


def hold(dsn: str, schema: str, name: str) -> None:
    """Hold a name until told to let go, if nobody else holds it."""
    with PostgresEventStore(dsn, schema=schema) as store:
        try:
            with store.claim(name):
                wait_for_all()
        except AlreadyRunning as error:
            say(str(error))
        else:
            say("let go")


# Forks


def state_of(dsn: str, schema: str) -> dict[str, object]:
    with PostgresEventStore(dsn, schema=schema) as store:
        return {"versions": [stored.version for stored in store.read(ACCOUNT)], "log": len(list(store.read_all()))}


def fork_and_append_in_both(dsn: str, schema: str, how: str) -> None:
    """Append before, in the child, in the parent beside it, and afterwards; the child ends in one of several ways."""
    store = PostgresEventStore(dsn, schema=schema, notify=True)
    append(store)
    list(store.read_all())
    store.wait(after=1, timeout=0.1)
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
    say({"status": status, **state_of(dsn, schema)})


def fork_and_do_nothing(dsn: str, schema: str) -> None:
    """Fork children that end without having used the store, while the parent keeps its sessions."""
    store = PostgresEventStore(dsn, schema=schema, notify=True)
    append(store)
    store.wait(after=1, timeout=0.1)
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = :name ORDER BY pid"
    statuses: list[int] = []
    with store.claim("mine"):
        before = store.query(sessions, {"name": schema})
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                sys.exit(0)
            append(store, 5)
            statuses.append(status_of(pid))
            append(store, 5)
        after = store.query(sessions, {"name": schema})
    store.close()
    say({"statuses": statuses, "kept": set(before) <= set(after) and len(before) >= 2, **state_of(dsn, schema)})


def fork_and_hold(dsn: str, schema: str) -> None:
    """Fork while a name is held: it stays the parent's."""
    store = PostgresEventStore(dsn, schema=schema)

    def child() -> None:
        try:
            with store.claim("mine"):
                os._exit(3)
        except AlreadyRunning:
            os._exit(7)

    with store.claim("mine"):
        during = status_of(fork(child))
    after = status_of(fork(child))
    store.close()
    say([during, after])


def fork_inside_transaction(dsn: str, schema: str) -> None:
    """Fork inside a transaction, and let the child leave its block in one way or another: it is the parent's."""
    store = PostgresEventStore(dsn, schema=schema)
    append(store)
    statuses: list[int] = []
    for number, way in enumerate(("exits", "ends", "raises")):
        pid = -1
        try:
            with store.transaction() as tx:
                if not number:
                    tx.execute("CREATE TABLE numbers (number integer)")
                tx.execute("INSERT INTO numbers VALUES (1)")
                tx.append(ACCOUNT, [event()], expected_version=ANY_VERSION)
                pid = os.fork()
                if pid == 0 and way == "exits":
                    sys.exit(7)
                if pid == 0 and way == "raises":
                    raise LookupError  # noqa: TRY301  # as a block may
                if pid:
                    statuses.append(status_of(pid))
                    tx.execute("INSERT INTO numbers VALUES (2)")
        except (SystemExit, EsbankError, LookupError):
            if pid == 0:
                os._exit(7)
            raise
        if pid == 0:
            os._exit(0)
    rows = store.query("SELECT count(*) FROM numbers")
    append(store)
    store.close()
    say({"statuses": statuses, "rows": rows, **state_of(dsn, schema)})


def fork_while_threads_append(dsn: str, schema: str) -> None:
    """Fork again and again while threads append; each child appends once."""
    store = PostgresEventStore(dsn, schema=schema)
    done = threading.Event()
    counts = [0, 0, 0]

    def write(index: int) -> None:
        while not done.is_set():
            store.append(StreamId("Account", f"thread-{index}"), [event()], expected_version=counts[index])
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
    say({"statuses": statuses, "appended": sum(counts) + len(statuses), **state_of(dsn, schema)})


def fork_with_a_pool_of_ones_own(dsn: str, schema: str) -> None:
    """Fork with a store whose pool is the caller's: the child is told to open its own, and the parent goes on."""
    with ConnectionPool(dsn, min_size=2, max_size=4, open=True) as pool:
        store = PostgresEventStore(pool, schema=schema)
        append(store)
        reading, writing = os.pipe()

        def child() -> None:
            try:
                append(store)
            except EsbankError as error:
                os.write(writing, f"{type(error).__name__}: {error}".encode())
            store.close()

        status = status_of(fork(child))
        append(store)
        store.close()
        said = os.read(reading, 10_000).decode()
    say({"status": status, "said": said, **state_of(dsn, schema)})


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
