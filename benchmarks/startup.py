"""What it takes to begin: the time of imports, and the room on the disk."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import esbank
from benchmarks.libraries import CONTENDERS
from benchmarks.rounds import Settings, available
from benchmarks.tables import NOTHING, markdown

NOTHING_AT_ALL = "the interpreter alone"
LEAST_ROUNDS = 11
STATEMENTS = {
    NOTHING_AT_ALL: "pass",
    "what esbank depends on": "import attrs, cattrs, msgspec, sqlite3, uuid, decimal",
    "`import esbank`": "import esbank",
}
MEGABYTE = 1_000_000


def run(settings: Settings) -> str:
    """Measure."""
    contenders = {title: cls for title, cls in available(CONTENDERS).items() if cls.distributions}
    statements = STATEMENTS | {title: cls.imports for title, cls in contenders.items()}
    seconds = import_seconds(statements, max(settings.rounds, 2 if settings.small else LEAST_ROUNDS))
    sizes = {title: f"{installed_size(cls.distributions) / MEGABYTE:.1f}" for title, cls in contenders.items()}
    rows = []
    for title, statement in statements.items():
        extra = 1000 * (seconds[title] - seconds[NOTHING_AT_ALL])
        name = title if title in STATEMENTS else f"{title}: `{statement}`"
        rows.append([name, f"{1000 * seconds[title]:.0f}", f"{extra:.0f}", sizes.get(title, NOTHING)])
    return markdown(["what", "ms", "ms more than the interpreter", "MB installed"], rows)


def import_seconds(statements: dict[str, str], rounds: int) -> dict[str, float]:
    """Run each statement in a new process, in turns; return the medians."""
    seconds: dict[str, list[float]] = {title: [] for title in statements}
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}: imports", file=sys.stderr)
        for title, statement in list(statements.items())[:: -1 if number % 2 == 0 else 1]:
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603 - our own
            seconds[title].append(time.perf_counter() - started)
    return {title: statistics.median(rounds) for title, rounds in seconds.items()}


def installed_size(names: Sequence[str]) -> int:
    """Return the bytes of distributions and of all that they depend on."""
    known: set[str] = set()
    for name in names:
        add_with_dependencies(name, known)
    return sum(size_of(metadata.distribution(name)) for name in known)


def add_with_dependencies(name: str, known: set[str]) -> None:
    """Add a distribution, and all that it depends on without extras, to those that are known."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name not in known:
        known.add(name)
        for requirement in metadata.requires(name) or ():
            required, _, marker = requirement.partition(";")
            match = re.match(r"[\w.-]+", required)
            if match and "extra ==" not in marker and is_installed(match[0]):
                add_with_dependencies(match[0], known)


def is_installed(name: str) -> bool:
    """Tell whether there is such a distribution; one that is for another Python or system may not be there."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def size_of(distribution: metadata.Distribution) -> int:
    """Return the bytes of one distribution's files, without what Python compiles."""
    if distribution.name == "esbank":  # while it is developed, its files are elsewhere
        files = list(Path(esbank.__file__).parent.rglob("*"))
    else:
        files = [Path(str(file.locate())) for file in distribution.files or ()]
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())
