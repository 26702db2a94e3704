"""esbank against itself: what it costs to seal each event with a digest."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from esbank import Repository
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount, Deposit, OpenAccount
from esbank.store import ANY_VERSION, Metadata, NewEvent, StreamId

APPENDS = 1_000
BATCHES = 100
BATCH = 100
EVENTS = 10_000

DATA = '{"amount":"1.01","balance_after":"1001.01","by":"robot"}'
METADATA = Metadata(actor="robot", correlation_id="a-conversation")
ACCOUNT = StreamId("BankAccount", "raw")


class Contender:
    """One store, with one stream of ready events and one account."""

    def __init__(self, folder: Path, *, digests: bool) -> None:
        """Open the account, and make the events: they are not what is measured."""
        self._store = SQLiteEventStore(folder / f"digests-{digests}.db", digests=digests)
        self._accounts = Repository(self._store, BankAccount)
        self._accounts.execute("1", OpenAccount("Alice"))
        count = APPENDS + BATCHES * BATCH + EVENTS
        self._ready = iter([NewEvent("Deposited", DATA, metadata=METADATA) for _ in range(count)])

    def append(self, times: int, count: int) -> None:
        """Append so many events so many times, each durable before the next."""
        for _ in range(times):
            events = [next(self._ready) for _ in range(count)]
            self._store.append(ACCOUNT, events, expected_version=ANY_VERSION)

    def commands(self, count: int) -> None:
        """Deposit, each durable before the next."""
        for _ in range(count):
            self._accounts.execute("1", Deposit(Decimal("1.01"), "robot"))

    def close(self) -> None:
        """Close the file."""
        self._store.close()


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "with digests": lambda folder: Contender(folder, digests=True),
    "without": lambda folder: Contender(folder, digests=False),
}

WORK: dict[str, tuple[int, Callable[[Contender], object]]] = {
    f"{APPENDS:,} appends of one event, each durable": (APPENDS, lambda contender: contender.append(APPENDS, 1)),
    f"{BATCHES} appends of {BATCH}, each durable": (
        BATCHES * BATCH,
        lambda contender: contender.append(BATCHES, BATCH),
    ),
    f"{EVENTS:,} events in one append": (EVENTS, lambda contender: contender.append(1, EVENTS)),
    f"{APPENDS:,} commands on an account, each durable": (APPENDS, lambda contender: contender.commands(APPENDS)),
}
