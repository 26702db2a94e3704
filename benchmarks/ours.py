"""The bank, as an application uses it."""

from decimal import Decimal
from pathlib import Path

from esbank import EventCodec, EventRegistry, EveryNEvents, Repository
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount, Deposit, OpenAccount

NAME = "esbank"


class Contender:
    """One account in one file."""

    def __init__(self, folder: Path) -> None:
        """Open the account."""
        self._store = SQLiteEventStore(folder / "esbank.db")
        self._accounts = Repository(self._store, BankAccount, snapshots=EveryNEvents(50))
        self._accounts.execute("1", OpenAccount("Alice"))

    def commands(self, count: int) -> None:
        """Deposit, each durable before the next."""
        for _ in range(count):
            self._accounts.execute("1", Deposit(Decimal("1.01"), "robot"))

    def fill(self, count: int) -> None:
        """Deposit, all in one append."""
        self._accounts.execute("1", *[Deposit(Decimal("1.01"), "robot")] * count)

    def replay(self) -> None:
        """Load the account from its first event."""
        Repository(self._store, BankAccount).load("1")

    def read_log(self) -> None:
        """Read and decode all events."""
        codec = EventCodec(EventRegistry(BankAccount))
        for stored in self._store.read_all():
            codec.decode(stored)

    def close(self) -> None:
        """Close the file."""
        self._store.close()
