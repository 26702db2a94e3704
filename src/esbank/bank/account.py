"""A bank account: its commands, its events, its rules and its fold, in this order.

The names in ``@event`` are the storage format. To extend the account, subclass `BankAccount` and add commands and
events that derive from `AccountCommand` and `AccountEvent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import ClassVar

from attrs import Attribute, define, field, frozen

from esbank import Aggregate, applies, event, handles
from esbank.bank.errors import (
    AccountAlreadyExists,
    AccountIsClosed,
    AccountNotFound,
    InsufficientFunds,
    InvalidCommand,
    NonZeroBalance,
)
from esbank.bank.money import add, amount_of, currency_of, in_currency, non_negative, positive, subtract

__all__ = [
    "AccountClosed",
    "AccountCommand",
    "AccountEvent",
    "AccountOpened",
    "BankAccount",
    "CloseAccount",
    "Deposit",
    "Deposited",
    "OpenAccount",
    "Status",
    "Withdraw",
    "Withdrawn",
]


# Commands: what somebody wants. Their validators are the first rules, those that need no state.


@frozen
class AccountCommand:
    """The base of all commands to an account."""


def _positive(_: object, __: Attribute[Decimal], value: Decimal) -> None:
    positive(value)


def _non_negative(_: object, __: Attribute[Decimal], value: Decimal) -> None:
    non_negative(value)


def _currency(_: object, __: Attribute[str], value: str) -> None:
    currency_of(value)


def _text(_: object, attribute: Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise InvalidCommand(attribute.name, f"it must be a str, not {value!r:.60}")


def _some_text(instance: object, attribute: Attribute[str], value: str) -> None:
    _text(instance, attribute, value)
    if not value.strip():
        raise InvalidCommand(attribute.name, "it must not be empty")


@frozen
class OpenAccount(AccountCommand):
    """Open an account; `overdraft_limit` is how far below zero its balance may go."""

    owner: str = field(validator=_some_text)
    currency: str = field(default="EUR", validator=_currency)
    initial_balance: Decimal = field(default=Decimal(0), converter=amount_of, validator=_non_negative)
    overdraft_limit: Decimal = field(default=Decimal(0), converter=amount_of, validator=_non_negative)


@frozen
class Deposit(AccountCommand):
    """Put money in."""

    amount: Decimal = field(converter=amount_of, validator=_positive)
    by: str = field(default="", validator=_text)


@frozen
class Withdraw(AccountCommand):
    """Take money out."""

    amount: Decimal = field(converter=amount_of, validator=_positive)
    by: str = field(default="", validator=_text)


@frozen
class CloseAccount(AccountCommand):
    """Close the account for good."""

    reason: str = field(validator=_text)


# Events: what has happened. `balance_after` is for readers; the fold uses the amounts.


@frozen
class AccountEvent:
    """The base of all events of an account."""


@event(name="AccountOpened", schema_version=1)
@frozen
class AccountOpened(AccountEvent):
    """The account was opened with an initial balance, which is no deposit."""

    owner: str
    currency: str
    initial_balance: Decimal
    overdraft_limit: Decimal


@event(name="Deposited", schema_version=1)
@frozen
class Deposited(AccountEvent):
    """Money came in."""

    amount: Decimal
    balance_after: Decimal
    by: str


@event(name="Withdrawn", schema_version=1)
@frozen
class Withdrawn(AccountEvent):
    """Money went out."""

    amount: Decimal
    balance_after: Decimal
    by: str


@event(name="AccountClosed", schema_version=1)
@frozen
class AccountClosed(AccountEvent):
    """The account was closed."""

    reason: str


class Status(Enum):
    """The life of an account."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


@define
class BankAccount(Aggregate[AccountCommand, AccountEvent]):
    """The account: its rules in the methods that handle commands, its state folded from events."""

    category: ClassVar[str] = "BankAccount"

    owner: str = ""
    currency: str = "EUR"
    balance: Decimal = Decimal(0)
    overdraft_limit: Decimal = Decimal(0)
    status: Status = Status.NEW

    @property
    def available(self) -> Decimal:
        """What can be withdrawn: the balance, and the overdraft limit on top."""
        return add(self.balance, self.overdraft_limit)

    @handles(OpenAccount)
    def open(self, command: OpenAccount) -> Iterator[AccountEvent]:
        """Open an account once, with amounts in the units of its currency."""
        if self.status is not Status.NEW:
            raise AccountAlreadyExists
        yield AccountOpened(
            command.owner,
            command.currency,
            in_currency(command.initial_balance, command.currency),
            in_currency(command.overdraft_limit, command.currency),
        )

    @handles(Deposit)
    def deposit(self, command: Deposit) -> Iterator[AccountEvent]:
        """Take any amount into an open account."""
        self.require_open()
        amount = in_currency(command.amount, self.currency)
        yield Deposited(amount, add(self.balance, amount), command.by)

    @handles(Withdraw)
    def withdraw(self, command: Withdraw) -> Iterator[AccountEvent]:
        """Give what is available from an open account."""
        self.require_open()
        amount = in_currency(command.amount, self.currency)
        if amount > self.available:
            raise InsufficientFunds(amount, self.available)
        yield Withdrawn(amount, subtract(self.balance, amount), command.by)

    @handles(CloseAccount)
    def close(self, command: CloseAccount) -> Iterator[AccountEvent]:
        """Close an open account that has a balance of zero."""
        self.require_open()
        if self.balance != 0:
            raise NonZeroBalance(self.balance)
        yield AccountClosed(command.reason)

    def require_open(self) -> None:
        """Raise ``AccountNotFound`` or ``AccountIsClosed`` unless the account is open."""
        if self.status is Status.NEW:
            raise AccountNotFound
        if self.status is Status.CLOSED:
            raise AccountIsClosed

    @applies(AccountOpened)
    def _opened(self, event: AccountOpened) -> None:
        self.owner = event.owner
        self.currency = event.currency
        self.balance = event.initial_balance
        self.overdraft_limit = event.overdraft_limit
        self.status = Status.OPEN

    @applies(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance = add(self.balance, event.amount)

    @applies(Withdrawn)
    def _withdrawn(self, event: Withdrawn) -> None:
        self.balance = subtract(self.balance, event.amount)

    @applies(AccountClosed)
    def _closed(self, _event: AccountClosed) -> None:
        self.status = Status.CLOSED
