"""An append that comes again: recognised when it is the very same, refused when only its ids are."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve

from esbank.errors import DuplicateEvent
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    EventStore,
    ExpectedVersion,
    Metadata,
    NewEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, new_event, new_events, nothing_changes

__all__ = ["Repeats"]

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
KNOWN = Metadata("correlation", "causation", "alice", NOON, {"ip": "::1", "tags": ["a", 1]})
EXPECTATIONS = [NO_STREAM, 2, 3, 99, STREAM_EXISTS, ANY_VERSION]


class Repeats:
    """What a store does about event ids that it knows."""

    @pytest.mark.parametrize("expected", EXPECTATIONS)
    def test_the_very_same_append_again_returns_the_first_result_and_changes_nothing(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        events = [NewEvent("Deposited", '{"number":1}', schema_version=3, metadata=KNOWN), *new_events(2)]
        first = store.append(ACCOUNT, events, expected_version=NO_STREAM)

        with nothing_changes(store):
            again = store.append(ACCOUNT, events, expected_version=expected)

        assert again == first
        assert again.events == first.events

    @pytest.mark.parametrize("expected", EXPECTATIONS)
    def test_a_repeat_is_recognised_after_others_wrote(self, store: EventStore, expected: ExpectedVersion) -> None:
        store.append(ACCOUNT, new_events(1), expected_version=0)
        events = new_events(2)
        first = store.append(ACCOUNT, events, expected_version=1)
        store.append(ACCOUNT, new_events(3), expected_version=3)
        store.append(OTHER, new_events(1), expected_version=0)

        with nothing_changes(store):
            again = store.append(ACCOUNT, events, expected_version=expected)

        assert again == first
        assert again.events == first.events

    def test_a_repeat_is_recognised_however_it_is_called(self, store: EventStore) -> None:
        events = new_events(2)
        first = store.append(ACCOUNT, events, expected_version=0)

        with nothing_changes(store):
            assert store.append_many([StreamAppend(ACCOUNT, tuple(events), 0)]) == (first,)

    def test_a_repeat_is_recognised_by_copies_of_its_events(self, store: EventStore) -> None:
        event = NewEvent("Deposited", "{}", metadata=KNOWN)
        first = store.append(ACCOUNT, [event], expected_version=0)
        zone = timezone(timedelta(hours=5, minutes=30))
        same = [
            evolve(event),
            evolve(event, metadata=evolve(KNOWN, occurred_at=NOON.astimezone(zone))),
            evolve(event, metadata=evolve(KNOWN, extra={"tags": ("a", 1), "ip": "::1"})),
        ]

        with nothing_changes(store):
            assert [store.append(ACCOUNT, [copy], expected_version=0) for copy in same] == [first] * 3

    def test_a_repeat_for_several_streams_returns_the_first_results(self, store: EventStore) -> None:
        appends = [StreamAppend(stream, new_events(2), NO_STREAM) for stream in (OTHER, ACCOUNT)]
        conditions = [StreamCondition(StreamId("Customer", "1"), NO_STREAM)]
        first = store.append_many(appends, conditions=conditions)
        for append in appends:
            store.append(append.stream, new_events(1), expected_version=2)

        with nothing_changes(store):
            again = store.append_many(appends, conditions=conditions)

        assert again == first
        assert [result.events for result in again] == [result.events for result in first]

    def test_a_repeat_is_recognised_though_its_conditions_hold_no_longer(self, store: EventStore) -> None:
        customer = StreamId("Customer", "1")
        appends = [StreamAppend(ACCOUNT, new_events(1), ANY_VERSION)]
        conditions = [StreamCondition(customer, NO_STREAM)]
        first = store.append_many(appends, conditions=conditions)
        store.append(customer, new_events(1), expected_version=NO_STREAM)

        with nothing_changes(store):
            assert store.append_many(appends, conditions=conditions) == first

    @pytest.mark.parametrize("expected", EXPECTATIONS)
    @pytest.mark.parametrize(
        "picks",
        [[1], [0], [0, 1], [1, 2], [0, 1, 2, 3], [3, 0, 1, 2], [2, 1, 0], [0, 2, 1], [3, 1], [1, 3]],
        ids=lambda picks: "".join(map(str, picks)),
    )
    def test_a_part_a_superset_and_another_order_are_refused(
        self, store: EventStore, expected: ExpectedVersion, picks: list[int]
    ) -> None:
        events = new_events(4)
        store.append(ACCOUNT, events[:3], expected_version=0)
        told = [events[pick] for pick in picks]

        with nothing_changes(store), pytest.raises(DuplicateEvent) as raised:
            store.append(ACCOUNT, told, expected_version=expected)

        assert raised.value.stream == ACCOUNT
        assert raised.value.event_id in {event.event_id for event in events[:3]}

    @pytest.mark.parametrize("expected", EXPECTATIONS)
    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "Withdrawn"},
            {"data": '{"number":3}'},
            {"data": '{"number": 2}'},
            {"schema_version": 2},
            {"metadata": evolve(KNOWN, actor="bob")},
            {"metadata": evolve(KNOWN, correlation_id=None)},
            {"metadata": evolve(KNOWN, occurred_at=NOON + timedelta(microseconds=1))},
            {"metadata": evolve(KNOWN, extra={"ip": "::1", "tags": ["a", 2]})},
            {"metadata": evolve(KNOWN, extra={"ip": "::1", "tags": ["a", True]})},
            {"metadata": evolve(KNOWN, command_id="c-1")},
            {"metadata": evolve(KNOWN, command_fingerprint="f-1")},
        ],
        ids=repr,
    )
    def test_a_known_id_with_other_content_is_refused(
        self, store: EventStore, expected: ExpectedVersion, changes: dict[str, Any]
    ) -> None:
        first = new_event(1)
        second = NewEvent("Deposited", '{"number":2}', metadata=KNOWN)
        store.append(ACCOUNT, [first, second], expected_version=0)
        told = evolve(second, **changes)

        with nothing_changes(store), pytest.raises(DuplicateEvent) as raised:
            store.append(ACCOUNT, [first, told], expected_version=expected)

        assert raised.value.stream == ACCOUNT
        assert raised.value.event_id in {first.event_id, second.event_id}

    def test_two_appends_told_as_one_are_refused(self, store: EventStore) -> None:
        events = new_events(4)
        store.append(ACCOUNT, events[:2], expected_version=0)
        store.append(ACCOUNT, events[2:], expected_version=2)

        with nothing_changes(store), pytest.raises(DuplicateEvent):
            store.append(ACCOUNT, events, expected_version=0)

    def test_a_part_of_an_append_to_several_streams_is_refused(self, store: EventStore) -> None:
        here, there = (StreamAppend(stream, new_events(2), ANY_VERSION) for stream in (ACCOUNT, OTHER))
        more = StreamAppend(StreamId("Transfer", "1"), new_events(1), ANY_VERSION)
        store.append_many([here, there])

        with nothing_changes(store):
            for appends in ([here], [there], [there, here], [here, there, more], [more, here, there]):
                with pytest.raises(DuplicateEvent):
                    store.append_many(appends)

    def test_an_event_id_is_free_in_another_stream(self, store: EventStore) -> None:
        events = new_events(2)
        store.append(ACCOUNT, events, expected_version=0)

        result = store.append(OTHER, events, expected_version=0)

        assert result.version == 2
        for stream in (ACCOUNT, OTHER):
            found = store.find(stream, events[1].event_id)
            assert found is not None
            assert (found.stream, found.version) == (stream, 2)

    def test_an_event_id_may_be_in_several_streams_of_one_append(self, store: EventStore) -> None:
        events = new_events(2)
        appends = [StreamAppend(stream, events, NO_STREAM) for stream in (ACCOUNT, OTHER)]
        first = store.append_many(appends)

        with nothing_changes(store):
            assert store.append_many(appends) == first
        assert [result.version for result in first] == [2, 2]
