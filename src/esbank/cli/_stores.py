"""The store, or the file of events, that an argument names."""

from __future__ import annotations

from typing import Annotated, Protocol, Self, TypeAlias
from urllib.parse import unquote

from cyclopts import Parameter

from esbank.backends.jsonl import JsonlLog
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import EventStore, PortableLog, ViewStore

__all__ = ["Log", "Store", "StoreArgument", "open_source", "open_store", "open_target"]

StoreArgument: TypeAlias = Annotated[str, Parameter(name="STORE", help="Path of a SQLite file, or URL of a store.")]

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgres://")
_SCHEMA = "esbank_schema="


class Store(EventStore, ViewStore, PortableLog, Protocol):
    """What the commands need of a store, and every one that they open can do."""


class Log(PortableLog, Protocol):
    """What is copied, or copied into."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


def open_store(where: str, *, create: bool = False, digests: bool = True) -> Store:
    """Open the store at a path or a URL; make one with or without digests only if `create` says so.

    Raises ``ValueError`` for a URL that no backend knows, and ``StorageError`` when there is no store.
    """
    if where.startswith(_POSTGRESQL):
        return _open_postgresql(where, create=create, digests=digests)
    if where.startswith(_SQLITE):
        return SQLiteEventStore(unquote(where.removeprefix(_SQLITE)), create=create, digests=digests)
    if "://" in where:
        raise ValueError(
            f"{where} names no store: give the path of a SQLite file, or a URL such as {_SQLITE}bank.db or "
            f"{_POSTGRESQL[0]}host/database"
        )
    if _is_file_of_events(where):
        raise ValueError(f"{where} is a file of events, and no store: copy it into one first")
    return SQLiteEventStore(where, create=create, digests=digests)


def open_source(where: str) -> Log:
    """Open what is to be copied: a store or a file of events that is there."""
    return JsonlLog(where) if _is_file_of_events(where) else open_store(where)


def open_target(where: str, source: PortableLog) -> Log:
    """Open what a source is to be copied into; make it, with digests if the source has some, when it is not there."""
    if _is_file_of_events(where):
        return JsonlLog(where, copy_of=source.identity)
    first = next(source.read_appends(), None)
    return open_store(where, create=True, digests=first is None or first[0].digest is not None)


def _is_file_of_events(where: str) -> bool:
    return "://" not in where and where.endswith(".jsonl")


def _open_postgresql(where: str, *, create: bool, digests: bool) -> Store:
    try:
        from esbank.backends.postgres import PostgresEventStore  # noqa: PLC0415 - its driver is an extra
    except ImportError as error:
        if (error.name or "").startswith("esbank"):
            raise
        raise ValueError(f"PostgreSQL needs a driver ({error}); install it: pip install 'esbank[postgres]'") from error
    dsn, schema = _split_schema(where)
    return PostgresEventStore(dsn, schema=schema, create=create, digests=digests)


def _split_schema(url: str) -> tuple[str, str]:
    """Take the parameter that is ours out of a URL; the rest is for the driver, letter by letter."""
    address, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    schemas = [unquote(one.removeprefix(_SCHEMA)) for one in parameters if one.startswith(_SCHEMA)]
    others = "&".join(one for one in parameters if not one.startswith(_SCHEMA))
    return f"{address}?{others}" if others else address, schemas[-1] if schemas else "esbank"
