"""When the server fails, is slow, or ends a session: what was acknowledged stays, and the rest is told as it is."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from processes import Start, hear, tell
from psycopg_pool import ConnectionPool

from esbank import AlreadyRunning, ProjectionRunner
from esbank.backends._postgres_connection import quoted
from esbank.backends.postgres import PostgresEventStore
from esbank.errors import StorageError, StoreClosed, StoreUnavailable, UnknownOutcome
from esbank.store import ANY_VERSION, AppendResult, NewEvent, Snapshot, StreamId
from esbank.testing.conformance._given import in_threads
from esbank.testing.postgres import PostgresServer
from tests.journal import Journal, add, journal, numbered, running, until

ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")
PATIENCE = 20.0
LOCK = "SELECT pg_advisory_xact_lock(1702060641, (%s || '.esbank_events')::regclass::oid::integer)"


@pytest.fixture
def programs() -> Path:
    return Path(__file__).parent / "postgres_fault_programs.py"


@pytest.fixture(scope="module")
def lasting_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def server(lasting_server: PostgresServer) -> PostgresServer:
    """Give a server that may be stopped, killed and reconfigured; it runs when a test begins."""
    lasting_server.start()
    return lasting_server


@pytest.fixture
def store(server: PostgresServer, schema: str) -> Iterator[PostgresEventStore]:
    with PostgresEventStore(server.dsn, schema=schema, connect_timeout=2.0) as store:
        yield store


def stream(key: object) -> StreamId:
    return StreamId("Account", str(key))


def event() -> NewEvent:
    return NewEvent("Deposited", "{}")


def append(store: PostgresEventStore, key: object = "1") -> AppendResult:
    return store.append(stream(key), [event()], expected_version=ANY_VERSION)


def execute(dsn: str, *statements: str) -> list[Any]:
    """Execute statements as an administrator does; return what the last one returns."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = local")
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


