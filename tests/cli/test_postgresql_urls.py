"""The commands on PostgreSQL: a store is named by a URL, and moves there and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from commands import Run, run_process

from esbank import ProjectionRunner
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountDetails, Bank
from esbank.testing.postgres import PostgresServer
from esbank.verification import verify

DONE = "3 events in 3 appends: the target holds what the source held.\n"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Start a server."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def schema() -> str:
    """Name a schema that is not there yet."""
    return f"bank_{uuid4().hex}"


@pytest.fixture
def url(server: PostgresServer, schema: str) -> str:
    """Name a store that is not there yet."""
    return f"{server.dsn}&esbank_schema={schema}"


def test_a_store_moves_there_and_back(start: Run, store: Path, server: PostgresServer, schema: str, url: str) -> None:
    there, back = start("copy", store, url), start("copy", url, "back.db")

    assert (there.code, there.errors, there.output) == (0, "", "3 events copied.\n" + DONE)
    assert (back.code, back.errors, back.output) == (0, "", "3 events copied.\n" + DONE)
    with (
        SQLiteEventStore(store) as file,
        PostgresEventStore(server.dsn, schema=schema, create=False) as database,
        SQLiteEventStore("back.db") as again,
    ):
        assert verify(database) == verify(file) == verify(again)
        bank = Bank(database)
        assert bank.account("acc-001").balance == 500
        bank.deposit("acc-001", 1)
        assert bank.account("acc-001").balance == 501


def test_a_copy_there_goes_on(run: Run, store: Path, url: str) -> None:
    assert run("copy", store, "bank.jsonl").code == run("copy", "bank.jsonl", url).code == 0
    with SQLiteEventStore(store) as opened:
        Bank(opened).deposit("acc-002", 1)

    result = run("copy", store, url)

    assert (result.code, result.errors) == (0, "")
    assert result.output == "1 event copied.\n4 events in 4 appends: the target holds what the source held.\n"


@pytest.mark.parametrize("digests", [True, False], ids=["digests", "no digests"])
def test_a_copy_there_has_digests_if_the_source_has_some(run: Run, url: str, *, digests: bool) -> None:
    with SQLiteEventStore("source.db", digests=digests) as opened:
        Bank(opened).open_account("acc-001", "Alice")

    assert run("copy", "source.db", url).code == 0
    assert run("verify", url).code == (0 if digests else 2)


def test_all_commands_take_a_url(run: Run, server: PostgresServer, schema: str, url: str) -> None:
    with PostgresEventStore(server.dsn, schema=schema) as database:
        Bank(database).open_account("acc-001", "Alice")
        ProjectionRunner(database, [AccountDetails()]).catch_up()
        head = verify(database).head

    verified = run("verify", url)
    status = run("projections", "status", url.replace("postgresql://", "postgres://"), "esbank.bank:AccountDetails")

    assert (verified.code, verified.output) == (0, f"1 event in 1 stream: all as they were written.\nhead {head}\n")
    assert status.code == 0
    assert "current" in status.output


def test_without_the_parameter_it_is_the_usual_schema(run: Run, server: PostgresServer) -> None:
    with PostgresEventStore(server.dsn):
        pass

    assert run("verify", server.dsn).output == "0 events in 0 streams: all as they were written.\n"


def test_a_store_that_is_not_there_is_not_made(run: Run, server: PostgresServer, url: str) -> None:
    for where in (url, f"{server.dsn}x"):
        result = run("verify", where)
        assert (result.code, result.output) == (2, "")
        assert result.errors
    assert run("copy", url, "copy.db").code == 2
    assert not Path("copy.db").exists()


WITHOUT = """
import sys
sys.modules["psycopg"] = None
"""


def test_without_the_driver_it_says_how_to_get_it(folder: Path) -> None:
    (folder / "blocked").mkdir()
    (folder / "blocked" / "sitecustomize.py").write_text(WITHOUT, encoding="utf-8")
    path = os.pathsep.join([str(folder / "blocked"), *filter(None, sys.path)])

    result = run_process(folder, "verify", "postgresql://localhost/bank", PYTHONPATH=path)

    assert (result.code, result.output) == (2, "")
    assert "PostgreSQL needs a driver" in result.errors
    assert result.errors.endswith("install it: pip install 'esbank[postgres]'\n")
