"""The ``eventsource-py`` package: an ``AggregateRoot`` with a pydantic state, and a repository on SQLite.

It is asynchronous. A commit is durable: it sets ``journal_mode=WAL`` and leaves ``synchronous`` at SQLite's default,
which is FULL. A store has one connection, so for several writers there are as many tasks, and not threads. It has no
cache of aggregates. Its store in memory keeps events as the objects they are.
"""

import asyncio
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsource import (
    AggregateRepository,
    AggregateRoot,
    DomainEvent,
    FeedReadOptions,
    InMemoryEventStore,
    SQLiteEventStore,
    register_event,
)
from eventsource.adapters.sqlite import SQLiteSnapshotStore
from pydantic import BaseModel

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
    in_turn,
)

PAGE = 1000
LEDGER = uuid5(NAMESPACE_URL, "/ledger")


@register_event
class Opened(DomainEvent):
    """An account was opened."""

    aggregate_type: str = "Account"
    owner: str


@register_event
class Deposited(DomainEvent):
    """Money was put in."""

    aggregate_type: str = "Account"
    amount: Decimal
    by: str


class AccountState(BaseModel):
    """What an account is."""

    owner: str = ""
    balance: Decimal = Decimal(0)


class Account(AggregateRoot[AccountState]):
    """An account without a rule."""

    aggregate_type = "Account"

    def open(self, owner: str) -> None:
        """Open it."""
        self.apply_event(Opened(aggregate_id=self.aggregate_id, aggregate_version=self.get_next_version(), owner=owner))

    def deposit(self, amount: Decimal, by: str) -> None:
        """Put money in."""
        self.apply_event(
            Deposited(aggregate_id=self.aggregate_id, aggregate_version=self.get_next_version(), amount=amount, by=by)
        )

    def _get_initial_state(self) -> AccountState:
        return AccountState()

    def _apply(self, event: DomainEvent) -> None:
        match event:
            case Opened():
                self._state = AccountState(owner=event.owner)
            case Deposited():
                self._state = self._state.model_copy(update={"balance": self._state.balance + event.amount})


@register_event
class Paid(DomainEvent):
    """Somebody was paid."""

    aggregate_type: str = "Ledger"
    payment: UUID
    amount: Decimal
    at: datetime
    by: str


class LedgerState(BaseModel):
    """What was paid."""

    total: Decimal = Decimal(0)
    last: datetime | None = None


class Ledger(AggregateRoot[LedgerState]):
    """All that was paid."""

    aggregate_type = "Ledger"

    def pay(self, payment: UUID, amount: Decimal, at: datetime, by: str) -> None:
        """Pay somebody."""
        self.apply_event(
            Paid(
                aggregate_id=self.aggregate_id,
                aggregate_version=self.get_next_version(),
                payment=payment,
                amount=amount,
                at=at,
                by=by,
            )
        )

    def _get_initial_state(self) -> LedgerState:
        return LedgerState()

    def _apply(self, event: DomainEvent) -> None:
        if self._state is None:
            self._state = self._get_initial_state()
        self._state = self._state.model_copy(update={"total": self._state.total + event.amount, "last": event.at})


Accounts = AggregateRepository[Account]


