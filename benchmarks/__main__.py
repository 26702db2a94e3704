"""Measure, print tables in Markdown, and keep them if asked to: ``python -m benchmarks [names…] [--write folder]``.

A name is that of a table, or of a row of one. All but those on PostgreSQL are measured when none is named; these make a
server of their own, and take some minutes.
"""

import argparse
import importlib
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks import growth, guarantees, http, libraries, memory, profile, startup, views
from benchmarks.rounds import ROOT, Settings, available

REPORTS = {
    "libraries": libraries,
    "guarantees": guarantees,
    "views": views,
    "profile": profile,
    "growth": growth,
    "memory": memory,
    "startup": startup,
    "http": http,
}
POSTGRES = {"postgres": "benchmarks.postgres", "postgres-growth": "benchmarks.postgres_growth"}
ROWS = {
    row.name: name for name, report in REPORTS.items() for table in getattr(report, "TABLES", ()) for row in table.rows
}
ROUNDS = 5


def main() -> None:
    """Measure what is named."""
    arguments = parse(sys.argv[1:])
    rows = frozenset(arguments.names) & ROWS.keys()
    names = dict.fromkeys(ROWS.get(name, name) for name in arguments.names or REPORTS)
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    settings = Settings(
        arguments.rounds, arguments.small, folder, rows, arguments.write, ten_million=arguments.ten_million
    )
    if settings.write is not None:
        settings.write.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name in POSTGRES:
            run_postgres(POSTGRES[name])
            continue
        text = f"{how_it_was_made(sys.argv[1:])}\n\n{REPORTS[name].run(settings)}\n"
        print(text)
        if settings.write is not None:
            (settings.write / f"{name}.md").write_text(text, encoding="utf-8")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    names = [*REPORTS, *POSTGRES, *ROWS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure esbank.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"what to measure: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many rounds, {ROUNDS} if not given")
    parser.add_argument("--small", action="store_true", help="do little, to see that it works")
    parser.add_argument("--write", type=Path, metavar="folder", help="keep the tables and a picture there")
    parser.add_argument("--ten-million", action="store_true", help="let files grow to ten million events")
    parsed = parser.parse_args(arguments)
    unknown = [name for name in parsed.names if name not in names]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}, but: {', '.join(names)}")
    return parsed


def run_postgres(module: str) -> None:
    """Run what is on PostgreSQL, if its driver is installed."""
    try:
        importlib.import_module(module).main()
    except ModuleNotFoundError as error:
        print(f"without PostgreSQL: {error}", file=sys.stderr)


def how_it_was_made(arguments: Sequence[str]) -> str:
    """Write a comment that says with what figures were made."""
    packages = [name for cls in available(libraries.CONTENDERS).values() for name in cls.distributions[:1]]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return (
        f"<!-- python -m benchmarks {' '.join(arguments)}: {os.cpu_count()} CPUs, {platform.python_implementation()} "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}, {datetime.now(UTC):%Y-%m-%d} -->"
    )


if __name__ == "__main__":
    main()
