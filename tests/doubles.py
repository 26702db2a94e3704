"""Stores for tests: real ones to choose from, and thin wrappers to watch and to disturb them."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

import psycopg

from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import (
    AppendResult,
    EventStore,
    ExpectedVersion,
    InlineHandler,
    NewEvent,
    Snapshot,
    SnapshotStore,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    Subscription,
)

Store: TypeAlias = MemoryEventStore | SQLiteEventStore | PostgresEventStore
KINDS = ("memory", "sqlite", "postgresql")

SERVER: Final = "ESBANK_TEST_POSTGRES_DSN"
"""The environment variable that names a database for tests; a fixture sets it."""


class Clock:
    """A clock that moves when it is told to, for the stores' ``clock=``."""

    def __init__(self) -> None:
        self.now = datetime(2024, 5, 1, 12, tzinfo=UTC)
        self.on_move: list[Callable[[], object]] = []

    def forward(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        for tell in self.on_move:
            tell()
        return self.now

    def __call__(self) -> int:
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@contextmanager
def open_store(
    kind: str,
    folder: Path,
    *,
    clock: Clock | None = None,
    name: str = "events.db",
    inline: Sequence[InlineHandler] = (),
) -> Iterator[Store]:
    """Open a store of one of the `KINDS`; a file or a schema is the same for the same folder, in any process."""
    options: dict[str, Any] = {} if clock is None else {"clock": clock}
    if kind == "memory":
        with MemoryEventStore(inline=inline, **options) as memory:
            yield memory
    elif kind == "sqlite":
        with SQLiteEventStore(folder / name, durability="normal", inline=inline, **options) as sqlite:
            yield sqlite
    else:
        schema = schema_of(folder, name)
        with PostgresEventStore(os.environ[SERVER], schema=schema, inline=inline) as postgres:
            if clock is not None:
                _follow(clock, schema)
            yield postgres


def schema_of(folder: Path, name: str = "events.db") -> str:
    """Name the schema that is to PostgreSQL what a file in that folder is to SQLite."""
    return f"test_{sha256(str(folder / name).encode()).hexdigest()[:32]}"


def _follow(clock: Clock, schema: str) -> None:
    """Let a store in PostgreSQL, which has the time from its server, go by a clock of ours."""

    def tell() -> None:
        with psycopg.connect(os.environ[SERVER]) as connection:
            connection.execute(f"UPDATE {schema}.test_clock SET now = %s", (clock.now,))  # noqa: S608

    with psycopg.connect(os.environ[SERVER]) as connection:
        connection.execute(f"CREATE TABLE {schema}.test_clock (now timestamptz)")
        connection.execute(f"INSERT INTO {schema}.test_clock VALUES (%s)", (clock.now,))  # noqa: S608
        functions = connection.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc"
            " WHERE pronamespace = %s::regnamespace AND prosrc LIKE '%%clock_timestamp()%%'",
            (schema,),
        ).fetchall()
        assert functions
        for (function,) in functions:
            connection.execute(function.replace("clock_timestamp()", f"(SELECT now FROM {schema}.test_clock)"))  # noqa: S608
    clock.on_move.append(tell)


class PlainStore:
    """A store that can do what the protocol asks for, and nothing else: neither snapshots nor views."""

    def __init__(self, inner: EventStore) -> None:
        self.inner = inner

    @property
    def identity(self) -> str:
        return self.inner.identity

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        return self.inner.append(stream, events, expected_version=expected_version)

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        return self.inner.append_many(appends, conditions=conditions)

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        return self.inner.read(stream, after=after, up_to=up_to, limit=limit, backwards=backwards)

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        return self.inner.read_all(after=after, categories=categories, types=types, limit=limit)

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        return self.inner.read_correlated(correlation_id)

    def subscribe(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> Subscription:
        return Subscription(self, after=after, categories=categories, types=types)

    def wait(self, *, after: int | None, timeout: float) -> bool:
        return self.inner.wait(after=after, timeout=timeout)

    def count(self, *, after: int | None = None) -> int:
        return self.inner.count(after=after)

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        return self.inner.find(stream, event_id)

    def version(self, stream: StreamId) -> int:
        return self.inner.version(stream)

    def head(self) -> int | None:
        return self.inner.head()

    def streams(self, category: str) -> Iterator[StreamId]:
        return self.inner.streams(category)

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class WatchedStore(PlainStore):
    """A store that counts what is asked of it, and lets a test do something just before or just after one call.

    An action is done once; one that raises makes the call fail, before or after it has taken effect.
    """

    def __init__(self, inner: EventStore) -> None:
        super().__init__(inner)
        self.events_read = 0
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._before: defaultdict[str, deque[Callable[[], object]]] = defaultdict(deque)
        self._after: defaultdict[str, deque[Callable[[], object]]] = defaultdict(deque)

    def before(self, method: str, *actions: Callable[[], object]) -> None:
        """Do each action before one of the next calls of the method."""
        self._before[method].extend(actions)

    def after(self, method: str, *actions: Callable[[], object]) -> None:
        """Do each action after one of the next calls of the method."""
        self._after[method].extend(actions)

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        with self._watched("append"):
            return super().append(stream, events, expected_version=expected_version)

    def head(self) -> int | None:
        with self._watched("head"):
            return super().head()

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        with self._watched("read"):
            events = super().read(stream, after=after, up_to=up_to, limit=limit, backwards=backwards)
            return map(self._counted, events)

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        with self._watched("read_all"):
            events = super().read_all(after=after, categories=categories, types=types, limit=limit)
            return map(self._counted, events)

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        with self._watched("find"):
            return super().find(stream, event_id)

    @contextmanager
    def _watched(self, method: str) -> Iterator[None]:
        self.calls[method] += 1
        if self._before[method]:
            self._before[method].popleft()()
        yield
        if self._after[method]:
            self._after[method].popleft()()

    def _counted(self, event: StoredEvent) -> StoredEvent:
        self.events_read += 1
        return event


class WatchedSnapshotStore(WatchedStore):
    """A watched store that also keeps snapshots."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._snapshots: SnapshotStore = inner

    def save_snapshot(self, snapshot: Snapshot) -> None:
        with self._watched("save_snapshot"):
            self._snapshots.save_snapshot(snapshot)

    def load_snapshot(self, stream: StreamId) -> Snapshot | None:
        with self._watched("load_snapshot"):
            return self._snapshots.load_snapshot(stream)


def fail(error: Exception) -> Callable[[], object]:
    """Make an action that raises."""

    def action() -> object:
        raise error

    return action
