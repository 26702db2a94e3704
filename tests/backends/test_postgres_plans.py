"""What a statement costs does not grow with the log: the server tells its plans, and how many rows it has looked at."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import Diagnostic

from esbank.backends._postgres_database import Database
from esbank.backends.postgres import PostgresEventStore
from esbank.errors import ConcurrencyError
from esbank.store import (
    ANY_VERSION,
    STREAM_EXISTS,
    Metadata,
    NewEvent,
    Snapshot,
    StreamAppend,
    StreamCondition,
    StreamId,
    Transaction,
)

ACCOUNT: Final = StreamId("Account", "1")
OTHER: Final = StreamId("Account", "2")
BASKET: Final = StreamId("Basket", "1")
FIRST: Final = [NewEvent("Opened", "{}", metadata=Metadata(correlation_id="first")) for _ in range(3)]
SETTINGS: Final = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    "client_min_messages": "notice",
}
CONNECTIONS: Final = 2
MANY: Final = 7 * CONNECTIONS  # the server begins to keep a plan after five times in a session

Plan = dict[str, Any]


def new(count: int = 1, *, correlation_id: str | None = None) -> list[NewEvent]:
    return [NewEvent("Deposited", "{}", metadata=Metadata(correlation_id=correlation_id)) for _ in range(count)]


class Watched:
    """A store whose server tells how it executes each statement, those inside of functions too."""

    def __init__(self, stack: ExitStack, dsn: str) -> None:
        self._dsn = dsn
        self._schema = f"test_{uuid4().hex}"
        self._plans: list[Plan] = []
        configure = Database._configure  # noqa: SLF001  # to hear of what its sessions do

        def listen(database: Database, connection: psycopg.Connection[Any]) -> None:
            configure(database, connection)
            self._listen(connection)

        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Database, "_configure", listen)
        store = PostgresEventStore(dsn, schema=self._schema, digests=False, pool_size=CONNECTIONS)
        self.store = stack.enter_context(store)
        self._execute("ALTER TABLE {schema}.esbank_events SET (autovacuum_enabled = off)")

    def plans_of(self, operation: Callable[[PostgresEventStore], object]) -> list[Plan]:
        """List the plans by which the statements of an operation are executed."""
        self._plans.clear()
        operation(self.store)
        return list(self._plans)

    def begin(self) -> None:
        """Append the first events: to streams that will be large, and some small ones."""
        with PostgresEventStore(self._dsn, schema=self._schema) as store:
            for stream, events in ((ACCOUNT, FIRST), (OTHER, new()), (BASKET, new())):
                store.append(stream, events, expected_version=0)
            self._append_small_streams(store, "first", 20)

    def fill(self) -> None:
        """Append 10,000 events: two streams of 3,000, and many small ones."""
        with PostgresEventStore(self._dsn, schema=self._schema) as store:
            for stream in (ACCOUNT, BASKET):
                for _ in range(3):
                    store.append(stream, new(1000), expected_version=ANY_VERSION)
            for number in range(4):
                self._append_small_streams(store, str(number), 250)

    def analyze(self) -> None:
        """Let the server know what is in the table."""
        self._execute("ANALYZE {schema}.esbank_events")

    def _append_small_streams(self, store: PostgresEventStore, name: str, count: int) -> None:
        names = [f"{name}-{number}" for number in range(count)]
        store.append_many([StreamAppend(StreamId("Account", key), new(4, correlation_id=key), 0) for key in names])

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(sql.format(schema=self._schema).encode())

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("LOAD 'auto_explain'")
        for setting in SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        connection.add_notice_handler(self._hear)

    def _hear(self, notice: Diagnostic) -> None:
        _, found, plan = (notice.message_primary or "").partition("plan:\n")
        if found:
            self._plans.append(json.loads(plan))


def nodes_of(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes_of(child)


def scans_of(plans: list[Plan]) -> list[Plan]:
    return [
        node
        for plan in plans
        for node in nodes_of(plan["Plan"])
        if "Scan" in node["Node Type"]
        and (node.get("Relation Name") == "esbank_events" or node.get("Index Name", "").startswith("esbank_events"))
    ]


def assert_searches(plans: list[Plan], *, most: int) -> None:
    """Check that an index was used wherever events were looked for, and that no more were looked at than `most`."""
    scans = scans_of(plans)
    told = json.dumps(plans, indent=1)
    assert scans
    assert "Seq Scan" not in {node["Node Type"] for node in scans}, told
    # A bitmap is made of the same rows as are looked at then.
    assert sum(rows_of(node) for node in scans if node["Node Type"] != "Bitmap Index Scan") <= most, told
    assert sum(rows_of(node) for node in scans if node["Node Type"] == "Bitmap Index Scan") <= most, told


def rows_of(node: Plan) -> float:
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    rows: float = (node["Actual Rows"] + left_out) * node["Actual Loops"]
    return rows


def conflict(store: PostgresEventStore) -> None:
    with pytest.raises(ConcurrencyError):
        store.append(ACCOUNT, new(), expected_version=0)


def append_in_transaction(store: PostgresEventStore) -> None:
    with store.transaction() as tx:
        tx.append(OTHER, new(2), expected_version=ANY_VERSION)


def save_snapshot(store: PostgresEventStore) -> None:
    store.save_snapshot(Snapshot(ACCOUNT, 3, FIRST[2].event_id, store.identity, "1", "{}"))


# Each with the number of rows of the log that it may look at, indexes included.
OPERATIONS: Final[dict[str, tuple[Callable[[PostgresEventStore], object], int]]] = {
    "append": (lambda store: store.append(OTHER, new(), expected_version=store.version(OTHER)), 3),
    "append to any version": (lambda store: store.append(OTHER, new(), expected_version=ANY_VERSION), 2),
    "append to a stream that exists": (lambda store: store.append(ACCOUNT, new(), expected_version=STREAM_EXISTS), 2),
    "append several": (lambda store: store.append(OTHER, new(5), expected_version=ANY_VERSION), 2),
    "append to several": (
        lambda store: store.append_many(
            [StreamAppend(OTHER, new(2), ANY_VERSION), StreamAppend(BASKET, new(), STREAM_EXISTS)],
            conditions=[StreamCondition(ACCOUNT, ANY_VERSION)],
        ),
        4,
    ),
    "append in a transaction": (append_in_transaction, 2),
    "conflict": (conflict, 3),
    "repeat of an old append": (lambda store: store.append(ACCOUNT, FIRST, expected_version=0), 12),
    "repeat at any version": (lambda store: store.append(ACCOUNT, FIRST, expected_version=ANY_VERSION), 12),
    "version": (lambda store: store.version(ACCOUNT), 1),
    "head": (lambda store: store.head(), 1),
    "nothing to wait for": (lambda store: store.wait(after=store.head(), timeout=0), 2),
    "find": (lambda store: store.find(ACCOUNT, FIRST[1].event_id), 1),
    "first events of a stream": (lambda store: list(store.read(ACCOUNT, limit=5)), 5),
    "last event of a stream": (lambda store: list(store.read(ACCOUNT, backwards=True, limit=1)), 1),
    "some events of a stream": (lambda store: list(store.read(ACCOUNT, after=1, up_to=3)), 2),
    "small stream": (lambda store: list(store.read(StreamId("Account", "none"))), 0),
    "short conversation": (lambda store: list(store.read_correlated("first")), 3),
    "first events of the log": (lambda store: list(store.read_all(limit=5)), 5),
    "end of the log": (lambda store: list(store.read_all(after=store.head())), 1),
    "first append": (lambda store: next(store.read_appends(), None), 1001),
    "end of the appends": (lambda store: list(store.read_appends(after=store.head())), 1),
    "count of the last": (lambda store: store.count(after=store.head()), 1),
    "first stream": (lambda store: next(store.streams("Account")), 1000),
    "snapshot": (save_snapshot, 1),
}

FILTERED: Final[dict[str, tuple[Callable[[PostgresEventStore], object], int]]] = {
    "end of the filtered log": (
        lambda store: list(store.read_all(after=store.head(), categories=["Account"], types=["Opened"])),
        1,
    ),
    "first events of a filtered log": (
        lambda store: list(store.read_all(categories=["Account", "Basket"], types=["Opened", "Deposited"], limit=5)),
        5,
    ),
}


@pytest.fixture(scope="module", params=["statistics", "no statistics", "old sessions"])
def watched(request: pytest.FixtureRequest, server_dsn: str) -> Iterator[Watched]:
    """Give a store with 10,000 events, and with what the server knows of them.

    That is what an ANALYZE tells; nothing; or nothing but how the same sessions have executed the same statements when
    there were few.
    """
    with ExitStack() as stack:
        watched = Watched(stack, server_dsn)
        watched.begin()
        if request.param == "old sessions":
            for operation, _ in OPERATIONS.values():
                for _ in range(MANY):
                    operation(watched.store)
        watched.fill()
        if request.param == "statistics":
            watched.analyze()
        yield watched


@pytest.mark.parametrize(("operation", "most"), OPERATIONS.values(), ids=OPERATIONS)
def test_events_are_looked_up_by_an_index(
    watched: Watched, operation: Callable[[PostgresEventStore], object], most: int
) -> None:
    assert_searches(watched.plans_of(operation), most=most)
    for _ in range(MANY):
        operation(watched.store)
    assert_searches(watched.plans_of(operation), most=most)


# Without statistics, a category is taken for a small part of the log, and sorted.
@pytest.mark.parametrize("watched", ["statistics"], indirect=True)
@pytest.mark.parametrize(("operation", "most"), FILTERED.values(), ids=FILTERED)
def test_a_filtered_log_is_read_in_the_order_of_its_positions(
    watched: Watched, operation: Callable[[PostgresEventStore], object], most: int
) -> None:
    test_events_are_looked_up_by_an_index(watched, operation, most)


@pytest.mark.parametrize("watched", ["statistics"], indirect=True)
def test_the_statements_of_views_are_planned_as_usual(watched: Watched) -> None:
    query = "SELECT count(*) FROM esbank_events WHERE type = 'A'"

    def execute_in(transaction: AbstractContextManager[Transaction]) -> None:
        with transaction as tx:
            tx.execute(query)

    plans = watched.plans_of(lambda store: store.query(query))
    plans += watched.plans_of(lambda store: execute_in(store.transaction()))
    plans += watched.plans_of(lambda store: execute_in(store.view_transaction()))

    assert [node["Node Type"] for node in scans_of(plans)] == ["Seq Scan"] * 3
