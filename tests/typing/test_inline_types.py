"""Stores take inline handlers of every kind, and say what a subscription and a claim are."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import assert_type

import pytest

from esbank import EventStore, Projector
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountDetails
from esbank.store import (
    AppendTransaction,
    InlineHandler,
    NewEvent,
    Rows,
    StoredEvent,
    StreamId,
    Subscription,
    Transaction,
    ViewStore,
)


class Counter:
    """A handler that is no projector, and inherits from nothing."""

    def __init__(self) -> None:
        self.count = 0

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
        assert_type(tx.store, EventStore)
        assert_type(tx.execute("SELECT 1"), Rows)
        plain: Transaction = tx
        assert plain.dialect in {"sqlite", "postgresql"}
        self.count += len(events)


class Wrong:
    """A handler that asks for less than it is given."""

    def on_append(self, tx: AppendTransaction) -> None:
        raise NotImplementedError(tx)


def append(store: EventStore) -> None:
    store.append(StreamId("Elsewhere", "1"), [NewEvent("Happened", "{}")], expected_version=0)


def test_a_projector_and_a_class_of_ones_own_are_inline_handlers(tmp_path: Path) -> None:
    counter = Counter()
    projector: Projector = AccountDetails()
    handlers: list[InlineHandler] = [projector, counter]
    with MemoryEventStore(inline=handlers) as memory, SQLiteEventStore(tmp_path / "a.db", inline=handlers) as sqlite:
        append(memory)
        append(sqlite)

    with SQLiteEventStore(tmp_path / "b.db", inline=[AccountDetails(), counter]) as store:
        append(store)
    assert counter.count == 3


def test_what_is_no_handler_is_a_type_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        MemoryEventStore(inline=[Wrong()])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        MemoryEventStore(inline=["a handler"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        MemoryEventStore(inline=[AccountDetails])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        SQLiteEventStore(tmp_path / "events.db", inline=AccountDetails())  # type: ignore[arg-type]


def test_a_subscription_has_a_type() -> None:
    with MemoryEventStore() as memory:
        store: EventStore = memory
        append(store)
        assert_type(store.count(), int)
        assert_type(store.wait(after=None, timeout=1), bool)
        subscription = store.subscribe(categories=["Elsewhere"], types=("Happened",))
        assert_type(subscription, Subscription)
        with subscription as entered:
            assert_type(entered, Subscription)
            assert_type(next(entered), StoredEvent)
            assert_type(entered.position, int | None)
        for event in subscription:
            assert_type(event, StoredEvent)


def test_a_claim_has_a_type() -> None:
    with MemoryEventStore() as memory:
        views: ViewStore = memory
        assert_type(views.claim("a name"), AbstractContextManager[None])
        with views.claim("a name"):
            pass
