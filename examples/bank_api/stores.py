"""The store that an argument names."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import unquote

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import EventStore, ViewStore

__all__ = ["Store", "open_store"]

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgres://")
_SCHEMA = "esbank_schema="
_SOON = 3.0
"""How many seconds to wait for a connection: who asks is better told to come again than left to wait."""


class Store(EventStore, ViewStore, Protocol):
    """What the service needs of a store: events, and views beside them."""


def open_store(where: str) -> Store:
    """Open the store at a path or a URL, as ``python -m esbank`` names them; make it if it is not there.

    Raises ``ValueError`` for a URL that no backend knows, and ``StorageError`` for a store that cannot be used.
    """
    if where.startswith(_POSTGRESQL):
        from esbank.backends.postgres import PostgresEventStore  # noqa: PLC0415 - its driver is an extra

        address, schema = _split_schema(where)
        return PostgresEventStore(address, schema=schema, connect_timeout=_SOON)
    if where.startswith(_SQLITE):
        return SQLiteEventStore(unquote(where.removeprefix(_SQLITE)))
    if "://" in where:
        raise ValueError(f"{where} names no store: give the path of a SQLite file, or postgresql://host/database")
    return SQLiteEventStore(where)


def _split_schema(url: str) -> tuple[str, str]:
    """Take the schema out of a URL; the rest is for the driver, letter by letter."""
    address, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    schemas = [unquote(one.removeprefix(_SCHEMA)) for one in parameters if one.startswith(_SCHEMA)]
    others = "&".join(one for one in parameters if not one.startswith(_SCHEMA))
    return f"{address}?{others}" if others else address, schemas[-1] if schemas else "esbank"
