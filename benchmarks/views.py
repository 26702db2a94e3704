"""What views cost: a rebuild against a bare loop, appends with an inline view, and projectors that share a read."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from benchmarks.contender import Contender, Work
from benchmarks.rounds import Row, Settings, Table, measure
from benchmarks.tables import report
from esbank import EventEnvelope, ProjectionRunner, Projector, projects
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, NewEvent, StreamId, Transaction

ACCOUNTS = 500
PAGE = 1_000

COLUMNS = {
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

    tables: ClassVar[Mapping[str, str]] = COLUMNS

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


class Views(Contender):
    """esbank, with views of movements."""

    title = "esbank"
    inline: Sequence[type[Projector]] = ()
    followed: Sequence[type[Projector]] = ()

    def fill_log(self, count: int) -> None:
        """Write a log to make views of."""
        with SQLiteEventStore(self.folder / "log.db", durability="normal") as store:
            by_stream: dict[StreamId, list[NewEvent]] = {}
            for stream, event in events(count):
                by_stream.setdefault(stream, []).append(event)
            for part in range(0, count // ACCOUNTS, 10):  # interleaved, as accounts are
                for stream, of_one in by_stream.items():
                    store.append(stream, of_one[part : part + 10], expected_version=ANY_VERSION)

    def rebuild(self, _count: int) -> Work:
        """Rebuild a view; the first one is there already, empty."""
        store = self._open(self._copy_of_log())
        return ProjectionRunner(store, [Ledger()]).rebuild

    def append(self, count: int) -> Work:
        """Append events one by one, each durable before the next."""
        store = self._open(self.folder / "events.db", *(projector() for projector in self.inline))
        made = events(count)

        def work() -> None:
            for stream, event in made:
                store.append(stream, [event], expected_version=ANY_VERSION)

        return work

    def catch_up(self, _count: int) -> Work:
        """Bring new views to the end of the log."""
        path = self._copy_of_log()
        store, views = self._open(path), self._open(path.with_name("views.db"))
        return ProjectionRunner(store, [projector() for projector in self.followed], views=views).catch_up

    def _copy_of_log(self) -> Path:
        folder = Path(self.opened.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        return Path(shutil.copy(self.folder / "log.db", folder))

    def _open(self, path: Path, *inline: Projector) -> SQLiteEventStore:
        return self.opened.enter_context(SQLiteEventStore(path, inline=inline))


class BareViews(Views):
    """The same rows of the same file, and the same statements, with ``sqlite3`` alone."""

    title = "bare driver"

    def rebuild(self, _count: int) -> Work:
        """Make a view."""
        path = self._copy_of_log()
        connection = self.opened.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        connection.execute("PRAGMA synchronous=FULL")
        return lambda: bare_loop(connection)


class InlineView(Views):
    """With a view that changes in the transaction of each append."""

    title = "with an inline view"
    inline = (Ledger,)


class NoView(Views):
    """Without one."""

    title = "without"


class ThreeProjectors(Views):
    """Three views, which share one reading of the log."""

    title = "3 projectors"
    followed = (Moves, MovesB, MovesC)


class OneProjector(Views):
    """One view."""

    title = "1 projector"
    followed = (Moves,)


def events(count: int) -> list[tuple[StreamId, NewEvent]]:
    """Make movements on many accounts."""
    made: list[tuple[StreamId, NewEvent]] = []
    for number in range(count):
        data = f'{{"amount":"{number % 97}.01","balance_after":"{number}.50","by":"robot"}}'
        made.append((StreamId("BankAccount", f"acc-{number % ACCOUNTS:04}"), NewEvent("Moved", data)))
    return made


def bare_loop(connection: sqlite3.Connection) -> None:
    """Do what a rebuild has to do at least: read a page, decode it, execute, remember the place, commit."""
    set_balance = SET_BALANCE.replace("{balances}", "bare_balances")
    add_move = ADD_MOVE.replace("{moves}", "bare_moves")
    for table, columns in COLUMNS.items():
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


def table_of(title: str, subject: type[Views], other: type[Views], row: Row) -> Table:
    """Compare one way with another."""
    contenders = {cls.title: f"benchmarks.views:{cls.__name__}" for cls in (subject, other)}
    return Table(title, subject.title, contenders, [row], compared={other.title: [other.title]})


TABLES = (
    table_of(
        "rebuild of a view of two tables, per second",
        Views,
        BareViews,
        Row("views-rebuild", "events", 50_000, 5_000, "rebuild", fill="fill_log"),
    ),
    table_of(
        "durable appends of one event, per second",
        InlineView,
        NoView,
        Row("views-inline", "events", 1_000, 20, "append"),
    ),
    table_of(
        "catching up, per second",
        ThreeProjectors,
        OneProjector,
        Row("views-shared", "events", 50_000, 5_000, "catch_up", fill="fill_log"),
    ),
)


def run(settings: Settings) -> str:
    """Measure."""
    tables = [table for table in TABLES if table.rows_in(settings)]
    return "\n\n".join(report(table, measure(table, settings), settings) for table in tables)
