"""Readers see events in the order of their positions and miss none, however writers overlap, fail, die and idle.

A writer can be stopped between its INSERT and its COMMIT, by a trigger that waits for a lock which the test holds.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final

import psycopg
import pytest
from attrs import frozen
from processes import POSTGRES_PROGRAMS, Start
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from esbank import EventEnvelope, ProjectionRunner, Projector, event, projects
from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.errors import ConcurrencyError, DuplicateEvent, StorageError, UnknownOutcome
from esbank.store import (
    ANY_VERSION,
    STREAM_EXISTS,
    AppendTransaction,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    Transaction,
)
from tests.journal import running

PATIENCE: Final = 30
A_WHILE: Final = 0.1
ACCOUNT: Final = StreamId("Account", "1")
OTHER: Final = StreamId("Account", "2")


@pytest.fixture
def programs() -> Path:
    return POSTGRES_PROGRAMS


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.002)


class Gate:
    """Stops all who store events called Held or Refused, after the INSERT and before the COMMIT, until it is opened.

    Those called Refused then fail.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._schema = schema
        self._lock = f"4711, '{schema}.esbank_store'::regclass::oid::integer"
        self._execute(f"""
            CREATE FUNCTION {schema}.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock_shared({self._lock});
                IF new.type = 'Refused' THEN
                    RAISE EXCEPTION 'this one is refused';
                END IF;
                RETURN new;
            END $$;
            CREATE TRIGGER stop AFTER INSERT ON {schema}.esbank_events FOR EACH ROW
                WHEN (new.type IN ('Held', 'Refused')) EXECUTE FUNCTION {schema}.stop();
            SELECT pg_advisory_lock({self._lock})""")

    def stopped(self) -> list[int]:
        """List the sessions that have stored events and are stopped."""
        rows = self._rows(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 4711"  # noqa: S608
            f" AND objid = '{self._schema}.esbank_store'::regclass"
        )
        return [pid for (pid,) in rows]

    def wait_until_stopped(self, count: int = 1) -> list[int]:
        """Wait until somebody is stopped; return the sessions."""
        until(lambda: len(self.stopped()) == count)
        return self.stopped()

    def wait_until_queued(self, count: int = 1) -> None:
        """Wait until others wait for their turn to append, or to change inline views."""
        query = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"  # noqa: S608
            " AND classid BETWEEN 1702060641"
            f" AND 1702060642 AND objid IN ('{self._schema}.esbank_events'::regclass,"
            f" '{self._schema}.esbank_store'::regclass)"
        )
        until(lambda: self._rows(query) == [(count,)])

    def end(self, pid: int) -> None:
        """End a session."""
        self._execute(f"SELECT pg_terminate_backend({pid})")

    def cancel(self, pid: int) -> None:
        """Cancel what a session is doing."""
        self._execute(f"SELECT pg_cancel_backend({pid})")

    def open(self) -> None:
        """Let everybody go on."""
        self._execute(f"SELECT pg_advisory_unlock({self._lock})")

    def close(self) -> None:
        self._connection.close()

    def _execute(self, sql: str) -> None:
        self._connection.execute(sql.encode())

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql.encode()).fetchall()


class Stage:
    """Several stores of one schema, each as of a process of its own, with a gate and threads to use them from."""

    def __init__(self, stack: ExitStack, dsn: str, schema: str) -> None:
        self.dsn = dsn
        self.schema = schema
        self._stack = stack
        self.reader = self.store()
        self._threads = stack.enter_context(ThreadPoolExecutor(32))
        self.gate = Gate(dsn, schema)
        stack.callback(self.gate.close)

    def store(self, **options: Any) -> PostgresEventStore:  # noqa: ANN401  # they are handed on
        options = {"lock_timeout": PATIENCE, **options}
        return self._stack.enter_context(PostgresEventStore(self.dsn, schema=self.schema, **options))

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        return self._threads.submit(work)

    def hold(self) -> Future[Any]:
        """Append an event in a store of its own, which is stopped before its commit."""
        first = self.submit(partial(one, self.store(), "Held"))
        self.gate.wait_until_stopped()
        return first

    def connect(self, **options: Any) -> psycopg.Connection[Any]:  # noqa: ANN401  # they are handed on
        """Open a connection that has nothing to do with a store."""
        connection = psycopg.connect(options.pop("dsn", self.dsn), **options)
        self._stack.callback(connection.close)
        return connection

    @contextmanager
    def following(self, store: PostgresEventStore | None = None, after: int | None = None) -> Iterator[list[int]]:
        """Subscribe in a thread; give the positions that it has seen so far."""
        seen: list[int] = []
        with (store or self.reader).subscribe(after=after) as subscription:

            def follow() -> None:
                for event in subscription:
                    seen.append(event.position)  # noqa: PERF401  # others look at it meanwhile

            thread = threading.Thread(target=follow)
            thread.start()
            try:
                yield seen
            finally:
                subscription.close()
                thread.join(PATIENCE)


