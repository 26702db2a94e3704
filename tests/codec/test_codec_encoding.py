"""What is not exactly of its field's type is not stored, and the error says where it is."""

from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from types import NoneType
from typing import NamedTuple
from uuid import UUID

import attrs
import pytest
from attrs import define, field, frozen

from esbank import EventCodec, EventEncodingError, EventRegistry, Metadata, event
from esbank.store import NO_METADATA


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Moment(datetime):
    pass


class Whole(int):
    pass


class Amount(Decimal):
    pass


class Pair(NamedTuple):
    first: int
    second: int


@frozen
class Price:
    amount: Decimal


@frozen
class Discount(Price):
    pass


@define
class Line:
    price: Price | None
    tags: list[str] = field(factory=list)


@event(name="OrderPlaced", schema_version=2)
@frozen
class Ordered:
    lines: tuple[Line, ...] = ()
    notes: dict[str, str] = field(factory=dict)
    labels: set[str] = field(factory=set)


@define
class Unfinished:
    number: int = field(init=False)


def holding(annotation: object) -> type:
    """Make a class of events with one value of a type."""
    return attrs.make_class("Held", {"value": attrs.field(type=annotation)}, frozen=True)


def refused(event: object) -> EventEncodingError:
    with pytest.raises(EventEncodingError) as caught:
        EventCodec(EventRegistry(type(event))).encode(event)
    return caught.value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "1"),
        (int, Decimal(1)),
        (int, Level.LOW),
        (int, Whole(1)),
        (int, None),
        (float, 1),
        (float, True),
        (float, "1.0"),
        (float, float("nan")),
        (float, float("inf")),
        (float, float("-inf")),
        (bool, 1),
        (bool, "true"),
        (NoneType, 0),
        (NoneType, False),
        (str, 1),
        (str, b"bytes"),
        (str, Text("x")),
        (str, Colour.RED),
        (Decimal, 1),
        (Decimal, 1.5),
        (Decimal, "1.5"),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("sNaN")),
        (Decimal, Decimal("Infinity")),
        (Decimal, Decimal("-Infinity")),
        (Decimal, Amount(1)),
        (UUID, "00000000-0000-0000-0000-000000000001"),
        (UUID, 1),
        (datetime, datetime(2024, 1, 1)),  # noqa: DTZ001 - that is the point
        (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=30)))),
        (datetime, datetime(2024, 1, 1, tzinfo=timezone(-timedelta(minutes=1, microseconds=1)))),
        (datetime, Moment(2024, 1, 1, tzinfo=UTC)),
        (datetime, date(2024, 1, 1)),
        (datetime, 0),
        (datetime, "2024-01-01T00:00:00Z"),
        (date, datetime(2024, 1, 1, tzinfo=UTC)),
        (date, "2024-01-01"),
        (Colour, "red"),
        (Level, 1),
        (Price, Discount(Decimal(1))),
        (Price, {"amount": Decimal(1)}),
        (Price, None),
        (list[int], (1, 2)),
        (list[int], {1, 2}),
        (list[int], None),
        (tuple[int, ...], [1, 2]),
        (tuple[int, ...], Pair(1, 2)),
        (tuple[int, int], [1, 2]),
        (tuple[int, int], (1, 2, 3)),
        (tuple[int, int], (1,)),
        (tuple[()], (1,)),
        (set[int], [1, 2]),
        (set[int], frozenset({1, 2})),
        (frozenset[int], {1, 2}),
        (dict[str, int], OrderedDict(a=1)),
        (dict[str, int], [("a", 1)]),
        (dict[str, int], {1: 1}),
        (dict[str, int], {Text("a"): 1}),
        (int | None, "x"),
        (list[int] | None, (1,)),
    ],
    ids=repr,
)
def test_a_value_that_is_not_exactly_of_its_type_is_refused(annotation: object, value: object) -> None:
    error = refused(holding(annotation)(value))

    assert (error.type, error.field) == ("Held", "value")


@pytest.mark.parametrize(
    ("event", "path", "reason"),
    [
        (Ordered((Line(None), Line(Price(1.5)))), "lines[1].price.amount", "expected Decimal, got float 1.5"),
        (Ordered((Line(Discount(Decimal(1))),)), "lines[0].price", "expected Price, got Discount"),
        (Ordered((Line(None, ["a", 2]),)), "lines[0].tags[1]", "expected str, got int 2"),
        (Ordered(notes={"a": "b", "c d": 1}), "notes['c d']", "expected str, got int 1"),
        (Ordered(notes={1: "b"}), "notes", "expected a str as key, got int 1"),
        (Ordered((7,)), "lines[0]", "expected Line, got int 7"),
        (Ordered(labels={1}), "labels", "expected str, got int 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_error_names_the_type_the_path_and_what_was_expected(event: object, path: str, reason: str) -> None:
    error = refused(event)

    assert (error.type, error.field) == ("OrderPlaced", path)
    assert error.reason.startswith(reason)
    assert str(error).startswith(f"OrderPlaced.{path} cannot be stored: {reason}")


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (holding(str)("\ud800"), "value"),
        (holding(str | None)("a\udfff"), "value"),
        (holding(list[str])(["a", "\ud800"]), "value[1]"),
        (holding(tuple[int, str])((1, "\ud800")), "value[1]"),
        (holding(frozenset[str])(frozenset({"\ud800"})), "value"),
        (holding(dict[str, int])({"\ud800": 1}), "value"),
        (Ordered((Line(None), Line(None, ["a", "\ud800"]))), "lines[1].tags[1]"),
        (Ordered(notes={"a": "\ud800"}), "notes['a']"),
        (Ordered(labels={"a", "\ud800"}), "labels"),
    ],
    ids=["str", "optional", "list", "tuple", "frozenset", "key", "nested", "dict", "set"],
)
def test_a_lone_surrogate_is_refused_and_the_error_names_its_field(event: object, path: str) -> None:
    error = refused(event)

    assert error.field == path
    assert "lone surrogate" in error.reason


def test_an_int_of_more_digits_than_python_writes_is_refused() -> None:
    assert "4300" in refused(holding(int)(10**5000)).reason


def test_a_field_that_was_never_set_is_refused() -> None:
    assert refused(Unfinished()).field == "number"


def test_an_event_whose_class_is_not_in_the_registry_is_refused() -> None:
    with pytest.raises(EventEncodingError) as caught:
        EventCodec(EventRegistry(Ordered)).encode(Price(Decimal(1)))

    assert str(caught.value) == "Price cannot be stored: its class is not in the registry; add it"


def test_a_subclass_of_a_known_event_is_not_known() -> None:
    with pytest.raises(EventEncodingError):
        EventCodec(EventRegistry(Price)).encode(Discount(Decimal(1)))


def test_an_encoded_event_bears_its_stored_name_and_schema_version() -> None:
    new = EventCodec(EventRegistry(Ordered)).encode(Ordered())

    assert (new.type, new.schema_version) == ("OrderPlaced", 2)
    assert new.data == '{"lines":[],"notes":{},"labels":[]}'
    assert new.metadata is NO_METADATA


def test_an_event_gets_a_new_id_unless_it_is_given_one() -> None:
    codec = EventCodec(EventRegistry(Ordered))

    assert codec.encode(Ordered(), event_id=UUID(int=5)).event_id == UUID(int=5)
    assert codec.encode(Ordered()).event_id != codec.encode(Ordered()).event_id


def test_an_event_takes_the_metadata_it_is_given() -> None:
    metadata = Metadata(actor="alice")

    assert EventCodec(EventRegistry(Ordered)).encode(Ordered(), metadata=metadata).metadata is metadata
