"""The schema lock: whoever changes a class so that stored events can no longer be read is told, and what to do.

Each verdict is held against the codec: an event that the class of yesterday has stored is read with that of today.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from textwrap import dedent
from types import NoneType
from typing import Any, NewType
from uuid import UUID

import attrs
import pytest
from attrs import field, frozen
from cattrs import Converter

from esbank import DefinitionError, EventCodec, EventDecodingError, EventRegistry, Upcaster, event, upcaster
from esbank._schema_lock import Source, compare_schemas, registry_of, write_schemas
from esbank.store import NO_METADATA, StoredEvent, StreamId
from esbank.testing import check_schema_lock
from tests.basket import Added, Basket


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Name a lock file that is not there yet."""
    return tmp_path / "schema.json"


def write(file: Path, *sources: Source) -> None:
    assert write_schemas(file, registry_of(sources)) == []


def problems(file: Path, *sources: Source) -> list[tuple[str, int, bool, str]]:
    return [
        (change.event, change.schema_version, change.breaks, change.problem)
        for change in compare_schemas(file, registry_of(sources))
    ]


def complaint(file: Path, *sources: Source) -> str:
    with pytest.raises(AssertionError) as raised:
        check_schema_lock(file, *sources)
    return str(raised.value)


def put(file: Path, events: object, **other: object) -> None:
    file.write_text(json.dumps({"format": 1, "events": events, **other}), encoding="utf-8")


def events_in(file: Path) -> dict[str, Any]:
    events: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["events"]
    return events


def paid(*, schema_version: int = 1, name: str = "Paid", **fields: object) -> type:
    """Make an event class; a field is a type, or a type with a default."""
    attributes: dict[str, Any] = {
        field_name: field(type=told[0], default=told[1]) if isinstance(told, tuple) else field(type=told)
        for field_name, told in fields.items()
    }
    made: type = attrs.make_class("Paid", attributes, frozen=True, kw_only=True)
    return event(name=name, schema_version=schema_version)(made)


def read(registry: EventRegistry, data: str, *, name: str = "Paid", schema_version: int = 1) -> object:
    stored = StoredEvent(StreamId("Any", "1"), 1, 1, UUID(int=1), name, schema_version, data, NO_METADATA, 0)
    return EventCodec(registry).decode(stored)


# What is called breaking, and what is not.


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class MoreColours(Enum):
    GREEN = "green"
    BLUE = "blue"
    RED = "red"


class Tint(Enum):
    CRIMSON = "red"
    AZURE = "blue"


class FewerColours(Enum):
    BLUE = "blue"


Cents = NewType("Cents", int)


@frozen
class Line:
    sku: str


@frozen
class RenamedLine:
    sku: str


@frozen
class LineWithNote:
    sku: str
    note: str = ""


@frozen
class LineWithPrice:
    sku: str
    price: int


@frozen
class LineWithNumber:
    sku: int


@frozen
class Order:
    lines: list[Line]


@frozen
class OrderWithNotes:
    lines: list[LineWithNote]


@frozen
class OrderWithPrices:
    lines: list[LineWithPrice]


