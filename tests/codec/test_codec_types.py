"""Every type that can be stored comes back as it was, and so does whatever is made of such types."""

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import NoneType
from typing import Annotated, NewType
from uuid import UUID

import attrs
import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank import EventCodec, EventRegistry
from esbank.store import NO_METADATA, StoredEvent, StreamId


class Colour(Enum):
    RED = "red"
    EMPTY = ""


class Suit(StrEnum):
    HEARTS = "♥"
    SPADES = "♠"


class Level(IntEnum):
    LOW = -1
    HIGH = 2**40


class Huge(IntEnum):
    VALUE = 2**70


@frozen
class Price:
    amount: Decimal
    currency: str = "EUR"


@define
class Line:
    product: str
    price: Price
    tags: list[str] = field(factory=list)


@frozen
class Ordered:
    lines: tuple[Line, ...]
    by_name: dict[str, Line]
    at: datetime
    note: str | None = None


@frozen
class Private:
    _secret: str
    __mangled: int = 0


@frozen
class Computed:
    first: str
    length: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "length", len(self.first))


@frozen(kw_only=True)
class Named:
    default: int = 0
    needed: int


@frozen
class Aliased:
    class_: str = field(alias="kind")


@frozen
class Empty:
    pass


@define(slots=False)
class Loose:
    value: int


@frozen(cache_hash=True)
class Hashed:
    value: int


Kilograms = NewType("Kilograms", Decimal)
Weight = NewType("Weight", Kilograms)


def codec_of(cls: type) -> EventCodec:
    return EventCodec(EventRegistry(cls))


def round_trip(event: object) -> object:
    codec = codec_of(type(event))
    new = codec.encode(event)
    stored = StoredEvent(StreamId("Any", "1"), 1, 1, new.event_id, new.type, 1, new.data, NO_METADATA, 0)
    read = codec.decode(stored)
    # Writing takes values of exactly the right types, so that what reads back is told from what only equals it.
    assert codec.encode(read).data == new.data
    return read


def holding(annotation: object) -> type:
    """Make a class of events with one value of a type."""
    return attrs.make_class("Held", {"value": attrs.field(type=annotation)}, frozen=True)


