"""The account that the benchmark on PostgreSQL keeps with the ``eventsourcing`` package, as its documentation shows."""

from decimal import Decimal

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


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
