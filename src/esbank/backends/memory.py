"""A store in memory, for tests: the same promises as every other, but for durability."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import attrgetter
from typing import Final, Self
from uuid import UUID, uuid4

from attrs import define, field

from esbank.backends._appends import (
    WrittenMetadata,
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
    concerned,
    flatten,
    names_in,
    number,
    recognise,
    results,
    tell_inline,
    write_metadata,
)
from esbank.backends._claims import claim_in_process
from esbank.backends._imports import check_import
from esbank.backends._sqlite_connection import Connection, SQLiteAppendTransaction
from esbank.backends._sqlite_database import Database
from esbank.errors import StoreClosed, StreamNotFound
from esbank.store import (
    AppendResult,
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
    digest_chain,
    microseconds,
    seconds_to_wait,
)

__all__ = ["MemoryEventStore"]

_position: Final = attrgetter("position")


@define
class _Stream:
    events: list[StoredEvent] = field(factory=list[StoredEvent])
    by_id: dict[UUID, StoredEvent] = field(factory=dict[UUID, StoredEvent])


class MemoryEventStore:
    """An ``EventStore`` that keeps everything in this process's memory; views are in an in-memory SQLite.

    It takes the same JSON text as any other store, so what passes in a test can be stored. `digests` says whether each
    event is sealed by one; each handler in `inline` changes its tables with every append, as in ``SQLiteEventStore``;
    `clock` tells the time in nanoseconds since 1970, for tests that need to choose it. It is not made to be carried
    across a fork while another thread uses it.
    """

    def __init__(
        self,
        *,
        digests: bool = True,
        inline: Sequence[InlineHandler] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._has_digests = digests
        self._clock = clock
        self._inline = check_inline(inline)
        # Taken again by whoever reads inside an append.
        self._lock = threading.RLock()
        self._appended = threading.Condition(self._lock)
        self._claims: set[str] = set()
        self._identity = uuid4().hex
        self._log: list[StoredEvent] = []
        self._recorded_at = 0
        # For each event the index of the first one of its append: what was appended together is repeated together.
        self._first_of_append: list[int] = []
        self._streams: dict[StreamId, _Stream] = {}
        self._by_correlation: dict[str, list[StoredEvent]] = {}
        self._snapshots: dict[StreamId, Snapshot] = {}
        self._views = Database(
            "MemoryEventStore",
            connect=lambda: Connection(":memory:", timeout=0.0, name="MemoryEventStore"),
            prepare_writer=lambda _: None,
            is_in_memory=True,
        )
        self._closed = False
        if self._inline:
            with self._views.write() as connection:
                tell_inline(self._inline, lambda: SQLiteAppendTransaction(connection, self), ())

    @property
    def identity(self) -> str:
        """Which store this is."""
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
        self._views.check_not_writing()
        metadata = write_metadata(appends)
        with self._views.begin() if self._inline else nullcontext() as connection:
            return self._append(connection, appends, metadata, conditions)

    def check_no_transaction(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread, in which it cannot append in another way."""
        self._views.check_not_writing()

    def transaction(self) -> AbstractContextManager[StoreTransaction]:
        """Open a transaction for the caller's own tables and for appends, one at a time."""
        self._check_open()
        return self._views.transaction(self._append)

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        """Read the events of a stream in version order, or `backwards`."""
        check_stream(stream)
        check_read(after=after, up_to=up_to, limit=limit)
        with self._lock:
            self._check_open()
            found = self._streams.get(stream)
            events = [] if found is None else found.events[after:up_to]
        if backwards:
            events.reverse()
        return iter(events[:limit])

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        """Read the events of all streams in position order, those after the position `after`."""
        check_filters(after, categories, types)
        check_read(limit=limit)
        self._check_open()
        wanted_categories = None if categories is None else frozenset(names_in(categories))
        wanted_types = None if types is None else frozenset(names_in(types))
        return self._follow(self._index_after(after), wanted_categories, wanted_types, limit)

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        """Read the events of one conversation, whatever their streams, in position order."""
        check_correlation_id(correlation_id)
        with self._lock:
            self._check_open()
            return iter(self._by_correlation.get(correlation_id, [])[:])

    def read_appends(self, *, after: int | None = None) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the log append by append, in position order: the events that were stored together."""
        check_read(after=0 if after is None else after)
        self._check_open()
        return self._follow_appends(self._index_after(after))

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        """Insert the appends of another log at the end, as they are, all or nothing; return how many events."""
        appends = [tuple(append) for append in appends]
        self._views.check_not_writing()
        with self._lock:
            self._check_open()
            imported = [
                (StoredEvent(event.stream, *event.columns), event.correlation_id)
                for event in check_import(
                    appends,
                    last=(self.head() or 0, self._recorded_at),
                    head_of=self._head_of,
                    is_known=lambda stream, event_id: event_id in self._streams[stream].by_id,
                    has_digests=self._has_digests,
                )
            ]
            if imported:
                self._keep(imported, microseconds(imported[-1][0].recorded_at), map(len, appends))
            return len(imported)

    def subscribe(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> Subscription:
        """Read as `read_all` does, and at the end of the log wait for more; ends when it or the store is closed."""
        check_filters(after, categories, types)
        self._check_open()
        return Subscription(self, after=after, categories=categories, types=types)

    def wait(self, *, after: int | None, timeout: float) -> bool:
        """Wait until there is an event after a position, at most `timeout` seconds; tell whether there is one."""
        check_read(after=0 if after is None else after)
        seconds = seconds_to_wait(timeout)
        with self._lock:
            self._appended.wait_for(lambda: self._closed or self._count(after) > 0, seconds)
            self._check_open()
            return self._count(after) > 0

    def count(self, *, after: int | None = None) -> int:
        """Count the events after a position."""
        check_read(after=0 if after is None else after)
        self._check_open()
        return self._count(after)

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        """Return the event of `stream` that has this id, if there is one."""
        check_stream(stream)
        check_event_id(event_id)
        with self._lock:
            self._check_open()
            found = self._streams.get(stream)
            return None if found is None else found.by_id.get(event_id)

    def version(self, stream: StreamId) -> int:
        """Return the version of the last event of `stream`, 0 when there is none."""
        check_stream(stream)
        with self._lock:
            self._check_open()
            return self._version(stream)

    def head(self) -> int | None:
        """Return the position of the last event, None when the store is empty."""
        self._check_open()
        return self._log[-1].position if self._log else None

    def streams(self, category: str) -> Iterator[StreamId]:
        """List the streams of a category, ordered by key."""
        check_name(category)
        with self._lock:
            self._check_open()
            return iter(sorted(stream for stream in self._streams if stream.category == category))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` instead of the one that its stream has."""
        check_snapshot(snapshot)
        self._check_open()
        self._views.check_not_writing()
        if snapshot.stream not in self._streams:
            raise StreamNotFound(snapshot.stream)
        self._snapshots[snapshot.stream] = snapshot

    def load_snapshot(self, stream: StreamId) -> Snapshot | None:
        """Return the snapshot of `stream`, if it has one."""
        check_stream(stream)
        self._check_open()
        return self._snapshots.get(stream)

    def view_transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that excludes every other writer; commit when the block ends, roll back when it raises."""
        self._check_open()
        return self._views.view_transaction()

    def query(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        """Read what is committed, once no transaction is open; raises ``StorageError`` inside one."""
        self._check_open()
        return self._views.query_in_turn(sql, parameters or {})

    def claim(self, name: str) -> AbstractContextManager[None]:
        """Hold a name for as long as the block lasts, so that nobody else can."""
        check_claim(name)
        self._check_open()
        return claim_in_process(self._claims, name)

    def close(self) -> None:
        """Forget everything."""
        self._views.close()  # waits for an open transaction, or refuses inside it
        with self._lock:
            self._closed = True
            self._appended.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # There is nothing to lose, so nothing to warn about; but connections want to be closed.
        views: Database | None = getattr(self, "_views", None)
        if views is not None:
            views.close()

    def __repr__(self) -> str:
        return f"MemoryEventStore({'closed' if self._closed else f'{len(self._log)} events'})"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("MemoryEventStore")

    def _append(
        self,
        connection: Connection | None,
        appends: Sequence[StreamAppend],
        metadata: Mapping[int, WrittenMetadata],
        conditions: Sequence[StreamCondition] = (),
    ) -> tuple[AppendResult, ...]:
        """Append, and commit what else belongs to it; roll that back for a repeat, which was committed before."""
        # The views' lock was taken first, as it is by whoever reads events inside a transaction on views.
        with self._lock:
            self._check_open()
            first = self._find_repeat(appends)
            if first is not None:
                return first
            check_expectations(concerned(appends, conditions), self._version)
            numbered, recorded_at = self._number(appends, metadata)
            stored = tuple(event for event, _ in numbered)
            if connection is not None:
                tell_inline(self._inline, lambda: SQLiteAppendTransaction(connection, self), stored)
                self._views.commit(connection)
            self._keep(numbered, recorded_at, [len(numbered)])
            return results(appends, stored)

    def _version(self, stream: StreamId) -> int:
        found = self._streams.get(stream)
        return 0 if found is None else len(found.events)

    def _head_of(self, stream: StreamId) -> tuple[int, bytes | None]:
        found = self._streams.get(stream)
        return (0, None) if found is None else (len(found.events), found.events[-1].digest)

    def _index_after(self, position: int | None) -> int:
        """Return where in the log the events after a position begin."""
        return bisect_right(self._log, position or 0, key=_position)

    def _count(self, after: int | None) -> int:
        return len(self._log) - self._index_after(after)

    def _end_of_append(self, start: int) -> int:
        end = start + 1
        while end < len(self._log) and self._first_of_append[end] == start:
            end += 1
        return end

    def _find_repeat(self, appends: Sequence[StreamAppend]) -> tuple[AppendResult, ...] | None:
        for stream, event in flatten(appends):
            known = self._streams.get(stream)
            found = None if known is None else known.by_id.get(event.event_id)
            if found is None:
                continue
            start = self._first_of_append[self._index_after(found.position) - 1]
            return recognise(appends, self._log[start : self._end_of_append(start)], stream, event)
        return None

    def _number(
        self, appends: Sequence[StreamAppend], metadata: Mapping[int, WrittenMetadata]
    ) -> tuple[list[tuple[StoredEvent, str | None]], int]:
        """Make what is to be stored, each event with its correlation id, and say when."""
        recorded_at = max(self._clock() // 1000, self._recorded_at)
        last = self.head() or 0
        numbered: list[tuple[StoredEvent, str | None]] = []
        for append in appends:
            version, previous = self._head_of(append.stream)
            numbered += (
                (StoredEvent(append.stream, *columns), correlation_id)
                for columns, correlation_id in number(
                    append,
                    metadata,
                    version=version,
                    position=last + len(numbered),
                    recorded_at=recorded_at,
                    digest_next=digest_chain(append.stream, previous, recorded_at) if self._has_digests else None,
                )
            )
        return numbered, recorded_at

    def _keep(self, numbered: Sequence[tuple[StoredEvent, str | None]], recorded_at: int, sizes: Iterable[int]) -> None:
        """Store the events of appends of these sizes; nothing can fail here, so it is all of them or none."""
        self._recorded_at = recorded_at
        for size in sizes:
            self._first_of_append += [len(self._first_of_append)] * size
        for event, correlation_id in numbered:
            stream = self._streams.setdefault(event.stream, _Stream())
            stream.events.append(event)
            stream.by_id[event.event_id] = event
            if correlation_id is not None:
                self._by_correlation.setdefault(correlation_id, []).append(event)
        # All at once, because whoever follows the log holds no lock.
        self._log += [event for event, _ in numbered]
        self._appended.notify_all()

    def _follow_appends(self, index: int) -> Iterator[tuple[StoredEvent, ...]]:
        if index < len(self._log):
            index = self._first_of_append[index]
        while index < len(self._log):
            self._check_open()
            end = self._end_of_append(index)
            yield tuple(self._log[index:end])
            index = end

    def _follow(
        self, index: int, categories: frozenset[str] | None, types: frozenset[str] | None, limit: int | None
    ) -> Iterator[StoredEvent]:
        returned = 0
        while index < len(self._log) and (limit is None or returned < limit):
            self._check_open()
            event = self._log[index]
            index += 1
            if categories is not None and event.stream.category not in categories:
                continue
            if types is not None and event.type not in types:
                continue
            returned += 1
            yield event
