"""Stores that do not give back what they were given: texts, names, times, metadata, digests."""

import json
import unicodedata
from datetime import timedelta, timezone
from uuid import UUID

from attrs import evolve
from broken_stores import Altering, Appends, Conditions, Misreading, Renaming, Results, caught_by
from msgspec.structs import replace

from esbank.backends.memory import MemoryEventStore
from esbank.store import Metadata, NewEvent, StoredEvent, StreamId

# Data


@caught_by("test_data_is_kept_to_the_byte")
class NormalisesText(Altering):
    """Text is normalised to NFC."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, data=unicodedata.normalize("NFC", event.data))


@caught_by("test_data_is_kept_to_the_byte")
class RewritesJson(Altering):
    """JSON is read and written again."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, data=json.dumps(json.loads(event.data)))


@caught_by("test_data_is_kept_to_the_byte")
class TrimsData(Altering):
    """Blanks around the data are trimmed."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, data=event.data.strip())


@caught_by("test_data_of_a_megabyte_is_kept")
class CutsData(Misreading):
    """Data are cut at 64 kilobytes."""

    def misread(self, event: StoredEvent) -> StoredEvent:
        return replace(event, data=event.data[: 1 << 16])


@caught_by("test_any_name_of_a_type_is_kept")
class CutsTypes(Altering):
    """The name of a type is cut at 255 characters."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, type=event.type[:255])


@caught_by("test_the_schema_version_is_kept", "test_an_event_comes_back_as_it_was_given")
class LosesTheSchemaVersion(Altering):
    """The schema version is lost."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, schema_version=1)


@caught_by("test_an_event_comes_back_as_it_was_given")
class MakesIdsOfItsOwn(Misreading):
    """An event is given another id."""

    def misread(self, event: StoredEvent) -> StoredEvent:
        return replace(event, _event_id=UUID(int=event.position))


@caught_by("test_any_uuid_is_an_event_id")
class KnowsIdsByTheirFirstHalf(MemoryEventStore):
    """Ids that begin alike are one."""

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        return next((event for event in self.read(stream) if event.event_id.bytes[:8] == event_id.bytes[:8]), None)


# Metadata and times


@caught_by("test_metadata_is_kept", "test_an_event_comes_back_as_it_was_given")
class LosesMetadata(Altering):
    """Metadata are lost."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, metadata=Metadata())


@caught_by("test_metadata_is_kept")
class ReadsNumbersAsFloats(Altering):
    """Numbers in metadata become floats."""

    def alter(self, event: NewEvent) -> NewEvent:
        extra = json.loads(json.dumps(dict(event.metadata.extra)), parse_int=float)
        return evolve(event, metadata=evolve(event.metadata, extra=extra))


@caught_by("test_when_it_happened_is_kept_in_utc", "test_metadata_is_kept")
class LosesWhenItHappened(Altering):
    """When it happened is lost."""

    def alter(self, event: NewEvent) -> NewEvent:
        return evolve(event, metadata=evolve(event.metadata, occurred_at=None))


@caught_by("test_when_it_happened_is_kept_in_utc", "test_metadata_is_kept")
class RoundsTimes(Altering):
    """Times are kept in milliseconds."""

    def alter(self, event: NewEvent) -> NewEvent:
        at = event.metadata.occurred_at
        rounded = at and at.replace(microsecond=at.microsecond // 1000 * 1000)
        return evolve(event, metadata=evolve(event.metadata, occurred_at=rounded))


@caught_by("test_events_are_recorded_in_utc_and_time_never_goes_back")
class GoesBackInTime(Misreading):
    """`recorded_at` decreases with the position."""

    def misread(self, event: StoredEvent) -> StoredEvent:
        return replace(event, _recorded_at=event.recorded_at - timedelta(seconds=event.position))


@caught_by("test_events_are_recorded_in_utc_and_time_never_goes_back")
class TellsLocalTime(Misreading):
    """`recorded_at` is in local time."""

    def misread(self, event: StoredEvent) -> StoredEvent:
        return replace(event, _recorded_at=event.recorded_at.astimezone(timezone(timedelta(hours=2))))


@caught_by("test_nothing_stored_changes_with_what_was_given")
class KeepsWhatItIsGiven(Misreading):
    """The metadata that were given are kept, instead of what they said then."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[UUID, Metadata] = {}

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        self.given.update({event.event_id: event.metadata for append in appends for event in append.events})
        return super().append_many(appends, conditions=conditions)

    def misread(self, event: StoredEvent) -> StoredEvent:
        return replace(event, _metadata=self.given[event.event_id])


@caught_by("test_nothing_stored_changes_with_what_was_read")
class SharesWhatItGives(MemoryEventStore):
    """Every reader is given the same metadata, and can change them for the others."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results = super().append_many(appends, conditions=conditions)
        for stream in self._streams.values():
            stream.events[:] = [replace(event, _metadata=event.metadata) for event in stream.events]
        return results


# Names of streams


@caught_by("test_streams_of_any_name_are_kept_apart")
class CutsNames(Renaming):
    """The name of a stream is cut at 255 bytes."""

    def rename(self, stream: StreamId) -> StreamId:
        return StreamId(stream.category, stream.key.encode()[:255].decode(errors="ignore"))


@caught_by("test_streams_of_any_name_are_kept_apart")
class FoldsCase(Renaming):
    """Upper and lower case are the same."""

    def rename(self, stream: StreamId) -> StreamId:
        return StreamId(stream.category, stream.key.casefold())


@caught_by("test_streams_of_any_name_are_kept_apart")
class TrimsNames(Renaming):
    """Blanks at the end of a name do not count."""

    def rename(self, stream: StreamId) -> StreamId:
        return StreamId(stream.category, stream.key.rstrip(" ") or stream.key)


@caught_by("test_streams_of_any_name_are_kept_apart")
class NormalisesNames(Renaming):
    """Names are normalised to NFC."""

    def rename(self, stream: StreamId) -> StreamId:
        return StreamId(stream.category, unicodedata.normalize("NFC", stream.key))


# Digests


@caught_by(
    "test_each_digest_is_that_of_the_one_before_it_and_the_event",
    "test_the_chain_is_whole_after_a_race_to_one_stream",
)
class SealsEachAppendAnew(MemoryEventStore):
    """A digest does not go on where the append before ended."""

    def _head_of(self, stream: StreamId) -> tuple[int, bytes | None]:
        return self._version(stream), None


@caught_by(
    "test_each_digest_is_that_of_the_one_before_it_and_the_event",
    "test_the_chain_of_each_stream_goes_on_when_several_are_appended_to_at_once",
)
class ChainsAllStreams(MemoryEventStore):
    """A digest is chained to the last event of the log, instead of its stream's."""

    def _head_of(self, stream: StreamId) -> tuple[int, bytes | None]:
        return self._version(stream), self._log[-1].digest if self._log else None


@caught_by("test_every_event_has_a_digest_if_the_store_says_so")
class SealsNothing(MemoryEventStore):
    """Events have no digest, and the store does not say so."""

    def __init__(self) -> None:
        super().__init__(digests=False)
