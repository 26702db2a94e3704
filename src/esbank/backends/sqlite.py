"""A store in one SQLite file: durable, shared by threads and processes of one machine, nothing to install."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Final, Literal, Self
from uuid import UUID

from esbank.backends._appends import (
    check_appends,
    check_claim,
    check_correlation_id,
    check_event_id,
    check_filters,
    check_inline,
    check_name,
    check_read,
    check_snapshot,
    check_stream,
    names_in,
    tell_inline,
)
from esbank.backends._claims import claim
from esbank.backends._paging import Reader
from esbank.backends._sqlite_appends import REMEDY, Appender, Request, TellInline
from esbank.backends._sqlite_connection import Connection, SQLiteAppendTransaction
from esbank.backends._sqlite_database import Database, fork_lock
from esbank.backends._sqlite_events import (
    FIND,
    LAST,
    NEXT_APPEND,
    READ_ALL,
    READ_APPENDS,
    READ_BACKWARDS,
    READ_DATA,
    READ_FORWARDS,
    STREAMS,
    THE_STREAM,
    head_of_stream,
    import_events,
)
from esbank.backends._sqlite_schema import NO_STORE, has_digests, migrate
from esbank.errors import StorageError, StreamNotFound
from esbank.store import (
    AppendResult,
    EventData,
    ExpectedVersion,
    InlineHandler,
    NewEvent,
    Rows,
    Snapshot,
    SqlValue,
    StoredEvent,
    StoreTransaction,
    StreamAppend,
    StreamCondition,
    StreamId,
    Subscription,
    Transaction,
    seconds_to_wait,
)

__all__ = ["SQLiteEventStore"]

# esbank gives positions from 1; what somebody else put before them has to be seen as well.
_BEFORE_ALL: Final = float("-inf")
# How long another process's append may go unnoticed, in seconds. To look costs some microseconds.
_GLANCE: Final = 0.03


class SQLiteEventStore:
    """An ``EventStore`` in the SQLite file at `path`, made when it is not there; also keeps snapshots and views.

    With ``create=False`` the store must be there.

    With ``durability="full"`` what is acknowledged survives a loss of power; with ``"normal"`` it survives a crash of
    the program, and a loss of power may take the last moments, never the consistency. Several threads and several
    processes may use one file, and a store may be carried across a fork.

    Each event is sealed by a digest (``python -m esbank verify``), unless the file was made with ``digests=False``; one
    that exists stays as it was made.

    Each handler in `inline`, such as a ``Projector``, changes its tables in the transaction of every append: a read
    right after a command sees its effects, and a handler that fails undoes the append.

    `busy_timeout` is how many seconds to wait for another process's write; `clock` tells the time in nanoseconds since
    1970. Raises ``StorageError`` when the file cannot be used, and says what to do about it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        durability: Literal["full", "normal"] = "full",
        digests: bool = True,
        inline: Sequence[InlineHandler] = (),
        busy_timeout: float = 30.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = os.fspath(path)
        if self._path in {"", ":memory:"}:
            raise ValueError(f"a path is needed, not {self._path!r}; for a store in memory take MemoryEventStore()")
        # Connections are opened when they are needed, and by then the working directory may be another one.
        file = self._file = str(Path(self._path).absolute())
        if busy_timeout < 0:
            raise ValueError(f"busy_timeout is a number of seconds from 0, not {busy_timeout!r}")
        if durability not in {"full", "normal"}:
            raise ValueError(f'durability is "full" or "normal", not {durability!r}')
        self._inline = check_inline(inline)
        name = self._path
        self._identity, self._has_digests = _prepare_file(
            file, self._path, busy_timeout, create=create, digests=digests
        )
        self._database = Database(
            self._path,
            connect=lambda: Connection(file, timeout=busy_timeout, name=name),
            prepare_writer=lambda writer: _set_durability(writer, durability),
        )
        self._appender = Appender(
            self._database,
            self._path,
            clock=clock,
            has_digests=self._has_digests,
            in_groups=durability == "full",
        )
        if self._inline:
            self._open_inline()

    @property
    def identity(self) -> str:
        """Which store this is: a random text made with the file."""
        return self._identity

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        """Store `events` at the end of `stream`, if it is at `expected_version`."""
        (result,) = self.append_many([StreamAppend(stream, tuple(events), expected_version)])
        return result

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        """Store several streams' events at once, all or nothing, if all expectations and `conditions` hold."""
        check_appends(appends, conditions)
        return self._appender.append(appends, conditions, self._told_inline)

    def transaction(self) -> AbstractContextManager[StoreTransaction]:
        """Open a transaction for the caller's own tables and for appends; it excludes every other writer."""
        return self._database.transaction(
            lambda connection, appends, metadata: self._appender.append_in(
                connection, Request(appends, (), metadata), self._told_inline
            )
        )

    def check_no_transaction(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread, in which it cannot append in another way."""
        self._database.check_not_writing()

    def exclusive_transaction(self) -> AbstractContextManager[StoreTransaction]:
        """Open a transaction as `transaction` does: in SQLite there is one writer at a time."""
        return self.transaction()

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        """Read the events of a stream in version order, or `backwards`, in pages."""
        check_stream(stream)
        check_read(after=after, up_to=up_to, limit=limit)
        self._database.check_open()
        sql = READ_BACKWARDS if backwards else READ_FORWARDS
        return self._reader().stream(sql, stream, after=after, up_to=up_to, limit=limit, backwards=backwards)

    def read_data(self, stream: StreamId, *, after: int = 0, up_to: int | None = None) -> Iterator[Sequence[EventData]]:
        """Read no more of a stream than a replay needs, page by page."""
        check_stream(stream)
        check_read(after=after, up_to=up_to)
        self._database.check_open()
        return self._reader().pages(READ_DATA, stream, after=after, up_to=up_to)

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        """Read the events of all streams in position order, those after the position `after`, in pages."""
        check_filters(after, categories, types)
        check_read(limit=limit)
        self._database.check_open()
        sql = READ_ALL
        filters: list[str] = []
        for column, wanted in (("s.category", categories), ("e.type", types)):
            if wanted is not None:
                values = names_in(wanted)
                sql += f" AND {column} IN ({', '.join('?' * len(values))})"
                filters += values
        start = _BEFORE_ALL if after is None else after
        return self._reader().events(f"{sql} ORDER BY e.position LIMIT ?", filters, after=start, limit=limit)

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        """Read the events of one conversation, whatever their streams, in position order, in pages."""
        check_correlation_id(correlation_id)
        self._database.check_open()
        sql = f"{READ_ALL} AND e.correlation_id = ? ORDER BY e.position LIMIT ?"
        return self._reader().events(sql, [correlation_id], after=_BEFORE_ALL)

    def read_appends(self, *, after: int | None = None) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the log append by append, in position order, in pages: the events that were stored together."""
        check_read(after=0 if after is None else after)
        self._database.check_open()
        return self._reader().appends(READ_APPENDS, NEXT_APPEND, after=_BEFORE_ALL if after is None else after)

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        """Insert the appends of another log at the end, as they are, in one transaction; return how many events."""
        appends = [tuple(append) for append in appends]  # before the lock is taken
        with self._database.write() as connection:
            return import_events(connection, appends, has_digests=self._has_digests)

    def subscribe(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> Subscription:
        """Read as `read_all` does, and at the end of the log wait for more; ends when it or the store is closed."""
        check_filters(after, categories, types)
        self._database.check_open()
        return Subscription(self, after=after, categories=categories, types=types)

    def wait(self, *, after: int | None, timeout: float) -> bool:
        """Wait until there is an event after a position, at most `timeout` seconds; tell whether there is one."""
        check_read(after=0 if after is None else after)
        deadline = time.monotonic() + seconds_to_wait(timeout)
        seen: tuple[int, int, int] | None = None
        while True:
            changes = self._database.changes()
            if changes != seen:
                seen = changes
                if (self.head() or 0) > (after or 0):
                    return True
            left = deadline - time.monotonic()
            if not left > 0:
                return False
            self._database.wait_for_change(changes, min(left, _GLANCE))

    def count(self, *, after: int | None = None) -> int:
        """Count the events after a position."""
        check_read(after=0 if after is None else after)
        ((count,),) = self._rows("SELECT count(*) FROM esbank_events WHERE position > ?", (after or 0,))
        return int(count)

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        """Return the event of `stream` that has this id, if there is one."""
        check_stream(stream)
        check_event_id(event_id)
        rows = self._rows(FIND, (stream.category, stream.key, event_id.bytes))
        return StoredEvent(stream, *rows[0]) if rows else None

    def version(self, stream: StreamId) -> int:
        """Return the version of the last event of `stream`, 0 when there is none."""
        check_stream(stream)
        with self._database.read() as connection:
            return head_of_stream(connection, stream).version

    def head(self) -> int | None:
        """Return the position of the last event, None when the store is empty."""
        rows = self._rows(LAST, ())
        return rows[0][0] if rows else None

    def streams(self, category: str) -> Iterator[StreamId]:
        """List the streams of a category, ordered by key, in pages."""
        check_name(category)
        self._database.check_open()
        return self._reader().streams(STREAMS, category)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` instead of the one that its stream has."""
        check_snapshot(snapshot)
        with self._database.write() as connection:
            stream = head_of_stream(connection, snapshot.stream).row
            if stream is None:
                raise StreamNotFound(snapshot.stream)
            connection.rows(
                "REPLACE INTO esbank_snapshots (stream, version, event_id, store, schema, state)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (stream, snapshot.version, snapshot.event_id.bytes, snapshot.store, snapshot.schema, snapshot.state),
            )

    def load_snapshot(self, stream: StreamId) -> Snapshot | None:
        """Return the snapshot of `stream`, if it has one."""
        check_stream(stream)
        rows = self._rows(
            f"SELECT version, event_id, store, schema, state FROM esbank_snapshots WHERE stream = {THE_STREAM}",
            (stream.category, stream.key),
        )
        if not rows:
            return None
        ((version, event_id, store, schema, state),) = rows
        return Snapshot(stream, version, UUID(bytes=event_id), store, schema, state)

    def view_transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that excludes every other writer; commit when the block ends, roll back when it raises."""
        return self._database.view_transaction()

    def query(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        """Read what is committed, without waiting for a writer."""
        return self._database.query(sql, parameters or {})

    def claim(self, name: str) -> AbstractContextManager[None]:
        """Hold a name for as long as the block lasts, so that nobody else can, in any process."""
        check_claim(name)
        self._database.check_open()
        return claim(f"{os.path.realpath(self._file)}-claims", name)

    def close(self) -> None:
        """Let go of the file. May be called again; every other call then raises ``StoreClosed``."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        database: Database | None = getattr(self, "_database", None)
        if database is not None and not database.closed:
            warnings.warn(f"{self!r} was dropped without close()", ResourceWarning, stacklevel=1, source=self)
            database.close()

    def __repr__(self) -> str:
        return f"SQLiteEventStore({self._path!r})"

    def _reader(self) -> Reader:
        # Through the store, so that one that is half read is not closed by being dropped.
        return Reader(self._rows, self._path, remedy=REMEDY)

    def _rows(self, sql: str, parameters: Sequence[Any]) -> Rows:
        return self._database.rows(sql, parameters)

    @property
    def _told_inline(self) -> TellInline | None:
        return self._tell_inline if self._inline else None

    def _tell_inline(self, connection: Connection, stored: Sequence[StoredEvent]) -> None:
        tell_inline(self._inline, lambda: SQLiteAppendTransaction(connection, self), stored)

    def _open_inline(self) -> None:
        try:
            with self._database.write() as connection:
                self._tell_inline(connection, ())
        except BaseException:
            self._database.close()
            raise


def _prepare_file(file: str, name: str, busy_timeout: float, *, create: bool, digests: bool) -> tuple[str, bool]:
    """Make the file a store, or bring it up to date; return its identity, and whether it keeps digests."""
    if not create and not Path(file).exists():
        raise StorageError(name, NO_STORE)
    with fork_lock, closing(Connection(file, timeout=busy_timeout, name=name)) as connection:
        identity = migrate(connection, name, create=create, digests=digests)
        connection.use_write_ahead_log(patience=busy_timeout)
        return identity, has_digests(connection)


def _set_durability(writer: Connection, durability: str) -> None:
    writer.rows(f"PRAGMA synchronous={durability}")
    if durability == "full":
        # On macOS alone, fsync does not reach the disk itself.
        writer.rows("PRAGMA fullfsync=ON")
