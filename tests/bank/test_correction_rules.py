"""Every rule of a correction, as given, when, then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, Rounded, localcontext
from typing import Any
from uuid import UUID

import pytest

from esbank import EventEnvelope
from esbank.bank import (
    AccountClosed,
    AccountEvent,
    AccountIsClosed,
    AccountNotFound,
    AccountOpened,
    BankAccount,
    CloseAccount,
    CorrectionOfCorrection,
    CorrectTransaction,
    Deposit,
    Deposited,
    InsufficientFunds,
    InvalidAmount,
    InvalidCommand,
    NothingToCorrect,
    TransactionCorrected,
    TransactionNotFound,
    Withdraw,
    Withdrawn,
)
from esbank.store import NO_METADATA, StoredEvent, StreamId
from esbank.testing import Scenario, raises

ACCOUNT = Scenario(BankAccount)
DEPOSIT = UUID(int=2)
WITHDRAWAL = UUID(int=3)


def opened(balance: str = "0.00", *, overdraft: str = "0.00", currency: str = "EUR") -> AccountOpened:
    return AccountOpened("Ada", currency, Decimal(balance), Decimal(overdraft))


# A deposit of 500 at version 2, and a withdrawal of 30 at version 3.
HISTORY = (
    opened(),
    Deposited(Decimal("500.00"), Decimal("500.00"), "Bob"),
    Withdrawn(Decimal("30.00"), Decimal("470.00"), "Bob"),
)


def correct_deposit(amount: Decimal | int, recorded: Decimal | int = 500) -> CorrectTransaction:
    return CorrectTransaction(DEPOSIT, 2, recorded, amount, "a digit too many", "Eve")


def correct_withdrawal(amount: Decimal | int, recorded: Decimal | int = -30) -> CorrectTransaction:
    return CorrectTransaction(WITHDRAWAL, 3, recorded, amount, "miscounted", "Eve")


def deposit_corrected(corrected: str, difference: str, balance_after: str) -> TransactionCorrected:
    amounts = Decimal("500.00"), Decimal(corrected), Decimal(difference), Decimal(balance_after)
    return TransactionCorrected(DEPOSIT, 2, *amounts, "a digit too many", "Eve")


def withdrawal_corrected(corrected: str, difference: str, balance_after: str) -> TransactionCorrected:
    amounts = Decimal("-30.00"), Decimal(corrected), Decimal(difference), Decimal(balance_after)
    return TransactionCorrected(WITHDRAWAL, 3, *amounts, "miscounted", "Eve")


def fold(events: Iterable[AccountEvent]) -> BankAccount:
    account = BankAccount()
    for event in events:
        account.apply(event)
    return account


# What a correction says.


def test_a_deposit_of_too_much_is_corrected_by_the_difference() -> None:
    ACCOUNT.given(*HISTORY).when(correct_deposit(50)).then(deposit_corrected("50.00", "-450.00", "20.00"))


def test_a_deposit_of_too_little_is_corrected_by_the_difference() -> None:
    ACCOUNT.given(*HISTORY).when(correct_deposit(501)).then(deposit_corrected("501.00", "1.00", "471.00"))


def test_a_withdrawal_of_too_much_is_corrected_by_the_difference() -> None:
    ACCOUNT.given(*HISTORY).when(correct_withdrawal(3)).then(withdrawal_corrected("-3.00", "27.00", "497.00"))


def test_a_withdrawal_of_too_little_is_corrected_by_the_difference() -> None:
    ACCOUNT.given(*HISTORY).when(correct_withdrawal(33)).then(withdrawal_corrected("-33.00", "-3.00", "467.00"))


def test_a_transaction_that_should_not_have_happened_is_corrected_to_nothing() -> None:
    ACCOUNT.given(*HISTORY).when(correct_withdrawal(0)).then(withdrawal_corrected("0.00", "30.00", "500.00"))
    ACCOUNT.given(*HISTORY).when(correct_deposit(0)).then(deposit_corrected("0.00", "-500.00", "-30.00"))


def test_a_withdrawal_that_is_corrected_to_nothing_leaves_a_zero_without_a_sign() -> None:
    (event,) = fold(HISTORY).handle(correct_withdrawal(Decimal("-0")))

    assert isinstance(event, TransactionCorrected)
    assert [str(event.corrected), str(event.difference)] == ["0.00", "30.00"]


def test_several_transactions_are_corrected_apart() -> None:
    ACCOUNT.given(*HISTORY).when(correct_deposit(50), correct_withdrawal(3), correct_deposit(60)).then(
        deposit_corrected("50.00", "-450.00", "20.00"),
        withdrawal_corrected("-3.00", "27.00", "47.00"),
        deposit_corrected("60.00", "10.00", "57.00"),
    )


# Correcting again.


def test_a_transaction_that_was_corrected_is_corrected_from_there() -> None:
    history = *HISTORY, deposit_corrected("50.00", "-450.00", "20.00")

    ACCOUNT.given(*history).when(correct_deposit(55)).then(deposit_corrected("55.00", "5.00", "25.00"))


def test_a_correction_is_taken_back_by_correcting_to_what_was_recorded() -> None:
    history = *HISTORY, deposit_corrected("50.00", "-450.00", "20.00")

    ACCOUNT.given(*history).when(correct_deposit(500)).then(deposit_corrected("500.00", "450.00", "470.00"))


def test_a_transaction_that_was_corrected_to_nothing_may_be_given_an_amount_again() -> None:
    history = *HISTORY, withdrawal_corrected("0.00", "30.00", "500.00")

    ACCOUNT.given(*history).when(correct_withdrawal(31)).then(withdrawal_corrected("-31.00", "-31.00", "469.00"))


# Changing nothing.


def test_a_correction_to_what_was_recorded_is_refused() -> None:
    refused = raises(NothingToCorrect, version=2, amount=Decimal("500.00"))

    ACCOUNT.given(*HISTORY).when(correct_deposit(500)).then(refused)
    ACCOUNT.given(*HISTORY).when(correct_deposit(Decimal("500.000"))).then(refused)


def test_a_correction_to_what_was_corrected_to_is_refused() -> None:
    history = *HISTORY, deposit_corrected("50.00", "-450.00", "20.00"), withdrawal_corrected("0.00", "30.00", "50.00")

    ACCOUNT.given(*history).when(correct_deposit(50)).then(raises(NothingToCorrect, version=2, amount=Decimal(50)))
    ACCOUNT.given(*history).when(correct_withdrawal(0)).then(raises(NothingToCorrect, version=3, amount=Decimal(0)))


# The truth is no withdrawal.


def test_a_correction_may_take_the_balance_lower_than_a_withdrawal_may() -> None:
    history = opened(overdraft="10.00"), *HISTORY[1:]

    ACCOUNT.given(*history).when(Withdraw(481)).then(
        raises(InsufficientFunds, requested=Decimal(481), available=Decimal(480))
    )
    ACCOUNT.given(*history).when(correct_deposit(0)).then(deposit_corrected("0.00", "-500.00", "-30.00"))


def test_what_is_available_after_a_correction_is_what_is_left() -> None:
    history = *HISTORY, deposit_corrected("50.00", "-450.00", "20.00")

    ACCOUNT.given(*history).when(Withdraw(21)).then(raises(InsufficientFunds, requested=21, available=20))
    ACCOUNT.given(*history).when(Withdraw(20)).then(Withdrawn(Decimal(20), Decimal(0), ""))
    ACCOUNT.given(*history).when(Deposit(1)).then(Deposited(Decimal(1), Decimal(21), ""))


def test_an_account_that_corrections_bring_to_zero_can_be_closed() -> None:
    ACCOUNT.given(*HISTORY).when(correct_deposit(30), CloseAccount("moved")).then(
        deposit_corrected("30.00", "-470.00", "0.00"), AccountClosed("moved")
    )


def test_nothing_is_corrected_in_an_account_that_was_never_opened() -> None:
    ACCOUNT.when(correct_deposit(50)).then(raises(AccountNotFound))


def test_nothing_is_corrected_in_a_closed_account() -> None:
    history = *HISTORY, deposit_corrected("30.00", "-470.00", "0.00"), AccountClosed("moved")

    ACCOUNT.given(*history).when(correct_deposit(50)).then(raises(AccountIsClosed))


# The fold.


def test_the_state_remembers_only_what_was_corrected() -> None:
    assert fold(HISTORY).corrections == {}

    account = fold([*HISTORY, deposit_corrected("50.00", "-450.00", "20.00")])

    assert account.corrections == {str(DEPOSIT): Decimal(-450)}
    assert account.balance == 20


def test_a_correction_counts_in_full_where_the_one_before_it_is_left_out() -> None:
    second = deposit_corrected("60.00", "10.00", "30.00")

    assert fold([*HISTORY, deposit_corrected("50.00", "-450.00", "20.00"), second]).balance == 30
    assert fold([*HISTORY, second]).balance == 30


# Amounts.


@pytest.mark.parametrize(
    ("currency", "smallest", "too_fine"), [("JPY", "1", "0.1"), ("EUR", "0.01", "0.001"), ("CLF", "0.0001", "0.00001")]
)
def test_a_corrected_amount_has_at_most_the_decimals_of_its_currency(
    currency: str, smallest: str, too_fine: str
) -> None:
    account = fold([opened("0", currency=currency)])
    account.apply(Deposited(Decimal(5), Decimal(5), ""))

    (event,) = account.handle(correct_deposit(Decimal(smallest), recorded=5))
    assert isinstance(event, TransactionCorrected)
    assert str(event.corrected) == smallest
    assert {one.as_tuple().exponent for one in (event.recorded, event.difference, event.balance_after)} == {
        Decimal(smallest).as_tuple().exponent
    }
    for recorded in (5, -5):
        with pytest.raises(InvalidAmount) as refused:
            list(account.handle(correct_deposit(Decimal(too_fine), recorded=recorded)))
        assert refused.value.amount == Decimal(too_fine)


@pytest.mark.parametrize("amount", [0.5, Decimal("NaN"), Decimal("Infinity"), Decimal(10) ** 18, True, "1", None])
def test_what_is_no_amount_corrects_nothing(amount: Any) -> None:  # noqa: ANN401 - of any wrong type
    with pytest.raises(InvalidAmount):
        correct_deposit(amount)
    with pytest.raises(InvalidAmount):
        correct_deposit(1, recorded=amount)


def test_a_corrected_amount_is_not_below_zero_and_a_recorded_one_is_not_zero() -> None:
    with pytest.raises(InvalidAmount, match="below zero"):
        correct_deposit(-1)
    with pytest.raises(InvalidAmount, match="must not be zero"):
        correct_deposit(1, recorded=0)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("event_id", str(DEPOSIT)),
        ("event_id", None),
        ("version", 0),
        ("version", True),
        ("version", "2"),
        ("version", 2.0),
        ("reason", ""),
        ("reason", " \n"),
        ("reason", None),
        ("by", None),
    ],
)
def test_a_correction_names_its_transaction_its_reason_and_its_maker(field: str, wrong: Any) -> None:  # noqa: ANN401 - of any wrong type
    fields = {"event_id": DEPOSIT, "version": 2, "recorded": 5, "amount": 1, "reason": "misread", "by": "Eve"}

    with pytest.raises(InvalidCommand) as refused:
        CorrectTransaction(**{**fields, field: wrong})

    assert refused.value.field == field


def test_corrections_are_exact_in_any_decimal_context() -> None:
    with localcontext(Context(prec=3, traps=[Inexact, Rounded])):
        history = opened(), Deposited(Decimal("123456.78"), Decimal("123456.78"), "")
        commands = [
            correct_deposit(Decimal(amount), recorded=Decimal("123456.78")) for amount in ("12345.67", "12345.68")
        ]
        account = fold(history)
        for command in commands:
            for event in account.handle(command):
                account.apply(event)

        assert account.balance == Decimal("12345.68")
        assert account.corrections == {str(DEPOSIT): Decimal("-111111.10")}


# The command, made from the event.


def envelope(event: AccountEvent, version: int = 2) -> EventEnvelope[AccountEvent]:
    now = datetime(2024, 5, 1, 12, tzinfo=UTC)
    stored = StoredEvent(
        StreamId("BankAccount", "1"), version, 7, DEPOSIT, type(event).__name__, 1, "{}", NO_METADATA, now
    )
    return EventEnvelope(event, stored)


def test_a_correction_takes_from_the_event_what_was_recorded() -> None:
    deposit, withdrawal = HISTORY[1:]

    assert CorrectTransaction.of(envelope(deposit), 50, "misread") == CorrectTransaction(
        DEPOSIT, 2, Decimal(500), Decimal(50), "misread"
    )
    assert CorrectTransaction.of(envelope(withdrawal, 3), 50, "misread", "Eve") == CorrectTransaction(
        DEPOSIT, 3, Decimal(-30), Decimal(50), "misread", "Eve"
    )


def test_what_was_recorded_is_exact_in_any_decimal_context() -> None:
    with localcontext(Context(prec=3)):
        command = CorrectTransaction.of(envelope(Withdrawn(Decimal("1234.56"), Decimal(0), "")), 0, "misread")

    assert command.recorded == Decimal("-1234.56")


@pytest.mark.parametrize("event", [opened("5.00"), AccountClosed("moved")], ids=lambda event: type(event).__name__)
def test_only_deposits_and_withdrawals_are_corrected(event: AccountEvent) -> None:
    with pytest.raises(TransactionNotFound, match="only those can be corrected") as refused:
        CorrectTransaction.of(envelope(event, 7), 5, "misread")

    assert (refused.value.version, refused.value.found) == (7, type(event).__name__)


def test_a_correction_is_not_corrected_itself() -> None:
    correction = envelope(deposit_corrected("50.00", "-450.00", "20.00"), 4)

    with pytest.raises(CorrectionOfCorrection, match="again, at version 2") as refused:
        CorrectTransaction.of(correction, 60, "misread")

    assert (refused.value.version, refused.value.original) == (4, 2)