LINE = '{"value":{"sku":"pen"}}'
LINES = '{"value":[{"sku":"pen"}]}'
NUMBERS = '{"value":[1,2]}'
ID = '{"value":"00000000-0000-0000-0000-000000000001"}'
GOOD = [
    ("a field is added with a default", {"a": int}, {"a": int, "b": (str, "")}, '{"a":1}'),
    ("a field gets a default", {"a": int}, {"a": (int, 0)}, '{"a":1}'),
    ("a default becomes another", {"a": (int, 0)}, {"a": (int, 1)}, "{}"),
    ("the order of fields changes", {"a": int, "b": str}, {"b": str, "a": int}, '{"a":1,"b":""}'),
    ("None is allowed", {"value": int}, {"value": int | None}, '{"value":1}'),
    ("None is allowed inside", {"value": list[int]}, {"value": list[int | None]}, NUMBERS),
    ("an optional type becomes wider", {"value": tuple[int, int] | None}, {"value": list[int] | None}, NUMBERS),
    ("an enum gets a value", {"value": Colour}, {"value": MoreColours}, '{"value":"red"}'),
    ("an enum and its members are renamed", {"value": Colour}, {"value": Tint}, '{"value":"red"}'),
    ("a type gets a name", {"value": int}, {"value": Cents}, '{"value":1}'),
    ("a list becomes a tuple", {"value": list[int]}, {"value": tuple[int, ...]}, NUMBERS),
    ("a tuple becomes a list", {"value": tuple[int, ...]}, {"value": list[int]}, NUMBERS),
    ("a set becomes a list", {"value": set[int]}, {"value": list[int]}, NUMBERS),
    ("a set becomes a tuple", {"value": frozenset[int]}, {"value": tuple[int, ...]}, NUMBERS),
    ("a set becomes a frozenset", {"value": set[int]}, {"value": frozenset[int]}, NUMBERS),
    ("a frozenset becomes a set", {"value": frozenset[int]}, {"value": set[int]}, NUMBERS),
    ("a fixed tuple becomes a list", {"value": tuple[int, int]}, {"value": list[int]}, NUMBERS),
    ("a fixed tuple becomes any tuple", {"value": tuple[int, int]}, {"value": tuple[int, ...]}, NUMBERS),
    ("the part of a fixed tuple becomes wider", {"value": tuple[int]}, {"value": tuple[int | None]}, '{"value":[1]}'),
    ("a nested class is renamed", {"value": Line}, {"value": RenamedLine}, LINE),
    ("a nested class gets a default", {"value": Line}, {"value": LineWithNote}, LINE),
    ("a nested class in a list gets a default", {"value": list[Line]}, {"value": list[LineWithNote]}, LINES),
    ("a nested class in a set gets a default", {"value": set[Line]}, {"value": set[LineWithNote]}, LINES),
    (
        "a nested class in a dict gets a default",
        {"value": dict[str, Line]},
        {"value": dict[str, LineWithNote]},
        '{"value":{"a":{"sku":""}}}',
    ),
    ("an optional nested class gets a default", {"value": Line | None}, {"value": LineWithNote | None}, LINE),
    ("a nested class in a fixed tuple gets a default", {"value": tuple[Line]}, {"value": tuple[LineWithNote]}, LINES),
    (
        "a nested class far below gets a default",
        {"value": Order},
        {"value": OrderWithNotes},
        '{"value":{"lines":[{"sku":"pen"}]}}',
    ),
]
BAD = [
    ("a field is added without a default", {"a": int}, {"a": int, "b": str}, '{"a":1}'),
    ("a field is removed", {"a": int, "b": str}, {"a": int}, '{"a":1,"b":""}'),
    ("a field with a default is removed", {"a": int, "b": (str, "")}, {"a": int}, '{"a":1,"b":""}'),
    ("a field is renamed", {"a": int}, {"b": int}, '{"a":1}'),
    ("a field is renamed and has a default", {"a": int}, {"b": (int, 0)}, '{"a":1}'),
    ("a default is lost", {"a": (int, 0)}, {"a": int}, "{}"),
    ("an int becomes a str", {"value": int}, {"value": str}, '{"value":1}'),
    ("an int becomes a float", {"value": int}, {"value": float}, '{"value":1}'),
    ("an int becomes a Decimal", {"value": int}, {"value": Decimal}, '{"value":1}'),
    ("a bool becomes an int", {"value": bool}, {"value": int}, '{"value":true}'),
    ("a date becomes a datetime", {"value": date}, {"value": datetime}, '{"value":"2026-01-01"}'),
    ("a str becomes an enum", {"value": str}, {"value": Colour}, '{"value":"grey"}'),
    ("None is no longer allowed", {"value": int | None}, {"value": int}, '{"value":null}'),
    ("None is no longer allowed inside", {"value": list[int | None]}, {"value": list[int]}, '{"value":[null]}'),
    ("an optional type becomes another", {"value": int | None}, {"value": str | None}, '{"value":1}'),
    ("an enum loses a value", {"value": Colour}, {"value": FewerColours}, '{"value":"red"}'),
    ("a list becomes a set", {"value": list[int]}, {"value": set[int]}, '{"value":[1,1]}'),
    ("a tuple becomes a frozenset", {"value": tuple[int, ...]}, {"value": frozenset[int]}, '{"value":[1,1]}'),
    ("a fixed tuple becomes a set", {"value": tuple[int, int]}, {"value": set[int]}, '{"value":[1,1]}'),
    ("a list becomes a fixed tuple", {"value": list[int]}, {"value": tuple[int, int]}, '{"value":[1]}'),
    ("a fixed tuple gets longer", {"value": tuple[int, int]}, {"value": tuple[int, int, int]}, NUMBERS),
    ("a fixed tuple gets shorter", {"value": tuple[int, int]}, {"value": tuple[int]}, NUMBERS),
    ("a fixed tuple holds another type", {"value": tuple[int, int]}, {"value": tuple[int, str]}, NUMBERS),
    (
        "a fixed tuple becomes a list of one of its types",
        {"value": tuple[int, str]},
        {"value": list[int]},
        '{"value":[1,""]}',
    ),
    ("a list holds another type", {"value": list[int]}, {"value": list[str]}, NUMBERS),
    ("a dict becomes a list", {"value": dict[str, int]}, {"value": list[int]}, '{"value":{}}'),
    ("a dict holds another type", {"value": dict[str, int]}, {"value": dict[str, str]}, '{"value":{"a":1}}'),
    ("a dict becomes a class", {"value": dict[str, str]}, {"value": Line}, '{"value":{"a":""}}'),
    ("a nested class gets a field", {"value": Line}, {"value": LineWithPrice}, LINE),
    ("a nested class loses a field", {"value": LineWithPrice}, {"value": Line}, '{"value":{"sku":"","price":1}}'),
    (
        "a nested class loses a default",
        {"value": LineWithNote},
        {"value": RenamedLine},
        '{"value":{"sku":"","note":""}}',
    ),
    ("a nested class has a field of another type", {"value": Line}, {"value": LineWithNumber}, LINE),
    ("a nested class in a list gets a field", {"value": list[Line]}, {"value": list[LineWithPrice]}, LINES),
    ("a nested class in a set gets a field", {"value": set[Line]}, {"value": set[LineWithPrice]}, LINES),
    (
        "a nested class in a dict gets a field",
        {"value": dict[str, Line]},
        {"value": dict[str, LineWithPrice]},
        '{"value":{"a":{"sku":""}}}',
    ),
    ("an optional nested class gets a field", {"value": Line | None}, {"value": LineWithPrice | None}, LINE),
    ("a nested class in a fixed tuple gets a field", {"value": tuple[Line]}, {"value": tuple[LineWithPrice]}, LINES),
    (
        "a nested class far below gets a field",
        {"value": Order},
        {"value": OrderWithPrices},
        '{"value":{"lines":[{"sku":"pen"}]}}',
    ),
]
# The texts of these can be read, but mean something else, or the lock cannot know that they can be read.
CAUTIOUS = [
    ("a default is lost that no event ever needed", {"a": (int, 0)}, {"a": int}, '{"a":1}'),
    ("what is written as text becomes text", {"value": UUID}, {"value": str}, ID),
    ("an amount becomes text", {"value": Decimal}, {"value": str}, '{"value":"1.00"}'),
    ("an enum becomes what its values are", {"value": Colour}, {"value": str}, '{"value":"red"}'),
    ("nothing becomes something optional", {"value": NoneType}, {"value": int | None}, '{"value":null}'),
    ("a class becomes a dict", {"value": Line}, {"value": dict[str, str]}, LINE),
]


