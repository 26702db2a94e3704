"""The ``aett`` package: pydantic events in commits, its default repository, and its stores on SQLite.

A commit is durable: each opens a connection of its own and leaves SQLite at its defaults, a rollback journal and
``synchronous=FULL``. It has no cache of aggregates. Its store in memory keeps events as the objects they
are, and is replayed only: it keeps one stream of a tenant, and forgets it when another one is asked for.
"""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from aett.domain import Aggregate, DefaultAggregateRepository
from aett.eventstore import Commit, DomainEvent, EventMessage, Memento, Topic, TopicMap
from aett.storage.synchronous import inmemory, sqlite
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
    in_threads,
    in_turn,
)

TENANT = "bank"


@Topic("opened")
class Opened(DomainEvent):
    """An account was opened."""

    owner: str


@Topic("deposited")
class Deposited(DomainEvent):
    """Money was put in."""

    amount: Decimal
    by: str


class AccountState(BaseModel):
    """What an account is."""

    owner: str = ""
    balance: Decimal = Decimal(0)


class AccountMemento(Memento[AccountState]):
    """A snapshot of an account."""


class Account(Aggregate[AccountMemento]):
    """An account without a rule."""

    def __init__(self, stream_id: str, commit_sequence: int, memento: AccountMemento | None = None) -> None:
        self.state = AccountState()
        super().__init__(stream_id, commit_sequence, memento)

    def apply_memento(self, memento: AccountMemento) -> None:
        """Begin with what a snapshot says."""
        self.state = memento.payload

    def get_memento(self) -> AccountMemento:
        """Make a snapshot."""
        return AccountMemento(id=self.id, version=self.version, payload=self.state)

    def open(self, owner: str) -> None:
        """Open it."""
        self.raise_event(Opened(source=self.id, timestamp=datetime.now(UTC), version=self.version, owner=owner))

    def deposit(self, amount: Decimal, by: str) -> None:
        """Put money in."""
        self.raise_event(
            Deposited(source=self.id, timestamp=datetime.now(UTC), version=self.version, amount=amount, by=by)
        )

    def _apply(self, event: DomainEvent) -> None:
        match event:
            case Opened():
                self.state.owner = event.owner
            case Deposited():
                self.state.balance += event.amount


@Topic("paid")
class Paid(DomainEvent):
    """Somebody was paid."""

    payment: UUID
    amount: Decimal
    at: datetime
    by: str


class LedgerMemento(Memento[Decimal]):
    """A snapshot of what was paid."""


class Ledger(Aggregate[LedgerMemento]):
    """All that was paid."""

    def __init__(self, stream_id: str, commit_sequence: int, memento: LedgerMemento | None = None) -> None:
        self.total = Decimal(0)
        self.last: datetime | None = None
        super().__init__(stream_id, commit_sequence, memento)

    def apply_memento(self, memento: LedgerMemento) -> None:
        """Begin with what a snapshot says."""
        self.total = memento.payload

    def get_memento(self) -> LedgerMemento:
        """Make a snapshot."""
        return LedgerMemento(id=self.id, version=self.version, payload=self.total)

    def pay(self, payment: UUID, amount: Decimal, at: datetime, by: str) -> None:
        """Pay somebody."""
        now = datetime.now(UTC)
        self.raise_event(
            Paid(source=self.id, timestamp=now, version=self.version, payment=payment, amount=amount, at=at, by=by)
        )

    def _apply(self, event: Paid) -> None:
        self.total += event.amount
        self.last = event.at


TOPICS = TopicMap().register(Opened).register(Deposited).register(Paid)