@frozen
class Typed:
    """A type, values of it, and whether they can be in a set."""

    annotation: object
    values: st.SearchStrategy[object]
    hashable: bool = True


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
SCALARS = [
    Typed(str, st.text()),
    Typed(int, st.integers()),
    Typed(bool, st.booleans()),
    Typed(float, st.floats(allow_nan=False, allow_infinity=False)),
    Typed(NoneType, st.none()),
    Typed(Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    Typed(UUID, st.uuids()),
    Typed(datetime, st.datetimes(timezones=OFFSETS)),
    Typed(date, st.dates()),
    Typed(Colour, st.sampled_from(Colour)),
    Typed(Suit, st.sampled_from(Suit)),
    Typed(Level, st.sampled_from(Level)),
    Typed(Weight, st.decimals(allow_nan=False, allow_infinity=False)),
    Typed(tuple[()], st.just(())),
    Typed(Empty, st.just(Empty())),
]


def of_attrs(item: Typed, *, is_frozen: bool) -> Typed:
    part = attrs.make_class("Part", {"value": attrs.field(type=item.annotation)}, frozen=is_frozen)
    return Typed(part, item.values.map(part), hashable=item.hashable and is_frozen)


def larger(items: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def few(item: Typed) -> st.SearchStrategy[list[object]]:
        return st.lists(item.values, max_size=3)

    def fixed(item: Typed, other: Typed) -> Typed:
        both = item.hashable and other.hashable
        return Typed(tuple[item.annotation, other.annotation], st.tuples(item.values, other.values), both)

    keys_of_a_set = items.filter(lambda item: item.hashable)
    return st.one_of(
        items.map(lambda item: Typed(list[item.annotation], few(item), hashable=False)),
        items.map(lambda item: Typed(tuple[item.annotation, ...], few(item).map(tuple), hashable=item.hashable)),
        st.builds(fixed, items, items),
        keys_of_a_set.map(lambda item: Typed(set[item.annotation], few(item).map(set), hashable=False)),
        keys_of_a_set.map(lambda item: Typed(frozenset[item.annotation], few(item).map(frozenset))),
        items.map(
            lambda item: Typed(
                dict[str, item.annotation], st.dictionaries(st.text(), item.values, max_size=3), hashable=False
            )
        ),
        items.map(lambda item: Typed(item.annotation | None, st.none() | item.values, hashable=item.hashable)),
        items.map(lambda item: Typed(Annotated[item.annotation, "a note"], item.values, hashable=item.hashable)),
        items.map(lambda item: of_attrs(item, is_frozen=True)),
        items.map(lambda item: of_attrs(item, is_frozen=False)),
    )


def events_of(typed: Typed) -> st.SearchStrategy[object]:
    return typed.values.map(holding(typed.annotation))


NESTED = st.recursive(st.sampled_from(SCALARS), larger, max_leaves=4)


@pytest.mark.parametrize("typed", SCALARS, ids=lambda typed: str(typed.annotation))
def test_a_value_comes_back(typed: Typed) -> None:
    cls = holding(typed.annotation)

    @given(typed.values)
    @settings(deadline=None, max_examples=50)
    def comes_back(value: object) -> None:
        assert round_trip(cls(value)) == cls(value)

    comes_back()


@given(NESTED.flatmap(events_of))
@settings(deadline=None, max_examples=200)
def test_whatever_is_made_of_such_values_comes_back(event: object) -> None:
    assert round_trip(event) == event


@given(NESTED.flatmap(events_of))
@settings(deadline=None, max_examples=200)
def test_text_that_somebody_else_has_laid_out_reads_the_same(event: object) -> None:
    codec = codec_of(type(event))
    new = codec.encode(event)
    data = json.dumps(json.loads(new.data), indent=1)

    read = codec.decode(StoredEvent(StreamId("Any", "1"), 1, 1, new.event_id, new.type, 1, data, NO_METADATA, 0))

    assert read == event
    assert codec.encode(read).data == new.data


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, "nul\0 and 😀 and \u2028"),
        (int, 2**64),
        (int, -(10**100)),
        (float, 5e-324),
        (float, 1.7976931348623157e308),
        (Decimal, Decimal("1E+30")),
        (Decimal, Decimal("1.50")),
        (Decimal, Decimal("0E-20")),
        (datetime, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        (datetime, datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=12, minutes=30)))),
        (date, date(1, 1, 1)),
        (Huge, Huge.VALUE),
        (list[None], [None]),
        (set[int], {2**70, 1}),
        (dict[str, int], {"": 1, "a\0": 2}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_at_the_edge_comes_back(annotation: object, value: object) -> None:
    cls = holding(annotation)

    assert round_trip(cls(value)) == cls(value)


@pytest.mark.parametrize("value", ["-0", "-0.00", "1.50", "0E-20", "1E+30"])
def test_a_decimal_keeps_its_sign_its_digits_and_its_exponent(value: str) -> None:
    read = round_trip(holding(Decimal)(Decimal(value)))

    assert str(read.value) == value


def test_a_float_keeps_the_sign_of_zero() -> None:
    assert str(round_trip(holding(float)(-0.0)).value) == "-0.0"


def test_a_datetime_keeps_its_offset() -> None:
    moment = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=45)))

    assert round_trip(holding(datetime)(moment)).value.utcoffset() == timedelta(hours=5, minutes=45)


@pytest.mark.parametrize(
    "event",
    [
        Ordered(
            (Line("tea", Price(Decimal("1.50")), ["hot"]), Line("cake", Price(Decimal(3), "USD"))),
            {"favourite": Line("tea", Price(Decimal("1.50")))},
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        ),
        Private("hidden", 3),
        Computed("four"),
        Named(needed=1),
        Aliased(kind="x"),
        Empty(),
        Line("tea", Price(Decimal(1))),
        Loose(1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_class_of_any_kind_comes_back(event: object) -> None:
    assert round_trip(event) == event


def test_fields_are_stored_under_their_names() -> None:
    assert codec_of(Private).encode(Private("hidden", 3)).data == '{"_secret":"hidden","_Private__mangled":3}'
    assert codec_of(Aliased).encode(Aliased(kind="x")).data == '{"class_":"x"}'
    assert codec_of(Computed).encode(Computed("four")).data == '{"first":"four","length":4}'


def test_an_event_that_keeps_its_hash_can_be_hashed_after_reading() -> None:
    assert hash(round_trip(Hashed(1))) == hash(Hashed(1))


@given(st.lists(st.text(), unique=True).flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))))
@settings(deadline=None)
def test_equal_sets_give_equal_text(lists: tuple[list[str], list[str]]) -> None:
    cls = holding(frozenset[str])
    codec = codec_of(cls)
    one, other = lists

    assert codec.encode(cls(frozenset(one))).data == codec.encode(cls(frozenset(other))).data


def test_a_set_is_stored_sorted() -> None:
    cls = holding(set[str])

    assert codec_of(cls).encode(cls({"c", "a", "b"})).data == '{"value":["a","b","c"]}'
