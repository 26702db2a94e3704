"""The digests that chain the events of a stream, computed here once more from nothing but their written form."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from attrs import evolve

from esbank.errors import ConcurrencyError
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    AppendResult,
    EventStore,
    ExpectedVersion,
    Metadata,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    event_digest,
    new_event_id,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_event, new_events, nothing_changes

__all__ = ["Digests"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RACERS = 8


def sealed_digest(event: StoredEvent, before: bytes) -> bytes:
    """Compute a digest as ``esbank.store`` describes it."""

    def time(moment: datetime) -> bytes:
        return struct.pack(">q", (moment - _EPOCH) // timedelta(microseconds=1))

    fields = (
        b"esbank event 1",
        before,
        struct.pack(">q", event.version),
        event.event_id.bytes,
        event.data.encode(),
        f"{event.stream.category}-{event.stream.key}".encode(),
        event.type.encode(),
        struct.pack(">q", event.schema_version),
        event.metadata_text.encode(),
        time(event.recorded_at),
        time(event.metadata.occurred_at or event.recorded_at),
    )
    return hashlib.sha256(b"".join(struct.pack(">I", len(field)) + field for field in fields)).digest()


def assert_sealed(events: Sequence[StoredEvent]) -> None:
    """Check the digests of all events of a stream."""
    before = bytes(32)
    for event in events:
        assert type(event.digest) is bytes
        assert event.digest == sealed_digest(event, before), (event.stream, event.version)
        before = event.digest


def assert_all_sealed(store: EventStore) -> None:
    """Check the digests of all events of a store."""
    streams = {event.stream for event in store.read_all()}
    assert streams
    for stream in streams:
        assert_sealed(list(store.read(stream)))


METADATA: dict[str, Metadata] = {
    "none": Metadata(),
    "all": Metadata("c-1", "because", "o'Hara 😀", extra={"b": [1, 2.5, None], "a": {"é": "\0"}}, command_id="x"),
    "later": Metadata(occurred_at=datetime(2024, 5, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45)))),
    "before 1970": Metadata(occurred_at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    "long before": Metadata(occurred_at=datetime(1582, 10, 4, 0, 0, 0, 7, tzinfo=UTC)),
    "far off": Metadata(occurred_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
}


class Digests:
    """``StoredEvent.digest``."""

    has_digests: ClassVar[bool] = True

    @pytest.fixture
    def sealing(self, store: EventStore) -> EventStore:
        """Return the store as one that seals its events."""
        if not self.has_digests:
            pytest.skip("this store keeps no digests")
        return store

    def test_every_event_has_a_digest_if_the_store_says_so(self, store: EventStore) -> None:
        told = store.append(ACCOUNT, new_events(2), expected_version=0).events
        read = [*store.read(ACCOUNT), *store.read_all(), store.find(ACCOUNT, told[0].event_id)]

        assert {event is not None and event.digest is not None for event in [*told, *read]} == {self.has_digests}

    def test_the_first_digest_is_that_of_32_zeros_and_the_event(self, sealing: EventStore) -> None:
        (stored,) = sealing.append(ACCOUNT, [new_event()], expected_version=0).events

        assert stored.digest == sealed_digest(stored, bytes(32)) == event_digest(stored, None)

    def test_each_digest_is_that_of_the_one_before_it_and_the_event(self, sealing: EventStore) -> None:
        for size in (1, 3, 2):
            for stream in (ACCOUNT, OTHER):
                sealing.append(stream, new_events(size), expected_version=sealing.version(stream))

        for stream in (ACCOUNT, OTHER):
            events = list(sealing.read(stream))
            assert len(events) == 6
            assert_sealed(events)
            assert all(event_digest(event, last.digest) == event.digest for last, event in pairwise(events))

    @pytest.mark.parametrize("expected", [2, STREAM_EXISTS, ANY_VERSION])
    def test_the_chain_goes_on_whatever_version_is_expected(
        self, sealing: EventStore, expected: ExpectedVersion
    ) -> None:
        sealing.append(ACCOUNT, new_events(2), expected_version=NO_STREAM)
        sealing.append(ACCOUNT, new_events(2), expected_version=expected)
        sealing.append(ACCOUNT, new_events(2), expected_version=ANY_VERSION)

        assert_sealed(list(sealing.read(ACCOUNT)))

    def test_the_chain_of_each_stream_goes_on_when_several_are_appended_to_at_once(self, sealing: EventStore) -> None:
        transfer = StreamId("Transfer", "1")
        sealing.append(OTHER, new_events(2), expected_version=0)
        for _ in range(3):
            results = sealing.append_many(
                [StreamAppend(stream, new_events(2), ANY_VERSION) for stream in (OTHER, transfer, ACCOUNT)],
                conditions=[StreamCondition(StreamId("Absent", "1"), NO_STREAM)],
            )
            for result in results:
                assert list(result.events) == list(sealing.read(result.stream, after=result.version - 2))

        for stream in (ACCOUNT, OTHER, transfer):
            assert_sealed(list(sealing.read(stream)))

    def test_every_way_of_reading_an_event_gives_the_same_digest(self, sealing: EventStore) -> None:
        stored = sealing.append(
            ACCOUNT, [NewEvent("A", "{}", metadata=Metadata(correlation_id="c")) for _ in range(3)], expected_version=0
        ).events
        digests = [event.digest for event in stored]

        assert len(set(digests)) == 3
        assert [event.digest for event in sealing.read(ACCOUNT)] == digests
        assert [event.digest for event in sealing.read(ACCOUNT, backwards=True)] == digests[::-1]
        assert [event.digest for event in sealing.read_all()] == digests
        assert [event.digest for event in sealing.read_correlated("c")] == digests
        found = [sealing.find(ACCOUNT, event.event_id) for event in stored]
        assert [event and event.digest for event in found] == digests

    @pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
    def test_metadata_are_sealed_as_they_are_stored(self, sealing: EventStore, metadata: Metadata) -> None:
        events = [NewEvent("Noted", "{}", metadata=metadata), new_event(), NewEvent("Noted", "{}", metadata=metadata)]

        sealing.append(ACCOUNT, events, expected_version=0)

        stored = list(sealing.read(ACCOUNT))
        assert [event.metadata for event in stored] == [metadata, Metadata(), metadata]
        assert stored[0].metadata_text == metadata.to_json()
        assert_sealed(stored)

    def test_the_events_of_one_append_may_differ_in_all_that_is_sealed(self, sealing: EventStore) -> None:
        events = [
            NewEvent(type_, data, schema_version=schema_version, metadata=metadata)
            for type_ in ("Deposited", "Ünïcode 😀")
            for schema_version in (1, 2**31 - 1)
            for metadata in METADATA.values()
            for data in ("{}", ' { "naïve" : "\\u00e9 é e\u0301 \\u0000 😀" }\r\n')
        ]

        sealing.append(ACCOUNT, events, expected_version=0)

        stored = list(sealing.read(ACCOUNT))
        assert len({event.digest for event in stored}) == len(events)
        assert_sealed(stored)

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "Withdrawn"},
            {"schema_version": 2},
            {"data": '{"number": 1}'},
            {"metadata": METADATA["all"]},
            {"metadata": METADATA["before 1970"]},
        ],
        ids=lambda changes: f"{changes}"[:40],
    )
    def test_neighbours_may_differ_in_one_thing_that_is_sealed(
        self, sealing: EventStore, changes: dict[str, Any]
    ) -> None:
        one = NewEvent("Deposited", '{"number":1}', metadata=METADATA["later"])
        events = [evolve(event, event_id=new_event_id()) for event in (one, evolve(one, **changes), one, one)]

        sealing.append(ACCOUNT, events, expected_version=0)

        assert_sealed(list(sealing.read(ACCOUNT)))

    @pytest.mark.parametrize(
        "stream", [StreamId("é", "e\u0301-😀"), StreamId("%", "a\n'b\""), StreamId("x" * 255, "y" * 256)], ids=repr
    )
    def test_any_name_of_a_stream_is_sealed(self, sealing: EventStore, stream: StreamId) -> None:
        sealing.append(stream, new_events(2), expected_version=0)

        assert_sealed(list(sealing.read(stream)))

    def test_a_megabyte_is_sealed(self, sealing: EventStore) -> None:
        sealing.append(ACCOUNT, [NewEvent("Noted", f'"{"é" * (1 << 19)}"'), new_event()], expected_version=0)

        assert_sealed(list(sealing.read(ACCOUNT)))

    def test_the_same_event_has_another_digest_in_another_stream(self, sealing: EventStore) -> None:
        event = new_event()
        here, there = sealing.append_many([StreamAppend(stream, [event], NO_STREAM) for stream in (ACCOUNT, OTHER)])

        assert here.events[0].digest != there.events[0].digest

    def test_a_digest_says_nothing_about_the_position(self, sealing: EventStore) -> None:
        sealing.append(OTHER, new_events(3), expected_version=0)
        (stored,) = sealing.append(ACCOUNT, [new_event()], expected_version=0).events
        elsewhere = StoredEvent(
            stored.stream,
            stored.version,
            stored.position + 1_000,
            stored.event_id,
            stored.type,
            stored.schema_version,
            stored.data,
            stored.metadata,
            stored.recorded_at,
        )

        assert event_digest(elsewhere, None) == stored.digest

    @pytest.mark.parametrize("expected", [NO_STREAM, ANY_VERSION])
    def test_a_repeat_returns_the_first_digests_and_seals_nothing_anew(
        self, sealing: EventStore, expected: ExpectedVersion
    ) -> None:
        events = new_events(2)
        first = sealing.append(ACCOUNT, events, expected_version=NO_STREAM)
        sealing.append(ACCOUNT, new_events(1), expected_version=2)

        with nothing_changes(sealing):
            again = sealing.append(ACCOUNT, events, expected_version=expected)

        assert [event.digest for event in again.events] == [event.digest for event in first.events]
        sealing.append(ACCOUNT, new_events(1), expected_version=3)
        assert_sealed(list(sealing.read(ACCOUNT)))

    def test_a_conflict_leaves_the_chain_as_it_was(self, sealing: EventStore) -> None:
        sealing.append(ACCOUNT, new_events(2), expected_version=0)
        late = new_events(2)
        with pytest.raises(ConcurrencyError):
            sealing.append(ACCOUNT, late, expected_version=1)
        with pytest.raises(ConcurrencyError):
            sealing.append_many([StreamAppend(ACCOUNT, late, 2), StreamAppend(OTHER, new_events(1), 5)])

        sealing.append(ACCOUNT, late, expected_version=2)

        assert_sealed(list(sealing.read(ACCOUNT)))

    def test_the_chain_is_whole_after_a_race_to_one_stream(self, sealing: EventStore) -> None:
        def append() -> None:
            for number in range(10):
                sealing.append(ACCOUNT, new_events(number % 3 + 1), expected_version=ANY_VERSION)

        assert in_threads([append] * RACERS) == [None] * RACERS

        assert_sealed(list(sealing.read(ACCOUNT)))
        assert sealing.version(ACCOUNT) == RACERS * 19

    def test_the_chains_are_whole_after_a_race_to_several_streams(self, sealing: EventStore) -> None:
        streams = [ACCOUNT, OTHER, StreamId("Transfer", "1")]

        def append(number: int) -> None:
            for turn in range(10):
                pair = (streams[(number + turn) % 3], streams[(number + turn + 1) % 3])
                sealing.append_many([StreamAppend(stream, new_events(2), ANY_VERSION) for stream in pair])

        assert in_threads([partial(append, number) for number in range(6)]) == [None] * 6

        assert_all_sealed(sealing)
        assert len(list(sealing.read_all())) == 6 * 10 * 4

    def test_the_chain_is_whole_after_racers_lost_and_tried_again(self, sealing: EventStore) -> None:
        def append() -> None:
            events = new_events(2)
            while True:
                try:
                    sealing.append(ACCOUNT, events, expected_version=sealing.version(ACCOUNT))
                except ConcurrencyError:
                    continue
                return

        assert in_threads([append] * RACERS) == [None] * RACERS

        assert_sealed(list(sealing.read(ACCOUNT)))

    def test_racers_with_the_same_append_are_told_the_same_digests(self, sealing: EventStore) -> None:
        events = new_events(3)

        outcomes = in_threads([partial(sealing.append, ACCOUNT, events, expected_version=ANY_VERSION)] * RACERS)

        told = [outcome.events for outcome in outcomes if isinstance(outcome, AppendResult)]
        assert told == [tuple(sealing.read(ACCOUNT))] * RACERS
        assert_sealed(told[0])