@frozen
class Change:
    """Fields of yesterday and of today, and what was stored yesterday."""

    old: dict[str, object]
    new: dict[str, object]
    data: str
    breaks: bool
    readable: bool


CHANGES = [
    pytest.param(Change(old, new, data, breaks, readable), id=why)
    for cases, breaks, readable in ((GOOD, False, True), (BAD, True, False), (CAUTIOUS, True, True))
    for why, old, new, data in cases
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_breaking_when_what_is_stored_cannot_be_read(lock: Path, change: Change) -> None:
    before, now = EventRegistry(paid(**change.old)), EventRegistry(paid(**change.new))
    write(lock, before)
    read(before, change.data)

    assert any(found.breaks for found in compare_schemas(lock, now)) is change.breaks
    if change.readable:
        read(now, change.data)
    else:
        with pytest.raises(EventDecodingError):
            read(now, change.data)


@pytest.mark.parametrize("change", CHANGES)
def test_writing_takes_what_is_not_breaking_and_refuses_the_rest(lock: Path, change: Change) -> None:
    write(lock, paid(**change.old))
    before = lock.read_bytes()

    refused = write_schemas(lock, EventRegistry(paid(**change.new)))

    assert bool(refused) is change.breaks
    if change.breaks:
        assert lock.read_bytes() == before
    else:
        check_schema_lock(lock, paid(**change.new))


@frozen
class Money:
    cents: int


@frozen
class Cash:
    cents: int


def money_hooks(converter: Converter) -> None:
    for cls in (Money, Cash):
        converter.register_unstructure_hook(cls, lambda money: money.cents)
        converter.register_structure_hook(cls, lambda cents, cls: cls(cents))


def test_of_a_type_with_hooks_the_lock_knows_the_name_alone(lock: Path) -> None:
    write(lock, EventRegistry(paid(value=Money), hooks=money_hooks))

    assert events_in(lock) == {"Paid": {"1": {"value": {"hook": "Money"}}}}
    check_schema_lock(lock, EventRegistry(paid(value=Money), hooks=money_hooks))
    assert "- value: Money by a hook\n    + value: Cash by a hook    <- " in complaint(
        lock, EventRegistry(paid(value=Cash), hooks=money_hooks)
    )


def test_hooks_that_come_or_go_are_breaking(lock: Path) -> None:
    write(lock, paid(value=Money))

    assert "- value: {cents: int}\n    + value: Money by a hook    <- " in complaint(
        lock, EventRegistry(paid(value=Money), hooks=money_hooks)
    )


# Events and their schema versions.


@upcaster("Paid", from_version=1, to_version=2)
def in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


@upcaster("Paid", from_version=2, to_version=3)
def with_currency(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "currency": "EUR"}


@upcaster("Paid", from_version=2, to="Deposited", to_version=1)
def deposited(data: dict[str, Any]) -> dict[str, Any]:
    return data


PAID_1 = paid(euros=int)
PAID_2 = paid(cents=int, schema_version=2)
PAID_3 = paid(cents=int, currency=str, schema_version=3)
DEPOSITED = paid(name="Deposited", cents=int)


def test_code_that_has_not_changed_passes(lock: Path) -> None:
    write(lock, Basket)

    check_schema_lock(lock, Basket)
    check_schema_lock(str(lock), Basket)
    check_schema_lock(lock, EventRegistry(Basket))


def test_an_event_that_is_gone_is_breaking(lock: Path) -> None:
    write(lock, PAID_1, Added)

    assert complaint(lock, Added) == dedent(f"""\
        {lock} and the code differ:
        Paid, schema version 1: the event is gone, and stored ones can no longer be read
            Bring its class back; or give the class in its place the old name, @event(name='Paid'); or add an \
upcaster to the new name, @upcaster('Paid', from_version=1, to=…, to_version=…).""")


def test_a_class_that_gets_another_name_without_more_ado_is_an_event_gone_and_a_new_one(lock: Path) -> None:
    write(lock, PAID_1)

    assert problems(lock, paid(name="Payment", euros=int)) == [
        ("Paid", 1, True, "the event is gone, and stored ones can no longer be read"),
        ("Payment", 1, False, "the lock file does not have it"),
    ]


def test_a_class_that_is_renamed_and_keeps_the_stored_name_is_no_change(lock: Path) -> None:
    @event(name="BasketAdded")
    @frozen
    class PutIn:
        sku: str
        quantity: int = 1

    write(lock, Added)

    check_schema_lock(lock, PutIn)


def test_a_schema_version_that_is_raised_needs_an_upcaster(lock: Path) -> None:
    write(lock, PAID_1)

    assert complaint(lock, PAID_2) == dedent(f"""\
        {lock} and the code differ:
        Paid, schema version 1: nothing turns stored events into schema version 2
            Add an upcaster: @upcaster('Paid', from_version=1, to_version=2).
        Paid, schema version 2: the lock file does not have it
            Write the lock file again, and commit it: python -m esbank schema write …""")
    assert problems(lock, PAID_2, in_cents) == [("Paid", 2, False, "the lock file does not have it")]


def test_every_old_schema_version_must_stay_readable(lock: Path) -> None:
    write(lock, PAID_1)
    write(lock, PAID_2, in_cents)

    assert problems(lock, PAID_3) == [
        ("Paid", 1, True, "nothing turns stored events into schema version 3"),
        ("Paid", 2, True, "nothing turns stored events into schema version 3"),
        ("Paid", 3, False, "the lock file does not have it"),
    ]
    write(lock, PAID_3, [in_cents, with_currency])
    check_schema_lock(lock, PAID_3, in_cents, with_currency)
    assert problems(lock, PAID_3)[:2] == [
        ("Paid", 1, True, "nothing turns stored events into schema version 3"),
        ("Paid", 2, True, "nothing turns stored events into schema version 3"),
    ]


def test_a_schema_version_that_is_lowered_is_breaking(lock: Path) -> None:
    write(lock, PAID_1)
    write(lock, PAID_2, in_cents)

    assert complaint(lock, PAID_1) == dedent(f"""\
        {lock} and the code differ:
        Paid, schema version 2: the code knows up to schema version 1, and stored events can no longer be read
            Raise the schema version again: @event(name='Paid', schema_version=2).""")


def test_an_event_that_gets_another_name_by_upcasters_stays_readable(lock: Path) -> None:
    write(lock, PAID_1)
    write(lock, PAID_2, in_cents)

    assert problems(lock, DEPOSITED) == [
        ("Deposited", 1, False, "the lock file does not have it"),
        ("Paid", 1, True, "the event is gone, and stored ones can no longer be read"),
        ("Paid", 2, True, "the event is gone, and stored ones can no longer be read"),
    ]
    write(lock, DEPOSITED, [in_cents, deposited])
    check_schema_lock(lock, DEPOSITED, [in_cents, deposited])
    assert set(events_in(lock)) == {"Deposited", "Paid"}


def test_a_change_under_an_old_schema_version_is_measured_by_the_upcasters_alone(lock: Path) -> None:
    write(lock, PAID_2)
    put(lock, {**events_in(lock), "Paid": {"1": {"francs": "int"}, **events_in(lock)["Paid"]}})

    check_schema_lock(lock, PAID_2, in_cents)


def test_a_new_event_is_not_breaking_but_must_be_written(lock: Path) -> None:
    write(lock, PAID_1)

    assert complaint(lock, PAID_1, Added) == dedent(f"""\
        {lock} and the code differ:
        BasketAdded, schema version 1: the lock file does not have it
            Write the lock file again, and commit it: python -m esbank schema write …""")


def test_a_breaking_change_is_shown_field_by_field(lock: Path) -> None:
    write(lock, paid(amount=Decimal, lines=list[Line], colour=Colour, by=(str, ""), gone=date, same=int))

    now = paid(amount=int, lines=list[LineWithPrice], colour=MoreColours, by=str, new=tuple[int, str], same=int)

    assert complaint(lock, now) == dedent(f"""\
        {lock} and the code differ:
        Paid, schema version 1: stored events can no longer be read
            - amount: Decimal
            + amount: int    <- its type does not read what is stored
            - lines: list[{{sku: str}}]
            + lines: list[{{sku: str, price: int}}]    <- its type does not read what is stored
            - colour: one of 'red', 'blue'
            + colour: one of 'green', 'blue', 'red'
            - by?: str
            + by: str    <- it has lost its default, and older data may lack it
            - gone: date    <- it was removed, and stored data have it
            + new: tuple[int, str]    <- it was added without a default, and stored data lack it
            Undo the change; or raise the schema version, @event(name='Paid', schema_version=2), and add an \
upcaster, @upcaster('Paid', from_version=1, to_version=2). If no such event was ever stored, remove its entry from \
the lock file instead, and write it again.""")


def test_a_change_that_is_not_breaking_is_shown_too(lock: Path) -> None:
    write(lock, paid(amount=Decimal, note=str, tags=set[str]))

    now = paid(amount=Decimal, note=str | None, tags=tuple[str, ...], by=(dict[str, frozenset[int]], {}))

    assert complaint(lock, now) == dedent(f"""\
        {lock} and the code differ:
        Paid, schema version 1: it has changed; stored events stay readable
            - note: str
            + note: str | None
            - tags: set[str]
            + tags: tuple[str, ...]
            + by?: dict[str, frozenset[int]]
            Write the lock file again, and commit it: python -m esbank schema write …""")


# The file.


def test_the_file_can_be_read_by_people_and_compared_line_by_line(lock: Path) -> None:
    write(lock, DEPOSITED, paid(tags=list[str], note=(str | None, None), colour=Colour, line=Line))

    about, rest = lock.read_text(encoding="utf-8").split('",\n', 1)
    assert about.startswith('{\n  "about": "How events are stored')
    assert rest == dedent("""\
          "format": 1,
          "events": {
            "Deposited": {
              "1": {
                "cents": "int"
              }
            },
            "Paid": {
              "1": {
                "tags": {
                  "list": "str"
                },
                "note?": {
                  "optional": "str"
                },
                "colour": {
                  "enum": [
                    "red",
                    "blue"
                  ]
                },
                "line": {
                  "object": {
                    "sku": "str"
                  }
                }
              }
            }
          }
        }
        """)


def test_the_file_ends_with_one_newline_and_has_nothing_else_around_it(lock: Path) -> None:
    write(lock, PAID_1)

    assert lock.read_bytes().startswith(b"{\n")
    assert lock.read_bytes().endswith(b"}\n")
    assert [file.name for file in lock.parent.iterdir()] == ["schema.json"]


def test_the_same_events_give_the_same_bytes(lock: Path, tmp_path: Path) -> None:
    write(lock, PAID_1, Basket, DEPOSITED)
    first = lock.read_bytes()
    write(lock, PAID_1, Basket, DEPOSITED)
    other = tmp_path / "other.json"
    write(other, DEPOSITED, Basket, PAID_1)

    assert lock.read_bytes() == first == other.read_bytes()


def test_names_and_schema_versions_are_in_order(lock: Path) -> None:
    put(lock, {"Zebra": {"1": {}}, "Paid": {"10": {}, "9": {}, "2": {}}})
    classes = [event(name=name, schema_version=11)(attrs.make_class("Any", {})) for name in ("Paid", "Zebra", "Ant")]
    steps = [
        upcaster(name, from_version=version, to_version=version + 1)(lambda data: data)
        for name in ("Paid", "Zebra")
        for version in range(1, 11)
    ]

    write(lock, *classes, steps)

    assert list(events_in(lock)) == ["Ant", "Paid", "Zebra"]
    assert list(events_in(lock)["Paid"]) == ["2", "9", "10", "11"]


def test_text_beyond_ascii_stays_as_it_is(lock: Path) -> None:
    class Suit(Enum):
        HEARTS = "♥"

    coup = paid(name="Überwiesen 💸", größe=Suit)
    write(lock, coup)

    text = lock.read_text(encoding="utf-8")
    assert '"Überwiesen 💸"' in text
    assert '"größe"' in text
    assert '"♥"' in text
    check_schema_lock(lock, coup)


def test_what_the_file_knows_of_older_schema_versions_stays(lock: Path) -> None:
    write(lock, PAID_1)
    write(lock, PAID_2, in_cents)
    write(lock, PAID_3, in_cents, with_currency)

    assert events_in(lock)["Paid"] == {
        "1": {"euros": "int"},
        "2": {"cents": "int"},
        "3": {"cents": "int", "currency": "str"},
    }


def test_an_entry_that_was_never_stored_can_be_removed_by_hand(lock: Path) -> None:
    write(lock, paid(amount=str), Added)
    assert write_schemas(lock, registry_of([paid(amount=int), Added]))
    events = events_in(lock)
    del events["Paid"]
    put(lock, events)

    write(lock, paid(amount=int), Added)

    assert events_in(lock)["Paid"] == {"1": {"amount": "int"}}


def test_one_event_that_cannot_be_read_keeps_the_others_from_being_written(lock: Path) -> None:
    write(lock, PAID_1)
    before = lock.read_bytes()

    (change,) = write_schemas(lock, registry_of([paid(euros=str), Added]))

    assert (change.event, change.breaks) == ("Paid", True)
    assert lock.read_bytes() == before


def test_a_file_that_is_not_there_is_not_taken_for_an_empty_one(lock: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"schema\.json does not exist; write it: python -m esbank schema wr"):
        check_schema_lock(lock, PAID_1)
    assert not lock.exists()


CONFLICT = """\
{
  "format": 1,
<<<<<<< HEAD
  "events": {}
=======
  "events": {"Paid": {"1": {"euros": "int"}}}
>>>>>>> other
}
"""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is no JSON", id="nothing"),
        pytest.param(CONFLICT.encode(), "is no JSON", id="the marks of a conflict"),
        pytest.param(b'{"format": 1, "events": {', "is no JSON", id="cut off"),
        pytest.param(b"\xff\xfe{\x00}\x00", "is no JSON", id="another encoding"),
        pytest.param(b"\xef\xbb\xbf{}", "is no JSON", id="a mark of the byte order"),
        pytest.param(b"[]", "is no lock file", id="a list"),
        pytest.param(b"null", "is no lock file", id="null"),
        pytest.param(b'{"events": {}}', "is no lock file", id="no format"),
        pytest.param(b'{"format": 1}', "is no lock file", id="no events"),
        pytest.param(b'{"format": 1, "events": []}', "is no lock file", id="events in a list"),
        pytest.param(b'{"format": 1, "events": {"Paid": []}}', "is no lock file", id="versions in a list"),
        pytest.param(b'{"format": 1, "events": {"Paid": {"one": {}}}}', "is no lock file", id="a word for a version"),
        pytest.param(b'{"format": 1, "events": {"Paid": {"1": null}}}', "is no lock file", id="no fields"),
        pytest.param(b"[" * 100_000, "is no JSON", id="too deep"),
        pytest.param(
            b'{"format": 1, "events": {"Paid": {"1": {"a": "int"}, "1": {"a": "str"}}}}',
            r"is no JSON \(the key '1' is there twice\)",
            id="a key twice",
        ),
        pytest.param(b'{"format": 1, "events": {"Paid": {"1": []}}}', "is no lock file", id="fields in a list"),
        *(
            pytest.param(
                json.dumps({"format": 1, "events": {"Paid": {"1": {"euros": schema}}}}).encode(),
                r"is no lock file .* is no type",
                id=f"{schema} for a type",
            )
            for schema in (
                3,
                None,
                True,
                [],
                {},
                {"a": 1, "b": 2},
                {"enum": 3},
                {"object": []},
                {"object": {"x": 4}},
                {"tuple": ["int", 3]},
                {"optional": None},
                {"list": ["int"]},
                {"hook": ["Money"]},
            )
        ),
        pytest.param(b'{"format": 2, "events": {}}', r"\(its format is 2, known is 1\); upgrade esbank", id="newer"),
    ],
)
def test_a_file_that_is_no_lock_file_is_refused_and_left_alone(lock: Path, content: bytes, problem: str) -> None:
    lock.write_bytes(content)

    with pytest.raises(ValueError, match=rf"schema\.json {problem}|schema\.json is no lock file .*{problem}"):
        check_schema_lock(lock, PAID_1)
    with pytest.raises(ValueError, match=problem):
        write_schemas(lock, EventRegistry(PAID_1))
    assert lock.read_bytes() == content


