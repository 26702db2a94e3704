"""The benchmarks can be run: each row of esbank and of the bare driver, as small as it can be; nothing is timed."""

from contextlib import closing
from inspect import currentframe
from pathlib import Path

import pytest

from benchmarks import growth, guarantees, http, libraries, profile, views, watching
from benchmarks.contender import BATCH
from benchmarks.measure import load
from benchmarks.rounds import Measured, Row, Settings, measure
from benchmarks.tables import report
from esbank.backends._sqlite_connection import Connection

OURS = (libraries.OURS, libraries.BARE)
TABLES = [
    table._replace(contenders={title: name for title, name in table.contenders.items() if title not in table.guests})
    for table in (*libraries.TABLES, *guarantees.TABLES, *views.TABLES, *profile.TABLES)
]
PAIRS = [
    pytest.param(name, row, id=f"{row.name} of {title}")
    for table in TABLES
    for title, name in table.contenders.items()
    for row in table.rows
    if hasattr(load(name), row.method)
]


def least_of(row: Row) -> int:
    return views.ACCOUNTS if "views" in row.name else min(row.small, BATCH)


def do(name: str, folder: Path, method: str, *numbers: int) -> None:
    contender = load(name)(folder)
    try:
        work = getattr(contender, method)(*numbers)
        if work is not None:
            work()
    finally:
        contender.close()


@pytest.mark.parametrize(("name", "row"), PAIRS)
def test_a_contender_can_do_the_row(name: str, row: Row, tmp_path: Path) -> None:
    if row.fill is not None:
        do(name, tmp_path, row.fill, least_of(row))
    do(name, tmp_path, row.method, least_of(row), *row.arguments)


def test_a_file_that_has_grown_can_be_asked(tmp_path: Path) -> None:
    do("benchmarks.growth:Grown", tmp_path, "fill", 1_000)
    for method, _ in growth.QUESTIONS.values():
        do("benchmarks.growth:Grown", tmp_path, method, 2, 1_000)
    do("benchmarks.growth:Grown", tmp_path, "read", 1_000)


def test_rounds_are_run_in_processes_and_shown_as_a_table(tmp_path: Path) -> None:
    settings = Settings(rounds=2, small=True, folder=tmp_path, rows=frozenset({"snapshots"}))
    table = TABLES[0]

    text = report(table, measure(table, settings), settings)

    assert text.count("\n") == 2
    assert "| bare driver | esbank | esbank / bare driver |" in text


def test_the_bank_is_asked_over_sockets(tmp_path: Path) -> None:
    text = http.run(Settings(rounds=1, small=True, folder=tmp_path))

    assert text.count("\n") == 1 + len(http.QUESTIONS) * 2 * len(http.PROCESSES)
    assert "| 10 clients | store | processes | requests per second | p50, ms | p99, ms |" in text


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("SELECT part_of(x'')", watching.READS),
        ("CREATE TABLE found AS SELECT part_of(x'') AS part", watching.WRITES),
    ],
)
def test_what_sqlite_does_is_charged_to_the_statement(sql: str, part: str) -> None:
    found: list[str] = []
    with closing(Connection(":memory:", timeout=0)) as connection:
        connection.define("part_of", lambda _: found.append(watching.part_of(currentframe())))
        connection.rows(sql)

    assert found == [part]
    assert watching.part_of_statement("COMMIT") == watching.DISK


def test_what_belongs_to_nobody_is_the_rest() -> None:
    assert watching.part_of(currentframe()) == watching.REST


def test_all_time_is_charged_to_some_part() -> None:
    rounds = [Measured(3.0, 10, 0, {watching.CODEC: 990, watching.STORE: 10}) for _ in range(2)]

    found = profile.microseconds_of_parts(rounds, 100)

    assert found == pytest.approx({watching.CODEC: 2970, watching.REST: 30})


def test_contenders_can_do_nothing_that_is_not_asked() -> None:
    asked = {method for table in TABLES for row in table.rows for method in (row.method, row.fill)}
    for title in OURS:
        methods = {name for name, value in vars(load(libraries.CONTENDERS[title])).items() if callable(value)}
        assert {name for name in methods if not name.startswith("_")} <= asked
