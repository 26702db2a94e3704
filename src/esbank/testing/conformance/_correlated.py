"""Reading the events of one conversation, whatever their streams."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from typing import Any

import pytest

from esbank.store import ANY_VERSION, NO_STREAM, EventStore, Metadata, NewEvent, StreamAppend, StreamId
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_events, nothing_changes

__all__ = ["ReadsOfConversations"]

LONG = 2_600
"""More events than two pages of any sensible size."""

IDS = [
    "c-1", "C-1", "c-10", "c-", "c-1 ", " c-1", "c_1", "%", "", "\0", "a", "a\0", "a\0b", "é", "e\u0301", "😀", "ﬀ",
    "'", '"', "'; DROP TABLE esbank_events; --", ":name", "?", "{table}", "\\u0041", "A", "null", "0", "1", "1.0",
    "01", "\n", "\t", "\x7f", "\u2028", "x" * 100_000,
]  # fmt: skip


def in_conversation(correlation_id: str | None, *, data: str = "{}") -> NewEvent:
    """Make an event of a conversation."""
    return NewEvent("Noted", data, metadata=Metadata(correlation_id=correlation_id, actor="alice"))


class ReadsOfConversations:
    """``EventStore.read_correlated``."""

    def test_a_conversation_is_read_from_all_streams_in_position_order(self, store: EventStore) -> None:
        streams = (ACCOUNT, OTHER, StreamId("Customer", "1"))
        for number in range(12):
            events = [in_conversation(f"c-{number % 2}"), in_conversation(None), in_conversation("c-2")]
            store.append(streams[number % 3], events, expected_version=ANY_VERSION)
        log = list(store.read_all())

        for correlation_id, count in (("c-0", 6), ("c-1", 6), ("c-2", 12)):
            read = list(store.read_correlated(correlation_id))
            assert read == [event for event in log if event.metadata.correlation_id == correlation_id]
            assert len(read) == count
            assert len({event.stream for event in read}) == 3

    def test_events_appended_to_several_streams_at_once_are_one_conversation(self, store: EventStore) -> None:
        streams = (OTHER, ACCOUNT)
        store.append_many([StreamAppend(stream, [in_conversation("c-1")], NO_STREAM) for stream in streams])

        assert [event.stream for event in store.read_correlated("c-1")] == [OTHER, ACCOUNT]

    def test_a_conversation_that_never_was_is_empty(self, store: EventStore) -> None:
        assert list(store.read_correlated("c-1")) == []

        store.append(ACCOUNT, [*new_events(2), in_conversation("c-2")], expected_version=0)

        assert list(store.read_correlated("c-1")) == []
        assert list(store.read_correlated("")) == []

    def test_an_event_is_in_its_own_conversation_only(self, store: EventStore) -> None:
        store.append(ACCOUNT, [in_conversation(correlation_id) for correlation_id in IDS], expected_version=0)

        for version, correlation_id in enumerate(IDS, 1):
            read = list(store.read_correlated(correlation_id))
            assert [event.version for event in read] == [version], correlation_id[:20]
            assert read[0].metadata.correlation_id == correlation_id

    def test_what_is_no_correlation_id_does_not_count(self, store: EventStore) -> None:
        others = Metadata(causation_id="c-1", actor="c-1", extra={"correlation_id": "c-1"}, command_id="c-1")
        event = NewEvent("c-1", '{"correlation_id":"c-1"}', metadata=others)
        store.append(StreamId("c", "1"), [event], expected_version=0)

        assert list(store.read_correlated("c-1")) == []

    @pytest.mark.parametrize("wrong", [None, 1, b"c-1", ["c-1"], Metadata("c-1")], ids=repr)
    def test_a_correlation_id_that_is_no_text_is_refused(self, store: EventStore, wrong: Any) -> None:  # noqa: ANN401
        store.append(ACCOUNT, [in_conversation("1"), in_conversation("None")], expected_version=0)

        with pytest.raises(TypeError, match="correlation_id"):
            list(store.read_correlated(wrong))

    def test_a_correlation_id_that_no_event_can_have_is_refused(self, store: EventStore) -> None:
        store.append(ACCOUNT, [in_conversation("c-1")], expected_version=0)

        with pytest.raises(ValueError, match="correlation_id"):
            list(store.read_correlated("c-1\ud800"))

    def test_a_long_conversation_is_read_whole(self, store: EventStore) -> None:
        for batch in range(26):
            events = [in_conversation("long") for _ in range(100)]
            events.insert(50, in_conversation("short"))
            store.append((ACCOUNT, OTHER)[batch % 2], events, expected_version=ANY_VERSION)
        log = list(store.read_all())

        long = list(store.read_correlated("long"))
        assert len(long) == LONG
        assert long == [event for event in log if event.metadata.correlation_id == "long"]
        assert len(list(store.read_correlated("short"))) == 26

    def test_a_conversation_half_read_holds_up_no_writer(self, store: EventStore) -> None:
        store.append(ACCOUNT, [in_conversation("c-1") for _ in range(3)], expected_version=0)
        reading = store.read_correlated("c-1")
        assert next(reading).version == 1

        store.append(ACCOUNT, [in_conversation("c-1")], expected_version=3)
        store.append(OTHER, [in_conversation("c-1")], expected_version=0)

        assert [event.version for event in reading][:2] == [2, 3]
        assert [event.version for event in store.read_correlated("c-1")] == [1, 2, 3, 4, 1]

    def test_a_conversation_may_be_read_while_it_goes_on(self, store: EventStore) -> None:
        def write() -> None:
            for number in range(30):
                store.append(
                    (ACCOUNT, OTHER)[number % 2],
                    [in_conversation("c-1"), in_conversation("c-2"), in_conversation("c-1")],
                    expected_version=ANY_VERSION,
                )

        def read() -> None:
            seen = 0
            while seen < 120:
                events = list(store.read_correlated("c-1"))
                positions = [event.position for event in events]
                assert positions == sorted(set(positions))
                assert len(events) % 2 == 0
                assert len(events) >= seen
                seen = len(events)

        assert in_threads([write, write, read]) == [None] * 3

    def test_a_repeat_adds_nothing_to_a_conversation(self, store: EventStore) -> None:
        events = [in_conversation("c-1"), in_conversation("c-1")]
        first = store.append(ACCOUNT, events, expected_version=0)

        with nothing_changes(store):
            store.append(ACCOUNT, events, expected_version=ANY_VERSION)

        assert list(store.read_correlated("c-1")) == list(first.events)