@pytest.fixture
def stage(server_dsn: str, schema: str) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, server_dsn, schema)


def log_of(store: PostgresEventStore) -> list[int]:
    return [event.position for event in store.read_all()]


# Ways to append: each returns the positions of what it has stored


def new(name: str = "Deposited", count: int = 1) -> list[NewEvent]:
    return [NewEvent(name, "{}") for _ in range(count)]


def together(stored: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(stored))


def positions(*stored: StoredEvent) -> list[int]:
    return [event.position for event in stored]


def one(store: PostgresEventStore, name: str = "Deposited", stream: StreamId = ACCOUNT) -> list[int]:
    return positions(*store.append(stream, new(name), expected_version=ANY_VERSION).events)


def several(store: PostgresEventStore, name: str = "Deposited") -> list[int]:
    return positions(*store.append(ACCOUNT, new(name, 3), expected_version=ANY_VERSION).events)


def to_two_streams(store: PostgresEventStore, name: str = "Deposited") -> list[int]:
    appends = [StreamAppend(stream, new(name, 2), ANY_VERSION) for stream in (ACCOUNT, OTHER)]
    return positions(*(event for result in store.append_many(appends) for event in result.events))


def in_transaction(store: PostgresEventStore, name: str = "Deposited") -> list[int]:
    with store.transaction() as tx:
        pending = tx.append(ACCOUNT, new(name, 2), expected_version=ANY_VERSION)
    return positions(*pending.result.events)


def imported(store: PostgresEventStore, name: str = "Deposited") -> list[int]:
    with MemoryEventStore() as other:
        other.append(ACCOUNT, new(name, 2), expected_version=0)
        store.import_events(other.read_appends())
    return [1, 2]


class Counting:
    """Counts events in the transaction that appends them."""

    def on_append(self, tx: AppendTransaction, events: tuple[StoredEvent, ...]) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS counted (position BIGINT)")
        tx.executemany("INSERT INTO counted VALUES (:position)", [{"position": event.position} for event in events])


Way = Callable[..., list[int]]
WAYS: Final[Mapping[str, Way]] = {
    "one": one,
    "several": several,
    "two streams": to_two_streams,
    "transaction": in_transaction,
}
FIRST: Final = {**WAYS, "import": imported}


# Writers that overlap


@pytest.mark.parametrize("way", [*FIRST, "inline"])
def test_what_is_appended_later_is_seen_later_however_long_the_first_takes(stage: Stage, way: str) -> None:
    inline = stage.store(inline=[Counting()])
    first = stage.submit(partial(FIRST.get(way, several), inline if way == "inline" else stage.store(), "Held"))
    stage.gate.wait_until_stopped()
    others: list[Future[Any]] = []
    for other in WAYS.values():
        others.append(stage.submit(partial(other, stage.store())))
        stage.gate.wait_until_queued(len(others))

    with stage.following() as seen:
        assert not stage.reader.wait(after=None, timeout=A_WHILE)
        assert (seen, log_of(stage.reader), stage.reader.head()) == ([], [], None)
        assert not [other for other in others if other.done()]
        stage.gate.open()
        stored = [first.result(PATIENCE), *(other.result(PATIENCE) for other in others)]
        until(lambda: len(seen) == sum(map(len, stored)))

    assert stored[0][0] == 1
    assert seen == log_of(stage.reader) == sorted(together(stored)) == list(range(1, len(seen) + 1))


