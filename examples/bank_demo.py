"""A bank account from its first event to a rebuilt read model, on one SQLite file.

Run it with ``make demo``, or ``python examples/bank_demo.py [FILE]`` to keep the file and look into it.
"""

import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esbank import NoSnapshots, Repository
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank, BankAccount, InsufficientFunds

console = Console(width=110, highlight=False)


@contextmanager
def step(title: str) -> Generator[None]:
    """Print what a step is about, and how long it took."""
    console.print(f"\n[bold]{title}[/bold]")
    started = time.perf_counter()
    yield
    console.print(f"[dim]{(time.perf_counter() - started) * 1000:,.1f} ms[/dim]", justify="right")


def main(path: Path) -> None:
    """Walk through what a bank does."""
    with SQLiteEventStore(path) as store:
        bank = Bank(store)

        with step("1. Alice opens an account with 1000, deposits 500 and withdraws 200"):
            bank.open_account("acc-001", "Alice", initial_balance=1000)
            bank.deposit("acc-001", Decimal(500), by="alice")
            executed = bank.withdraw("acc-001", Decimal(200), by="alice")
            console.print(f"balance {executed.state.balance}, version {executed.version}")
            before_the_rest = datetime.now(UTC)

        with step("2. Two read models, made from the events, kept as SQL tables in the same file"):
            show_account(bank)
            show_transactions(bank)

        with step("3. What is stored: three events, which nobody can change"):
            show_events(bank)

        with step("4. A withdrawal of 5000 is refused, and leaves no trace"):
            try:
                bank.withdraw("acc-001", Decimal(5000))
            except InsufficientFunds as refusal:
                console.print(f"InsufficientFunds: {refusal}")
            console.print(f"version {bank.accounts.load('acc-001').version}")

        with step("5. 1,000 deposits, each durable on disk before the next, with a snapshot every 50 events"):
            for _ in range(1000):
                bank.deposit("acc-001", Decimal("1.01"), by="robot")
            console.print(f"balance {bank.accounts.load('acc-001').state.balance}")

        with step("6. The latest snapshot and the events since give the same account as all 1,003 events"):
            quick = Bank(store).accounts.load("acc-001")
            full = Repository(store, BankAccount, snapshots=NoSnapshots()).load("acc-001")
            snapshot = store.load_snapshot(BankAccount.stream("acc-001"))
            console.print(f"snapshot of version {snapshot.version if snapshot else 0}, same account: {quick == full}")

        with step("7. What was the balance before those deposits?"):
            console.print(f"at {before_the_rest:%H:%M:%S.%f}: {bank.balance_at('acc-001', before_the_rest)}")
            console.print(f"at version 2: {bank.accounts.load('acc-001', version=2).state.balance}")

        with step("8. The read models are made anew from the events"):
            bank.projections.rebuild()
            show_account(bank)


def show_account(bank: Bank) -> None:
    """Show a row of the first read model."""
    row = bank.account("acc-001")
    table = Table("account", "owner", "status", "balance", "deposits", "withdrawals", title="account_details")
    table.add_row(
        row.account_id,
        row.owner,
        row.status,
        f"{row.balance} {row.currency}",
        f"{row.deposit_count} of {row.deposit_total}",
        f"{row.withdrawal_count} of {row.withdrawal_total}",
    )
    console.print(table)


def show_transactions(bank: Bank) -> None:
    """Show the rows of the second one."""
    table = Table("version", "kind", "amount", "balance after", "by", title="transaction_history")
    for row in bank.transactions("acc-001"):
        table.add_row(str(row.version), row.kind, str(row.amount), str(row.balance_after), row.made_by)
    console.print(table)


def show_events(bank: Bank) -> None:
    """Show the events as the store holds them."""
    table = Table("position", "stream", "version", "type")
    table.add_column("data", overflow="fold")
    for envelope in bank.history("acc-001"):
        stored = envelope.stored
        table.add_row(str(stored.position), str(stored.stream), str(stored.version), stored.type, stored.data)
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        file = Path(sys.argv[1])
        if file.exists():
            sys.exit(f"{file} is there already; name a new file, because the demo begins with an empty one")
        main(file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "bank.db")
