"""The store that a setting names: one text for a file or a server, so that a program need not know which it is."""

from __future__ import annotations

import re
from typing import Final, Protocol
from urllib.parse import unquote

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import EventStore, PortableLog, SnapshotStore, TransactionalStore, ViewStore

__all__ = ["Store", "open_store"]

_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = ("postgresql://", "postgres://")
_SCHEMA: Final = "esbank_schema="
_NO_PATH: Final = re.compile(r"[A-Za-z][\w+.-]+:|\w+ *=[^/\\]* \w+ *=|[^?]*\?\w+=")
"""Another scheme (one letter is a drive), the ``host=… dbname=…`` of a driver, or parameters."""
_SHOWN: Final = 8
"""How much of a text is shown that is none of these: the rest may hold a password."""


class Store(EventStore, SnapshotStore, ViewStore, TransactionalStore, PortableLog, Protocol):
    """What a store on SQLite and one on PostgreSQL can do alike."""


def open_store(where: str, *, create: bool = True, digests: bool = True, connect_timeout: float = 10.0) -> Store:
    """Open the store that `where` names; with ``create=False`` it must be there.

    That is the path of a SQLite file, as it is or as ``sqlite:///bank.db``, or ``postgresql://user@host/database``, in
    which ``?esbank_schema=bank`` names a schema other than ``esbank``; all else in it is for the driver. For `digests`
    and `connect_timeout`, in seconds, see the stores.

    Raises ``ValueError`` for a URL that no backend knows, or whose driver is not installed, and ``StorageError`` for a
    store that cannot be used.
    """
    if where.startswith(_POSTGRESQL):
        return _open_postgresql(where, create=create, digests=digests, connect_timeout=connect_timeout)
    path = where.removeprefix(_SQLITE)
    if _NO_PATH.match(path):
        raise ValueError(
            f"{where[:_SHOWN]}… names no store: give the path of a SQLite file, or a URL such as {_SQLITE}bank.db or "
            f"{_POSTGRESQL[0]}host/database"
        )
    return SQLiteEventStore(path if path == where else unquote(path), create=create, digests=digests)


def _open_postgresql(where: str, *, create: bool, digests: bool, connect_timeout: float) -> Store:
    try:
        from esbank.backends.postgres import PostgresEventStore  # noqa: PLC0415 - its driver is an extra
    except ImportError as error:
        if (error.name or "").startswith("esbank"):
            raise
        raise ValueError(f"PostgreSQL needs a driver ({error}); install it: pip install 'esbank[postgres]'") from error
    address, schema = _split_schema(where)
    return PostgresEventStore(address, schema=schema, create=create, digests=digests, connect_timeout=connect_timeout)


def _split_schema(url: str) -> tuple[str, str]:
    """Take the parameter that is ours out of a URL; the rest is for the driver, letter by letter."""
    address, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    schemas = [unquote(one.removeprefix(_SCHEMA)) for one in parameters if one.startswith(_SCHEMA)]
    others = "&".join(one for one in parameters if not one.startswith(_SCHEMA))
    return f"{address}?{others}" if others else address, schemas[-1] if schemas else "esbank"