class Doing:
    """Some work under way in a thread; call it to wait for what it returns or raises."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._outcome: object = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def __call__(self) -> object:
        self._thread.join(PATIENCE)
        assert self.is_over, "it is stuck"
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            self._outcome = error


def restart(server: PostgresServer, how: str) -> None:
    server.kill() if how == "kill" else server.stop()
    server.start()


either_way = pytest.mark.parametrize("how", ["stop", "kill"])


# The server is killed, and comes back


def test_what_threads_were_told_is_stored_survives_a_killed_server(
    server: PostgresServer, store: PostgresEventStore
) -> None:
    done = threading.Event()
    seen: set[str] = set()

    def repeat(stream: StreamId, events: Sequence[NewEvent], version: int) -> None:
        while True:
            try:
                store.append(stream, events, expected_version=version)
            except (UnknownOutcome, StoreUnavailable) as error:
                seen.add(type(error).__name__)
                time.sleep(0.01)
            else:
                return

    def work(number: int) -> list[NewEvent]:
        stored: list[NewEvent] = []
        while not done.is_set():
            events = [event() for _ in range(number % 3 + 1)]
            repeat(stream(number), events, len(stored))
            stored += events
        return stored

    def kill_now_and_then() -> list[NewEvent]:
        for pause in (0.05, 0.2, 0.1):
            time.sleep(pause)
            server.kill()
            time.sleep(0.05)
            server.start()
        time.sleep(0.1)
        done.set()
        return []

    outcomes = in_threads([*(partial(work, number) for number in range(8)), kill_now_and_then])

    for number, outcome in enumerate(outcomes[:-1]):
        assert isinstance(outcome, list), outcome
        found = list(store.read(stream(number)))
        assert [one.event_id for one in found] == [one.event_id for one in outcome]
        assert [one.version for one in found] == list(range(1, len(outcome) + 1))
    positions = [one.position for one in store.read_all()]
    assert positions == list(range(1, len(positions) + 1))
    assert seen


def is_there(store: PostgresEventStore, stream: StreamId, one: NewEvent) -> bool:
    while True:
        try:
            return store.find(stream, one.event_id) is not None
        except StoreUnavailable:
            time.sleep(0.01)


def test_an_append_of_which_it_is_said_that_nothing_was_stored_is_not_there(
    server: PostgresServer, store: PostgresEventStore
) -> None:
    done = threading.Event()
    told: Counter[str] = Counter()

    def work(number: int) -> None:
        while not done.is_set():
            one = event()
            try:
                store.append(stream(number), [one], expected_version=ANY_VERSION)
            except UnknownOutcome:
                told["unknown"] += 1
            except StoreUnavailable:
                told["not stored"] += 1
                assert not is_there(store, stream(number), one)
            else:
                told["stored"] += 1
                assert is_there(store, stream(number), one)

    def kill_now_and_then() -> None:
        for _ in range(3):
            time.sleep(0.1)
            restart(server, "kill")
        done.set()

    assert in_threads([*(partial(work, number) for number in range(6)), kill_now_and_then]) == [None] * 7
    assert told["stored"] > 10


def test_what_processes_were_told_is_stored_survives_a_killed_server(
    server: PostgresServer, schema: str, store: PostgresEventStore, start: Start
) -> None:
    assert store.head() is None
    processes = [start("append_until_told", server.dsn, schema, number) for number in range(2)]
    for process in processes:
        assert hear(process) == '"ready"\n'
    for _ in range(2):
        time.sleep(0.2)
        restart(server, "kill")
    time.sleep(0.2)
    for process in processes:
        tell(process, "stop")

    for number, process in enumerate(processes):
        told = json.loads(hear(process))
        assert process.wait(PATIENCE) == 0
        assert set(told["errors"]) <= {"StoreUnavailable", "UnknownOutcome"}
        for thread, acknowledged in enumerate(told["acknowledged"]):
            found = list(store.read(stream(f"{number}-{thread}")))
            assert [str(one.event_id) for one in found] == acknowledged
            assert len(found) > 10


@either_way
def test_everything_goes_on_by_itself_after_the_server_was_restarted(
    server: PostgresServer, store: PostgresEventStore, how: str
) -> None:
    (stored,) = append(store).events
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE numbers AS SELECT 1 AS number")
    snapshot = Snapshot(ACCOUNT, 1, stored.event_id, store.identity, "schema", "{}")

    calls: dict[str, Callable[[], object]] = {
        "read": lambda: list(store.read(ACCOUNT)),
        "read_all": lambda: list(store.read_all()),
        "head": store.head,
        "version": lambda: store.version(ACCOUNT),
        "find": lambda: store.find(ACCOUNT, stored.event_id),
        "streams": lambda: list(store.streams("Account")),
        "query": lambda: store.query("SELECT * FROM numbers"),
        "save_snapshot": lambda: store.save_snapshot(snapshot),
        "load_snapshot": lambda: store.load_snapshot(ACCOUNT),
    }
    for call in calls.values():
        restart(server, how)
        call()
    restart(server, how)
    with store.view_transaction() as tx:
        tx.execute("INSERT INTO numbers VALUES (2)")
    restart(server, how)
    with store.transaction() as tx:
        tx.execute("INSERT INTO numbers VALUES (3)")
        tx.append(ACCOUNT, [event()], expected_version=1)
    restart(server, how)
    assert append(store).version == 3
    restart(server, how)
    assert store.append(ACCOUNT, [event(), event()], expected_version=3).version == 5
    restart(server, how)
    with store.claim("mine"):
        pass
    assert store.query("SELECT number FROM numbers ORDER BY number") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("theirs", [False, True], ids=["own pool", "pool of the caller"])
def test_a_full_pool_of_lost_connections_is_no_pool_in_use(
    server: PostgresServer, schema: str, *, theirs: bool
) -> None:
    with ConnectionPool(server.dsn, min_size=2, max_size=2, open=True) as pool:
        source = pool if theirs else server.dsn
        with PostgresEventStore(source, schema=schema, connect_timeout=0.5, pool_size=2) as store:
            both = threading.Barrier(2)

            def use() -> None:
                with store.transaction() as tx:
                    tx.execute("SELECT 1")
                    both.wait(PATIENCE)

            assert in_threads([use, use]) == [None, None]
            server.kill()
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match="cannot be reached"):
                    store.head()
            with pytest.raises(StoreUnavailable):
                append(store)
            server.start()

            begun = time.monotonic()
            while True:
                with suppress(StoreUnavailable):
                    append(store)
                    break
            assert time.monotonic() - begun < 5


def test_a_store_is_back_soon_after_a_server_that_was_away_for_long(server: PostgresServer, schema: str) -> None:
    with PostgresEventStore(server.dsn, schema=schema, connect_timeout=0.3) as store:
        server.kill()
        away_until = time.monotonic() + 2.5
        while time.monotonic() < away_until:
            with suppress(StoreUnavailable):
                store.head()
            with suppress(StoreUnavailable, UnknownOutcome):
                append(store)
        server.start()

        begun = time.monotonic()
        while True:
            with suppress(StoreUnavailable):
                store.head()
                append(store)
                break
        assert time.monotonic() - begun < 2


# Those who follow


@pytest.mark.parametrize("notify", [False, True], ids=["asking", "told"])
@either_way
def test_a_subscription_goes_on_after_the_server_was_away(
    server: PostgresServer, schema: str, how: str, *, notify: bool
) -> None:
    with PostgresEventStore(server.dsn, schema=schema, connect_timeout=2.0, notify=notify) as store:
        subscription = store.subscribe()
        seen: list[int] = []
        following = Doing(lambda: seen.extend(stored.version for stored in subscription))
        for _ in range(2):
            append(store)
            until(lambda: len(seen) == store.version(ACCOUNT))
            restart(server, how)
        append(store)
        until(lambda: len(seen) == 3)
        subscription.close()

        assert following() is None
        assert seen == [1, 2, 3]


@either_way
def test_a_runner_goes_on_after_the_server_was_away(
    server: PostgresServer, schema: str, store: PostgresEventStore, how: str
) -> None:
    runner = ProjectionRunner(store, [Journal()])
    with running(runner):
        for number in range(3):
            add(store, f"sku {number}")
            runner.wait_for(store.head(), PATIENCE)
            restart(server, how)
        add(store, "sku 3")
        runner.wait_for(store.head(), PATIENCE)

        with PostgresEventStore(server.dsn, schema=schema) as other, pytest.raises(AlreadyRunning):
            ProjectionRunner(other, [Journal()]).run()
    assert journal(store) == numbered(range(4))


def test_a_runner_waits_for_a_server_that_is_away_with_all_connections(server: PostgresServer, schema: str) -> None:
    with PostgresEventStore(server.dsn, schema=schema, connect_timeout=0.3, pool_size=2) as store:
        runner = ProjectionRunner(store, [Journal()])
        with running(runner):
            in_threads([partial(add, store, f"sku {number}", key=str(number)) for number in range(4)])
            server.kill()
            time.sleep(2)
            server.start()
            for _ in range(100):
                with suppress(StoreUnavailable, UnknownOutcome):
                    add(store, "after", key="after")
                    break
            runner.wait_for(5, PATIENCE)
        assert journal(store)[-1] == "after"


# Claims


def sessions_with_claims(server: PostgresServer) -> list[Any]:
    return execute(
        server.dsn,
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY pid",
    )


def lose_claims(server: PostgresServer) -> None:
    """End the sessions that hold names, and wait until they are gone."""
    for (pid,) in sessions_with_claims(server):
        execute(server.dsn, f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_claim_that_was_lost_is_taken_again(server: PostgresServer, schema: str, store: PostgresEventStore) -> None:
    with PostgresEventStore(server.dsn, schema=schema) as other, store.claim("mine"), store.claim("mine too"):
        lose_claims(server)
        with store.view_transaction():
            pass
        for name in ("mine", "mine too"):
            with pytest.raises(AlreadyRunning), other.claim(name):
                pass
        restart(server, "kill")
        with store.view_transaction():
            pass
        with pytest.raises(AlreadyRunning), other.claim("mine"):
            pass


def test_a_claim_that_somebody_else_has_taken_is_gone_for_good(
    server: PostgresServer, schema: str, store: PostgresEventStore
) -> None:
    with PostgresEventStore(server.dsn, schema=schema) as other, store.claim("mine"):
        lose_claims(server)
        with other.claim("mine"):
            for _ in range(3):
                with pytest.raises(AlreadyRunning), store.view_transaction():
                    pass


def test_a_claim_that_is_gone_is_gone_also_beside_one_that_was_taken_again(
    server: PostgresServer, schema: str, store: PostgresEventStore
) -> None:
    with PostgresEventStore(server.dsn, schema=schema) as other, store.claim("a"), store.claim("b"):
        lose_claims(server)
        with other.claim("b"):
            for _ in range(3):
                with pytest.raises(AlreadyRunning), store.view_transaction():
                    pass


def test_a_claim_that_ends_while_the_server_is_away_is_over(
    server: PostgresServer, schema: str, store: PostgresEventStore
) -> None:
    with store.claim("mine"):
        server.kill()
    server.start()

    with PostgresEventStore(server.dsn, schema=schema) as other, other.claim("mine"):
        pass
    with store.claim("mine"):
        pass


def test_one_runner_is_enough_for_all_machines(server: PostgresServer, schema: str, start: Start) -> None:
    folder = server.dsn.partition("host=")[2]
    other_form = f"user=postgres dbname=postgres host={folder} application_name=elsewhere"
    first = start("hold", server.dsn, schema, "Journal")
    assert hear(first) == '"ready"\n'

    second = start("hold", other_form, schema, "Journal")
    assert "is being run already" in hear(second)
    assert second.wait(PATIENCE) == 0
    third = start("hold", other_form, f"{schema}_too", "Journal")
    assert hear(third) == '"ready"\n'

    first.kill()
    first.wait(PATIENCE)
    until(lambda: len(sessions_with_claims(server)) == 1)
    fourth = start("hold", other_form, schema, "Journal")
    assert hear(fourth) == '"ready"\n'


# An append is ended by somebody


WAIT = """
    CREATE FUNCTION {schema}.wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF new.key = 'slow' THEN PERFORM pg_advisory_xact_lock(7, 7); END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER wait BEFORE INSERT ON {schema}.esbank_events FOR EACH ROW EXECUTE FUNCTION {schema}.wait()
