"""What work on PostgreSQL costs in a long log, compared with a short one: ``python -m benchmarks postgres-growth``.

Both logs are on one server, and take turns in every round. The streams of a log are all of the same length; a hundred
of them at a time were appended to in turn, so that each event of a stream is on another page of the table. All is done
twice: the short log always fits into the server's memory for pages, the long one only the second time.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.postgres import SETTINGS
from esbank.backends.postgres import PostgresEventStore
from esbank.store import NewEvent, StreamId
from esbank.testing.postgres import PostgresServer

MEMORY = ("128MB", "1GB")
ROUNDS = 15
SHORT = 10_000
LONG = 1_000_000
STREAM = 100
APPENDS = 200
BATCHES = 10
LOOK_UPS = 300
READS = 50
PAGES = 10
PAGE = 1_000
DATA = '{"amount":"1.01","balance_after":"1001.01","by":"robot"}'

FILL = """
    INSERT INTO {events} (position, category, key, version, event_id, type, schema_version, data, metadata, recorded_at,
                          append, digest)
    SELECT n, 'BankAccount', lpad((block * 100 + place % 100)::text, 6, '0'), place / 100 + 1,
           (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || substr(md5(n::text), 1, 12))::uuid,
           'Moved', 1, {data}, '{{}}', 1700000000000000 + n * 1000, n, sha256(int8send(n))
    FROM generate_series(1::bigint, {count}) AS n,
         LATERAL (SELECT (n - 1) / 10000 AS block, (n - 1) % 10000 AS place) AS e
"""


class Log:
    """A store with a log of some length; each of its works returns how many there were."""

    def __init__(self, dsn: str, length: int) -> None:
        """Fill it, by the right of the owner."""
        schema = f"log_of_{length}"
        self._store = PostgresEventStore(dsn, schema=schema)
        self._length = length
        self._new_streams = itertools.count(1)
        # In an order that comes back to none before all the others, and goes all over the log.
        streams = length // STREAM
        order = [number * 7919 % streams for number in range(streams)]
        self._streams = itertools.cycle([StreamId("BankAccount", f"{number:06}") for number in order])
        self._places = itertools.cycle([number * 7919 % length for number in range(1, 1000)])
        with psycopg.connect(dsn, autocommit=True) as connection:
            events = Identifier(schema, "esbank_events")
            connection.execute(SQL(FILL).format(events=events, data=DATA, count=length))
            connection.execute(SQL("VACUUM ANALYZE {}").format(events))

    def append_to_one(self) -> Callable[[], None]:
        """Append to one new stream."""
        return self._append(self._new_stream(), APPENDS, 1)

    def append_to_many(self) -> Callable[[], None]:
        """Append to streams all over the log, each to another."""
        ready = [(next(self._streams), NewEvent("Moved", DATA)) for _ in range(APPENDS)]
        versions = {stream: self._store.version(stream) for stream, _ in ready}

        def append() -> None:
            for stream, event in ready:
                self._store.append(stream, [event], expected_version=versions[stream])
                versions[stream] += 1

        return append

    def append_batches(self) -> Callable[[], None]:
        """Append many at a time to one new stream."""
        return self._append(self._new_stream(), BATCHES, STREAM)

    def look_up(self) -> Callable[[], None]:
        """Look up the versions of streams all over the log."""
        streams = [next(self._streams) for _ in range(LOOK_UPS)]
        return lambda: _do(self._store.version(stream) for stream in streams)

    def look_up_head(self) -> Callable[[], None]:
        """Look up where the log ends."""
        return lambda: _do(self._store.head() for _ in range(LOOK_UPS))

    def read_streams(self) -> Callable[[], None]:
        """Read the first events of streams all over the log."""
        streams = [next(self._streams) for _ in range(READS)]
        return lambda: _do(list(self._store.read(stream, up_to=STREAM)) for stream in streams)

    def read_pages(self) -> Callable[[], None]:
        """Read pages all over the log."""
        places = [next(self._places) * (self._length - PAGE) // self._length for _ in range(PAGES)]
        return lambda: _do(list(self._store.read_all(after=place, limit=PAGE)) for place in places)

    def close(self) -> None:
        """Close it."""
        self._store.close()

    def _new_stream(self) -> StreamId:
        return StreamId("BankAccount", f"new-{next(self._new_streams)}")

    def _append(self, stream: StreamId, times: int, size: int) -> Callable[[], None]:
        ready = [[NewEvent("Moved", DATA) for _ in range(size)] for _ in range(times)]

        def append() -> None:
            for number, events in enumerate(ready):
                self._store.append(stream, events, expected_version=number * size)

        return append


WORK: Mapping[str, tuple[int, Callable[[Log], Callable[[], None]]]] = {
    "appends of one event, to one stream": (APPENDS, Log.append_to_one),
    "appends of one event, to streams all over the log": (APPENDS, Log.append_to_many),
    f"appends of {STREAM} events": (BATCHES, Log.append_batches),
    "look-ups of the version of a stream": (LOOK_UPS, Log.look_up),
    "look-ups of the head of the log": (LOOK_UPS, Log.look_up_head),
    f"reads of a stream of {STREAM} events": (READS, Log.read_streams),
    f"reads of a page of {PAGE:,} events of the log": (PAGES, Log.read_pages),
}


def main() -> None:
    """Measure and print."""
    for memory in MEMORY:
        with PostgresServer(settings={**SETTINGS, "shared_buffers": memory}) as server:
            seconds = measure(server.dsn)
        print_table(memory, seconds)


def measure(dsn: str) -> Mapping[str, Sequence[tuple[float, ...]]]:
    """Return the seconds of each round for each log."""
    with ExitStack() as open_ones:
        logs: list[Log] = []
        for length in (SHORT, LONG):
            print(f"filling a log of {length:,}", file=sys.stderr)
            logs.append(Log(dsn, length))
            open_ones.callback(logs[-1].close)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        seconds: dict[str, list[tuple[float, ...]]] = {title: [] for title in WORK}
        for number in range(ROUNDS + 1):  # the first is not counted
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
            for title, of_each in play(logs, is_backwards=number % 2 == 0):
                if number:
                    seconds[title].append(of_each)
    return seconds


def play(logs: Sequence[Log], *, is_backwards: bool) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Do all works once with each log; return the seconds for each."""
    for title, (_, prepare) in WORK.items():
        found: dict[Log, float] = {}
        for log in reversed(logs) if is_backwards else logs:
            work = prepare(log)
            started = time.perf_counter()
            work()
            found[log] = time.perf_counter() - started
        yield title, tuple(found[log] for log in logs)


def print_table(memory: str, seconds: Mapping[str, Sequence[tuple[float, ...]]]) -> None:
    """Print rates per second, and what one costs in the long log as a ratio to what it costs in the short one."""
    print(f"| work, per second; {memory} for pages | {SHORT:,} events | {LONG:,} events | cost there / here |")
    print("| --- | ---: | ---: | ---: |")
    for title, rounds in seconds.items():
        count, _ = WORK[title]
        rates = [f"{count / statistics.median(of_one):,.0f}" for of_one in zip(*rounds, strict=True)]
        costs = [long / short for short, long in rounds]
        shown = f"{statistics.median(costs):.2f} ({min(costs):.2f}-{max(costs):.2f})"
        print(f"| {title} | {' | '.join(rates)} | {shown} |")
    print()


def _do(works: Iterator[Any]) -> None:
    for _ in works:
        pass


if __name__ == "__main__":
    main()
