"""Stores whose appends are broken: what is expected, what makes no sense, and what happens all or not at all."""

import sqlite3
import time
from collections.abc import Iterator
from typing import Any, cast
from uuid import UUID

from broken_stores import A_MOMENT, Appends, Conditions, Events, Misreading, Results, caught_by
from msgspec.structs import replace

from esbank.backends.memory import MemoryEventStore
from esbank.errors import ConcurrencyError, DuplicateEvent
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    AppendResult,
    ExpectedVersion,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamId,
)

# What is expected


@caught_by(
    "test_an_append_at_a_wrong_version_raises_and_stores_nothing",
    "test_one_of_many_racers_at_the_same_version_wins",
)
class TestsAVersionForTruth(MemoryEventStore):
    """An expected version is tested for truth, so that 0 counts as none."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        return super().append(stream, events, expected_version=expected_version or ANY_VERSION)


@caught_by("test_an_append_at_a_wrong_version_raises_and_stores_nothing")
class TakesAVersionAhead(MemoryEventStore):
    """A version that the stream has not come to yet is no conflict."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        is_ahead = isinstance(expected_version, int) and expected_version > self.version(stream)
        return super().append(stream, events, expected_version=ANY_VERSION if is_ahead else expected_version)


@caught_by("test_an_append_at_a_wrong_version_raises_and_stores_nothing")
class TakesAVersionBehind(MemoryEventStore):
    """A version that the stream has left behind is no conflict."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        is_behind = isinstance(expected_version, int) and 0 < expected_version < self.version(stream)
        return super().append(stream, events, expected_version=ANY_VERSION if is_behind else expected_version)


@caught_by("test_an_append_at_a_wrong_version_raises_and_stores_nothing")
class TakesStreamExistsForAny(MemoryEventStore):
    """`STREAM_EXISTS` is not checked."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        expected = ANY_VERSION if expected_version is STREAM_EXISTS else expected_version
        return super().append(stream, events, expected_version=expected)


@caught_by(
    "test_an_append_at_a_wrong_version_raises_and_stores_nothing",
    "test_a_condition_that_fails_raises_and_stores_nothing",
)
class SaysAWrongActualVersion(MemoryEventStore):
    """The error names another version than that at which the stream is."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        try:
            return super().append_many(appends, conditions=conditions)
        except ConcurrencyError as error:
            raise ConcurrencyError(error.stream, error.expected, error.actual + 1) from None


@caught_by(
    "test_an_append_at_a_wrong_version_raises_and_stores_nothing",
    "test_one_of_many_racers_at_the_same_version_wins",
)
class LeaksTheDriversError(MemoryEventStore):
    """A conflict is told by the driver's own error."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        try:
            return super().append_many(appends, conditions=conditions)
        except ConcurrencyError as error:
            raise sqlite3.IntegrityError("UNIQUE constraint failed") from error


@caught_by("test_an_expectation_that_makes_no_sense_is_refused")
class TakesABoolForAVersion(MemoryEventStore):
    """`True` is taken for version 1."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        expected = int(expected_version) if isinstance(expected_version, bool) else expected_version
        return super().append(stream, events, expected_version=expected)


@caught_by("test_a_conflict_burns_no_version_and_no_event_id", "test_one_wrong_version_stores_nothing_of_any_stream")
class BurnsEventIds(MemoryEventStore):
    """The ids of an append that was refused are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.burnt: set[UUID] = set()

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        ids = {event.event_id for append in appends for event in append.events}
        for event_id in ids & self.burnt:
            raise DuplicateEvent(appends[0].stream, event_id)
        try:
            return super().append_many(appends, conditions=conditions)
        except ConcurrencyError:
            self.burnt |= ids
            raise


# What makes no sense


@caught_by("test_an_append_of_no_events_is_refused", "test_one_stream_without_events_is_refused_with_all_others")
class TakesNoEvents(MemoryEventStore):
    """An append of no events succeeds."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        some = [append for append in appends if append.events]
        if some:
            return super().append_many(some, conditions=conditions)
        return tuple(AppendResult(append.stream, self.version(append.stream), self.head() or 0) for append in appends)


@caught_by("test_a_stream_named_twice_is_refused")
class TakesAStreamTwice(MemoryEventStore):
    """A stream may be named twice in one append."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        merged: dict[StreamId, StreamAppend] = {}
        for append in appends:
            known = merged.get(append.stream)
            merged[append.stream] = replace(append, events=[*known.events, *append.events]) if known else append
        others = {condition.stream: condition for condition in conditions if condition.stream not in merged}
        return super().append_many(list(merged.values()), conditions=list(others.values()))


