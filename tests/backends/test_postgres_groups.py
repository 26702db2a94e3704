"""Appends that share a commit: each gets its own answer, and a failure stays with the one whose it is."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest
from attrs import evolve

from esbank.backends._postgres_connection import quoted
from esbank.backends.postgres import PostgresEventStore
from esbank.errors import ConcurrencyError, DuplicateEvent, StorageError
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    AppendResult,
    ExpectedVersion,
    NewEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    new_event_id,
)
from esbank.testing.conformance._given import in_threads

PATIENCE = 20.0
LOCK = "SELECT pg_advisory_xact_lock(1702060641, (%s || '.esbank_events')::regclass::oid::integer)"


@pytest.fixture
def store(server_dsn: str, schema: str) -> Iterator[PostgresEventStore]:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        yield store


def stream(key: object) -> StreamId:
    return StreamId("Account", str(key))


def event(data: str = "{}") -> NewEvent:
    return NewEvent("Deposited", data)


def append(
    store: PostgresEventStore, key: object, *events: NewEvent, expected: ExpectedVersion = ANY_VERSION
) -> AppendResult:
    return store.append(stream(key), events or [event()], expected_version=expected)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def nobody_may_append(dsn: str, schema: str) -> Iterator[Callable[[], bool]]:
    """Hold the lock of all appends; tells whether somebody waits for it."""
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as observer:
        pid = holder.info.backend_pid
        holder.execute(LOCK, (quoted(schema),))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        yield lambda: observer.execute(waiting, (pid,)).fetchone() != (0,)


def grouped(dsn: str, schema: str, store: PostgresEventStore, appends: Sequence[Callable[[], object]]) -> list[object]:
    """Make appends in threads so that all go to the server in one call; return what they returned or raised."""
    outcomes: list[object] = [None] * len(appends)

    def run(index: int) -> None:
        try:
            outcomes[index] = appends[index]()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(appends))]
    leader = threading.Thread(target=append, args=(store, "leader"), daemon=True)
    with nobody_may_append(dsn, schema) as somebody_waits:
        leader.start()
        until(somebody_waits)
        for number, thread in enumerate(threads, 1):
            thread.start()
            until(lambda number=number: len(store._appender._group._waiting) == number)  # noqa: SLF001
    for thread in (leader, *threads):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    return outcomes


def commits(store: PostgresEventStore) -> list[list[str]]:
    """List the streams that got events in each transaction, without the leader's."""
    rows = store.query(
        "SELECT array_agg(key ORDER BY position)::text[] FROM esbank_events WHERE key <> 'leader'"
        " GROUP BY xmin::text ORDER BY min(position)"
    )
    return [list(row[0]) for row in rows]


def execute(dsn: str, schema: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.replace("{schema}", quoted(schema)).encode())


REFUSE = """
    CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF new.key = 'bad' THEN RAISE EXCEPTION 'this one is bad'; END IF;
        RETURN new;
    END $$
"""
AT_ONCE = """
    CREATE TRIGGER refuse BEFORE INSERT ON {schema}.esbank_events
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()
"""
AT_THE_COMMIT = """
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {schema}.esbank_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()
"""
REFUSE_COMPANY = """
    CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) FROM {schema}.esbank_events WHERE xmin = pg_current_xact_id()::xid) > 1 THEN
            RAISE EXCEPTION 'more than one event';
        END IF;
        RETURN new;
    END $$
"""


