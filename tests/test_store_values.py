"""The values that go into a store and come out of it: names, expectations, events, metadata."""

import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import chain
from typing import Any, get_args, get_type_hints
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from esbank import Metadata
from esbank.store import (
    ANY_VERSION,
    NO_METADATA,
    NO_STREAM,
    STREAM_EXISTS,
    ExpectedVersion,
    NewEvent,
    StoredEvent,
    StreamId,
    event_digest,
    is_expected,
    new_event_id,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=100)
MOMENTS = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis adds the time zone
    max_value=datetime(9998, 1, 1),  # noqa: DTZ001 - hypothesis adds the time zone
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=10,
)
METADATA = st.builds(
    Metadata,
    correlation_id=st.none() | st.text(),
    causation_id=st.none() | st.text(),
    actor=st.none() | st.text(),
    occurred_at=st.none() | MOMENTS,
    extra=st.dictionaries(st.text(), JSON, max_size=3),
    command_id=st.none() | st.text(),
    command_fingerprint=st.none() | st.text(),
)


class TestStreamId:
    def test_it_is_written_as_category_dash_key(self) -> None:
        assert str(StreamId("BankAccount", "acc-001")) == "BankAccount-acc-001"

    def test_the_key_begins_after_the_first_dash(self) -> None:
        assert StreamId.parse("BankAccount-acc-001") == StreamId("BankAccount", "acc-001")

    @given(category=TEXTS.filter(lambda text: "-" not in text), key=TEXTS)
    @settings(deadline=None)
    def test_a_name_that_is_written_reads_back(self, category: str, key: str) -> None:
        stream = StreamId(category, key)

        assert StreamId.parse(str(stream)) == stream

    @pytest.mark.parametrize("name", ["", "BankAccount", "-001", "BankAccount-", "-"])
    def test_what_is_no_category_dash_key_is_no_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"category|key"):
            StreamId.parse(name)

    @pytest.mark.parametrize(
        ("category", "key", "problem"),
        [
            ("", "1", "category must not be empty"),
            ("Account", "", "key must not be empty"),
            ("Bank-Account", "1", "category must not contain '-'"),
            ("Acc\0unt", "1", "category must not contain a NUL"),
            ("Account", "\0", "key must not contain a NUL"),
            ("Account\ud800", "1", "category must not contain a lone surrogate"),
            ("Account", "a\udfffb", "key must not contain a lone surrogate"),
        ],
    )
    def test_a_name_that_some_backend_could_not_hold_is_refused(self, category: str, key: str, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            StreamId(category, key)

    @pytest.mark.parametrize(("category", "key"), [(None, "1"), (b"bytes", "1"), ("Account", 1), ("Account", None)])
    def test_the_parts_of_a_name_are_text(self, category: str, key: str) -> None:
        with pytest.raises(TypeError, match="must be a str"):
            StreamId(category, key)

    @pytest.mark.parametrize("key", ["x" * 510, "é" * 255, "€" * 170, "😀" * 127 + "xx"], ids=len)
    def test_a_name_has_at_most_512_bytes(self, key: str) -> None:
        assert len(str(StreamId("A", key)).encode()) == 512

        with pytest.raises(ValueError, match="at most 512 bytes"):
            StreamId("A", key + "x")

    def test_the_bytes_of_the_category_count_too(self) -> None:
        with pytest.raises(ValueError, match="at most 512 bytes"):
            StreamId("A" * 256, "x" * 256)

    def test_characters_beyond_16_bits_are_welcome(self) -> None:
        assert StreamId.parse("Account-😀").key == "😀"

    def test_equal_names_hash_alike(self) -> None:
        assert {StreamId("Account", "1"), StreamId.parse("Account-1")} == {StreamId("Account", "1")}

    def test_names_are_ordered_by_category_and_then_by_key(self) -> None:
        a1, a2, b1 = StreamId("A", "1"), StreamId("A", "2"), StreamId("B", "1")

        assert sorted([b1, a2, a1]) == [a1, a2, b1]

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            StreamId("A", "1").key = "2"


class TestExpectedVersion:
    @pytest.mark.parametrize(
        ("expected", "actual", "answer"),
        [
            (NO_STREAM, 0, True),
            (NO_STREAM, 1, False),
            (NO_STREAM, 7, False),
            (7, 7, True),
            (7, 0, False),
            (7, 6, False),
            (7, 8, False),
            (STREAM_EXISTS, 0, False),
            (STREAM_EXISTS, 1, True),
            (STREAM_EXISTS, 7, True),
            (ANY_VERSION, 0, True),
            (ANY_VERSION, 7, True),
        ],
    )
    def test_a_stream_is_as_expected(self, expected: ExpectedVersion, actual: int, answer: bool) -> None:  # noqa: FBT001 - a truth table
        assert is_expected(expected, actual) is answer

    def test_no_stream_is_version_0_and_a_number(self) -> None:
        assert type(NO_STREAM) is int
        assert NO_STREAM == 0

    def test_an_expectation_that_is_no_number_says_what_it_is(self) -> None:
        assert (str(STREAM_EXISTS), repr(ANY_VERSION)) == ("a stream that exists", "any version")

    def test_neither_equals_a_version(self) -> None:
        assert STREAM_EXISTS not in {0, 1}
        assert ANY_VERSION not in {0, 1}


class TestMetadata:
    @given(METADATA)
    @settings(deadline=None)
    def test_what_is_written_reads_back(self, metadata: Metadata) -> None:
        assert Metadata.from_json(metadata.to_json()) == metadata

    def test_nothing_known_is_an_empty_object(self) -> None:
        assert NO_METADATA.to_json() == "{}"
        assert Metadata.from_json("{}") == NO_METADATA == Metadata()

    def test_only_what_is_known_is_written(self) -> None:
        assert Metadata(actor="alice", extra={"ip": "::1"}).to_json() == '{"actor":"alice","extra":{"ip":"::1"}}'

    def test_a_falsy_value_is_known_too(self) -> None:
        assert Metadata(actor="").to_json() == '{"actor":""}'

    @pytest.mark.parametrize("name", ["correlation_id", "causation_id", "actor", "command_id", "command_fingerprint"])
    @pytest.mark.parametrize("value", [1, b"x", UUID(int=1), ["x"]])
    def test_an_id_is_text(self, name: str, value: object) -> None:
        with pytest.raises(TypeError, match=f"{name} must be a str or None"):
            Metadata(**{name: value})

    def test_a_moment_is_kept_in_utc(self) -> None:
        noon_in_cairo = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

        occurred_at = Metadata(occurred_at=noon_in_cairo).occurred_at

        assert occurred_at == noon_in_cairo
        assert occurred_at is not None
        assert (occurred_at.hour, occurred_at.tzinfo) == (10, UTC)

    def test_a_moment_without_a_time_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must know its time zone"):
            Metadata(occurred_at=datetime(2024, 1, 1))  # noqa: DTZ001 - that is the point

    @pytest.mark.parametrize("value", [0, "2024-01-01T00:00:00Z", date(2024, 1, 1)])
    def test_a_moment_is_a_datetime(self, value: object) -> None:
        with pytest.raises(TypeError, match="must be a datetime"):
            Metadata(occurred_at=value)

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
            datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12))),
        ],
        ids=str,
    )
    def test_a_moment_that_utc_cannot_say_is_refused(self, moment: datetime) -> None:
        with pytest.raises(ValueError, match=r"."):
            Metadata(occurred_at=moment)

    @pytest.mark.parametrize(
        ("extra", "problem"),
        [
            ({"x": float("nan")}, r"extra\['x'\]: a number must be finite"),
            ({"x": [1, float("inf")]}, r"extra\['x'\]\[1\]: a number must be finite"),
            ({1: "x"}, "extra: a key must be a str, not 1"),
            ({"x": {None: 1}}, r"extra\['x'\]: a key must be a str, not None"),
            ({"x": object}, r"extra\['x'\]: JSON cannot say <class 'object'>"),
            ({"x": b"bytes"}, r"extra\['x'\]: JSON cannot say b'bytes'"),
            ({"x": {1}}, r"extra\['x'\]: JSON cannot say {1}"),
            ({"x": UUID(int=1)}, r"extra\['x'\]: JSON cannot say UUID"),
            ({"x": "\ud800"}, "lone surrogate"),
            ({"\ud800": "x"}, "lone surrogate"),
        ],
        ids=str,
    )
    def test_what_json_cannot_say_is_refused(self, extra: dict[str, object], problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            Metadata(extra=extra).to_json()

    def test_an_extra_that_contains_itself_is_refused(self) -> None:
        endless: list[object] = []
        endless.append(endless)

        with pytest.raises(ValueError, match="extra"):
            Metadata(extra={"x": endless}).to_json()

    def test_a_later_change_of_what_was_given_does_not_show(self) -> None:
        extra = {"ip": "::1"}
        metadata = Metadata(extra=extra)
        extra["ip"] = "::2"

        assert metadata.extra == {"ip": "::1"}

    def test_it_can_be_hashed_whatever_the_extra_is(self) -> None:
        assert hash(Metadata(actor="a", extra={"x": [1]})) == hash(Metadata(actor="a"))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "[]",
            '"actor"',
            "{",
            "{} {}",
            '{"unknown":1}',
            '{"actor":1}',
            '{"actor":"\ud800"}',
            '{"extra":[]}',
            '{"extra":{"x":NaN}}',
            '{"occurred_at":"2024-01-01T00:00:00"}',
            '{"occurred_at":0}',
            '{"occurred_at":"soon"}',
        ],
    )
    def test_what_it_has_not_written_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            Metadata.from_json(text)

    def test_endless_brackets_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"."):
            Metadata.from_json('{"extra":{"x":' + "[" * 100_000)


