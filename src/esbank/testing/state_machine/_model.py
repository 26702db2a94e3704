"""What a store holds and does, in lists: too slow for anything but tests, and plain to see that it is right."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias
from uuid import UUID

from attrs import define, field

from esbank.errors import ConcurrencyError, DuplicateEvent
from esbank.store import (
    ANY_VERSION,
    STREAM_EXISTS,
    AppendResult,
    ExpectedVersion,
    NewEvent,
    Snapshot,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
)

__all__ = ["EventStoreModel"]

_Appended: TypeAlias = tuple[list[tuple[StreamId, NewEvent]], tuple[AppendResult, ...]]
"""The events of an append, and its results."""


@define
class EventStoreModel:
    """All that was stored, and what the contract of ``EventStore`` makes of it.

    Positions and times are the store's own to choose, so `log` has the events as the store has returned them. `notes`
    are the rows of a table, by their number.
    """

    log: list[StoredEvent] = field(factory=list[StoredEvent])
    snapshots: dict[StreamId, Snapshot] = field(factory=dict[StreamId, Snapshot])
    notes: dict[int, str] = field(factory=dict[int, str])
    _appended: list[_Appended] = field(factory=list[_Appended])

    # Writing

    def first_results(self, appends: Sequence[StreamAppend]) -> tuple[AppendResult, ...] | None:
        """Return what the very same append returned the first time, None when it is new."""
        for events, results in self._appended:
            if events == _one_by_one(appends):
                return results
        return None

    def refusals(
        self, appends: Sequence[StreamAppend], conditions: Sequence[StreamCondition] = ()
    ) -> list[DuplicateEvent] | list[ConcurrencyError]:
        """List the errors of which an append must raise one; none when it is to be stored, or was before."""
        if self.first_results(appends) is not None:
            return []
        return self._duplicates(appends) or self._conflicts([*appends, *conditions])

    def places(self, appends: Sequence[StreamAppend]) -> list[tuple[StreamId, int, NewEvent]]:
        """Say which versions the events of an append get."""
        return [
            (append.stream, version, event)
            for append in appends
            for version, event in enumerate(append.events, self.version(append.stream) + 1)
        ]

    def add(self, appends: Sequence[StreamAppend], results: Sequence[AppendResult]) -> None:
        """Take what a store has returned for an append."""
        self._appended.append((_one_by_one(appends), tuple(results)))
        self.log += [event for result in results for event in result.events]

    def _duplicates(self, appends: Sequence[StreamAppend]) -> list[DuplicateEvent]:
        taken = [(event.stream, event.event_id) for event in self.log]
        duplicates: list[DuplicateEvent] = []
        for stream, event in _one_by_one(appends):
            if (stream, event.event_id) in taken:
                duplicates.append(DuplicateEvent(stream, event.event_id))
            taken.append((stream, event.event_id))
        return duplicates

    def _conflicts(self, parts: Sequence[StreamAppend | StreamCondition]) -> list[ConcurrencyError]:
        return [
            ConcurrencyError(part.stream, part.expected_version, self.version(part.stream))
            for part in parts
            if not _is_met(part.expected_version, self.version(part.stream))
        ]

    # Reading

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> list[StoredEvent]:
        """Read the events of a stream."""
        events = [event for event in self.log if event.stream == stream and event.version > after]
        if up_to is not None:
            events = [event for event in events if event.version <= up_to]
        if backwards:
            events = events[::-1]
        return events[:limit]

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Collection[str] | None = None,
        types: Collection[str] | None = None,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        """Read the events of all streams."""
        events = [event for event in self.log if after is None or event.position > after]
        if categories is not None:
            events = [event for event in events if event.stream.category in categories]
        if types is not None:
            events = [event for event in events if event.type in types]
        return events[:limit]

    def read_correlated(self, correlation_id: str) -> list[StoredEvent]:
        """Read the events of one conversation."""
        return [event for event in self.log if event.metadata.correlation_id == correlation_id]

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        """Return the event of a stream that has this id."""
        found = [event for event in self.read(stream) if event.event_id == event_id]
        return found[0] if found else None

    def version(self, stream: StreamId) -> int:
        """Return the version of a stream."""
        return len(self.read(stream))

    def head(self) -> int | None:
        """Return the position of the last event."""
        return self.log[-1].position if self.log else None

    def streams(self, category: str) -> list[StreamId]:
        """List the streams of a category, ordered by key."""
        return sorted({event.stream for event in self.log if event.stream.category == category})


def _one_by_one(appends: Sequence[StreamAppend]) -> list[tuple[StreamId, NewEvent]]:
    return [(append.stream, event) for append in appends for event in append.events]


def _is_met(expected: ExpectedVersion, version: int) -> bool:
    if expected is ANY_VERSION:
        return True
    if expected is STREAM_EXISTS:
        return version > 0
    return version == expected
