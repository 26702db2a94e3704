"""The ``eventsourcing`` package: ``@event`` on an aggregate's methods, and an ``Application`` on SQLite.

A commit is durable: it sets ``journal_mode=WAL`` and leaves ``synchronous`` at SQLite's default, which is FULL. It goes
without assertions if Python does, so what replays also runs under ``python -O``. Its cache of aggregates is told not to
look for what other processes wrote; a conflict then shows when the aggregate is saved, as it does in esbank. Its
documentation also has examples that bring a codec of their own; this one has the codec that is in the package.
"""

from datetime import datetime
from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

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


class Account(Aggregate):
    """An account without a rule."""

    @event("Opened")
    def __init__(self, key: str, owner: str) -> None:
        self.key = key
        self.owner = owner
        self.balance = Decimal(0)

    @staticmethod
    def create_id(key: str) -> UUID:
        """Make the id of the account that has this key."""
        return uuid5(NAMESPACE_URL, f"/accounts/{key}")

    @event("Deposited")
    def deposit(self, amount: Decimal, by: str) -> None:  # noqa: ARG002 - it is stored
        """Put money in."""
        self.balance += amount


class Ledger(Aggregate):
    """All that was paid."""

    @event("Begun")
    def __init__(self) -> None:
        self.total = Decimal(0)
        self.last: datetime | None = None

    @staticmethod
    def create_id() -> UUID:
        """Make the id of the only one."""
        return uuid5(NAMESPACE_URL, "/ledger")

    @event("Paid")
    def pay(self, payment: UUID, amount: Decimal, at: datetime, by: str) -> None:  # noqa: ARG002 - they are stored
        """Pay somebody."""
        self.total += amount
        self.last = at


class Bank(Application):
    """Takes no snapshots."""


class BankWithSnapshots(Application):
    """Takes a snapshot of every account every so many events."""

    snapshotting_intervals = {Account: SNAPSHOT_EVERY}  # noqa: RUF012 - as documented


class Eventsourcing(Contender):
    """Accounts in a SQLite file, or in memory."""

    title = "eventsourcing"
    imports = "import eventsourcing.application, eventsourcing.domain, eventsourcing.sqlite"
    distributions = ("eventsourcing",)
    better_without_assertions = frozenset({"replay", "replay_rich", "load_snapshots", "read_log", "memory_replay"})

    def command(self, count: int) -> Work:
        """Load, deposit and save."""
        return commands(self._open(Bank), count)

    def command_cached(self, count: int) -> Work:
        """Deposit on what is in the cache, and save."""
        options = {"AGGREGATE_CACHE_MAXSIZE": str(ACCOUNTS), "AGGREGATE_CACHE_FASTFORWARD": "n"}
        return commands(self._open(Bank, **options), count)

    def memory_command(self, count: int) -> Work:
        """Load, deposit and save, in memory."""
        return commands(Bank(), count)

    def threads(self, count: int, threads: int) -> Work:
        """Save one event at a time, in several threads, each of an account of its own."""
        bank = self._open(Bank)
        accounts = [Account(account(number), "Alice") for number in range(threads)]
        bank.save(*accounts)

        def append(number: int) -> None:
            for _ in range(count // threads):
                accounts[number].deposit(AMOUNT, BY)
                bank.save(accounts[number])

        return in_threads(threads, append)

    def batches(self, count: int) -> Work:
        """Load, deposit many times, and save, one account after the other."""
        keys = accounts_of_batches(count)
        bank = with_accounts(self._open(Bank), len(keys))

        def work() -> None:
            for key in keys:
                deposit(bank, key, BATCH)

        return work

    def deposits(self, count: int) -> Work:
        """Deposit again and again on one account, with snapshots."""
        bank = with_accounts(self._open(BankWithSnapshots), 1)

        def work() -> None:
            for _ in range(count):
                deposit(bank, account(0))

        return work

    def fill_stream(self, count: int) -> None:
        """Write one long stream."""
        deposit(with_accounts(self._open(Bank), 1), account(0), count)

    def replay(self, _count: int) -> Work:
        """Load it."""
        bank = self._open(Bank)
        return lambda: bank.repository.get(Account.create_id(account(0)))

    def memory_replay(self, count: int) -> Work:
        """Load one that is in memory."""
        bank = with_accounts(Bank(), 1)
        deposit(bank, account(0), count)
        return lambda: bank.repository.get(Account.create_id(account(0)))

    def fill_rich_stream(self, count: int) -> None:
        """Write one long stream of events with more kinds of values."""
        ledger = Ledger()
        for _ in range(count):
            ledger.pay(PAYMENT, AMOUNT, PAID_AT, BY)
        self._open(Bank).save(ledger)

    def replay_rich(self, _count: int) -> Work:
        """Load it."""
        bank = self._open(Bank)
        return lambda: bank.repository.get(Ledger.create_id())

    def fill_snapshots(self, count: int) -> None:
        """Write accounts that have a snapshot, and some events after it."""
        bank = with_accounts(self._open(BankWithSnapshots), count)
        for key in in_turn(count, count):
            deposit(bank, key, SNAPSHOT_EVERY - 1)
            deposit(bank, key, TAIL)

    def load_snapshots(self, count: int) -> Work:
        """Load each of them."""
        bank = self._open(BankWithSnapshots)

        def work() -> None:
            for key in in_turn(count, count):
                bank.repository.get(Account.create_id(key))

        return work

    def fill_log(self, count: int) -> None:
        """Write the events of many accounts."""
        bank = with_accounts(self._open(Bank), LOG_ACCOUNTS)
        for key in in_turn(count // 10, LOG_ACCOUNTS):
            deposit(bank, key, 10)

    def read_log(self, _count: int) -> Work:
        """Read all of it, and fold each account's."""
        bank = self._open(Bank)

        def work() -> None:
            states: dict[UUID, Account | None] = {}
            start: int | None = 1
            while start is not None:
                page = bank.recorder.select_notifications(start, limit=PAGE)
                for notification in page:
                    one = bank.mapper.to_domain_event(notification)
                    states[one.originator_id] = one.mutate(states.get(one.originator_id))
                start = page[-1].id + 1 if page else None

        return work

    def _open(self, application: type[Application], **options: str) -> Application:
        path = str(self.folder / "eventsourcing.db")
        bank = application({"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path, **options})
        self.opened.callback(bank.close)
        return bank


def with_accounts(bank: Application, number: int) -> Application:
    """Open so many accounts."""
    for key in in_turn(number, number):
        bank.save(Account(key, "Alice"))
    return bank


def deposit(bank: Application, key: str, times: int = 1) -> None:
    """Load, deposit and save."""
    loaded = bank.repository.get(Account.create_id(key))
    for _ in range(times):
        loaded.deposit(AMOUNT, BY)
    bank.save(loaded)


def commands(bank: Application, count: int) -> Work:
    """Deposit, on one account after the other."""
    with_accounts(bank, ACCOUNTS)
    keys = in_turn(count, ACCOUNTS)

    def work() -> None:
        for key in keys:
            deposit(bank, key)

    return work
