"""What views cost: a rebuild against a bare loop, appends with an inline view, and projectors that share a read.

Run it with ``python -m benchmarks.views``. Within a round the contenders take turns, and every other round they do so
in the opposite order. A ratio is the median of the ratios of the rounds.
"""

import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from esbank import EventEnvelope, ProjectionRunner, Projector, projects
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, NewEvent, StreamId, Transaction

ROUNDS = 5
EVENTS = 50_000
APPENDS = 1_000
ACCOUNTS = 500
PAGE = 1_000

TABLES = {
    "balances": "(account TEXT PRIMARY KEY, balance TEXT NOT NULL, moves INTEGER NOT NULL)",
    "moves": "(position INTEGER PRIMARY KEY, account TEXT NOT NULL, amount TEXT NOT NULL, made_by TEXT NOT NULL)",
}
SET_BALANCE = """
    INSERT INTO {balances} VALUES (:account, :balance, 1)
    ON CONFLICT (account) DO UPDATE SET balance = :balance, moves = moves + 1
"""
ADD_MOVE = "INSERT INTO {moves} VALUES (:position, :account, :amount, :made_by)"


@frozen
class Moved:
    """Money came in or went out."""

    amount: str
    balance_after: str
    by: str


class Ledger(Projector):
    """Two tables: one row for each account, one for each movement."""

    tables: ClassVar[Mapping[str, str]] = TABLES

    @projects(Moved)
    def _moved(self, envelope: EventEnvelope[Moved], tx: Transaction) -> None:
        event = envelope.event
        account = envelope.stream.key
        tx.execute(SET_BALANCE, {"account": account, "balance": event.balance_after})
        tx.execute(
            ADD_MOVE,
            {"position": envelope.position, "account": account, "amount": event.amount, "made_by": event.by},
        )


class Moves(Projector):
    """A table with one row for each movement, as most views have."""

    tables: ClassVar[Mapping[str, str]] = {"moves_a": "(position INTEGER PRIMARY KEY, amount TEXT NOT NULL)"}
    table: ClassVar[str] = "moves_a"

    @projects(Moved)
    def _moved(self, envelope: EventEnvelope[Moved], tx: Transaction) -> None:
        tx.execute(
            f"INSERT INTO {{{self.table}}} VALUES (:position, :amount)",  # noqa: S608 - its own table
            {"position": envelope.position, "amount": envelope.event.amount},
        )


class MovesB(Moves):
    """The same under another name."""

    tables: ClassVar[Mapping[str, str]] = {"moves_b": "(position INTEGER PRIMARY KEY, amount TEXT NOT NULL)"}
    table: ClassVar[str] = "moves_b"


class MovesC(Moves):
    """The same under a third name."""

    tables: ClassVar[Mapping[str, str]] = {"moves_c": "(position INTEGER PRIMARY KEY, amount TEXT NOT NULL)"}
    table: ClassVar[str] = "moves_c"


def events(count: int) -> list[tuple[StreamId, NewEvent]]:
    """Make movements on many accounts."""
    made: list[tuple[StreamId, NewEvent]] = []
    for number in range(count):
        data = f'{{"amount":"{number % 97}.01","balance_after":"{number}.50","by":"robot"}}'
        made.append((StreamId("BankAccount", f"acc-{number % ACCOUNTS:04}"), NewEvent("Moved", data)))
    return made


