"""Many events read together are what they are one by one, down to the first that cannot be read."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import pytest
from attrs import Factory, define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank import EventCodec, EventDecodingError, EventRegistry, event, upcaster
from esbank.codec._forms import Form
from esbank.errors import EsbankError
from esbank.store import NO_METADATA, EventData, StoredEvent, StreamId

STREAM = StreamId("Account", "1")


class Kind(Enum):
    CARD = "card"
    CASH = "cash"


@event(schema_version=2)
@frozen
class Paid:
    amount: Decimal
    by: str
    kind: Kind = Kind.CARD
    at: datetime | None = None
    note: str = Factory(lambda self: f"by {self.by}", takes_self=True)


@frozen
class Line:
    sku: str
    price: Decimal = Decimal(1)


@frozen
class Ordered:
    lines: tuple[Line, ...]
    first: Line
    tags: frozenset[str] = frozenset()
    extra: dict[str, int] = field(factory=dict)


@define
class Touched:
    """An event without anything in it."""


@upcaster("Paid", from_version=1, to_version=2)
def by_nobody(data: dict[str, Any]) -> dict[str, Any]:
    return {"by": "", **data}


CODEC = EventCodec(EventRegistry(Paid, Ordered, Touched, upcasters=[by_nobody]))

WRITTEN = [
    ("Paid", 2, '{"amount":"1.10","by":"é","kind":"cash","at":"2024-02-29T12:00:00Z","note":"\\n"}'),
    ("Paid", 2, '{"amount":"-0","by":"","kind":"card","at":null,"note":"NaN and Infinity"}'),
    (
        "Ordered",
        1,
        '{"lines":[{"sku":"a","price":"2"}],"first":{"sku":"b","price":"1E+3"},"tags":["x"],"extra":{}}',
    ),
    ("Ordered", 1, '{"lines":[],"first":{"sku":"b","price":"1"},"tags":[],"extra":{}}'),
    ("Touched", 1, "{}"),
]
OLDER = [
    ("Paid", 2, '{"amount":"1.10","by":"alice"}'),
    ("Paid", 2, '{"amount":"1.10","by":"alice","at":"2024-02-29T12:00:00+02:00"}'),
    ("Paid", 1, '{"amount":"1.10"}'),
    ("Ordered", 1, '{"lines":[{"sku":"a"}],"first":{"sku":"b"}}'),
]
BY_OTHERS = [
    ("Paid", 2, ' { "by" : "bob",\n "amount" : "1" } \r\n'),
    ("Ordered", 1, '{"first":{"price":"1","sku":"b"},"lines":[]}'),
    ("Touched", 1, "{ }"),
    ("Touched", 1, "{\n}"),
]
UNREADABLE: list[Any] = [
    ("Paid", 2, '{"amount":"NaN","by":"alice"}'),
    ("Paid", 2, '{"amount":"-Infinity","by":"alice","kind":"card","at":null,"note":""}'),
    ("Paid", 2, '{"amount":1.10,"by":"alice"}'),
    ("Paid", 2, '{"amount":"1","amount":"2","by":"alice"}'),
    ("Paid", 2, '{"amount":"1","by":"alice","too":"much"}'),
    ("Paid", 2, '{"amount":"1","by":"alice","at":"2024-02-29T12:00:00"}'),
    ("Paid", 2, '{"amount":"1","by":"alice","kind":"cheque"}'),
    ("Paid", 2, '{"by":"alice"}'),
    ("Paid", 3, '{"amount":"1","by":"alice"}'),
    ("Paid", 1, '{"by":"alice"}'),
    ("Ordered", 1, '{"lines":[],"first":{"sku":"b","price":"1"},"tags":["x","x"],"extra":{}}'),
    ("Touched", 1, '{"a":1}'),
    ("Touched", 1, "{}{}"),
    ("Touched", 1, "{}\n{}"),
    ("Touched", 1, ""),
    ("Touched", 1, "{"),
    ("Touched", 1, "}"),
    ("Touched", 1, "\ud800"),
    ("Touched", 1, None),
    ("Touched", 1, b"{}"),
    ("Touched", "1", "{}"),
    ("Unheard", 1, "{}"),
]


def outcome(events: Iterable[object]) -> tuple[list[object], str]:
    """Return what could be read, and why not more."""
    read: list[object] = []
    try:
        read.extend(attrs.astuple(one) for one in events)
    except EsbankError as error:
        return read, repr(error)
    return read, ""


def numbered(rows: Iterable[tuple[str, int, str]]) -> list[EventData]:
    return [(version, *row) for version, row in enumerate(rows, 1)]


def stored(data: EventData) -> StoredEvent:
    version, type_, schema_version, text = data
    return StoredEvent(STREAM, version, version, UUID(int=version), type_, schema_version, text, NO_METADATA, 0)


def is_read_alike(page: list[EventData]) -> bool:
    alone = outcome(CODEC.decode(stored(data)) for data in page)
    together = outcome(CODEC.decode_page(STREAM, page))
    in_envelopes = outcome(envelope.event for envelope in CODEC.envelopes(map(stored, page)))
    assert together == alone
    assert in_envelopes == alone
    return not alone[1]


@given(st.lists(st.sampled_from(WRITTEN + OLDER + BY_OTHERS), min_size=1))
@settings(deadline=None)
def test_what_can_be_read_is_read_alike(rows: list[tuple[str, int, str]]) -> None:
    assert is_read_alike(numbered(rows))


@given(
    st.lists(st.sampled_from(WRITTEN + OLDER + BY_OTHERS)),
    st.sampled_from(UNREADABLE),
    st.lists(st.sampled_from(WRITTEN + OLDER + BY_OTHERS + UNREADABLE)),
)
@settings(deadline=None)
def test_all_before_one_that_cannot_be_read_are_read(
    before: list[tuple[str, int, str]], bad: tuple[str, int, str], after: list[tuple[str, int, str]]
) -> None:
    assert not is_read_alike(numbered([*before, bad, *after]))


# What is joined and still JSON: the end of one text belongs to the beginning of the next.
@pytest.mark.parametrize(
    "texts",
    [
        ("{}{}", ""),
        ("{}\n{}", ""),
        ('{"lines":[],"first":{"sku":"a"', "}}"),
        ('{"a":1}{"b":', "2}"),
        ("", ""),
        (" ", "{}"),
        ("{", "}"),
        ("{}\n", "{}"),
        ("\n{}", "{}"),
    ],
)
@pytest.mark.parametrize("name", ["Touched", "Ordered"])
def test_texts_that_are_whole_only_together_are_not_read(name: str, texts: tuple[str, ...]) -> None:
    is_read_alike(numbered((name, 1, text) for text in texts))


@pytest.mark.parametrize("size", [1, 2, 249, 250, 251, 600])
def test_envelopes_come_in_order_whatever_their_number(size: int) -> None:
    events = [stored(data) for data in numbered(WRITTEN[number % len(WRITTEN)] for number in range(size))]

    envelopes = list(CODEC.envelopes(iter(events)))

    assert [envelope.stored for envelope in envelopes] == events
    assert [type(envelope.event).__name__ for envelope in envelopes] == [one.type for one in events]


def test_no_two_events_share_what_can_change() -> None:
    older, written = OLDER[3], WRITTEN[3]

    first, second, third = CODEC.decode_page(STREAM, numbered([older, older, written]))

    assert isinstance(first, Ordered)
    first.extra["a"] = 1
    assert second.extra == third.extra == {}  # type: ignore[attr-defined]


def test_an_envelope_that_cannot_be_made_names_its_event() -> None:
    events = [stored(data) for data in numbered([WRITTEN[0], UNREADABLE[0], WRITTEN[0]])]
    envelopes = CODEC.envelopes(events)

    assert next(envelopes).version == 1
    with pytest.raises(EventDecodingError, match=r"Account-1.*version 2"):
        next(envelopes)


class Colour(Enum):
    RED = "r"

    @property
    def value(self) -> str:
        return "red"


@frozen
class Painted:
    colour: Colour


def test_an_enum_with_a_value_of_its_own_can_be_read_again() -> None:
    codec = EventCodec(EventRegistry(Painted))
    new = codec.encode(Painted(Colour.RED))
    read = codec.decode(stored((1, new.type, 1, new.data)))

    assert new.data == '{"colour":"red"}'
    assert read == Painted(Colour.RED)


@frozen
class Everything:
    number: int
    text: str
    truth: bool
    nothing: None
    share: float
    amount: Decimal
    key: UUID
    moment: datetime
    day: date
    kind: Kind
    maybe: Decimal | None


VALUES = {
    "number": st.integers(),
    "text": st.text(),
    "truth": st.booleans(),
    "nothing": st.none(),
    "share": st.floats(),
    "amount": st.decimals(),
    "key": st.uuids(),
    "moment": st.datetimes() | st.datetimes(timezones=st.just(UTC)),
    "day": st.dates(),
    "kind": st.sampled_from(Kind),
    "maybe": st.none() | st.decimals(),
}
STRANGE = st.one_of(*VALUES.values())


def written(form: Form, value: object) -> str:
    try:
        return str(form.to_json(value))
    except ValueError as error:
        return repr(error)


@given(st.fixed_dictionaries({name: values | STRANGE for name, values in VALUES.items()}))
@settings(deadline=None, max_examples=300)
def test_what_is_written_the_short_way_is_what_is_written_the_long_way(values: dict[str, Any]) -> None:
    form = EventRegistry(Everything).forms.of(Everything)
    assert form.write is not None

    given_event = Everything(**values)

    assert written(form, given_event) == written(attrs.evolve(form, write=None), given_event)
