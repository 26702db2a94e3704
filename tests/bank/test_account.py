"""Every rule of an account, as given, when, then."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, FloatOperation, Inexact, Rounded, localcontext
from typing import Any

import pytest

from esbank import EsbankError
from esbank.bank import (
    AccountAlreadyExists,
    AccountClosed,
    AccountCommand,
    AccountEvent,
    AccountIsClosed,
    AccountNotFound,
    AccountOpened,
    BankAccount,
    BankError,
    CloseAccount,
    Deposit,
    Deposited,
    InsufficientFunds,
    InvalidAmount,
    InvalidCommand,
    NonZeroBalance,
    OpenAccount,
    Status,
    Withdraw,
    Withdrawn,
)
from esbank.bank.money import CURRENCIES
from esbank.testing import Scenario, raises

ACCOUNT = Scenario(BankAccount)
ZERO = Decimal("0.00")
MOST = Decimal("999999999999999999.99")


def opened(
    balance: str = "0.00", *, overdraft: str = "0.00", currency: str = "EUR", owner: str = "Ada"
) -> AccountOpened:
    return AccountOpened(owner, currency, Decimal(balance), Decimal(overdraft))


def deposited(amount: str, balance_after: str, by: str = "") -> Deposited:
    return Deposited(Decimal(amount), Decimal(balance_after), by)


def withdrawn(amount: str, balance_after: str, by: str = "") -> Withdrawn:
    return Withdrawn(Decimal(amount), Decimal(balance_after), by)


def text(amount: object) -> str:
    """Write an amount out, because 1.0 and 1.00 are equal."""
    assert isinstance(amount, Decimal)
    return str(amount)


# Opening.


def test_an_account_is_opened_with_nothing_on_it_in_euros() -> None:
    ACCOUNT.when(OpenAccount("Ada")).then(AccountOpened("Ada", "EUR", ZERO, ZERO))


def test_an_account_may_be_opened_with_a_balance_and_an_overdraft_limit() -> None:
    command = OpenAccount("Ada", "USD", Decimal("100.50"), Decimal(20))

    ACCOUNT.when(command).then(AccountOpened("Ada", "USD", Decimal("100.50"), Decimal("20.00")))


def test_an_account_is_opened_once() -> None:
    ACCOUNT.given(opened()).when(OpenAccount("Ada")).then(raises(AccountAlreadyExists))


def test_a_closed_account_is_not_opened_again() -> None:
    ACCOUNT.given(opened(), AccountClosed("moved")).when(OpenAccount("Ada")).then(raises(AccountAlreadyExists))


@pytest.mark.parametrize("owner", ["", " ", "\t\n"])
def test_an_account_has_an_owner(owner: str) -> None:
    with pytest.raises(InvalidCommand, match="owner: it must not be empty") as refused:
        OpenAccount(owner)

    assert refused.value.field == "owner"


@pytest.mark.parametrize("currency", ["", "EURO", "eur", "XXX", "BTC", "E\u0440R"])
def test_a_currency_is_a_code_of_iso_4217(currency: str) -> None:
    with pytest.raises(InvalidCommand, match="no currency of ISO 4217") as refused:
        OpenAccount("Ada", currency)

    assert refused.value.field == "currency"


@pytest.mark.parametrize("wrong", [None, 7, b"text", ["text"], {"text": 1}], ids=repr)
@pytest.mark.parametrize("field", ["owner", "currency"])
def test_the_texts_of_an_opening_are_texts(field: str, wrong: Any) -> None:  # noqa: ANN401 - of any wrong type
    with pytest.raises(InvalidCommand) as refused:
        OpenAccount(**{"owner": "Ada", field: wrong})

    assert refused.value.field == field


@pytest.mark.parametrize("wrong", [None, 7, b"text", ["text"]], ids=repr)
def test_whoever_moves_money_and_whatever_closes_an_account_are_texts(wrong: Any) -> None:  # noqa: ANN401 - of any wrong type
    with pytest.raises(InvalidCommand, match="by: it must be a str"):
        Deposit(Decimal(1), wrong)
    with pytest.raises(InvalidCommand, match="by: it must be a str"):
        Withdraw(Decimal(1), wrong)
    with pytest.raises(InvalidCommand, match="reason: it must be a str"):
        CloseAccount(wrong)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (OpenAccount, "owner"),
        (lambda text: Deposit(1, by=text), "by"),
        (lambda text: Withdraw(1, by=text), "by"),
        (CloseAccount, "reason"),
    ],
    ids=["owner", "deposited by", "withdrawn by", "reason"],
)
def test_a_text_that_the_views_of_some_database_could_not_hold_is_refused(
    make: Callable[[str], object], field: str
) -> None:
    with pytest.raises(InvalidCommand, match=f"{field}: it must not contain a NUL"):
        make("a\0b")


# Paying in.


def test_a_deposit_adds_to_the_balance() -> None:
    ACCOUNT.given(opened("10.00")).when(Deposit(Decimal("5.50"), by="Bob")).then(deposited("5.50", "15.50", "Bob"))


def test_deposits_add_up_exactly() -> None:
    commands = [Deposit(Decimal("0.10"))] * 3

    ACCOUNT.given(opened()).when(*commands).then(
        deposited("0.10", "0.10"), deposited("0.10", "0.20"), deposited("0.10", "0.30")
    )


def test_a_deposit_pays_an_overdraft_back() -> None:
    history = opened(overdraft="50.00"), withdrawn("40.00", "-40.00")

    ACCOUNT.given(*history).when(Deposit(Decimal(15))).then(deposited("15.00", "-25.00"))


def test_nothing_can_be_paid_into_an_account_that_was_never_opened() -> None:
    ACCOUNT.when(Deposit(Decimal(5))).then(raises(AccountNotFound))


# Taking out.


def test_a_withdrawal_takes_from_the_balance() -> None:
    ACCOUNT.given(opened("10.00")).when(Withdraw(Decimal("5.50"), by="Bob")).then(withdrawn("5.50", "4.50", "Bob"))


def test_all_that_is_there_may_be_withdrawn() -> None:
    ACCOUNT.given(opened("10.00")).when(Withdraw(Decimal(10))).then(withdrawn("10.00", "0.00"))


def test_not_a_cent_more_than_there_is_may_be_withdrawn() -> None:
    ACCOUNT.given(opened("10.00")).when(Withdraw(Decimal("10.01"))).then(
        raises(InsufficientFunds, requested=Decimal("10.01"), available=Decimal("10.00"))
    )


def test_the_overdraft_limit_may_be_used_to_the_cent() -> None:
    ACCOUNT.given(opened("10.00", overdraft="20.00")).when(Withdraw(Decimal(30))).then(withdrawn("30.00", "-20.00"))


def test_not_a_cent_more_than_the_overdraft_limit_may_be_withdrawn() -> None:
    ACCOUNT.given(opened("10.00", overdraft="20.00")).when(Withdraw(Decimal("30.01"))).then(
        raises(InsufficientFunds, requested=Decimal("30.01"), available=Decimal("30.00"))
    )


def test_an_overdraft_limit_that_is_used_up_gives_nothing_more() -> None:
    history = opened(overdraft="20.00"), withdrawn("20.00", "-20.00")

    ACCOUNT.given(*history).when(Withdraw(Decimal("0.01"))).then(
        raises(InsufficientFunds, requested=Decimal("0.01"), available=ZERO)
    )


def test_nothing_can_be_withdrawn_from_an_account_that_was_never_opened() -> None:
    ACCOUNT.when(Withdraw(Decimal(5))).then(raises(AccountNotFound))


# Closing.


def test_an_account_with_nothing_on_it_can_be_closed() -> None:
    ACCOUNT.given(opened("10.00"), withdrawn("10.00", "0.00")).when(CloseAccount("moved")).then(AccountClosed("moved"))


def test_a_reason_for_closing_may_be_empty() -> None:
    ACCOUNT.given(opened()).when(CloseAccount("")).then(AccountClosed(""))


def test_an_account_with_money_on_it_is_not_closed() -> None:
    ACCOUNT.given(opened("0.01")).when(CloseAccount("moved")).then(raises(NonZeroBalance, balance=Decimal("0.01")))


def test_an_account_that_owes_money_is_not_closed() -> None:
    history = opened(overdraft="20.00"), withdrawn("5.00", "-5.00")

    ACCOUNT.given(*history).when(CloseAccount("moved")).then(raises(NonZeroBalance, balance=Decimal("-5.00")))


def test_an_account_that_was_never_opened_is_not_closed() -> None:
    ACCOUNT.when(CloseAccount("moved")).then(raises(AccountNotFound))


@pytest.mark.parametrize(
    "command", [Deposit(Decimal(1)), Withdraw(Decimal(1)), CloseAccount("again")], ids=lambda one: type(one).__name__
)
def test_a_closed_account_takes_no_more_commands(command: AccountCommand) -> None:
    ACCOUNT.given(opened(overdraft="20.00"), AccountClosed("moved")).when(command).then(raises(AccountIsClosed))


def test_what_was_given_serves_any_number_of_whens() -> None:
    account = ACCOUNT.given(opened("10.00"))

    account.when(Deposit(Decimal(5))).then(deposited("5.00", "15.00"))
    account.when(Withdraw(Decimal(10))).then(withdrawn("10.00", "0.00"))


def test_the_state_says_what_became_of_the_account() -> None:
    account = BankAccount()
    assert account == BankAccount("", "EUR", Decimal(0), Decimal(0), Status.NEW)

    history: list[AccountEvent] = [opened("10.00", overdraft="20.00", currency="USD"), withdrawn("25.00", "-15.00")]
    for event in history:
        account.apply(event)
    assert account == BankAccount("Ada", "USD", Decimal("-15.00"), Decimal("20.00"), Status.OPEN)
    assert account.available == 5

    account.apply(AccountClosed("moved"))
    assert account.status is Status.CLOSED


# Amounts.


@pytest.mark.parametrize(
    ("amount", "problem"),
    [
        (Decimal(0), "more than zero"),
        (Decimal("0.00"), "more than zero"),
        (Decimal("-0"), "more than zero"),
        (Decimal("-0.01"), "more than zero"),
        (0, "more than zero"),
        (-1, "more than zero"),
    ],
    ids=repr,
)
def test_a_movement_is_of_more_than_zero(amount: Decimal, problem: str) -> None:
    for command in (Deposit, Withdraw):
        with pytest.raises(InvalidAmount, match=problem) as refused:
            command(amount)
        assert refused.value.amount == amount


@pytest.mark.parametrize("amount", [Decimal("-0.01"), -1], ids=repr)
def test_what_an_account_is_opened_with_is_not_below_zero(amount: Decimal) -> None:
    with pytest.raises(InvalidAmount, match="below zero"):
        OpenAccount("Ada", initial_balance=amount)
    with pytest.raises(InvalidAmount, match="below zero"):
        OpenAccount("Ada", overdraft_limit=amount)


NO_AMOUNTS: dict[str, tuple[Any, str]] = {
    "float": (1.0, "a float is never exact"),
    "float NaN": (float("nan"), "a float is never exact"),
    "float infinity": (float("inf"), "a float is never exact"),
    "NaN": (Decimal("NaN"), "finite"),
    "signalling NaN": (Decimal("sNaN"), "finite"),
    "infinity": (Decimal("Infinity"), "finite"),
    "minus infinity": (Decimal("-Infinity"), "finite"),
    "too large": (Decimal(10) ** 18, "below 1,000,000,000,000,000,000"),
    "far too large": (Decimal("1E+400"), "below 1,000,000,000,000,000,000"),
    "too large an int": (10**18, "below 1,000,000,000,000,000,000"),
    "far too large an int": (10**5000, "below 1,000,000,000,000,000,000"),
    "true": (True, "must be a Decimal"),
    "false": (False, "must be a Decimal"),
    "text": ("1.00", "must be a Decimal"),
    "bytes": (b"1", "must be a Decimal"),
    "none": (None, "must be a Decimal"),
    "complex": (1j, "must be a Decimal"),
}


@pytest.mark.parametrize(("amount", "problem"), NO_AMOUNTS.values(), ids=NO_AMOUNTS)
def test_what_is_no_amount_is_refused_everywhere(amount: Any, problem: str) -> None:  # noqa: ANN401 - of any wrong type
    for attempt in (
        lambda: Deposit(amount),
        lambda: Withdraw(amount),
        lambda: OpenAccount("Ada", initial_balance=amount),
        lambda: OpenAccount("Ada", overdraft_limit=amount),
    ):
        with pytest.raises(InvalidAmount, match=problem) as refused:
            attempt()
        assert refused.value.amount is amount or refused.value.amount == amount


def test_a_refused_amount_is_a_value_error_and_a_refusal_of_the_bank() -> None:
    assert issubclass(InvalidAmount, ValueError)
    assert issubclass(InvalidCommand, ValueError)
    assert issubclass(InvalidAmount, BankError)
    assert issubclass(BankError, EsbankError)


def test_an_int_is_an_amount() -> None:
    ACCOUNT.given(opened("1.00")).when(Deposit(5), Withdraw(2)).then(
        deposited("5.00", "6.00"), withdrawn("2.00", "4.00")
    )
    ACCOUNT.when(OpenAccount("Ada", "EUR", 5, 7)).then(opened("5.00", overdraft="7.00"))


def test_the_largest_amount_is_taken() -> None:
    ACCOUNT.given(opened()).when(Deposit(MOST), Deposit(MOST)).then(
        deposited(str(MOST), str(MOST)), deposited(str(MOST), "1999999999999999999.98")
    )


# Currencies.


@pytest.mark.parametrize(
    ("currency", "smallest", "too_fine"),
    [
        ("JPY", "1", "0.1"),
        ("EUR", "0.01", "0.001"),
        ("USD", "0.01", "0.011"),
        ("BHD", "0.001", "0.0001"),
        ("CLF", "0.0001", "0.00001"),
    ],
)
def test_an_amount_has_at_most_the_decimals_of_its_currency(currency: str, smallest: str, too_fine: str) -> None:
    whole, fine = Decimal(smallest), Decimal(too_fine)
    history = AccountOpened("Ada", currency, Decimal(0), whole)
    problem = f"{currency} has {CURRENCIES[currency]} decimals"

    ACCOUNT.given(history).when(Deposit(whole)).then(Deposited(whole, whole, ""))
    ACCOUNT.given(history).when(Withdraw(whole)).then(Withdrawn(whole, -whole, ""))
    ACCOUNT.when(OpenAccount("Ada", currency, whole, whole)).then(AccountOpened("Ada", currency, whole, whole))

    refused = raises(InvalidAmount, amount=fine, problem=problem)
    ACCOUNT.given(history).when(Deposit(fine)).then(refused)
    ACCOUNT.given(history).when(Withdraw(fine)).then(refused)
    ACCOUNT.when(OpenAccount("Ada", currency, fine)).then(refused)
    ACCOUNT.when(OpenAccount("Ada", currency, 0, fine)).then(refused)


@pytest.mark.parametrize(
    ("currency", "given", "stored"),
    [
        ("EUR", "5", "5.00"),
        ("EUR", "5.0", "5.00"),
        ("EUR", "5.00000", "5.00"),
        ("EUR", "1E+3", "1000.00"),
        ("EUR", "999999999999999999", "999999999999999999.00"),
        ("JPY", "5.00", "5"),
        ("BHD", "5", "5.000"),
        ("CLF", "5", "5.0000"),
    ],
)
def test_an_amount_is_stored_with_just_the_decimals_of_its_currency(currency: str, given: str, stored: str) -> None:
    account = BankAccount()
    for command in (OpenAccount("Ada", currency, Decimal(given), Decimal(given)), Deposit(Decimal(given))):
        for event in account.handle(command):
            account.apply(event)
            amounts = (
                [event.initial_balance, event.overdraft_limit] if isinstance(event, AccountOpened) else [event.amount]  # type: ignore[attr-defined]
            )
            assert [text(amount) for amount in amounts] == [stored] * len(amounts)


def test_a_zero_is_stored_without_a_sign() -> None:
    (event,) = BankAccount().handle(OpenAccount("Ada", "EUR", Decimal("-0"), Decimal("-0.0")))

    assert isinstance(event, AccountOpened)
    assert [text(event.initial_balance), text(event.overdraft_limit)] == ["0.00", "0.00"]


def test_every_currency_of_iso_4217_has_a_known_number_of_decimals() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
    assert set(CURRENCIES.values()) == {0, 2, 3, 4}
    assert len(CURRENCIES) > 150


# Whatever a program does with its decimal context, money stays exact.


@pytest.mark.parametrize(
    "context",
    [
        Context(prec=3),
        Context(prec=1, Emax=2, Emin=-2),
        Context(prec=3, traps=[Inexact, Rounded]),
        Context(prec=3, traps=[FloatOperation]),
    ],
    ids=["prec=3", "small exponents", "traps", "float operations"],
)
def test_money_is_exact_in_any_decimal_context(context: Context) -> None:
    with localcontext(context):
        ACCOUNT.given(opened("123456.78", overdraft="1000.00")).when(
            Deposit(Decimal("1234.56")), Withdraw(Decimal("125691.34")), Deposit(MOST)
        ).then(
            deposited("1234.56", "124691.34"),
            withdrawn("125691.34", "-1000.00"),
            deposited(str(MOST), "999999999999998999.99"),
        )
        ACCOUNT.when(OpenAccount("Ada", "CLF", Decimal("1234.5678"), 98765)).then(
            AccountOpened("Ada", "CLF", Decimal("1234.5678"), Decimal("98765.0000"))
        )


def test_a_refusal_stays_a_refusal_in_any_decimal_context() -> None:
    with localcontext(Context(prec=3, traps=[Inexact, Rounded])):
        ACCOUNT.given(opened("100.00")).when(Withdraw(Decimal("1234.56"))).then(
            raises(InsufficientFunds, requested=Decimal("1234.56"), available=Decimal("100.00"))
        )
        ACCOUNT.given(opened("100.00")).when(Deposit(Decimal("1234.567"))).then(
            raises(InvalidAmount, amount=Decimal("1234.567"), problem="EUR has 2 decimals")
        )
