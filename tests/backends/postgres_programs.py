"""Programs that tests run in processes of their own: ``python postgres_programs.py NAME DSN SCHEMA ARGUMENT…``.

What they have to say, they print as JSON.
"""

import json
import sys
import time
from collections.abc import Sequence
from itertools import islice
from random import Random

from esbank.backends.postgres import PostgresEventStore
from esbank.errors import ConcurrencyError
from esbank.store import ANY_VERSION, NO_STREAM, NewEvent, StoredEvent, StreamAppend, StreamId

ACCOUNT = StreamId("Account", "1")
LAST = "Ended"
NUMBERS = "CREATE TABLE IF NOT EXISTS numbers (event_id UUID PRIMARY KEY)"


def say(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201  # this is how a program answers


def wait_for_all() -> None:
    """Say that everything is ready, and wait until it is so everywhere."""
    say("ready")
    sys.stdin.readline()


def event(name: str = "Deposited") -> NewEvent:
    return NewEvent(name, "{}")


def append(dsn: str, schema: str, name: str) -> None:
    """Append one event."""
    with PostgresEventStore(dsn, schema=schema) as store:
        say(store.append(ACCOUNT, [event(name)], expected_version=ANY_VERSION).position)


def append_when_told(dsn: str, schema: str, notify: str) -> None:
    """Append one event for each line that is read; say where it is."""
    with PostgresEventStore(dsn, schema=schema, notify=notify == "notify") as store:
        say("ready")
        for _ in sys.stdin:
            say(store.append(ACCOUNT, [event()], expected_version=ANY_VERSION).position)


def idle_in_a_transaction(dsn: str, schema: str) -> None:
    """Change a table, have an event to append, and wait."""
    with PostgresEventStore(dsn, schema=schema) as store, store.transaction() as tx:
        tx.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        tx.append(ACCOUNT, [event()], expected_version=ANY_VERSION)
        say("inside")
        sys.stdin.readline()


class Writer:
    """Appends to a stream of its own and to shared ones, in all ways that there are, and notes what it is told."""

    def __init__(self, store: PostgresEventStore, name: str) -> None:
        self._store = store
        self._own = StreamId("Own", name)
        self._random = Random(name)  # noqa: S311  # the same in each run
        self._appends: list[StreamAppend] = []
        self._stored: list[tuple[StoredEvent, ...]] = []
        self._ways = [self._alone, self._alone, self._at_the_end, self._together, self._with_a_row, self._in_vain]
        self.conflicts = 0

    @property
    def stored(self) -> list[tuple[int, str]]:
        """Where each event is, as the store has said."""
        return [place_of(event) for events in self._stored for event in events]

    def write(self) -> None:
        """Append in one of the ways, or repeat an append."""
        if self._appends and self._random.random() < 0.1:
            self._again()
        else:
            self._random.choice(self._ways)()

    def _events(self) -> list[NewEvent]:
        return [event() for _ in range(self._random.choice([1, 1, 1, 2, 3, 7]))]

    def _shared(self) -> StreamId:
        return StreamId("Shared", str(self._random.randrange(3)))

    def _alone(self) -> None:
        append = StreamAppend(self._own, self._events(), self._store.version(self._own))
        self._appends.append(append)
        result = self._store.append(append.stream, append.events, expected_version=append.expected_version)
        self._stored.append(result.events)

    def _at_the_end(self) -> None:
        """Append where others do, after a look at the version."""
        stream, events = self._shared(), self._events()
        try:
            stored = self._store.append(stream, events, expected_version=self._store.version(stream))
        except ConcurrencyError:
            self.conflicts += 1
        else:
            self._stored.append(stored.events)

    def _together(self) -> None:
        appends = [StreamAppend(stream, self._events(), ANY_VERSION) for stream in (self._shared(), self._own)]
        for result in self._store.append_many(appends):
            self._stored.append(result.events)

    def _with_a_row(self) -> None:
        events = self._events()
        with self._store.transaction() as tx:
            tx.executemany("INSERT INTO numbers VALUES (:id)", [{"id": str(event.event_id)} for event in events])
            pending = tx.append(self._shared(), events, expected_version=ANY_VERSION)
        self._stored.append(pending.result.events)

    def _in_vain(self) -> None:
        """Append where a stream is in the way, together with what could be stored."""
        appends = [
            StreamAppend(self._shared(), self._events(), ANY_VERSION),
            StreamAppend(self._own, self._events(), NO_STREAM),
        ]
        try:
            results = self._store.append_many(appends)
        except ConcurrencyError:
            self.conflicts += 1
        else:
            self._stored += [result.events for result in results]

    def _again(self) -> None:
        append = self._random.choice(self._appends)
        again = self._store.append(append.stream, append.events, expected_version=append.expected_version)
        if again.events not in self._stored:
            raise AssertionError("the same append was stored twice")


def place_of(event: StoredEvent) -> tuple[int, str]:
    return event.position, str(event.event_id)


def write(dsn: str, schema: str, name: str, seconds: str) -> None:
    """Append for some seconds; say where each event is, and how often somebody else was first."""
    with PostgresEventStore(dsn, schema=schema) as store:
        writer = Writer(store, name)
        wait_for_all()
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            writer.write()
    say([writer.stored, writer.conflicts])


def follow(dsn: str, schema: str) -> None:
    """Subscribe up to the last event; say what was seen."""
    seen: list[tuple[int, str]] = []
    with PostgresEventStore(dsn, schema=schema) as store:
        wait_for_all()
        with store.subscribe() as subscription:
            for stored in subscription:
                seen.append(place_of(stored))
                if stored.type == LAST:
                    break
    say(seen)


def ask(dsn: str, schema: str) -> None:
    """Read on, now and then, some events at a time, and with a store that is opened again; say what was seen."""
    seen: list[tuple[int, str]] = []
    random = Random(1)  # noqa: S311  # the same in each run
    is_last = False
    wait_for_all()
    while not is_last:
        with PostgresEventStore(dsn, schema=schema) as store:
            for _ in range(25):
                read = _read_some(store, seen[-1][0] if seen else None, random.choice([1, 10, 500, 1500]))
                seen += map(place_of, read)
                is_last = any(stored.type == LAST for stored in read)
                if is_last:
                    break
                time.sleep(random.choice([0, 0, 0.01, 0.05]))
    say(seen)


def _read_some(store: PostgresEventStore, after: int | None, most: int) -> Sequence[StoredEvent]:
    return list(islice(store.read_all(after=after), most))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
