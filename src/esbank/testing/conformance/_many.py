"""Appending to several streams at once, under conditions on others."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import pytest

from esbank.errors import ConcurrencyError, DuplicateEvent
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    EventStore,
    ExpectedVersion,
    StreamAppend,
    StreamCondition,
    StreamId,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, new_event, new_events, nothing_changes

__all__ = ["AppendsToManyStreams"]

TRANSFER = StreamId("Transfer", "1")


class AppendsToManyStreams:
    """``EventStore.append_many``."""

    def test_several_streams_are_appended_to_at_once(self, store: EventStore) -> None:
        store.append(OTHER, new_events(2), expected_version=0)

        results = store.append_many(
            [
                StreamAppend(TRANSFER, new_events(1), NO_STREAM),
                StreamAppend(OTHER, new_events(3), 2),
                StreamAppend(ACCOUNT, new_events(2), ANY_VERSION),
            ]
        )

        assert [(result.stream, result.version) for result in results] == [(TRANSFER, 1), (OTHER, 5), (ACCOUNT, 2)]
        assert [list(result.events) for result in results] == [
            list(store.read(TRANSFER)),
            list(store.read(OTHER, after=2)),
            list(store.read(ACCOUNT)),
        ]
        assert [result.position for result in results] == [result.events[-1].position for result in results]

    def test_a_crowd_of_streams_is_appended_to_at_once(self, store: EventStore) -> None:
        streams = [StreamId("Account", str(number)) for number in range(150)]
        store.append_many([StreamAppend(stream, new_events(1), NO_STREAM) for stream in streams[::2]])
        conditions = [StreamCondition(StreamId("Absent", str(number)), NO_STREAM) for number in range(70)]

        results = store.append_many(
            [StreamAppend(stream, new_events(2), 1 - place % 2) for place, stream in enumerate(streams)],
            conditions=conditions,
        )

        assert [result.version for result in results] == [3, 2] * 75
        assert [len(list(store.read(stream))) for stream in streams] == [3, 2] * 75
        assert list(store.streams("Absent")) == []

    def test_positions_follow_the_order_given(self, store: EventStore) -> None:
        results = store.append_many(
            [StreamAppend(stream, new_events(2), NO_STREAM) for stream in (TRANSFER, OTHER, ACCOUNT)]
        )

        assert [event for result in results for event in result.events] == list(store.read_all())

    @pytest.mark.parametrize("failing", [0, 1, 2])
    def test_one_wrong_version_stores_nothing_of_any_stream(self, store: EventStore, failing: int) -> None:
        streams = (TRANSFER, OTHER, ACCOUNT)
        store.append(streams[failing], new_events(2), expected_version=0)
        events = {stream: new_events(2) for stream in streams}

        with nothing_changes(store), pytest.raises(ConcurrencyError) as raised:
            store.append_many([StreamAppend(stream, events[stream], NO_STREAM) for stream in streams])

        error = raised.value
        assert (error.stream, error.expected, error.actual) == (streams[failing], 0, 2)
        store.append_many([StreamAppend(stream, events[stream], ANY_VERSION) for stream in streams])

    def test_one_duplicate_stores_nothing_of_any_stream(self, store: EventStore) -> None:
        taken = new_event(1)
        store.append(OTHER, [taken], expected_version=0)

        with nothing_changes(store), pytest.raises(DuplicateEvent) as raised:
            store.append_many(
                [
                    StreamAppend(ACCOUNT, new_events(2), NO_STREAM),
                    StreamAppend(OTHER, [new_event(2), taken], ANY_VERSION),
                ]
            )

        assert (raised.value.stream, raised.value.event_id) == (OTHER, taken.event_id)

    @pytest.mark.parametrize("expected", [2, STREAM_EXISTS, ANY_VERSION])
    def test_a_condition_that_holds_lets_the_append_happen_and_writes_nothing(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        store.append(OTHER, new_events(2), expected_version=0)

        store.append_many(
            [StreamAppend(ACCOUNT, new_events(1), NO_STREAM)], conditions=[StreamCondition(OTHER, expected)]
        )

        assert (store.version(ACCOUNT), store.version(OTHER)) == (1, 2)

    @pytest.mark.parametrize("expected", [NO_STREAM, ANY_VERSION])
    def test_a_condition_on_an_absent_stream_does_not_make_it(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        store.append_many(
            [StreamAppend(ACCOUNT, new_events(1), NO_STREAM)], conditions=[StreamCondition(OTHER, expected)]
        )

        assert list(store.streams(OTHER.category)) == [ACCOUNT]
        assert store.version(OTHER) == 0

    @pytest.mark.parametrize(("actual", "expected"), [(0, 1), (0, STREAM_EXISTS), (2, NO_STREAM), (2, 1), (2, 3)])
    def test_a_condition_that_fails_raises_and_stores_nothing(
        self, store: EventStore, actual: int, expected: ExpectedVersion
    ) -> None:
        if actual:
            store.append(OTHER, new_events(actual), expected_version=0)

        conditions = [StreamCondition(TRANSFER, NO_STREAM), StreamCondition(OTHER, expected)]
        for some in (conditions, conditions[::-1]):
            with nothing_changes(store), pytest.raises(ConcurrencyError) as raised:
                store.append_many([StreamAppend(ACCOUNT, new_events(1), NO_STREAM)], conditions=some)

            assert (raised.value.stream, raised.value.expected, raised.value.actual) == (OTHER, expected, actual)

    def test_a_stream_named_twice_is_refused(self, store: EventStore) -> None:
        append = StreamAppend(ACCOUNT, new_events(1), ANY_VERSION)
        condition = StreamCondition(ACCOUNT, ANY_VERSION)
        elsewhere = StreamAppend(OTHER, new_events(1), ANY_VERSION)

        with nothing_changes(store):
            with pytest.raises(ValueError, match="twice"):
                store.append_many([append, elsewhere, StreamAppend(ACCOUNT, new_events(1), ANY_VERSION)])
            with pytest.raises(ValueError, match="twice"):
                store.append_many([append, elsewhere], conditions=[condition])
            with pytest.raises(ValueError, match="twice"):
                store.append_many([elsewhere], conditions=[condition, condition])

    def test_an_append_to_no_streams_is_refused(self, store: EventStore) -> None:
        with pytest.raises(ValueError, match="nothing to append"):
            store.append_many([])
        with pytest.raises(ValueError, match="nothing to append"):
            store.append_many([], conditions=[StreamCondition(ACCOUNT, NO_STREAM)])

    def test_one_stream_without_events_is_refused_with_all_others(self, store: EventStore) -> None:
        with nothing_changes(store), pytest.raises(ValueError, match=r"\bno events"):
            store.append_many([StreamAppend(ACCOUNT, new_events(1), NO_STREAM), StreamAppend(OTHER, [], NO_STREAM)])
