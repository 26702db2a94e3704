"""What each owner has, and what each day brought: views that join many accounts, while people use these.

Run it with ``python examples/owner_totals.py``, or ``python examples/owner_totals.py FILE`` to keep the file and look
into it. From the folder ``examples``, its projectors can be run by themselves as well::

    python -m esbank projections run FILE owner_totals:PROJECTORS
"""

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen
from rich.console import Console
from rich.table import Table

from esbank import EventEnvelope, Metadata, NoSnapshots, ProjectionRunner, Projector, Repository, projects
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import (
    AccountClosed,
    AccountOpened,
    Bank,
    BankAccount,
    Deposited,
    InsufficientFunds,
    TransactionCorrected,
    Withdrawn,
)
from esbank.bank.money import add, subtract
from esbank.store import Transaction, ViewStore

OWNERS = {"Alice": ("EUR", "EUR", "CHF"), "Bob": ("EUR", "CHF"), "Carol": ("EUR",)}
DAYS = [date(2026, 3, 2) + timedelta(days=number) for number in range(3)]
THREADS = 4
TRANSACTIONS = 75

console = Console(width=110, highlight=False)


# The views. A deposit does not say whose account it is, so each of them also remembers what the opening said.


class OwnerTotals(Projector):
    """What each owner has in each currency, over all accounts."""

    name = "bank.OwnerTotals"
    categories: ClassVar[Collection[str] | None] = (BankAccount.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "owner_accounts": "(account_id TEXT PRIMARY KEY, owner TEXT NOT NULL, currency TEXT NOT NULL)",
        "owner_totals": """(
            owner     TEXT NOT NULL,
            currency  TEXT NOT NULL,
            accounts  INTEGER NOT NULL,
            balance   TEXT NOT NULL,
            PRIMARY KEY (owner, currency)
        )""",
    }

    @projects(AccountOpened)
    def _opened(self, envelope: EventEnvelope[AccountOpened], tx: Transaction) -> None:
        event = envelope.event
        whose = {"owner": event.owner, "currency": event.currency}
        tx.execute(
            "INSERT INTO {owner_accounts} VALUES (:account_id, :owner, :currency)",
            {"account_id": envelope.stream.key, **whose},
        )
        tx.execute("INSERT INTO {owner_totals} VALUES (:owner, :currency, 0, '0') ON CONFLICT DO NOTHING", whose)
        _change_total(tx, envelope, event.initial_balance, accounts=1)

    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None:
        _change_total(tx, envelope, envelope.event.amount)

    @projects(Withdrawn)
    def _withdrawn(self, envelope: EventEnvelope[Withdrawn], tx: Transaction) -> None:
        _change_total(tx, envelope, _negative(envelope.event.amount))

    @projects(TransactionCorrected)
    def _corrected(self, envelope: EventEnvelope[TransactionCorrected], tx: Transaction) -> None:
        _change_total(tx, envelope, envelope.event.difference)

    @projects(AccountClosed)
    def _closed(self, envelope: EventEnvelope[AccountClosed], tx: Transaction) -> None:
        _change_total(tx, envelope, Decimal(0), accounts=-1)


def _change_total(tx: Transaction, envelope: EventEnvelope[Any], amount: Decimal, accounts: int = 0) -> None:
    """Add exactly, in Python: SQLite would calculate with floats."""
    ((owner, currency, balance),) = tx.execute(
        """
        SELECT owner, currency, balance FROM {owner_accounts} JOIN {owner_totals} USING (owner, currency)
        WHERE account_id = :account_id
        """,
        {"account_id": envelope.stream.key},
    )
    tx.execute(
        """
        UPDATE {owner_totals} SET balance = :balance, accounts = accounts + :accounts
        WHERE owner = :owner AND currency = :currency
        """,
        {"owner": owner, "currency": currency, "balance": str(add(Decimal(balance), amount)), "accounts": accounts},
    )


