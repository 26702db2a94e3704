"""The forms of single values: numbers, texts, moments, enums."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# Parsed JSON is of no type that could be known.

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import msgspec

from esbank._json import shown
from esbank.codec._forms import Form, Misfit, check_encodable, expected

__all__ = ["SCALARS", "enum_form"]

_encode: Final = msgspec.json.Encoder().encode

_Function: TypeAlias = Callable[[Any], Any]


def _exactly(cls: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not cls:
            raise expected(cls.__name__, value)
        return value

    return check


def _is_none(value: Any) -> None:
    if value is not None:
        raise expected("None", value)


def _scalar(
    cls: type,
    *,
    dump: _Function,
    load: _Function,
    name: str | None = None,
    shape: Any = None,
    check: _Function | None = None,
) -> Form:
    """Make the form of a class whose values msgspec writes as they are."""
    name = name or cls.__name__
    return Form(name, name, shape or cls, dump=dump, load=load, kinds=frozenset({cls}), check=check)


def _check_str(value: Any) -> Any:
    if type(value) is not str:
        raise expected("str", value)
    return check_encodable(value)


def _check_float(value: Any) -> Any:
    if type(value) is not float:
        raise expected("float", value)
    if not math.isfinite(value):
        raise Misfit(f"a float must be finite, not {value!r}")
    return value


def _check_decimal(value: Any) -> Any:
    if type(value) is not Decimal:
        raise expected("Decimal", value)
    return _finite(value)


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise Misfit(f"a Decimal must be finite, not {value}")
    return value


_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?")


def _load_decimal(value: Any) -> Any:
    if type(value) is not str:
        raise expected("a Decimal as text", value)
    if not _DECIMAL.fullmatch(value):
        raise Misfit(f"{value!r:.60} is no finite Decimal")
    try:
        return _finite(Decimal(value))
    except InvalidOperation as error:
        raise Misfit(f"the exponent of {value!r:.60} is beyond what a Decimal can hold") from error


def _check_datetime(value: Any) -> Any:
    if type(value) is not datetime:
        raise expected("datetime", value)
    offset = value.utcoffset()
    if offset is None:
        raise Misfit(f"a datetime must know its time zone, as in datetime.now(UTC): {value!r}")
    if offset.seconds % 60 or offset.microseconds:
        raise Misfit(f"a UTC offset has whole minutes; convert to UTC: {value!r}")
    return value


_BEYOND_MICROSECONDS: Final = re.compile(r"\.\d{7}")


def _from_text(cls: type, shape: Any) -> Callable[[Any], Any]:
    decoder = msgspec.json.Decoder(shape)

    def load(value: Any) -> Any:
        if type(value) is not str:
            raise expected(f"a {cls.__name__} as text", value)
        if _BEYOND_MICROSECONDS.search(value):
            raise Misfit(f"{value!r:.60} is finer than a microsecond")
        try:
            return decoder.decode(_encode(value))
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise Misfit(f"{value!r:.60} is no {cls.__name__}: {error}") from error

    return load


_AWARE: Final = Annotated[datetime, msgspec.Meta(tz=True)]

SCALARS: Final[dict[Any, Form]] = {
    str: _scalar(str, dump=_check_str, load=_check_str),
    int: _scalar(int, dump=_exactly(int), load=_exactly(int)),
    bool: _scalar(bool, dump=_exactly(bool), load=_exactly(bool)),
    type(None): _scalar(type(None), name="None", dump=_is_none, load=_is_none),
    float: _scalar(float, dump=_check_float, load=_check_float, check=_check_float),
    Decimal: _scalar(Decimal, dump=_check_decimal, load=_load_decimal),
    UUID: _scalar(UUID, dump=_exactly(UUID), load=_from_text(UUID, UUID)),
    datetime: _scalar(
        datetime, shape=_AWARE, dump=_check_datetime, load=_from_text(datetime, _AWARE), check=_check_datetime
    ),
    date: _scalar(date, dump=_exactly(date), load=_from_text(date, date)),
}


def enum_form(cls: type[Enum]) -> Form | None:
    """Make the form of an enum whose values are all str or all int; None for any other."""
    members: dict[Any, Enum] = {member.value: member for member in cls}
    kind = type(next(iter(members), None))
    if kind not in {str, int} or any(type(value) is not kind for value in members):
        return None

    def load(value: Any) -> Any:
        if type(value) is not kind or value not in members:
            raise Misfit(f"{shown(value)} is no value of {cls.__name__}")
        return members[value]

    def dump(value: Any) -> Any:
        if type(value) is not cls:
            raise expected(cls.__name__, value)
        return value.value

    # msgspec reads the bare value: it would ask an enum's own `_missing_`, and refuses large ints.
    values = ", ".join(repr(value) for value in members)
    return Form(
        f"enum {cls.__name__}({values})",
        {"enum": list(members)},
        kind,
        dump=dump,
        load=load,
        build=load,
        kinds=frozenset({cls}) if all(_is_written_by_value(member) for member in cls) else frozenset(),
    )


def _is_written_by_value(member: Enum) -> bool:
    """Tell whether msgspec, which takes what the member was made with, agrees with a ``value`` of the enum's own."""
    return bool(member.value == member._value_)
