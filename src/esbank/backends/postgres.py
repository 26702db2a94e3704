"""A store in PostgreSQL, for as many machines as write to one database; by the extra ``esbank[postgres]``."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal, Self
from uuid import UUID

try:
    from psycopg_pool import ConnectionPool
except ImportError as error:
    raise ImportError("a store in PostgreSQL needs its driver: pip install 'esbank[postgres]'") from error

from esbank.backends._appends import (
    check_appends,
    check_claim,
    check_correlation_id,
    check_event_id,
    check_expectations,
    check_filters,
    check_inline,
    check_name,
    check_read,
    check_snapshot,
    check_stream,
    names_in,
    tell_inline,
    write_metadata,
)
from esbank.backends._paging import Read, Reader
from esbank.backends._postgres_appends import Answer, Appender, Refused, Request
from esbank.backends._postgres_claims import Claims
from esbank.backends._postgres_connection import (
    Connection,
    PostgresAppendTransaction,
    PostgresStoreTransaction,
)
from esbank.backends._postgres_database import Database, Limits
from esbank.backends._postgres_events import (
    Statements,
    correlation,
    find_repeat,
    import_events,
)
from esbank.backends._postgres_schema import StoreRow
from esbank.backends._postgres_schema import migrate as migrate_schema
from esbank.backends._postgres_waiting import Waiting
from esbank.errors import ConstraintViolated, StorageError, StreamNotFound
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

__all__ = ["PostgresEventStore", "migrate"]

_LONGEST_NAME: Final = 63


class PostgresEventStore:
    """An ``EventStore`` in a schema of a PostgreSQL database, made when it is not there; keeps snapshots and views too.

    `source` is a connection string, for which the store keeps a pool of up to `pool_size` connections, or a
    ``psycopg_pool.ConnectionPool`` that is yours to close. With ``create=False`` the store must be there; else it is
    made, or brought up to date, which takes the right to do so (see `migrate`).

    With ``durability="full"`` what is acknowledged survives a crash of the server; a session in which
    ``synchronous_commit`` is less than ``on`` is refused. With ``"normal"`` it is taken as it is. Each event is sealed
    by a digest, unless the store was made with ``digests=False``. Each handler in `inline` changes its tables in the
    transaction of every append. With ``notify=True`` appends wake those who wait in other processes at once; give it to
    all that append.

    Threads that append at the same time share round trips and commits. Nothing waits for ever: `connect_timeout`,
    `lock_timeout`, `statement_timeout` and `idle_timeout` (of a transaction in which nothing is done) are in seconds,
    and concern connections that the store opens itself; None leaves it to the server.

    Raises ``StorageError`` when the database cannot be used, and says what to do about it.
    """

    def __init__(  # noqa: PLR0913 - each has a default that serves most
        self,
        source: str | ConnectionPool[Any],
        *,
        schema: str = "esbank",
        create: bool = True,
        durability: Literal["full", "normal"] = "full",
        digests: bool = True,
        inline: Sequence[InlineHandler] = (),
        notify: bool = False,
        pool_size: int = 10,
        connect_timeout: float = 10.0,
        lock_timeout: float | None = 30.0,
        statement_timeout: float | None = 60.0,
        idle_timeout: float | None = 300.0,
    ) -> None:
        if durability not in {"full", "normal"}:
            raise ValueError(f'durability is "full" or "normal", not {durability!r}')
        self._inline = check_inline(inline)
        limits = Limits(connect_timeout, lock_timeout, statement_timeout, idle_timeout)
        self._database = Database(source, _checked(schema), pool_size=pool_size, limits=limits)
        self._statements = Statements(schema)
        channel = schema if notify else None
        self._appender = Appender(self._database, durable=durability == "full", channel=channel)
        self._claims = Claims(self._database)
        self._waiting = Waiting(self._database, channel)
        try:
            row = self._open(create=create, digests=digests)
            self._identity, self._has_digests = row.identity, row.has_digests
            if self._inline:
                self._open_inline()
        except BaseException:
            self.close()
            raise
        _open_stores.add(self)

    @property
    def identity(self) -> str:
        """Which store this is: a random text made with its tables."""
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
        request = Request(appends, conditions, write_metadata(appends))
        self._database.check_open()
        self._database.check_not_writing()
        if self._inline:
            with self._database.exclusive() as connection:
                return self._append(connection, request)
        answer: Answer | ConstraintViolated
        try:
            answer = self._appender.append(request)
        except ConstraintViolated as error:
            answer = error
        if isinstance(answer, tuple):
            self._waiting.tell()
            return answer
        try:
            first = self._first_result(self._database.rows, request, answer)
            with self._database.connection() as connection:
                self._appender.confirm(connection)
        except ConstraintViolated:
            raise
        except StorageError:
            if isinstance(answer, Refused) and answer.unknown is not None:
                raise answer.unknown from answer.unknown.__cause__
            raise
        return first

    def check_no_transaction(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread, in which it cannot append in another way."""
        self._database.check_not_writing()

    @contextmanager
    def transaction(self) -> Generator[StoreTransaction]:
        """Open a transaction for the caller's own tables and for appends; only these exclude other writers.

        Tables are looked up in the schema of the store first, and then where they would be otherwise.
        """
        with self._database.transaction() as connection:
            transaction = PostgresStoreTransaction(connection)
            try:
                yield transaction
            finally:
                transaction.end()
            pending = transaction.pending
            if pending.appends:
                if self._inline:
                    self._database.lock_views(connection)
                pending.resolve(self._append(connection, Request(pending.appends, (), pending.metadata)))

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
        sql = self._statements.read_backwards if backwards else self._statements.read_forwards
        return self._reader().stream(sql, stream, after=after, up_to=up_to, limit=limit, backwards=backwards)

    def read_data(self, stream: StreamId, *, after: int = 0, up_to: int | None = None) -> Iterator[Sequence[EventData]]:
        """Read no more of a stream than a replay needs, page by page."""
        check_stream(stream)
        check_read(after=after, up_to=up_to)
        self._database.check_open()
        return self._reader().pages(self._statements.read_data, stream, after=after, up_to=up_to)

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
        sql = self._statements.read_all
        filters: list[list[str]] = []
        for column, wanted in (("category", categories), ("type", types)):
            if wanted is not None:
                filters.append(names_in(wanted))
                sql += f" AND {column} = ANY (${len(filters) + 1}::text[])"
        sql += f" ORDER BY position LIMIT ${len(filters) + 2}"
        return self._reader().events(sql, filters, after=after or 0, limit=limit)

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        """Read the events of one conversation, whatever their streams, in position order, in pages."""
        check_correlation_id(correlation_id)
        self._database.check_open()
        sql = f"{self._statements.read_all} AND correlation = $2 ORDER BY position LIMIT $3"
        return self._reader().events(sql, [correlation(correlation_id)], after=0)

    def read_appends(self, *, after: int | None = None) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the log append by append, in position order, in pages: the events that were stored together."""
        check_read(after=0 if after is None else after)
        self._database.check_open()
        return self._reader().appends(self._statements.read_appends, self._statements.next_append, after=after or 0)

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        """Insert the appends of another log at the end, as they are, in one transaction; return how many events.

        The role needs the right to insert into ``esbank_events``, which one that only appends does not.
        """
        appends = [tuple(append) for append in appends]  # before the lock is taken
        with self._database.transaction() as connection:
            self._appender.check(connection)
            count = import_events(connection, self._statements, appends, has_digests=self._has_digests)
        self._waiting.tell()
        return count

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
        return self._waiting.wait(self.head, after=after, seconds=seconds_to_wait(timeout))

    def count(self, *, after: int | None = None) -> int:
        """Count the events after a position."""
        check_read(after=0 if after is None else after)
        ((count,),) = self._database.rows(self._statements.count, (after or 0,))
        return int(count)

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        """Return the event of `stream` that has this id, if there is one."""
        check_stream(stream)
        check_event_id(event_id)
        rows = self._database.rows(self._statements.find, (stream.category, stream.key, event_id))
        return StoredEvent(stream, *rows[0]) if rows else None

    def version(self, stream: StreamId) -> int:
        """Return the version of the last event of `stream`, 0 when there is none."""
        check_stream(stream)
        rows = self._database.rows(self._statements.version, (stream.category, stream.key))
        return rows[0][0] if rows else 0

    def head(self) -> int | None:
        """Return the position of the last event, None when the store is empty."""
        rows = self._database.rows(self._statements.head)
        return rows[0][0] if rows else None

    def streams(self, category: str) -> Iterator[StreamId]:
        """List the streams of a category, ordered by key, in pages."""
        check_name(category)
        self._database.check_open()
        return self._reader().streams(self._statements.streams, category)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` instead of the one that its stream has."""
        check_snapshot(snapshot)
        self._database.check_not_writing()
        stream = snapshot.stream
        values = (snapshot.version, snapshot.event_id, snapshot.store, snapshot.schema, snapshot.state)
        if not self._database.rows(self._statements.save_snapshot, (stream.category, stream.key, *values)):
            raise StreamNotFound(stream)

    def load_snapshot(self, stream: StreamId) -> Snapshot | None:
        """Return the snapshot of `stream`, if it has one."""
        check_stream(stream)
        rows = self._database.rows(self._statements.load_snapshot, (stream.category, stream.key))
        if not rows:
            return None
        ((version, event_id, store, schema, state),) = rows
        return Snapshot(stream, version, UUID(bytes=event_id), store, schema, state)

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        """Open a transaction that excludes every other on views; commit when the block ends, roll back when it raises.

        Appends go on beside it, but for those that change inline views.
        """
        self._claims.check()
        with self._database.view_transaction() as transaction:
            yield transaction

    def query(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        """Read what is committed, without waiting for a writer."""
        return self._database.query(sql, parameters or {})

    def claim(self, name: str) -> AbstractContextManager[None]:
        """Hold a name for as long as the block lasts, so that nobody else can, on any machine."""
        check_claim(name)
        self._database.check_open()
        return self._claims.claim(name)

    def close(self) -> None:
        """Give all connections back. May be called again; every other call then raises ``StoreClosed``."""
        self._database.close()
        self._appender.close()
        self._claims.close()
        self._waiting.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        database: Database | None = getattr(self, "_database", None)
        if database is not None and not database.closed and hasattr(self, "_identity"):
            warnings.warn(f"{self!r} was dropped without close()", ResourceWarning, stacklevel=1, source=self)
            self.close()

    def __repr__(self) -> str:
        return f"PostgresEventStore({self._database.name!r})"

    def after_fork(self) -> None:
        """Begin anew in a forked child."""
        self._database.after_fork()
        self._appender.after_fork()
        self._claims.after_fork()
        self._waiting.begin()

    def _open(self, *, create: bool, digests: bool) -> StoreRow:
        with self._database.own_connection() as connection:
            row = migrate_schema(connection, self._database.schema, create=create, digests=digests)
            self._appender.check(connection)
            return row

    def _open_inline(self) -> None:
        with self._database.exclusive() as connection:
            self._tell_inline(connection, ())

    def _reader(self) -> Reader:
        # Through the store, so that one that is half read is not closed by being dropped.
        return Reader(self._rows, self._database.name)

    def _rows(self, sql: str, parameters: Sequence[Any]) -> Rows:
        return self._database.rows(sql, parameters)

    def _append(self, connection: Connection, request: Request) -> tuple[AppendResult, ...]:
        """Append in the open transaction and commit it; roll it back for a repeat, which was committed before."""
        answer: Answer | ConstraintViolated
        try:
            connection.check_sound()
            answer = self._appender.append_in(connection, request)
        except ConstraintViolated as error:
            answer = error
        if not isinstance(answer, tuple):
            connection.rollback()
            first = self._first_result(connection.rows_in_binary, request, answer)
            self._appender.confirm(connection)
            return first
        self._tell_inline(connection, tuple(event for result in answer for event in result.events))
        connection.commit()
        self._waiting.tell()
        return answer

    def _tell_inline(self, connection: Connection, stored: Sequence[StoredEvent]) -> None:
        tell_inline(self._inline, lambda: PostgresAppendTransaction(connection, self), stored)

    def _first_result(
        self, read: Read, request: Request, refused: Refused | ConstraintViolated
    ) -> tuple[AppendResult, ...]:
        """Return what the same append has stored before, or say why this one is refused."""
        first = find_repeat(read, self._statements, request.appends, self._database.name)
        if first is not None:
            return first
        if isinstance(refused, ConstraintViolated):
            raise refused
        check_expectations(request.parts, refused.versions.__getitem__)
        raise AssertionError("an append was refused without a reason")


def migrate(source: str | ConnectionPool[Any], *, schema: str = "esbank", digests: bool = True) -> None:
    """Make the tables of a store, or bring them up to date, as a role that may; the application need not, then.

    May be called by several processes at once. Raises ``StorageError`` when the role lacks the rights, and when newer
    code has made the tables.
    """
    with PostgresEventStore(source, schema=schema, digests=digests):
        pass


def _checked(schema: str) -> str:
    if not schema or "\0" in schema or len(schema.encode()) > _LONGEST_NAME or schema.startswith("pg_"):
        raise ValueError(f"a schema's name has at most {_LONGEST_NAME} bytes and does not begin with pg_: {schema!r}")
    return schema


_open_stores: Final[weakref.WeakSet[PostgresEventStore]] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_open_stores):
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
