"""How much memory a process has had at most: what imports take alone, a thousand deposits, and a long log read."""

import importlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contender import Contender, Work
from benchmarks.libraries import CONTENDERS, PEERS
from benchmarks.rounds import MeasurementFailed, Settings, available, measure_once
from benchmarks.tables import markdown

MODULES = ("attrs", "cattrs", "msgspec", "sqlite3")
METHOD = "deposits"
DEPOSITS = 1_000
SMALL_DEPOSITS = 60
EVENTS = 1_000_000
SMALL_EVENTS = 2_000
MEGABYTE = 1_000_000
ROUNDS = 3
"""How many are enough: what a process has had at most hardly varies."""


class Imports(Contender):
    """What esbank imports, without esbank."""

    title = "imports"

    def imported(self, _count: int) -> Work:
        """Import it."""
        for module in MODULES:
            importlib.import_module(module)
        return lambda: None


def run(settings: Settings) -> str:
    """Measure."""
    imports = [f"imports alone: {', '.join(MODULES)}", megabytes("benchmarks.memory:Imports", "imported", 1, settings)]
    return markdown(["what", "MB at most"], [imports, *rows_of_deposits(settings), row_of_log(settings)])


def rows_of_deposits(settings: Settings) -> Iterator[list[str]]:
    """Let every contender deposit."""
    count = SMALL_DEPOSITS if settings.small else DEPOSITS
    for title, cls in available(CONTENDERS).items():
        if hasattr(cls, METHOD):
            try:
                yield [f"{title}: {count:,} deposits", megabytes(CONTENDERS[title], METHOD, count, settings)]
            except MeasurementFailed as error:
                if title not in PEERS:
                    raise
                print(f"memory: without {title}: {error}", file=sys.stderr)


def row_of_log(settings: Settings) -> list[str]:
    """Read a long log."""
    count = SMALL_EVENTS if settings.small else EVENTS
    print(f"filling a file with {count:,} events", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        measure_once("benchmarks.growth:Grown", "fill", Path(folder), count)
        measured = measure_once("benchmarks.growth:Grown", "read", Path(folder), count)
    return [f"esbank: {count:,} events of the log, read and decoded", f"{measured.peak / MEGABYTE:.1f}"]


def megabytes(name: str, method: str, count: int, settings: Settings) -> str:
    """Have it done in some rounds, and say how much memory that took."""
    peaks = []
    rounds = min(settings.rounds, ROUNDS)
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}: memory of {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
            peaks.append(measure_once(name, method, Path(folder), count).peak)
    return f"{statistics.median(peaks) / MEGABYTE:.1f}"
