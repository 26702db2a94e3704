"""The statements that read and write events, and what goes with them inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from attrs import frozen

from esbank.backends._appends import WrittenMetadata, flatten, number, recognise
from esbank.backends._imports import check_import
from esbank.backends._sqlite_connection import Connection
from esbank.store import AppendResult, StoredEvent, StreamAppend, StreamId, digest_chain

__all__ = [
    "FIND",
    "LAST",
    "NEXT_APPEND",
    "READ_ALL",
    "READ_APPENDS",
    "READ_BACKWARDS",
    "READ_FORWARDS",
    "STREAMS",
    "THE_STREAM",
    "Head",
    "find_repeat",
    "head_of_stream",
    "import_events",
    "insert",
]

_COLUMNS: Final = (
    "e.version, e.position, e.event_id, e.type, e.schema_version, e.data, e.metadata, e.recorded_at, e.digest"
)
THE_STREAM: Final = "(SELECT stream FROM esbank_streams WHERE category = ? AND key = ?)"
READ_FORWARDS: Final = f"""
    SELECT {_COLUMNS} FROM esbank_events AS e
    WHERE e.stream = {THE_STREAM} AND e.version > ? AND e.version <= ? ORDER BY e.version LIMIT ?"""
READ_BACKWARDS: Final = f"""
    SELECT {_COLUMNS} FROM esbank_events AS e
    WHERE e.stream = {THE_STREAM} AND e.version > ? AND e.version <= ? ORDER BY e.version DESC LIMIT ?"""
FIND: Final = f"SELECT {_COLUMNS} FROM esbank_events AS e WHERE e.stream = {THE_STREAM} AND e.event_id = ?"
# CROSS JOIN, because SQLite then keeps the order of the tables: it walks the log and looks the stream up.
_LOG: Final = """
    FROM esbank_events AS e CROSS JOIN esbank_streams AS s ON s.stream = e.stream
    WHERE e.position > ?"""
READ_ALL: Final = f"SELECT s.category, s.key, {_COLUMNS} {_LOG}"
READ_APPENDS: Final = f"SELECT s.category, s.key, {_COLUMNS}, e.append {_LOG} ORDER BY e.position LIMIT ?"
NEXT_APPEND: Final = "SELECT append FROM esbank_events WHERE position > ? ORDER BY position LIMIT 1"
STREAMS: Final = "SELECT key FROM esbank_streams WHERE category = ? AND key > ? ORDER BY key LIMIT ?"
_HEAD_OF_STREAM: Final = """
    SELECT s.stream, e.version, e.digest FROM esbank_streams AS s LEFT JOIN esbank_events AS e ON e.stream = s.stream
    WHERE s.category = ? AND s.key = ? ORDER BY e.version DESC LIMIT 1"""
LAST: Final = "SELECT position, recorded_at FROM esbank_events ORDER BY position DESC LIMIT 1"
_INSERT: Final = """
    INSERT INTO esbank_events
        (version, position, event_id, type, schema_version, data, metadata, recorded_at, digest, stream, append,
         correlation_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_APPENDED_WITH: Final = """
    SELECT append FROM esbank_events
    WHERE stream = (SELECT stream FROM esbank_streams WHERE category = ? AND key = ?) AND event_id = ?"""


@frozen
class Head:
    """Where a stream is: its row, None when there is none yet, its version, and the digest of its last event."""

    row: int | None
    version: int
    digest: bytes | None


def head_of_stream(connection: Connection, stream: StreamId) -> Head:
    """Look where a stream is."""
    rows = connection.rows(_HEAD_OF_STREAM, (stream.category, stream.key))
    if not rows:
        return Head(None, 0, None)
    ((row, version, digest),) = rows
    return Head(row, version or 0, digest)


def insert(
    connection: Connection,
    appends: Sequence[StreamAppend],
    heads: Mapping[StreamId, Head],
    metadata: Mapping[int, WrittenMetadata],
    *,
    now: int,
    has_digests: bool,
) -> list[StoredEvent]:
    """Insert the events of all appends after the heads of their streams; `now` is in microseconds since 1970."""
    last = connection.rows(LAST)
    position, latest = last[0] if last else (0, 0)
    # A clock may go backwards; the order of the log may not.
    recorded_at = max(now, latest)
    first = position + 1
    rows: list[tuple[Any, ...]] = []
    stored: list[StoredEvent] = []
    for append in appends:
        head = heads[append.stream]
        row = _add_stream(connection, append.stream) if head.row is None else head.row
        numbered = number(
            append,
            metadata,
            version=head.version,
            position=position + len(stored),
            recorded_at=recorded_at,
            digest_next=digest_chain(append.stream, head.digest, recorded_at) if has_digests else None,
        )
        for columns, correlation_id in numbered:
            stored.append(StoredEvent(append.stream, *columns))
            rows.append((*columns, row, first, correlation_id))
    connection.many(_INSERT, rows)
    return stored


def import_events(connection: Connection, appends: Iterable[Sequence[StoredEvent]], *, has_digests: bool) -> int:
    """Insert the appends of another log after the last event, as they are; return how many events."""
    streams: dict[StreamId, int | None] = {}

    def head_of(stream: StreamId) -> tuple[int, bytes | None]:
        head = head_of_stream(connection, stream)
        streams[stream] = head.row
        return head.version, head.digest

    def is_known(stream: StreamId, event_id: UUID) -> bool:
        return bool(connection.rows(_APPENDED_WITH, (stream.category, stream.key, event_id.bytes)))

    last = connection.rows(LAST)
    rows: list[tuple[Any, ...]] = []
    for event in check_import(
        appends, last=last[0] if last else (0, 0), head_of=head_of, is_known=is_known, has_digests=has_digests
    ):
        row = streams[event.stream]
        if row is None:
            row = streams[event.stream] = _add_stream(connection, event.stream)
        rows.append((*event.columns, row, event.append, event.correlation_id))
    connection.many(_INSERT, rows)
    return len(rows)


def find_repeat(connection: Connection, appends: Sequence[StreamAppend]) -> tuple[AppendResult, ...] | None:
    """Return the first results if `appends` were stored before, None if none of their ids is known.

    Raises ``DuplicateEvent`` when an id is known and the rest is not the same.
    """
    total = sum(len(append.events) for append in appends)
    for stream, event in flatten(appends):
        rows = connection.rows(_APPENDED_WITH, (stream.category, stream.key, event.event_id.bytes))
        if rows:
            return recognise(appends, _appended_at(connection, rows[0][0], at_most=total + 1), stream, event)
    return None


def _add_stream(connection: Connection, stream: StreamId) -> int:
    ((row,),) = connection.rows("SELECT coalesce(max(stream), 0) + 1 FROM esbank_streams")
    connection.rows(
        "INSERT INTO esbank_streams (stream, category, key) VALUES (?, ?, ?)", (row, stream.category, stream.key)
    )
    return int(row)


def _appended_at(connection: Connection, position: int, *, at_most: int) -> list[StoredEvent]:
    """Read the events of the append that began at `position`."""
    # Positions are contiguous within an append, so nothing beyond `at_most` of them needs a look.
    rows = connection.rows(
        f"{READ_ALL} AND e.position < ? AND e.append = ? ORDER BY e.position",
        (position - 1, position + at_most, position),
    )
    return [StoredEvent(StreamId(category, key), *columns) for category, key, *columns in rows]
