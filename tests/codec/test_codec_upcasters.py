"""Old data are read as those of today, along chains of upcasters that are checked when the registry is made."""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import attrs
import pytest
from attrs import field, frozen
from cattrs import Converter
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank import (
    DefinitionError,
    EventCodec,
    EventDecodingError,
    EventRegistry,
    NewerSchemaVersion,
    UnknownEventType,
    Upcaster,
    event,
    upcaster,
)
from esbank.store import NO_METADATA, StoredEvent, StreamId


@frozen
class Line:
    product: str
    price: Decimal | None = None


@event(name="OrderPlaced", schema_version=4)
@frozen
class OrderPlaced:
    """Began with a `text` of one line, which became a list of texts, then of lines; now there is a currency too."""

    lines: list[Line]
    currency: str


@upcaster("OrderPlaced", from_version=1, to_version=2)
def split_text(data: dict[str, Any]) -> dict[str, Any]:
    return {"texts": [data["text"]]}


@upcaster("OrderPlaced", from_version=2, to_version=3)
def texts_become_lines(data: dict[str, Any]) -> dict[str, Any]:
    lines = [{"product": text} for text in data.pop("texts")]
    return {**data, "lines": lines}


@upcaster("OrderPlaced", from_version=3, to_version=4)
def it_was_in_euros(data: dict[str, Any]) -> dict[str, Any]:
    data["currency"] = "EUR"
    return data


UPCASTERS = (split_text, texts_become_lines, it_was_in_euros)

OLD_AND_NEW = [
    (1, '{"text":"tea"}', OrderPlaced([Line("tea")], "EUR")),
    (2, '{"texts":["tea","cup"]}', OrderPlaced([Line("tea"), Line("cup")], "EUR")),
    (3, '{"lines":[{"product":"tea","price":"4.50"}]}', OrderPlaced([Line("tea", Decimal("4.50"))], "EUR")),
    (4, '{"lines":[],"currency":"EGP"}', OrderPlaced([], "EGP")),
]


def stored(name: str, schema_version: int, data: str) -> StoredEvent:
    return StoredEvent(StreamId("Order", "o-1"), 7, 40, UUID(int=1), name, schema_version, data, NO_METADATA, 0)


def stored_as(name: str, schema_version: int) -> type:
    """Make a class of events that were once others; `steps` holds what they were, the oldest first."""
    cls = attrs.make_class(name, {"steps": attrs.field(type=list[str], factory=list)}, frozen=True)
    return event(name=name, schema_version=schema_version)(cls)


def step(text: str) -> Upcaster:
    """Make the upcaster of a step such as ``"A1 B2"``, from ``A`` 1 to ``B`` 2, that tells of itself in the data."""
    source, target = text.split()
    mark = upcaster(source[0], from_version=int(source[1:]), to=target[0], to_version=int(target[1:]))
    return mark(lambda data: {"steps": [*data.get("steps", []), source]})


def registry_of(classes: str, *steps: str) -> EventRegistry:
    """Make the registry of some classes and steps, as in ``registry_of("A2 C1", "A1 A2", "B1 C1")``."""
    return EventRegistry(
        *(stored_as(text[0], int(text[1:])) for text in classes.split()), upcasters=[step(text) for text in steps]
    )


def read(registry: EventRegistry, text: str, data: str = "{}") -> Any:  # noqa: ANN401 - an event of any class
    """Read old data of a type such as ``"A1"``."""
    return EventCodec(registry).decode(stored(text[0], int(text[1:]), data))


# Marking.


def test_an_upcaster_is_called_like_the_function_that_it_was_made_from() -> None:
    assert it_was_in_euros({"lines": []}) == {"lines": [], "currency": "EUR"}


def test_an_upcaster_tells_where_it_begins_and_where_it_leads() -> None:
    assert str(step("A2 B1")) == "the upcaster from A 2 to B 1"
    assert str(it_was_in_euros) == "the upcaster from OrderPlaced 3 to OrderPlaced 4"


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", None, 7, b"A", OrderPlaced])
def test_a_name_that_no_store_could_hold_is_refused(name: Any) -> None:  # noqa: ANN401 - of any wrong type
    with pytest.raises(DefinitionError, match="@upcaster: a name must"):
        upcaster(name, from_version=1, to="B", to_version=1)
    if name is not None:
        with pytest.raises(DefinitionError, match="@upcaster: a name must"):
            upcaster("A", from_version=1, to=name, to_version=2)


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_a_schema_version_that_does_not_count_from_one_is_refused(version: Any) -> None:  # noqa: ANN401 - same
    with pytest.raises(DefinitionError, match="@upcaster: a schema version is an int from 1, not"):
        upcaster("A", from_version=version, to_version=2)
    with pytest.raises(DefinitionError, match="@upcaster: a schema version is an int from 1, not"):
        upcaster("A", from_version=1, to_version=version)


