"""Import real bank transactions as commands, and check every balance against the bank's own.

    python examples/import_transactions.py CSV DATABASE

Each row becomes a command on its account, under the row's transaction id. So the import can be killed at any moment and
run again: what was stored is recognised, and nothing is stored twice. The columns are those of the file's first line:
transaction_id, account_id, date, kind (deposit or withdrawal), amount, balance_after.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from pathlib import Path

from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from esbank import EsbankError, EveryNEvents, Metadata, ProjectionRunner, Repository
from esbank.backends.urls import Store, open_store
from esbank.bank import (
    AccountCommand,
    AccountDetails,
    AccountDetailsQuery,
    BankAccount,
    BankError,
    Deposit,
    OpenAccount,
    TransactionHistory,
    Withdraw,
)

CURRENCY = "CZK"
COMMANDS = {"deposit": Deposit, "withdrawal": Withdraw}
COLUMNS = {"transaction_id", "account_id", "date", "kind", "amount", "balance_after"}


@frozen
class Row:
    """A transaction as the bank booked it."""

    line: int
    transaction_id: str
    account_id: str
    occurred_at: datetime
    command: AccountCommand
    balance_after: Decimal


class ImportFailed(Exception):
    """The import cannot go on; what was imported so far is stored."""


def main() -> None:
    """Import a file and report."""
    parser = argparse.ArgumentParser(description="Import bank transactions as commands.")
    parser.add_argument("csv", type=Path, help="the transactions")
    parser.add_argument("database", help="the SQLite file or the postgresql:// URL to import into, made when missing")
    parser.add_argument(
        "--overdraft-limit",
        type=Decimal,
        default=Decimal(10_000),
        help="how far below zero any account may go; the source does not say (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        started = time.perf_counter()
        rows = list(read_rows(arguments.csv))
        with open_store(arguments.database) as store:
            import_rows(store, rows, arguments.overdraft_limit)
            report(store, rows, time.perf_counter() - started)
    except (ImportFailed, EsbankError, OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; run the same command again to go on.")


def read_rows(path: Path) -> Iterator[Row]:
    """Read the transactions, and name the line of one that makes no sense."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = COLUMNS - set(reader.fieldnames or ())
        if missing:
            raise ImportFailed(f"{path} lacks the columns {', '.join(sorted(missing))}")
        for values in reader:
            try:
                yield Row(
                    reader.line_num,
                    values["transaction_id"],
                    values["account_id"],
                    datetime.fromisoformat(values["date"]).replace(tzinfo=UTC),
                    COMMANDS[values["kind"]](Decimal(values["amount"])),
                    Decimal(values["balance_after"]),
                )
            except (BankError, DecimalException, KeyError, TypeError, ValueError) as error:
                raise ImportFailed(f"{path}, line {reader.line_num}: {error!r}") from error


def import_rows(store: Store, rows: list[Row], overdraft_limit: Decimal) -> None:
    """Execute each row as a command; the first of an account also opens it, in the same append."""
    accounts = Repository(store, BankAccount, snapshots=EveryNEvents(50), cache=10_000)
    seen: set[str] = set()
    with progress() as bar:
        for row in bar.track(rows, description="Importing"):
            commands = [row.command]
            if row.account_id not in seen:
                seen.add(row.account_id)
                commands.insert(0, OpenAccount(row.account_id, CURRENCY, overdraft_limit=overdraft_limit))
            try:
                executed = accounts.execute(
                    row.account_id,
                    *commands,
                    metadata=Metadata(occurred_at=row.occurred_at),
                    command_id=row.transaction_id,
                )
            except BankError as error:
                raise ImportFailed(f"line {row.line}, transaction {row.transaction_id}: {error}") from error
            if executed.state.balance != row.balance_after:
                raise ImportFailed(
                    f"line {row.line}, transaction {row.transaction_id}: "
                    f"the balance is {executed.state.balance}, the bank says {row.balance_after}"
                )


def report(store: Store, rows: list[Row], seconds: float) -> None:
    """Bring the read models up to date, and print what they say."""
    started = time.perf_counter()
    runner = ProjectionRunner(store, [AccountDetails(), TransactionHistory()])
    runner.catch_up()
    projected = time.perf_counter() - started
    accounts = list(AccountDetailsQuery(store).all())
    deposits = sum(account.deposit_count for account in accounts)
    withdrawals = sum(account.withdrawal_count for account in accounts)
    console = Console(highlight=False)
    console.print(f"{len(rows):,} rows, every balance as the bank has it, in {seconds:,.1f} s")
    console.print(f"read models up to date in {projected:,.1f} s; they say:")
    console.print(f"  accounts     {len(accounts):>15,}")
    console.print(f"  deposits     {deposits:>15,}   {sum(a.deposit_total for a in accounts):>18,}")
    console.print(f"  withdrawals  {withdrawals:>15,}   {sum(a.withdrawal_total for a in accounts):>18,}")
    console.print(f"  below zero   {sum(a.balance < 0 for a in accounts):>15,}")
    console.print(f"  balances     {'':>15}   {sum(a.balance for a in accounts):>18,}")


def progress() -> Progress:
    """Make a progress bar that also tells the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


if __name__ == "__main__":
    main()