def test_appends_that_wait_for_each_other_share_one_commit(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    outcomes = grouped(server_dsn, schema, store, [partial(append, store, number) for number in range(32)])

    assert [outcome.version for outcome in outcomes if isinstance(outcome, AppendResult)] == [1] * 32
    assert commits(store) == [[str(number) for number in range(32)]]
    assert [stored.position for stored in store.read_all()] == list(range(1, 34))


def test_threads_that_append_at_the_same_time_make_fewer_commits_than_appends(store: PostgresEventStore) -> None:
    def work(thread: int) -> list[AppendResult]:
        return [append(store, thread, event(), event(), expected=2 * number) for number in range(8)]

    outcomes = in_threads([partial(work, thread) for thread in range(32)])

    for thread, outcome in enumerate(outcomes):
        assert isinstance(outcome, list), outcome
        assert list(store.read(stream(thread))) == [stored for result in outcome for stored in result.events]
    assert len(commits(store)) < 200


def test_appends_to_one_stream_never_share_a_commit(server_dsn: str, schema: str, store: PostgresEventStore) -> None:
    outcomes = grouped(
        server_dsn, schema, store, [partial(append, store, "same", expected=number) for number in range(5)]
    )

    assert [outcome.version for outcome in outcomes if isinstance(outcome, AppendResult)] == [1, 2, 3, 4, 5]
    assert commits(store) == [["same"]] * 5


def test_a_condition_on_a_stream_is_checked_after_what_came_before_it(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    def append_if_there_is_none() -> object:
        return store.append_many(
            [StreamAppend(stream("b"), [event()], ANY_VERSION)], conditions=[StreamCondition(stream("a"), NO_STREAM)]
        )

    outcomes = grouped(server_dsn, schema, store, [partial(append, store, "a"), append_if_there_is_none])

    assert isinstance(outcomes[1], ConcurrencyError)
    assert (outcomes[1].stream, outcomes[1].actual) == (stream("a"), 1)
    assert commits(store) == [["a"]]


def test_each_append_of_a_group_gets_its_own_answer(server_dsn: str, schema: str, store: PostgresEventStore) -> None:
    known = event()
    first = append(store, "repeat", known)
    append(store, "duplicate", known)
    append(store, "moved on")

    outcomes = grouped(
        server_dsn,
        schema,
        store,
        [
            partial(append, store, "good", expected=0),
            partial(append, store, "moved on", expected=0),
            partial(append, store, "repeat", known),
            partial(append, store, "duplicate", evolve(known, data="[]")),
            partial(append, store, "nobody", expected=STREAM_EXISTS),
            partial(append, store, "good too", event(), event()),
        ],
    )

    good, moved_on, repeat, duplicate, nobody, good_too = outcomes
    assert isinstance(good, AppendResult)
    assert isinstance(good_too, AppendResult)
    assert (good.version, good_too.version) == (1, 2)
    assert isinstance(moved_on, ConcurrencyError)
    assert (moved_on.stream, moved_on.expected, moved_on.actual) == (stream("moved on"), 0, 1)
    assert repeat == first
    assert isinstance(duplicate, DuplicateEvent)
    assert (duplicate.stream, duplicate.event_id) == (stream("duplicate"), known.event_id)
    assert isinstance(nobody, ConcurrencyError)
    assert (nobody.stream, nobody.actual) == (stream("nobody"), 0)
    assert commits(store)[-1] == ["good", "good too", "good too"]


def test_a_known_id_at_the_right_version_fails_alone(server_dsn: str, schema: str, store: PostgresEventStore) -> None:
    known = event()
    append(store, "known", known)

    outcomes = grouped(
        server_dsn,
        schema,
        store,
        [
            partial(append, store, "a", expected=0),
            partial(append, store, "known", known, expected=1),
            partial(append, store, "known too", expected=0),
        ],
    )

    assert isinstance(outcomes[0], AppendResult)
    assert isinstance(outcomes[2], AppendResult)
    # The same event once more at the end of its stream: it is the very same append, and was stored at version 1.
    assert isinstance(outcomes[1], AppendResult | DuplicateEvent)
    assert [stored.version for stored in store.read(stream("known"))] == [1]


def test_an_id_with_other_content_at_the_right_version_fails_alone(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    known = event()
    append(store, "known", known)

    outcomes = grouped(
        server_dsn,
        schema,
        store,
        [
            partial(append, store, "a", expected=0),
            partial(append, store, "known", evolve(known, data="[]"), expected=1),
            partial(append, store, "b", expected=0),
        ],
    )

    assert isinstance(outcomes[1], DuplicateEvent)
    assert [isinstance(outcome, AppendResult) for outcome in outcomes] == [True, False, True]
    assert store.version(stream("known")) == 1


@pytest.mark.parametrize("trigger", [AT_ONCE, AT_THE_COMMIT], ids=["at once", "at the commit"])
def test_an_append_that_the_database_refuses_fails_alone(
    server_dsn: str, schema: str, store: PostgresEventStore, trigger: str
) -> None:
    execute(server_dsn, schema, REFUSE, trigger)

    outcomes = grouped(server_dsn, schema, store, [partial(append, store, key) for key in ("a", "bad", "b")])

    assert isinstance(outcomes[1], StorageError)
    assert "this one is bad" in str(outcomes[1])
    assert isinstance(outcomes[1].__cause__, psycopg.Error)
    assert [isinstance(outcome, AppendResult) for outcome in outcomes] == [True, False, True]
    assert sorted(stored.stream.key for stored in store.read_all()) == ["a", "b", "leader"]


def test_whoever_leads_a_group_that_fails_is_told_of_its_own_append_only(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    execute(server_dsn, schema, REFUSE, AT_ONCE)

    outcomes = grouped(server_dsn, schema, store, [partial(append, store, key) for key in ("bad", "a", "b")])

    assert isinstance(outcomes[0], StorageError)
    assert [isinstance(outcome, AppendResult) for outcome in outcomes] == [False, True, True]


def test_nobody_is_answered_on_the_strength_of_a_commit_that_fails(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    known = event()
    first = append(store, "repeat", known)
    execute(server_dsn, schema, REFUSE_COMPANY, AT_THE_COMMIT)

    outcomes = grouped(
        server_dsn,
        schema,
        store,
        [
            partial(append, store, "a", expected=0),
            partial(append, store, "repeat", expected=0),
            partial(append, store, "repeat", known),
            partial(append, store, "two", event(), event()),
            partial(append, store, "b", expected=0),
        ],
    )

    a, conflict, repeat, two, b = outcomes
    assert isinstance(a, AppendResult)
    assert isinstance(b, AppendResult)
    assert isinstance(conflict, ConcurrencyError)
    assert repeat == first
    assert isinstance(two, StorageError)
    assert commits(store) == [["repeat"], ["a"], ["b"]]
    assert list(store.read(stream("a"))) == list(a.events)
    assert list(store.read(stream("b"))) == list(b.events)


def test_json_that_the_server_cannot_parse_fails_alone(server_dsn: str, schema: str) -> None:
    shallow = psycopg.conninfo.make_conninfo(server_dsn, options="-c max_stack_depth=100kB")
    deep = "[" * 900 + "]" * 900
    with PostgresEventStore(shallow, schema=schema) as store:
        outcomes = grouped(
            server_dsn,
            schema,
            store,
            [partial(append, store, "a"), partial(append, store, "deep", event(deep)), partial(append, store, "b")],
        )

        assert isinstance(outcomes[1], StorageError)
        assert "stack depth" in str(outcomes[1])
        assert [isinstance(outcome, AppendResult) for outcome in outcomes] == [True, False, True]
        with pytest.raises(StorageError, match="stack depth"):
            append(store, "deep", event(deep))
        assert store.version(stream("deep")) == 0


def test_what_an_append_has_returned_everybody_can_see(server_dsn: str, schema: str, store: PostgresEventStore) -> None:
    query = f"SELECT event_id FROM {quoted(schema)}.esbank_events WHERE position = %s"  # noqa: S608  # our own schema

    def work(thread: int) -> None:
        with psycopg.connect(server_dsn, autocommit=True) as other:
            for _ in range(10):
                result = append(store, thread)
                assert other.execute(query.encode(), (result.position,)).fetchone() == (result.events[0].event_id,)

    assert in_threads([partial(work, thread) for thread in range(12)]) == [None] * 12
    assert len(commits(store)) < 120


def test_a_lock_that_is_held_for_too_long_fails_the_whole_group_and_stores_nothing(
    server_dsn: str, schema: str
) -> None:
    with PostgresEventStore(server_dsn, schema=schema, lock_timeout=0.2) as store:
        with nobody_may_append(server_dsn, schema):
            begun = time.monotonic()
            outcomes = in_threads([partial(append, store, number) for number in range(10)])
            took = time.monotonic() - begun

        errors = [outcome for outcome in outcomes if isinstance(outcome, StorageError)]
        assert len(errors) == 10
        assert len({id(error) for error in errors}) == 10
        assert all("raise lock_timeout" in str(error) for error in errors)
        assert all(isinstance(error.__cause__, psycopg.Error) for error in errors)
        assert took < 5
        assert store.head() is None
        append(store, "a")
        assert store.head() == 1


def test_a_group_sends_two_megabytes_at_most(server_dsn: str, schema: str, store: PostgresEventStore) -> None:
    events = [NewEvent("Noted", f'"{"x" * 800_000}"') for _ in range(4)]

    grouped(server_dsn, schema, store, [partial(append, store, key, one) for key, one in enumerate(events)])

    assert [sorted(set(keys)) for keys in commits(store)] == [["0", "1"], ["2", "3"]]


def test_every_append_of_a_group_of_many_shapes_is_as_if_it_were_alone(
    server_dsn: str, schema: str, store: PostgresEventStore
) -> None:
    ids = [new_event_id() for _ in range(3)]
    both = [StreamAppend(stream(key), [NewEvent("Moved", "[]", event_id=ids[0])], NO_STREAM) for key in ("x", "y")]
    outcomes = grouped(
        server_dsn,
        schema,
        store,
        [
            partial(append, store, "a", *(NewEvent("Opened", '{"ü":"😀"}', event_id=one) for one in ids)),
            partial(store.append_many, both),
            partial(append, store, "b", NewEvent("Opened", " 1 ", event_id=ids[1], schema_version=7), expected=0),
        ],
    )

    assert all(not isinstance(outcome, BaseException) for outcome in outcomes), outcomes
    a, b = outcomes[0], outcomes[2]
    assert isinstance(a, AppendResult)
    assert isinstance(b, AppendResult)
    assert list(store.read(stream("a"))) == list(a.events)
    assert list(store.read(stream("b"))) == list(b.events)
    assert [len(appended) for appended in store.read_appends()] == [1, 3, 2, 1]
    assert commits(store) == [["a", "a", "a", "x", "y", "b"]]