@pytest.mark.parametrize("marked", [OrderPlaced, dict, it_was_in_euros, None, 7, {}])
def test_only_a_function_can_be_marked_and_only_once(marked: Any) -> None:  # noqa: ANN401 - same
    with pytest.raises(DefinitionError, match="@upcaster marks a function, and each with one step, not"):
        upcaster("A", from_version=1, to_version=2)(marked)


# Chains are checked when the registry is made.


@pytest.mark.parametrize(
    ("classes", "steps"),
    [
        ("A1", ()),
        ("A9", ()),
        ("A2", ("A1 A2",)),
        ("A4", ("A1 A2", "A2 A3", "A3 A4")),
        ("A4", ("A3 A4", "A1 A2", "A2 A3")),
        ("A4", ("A1 A4", "A2 A4", "A3 A4")),
        ("A4", ("A1 A3", "A2 A3", "A3 A4")),
        ("B1", ("A1 B1",)),
        ("B2", ("A1 B2",)),
        ("B2", ("A1 B1", "B1 B2")),
        ("C2", ("A1 A2", "A2 B1", "B1 B2", "B2 C1", "C1 C2")),
        ("C1", ("A1 C1", "B1 C1")),
        ("B1 C1", ("A1 B1", "A2 C1")),
        ("A2 B1", ("A1 B1",)),
        ("A2 B2", ("A1 B1", "B1 B2")),
        ("A3 B3", ("A1 B2", "B2 A2", "A2 A3", "B1 A3")),
        ("A9 B2", ("B1 B2",)),
    ],
    ids=str,
)
def test_chains_in_which_every_link_leads_to_a_class_are_accepted(classes: str, steps: tuple[str, ...]) -> None:
    registry_of(classes, *steps)