def test_what_else_is_in_the_file_does_not_matter(lock: Path) -> None:
    put(lock, {"Paid": {"1": {"euros": "int"}}}, about="nothing", more=[1, 2])

    check_schema_lock(lock, PAID_1)


def test_a_type_that_this_esbank_does_not_know_is_not_taken_for_one_that_it_does(lock: Path) -> None:
    put(lock, {"Paid": {"1": {"euros": "int128", "by": {"weakly": "str"}}}})

    told = complaint(lock, paid(euros=int, by=list[str]))

    assert "- euros: int128\n    + euros: int    <- its type does not read" in told
    assert "- by: weakly[str]\n    + by: list[str]    <- its type does not read" in told


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        check_schema_lock(tmp_path, PAID_1)
    with pytest.raises(IsADirectoryError):
        write_schemas(tmp_path, EventRegistry(PAID_1))


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        write_schemas(tmp_path / "missing" / "schema.json", EventRegistry(PAID_1))
    assert list(tmp_path.iterdir()) == []


WRITE_WITHOUT_ROOM = """
import resource, sys
from esbank._schema_lock import write_schemas
from tests.basket import Basket
from esbank import EventRegistry

resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_schemas(sys.argv[1], EventRegistry(Basket))
except OSError as error:
    print(type(error).__name__)
"""


