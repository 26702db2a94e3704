"""An event comes back as it was given, whatever it says and whatever its stream is called."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, cast
from uuid import UUID

import pytest

from esbank.store import ANY_VERSION, EventStore, Metadata, NewEvent, StreamId
from esbank.testing.conformance._given import ACCOUNT, OTHER, new_event, new_events

__all__ = ["StoredEvents", "StreamNames"]


class StoredEvents:
    """``StoredEvent``: what a store keeps of a ``NewEvent``, and what it adds."""

    def test_an_event_comes_back_as_it_was_given(self, store: EventStore) -> None:
        given = NewEvent("Deposited", '{"amount":"12.50"}', schema_version=7, metadata=Metadata(actor="alice"))

        store.append(ACCOUNT, [given], expected_version=0)

        (stored,) = store.read(ACCOUNT)
        assert stored.stream == ACCOUNT
        assert stored.event_id == given.event_id
        assert stored.type == given.type
        assert stored.schema_version == given.schema_version
        assert stored.data == given.data
        assert stored.metadata == given.metadata
        assert list(store.read_all()) == [stored]
        assert store.find(ACCOUNT, given.event_id) == stored

    @pytest.mark.parametrize(
        "data",
        [
            '{"b":1,"a":2}',
            ' { "a" : 1.10 ,\n\t"b":[ ] } \r\n',
            '{"a":1,"a":2}',
            '{"number":123456789012345678901234567890,"small":1E-7,"zero":-0.0}',
            '"\\u00e9 é e\u0301 \\u0000 \\ud83d\\ude00 😀 \u2028 \\/ \x7f"',
            '{"quote":"\'","percent":"%s %(a)s","colon":":name","brace":"{table}"}',
            "null",
            "0",
            "[]",
        ],
    )
    def test_data_is_kept_to_the_byte(self, store: EventStore, data: str) -> None:
        store.append(ACCOUNT, [NewEvent("Noted", data)], expected_version=0)

        assert [event.data for event in store.read(ACCOUNT)] == [data]

    def test_any_uuid_is_an_event_id(self, store: EventStore) -> None:
        ids = [UUID(int=number) for number in (2**128 - 1, 2**127, 2**64 + 1, 2**64, 1, 0)]
        store.append(ACCOUNT, [NewEvent("Noted", "{}", event_id=event_id) for event_id in ids], expected_version=0)

        assert [event.event_id for event in store.read(ACCOUNT)] == ids
        found = [store.find(ACCOUNT, event_id) for event_id in ids]
        assert [event and event.version for event in found] == [1, 2, 3, 4, 5, 6]
        assert store.find(ACCOUNT, UUID(int=2)) is None

    def test_data_of_a_megabyte_is_kept(self, store: EventStore) -> None:
        events = [NewEvent("Noted", f'"{letter * (1 << 19)}"') for letter in ("é", "x")]

        store.append(ACCOUNT, events, expected_version=0)

        assert [event.data for event in store.read(ACCOUNT)] == [event.data for event in events]

    @pytest.mark.parametrize(
        "type_", ["Deposited", "bank.deposited.v1", "Ünïcode 😀", "o'Clock", '"', "%", "x" * 1_000]
    )
    def test_any_name_of_a_type_is_kept(self, store: EventStore, type_: str) -> None:
        store.append(ACCOUNT, [new_event(type=type_), new_event(type="Other")], expected_version=0)

        assert [event.type for event in store.read(ACCOUNT)] == [type_, "Other"]
        assert [event.type for event in store.read_all(types=[type_])] == [type_]

    @pytest.mark.parametrize("schema_version", [1, 2, 99, 2**31 - 1])
    def test_the_schema_version_is_kept(self, store: EventStore, schema_version: int) -> None:
        store.append(ACCOUNT, [NewEvent("Deposited", "{}", schema_version=schema_version)], expected_version=0)

        assert [event.schema_version for event in store.read(ACCOUNT)] == [schema_version]

    def test_metadata_is_kept(self, store: EventStore) -> None:
        metadata = Metadata(
            correlation_id="c-1",
            causation_id="😀",
            actor="o'Hara",
            occurred_at=datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
            extra={"deep": {"list": [1, 2.5, True, None, "é\u0000"], "empty": {}}, "": 2**53 + 1},
            command_id="cmd-1",
            command_fingerprint="f" * 64,
        )

        store.append(ACCOUNT, [NewEvent("Noted", "{}", metadata=metadata), new_event()], expected_version=0)

        assert [event.metadata for event in store.read(ACCOUNT)] == [metadata, Metadata()]

    @pytest.mark.parametrize(
        "occurred_at",
        [
            datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(2024, 10, 27, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=-3))),
            datetime(1582, 10, 4, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        ],
        ids=str,
    )
    def test_when_it_happened_is_kept_in_utc(self, store: EventStore, occurred_at: datetime) -> None:
        given = NewEvent("Noted", "{}", metadata=Metadata(occurred_at=occurred_at))

        store.append(ACCOUNT, [given], expected_version=0)

        (stored,) = store.read(ACCOUNT)
        assert stored.occurred_at == occurred_at
        assert stored.occurred_at.utcoffset() == timedelta(0)

    def test_an_event_happened_when_it_was_recorded_unless_it_says_otherwise(self, store: EventStore) -> None:
        (stored,) = store.append(ACCOUNT, [new_event()], expected_version=0).events

        assert stored.occurred_at == stored.recorded_at

    def test_events_are_recorded_in_utc_and_time_never_goes_back(self, store: EventStore) -> None:
        for number in range(30):
            store.append((ACCOUNT, OTHER)[number % 2], new_events(2), expected_version=ANY_VERSION)

        times = [event.recorded_at for event in store.read_all()]
        assert {time.utcoffset() for time in times} == {timedelta(0)}
        assert all(earlier <= later for earlier, later in pairwise(times))

    def test_nothing_stored_changes_with_what_was_given(self, store: EventStore) -> None:
        tags = ["a"]
        event = NewEvent("Noted", "{}", metadata=Metadata(extra={"tags": tags}))
        store.append(ACCOUNT, [event], expected_version=0)

        tags.append("b")
        cast("dict[str, Any]", event.metadata.extra)["actor"] = "mallory"

        (stored,) = store.read(ACCOUNT)
        assert stored.metadata.extra == {"tags": ["a"]}

    def test_nothing_stored_changes_with_what_was_read(self, store: EventStore) -> None:
        store.append(ACCOUNT, [NewEvent("Noted", "{}", metadata=Metadata(extra={"a": 1}))], expected_version=0)

        (read,) = store.read(ACCOUNT)
        cast("dict[str, Any]", read.metadata.extra)["b"] = 2

        (again,) = store.read(ACCOUNT)
        assert again.metadata.extra == {"a": 1}


class StreamNames:
    """Any ``StreamId`` names a stream, and no two are confused."""

    def test_streams_of_any_name_are_kept_apart(self, store: EventStore) -> None:
        streams = [
            *(StreamId("Account", key) for key in _KEYS),
            *(StreamId(category, "1") for category in _CATEGORIES),
            StreamId("x" * 255, "y" * 256),
            StreamId("x" * 255, "y" * 255 + "z"),
            StreamId("é" * 100, "😀" * 77 + "abc"),
        ]
        assert len({str(stream) for stream in streams}) == len(streams)
        ids: dict[StreamId, UUID] = {}
        for stream in streams:
            result = store.append(stream, [event := new_event()], expected_version=0)
            assert result.stream == stream
            ids[stream] = event.event_id

        for stream in streams:
            assert store.version(stream) == 1, stream
            (stored,) = store.read(stream)
            assert (stored.stream, stored.event_id) == (stream, ids[stream])
            assert store.find(stream, ids[stream]) == stored
            assert list(store.read_all(categories=[stream.category])).count(stored) == 1
            assert stream in list(store.streams(stream.category))
        assert [event.stream for event in store.read_all()] == streams


_KEYS = [
    "1", "-", "--", "-1", "1-", "a-b", "a/b", "/", "\\", ".", "..", "%", "%%", "%s", "_", "*", "?", ":name", "{table}",
    "'", "''", '"', "`", "$1", "'; DROP TABLE esbank_events; --", "A", "a", "ß", "SS", "ss", "é", "e\u0301", "İ", "i",
    "\u0131", "I", "😀", "\u200b", "\ufeff", " ", " a", "a ", "\t", "\n", "\r\n", "\x01", "\x7f", "null", "None", "0",
    "00", "1.0", "٣", "3",
]  # fmt: skip
_CATEGORIES = [
    "account",
    "ACCOUNT",
    "Account ",
    "Accoun_",
    "%",
    "'",
    '"',
    "é",
    "e\u0301",
    "😀",
    "a/b",
    "a.b",
    ":",
    "A:B",
]
