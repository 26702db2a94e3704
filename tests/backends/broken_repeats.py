"""Stores that do not recognise an append that comes again, or take another one for it."""

from attrs import evolve
from broken_stores import Appends, Conditions, Events, Results, caught_by, check

from esbank.backends.memory import MemoryEventStore
from esbank.errors import DuplicateEvent
from esbank.store import AppendResult, ExpectedVersion, StreamId


@caught_by(
    "test_the_very_same_append_again_returns_the_first_result_and_changes_nothing",
    "test_many_who_repeat_the_same_append_get_the_same_result",
)
class KnowsNoRepeats(MemoryEventStore):
    """A repeat is refused."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        for event in events:
            if self.find(stream, event.event_id) is not None:
                raise DuplicateEvent(stream, event.event_id)
        return super().append(stream, events, expected_version=expected_version)


@caught_by(
    "test_the_very_same_append_again_returns_the_first_result_and_changes_nothing",
    "test_a_repeat_is_recognised_after_others_wrote",
    "test_a_repeat_for_several_streams_returns_the_first_results",
    "test_a_repeat_is_recognised_though_its_conditions_hold_no_longer",
)
class ChecksTheVersionBeforeTheRepeat(MemoryEventStore):
    """A repeat is recognised only after the version check."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        check(self, [*appends, *conditions])
        return super().append_many(appends, conditions=conditions)


@caught_by("test_a_known_id_with_other_content_is_refused")
class RecognisesRepeatsByTheirIds(MemoryEventStore):
    """A repeat is recognised by its ids alone."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        known = tuple(found for event in events if (found := self.find(stream, event.event_id)))
        if known and len(known) == len(events):
            return AppendResult(stream, known[-1].version, known[-1].position, known)
        return super().append(stream, events, expected_version=expected_version)


@caught_by("test_a_known_id_with_other_content_is_refused")
class RecognisesRepeatsWithoutTheirMetadata(MemoryEventStore):
    """A repeat with other metadata is taken for the same."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        known = [self.find(stream, event.event_id) for event in events]
        same = [
            evolve(event, metadata=stored.metadata) if stored else event
            for event, stored in zip(events, known, strict=True)
        ]
        return super().append(stream, same, expected_version=expected_version)


@caught_by("test_a_part_a_superset_and_another_order_are_refused", "test_two_appends_told_as_one_are_refused")
class StoresTheRestOfARepeat(MemoryEventStore):
    """Of an append with some known ids, the rest is stored."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        new = [event for event in events if self.find(stream, event.event_id) is None]
        if new:
            return super().append(stream, new, expected_version=expected_version)
        return AppendResult(stream, self.version(stream), self.head() or 0)


@caught_by("test_a_part_of_an_append_to_several_streams_is_refused")
class RecognisesAStreamOfARepeat(MemoryEventStore):
    """One stream of an append to several is taken for a repeat."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        try:
            return super().append_many(appends, conditions=conditions)
        except DuplicateEvent:
            known = [tuple(self.find(append.stream, event.event_id) for event in append.events) for append in appends]
            if not all(all(events) for events in known):
                raise
            return tuple(
                AppendResult(append.stream, self.version(append.stream), self.head() or 0) for append in appends
            )


@caught_by("test_an_event_id_is_free_in_another_stream", "test_an_event_id_may_be_in_several_streams_of_one_append")
class KeepsIdsUniqueInTheStore(MemoryEventStore):
    """An event id is unique in the whole store instead of in its stream."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        owners = {event.event_id: event.stream for event in self.read_all()}
        for append in appends:
            for event in append.events:
                if owners.setdefault(event.event_id, append.stream) != append.stream:
                    raise DuplicateEvent(append.stream, event.event_id)
        return super().append_many(appends, conditions=conditions)


@caught_by("test_a_repeat_is_recognised_after_others_wrote")
class AnswersARepeatWithNow(MemoryEventStore):
    """A repeat is told where the stream is now, instead of where it was."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        result = super().append(stream, events, expected_version=expected_version)
        return AppendResult(stream, self.version(stream), self.head() or 0, result.events)
