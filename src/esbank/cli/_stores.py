"""The store that an argument names."""

from __future__ import annotations

from typing import Annotated, TypeAlias
from urllib.parse import unquote

from cyclopts import Parameter

from esbank.backends.sqlite import SQLiteEventStore

__all__ = ["StoreArgument", "open_store"]

StoreArgument: TypeAlias = Annotated[str, Parameter(name="STORE", help="Path of a SQLite file, or URL of a store.")]

_SQLITE = "sqlite:///"


def open_store(where: str) -> SQLiteEventStore:
    """Open the store at a path or a URL, and never make one.

    Raises ``ValueError`` for a URL that no backend knows, and ``StorageError`` when there is no store.
    """
    if where.startswith(_SQLITE):
        return SQLiteEventStore(unquote(where.removeprefix(_SQLITE)), create=False)
    if "://" in where:
        raise ValueError(f"{where} names no store: give the path of a SQLite file, or a URL such as {_SQLITE}bank.db")
    return SQLiteEventStore(where, create=False)
