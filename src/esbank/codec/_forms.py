"""How values of a type are written as JSON and read back: one `Form` for each type, compiled once.

Strict both ways: a value must be exactly of its field's type, and JSON must be exactly what that type is written as.
msgspec reads and writes; it is laxer than this (it takes a number for a Decimal, the last of two equal keys, an int for
a float), so what it has read counts only if writing it again gives the very same text. Any other text, such as one
that somebody else has written with other spaces, is read by the slow and strict `load`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, NoReturn
from uuid import UUID

import msgspec
from attrs import frozen

__all__ = ["Form", "Misfit", "parse", "reader"]

_encode: Final = msgspec.json.Encoder().encode


class Misfit(ValueError):
    """A value or a JSON text that does not fit its type; `path` leads to it."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def under(self, parent: str) -> Misfit:
        """Say that the misfit lies below `parent`, a field's name or an ``[index]``."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        return Misfit(self.reason, f"{parent}{dot}{self.path}")


@frozen(eq=False)
class Form:
    """How values of one type are written and read.

    - `signature` describes the type, down to the fields of nested classes.
    - `shape` is the type that msgspec reads.
    - `dump` turns a value into what msgspec writes; raises `Misfit` unless the value is exactly of the type.
    - `build` turns what msgspec read into the value; None where it is the value.
    - `load` turns parsed JSON into the value, strictly; raises `Misfit`.
    - `copy` copies a value so that nothing can change both; None where values cannot change.
    """

    signature: str
    shape: Any
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]
    build: Callable[[Any], Any] | None = None
    copy: Callable[[Any], Any] | None = None

    def to_json(self, value: object) -> str:
        """Write `value` as JSON text; raises `Misfit`."""
        plain = self.dump(value)
        try:
            return _encode(plain).decode()
        except UnicodeEncodeError:
            raise _lone_surrogate(plain) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise Misfit(str(error)) from error


def reader(form: Form) -> Callable[[str], Any]:
    """Make the function that reads values of `form` from JSON text; it raises `Misfit`."""
    decode = msgspec.json.Decoder(form.shape).decode
    build = form.build

    def read(text: str) -> Any:
        try:
            native = decode(text)
            ours = _encode(native).decode() == text
        except (ValueError, RecursionError):  # of msgspec; `load` finds the words for it
            ours = False
        if not ours:
            return form.load(parse(text))
        return native if build is None else build(native)

    return read


def parse(text: str) -> Any:
    """Parse JSON strictly: no NaN, no key twice in one object; raises `Misfit`."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except Misfit:
        raise
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {error}"
        raise Misfit(msg) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Misfit("the key is there twice", key)
            seen.add(key)
    return keys


def _no_constant(name: str) -> NoReturn:
    msg = f"JSON has no {name}"
    raise Misfit(msg)


def _lone_surrogate(plain: object, path: str = "") -> Misfit:
    items: Iterable[tuple[str, object]] = ()
    if isinstance(plain, dict):
        items = [(f"{path}.{key}".removeprefix("."), item) for key, item in plain.items()]
    elif isinstance(plain, (list, tuple)):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(plain)]
    for below, item in items:
        try:
            _encode(item)
        except UnicodeEncodeError:
            return _lone_surrogate(item, below)
    return Misfit("the text holds a lone surrogate, which UTF-8 cannot say", path)


