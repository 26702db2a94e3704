"""Waiting for what other processes append: it is noticed soon, with and without being told, and idling costs little."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from processes import POSTGRES_PROGRAMS, Process, Start, hear, tell
from psycopg.abc import Params, Query

from esbank.backends import _postgres_waiting
from esbank.backends.postgres import PostgresEventStore
from esbank.store import ANY_VERSION, NewEvent, StreamId

PATIENCE: Final = 30
ACCOUNT: Final = StreamId("Account", "1")
FOR_EVER: Final = 600.0
HEAD: Final = "ORDER BY position DESC LIMIT 1"


@pytest.fixture
def programs() -> Path:
    return POSTGRES_PROGRAMS


@pytest.fixture
def asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have stores that wait look once, and then not again unless they are told."""
    for name in ("_SHORTEST_PAUSE", "_LONGEST_PAUSE", "_LONGEST_PAUSE_OF_A_LISTENER"):
        monkeypatch.setattr(_postgres_waiting, name, FOR_EVER)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)


def append(store: PostgresEventStore) -> int:
    return store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION).position


def writer(start: Start, *arguments: str) -> Process:
    process = start("append_when_told", *arguments)
    assert hear(process) == '"ready"\n'
    return process


def times_to_notice(store: PostgresEventStore, process: Process, count: int) -> list[float]:
    """Have another process append, some times; return how long it takes after each until it is noticed."""
    times: list[float] = []
    for _ in range(count):
        last = store.head()
        noticed: list[float] = []
        thread = threading.Thread(target=partial(note_when_there_is_more, store, last, noticed))
        thread.start()
        time.sleep(0.1)  # in which the pauses have become as long as they get
        assert not noticed
        tell(process, "append")
        assert int(hear(process)) == (last or 0) + 1
        appended = time.monotonic()
        thread.join(PATIENCE)
        times += [moment - appended for moment in noticed]
    assert len(times) == count
    return times


def note_when_there_is_more(store: PostgresEventStore, last: int | None, noticed: list[float]) -> None:
    assert store.wait(after=last, timeout=PATIENCE)
    noticed.append(time.monotonic())


def listening_sessions(dsn: str, schema: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE query = %s", [f'LISTEN "{schema}"'])
        return [pid for (pid,) in rows.fetchall()]


def test_an_append_of_another_process_is_noticed_soon(server_dsn: str, schema: str, start: Start) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        times = times_to_notice(store, writer(start, server_dsn, schema, ""), 4)

    assert min(times) < 0.1


@pytest.mark.usefixtures("asks_no_more")
def test_a_store_is_told_of_an_append_of_another_process(server_dsn: str, schema: str, start: Start) -> None:
    with PostgresEventStore(server_dsn, schema=schema, notify=True) as store:
        assert not store.wait(after=None, timeout=0.01)
        until(lambda: listening_sessions(server_dsn, schema))

        times = times_to_notice(store, writer(start, server_dsn, schema, "notify"), 4)

    assert max(times) < PATIENCE / 3
    assert min(times) < 0.1


@pytest.mark.usefixtures("asks_no_more")
def test_each_kind_of_append_tells_other_stores(server_dsn: str, schema: str) -> None:
    options: dict[str, Any] = {"schema": schema, "notify": True}
    with PostgresEventStore(server_dsn, **options) as store, PostgresEventStore(server_dsn, **options) as other:

        def append_several() -> None:
            other.append(ACCOUNT, [NewEvent("A", "{}") for _ in range(2)], expected_version=ANY_VERSION)

        def append_in_transaction() -> None:
            with other.transaction() as tx:
                tx.append(ACCOUNT, [NewEvent("A", "{}")], expected_version=ANY_VERSION)

        assert not store.wait(after=None, timeout=0.01)
        until(lambda: listening_sessions(server_dsn, schema))
        for way in (partial(append, other), append_several, append_in_transaction):
            last = store.head()
            timer = threading.Timer(0.05, way)
            timer.start()
            assert store.wait(after=last, timeout=PATIENCE)
            timer.join()


@pytest.mark.usefixtures("asks_no_more")
def test_a_subscription_hears_of_appends_that_nobody_is_told_of(server_dsn: str, schema: str) -> None:
    """A store without notify is in the way of nobody: a subscription looks for itself now and then."""
    with (
        PostgresEventStore(server_dsn, schema=schema, notify=True) as store,
        PostgresEventStore(server_dsn, schema=schema) as other,
        store.subscribe() as subscription,
    ):
        for version in range(1, 4):
            timer = threading.Timer(0.05, append, [other])
            timer.start()
            assert next(subscription).version == version
            timer.join()


@pytest.mark.usefixtures("asks_no_more")
def test_a_store_that_listens_listens_again_when_its_session_has_been_ended(
    server_dsn: str, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"schema": schema, "notify": True}
    with PostgresEventStore(server_dsn, **options) as store, PostgresEventStore(server_dsn, **options) as other:
        last = append(store)
        assert not store.wait(after=last, timeout=0.01)
        until(lambda: listening_sessions(server_dsn, schema))
        (first,) = listening_sessions(server_dsn, schema)
        with caplog.at_level(logging.WARNING), psycopg.connect(server_dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [first])
            append(other)  # while nobody listens
            assert store.wait(after=last, timeout=PATIENCE)
            until(lambda: listening_sessions(server_dsn, schema) not in ([], [first]))
        assert "not told of appends for the moment" in caplog.text

        last = store.head()
        timer = threading.Timer(0.1, append, [other])
        timer.start()
        assert store.wait(after=last, timeout=PATIENCE)
        timer.join()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note all statements that are executed."""
    executed: list[str] = []
    execute = psycopg.RawCursor.execute

    def note(
        cursor: psycopg.RawCursor[Any],
        query: Query,
        params: Params | None = None,
        **options: Any,  # noqa: ANN401  # they are handed on
    ) -> psycopg.RawCursor[Any]:
        executed.append(query.decode() if isinstance(query, bytes) else str(query))
        return execute(cursor, query, params, **options)

    monkeypatch.setattr(psycopg.RawCursor, "execute", note)
    return executed


@pytest.mark.parametrize(("notify", "most"), [(False, 24), (True, 8)])
def test_waiting_for_nothing_asks_little(
    server_dsn: str, schema: str, statements: list[str], *, notify: bool, most: int
) -> None:
    with PostgresEventStore(server_dsn, schema=schema, notify=notify) as store:
        last = append(store)
        assert not store.wait(after=last, timeout=0.6)  # soon after an append, another one is likely
        statements.clear()
        busy = time.thread_time()

        assert not store.wait(after=last, timeout=0.8)

        assert time.thread_time() - busy < 0.25
        assert 2 <= len(statements) <= most
        assert all(HEAD in statement for statement in statements)


@pytest.mark.parametrize(("notify", "most"), [(False, 40), (True, 30)])
def test_an_idle_subscription_reads_nothing(
    server_dsn: str, schema: str, statements: list[str], *, notify: bool, most: int
) -> None:
    with PostgresEventStore(server_dsn, schema=schema, notify=notify) as store:
        append(store)
        with store.subscribe(types=["Opened"]) as subscription:
            thread = threading.Thread(target=list, args=(subscription,))
            thread.start()
            until(lambda: subscription.position == 1)
            statements.clear()
            time.sleep(0.5)
            asked = list(statements)
            subscription.close()
            thread.join(PATIENCE)

        assert all(HEAD in statement for statement in asked if not statement.startswith("LISTEN"))
        assert len(asked) < most