"""
AT_THE_COMMIT = """
    CREATE FUNCTION {schema}.wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF new.key = 'slow' THEN PERFORM pg_advisory_xact_lock(7, 7); END IF;
        RETURN new;
    END $$;
    CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON {schema}.esbank_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION {schema}.wait()
"""


@contextmanager
def held(server: PostgresServer) -> Iterator[None]:
    """Hold what slow appends wait for."""
    with psycopg.connect(server.dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(7, 7)")
        yield


def end_the_one_that_waits(server: PostgresServer, function: str, event: str = "advisory", *, times: int = 1) -> None:
    """Call ``pg_terminate_backend`` or ``pg_cancel_backend`` for whoever waits for this, so often."""
    ended: set[int] = set()
    sql = f"SELECT pid, {function}(pid) FROM pg_stat_activity WHERE wait_event = '{event}'"  # noqa: S608  # constants
    for _ in range(times):
        before = len(ended)
        until(lambda before=before: ended.update(pid for pid, _ in execute(server.dsn, sql)) or len(ended) > before)


def make_slow(server: PostgresServer, schema: str, trigger: str) -> None:
    execute(server.dsn, trigger.replace("{schema}", quoted(schema)))


slowly = pytest.mark.parametrize("trigger", [WAIT, AT_THE_COMMIT], ids=["insert", "commit"])


@slowly
def test_an_append_whose_session_is_ended_before_the_commit_is_made_once(
    server: PostgresServer, schema: str, store: PostgresEventStore, trigger: str
) -> None:
    make_slow(server, schema, trigger)
    with held(server):
        outcome = Doing(partial(append, store, "slow"))
        end_the_one_that_waits(server, "pg_terminate_backend")

    assert isinstance(outcome(), AppendResult)
    assert store.version(stream("slow")) == 1


@slowly
def test_an_append_whose_session_is_ended_again_and_again_may_be_repeated(
    server: PostgresServer, schema: str, store: PostgresEventStore, trigger: str
) -> None:
    make_slow(server, schema, trigger)
    events = [event()]
    repeat = partial(store.append, stream("slow"), events, expected_version=0)
    with held(server):
        outcome = Doing(repeat)
        end_the_one_that_waits(server, "pg_terminate_backend", times=2)

        assert isinstance(outcome(), UnknownOutcome)

    assert store.version(stream("slow")) == 0
    result = repeat()
    assert result.version == 1
    assert repeat() == result


@slowly
def test_an_append_that_is_cancelled_stores_nothing(
    server: PostgresServer, schema: str, store: PostgresEventStore, trigger: str
) -> None:
    make_slow(server, schema, trigger)
    with held(server):
        outcome = Doing(partial(append, store, "slow"))
        end_the_one_that_waits(server, "pg_cancel_backend")
        error = outcome()

    assert isinstance(error, StorageError)
    assert not isinstance(error, UnknownOutcome)
    assert "it was cancelled" in str(error)
    assert store.head() is None
    assert append(store, "slow").version == 1


@pytest.mark.parametrize(
    ("trigger", "limit"),
    [(WAIT, "statement_timeout"), (WAIT, "lock_timeout"), (AT_THE_COMMIT, "lock_timeout")],
    ids=["insert, statement_timeout", "insert, lock_timeout", "commit, lock_timeout"],
)
def test_an_append_that_takes_too_long_stores_nothing(
    server: PostgresServer, schema: str, trigger: str, limit: str
) -> None:
    limits: dict[str, Any] = {"statement_timeout": 60.0, limit: 0.2}
    with PostgresEventStore(server.dsn, schema=schema, **limits) as store:
        make_slow(server, schema, trigger)
        with held(server), pytest.raises(StorageError, match=limit) as raised:
            append(store, "slow")

        assert not isinstance(raised.value, UnknownOutcome | StoreUnavailable)
        assert store.head() is None
        assert append(store, "slow").version == 1


def test_a_transaction_that_is_idle_for_too_long_is_ended(server: PostgresServer, schema: str) -> None:
    with PostgresEventStore(server.dsn, schema=schema, idle_timeout=0.1) as store:

        def idle_and_append() -> None:
            with store.transaction() as tx:
                tx.append(ACCOUNT, [event()], expected_version=0)
                time.sleep(0.5)

        def idle_and_look() -> None:
            with store.transaction() as tx:
                time.sleep(0.5)
                tx.execute("SELECT 1")

        with pytest.raises(StorageError, match="idle"):
            idle_and_look()
        with pytest.raises(StorageError):
            idle_and_append()
        assert store.head() is None
        append(store)
        assert store.version(ACCOUNT) == 1


# A standby that does not answer


@pytest.fixture
def alone(server: PostgresServer, store: PostgresEventStore) -> Iterator[Callable[[], None]]:
    """Have the server wait for a standby that is not there, until the function is called."""
    assert store.identity

    def set_standbys(names: str) -> None:
        execute(server.dsn, f"ALTER SYSTEM SET synchronous_standby_names = '{names}'", "SELECT pg_reload_conf()")
        until(lambda: execute(server.dsn, "SHOW synchronous_standby_names") == [(names,)])

    set_standbys("nobody")
    yield partial(set_standbys, "")
    set_standbys("")


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
@pytest.mark.parametrize("count", [1, 2], ids=["one", "two"])
def test_a_commit_that_no_standby_has_confirmed_is_an_unknown_outcome(
    server: PostgresServer, store: PostgresEventStore, alone: Callable[[], None], function: str, count: int
) -> None:
    events = [event() for _ in range(count)]
    outcome = Doing(partial(store.append, ACCOUNT, events, expected_version=0))
    end = f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"  # noqa: S608  # constants
    until(lambda: not execute(server.dsn, end) and outcome.is_over)

    assert isinstance(outcome(), UnknownOutcome)
    alone()
    result = store.append(ACCOUNT, events, expected_version=0)
    assert result.version == count
    assert tuple(store.read(ACCOUNT)) == result.events


def cancelled(server: PostgresServer, work: Callable[[], object]) -> object:
    """Do something that waits for a standby, and cancel it once it waits; return what it returns or raises."""
    outcome = Doing(work)
    end_the_one_that_waits(server, "pg_cancel_backend", "SyncRep")
    return outcome()


def test_a_transaction_that_no_standby_has_confirmed_is_an_unknown_outcome(
    server: PostgresServer, store: PostgresEventStore, alone: Callable[[], None]
) -> None:
    events = [event()]

    def save() -> int:
        with store.transaction() as tx:
            pending = tx.append(ACCOUNT, events, expected_version=0)
        return pending.result.version

    assert isinstance(cancelled(server, save), UnknownOutcome)
    alone()
    assert save() == 1
    assert store.version(ACCOUNT) == 1


def test_a_repeat_is_not_called_stored_before_a_standby_has_confirmed_it(
    server: PostgresServer, store: PostgresEventStore, alone: Callable[[], None]
) -> None:
    repeat = partial(store.append, ACCOUNT, [event()], expected_version=0)
    assert isinstance(cancelled(server, repeat), UnknownOutcome)

    outcome = Doing(repeat)
    time.sleep(0.3)
    assert execute(server.dsn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == [(1,)]

    alone()
    result = outcome()
    assert isinstance(result, AppendResult)
    assert result.version == 1


def test_nobody_waits_for_ever_for_a_standby(server: PostgresServer, schema: str, alone: Callable[[], None]) -> None:
    alone()
    with PostgresEventStore(server.dsn, schema=schema, statement_timeout=0.2) as store:
        first = store.append(ACCOUNT, [event()], expected_version=0)
        execute(server.dsn, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
        until(lambda: execute(server.dsn, "SHOW synchronous_standby_names") == [("nobody",)])

        def save() -> None:
            with store.transaction() as tx:
                tx.append(OTHER, [event()], expected_version=0)

        for work in (partial(store.append, ACCOUNT, [event()], expected_version=first.version), save):
            with pytest.raises(UnknownOutcome, match="standby"):
                work()

        alone()
        assert [store.version(stream) for stream in (ACCOUNT, OTHER)] == [2, 1]


@pytest.mark.parametrize("theirs", [False, True], ids=["own pool", "pool of the caller"])
def test_a_commit_that_no_standby_has_confirmed_is_noticed_by_whoever_wants_no_warnings(
    server: PostgresServer, schema: str, alone: Callable[[], None], *, theirs: bool
) -> None:
    quiet = psycopg.conninfo.make_conninfo(server.dsn, options="-c client_min_messages=error")
    alone()
    with ConnectionPool(quiet, min_size=2, max_size=2, open=True) as pool:  # noqa: SIM117  # the line would be long
        with PostgresEventStore(pool if theirs else quiet, schema=schema) as store:
            execute(server.dsn, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
            until(lambda: execute(server.dsn, "SHOW synchronous_standby_names") == [("nobody",)])
            outcome = Doing(partial(append, store))
            time.sleep(0.3)  # to be refused at once is as good
            execute(server.dsn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

            assert isinstance(outcome(), StorageError)


# Sessions that promise too little


@pytest.mark.parametrize("setting", ["off", "local", "remote_write"])
@pytest.mark.parametrize("count", [1, 2], ids=["one", "two"])
def test_a_session_that_promises_less_than_durability_is_refused(
    server: PostgresServer, schema: str, setting: str, count: int
) -> None:
    dsn = psycopg.conninfo.make_conninfo(server.dsn, options=f"-c synchronous_commit={setting}")
    events = [event() for _ in range(count)]
    refusal = rf'synchronous_commit is {setting}.*durability="normal"'
    with pytest.raises(StorageError, match=refusal):
        PostgresEventStore(dsn, schema=schema)
    with ConnectionPool(server.dsn, min_size=2, max_size=2) as pool, PostgresEventStore(pool, schema=schema) as store:
        with pool.connection() as one, pool.connection() as other:  # which change later
            for session in (one, other):
                session.execute(f"SET synchronous_commit = {setting}".encode())
        with pytest.raises(StorageError, match=refusal):
            store.append(ACCOUNT, events, expected_version=0)
        with pytest.raises(StorageError, match=refusal), store.transaction() as tx:
            tx.append(ACCOUNT, events, expected_version=0)
        assert store.head() is None
    with PostgresEventStore(dsn, schema=schema, durability="normal") as store:
        assert store.append(ACCOUNT, events, expected_version=0).version == count


@pytest.mark.parametrize("setting", ["on", "remote_apply"])
def test_a_session_that_promises_enough_is_taken(server: PostgresServer, schema: str, setting: str) -> None:
    dsn = psycopg.conninfo.make_conninfo(server.dsn, options=f"-c synchronous_commit={setting}")
    with PostgresEventStore(dsn, schema=schema) as store:
        assert append(store).version == 1


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_pool_whose_sessions_do_not_see_what_others_commit_is_refused(
    server: PostgresServer,
    schema: str,
    level: str,
    durability: Any,  # noqa: ANN401  # one of two
) -> None:
    dsn = psycopg.conninfo.make_conninfo(
        server.dsn, options=f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    )
    with PostgresEventStore(dsn, schema=schema, durability=durability) as store:
        assert append(store).version == 1
    with ConnectionPool(dsn, min_size=2, max_size=2, open=True) as pool:  # noqa: SIM117  # the line would be long
        with PostgresEventStore(pool, schema=schema, durability=durability) as store:
            with pytest.raises(StorageError, match=f"transaction_isolation is {level}"):
                append(store)
            with pytest.raises(StorageError, match=f"transaction_isolation is {level}"):
                store.append(ACCOUNT, [event(), event()], expected_version=1)
            assert store.version(ACCOUNT) == 1


@pytest.mark.parametrize("encoding", ["latin1", "sql_ascii", "win1252"])
@pytest.mark.parametrize("theirs", [False, True], ids=["own pool", "pool of the caller"])
def test_text_is_kept_whatever_encoding_the_session_has(
    server: PostgresServer, schema: str, encoding: str, *, theirs: bool
) -> None:
    dsn = psycopg.conninfo.make_conninfo(server.dsn, client_encoding=encoding)
    events = [NewEvent("Grüßte", '"ü😀"') for _ in range(3)]
    with ConnectionPool(dsn, min_size=2, max_size=2, open=True) as pool:  # noqa: SIM117  # the line would be long
        with suppress(StorageError), PostgresEventStore(pool if theirs else dsn, schema=schema) as store:
            with suppress(StorageError):
                store.append(stream("ü😀"), events[:1], expected_version=0)
            with suppress(StorageError):
                store.append(stream("ü😀"), events[1:], expected_version=ANY_VERSION)
    with PostgresEventStore(server.dsn, schema=schema) as store:
        stored = list(store.read_all())
        assert {one.data for one in stored} <= {'"ü😀"'}
        assert {one.type for one in stored} <= {"Grüßte"}
        assert {str(one.stream) for one in stored} <= {"Account-ü😀"}
        if not theirs:
            assert len(stored) == 3


# No connection to be had


@pytest.mark.parametrize("theirs", [False, True], ids=["own pool", "pool of the caller"])
def test_a_pool_that_is_in_use_is_said_soon(server: PostgresServer, schema: str, *, theirs: bool) -> None:
    with ConnectionPool(server.dsn, min_size=2, max_size=2, open=True) as pool:
        source = pool if theirs else server.dsn
        with PostgresEventStore(source, schema=schema, connect_timeout=0.3, pool_size=2) as store:
            inside, leave = threading.Barrier(3), threading.Event()

            def use() -> None:
                with store.transaction() as tx:
                    tx.execute("SELECT 1")
                    inside.wait(PATIENCE)
                    assert leave.wait(PATIENCE)

            users = [Doing(use) for _ in range(2)]
            inside.wait(PATIENCE)
            for call in (store.head, lambda: store.query("SELECT 1"), lambda: store.version(ACCOUNT)):
                begun = time.monotonic()
                with pytest.raises(StorageError, match="all 2 connections of the pool are in use for too long"):
                    call()
                assert time.monotonic() - begun < 2
            leave.set()
            assert [user() for user in users] == [None, None]
            append(store)
            assert store.head() == 1


def test_a_pool_that_is_not_open_yet_is_said(server: PostgresServer, schema: str) -> None:
    pool = ConnectionPool(server.dsn, min_size=2, max_size=2, open=False)

    with pytest.raises(StorageError, match="not open"):
        PostgresEventStore(pool, schema=schema)


def test_a_pool_that_its_owner_has_closed_is_said(server: PostgresServer, schema: str) -> None:
    with ConnectionPool(server.dsn, min_size=2, max_size=2, open=True) as pool:
        store = PostgresEventStore(pool, schema=schema)
    with store, pytest.raises(StorageError):
        store.head()


def test_too_small_a_pool_is_refused(server: PostgresServer, schema: str) -> None:
    pool = ConnectionPool(server.dsn, min_size=1, max_size=1, open=True)
    with pool, pytest.raises(ValueError, match="at least 2 connections"):
        PostgresEventStore(pool, schema=schema)
    with pytest.raises(ValueError, match="pool_size"):
        PostgresEventStore(server.dsn, schema=schema, pool_size=1)


def test_the_pool_of_the_caller_stays_open_and_as_it_was(server: PostgresServer, schema: str) -> None:
    with ConnectionPool(server.dsn, min_size=2, max_size=2, open=True) as pool:
        with PostgresEventStore(pool, schema=schema) as store:
            append(store)
            with store.claim("mine"):
                pass
        with pool.connection() as connection:
            assert connection.autocommit is False
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert sessions_with_claims(server) == []


def test_a_server_with_no_room_for_a_session_is_said(server: PostgresServer, schema: str) -> None:
    execute(server.dsn, "CREATE ROLE lonely LOGIN CONNECTION LIMIT 1", "GRANT CREATE ON DATABASE postgres TO lonely")
    dsn = psycopg.conninfo.make_conninfo(server.dsn, user="lonely")
    with psycopg.connect(dsn), pytest.raises(StorageError, match="too many connections"):
        PostgresEventStore(dsn, schema=schema, connect_timeout=1)


SECRET = "s3cr3t"  # noqa: S105  # of nothing


@pytest.fixture
def guarded(server: PostgresServer) -> str:
    """Name the server for a role that needs a password."""
    ((hba,),) = execute(server.dsn, "SHOW hba_file")
    path = Path(hba)
    if "guarded" not in path.read_text():
        path.write_text(f"local all guarded scram-sha-256\n{path.read_text()}")
        execute(server.dsn, f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}-indeed'", "SELECT pg_reload_conf()")
    return psycopg.conninfo.make_conninfo(server.dsn, user="guarded")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user": "guarded", "password": SECRET}, "password authentication failed"),
        ({"user": "guarded"}, "no password supplied"),
        ({"user": "nobody", "password": SECRET}, "role .* does not exist"),
        ({"dbname": "nowhere", "password": SECRET}, "database .* does not exist"),
        ({"host": "nowhere.invalid", "password": SECRET}, "nowhere.invalid"),
        ({"host": "127.0.0.1", "port": 1, "password": SECRET}, "refused"),
        ({"host": "/nowhere", "password": SECRET}, "No such file"),
        ({"options": "-c no_such_setting=1", "password": SECRET}, "no_such_setting"),
    ],
    ids=["password", "no password", "role", "database", "host", "port", "folder", "options"],
)
def test_a_server_that_lets_nobody_in_is_said_at_once_and_without_the_password(
    guarded: str, server: PostgresServer, schema: str, changes: dict[str, Any], reason: str
) -> None:
    assert guarded
    begun = time.monotonic()

    with pytest.raises(StorageError, match=reason) as raised:
        PostgresEventStore(psycopg.conninfo.make_conninfo(server.dsn, **changes), schema=schema, connect_timeout=5)

    assert time.monotonic() - begun < 4
    assert SECRET not in str(raised.value) + repr(raised.value)
    assert isinstance(raised.value.__cause__, psycopg.Error)


def test_the_password_is_never_shown(guarded: str, server: PostgresServer, schema: str) -> None:
    execute(server.dsn, "GRANT CREATE ON DATABASE postgres TO guarded")
    dsn = psycopg.conninfo.make_conninfo(guarded, password=f"{SECRET}-indeed")
    with PostgresEventStore(dsn, schema=schema) as store:
        assert SECRET not in repr(store)
        with pytest.raises(StorageError) as raised:
            store.query("SELECT * FROM nothing")
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "dsn",
    [f"postgres:/u:{SECRET}@h/db", f"postgresql://u:{SECRET}@h/db?x=1", f"host=x password='{SECRET}", f"{SECRET}"],
)
def test_what_is_no_connection_string_is_refused_without_the_password(schema: str, dsn: str) -> None:
    with pytest.raises(ValueError, match="connection string") as raised:
        PostgresEventStore(dsn, schema=schema)

    assert SECRET not in str(raised.value)


def test_a_server_that_says_nothing_is_given_up(schema: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            PostgresEventStore(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}", schema=schema, connect_timeout=2)
        assert time.monotonic() - begun < 5


# Closing


def test_a_store_closes_while_the_server_is_away(server: PostgresServer, schema: str) -> None:
    store = PostgresEventStore(server.dsn, schema=schema, connect_timeout=1.0, notify=True)
    append(store)
    following = Doing(lambda: [stored.version for stored in store.subscribe()])
    running_ = Doing(ProjectionRunner(store, [Journal()]).run)
    writing = Doing(lambda: [append(store, number) for number in range(10**6)])
    until(lambda: store.version(stream(3)) == 1)
    server.kill()
    time.sleep(0.2)

    begun = time.monotonic()
    store.close()

    assert time.monotonic() - begun < 8
    assert following() == [1] or isinstance(following(), list)
    assert isinstance(running_(), StoreClosed)
    assert isinstance(writing(), StorageError)


def test_a_store_closes_while_threads_append_and_read(store: PostgresEventStore) -> None:
    def write(number: int) -> None:
        while True:
            append(store, number)

    def read() -> None:
        while True:
            list(store.read_all(limit=50))

    def close() -> None:
        until(lambda: (store.head() or 0) > 50)
        store.close()

    outcomes = in_threads([*(partial(write, number) for number in range(6)), read, read, close])

    assert [type(outcome) for outcome in outcomes] == [StoreClosed] * 8 + [type(None)]


def test_a_lock_that_somebody_holds_is_said_in_views_too(server: PostgresServer, schema: str) -> None:
    with PostgresEventStore(server.dsn, schema=schema, lock_timeout=0.2) as store:
        with PostgresEventStore(server.dsn, schema=schema) as other, other.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers (number integer)")
            with pytest.raises(StorageError, match="raise lock_timeout"), store.view_transaction():
                pass
            assert append(store).version == 1
        with psycopg.connect(server.dsn) as holder:
            holder.execute(LOCK, (quoted(schema),))
            with pytest.raises(StorageError, match="raise lock_timeout"), store.transaction() as tx:
                tx.append(ACCOUNT, [event()], expected_version=1)
        assert store.version(ACCOUNT) == 1