@pytest.mark.parametrize(
    ("classes", "steps", "old", "newest"),
    [
        ("A3", ("A1 A2",), "A 2", "3"),
        ("A3", ("A2 A3",), "A 1", "3"),
        ("A4", ("A1 A2", "A3 A4"), "A 2", "4"),
        ("A4", ("A1 A4", "A3 A4"), "A 2", "4"),
        ("A3", ("A1 A3",), "A 2", "3"),
        ("B3", ("A1 B1", "B2 B3"), "B 1", "3"),
        ("B3", ("A1 B2",), "B 2", "3"),
        ("B1", ("A2 B1",), "A 1", "2"),
        ("B1", ("A1 B1", "A3 B1"), "A 2", "3"),
        ("C1", ("A1 B2", "B2 C1"), "B 1", "2"),
        ("A3 B1", ("A1 B1",), "A 2", "3"),
        ("A3 B1", ("A2 B1",), "A 1", "3"),
    ],
    ids=str,
)
def test_a_missing_link_is_refused_and_named(classes: str, steps: tuple[str, ...], old: str, newest: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        registry_of(classes, *steps)

    name, version = old.split()
    assert f"nothing turns {old} into what the code reads today" in str(refused.value)
    assert f"{name} has come to schema version {newest}; add the missing link" in str(refused.value)
    assert f"@upcaster('{name}', from_version={version}, to_version={int(version) + 1})" in str(refused.value)


@pytest.mark.parametrize(
    ("classes", "steps"),
    [
        ("C1", ("A1 A1",)),
        ("C1", ("A1 B1", "B1 A1")),
        ("C1", ("A1 A2", "A2 A1")),
        ("C1", ("A1 C1", "B1 B2", "B2 B1")),
        ("C1", ("A1 A2", "A2 B1", "B1 A2")),
        ("A9", ("A1 A2", "A2 A3", "A3 A1")),
        ("A4", ("A1 B1", "B1 A2", "A2 A3", "A3 B1")),
    ],
    ids=str,
)
def test_a_circle_is_refused(classes: str, steps: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match=r"the upcasters go round in a circle: from [AB] \d back to it"):
        registry_of(classes, *steps)


@pytest.mark.parametrize(
    ("classes", "steps"),
    [("A2", ("A1 A2", "A1 A2")), ("A3", ("A1 A2", "A2 A3", "A1 A3")), ("A2 B1", ("A1 A2", "A1 B1"))],
    ids=str,
)
def test_two_upcasters_that_begin_at_one_step_are_refused(classes: str, steps: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match="two upcasters begin at A 1; keep one of them"):
        registry_of(classes, *steps)


def test_the_very_same_upcaster_twice_is_refused_too() -> None:
    with pytest.raises(DefinitionError, match="two upcasters begin at OrderPlaced 3; keep one of them"):
        EventRegistry(OrderPlaced, upcasters=[*UPCASTERS, it_was_in_euros])


@pytest.mark.parametrize(
    ("classes", "steps", "last", "schema_version"),
    [("A2", ("A1 A3",), "A 1 to A 3", 2), ("B1", ("A1 A2", "A2 B2"), "A 2 to B 2", 1), ("B1", ("A1 B9",), "A 1 to", 1)],
    ids=str,
)
def test_a_step_beyond_the_class_is_refused(
    classes: str, steps: tuple[str, ...], last: str, schema_version: int
) -> None:
    with pytest.raises(
        DefinitionError, match=rf"from {last}.* goes beyond the class, which is at schema version {schema_version}"
    ):
        registry_of(classes, *steps)


@pytest.mark.parametrize("begins", ["A2 A3", "A2 A1", "A2 B1", "A3 B1", "A9 B1"])
def test_a_step_from_what_is_not_old_is_refused(begins: str) -> None:
    with pytest.raises(DefinitionError, match="begins where nothing old is: A is at schema version 2; raise that"):
        registry_of("A2 B1", begins)


@pytest.mark.parametrize("steps", [("A1 B1",), ("A1 A2",), ("A1 B1", "B1 D1")])
def test_a_chain_that_leads_to_where_no_class_is_is_refused(steps: tuple[str, ...]) -> None:
    name = steps[-1].split()[1][0]

    with pytest.raises(DefinitionError, match=rf"leads nowhere: no class in the registry is stored as '{name}'"):
        registry_of("C1", *steps)


@pytest.mark.parametrize(
    "stranger",
    [lambda data: data, dict, None, "ab", upcaster, OrderPlaced],
    ids=["function", "builtin", "None", "text", "upcaster itself", "event"],
)
def test_what_was_not_marked_is_refused(stranger: object) -> None:
    with pytest.raises(DefinitionError, match=r"upcasters are functions marked with @upcaster\(…\), not"):
        EventRegistry(OrderPlaced, upcasters=[*UPCASTERS, stranger])


@pytest.mark.parametrize("alone", [it_was_in_euros, None, 7, dict.copy], ids=["upcaster", "None", "number", "function"])
def test_an_upcaster_that_is_not_in_a_list_is_refused(alone: Any) -> None:  # noqa: ANN401 - of any wrong type
    with pytest.raises(DefinitionError, match=r"upcasters come in a list, upcasters=\[…\], not"):
        EventRegistry(OrderPlaced, upcasters=alone)


def test_upcasters_may_come_from_a_generator() -> None:
    def found() -> Iterator[Upcaster]:
        yield from UPCASTERS

    registry = EventRegistry(OrderPlaced, upcasters=found())

    for schema_version, data, expected in OLD_AND_NEW:
        assert EventCodec(registry).decode(stored("OrderPlaced", schema_version, data)) == expected


def test_upcasters_may_serve_two_registries() -> None:
    registries = [EventRegistry(OrderPlaced, upcasters=UPCASTERS) for _ in range(2)]

    for registry in registries:
        tea = EventCodec(registry).decode(stored("OrderPlaced", 1, '{"text":"tea"}'))
        assert tea == OrderPlaced([Line("tea")], "EUR")


# Reading.


@pytest.mark.parametrize(("schema_version", "data", "expected"), OLD_AND_NEW)
@pytest.mark.parametrize("indent", [None, 1])
def test_data_of_every_schema_version_become_the_event_of_today(
    schema_version: int, data: str, expected: OrderPlaced, indent: int | None
) -> None:
    codec = EventCodec(EventRegistry(OrderPlaced, upcasters=UPCASTERS))

    laid_out = json.dumps(json.loads(data), indent=indent)

    assert codec.decode(stored("OrderPlaced", schema_version, data)) == expected
    assert codec.decode(stored("OrderPlaced", schema_version, laid_out)) == expected


@pytest.mark.parametrize(
    ("classes", "steps", "old", "taken"),
    [
        ("A4", ("A1 A2", "A2 A3", "A3 A4"), "A1", ["A1", "A2", "A3"]),
        ("A4", ("A1 A2", "A2 A3", "A3 A4"), "A3", ["A3"]),
        ("A4", ("A1 A2", "A2 A3", "A3 A4"), "A4", []),
        ("A4", ("A1 A4", "A2 A4", "A3 A4"), "A1", ["A1"]),
        ("C2", ("A1 A2", "A2 B1", "B1 B2", "B2 C1", "C1 C2"), "A1", ["A1", "A2", "B1", "B2", "C1"]),
        ("C2", ("A1 A2", "A2 B1", "B1 B2", "B2 C1", "C1 C2"), "B2", ["B2", "C1"]),
        ("A3 B3", ("A1 B2", "B2 A2", "A2 A3", "B1 A3"), "A1", ["A1", "B2", "A2"]),
        ("A3 B3", ("A1 B2", "B2 A2", "A2 A3", "B1 A3"), "B1", ["B1"]),
        ("C1", ("A1 C1", "B1 C1"), "A1", ["A1"]),
        ("C1", ("A1 C1", "B1 C1"), "B1", ["B1"]),
    ],
    ids=str,
)
def test_data_take_every_step_from_where_they_are_once_and_in_order(
    classes: str, steps: tuple[str, ...], old: str, taken: list[str]
) -> None:
    assert read(registry_of(classes, *steps), old).steps == taken


def test_a_name_may_lead_to_one_class_or_another_by_its_version() -> None:
    registry = registry_of("A3 B1 C1", "A1 B1", "A2 C1")

    assert [type(read(registry, old)).__name__ for old in ("A1", "A2", "A3")] == ["B", "C", "A"]


def test_two_names_may_lead_to_one_class() -> None:
    registry = registry_of("C1", "A1 C1", "B1 C1")

    assert type(read(registry, "A1")) is type(read(registry, "B1")) is type(read(registry, "C1"))


def test_what_the_data_still_lack_takes_its_default() -> None:
    @event(name="A", schema_version=2)
    @frozen
    class Wide:
        one: int
        two: list[int] = field(factory=lambda: [2])

    codec = EventCodec(EventRegistry(Wide, upcasters=[upcaster("A", from_version=1, to_version=2)(lambda data: data)]))
    one, other = (codec.decode(stored("A", 1, '{"one":1}')) for _ in range(2))

    assert one == other == Wide(1, [2])
    assert one.two is not other.two


def test_data_may_be_changed_at_any_depth() -> None:
    @upcaster("OrderPlaced", from_version=3, to_version=4)
    def shout(data: dict[str, Any]) -> dict[str, Any]:
        for line in data["lines"]:
            line["product"] = line["product"].upper()
            line.pop("colour", None)
        return {**data, "currency": "EUR"}

    codec = EventCodec(EventRegistry(OrderPlaced, upcasters=[split_text, texts_become_lines, shout]))

    data = '{"lines":[{"product":"tea","colour":{"red":1}},{"product":"cup","price":null}]}'
    assert codec.decode(stored("OrderPlaced", 3, data)) == OrderPlaced([Line("TEA"), Line("CUP")], "EUR")


def test_an_upcaster_that_changes_what_it_is_given_changes_nothing_that_is_kept() -> None:
    seen: list[dict[str, Any]] = []

    @upcaster("A", from_version=1, to_version=2)
    def destroy(data: dict[str, Any]) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(data)))
        data["deep"]["list"].clear()
        data.clear()
        return data

    codec = EventCodec(EventRegistry(stored_as("A", 2), upcasters=[destroy]))
    text = '{"deep":{"list":[1]}}'
    old = stored("A", 1, text)

    assert codec.decode(old) == codec.decode(old)
    assert seen == [{"deep": {"list": [1]}}] * 2
    assert old.data == text


