"""What a store can do: the protocol that every backend implements, and one for each optional capability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable
from uuid import UUID

import msgspec
from attrs import frozen

from esbank.store._events import EventData, NewEvent, StoredEvent
from esbank.store._streams import ExpectedVersion, StreamId
from esbank.store._subscriptions import Subscription

__all__ = [
    "AppendResult",
    "AppendTransaction",
    "DataReader",
    "EventStore",
    "InlineHandler",
    "Rows",
    "Snapshot",
    "SnapshotStore",
    "SqlValue",
    "StreamAppend",
    "StreamCondition",
    "Transaction",
    "ViewStore",
]


class StreamAppend(msgspec.Struct, frozen=True):
    """New events for one stream, one part of ``append_many``."""

    stream: StreamId
    events: Sequence[NewEvent]
    expected_version: ExpectedVersion


@frozen
class StreamCondition:
    """A stream that must be as expected for an ``append_many`` that does not write to it."""

    stream: StreamId
    expected_version: ExpectedVersion


class AppendResult(msgspec.Struct, frozen=True):
    """Where an append ended: the version of its stream and the position of its last event.

    `events` are the events as stored, for whoever needs more than that; they do not take part in comparisons.
    """

    stream: StreamId
    version: int
    position: int
    events: tuple[StoredEvent, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AppendResult):
            return NotImplemented
        return (self.stream, self.version, self.position) == (other.stream, other.version, other.position)

    def __hash__(self) -> int:
        return hash((self.stream, self.version, self.position))

    def __repr__(self) -> str:
        return f"AppendResult(stream={self.stream!r}, version={self.version}, position={self.position})"


@frozen
class Snapshot:
    """An aggregate's state at a version: a cache, never a truth.

    It belongs to the stream whose event at `version` has `event_id`, and to the store with the identity `store`;
    `schema` is the fingerprint of the class of the state, and `state` its JSON text. Where one of them does not fit,
    the snapshot is not used.
    """

    stream: StreamId
    version: int
    event_id: UUID
    store: str
    schema: str
    state: str


class EventStore(Protocol):
    """An append-only log of events, one totally ordered store.

    - An append is all or nothing, and durable when it returns.
    - Versions in a stream are contiguous from 1. Positions grow with time; gaps are allowed, arithmetic on them is
      meaningless.
    - A reader that follows `read_all` never misses an event, whatever other writers do: what becomes visible later has
      a later position.
    - Each event has a digest, made with it in the same transaction (see ``event_digest``), unless the store was created
      without.
    - An append that was stored before (same streams, ids, order, types, data and metadata) is recognised before its
      expectation is checked; it changes nothing and returns the first result.

    Safe to share between threads. A store that was closed raises ``StoreClosed``; a database that refuses or fails
    raises ``StorageError``.
    """

    @property
    def identity(self) -> str:
        """Which store this is: a random text made with the store and kept for ever."""
        ...

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        """Store `events` at the end of `stream`, if it is at `expected_version`.

        Raises ``ConcurrencyError`` when the stream is at another version, ``DuplicateEvent`` when an id is taken by
        another event, and ``ValueError`` when there are no events or the expectation makes no sense; then nothing was
        stored. After an ``UnknownOutcome``, repeat the very same call.
        """
        ...

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        """Store several streams' events at once, all or nothing, if all expectations and `conditions` hold.

        Raises as `append` does, and ``ValueError`` when a stream is named twice.
        """
        ...

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        """Read the events of a stream in version order, or `backwards`.

        `after` is exclusive and `up_to` inclusive, both in versions; `limit` counts what is returned. A stream that
        does not exist is empty. Reads in pages: memory stays flat, and no lock is held between two events. Raises
        ``ValueError`` for a version or a limit below 0.
        """
        ...

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        """Read the events of all streams in position order, those after the position `after`, in pages.

        `categories` and `types` keep only events of such streams and such types; `limit` counts what is returned.
        Raises ``ValueError`` for a position or a limit below 0.
        """
        ...

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        """Read the events of one conversation, whatever their streams, in position order, in pages.

        They are those whose metadata have just this `correlation_id`, letter by letter.
        """
        ...

    def subscribe(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> Subscription:
        """Read as `read_all` does, and at the end of the log wait for more; ends when it or the store is closed."""
        ...

    def wait(self, *, after: int | None, timeout: float) -> bool:
        """Wait until there is an event after a position, at most `timeout` seconds; tell whether there is one.

        An append by this process is noticed at once, one by another process within a twentieth of a second.
        """
        ...

    def count(self, *, after: int | None = None) -> int:
        """Count the events after a position, None for all: how far behind it a reader is."""
        ...

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        """Return the event of `stream` that has this id, if there is one."""
        ...

    def version(self, stream: StreamId) -> int:
        """Return the version of the last event of `stream`, 0 when there is none."""
        ...

    def head(self) -> int | None:
        """Return the position of the last event, None when the store is empty."""
        ...

    def streams(self, category: str) -> Iterator[StreamId]:
        """List the streams of a category, ordered by key."""
        ...

    def close(self) -> None:
        """Let go of the database. May be called again; every other call then raises ``StoreClosed``."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