def test_appends_with_inline_views_wait_for_the_first_as_well(stage: Stage) -> None:
    inline = [stage.store(inline=[Counting()]) for _ in range(2)]
    first = stage.hold()
    others = [stage.submit(partial(way, store)) for way, store in zip((several, one), inline, strict=True)]
    stage.gate.wait_until_queued(2)

    with stage.following() as seen:
        assert not stage.reader.wait(after=None, timeout=A_WHILE)
        stage.gate.open()
        stored = sorted([first.result(PATIENCE), *(other.result(PATIENCE) for other in others)])
        until(lambda: len(seen) == 5)

    assert stored[0] == [1]
    assert seen == together(stored) == [1, 2, 3, 4, 5]
    assert stage.reader.query("SELECT position FROM counted ORDER BY 1") == [(2,), (3,), (4,), (5,)]


def test_threads_of_one_process_that_wait_behind_another_keep_the_order(stage: Stage) -> None:
    first = stage.hold()
    shared = stage.store()
    with stage.following() as seen:
        others = [stage.submit(partial(one, shared, stream=StreamId("Account", str(n % 5)))) for n in range(20)]
        stage.gate.wait_until_queued()
        assert not stage.reader.wait(after=None, timeout=A_WHILE)
        stage.gate.open()
        stored = [first.result(PATIENCE), *(other.result(PATIENCE) for other in others)]
        until(lambda: len(seen) == 21)

    assert seen == sorted(together(stored)) == list(range(1, 22))
    assert [stage.reader.version(StreamId("Account", str(n))) for n in range(5)] == [4, 5, 4, 4, 4]


def test_expected_versions_are_compared_after_the_wait(stage: Stage) -> None:
    first = stage.hold()
    outdated = stage.submit(lambda: stage.store().append(ACCOUNT, new(), expected_version=0))
    right = stage.submit(lambda: stage.store().append(ACCOUNT, new(), expected_version=1))
    stage.gate.wait_until_queued(2)
    stage.gate.open()

    assert first.result(PATIENCE) == [1]
    with pytest.raises(ConcurrencyError):
        outdated.result(PATIENCE)
    assert right.result(PATIENCE).position == 2


# Writers that fail after they have stored something


def test_an_append_that_fails_late_leaves_its_position_to_the_next(stage: Stage) -> None:
    first = stage.submit(partial(several, stage.store(), "Refused"))
    stage.gate.wait_until_stopped()
    second = stage.submit(partial(several, stage.store()))
    stage.gate.wait_until_queued()

    with stage.following() as seen:
        stage.gate.open()
        with pytest.raises(StorageError, match="this one is refused"):
            first.result(PATIENCE)
        assert second.result(PATIENCE) == [1, 2, 3]
        assert one(stage.reader) == [4]
        until(lambda: len(seen) == 4)

    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("way", ["one", "several", "transaction"])
def test_an_append_that_is_cancelled_leaves_its_position_to_the_next(stage: Stage, way: str) -> None:
    first = stage.submit(partial(WAYS[way], stage.store(), "Held"))
    (pid,) = stage.gate.wait_until_stopped()
    second = stage.submit(partial(one, stage.store()))
    stage.gate.wait_until_queued()

    with stage.following() as seen:
        stage.gate.cancel(pid)
        with pytest.raises(StorageError, match="cancel") as raised:
            first.result(PATIENCE)
        assert second.result(PATIENCE) == [1]
        until(lambda: seen == [1])

    assert not isinstance(raised.value, UnknownOutcome)
    assert log_of(stage.reader) == [1]


def test_a_transaction_whose_session_is_ended_leaves_its_position_to_the_next(stage: Stage) -> None:
    first = stage.submit(partial(in_transaction, stage.store(), "Held"))
    (pid,) = stage.gate.wait_until_stopped()
    second = stage.submit(partial(one, stage.store()))
    stage.gate.wait_until_queued()

    with stage.following() as seen:
        stage.gate.end(pid)
        with pytest.raises(StorageError):
            first.result(PATIENCE)
        assert second.result(PATIENCE) == [1]
        until(lambda: seen == [1])


