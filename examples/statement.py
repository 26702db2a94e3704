"""Print the statement of an account for a period, from the events alone.

    python examples/statement.py DATABASE ACCOUNT [--from DATE] [--to DATE]

The database is a file that ``examples/import_transactions.py`` or ``examples/bank_demo.py`` has left. Both days belong
to the period; without them it is all that has happened.

A movement belongs to the day, in UTC, on which it happened (its ``occurred_at``), whenever it was recorded. So a
statement of last month may change: by what is booked for it later, and by corrections, which happen when what they
correct has happened unless they say otherwise. Balances are by the same order, which need not be that of the log.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from attrs import frozen

from esbank import EsbankError, EventEnvelope, EventStore, Repository
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import (
    AccountEvent,
    AccountOpened,
    BankAccount,
    Deposited,
    TransactionCorrected,
    Withdrawn,
)
from esbank.bank.money import CURRENCIES, add, subtract

TEXT_WIDTH = 44


@frozen
class Movement:
    """What changed a balance: by an `amount` below zero if it went out.

    `number` is its version in the log; `at` is when it happened, in UTC, as stores keep all times.
    """

    number: int
    at: datetime
    text: str
    amount: Decimal
    balance: Decimal

    @property
    def day(self) -> date:
        """The day on which it happened."""
        return self.at.date()


@frozen
class Account:
    """What the log says about an account, with its movements in the order in which they happened."""

    account_id: str
    owner: str
    currency: str
    opened_on: date
    movements: list[Movement]


@frozen
class Statement:
    """The movements of an account from `first_day` to `last_day`, both included."""

    account: Account
    first_day: date
    last_day: date
    opening_balance: Decimal
    movements: list[Movement]
    closing_balance: Decimal


class NoSuchAccount(Exception):
    """There is nothing to make a statement of."""


def main() -> None:
    """Print a statement."""
    parser = argparse.ArgumentParser(description="Print the statement of an account, by the days of UTC.")
    parser.add_argument("database", type=Path, help="the SQLite file of the bank")
    parser.add_argument("account", help="the id of the account")
    parser.add_argument("--from", dest="first_day", type=date.fromisoformat, metavar="DATE", help="such as 2026-03-01")
    parser.add_argument("--to", dest="last_day", type=date.fromisoformat, metavar="DATE", help="that day included")
    arguments = parser.parse_args()
    first_day, last_day = arguments.first_day, arguments.last_day
    if first_day and last_day and first_day > last_day:
        parser.error(f"the period ends on {last_day}, before it begins on {first_day}")
    try:
        with SQLiteEventStore(arguments.database, create=False) as store:
            account = read_account(store, arguments.account)
    except (NoSuchAccount, EsbankError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    for line in lines_of(statement_of(account, first_day, last_day)):
        print(line)


def read_account(store: EventStore, account_id: str) -> Account:
    """Read the events of an account; raises ``NoSuchAccount``."""
    accounts = [stream.key for stream in store.streams(BankAccount.category)]
    if account_id not in accounts:
        such_as = f", such as {', '.join(map(repr, accounts[:3]))}" if accounts else ""
        raise NoSuchAccount(f"there is no account {account_id!r} among the {len(accounts):,} that there are{such_as}")
    repository = Repository(store, BankAccount)
    state = repository.load(account_id).state
    history = list(repository.history(account_id))
    opened_on = history[0].occurred_at.date()
    return Account(account_id, state.owner, state.currency, opened_on, list(movements_of(history)))


def movements_of(history: Iterable[EventEnvelope[AccountEvent]]) -> Iterator[Movement]:
    """Bring the movements into the order in which they happened, and compute the balance after each.

    An event's own `balance_after` is no help: it is by all that had been recorded before.
    """
    balance = Decimal(0)
    corrections: dict[UUID, tuple[int, Decimal]] = {}
    for envelope in sorted(history, key=lambda envelope: (envelope.occurred_at, envelope.version)):
        match envelope.event:
            case AccountOpened(initial_balance=amount) if amount:
                text = "initial balance"
            case Deposited(amount=amount, by=by):
                text = f"deposit{_made(by)}"
            case Withdrawn(amount=taken, by=by):
                amount = subtract(Decimal(0), taken)
                text = f"withdrawal{_made(by)}"
            case TransactionCorrected() as correction:
                amount = _difference(correction, envelope.version, corrections)
                text = _reason(correction)
            case _:
                continue
        balance = add(balance, amount)
        yield Movement(envelope.version, envelope.occurred_at, text, amount, balance)


def _difference(
    correction: TransactionCorrected, version: int, corrections: dict[UUID, tuple[int, Decimal]]
) -> Decimal:
    """Say what a correction changes after those that happened before it, and keep it in `corrections`.

    Of several that correct one transaction, the one that was recorded last counts, even if it happened first;
    then the others change nothing any more.
    """
    counting, before = corrections.get(correction.corrected_event_id, (0, Decimal(0)))
    if version < counting:
        return Decimal(0)
    after = subtract(correction.corrected, correction.recorded)
    corrections[correction.corrected_event_id] = version, after
    return subtract(after, before)


def _reason(correction: TransactionCorrected) -> str:
    return (
        f"correction of no. {correction.corrected_version}, "
        f"{correction.corrected:,} instead of {correction.recorded:,}: {correction.reason}{_made(correction.by)}"
    )


def _made(by: str) -> str:
    return f", by {by}" if by else ""


def statement_of(account: Account, first_day: date | None = None, last_day: date | None = None) -> Statement:
    """Take the movements of a period; a day that is not given is the first or the last on which anything happened."""
    days = [account.opened_on, *(movement.day for movement in account.movements)]
    if first_day is None:
        first_day = min(days) if last_day is None else min(*days, last_day)
    if last_day is None:
        last_day = max(*days, first_day)
    before = [movement for movement in account.movements if movement.day < first_day]
    within = [movement for movement in account.movements if first_day <= movement.day <= last_day]
    opening_balance = before[-1].balance if before else Decimal(0)
    closing_balance = within[-1].balance if within else opening_balance
    return Statement(account, first_day, last_day, opening_balance, within, closing_balance)


def lines_of(statement: Statement) -> Iterator[str]:
    """Write a statement down, in plain text."""
    account = statement.account
    decimals = CURRENCIES[account.currency]

    def line(day: object, number: object, text: str, amount: Decimal | None, balance: Decimal) -> Iterator[str]:
        first, *others = textwrap.wrap(_printable(text), TEXT_WIDTH)
        shown = "" if amount is None else f"{amount:,.{decimals}f}"
        yield f"{day!s:<10}  {number!s:>5}  {first:<{TEXT_WIDTH}}  {shown:>16}  {balance:>16,.{decimals}f}"
        for other in others:
            yield f"{'':<10}  {'':>5}  {other}"

    yield f"Account {_printable(account.account_id)} of {_printable(account.owner)}, in {account.currency}"
    yield f"From {statement.first_day} to {statement.last_day}, by the days of UTC on which it happened"
    yield ""
    yield f"{'day':<10}  {'no.':>5}  {'':<{TEXT_WIDTH}}  {'amount':>16}  {'balance':>16}"
    yield from line(statement.first_day, "", "opening balance", None, statement.opening_balance)
    for movement in statement.movements:
        yield from line(movement.day, movement.number, movement.text, movement.amount, movement.balance)
    if not statement.movements:
        yield f"{'':<10}  {'':>5}  nothing happened in this period"
    yield from line(statement.last_day, "", "closing balance", None, statement.closing_balance)
    if statement.last_day < account.opened_on:
        yield f"The account was opened later, on {account.opened_on}."


def _printable(text: str) -> str:
    """Leave no character that could move the cursor, or forge a line of the statement."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


if __name__ == "__main__":
    main()
