"""The ``eventsourcing`` package on PostgreSQL: the recorder that its applications use, and an application."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Self
from uuid import uuid4

import psycopg
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from benchmarks.contenders.eventsourcing import Account, BankWithSnapshots

NAME = "eventsourcing"

DATA = b'{"amount":"1.01","balance_after":"1001.01","by":"robot"}'


class Movements(Aggregate):
    """Events of the same form as the others'."""

    @event("Moved")
    def move(self, amount: str, balance_after: str, by: str) -> None:
        """Change nothing."""


class Contender:
    """One application, in a schema of its own."""

    def __init__(self, dsn: str, place: str, *, create: bool = True) -> None:
        """Make its tables."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(place)))
        said = conninfo_to_dict(dsn)
        environment = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(said["dbname"]),
            "POSTGRES_HOST": str(said["host"]),
            "POSTGRES_USER": str(said["user"]),
            "POSTGRES_PASSWORD": "",
            "POSTGRES_SCHEMA": place,
            "CREATE_TABLE": "yes" if create else "no",
        }
        self._application = BankWithSnapshots(env=environment)

    @classmethod
    def open(cls, dsn: str, place: str) -> Self:
        """Use one that is there."""
        return cls(dsn, place, create=False)

    @contextmanager
    def appends(self, stream: str, times: int, size: int) -> Iterator[Callable[[int], None]]:
        """Make events ready; yield what has the recorder insert as many times as it is told."""
        del stream  # it has an id instead
        recorder = self._application.recorder
        originator = uuid4()
        versions = iter(range(1, times * size + 1))
        topic = "benchmarks.postgres_peer:Movements.Moved"
        ready = iter(
            [[StoredEvent(originator, next(versions), topic, DATA) for _ in range(size)] for _ in range(times)]
        )

        def insert(count: int) -> None:
            for _ in range(count):
                recorder.insert_events(next(ready))

        yield insert

    def commands(self, name: str, count: int) -> Callable[[], None]:
        """Open an account; return what deposits, each durable before the next."""
        account = Account(name, "Alice")
        self._application.save(account)

        def deposit() -> None:
            for _ in range(count):
                loaded: Account = self._application.repository.get(account.id)
                loaded.deposit(Decimal("1.01"), "robot")
                self._application.save(loaded)

        return deposit

    def fill(self, streams: int, size: int) -> None:
        """Fill a log."""
        for _ in range(streams):
            movements = Movements()
            for _ in range(size - 1):  # beside the one that makes it
                movements.move("1.01", "1001.01", "robot")
            self._application.save(movements)

    def read_log(self) -> None:
        """Read and decode all events."""
        start: int | None = 1
        while start is not None:
            page = self._application.recorder.select_notifications(start, limit=1000)
            for notification in page:
                self._application.mapper.to_domain_event(notification)
            start = page[-1].id + 1 if page else None

    def close(self) -> None:
        """Close its connections."""
        self._application.close()