class EventsourcePy(Contender):
    """Accounts in a SQLite file, or in memory."""

    title = "eventsource-py"
    imports = "import eventsource.adapters.sqlite; from eventsource import AggregateRepository, AggregateRoot"
    distributions = ("eventsource-py", "aiosqlite")

    def __init__(self, folder: Path) -> None:
        """Use the files in `folder`, and one loop."""
        super().__init__(folder)
        self._wait = self.opened.enter_context(asyncio.Runner()).run

    def command(self, count: int) -> Work:
        """Load, deposit and save."""
        return self._commands(self._accounts(), count)

    def memory_command(self, count: int) -> Work:
        """Load, deposit and save, in memory."""
        return self._commands(AggregateRepository(InMemoryEventStore(), Account), count)

    def threads(self, count: int, threads: int) -> Work:
        """Save one event at a time, in several tasks, each of an account of its own."""
        repository = self._accounts()
        self._wait(open_accounts(repository, threads))

        async def append(number: int) -> None:
            loaded = await repository.load(id_of(account(number)))
            for _ in range(count // threads):
                loaded.deposit(AMOUNT, BY)
                await repository.save(loaded)

        async def all_of_them() -> None:
            await asyncio.gather(*map(append, range(threads)))

        return lambda: self._wait(all_of_them())

    def batches(self, count: int) -> Work:
        """Load, deposit many times, and save, one account after the other."""
        keys = accounts_of_batches(count)
        repository = self._accounts()
        self._wait(open_accounts(repository, len(keys)))

        async def work() -> None:
            for key in keys:
                await deposit(repository, key, BATCH)

        return lambda: self._wait(work())

    def deposits(self, count: int) -> Work:
        """Deposit again and again on one account, with snapshots."""
        repository = self._accounts_with_snapshots()
        self._wait(open_accounts(repository, 1))

        async def work() -> None:
            for _ in range(count):
                await deposit(repository, account(0))

        return lambda: self._wait(work())

    def fill_stream(self, count: int) -> None:
        """Write one long stream."""
        self._fill(self._accounts(), count)

    def replay(self, _count: int) -> Work:
        """Load it."""
        return self._replay(self._accounts())

    def memory_replay(self, count: int) -> Work:
        """Load one that is in memory."""
        repository = AggregateRepository(InMemoryEventStore(), Account)
        self._fill(repository, count)
        return self._replay(repository)

    def fill_rich_stream(self, count: int) -> None:
        """Write one long stream of events with more kinds of values."""
        ledger = Ledger(LEDGER)
        for _ in range(count):
            ledger.pay(PAYMENT, AMOUNT, PAID_AT, BY)
        self._wait(AggregateRepository(self._open(), Ledger).save(ledger))

    def replay_rich(self, _count: int) -> Work:
        """Load it."""
        repository = AggregateRepository(self._open(), Ledger)
        return lambda: self._wait(repository.load(LEDGER))

    def fill_snapshots(self, count: int) -> None:
        """Write accounts that have a snapshot, and some events after it."""
        repository = self._accounts_with_snapshots()

        async def fill() -> None:
            await open_accounts(repository, count)
            for key in in_turn(count, count):
                await deposit(repository, key, SNAPSHOT_EVERY - 1)
                await deposit(repository, key, TAIL)

        self._wait(fill())

    def load_snapshots(self, count: int) -> Work:
        """Load each of them."""
        repository = self._accounts_with_snapshots()

        async def work() -> None:
            for key in in_turn(count, count):
                await repository.load(id_of(key))

        return lambda: self._wait(work())

    def fill_log(self, count: int) -> None:
        """Write the events of many accounts."""
        repository = self._accounts()

        async def fill() -> None:
            await open_accounts(repository, LOG_ACCOUNTS)
            for key in in_turn(count // 10, LOG_ACCOUNTS):
                await deposit(repository, key, 10)

        self._wait(fill())

    def read_log(self, _count: int) -> Work:
        """Read all of it in pages, and fold each account's."""
        store = self._open()

        async def work() -> None:
            accounts = AccountsById()
            position, is_more = None, True
            while is_more:
                is_more = False
                async for envelope in store.read_all(position, FeedReadOptions(limit=PAGE)):
                    accounts[envelope.event.aggregate_id].apply_event(envelope.event, is_new=False)
                    position, is_more = envelope.position, True

        return lambda: self._wait(work())

    def _open(self) -> SQLiteEventStore:
        store = SQLiteEventStore(str(self.folder / "eventsource.db"))
        self.opened.callback(lambda: self._wait(store.close()))
        return store

    def _accounts(self) -> Accounts:
        return AggregateRepository(self._open(), Account)

    def _accounts_with_snapshots(self) -> Accounts:
        store = self._open()
        self._wait(store.current_position())  # makes the tables
        snapshots = SQLiteSnapshotStore(str(self.folder / "eventsource.db"))
        return AggregateRepository(store, Account, snapshot_store=snapshots, snapshot_threshold=SNAPSHOT_EVERY)

    def _commands(self, repository: Accounts, count: int) -> Work:
        self._wait(open_accounts(repository, ACCOUNTS))

        async def work() -> None:
            for key in in_turn(count, ACCOUNTS):
                await deposit(repository, key)

        return lambda: self._wait(work())

    def _fill(self, repository: Accounts, count: int) -> None:
        self._wait(open_accounts(repository, 1))
        self._wait(deposit(repository, account(0), count))

    def _replay(self, repository: Accounts) -> Work:
        return lambda: self._wait(repository.load(id_of(account(0))))


class AccountsById(dict[UUID, Account]):
    """Accounts, made when they are first asked for."""

    def __missing__(self, key: UUID) -> Account:
        self[key] = Account(key)
        return self[key]


def id_of(key: str) -> UUID:
    """Make the id of the account that has this key."""
    return uuid5(NAMESPACE_URL, f"/accounts/{key}")


async def open_accounts(repository: Accounts, number: int) -> None:
    """Open so many accounts."""
    for key in in_turn(number, number):
        opened = repository.create_new(id_of(key))
        opened.open("Alice")
        await repository.save(opened)


async def deposit(repository: Accounts, key: str, times: int = 1) -> None:
    """Load, deposit and save."""
    loaded = await repository.load(id_of(key))
    for _ in range(times):
        loaded.deposit(AMOUNT, BY)
    await repository.save(loaded)
