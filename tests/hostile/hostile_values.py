"""What people, programs and damaged files come up with, by kind; and strategies that make more of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW: Final = 40
MANY: Final = 2000
FEW_OR_MANY: Final = pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
"""For a test that explores: few examples that are always the same, and many that are new each time."""


def explore(examples: int, **strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Call a function with so many examples, at once."""

    def run(check: Callable[..., None]) -> None:
        profile = settings(
            max_examples=examples,
            derandomize=examples == FEW,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        profile(given(**strategies)(check))()

    return run


class Text(str):
    """A text that is not exactly a ``str``."""

    __slots__ = ()


class Number(int):
    """A number that is not exactly an ``int``."""


def nested(depth: int) -> list[Any]:
    """Make a list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    """Make a list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


SQL: Final = [
    "'; DROP TABLE esbank_events; --",
    '"; DROP TABLE esbank_events; --',
    "1); DELETE FROM esbank_streams; --",
    "' OR '1'='1",
    "$$; DROP TABLE esbank_events; $$",
    "%s",
    "%(name)s",
    "%",
    ":name",
    "?",
    "$1",
    "{table}",
    "{0.__class__}",
    "\\",
    "/*",
    "esbank_events",
]
TEXTS: Final = [
    *SQL,
    "",
    " ",
    "-",
    "a-b",
    "\0",
    "a\0b",
    "\ud800",
    "a\udfff",
    "\ufeffa",
    "\ufffe",
    "é",
    "e\u0301",
    "\u202eabc",
    "a\r\nb",
    "😀" * 200,
    "x" * 10_000,
    Text("text"),
]
INTS: Final = [-1, 0, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**400]
NUMBERS: Final = [*INTS, True, False, Number(1), 1.0, 1.5, math.nan, math.inf, -math.inf, Decimal(1), Decimal("sNaN")]
MOMENTS: Final = [
    datetime.min,  # noqa: DTZ901 - without a time zone, on purpose
    datetime.max,  # noqa: DTZ901 - same
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=1))),
    date.min,
    date.max,
]
DECIMALS: Final = [Decimal(text) for text in ("NaN", "sNaN", "-Infinity", "1E+999999999999999999", "-0", "0E-999999")]
OTHERS: Final = [
    None,
    b"",
    b"\xff",
    [],
    {},
    set(),
    object(),
    object,
    len,
    range(3),
    UUID(int=1),
    [[1]],
    {"a": 1},
    endless(),
    {"a": endless()},
]
UNPRINTABLE: Final = [10**5000, -(10**5000), nested(10_000), [10**5000], {"a": nested(10_000)}]
"""What Python itself cannot write: thousands of digits, thousands of lists in each other."""
ANYTHING: Final = [*TEXTS, *NUMBERS, *MOMENTS, *OTHERS]

texts = (
    st.text(max_size=30) | st.text(st.characters(categories=["Cs", "Cc", "Cf"]), max_size=9) | st.sampled_from(TEXTS)
)
numbers = st.integers() | st.floats() | st.decimals() | st.booleans() | st.sampled_from(NUMBERS)
moments = st.datetimes(timezones=st.none() | st.timezones()) | st.dates() | st.sampled_from(MOMENTS)
scalars = texts | numbers | moments | st.binary(max_size=20) | st.uuids() | st.sampled_from(OTHERS)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3)
        | st.tuples(inner, inner)
        | inner.map(lambda value: (value,))
    ),
    max_leaves=6,
)

DEPTHS: Final = [200, 480, 700, 900, *range(930, 1000, 7), 100_000]
"""Shallow enough for everybody, too deep for somebody, and near where Python stops."""

JSON: Final = [
    "",
    " ",
    "null",
    "true",
    "1",
    "-0",
    "01",
    "1.",
    "1e999",
    "-1e999",
    "1e-999",
    "1" * 4000,
    "1" * 5000,
    "-" + "1" * 5000,
    "1" * 300_000,
    "0." + "1" * 100_000,
    str(2**64),
    "NaN",
    "Infinity",
    "-Infinity",
    '"text"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\ud800"',
    '"\0"',
    '"\ufeff"',
    '"' + "x" * 300_000 + '"',
    '"1e999999999999999999999999"',
    '"' + "1" * 5000 + '"',
    '"sNaN"',
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59-14:00"',
    '"10000-01-01"',
    '"2024-01-01T23:59:60Z"',
    "[1,1]",
    "[1,]",
    "[",
    '{"a"',
    '{"a":1,"a":2}',
    '{"\\ud800":1}',
    '{"' + "k" * 300_000 + '":1}',
    *("[" * depth + "]" * depth for depth in DEPTHS),
    *('{"a":' * depth + "1" + "}" * depth for depth in DEPTHS),
    "[" * 100_000,
    '{"a":' * 100_000,
]
"""JSON, and what looks like it."""

_plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
