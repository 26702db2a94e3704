"""Which classes stand behind which names, and which classes cannot be stored."""

import json
import typing
from datetime import time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntFlag, auto
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, NewType, TypeVar
from uuid import UUID

import attrs
import pytest
from attrs import define, field, frozen
from attrs.validators import instance_of

from esbank import (
    Aggregate,
    DefinitionError,
    EventCodec,
    EventEnvelope,
    EventRegistry,
    Projector,
    applies,
    event,
    projects,
)
from esbank.store import NO_METADATA, StoredEvent, StreamId, Transaction

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")


@frozen
class Opened:
    owner: str = ""


@event(name="MoneyIn", schema_version=4)
@frozen
class Deposited:
    amount: Decimal = Decimal(0)


@event(name="MoneyIn")
@frozen
class AlsoMoneyIn:
    pass


@define
class Account(Aggregate[object, object]):
    category: ClassVar[str] = "Account"

    @applies(Opened, Deposited)
    def _noted(self, event: object) -> None: ...


class Totals(Projector):
    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None: ...


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Truth(Enum):
    YES = True
    NO = False


class Nothing(Enum):
    pass


class Pairs(Enum):
    ONE = (1, 2)


class Colours(Flag):
    RED = auto()
    BLUE = auto()


class Bits(IntFlag):
    ONE = 1


@frozen
class Box(Generic[T]):
    value: T


@frozen
class Tree:
    branches: "list[Tree]"


@frozen
class Egg:
    chicken: "Chicken | None"


@frozen
class Chicken:
    eggs: tuple[Egg, ...]


@frozen
class Typed:
    value: "Fraction"


@define
class Part:
    value: int


@frozen
class Parts:
    parts: list[Part]


@frozen
class Validated:
    amount: int = field(validator=instance_of(int))


@frozen
class Converted:
    amount: int = field(converter=int)


@frozen
class PartsMayBeStricter:
    part: Validated
    other: Converted


class Plain:
    pass


def holding(annotation: object) -> type:
    """Make a class of events with one value of a type."""
    return attrs.make_class("Held", {"value": attrs.field(type=annotation)}, frozen=True)


def test_it_lists_classes_and_names_in_the_order_in_which_they_came() -> None:
    registry = EventRegistry(Opened, Deposited)

    assert registry.classes == (Opened, Deposited)
    assert registry.names == ("Opened", "MoneyIn")


def test_a_class_is_found_by_its_stored_name() -> None:
    binding = EventRegistry(Opened, Deposited).by_name("MoneyIn")

    assert binding is not None
    assert (binding.cls, binding.name, binding.schema_version) == (Deposited, "MoneyIn", 4)


def test_a_name_is_found_by_its_class() -> None:
    binding = EventRegistry(Opened, Deposited).by_class(Deposited)

    assert binding is not None
    assert binding.name == "MoneyIn"


def test_what_it_does_not_know_it_does_not_find() -> None:
    registry = EventRegistry(Deposited)

    assert registry.by_name("Deposited") is None
    assert registry.by_class(Opened) is None


def test_the_names_of_a_class_that_it_does_not_know_are_not_told() -> None:
    with pytest.raises(DefinitionError, match="the registry lacks Opened; add it"):
        EventRegistry(Deposited).names_of(Deposited, Opened)


def test_it_may_be_empty() -> None:
    assert EventRegistry().classes == ()


def test_an_aggregate_stands_for_the_events_that_it_applies() -> None:
    assert EventRegistry(Account).classes == (Opened, Deposited)


def test_a_projector_stands_for_the_events_that_it_takes() -> None:
    assert EventRegistry(Totals).classes == (Deposited,)


def test_the_same_class_may_come_from_everywhere() -> None:
    assert EventRegistry(Deposited, Account, Totals, Deposited).classes == (Deposited, Opened)


def test_a_codec_tells_its_registry() -> None:
    registry = EventRegistry(Opened)

    assert EventCodec(registry).registry is registry


def test_two_classes_with_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="Deposited and AlsoMoneyIn are both stored as 'MoneyIn'"):
        EventRegistry(Deposited, AlsoMoneyIn)


@pytest.mark.parametrize("source", [Opened(), "Opened", None, Account(), [Opened], Box[int]], ids=repr)
def test_what_is_no_class_is_refused(source: object) -> None:
    with pytest.raises(DefinitionError, match="a registry is made of classes"):
        EventRegistry(source)


@pytest.mark.parametrize("cls", [Plain, int, dict])
def test_a_class_that_attrs_has_not_made_is_refused(cls: type) -> None:
    with pytest.raises(DefinitionError, match=rf"{cls.__name__} is no event class: make it one with @attrs\.frozen"):
        EventRegistry(cls)


@pytest.mark.parametrize(("cls", "what"), [(Validated, "validator"), (Converted, "converter")])
def test_an_event_with_a_validator_or_a_converter_is_refused(cls: type, what: str) -> None:
    with pytest.raises(DefinitionError, match=rf"{cls.__name__}\.amount has a {what}; an event is a fact"):
        EventRegistry(cls)


