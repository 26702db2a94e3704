"""A state is written, read and copied by the rules of events."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import ClassVar

import attrs
import pytest
from attrs import define, field, frozen, setters

from esbank import Aggregate, EventRegistry
from esbank.codec import StateCodec

FORMS = EventRegistry().forms


@frozen
class Price:
    amount: Decimal


@frozen
class Basket:
    """Frozen, and yet what it holds can change."""

    prices: list[Price]


@define
class Line:
    product: str
    price: Price
    tags: set[str] = field(factory=set)


@define
class Numbered:
    number: int = field(on_setattr=setters.frozen)
    count: int = 0


@define
class Rounded:
    number: int = field(converter=int)


@define
class Watched:
    checked: ClassVar[list[object]] = []
    number: int = field()

    @number.validator
    def _check(self, _attribute: object, value: object) -> None:
        Watched.checked.append(value)


@define(unsafe_hash=True)
class Ticket:
    """Can be in a set, and can change."""

    number: int


@define
class Order(Aggregate[object, object]):
    category: ClassVar[str] = "Order"
    owner: str = ""
    total: Decimal = Decimal(0)
    _secret: int = 0
    placed: date | None = None
    price: Price | None = None
    lines: list[Line] = field(factory=list)
    by_name: dict[str, Line] = field(factory=dict)
    groups: dict[str, list[int]] = field(factory=dict)
    matrix: list[list[int]] = field(factory=list)
    labels: set[str] = field(factory=set)
    fixed: frozenset[str] = frozenset()
    pair: tuple[int, list[int]] = field(factory=lambda: (0, []))
    rows: tuple[Line, ...] = ()
    basket: Basket = field(factory=lambda: Basket([]))
    first: Line | None = None
    history: list[int] | None = None


def full_order() -> Order:
    def line(product: str) -> Line:
        return Line(product, Price(Decimal(1)), {"hot"})

    return Order(
        "alice",
        Decimal("1.50"),
        7,
        date(2024, 1, 1),
        Price(Decimal(2)),
        [line("tea")],
        {"cake": line("cake")},
        {"a": [1]},
        [[1], [2, 3]],
        {"x", "y"},
        frozenset({"z"}),
        (1, [2]),
        (line("milk"),),
        Basket([Price(Decimal(3))]),
        line("jam"),
        [1, 2],
    )


def changeable(value: object) -> Iterator[int]:
    """Identify whatever can change in a value."""
    if isinstance(value, list | set | dict) or (attrs.has(type(value)) and not isinstance(value, Price | Basket)):
        yield id(value)
    parts: list[object] = []
    if attrs.has(type(value)):
        parts = [getattr(value, attribute.name) for attribute in attrs.fields(type(value))]
    elif isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, list | set | tuple | frozenset):
        parts = list(value)
    for part in parts:
        yield from changeable(part)


@pytest.mark.parametrize("state", [Order(), full_order()], ids=["initial", "full"])
def test_a_state_comes_back(state: Order) -> None:
    codec = StateCodec(Order, FORMS)

    assert codec.decode(codec.encode(state)) == state


def test_a_state_with_a_value_of_a_wrong_type_is_not_written() -> None:
    with pytest.raises(ValueError, match="expected Decimal, got float"):
        StateCodec(Order, FORMS).encode(Order(total=1.5))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"unknown":1}', '{"total":1}', "[" * 100_000])
def test_what_it_has_not_written_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        StateCodec(Order, FORMS).decode(text)


@pytest.mark.parametrize("state", [Order(), full_order()], ids=["initial", "full"])
def test_a_copy_is_equal_and_shares_nothing_that_can_change(state: Order) -> None:
    copy = StateCodec(Order, FORMS).copy(state)

    assert copy == state
    assert type(copy) is Order
    assert not set(changeable(copy)) & set(changeable(state))


def test_what_cannot_change_is_shared() -> None:
    state = full_order()

    assert StateCodec(Order, FORMS).copy(state).price is state.price


def test_a_state_that_cannot_change_is_its_own_copy() -> None:
    price = Price(Decimal(1))

    assert StateCodec(Price, FORMS).copy(price) is price


def test_a_part_of_which_only_some_fields_are_frozen_is_copied() -> None:
    state_class = attrs.make_class("State", {"numbered": attrs.field(type=Numbered)})
    state = state_class(Numbered(7, count=1))

    copy = StateCodec(state_class, FORMS).copy(state)
    copy.numbered.count = 2

    assert state.numbered.count == 1


def test_a_part_with_a_converter_is_copied() -> None:
    state_class = attrs.make_class("State", {"rounded": attrs.field(type=Rounded)})
    state = state_class(Rounded(7))

    copy = StateCodec(state_class, FORMS).copy(state)
    copy.rounded.number = 8

    assert state.rounded.number == 7


def test_no_code_of_a_class_runs_when_its_states_are_written_read_and_copied() -> None:
    state = Watched(7)
    Watched.checked.clear()
    codec = StateCodec(Watched, EventRegistry().forms)

    assert codec.copy(codec.decode(codec.encode(state))) == state
    assert Watched.checked == []


@pytest.mark.parametrize(
    ("annotation", "make"), [(set[Ticket], set), (frozenset[Ticket], frozenset)], ids=["set", "frozenset"]
)
def test_what_can_change_in_a_set_is_copied(annotation: object, make: type) -> None:
    state_class = attrs.make_class("State", {"tickets": attrs.field(type=annotation)})
    state = state_class(make([Ticket(1)]))

    copy = StateCodec(state_class, FORMS).copy(state)

    assert copy == state
    assert not set(changeable(copy)) & set(changeable(state))


@frozen
class Fact:
    pass


@frozen
class TaggedFact(Fact):
    tags: list[str]


@define
class Remembering:
    last: Fact | None = None
    all: tuple[Fact, ...] = ()


def test_a_part_of_a_subclass_that_can_change_is_copied_whatever_its_field_says() -> None:
    fact = TaggedFact(["a"])

    copy = StateCodec(Remembering, FORMS).copy(Remembering(fact, (fact,)))
    fact.tags.append("b")

    assert copy == Remembering(TaggedFact(["a"]), (TaggedFact(["a"]),))


@define
class HalfMade:
    name: str = "a"
    total: int = field(init=False)


def test_a_field_that_was_never_set_stays_so_in_a_copy() -> None:
    half_made = HalfMade()

    copy = StateCodec(HalfMade, FORMS).copy(half_made)

    assert copy.name == "a"
    assert not hasattr(copy, "total")


@frozen(cache_hash=True)
class Tagged:
    tags: frozenset[str] = frozenset()
    notes: tuple[list[str], ...] = field(default=(), eq=False)


def test_a_copy_that_caches_its_hash_has_one() -> None:
    tagged = Tagged(frozenset("ab"), (["x"],))

    copy = StateCodec(Tagged, FORMS).copy(tagged)

    assert copy is not tagged
    assert hash(copy) == hash(tagged)


def test_a_state_without_fields_is_copied_too() -> None:
    state_class = attrs.make_class("State", [])

    assert StateCodec(state_class, FORMS).copy(state_class()) == state_class()


def state_of(**fields: object) -> type:
    return attrs.make_class("State", {name: attrs.field(type=kind) for name, kind in fields.items()})


def schema(cls: type) -> str:
    return StateCodec(cls, FORMS).schema


def part_of(**fields: object) -> type:
    return attrs.make_class("Part", {name: attrs.field(type=kind) for name, kind in fields.items()})


@pytest.mark.parametrize(
    "other",
    [
        state_of(total=int, owner=str | None),
        state_of(total=Decimal, owner=str),
        state_of(total=int),
        state_of(total=int, owner=str, more=int),
        state_of(total=int, name=str),
        state_of(total=list[int], owner=str),
    ],
    ids=["optional", "type", "fewer", "more", "name", "list"],
)
def test_the_schema_changes_with_a_field_and_with_its_type(other: type) -> None:
    assert schema(state_of(total=int, owner=str)) != schema(other)


def test_the_schema_changes_with_the_fields_of_a_part() -> None:
    one, other = part_of(amount=int), part_of(amount=Decimal)

    assert schema(state_of(part=one)) != schema(state_of(part=other))
    assert schema(state_of(parts=list[one])) != schema(state_of(parts=list[other]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (list[int], tuple[int, ...]),
        (set[int], frozenset[int]),
        (set[int], list[int]),
        (tuple[int, int], tuple[int, ...]),
        (tuple[int, int], tuple[int]),
        (tuple[()], tuple[int]),
        (dict[str, int], dict[str, str]),
    ],
    ids=str,
)
def test_the_schema_tells_containers_apart(one: object, other: object) -> None:
    assert schema(state_of(value=one)) != schema(state_of(value=other))


def test_the_schema_stays_when_methods_change() -> None:
    one = state_of(total=int)
    other = state_of(total=int)
    other.double = lambda self: self.total * 2

    assert schema(one) == schema(other)


def test_the_schema_is_the_same_in_every_registry() -> None:
    assert schema(Order) == StateCodec(Order, EventRegistry(Price).forms).schema


class TestUnstorable:
    STATE = state_of(raw=bytes, parts=list[int])

    def test_it_says_why(self) -> None:
        assert "State.raw: bytes cannot be stored" in (StateCodec(self.STATE, FORMS).unstorable or "")
        assert StateCodec(Order, FORMS).unstorable is None

    def test_it_is_neither_written_nor_read(self) -> None:
        codec = StateCodec(self.STATE, FORMS)

        with pytest.raises(ValueError, match="bytes cannot be stored"):
            codec.encode(self.STATE(b"x", []))
        with pytest.raises(ValueError, match="bytes cannot be stored"):
            codec.decode("{}")

    def test_it_is_copied_all_the_same(self) -> None:
        state = self.STATE(b"x", [1])

        copy = StateCodec(self.STATE, FORMS).copy(state)
        copy.parts.append(2)

        assert state == self.STATE(b"x", [1])
