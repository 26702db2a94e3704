"""The tables of a SQLite store, and how a file gets them.

Each entry of `MIGRATIONS` takes a file from one schema version to the next. Tables of esbank begin with ``esbank_``, so
that an application may keep its own in the same file; ``esbank_event_log`` is a view for people who look into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from esbank.backends._sqlite_connection import Connection
from esbank.errors import StorageError
from esbank.store import Metadata

__all__ = ["MIGRATIONS", "NO_STORE", "has_digests", "migrate"]

_VERSION_1: Final = (
    """
    CREATE TABLE esbank_store (
        id              INTEGER PRIMARY KEY CHECK (id = 1),
        identity        TEXT NOT NULL,
        schema_version  INTEGER NOT NULL,
        created_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    )
    """,
    """
    CREATE TABLE esbank_streams (
        stream    INTEGER PRIMARY KEY,
        category  TEXT NOT NULL,
        key       TEXT NOT NULL,
        UNIQUE (category, key)
    )
    """,
    # Times are microseconds since 1970. `append` is the position of the first event of the append that an event came
    # with, so that a repeated append can be told from a part of it.
    """
    CREATE TABLE esbank_events (
        position        INTEGER PRIMARY KEY,
        stream          INTEGER NOT NULL REFERENCES esbank_streams (stream),
        version         INTEGER NOT NULL,
        event_id        BLOB NOT NULL,
        type            TEXT NOT NULL,
        schema_version  INTEGER NOT NULL,
        data            TEXT NOT NULL,
        metadata        TEXT NOT NULL,
        recorded_at     INTEGER NOT NULL,
        append          INTEGER NOT NULL,
        UNIQUE (stream, version),
        UNIQUE (stream, event_id)
    )
    """,
    """
    CREATE TABLE esbank_snapshots (
        stream    INTEGER PRIMARY KEY REFERENCES esbank_streams (stream),
        version   INTEGER NOT NULL,
        event_id  BLOB NOT NULL,
        store     TEXT NOT NULL,
        schema    TEXT NOT NULL,
        state     TEXT NOT NULL
    )
    """,
    # Append-only, also for whoever opens the file with another tool. INSERT OR REPLACE fires no DELETE trigger, so the
    # INSERT trigger refuses every row that would take another one's place; it keeps versions contiguous as well.
    """
    CREATE TRIGGER esbank_events_no_update BEFORE UPDATE ON esbank_events
    BEGIN SELECT RAISE(ABORT, 'events are append-only: an event cannot be changed'); END
    """,
    """
    CREATE TRIGGER esbank_events_no_delete BEFORE DELETE ON esbank_events
    BEGIN SELECT RAISE(ABORT, 'events are append-only: an event cannot be deleted'); END
    """,
    """
    CREATE TRIGGER esbank_events_append BEFORE INSERT ON esbank_events
    WHEN NEW.version IS NOT (SELECT coalesce(max(version), 0) + 1 FROM esbank_events WHERE stream = NEW.stream)
        OR NEW.position <= (SELECT max(position) FROM esbank_events)
        OR EXISTS (SELECT 1 FROM esbank_events WHERE stream = NEW.stream AND event_id = NEW.event_id)
        OR NOT EXISTS (SELECT 1 FROM esbank_streams WHERE stream = NEW.stream)
    BEGIN SELECT RAISE(ABORT, 'events are append-only: an event comes last in a stream that there is'); END
    """,
    """
    CREATE TRIGGER esbank_streams_no_update BEFORE UPDATE ON esbank_streams
    BEGIN SELECT RAISE(ABORT, 'streams are append-only: a stream cannot be renamed'); END
    """,
    """
    CREATE TRIGGER esbank_streams_no_delete BEFORE DELETE ON esbank_streams
    BEGIN SELECT RAISE(ABORT, 'streams are append-only: a stream cannot be deleted'); END
    """,
    """
    CREATE TRIGGER esbank_streams_append BEFORE INSERT ON esbank_streams
    WHEN EXISTS (SELECT 1 FROM esbank_streams
                 WHERE stream = NEW.stream OR (category = NEW.category AND key = NEW.key))
    BEGIN SELECT RAISE(ABORT, 'streams are append-only: a stream cannot take the place of another'); END
    """,
    """
    CREATE VIEW esbank_event_log AS
    SELECT e.position, s.category || '-' || s.key AS stream, e.version, e.type, e.schema_version, e.data, e.metadata,
           strftime('%Y-%m-%d %H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
               || printf('.%06d', e.recorded_at % 1000000) AS recorded_at,
           lower(hex(e.event_id)) AS event_id
    FROM esbank_events AS e JOIN esbank_streams AS s USING (stream)
    """,
)

# A file from before has no digests, and gets none: one made now would prove nothing about the years before.
_VERSION_2: Final = (
    "ALTER TABLE esbank_store ADD COLUMN has_digests INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE esbank_events ADD COLUMN correlation_id TEXT",
    "ALTER TABLE esbank_events ADD COLUMN digest BLOB",
    "DROP TRIGGER IF EXISTS esbank_events_no_update",
    # Not json_extract: to SQLite a text ends at a NUL, and metadata that are damaged fail the whole migration.
    """
    UPDATE esbank_events SET correlation_id = esbank_correlation_id(CAST(metadata AS BLOB)) WHERE metadata <> '{}'
    """,
    """
    CREATE TRIGGER esbank_events_no_update BEFORE UPDATE ON esbank_events
    BEGIN SELECT RAISE(ABORT, 'events are append-only: an event cannot be changed'); END
    """,
    """
    CREATE INDEX esbank_events_by_correlation ON esbank_events (correlation_id) WHERE correlation_id IS NOT NULL
    """,
    "DROP VIEW IF EXISTS esbank_event_log",
    """
    CREATE VIEW esbank_event_log AS
    SELECT e.position, s.category || '-' || s.key AS stream, e.version, e.type, e.schema_version, e.data, e.metadata,
           strftime('%Y-%m-%d %H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
               || printf('.%06d', e.recorded_at % 1000000) AS recorded_at,
           lower(hex(e.event_id)) AS event_id,
           lower(hex(e.digest)) AS digest
    FROM esbank_events AS e JOIN esbank_streams AS s USING (stream)
    """,
)

NO_STORE: Final = "there is no event store here; check the path"

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_VERSION_1, _VERSION_2)


def migrate(
    connection: Connection,
    path: str,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
    *,
    create: bool = True,
    digests: bool = True,
) -> str:
    """Bring the file to the newest schema version, in one transaction; return the identity of the store.

    `create` says whether to make a store where none is, and `digests` whether that one keeps digests. Raises
    ``StorageError`` for a file that newer code has written, and where there is no store to open.
    """
    known = len(migrations)
    identity, version = _look(connection, path)
    if version == known:
        return identity
    if version == 0 and not create:
        raise StorageError(path, NO_STORE)
    connection.define("esbank_correlation_id", _correlation_id)
    connection.rows("BEGIN IMMEDIATE")
    try:
        # Looked at again, because another process may have migrated it while this one waited for the lock.
        identity, version = _look(connection, path)
        _check_known(path, version, known)
        for statements in migrations[version:]:
            for statement in statements:
                connection.rows(statement)
        if version == 0:
            identity = uuid4().hex
            connection.rows(
                "INSERT INTO esbank_store (id, identity, schema_version, has_digests) VALUES (1, ?, ?, ?)",
                (identity, known, digests),
            )
        else:
            connection.rows("UPDATE esbank_store SET schema_version = ?", (known,))
    except BaseException:
        connection.rollback()
        raise
    connection.rows("COMMIT")
    return identity


def has_digests(connection: Connection) -> bool:
    """Tell whether the file keeps digests."""
    ((answer,),) = connection.rows("SELECT has_digests FROM esbank_store")
    return bool(answer)


def _correlation_id(metadata: bytes) -> str | None:
    try:
        return Metadata.from_json(metadata.decode()).correlation_id
    except ValueError:  # damaged: whoever reads the event is told
        return None


def _check_known(path: str, version: int, known: int) -> None:
    if version > known:
        raise StorageError(
            path, f"the file has schema version {version}, this esbank knows up to {known}; upgrade esbank"
        )


def _look(connection: Connection, path: str) -> tuple[str, int]:
    if not connection.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'esbank_store'"):
        return "", 0
    rows = connection.rows("SELECT identity, schema_version FROM esbank_store")
    if len(rows) != 1:
        raise StorageError(path, "the table esbank_store has lost its row; the file is damaged, restore a backup")
    identity, version = rows[0]
    return identity, version