class Aett(Contender):
    """Accounts in a SQLite file, or in memory."""

    title = "aett"
    imports = "import aett.domain, aett.storage.synchronous.sqlite"
    distributions = ("aett",)

    def command(self, count: int) -> Work:
        """Load, deposit and save."""
        repository = self._open()
        open_accounts(repository, ACCOUNTS)

        def work() -> None:
            for key in in_turn(count, ACCOUNTS):
                deposit(repository, key)

        return work

    def threads(self, count: int, threads: int) -> Work:
        """Commit one event at a time, in several threads, each to a stream of its own."""
        self._open()
        commits = sqlite.CommitStore(self._path, TOPICS)

        def append(number: int) -> None:
            key = account(number)
            for version in range(1, count // threads + 1):
                commits.commit(commit_of_deposit(key, version))

        return in_threads(threads, append)

    def batches(self, count: int) -> Work:
        """Load, deposit many times, and save, one account after the other."""
        keys = accounts_of_batches(count)
        repository = self._open()
        open_accounts(repository, len(keys))

        def work() -> None:
            for key in keys:
                deposit(repository, key, BATCH)

        return work

    def deposits(self, count: int) -> Work:
        """Deposit again and again on one account, with snapshots."""
        repository = self._open()
        open_accounts(repository, 1)

        def work() -> None:
            for number in range(2, count + 2):
                deposit(repository, account(0))
                if number % SNAPSHOT_EVERY == 0:
                    repository.snapshot(Account, account(0))

        return work

    def fill_stream(self, count: int) -> None:
        """Write one long stream."""
        fill(self._open(), count)

    def replay(self, _count: int) -> Work:
        """Load it."""
        repository = self._open()
        return lambda: repository.get(Account, account(0))

    def memory_replay(self, count: int) -> Work:
        """Load one that is in memory."""
        repository = DefaultAggregateRepository(TENANT, inmemory.CommitStore(), inmemory.SnapshotStore())
        fill(repository, count)
        return lambda: repository.get(Account, account(0))

    def fill_rich_stream(self, count: int) -> None:
        """Write one long stream of events with more kinds of values."""
        repository = self._open()
        ledger = repository.get(Ledger, "main")
        for _ in range(count):
            ledger.pay(PAYMENT, AMOUNT, PAID_AT, BY)
        repository.save(ledger)

    def replay_rich(self, _count: int) -> Work:
        """Load it."""
        repository = self._open()
        return lambda: repository.get(Ledger, "main")

    def fill_snapshots(self, count: int) -> None:
        """Write accounts that have a snapshot, and some events after it."""
        repository = self._open()
        open_accounts(repository, count)
        for key in in_turn(count, count):
            deposit(repository, key, SNAPSHOT_EVERY - 1)
            repository.snapshot(Account, key)
            deposit(repository, key, TAIL)

    def load_snapshots(self, count: int) -> Work:
        """Load each of them."""
        repository = self._open()

        def work() -> None:
            for key in in_turn(count, count):
                repository.get(Account, key)

        return work

    def fill_log(self, count: int) -> None:
        """Write the events of many accounts."""
        repository = self._open()
        open_accounts(repository, LOG_ACCOUNTS)
        for key in in_turn(count // 10, LOG_ACCOUNTS):
            deposit(repository, key, 10)

    def read_log(self, _count: int) -> Work:
        """Read all of it, and fold each account's."""
        commits = sqlite.CommitStore(self._path, TOPICS)

        def work() -> None:
            accounts: dict[str, Account] = {}
            for commit in commits.get_all_to(TENANT):
                one = accounts.setdefault(commit.stream_id, Account(commit.stream_id, 0))
                for message in commit.events:
                    one.raise_event(message.body)
                one.uncommitted.clear()

        return work

    @property
    def _path(self) -> str:
        return str(self.folder / "aett.db")

    def _open(self) -> DefaultAggregateRepository:
        sqlite.PersistenceManagement(self._path, TOPICS).initialize()
        return DefaultAggregateRepository(
            TENANT, sqlite.CommitStore(self._path, TOPICS), sqlite.SnapshotStore(self._path)
        )


def commit_of_deposit(key: str, version: int) -> Commit:
    """Put one deposit into a commit."""
    now = datetime.now(UTC)
    event = Deposited(source=key, timestamp=now, version=version - 1, amount=AMOUNT, by=BY)
    return Commit(
        tenant_id=TENANT,
        stream_id=key,
        stream_revision=version,
        commit_id=uuid4(),
        commit_sequence=version,
        commit_stamp=now,
        headers={},
        events=[EventMessage(body=event, headers=None)],
        checkpoint_token=0,
    )


def open_accounts(repository: DefaultAggregateRepository, number: int) -> None:
    """Open so many accounts."""
    for key in in_turn(number, number):
        opened = repository.get(Account, key)
        opened.open("Alice")
        repository.save(opened)


def deposit(repository: DefaultAggregateRepository, key: str, times: int = 1) -> None:
    """Load, deposit and save."""
    loaded = repository.get(Account, key)
    for _ in range(times):
        loaded.deposit(AMOUNT, BY)
    repository.save(loaded)


def fill(repository: DefaultAggregateRepository, count: int) -> None:
    """Write one long stream."""
    open_accounts(repository, 1)
    deposit(repository, account(0), count)
