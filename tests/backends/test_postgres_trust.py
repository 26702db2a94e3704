"""What a PostgreSQL store withstands: threads that are interrupted, forks, roles that mean ill."""

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import psycopg
import pytest

from esbank.backends.postgres import PostgresEventStore
from esbank.errors import ConcurrencyError, StorageError, UnknownOutcome
from esbank.store import ANY_VERSION, NewEvent, StreamId
from esbank.verification import verify

ACCOUNT = StreamId("Account", "1")

APPEND = """
    SELECT * FROM "{schema}".esbank_append(true, NULL, %s::integer[], %s::text[], %s::text[], %s::bigint[],
        %s::integer[], %s::uuid[], %s::text[], %s::integer[], %s::text[], %s::text[], NULL, NULL)"""


class TimeIsUpError(Exception):
    """What a signal handler of an application may raise."""


@pytest.fixture
def store(server_dsn: str, schema: str) -> Iterator[PostgresEventStore]:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        yield store


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """Have a signal handler raise in a moment."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, give_up)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.3) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def append(store: PostgresEventStore) -> int:
    return store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION).version


def half_read(dsn: str, schema: str) -> list[int]:
    store = PostgresEventStore(dsn, schema=schema)
    append(store)
    append(store)
    events = store.read(ACCOUNT)
    del store
    return [event.version for event in events]


def test_a_half_read_log_keeps_its_store(server_dsn: str, schema: str) -> None:
    with pytest.warns(ResourceWarning):
        versions = half_read(server_dsn, schema)

    assert versions == [1, 2]


def lock(table: str, key: int) -> str:
    return f"SELECT pg_advisory_xact_lock({key}, '{table}'::regclass::oid::integer)"


def test_an_append_that_a_signal_interrupts_spoils_no_other(
    store: PostgresEventStore, server_dsn: str, schema: str, alarm: Callable[[], None]
) -> None:
    append(store)
    with psycopg.connect(server_dsn) as other:
        other.execute(lock(f'"{schema}".esbank_events', 1702060641).encode())
        alarm()
        with pytest.raises((TimeIsUpError, UnknownOutcome)):
            append(store)

    versions = [append(store) for _ in range(5)]

    assert versions == list(range(versions[0], versions[0] + 5))
    assert [event.version for event in store.read(ACCOUNT)] == list(range(1, versions[-1] + 1))


def test_a_transaction_that_a_signal_interrupts_raises_that_and_spoils_no_other(
    store: PostgresEventStore, alarm: Callable[[], None]
) -> None:
    def take_long() -> None:
        with store.transaction() as tx:
            tx.execute("CREATE TABLE half_done (x INTEGER)")
            tx.execute("SELECT pg_sleep(5)")

    alarm()
    with pytest.raises(TimeIsUpError):
        take_long()

    for _ in range(3):
        with store.transaction() as tx:
            tx.execute("CREATE TABLE IF NOT EXISTS done (x INTEGER)")
    with pytest.raises(StorageError, match="half_done"):
        store.query("SELECT * FROM half_done")


def test_a_child_that_is_forked_inside_a_transaction_leaves_it_to_the_parent(store: PostgresEventStore) -> None:
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers (number INTEGER)")
    with store.view_transaction() as tx:
        tx.execute("INSERT INTO numbers VALUES (1)")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                tx.execute("INSERT INTO numbers VALUES (2)")
            except StorageError:
                status = 0
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        tx.execute("INSERT INTO numbers VALUES (3)")

    assert store.query("SELECT number FROM numbers ORDER BY number") == [(1,), (3,)]


@pytest.mark.parametrize("sql", ["PREPARE TRANSACTION 'x'", "/* a /* b */ c */ COMMIT"])
def test_a_transaction_that_a_statement_has_ended_is_noticed(store: PostgresEventStore, sql: str) -> None:
    def end_it() -> None:
        with store.transaction() as tx:
            tx.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=0)
            tx.execute(sql)

    with pytest.raises((StorageError, ValueError)):
        end_it()

    assert store.version(ACCOUNT) == 0


def call(dsn: str, schema: str, arrays: list[Any]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(APPEND.format(schema=schema).encode(), arrays)


def arrays(**changes: Any) -> list[Any]:  # noqa: ANN401  # what is wrong may be of any type
    """Make what the function takes for one event, but for some of it."""
    usual: dict[str, Any] = {
        "appends": [1],
        "categories": ["Account"],
        "keys": ["1"],
        "expected": [0],
        "counts": [1],
        "ids": [uuid.uuid4()],
        "types": ["Deposited"],
        "schema_versions": [1],
        "data": ["{}"],
        "metadata": ["{}"],
    }
    return list((usual | changes).values())


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": [-1]},
        {"counts": [2]},
        {"counts": [0]},
        {"counts": [1, 1]},
        {"ids": []},
        {"ids": "[5:5]={00000000-0000-0000-0000-000000000007}"},
        {"expected": "[0:0]={0}"},
        {"types": ["Deposited", "Deposited"]},
        {"keys": []},
        {"counts": None},
        {"data": None},
        {"data": ["{"]},
        {"categories": ["a-b"]},
        {"categories": [""]},
        {"keys": ["x" * 600]},
        {"types": [""]},
        {"schema_versions": [0]},
    ],
    ids=repr,
)
def test_whoever_calls_the_function_with_what_does_not_fit_changes_nothing(
    store: PostgresEventStore, server_dsn: str, schema: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.Error):
        call(server_dsn, schema, arrays(**changes))

    assert store.head() is None


def test_whoever_calls_the_function_with_what_fits_appends(
    store: PostgresEventStore, server_dsn: str, schema: str
) -> None:
    call(server_dsn, schema, arrays())

    assert append(store) == 2
    assert verify(store).ok


def test_a_function_of_the_same_name_is_never_called_instead(
    store: PostgresEventStore, server_dsn: str, schema: str
) -> None:
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(
            f"""
            CREATE FUNCTION "{schema}".esbank_append_one(
                boolean, text, text, text, smallint, uuid, text, smallint, text, text, text, text,
                OUT recorded bigint, OUT head bigint, OUT last bigint, OUT seal bytea)
            LANGUAGE sql AS $$ SELECT 1::bigint, 41::bigint, 41::bigint, NULL::bytea $$
            """.encode()
        )

    assert append(store) == 1
    with pytest.raises(ConcurrencyError):
        store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=0)
    assert store.count() == 1
