"""No change to a value shows in a copy of it, or in what was read in its place."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

import attrs
import pytest
from attrs import define, frozen

from esbank import EventCodec, EventRegistry
from esbank.codec import StateCodec
from esbank.store import NO_METADATA, StoredEvent, StreamId


@define(slots=False)
class Loose:
    """Can change, and has no slots."""

    number: int


@frozen(slots=False)
class Firm:
    """Cannot change, and has no slots."""

    number: int


def holding(annotation: object) -> type:
    return attrs.make_class("Held", {"value": attrs.field(type=annotation)}, frozen=True)


CHANGEABLE = [
    (list[int], lambda: [1]),
    (set[int], lambda: {1}),
    (dict[str, int], lambda: {"a": 1}),
    (dict[str, list[int]], lambda: {"a": [1]}),
    (Loose, lambda: Loose(1)),
    (Loose | None, lambda: Loose(1)),
    (tuple[Loose, ...], lambda: (Loose(1),)),
    (tuple[int, Loose], lambda: (1, Loose(1))),
]


@pytest.mark.parametrize(("annotation", "make"), CHANGEABLE, ids=[str(annotation) for annotation, _ in CHANGEABLE])
def test_an_event_that_can_change_is_neither_its_own_copy_nor_what_was_read(
    annotation: object, make: Callable[[], object]
) -> None:
    cls = holding(annotation)
    codec, event = EventCodec(EventRegistry(cls)), cls(make())
    stored = StoredEvent(StreamId("Held", "1"), 1, 1, UUID(int=1), "Held", 1, codec.encode(event).data, NO_METADATA, 0)

    copy, read = codec.copy(event), codec.reread(event, stored)

    assert copy == read == event
    assert copy.value is not event.value
    assert read.value is not event.value


UNCHANGEABLE = [
    (int, 1),
    (Decimal | None, Decimal(1)),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "a")),
    (tuple[Firm, ...], (Firm(1),)),
    (frozenset[int], frozenset({1})),
    (Firm, Firm(1)),
]


@pytest.mark.parametrize(("annotation", "value"), UNCHANGEABLE, ids=[str(annotation) for annotation, _ in UNCHANGEABLE])
def test_an_event_that_cannot_change_is_its_own_copy_and_what_was_read(annotation: object, value: object) -> None:
    cls = holding(annotation)
    codec, event = EventCodec(EventRegistry(cls)), cls(value)
    stored = StoredEvent(StreamId("Held", "1"), 1, 1, UUID(int=1), "Held", 1, codec.encode(event).data, NO_METADATA, 0)

    assert codec.copy(event) is event
    assert codec.reread(event, stored) is event


@pytest.mark.parametrize(("annotation", "value"), UNCHANGEABLE, ids=[str(annotation) for annotation, _ in UNCHANGEABLE])
def test_what_cannot_change_comes_along_in_the_copy_of_a_state(annotation: object, value: object) -> None:
    state_class = attrs.make_class("State", {"value": attrs.field(type=annotation), "all": attrs.field(type=list[int])})
    state = state_class(value, [1])

    copy = StateCodec(state_class, EventRegistry().forms).copy(state)

    assert copy == state
    assert copy.all is not state.all


@pytest.mark.parametrize("value", [defaultdict(int, a=1), OrderedDict(a=1)], ids=["defaultdict", "OrderedDict"])
def test_a_dict_of_another_kind_keeps_its_ways_in_the_copy_of_a_state(value: dict[str, int]) -> None:
    state_class = attrs.make_class("State", {"value": attrs.field(type=dict[str, int])})
    state = state_class(value)

    copy = StateCodec(state_class, EventRegistry().forms).copy(state)

    assert copy == state
    assert type(copy.value) is type(value)
    assert copy.value is not value