@pytest.mark.parametrize("way", ["one", "several"])
def test_an_append_whose_session_is_ended_is_made_again_behind_the_others(stage: Stage, way: str) -> None:
    first = stage.submit(partial(WAYS[way], stage.store(), "Held"))
    (pid,) = stage.gate.wait_until_stopped()
    second = stage.submit(partial(one, stage.store()))
    stage.gate.wait_until_queued()

    with stage.following() as seen:
        stage.gate.end(pid)
        assert second.result(PATIENCE) == [1]
        until(lambda: seen == [1])
        assert stage.gate.wait_until_stopped() != [pid]
        stage.gate.open()
        stored = first.result(PATIENCE)
        until(lambda: len(seen) == 1 + len(stored))

    assert seen == [1, *stored] == log_of(stage.reader) == list(range(1, len(seen) + 1))


def test_a_writer_that_was_killed_before_its_commit_stalls_nobody(stage: Stage, start: Start) -> None:
    process = start("append", stage.dsn, stage.schema, "Held")
    stage.gate.wait_until_stopped()
    second = stage.submit(partial(one, stage.store()))
    stage.gate.wait_until_queued()

    with stage.following() as seen:
        process.kill()
        process.wait(PATIENCE)
        assert not stage.reader.wait(after=None, timeout=A_WHILE)
        stage.gate.open()  # the server does not know yet, and commits
        assert second.result(PATIENCE) == [2]
        until(lambda: seen == [1, 2])


def test_a_writer_that_was_killed_inside_a_transaction_leaves_nothing(stage: Stage, start: Start) -> None:
    process = start("idle_in_a_transaction", stage.dsn, stage.schema)
    assert process.stdout is not None
    assert process.stdout.readline() == '"inside"\n'

    with stage.following() as seen:
        assert one(stage.reader) == [1]
        process.kill()
        process.wait(PATIENCE)
        assert one(stage.reader) == [2]
        until(lambda: seen == [1, 2])


# Transactions elsewhere


def read_everything(connection: psycopg.Connection[Any], events: bytes) -> None:
    connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ")
    connection.execute(b"SELECT count(*) FROM " + events)


def write_elsewhere(connection: psycopg.Connection[Any], _: bytes) -> None:
    connection.execute(b"BEGIN")
    connection.execute(b"CREATE TEMPORARY TABLE numbers AS SELECT 1 AS number")
    connection.execute(b"SELECT pg_current_xact_id()")


def lock_rows(connection: psycopg.Connection[Any], events: bytes) -> None:
    connection.execute(b"BEGIN")
    connection.execute(b"SELECT * FROM " + events + b" FOR UPDATE")


def share_the_table(connection: psycopg.Connection[Any], events: bytes) -> None:
    connection.execute(b"BEGIN")
    connection.execute(b"LOCK " + events + b" IN ROW EXCLUSIVE MODE")


ELSEWHERE: Final = [read_everything, write_elsewhere, lock_rows, share_the_table]


def assert_all_goes_on(stage: Stage, connection: psycopg.Connection[Any]) -> None:
    writers = [stage.store(lock_timeout=5) for _ in range(2)]
    with stage.following(stage.store()) as seen:
        for number in range(3):
            stored = [position for store in writers for way in (one, to_two_streams) for position in way(store)]
            assert stored[-1] == 1 + 10 * (number + 1)
            until(partial(lambda last: seen[-1:] == [last], stored[-1]))
        assert connection.info.transaction_status == TransactionStatus.INTRANS
        assert seen == log_of(stage.reader) == list(range(1, 32))


@pytest.mark.parametrize("do", ELSEWHERE)
def test_a_transaction_that_idles_elsewhere_stalls_nobody(
    stage: Stage, do: Callable[[psycopg.Connection[Any], bytes], None]
) -> None:
    one(stage.reader)
    connection = stage.connect(autocommit=True)
    do(connection, f"{stage.schema}.esbank_events".encode())

    assert_all_goes_on(stage, connection)