def _exactly(cls: type, name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not cls:
            raise Misfit(_expected(name, value))
        return value

    return check


def _expected(name: str, value: object) -> str:
    return f"expected {name}, got {type(value).__name__} {value!r:.60}"


def _scalar(cls: type, name: str) -> Form:
    check = _exactly(cls, name)
    return Form(signature=name, shape=cls, dump=check, load=check)


def _check_float(value: Any) -> Any:
    if type(value) is not float:
        raise Misfit(_expected("float", value))
    if not math.isfinite(value):
        msg = f"a float must be finite, not {value!r}"
        raise Misfit(msg)
    return value


def _check_decimal(value: Any) -> Any:
    if type(value) is not Decimal:
        raise Misfit(_expected("Decimal", value))
    return _finite(value)


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        msg = f"a Decimal must be finite, not {value}"
        raise Misfit(msg)
    return value


_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?")


def _load_decimal(value: Any) -> Any:
    if type(value) is not str:
        raise Misfit(_expected("a Decimal as text", value))
    if not _DECIMAL.fullmatch(value):
        msg = f"{value!r:.60} is no finite Decimal"
        raise Misfit(msg)
    return _finite(Decimal(value))


def _check_datetime(value: Any) -> Any:
    if type(value) is not datetime:
        raise Misfit(_expected("datetime", value))
    offset = value.utcoffset()
    if offset is None:
        msg = f"a datetime must know its time zone, as in datetime.now(UTC): {value!r}"
        raise Misfit(msg)
    if offset.seconds % 60 or offset.microseconds:
        msg = f"a UTC offset has whole minutes; convert to UTC: {value!r}"
        raise Misfit(msg)
    return value


_BEYOND_MICROSECONDS: Final = re.compile(r"\.\d{7}")


def _from_text(cls: type, shape: Any) -> Callable[[Any], Any]:
    decoder = msgspec.json.Decoder(shape)

    def load(value: Any) -> Any:
        if type(value) is not str:
            raise Misfit(_expected(f"a {cls.__name__} as text", value))
        if _BEYOND_MICROSECONDS.search(value):
            msg = f"{value!r:.60} is finer than a microsecond"
            raise Misfit(msg)
        try:
            return decoder.decode(_encode(value))
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            msg = f"{value!r:.60} is no {cls.__name__}: {error}"
            raise Misfit(msg) from error

    return load


_AWARE: Final = Annotated[datetime, msgspec.Meta(tz=True)]

SCALARS: Final[dict[Any, Form]] = {
    str: _scalar(str, "str"),
    int: _scalar(int, "int"),
    bool: _scalar(bool, "bool"),
    type(None): _scalar(type(None), "None"),
    float: Form("float", float, dump=_check_float, load=_check_float),
    Decimal: Form("Decimal", Decimal, dump=_check_decimal, load=_load_decimal, build=_finite),
    UUID: Form("UUID", UUID, dump=_exactly(UUID, "UUID"), load=_from_text(UUID, UUID)),
    datetime: Form("datetime", _AWARE, dump=_check_datetime, load=_from_text(datetime, _AWARE)),
    date: Form("date", date, dump=_exactly(date, "date"), load=_from_text(date, date)),
}


def enum_form(cls: type[Enum]) -> Form | None:
    """Make the form of an enum whose values are all str or all int; None for any other."""
    members = {member.value: member for member in cls}
    kinds = {type(value) for value in members}
    if kinds not in ({str}, {int}):
        return None
    (kind,) = kinds

    def load(value: Any) -> Any:
        if type(value) is not kind or value not in members:
            msg = f"{value!r:.60} is no value of {cls.__name__}"
            raise Misfit(msg)
        return members[value]

    values = ", ".join(repr(value) for value in members)
    return Form(f"enum {cls.__name__}({values})", cls, dump=_exactly(cls, cls.__name__), load=load)


def optional_form(inner: Form) -> Form:
    """Make the form of ``inner | None``."""

    def lifted(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda value: None if value is None else function(value)

    return Form(
        f"{inner.signature} | None",
        inner.shape | None if inner.shape is not Any else Any,
        dump=lifted(inner.dump),
        load=lifted(inner.load),
        build=inner.build and lifted(inner.build),
        copy=inner.copy and lifted(inner.copy),
    )


def _each(function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    done: list[Any] = []
    try:
        for value in values:
            done.append(function(value))
    except Misfit as misfit:
        raise misfit.under(f"[{len(done)}]") from None
    return done


def sequence_form(cls: type, item: Form) -> Form:
    """Make the form of ``list[item]`` or ``tuple[item, ...]``."""
    name = f"list[{item.signature}]" if cls is list else f"tuple[{item.signature}, ...]"

    def checked(value: Any, expected: type) -> Any:
        if type(value) is not expected:
            raise Misfit(_expected(name, value))
        return value

    item_build, item_copy = item.build, item.copy
    copy: Callable[[Any], Any] | None
    if item_copy is not None:
        copy = lambda value: cls(map(item_copy, value))
    else:
        copy = list if cls is list else None
    return Form(
        name,
        cls[item.shape] if cls is list else tuple[item.shape, ...],  # type: ignore[index, name-defined]
        dump=lambda value: _each(item.dump, checked(value, cls)),
        load=lambda value: cls(_each(item.load, checked(value, list))),
        build=item_build and (lambda value: cls(_each(item_build, value))),
        copy=copy,
    )


def fixed_tuple_form(items: tuple[Form, ...]) -> Form:
    """Make the form of ``tuple[first, second]``."""
    name = f"tuple[{', '.join(item.signature for item in items) or '()'}]"

    def mapped(functions: list[Callable[[Any], Any]], value: Any, expected: type) -> tuple[Any, ...]:
        if type(value) is not expected or len(value) != len(functions):
            raise Misfit(_expected(name, value))
        return tuple(_each(lambda pair: pair[0](pair[1]), zip(functions, value, strict=True)))

    dumps, loads = [item.dump for item in items], [item.load for item in items]
    builds, copies = [item.build or _same for item in items], [item.copy or _same for item in items]
    return Form(
        name,
        tuple[tuple(item.shape for item in items)],  # type: ignore[misc]
        dump=lambda value: mapped(dumps, value, tuple),
        load=lambda value: mapped(loads, value, list),
        build=(lambda value: mapped(builds, value, tuple)) if any(item.build for item in items) else None,
        copy=(lambda value: mapped(copies, value, tuple)) if any(item.copy for item in items) else None,
    )


def _same(value: Any) -> Any:
    return value


def set_form(cls: type, item: Form) -> Form:
    """Make the form of ``set[item]`` or ``frozenset[item]``: a sorted list, so that equal sets give equal text."""
    name = f"{cls.__name__}[{item.signature}]"

    def dump(value: Any) -> Any:
        if type(value) is not cls:
            raise Misfit(_expected(name, value))
        return sorted([item.dump(one) for one in value], key=_encode)

    def unique(values: list[Any]) -> Any:
        found = cls(values)
        if len(found) < len(values):
            msg = f"a {cls.__name__} holds a value once"
            raise Misfit(msg)
        return found

    def load(value: Any) -> Any:
        if type(value) is not list:
            raise Misfit(_expected(name, value))
        return unique(_each(item.load, value))

    item_build = item.build
    return Form(
        name,
        list[item.shape],  # type: ignore[name-defined]
        dump=dump,
        load=load,
        build=unique if item_build is None else lambda value: unique(_each(item_build, value)),
        copy=set if cls is set else None,
    )


def dict_form(item: Form) -> Form:
    """Make the form of ``dict[str, item]``."""
    name = f"dict[str, {item.signature}]"

    def mapped(function: Callable[[Any], Any], value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Misfit(_expected(name, value))
        done: dict[str, Any] = {}
        for key, one in value.items():
            if type(key) is not str:
                raise Misfit(_expected("a str as key", key))
            try:
                done[key] = function(one)
            except Misfit as misfit:
                raise misfit.under(f"[{key!r}]") from None
        return done

    item_build, item_copy = item.build, item.copy
    return Form(
        name,
        dict[str, item.shape],  # type: ignore[name-defined]
        dump=lambda value: mapped(item.dump, value),
        load=lambda value: mapped(item.load, value),
        build=item_build and (lambda value: mapped(item_build, value)),
        copy=dict if item_copy is None else lambda value: mapped(item_copy, value),
    )