def test_neither_runs_when_a_part_is_read() -> None:
    codec = EventCodec(EventRegistry(PartsMayBeStricter))
    written = codec.encode(PartsMayBeStricter(Validated(1), Converted(2)))
    data = json.loads(written.data)

    assert data == {"part": {"amount": 1}, "other": {"amount": 2}}
    stored = StoredEvent(StreamId("A", "1"), 1, 1, UUID(int=1), written.type, 1, written.data, NO_METADATA, 0)
    assert codec.decode(stored) == PartsMayBeStricter(Validated(1), Converted(2))


@pytest.mark.parametrize(
    "annotation",
    [
        bytes,
        complex,
        object,
        Any,
        time,
        timedelta,
        Path,
        Plain,
        Enum,
        Mixed,
        Truth,
        Nothing,
        Pairs,
        Flag,
        Colours,
        Bits,
        list,
        tuple,
        set,
        frozenset,
        dict,
        typing.Tuple,  # noqa: UP006 - it is what is refused
        list[bytes],
        tuple[bytes, ...],
        tuple[int, bytes],
        set[bytes],
        frozenset[bytes],
        dict[str, bytes],
        dict[int, str],
        dict[Decimal, str],
        bytes | None,
        int | str,
        int | str | None,
        Part | Opened,
        Literal["a"],
        Final[int],
        type[int],
        T,
        Box,
        Box[int],
        Annotated[bytes, "raw"],
        set[list[int]],
        set[set[int]],
        frozenset[Part],
        frozenset[Parts],
        frozenset[dict[str, int]],
        set[tuple[list[int], int]],
    ],
    ids=str,
)
def test_a_type_that_cannot_be_stored_is_refused_with_the_class_and_the_field(annotation: object) -> None:
    with pytest.raises(DefinitionError, match=r"^Held\.value: "):
        EventRegistry(holding(annotation))


def test_the_error_says_what_can_be_stored() -> None:
    with pytest.raises(DefinitionError, match=r"bytes cannot be stored as JSON by itself\. Stored are str.*hooks=…"):
        EventRegistry(holding(bytes))


def test_the_error_leads_through_the_classes_to_the_field() -> None:
    part = attrs.make_class("Part", {"raw": attrs.field(type=bytes)})

    with pytest.raises(DefinitionError, match=r"^Held\.value: Part\.raw: bytes cannot be stored"):
        EventRegistry(holding(list[part | None]))


def test_a_bare_container_is_asked_for_its_items() -> None:
    with pytest.raises(DefinitionError, match="list cannot be stored as JSON by itself; write which items it holds"):
        EventRegistry(holding(list))


def test_a_generic_class_is_asked_for_a_class_for_each_type() -> None:
    with pytest.raises(DefinitionError, match=r"Box\.value: .*a generic class cannot be stored"):
        EventRegistry(Box)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Tree, r"Tree\.branches: Tree contains itself"),
        (Egg, r"Egg\.chicken: Chicken\.eggs: Egg contains itself"),
    ],
)
def test_a_class_that_contains_itself_is_refused(cls: type, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        EventRegistry(cls)


@pytest.mark.parametrize(
    "cls", [Typed, holding("Missing"), holding("json.Missing")], ids=["type checkers only", "unknown", "not in it"]
)
def test_a_type_that_is_not_there_at_run_time_is_refused(cls: type) -> None:
    with pytest.raises(DefinitionError, match=rf"^{cls.__name__}.*must be importable at run time"):
        EventRegistry(cls)


def test_a_field_without_a_type_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Held\.value has no type; annotate it"):
        EventRegistry(attrs.make_class("Held", ["value"]))


def test_a_note_on_a_type_may_be_anything() -> None:
    cls = holding(Annotated[int, {"unit": "kg"}])

    assert EventCodec(EventRegistry(cls)).encode(cls(1)).data == '{"value":1}'


def test_a_note_on_what_a_new_type_is_made_of_is_left_aside() -> None:
    cls = holding(NewType("Weight", Annotated[int, "in kilograms"]))

    assert EventCodec(EventRegistry(cls)).encode(cls(1)).data == '{"value":1}'


def test_a_registry_that_was_refused_one_class_still_knows_the_others() -> None:
    registry = EventRegistry(Opened)

    with pytest.raises(DefinitionError):
        registry.forms.of(holding(bytes))
    with pytest.raises(DefinitionError):
        registry.forms.of(Tree)
    with pytest.raises(DefinitionError, match="contains itself"):
        registry.forms.of(Tree)

    assert EventCodec(registry).encode(Opened("alice")).data == '{"owner":"alice"}'


def test_a_note_on_what_a_new_type_is_made_of_may_be_anything() -> None:
    Weight = NewType("Weight", Annotated[int, {"unit": "kg"}])
    cls = attrs.make_class("Held", {"value": field(type=Weight)}, frozen=True)

    assert EventCodec(EventRegistry(cls)).encode(cls(1)).data == '{"value":1}'
