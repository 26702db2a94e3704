"""The database itself keeps the log append-only, also against whoever opens the file with another tool."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import NewEvent, StreamId

STREAMS = [StreamId("Account", "1"), StreamId("Account", "2")]


@pytest.fixture
def written(path: Path) -> Path:
    """Write a file with two streams of three events."""
    with SQLiteEventStore(path) as store:
        for stream in STREAMS:
            store.append(stream, [NewEvent("Deposited", "{}") for _ in range(3)], expected_version=0)
    return path


@pytest.fixture(params=["off", "on"], ids=["", "recursive_triggers"])
def connection(written: Path, request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    """Connect to it as another tool would."""
    with closing(sqlite3.connect(written, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA recursive_triggers={request.param}")
        yield connection


def contents(path: Path) -> tuple[list[object], list[StreamId]]:
    with SQLiteEventStore(path) as store:
        return list(store.read_all()), list(store.streams("Account"))


COLUMNS = (
    "position", "stream", "version", "event_id", "type", "schema_version", "data", "metadata", "recorded_at", "append",
    "correlation_id", "digest",
)  # fmt: skip


def copy_of_event(**changes: str) -> str:
    """Select the second event of the first stream, changed."""
    selected = ", ".join(changes.get(column, column) for column in COLUMNS)
    return f"SELECT {selected} FROM esbank_events WHERE stream = 1 AND version = 2"  # noqa: S608  # constants


NEW_ID = "randomblob(16)"
CHANGES_TO_EVENTS = {
    "update": "UPDATE esbank_events SET data = '[]'",
    "update of a digest": "UPDATE esbank_events SET digest = randomblob(32)",
    "update of a correlation id": "UPDATE esbank_events SET correlation_id = 'c-1' WHERE correlation_id IS NULL",
    "update of one": "UPDATE esbank_events SET version = 4 WHERE version = 3",
    "update or replace": "UPDATE OR REPLACE esbank_events SET version = 1 WHERE version = 2",
    "update or ignore": "UPDATE OR IGNORE esbank_events SET version = 1 WHERE version = 2",
    "delete": "DELETE FROM esbank_events",
    "delete of one": "DELETE FROM esbank_events WHERE version = 3",
    "replace by position": "INSERT OR REPLACE INTO esbank_events " + copy_of_event(version="4", event_id=NEW_ID),
    "replace by version": "INSERT OR REPLACE INTO esbank_events "
    + copy_of_event(position="position + 100", event_id=NEW_ID),
    "replace by event id": "REPLACE INTO esbank_events " + copy_of_event(position="position + 100", version="4"),
    "replace by all": "REPLACE INTO esbank_events " + copy_of_event(data="'[]'"),
    "upsert": f"INSERT INTO esbank_events {copy_of_event()} AND true ON CONFLICT DO UPDATE SET data = '[]'",
}
STRAY_EVENTS = {
    "a hole": copy_of_event(position="position + 100", version="5", event_id=NEW_ID),
    "version 0": copy_of_event(position="position + 100", version="0", event_id=NEW_ID),
    "no version": copy_of_event(position="position + 100", version="NULL", event_id=NEW_ID),
    "a stream that begins at 2": copy_of_event(position="position + 100", stream="3", event_id=NEW_ID),
    "a position before others": copy_of_event(position="0", version="4", event_id=NEW_ID),
    "no position": copy_of_event(position="NULL", version="4", event_id=NEW_ID),
    "a stream that is not there": copy_of_event(position="position + 100", stream="99", version="1", event_id=NEW_ID),
}
CHANGES_TO_STREAMS = {
    "update": "UPDATE esbank_streams SET key = 'x' WHERE stream = 1",
    "update or replace": "UPDATE OR REPLACE esbank_streams SET key = '2' WHERE stream = 1",
    "delete": "DELETE FROM esbank_streams",
    "replace by row": "INSERT OR REPLACE INTO esbank_streams VALUES (1, 'Account', 'x')",
    "replace by name": "INSERT OR REPLACE INTO esbank_streams VALUES (9, 'Account', '1')",
    "replace by name alone": "REPLACE INTO esbank_streams (category, key) VALUES ('Account', '1')",
    "upsert": "INSERT INTO esbank_streams VALUES (1, 'A', 'x') ON CONFLICT DO UPDATE SET key = 'x'",
}


@pytest.mark.parametrize("sql", CHANGES_TO_EVENTS.values(), ids=CHANGES_TO_EVENTS)
def test_an_event_is_never_changed_nor_deleted_nor_replaced(
    written: Path, connection: sqlite3.Connection, sql: str
) -> None:
    before = contents(written)

    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql)

    assert contents(written) == before


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE"])
@pytest.mark.parametrize("event", STRAY_EVENTS.values(), ids=STRAY_EVENTS)
def test_an_event_is_never_inserted_anywhere_but_at_the_end(
    written: Path, connection: sqlite3.Connection, verb: str, event: str
) -> None:
    before = contents(written)

    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|NOT NULL"):
        connection.execute(f"{verb} INTO esbank_events {event}")

    assert contents(written) == before


@pytest.mark.parametrize("sql", CHANGES_TO_STREAMS.values(), ids=CHANGES_TO_STREAMS)
def test_a_stream_is_never_renamed_nor_deleted_nor_replaced(
    written: Path, connection: sqlite3.Connection, sql: str
) -> None:
    before = contents(written)

    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql)

    assert contents(written) == before


def test_a_view_cannot_change_the_log_either(store: SQLiteEventStore) -> None:
    store.append(STREAMS[0], [NewEvent("Deposited", "{}")], expected_version=0)

    with pytest.raises(Exception, match="append-only"), store.view_transaction() as tx:
        tx.execute("DELETE FROM esbank_events")

    assert store.version(STREAMS[0]) == 1


def test_whoever_looks_into_the_file_finds_a_readable_log(written: Path) -> None:
    with closing(sqlite3.connect(written)) as connection:
        rows = connection.execute(
            "SELECT stream, version, type, data FROM esbank_event_log ORDER BY position"
        ).fetchall()

    assert rows == [(str(stream), version, "Deposited", "{}") for stream in STREAMS for version in (1, 2, 3)]


def test_the_readable_log_shows_the_digests(written: Path) -> None:
    with SQLiteEventStore(written) as store:
        rows = store.query("SELECT digest FROM esbank_event_log ORDER BY position")

        assert rows == [(event.digest.hex(),) for event in store.read_all() if event.digest is not None]
        assert len(rows) == 6


def test_the_readable_log_says_when_to_the_microsecond(path: Path) -> None:
    with SQLiteEventStore(path, clock=lambda: 1_700_000_000_000_042_999) as store:
        (stored,) = store.append(STREAMS[0], [NewEvent("Deposited", "{}")], expected_version=0).events
        rows = store.query("SELECT recorded_at, event_id FROM esbank_event_log")

    assert rows == [("2023-11-14 22:13:20.000042", stored.event_id.hex)]
