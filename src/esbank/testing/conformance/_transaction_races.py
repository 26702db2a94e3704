"""Many threads that change tables of their own and append, in one transaction."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import threading
import time
from functools import partial
from typing import ClassVar

import pytest

from esbank.errors import ConcurrencyError
from esbank.store import (
    ANY_VERSION,
    AppendResult,
    EventStore,
    ExclusiveStore,
    StreamAppend,
    TransactionalStore,
    ViewStore,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_event, new_events
from esbank.testing.conformance._transactions import ADD, pay, payments, write

__all__ = ["TransactionRaces"]

RACERS = 6


class TransactionRaces:
    """Threads that share a ``TransactionalStore``; `Transactions` gives it to them."""

    has_exclusive_transactions: ClassVar[bool] = False

    def test_no_row_and_no_event_is_lost_when_many_write_both(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        def deposit() -> None:
            for _ in range(10):
                with transactions.transaction() as tx:
                    tx.execute(ADD, {"reference": "a", "amount": 1})
                    tx.append(ACCOUNT, new_events(1), expected_version=ANY_VERSION)

        def append() -> None:
            for _ in range(20):
                store.append(OTHER, new_events(1), expected_version=ANY_VERSION)

        with transactions.transaction() as tx:
            pay(tx, "a", 0)

        assert in_threads([*[deposit] * RACERS, append, append]) == [None] * (RACERS + 2)

        assert payments(transactions) == [("a", RACERS * 10)]
        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, RACERS * 10 + 1))
        assert store.version(OTHER) == 40

    def test_of_many_transactions_at_the_same_version_one_wins_and_only_its_row_is_there(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        def deposit(racer: int) -> None:
            write(transactions, f"racer {racer}", StreamAppend(ACCOUNT, [new_event(racer)], 0))

        outcomes = in_threads([partial(deposit, racer) for racer in range(RACERS)])

        losses = [outcome for outcome in outcomes if isinstance(outcome, ConcurrencyError)]
        (winner,) = [racer for racer, outcome in enumerate(outcomes) if outcome is None]
        assert len(losses) == RACERS - 1, outcomes
        assert payments(transactions) == [(f"racer {winner}", 1)]
        assert [event.data for event in store.read_all()] == [new_event(winner).data]

    def test_a_block_that_many_repeat_takes_effect_once(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        events = new_events(2)

        def deposit() -> AppendResult:
            with transactions.transaction() as tx:
                tx.execute(ADD, {"reference": "a", "amount": 1})
                pending = tx.append(ACCOUNT, events, expected_version=0)
            return pending.result

        with transactions.transaction() as tx:
            pay(tx, "a", 0)

        outcomes = in_threads([deposit] * RACERS)

        assert isinstance(outcomes[0], AppendResult), outcomes
        assert outcomes == [outcomes[0]] * RACERS
        assert payments(transactions) == [("a", 1)]
        assert store.count() == 2

    def test_who_reads_sees_neither_a_row_without_its_event_nor_an_event_without_its_row(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        if not isinstance(store, ViewStore):
            pytest.skip("this store cannot be queried beside a transaction")
        views: ViewStore = store
        done = threading.Event()

        def deposit() -> None:
            try:
                for number in range(60):
                    write(transactions, str(number), StreamAppend(ACCOUNT, new_events(1), number))
            finally:
                done.set()

        def rows() -> int:
            ((count,),) = views.query("SELECT count(*) FROM payments")
            return int(count)

        def read_events_first() -> None:
            while not done.is_set():
                assert store.count() <= rows()
                assert (store.head() is not None) <= (rows() > 0)

        def read_rows_first() -> None:
            while not done.is_set():
                assert rows() <= store.version(ACCOUNT)
                assert rows() <= len(list(store.read_all()))

        assert in_threads([deposit, read_events_first, read_rows_first]) == [None] * 3
        assert rows() == store.count() == 60

    # Transactions that keep everybody else out

    def test_the_store_has_exclusive_transactions_if_it_says_so(self, store: EventStore) -> None:
        assert isinstance(store, ExclusiveStore) == self.has_exclusive_transactions

    def test_who_decides_in_an_exclusive_transaction_is_never_too_late(self, store: EventStore) -> None:
        if not isinstance(store, ExclusiveStore):
            pytest.skip("this store has no transactions that keep every other writer out")
        exclusive: ExclusiveStore = store

        def decide() -> None:
            for _ in range(5):
                with exclusive.exclusive_transaction() as tx:
                    version = store.version(ACCOUNT)
                    time.sleep(0.005)
                    assert store.version(ACCOUNT) == len(list(store.read(ACCOUNT))) == version
                    tx.append(ACCOUNT, new_events(1), expected_version=version)

        def append() -> None:
            for _ in range(30):
                store.append(ACCOUNT, new_events(1), expected_version=ANY_VERSION)
                time.sleep(0.001)

        assert in_threads([decide, decide, append]) == [None] * 3

        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, 41))