def test_events_share_nothing_with_what_an_upcaster_holds_on_to() -> None:
    held = {"steps": ["held"]}
    codec = EventCodec(
        EventRegistry(stored_as("A", 2), upcasters=[upcaster("A", from_version=1, to_version=2)(lambda _: held)])
    )
    one: Any = codec.decode(stored("A", 1, "{}"))

    one.steps.append("more")

    assert held == {"steps": ["held"]}
    assert codec.decode(stored("A", 1, "{}")).steps == ["held"]


def test_numbers_keep_their_digits_and_texts_their_letters() -> None:
    seen: list[object] = []

    @upcaster("A", from_version=1, to_version=2)
    def look(data: dict[str, Any]) -> dict[str, Any]:
        seen.extend(data.values())
        return {}

    big = 10**1000
    EventCodec(EventRegistry(stored_as("A", 2), upcasters=[look])).decode(
        stored("A", 1, f'{{"a":{big},"b":"4.50","c":1.0,"d":true,"e":null,"f":"\\u00e9 \N{COFFIN}"}}')
    )

    assert seen == [big, "4.50", 1.0, True, None, "é \N{COFFIN}"]
    assert [type(value) for value in seen] == [int, str, float, bool, type(None), str]


class Money:
    def __init__(self, text: str) -> None:
        self.text = text


