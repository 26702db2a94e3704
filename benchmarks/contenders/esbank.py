"""esbank, as an application uses it."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from attrs import define, frozen

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
from esbank import Aggregate, EventCodec, EventRegistry, EventStore, EveryNEvents, Repository, applies, handles
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount, Deposit, Deposited, OpenAccount
from esbank.store import NO_STREAM, StreamId

DEPOSIT = Deposit(AMOUNT, BY)


@frozen
class Pay:
    """Pay somebody."""

    payment: UUID
    amount: Decimal
    at: datetime
    by: str


@frozen
class Paid:
    """Somebody was paid."""

    payment: UUID
    amount: Decimal
    at: datetime
    by: str


@define
class Ledger(Aggregate[Pay, Paid]):
    """All that was paid."""

    category: ClassVar[str] = "Ledger"
    total: Decimal = Decimal(0)
    last: datetime | None = None

    @handles(Pay)
    def pay(self, command: Pay) -> Iterator[Paid]:
        """Pay."""
        yield Paid(command.payment, command.amount, command.at, command.by)

    @applies(Paid)
    def _paid(self, event: Paid) -> None:
        self.total += event.amount
        self.last = event.at


class Esbank(Contender):
    """Accounts in a SQLite file, or in memory."""

    title = "esbank"
    imports = "import esbank.backends.sqlite, esbank.bank"
    distributions = ("esbank",)

    def __init__(self, folder: Path, **store_options: Any) -> None:  # noqa: ANN401 - whatever a store takes
        """Use the files in `folder`, and make stores with these options."""
        super().__init__(folder)
        self._store_options = store_options

    def command(self, count: int) -> Work:
        """Deposit, on accounts that are loaded for it."""
        return self._commands(self._open_store(), count, cache=0)

    def command_cached(self, count: int) -> Work:
        """Deposit, on accounts that are in the repository's cache."""
        return self._commands(self._open_store(), count, cache=ACCOUNTS)

    def memory_command(self, count: int) -> Work:
        """Deposit, on accounts in memory."""
        return self._commands(MemoryEventStore(), count, cache=ACCOUNTS)

    def threads(self, count: int, threads: int) -> Work:
        """Append one event at a time, in several threads, each to a stream of its own."""
        store = self._open_store()
        codec = EventCodec(EventRegistry(BankAccount))

        def append(number: int) -> None:
            stream = StreamId("BankAccount", account(number))
            version = NO_STREAM
            for _ in range(count // threads):
                event = codec.encode(Deposited(AMOUNT, AMOUNT, BY))
                version = store.append(stream, [event], expected_version=version).version

        return in_threads(threads, append)

    def batches(self, count: int) -> Work:
        """Deposit many times at once, on one account after the other."""
        keys = accounts_of_batches(count)
        accounts = self._opened(self._open_store(), len(keys), cache=0)

        def work() -> None:
            for key in keys:
                accounts.execute(key, *[DEPOSIT] * BATCH)

        return work

    def deposits(self, count: int) -> Work:
        """Deposit again and again on one account, with snapshots."""
        accounts = self._opened(self._open_store(), 1, snapshots=EveryNEvents(SNAPSHOT_EVERY))

        def work() -> None:
            for _ in range(count):
                accounts.execute(account(0), DEPOSIT)

        return work

    def fill_stream(self, count: int) -> None:
        """Write one long stream."""
        self._opened(self._open_store(), 1).execute(account(0), *[DEPOSIT] * count)

    def replay(self, _count: int) -> Work:
        """Load it."""
        accounts = Repository(self._open_store(), BankAccount, cache=0)
        return lambda: accounts.load(account(0))

    def memory_replay(self, count: int) -> Work:
        """Load one that is in memory."""
        accounts = self._opened(MemoryEventStore(), 1, cache=0)
        accounts.execute(account(0), *[DEPOSIT] * count)
        return lambda: accounts.load(account(0))

    def fill_rich_stream(self, count: int) -> None:
        """Write one long stream of events with more kinds of values."""
        Repository(self._open_store(), Ledger).execute("main", *[Pay(PAYMENT, AMOUNT, PAID_AT, BY)] * count)

    def replay_rich(self, _count: int) -> Work:
        """Load it."""
        ledgers = Repository(self._open_store(), Ledger, cache=0)
        return lambda: ledgers.load("main")

    def fill_snapshots(self, count: int) -> None:
        """Write accounts that have a snapshot, and some events after it."""
        accounts = Repository(self._open_store(), BankAccount, snapshots=EveryNEvents(SNAPSHOT_EVERY), cache=0)
        for number in range(count):
            accounts.execute(account(number), OpenAccount("Alice"), *[DEPOSIT] * (SNAPSHOT_EVERY - 1))
            accounts.execute(account(number), *[DEPOSIT] * TAIL)

    def load_snapshots(self, count: int) -> Work:
        """Load each of them."""
        accounts = Repository(self._open_store(), BankAccount, snapshots=EveryNEvents(SNAPSHOT_EVERY), cache=0)

        def work() -> None:
            for number in range(count):
                accounts.load(account(number))

        return work

    def fill_log(self, count: int) -> None:
        """Write the events of many accounts."""
        accounts = self._opened(self._open_store(), LOG_ACCOUNTS)
        for key in in_turn(count // 10, LOG_ACCOUNTS):
            accounts.execute(key, *[DEPOSIT] * 10)

    def read_log(self, _count: int) -> Work:
        """Read all of it, and fold each account's."""
        store = self._open_store()
        codec = EventCodec(EventRegistry(BankAccount))

        def work() -> None:
            states: defaultdict[StreamId, BankAccount] = defaultdict(BankAccount)
            for envelope in codec.envelopes(store.read_all()):
                states[envelope.stream].apply(envelope.event)

        return work

    def _open_store(self) -> SQLiteEventStore:
        return self.opened.enter_context(SQLiteEventStore(self.folder / "esbank.db", **self._store_options))

    def _commands(self, store: EventStore, count: int, *, cache: int) -> Work:
        accounts = self._opened(store, ACCOUNTS, cache=cache)
        keys = in_turn(count, ACCOUNTS)

        def work() -> None:
            for key in keys:
                accounts.execute(key, DEPOSIT)

        return work

    def _opened(self, store: EventStore, number: int, **options: Any) -> Repository[BankAccount]:  # noqa: ANN401
        accounts = Repository(store, BankAccount, **options)
        for key in in_turn(number, number):
            accounts.execute(key, OpenAccount("Alice"))
        return accounts
