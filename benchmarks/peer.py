"""The ``eventsourcing`` package, as its documentation shows it, on SQLite."""

from decimal import Decimal
from pathlib import Path

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

NAME = "eventsourcing"


class Account(Aggregate):
    """An account with one rule less than ours."""

    @event("Opened")
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.balance = Decimal(0)

    @event("Deposited")
    def deposit(self, amount: Decimal, by: str) -> None:  # noqa: ARG002 - it is stored
        """Put money in."""
        self.balance += amount


class Bank(Application):
    """Takes a snapshot every 50 events, as ours does."""

    snapshotting_intervals = {Account: 50}  # noqa: RUF012 - as documented


class Contender:
    """One account in one file."""

    def __init__(self, folder: Path) -> None:
        """Open the account."""
        self._bank = Bank(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "peer.db")})
        account = Account("Alice")
        self._bank.save(account)
        self._id = account.id

    def commands(self, count: int) -> None:
        """Load, deposit and save, each before the next."""
        for _ in range(count):
            account = self._bank.repository.get(self._id)
            account.deposit(Decimal("1.01"), "robot")
            self._bank.save(account)

    def fill(self, count: int) -> None:
        """Deposit, and save once."""
        account = self._bank.repository.get(self._id)
        for _ in range(count):
            account.deposit(Decimal("1.01"), "robot")
        self._bank.save(account)

    def replay(self) -> None:
        """Load the account from its first event."""
        events = self._bank.events.get(self._id)
        account = None
        for one in events:
            account = one.mutate(account)

    def read_log(self) -> None:
        """Read and decode all events."""
        start: int | None = 1
        while start is not None:
            page = self._bank.recorder.select_notifications(start, limit=1000)
            for notification in page:
                self._bank.mapper.to_domain_event(notification)
            start = page[-1].id + 1 if page else None

    def close(self) -> None:
        """Close the file."""
        self._bank.close()
