"""esbank on PostgreSQL: the store as it is, and the bank on it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import ClassVar, Self

from attrs import frozen

from esbank import (
    EventCodec,
    EventEnvelope,
    EventRegistry,
    EveryNEvents,
    ProjectionRunner,
    Projector,
    Repository,
    projects,
)
from esbank.backends.postgres import PostgresEventStore
from esbank.bank import BankAccount, Deposit, OpenAccount
from esbank.store import NewEvent, StreamId, Transaction

NAME = "esbank"

DATA = '{"amount":"1.01","balance_after":"1001.01","by":"robot"}'


@frozen
class Moved:
    """Money came in or went out."""

    amount: str
    balance_after: str
    by: str


class Moves(Projector):
    """A table with one row for each movement."""

    tables: ClassVar[Mapping[str, str]] = {"moves": "(position bigint PRIMARY KEY, amount text NOT NULL)"}

    @projects(Moved)
    def _moved(self, envelope: EventEnvelope[Moved], tx: Transaction) -> None:
        values = {"position": envelope.position, "amount": envelope.event.amount}
        tx.execute("INSERT INTO {moves} VALUES (:position, :amount)", values)


class Contender:
    """One store."""

    def __init__(
        self, dsn: str, place: str, *, create: bool = True, digests: bool = True, notify: bool = False
    ) -> None:
        """Make it."""
        self._store = PostgresEventStore(dsn, schema=place, create=create, digests=digests, notify=notify)

    @classmethod
    def open(cls, dsn: str, place: str) -> Self:
        """Use one that is there."""
        return cls(dsn, place, create=False)

    @contextmanager
    def appends(self, stream: str, times: int, size: int) -> Iterator[Callable[[int], None]]:
        """Make events ready; yield what appends as many times as it is told."""
        name = StreamId("BankAccount", stream)
        ready = enumerate([[NewEvent("Moved", DATA) for _ in range(size)] for _ in range(times)])

        def append(count: int) -> None:
            for _ in range(count):
                number, events = next(ready)
                self._store.append(name, events, expected_version=number * size)

        yield append

    def commands(self, account: str, count: int) -> Callable[[], None]:
        """Open an account; return what deposits, each durable before the next."""
        accounts = Repository(self._store, BankAccount, snapshots=EveryNEvents(50))
        accounts.execute(account, OpenAccount("Alice"))

        def deposit() -> None:
            for _ in range(count):
                accounts.execute(account, Deposit(Decimal("1.01"), "robot"))

        return deposit

    def fill(self, streams: int, size: int) -> None:
        """Fill a log."""
        for number in range(streams):
            with self.appends(str(number), 1, size) as append:
                append(1)

    def read_log(self) -> None:
        """Read and decode all events."""
        codec = EventCodec(EventRegistry(Moved))
        for stored in self._store.read_all():
            codec.decode(stored)

    def catch_up(self, dsn: str, views: str) -> None:
        """Make a view of the log."""
        with PostgresEventStore(dsn, schema=views) as beside:
            ProjectionRunner(self._store, [Moves()], views=beside).catch_up()

    def close(self) -> None:
        """Close it."""
        self._store.close()