def test_a_disk_that_is_full_leaves_the_file_as_it_was(lock: Path) -> None:
    write(lock, Added)
    before = lock.read_bytes()
    # The limit would also be one for the file that a process writes its coverage to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}

    process = subprocess.run(
        [sys.executable, "-c", WRITE_WITHOUT_ROOM, lock],
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )

    assert process.stdout == "OSError\n"
    assert lock.read_bytes() == before
    assert [file.name for file in lock.parent.iterdir()] == ["schema.json"]
    check_schema_lock(lock, Added)


def test_a_file_that_cannot_be_replaced_is_kept(lock: Path) -> None:
    write(lock, Added)
    before = lock.read_bytes()
    lock.with_name("schema.json.unfinished").mkdir()

    with pytest.raises(OSError, match="unfinished"):
        write_schemas(lock, registry_of([Basket]))

    assert lock.read_bytes() == before


# What tells which events there are.


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param((PAID_2, in_cents), id="an upcaster"),
        pytest.param((PAID_2, [in_cents]), id="a list of upcasters"),
        pytest.param(((in_cents,), PAID_2), id="a tuple of upcasters, first"),
        pytest.param((PAID_2, PAID_2, {in_cents}), id="a class twice"),
        pytest.param((EventRegistry(PAID_2, upcasters=[in_cents]),), id="a registry"),
    ],
)
def test_events_are_told_by_classes_and_upcasters_or_by_a_registry(lock: Path, sources: tuple[Any, ...]) -> None:
    write(lock, PAID_1)
    write(lock, *sources)

    check_schema_lock(lock, *sources)


