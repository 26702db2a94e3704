"""Stores that break their promises, each in a way that only shows when processes race for them and are killed."""
# ruff: noqa: S311  # chance, not a secret

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import random

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError, StorageError
from esbank.store import ANY_VERSION, STREAM_EXISTS, AppendResult, ExpectedVersion, NewEvent, StoredEvent, StreamId


class AcknowledgesBeforeItStores(SQLiteEventStore):
    """Answers at once, and stores later: with the next append."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._later: list[tuple[StreamId, Sequence[NewEvent]]] = []

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        if random() < 0.9:
            return super().append(stream, events, expected_version=expected_version)
        self._later.append((stream, events))
        return AppendResult(stream, self.version(stream) + len(events), (self.head() or 0) + len(events))


class ChecksBeforeItLocks(SQLiteEventStore):
    """Reads the version of a stream, and appends whatever has happened since."""

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        found = self.find(stream, events[0].event_id)
        if found is None and expected_version == self.version(stream):
            expected_version = ANY_VERSION
        return super().append(stream, events, expected_version=expected_version)


class AnswersFromACache(SQLiteEventStore):
    """Remembers versions, which others change."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._known: dict[StreamId, int] = {}

    def version(self, stream: StreamId) -> int:
        if stream not in self._known or random() < 0.1:
            self._known[stream] = super().version(stream)
        return self._known[stream]


class SkipsNowAndThen(SQLiteEventStore):
    """Leaves out an event here and there when somebody follows."""

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        for event in super().read_all(after=after, categories=categories, types=types, limit=limit):
            if limit is None or event.version % 10:
                yield event


class LeaksErrors(SQLiteEventStore):
    """Raises its driver's own error."""

    def version(self, stream: StreamId) -> int:
        if random() < 0.01:
            raise sqlite3.OperationalError("database is locked")
        return super().version(stream)


class RefusesWhatExists(SQLiteEventStore):
    """Takes a stream that exists for one that does not, when that is what is expected of it."""

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        version = self.version(stream)
        if expected_version is STREAM_EXISTS and version and not self.find(stream, events[0].event_id):
            raise ConcurrencyError(stream, STREAM_EXISTS, version)
        return super().append(stream, events, expected_version=expected_version)


class FailsNowAndThen(SQLiteEventStore):
    """Fails for no reason, and is right otherwise."""

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        if random() < 0.2:
            raise StorageError("a broken store", "not now")
        return super().append(stream, events, expected_version=expected_version)


class SkipsInStreams(SQLiteEventStore):
    """Leaves out an event here and there when a stream is read."""

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        for event in super().read(stream, after=after, up_to=up_to, limit=limit, backwards=backwards):
            if backwards or event.version % 3:
                yield event
