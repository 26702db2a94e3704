"""What goes out: plain attrs classes, which are the schemas of the API too. Amounts are written as text, always.

They have no slots, because msgspec writes those in the order of the alphabet, and people read what it writes.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypeAlias, Union
from uuid import UUID

from attrs import frozen

from esbank import EventEnvelope, ProjectorStatus, bank
from esbank.bank import AccountRow, BankAccount, TransactionRow

__all__ = [
    "Account",
    "AccountEvent",
    "Accounts",
    "EventData",
    "Events",
    "Executed",
    "Health",
    "ListedAccount",
    "Problem",
    "Transaction",
    "Transactions",
    "View",
]


@frozen(slots=False)
class Account:
    """An account at a version."""

    id: str
    owner: str
    currency: str
    status: str
    balance: Decimal
    overdraft_limit: Decimal
    available: Decimal
    version: int

    @classmethod
    def of(cls, account_id: str, account: BankAccount, version: int) -> Account:
        """Show the state of an account."""
        return cls(account_id, *_shown(account), version)


@frozen(slots=False)
class Executed(Account):
    """An account right after a command; lists have seen it when they have come to `position`."""

    position: int | None

    @classmethod
    def after(cls, account_id: str, account: BankAccount, version: int, position: int | None) -> Executed:
        """Show the state of an account after a command."""
        return cls(account_id, *_shown(account), version, position)


def _shown(account: BankAccount) -> tuple[str, str, str, Decimal, Decimal, Decimal]:
    return (
        account.owner,
        account.currency,
        account.status.value,
        account.balance,
        account.overdraft_limit,
        account.available,
    )


EventData: TypeAlias = Union[  # noqa: UP007 - Litestar 2.25 asks it for a name, which the other form has not
    bank.AccountOpened, bank.Deposited, bank.Withdrawn, bank.TransactionCorrected, bank.AccountClosed
]


@frozen(slots=False)
class AccountEvent:
    """An event of an account, and all that is known around it."""

    version: int
    position: int
    id: UUID
    type: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str | None
    correlation_id: str | None
    command_id: str | None
    data: EventData

    @classmethod
    def of(cls, envelope: EventEnvelope[bank.AccountEvent]) -> AccountEvent:
        """Show an event."""
        metadata = envelope.metadata
        return cls(
            envelope.version,
            envelope.position,
            envelope.event_id,
            envelope.type,
            envelope.occurred_at,
            envelope.recorded_at,
            metadata.actor,
            metadata.correlation_id,
            metadata.command_id,
            envelope.event,  # type: ignore[arg-type]  # these are all that an account has
        )


@frozen(slots=False)
class Events:
    """A page of events, and where the next one is, if there is more."""

    events: list[AccountEvent]
    next: str | None


@frozen(slots=False)
class Transaction:
    """A movement on an account; `version` is the version of the account that it made."""

    version: int
    kind: str
    amount: Decimal
    balance_after: Decimal
    by: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str | None
    correlation_id: str | None
    corrects: int | None

    @classmethod
    def of(cls, row: TransactionRow) -> Transaction:
        """Show a row of the view."""
        return cls(
            row.version,
            row.kind,
            row.amount,
            row.balance_after,
            row.made_by,
            row.occurred_at,
            row.recorded_at,
            row.actor,
            row.correlation_id,
            row.corrects,
        )


@frozen(slots=False)
class Transactions:
    """A page of movements, and where the next one is, if there is more."""

    transactions: list[Transaction]
    next: str | None


@frozen(slots=False)
class ListedAccount:
    """An account as the list of all shows it."""

    id: str
    owner: str
    currency: str
    status: str
    balance: Decimal
    opened_at: datetime
    last_activity: datetime

    @classmethod
    def of(cls, row: AccountRow) -> ListedAccount:
        """Show a row of the view."""
        return cls(row.account_id, row.owner, row.currency, row.status, row.balance, row.opened_at, row.last_activity)


@frozen(slots=False)
class Accounts:
    """A page of accounts, and where the next one is, if there is more."""

    accounts: list[ListedAccount]
    next: str | None


@frozen(slots=False)
class View:
    """Where a view is: `behind` is how many events it lacks."""

    name: str
    state: str
    behind: int
    seconds_behind: float

    @classmethod
    def of(cls, status: ProjectorStatus) -> View:
        """Show where a projector is."""
        return cls(status.projector, status.state.value, status.behind, status.seconds_behind)


@frozen(slots=False)
class Health:
    """How the service is: the store answers, and these are the views."""

    status: str
    views: list[View]


@frozen(slots=False)
class Problem:
    """What went wrong, as RFC 9457 has it; `type` and `status` are for programs, the rest is for people."""

    type: str
    title: str
    status: int
    detail: str