class DayTotals(Projector):
    """What each day brought the bank in each currency; a correction counts on the day of what it corrects."""

    name = "bank.DayTotals"
    categories: ClassVar[Collection[str] | None] = (BankAccount.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "day_currencies": "(account_id TEXT PRIMARY KEY, currency TEXT NOT NULL)",
        "day_totals": """(
            day        TEXT NOT NULL,
            currency   TEXT NOT NULL,
            opened     TEXT NOT NULL DEFAULT '0',
            deposited  TEXT NOT NULL DEFAULT '0',
            withdrawn  TEXT NOT NULL DEFAULT '0',
            corrected  TEXT NOT NULL DEFAULT '0',
            PRIMARY KEY (day, currency)
        )""",
    }

    @projects(AccountOpened)
    def _opened(self, envelope: EventEnvelope[AccountOpened], tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO {day_currencies} VALUES (:account_id, :currency)",
            {"account_id": envelope.stream.key, "currency": envelope.event.currency},
        )
        _change_day(tx, envelope, opened=envelope.event.initial_balance)

    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None:
        _change_day(tx, envelope, deposited=envelope.event.amount)

    @projects(Withdrawn)
    def _withdrawn(self, envelope: EventEnvelope[Withdrawn], tx: Transaction) -> None:
        _change_day(tx, envelope, withdrawn=envelope.event.amount)

    @projects(TransactionCorrected)
    def _corrected(self, envelope: EventEnvelope[TransactionCorrected], tx: Transaction) -> None:
        _change_day(tx, envelope, corrected=envelope.event.difference)


def _change_day(
    tx: Transaction,
    envelope: EventEnvelope[Any],
    *,
    opened: Decimal = Decimal(0),
    deposited: Decimal = Decimal(0),
    withdrawn: Decimal = Decimal(0),
    corrected: Decimal = Decimal(0),
) -> None:
    ((currency,),) = tx.execute(
        "SELECT currency FROM {day_currencies} WHERE account_id = :account_id", {"account_id": envelope.stream.key}
    )
    day = {"day": envelope.occurred_at.astimezone(UTC).date().isoformat(), "currency": currency}
    tx.execute("INSERT INTO {day_totals} (day, currency) VALUES (:day, :currency) ON CONFLICT DO NOTHING", day)
    (totals,) = tx.execute(
        "SELECT opened, deposited, withdrawn, corrected FROM {day_totals} WHERE day = :day AND currency = :currency",
        day,
    )
    changes = {"opened": opened, "deposited": deposited, "withdrawn": withdrawn, "corrected": corrected}
    tx.execute(
        """
        UPDATE {day_totals}
        SET opened = :opened, deposited = :deposited, withdrawn = :withdrawn, corrected = :corrected
        WHERE day = :day AND currency = :currency
        """,
        {
            **day,
            **{name: str(add(Decimal(total), changes[name])) for name, total in zip(changes, totals, strict=True)},
        },
    )


def _negative(amount: Decimal) -> Decimal:
    return subtract(Decimal(0), amount)


PROJECTORS = [OwnerTotals, DayTotals]


# The queries.


@frozen
class OwnerTotal:
    """What an owner has in a currency, in so many open accounts."""

    owner: str
    currency: str
    accounts: int
    balance: Decimal


def owner_totals(views: ViewStore) -> list[OwnerTotal]:
    """List what everybody has."""
    rows = views.query("SELECT owner, currency, accounts, balance FROM owner_totals ORDER BY owner, currency")
    return [OwnerTotal(owner, currency, accounts, Decimal(balance)) for owner, currency, accounts, balance in rows]


@frozen
class DayTotal:
    """What a day brought in a currency; `corrected` is what corrections have changed since."""

    day: date
    currency: str
    opened: Decimal
    deposited: Decimal
    withdrawn: Decimal
    corrected: Decimal

    @property
    def net(self) -> Decimal:
        """By how much the bank's balance has changed."""
        return add(subtract(add(self.opened, self.deposited), self.withdrawn), self.corrected)


def day_totals(views: ViewStore) -> list[DayTotal]:
    """List what every day brought."""
    rows = views.query(
        "SELECT day, currency, opened, deposited, withdrawn, corrected FROM day_totals ORDER BY day, currency"
    )
    return [DayTotal(date.fromisoformat(day), currency, *map(Decimal, amounts)) for day, currency, *amounts in rows]


# The demo.


@contextmanager
def step(title: str) -> Generator[None]:
    """Print what a step is about, and how long it took."""
    console.print(f"\n[bold]{title}[/bold]")
    started = time.perf_counter()
    yield
    console.print(f"[dim]{(time.perf_counter() - started) * 1000:,.1f} ms[/dim]", justify="right")


