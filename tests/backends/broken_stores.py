"""Stores that are broken in one thing each, and the tests of the suite that notice it.

The docstring of a store says what is broken. It and the tests make the table in ``docs/broken-stores.md``.
"""
# ruff: noqa: ANN401  # what is passed on as it came

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import pytest
from msgspec.structs import replace

from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError
from esbank.store import (
    AppendResult,
    EventStore,
    InlineHandler,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    is_expected,
)
from esbank.testing.conformance import EventStoreConformance

__all__ = [
    "A_MOMENT",
    "CAUGHT_BY",
    "Altering",
    "Appends",
    "Bare",
    "Conditions",
    "Events",
    "Misreading",
    "Renaming",
    "Results",
    "Store",
    "caught_by",
    "check",
    "suite",
]

A_MOMENT: Final = 0.005
"""How long others have to get in where they should not, in seconds."""

Store = MemoryEventStore | SQLiteEventStore
Events = Sequence[NewEvent]
Appends = Sequence[StreamAppend]
Conditions = Sequence[StreamCondition]
Results = tuple[AppendResult, ...]
S = TypeVar("S", bound=type[Store])

CAUGHT_BY: Final[dict[type[Store], tuple[str, ...]]] = {}
"""The tests of the suite that catch each broken store."""


def caught_by(*tests: str) -> Callable[[S], S]:
    """Say which tests catch a broken store; each of them does."""

    def register(store: S) -> S:
        CAUGHT_BY[store] = tests
        return store

    return register


def check(store: Store, parts: Iterable[StreamAppend | StreamCondition]) -> None:
    """Check what is expected of some streams, as everybody may who locks nothing."""
    for part in parts:
        if not is_expected(part.expected_version, actual := store.version(part.stream)):
            raise ConcurrencyError(part.stream, part.expected_version, actual)


class Bare:
    """Can do what every store can do, and nothing else."""

    def __init__(self) -> None:
        self.whole = MemoryEventStore()

    @property
    def identity(self) -> str:
        return self.whole.identity

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.whole.close()


def _passed_on(name: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: getattr(self.whole, name)(*args, **kwargs)


for _name in vars(EventStore):
    if not _name.startswith("_") and _name != "identity":
        setattr(Bare, _name, _passed_on(_name))


def suite(kind: type[Store | Bare], tests: Iterable[str], **flags: bool) -> type[EventStoreConformance]:
    """Make the suite for a kind of store, with only some of its tests."""
    is_file = issubclass(kind, SQLiteEventStore)

    class Suite(EventStoreConformance):
        is_shared_by_processes = is_file
        has_queries_during_transactions = is_file
        has_exclusive_transactions = is_file
        has_inline = True

        @pytest.fixture
        def store(self, tmp_path: Path) -> Iterator[Store | Bare]:
            self.open_store = partial(kind, tmp_path / "events.db") if is_file else kind
            with self.open_store() as store:
                yield store

        def open_elsewhere(self) -> Callable[[], Any]:
            return self.open_store

        def open_inline(self, folder: Path, *handlers: InlineHandler) -> Any:
            return kind(folder / "inline.db", inline=handlers) if is_file else kind(inline=handlers)

    for name, value in flags.items():
        setattr(Suite, name, value)
    chosen = set(tests)
    assert chosen <= set(dir(Suite))
    for name in dir(Suite):
        if name.startswith("test_") and name not in chosen:
            setattr(Suite, name, None)
    return Suite


class Altering(MemoryEventStore):
    """Alters what it is given."""

    def alter(self, event: NewEvent) -> NewEvent:
        raise NotImplementedError

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        altered = [replace(append, events=[self.alter(event) for event in append.events]) for append in appends]
        return super().append_many(altered, conditions=conditions)


class Misreading(MemoryEventStore):
    """Gives back something else than it keeps."""

    def misread(self, event: StoredEvent) -> StoredEvent:
        raise NotImplementedError

    def read(self, stream: StreamId, **bounds: Any) -> Iterator[StoredEvent]:
        return map(self.misread, super().read(stream, **bounds))

    def read_all(self, **bounds: Any) -> Iterator[StoredEvent]:
        return map(self.misread, super().read_all(**bounds))


class Renaming(MemoryEventStore):
    """Keeps streams under other names."""

    def rename(self, stream: StreamId) -> StreamId:
        raise NotImplementedError

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        renamed = [replace(append, stream=self.rename(append.stream)) for append in appends]
        results = super().append_many(renamed, conditions=conditions)
        return tuple(replace(result, stream=append.stream) for result, append in zip(results, appends, strict=True))

    def read(self, stream: StreamId, **bounds: Any) -> Iterator[StoredEvent]:
        return super().read(self.rename(stream), **bounds)

    def version(self, stream: StreamId) -> int:
        return super().version(self.rename(stream))

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:
        return super().find(self.rename(stream), event_id)