def test_a_long_write_transaction_of_another_database_stalls_nobody(stage: Stage, dsn: str) -> None:
    one(stage.reader)
    connection = stage.connect(dsn=dsn, autocommit=True)
    write_elsewhere(connection, b"")

    assert_all_goes_on(stage, connection)
    connection.close()


# Pages, and places to go on from


@pytest.mark.parametrize("before", [999, 1000, 1001])
def test_a_page_that_ends_where_an_append_is_on_its_way_skips_nothing(stage: Stage, before: int) -> None:
    stage.reader.append(OTHER, new(count=before), expected_version=0)
    first = stage.submit(partial(several, stage.store(), "Held"))
    stage.gate.wait_until_stopped()
    second = stage.submit(partial(one, stage.store()))
    stage.gate.wait_until_queued()

    with stage.following() as seen:
        until(lambda: len(seen) == before)
        reading = stage.reader.read_all()
        read = [next(reading).position for _ in range(before)]
        appends = stage.reader.read_appends()
        assert len(next(appends)) == before
        stage.gate.open()
        assert (first.result(PATIENCE), second.result(PATIENCE)) == (
            [before + 1, before + 2, before + 3],
            [before + 4],
        )
        read += positions(*reading)
        read += positions(*stage.reader.read_all(after=read[-1]))
        until(lambda: len(seen) == before + 4)

    assert [len(append) for append in appends] in ([], [3, 1])
    assert [len(append) for append in stage.reader.read_appends(after=before)] == [3, 1]
    assert read == seen == list(range(1, before + 5))


def test_a_subscription_goes_on_from_where_it_was_while_an_append_is_on_its_way(stage: Stage) -> None:
    stage.reader.append(ACCOUNT, new(count=5), expected_version=0)
    with stage.reader.subscribe() as subscription:
        read = [next(subscription).position for _ in range(3)]
        place = subscription.position
    first = stage.hold()

    with stage.following(after=place) as seen:
        until(lambda: seen == [4, 5])
    with stage.following(stage.store(), after=5) as rest:
        second = stage.submit(partial(several, stage.store()))
        stage.gate.wait_until_queued()
        assert not stage.reader.wait(after=5, timeout=A_WHILE)
        stage.gate.open()
        assert (first.result(PATIENCE), second.result(PATIENCE)) == ([6], [7, 8, 9])
        until(lambda: len(rest) == 4)

    assert read + seen + rest == list(range(1, 10))


@event(name="Deposited")
@frozen
class Deposited:
    pass


@event(name="Held")
@frozen
class Held:
    pass


class Positions(Projector):
    """One row for each event; each can be there only once."""

    tables: ClassVar[Mapping[str, str]] = {"positions": "(position BIGINT PRIMARY KEY)"}

    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None:
        tx.execute("INSERT INTO {positions} (position) VALUES (:position)", {"position": envelope.position})

    @projects(Held)
    def _held(self, envelope: EventEnvelope[Held], tx: Transaction) -> None:
        tx.execute("INSERT INTO {positions} (position) VALUES (:position)", {"position": envelope.position})


def projected(store: PostgresEventStore) -> list[int]:
    return [position for (position,) in store.query("SELECT position FROM positions ORDER BY 1")]


def test_a_projector_that_is_started_again_skips_nothing_that_is_on_its_way(stage: Stage) -> None:
    stage.reader.append(ACCOUNT, new(count=5), expected_version=0)
    ProjectionRunner(stage.store(), [Positions()]).catch_up()
    first = stage.hold()
    ProjectionRunner(stage.store(), [Positions()]).catch_up()
    assert projected(stage.reader) == [1, 2, 3, 4, 5]

    second = stage.submit(partial(several, stage.store()))
    stage.gate.wait_until_queued()
    for _ in range(2):
        ProjectionRunner(stage.store(), [Positions()]).catch_up()
    with running(ProjectionRunner(stage.store(), [Positions()])):
        assert not stage.reader.wait(after=5, timeout=A_WHILE)
        assert projected(stage.reader) == [1, 2, 3, 4, 5]
        stage.gate.open()
        assert (first.result(PATIENCE), second.result(PATIENCE)) == ([6], [7, 8, 9])
        until(lambda: len(projected(stage.reader)) == 9)

    assert projected(stage.reader) == list(range(1, 10))


