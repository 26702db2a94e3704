"""What all contenders share: what they are asked to do, and how they are asked.

A contender has a method for each thing that its library can do, and none for what it cannot. A method that is measured
first makes what it needs, and returns the work to be timed. A method whose name begins with ``fill`` returns nothing:
it writes the files that another one reads, in a process of its own.

This module imports next to nothing, because every process that is measured imports it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar
from uuid import UUID

Work = Callable[[], object]

AMOUNT = Decimal("1.01")
BY = "robot"
PAYMENT = UUID("0190a5b8-7c1e-7d3a-9f42-6b8e2d4c1a05")
PAID_AT = datetime(2026, 11, 20, 9, 30, 15, 123456, tzinfo=UTC)

ACCOUNTS = 100
"""Over how many accounts commands go, in turn."""
LOG_ACCOUNTS = 200
"""Over how many accounts the events of the log are spread."""
BATCH = 100
"""How many commands, or events, are stored at once."""
SNAPSHOT_EVERY = 50
TAIL = 7
"""How many events come after a snapshot."""


class Contender:
    """One library, with its files in one folder."""

    title: ClassVar[str]
    imports: ClassVar[str] = ""
    """The statement that a program needs to use it as it is used here."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """The package, and those of its optional ones that this needs."""
    better_without_assertions: ClassVar[frozenset[str]] = frozenset()
    """The methods that also run under ``python -O``; the better of both counts."""

    def __init__(self, folder: Path) -> None:
        """Use the files in `folder`."""
        self.folder = folder
        self.opened = ExitStack()
        self.noted: dict[str, int] = {}
        """What there is to say of the work, besides how long it took."""

    def close(self) -> None:
        """Close what was opened."""
        self.opened.close()


def account(number: int) -> str:
    """Name an account."""
    return f"acc-{number:06}"


def in_turn(count: int, accounts: int) -> list[str]:
    """Name `count` accounts, of so many different ones."""
    return [account(number % accounts) for number in range(count)]


def accounts_of_batches(count: int) -> list[str]:
    """Name an account for each batch: one for all would make those without a cache read it again and again."""
    return in_turn(count // BATCH, count // BATCH)


def in_threads(threads: int, work: Callable[[int], object]) -> Work:
    """Make work that runs in threads, each with its number."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only what runs in threads pays for it

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))  # a list, so that an error in a thread is raised

    return run
