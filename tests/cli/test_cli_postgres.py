"""The commands on PostgreSQL: views are shown, run, unstuck and rebuilt, and events verified, by the URL of a store."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode

import psycopg
import pytest
from commands import Result, Run, WriteModule

from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import StorageError
from esbank.store import ANY_VERSION, EventStore, NewEvent, StreamId, ViewStore

SHOP = """\
from attrs import frozen

from esbank import EventEnvelope, Projector, projects
from esbank.store import Transaction


@frozen
class Sold:
    item: str


class Sales(Projector):
    tables = {"sales": "(position BIGINT PRIMARY KEY, item TEXT NOT NULL)"}

    @projects(Sold)
    def _sold(self, envelope: EventEnvelope[Sold], tx: Transaction) -> None:
        values = {"position": envelope.position, "item": envelope.event.item}
        tx.execute("INSERT INTO {sales} VALUES (:position, :item)", values)


class Stock(Projector):
    tables = {"stock": "(item TEXT PRIMARY KEY, pieces INTEGER NOT NULL)"}
    at_first = {"tea": 100, "cup": 50}

    @projects(Sold)
    def _sold(self, envelope: EventEnvelope[Sold], tx: Transaction) -> None:
        item = envelope.event.item
        tx.execute(
            "INSERT INTO {stock} AS s VALUES (:item, :left) ON CONFLICT (item) DO UPDATE SET pieces = s.pieces - 1",
            {"item": item, "left": self.at_first[item] - 1},
        )


ALL = [Sales, Stock]
"""

Begin: TypeAlias = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def shop(module: WriteModule) -> None:
    module("shop", SHOP)


@pytest.fixture
def url(server_dsn: str, schema: str) -> str:
    """Name a store by a URL."""
    return f"postgresql:///?{urlencode(psycopg.conninfo.conninfo_to_dict(server_dsn))}&esbank_schema={schema}"


@pytest.fixture
def store(server_dsn: str, schema: str) -> Iterator[PostgresEventStore]:
    with PostgresEventStore(server_dsn, schema=schema) as opened:
        yield opened


@pytest.fixture
def begin(folder: Path) -> Iterator[Begin]:
    """Begin a command, and do not wait for its end."""
    with ExitStack() as stack:

        def begin(*arguments: object) -> subprocess.Popen[str]:
            command = [sys.executable, "-W", "error", "-m", "esbank", *map(str, arguments)]
            pipe = subprocess.PIPE
            process = stack.enter_context(subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True))
            stack.callback(process.kill)
            return process

        yield begin


def sell(store: EventStore, *items: str) -> None:
    events = [NewEvent("Sold", f'{{"item":"{item}"}}') for item in items]
    store.append(StreamId("Till", "north"), events, expected_version=ANY_VERSION)


def sales(views: ViewStore) -> list[str]:
    try:
        return [item for (item,) in views.query("SELECT item FROM sales ORDER BY position")]
    except StorageError:  # it is about to be made
        return []


def stock(views: ViewStore) -> dict[str, int]:
    return dict(views.query("SELECT item, pieces FROM stock"))


def states(result: Result) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in result.output.splitlines()[1:3]}


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_views_are_shown_run_unstuck_and_rebuilt(run: Run, begin: Begin, store: PostgresEventStore, url: str) -> None:
    sell(store, "tea", "cup")
    assert states(run("projections", "status", url, "shop:ALL")) == {"Sales": "new", "Stock": "new"}

    process = begin("projections", "run", url, "shop:ALL")
    wait_until(lambda: sales(store) == ["tea", "cup"])
    second = run("projections", "run", url, "shop:Sales")
    assert second.code == 2
    assert "Sales" in second.errors
    sell(store, "mug", "tea")
    wait_until(lambda: "Stock failed at position 3" in run("projections", "status", url, "shop:ALL").output)
    assert run("projections", "resume", url, "shop:Stock").code == 0
    why = ("--reason", "never had any", "--by", "alice")
    assert run("projections", "skip", url, "shop:Stock", "--position", 3, *why).code == 0
    wait_until(lambda: stock(store) == {"tea": 98, "cup": 49})
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "projector 'Stock' has stopped" in errors
    shown = run("projections", "status", url, "shop:ALL")
    assert (shown.code, states(shown)) == (0, {"Sales": "current", "Stock": "current"})

    with store.view_transaction() as tx:
        tx.execute("DELETE FROM sales")
    assert run("projections", "rebuild", url, "shop:ALL").code == 0

    assert sales(store) == ["tea", "cup", "mug", "tea"]
    assert stock(store) == {"tea": 98, "cup": 49}


@pytest.mark.parametrize("events", ["PostgreSQL", "SQLite"])
def test_views_may_be_in_another_store_of_another_kind(
    run: Run, store: PostgresEventStore, url: str, folder: Path, events: str
) -> None:
    with SQLiteEventStore(folder / "shop.db") as file:
        here, there = (store, file) if events == "PostgreSQL" else (file, store)
        names = (url, "shop.db") if events == "PostgreSQL" else ("shop.db", url)
        sell(here, "tea", "cup")

        assert run("projections", "rebuild", names[0], "shop:Sales", "--views", names[1]).code == 0

        assert sales(there) == ["tea", "cup"]
        assert states(run("projections", "status", names[0], "shop:Sales", "--views", names[1])) == {"Sales": "current"}
        swapped = run("projections", "status", names[1], "shop:Sales", "--views", names[1])
        assert (swapped.code, states(swapped)) == (1, {"Sales": "outdated"})


def test_events_are_verified(run: Run, store: PostgresEventStore, server_dsn: str, schema: str, url: str) -> None:
    sell(store, "tea", "cup")
    good = run("verify", url)
    assert (good.code, good.errors) == (0, "")
    assert good.output.startswith("2 events in 1 stream: all as they were written.\nhead ")

    with psycopg.connect(server_dsn) as somebody:
        somebody.execute(f"ALTER TABLE {schema}.esbank_events DISABLE TRIGGER ALL")
        somebody.execute(
            f"""UPDATE {schema}.esbank_events SET data = '{{"item":"hat"}}' WHERE version = 2"""  # noqa: S608
        )

    bad = run("verify", url)
    assert bad.code == 1
    assert "broken: " in bad.output
    assert "Till-north" in bad.output


def test_a_store_that_is_not_there_is_no_success(run: Run, url: str) -> None:
    for command in (["verify", url], ["projections", "status", url, "shop:ALL"]):
        result = run(*command)

        assert (result.code, result.output) == (2, "")
        assert "there is no event store in schema" in result.errors
