"""Arrays in PostgreSQL's binary form: an append sends a dozen of them, and this is faster than the driver's way."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, pack
from typing import Final

from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["Array", "bytes_array", "integers", "register", "small_integers", "texts", "uuids"]

_BYTEA: Final = 17
_INT8: Final = 20
_INT4: Final = 23
_TEXT: Final = 25
_UUID: Final = 2950
_header: Final = Struct(">5i").pack
_length: Final = Struct(">i").pack
_NULL: Final = _length(-1)


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


def integers(values: Sequence[int | None]) -> Array:
    """Pack a ``bigint[]``."""
    if None in values:
        return _nullable(_INT8, [None if value is None else pack(">q", value) for value in values])
    flat = [part for value in values for part in (8, value)]
    return Array(_header(1, 0, _INT8, len(values), 1) + pack(f">{'iq' * len(values)}", *flat))


def small_integers(values: Sequence[int]) -> Array:
    """Pack an ``integer[]``."""
    flat = [part for value in values for part in (4, value)]
    return Array(_header(1, 0, _INT4, len(values), 1) + pack(f">{2 * len(values)}i", *flat))


def texts(values: Sequence[str]) -> Array:
    """Pack a ``text[]``."""
    encoded = [value.encode() for value in values]
    return _join(_TEXT, encoded)


def uuids(values: Sequence[bytes]) -> Array:
    """Pack a ``uuid[]``."""
    return _join(_UUID, values)


def bytes_array(values: Sequence[bytes | None]) -> Array:
    """Pack a ``bytea[]``."""
    return _nullable(_BYTEA, values)


def _join(kind: int, values: Sequence[bytes]) -> Array:
    parts = [part for value in values for part in (_length(len(value)), value)]
    return Array(_header(1, 0, kind, len(values), 1) + b"".join(parts))


def _nullable(kind: int, values: Sequence[bytes | None]) -> Array:
    parts = [_NULL if value is None else _length(len(value)) + value for value in values]
    return Array(_header(1, 1, kind, len(values), 1) + b"".join(parts))