class TestNewEvent:
    def test_it_has_an_id_a_schema_version_and_no_metadata_by_default(self) -> None:
        one, other = NewEvent("Deposited", "{}"), NewEvent("Deposited", "{}")

        assert one.event_id != other.event_id
        assert (one.schema_version, one.metadata) == (1, NO_METADATA)

    @pytest.mark.parametrize("data", ["{}", "[1, 2]", '"text"', "null", " 1 ", '{"a":\n1}', '{"a":1e400}'])
    def test_its_data_are_any_json_text_kept_as_it_is(self, data: str) -> None:
        assert NewEvent("Deposited", data).data == data

    @pytest.mark.parametrize("data", ["", "{", "{}}", "{a:1}", "nul", "NaN", "{'a':1}", '"\ud800"'])
    def test_data_that_are_no_json_text_are_refused(self, data: str) -> None:
        with pytest.raises(ValueError, match="data must be JSON text"):
            NewEvent("Deposited", data)

    def test_endless_brackets_are_refused(self) -> None:
        with pytest.raises(ValueError, match="data must be JSON text"):
            NewEvent("Deposited", "[" * 100_000)

    @pytest.mark.parametrize("data", [b"{}", {}, None, 1])
    def test_its_data_are_text(self, data: object) -> None:
        with pytest.raises(TypeError, match="data must be JSON text"):
            NewEvent("Deposited", data)

    @pytest.mark.parametrize("name", ["", "\0", "a\ud800"])
    def test_a_type_that_no_backend_could_hold_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="an event's type must not"):
            NewEvent(name, "{}")

    @pytest.mark.parametrize("name", [None, b"Deposited", 1])
    def test_its_type_is_text(self, name: object) -> None:
        with pytest.raises(TypeError, match="an event's type must be a str"):
            NewEvent(name, "{}")

    @pytest.mark.parametrize("schema_version", [0, -1, True, 1.0, "1", None, 2**31, 2**63, 10**30])
    def test_its_schema_version_is_an_int_from_1_to_31_bits(self, schema_version: object) -> None:
        with pytest.raises(ValueError, match=r"a schema version is an int from 1 to 2147483647\b"):
            NewEvent("Deposited", "{}", schema_version=schema_version)

    @pytest.mark.parametrize("given", [{"event_id": "1"}, {"event_id": b"1" * 16}, {"metadata": "{}"}], ids=str)
    def test_its_id_and_its_metadata_have_their_types(self, given: dict[str, object]) -> None:
        with pytest.raises(TypeError):
            NewEvent("Deposited", "{}", **given)