@runtime_checkable
class DataReader(Protocol):
    """The optional capability to read no more of a stream than a replay needs, which takes half the time.

    A replay then asks nothing else, so whoever overrides `read` in a subclass overrides this as well.
    """

    def read_data(self, stream: StreamId, *, after: int = 0, up_to: int | None = None) -> Iterator[Sequence[EventData]]:
        """Read a stream in version order, page by page: just what `read` would say of it; no page is empty."""
        ...


@runtime_checkable
class SnapshotStore(Protocol):
    """The optional capability to keep one snapshot for each stream."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` instead of the one that its stream has; raises ``StreamNotFound`` when it has no events."""
        ...

    def load_snapshot(self, stream: StreamId) -> Snapshot | None:
        """Return the snapshot of `stream`, if it has one."""
        ...


SqlValue: TypeAlias = "str | int | float | bytes | None"
Rows: TypeAlias = list[tuple[Any, ...]]
"""What a query returns. ``Any``, because only the SQL knows the types of its columns."""


class Transaction(Protocol):
    """One open transaction on the database of a view store. It ends where its ``with`` block ends."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which SQL the database speaks, for the rare statement that must differ."""
        ...

    def execute(self, sql: str, parameters: Mapping[str, SqlValue] = ..., /) -> Rows:
        """Execute one statement with ``:name`` parameters; return its rows, if any.

        Raises ``StorageError`` when the database refuses it, for a key that is taken as for a word misspelt.
        """
        ...

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, SqlValue]], /) -> None:
        """Execute one statement for each set of ``:name`` parameters. Raises as `execute` does."""
        ...


class AppendTransaction(Transaction, Protocol):
    """The transaction of an append, while it is open."""

    @property
    def store(self) -> EventStore:
        """The store that is appended to. What it reads is what was committed before this append."""
        ...


class InlineHandler(Protocol):
    """Changes tables in the very transaction that appends events, such as a projector does for an inline view."""

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
        """Take the events that are being appended; none when the store is opened.

        Whatever it raises undoes the append.
        """
        ...


@runtime_checkable
class ViewStore(Protocol):
    """The optional capability to keep views: tables that change together with the checkpoint of their projector."""

    def view_transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that excludes every other writer; commit when the block ends, roll back when it raises."""
        ...

    def query(self, sql: str, parameters: Mapping[str, SqlValue] = ..., /) -> Rows:
        """Read what is committed, beside any open transaction; return the rows.

        Raises ``StorageError`` when the database refuses the statement. A store in memory may wait until the
        transaction ends, and raises ``StorageError`` when asked inside it.
        """
        ...

    def claim(self, name: str) -> AbstractContextManager[None]:
        """Hold a name for as long as the block lasts, so that nobody else can, in any process.

        A name is free again as soon as its holder is gone, however that came. Raises ``AlreadyRunning`` when somebody
        else holds it.
        """
        ...
