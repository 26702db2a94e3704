"""The names of streams, and what a writer expects of them."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, Self, TypeAlias

import msgspec

from esbank._json import shown

__all__ = [
    "ANY_VERSION",
    "NO_STREAM",
    "STREAM_EXISTS",
    "ExpectedVersion",
    "StreamId",
    "check_expectation",
    "check_text",
    "is_expected",
]

_MAX_STREAM_BYTES: Final = 512
_HIGHEST_VERSION: Final = 2**63 - 1


def check_text(name: str, text: object) -> None:
    """Refuse what is no text that every backend can hold, with a ``TypeError`` or a ``ValueError``."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {text!r}")
    if not text:
        raise ValueError(f"{name} must not be empty")
    if "\0" in text:
        raise ValueError(f"{name} must not contain a NUL: {text!r}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{name} must not contain a lone surrogate: {text!r}")


class StreamId(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The name of a stream, ``BankAccount-acc-001``: a category without ``-``, then a key, at most 512 bytes of UTF-8.

    Raises ``ValueError`` for a name that some backend could not hold: an empty part, a ``-`` in the category, a NUL, a
    lone surrogate, too many bytes.
    """

    category: str
    key: str

    def __post_init__(self) -> None:
        if not _is_plain(self.category, self.key):
            self._check()

    def _check(self) -> None:
        check_text("a stream's category", self.category)
        check_text("a stream's key", self.key)
        if "-" in self.category:
            raise ValueError(f"a stream's category must not contain '-': {self.category!r}")
        if len(str(self).encode()) > _MAX_STREAM_BYTES:
            raise ValueError(f"a stream's name has at most {_MAX_STREAM_BYTES} bytes of UTF-8: {str(self)[:60]!r}…")

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name as ``str()`` writes it: the category ends at the first ``-``.

        Raises ``ValueError`` for a text without one, and for a name that is none.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a stream is a str, not {name!r:.60}")
        category, dash, key = name.partition("-")
        if not dash:
            raise ValueError(f"{name!r} is no stream name: write it as category-key")
        return cls(category, key)

    def __str__(self) -> str:
        return f"{self.category}-{self.key}"


def _is_plain(category: object, key: object) -> bool:
    """Tell in one go whether two parts make a name: those that nearly all streams have, a third of the time."""
    return (
        type(category) is str
        and type(key) is str
        and category != ""
        and key != ""
        and category.isascii()
        and key.isascii()
        and "-" not in category
        and "\0" not in category
        and "\0" not in key
        and len(category) + len(key) < _MAX_STREAM_BYTES
    )


class _Expectation(Enum):
    """The expectations that are not a number."""

    STREAM_EXISTS = "a stream that exists"
    ANY_VERSION = "any version"

    def __str__(self) -> str:
        return self.value

    __repr__ = __str__


NO_STREAM: Final = 0
"""Expect that nothing was appended yet: the same as expecting version 0."""
STREAM_EXISTS: Final = _Expectation.STREAM_EXISTS
"""Expect at least one event."""
ANY_VERSION: Final = _Expectation.ANY_VERSION
"""Expect nothing: append after whatever is there."""

ExpectedVersion: TypeAlias = Literal[_Expectation.STREAM_EXISTS, _Expectation.ANY_VERSION] | int
"""The version a writer counts on: a number, `NO_STREAM`, `STREAM_EXISTS` or `ANY_VERSION`."""


def check_expectation(expected: object) -> None:
    """Refuse what is no expectation with a ``ValueError``."""
    if expected is STREAM_EXISTS or expected is ANY_VERSION:
        return
    # `type() is`, because a bool is an int and True would pass for version 1.
    if type(expected) is not int or not 0 <= expected <= _HIGHEST_VERSION:
        raise ValueError(
            f"an expected version is an int from 0 to {_HIGHEST_VERSION}, NO_STREAM, STREAM_EXISTS or ANY_VERSION, not "
            f"{shown(expected)}"
        )


def is_expected(expected: ExpectedVersion, actual: int) -> bool:
    """Tell whether a stream at version `actual` is as expected."""
    if expected is ANY_VERSION:
        return True
    if expected is STREAM_EXISTS:
        return actual > 0
    return expected == actual
