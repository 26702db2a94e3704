"""The bank over HTTP (``examples.bank_api``): requests per second, and how long each of them takes.

Clients send one request after the other, each on a connection of its own, which it keeps. They are tasks of this
process, and share the processors with the service and with the database.
"""

import asyncio
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.postgres import SETTINGS
from benchmarks.rounds import ROOT, Settings
from benchmarks.tables import markdown
from esbank.testing.postgres import PostgresServer

CLIENTS = 200
ACCOUNTS = 100
REQUESTS = 20
MOST_ROUNDS = 3
PROCESSES = (1, 2)
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"

Requests = Callable[[int], bytes]
"""Makes the request with a number."""


class Answered(NamedTuple):
    """What came of some requests: how many there were in a second, and the milliseconds that each of them took."""

    rate: float
    milliseconds: list[float]


def run(settings: Settings) -> str:
    """Measure."""
    clients, requests = (10, 2) if settings.small else (CLIENTS, REQUESTS)
    found: dict[tuple[str, str, int], list[Answered]] = {}
    rounds = min(settings.rounds, MOST_ROUNDS)
    for number, store, processes in itertools.product(range(rounds), (SQLITE, POSTGRESQL), PROCESSES):
        print(f"round {number + 1} of {rounds}: http, {store}, {processes}", file=sys.stderr)
        with (
            tempfile.TemporaryDirectory(dir=settings.folder) as folder,
            place_of(store, Path(folder)) as place,
            service(place, processes) as url,
        ):
            asyncio.run(ask(url, open_account, 1, ACCOUNTS))
            for title, make in QUESTIONS.items():
                answered = asyncio.run(ask(url, make, clients, requests))
                found.setdefault((title, store, processes), []).append(answered)
    return markdown(
        [f"{clients} clients", "store", "processes", "requests per second", "p50, ms", "p99, ms"],
        [
            [title, store, str(processes), *shown(found[title, store, processes])]
            for title, store, processes in itertools.product(QUESTIONS, (SQLITE, POSTGRESQL), PROCESSES)
        ],
    )


def shown(rounds: list[Answered]) -> tuple[str, str, str]:
    """Write what came of some rounds: the median of the rates, and what all requests together say of their times."""
    times = sorted(itertools.chain.from_iterable(one.milliseconds for one in rounds))
    rate = statistics.median(one.rate for one in rounds)
    return f"{rate:,.0f}", f"{times[len(times) // 2]:,.0f}", f"{times[len(times) * 99 // 100]:,.0f}"


@contextmanager
def place_of(store: str, folder: Path) -> Generator[str]:
    """Name a new store, which syncs its files."""
    if store == SQLITE:
        yield str(folder / "bank.db")
    else:
        with PostgresServer(settings=SETTINGS) as server:
            yield server.dsn


@contextmanager
def service(place: str, processes: int) -> Generator[str]:
    """Run the service, and give its URL once all of its processes serve."""
    command = [sys.executable, "-m", "examples.bank_api", "--port", "0", "--store", place, "--workers", str(processes)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            said: Iterator[str] = iter(process.stdout or ())
            found = re.search("http://[0-9.:]+", next(said))
            log: Iterator[str] = iter(process.stderr or ())
            for _ in range(processes):
                next(line for line in log if "startup complete" in line)
            yield found[0] if found else ""
        finally:
            process.terminate()
            process.communicate()


async def ask(url: str, make: Requests, clients: int, requests: int) -> Answered:
    """Let clients send requests, each the next one when it has an answer."""
    numbers = itertools.count()
    milliseconds: list[float] = []
    address = urlsplit(url)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for _ in range(requests):
            request = make(next(numbers))
            started = time.perf_counter()
            writer.write(request)
            await read_answer(reader)
            milliseconds.append(1000 * (time.perf_counter() - started))
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Answered(len(milliseconds) / (time.perf_counter() - started), milliseconds)


async def read_answer(reader: asyncio.StreamReader) -> None:
    """Read an answer to its end, so that the next one can follow; anything but a success is an error here."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: ([0-9]+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    if not head.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(f"{head!r} {body!r}")


def open_account(number: int) -> bytes:
    """Open one of the accounts."""
    return post(number, '{"type": "OpenAccount", "owner": "Ada"}', "open")


def read_account(number: int) -> bytes:
    """Read one of the accounts."""
    return f"GET /accounts/acc-{number % ACCOUNTS} HTTP/1.1\r\nHost: bank\r\n\r\n".encode()


def deposit(number: int) -> bytes:
    """Put money into one of the accounts."""
    return post(number, '{"type": "Deposit", "amount": "1.01"}', f"deposit-{number}")


def deposit_into_one(number: int) -> bytes:
    """Put money into the account that all others want, too."""
    return post(0, '{"type": "Deposit", "amount": "1.01"}', f"into-one-{number}")


def post(number: int, body: str, key: str) -> bytes:
    """Write a command."""
    head = (
        f"POST /accounts/acc-{number % ACCOUNTS} HTTP/1.1\r\nHost: bank\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


QUESTIONS: dict[str, Requests] = {
    f"read one of {ACCOUNTS} accounts": read_account,
    f"a durable deposit into one of {ACCOUNTS} accounts": deposit,
    "a durable deposit, all into one account": deposit_into_one,
}
