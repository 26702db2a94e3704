"""A scenario knows the commands and the events of its aggregate, and what rows are."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

import pytest
from savings import AddInterest, InterestAdded, SavingsAccount

from esbank import DefinitionError, EventEncodingError, Metadata, UnappliedEvent
from esbank.backends.memory import MemoryEventStore
from esbank.bank import AccountDetails, AccountNotFound, AccountOpened, BankAccount, Deposit, Deposited
from esbank.store import StreamId
from esbank.testing import Raises, Row, Scenario, ViewScenario, raises

OPENED = AccountOpened("Ada", "EUR", Decimal(100), Decimal(0))


def test_a_scenario_is_of_the_aggregate_that_it_was_given() -> None:
    assert_type(Scenario(BankAccount), Scenario[BankAccount])
    assert_type(raises(AccountNotFound, account_id=None), Raises)


def test_given_when_then_take_what_the_aggregate_takes() -> None:
    Scenario(BankAccount).given(OPENED).when(Deposit(1)).then(Deposited(Decimal(1), Decimal(101), ""))
    Scenario(BankAccount).when(Deposit(1)).then(raises(AccountNotFound))
    Scenario(SavingsAccount).given(OPENED).when(AddInterest(Decimal(1))).then(InterestAdded(Decimal(1), Decimal(101)))


def test_what_is_not_the_aggregates_is_a_type_error() -> None:
    with pytest.raises((UnappliedEvent, EventEncodingError)):
        Scenario(BankAccount).given("opened")  # type: ignore[arg-type]
    outcome = Scenario(BankAccount).given(OPENED).when("deposit")  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        outcome.then("deposited")  # type: ignore[arg-type]


def test_a_view_scenario_takes_events_of_the_aggregate_that_is_named_and_any_of_a_stream() -> None:
    scenario = ViewScenario(AccountDetails, views=MemoryEventStore)
    assert_type(scenario, ViewScenario)
    assert_type(scenario.given(BankAccount, "1", OPENED, metadata=Metadata(actor="web")), ViewScenario)
    assert_type(
        scenario.given(StreamId("BankAccount", "1"), OPENED, Deposited(Decimal(1), Decimal(101), "")), ViewScenario
    )
    with pytest.raises(DefinitionError):
        scenario.given(BankAccount, "1", "opened")  # type: ignore[misc]
    with pytest.raises(TypeError):
        scenario.given(BankAccount, OPENED)  # type: ignore[call-overload]


def test_a_projector_is_made_by_its_class_or_a_function() -> None:
    def make() -> AccountDetails:
        return AccountDetails()

    ViewScenario(make).then(account_details=[])
    with pytest.raises(TypeError):
        ViewScenario(AccountDetails())  # type: ignore[arg-type]


def test_rows_are_dicts_or_tuples_of_what_sql_knows() -> None:
    scenario = ViewScenario(AccountDetails).given(BankAccount, "1", OPENED)
    rows: list[Row] = [{"account_id": "1", "deposit_count": 0}]

    scenario.then(account_details=rows)
    scenario.then(account_details=[{"account_id": "1", "deposit_count": 0}])
    scenario.then_query("SELECT account_id, deposit_count FROM account_details", [("1", 0)])
    with pytest.raises(AssertionError):
        scenario.then(account_details=[{"balance": Decimal(100)}])  # type: ignore[dict-item]
    with pytest.raises(AssertionError):
        scenario.then_query("SELECT account_id FROM account_details", ["1"])  # type: ignore[list-item]
