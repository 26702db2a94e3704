"""UmaDB: a server of its own, which the ``umadb`` package brings along with a client.

A commit is durable: the server syncs its file before it answers. UmaDB stores bytes with a type and tags, and knows no
aggregates, codec, snapshots or cache; so the events here are msgspec structs in JSON, the account is a tag, and a
command reads by that tag and appends on condition that nothing has come since, as its documentation shows. msgspec
coerces values and skips keys that it does not know. The server runs in another process, which may use a core of its
own, and whose memory is not counted.
"""

import socket
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import umadb
from umadb import AppendCondition, Client, Event, Query, QueryItem

from benchmarks.contender import (
    ACCOUNTS,
    AMOUNT,
    BATCH,
    BY,
    LOG_ACCOUNTS,
    PAID_AT,
    PAYMENT,
    Contender,
    Work,
    account,
    accounts_of_batches,
    in_threads,
    in_turn,
)

TYPES = ["Opened", "Deposited"]
LEDGER = "ledger"
STARTING = 30.0


class Opened(msgspec.Struct, frozen=True):
    """An account was opened."""

    owner: str


class Deposited(msgspec.Struct, frozen=True):
    """Money was put in."""

    amount: Decimal
    by: str


class Paid(msgspec.Struct, frozen=True):
    """Somebody was paid."""

    payment: UUID
    amount: Decimal
    at: datetime
    by: str


DECODERS = {cls.__name__: msgspec.json.Decoder(cls) for cls in (Opened, Deposited, Paid)}


class Account:
    """An account without a rule."""

    def __init__(self) -> None:
        self.owner = ""
        self.balance = Decimal(0)

    def apply(self, event: object) -> None:
        """Fold an event."""
        match event:
            case Opened():
                self.owner = event.owner
            case Deposited():
                self.balance += event.amount


class Ledger:
    """All that was paid."""

    def __init__(self) -> None:
        self.total = Decimal(0)
        self.last: datetime | None = None

    def apply(self, event: Paid) -> None:
        """Fold an event."""
        self.total += event.amount
        self.last = event.at


class UmaDB(Contender):
    """Accounts on a server."""

    title = "UmaDB"
    imports = "import umadb"
    distributions = ("umadb",)

    def command(self, count: int) -> Work:
        """Read, deposit and append."""
        client = self._serve()
        open_accounts(client, ACCOUNTS)

        def work() -> None:
            for key in in_turn(count, ACCOUNTS):
                deposit(client, key)

        return work

    def threads(self, count: int, threads: int) -> Work:
        """Append one event at a time, in several threads, each for an account of its own."""
        client = self._serve()

        def append(number: int) -> None:
            key = account(number)
            position = client.append([event_of(Opened("Alice"), key)])
            for _ in range(count // threads):
                condition = AppendCondition(account_query(key), position)
                position = client.append([event_of(Deposited(AMOUNT, BY), key)], condition)

        return in_threads(threads, append)

    def batches(self, count: int) -> Work:
        """Read, deposit many times, and append, for one account after the other."""
        keys = accounts_of_batches(count)
        client = self._serve()
        open_accounts(client, len(keys))

        def work() -> None:
            for key in keys:
                deposit(client, key, BATCH)

        return work

    def fill_stream(self, count: int) -> None:
        """Write one long stream."""
        client = self._serve()
        open_accounts(client, 1)
        client.append([event_of(Deposited(AMOUNT, BY), account(0)) for _ in range(count)])

    def replay(self, _count: int) -> Work:
        """Read and fold it."""
        client = self._serve()
        return lambda: load(client, account(0))

    def fill_rich_stream(self, count: int) -> None:
        """Write one long stream of events with more kinds of values."""
        self._serve().append([event_of(Paid(PAYMENT, AMOUNT, PAID_AT, BY), LEDGER) for _ in range(count)])

    def replay_rich(self, _count: int) -> Work:
        """Read and fold it."""
        client = self._serve()

        def work() -> None:
            ledger = Ledger()
            for sequenced in client.read(Query([QueryItem(["Paid"], [LEDGER])])):
                ledger.apply(decode(sequenced.event))

        return work

    def fill_log(self, count: int) -> None:
        """Write the events of many accounts."""
        client = self._serve()
        open_accounts(client, LOG_ACCOUNTS)
        for key in in_turn(count // 10, LOG_ACCOUNTS):
            client.append([event_of(Deposited(AMOUNT, BY), key) for _ in range(10)])

    def read_log(self, _count: int) -> Work:
        """Read all of it, and fold each account's."""
        client = self._serve()

        def work() -> None:
            accounts: defaultdict[str, Account] = defaultdict(Account)
            for sequenced in client.read():
                event = sequenced.event
                accounts[event.tags[0]].apply(decode(event))

        return work

    def _serve(self) -> Client:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "{}:{}".format(*free.getsockname())
        server = subprocess.Popen(  # noqa: S603 - our own
            [
                str(Path(sys.executable).with_name("umadb")),
                "--listen",
                address,
                "--db-path",
                str(self.folder / "uma.db"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.opened.callback(server.wait)
        self.opened.callback(server.terminate)
        return wait_for(f"http://{address}")


def wait_for(url: str) -> Client:
    """Connect to a server as soon as it answers."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        with suppress(umadb.TransportError, RuntimeError, ConnectionError):
            client = Client(url)
            client.head()
            return client
        time.sleep(0.02)
    raise TimeoutError(url)


def account_query(key: str) -> Query:
    """Ask for the events of an account."""
    return Query([QueryItem(TYPES, [key])])


def event_of(event: Opened | Deposited | Paid, tag: str) -> Event:
    """Write an event for the server."""
    return Event(type(event).__name__, msgspec.json.encode(event), [tag], uuid4())


def decode(event: Event) -> object:
    """Read an event of the server."""
    return DECODERS[event.event_type].decode(event.data)


def load(client: Client, key: str) -> tuple[Account, int | None]:
    """Fold the events of an account; return the position up to which that holds as well."""
    loaded = Account()
    response = client.read(account_query(key))
    for sequenced in response:
        loaded.apply(decode(sequenced.event))
    return loaded, response.head()


def open_accounts(client: Client, number: int) -> None:
    """Open so many accounts."""
    client.append([event_of(Opened("Alice"), key) for key in in_turn(number, number)])


def deposit(client: Client, key: str, times: int = 1) -> None:
    """Read, deposit and append."""
    _loaded, head = load(client, key)
    events = [event_of(Deposited(AMOUNT, BY), key) for _ in range(times)]
    client.append(events, AppendCondition(account_query(key), head))
