"""The store on PostgreSQL against ``psycopg`` itself and a peer: ``python -m benchmarks postgres``.

All of them use one server, which is made for this and syncs its files as servers do. Within a round the contenders take
turns, and every other round they do so in the opposite order. A ratio is the median of the ratios of the rounds.
"""

import importlib
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import psycopg

from benchmarks.postgres_processes import WARM_UP, Processes
from esbank.testing.postgres import PostgresServer

ROUNDS = 11
APPENDS = 400
APPENDS_OF_EACH = 80
BATCHES = 40
BATCH = 100
FEW = 8
MANY = 32
STREAMS_OF_LOG = 50
READS = 4
COMMANDS = 200

SETTINGS = {"fsync": "on", "full_page_writes": "on"}
OURS, BARE, PEER, UNSEALED, NOTIFYING = "esbank", "bare psycopg", "eventsourcing", "without digests", "notify=True"
MODULES = {
    OURS: "postgres_ours",
    BARE: "postgres_bare",
    PEER: "postgres_peer",
    UNSEALED: "postgres_ours",
    NOTIFYING: "postgres_ours",
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {UNSEALED: {"digests": False}, NOTIFYING: {"notify": True}}
LIBRARIES = (OURS, BARE, PEER)


class Contender:
    """A library with tables of its own, a log of it that is there to be read, and processes to use it in."""

    def __init__(self, module: str, dsn: str, place: str, options: Mapping[str, Any], processes: Processes) -> None:
        """Make the tables, and fill the log."""
        self._module = f"benchmarks.{module}"
        self._dsn = dsn
        self._place = place
        self._processes = processes
        self._count = itertools.count(1)
        library = importlib.import_module(self._module).Contender
        self._library = library(dsn, place, **options)
        self._log = library(dsn, f"log_of_{place}", **options)
        self._log.fill(STREAMS_OF_LOG, BATCH)

    def append(self, threads: int, times: int, size: int) -> float:
        """Have each thread append to a stream of its own; return the seconds that took."""
        with ExitStack() as ready:
            of_each = [self._library.appends(self._new_name(), WARM_UP + times, size) for _ in range(threads)]
            works = [ready.enter_context(one) for one in of_each]
            together([partial(work, WARM_UP) for work in works])
            return together([partial(work, times) for work in works])

    def append_in_processes(self) -> float:
        """Have each process append to a stream of its own."""
        return self._processes.append(self._module, self._dsn, self._place, self._new_name(), APPENDS_OF_EACH)

    def command(self) -> float:
        """Execute commands on one account."""
        return together([self._library.commands(self._new_name(), COMMANDS)])

    def read_log(self) -> float:
        """Read the log some times."""
        return sum(together([self._log.read_log]) for _ in range(READS))

    def catch_up(self) -> float:
        """Make a view of the log."""
        return together([partial(self._log.catch_up, self._dsn, f"view_{self._new_name()}_of_{self._place}")])

    def close(self) -> None:
        """Close what is open."""
        self._library.close()
        self._log.close()

    def _new_name(self) -> str:
        return str(next(self._count))


class Work(NamedTuple):
    """How many events there are in it, how it is done, and by whom; returns the seconds that took."""

    count: int
    do: Callable[[Contender], float]
    by: Collection[str]


WORK = {
    "1 thread": Work(APPENDS, lambda one: one.append(1, APPENDS, 1), MODULES),
    "8 threads": Work(FEW * APPENDS_OF_EACH, lambda one: one.append(FEW, APPENDS_OF_EACH, 1), LIBRARIES),
    "32 threads": Work(MANY * APPENDS_OF_EACH, lambda one: one.append(MANY, APPENDS_OF_EACH, 1), {OURS, UNSEALED}),
    "8 processes": Work(FEW * APPENDS_OF_EACH, Contender.append_in_processes, LIBRARIES),
    "batches": Work(BATCHES * BATCH, lambda one: one.append(1, BATCHES, BATCH), {*LIBRARIES, UNSEALED}),
    "log": Work(READS * STREAMS_OF_LOG * BATCH, Contender.read_log, LIBRARIES),
    "commands": Work(COMMANDS, Contender.command, {OURS, PEER, UNSEALED}),
    "view": Work(STREAMS_OF_LOG * BATCH, Contender.catch_up, {OURS, BARE}),
}

Piece = tuple[str, str]
"""A contender and its work."""


class Row(NamedTuple):
    """What esbank does, and which pieces of work it is compared with."""

    title: str
    ours: Piece
    bare: Piece | None = None
    peer: Piece | None = None


ROWS = (
    Row("appends of one event, 1 thread", (OURS, "1 thread"), (BARE, "1 thread"), (PEER, "1 thread")),
    Row("the same, 8 threads", (OURS, "8 threads"), (BARE, "8 threads"), (PEER, "8 threads")),
    Row("the same, 32 threads (the others: 8)", (OURS, "32 threads"), (BARE, "8 threads"), (PEER, "8 threads")),
    Row("the same, 8 processes (bare: 8 threads)", (OURS, "8 processes"), (BARE, "8 threads"), (PEER, "8 processes")),
    Row("the same, 8 processes (bare too)", (OURS, "8 processes"), (BARE, "8 processes")),
    Row(f"appends of {BATCH} events, 1 thread", (OURS, "batches"), (BARE, "batches"), (PEER, "batches")),
    Row("the log read and decoded", (OURS, "log"), (BARE, "log"), (PEER, "log")),
    Row("commands on an account, each durable", (OURS, "commands"), None, (PEER, "commands")),
    Row("a view of one table made of the log", (OURS, "view"), (BARE, "view")),
)
VARIANTS = {
    "appends of one event, 1 thread, digests=False": ((UNSEALED, "1 thread"), (OURS, "1 thread")),
    "the same, 32 threads": ((UNSEALED, "32 threads"), (OURS, "32 threads")),
    f"appends of {BATCH} events, 1 thread, digests=False": ((UNSEALED, "batches"), (OURS, "batches")),
    "commands on an account, digests=False": ((UNSEALED, "commands"), (OURS, "commands")),
    "appends of one event, 1 thread, notify=True": ((NOTIFYING, "1 thread"), (OURS, "1 thread")),
}


def main() -> None:
    """Measure and print."""
    rates: dict[Piece, list[float]] = {}
    with PostgresServer(settings=SETTINGS) as server, Processes(FEW) as processes, ExitStack() as open_ones:
        contenders = dict(made(server.dsn, processes))
        for contender in contenders.values():
            open_ones.callback(contender.close)
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        for number in range(1, ROUNDS + 1):
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
            play(number, contenders, rates)
    print_rows(rates)
    print_variants(rates)


def made(dsn: str, processes: Processes) -> Iterator[tuple[str, Contender]]:
    """Make those contenders whose packages are installed."""
    for number, (name, module) in enumerate(MODULES.items()):
        try:
            yield name, Contender(module, dsn, f"contender_{number}", OPTIONS.get(name, {}), processes)
        except ModuleNotFoundError as error:
            print(f"without {name}: {error}", file=sys.stderr)


def play(number: int, contenders: Mapping[str, Contender], rates: dict[Piece, list[float]]) -> None:
    """Do all works once, contender by contender; note how many events a second that were."""
    turns = [*contenders.items()][:: -1 if number % 2 == 0 else 1]
    for title, work in WORK.items():
        for name, contender in turns:
            if name in work.by:
                rates.setdefault((name, title), []).append(work.count / work.do(contender))


def together(works: Sequence[Callable[[], object]]) -> float:
    """Do works at the same time, each in a thread of its own that is there already; return the seconds that took."""
    barrier = threading.Barrier(len(works) + 1)

    def take_part(work: Callable[[], object]) -> None:
        barrier.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        parts = [pool.submit(take_part, work) for work in works]
        barrier.wait()
        started = time.perf_counter()
        for part in parts:
            part.result()
        return time.perf_counter() - started


def print_rows(rates: Mapping[Piece, Sequence[float]]) -> None:
    """Print rates per second, and esbank's as a ratio to each of the others'."""
    ratios = [f"{OURS} / {name}" for name in (BARE, PEER)]
    print("| work, events per second |", " | ".join([*LIBRARIES, *ratios]), "|")
    print("| --- |", " | ".join(["---:"] * 5), "|")
    for title, *pieces in ROWS:
        cells = [*(_rate(rates, piece) for piece in pieces), *(_ratio(rates, pieces[0], other) for other in pieces[1:])]
        print(f"| {title} |", " | ".join(cells), "|")
    print()


def print_variants(rates: Mapping[Piece, Sequence[float]]) -> None:
    """Print what esbank's options cost."""
    print(f"| {OURS} otherwise, events per second | so | as above | ratio |\n| --- | ---: | ---: | ---: |")
    for title, (piece, other) in VARIANTS.items():
        print(f"| {title} | {_rate(rates, piece)} | {_rate(rates, other)} | {_ratio(rates, piece, other)} |")


def _rate(rates: Mapping[Piece, Sequence[float]], piece: Piece | None) -> str:
    return "" if piece not in rates else f"{statistics.median(rates[piece]):,.0f}"


def _ratio(rates: Mapping[Piece, Sequence[float]], piece: Piece, other: Piece | None) -> str:
    if other not in rates:
        return ""
    ratios = [mine / its for mine, its in zip(rates[piece], rates[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


if __name__ == "__main__":
    main()
