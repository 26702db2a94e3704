"""A savings account, as somebody outside the package would write it: it is checked by mypy and pyright, and it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import ClassVar

from attrs import define, frozen

from esbank import EventEnvelope, applies, event, handles, projects
from esbank.bank import (
    AccountCommand,
    AccountDetails,
    AccountEvent,
    BankAccount,
    BankError,
    OpenAccount,
    Withdraw,
    Withdrawn,
)
from esbank.store import Transaction


@frozen
class AddInterest(AccountCommand):
    """Pay interest for the time since the last one."""

    percent: Decimal


@event(name="InterestAdded")
@frozen
class InterestAdded(AccountEvent):
    amount: Decimal
    balance_after: Decimal


class NoOverdraft(BankError):
    def __str__(self) -> str:
        return "a savings account has no overdraft"


@define(eq=False)
class TooManyWithdrawals(BankError):
    most: int

    def __str__(self) -> str:
        return f"at most {self.most} withdrawals between two payments of interest"


@define
class SavingsAccount(BankAccount):
    """Bears interest, has no overdraft, and allows three withdrawals between two payments of interest."""

    category: ClassVar[str] = "SavingsAccount"
    most_withdrawals: ClassVar[int] = 3

    withdrawals: int = 0

    @handles(AddInterest)
    def add_interest(self, command: AddInterest) -> Iterator[AccountEvent]:
        self.require_open()
        interest = (self.balance * command.percent / 100).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        if interest > 0:
            yield InterestAdded(interest, self.balance + interest)

    @handles(OpenAccount)
    def open(self, command: OpenAccount) -> Iterator[AccountEvent]:
        if command.overdraft_limit:
            raise NoOverdraft
        yield from super().open(command)

    @handles(Withdraw)
    def withdraw(self, command: Withdraw) -> Iterator[AccountEvent]:
        if self.withdrawals == self.most_withdrawals:
            raise TooManyWithdrawals(self.most_withdrawals)
        yield from super().withdraw(command)

    @applies(InterestAdded)
    def _interest_added(self, event: InterestAdded) -> None:
        self.balance += event.amount
        self.withdrawals = 0

    @applies(Withdrawn)
    def _withdrawn(self, event: Withdrawn) -> None:
        super()._withdrawn(event)
        self.withdrawals += 1


class SavingsDetails(AccountDetails):
    """The bank's read model, of savings accounts, with the interest in the balance."""

    name = "SavingsDetails"
    categories: ClassVar[Collection[str] | None] = (SavingsAccount.category,)

    @projects(InterestAdded)
    def _interest_added(self, envelope: EventEnvelope[InterestAdded], tx: Transaction) -> None:
        tx.execute(
            """
            UPDATE {account_details} SET balance = :balance,
                last_activity = CASE WHEN :at > last_activity THEN :at ELSE last_activity END
            WHERE account_id = :account_id
            """,
            {
                "account_id": envelope.stream.key,
                "balance": str(envelope.event.balance_after),
                "at": envelope.occurred_at.isoformat(timespec="microseconds"),
            },
        )