@event(name="A", schema_version=2)
@frozen
class Paid:
    price: Money


def hooks(converter: Converter) -> None:
    converter.register_unstructure_hook(Money, lambda money: money.text)
    converter.register_structure_hook(Money, lambda text, _: Money(text))


def test_hooks_get_what_the_upcaster_made() -> None:
    add_currency = upcaster("A", from_version=1, to_version=2)(lambda data: {"price": f"EUR {data['amount']}"})
    codec = EventCodec(EventRegistry(Paid, hooks=hooks, upcasters=[add_currency]))

    paid: Any = codec.decode(stored("A", 1, '{"amount":"5"}'))

    assert paid.price.text == "EUR 5"


def test_data_that_contain_themselves_are_an_error_and_no_crash() -> None:
    endless: list[Any] = []
    endless.append(endless)
    change = upcaster("A", from_version=1, to_version=2)(lambda _: {"price": endless})

    with pytest.raises(EventDecodingError):
        EventCodec(EventRegistry(Paid, hooks=hooks, upcasters=[change])).decode(stored("A", 1, "{}"))


def test_an_envelope_keeps_what_is_stored_beside_the_event_of_today() -> None:
    old = stored("OrderPlaced", 1, '{"text":"tea"}')

    envelope = EventCodec(EventRegistry(OrderPlaced, upcasters=UPCASTERS)).envelope(old)

    assert envelope.event == OrderPlaced([Line("tea")], "EUR")
    assert envelope.stored is old
    assert (envelope.type, envelope.schema_version, old.data) == ("OrderPlaced", 1, '{"text":"tea"}')


def test_an_event_is_written_as_those_of_today_however_it_was_read() -> None:
    codec = EventCodec(EventRegistry(OrderPlaced, upcasters=UPCASTERS))

    new = codec.encode(codec.decode(stored("OrderPlaced", 1, '{"text":"tea"}')))

    assert (new.type, new.schema_version) == ("OrderPlaced", 4)
    assert new.data == '{"lines":[{"product":"tea","price":null}],"currency":"EUR"}'