def test_a_rebuild_skips_nothing_that_is_on_its_way(stage: Stage) -> None:
    stage.reader.append(ACCOUNT, new(count=1000), expected_version=0)
    runner = ProjectionRunner(stage.store(), [Positions()])
    runner.catch_up()
    first = stage.hold()
    runner.rebuild()
    assert len(projected(stage.reader)) == 1000
    stage.gate.open()
    assert first.result(PATIENCE) == [1001]

    runner.catch_up()

    assert projected(stage.reader) == list(range(1, 1002))


# Positions that nobody takes


def change_its_mind(store: PostgresEventStore) -> None:
    with store.transaction() as tx:
        tx.append(OTHER, new(count=2), expected_version=ANY_VERSION)
        raise LookupError


def test_what_is_refused_takes_no_position(stage: Stage) -> None:
    store = stage.reader
    stage.gate.open()
    known = new(count=2)
    store.append(ACCOUNT, known, expected_version=0)
    for number in range(1, 11):
        with pytest.raises(ConcurrencyError):
            store.append(ACCOUNT, new(count=3), expected_version=0)
        with pytest.raises(ConcurrencyError):
            store.append(OTHER, new(), expected_version=STREAM_EXISTS if number == 1 else 0)
        with pytest.raises(ConcurrencyError):
            store.append_many([StreamAppend(OTHER, new(), ANY_VERSION), StreamAppend(ACCOUNT, new(), 0)])
        with pytest.raises(ConcurrencyError):
            store.append_many(
                [StreamAppend(OTHER, new(), ANY_VERSION)], conditions=[StreamCondition(ACCOUNT, expected_version=0)]
            )
        with pytest.raises(DuplicateEvent):
            store.append(ACCOUNT, [*known, *new()], expected_version=ANY_VERSION)
        with pytest.raises(StorageError, match="this one is refused"):
            several(store, "Refused")
        with pytest.raises(LookupError):
            change_its_mind(store)
        assert store.append(ACCOUNT, known, expected_version=0).position == 2
        one(store, stream=OTHER)
        assert store.head() == 2 + number

    assert log_of(store) == list(range(1, 13))
    assert [event.version for event in store.read(OTHER)] == list(range(1, 11))


def test_races_for_a_version_take_no_position_but_the_winners(stage: Stage) -> None:
    stores = [stage.reader, stage.store()]

    def race(number: int) -> int:
        store = stores[number % 2]
        conflicts = 0
        for _ in range(10):
            while True:
                try:
                    store.append(ACCOUNT, new(), expected_version=store.version(ACCOUNT))
                except ConcurrencyError:
                    conflicts += 1
                else:
                    break
        return conflicts

    conflicts = [race.result(PATIENCE) for race in [stage.submit(partial(race, number)) for number in range(8)]]

    assert sum(conflicts) > 0
    assert [(event.position, event.version) for event in stage.reader.read_all()] == [(n, n) for n in range(1, 81)]


