"""The store, or the file of events, that an argument names."""

from __future__ import annotations

from typing import Annotated, Protocol, Self, TypeAlias

from cyclopts import Parameter

from esbank.backends import urls
from esbank.backends.jsonl import JsonlLog
from esbank.backends.urls import Store
from esbank.store import PortableLog

__all__ = ["Log", "StoreArgument", "open_source", "open_store", "open_target"]

StoreArgument: TypeAlias = Annotated[str, Parameter(name="STORE", help="Path of a SQLite file, or URL of a store.")]


class Log(PortableLog, Protocol):
    """What is copied, or copied into."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


def open_store(where: str, *, create: bool = False, digests: bool = True) -> Store:
    """Open the store at a path or a URL; make one with or without digests only if `create` says so.

    Raises ``ValueError`` for what names none, and ``StorageError`` when there is no store.
    """
    if _is_file_of_events(where):
        raise ValueError(f"{where} is a file of events, and no store: copy it into one first")
    return urls.open_store(where, create=create, digests=digests)


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