def test_upcasters_may_come_one_by_one_from_a_generator(lock: Path) -> None:
    write(lock, PAID_1)

    def upcasters() -> Iterable[Upcaster]:
        yield in_cents

    write(lock, PAID_2, upcasters())


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        pytest.param((3,), "by upcasters or by a registry, not by 3", id="a number"),
        pytest.param((str.upper,), "by upcasters or by a registry, not by <method 'upper'", id="a function"),
        pytest.param(("text",), "by upcasters or by a registry, not by 'text'", id="a text"),
        pytest.param((int,), "int is no event class", id="another class"),
        pytest.param(([in_cents],), "leads nowhere: no class in the registry", id="upcasters alone"),
        pytest.param((EventRegistry(PAID_1), PAID_1), "one registry stands for all", id="a registry and a class"),
        pytest.param((EventRegistry(PAID_2), in_cents), "one registry stands for all", id="a registry and an upcaster"),
        pytest.param((EventRegistry(), EventRegistry()), "one registry stands for all", id="two registries"),
        pytest.param((PAID_1, PAID_2), "are both stored as 'Paid'", id="two classes of one name"),
        pytest.param((PAID_1, in_cents), "begins where nothing old is", id="an upcaster that leads too far"),
    ],
)
def test_anything_else_is_refused(lock: Path, sources: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        check_schema_lock(lock, *sources)


def test_nobody_needs_to_name_what_takes_part_more_than_once(lock: Path) -> None:
    write(lock, Basket)

    check_schema_lock(lock, *EventRegistry(Basket).classes)
    assert complaint(lock, Added).count("the event is gone") == len(EventRegistry(Basket).classes) - 1


def test_the_check_reads_like_a_test(lock: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        from attrs import frozen
        from esbank.testing import check_schema_lock

        @frozen
        class Paid:
            euros: str

        def test_stored_events_stay_readable() -> None:
            check_schema_lock({str(lock)!r}, Paid)
        """
    )
    write(lock, PAID_1)

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*schema.json and the code differ:",
            "*Paid, schema version 1: stored events can no longer be read",
            "*- euros: int",
            "*+ euros: str    <- its type does not read what is stored",
        ]
    )
