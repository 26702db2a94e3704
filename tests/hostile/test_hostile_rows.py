"""Rows of a SQLite file that another program wrote: whoever reads them is told, and other streams are as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from hostile_outcomes import refused
from hostile_values import FEW_OR_MANY, explore
from hypothesis import strategies as st

from esbank import EsbankError, EveryNEvents, Projector, Repository, projects
from esbank.backends.jsonl import JsonlLog
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.events import EventEnvelope
from esbank.projection import ProjectionRunner
from esbank.store import StreamId, Transaction
from esbank.transfer import compare_logs, copy_events
from esbank.verification import verify
from tests.basket import Add, Added, Basket

COLUMNS: Final = [
    "data",
    "metadata",
    "event_id",
    "recorded_at",
    "digest",
    "type",
    "schema_version",
    "correlation_id",
    "append",
]
VALUES: Final = [
    b"",
    b"\xff\xfe",
    b"{}",
    b"BasketAdded",
    "",
    "{}",
    "x" * 16,
    "[" * 100_000,
    '{"actor":1}',
    "\ufeff{}",
    -1,
    2**62,
    1.5,
]
odd_values = (
    st.binary() | st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**63), 2**63 - 1) | st.floats()
)


class Names(Projector):
    tables: ClassVar[dict[str, str]] = {"names": "(sku TEXT, at TEXT, by TEXT)"}

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        row = {"sku": envelope.event.sku, "at": str(envelope.recorded_at), "by": str(envelope.metadata)}
        tx.execute("INSERT INTO {names} VALUES (:sku, :at, :by)", row)


def look(envelope: EventEnvelope[Any]) -> tuple[object, ...]:
    return envelope.event_id, envelope.metadata, envelope.recorded_at, envelope.occurred_at, hash(envelope.stored)


def copy_into_memory(store: SQLiteEventStore) -> None:
    with MemoryEventStore() as target:
        copy_events(store, target)


def copy_into_a_file(store: SQLiteEventStore, path: Path) -> None:
    with JsonlLog(path, copy_of=store.identity) as target:
        copy_events(store, target)


def uses(store: SQLiteEventStore, path: Path) -> list[Callable[[], object]]:
    """List what is done with a store, by somebody who does not know that it was damaged."""
    baskets = Repository(store, Basket)
    return [
        lambda: baskets.load("odd"),
        lambda: baskets.load("odd", recorded_until=datetime.now(UTC)),
        lambda: baskets.load("odd", occurred_until=datetime.now(UTC)),
        lambda: list(map(look, baskets.history("odd"))),
        lambda: list(baskets.timeline("odd")),
        lambda: repr(list(store.read_all())),
        lambda: list(store.read_appends()),
        lambda: list(store.read_correlated("c-1")),
        lambda: verify(store),
        lambda: compare_logs(store, store),
        lambda: copy_into_memory(store),
        lambda: copy_into_a_file(store, path.with_suffix(".jsonl")),
        ProjectionRunner(store, [Names()]).catch_up,
        ProjectionRunner(store, [Names()]).status,
        lambda: baskets.execute("odd", Add("more"), command_id="c-1"),
        lambda: baskets.execute("odd", Add("more")),
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file with two streams, and nothing that keeps it from being changed."""
    path = tmp_path_factory.mktemp("sound") / "events.db"
    with SQLiteEventStore(path, durability="normal") as store:
        baskets = Repository(store, Basket, snapshots=EveryNEvents(2))
        for key in ("sound", "odd"):
            baskets.execute(key, Add("apple"))
            baskets.execute(key, Add("pear"))
        assert store.load_snapshot(StreamId("Basket", "odd")) is not None
    with closing(sqlite3.connect(path)) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.commit()
    return path.read_bytes()


def damage(path: Path, sound: bytes, table: str, column: str, value: object) -> None:
    """Write a value into the last event, or the last snapshot, of a sound file."""
    path.write_bytes(sound)
    for beside in ("-wal", "-shm", "-claims"):
        path.with_name(f"{path.name}{beside}").unlink(missing_ok=True)
    path.with_suffix(".jsonl").unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        last = f"(SELECT max(rowid) FROM {table})"  # noqa: S608 - a name of ours
        database.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = {last}", (value,))  # noqa: S608 - same
        database.commit()


def check_uses(path: Path) -> None:
    with SQLiteEventStore(path, durability="normal") as store:
        refused(lambda use: use(), uses(store, path), EsbankError, ValueError)
        other = Repository(store, Basket)
        assert other.load("sound").state.skus == ["apple", "pear"]
        assert [look(envelope) for envelope in other.history("sound")]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_damaged_event_is_told_of_to_whoever_uses_it(tmp_path: Path, sound: bytes, column: str) -> None:
    for value in VALUES:
        damage(tmp_path / "events.db", sound, "esbank_events", column, value)
        check_uses(tmp_path / "events.db")


@pytest.mark.soak
@pytest.mark.parametrize("column", COLUMNS)
def test_whatever_is_in_an_event_is_told_of_to_whoever_uses_it(tmp_path: Path, sound: bytes, column: str) -> None:
    @explore(200, value=odd_values)
    def _(value: object) -> None:
        damage(tmp_path / "events.db", sound, "esbank_events", column, value)
        check_uses(tmp_path / "events.db")


def check_snapshot(path: Path) -> None:
    with SQLiteEventStore(path, durability="normal") as store:
        baskets = Repository(store, Basket, snapshots=EveryNEvents(2))
        assert baskets.load("odd").state.skus == ["apple", "pear"]
        assert baskets.execute("odd", Add("plum")).state.skus == ["apple", "pear", "plum"]


@pytest.mark.parametrize("column", ["version", "event_id", "store", "schema", "state"])
def test_a_damaged_snapshot_changes_nothing(tmp_path: Path, sound: bytes, column: str) -> None:
    values = [*VALUES, *(f'{{"skus":{"[" * depth}{"]" * depth}}}' for depth in (200, 700, 900, 960))]
    for value in values:
        damage(tmp_path / "events.db", sound, "esbank_snapshots", column, value)
        check_snapshot(tmp_path / "events.db")


@FEW_OR_MANY
def test_whatever_is_in_a_snapshot_changes_nothing(tmp_path: Path, sound: bytes, examples: int) -> None:
    columns = st.sampled_from(["version", "event_id", "store", "schema", "state"])

    @explore(examples // 4, column=columns, value=odd_values)
    def _(column: str, value: object) -> None:
        damage(tmp_path / "events.db", sound, "esbank_snapshots", column, value)
        check_snapshot(tmp_path / "events.db")
