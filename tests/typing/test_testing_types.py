"""The checks know what they take: events of the aggregate, and what tells which events there are."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import pytest
from savings import InterestAdded, SavingsAccount

import esbank.bank
from esbank import DefinitionError, EventRegistry, UnappliedEvent, Upcaster, upcaster
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountDetails, AccountEvent, AccountOpened, BankAccount, Deposited
from esbank.store import EventStore
from esbank.testing import check_schema_lock, check_snapshots
from esbank.testing.state_machine import EventStoreMachine, EventStoreModel


class Machine(EventStoreMachine):
    """Says how to open a store."""

    can_be_reopened = True

    def open_store(self, folder: Path) -> SQLiteEventStore:
        return SQLiteEventStore(folder / "events.db")


class WrongMachine(EventStoreMachine):
    def open_store(self, folder: Path) -> str:  # type: ignore[override]
        return str(folder)


LOCK = Path(esbank.bank.__file__).with_name("schema.json")
OPENED = AccountOpened("Ada", "EUR", Decimal(100), Decimal(0))
DEPOSITED = Deposited(Decimal(1), Decimal(101), "")


@upcaster("Deposited", from_version=1, to_version=2)
def nothing_changes(data: dict[str, Any]) -> dict[str, Any]:
    return data


def test_snapshots_are_checked_with_events_of_the_aggregate() -> None:
    events: list[AccountEvent] = [OPENED, DEPOSITED]

    check_snapshots(BankAccount, events)
    check_snapshots(BankAccount, (event for event in events), registry=EventRegistry(BankAccount))
    check_snapshots(SavingsAccount, [OPENED, InterestAdded(Decimal(1), Decimal(101))])
    with pytest.raises(UnappliedEvent):
        check_snapshots(BankAccount, ["opened"])  # type: ignore[misc]
    with pytest.raises(DefinitionError):
        check_snapshots(AccountDetails, events)  # type: ignore[arg-type]


def test_a_lock_is_checked_with_classes_upcasters_or_a_registry() -> None:
    upcasters: list[Upcaster] = [nothing_changes]

    check_schema_lock(LOCK, BankAccount)
    check_schema_lock(str(LOCK), BankAccount, AccountDetails)
    check_schema_lock(LOCK, EventRegistry(BankAccount))
    with pytest.raises(DefinitionError):
        check_schema_lock(LOCK, BankAccount, nothing_changes)
    with pytest.raises(DefinitionError):
        check_schema_lock(LOCK, BankAccount, upcasters)
    with pytest.raises(DefinitionError):
        check_schema_lock(LOCK, 3)  # type: ignore[arg-type]


def test_a_machine_has_a_store_and_a_model() -> None:
    machine = Machine()

    assert_type(machine.store, EventStore)
    assert_type(machine.model, EventStoreModel)
    machine.teardown()
