"""A bank account: its commands, its events, its rules and its fold, in this order.

The names in ``@event`` are the storage format. To extend the account, subclass `BankAccount` and add commands and
events that derive from `AccountCommand` and `AccountEvent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import ClassVar
from uuid import UUID

from attrs import Attribute, define, field, frozen

from esbank import Aggregate, EventEnvelope, applies, event, handles
from esbank.bank.errors import (
    AccountAlreadyExists,
    AccountIsClosed,
    AccountNotFound,
    CorrectionOfCorrection,
    InsufficientFunds,
    InvalidCommand,
    NonZeroBalance,
    NothingToCorrect,
    TransactionNotFound,
)
from esbank.bank.money import add, amount_of, currency_of, in_currency, non_negative, non_zero, positive, subtract

__all__ = [
    "AccountClosed",
    "AccountCommand",
    "AccountEvent",
    "AccountOpened",
    "BankAccount",
    "CloseAccount",
    "CorrectTransaction",
    "Deposit",
    "Deposited",
    "OpenAccount",
    "Status",
    "TransactionCorrected",
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


def _non_zero(_: object, __: Attribute[Decimal], value: Decimal) -> None:
    non_zero(value)


def _currency(_: object, __: Attribute[str], value: str) -> None:
    currency_of(value)


def _text(_: object, attribute: Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise InvalidCommand(attribute.name, f"it must be a str, not {value!r:.60}")
    if "\0" in value:  # events can have it, and the views in PostgreSQL cannot
        raise InvalidCommand(attribute.name, f"it must not contain a NUL: {value!r:.60}")


def _some_text(instance: object, attribute: Attribute[str], value: str) -> None:
    _text(instance, attribute, value)
    if not value.strip():
        raise InvalidCommand(attribute.name, "it must not be empty")


def _version(_: object, attribute: Attribute[int], value: object) -> None:
    if type(value) is not int or value < 1:
        raise InvalidCommand(attribute.name, f"it must be an int from 1, not {value!r:.60}")


def _event_id(_: object, attribute: Attribute[UUID], value: object) -> None:
    if not isinstance(value, UUID):
        raise InvalidCommand(attribute.name, f"it must be a UUID, not {value!r:.60}")


@frozen
class OpenAccount(AccountCommand):
    """Open an account; `overdraft_limit` is how far below zero its balance may go.

    Raises ``InvalidAmount`` for an amount below zero, and ``InvalidCommand`` for an empty owner or a `currency` that is
    no code of ISO 4217.
    """

    owner: str = field(validator=_some_text)
    currency: str = field(default="EUR", validator=_currency)
    initial_balance: Decimal = field(default=Decimal(0), converter=amount_of, validator=_non_negative)
    overdraft_limit: Decimal = field(default=Decimal(0), converter=amount_of, validator=_non_negative)


@frozen
class Deposit(AccountCommand):
    """Put `amount` in, in the currency of the account; `by` is who pays it in.

    Raises ``InvalidAmount`` unless the amount is an exact, finite number above zero.
    """

    amount: Decimal = field(converter=amount_of, validator=_positive)
    by: str = field(default="", validator=_text)


@frozen
class Withdraw(AccountCommand):
    """Take `amount` out, in the currency of the account; `by` is who takes it. Raises as `Deposit` does."""

    amount: Decimal = field(converter=amount_of, validator=_positive)
    by: str = field(default="", validator=_text)


@frozen
class CorrectTransaction(AccountCommand):
    """Say that a transaction should have been of `amount`; 0 says that it should not have happened.

    The transaction is the event with `event_id`, at `version` of the account; `recorded` is what it did to the balance,
    below zero for a withdrawal. An account does not remember its transactions, so it believes these three; `of` takes
    them from the event itself.
    """

    event_id: UUID = field(validator=_event_id)
    version: int = field(validator=_version)
    recorded: Decimal = field(converter=amount_of, validator=_non_zero)
    amount: Decimal = field(converter=amount_of, validator=_non_negative)
    reason: str = field(validator=_some_text)
    by: str = field(default="", validator=_text)

    @classmethod
    def of(cls, wrong: EventEnvelope[object], amount: Decimal | int, reason: str, by: str = "") -> CorrectTransaction:
        """Correct a deposit or a withdrawal of the account's history.

        Raises ``CorrectionOfCorrection`` and ``TransactionNotFound`` for another event, ``InvalidAmount`` and
        ``InvalidCommand``.
        """
        event = wrong.event
        if isinstance(event, TransactionCorrected):
            raise CorrectionOfCorrection(wrong.version, event.corrected_version)
        if not isinstance(event, Deposited | Withdrawn):
            raise TransactionNotFound(wrong.version, wrong.type)
        recorded = event.amount if isinstance(event, Deposited) else subtract(Decimal(0), event.amount)
        return cls(wrong.event_id, wrong.version, recorded, amount, reason, by)


@frozen
class CloseAccount(AccountCommand):
    """Close the account for good, and say why; the reason may be empty."""

    reason: str = field(validator=_text)


# Events: what has happened. `balance_after` and `difference` are for readers; the fold uses the amounts.


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
    """Money came in, `amount` of it, and made the balance `balance_after`; `by` is who paid it in."""

    amount: Decimal
    balance_after: Decimal
    by: str


@event(name="Withdrawn", schema_version=1)
@frozen
class Withdrawn(AccountEvent):
    """Money went out, `amount` of it, and made the balance `balance_after`; `by` is who took it."""

    amount: Decimal
    balance_after: Decimal
    by: str


@event(name="TransactionCorrected", schema_version=1)
@frozen
class TransactionCorrected(AccountEvent):
    """A transaction was not as recorded, so the balance changes by `difference`.

    `recorded` is what the transaction did to the balance as it was recorded, `corrected` what it should have done; both
    are below zero for a withdrawal. `difference` counts from the correction before, if there was one.
    """

    corrected_event_id: UUID
    corrected_version: int
    recorded: Decimal
    corrected: Decimal
    difference: Decimal
    balance_after: Decimal
    reason: str
    by: str


@event(name="AccountClosed", schema_version=1)
@frozen
class AccountClosed(AccountEvent):
    """The account was closed for good, and why."""

    reason: str


class Status(Enum):
    """The life of an account."""

    NEW = "new"
    """It has not been opened yet."""
    OPEN = "open"
    """It takes commands."""
    CLOSED = "closed"
    """It takes none any more."""


@define
class BankAccount(Aggregate[AccountCommand, AccountEvent]):
    """The account: its rules in the methods that handle commands, its state folded from events.

    `corrections` tells, by the event id of each transaction that was corrected, how far off its record is.
    """

    category: ClassVar[str] = "BankAccount"

    owner: str = ""
    currency: str = "EUR"
    balance: Decimal = Decimal(0)
    overdraft_limit: Decimal = Decimal(0)
    status: Status = Status.NEW
    corrections: dict[str, Decimal] = field(factory=dict[str, Decimal])

    @property
    def available(self) -> Decimal:
        """What can be withdrawn: the balance, and the overdraft limit on top."""
        return add(self.balance, self.overdraft_limit)

    @handles(OpenAccount)
    def open(self, command: OpenAccount) -> Iterator[AccountEvent]:
        """Open an account once, with amounts in the units of its currency; raises ``AccountAlreadyExists``."""
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
        """Take any amount into an open account.

        Raises ``AccountNotFound``, ``AccountIsClosed``, and ``InvalidAmount`` for more decimals than its currency has.
        """
        self.require_open()
        amount = in_currency(command.amount, self.currency)
        yield Deposited(amount, add(self.balance, amount), command.by)

    @handles(Withdraw)
    def withdraw(self, command: Withdraw) -> Iterator[AccountEvent]:
        """Give what is available from an open account; raises ``InsufficientFunds``, and whatever `deposit` raises."""
        self.require_open()
        amount = in_currency(command.amount, self.currency)
        if amount > self.available:
            raise InsufficientFunds(amount, self.available)
        yield Withdrawn(amount, subtract(self.balance, amount), command.by)

    @handles(CorrectTransaction)
    def correct(self, command: CorrectTransaction) -> Iterator[AccountEvent]:
        """Set a transaction right, relative to how it was last corrected; refuse what would change nothing.

        It states what is true, so it may take the balance lower than any withdrawal may. Raises ``NothingToCorrect``,
        and whatever `deposit` raises.
        """
        self.require_open()
        amount = in_currency(command.amount, self.currency)
        recorded = in_currency(command.recorded, self.currency)
        corrected = amount if recorded > 0 else subtract(Decimal(0), amount)
        difference = subtract(subtract(corrected, recorded), self._correction_of(command.event_id))
        if difference == 0:
            raise NothingToCorrect(command.version, amount)
        yield TransactionCorrected(
            command.event_id,
            command.version,
            recorded,
            corrected,
            difference,
            add(self.balance, difference),
            command.reason,
            command.by,
        )

    @handles(CloseAccount)
    def close(self, command: CloseAccount) -> Iterator[AccountEvent]:
        """Close an open account that has a balance of zero.

        Raises ``NonZeroBalance``, ``AccountNotFound`` and ``AccountIsClosed``.
        """
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

    def _correction_of(self, event_id: UUID) -> Decimal:
        return self.corrections.get(str(event_id), Decimal(0))

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

    @applies(TransactionCorrected)
    def _corrected(self, event: TransactionCorrected) -> None:
        # Not by the difference: by business time, the correction before this one may not have happened yet.
        correction = subtract(event.corrected, event.recorded)
        self.balance = add(self.balance, subtract(correction, self._correction_of(event.corrected_event_id)))
        self.corrections[str(event.corrected_event_id)] = correction

    @applies(AccountClosed)
    def _closed(self, _event: AccountClosed) -> None:
        self.status = Status.CLOSED