def test_data_of_today_are_shown_to_no_upcaster() -> None:
    @upcaster("A", from_version=1, to_version=2)
    def never(_: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError

    assert EventCodec(EventRegistry(stored_as("A", 2), upcasters=[never])).decode(stored("A", 2, "{}")).steps == []


def test_many_threads_may_read_at_once() -> None:
    codec = EventCodec(EventRegistry(OrderPlaced, upcasters=UPCASTERS))
    cases = OLD_AND_NEW * 500
    random.Random(1).shuffle(cases)  # noqa: S311 - no secret depends on it

    with ThreadPoolExecutor(8) as threads:
        events = threads.map(lambda case: codec.decode(stored("OrderPlaced", case[0], case[1])), cases)

        assert list(events) == [case[2] for case in cases]


# A change that needs no upcaster.


def test_a_renamed_class_that_keeps_its_stored_name_needs_nothing() -> None:
    cls = event(name="A")(attrs.make_class("CompletelyDifferent", {"value": attrs.field(type=int)}, frozen=True))

    assert EventCodec(EventRegistry(cls)).decode(stored("A", 1, '{"value":1}')) == cls(1)


def test_a_new_field_with_a_default_needs_nothing() -> None:
    cls = event(name="A")(attrs.make_class("A", {"value": attrs.field(type=int, default=3)}, frozen=True))

    assert EventCodec(EventRegistry(cls)).decode(stored("A", 1, "{}")) == cls(3)


@pytest.mark.parametrize("old", ["A1", "A2"])
def test_a_class_above_the_first_version_may_have_no_upcasters_until_old_data_come(old: str) -> None:
    registry = registry_of("A3 B2", "B1 B2")

    assert read(registry, "A3").steps == []
    with pytest.raises(
        EventDecodingError,
        match=rf"^Order-o-1 version 7 \(A\) .* it has schema version {old[1]}, and nothing here turns that into",
    ) as refused:
        read(registry, old)
    assert not isinstance(refused.value, NewerSchemaVersion)
    assert "EventRegistry(…, upcasters=[…])" in refused.value.reason


# Newer than the code.


@pytest.mark.parametrize(
    ("classes", "steps", "newer", "known"),
    [
        ("A2", ("A1 A2",), "A3", 2),
        ("A2", (), "A3", 2),
        ("A1", (), "A9", 1),
        ("B1", ("A1 A2", "A2 B1"), "A3", 2),
        ("B1 C1", ("A1 B1", "A2 C1"), "A3", 2),
        ("A3 B1", ("A1 B1", "A2 A3"), "A4", 3),
        ("C1", ("A1 B1", "B1 C1"), "B2", 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("data", ["{}", "[]", "no json"])
def test_what_is_newer_than_the_code_is_refused_unseen(
    classes: str, steps: tuple[str, ...], newer: str, known: int, data: str
) -> None:
    with pytest.raises(NewerSchemaVersion) as refused:
        read(registry_of(classes, *steps), newer, data)

    error, version = refused.value, int(newer[1:])
    assert (error.type, error.stream, error.version) == (newer[0], StreamId("Order", "o-1"), 7)
    assert (error.stored, error.known, error.field) == (version, known, "")
    assert str(error).startswith(f"Order-o-1 version 7 ({newer[0]}) ")
    assert f"it has schema version {version}, this code knows up to {known}" in str(error)


def test_a_name_that_was_never_there_is_unknown() -> None:
    with pytest.raises(UnknownEventType, match="'Z'"):
        read(registry_of("B1", "A1 B1"), "Z1")


# What goes wrong on the way.


def refused_by(function: Callable[[dict[str, Any]], Any], data: str = "{}") -> EventDecodingError:
    """Return the error of an upcaster in the middle of a chain."""
    middle = upcaster("OrderPlaced", from_version=2, to_version=3)(function)
    codec = EventCodec(EventRegistry(OrderPlaced, upcasters=[split_text, middle, it_was_in_euros]))
    with pytest.raises(EventDecodingError) as refused:
        codec.decode(stored("OrderPlaced", 2, data))
    error = refused.value
    assert (error.type, error.stream, error.version) == ("OrderPlaced", StreamId("Order", "o-1"), 7)
    assert error.reason in str(error)
    assert not isinstance(error, NewerSchemaVersion)
    return error


def causes(error: BaseException) -> list[BaseException]:
    """List what an error was raised from."""
    return [] if error.__cause__ is None else [error.__cause__, *causes(error.__cause__)]


def test_an_upcaster_that_fails_is_named_and_its_error_is_kept() -> None:
    error = refused_by(lambda data: data["texts"])

    assert error.field == ""
    assert error.reason == "the upcaster from OrderPlaced 2 to OrderPlaced 3 failed: KeyError('texts')"
    assert [repr(cause) for cause in causes(error)][-1] == "KeyError('texts')"


def test_an_upcaster_that_never_ends_is_an_error_and_no_crash() -> None:
    def again(data: dict[str, Any]) -> dict[str, Any]:
        return {**again(data)}

    assert "the upcaster from OrderPlaced 2 to OrderPlaced 3 failed: RecursionError" in refused_by(again).reason


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_not_taken_for_a_failure(interruption: type[BaseException]) -> None:
    def interrupted(_: dict[str, Any]) -> dict[str, Any]:
        raise interruption

    with pytest.raises(interruption):
        refused_by(interrupted)


def generate(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield data


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: None,
        lambda data: (data,),
        lambda data: [data],
        lambda data: data.items(),
        lambda _: '{"lines":[]}',
        lambda _: 0,
        lambda data: OrderedDict(**data),
        generate,
    ],
    ids=["None", "tuple", "list", "items", "text", "number", "other dict", "generator"],
)
def test_an_upcaster_that_returns_no_dict_is_named(wrong: Callable[[dict[str, Any]], Any]) -> None:
    error = refused_by(wrong)

    assert error.field == ""
    assert error.reason.startswith("the upcaster from OrderPlaced 2 to OrderPlaced 3 returned ")
    assert error.reason.endswith(": return the data, a dict")


def test_what_an_upcaster_wrongly_returned_is_not_told_at_length() -> None:
    assert len(refused_by(lambda _: ["x" * 100_000]).reason) < 200


MISFITS = [
    ({"lines": [], "colour": 1}, "colour", "OrderPlaced has no such field"),
    ({"lines": [{"product": "tea", "colour": 1}]}, "lines[0].colour", "Line has no such field"),
    ({}, "lines", "it is missing, and the field has no default"),
    ({"lines": [{"product": "tea"}, {}]}, "lines[1].product", "it is missing, and the field has no default"),
    ({"lines": None}, "lines", "expected list["),
    ({"lines": ({"product": "tea"},)}, "lines", "expected list["),
    ({"lines": [OrderedDict(product="tea")]}, "lines[0]", "expected an object, got OrderedDict"),
    ({"lines": [{"product": 7}]}, "lines[0].product", "expected str, got int 7"),
    ({"lines": [{"product": "\ud800"}]}, "lines[0].product", "lone surrogate"),
    ({"lines": [{"product": "a", "price": 4.5}]}, "lines[0].price", "expected a Decimal as text, got float"),
    (
        {"lines": [{"product": "a", "price": Decimal("4.5")}]},
        "lines[0].price",
        "expected a Decimal as text, got Decimal",
    ),
    ({"lines": [{"product": "a", "price": "NaN"}]}, "lines[0].price", "'NaN' is no finite Decimal"),
]


@pytest.mark.parametrize(("made", "path", "reason"), MISFITS, ids=lambda value: ascii(value)[:40])
def test_what_upcasters_have_left_must_fit_the_class_exactly(made: dict[str, Any], path: str, reason: str) -> None:
    error = refused_by(lambda _: made)

    assert error.field == path
    assert reason in error.reason
    assert "upcaster" in error.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1, True, "1.0"])
def test_an_upcaster_is_held_to_the_types_as_stored_data_are(value: object) -> None:
    cls = event(name="A", schema_version=2)(
        attrs.make_class("A", {"value": attrs.field(type=list[float])}, frozen=True)
    )
    change = upcaster("A", from_version=1, to_version=2)(lambda _: {"value": [1.0, value]})

    with pytest.raises(EventDecodingError) as refused:
        EventCodec(EventRegistry(cls, upcasters=[change])).decode(stored("A", 1, "{}"))

    assert refused.value.field == "value[1]"


@pytest.mark.parametrize("made", [{1: 2}, {None: 2}, {("a", 1): 2}], ids=str)
@pytest.mark.parametrize(
    "wrap",
    [lambda made: made, lambda made: {"part": made}, lambda made: {"parts": [made]}],
    ids=["event", "part", "part in a list"],
)
def test_a_key_that_is_no_text_is_refused_as_all_else(
    made: dict[Any, Any], wrap: Callable[[object], dict[str, Any]]
) -> None:
    @frozen
    class Part:
        value: int = 0

    fields = {
        "part": attrs.field(type=Part, factory=Part),
        "parts": attrs.field(type=list[Part], factory=list),
    }
    cls = event(name="A", schema_version=2)(attrs.make_class("A", fields, frozen=True))
    change = upcaster("A", from_version=1, to_version=2)(lambda _: wrap(made))

    with pytest.raises(EventDecodingError) as refused:
        EventCodec(EventRegistry(cls, upcasters=[change])).decode(stored("A", 1, "{}"))

    assert isinstance(refused.value.field, str)
    assert repr(next(iter(made))) in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        '{"texts":["tea"],"texts":["tea"]}',
        '{"texts":[{"key":1,"texts":2,"texts":2}]}',
        '{"a":{"b":[[{"texts":1,"c":{},"texts":1}]]}}',
        '{"a":{"texts":1,"texts":1},"a":1}',
    ],
)
def test_a_key_that_is_there_twice_is_refused_before_any_upcaster_sees_the_data(data: str) -> None:
    shown: list[object] = []

    error = refused_by(shown.append, data)

    assert shown == []
    assert error.reason == "the key is there twice"
    assert error.field.endswith("texts")


