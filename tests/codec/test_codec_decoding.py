"""Stored data that do not fit exactly are refused, and the error says where the misfit is."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from types import NoneType
from typing import Self
from uuid import UUID

import attrs
import pytest
from attrs import define, field, frozen

from esbank import EventCodec, EventDecodingError, EventRegistry, NewerSchemaVersion, UnknownEventType, event
from esbank.store import NO_METADATA, StoredEvent, StreamId


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Forgiving(Enum):
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, _value: object) -> Self:
        return cls.UNKNOWN


class Inventing(Enum):
    """Makes a member for every value that it does not know."""

    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        made = object.__new__(cls)
        made._name_ = made._value_ = value
        return made


class Grumpy(Enum):
    CALM = "calm"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        raise KeyError(value)


@frozen
class Price:
    amount: Decimal


@define
class Line:
    price: Price | None
    tags: list[str] = field(factory=list)
    pair: tuple[int, str] = (0, "")


@event(name="OrderPlaced", schema_version=2)
@frozen
class Ordered:
    number: int
    lines: tuple[Line, ...] = ()
    notes: dict[str, str] = field(factory=dict)
    labels: set[str] = field(factory=set)


def holding(annotation: object) -> type:
    """Make a class of events with one value of a type."""
    return attrs.make_class("Held", {"value": attrs.field(type=annotation)}, frozen=True)


def read(cls: type, data: str, *, name: str | None = None, schema_version: int | None = None) -> object:
    registry = EventRegistry(cls)
    binding = registry.by_class(cls)
    assert binding is not None
    stored = StoredEvent(
        StreamId("Order", "o-1"),
        7,
        40,
        UUID(int=1),
        name or binding.name,
        schema_version or binding.schema_version,
        data,
        NO_METADATA,
        0,
    )
    return EventCodec(registry).decode(stored)


def refused(cls: type, data: str) -> EventDecodingError:
    with pytest.raises(EventDecodingError) as caught:
        read(cls, data)
    return caught.value


LAXITIES = [
    (int, '"12"'),
    (int, "12.0"),
    (int, "12.9"),
    (int, "1e2"),
    (int, "true"),
    (int, "null"),
    (int, "[]"),
    (int, "1e999"),
    (float, "1"),
    (float, "-0"),
    (float, '"1.0"'),
    (float, "true"),
    (float, "NaN"),
    (float, "Infinity"),
    (float, "-Infinity"),
    (float, '"NaN"'),
    (float, "1e999"),
    (float, "-1e999"),
    (bool, "1"),
    (bool, "0"),
    (bool, '"true"'),
    (bool, "null"),
    (NoneType, "0"),
    (NoneType, "false"),
    (NoneType, '""'),
    (str, "1"),
    (str, "true"),
    (str, "null"),
    (str, '["a"]'),
    (str, '"\\ud800"'),
    (str, '"\ud800"'),
    (Decimal, "1"),
    (Decimal, "1.5"),
    (Decimal, "true"),
    (Decimal, '" 1"'),
    (Decimal, '"1 "'),
    (Decimal, '"1\\n"'),
    (Decimal, '"1_0"'),
    (Decimal, '"NaN"'),
    (Decimal, '"-NaN"'),
    (Decimal, '"sNaN"'),
    (Decimal, '"NaN123"'),
    (Decimal, '"Infinity"'),
    (Decimal, '"-Infinity"'),
    (Decimal, '"inf"'),
    (Decimal, '"1e"'),
    (Decimal, '"e1"'),
    (Decimal, '"."'),
    (Decimal, '".5"'),
    (Decimal, '"5."'),
    (Decimal, '"+1"'),
    (Decimal, '"--1"'),
    (Decimal, '""'),
    (Decimal, '"1,5"'),
    (Decimal, '"0x10"'),
    (Decimal, '"١٢"'),
    (Decimal, '"\N{FULLWIDTH DIGIT ONE}"'),
    (Decimal, '"1e9999999999999999999"'),
    (Decimal, '"1e-9999999999999999999"'),
    (Decimal, '"\\ud800"'),
    (UUID, "1"),
    (UUID, '"1"'),
    (UUID, '"urn:uuid:00000000-0000-0000-0000-000000000001"'),
    (UUID, '"{00000000-0000-0000-0000-000000000001}"'),
    (UUID, '" 00000000-0000-0000-0000-000000000001"'),
    (datetime, "0"),
    (datetime, "1704067200.5"),
    (datetime, '"1704067200"'),
    (datetime, '"2024-01-01"'),
    (datetime, '"2024-01-01T00:00:00"'),
    (datetime, '"2024-01-01T00:00Z"'),
    (datetime, '"2024-01-01T00:00:00.1234567Z"'),
    (datetime, '"2024-01-01T00:00:00.123456000Z"'),
    (datetime, '"2024-01-01T24:00:00Z"'),
    (datetime, '"2024-01-01T23:59:60Z"'),
    (datetime, '"2024-02-30T00:00:00Z"'),
    (datetime, '"2024-01-01T00:00:00+00:00:30"'),
    (datetime, '"2024-01-01T00:00:00 Europe/Paris"'),
    (datetime, '"yesterday"'),
    (datetime, '"\\ud800"'),
    (date, '"2024-01-01T00:00:00Z"'),
    (date, '"2024-01-01T00:00:00"'),
    (date, '"20240101"'),
    (date, '"2024-1-1"'),
    (date, '"2023-02-29"'),
    (date, "20240101"),
    (Colour, '"RED"'),
    (Colour, '"blue"'),
    (Colour, '"Red"'),
    (Colour, "1"),
    (Colour, "[]"),
    (Colour, "null"),
    (Level, "2"),
    (Level, "1.0"),
    (Level, "true"),
    (Level, '"1"'),
    (Level, '"LOW"'),
    (Forgiving, '"anything"'),
    (Forgiving, "1"),
    (Inventing, '"invented"'),
    (Grumpy, '"grumpy"'),
    (Price, "[]"),
    (Price, '["1"]'),
    (Price, "null"),
    (Price, '"1"'),
    (list[int], "{}"),
    (list[int], "null"),
    (list[int], '"12"'),
    (list[int], "1"),
    (tuple[int, ...], '{"0":1}'),
    (tuple[int, int], "[1]"),
    (tuple[int, int], "[1,2,3]"),
    (tuple[()], "[1]"),
    (set[int], "[1,1]"),
    (set[int], "[ 1, 1]"),
    (set[Decimal], '["1","1.0"]'),
    (frozenset[str], '["a","a"]'),
    (set[int], "{}"),
    (dict[str, int], "[]"),
    (dict[str, int], '[["a",1]]'),
    (dict[str, int], "null"),
]


@pytest.mark.parametrize(
    ("annotation", "value"), LAXITIES, ids=lambda value: ascii(value) if isinstance(value, str) else str(value)
)
def test_a_value_that_is_not_exactly_what_its_type_is_written_as_is_refused(annotation: object, value: str) -> None:
    error = refused(holding(annotation), f'{{"value":{value}}}')

    # What is no JSON at all is so as a whole.
    assert error.field == ("" if value in {"NaN", "Infinity", "-Infinity"} else "value")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [case for case in LAXITIES if case[1] != "null"],
    ids=lambda value: ascii(value) if isinstance(value, str) else str(value),
)
def test_it_is_refused_in_a_list_of_optional_values_too(annotation: object, value: str) -> None:
    with pytest.raises(EventDecodingError):
        read(holding(list[annotation | None]), f'{{"value": [{value}]}}')


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ('{"number":"1"}', "number", "expected int, got str '1'"),
        ('{"number":1,"colour":2}', "colour", "Ordered has no such field"),
        ('{"number":1,"colour":null}', "colour", "Ordered has no such field"),
        ('{"number":1,"Number":1}', "Number", "Ordered has no such field"),
        ("{}", "number", "it is missing, and the field has no default"),
        ('{"lines":[]}', "number", "it is missing, and the field has no default"),
        ('{"number":null}', "number", "expected int, got NoneType None"),
        ('{"number":1,"lines":null}', "lines", "expected tuple["),
        ('{"number":1,"lines":[7]}', "lines[0]", "expected an object, got int 7"),
        ('{"number":1,"lines":[[]]}', "lines[0]", "expected an object, got list []"),
        ('{"number":1,"lines":[{}]}', "lines[0].price", "it is missing, and the field has no default"),
        ('{"number":1,"lines":[{"price":null},{"price":{}}]}', "lines[1].price.amount", "it is missing"),
        (
            '{"number":1,"lines":[{"price":null},{"price":null},{"price":{"amount":1.5}}]}',
            "lines[2].price.amount",
            "expected a Decimal as text, got float 1.5",
        ),
        (
            '{"number":1,"lines":[{"price":{"amount":"NaN"},"tags":[],"pair":[0,""]}],"notes":{},"labels":[]}',
            "lines[0].price.amount",
            "'NaN' is no finite Decimal",
        ),
        ('{"number":1,"lines":[{"price":{"amount":"1","by":"x"}}]}', "lines[0].price.by", "Price has no such field"),
        ('{"number":1,"lines":[{"price":null,"tags":["a",1]}]}', "lines[0].tags[1]", "expected str, got int 1"),
        ('{"number":1,"lines":[{"price":null,"pair":[0,1]}]}', "lines[0].pair[1]", "expected str, got int 1"),
        ('{"number":1,"notes":{"a b":1}}', "notes['a b']", "expected str, got int 1"),
        ('{"number":1,"labels":["a","b","a"]}', "labels", "a set holds a value once"),
        ('{"number":1,"number":1}', "number", "the key is there twice"),
        ('{"number":1,"number":2}', "number", "the key is there twice"),
        ('{"number":1,"lines":[{"price":null,"price":null}]}', "lines[0].price", "the key is there twice"),
        ('{"number":1,"notes":{"a":"1","b":"2","a":"1"}}', "notes['a']", "the key is there twice"),
        ('{"number":1,"lines":[],"notes":{},"labels":["a","a"]}', "labels", "a set holds a value once"),
    ],
)
def test_the_error_names_the_path_to_the_misfit(data: str, path: str, reason: str) -> None:
    error = refused(Ordered, data)

    assert error.field == path
    assert reason in error.reason


def test_the_error_names_the_event_that_it_is_about() -> None:
    error = refused(Ordered, '{"number":1,"lines":[{"price":null},{"price":{"amount":1}}]}')

    assert (error.type, str(error.stream), error.version) == ("OrderPlaced", "Order-o-1", 7)
    assert str(error) == (
        "Order-o-1 version 7 (OrderPlaced, field lines[1].price.amount) cannot be read: "
        "expected a Decimal as text, got int 1"
    )


@pytest.mark.parametrize(
    "data",
    [
        "",
        " ",
        "{",
        "nul",
        "null",
        "1",
        "[]",
        '"{}"',
        "{'number':1}",
        "{number:1}",
        '{"number":1,}',
        '{"number":1}x',
        '{"number":1}{}',
        '{"number":1} ,',
        '{"number":01}',
        '{"number":+1}',
        '{"number":0x1}',
        '{"number":1}//',
        '\ufeff{"number":1}',
        '{"number":1,"notes":{"a":"tab\t"}}',
    ],
    ids=ascii,
)
def test_what_is_no_json_object_is_refused_as_a_whole(data: str) -> None:
    assert refused(Ordered, data).field == ""


@pytest.mark.parametrize(
    "data",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"number":' * 100_000,
        '{"number":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"number":1,"unknown":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"number":1,"lines":' + '[{"price":' * 50_000,
    ],
    ids=["open", "closed", "objects", "in a field", "in an unknown field", "in lines"],
)
def test_endless_nesting_is_an_error_and_no_crash(data: str) -> None:
    refused(Ordered, data)


def test_an_int_of_more_digits_than_python_reads_is_refused() -> None:
    refused(Ordered, f'{{"number":1{"0" * 5000}}}')


def test_a_large_int_is_read_exactly() -> None:
    assert read(holding(int), f'{{"value":{10**1000}}}').value == 10**1000


def test_an_unknown_name_is_an_error_that_names_the_event() -> None:
    with pytest.raises(UnknownEventType) as caught:
        read(Ordered, "{}", name="Ordered")

    error = caught.value
    assert (error.type, str(error.stream), error.version) == ("Ordered", "Order-o-1", 7)


@pytest.mark.parametrize("data", ['{"number":1}', '{"something":"else"}', "no json"])
def test_data_of_a_newer_schema_are_refused_unseen(data: str) -> None:
    with pytest.raises(NewerSchemaVersion, match=r"schema version 99.*upgrade") as caught:
        read(Ordered, data, schema_version=99)

    assert (caught.value.stored, caught.value.known) == (99, 2)


def test_data_of_an_older_schema_need_somebody_who_knows_it() -> None:
    with pytest.raises(EventDecodingError, match="schema version 1, and nothing here turns that into version 2") as it:
        read(Ordered, '{"number":1}', schema_version=1)

    assert not isinstance(it.value, NewerSchemaVersion)


def test_an_envelope_holds_the_event_and_what_was_stored() -> None:
    stored = StoredEvent(StreamId("Order", "o-1"), 7, 40, UUID(int=1), "OrderPlaced", 2, '{"number":1}', NO_METADATA, 0)

    envelope = EventCodec(EventRegistry(Ordered)).envelope(stored)

    assert envelope.event == Ordered(1)
    assert envelope.stored is stored


def test_the_copy_of_an_event_that_cannot_change_is_the_event() -> None:
    price = Price(Decimal(1))

    assert EventCodec(EventRegistry(Price)).copy(price) is price


def test_the_copy_of_an_event_that_can_change_shares_nothing_with_it() -> None:
    line = Line(None, ["a"])

    copy = EventCodec(EventRegistry(Line)).copy(line)

    assert copy == line
    assert copy.tags is not line.tags


def test_other_layout_other_order_and_missing_defaults_read_the_same() -> None:
    written = '{"number":1,"lines":[],"notes":{"a":"b"},"labels":["x","y"]}'
    laid_out = ' {\n "labels" : [ "y" , "x" ] , "notes" : { "\\u0061" : "b" } , "number" : 1 }\n'

    assert read(Ordered, written) == read(Ordered, laid_out)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, r"\ud83d\ude00", "😀"),
        (Decimal, "1e2", Decimal("1E+2")),
        (Decimal, "1E2", Decimal("1E+2")),
        (Decimal, "007", Decimal(7)),
        (datetime, "2024-01-01T00:00:00+00:00", datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime, "2024-01-01T00:00:00.500Z", datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        (UUID, "0000000A-0000-0000-0000-000000000000", UUID(int=10 << 96)),
    ],
)
def test_another_exact_spelling_of_the_same_value_is_read(annotation: object, text: str, value: object) -> None:
    assert read(holding(annotation), f'{{"value":"{text}"}}').value == value


@pytest.mark.parametrize("data", ['{"field_0":1}', '{"field_0":1,"field_1":[]}', '{"number":1,"field_1":[]}'])
def test_a_field_is_known_by_its_own_name_only(data: str) -> None:
    with pytest.raises(EventDecodingError, match="has no such field"):
        read(Ordered, data)