@contextmanager
def running(runner: ProjectionRunner) -> Generator[None]:
    """Keep the views up to date in a thread of its own, for as long as the block lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=runner.run, args=(stop,), name="projections")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main(path: Path) -> None:
    """Use accounts from several threads while the views follow."""
    with SQLiteEventStore(path) as store:
        bank = Bank(store)
        runner = ProjectionRunner(store, [projector() for projector in PROJECTORS])

        with running(runner):
            with step("1. Three people open six accounts; the views follow in the background"):
                accounts = open_accounts(bank)
                wait_until_up_to_date(store, runner)
                show_owners(store)

            with step(f"2. {THREADS} threads make {THREADS * TRANSACTIONS} transactions on three days"):
                done: Counter[str] = Counter()
                with ThreadPoolExecutor(THREADS) as threads:
                    for by_one in threads.map(partial(use_accounts, bank, accounts), range(THREADS)):
                        done += by_one
                console.print(", ".join(f"{count} {what}" for what, count in sorted(done.items())))

            with step("3. Whoever has just written waits for the views, and reads"):
                written = bank.deposit(accounts[0], Decimal("0.99"), by="alice", metadata=on(DAYS[-1]))
                runner.wait_for(written.envelopes[-1].position)
                show_owners(store)
                show_days(store)

        with step("4. The sums agree with the accounts themselves, each replayed from its first event"):
            check(store, accounts)

        with step("5. The views are made anew, and come out the same"):
            before = owner_totals(store), day_totals(store)
            runner.rebuild()
            console.print(f"same: {(owner_totals(store), day_totals(store)) == before}")


def on(day: date) -> Metadata:
    """Let something have happened at noon."""
    return Metadata(occurred_at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def open_accounts(bank: Bank) -> list[str]:
    """Open everybody's accounts, and return their ids."""
    accounts: list[str] = []
    for owner, currencies in OWNERS.items():
        for currency in currencies:
            accounts.append(f"acc-{len(accounts) + 1:03}")
            bank.open_account(
                accounts[-1], owner, currency=currency, initial_balance=Decimal("100.00"), metadata=on(DAYS[0])
            )
    return accounts


def use_accounts(bank: Bank, accounts: list[str], seed: int) -> Counter[str]:
    """Deposit, withdraw and correct as people do; return how often."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    done: Counter[str] = Counter()
    for _ in range(TRANSACTIONS):
        account_id = chance.choice(accounts)
        amount = Decimal(chance.randrange(1, 20_000)) / 100
        when = on(chance.choice(DAYS))
        try:
            if chance.random() < 0.6:  # noqa: PLR2004
                executed = bank.deposit(account_id, amount, metadata=when)
                done["deposits"] += 1
                if chance.random() < 0.1:  # noqa: PLR2004
                    bank.correct(account_id, executed.version, amount + 1, "a digit was misread")
                    done["corrections"] += 1
            else:
                bank.withdraw(account_id, amount, metadata=when)
                done["withdrawals"] += 1
        except InsufficientFunds:
            done["refusals"] += 1
    return done


def wait_until_up_to_date(store: SQLiteEventStore, runner: ProjectionRunner) -> None:
    """Wait until the views have all that is in the store now."""
    runner.wait_for(store.head() or 0)


def show_owners(views: ViewStore) -> None:
    """Show what everybody has."""
    table = Table("owner", "currency", "accounts", "balance", title="owner_totals")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in owner_totals(views):
        table.add_row(row.owner, row.currency, str(row.accounts), f"{row.balance:,}")
    console.print(table)


def show_days(views: ViewStore) -> None:
    """Show what every day brought."""
    table = Table("day", "currency", "opened", "deposited", "withdrawn", "corrected", "net", title="day_totals")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in day_totals(views):
        amounts = (row.opened, row.deposited, row.withdrawn, row.corrected, row.net)
        table.add_row(row.day.isoformat(), row.currency, *(f"{amount:,.2f}" for amount in amounts))
    console.print(table)


def check(store: SQLiteEventStore, account_ids: Collection[str]) -> None:
    """Add up the accounts, and compare; ends the program when anything differs."""
    replay = Repository(store, BankAccount, snapshots=NoSnapshots(), cache=0)
    accounts = [replay.load(account_id).state for account_id in account_ids]
    table = Table("currency", "accounts themselves", "by owner", "by day", "agree")
    for column in table.columns[1:4]:
        column.justify = "right"
    agree = True
    for currency in sorted({account.currency for account in accounts}):
        sums = (
            sum((account.balance for account in accounts if account.currency == currency), Decimal(0)),
            sum((row.balance for row in owner_totals(store) if row.currency == currency), Decimal(0)),
            sum((row.net for row in day_totals(store) if row.currency == currency), Decimal(0)),
        )
        agree &= len(set(sums)) == 1
        table.add_row(currency, *(f"{one:,}" for one in sums), "yes" if len(set(sums)) == 1 else "NO")
    console.print(table)
    if not agree:
        sys.exit("The views differ from the accounts.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        file = Path(sys.argv[1])
        if file.exists():
            sys.exit(f"{file} is there already; name a new file, because the demo begins with an empty one")
        main(file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "bank.db")
