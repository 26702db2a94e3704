"""The ``python-event-sourcery`` package: pydantic events, and its repository in a SQLAlchemy session on SQLite.

A commit is durable: SQLAlchemy leaves SQLite at its defaults, a rollback journal and ``synchronous=FULL``. Each command
has a session of its own, as each request has in its documentation; one that lives on would load all events of a stream
again at each append. It has no cache of aggregates.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from event_sourcery import Event, StreamId, StreamUUID
from event_sourcery.backend import InMemoryBackend
from event_sourcery.event import WrappedEvent
from event_sourcery.event_sourcing import Aggregate, Repository
from event_sourcery_sqlalchemy import SQLAlchemyBackend, configure_models
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks.contender import (
    ACCOUNTS,
    AMOUNT,
    BATCH,
    BY,
    LOG_ACCOUNTS,
    PAID_AT,
    PAYMENT,
    SNAPSHOT_EVERY,
    TAIL,
    Contender,
    Work,
    account,
    accounts_of_batches,
    in_threads,
    in_turn,
)

PAGE = 1000
LEDGER = StreamUUID(name="ledger")


class Base(DeclarativeBase):
    """What the tables are declared with."""


configure_models(Base)


class Opened(Event):
    """An account was opened."""

    owner: str


class Deposited(Event):
    """Money was put in."""

    amount: Decimal
    by: str


class AccountSnapshot(Event):
    """What an account was."""

    owner: str
    balance: Decimal


class Account(Aggregate):
    """An account without a rule."""

    category: ClassVar[str] = "account"

    def __init__(self) -> None:
        self.owner = ""
        self.balance = Decimal(0)

    def open(self, owner: str) -> None:
        """Open it."""
        self._emit(Opened(owner=owner))

    def deposit(self, amount: Decimal, by: str) -> None:
        """Put money in."""
        self._emit(Deposited(amount=amount, by=by))

    def __apply__(self, event: Event) -> None:
        match event:
            case Opened():
                self.owner = event.owner
            case Deposited():
                self.balance += event.amount
            case AccountSnapshot():
                self.owner = event.owner
                self.balance = event.balance


class Paid(Event):
    """Somebody was paid."""

    payment: UUID
    amount: Decimal
    at: datetime
    by: str


class Ledger(Aggregate):
    """All that was paid."""

    category: ClassVar[str] = "ledger"

    def __init__(self) -> None:
        self.total = Decimal(0)
        self.last: datetime | None = None

    def pay(self, payment: UUID, amount: Decimal, at: datetime, by: str) -> None:
        """Pay somebody."""
        self._emit(Paid(payment=payment, amount=amount, at=at, by=by))

    def __apply__(self, event: Event) -> None:
        self.total += event.amount
        self.last = event.at


class EventSourcery(Contender):
    """Accounts in a SQLite file, or in memory."""

    title = "event-sourcery"
    imports = "import event_sourcery.event_sourcing, event_sourcery_sqlalchemy, sqlalchemy.orm"
    distributions = ("python-event-sourcery", "sqlalchemy")

    def __init__(self, folder: Path) -> None:
        """Make the tables in `folder`, if there are none."""
        super().__init__(folder)
        self._engine = create_engine(f"sqlite:///{folder / 'event_sourcery.db'}")
        self.opened.callback(self._engine.dispose)
        Base.metadata.create_all(bind=self._engine)

    def command(self, count: int) -> Work:
        """Load, deposit and save."""
        self._open_accounts(ACCOUNTS)

        def work() -> None:
            for key in in_turn(count, ACCOUNTS):
                self._deposit(key)

        return work

    def memory_command(self, count: int) -> Work:
        """Load, deposit and save, in memory."""
        repository = Repository(InMemoryBackend().configure().event_store)
        for key in in_turn(ACCOUNTS, ACCOUNTS):
            change(repository, key, lambda one: one.open("Alice"))

        def work() -> None:
            for key in in_turn(count, ACCOUNTS):
                change(repository, key, deposit)

        return work

    def threads(self, count: int, threads: int) -> Work:
        """Append one event at a time, in several threads, each to a stream of its own."""
        self._open_accounts(1)

        def append(number: int) -> None:
            stream = StreamId(name=f"of thread {number}", category="account")
            for version in range(count // threads):
                with self._session() as backend:
                    backend.event_store.append(
                        Deposited(amount=AMOUNT, by=BY), stream_id=stream, expected_version=version
                    )

        return in_threads(threads, append)

    def batches(self, count: int) -> Work:
        """Load, deposit many times, and save, one account after the other."""
        keys = accounts_of_batches(count)
        self._open_accounts(len(keys))

        def work() -> None:
            for key in keys:
                self._deposit(key, BATCH)

        return work

    def deposits(self, count: int) -> Work:
        """Deposit again and again on one account, with snapshots."""
        self._open_accounts(1)

        def work() -> None:
            for number in range(2, count + 2):
                self._deposit(account(0))
                if number % SNAPSHOT_EVERY == 0:
                    self._take_snapshot(account(0))

        return work

    def fill_stream(self, count: int) -> None:
        """Write one long stream."""
        self._open_accounts(1)
        self._deposit(account(0), count)

    def replay(self, _count: int) -> Work:
        """Load it."""
        return lambda: self._load(account(0))

    def memory_replay(self, count: int) -> Work:
        """Load one that is in memory."""
        repository = Repository(InMemoryBackend().configure().event_store)
        change(repository, account(0), lambda one: one.open("Alice"))
        change(repository, account(0), lambda one: deposit(one, count))
        return lambda: change(repository, account(0), lambda one: None)  # noqa: ARG005 - it only loads

    def fill_rich_stream(self, count: int) -> None:
        """Write one long stream of events with more kinds of values."""
        with self._session() as backend, Repository(backend.event_store).aggregate(LEDGER, Ledger()) as wrapped:
            for _ in range(count):
                wrapped.aggregate.pay(PAYMENT, AMOUNT, PAID_AT, BY)

    def replay_rich(self, _count: int) -> Work:
        """Load it."""

        def work() -> None:
            with self._session() as backend, Repository(backend.event_store).aggregate(LEDGER, Ledger()):
                pass

        return work

    def fill_snapshots(self, count: int) -> None:
        """Write accounts that have a snapshot, and some events after it."""
        self._open_accounts(count)
        for key in in_turn(count, count):
            self._deposit(key, SNAPSHOT_EVERY - 1)
            self._take_snapshot(key)
            self._deposit(key, TAIL)

    def load_snapshots(self, count: int) -> Work:
        """Load each of them."""

        def work() -> None:
            for key in in_turn(count, count):
                self._load(key)

        return work

    def fill_log(self, count: int) -> None:
        """Write the events of many accounts."""
        self._open_accounts(LOG_ACCOUNTS)
        for key in in_turn(count // 10, LOG_ACCOUNTS):
            self._deposit(key, 10)

    def read_log(self, count: int) -> Work:
        """Read as many events in pages, and fold each account's; it waits at the end for more, so stop before."""

        def work() -> None:
            accounts: defaultdict[StreamId, Account] = defaultdict(Account)
            with self._session() as backend:
                pages = backend.subscriber.start_from(0).build_batch(min(PAGE, count), timelimit=1)
                read = 0
                while read < count:
                    for recorded in next(pages):
                        accounts[recorded.stream_id].__apply__(recorded.wrapped_event.event)
                        read += 1

        return work

    @contextmanager
    def _session(self) -> Iterator[SQLAlchemyBackend]:
        with Session(self._engine) as session:
            yield SQLAlchemyBackend().configure(session)
            session.commit()

    def _open_accounts(self, number: int) -> None:
        for key in in_turn(number, number):
            with self._session() as backend:
                change(Repository(backend.event_store), key, lambda one: one.open("Alice"))

    def _deposit(self, key: str, times: int = 1) -> None:
        with self._session() as backend:
            change(Repository(backend.event_store), key, lambda one: deposit(one, times))

    def _load(self, key: str) -> None:
        with self._session() as backend, Repository(backend.event_store).aggregate(StreamUUID(name=key), Account()):
            pass

    def _take_snapshot(self, key: str) -> None:
        with (
            self._session() as backend,
            Repository(backend.event_store).aggregate(StreamUUID(name=key), Account()) as wrapped,
        ):
            snapshot = AccountSnapshot(owner=wrapped.aggregate.owner, balance=wrapped.aggregate.balance)
            backend.event_store.save_snapshot(wrapped.stream_id, WrappedEvent.wrap(snapshot, wrapped.version))


def deposit(one: Account, times: int = 1) -> None:
    """Deposit."""
    for _ in range(times):
        one.deposit(AMOUNT, BY)


def change(repository: Repository[Account], key: str, what: Callable[[Account], object]) -> None:
    """Load an account, do something with it, and save what came of it."""
    with repository.aggregate(StreamUUID(name=key), Account()) as wrapped:
        what(wrapped.aggregate)
