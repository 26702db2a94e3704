"""Appending to one stream: what is expected of it, what makes no sense, and that it is all or nothing."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from typing import Any, cast

import pytest

from esbank.errors import ConcurrencyError, DuplicateEvent
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
from esbank.testing.conformance._given import ACCOUNT, OTHER, everything, new_event, new_events, nothing_changes

__all__ = ["Appends"]

NONSENSE = [-1, 2**63, True, False, 1.0, "1", None]


class Appends:
    """``EventStore.append``."""

    def test_a_new_store_is_empty(self, store: EventStore) -> None:
        assert everything(store) == ([], None, [])

    def test_an_append_starts_a_stream_at_version_1(self, store: EventStore) -> None:
        result = store.append(ACCOUNT, [new_event()], expected_version=NO_STREAM)

        assert result.version == 1
        assert [event.version for event in store.read(ACCOUNT)] == [1]

    def test_the_result_of_an_append_says_where_it_ended(self, store: EventStore) -> None:
        result = store.append(ACCOUNT, new_events(3), expected_version=0)

        assert (result.stream, result.version, result.position) == (ACCOUNT, 3, store.head())

    def test_the_result_of_an_append_holds_the_events_as_stored(self, store: EventStore) -> None:
        store.append(ACCOUNT, new_events(2), expected_version=0)

        result = store.append(ACCOUNT, new_events(3), expected_version=2)

        assert list(result.events) == list(store.read(ACCOUNT, after=2))

    def test_versions_are_contiguous_from_1_and_positions_grow(self, store: EventStore) -> None:
        for size in (1, 3, 2):
            for stream in (ACCOUNT, OTHER):
                store.append(stream, new_events(size), expected_version=store.version(stream))

        assert [event.version for event in store.read(ACCOUNT)] == [1, 2, 3, 4, 5, 6]
        assert [event.version for event in store.read(OTHER)] == [1, 2, 3, 4, 5, 6]
        positions = [event.position for event in store.read_all()]
        assert positions == sorted(set(positions))
        assert len(positions) == 12

    def test_events_are_stored_in_the_order_given(self, store: EventStore) -> None:
        events = new_events(5)

        store.append(ACCOUNT, events, expected_version=0)

        assert [event.event_id for event in store.read(ACCOUNT)] == [event.event_id for event in events]

    @pytest.mark.parametrize("size", [2, 63, 64, 65, 127, 128, 129, 1_001])
    def test_an_append_of_any_size_is_stored_whole(self, store: EventStore, size: int) -> None:
        store.append(OTHER, new_events(1), expected_version=0)
        events = [NewEvent("Noted", f'{{"n":{number}}}') for number in range(size)]

        result = store.append_many([StreamAppend(ACCOUNT, events, 0), StreamAppend(OTHER, new_events(1), 1)])[0]

        stored = list(store.read(ACCOUNT))
        assert stored == list(result.events)
        assert [event.event_id for event in stored] == [event.event_id for event in events]
        assert [event.data for event in stored] == [event.data for event in events]
        assert [event.version for event in stored] == list(range(1, size + 1))

    def test_a_list_that_is_changed_after_the_append_changes_nothing_stored(self, store: EventStore) -> None:
        events = new_events(2)
        result = store.append(ACCOUNT, events, expected_version=0)

        events.clear()

        assert list(store.read(ACCOUNT)) == list(result.events)
        assert store.version(ACCOUNT) == 2

    @pytest.mark.parametrize("expected", [2, STREAM_EXISTS, ANY_VERSION])
    def test_an_append_at_an_expected_version_follows_what_is_there(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        store.append(ACCOUNT, new_events(2), expected_version=0)

        result = store.append(ACCOUNT, [new_event()], expected_version=expected)

        assert result.version == 3

    @pytest.mark.parametrize("expected", [NO_STREAM, ANY_VERSION])
    def test_an_absent_stream_is_at_version_0(self, store: EventStore, expected: ExpectedVersion) -> None:
        assert store.append(ACCOUNT, [new_event()], expected_version=expected).version == 1

    @pytest.mark.parametrize(
        ("actual", "expected"),
        [(0, 1), (0, STREAM_EXISTS), (1, 0), (1, 2), (2, NO_STREAM), (2, 1), (2, 3), (2, 5), (2, 2**63 - 1)],
    )
    def test_an_append_at_a_wrong_version_raises_and_stores_nothing(
        self, store: EventStore, actual: int, expected: ExpectedVersion
    ) -> None:
        store.append(OTHER, new_events(1), expected_version=0)
        if actual:
            store.append(ACCOUNT, new_events(actual), expected_version=0)

        with nothing_changes(store), pytest.raises(ConcurrencyError) as raised:
            store.append(ACCOUNT, new_events(2), expected_version=expected)

        assert raised.value.stream == ACCOUNT
        assert raised.value.expected == expected
        assert raised.value.actual == actual
        assert store.version(ACCOUNT) == actual

    def test_a_conflict_burns_no_version_and_no_event_id(self, store: EventStore) -> None:
        store.append(ACCOUNT, new_events(2), expected_version=0)
        late = new_events(2)
        with pytest.raises(ConcurrencyError):
            store.append(ACCOUNT, late, expected_version=1)

        result = store.append(ACCOUNT, late, expected_version=2)

        assert [event.version for event in result.events] == [3, 4]
        assert [event.version for event in store.read(ACCOUNT)] == [1, 2, 3, 4]

    @pytest.mark.parametrize("expected", NONSENSE, ids=repr)
    def test_an_expectation_that_makes_no_sense_is_refused(self, store: EventStore, expected: object) -> None:
        store.append(ACCOUNT, [new_event()], expected_version=0)
        nonsense = cast("ExpectedVersion", expected)

        with nothing_changes(store):
            with pytest.raises((ValueError, TypeError)):
                store.append(ACCOUNT, [new_event()], expected_version=nonsense)
            with pytest.raises((ValueError, TypeError)):
                store.append(OTHER, [new_event()], expected_version=nonsense)
            with pytest.raises((ValueError, TypeError)):
                store.append_many([StreamAppend(ACCOUNT, [new_event()], nonsense)])
            with pytest.raises((ValueError, TypeError)):
                store.append_many(
                    [StreamAppend(OTHER, [new_event()], 0)], conditions=[StreamCondition(ACCOUNT, nonsense)]
                )

    @pytest.mark.parametrize("expected", [0, 1, STREAM_EXISTS, ANY_VERSION])
    def test_an_append_of_no_events_is_refused(self, store: EventStore, expected: ExpectedVersion) -> None:
        with nothing_changes(store), pytest.raises(ValueError, match=r"\bno events"):
            store.append(ACCOUNT, [], expected_version=expected)

    def test_what_is_no_new_event_is_refused(self, store: EventStore) -> None:
        stored = store.append(OTHER, [new_event()], expected_version=0).events[0]
        strangers: list[Any] = [stored, '{"number":1}', {"type": "Deposited"}, None]

        with nothing_changes(store):
            for stranger in strangers:
                with pytest.raises(TypeError):
                    store.append(ACCOUNT, [new_event(), stranger], expected_version=0)

    def test_a_stream_that_is_no_stream_id_is_refused(self, store: EventStore) -> None:
        with nothing_changes(store), pytest.raises(TypeError):
            store.append(cast("StreamId", "Account-1"), [new_event()], expected_version=0)

    @pytest.mark.parametrize("expected", [0, ANY_VERSION])
    def test_an_event_id_twice_in_one_append_is_refused(self, store: EventStore, expected: ExpectedVersion) -> None:
        first, second = new_events(2)

        with nothing_changes(store), pytest.raises(DuplicateEvent) as raised:
            store.append(ACCOUNT, [first, second, first], expected_version=expected)

        assert (raised.value.stream, raised.value.event_id) == (ACCOUNT, first.event_id)

    def test_an_append_is_all_or_nothing(self, store: EventStore) -> None:
        metadata = Metadata(extra={"when": cast("Any", object())})
        unsayable = NewEvent("Deposited", "{}", metadata=metadata)

        with nothing_changes(store), pytest.raises(ValueError, match="extra"):
            store.append(ACCOUNT, [*new_events(2), unsayable], expected_version=0)

        assert store.append(ACCOUNT, new_events(1), expected_version=0).version == 1
