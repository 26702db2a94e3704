"""A scenario knows the commands and the events of its aggregate."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

import pytest
from savings_account import AddInterest, InterestAdded, SavingsAccount

from esbank import EventEncodingError, UnappliedEvent
from esbank.bank import AccountNotFound, AccountOpened, BankAccount, Deposit, Deposited
from esbank.testing import Raises, Scenario, raises

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
