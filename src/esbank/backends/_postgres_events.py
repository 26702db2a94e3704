"""The statements that read events and snapshots, and the rows that they return as events."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from esbank.backends._appends import flatten, recognise
from esbank.backends._imports import check_import
from esbank.backends._paging import Read, Reader
from esbank.backends._postgres_arrays import UUID as UUID_ARRAY
from esbank.backends._postgres_arrays import array, pack_bytes
from esbank.backends._postgres_connection import Connection, quoted
from esbank.backends._postgres_functions import LOCK
from esbank.backends._postgres_schema import filled
from esbank.store import AppendResult, StoredEvent, StreamAppend, StreamId

__all__ = ["Statements", "correlation", "find_repeat", "import_events"]

_COLUMNS: Final = (
    "version, position, uuid_send(event_id), type, schema_version, data::text, metadata::text, recorded_at, digest"
)


class Statements:
    """What is asked of the tables of one schema."""

    def __init__(self, schema: str) -> None:
        events = f"{quoted(schema)}.esbank_events"
        snapshots = f"{quoted(schema)}.esbank_snapshots"
        stream = "category = $1 AND key = $2"
        part = f"SELECT {_COLUMNS} FROM {events} WHERE {stream} AND version > $3 AND version <= $4"
        self.read_forwards = f"{part} ORDER BY version LIMIT $5"
        self.read_backwards = f"{part} ORDER BY version DESC LIMIT $5"
        self.read_data = (
            f"SELECT version, type, schema_version, data::text FROM {events}"
            f" WHERE {stream} AND version > $3 AND version <= $4 ORDER BY version LIMIT $5"
        )
        self.read_all = f"SELECT category, key, {_COLUMNS} FROM {events} WHERE position > $1"
        self.read_appends = (
            f"SELECT category, key, {_COLUMNS}, append FROM {events} WHERE position > $1 ORDER BY position LIMIT $2"
        )
        self.next_append = f"SELECT append FROM {events} WHERE position > $1 ORDER BY position LIMIT 1"
        self.find = f"SELECT {_COLUMNS} FROM {events} WHERE event_id = $3 AND {stream}"
        self.version = f"SELECT version FROM {events} WHERE {stream} ORDER BY version DESC LIMIT 1"
        self.head = f"SELECT position FROM {events} ORDER BY position DESC LIMIT 1"
        self.last = f"SELECT position, recorded_at FROM {events} ORDER BY position DESC LIMIT 1"
        self.head_of_stream = f"SELECT version, digest FROM {events} WHERE {stream} ORDER BY version DESC LIMIT 1"
        self.lock = filled(LOCK, schema)
        self.insert = (
            f"INSERT INTO {events} (category, key, version, position, event_id, type, schema_version, data, metadata,"
            " recorded_at, digest, append, correlation) VALUES ($1::text, $2::text, $3::bigint, $4::bigint,"
            " encode($5::bytea, 'hex')::uuid, $6::text, $7::integer, $8::text::json, $9::text::json, $10::bigint,"
            " $11::bytea, $12::bigint, $13::bytea)"
        )
        self.count = f"SELECT count(*) FROM {events} WHERE position > $1"
        self.streams = (
            f"SELECT key FROM {events} WHERE category = $1 AND key > $2 AND version = 1 ORDER BY category, key LIMIT $3"
        )
        self.known = f"SELECT category, key, uuid_send(event_id), append FROM {events} WHERE event_id = ANY ($1)"
        self.appended_at = (
            f"SELECT category, key, {_COLUMNS} FROM {events}"
            " WHERE position >= $1 AND position < $2 AND append = $1 ORDER BY position"
        )
        self.load_snapshot = (
            f"SELECT version, uuid_send(event_id), store, schema, state::text FROM {snapshots} WHERE {stream}"
        )
        self.save_snapshot = (
            f"INSERT INTO {snapshots} SELECT $1, $2, $3, $4, $5, $6, $7::text::json"
            f" WHERE EXISTS (SELECT FROM {events} WHERE {stream} AND version = 1)"
            " ON CONFLICT (category, key) DO UPDATE SET version = excluded.version, event_id = excluded.event_id,"
            " store = excluded.store, schema = excluded.schema, state = excluded.state RETURNING 1"
        )


def find_repeat(
    read: Read, statements: Statements, appends: Sequence[StreamAppend], name: str
) -> tuple[AppendResult, ...] | None:
    """Return the first results if `appends` were stored before, None if none of their ids is known.

    Raises ``DuplicateEvent`` when an id is known and the rest is not the same.
    """
    given = list(flatten(appends))
    ids = pack_bytes([event.event_id.bytes for _, event in given])
    rows = read(statements.known, (array(UUID_ARRAY, len(given), [ids]),))
    known = {(category, key, event_id): append for category, key, event_id, append in rows}
    for stream, event in given:
        append = known.get((stream.category, stream.key, event.event_id.bytes))
        if append is not None:
            # Positions are contiguous within an append, so nothing beyond needs a look.
            first = read(statements.appended_at, (append, append + len(given) + 1))
            return recognise(appends, list(Reader(read, name).stored_events([first])), stream, event)
    return None


def import_events(
    connection: Connection, statements: Statements, appends: Iterable[Sequence[StoredEvent]], *, has_digests: bool
) -> int:
    """Insert the appends of another log after the last event, as they are; return how many events."""

    def head_of(stream: StreamId) -> tuple[int, bytes | None]:
        rows = connection.rows_in_binary(statements.head_of_stream, (stream.category, stream.key))
        return rows[0] if rows else (0, None)

    def is_known(stream: StreamId, event_id: UUID) -> bool:
        return bool(connection.rows_in_binary(statements.find, (stream.category, stream.key, event_id)))

    connection.rows(statements.lock)
    last = connection.rows_in_binary(statements.last)
    rows = [
        (
            event.stream.category,
            event.stream.key,
            *event.columns,
            event.append,
            None if event.correlation_id is None else correlation(event.correlation_id),
        )
        for event in check_import(
            appends, last=last[0] if last else (0, 0), head_of=head_of, is_known=is_known, has_digests=has_digests
        )
    ]
    connection.many(statements.insert, rows)
    return len(rows)


def correlation(correlation_id: str) -> bytes:
    """Digest a correlation id: PostgreSQL's text cannot hold a NUL, nor an index a long text."""
    return hashlib.sha256(correlation_id.encode()).digest()