# The isolation of a session


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_pool_with_sessions_of_another_isolation_is_refused(stage: Stage, level: str) -> None:
    options = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    with (
        ConnectionPool(stage.dsn, min_size=1, max_size=4, kwargs={"options": options}) as pool,
        PostgresEventStore(pool, schema=stage.schema) as store,
    ):
        for way in (one, several, to_two_streams):
            with pytest.raises(StorageError, match=rf"{level}.*READ COMMITTED.*default_transaction_isolation"):
                way(store)
        assert log_of(stage.reader) == []
        assert in_transaction(store) == [1, 2]  # which begins with the level that it needs


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_database_with_another_isolation_by_default_does_not_matter(dsn: str, schema: str, level: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'".encode())
    with ExitStack() as stack:
        stage = Stage(stack, dsn, schema)
        assert stage.connect().execute("SHOW transaction_isolation").fetchall() == [(level,)]
        first = stage.hold()
        others = [stage.submit(partial(way, stage.store())) for way in WAYS.values()]
        stage.gate.wait_until_queued(len(others))
        stage.gate.open()
        stored = [first.result(PATIENCE), *(other.result(PATIENCE) for other in others)]
        assert sorted(together(stored)) == log_of(stage.reader) == list(range(1, 12))


# Transactions of the caller's own, and schemas side by side


def test_an_open_transaction_that_will_append_holds_nobody_up(stage: Stage) -> None:
    writer, other = stage.store(), stage.store(lock_timeout=5)
    with stage.following() as seen:
        with writer.transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 1 AS number")
            pending = tx.append(ACCOUNT, new(count=2), expected_version=2)
            assert one(other) == [1]
            with stage.store().transaction() as another:
                another.execute("CREATE TABLE others AS SELECT 2 AS number")
                sooner = another.append(ACCOUNT, new(), expected_version=1)
            until(lambda: seen == [1, 2])
        until(lambda: len(seen) == 4)

    assert positions(*sooner.result.events) == [2]
    assert positions(*pending.result.events) == [3, 4]
    assert seen == log_of(stage.reader) == [1, 2, 3, 4]
    assert stage.reader.query("SELECT number FROM numbers") == [(1,)]


def test_schemas_of_one_database_neither_wait_for_each_other_nor_see_each_other(stage: Stage) -> None:
    with ExitStack() as stack:
        beside = Stage(stack, stage.dsn, f"{stage.schema}_2")
        first = stage.hold()
        waiting = stage.submit(partial(one, stage.store()))
        stage.gate.wait_until_queued()

        with stage.following() as seen, beside.following() as seen_beside:
            assert several(beside.store(lock_timeout=5)) == [1, 2, 3]
            assert in_transaction(beside.store(lock_timeout=5)) == [4, 5]
            until(lambda: len(seen_beside) == 5)
            assert (seen, waiting.done()) == ([], False)
            stage.gate.open()
            assert (first.result(PATIENCE), waiting.result(PATIENCE)) == ([1], [2])
            until(lambda: len(seen) == 2)
            assert not beside.reader.wait(after=5, timeout=A_WHILE)

    assert (seen, seen_beside) == ([1, 2], [1, 2, 3, 4, 5])


# What all of this is about


def test_positions_from_a_sequence_would_lose_events(stage: Stage) -> None:
    """Two sessions store events without `esbank_append`, each with the next value of a sequence as its position."""
    stage.gate.open()
    insert = f"""
        INSERT INTO {stage.schema}.esbank_events
        VALUES (nextval('{stage.schema}.naive'), 'Account', %s, 1, gen_random_uuid(), 'A', 1, '{{}}', '{{}}', 0, 0)
    """  # noqa: S608
    one_session, other_session = stage.connect(), stage.connect()
    one_session.execute(f"CREATE SEQUENCE {stage.schema}.naive".encode())
    one_session.commit()

    with stage.following() as seen:
        one_session.execute(insert.encode(), ["1"])
        other_session.execute(insert.encode(), ["2"])
        other_session.commit()
        until(lambda: seen == [2])
        one_session.commit()
        assert one(stage.reader) == [3]
        until(lambda: seen == [2, 3])

    assert log_of(stage.reader) == [1, 2, 3]  # so 1 has been missed, for ever


def test_the_lock_is_what_keeps_the_order(stage: Stage) -> None:
    """Without it, writers that overlap take the same position, and all but one fail."""
    with stage.connect(autocommit=True) as connection:
        ((definition,),) = connection.execute(
            f"SELECT pg_get_functiondef('{stage.schema}.esbank_append_one'::regproc)".encode()
        ).fetchall()
        assert definition.count("PERFORM pg_advisory_xact_lock(") == 1
        connection.execute(definition.replace("PERFORM pg_advisory_xact_lock(", "PERFORM row(").encode())
    first = stage.hold()
    second = stage.submit(partial(one, stage.store(), stream=OTHER))
    time.sleep(A_WHILE)
    stage.gate.open()

    assert first.result(PATIENCE) == [1]
    with pytest.raises(StorageError, match="unique"):
        second.result(PATIENCE)
