"""Projectors for tests: their tables show it when an event was handled twice or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from esbank import EventEnvelope, EventStore, ProjectionRunner, Projector, Repository, projects
from esbank.backends.postgres import PostgresEventStore
from esbank.store import Transaction, ViewStore
from tests.basket import AddEach, Added, Basket
from tests.doubles import Store, open_store


def nothing(_: str) -> object:
    return None


class Journal(Projector):
    """One row for each thing added; `on_added` is called in the middle of the transaction, after the row is written."""

    tables: ClassVar[Mapping[str, str]] = {"journal": "(position INTEGER NOT NULL, sku TEXT NOT NULL)"}
    indexes: ClassVar[Mapping[str, str]] = {"journal_by_sku": "{journal} (sku)"}

    def __init__(self, on_added: Callable[[str], object] = nothing) -> None:
        self.on_added = on_added

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO {journal} VALUES (:position, :sku)",
            {"position": envelope.position, "sku": envelope.event.sku},
        )
        self.on_added(envelope.event.sku)


class Totals(Projector):
    """How many of each thing were added."""

    tables: ClassVar[Mapping[str, str]] = {"totals": "(sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL)"}

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute(
            """
            INSERT INTO {totals} AS t VALUES (:sku, :quantity)
            ON CONFLICT (sku) DO UPDATE SET quantity = t.quantity + excluded.quantity
            """,
            {"sku": envelope.event.sku, "quantity": envelope.event.quantity},
        )


def journal(views: ViewStore) -> list[str]:
    """List what the journal says, in the order in which its rows were written."""
    return [sku for (sku,) in views.query(f"SELECT sku FROM journal ORDER BY {as_written(views)}")]  # noqa: S608


def as_written(views: ViewStore) -> str:
    """Say in SQL how to order rows as they were written."""
    return "xmin::text::bigint, cmin::text::bigint, ctid" if isinstance(views, PostgresEventStore) else "rowid"


def names(views: ViewStore) -> set[str]:
    """List the tables, views and indexes in the database, but for those that belong to esbank, or to a table."""
    sql = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
    if isinstance(views, PostgresEventStore):
        sql = """
            SELECT relname::text FROM pg_class AS c
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v', 'i')
                AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = c.oid)
            """
    return {name for (name,) in views.query(sql) if not name.startswith("esbank_")}


def indexes(views: ViewStore, table: str) -> set[str]:
    """List the indexes of a table, but for those of its keys."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND name NOT LIKE 'sqlite%'"
    if isinstance(views, PostgresEventStore):
        sql = "SELECT indexname::text FROM pg_indexes WHERE schemaname = current_schema() AND tablename = :table"
    return {name for (name,) in views.query(sql, {"table": table})}


def totals(views: ViewStore) -> dict[str, int]:
    return dict(views.query("SELECT sku, quantity FROM totals"))


def add(store: EventStore, *skus: str, key: str = "b1") -> None:
    """Append an event for each thing, all at once."""
    Repository(store, Basket, max_attempts=1000).execute(key, AddEach(list(skus)))


def numbered(numbers: Iterable[int]) -> list[str]:
    return [f"sku {number}" for number in numbers]


def fail_at(*skus: str) -> Callable[[str], object]:
    """Make an action for a `Journal` that fails for these."""

    def action(sku: str) -> object:
        if sku in skus:
            raise LookupError(sku)
        return None

    return action


@frozen
class Place:
    """An event store, and where its views are."""

    store: Store
    views: Store


PLACES = ("memory", "sqlite", "postgresql", "memory and sqlite", "sqlite and sqlite")
ACROSS = ("postgresql and sqlite", "sqlite and postgresql", "postgresql and postgresql")


@contextmanager
def open_place(kind: str, folder: Path) -> Iterator[Place]:
    """Open one of the `PLACES`, or of those `ACROSS`: views beside the events, or in a database of their own."""
    events, _, views = kind.partition(" and ")
    with open_store(events, folder) as store:
        if not views:
            yield Place(store, store)
        else:
            with open_store(views, folder, name="views.db") as other:
                yield Place(store, other)


@contextmanager
def running(runner: ProjectionRunner) -> Iterator[None]:
    """Run it in a thread until the block ends; raise what it raised."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(runner.run, stop)
        try:
            yield
        finally:
            stop.set()
        done.result()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is sure to come."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
