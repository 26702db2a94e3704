"""What grows with the file: appends, loads and pages of the log, on files of ten thousand events and of a million.

An account has a hundred events, and the events of many accounts lie between two of its own, as they do in life.
"""

import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.contender import AMOUNT, BY, TAIL, Contender, Work, account
from benchmarks.rounds import Settings, measure_once
from benchmarks.tables import Ratio, markdown
from esbank import ByHand, EventCodec, EventRegistry, NoSnapshots, Repository, SnapshotPolicy
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountOpened, BankAccount, Deposit, Deposited
from esbank.store import ANY_VERSION, NewEvent, StreamAppend, StreamId

SIZES = (10_000, 100_000, 1_000_000)
SMALL_SIZES = (2_000, 4_000)
TEN_MILLION = 10_000_000
OF_ONE = 100
"""How many events an account has."""
PART = 10
"""How many of them lie together."""
ACCOUNTS_AT_ONCE = 100
PAGE = 1_000
SAMPLES = 100
"""How many accounts are asked for, or appended to, in a round."""

QUESTIONS = {
    "append, durable": ("append_full", SAMPLES),
    'append, `durability="normal"`': ("append_normal", SAMPLES),
    f"load of an account from {OF_ONE} events": ("load", SAMPLES),
    f"load of an account from a snapshot and {TAIL} events": ("load_from_snapshot", SAMPLES),
    f"page of {PAGE:,} events of the log": ("page", PAGE),
}


class Grown(Contender):
    """A file of many events."""

    title = "esbank"

    def fill(self, count: int) -> None:
        """Write as many events."""
        with SQLiteEventStore(self._path, durability="normal") as store:
            for appends in interleaved(count // OF_ONE):
                store.append_many(appends)

    def append_full(self, samples: int, size: int) -> Work:
        """Append one event to an account anywhere, durably."""
        return self._append(self._open(), samples, size)

    def append_normal(self, samples: int, size: int) -> Work:
        """Append one event to an account anywhere; a loss of power may take the last ones."""
        store = self.opened.enter_context(SQLiteEventStore(self._path, durability="normal"))
        return self._append(store, samples, size)

    def load(self, samples: int, size: int) -> Work:
        """Load accounts anywhere."""
        return self._load(NoSnapshots(), some_accounts(samples, size))

    def load_from_snapshot(self, samples: int, size: int) -> Work:
        """Load accounts that have a snapshot, and some events after it."""
        keys = some_accounts(samples, size)
        accounts = Repository(self._open(), BankAccount, snapshots=ByHand(), cache=0)
        for key in keys:
            accounts.snapshot(key)
            accounts.execute(key, *[Deposit(AMOUNT, BY)] * TAIL)
        return self._load(ByHand(), keys)

    def page(self, count: int, size: int) -> Work:
        """Read and decode a page from the middle of the log."""
        store = self._open()
        codec = EventCodec(EventRegistry(BankAccount))

        def work() -> None:
            for stored in store.read_all(after=size // 2, limit=count):
                codec.decode(stored)

        return work

    def read(self, _count: int) -> Work:
        """Read and decode all events."""
        return self.page(sys.maxsize, 0)

    @property
    def _path(self) -> Path:
        return self.folder / "grown.db"

    def _open(self) -> SQLiteEventStore:
        return self.opened.enter_context(SQLiteEventStore(self._path))

    def _append(self, store: SQLiteEventStore, samples: int, size: int) -> Work:
        streams = [StreamId("BankAccount", key) for key in some_accounts(samples, size)]
        deposited = NewEventFactory().deposited

        def work() -> None:
            for stream in streams:
                store.append(stream, [deposited()], expected_version=ANY_VERSION)

        return work

    def _load(self, snapshots: SnapshotPolicy, keys: list[str]) -> Work:
        accounts = Repository(self._open(), BankAccount, snapshots=snapshots, cache=0)

        def work() -> None:
            for key in keys:
                accounts.load(key)

        return work


class NewEventFactory:
    """Makes events of accounts; their texts are encoded once."""

    def __init__(self) -> None:
        codec = EventCodec(EventRegistry(BankAccount))
        self._opened = codec.encode(AccountOpened("Alice", "EUR", AMOUNT, AMOUNT)).data
        self._deposited = codec.encode(Deposited(AMOUNT, AMOUNT, BY)).data

    def opened(self) -> NewEvent:
        """Make the first event of an account."""
        return NewEvent("AccountOpened", self._opened)

    def deposited(self) -> NewEvent:
        """Make one of the others."""
        return NewEvent("Deposited", self._deposited)


def interleaved(accounts: int) -> Iterator[list[StreamAppend]]:
    """Make the events of so many accounts, a part of each account's after a part of every other's."""
    new = NewEventFactory()
    for part in range(OF_ONE // PART):
        for first in range(0, accounts, ACCOUNTS_AT_ONCE):
            yield [
                StreamAppend(
                    StreamId("BankAccount", account(number)),
                    [new.opened() if part == place == 0 else new.deposited() for place in range(PART)],
                    part * PART,
                )
                for number in range(first, min(first + ACCOUNTS_AT_ONCE, accounts))
            ]


def some_accounts(samples: int, size: int) -> list[str]:
    """Choose accounts of a file of that size, the same ones each time."""
    accounts = size // OF_ONE
    return [account(number) for number in random.Random(size).choices(range(accounts), k=samples)]  # noqa: S311


def run(settings: Settings) -> str:
    """Fill files, and ask each of them the same."""
    sizes = SMALL_SIZES if settings.small else SIZES
    if settings.ten_million:
        sizes = (*sizes, TEN_MILLION)
    found = ask(sizes, settings)
    first, *larger = sizes
    headings = ["seconds", *(f"{size:,} events" for size in sizes), *(f"{size:,} / {first:,}" for size in larger)]
    rows = [
        [
            question,
            *(f"{statistics.median(seconds[size]):.6f}" for size in sizes),
            *(str(ratio(seconds[size], seconds[first])) for size in larger),
        ]
        for question, seconds in found.items()
    ]
    return markdown(headings, rows)


def ask(sizes: Sequence[int], settings: Settings) -> dict[str, dict[int, list[float]]]:
    """Return the seconds that each thing took in each round on a file of each size; the sizes take turns."""
    seconds: dict[str, dict[int, list[float]]] = {question: {size: [] for size in sizes} for question in QUESTIONS}
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        files = {size: Path(folder, str(size)) for size in sizes}
        for size, file in files.items():
            print(f"filling a file with {size:,} events", file=sys.stderr)
            file.mkdir()
            measure_once("benchmarks.growth:Grown", "fill", file, size)
        for number in range(1, settings.rounds + 1):
            print(f"round {number} of {settings.rounds}: growth", file=sys.stderr)
            for question, (method, count) in QUESTIONS.items():
                for size in sizes[:: -1 if number % 2 == 0 else 1]:
                    measured = measure_once("benchmarks.growth:Grown", method, files[size], count, size)
                    times = 1 if method == "page" else count
                    seconds[question][size].append(measured.seconds / times)
    return seconds


def ratio(large: Sequence[float], small: Sequence[float]) -> Ratio:
    """Say how many times as long it takes on the larger file, round by round."""
    ratios = [one / other for one, other in zip(large, small, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), "")