@pytest.mark.parametrize(
    "data",
    ["", "{", "nul", "NaN", '{"a":NaN}', '{"a":[-Infinity]}', '{"a":1}x', '{"a":01}', "{'a':1}", "[" * 100_000],
    ids=lambda data: data[:20],
)
def test_old_data_that_are_no_json_are_refused_before_any_upcaster_sees_them(data: str) -> None:
    shown: list[object] = []

    error = refused_by(shown.append, data)

    assert shown == []
    assert error.field == ""
    assert "JSON" in error.reason


@pytest.mark.parametrize("data", ["null", "1", '"{}"', "[]", '[{"texts":[]}]', "true"])
def test_old_data_that_are_no_object_are_refused_before_any_upcaster_sees_them(data: str) -> None:
    shown: list[object] = []

    error = refused_by(shown.append, data)

    assert shown == []
    assert error.field == ""
    assert error.reason.startswith("expected an object, got ")


# The names that stand for a class.


def test_a_class_has_the_names_under_which_its_events_were_ever_stored() -> None:
    registry = registry_of("C2 D1", "A1 A2", "A2 B1", "B1 C1", "C1 C2", "E1 D1")
    c2, d1 = registry.classes

    assert set(registry.names_of(c2)) == {"A", "B", "C"}
    assert set(registry.names_of(d1)) == {"D", "E"}
    assert set(registry.names_of(c2, d1)) == set(registry.names) == {"A", "B", "C", "D", "E"}


