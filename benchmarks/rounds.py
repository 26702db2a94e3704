"""Contenders take turns, round by round, and each thing is done in a process of its own.

Within a round all contenders do a row one after the other, so that whatever else the machine does hits them all; every
other round they do so in the opposite order.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.contender import Contender
from benchmarks.measure import load

ROOT = Path(__file__).parents[1]
TIME_LIMIT = 900
"""How many seconds a process may take."""
SLOW = 3.0
"""Who takes more seconds than this is asked once: that there are rounds is to tell those apart that are close."""


class Settings(NamedTuple):
    """What was asked for on the command line."""

    rounds: int
    small: bool
    folder: Path
    """Where to put files; on a disk, so that durable means something."""
    rows: frozenset[str] = frozenset()
    """The rows of tables to measure, all if there are none."""
    write: Path | None = None
    ten_million: bool = False


class Row(NamedTuple):
    """Something that contenders are asked to do."""

    name: str
    title: str
    count: int
    small: int
    method: str
    fill: str | None = None
    """The method that makes the files which this row only reads."""
    arguments: tuple[int, ...] = ()
    in_ram: bool = False
    in_seconds: bool = False
    """Whether to say how long it took, instead of how many there were in a second."""

    def size(self, settings: Settings) -> int:
        """How many times to do it."""
        return self.small if settings.small else self.count


class Table(NamedTuple):
    """Contenders by their titles, what they are asked to do, and whom the subject is compared with."""

    title: str
    subject: str
    contenders: Mapping[str, str]
    rows: Sequence[Row]
    compared: Mapping[str, Sequence[str]]
    """Titles of contenders, by the heading under which the subject is compared with the best of them."""
    guests: frozenset[str] = frozenset()
    """Contenders that may fail, and are not asked again when they are slow."""

    def rows_in(self, settings: Settings) -> list[Row]:
        """List the rows that are asked for."""
        return [row for row in self.rows if not settings.rows or row.name in settings.rows]


class Measured(NamedTuple):
    """What one process has said."""

    seconds: float
    count: int
    peak: int
    noted: Mapping[str, int]


Figures = dict[str, dict[str, list[Measured]]]
"""What was measured in each round, by the name of the row and the title of the contender."""


class MeasurementFailed(Exception):
    """A process has not done what it was asked to do."""


def measure(table: Table, settings: Settings) -> Figures:
    """Measure a table."""
    contenders = available(table.contenders)
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        races = [Race(row, table, contenders, settings, Path(folder)) for row in table.rows_in(settings)]
        races = [race for race in races if race.can_be_run()]
        for number in range(1, settings.rounds + 1):
            for race in races:
                print(f"round {number} of {settings.rounds}: {race.row.name}", file=sys.stderr)
                race.run(number)
        return {race.row.name: race.found for race in races}


def available(contenders: Mapping[str, str]) -> dict[str, type[Contender]]:
    """Import those contenders whose package is installed."""
    found: dict[str, type[Contender]] = {}
    for title, name in contenders.items():
        try:
            found[title] = load(name)
        except ImportError as error:
            print(f"without {title}: {error}", file=sys.stderr)
    return found


class Race:
    """One row, and those who can do it."""

    def __init__(
        self, row: Row, table: Table, contenders: Mapping[str, type[Contender]], settings: Settings, folder: Path
    ) -> None:
        self.row = row
        self._table = table
        self._contenders = {title: cls for title, cls in contenders.items() if hasattr(cls, row.method)}
        self._settings = settings
        self._folder = folder
        self.found: dict[str, list[Measured]] = {title: [] for title in self._contenders}

    def can_be_run(self) -> bool:
        """Tell whether there is a place for it; say so if there is none."""
        if self.row.in_ram and ram() is None:
            print(f"without {self.row.name}: there is no folder in memory that can be written", file=sys.stderr)
            return False
        return True

    def run(self, number: int) -> None:
        """Let each contender do it once."""
        for title in list(self.found)[:: -1 if number % 2 == 0 else 1]:
            if title in self._table.guests and any(one.seconds > SLOW for one in self.found[title]):
                continue
            try:
                self.found[title].append(self._measure(title))
            except MeasurementFailed as error:
                if title not in self._table.guests:
                    raise
                del self.found[title]
                print(f"{self.row.name}: without {title}: {error}", file=sys.stderr)

    def _measure(self, title: str) -> Measured:
        name = self._table.contenders[title]
        numbers = [self.row.size(self._settings), *self.row.arguments]
        options: list[tuple[str, ...]] = [()]
        if self.row.method in self._contenders[title].better_without_assertions:
            options.append(("-O",))
        results = []
        for option in options:
            with self._place(title) as folder:
                results.append(measure_once(name, self.row.method, folder, *numbers, options=option))
        return min(results)

    @contextmanager
    def _place(self, title: str) -> Iterator[Path]:
        """Name the folder to work in: one that is filled once, if this only reads, else an empty one."""
        if self.row.fill is None:
            with tempfile.TemporaryDirectory(dir=ram() if self.row.in_ram else self._folder) as folder:
                yield Path(folder)
        else:
            folder = self._folder / f"{self.row.name} of {title}"
            if not folder.exists():
                folder.mkdir()
                size = self.row.size(self._settings)
                measure_once(self._table.contenders[title], self.row.fill, folder, size)
            yield folder


def measure_once(name: str, method: str, folder: Path, *numbers: int, options: Sequence[str] = ()) -> Measured:
    """Do one thing in a new process."""
    command = [
        sys.executable,
        *options,
        "-m",
        "benchmarks.measure",
        name,
        method,
        folder.absolute(),
        *map(str, numbers),
    ]
    try:
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIME_LIMIT)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise MeasurementFailed(error.stderr.strip().rpartition("\n")[2]) from error
    except subprocess.TimeoutExpired as error:
        raise MeasurementFailed(str(error)) from error
    return Measured(**json.loads(process.stdout))


def ram() -> Path | None:
    """Find a folder in memory."""
    folder = Path("/dev/shm")  # noqa: S108 - what is put there is in a folder of its own
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else None