@caught_by("test_an_event_id_twice_in_one_append_is_refused")
class DropsAnIdThatComesTwice(MemoryEventStore):
    """An event whose id was in the same append before is dropped in silence."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        different = {event.event_id: event for event in events}
        return super().append(stream, list(different.values()), expected_version=expected_version)


@caught_by("test_what_is_no_new_event_is_refused")
class TakesStoredEvents(MemoryEventStore):
    """A stored event may be appended once more."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        new = [
            NewEvent(event.type, event.data) if isinstance(cast("Any", event), StoredEvent) else event
            for event in events
        ]
        return super().append(stream, new, expected_version=expected_version)


# All or nothing


@caught_by("test_an_append_is_all_or_nothing")
class AppendsEventAfterEvent(MemoryEventStore):
    """The first half of an append stays when the second half fails."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results: list[AppendResult] = []
        for append in appends:
            expected = append.expected_version
            for event in append.events:
                part = StreamAppend(append.stream, [event], expected)
                (result,) = super().append_many([part], conditions=conditions)
                expected = ANY_VERSION
            results.append(result)
        return tuple(results)


@caught_by(
    "test_one_wrong_version_stores_nothing_of_any_stream",
    "test_one_duplicate_stores_nothing_of_any_stream",
    "test_what_is_appended_at_once_is_seen_at_once",
    "test_what_is_appended_at_once_is_counted_at_once",
)
class AppendsStreamAfterStream(MemoryEventStore):
    """Several streams are appended to one after the other."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results: list[AppendResult] = []
        for append in appends:
            results += super().append_many([append], conditions=conditions)
            time.sleep(A_MOMENT / 10)
        return tuple(results)


@caught_by("test_versions_are_contiguous_from_1_and_positions_grow")
class LeavesAHole(Misreading):
    """Versions have a hole."""

    def misread(self, event: StoredEvent) -> StoredEvent:
        return replace(event, version=event.version + (event.version > 1))


@caught_by("test_events_are_stored_in_the_order_given")
class StoresBackwards(MemoryEventStore):
    """The events of an append are stored in another order."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        return super().append(stream, events[::-1], expected_version=expected_version)


@caught_by("test_positions_follow_the_order_given")
class NumbersStreamsBackwards(MemoryEventStore):
    """The streams of an append get their positions in another order."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        return super().append_many(appends[::-1], conditions=conditions)[::-1]


@caught_by("test_the_result_of_an_append_holds_the_events_as_stored")
class TellsNoEvents(MemoryEventStore):
    """The result of an append does not hold its events."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        return tuple(replace(result, events=()) for result in super().append_many(appends, conditions=conditions))


# Conditions


@caught_by(
    "test_a_condition_that_fails_raises_and_stores_nothing",
    "test_of_two_appends_that_exclude_each_other_one_happens",
)
class IgnoresConditions(MemoryEventStore):
    """Conditions are ignored."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:  # noqa: ARG002
        return super().append_many(appends)


@caught_by("test_a_condition_that_fails_raises_and_stores_nothing")
class ChecksTheLastCondition(MemoryEventStore):
    """Of several conditions, the last one is checked."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        return super().append_many(appends, conditions=conditions[-1:])


@caught_by("test_a_condition_that_fails_raises_and_stores_nothing")
class TakesNoStreamForAny(MemoryEventStore):
    """`NO_STREAM` is taken for `ANY_VERSION` in a condition."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        kept = [condition for condition in conditions if condition.expected_version != NO_STREAM]
        return super().append_many(appends, conditions=kept)


@caught_by("test_a_condition_on_an_absent_stream_does_not_make_it")
class MakesTheStreamsOfConditions(MemoryEventStore):
    """A condition makes the stream on which it is."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[StreamId] = set()

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        self.made.update(condition.stream for condition in conditions)
        return super().append_many(appends, conditions=conditions)

    def streams(self, category: str) -> Iterator[StreamId]:
        made = {stream for stream in self.made if stream.category == category}
        return iter(sorted(made.union(super().streams(category))))
