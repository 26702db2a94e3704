"""The rules of an import, the same in every backend: what events must be like to go on where a log ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from attrs import frozen

from esbank.backends._appends import MOST, check_stream
from esbank.errors import ImportRefused
from esbank.store import Metadata, NewEvent, StoredEvent, StreamId, digest_chain, microseconds

__all__ = ["ImportedEvent", "check_import"]


@frozen
class ImportedEvent:
    """An event that may be stored.

    `columns` are what a ``StoredEvent`` is made of besides its stream, as ``number`` gives them; `append` is the
    position of the first event that was appended with it.
    """

    stream: StreamId
    columns: tuple[Any, ...]
    append: int
    correlation_id: str | None


def check_import(
    appends: Iterable[Sequence[StoredEvent]],
    *,
    last: tuple[int, int],
    head_of: Callable[[StreamId], tuple[int, bytes | None]],
    is_known: Callable[[StreamId, UUID], bool],
    has_digests: bool,
) -> Iterator[ImportedEvent]:
    """Check that events go on where a log ends, one after the other; raise ``ImportRefused`` for the first that do not.

    `last` is the position of the log's last event and when it was recorded, in microseconds since 1970, (0, 0) for an
    empty log. `head_of` tells the version and the last digest of a stream, and is asked once for each. `is_known` tells
    whether a stream has an event with an id, and is asked about streams that are in the log already.
    """
    check = _Check(last, head_of, is_known, has_digests=has_digests)
    for append in appends:
        if not append:
            raise ValueError("an append has at least one event")
        first = append[0]
        for event in append:
            if not isinstance(event, StoredEvent):
                raise TypeError(f"an import takes StoredEvent, not {event!r}; append() takes NewEvent")
            check_stream(event.stream)
            yield check.take(event, append=first.position, goes_on=event is not first)


class _Check:
    """An import on its way: where the log and its streams are by now."""

    def __init__(
        self,
        last: tuple[int, int],
        head_of: Callable[[StreamId], tuple[int, bytes | None]],
        is_known: Callable[[StreamId, UUID], bool],
        *,
        has_digests: bool,
    ) -> None:
        self._position, self._recorded_at = last
        self._head_of = head_of
        self._is_known = is_known
        self._has_digests = has_digests
        self._heads: dict[StreamId, tuple[int, bytes | None]] = {}
        self._ids: dict[StreamId, set[UUID]] = {}
        self._from_before: set[StreamId] = set()

    def take(self, event: StoredEvent, *, append: int, goes_on: bool) -> ImportedEvent:
        """Check one event, and go on behind it; `goes_on` says whether it belongs to the append of the one before."""
        try:
            event_id, metadata, recorded_at = _content(event)
        except (TypeError, ValueError, OverflowError) as error:
            raise _refusal(event, f"it is damaged: {error}") from error
        version, digest = self._open(event.stream)
        problem = (
            self._problem_of_place(event, version, recorded_at, goes_on=goes_on)
            or self._problem_of_id(event.stream, event_id)
            or self._problem_of_digest(event, digest, event_id, metadata, recorded_at)
        )
        if problem:
            raise _refusal(event, problem)
        self._position, self._recorded_at = event.position, recorded_at
        self._heads[event.stream] = event.version, event.digest
        self._ids[event.stream].add(event_id)
        columns = (
            event.version,
            event.position,
            event_id.bytes,
            event.type,
            event.schema_version,
            event.data,
            event.metadata_text,
            recorded_at,
            event.digest,
        )
        return ImportedEvent(event.stream, columns, append, metadata.correlation_id)

    def _open(self, stream: StreamId) -> tuple[int, bytes | None]:
        if stream not in self._heads:
            self._heads[stream] = self._head_of(stream)
            self._ids[stream] = set()
            if self._heads[stream][0] > 0:
                self._from_before.add(stream)
        return self._heads[stream]

    def _problem_of_place(self, event: StoredEvent, version: int, recorded_at: int, *, goes_on: bool) -> str:
        if type(event.position) is not int or not self._position < event.position <= MOST:
            return f"its position does not come after {self._position}, to which the log goes by then"
        if goes_on and event.position != self._position + 1:
            return "there is a gap before it, and the events of one append have none"
        if type(event.version) is not int or event.version != version + 1:
            return f"the stream is at version {version} by then"
        if recorded_at < self._recorded_at:
            return "it was recorded before the event that precedes it in the log"
        return ""

    def _problem_of_id(self, stream: StreamId, event_id: UUID) -> str:
        if event_id in self._ids[stream] or (stream in self._from_before and self._is_known(stream, event_id)):
            return f"the stream has an event with its id, {event_id}, already"
        return ""

    def _problem_of_digest(
        self, event: StoredEvent, previous: bytes | None, event_id: UUID, metadata: Metadata, recorded_at: int
    ) -> str:
        if not self._has_digests:
            return (
                "" if event.digest is None else "it has a digest, which would be lost; import into a log that has some"
            )
        if event.digest is None:
            return "it has no digest, and every event here has one; import into a store made with digests=False"
        digest = digest_chain(event.stream, previous, recorded_at)(
            event.version,
            event_id.bytes,
            event.type,
            event.schema_version,
            event.data,
            event.metadata_text,
            recorded_at if metadata.occurred_at is None else microseconds(metadata.occurred_at),
        )
        return "" if event.digest == digest else "its digest is not that of what it says; verify where it comes from"


def _content(event: StoredEvent) -> tuple[UUID, Metadata, int]:
    """Return the id, the metadata and the time of an event whose content could have been appended."""
    event_id, metadata = event.event_id, event.metadata
    NewEvent(event.type, event.data, event_id=event_id, schema_version=event.schema_version, metadata=metadata)
    return event_id, metadata, microseconds(event.recorded_at)


def _refusal(event: StoredEvent, problem: str) -> ImportRefused:
    return ImportRefused(event.stream, event.version, event.position, problem)