class TestNewEventId:
    def test_it_is_a_uuid_of_version_7(self) -> None:
        event_id = new_event_id()

        assert (event_id.version, event_id.variant) == (7, RFC_4122)

    def test_it_begins_with_the_milliseconds_so_that_ids_are_ordered_by_time(self) -> None:
        before = time.time_ns() // 1_000_000
        milliseconds = new_event_id().int >> 80
        after = time.time_ns() // 1_000_000

        assert before <= milliseconds <= after

    def test_ten_thousand_differ(self) -> None:
        assert len({new_event_id() for _ in range(10_000)}) == 10_000

    def test_threads_make_different_ones(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = [*chain.from_iterable(pool.map(lambda _: [new_event_id() for _ in range(2_000)], range(8)))]

        assert len(set(made)) == len(made)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_a_forked_child_makes_others_than_its_parent(self) -> None:
        program = """if True:
            import os
            from esbank.store import new_event_id
            new_event_id()
            if child := os.fork():
                os.waitpid(child, 0)
            for _ in range(1000):
                print(new_event_id().int & ((1 << 62) - 1), flush=True)
        """

        printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

        assert len(set(printed.split())) == 2_000


STREAM = StreamId("Account", "1")
EVENT_ID = UUID(bytes=bytes(range(16)))
METADATA_TEXT = '{"actor":"alice","occurred_at":"2024-01-01T00:00:00Z"}'
RECORDED_AT = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
MICROSECONDS = 1_709_251_199_999_999

EAGER = StoredEvent(STREAM, 1, 5, EVENT_ID, "Paid", 2, "{}", Metadata.from_json(METADATA_TEXT), RECORDED_AT)
LAZY = StoredEvent(STREAM, 1, 5, EVENT_ID.bytes, "Paid", 2, "{}", METADATA_TEXT, MICROSECONDS)


class TestStoredEvent:
    def test_what_a_backend_passes_raw_is_the_same(self) -> None:
        assert LAZY == EAGER
        assert (LAZY.event_id, LAZY.recorded_at) == (EVENT_ID, RECORDED_AT)
        assert LAZY.metadata == EAGER.metadata

    def test_equal_events_hash_alike(self) -> None:
        assert hash(LAZY) == hash(EAGER)
        assert {LAZY, EAGER} == {EAGER}

    @pytest.mark.parametrize(
        "other",
        [
            StoredEvent(STREAM, 1, 5, os.urandom(16), "Paid", 2, "{}", METADATA_TEXT, MICROSECONDS),
            StoredEvent(STREAM, 1, 5, EVENT_ID.bytes, "Paid", 2, "{}", "{}", MICROSECONDS),
            StoredEvent(STREAM, 1, 5, EVENT_ID.bytes, "Paid", 2, "{}", METADATA_TEXT, MICROSECONDS + 1),
            StoredEvent(STREAM, 1, 5, EVENT_ID.bytes, "Paid", 2, "[]", METADATA_TEXT, MICROSECONDS),
            StoredEvent(STREAM, 1, 6, EVENT_ID.bytes, "Paid", 2, "{}", METADATA_TEXT, MICROSECONDS),
        ],
        ids=["id", "metadata", "time", "data", "position"],
    )
    def test_events_differ_by_whatever_is_stored(self, other: StoredEvent) -> None:
        assert other != EAGER

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            EAGER.data = "[]"  # type: ignore[misc]

    def test_it_shows_all_but_its_digest(self) -> None:
        assert repr(LAZY) == repr(EAGER)
        assert repr(EAGER) == (
            f"StoredEvent(stream={STREAM!r}, version=1, position=5, event_id={EVENT_ID!r}, type='Paid', "
            f"schema_version=2, data='{{}}', metadata={EAGER.metadata!r}, recorded_at={RECORDED_AT!r})"
        )

    @pytest.mark.parametrize(
        "damaged", [{"_event_id": b"short"}, {"_metadata": '{"unheard":1}'}, {"_recorded_at": "today"}], ids=str
    )
    def test_a_damaged_one_can_be_shown(self, damaged: dict[str, Any]) -> None:
        assert str(next(iter(damaged.values()))) in repr(replace(LAZY, **damaged))

    def test_it_can_be_pickled_and_copied(self) -> None:
        assert pickle.loads(pickle.dumps(LAZY)) == deepcopy(LAZY) == EAGER  # noqa: S301 - it is our own

    def test_a_time_before_1970_is_a_time_too(self) -> None:
        event = StoredEvent(STREAM, 1, 5, EVENT_ID, "Paid", 2, "{}", NO_METADATA, -1)

        assert event.recorded_at == datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

    @given(st.datetimes(timezones=st.just(UTC)))
    @settings(deadline=None)
    def test_no_microsecond_is_lost(self, moment: datetime) -> None:
        microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

        assert StoredEvent(STREAM, 1, 5, EVENT_ID, "Paid", 2, "{}", "{}", microseconds).recorded_at == moment

    def test_it_occurred_when_its_metadata_say(self) -> None:
        assert LAZY.occurred_at == datetime(2024, 1, 1, tzinfo=UTC)

    def test_it_occurred_when_it_was_recorded_if_nobody_says_otherwise(self) -> None:
        assert StoredEvent(STREAM, 1, 5, EVENT_ID, "Paid", 2, "{}", "{}", MICROSECONDS).occurred_at == RECORDED_AT


def test_a_digest_does_not_depend_on_what_was_digested_before() -> None:
    def digest(schema_version: Any) -> bytes:  # noqa: ANN401 - also what is none
        return event_digest(StoredEvent(STREAM, 1, 1, UUID(int=1), "Once", schema_version, "{}", "{}", 0), None)

    digest(1)
    with pytest.raises(Exception, match="integer"):
        digest(1.0)


def test_the_types_of_metadata_are_known_at_run_time() -> None:
    hints = get_type_hints(Metadata)

    assert hints["actor"] == str | None
    assert get_args(hints["extra"])[0] is str
