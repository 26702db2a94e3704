"""An event with a field of every type that the codec knows, and one that is stored."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Final
from uuid import UUID

import attrs
from attrs import frozen
from cattrs import Converter

from esbank import EventCodec, EventRegistry, event, upcaster
from esbank.store import StoredEvent, StreamId


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Money:
    """A type of the user's own, which hooks write and read."""

    def __init__(self, text: str) -> None:
        self.amount = Decimal(text)


@frozen
class Part:
    number: int = 0
    parts: tuple[str, ...] = ()


@event(name="Everything", schema_version=2)
@frozen
class Everything:
    text: str = ""
    number: int = 0
    yes: bool = False
    ratio: float = 0.0
    nothing: None = None
    amount: Decimal = Decimal(0)
    id: UUID | None = None
    moment: datetime | None = None
    day: date | None = None
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    part: Part = Part()
    parts: list[Part] = attrs.Factory(list)
    numbers: list[list[int]] = attrs.Factory(list)
    pair: tuple[int, str] = (0, "")
    names: tuple[str, ...] = ()
    days: set[date] = attrs.Factory(set)
    words: frozenset[str] = frozenset()
    amounts: dict[str, Decimal] = attrs.Factory(dict)
    money: Money | None = None


def hooks(converter: Converter) -> None:
    converter.register_unstructure_hook(Money, lambda money: str(money.amount))
    converter.register_structure_hook(Money, lambda text, _: Money(text))


@upcaster("Everything", from_version=1, to_version=2)
def rename(data: dict[str, Any]) -> dict[str, Any]:
    data["text"] = data.pop("label")
    return data


FIELDS: Final = [field.name for field in attrs.fields(Everything)]
CODEC: Final = EventCodec(EventRegistry(Everything, hooks=hooks, upcasters=[rename]))


def stored(data: object, name: object = "Everything", schema_version: object = 2) -> StoredEvent:
    """Make what a store gives back when somebody has written it."""
    return StoredEvent(StreamId("Any", "1"), 1, 1, UUID(int=1), name, schema_version, data, "{}", 0)
