"""Reading one stream, and reading the log of all."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, product
from typing import Any

import pytest

from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    DataReader,
    EventStore,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamId,
    new_event_id,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, new_event, new_events

__all__ = ["Reads", "ReadsOfTheLog"]

LONG = 2_600
"""More events than two pages of any sensible size."""

BAD_BOUNDS: list[Any] = [-1, True, False, 1.0, "1", 2**63, 10**30]


class Reads:
    """``EventStore.read``, ``version``, ``find`` and ``streams``."""

    def test_an_absent_stream_is_empty_and_at_version_0(self, store: EventStore) -> None:
        store.append(OTHER, new_events(1), expected_version=0)

        assert list(store.read(ACCOUNT)) == []
        assert list(store.read(ACCOUNT, backwards=True)) == []
        assert store.version(ACCOUNT) == 0

    def test_a_stream_is_read_between_bounds_in_either_direction(self, store: EventStore) -> None:
        for size in (3, 1, 3):
            store.append(OTHER, new_events(2), expected_version=ANY_VERSION)
            store.append(ACCOUNT, new_events(size), expected_version=ANY_VERSION)
        events = list(store.read(ACCOUNT))
        assert [event.version for event in events] == [1, 2, 3, 4, 5, 6, 7]

        combinations = product((0, 1, 4, 6, 7, 20), (None, 0, 1, 4, 7, 20), (None, 0, 1, 3, 7, 20), (False, True))
        for after, up_to, limit, backwards in combinations:
            model = [event for event in events if after < event.version and (up_to is None or event.version <= up_to)]
            model = (model[::-1] if backwards else model)[:limit]
            read = store.read(ACCOUNT, after=after, up_to=up_to, limit=limit, backwards=backwards)
            assert list(read) == model, (after, up_to, limit, backwards)

    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_long_stream_is_read_whole(self, store: EventStore, backwards: bool) -> None:  # noqa: FBT001  # a parameter
        store.append(ACCOUNT, new_events(LONG), expected_version=0)
        versions = list(range(LONG, 0, -1) if backwards else range(1, LONG + 1))

        def read(after: int = 0, up_to: int | None = None, limit: int | None = None) -> list[int]:
            found = store.read(ACCOUNT, after=after, up_to=up_to, limit=limit, backwards=backwards)
            return [event.version for event in found]

        assert read() == versions
        assert read(limit=LONG - 1) == versions[:-1]
        assert read(after=10, up_to=LONG - 10) == [version for version in versions if 10 < version <= LONG - 10]
        assert read(after=500, limit=1_500) == [version for version in versions if version > 500][:1_500]
        for page in (250, 500, 1000, 1024, 2000):
            assert read(limit=page) == versions[:page]
            assert read(limit=page + 1) == versions[: page + 1]
            assert read(up_to=page) == [version for version in versions if version <= page]

    def test_what_a_replay_reads_is_what_a_stream_says(self, store: EventStore) -> None:
        if not isinstance(store, DataReader):
            pytest.skip("this store has no read_data()")
        store.append(OTHER, new_events(3), expected_version=0)
        store.append(ACCOUNT, [NewEvent("Noted", '"other"', schema_version=7), *new_events(LONG)], expected_version=0)
        data = [(event.version, event.type, event.schema_version, event.data) for event in store.read(ACCOUNT)]

        for after, up_to in product((0, 1, 999, 1000, LONG, LONG + 1, 2**63 - 1), (None, 0, 1, 1000, 1001, 2**63 - 1)):
            pages = list(store.read_data(ACCOUNT, after=after, up_to=up_to))
            assert all(pages), (after, up_to)
            expected = [one for one in data if after < one[0] and (up_to is None or one[0] <= up_to)]
            assert list(chain.from_iterable(pages)) == expected, (after, up_to)
        assert list(store.read_data(StreamId("Account", "absent"))) == []
        for bounds in ({"after": -1}, {"up_to": True}):
            with pytest.raises(ValueError, match=next(iter(bounds))):
                list(store.read_data(ACCOUNT, **bounds))

    def test_bounds_beyond_every_version_are_no_error(self, store: EventStore) -> None:
        events = list(store.append(ACCOUNT, new_events(2), expected_version=0).events)

        for vast in (2**31, 2**63 - 1):
            assert list(store.read(ACCOUNT, after=vast)) == []
            assert list(store.read(ACCOUNT, up_to=vast)) == events
            assert list(store.read(ACCOUNT, limit=vast)) == events
            assert list(store.read_all(after=vast)) == []
            assert list(store.read_all(limit=vast)) == events

    @pytest.mark.parametrize("bound", BAD_BOUNDS, ids=repr)
    @pytest.mark.parametrize("name", ["after", "up_to", "limit"])
    def test_a_bound_that_makes_no_sense_is_refused(self, store: EventStore, name: str, bound: int) -> None:
        bounds: dict[str, Any] = {name: bound}

        with pytest.raises(ValueError, match=name):
            list(store.read(ACCOUNT, **bounds))

    def test_a_stream_half_read_holds_up_no_writer(self, store: EventStore) -> None:
        store.append(ACCOUNT, new_events(3), expected_version=0)
        reading, following = store.read(ACCOUNT), store.read_all()
        assert (next(reading).version, next(following).version) == (1, 1)

        store.append(ACCOUNT, new_events(1), expected_version=3)
        store.append(OTHER, new_events(1), expected_version=0)

        assert [event.version for event in reading][:2] == [2, 3]
        assert [event.version for event in following][:2] == [2, 3]

    def test_a_stream_is_at_the_version_of_its_last_event(self, store: EventStore) -> None:
        store.append_many([StreamAppend(ACCOUNT, new_events(3), NO_STREAM), StreamAppend(OTHER, new_events(1), 0)])

        assert (store.version(ACCOUNT), store.version(OTHER)) == (3, 1)

    def test_an_event_is_found_by_its_id(self, store: EventStore) -> None:
        store.append(OTHER, new_events(2), expected_version=0)
        events = store.append(ACCOUNT, new_events(3), expected_version=0).events

        assert [store.find(ACCOUNT, event.event_id) for event in events] == list(events)

    def test_an_event_is_found_in_its_own_stream_only(self, store: EventStore) -> None:
        event = store.append(ACCOUNT, new_events(1), expected_version=0).events[0]
        store.append(OTHER, new_events(1), expected_version=0)

        assert store.find(OTHER, event.event_id) is None
        assert store.find(StreamId("Account", "absent"), event.event_id) is None
        assert store.find(ACCOUNT, new_event_id()) is None

    def test_the_streams_of_a_category_are_listed_by_key(self, store: EventStore) -> None:
        keys = ["b", "a", "B", "10", "9", "é", "e\u0301", "\uffff", "😀", "a-b", "a b", "~"]
        for key in keys:
            store.append(StreamId("Account", key), new_events(2), expected_version=0)
        for category in ("account", "Accounts", "Accoun", "Accoun_", "%", "Customer"):
            store.append(StreamId(category, "x"), new_events(1), expected_version=0)

        assert list(store.streams("Account")) == [StreamId("Account", key) for key in sorted(keys)]
        assert list(store.streams("Accoun_")) == [StreamId("Accoun_", "x")]
        assert list(store.streams("Absent")) == []

    def test_many_streams_are_listed_whole(self, store: EventStore) -> None:
        streams = [StreamId("Account", f"{number * 7919 % 1_250:04}") for number in range(1_250)]
        store.append_many([StreamAppend(stream, [new_event()], NO_STREAM) for stream in streams])

        assert list(store.streams("Account")) == sorted(streams)


class ReadsOfTheLog:
    """``EventStore.read_all`` and ``head``."""

    def test_the_log_is_read_in_position_order(self, store: EventStore) -> None:
        stored: list[StoredEvent] = []
        for number in range(6):
            stream = (ACCOUNT, OTHER, StreamId("Customer", "1"))[number % 3]
            stored += store.append(stream, new_events(2), expected_version=ANY_VERSION).events

        assert list(store.read_all()) == stored
        positions = [event.position for event in stored]
        assert positions == sorted(set(positions))

    def test_the_head_is_the_position_of_the_last_event(self, store: EventStore) -> None:
        for _ in range(3):
            result = store.append(ACCOUNT, new_events(2), expected_version=ANY_VERSION)
            assert store.head() == result.position == list(store.read_all())[-1].position

    def test_the_log_is_read_after_a_position(self, store: EventStore) -> None:
        store.append_many([StreamAppend(stream, new_events(3), NO_STREAM) for stream in (ACCOUNT, OTHER)])
        events = list(store.read_all())

        assert list(store.read_all(after=0)) == events
        for index, event in enumerate(events):
            for limit in (None, 0, 1, 2, 6, 99):
                read = store.read_all(after=event.position, limit=limit)
                assert list(read) == events[index + 1 :][:limit], (index, limit)
        assert list(store.read_all(after=events[-1].position + 1_000)) == []

    def test_the_log_is_filtered_by_category_and_type(self, store: EventStore) -> None:
        for category in ("Account", "account", "Accounts", "Accoun_", "%"):
            for type_ in ("Deposited", "deposited", "Deposit%", "Withdrawn"):
                store.append(StreamId(category, "1"), [new_event(type=type_)], expected_version=ANY_VERSION)
        events = list(store.read_all())
        assert len(events) == 20

        choices: list[list[str] | None] = [
            None, [], ["Account"], ["%"], ["Accoun_", "account"], ["Account", "Account"], ["Absent"]
        ]  # fmt: skip
        types: list[list[str] | None] = [
            None, [], ["Deposited"], ["Deposit%"], ["deposited", "Withdrawn"], ["Withdrawn", "Withdrawn"], ["Absent"]
        ]  # fmt: skip
        for categories, wanted, limit in product(choices, types, (None, 0, 1, 3)):
            model = [
                event
                for event in events
                if (categories is None or event.stream.category in categories)
                and (wanted is None or event.type in wanted)
            ][:limit]
            read = store.read_all(categories=categories, types=wanted, limit=limit)
            assert list(read) == model, (categories, wanted, limit)

    @pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter, dict.fromkeys])
    def test_a_filter_may_be_any_iterable(self, store: EventStore, kind: Callable[[list[str]], Any]) -> None:
        for category in ("Account", "Customer", "Transfer"):
            for type_ in ("A", "B", "C"):
                store.append(StreamId(category, "1"), [new_event(type=type_)], expected_version=ANY_VERSION)

        read = store.read_all(categories=kind(["Account", "Transfer"]), types=kind(["A", "C"]))

        assert [(event.stream.category, event.type) for event in read] == [
            ("Account", "A"),
            ("Account", "C"),
            ("Transfer", "A"),
            ("Transfer", "C"),
        ]

    @pytest.mark.parametrize("name", ["", "x" * 600, "é" * 10_000], ids=["empty", "long", "very long"])
    def test_what_no_event_is_called_is_found_nowhere(self, store: EventStore, name: str) -> None:
        store.append(ACCOUNT, new_events(2), expected_version=0)

        assert list(store.streams(name)) == []
        assert list(store.read_all(categories=[name])) == list(store.read_all(types=[name])) == []
        assert len(list(store.read_all(categories=[name, "Account"], types=["Deposited", name]))) == 2

    @pytest.mark.parametrize("name", ["categories", "types"])
    def test_a_class_is_no_name_to_filter_by(self, store: EventStore, name: str) -> None:
        wrong: Any = {name: [NewEvent]}

        with pytest.raises(TypeError, match=r"names, as registry\.names_of\(SomeEvent\) gives them"):
            list(store.read_all(**wrong))

    @pytest.mark.parametrize("name", ["a\0b", "\0", "\ud800"], ids=ascii)
    def test_a_name_that_no_event_can_have_is_refused(self, store: EventStore, name: str) -> None:
        for ask in (
            lambda: store.streams(name),
            lambda: store.read_all(categories=[name]),
            lambda: store.read_all(types=[name]),
        ):
            with pytest.raises(ValueError, match="NUL or a lone surrogate"):
                list(ask())

    def test_a_long_log_is_read_whole_and_filtered_across_its_pages(self, store: EventStore) -> None:
        def append(stream: StreamId, count: int, type_: str) -> None:
            events = [NewEvent(type_, "{}") for _ in range(count)]
            store.append(stream, events, expected_version=ANY_VERSION)

        rare = StreamId("Audit", "1")
        for batch in range(26):
            append(StreamId("Account", str(batch % 3)), 99, "Deposited")
            append(rare, 1, "Audited" if batch % 13 else "Sealed")
        events = list(store.read_all())

        assert len(events) == LONG
        positions = [event.position for event in events]
        assert positions == sorted(set(positions))
        assert [event.version for event in store.read_all(categories=["Audit"])] == list(range(1, 27))
        assert [event.version for event in store.read_all(types=["Sealed"])] == [1, 14]
        assert list(store.read_all(types=["Sealed"], limit=2)) == list(store.read_all(types=["Sealed"]))
        assert [event.version for event in store.read_all(types=["Audited"], limit=20)] == [
            *range(2, 14),
            *range(15, 23),
        ]
        for page in (1, 999, 1000, 1001, 2000, LONG - 1, LONG, LONG + 1):
            assert list(store.read_all(limit=page)) == events[:page]
            after = events[min(page, LONG) - 1].position
            assert list(store.read_all(after=after)) == events[page:]
            wanted = [event for event in events[page:] if event.stream == rare]
            assert list(store.read_all(after=after, categories=["Audit"])) == wanted

    def test_whoever_reads_on_from_the_last_position_sees_everything_once(self, store: EventStore) -> None:
        streams = [StreamId(category, key) for category in ("Account", "Audit") for key in "123"]
        for number in range(60):
            store.append(streams[number % 6], new_events(number % 4 + 1), expected_version=ANY_VERSION)

        for size in (1, 7, 50):
            seen: list[StoredEvent] = []
            while page := list(store.read_all(after=seen[-1].position if seen else None, limit=size)):
                seen += page
                assert len(seen) <= 150
            assert seen == list(store.read_all())

    @pytest.mark.parametrize("bound", BAD_BOUNDS, ids=repr)
    @pytest.mark.parametrize("name", ["after", "limit"])
    def test_a_bound_of_the_log_that_makes_no_sense_is_refused(self, store: EventStore, name: str, bound: int) -> None:
        bounds: dict[str, Any] = {name: bound}

        with pytest.raises(ValueError, match=name):
            list(store.read_all(**bounds))
