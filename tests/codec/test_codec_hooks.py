"""A type of one's own is stored by its hooks, wherever it stands."""

from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import NoReturn, Self
from uuid import UUID

import attrs
import pytest
from attrs import frozen
from cattrs import Converter
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank import DefinitionError, EventCodec, EventDecodingError, EventEncodingError, EventRegistry
from esbank.codec import StateCodec
from esbank.store import NO_METADATA, StoredEvent, StreamId


class Money:
    """Somebody else's class."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    @classmethod
    def parse(cls, text: str) -> Self:
        currency, amount = text.split(" ")
        return cls(Decimal(amount), currency)

    def __str__(self) -> str:
        return f"{self.currency} {self.amount}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@frozen
class Point:
    x: int
    y: int


class Colour(Enum):
    RED = "red"


class Suit(StrEnum):
    HEARTS = "♥"


class Level(IntEnum):
    LOW = 1


class Size(str, Enum):  # noqa: UP042 - as it was written before StrEnum
    SMALL = "s"


class Bits(Flag):
    ONE = 1


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


@frozen
class Line:
    price: Money
    discount: Money | None = None


@frozen
class Ordered:
    total: Money
    lines: list[Line]
    by_name: dict[str, Money]
    prices: frozenset[Money]
    pair: tuple[Money, int]
    at: Point
    colour: Colour


def hooks(converter: Converter) -> None:
    converter.register_unstructure_hook(Money, str)
    converter.register_structure_hook(Money, lambda text, _: Money.parse(text))
    converter.register_unstructure_hook(Point, lambda point: [point.x, point.y])
    converter.register_structure_hook(Point, lambda pair, _: Point(*pair))


def holding(annotation: object) -> type:
    """Make a class of events with one value of a type."""
    return attrs.make_class("Held", {"value": attrs.field(type=annotation)}, frozen=True)


def stored(cls: type, data: str) -> StoredEvent:
    return StoredEvent(StreamId("Order", "1"), 7, 9, UUID(int=1), cls.__name__, 1, data, NO_METADATA, 0)


def money_written_as(value: object) -> EventCodec:
    def register(converter: Converter) -> None:
        converter.register_unstructure_hook(Money, lambda _: value)
        converter.register_structure_hook(Money, lambda text, _: Money.parse(text))

    return EventCodec(EventRegistry(holding(Money), hooks=register))


MONEY = st.builds(Money, st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["EUR", "USD"]))
ORDERED = st.builds(
    Ordered,
    MONEY,
    st.lists(st.builds(Line, MONEY, st.none() | MONEY), max_size=3),
    st.dictionaries(st.text(), MONEY, max_size=3),
    st.frozensets(MONEY, max_size=3),
    st.tuples(MONEY, st.integers()),
    st.builds(Point, st.integers(), st.integers()),
    st.sampled_from(Colour),
)


@given(ORDERED)
@settings(deadline=None, max_examples=50)
def test_a_hooked_type_comes_back_wherever_it_stands(event: Ordered) -> None:
    codec = EventCodec(EventRegistry(Ordered, hooks=hooks))

    assert codec.decode(stored(Ordered, codec.encode(event).data)) == event


def test_it_is_stored_as_its_hook_says() -> None:
    cls = holding(Money)

    new = EventCodec(EventRegistry(cls, hooks=hooks)).encode(cls(Money(Decimal("1.50"), "EUR")))

    assert new.data == '{"value":"EUR 1.50"}'


def test_it_reads_the_same_from_text_with_other_spaces() -> None:
    cls = holding(Money)
    codec = EventCodec(EventRegistry(cls, hooks=hooks))

    assert codec.decode(stored(cls, '{ "value": "EUR 1.50" }')) == cls(Money(Decimal("1.50"), "EUR"))


def test_a_hook_for_an_attrs_class_wins_over_its_fields() -> None:
    cls = holding(Point)

    assert EventCodec(EventRegistry(cls)).encode(cls(Point(1, 2))).data == '{"value":{"x":1,"y":2}}'
    assert EventCodec(EventRegistry(cls, hooks=hooks)).encode(cls(Point(1, 2))).data == '{"value":[1,2]}'


def test_types_that_are_stored_by_themselves_stay_strict_beside_hooks() -> None:
    cls = holding(int)
    codec = EventCodec(EventRegistry(cls, hooks=hooks))

    with pytest.raises(EventDecodingError):
        codec.decode(stored(cls, '{"value":"12"}'))
    with pytest.raises(EventEncodingError):
        codec.encode(cls(True))  # noqa: FBT003 - a wrong value


@pytest.mark.parametrize("value", [Colour.RED, Suit.HEARTS, Level.LOW, Size.SMALL], ids=repr)
def test_an_enum_is_stored_by_itself_beside_hooks(value: Enum) -> None:
    cls = holding(type(value))
    codec = EventCodec(EventRegistry(cls, hooks=hooks))

    assert codec.decode(stored(cls, codec.encode(cls(value)).data)).value is value


@pytest.mark.parametrize("cls", [bytes, Path, Bits, Text, Whole, complex, object])
def test_what_cattrs_would_write_by_itself_is_still_refused(cls: type) -> None:
    with pytest.raises(DefinitionError, match=rf"Held\.value: {cls.__name__} cannot be stored"):
        EventRegistry(holding(cls), hooks=hooks)


@pytest.mark.parametrize("direction", ["register_unstructure_hook", "register_structure_hook"])
def test_a_hook_in_one_direction_alone_is_refused(direction: str) -> None:
    def half(converter: Converter) -> None:
        getattr(converter, direction)(Money, lambda *_: None)

    with pytest.raises(DefinitionError, match=r"Held\.value: Money: register both a structure and an unstructure hook"):
        EventRegistry(holding(Money), hooks=half)


def test_a_type_without_a_hook_is_refused_beside_others_that_have_one() -> None:
    class Other:
        pass

    with pytest.raises(DefinitionError, match=r"Held\.value: Other cannot be stored"):
        EventRegistry(holding(Other), hooks=hooks)


@pytest.mark.parametrize("value", ["EUR 1", None], ids=repr)
def test_a_value_of_another_class_is_refused(value: object) -> None:
    cls = holding(Money)

    with pytest.raises(EventEncodingError, match=r"Held\.value cannot be stored: expected Money, got"):
        EventCodec(EventRegistry(cls, hooks=hooks)).encode(cls(value))


@pytest.mark.parametrize(
    "plain", [b"EUR 1", Decimal(1), float("nan"), {1: "x"}, {"x": {1}}, object, [float("inf")]], ids=repr
)
def test_a_hook_that_writes_what_json_cannot_say_is_refused(plain: object) -> None:
    codec = money_written_as(plain)
    (cls,) = codec.registry.classes

    with pytest.raises(EventEncodingError, match="the hook for Money must return what JSON can say") as caught:
        codec.encode(cls(Money(Decimal(1), "EUR")))

    assert caught.value.field == "value"


@pytest.mark.parametrize("plain", [None, True, 1, 1.5, "x", [1, [2]], {"a": {"b": [None]}}], ids=repr)
def test_a_hook_may_write_whatever_json_can_say(plain: object) -> None:
    codec = money_written_as(plain)
    (cls,) = codec.registry.classes

    assert codec.encode(cls(Money(Decimal(1), "EUR"))).data.startswith('{"value":')


def test_a_lone_surrogate_from_a_hook_is_refused() -> None:
    codec = money_written_as({"a": ["\ud800"]})
    (cls,) = codec.registry.classes

    with pytest.raises(EventEncodingError, match="lone surrogate") as caught:
        codec.encode(cls(Money(Decimal(1), "EUR")))

    assert caught.value.field.startswith("value")


def test_a_hook_that_fails_to_write_is_an_error_that_names_the_field() -> None:
    def failing(converter: Converter) -> None:
        def fail(_money: Money) -> NoReturn:
            raise ZeroDivisionError

        converter.register_unstructure_hook(Money, fail)
        converter.register_structure_hook(Money, lambda text, _: Money.parse(text))

    cls = holding(Money)

    with pytest.raises(EventEncodingError, match="the hook for Money") as caught:
        EventCodec(EventRegistry(cls, hooks=failing)).encode(cls(Money(Decimal(1), "EUR")))

    assert caught.value.field == "value"


def leaning_on_cattrs(converter: Converter) -> None:
    converter.register_unstructure_hook(Money, lambda money: converter.unstructure(money.amount))
    converter.register_structure_hook(Money, lambda plain, _: Money(converter.structure(plain, Decimal), "EUR"))


def test_a_hook_that_leans_on_cattrs_to_write_is_told_that_there_is_no_hook() -> None:
    cls = holding(Money)

    with pytest.raises(EventEncodingError, match="no unstructure hook for Decimal"):
        EventCodec(EventRegistry(cls, hooks=leaning_on_cattrs)).encode(cls(Money(Decimal(1), "EUR")))


def test_a_hook_that_leans_on_cattrs_to_read_is_told_that_there_is_no_hook() -> None:
    cls = holding(Money)

    with pytest.raises(EventDecodingError, match="no structure hook for Decimal"):
        EventCodec(EventRegistry(cls, hooks=leaning_on_cattrs)).decode(stored(cls, '{"value":"1"}'))


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ('{"price":"EUR"}', "price"),
        ('{"price":1}', "price"),
        ('{"price":null}', "price"),
        ('{"price":"EUR 1","discount":"none"}', "discount"),
        ('{"price": "EUR 1", "discount": [] }', "discount"),
    ],
)
def test_a_hook_that_fails_to_read_is_an_error_that_names_the_field(data: str, path: str) -> None:
    codec = EventCodec(EventRegistry(Line, hooks=hooks))

    with pytest.raises(EventDecodingError, match="the hook for Money refuses") as caught:
        codec.decode(stored(Line, data))

    assert (caught.value.field, caught.value.version) == (path, 7)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", '{"a":1,"a":2}', "[{}", '"\\ud800"'])
def test_what_is_no_exact_json_never_comes_to_a_hook(value: str) -> None:
    def trusting(converter: Converter) -> None:
        converter.register_unstructure_hook(Money, str)
        converter.register_structure_hook(Money, lambda _text, _: Money(Decimal(1), "EUR"))

    cls = holding(Money)

    with pytest.raises(EventDecodingError):
        EventCodec(EventRegistry(cls, hooks=trusting)).decode(stored(cls, f'{{"value":{value}}}'))


def test_a_copy_of_a_state_copies_what_is_hooked() -> None:
    state_class = attrs.make_class("State", {"money": attrs.field(type=Money)})
    codec = StateCodec(state_class, EventRegistry(hooks=hooks).forms)
    state = state_class(Money(Decimal(1), "EUR"))

    copy = codec.copy(state)
    copy.money.amount = Decimal(2)

    assert state.money.amount == 1


def test_an_event_with_a_hooked_part_is_copied_because_the_part_may_change() -> None:
    cls = holding(Money)
    event = cls(Money(Decimal(1), "EUR"))

    copy = EventCodec(EventRegistry(cls, hooks=hooks)).copy(event)

    assert copy == event
    assert copy is not event


def test_data_that_are_nested_too_deep_are_refused() -> None:
    cls = holding(Money)

    with pytest.raises(EventDecodingError, match="recursion"):
        EventCodec(EventRegistry(cls, hooks=hooks)).decode(stored(cls, f'{{"value":{"[" * 9_999}{"]" * 9_999}}}'))


def test_a_hooked_type_that_cannot_be_hashed_cannot_be_in_a_set() -> None:
    class Purse:
        __hash__ = None

    def register(converter: Converter) -> None:
        converter.register_unstructure_hook(Purse, str)
        converter.register_structure_hook(Purse, lambda _text, _: Purse())

    with pytest.raises(DefinitionError, match="hook Purse cannot be in a set: it is not hashable"):
        EventRegistry(holding(frozenset[Purse]), hooks=register)
