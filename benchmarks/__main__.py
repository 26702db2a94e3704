"""Run every contender through the same work, round by round, and print the medians as Markdown tables.

Within a round the contenders take turns, so that whatever else the machine does hits them all; every other round they
do so in the opposite order. A ratio is the median of the ratios of the rounds. ``python -m benchmarks digests`` prints
the table of that name alone; there are ``libraries``, ``digests``, ``views`` and ``postgres``, and, only when named,
``postgres-growth``. Those on PostgreSQL make a server of their own, and take some minutes.
"""

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import digests, views

ROUNDS = 5
COMMANDS = 1_000
EVENTS = 10_000

Work = Mapping[str, tuple[int, Callable[[Any], object]]]
"""What is done and how many times it counts, by title."""

LIBRARIES: Work = {
    f"{COMMANDS:,} commands on an account, each durable": (COMMANDS, lambda contender: contender.commands(COMMANDS)),
    f"{EVENTS:,} events in one append": (EVENTS, lambda contender: contender.fill(EVENTS)),
    "replay of the account": (COMMANDS + EVENTS, lambda contender: contender.replay()),
    "the log read and decoded": (COMMANDS + EVENTS, lambda contender: contender.read_log()),
}

POSTGRES = {"postgres": "benchmarks.postgres", "postgres-growth": "benchmarks.postgres_growth"}


class Table(NamedTuple):
    """Contenders by name, what they do, and which one is compared with each of the others."""

    contenders: Mapping[str, Callable[[Path], Any]]
    work: Work
    subject: str


def main() -> None:
    """Measure and print."""
    tables: dict[str, Callable[[], Table]] = {
        "libraries": lambda: Table(load_libraries("bare", "ours", "peer"), LIBRARIES, "esbank"),
        "digests": lambda: Table(digests.CONTENDERS, digests.WORK, "with digests"),
    }
    names = sys.argv[1:] or [*tables, "views", "postgres"]
    for name in names:
        if name in tables:
            table = tables[name]()
            print_table(table, measure(table))
            print()
        elif name == "views":
            views.main()
        elif name in POSTGRES:
            run_postgres(POSTGRES[name])
        else:
            sys.exit(f"there is no {name!r}, but: {', '.join([*tables, 'views', *POSTGRES])}")


def run_postgres(module: str) -> None:
    """Run what is on PostgreSQL, if its driver is installed."""
    try:
        importlib.import_module(module).main()
    except ModuleNotFoundError as error:
        print(f"without PostgreSQL: {error}", file=sys.stderr)


def load_libraries(*names: str) -> dict[str, Callable[[Path], Any]]:
    """Import those contenders whose package is installed."""
    contenders: dict[str, Callable[[Path], Any]] = {}
    for name in names:
        try:
            module = importlib.import_module(f"benchmarks.{name}")
        except ModuleNotFoundError as error:
            print(f"without {name}: {error}", file=sys.stderr)
        else:
            contenders[module.NAME] = module.Contender
    return contenders


def measure(table: Table) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each round, by the title of the work and the name of the contender."""
    seconds: dict[str, dict[str, list[float]]] = {
        title: {name: [] for name in table.contenders} for title in table.work
    }
    for number in range(1, ROUNDS + 1):
        print(f"round {number} of {ROUNDS}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            contenders = {name: make(Path(folder)) for name, make in table.contenders.items()}
            turns = list(contenders.items())[:: -1 if number % 2 == 0 else 1]
            for title, (_, work) in table.work.items():
                for name, contender in turns:
                    started = time.perf_counter()
                    work(contender)
                    seconds[title][name].append(time.perf_counter() - started)
            for contender in contenders.values():
                contender.close()
    return seconds


def print_table(table: Table, seconds: dict[str, dict[str, list[float]]]) -> None:
    """Print rates per second, and the subject's as a ratio to each of the others'."""
    names = list(table.contenders)
    subject = table.subject
    others = [name for name in names if name != subject]
    print("| work, per second |", " | ".join(names), "|", " | ".join(f"{subject} / {name}" for name in others), "|")
    print("| --- |", " | ".join(["---:"] * (len(names) + len(others))), "|")
    for title, by_name in seconds.items():
        count = table.work[title][0]
        rates = [f"{count / statistics.median(by_name[name]):,.0f}" for name in names]
        ratios = [
            [other / ours for other, ours in zip(by_name[name], by_name[subject], strict=True)] for name in others
        ]
        shown = [f"{statistics.median(ratio):.2f} ({min(ratio):.2f}-{max(ratio):.2f})" for ratio in ratios]
        print(f"| {title} |", " | ".join(rates), "|", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