def fill(path: Path) -> None:
    """Write a log to make views of."""
    with SQLiteEventStore(path, durability="normal") as store:
        by_stream: dict[StreamId, list[NewEvent]] = {}
        for stream, event in events(EVENTS):
            by_stream.setdefault(stream, []).append(event)
        for part in range(0, EVENTS // ACCOUNTS, 10):  # interleaved, as accounts are
            for stream, of_one in by_stream.items():
                store.append(stream, of_one[part : part + 10], expected_version=ANY_VERSION)


def rebuild(path: Path) -> float:
    """Rebuild by esbank; the first view is there already, empty."""
    with SQLiteEventStore(path) as store:
        runner = ProjectionRunner(store, [Ledger()])
        return seconds(runner.rebuild)


def rebuild_bare(path: Path) -> float:
    """Read the same rows of the same file, and execute the same statements, with ``sqlite3`` alone."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        for table in TABLES:
            connection.execute(f"DROP TABLE IF EXISTS bare_{table}")
        return seconds(lambda: bare_loop(connection))


def bare_loop(connection: sqlite3.Connection) -> None:
    """Do what a rebuild has to do at least: read a page, decode it, execute, remember the place, commit."""
    set_balance = SET_BALANCE.replace("{balances}", "bare_balances")
    add_move = ADD_MOVE.replace("{moves}", "bare_moves")
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE bare_{table} {columns}")
    connection.execute("CREATE TABLE IF NOT EXISTS bare_place (position INTEGER)")
    connection.execute("DELETE FROM bare_place")
    connection.execute("INSERT INTO bare_place VALUES (0)")
    position = 0
    while True:
        rows = connection.execute(
            """
            SELECT s.category, s.key, e.version, e.position, e.event_id, e.type, e.schema_version, e.data, e.metadata,
                   e.recorded_at, e.digest
            FROM esbank_events AS e CROSS JOIN esbank_streams AS s ON s.stream = e.stream
            WHERE e.position > ? ORDER BY e.position LIMIT ?
            """,
            (position, PAGE),
        ).fetchall()
        if not rows:
            return
        connection.execute("BEGIN IMMEDIATE")
        for _category, account, _version, position, _id, _type, _schema, data, *_rest in rows:
            event = json.loads(data)
            connection.execute(set_balance, {"account": account, "balance": event["balance_after"]})
            connection.execute(
                add_move,
                {"position": position, "account": account, "amount": event["amount"], "made_by": event["by"]},
            )
        connection.execute("UPDATE bare_place SET position = ?", (position,))
        connection.execute("COMMIT")


def append(path: Path, inline: Collection[Projector]) -> float:
    """Append events one by one, each durable before the next."""
    with SQLiteEventStore(path, inline=tuple(inline)) as store:
        made = events(APPENDS)

        def work() -> None:
            for stream, event in made:
                store.append(stream, [event], expected_version=ANY_VERSION)

        return seconds(work)


def catch_up(path: Path, projectors: Sequence[type[Projector]]) -> float:
    """Bring new views to the end of the log."""
    with SQLiteEventStore(path) as store, SQLiteEventStore(path.with_name("views.db")) as views:
        runner = ProjectionRunner(store, [projector() for projector in projectors], views=views)
        return seconds(runner.catch_up)


def seconds(work: Callable[[], object]) -> float:
    """Measure."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(
    title: str, contenders: Mapping[str, Callable[[Path], float]], log: Path | None = None
) -> dict[str, list[float]]:
    """Measure each contender in each round, on a file of its own: a copy of a log, or a new one."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, ROUNDS + 1):
        print(f"{title}: round {number} of {ROUNDS}", file=sys.stderr)
        turns = list(contenders.items())[:: -1 if number % 2 == 0 else 1]
        for name, work in turns:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "events.db"
                if log is not None:
                    shutil.copyfile(log, path)
                found[name].append(work(path))
    return found


def print_table(title: str, count: int, found: Mapping[str, Sequence[float]]) -> None:
    """Print rates per second, and the first contender's as a ratio to that of each other."""
    first, *others = found
    print(f"| {title}, per second |", " | ".join(found), "|", " | ".join(f"{first} / {name}" for name in others), "|")
    print("| --- |", " | ".join(["---:"] * (len(found) + len(others))), "|")
    rates = [f"{count / statistics.median(rounds):,.0f}" for rounds in found.values()]
    ratios = [[other / mine for other, mine in zip(found[name], found[first], strict=True)] for name in others]
    shown = [f"{statistics.median(ratio):.2f} ({min(ratio):.2f}-{max(ratio):.2f})" for ratio in ratios]
    print(f"| {count:,} events |", " | ".join(rates), "|", " | ".join(shown), "|\n")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.db"
        fill(log)

        found = in_turns("rebuild", {"esbank": rebuild, "bare driver": rebuild_bare}, log)
        print_table("rebuild of a view of two tables", EVENTS, found)

        inline, plain = partial(append, inline=[Ledger()]), partial(append, inline=[])
        found = in_turns("append", {"with an inline view": inline, "without": plain})
        print_table("appends of one event, each durable", APPENDS, found)

        three, one = partial(catch_up, projectors=[Moves, MovesB, MovesC]), partial(catch_up, projectors=[Moves])
        found = in_turns("catch up", {"3 projectors": three, "1 projector": one}, log)
        print_table("catching up", EVENTS, found)


if __name__ == "__main__":
    main()
