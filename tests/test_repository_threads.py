"""Threads that work on one aggregate take turns, so that each finds the state that the last one left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import define

from esbank import EveryNEvents, Repository, applies
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount, Deposit, Deposited, OpenAccount
from esbank.bank.money import add
from esbank.errors import StorageError
from esbank.store import StreamId


def test_many_threads_on_one_account_never_run_into_each_other(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "bank.db", durability="normal") as store:
        accounts = Repository(store, BankAccount, max_attempts=1)
        accounts.execute("1", OpenAccount("Alice"))

        def work(_: int) -> None:
            for _ in range(20):
                accounts.execute("1", Deposit(1))

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(work, range(16)))

        assert accounts.load("1").state.balance == 16 * 20
        assert store.version(StreamId("BankAccount", "1")) == 16 * 20 + 1


def test_a_corrected_fold_with_a_raised_snapshot_version_passes_older_snapshots_over() -> None:
    @define
    class Wrong(BankAccount):
        category: ClassVar[str] = "BankAccount"

        @applies(Deposited)
        def _deposited(self, event: Deposited) -> None:
            self.balance = add(self.balance, add(event.amount, event.amount))

    @define
    class Corrected(BankAccount):
        category: ClassVar[str] = "BankAccount"
        snapshot_version: ClassVar[int] = 2

    store = MemoryEventStore()
    Repository(store, Wrong, snapshots=EveryNEvents(1)).execute("1", OpenAccount("Alice"), Deposit(5))

    assert Repository(store, Corrected, snapshots=EveryNEvents(1)).load("1").state.balance == 5


def test_a_memory_store_is_not_closed_inside_its_own_transaction() -> None:
    store = MemoryEventStore()

    with store.view_transaction(), pytest.raises(StorageError, match="a transaction is open in this thread"):
        store.close()

    assert store.head() is None
    store.close()


@pytest.mark.parametrize("store", [MemoryEventStore(), "sqlite"], ids=["memory", "sqlite"])
def test_a_filter_of_one_text_would_be_taken_letter_by_letter(store: MemoryEventStore | str, tmp_path: Path) -> None:
    opened = SQLiteEventStore(tmp_path / "events.db") if isinstance(store, str) else store
    with opened, pytest.raises(TypeError, match=r"give categories and types as several, as in \('Deposited',\)"):
        opened.read_all(types="Deposited")
