"""How values of a type are written as JSON and read back: one `Form` for each type, compiled once.

Strict both ways: a value must be exactly of its field's type, and JSON must be exactly what that type is written as.
msgspec reads and writes; it is laxer than this (it takes a number for a Decimal, the last of two equal keys, an int for
a float), so what it has read counts only if writing it again gives the very same text. Any other text, such as one
that somebody else has written with other spaces, is read by the slow and strict `load`.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# Parsed JSON is of no type that could be known.

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import msgspec
from attrs import frozen

from esbank._json import shown
from esbank.codec._schemas import Schema

__all__ = ["Form", "Misfit", "ReadAll", "all_reader", "build_all", "check_encodable", "expected", "parse", "reader"]

_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode

ReadAll: TypeAlias = Callable[[Sequence[str]], "Sequence[Any] | None"]
"""Reads many texts at once; None where one of them needs a closer look."""


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
    - `schema` is what it is stored as, for a schema lock: the same, but for the names of classes, which are not stored.
    - `shape` is the type that msgspec reads.
    - `dump` turns a value into what msgspec writes; raises `Misfit` unless the value is exactly of the type.
    - `build` turns what msgspec read into the value; None where it is the value. `build_all` does it to many at once.
    - `load` turns parsed JSON into the value, strictly; raises `Misfit`.
    - `kinds` are the classes of values that msgspec writes just as `dump` would have it; empty where there are none.
      `check` refuses a value of such a class that must not be written; None where all of them may be.
    - `write` writes a value without `dump`, where that is faster; it returns None when it cannot.
    - `copy` copies a value so that nothing can change both; None where there is nothing to copy.
    - `changes` tells whether values that are exactly of the type can change. A state may hold others, of a subclass.
    - `hashable` tells whether values can be in a set.
    """

    signature: str
    schema: Schema
    shape: Any
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]
    build: Callable[[Any], Any] | None = None
    build_all: Callable[[Sequence[Any]], Sequence[Any]] | None = None
    kinds: frozenset[type] = frozenset()
    check: Callable[[Any], object] | None = None
    write: Callable[[Any], str | None] | None = None
    copy: Callable[[Any], Any] | None = None
    changes: bool = False
    hashable: bool = True

    def to_json(self, value: object) -> str:
        """Write `value` as JSON text; raises `Misfit`."""
        text = None if self.write is None else self.write(value)
        return self._to_json(value) if text is None else text

    def _to_json(self, value: object) -> str:
        plain = self.dump(value)
        try:
            return _encode(plain).decode()
        except UnicodeEncodeError:
            raise Misfit("a text holds a lone surrogate, which UTF-8 cannot say") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise Misfit(str(error)) from error


def reader(form: Form) -> Callable[[str], Any]:
    """Make the function that reads values of `form` from JSON text; it raises `Misfit`."""
    decode = msgspec.json.Decoder(form.shape).decode
    build = form.build

    def read(text: str) -> Any:
        try:
            native = decode(text)
            if _encode(native).decode() == text and is_finite(text):
                return native if build is None else build(native)
        except _UNREADABLE:
            pass  # `load` finds the words for it, and the path to it
        return form.load(parse(text))

    return read


def all_reader(form: Form) -> ReadAll:
    """Make the function that reads many texts at once, which takes half the time that `reader` does.

    msgspec writes one line break after each value, and none inside. So where there are as many values as texts, and
    what is written again is the same, each text is one line, and the same as what its value is written as.
    """
    decode = msgspec.json.Decoder(form.shape).decode_lines
    encode = _encoder.encode_lines

    def read_all(texts: Sequence[str]) -> Sequence[Any] | None:
        try:
            lines = "\n".join(texts) + "\n"
            natives = decode(lines)
            if len(natives) == len(texts) and encode(natives).decode() == lines and is_finite(lines):
                return build_all(form, natives)
        except Exception:  # noqa: BLE001 - also a default's own; it comes again, at the event that it concerns
            return None
        return None

    return read_all


def build_all(form: Form, natives: Sequence[Any]) -> Sequence[Any]:
    """Turn what msgspec read into values."""
    if form.build_all is not None:
        return form.build_all(natives)
    return natives if form.build is None else [form.build(native) for native in natives]


def is_finite(text: str) -> bool:
    """Tell whether none of the Decimals in a text that msgspec has written can be other than finite.

    A text that happens to hold one of these words is looked at more closely, and is none the worse for it.
    """
    return "NaN" not in text and "Infinity" not in text


_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, Misfit)


def parse(text: str, *, on_repeated: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON strictly: no NaN, no key twice in one object; raises `Misfit`.

    In place of an object with a repeated key comes what `on_repeated` makes of the key, by default a `Repeated`.
    """
    unique_keys = partial(_unique_keys, on_repeated=on_repeated or Repeated)
    if not isinstance(text, str):  # a row that somebody else wrote
        raise expected("JSON text", text)
    try:
        return json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_constant)
    except Misfit:
        raise
    except (ValueError, RecursionError) as error:
        raise Misfit(f"not JSON: {error}") from error


def expected(what: str, value: object) -> Misfit:
    """Say what was expected instead of `value`."""
    if type(value) is Repeated:
        return Misfit("the key is there twice", value.key)
    return Misfit(f"expected {what}, got {type(value).__name__} {shown(value)}")


def check_encodable(text: str) -> str:
    """Return `text`; raises `Misfit` if UTF-8 cannot say it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Misfit("the text holds a lone surrogate, which UTF-8 cannot say") from None
    return text


class Repeated:
    """Stands where an object with a repeated key was, so that whoever meets it there can name the path."""

    def __init__(self, key: str) -> None:
        self.key = key


def _unique_keys(pairs: list[tuple[str, Any]], on_repeated: Callable[[str], Any]) -> Any:
    keys: dict[str, Any] = {}
    for key, value in pairs:
        if key in keys:
            return on_repeated(key)
        keys[key] = value
    return keys


def _no_constant(name: str) -> NoReturn:
    raise Misfit(f"JSON has no {name}")
