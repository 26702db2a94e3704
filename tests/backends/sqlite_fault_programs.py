"""Programs of the tests of faults, each in a process of its own: ``python sqlite_fault_programs.py NAME ARGUMENT…``.

What they have to say, they print as JSON.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from types import FrameType
from typing import Literal, NoReturn, TextIO, TypeVar

from processes import fork, status_of
from sqlite_programs import ACCOUNT, NOBODY, event, say

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import EsbankError, StorageError, StoreClosed, UnknownOutcome
from esbank.store import ANY_VERSION, AppendResult, NewEvent, StoredEvent, StreamAppend, StreamId
from esbank.verification import verify

T = TypeVar("T")
MOST_ERRORS = 100
OTHER = StreamId("Account", "2")


def write_in_many_ways(path: str, durability: Literal["full", "normal"], seed: str) -> None:
    """Append little and much, alone and with rows; say the last position of each write once it has returned.

    The store is closed on the way and opened again.
    """
    random = Random(seed)  # noqa: S311  # the same in each run
    for session in range(2):
        with SQLiteEventStore(path, durability=durability) as store:
            if session == 0:
                with store.view_transaction() as tx:
                    tx.execute("CREATE TABLE counted (batch INTEGER)")
            for batch in range(60):
                write = random.choice([append_to_one, append_to_two, append_with_a_row])
                events = [noted(random.choice([20, 4_000, 100_000])) for _ in range(random.randint(1, 3))]
                say(write(store, events, batch).position)


def noted(length: int) -> NewEvent:
    return NewEvent("Noted", f'"{"x" * length}"')


def append_to_one(store: SQLiteEventStore, events: list[NewEvent], _batch: int) -> AppendResult:
    return store.append(ACCOUNT, events, expected_version=ANY_VERSION)


def append_to_two(store: SQLiteEventStore, events: list[NewEvent], batch: int) -> AppendResult:
    appends = [StreamAppend(ACCOUNT, events, ANY_VERSION), StreamAppend(OTHER, [event(batch)], ANY_VERSION)]
    return store.append_many(appends)[-1]


def append_with_a_row(store: SQLiteEventStore, events: list[NewEvent], batch: int) -> AppendResult:
    with store.transaction() as tx:
        tx.execute("INSERT INTO counted VALUES (:batch)", {"batch": batch})
        pending = tx.append(ACCOUNT, [*events, NewEvent("Counted", str(batch))], expected_version=ANY_VERSION)
    return pending.result


def append_and_note(path: str, key: str, notes: str) -> None:
    """Append to a stream for ever, one to three events at a time; note the version after each append in a file."""
    with SQLiteEventStore(path) as store, Path(notes).open("a", encoding="utf-8", buffering=1) as file:
        say("ready")
        for batch in count():
            events = [event(batch) for _ in range(batch % 3 + 1)]
            result = store.append(StreamId("Account", key), events, expected_version=ANY_VERSION)
            file.write(f"{result.version}\n")


def write_through_faults(path: str, batches: str) -> None:
    """Append to a file whose system calls fail now and then, and repeat what failed; say what came of it."""
    errors: list[list[str]] = []
    stored: list[str] = []
    for _ in range(2):
        with until_it_works(partial(SQLiteEventStore, path), errors) as store:
            for _ in range(int(batches)):
                events = [noted(4_000) for _ in range(3)]
                append = partial(store.append, ACCOUNT, events, expected_version=ANY_VERSION)
                stored += [str(one.event_id) for one in until_it_works(append, errors).events]
                assert len(until_it_works(partial(read, store), errors)) == len(stored)
    say({"errors": errors, "stored": stored})


def read(store: SQLiteEventStore) -> list[StoredEvent]:
    return list(store.read_all())


def until_it_works(call: Callable[[], T], errors: list[list[str]]) -> T:
    """Call again and again until there is no error, and add the errors to a list."""
    while True:
        try:
            return call()
        except EsbankError as error:
            errors.append([type(error).__name__, str(error)])
            if len(errors) > MOST_ERRORS:
                raise


def write_until_a_fault(path: str) -> None:
    """Append until a system call fails, and end at once; say what is stored, and what was in the append that failed."""
    stored: list[str] = []
    store = SQLiteEventStore(path)
    while True:
        events = [noted(4_000) for _ in range(3)]
        try:
            store.append(ACCOUNT, events, expected_version=ANY_VERSION)
        except UnknownOutcome:
            say({"stored": stored, "failed": [str(one.event_id) for one in events]})
            os._exit(0)
        stored += [str(one.event_id) for one in events]


def fill_a_small_disk(folder: str) -> None:
    """Append until there is no space, make some and go on, fill it again, and close the store and open it meanwhile."""
    path = Path(folder) / "events.db"
    ballast = [Path(folder) / f"ballast-{number}" for number in range(2)]
    ballast[0].write_bytes(bytes(200_000))
    ballast[1].write_bytes(bytes(1_000_000))
    stored: list[str] = []
    errors: list[list[str]] = []

    def fill(store: SQLiteEventStore) -> list[NewEvent]:
        while True:
            events = [noted(3_000) for _ in range(3)]
            try:
                store.append(ACCOUNT, events, expected_version=ANY_VERSION)
            except EsbankError as error:
                errors.append([type(error).__name__, str(error)])
                return events
            stored.extend(str(one.event_id) for one in events)

    def ids(store: SQLiteEventStore) -> list[str]:
        return [str(one.event_id) for one in store.read_all()]

    with SQLiteEventStore(path) as store:
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers (number INTEGER)")
        failed = fill(store)
        assert ids(store) == stored
        try:
            with store.transaction() as tx:
                tx.execute("INSERT INTO numbers VALUES (1)")
                tx.append(OTHER, [noted(100_000)], expected_version=ANY_VERSION)
        except EsbankError as error:
            errors.append([type(error).__name__, str(error)])
        assert store.query("SELECT * FROM numbers") == []
        assert store.version(OTHER) == 0
        ballast[0].unlink()
        store.append(ACCOUNT, failed, expected_version=ANY_VERSION)
        stored += [str(one.event_id) for one in failed]
        assert ids(store) == stored
        failed = fill(store)
    ballast[1].unlink()
    with SQLiteEventStore(path) as store:
        assert ids(store) == stored
        store.append(ACCOUNT, failed, expected_version=ANY_VERSION)
        stored += [str(one.event_id) for one in failed]
        assert ids(store) == stored
        say({"errors": errors, "stored": len(stored), "ok": verify(store).ok, "head": store.head()})


def lose_the_right_to_write(folder: str) -> None:
    """As nobody, go on with a store whose files and folder have become read-only, and with one that is opened then."""
    if os.getuid() == 0:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    path = Path(folder) / "events.db"
    errors: list[str] = []

    def append(store: SQLiteEventStore) -> None:
        try:
            store.append(ACCOUNT, [event()], expected_version=ANY_VERSION)
        except StorageError as error:
            errors.append(str(error))

    def versions(store: SQLiteEventStore) -> list[int]:
        return [one.version for one in store.read(ACCOUNT)]

    def allow(*, yes: bool) -> None:
        for file in path.parent.iterdir():
            file.chmod(0o644 if yes else 0o444)
        path.parent.chmod(0o755 if yes else 0o555)

    with SQLiteEventStore(path) as idle, SQLiteEventStore(path) as store:
        append(store)
        allow(yes=False)
        append(store)
        seen = [versions(store), versions(idle)]
        append(idle)
        with SQLiteEventStore(path) as late:
            append(late)
            seen.append(versions(late))
        allow(yes=True)
        append(store)
        append(idle)
        seen.append(versions(idle))
    say({"errors": errors, "seen": seen})


def append_when_told(path: str) -> None:
    """Append to a stream of its own for each line that it is told; say that it could."""
    with SQLiteEventStore(path, durability="normal", busy_timeout=1) as store:
        for _ in sys.stdin:
            store.append(StreamId("Account", "told"), [event()], expected_version=ANY_VERSION)
            say(value=True)


def append_in_threads(path: str, notes: str, on_termination: str) -> None:
    """Append with ten threads until somebody ends it; note for each append which stream it left at which version."""
    if on_termination == "exits":
        signal.signal(signal.SIGTERM, exit_at_once)

    def work(store: SQLiteEventStore, number: int, file: TextIO) -> None:
        stream = StreamId("Account", str(number))
        with suppress(StoreClosed):
            while True:
                result = store.append(stream, [event(), event()], expected_version=ANY_VERSION)
                file.write(f"{number} {result.version}\n")

    with Path(notes).open("a", encoding="utf-8", buffering=1) as file:
        threads: list[threading.Thread] = []
        try:
            with SQLiteEventStore(path) as store:
                threads += [threading.Thread(target=work, args=(store, number, file)) for number in range(10)]
                for thread in threads:
                    thread.start()
                say("ready")
                while True:
                    time.sleep(60)
        finally:
            for thread in threads:
                thread.join()
            say("ended")


def exit_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(7)


def interrupt_at_random(path: str, seed: str, times: str) -> None:
    """Append so many times, most of them interrupted by a signal at some moment, and repeat what was interrupted."""
    random = Random(seed)  # noqa: S311  # the same in each run
    interrupted = 0
    problems: list[str] = []
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    with SQLiteEventStore(path, durability="normal", busy_timeout=1) as store:
        for number in range(int(times)):
            events = [event(), event()]
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4))
                store.append(ACCOUNT, events, expected_version=ANY_VERSION)
                for stored in store.read(ACCOUNT, after=2 * number):
                    assert stored.version > 2 * number
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            problems += in_another_thread(partial(repeat, store, events, 2 * number + 2))
            if problems:
                break
        say({"interrupted": interrupted, "problems": problems, "fork": problems or status_of(fork(lambda: None))})


def repeat(store: SQLiteEventStore, events: list[NewEvent], version: int) -> None:
    """Append again what may be stored already; it is at this version in the end."""
    assert store.version(ACCOUNT) in {version - len(events), version}
    assert store.append(ACCOUNT, events, expected_version=ANY_VERSION).version == version
    assert len(list(store.read(ACCOUNT, after=version - 2))) == 2


def in_another_thread(work: Callable[[], None]) -> list[str]:
    """Return what went wrong."""
    problems = ["stuck"]

    def run() -> None:
        try:
            work()
            problems.clear()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is said
            problems[:] = [repr(error)]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    return problems


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
