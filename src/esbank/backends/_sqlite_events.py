"""The statements that read and write events, and what goes with them inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple
from uuid import UUID

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
    "READ_DATA",
    "READ_FORWARDS",
    "STREAMS",
    "THE_STREAM",
    "find_repeat",
    "head_of_stream",
    "heads_of",
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
READ_DATA: Final = f"""
    SELECT version, type, schema_version, data FROM esbank_events
    WHERE stream = {THE_STREAM} AND version > ? AND version <= ? ORDER BY version LIMIT ?"""
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
_HEADS: Final = """
    SELECT s.category, s.key, s.stream, e.version, e.digest, l.position, l.recorded_at
    FROM esbank_streams AS s
    LEFT JOIN esbank_events AS e
        ON e.stream = s.stream AND e.version = (SELECT max(version) FROM esbank_events WHERE stream = s.stream)
    LEFT JOIN esbank_events AS l ON l.position = (SELECT max(position) FROM esbank_events)
    WHERE {streams}"""
LAST: Final = "SELECT position, recorded_at FROM esbank_events ORDER BY position DESC LIMIT 1"
_INSERT: Final = """
    INSERT INTO esbank_events
        (version, position, event_id, type, schema_version, data, metadata, recorded_at, digest, stream, append,
         correlation_id)
    VALUES {rows}"""
_DATA: Final = 5
_MANY: Final = 64
# A statement keeps a copy of all that it was given last, for as long as the connection keeps it prepared.
_MOST_TEXT: Final = 1_000_000
_APPENDED_WITH: Final = """
    SELECT append FROM esbank_events
    WHERE stream = (SELECT stream FROM esbank_streams WHERE category = ? AND key = ?) AND event_id = ?"""


class Head(NamedTuple):
    """Where a stream is: its row, None when there is none yet, its version, and the digest of its last event."""

    row: int | None = None
    version: int = 0
    digest: bytes | None = None


_ABSENT: Final = Head()


class Heads:
    """Where streams are, and where the log is: its last position, and when that was recorded."""

    def __init__(self, found: Mapping[tuple[str, str], Head], position: int, recorded_at: int) -> None:
        self._found = found
        self.position = position
        self.recorded_at = recorded_at

    def of(self, stream: StreamId) -> Head:
        """Return where a stream is."""
        return self._found.get((stream.category, stream.key), _ABSENT)

    def version_of(self, stream: StreamId) -> int:
        """Return the version at which a stream is."""
        return self.of(stream).version


def heads_of(connection: Connection, streams: Sequence[StreamId]) -> Heads:
    """Look where streams are, and the log: by one statement for many, because each has its price."""
    found: dict[tuple[str, str], Head] = {}
    end: tuple[int, int] | None = None
    for start in range(0, len(streams), _MANY):
        names = [(stream.category, stream.key) for stream in streams[start : start + _MANY]]
        for category, key, row, version, digest, *last in connection.rows(*_look_up(names)):
            found[category, key] = Head(row, version or 0, digest)
            end = (last[0] or 0, last[1] or 0)
    if end is None:
        rows = connection.rows(LAST)
        end = rows[0] if rows else (0, 0)
    return Heads(found, *end)


def head_of_stream(connection: Connection, stream: StreamId) -> Head:
    """Look where a stream is."""
    return heads_of(connection, [stream]).of(stream)


def insert(
    connection: Connection,
    requests: Iterable[tuple[Sequence[StreamAppend], Mapping[int, WrittenMetadata]]],
    heads: Heads,
    *,
    now: int,
    has_digests: bool,
) -> list[list[StoredEvent]]:
    """Insert the events of several requests, which have no stream in common, after the heads of their streams.

    Each comes with its metadata written; `now` is in microseconds since 1970.
    """
    position = heads.position
    # A clock may go backwards; the order of the log may not.
    recorded_at = max(now, heads.recorded_at)
    rows: list[tuple[Any, ...]] = []
    inserted: list[list[StoredEvent]] = []
    for appends, metadata in requests:
        first = position + 1
        stored: list[StoredEvent] = []
        for append in appends:
            head = heads.of(append.stream)
            row = _add_stream(connection, append.stream) if head.row is None else head.row
            for columns, correlation_id in number(
                append,
                metadata,
                version=head.version,
                position=position,
                recorded_at=recorded_at,
                digest_next=digest_chain(append.stream, head.digest, recorded_at) if has_digests else None,
            ):
                stored.append(StoredEvent(append.stream, *columns))
                rows.append((*columns, row, first, correlation_id))
            position += len(append.events)
        inserted.append(stored)
    _insert_rows(connection, rows)
    return inserted


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
    _insert_rows(connection, rows)
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


def _look_up(names: Sequence[tuple[str, str]]) -> tuple[str, list[str | None]]:
    """Return the statement that looks where streams are, and its parameters.

    There is one for 1, 2, 4 … streams, so that they are few and stay prepared; the rest of its places stay empty.
    """
    size = 1 << (len(names) - 1).bit_length()
    return _heads_statement(size), [*chain.from_iterable(names), *[None] * (2 * (size - len(names)))]


@cache
def _heads_statement(size: int) -> str:
    return _HEADS.format(streams=" OR ".join(["s.category = ? AND s.key = ?"] * size))


def _insert_rows(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows by few statements, which takes two thirds of the time of as many statements as rows.

    Threads that share commits gain more: Python may turn to another thread at each statement.
    """
    if sum(len(row[_DATA]) for row in rows) > _MOST_TEXT:
        connection.many(_insert_statement(1), rows)
        return
    start = 0
    while start < len(rows):
        size = min(_MANY, 1 << (len(rows) - start).bit_length() - 1)
        connection.run(_insert_statement(size), tuple(chain.from_iterable(rows[start : start + size])))
        start += size


@cache
def _insert_statement(size: int) -> str:
    return _INSERT.format(rows=", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * size))


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