def test_the_name_of_today_comes_first_and_every_name_once() -> None:
    registry = registry_of("C3", "B1 C1", "A1 A2", "A2 C1", "C1 C2", "C2 C3")

    assert registry.names_of(*registry.classes)[0] == "C"
    assert sorted(registry.names) == ["A", "B", "C"]


def test_a_name_that_has_led_to_two_classes_stands_for_both() -> None:
    registry = registry_of("A3 B1", "A1 B1", "A2 A3")
    a3, b1 = registry.classes

    assert set(registry.names_of(a3)) == {"A"}
    assert set(registry.names_of(b1)) == {"A", "B"}


def test_an_old_name_has_no_class_of_its_own() -> None:
    registry = registry_of("B1", "A1 B1")

    assert registry.by_name("A") is None
    assert [cls.__name__ for cls in registry.classes] == ["B"]


# Whatever the chain is.

STEPS: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    lambda data: {**data, "value": data["value"] + 1},
    lambda data: {**data, "value": data["value"] * 3},
    lambda data: {**data, "value": -data["value"]},
    lambda data: {**data, "notes": data["notes"] + [data["value"]]},
    lambda data: data["notes"].append(len(data["notes"])) or data,
    lambda data: {"notes": data["notes"][::-1], "value": data["value"]},
    lambda data: dict(reversed(data.items())),
]


@frozen
class Chain:
    """What an event was called over time, and what each step does with its data."""

    names: list[str]
    functions: list[Callable[[dict[str, Any]], dict[str, Any]]]

    @property
    def types(self) -> list[tuple[str, int]]:
        return [(name, self.names[: index + 1].count(name)) for index, name in enumerate(self.names)]

    @property
    def upcasters(self) -> list[Upcaster]:
        return [
            upcaster(name, from_version=version, to=to, to_version=to_version)(function)
            for ((name, version), (to, to_version)), function in zip(pairwise(self.types), self.functions, strict=True)
        ]

    @property
    def today(self) -> type:
        name, schema_version = self.types[-1]
        fields = {"value": attrs.field(type=int), "notes": attrs.field(type=list[int])}
        return event(name=name, schema_version=schema_version)(attrs.make_class("Today", fields, frozen=True))


CHAINS = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(STEPS)), min_size=1, max_size=8).flatmap(
    lambda steps: st.builds(
        Chain,
        st.sampled_from("ABC").map(lambda last: [name for name, _ in steps] + [last]),
        st.just([function for _, function in steps]),
    )
)
DATA = st.fixed_dictionaries({"value": st.integers(), "notes": st.lists(st.integers())})


@given(CHAINS, DATA, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_reading_data_of_any_version_is_taking_each_step_from_there_by_hand(
    chain: Chain, data: dict[str, Any], order: random.Random
) -> None:
    upcasters, today = chain.upcasters, chain.today
    order.shuffle(upcasters)
    registry = EventRegistry(today, upcasters=upcasters)
    text = json.dumps(data)

    for index, (name, schema_version) in enumerate(chain.types):
        by_hand = json.loads(text)
        for function in chain.functions[index:]:
            by_hand = function(by_hand)
        assert EventCodec(registry).decode(stored(name, schema_version, text)) == today(**by_hand)
    assert set(registry.names_of(today)) == set(chain.names)


@given(CHAINS, st.data())
@settings(deadline=None, max_examples=200)
def test_a_chain_without_one_of_its_later_links_is_refused(chain: Chain, data: st.DataObject) -> None:
    upcasters = chain.upcasters
    if len(upcasters) > 1:
        del upcasters[data.draw(st.integers(1, len(upcasters) - 1))]

        with pytest.raises(DefinitionError, match=r"nothing turns|leads nowhere"):
            EventRegistry(chain.today, upcasters=upcasters)


@given(CHAINS)
@settings(deadline=None, max_examples=200)
def test_data_of_the_version_after_the_newest_are_refused_under_every_name(chain: Chain) -> None:
    codec = EventCodec(EventRegistry(chain.today, upcasters=chain.upcasters))

    for name in set(chain.names):
        with pytest.raises(NewerSchemaVersion):
            codec.decode(stored(name, chain.names.count(name) + 1, "{}"))
