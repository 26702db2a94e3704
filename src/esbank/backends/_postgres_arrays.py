"""Arrays in PostgreSQL's binary form: an append sends a dozen of them, and this is faster than the driver's way.

Their elements are packed apart from them, so that each thread packs its own before it waits for its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct, pack
from typing import Final

from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = [
    "BIGINT",
    "BYTEA",
    "INTEGER",
    "NULL",
    "TEXT",
    "UUID",
    "Array",
    "array",
    "pack_bigint",
    "pack_bigints",
    "pack_bytes",
    "pack_element",
    "pack_integer",
    "pack_integers",
    "register",
]

BYTEA: Final = 17
BIGINT: Final = 20
INTEGER: Final = 23
TEXT: Final = 25
UUID: Final = 2950

_header: Final = Struct(">5i").pack
_length: Final = Struct(">i").pack
_integer: Final = Struct(">2i").pack
_bigint: Final = Struct(">iq").pack
NULL: Final = _length(-1)
"""The element that is none."""


class Array(bytes):
    """An array of one dimension, as PostgreSQL takes it."""

    __slots__ = ()


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj


def register(cursor: Cursor[tuple[object, ...]]) -> None:
    """Let a cursor take arrays as parameters."""
    cursor.adapters.register_dumper(Array, _ArrayDumper)


def array(kind: int, count: int, elements: Iterable[bytes]) -> Array:
    """Put so many packed elements of a kind together."""
    return Array(_header(1, 1, kind, count, 1) + b"".join(elements))


def pack_element(value: bytes) -> bytes:
    """Pack an element of a ``text[]``, a ``uuid[]`` or a ``bytea[]``."""
    return _length(len(value)) + value


def pack_integer(value: int) -> bytes:
    """Pack an element of an ``integer[]``."""
    return _integer(4, value)


def pack_bigint(value: int) -> bytes:
    """Pack an element of a ``bigint[]``."""
    return _bigint(8, value)


def pack_bytes(values: Sequence[bytes | None]) -> bytes:
    """Pack elements of a ``text[]``, a ``uuid[]`` or a ``bytea[]``."""
    return b"".join([NULL if value is None else _length(len(value)) + value for value in values])


def pack_integers(values: Sequence[int]) -> bytes:
    """Pack elements of an ``integer[]``."""
    return pack(f">{2 * len(values)}i", *[part for value in values for part in (4, value)])


def pack_bigints(values: Sequence[int | None]) -> bytes:
    """Pack elements of a ``bigint[]``."""
    return b"".join([NULL if value is None else _bigint(8, value) for value in values])
