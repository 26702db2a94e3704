"""Threads that share a commit in SQLite: each gets its own answer, and a failure stays with the one whose it is."""

import linecache
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
from attrs import evolve
from processes import fork, status_of

from esbank.backends import _sqlite_appends
from esbank.backends._group_commit import GroupCommit
from esbank.backends._sqlite_appends import Appender
from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError, DuplicateEvent, StorageError, StoreClosed, UnknownOutcome
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    AppendResult,
    AppendTransaction,
    ExpectedVersion,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
)
from esbank.testing.conformance._given import in_threads
from esbank.verification import verify

PATIENCE = 20.0


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteEventStore]:
    with SQLiteEventStore(path) as store:
        yield store
        assert verify(store).ok


def stream(key: object) -> StreamId:
    return StreamId("Account", str(key))


def event(data: str = "{}") -> NewEvent:
    return NewEvent("Deposited", data)


def append(
    store: SQLiteEventStore, key: object, *events: NewEvent, expected: ExpectedVersion = ANY_VERSION
) -> AppendResult:
    return store.append(stream(key), events or [event()], expected_version=expected)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Call:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._outcome: object = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            self._outcome = error

    def end(self) -> object:
        """Return what it returned or raised."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it is stuck"
        return self._outcome


class HeldClock:
    """Tells the time once it may go on: until then whoever has asked is in a transaction, and keeps others waiting."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> int:
        self.is_asked.set()
        assert self.go_on.wait(PATIENCE)
        time.sleep(0.005)  # so that not all are done before a fork gets its turn
        return time.time_ns()


def begin_in_line(store: SQLiteEventStore, appends: Sequence[Callable[[], object]]) -> list[Call]:
    """Have appends wait in this order behind one that leads, which waits for the lock that the caller holds."""
    group = store._appender._group  # noqa: SLF001  # nothing else tells who waits
    calls = [Call(partial(append, store, "leader"))]
    until(lambda: group.is_busy and not group._waiting)  # noqa: SLF001
    for call in appends:
        calls.append(Call(call))
        until(lambda: len(group._waiting) == len(calls) - 1)  # noqa: SLF001
    return calls


def grouped(
    store: SQLiteEventStore, appends: Sequence[Callable[[], object]], *, meanwhile: Callable[[], object] = int
) -> list[object]:
    """Make appends that share a commit, behind one that goes alone; return what they returned or raised."""
    with store._database._write_lock:  # noqa: SLF001  # so that `meanwhile` may take the lock of the file
        calls = begin_in_line(store, appends)
        meanwhile()
    return [call.end() for call in calls][1:]


def writer_of(store: SQLiteEventStore) -> Connection:
    with store.view_transaction():
        writer = store._database._writer  # noqa: SLF001  # to look over its shoulder, and to make it fail
    assert writer is not None
    return writer


def watch(store: SQLiteEventStore) -> list[str]:
    """Return a list to which each statement of the writer is added."""
    statements: list[str] = []
    writer_of(store)._raw.set_trace_callback(statements.append)  # noqa: SLF001  # the driver's own way to see them
    return statements


def keys(store: SQLiteEventStore) -> list[str]:
    """List the streams in the order in which they got their events, without the leader's."""
    return [stored.stream.key for stored in store.read_all() if stored.stream.key != "leader"]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def are_stored(outcomes: Sequence[object]) -> list[bool]:
    return [isinstance(outcome, AppendResult) for outcome in outcomes]


# Who shares a commit with whom


def test_appends_that_wait_for_each_other_share_one_commit(store: SQLiteEventStore) -> None:
    statements = watch(store)

    outcomes = grouped(store, [partial(append, store, number) for number in range(32)])

    assert [outcome.position for outcome in outcomes if isinstance(outcome, AppendResult)] == list(range(2, 34))
    assert statements.count("COMMIT") == 2
    assert keys(store) == [str(number) for number in range(32)]


def test_appends_of_many_shapes_are_stored_as_if_each_were_alone(store: SQLiteEventStore) -> None:
    statements = watch(store)
    twice = event()
    append(store, "a", event('"first"'))

    outcomes = grouped(
        store,
        [
            partial(append, store, "a", event('{"ü":"😀"}'), event("[]"), event(" 1 "), expected=1),
            partial(store.append_many, [StreamAppend(stream(key), [twice], NO_STREAM) for key in ("x", "y")]),
            partial(append, store, "b", evolve(twice, schema_version=7), event(), expected=NO_STREAM),
        ],
    )

    assert statements.count("COMMIT") == 3
    appended = list(store.read_appends())
    assert [[stored.stream.key for stored in one] for one in appended[2:]] == [["a"] * 3, ["x", "y"], ["b"] * 2]
    assert [stored.position for one in appended for stored in one] == list(range(1, 10))
    a, both, b = outcomes
    assert isinstance(a, AppendResult)
    assert isinstance(both, tuple)
    assert isinstance(b, AppendResult)
    assert [a.events, tuple(result.events[0] for result in both), b.events] == appended[2:]
    assert (a.version, b.version) == (4, 2)


def test_appends_to_one_stream_go_in_their_order_and_never_share_a_commit(store: SQLiteEventStore) -> None:
    statements = watch(store)

    outcomes = grouped(store, [partial(append, store, "same", expected=number) for number in range(5)])

    assert [outcome.version for outcome in outcomes if isinstance(outcome, AppendResult)] == [1, 2, 3, 4, 5]
    assert statements.count("COMMIT") == 6


def test_a_condition_on_a_stream_is_checked_after_the_commit_of_what_came_before_it(store: SQLiteEventStore) -> None:
    statements = watch(store)

    def append_if(key: str, expected: ExpectedVersion) -> object:
        appends = [StreamAppend(stream(key), [event()], ANY_VERSION)]
        return store.append_many(appends, conditions=[StreamCondition(stream("a"), expected)])

    a, refused, allowed, other = grouped(
        store,
        [
            partial(append, store, "a"),
            partial(append_if, "refused", NO_STREAM),
            partial(append_if, "allowed", STREAM_EXISTS),
            partial(append, store, "other"),
        ],
    )

    assert are_stored([a, other]) == [True, True]
    assert isinstance(refused, ConcurrencyError)
    assert (refused.stream, refused.actual) == (stream("a"), 1)
    assert isinstance(allowed, tuple)
    assert statements.count("COMMIT") == 3
    assert keys(store) == ["a", "other", "allowed"]


def test_a_commit_takes_a_thousand_events_at_most(store: SQLiteEventStore) -> None:
    statements = watch(store)

    grouped(store, [partial(append, store, key, *(event() for _ in range(500))) for key in range(4)])

    assert statements.count("COMMIT") == 3
    assert len(keys(store)) == 2000


@pytest.mark.parametrize("how", ["normal", "inline"])
def test_appends_go_alone_where_a_commit_does_not_wait_for_the_disk_or_a_handler_is_told(path: Path, how: str) -> None:
    told: list[list[str]] = []

    class Listener:
        def on_append(self, transaction: AppendTransaction, events: Sequence[StoredEvent]) -> None:
            assert transaction.dialect == "sqlite"
            told.append([stored.stream.key for stored in events])

    options: dict[str, Any] = {"durability": "normal"} if how == "normal" else {"inline": [Listener()]}
    with SQLiteEventStore(path, **options) as store:
        statements = watch(store)
        told.clear()
        with store._database._write_lock:  # noqa: SLF001  # so that they wait for each other
            calls = [Call(partial(append, store, key)) for key in range(8)]
            time.sleep(0.05)
        assert are_stored([call.end() for call in calls]) == [True] * 8

        assert statements.count("COMMIT") == 8
        assert told == ([] if how == "normal" else [[key] for key in keys(store)])


# Each gets its own answer


def test_a_conflict_and_a_repeat_get_their_answers_within_the_commit_of_their_neighbours(
    store: SQLiteEventStore,
) -> None:
    known = [event(), event()]
    first = append(store, "repeat", *known)
    append(store, "repeat")
    append(store, "moved on")
    statements = watch(store)

    good, moved_on, repeat, nobody, good_too = grouped(
        store,
        [
            partial(append, store, "good", expected=0),
            partial(append, store, "moved on", expected=0),
            partial(append, store, "repeat", *known, expected=0),
            partial(append, store, "nobody", expected=STREAM_EXISTS),
            partial(append, store, "good too", event(), event()),
        ],
    )

    assert are_stored([good, good_too]) == [True, True]
    assert isinstance(moved_on, ConcurrencyError)
    assert (moved_on.stream, moved_on.expected, moved_on.actual) == (stream("moved on"), 0, 1)
    assert repeat == first
    assert isinstance(nobody, ConcurrencyError)
    assert (nobody.stream, nobody.actual) == (stream("nobody"), 0)
    assert statements.count("COMMIT") == 2
    assert keys(store)[4:] == ["good", "good too", "good too"]


def test_a_repeat_whose_expectation_still_holds_gets_the_first_result_and_takes_nobody_with_it(
    store: SQLiteEventStore,
) -> None:
    known = event()
    first = append(store, "known", known)

    outcomes = grouped(
        store, [partial(append, store, "a"), partial(append, store, "known", known), partial(append, store, "b")]
    )

    assert are_stored(outcomes) == [True] * 3
    assert outcomes[1] == first
    assert keys(store) == ["known", "a", "b"]


@pytest.mark.parametrize("expected", [0, 1])
def test_an_id_with_other_content_fails_alone(store: SQLiteEventStore, expected: int) -> None:
    known = event()
    append(store, "known", known)

    outcomes = grouped(
        store,
        [
            partial(append, store, "a"),
            partial(append, store, "known", evolve(known, data="[]"), expected=expected),
            partial(append, store, "b"),
        ],
    )

    assert are_stored(outcomes) == [True, False, True]
    assert isinstance(outcomes[1], DuplicateEvent)
    assert (outcomes[1].stream, outcomes[1].event_id) == (stream("known"), known.event_id)
    assert keys(store) == ["known", "a", "b"]


def test_an_append_behind_a_damaged_event_fails_alone(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        append(store, "damaged")
        execute(path, "DROP TRIGGER esbank_events_no_update", "UPDATE esbank_events SET digest = 'x'")

        outcomes = grouped(store, [partial(append, store, key) for key in ("a", "damaged", "b")])

        assert are_stored(outcomes) == [True, False, True]
        assert isinstance(outcomes[1], StorageError)
        assert "damaged" in str(outcomes[1])
        assert keys(store) == ["damaged", "a", "b"]


REFUSE = "CREATE TRIGGER refuse BEFORE INSERT ON esbank_events WHEN NEW.type = 'bad' BEGIN SELECT RAISE({}, 'no'); END"


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("undoes", ["ABORT", "ROLLBACK"])  # the statement, or the whole transaction
def test_an_append_that_the_database_refuses_fails_alone_whoever_leads(
    store: SQLiteEventStore, path: Path, undoes: str, place: int
) -> None:
    execute(path, REFUSE.format(undoes))
    statements = watch(store)
    appends = [partial(append, store, key, event(), event()) for key in ("a", "b")]
    appends.insert(place, partial(append, store, "bad", event(), NewEvent("bad", "{}")))

    outcomes = grouped(store, appends)

    assert are_stored(outcomes) == [one != place for one in range(3)]
    refused = outcomes[place]
    assert isinstance(refused, StorageError)
    assert isinstance(refused.__cause__, sqlite3.IntegrityError)
    assert keys(store) == ["a", "a", "b", "b"]
    assert [len(one) for one in store.read_appends()] == [1, 2, 2]
    assert statements.count("COMMIT") == 3


# What fails for all


def test_a_commit_that_fails_is_an_unknown_outcome_for_all_that_share_it_and_may_be_repeated(
    store: SQLiteEventStore, path: Path
) -> None:
    append(store, "moved on")
    execute(
        path,
        "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
        "CREATE TABLE children (parent REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER orphan AFTER INSERT ON esbank_events WHEN NEW.type = 'bad'"
        " BEGIN INSERT INTO children VALUES (7); END",
    )
    writer_of(store).rows("PRAGMA foreign_keys=ON")
    appends = [
        partial(append, store, "a", event()),
        partial(append, store, "moved on", event(), expected=0),
        partial(append, store, "bad", NewEvent("bad", "{}")),
        partial(append, store, "b", event(), event()),
    ]

    outcomes = grouped(store, appends)

    assert [type(outcome) for outcome in outcomes] == [UnknownOutcome] * 4
    assert len({id(outcome) for outcome in outcomes}) == 4
    for outcome in outcomes:
        assert isinstance(outcome, UnknownOutcome)
        assert "the commit failed" in str(outcome)
        assert isinstance(outcome.__cause__, sqlite3.IntegrityError)
    assert keys(store) == ["moved on"]
    execute(path, "DROP TRIGGER orphan")
    assert are_stored(grouped(store, appends)) == [True, False, True, True]
    assert are_stored(grouped(store, appends)) == [True, False, True, True]
    assert keys(store) == ["moved on", "a", "bad", "b", "b"]


def test_a_file_that_another_holds_for_too_long_is_waited_for_once_by_all_that_share_a_commit(path: Path) -> None:
    with SQLiteEventStore(path, busy_timeout=0.1) as store, closing(sqlite3.connect(path)) as other:
        statements = watch(store)
        appends = [partial(append, store, number) for number in range(10)]

        outcomes = grouped(store, appends, meanwhile=partial(other.execute, "BEGIN IMMEDIATE"))

        assert statements.count("BEGIN IMMEDIATE") == 2  # the leader's, and that of all who wait behind it
        assert [type(outcome) for outcome in outcomes] == [StorageError] * 10
        assert len({id(outcome) for outcome in outcomes}) == 10
        for outcome in outcomes:
            assert isinstance(outcome, StorageError)
            assert "raise busy_timeout" in str(outcome)
            assert isinstance(outcome.__cause__, sqlite3.OperationalError)
        other.rollback()
        assert store.head() is None
        assert are_stored(grouped(store, appends)) == [True] * 10


# Closing, forks, interrupts


def test_appends_that_wait_while_the_store_is_closed_are_stored_or_told_so(path: Path) -> None:
    store = SQLiteEventStore(path)
    closing_calls: list[Call] = []

    outcomes = grouped(
        store,
        [partial(append, store, key) for key in ("a", "b", "a", "b", "a")],
        meanwhile=lambda: closing_calls.append(Call(store.close)),
    )

    assert closing_calls[0].end() is None
    assert {type(outcome) for outcome in outcomes} <= {AppendResult, StoreClosed}
    with pytest.raises(StoreClosed):
        append(store, "a")
    with SQLiteEventStore(path) as again:
        stored = sum(are_stored(outcomes))
        assert keys(again) == ["a", "b", "a", "b", "a"][:stored]
        assert are_stored(outcomes) == [True] * stored + [False] * (5 - stored)


def test_an_append_inside_a_transaction_of_its_thread_is_an_error_though_others_wait_for_that(path: Path) -> None:
    store = SQLiteEventStore(path)

    def append_inside() -> list[Call]:
        with store.view_transaction():
            calls = begin_in_line(store, [partial(append, store, key) for key in ("a", "b")])
            with pytest.raises(StorageError, match="a transaction is open in this thread"):
                append(store, "inside")
        return calls

    calls = Call(append_inside).end()

    assert isinstance(calls, list)
    assert are_stored([call.end() for call in calls]) == [True] * 3
    assert keys(store) == ["a", "b"]
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # it is what is tried here
def test_a_fork_while_threads_wait_for_a_group_leaves_parent_and_child_able_to_append(path: Path) -> None:
    clock = HeldClock()
    outcomes: list[object] = []

    def append_beside(frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code is GroupCommit.__init__.__code__:  # the child makes a group of its own
            outcomes.append(Call(partial(append, store, "beside")).end())

    def child() -> None:
        signal.alarm(int(PATIENCE))  # so that one that hangs has an end
        sys.settrace(append_beside)
        append(store, "child")
        assert are_stored(outcomes) == [True]

    with SQLiteEventStore(path, clock=clock) as store:
        # They never share a commit, so that some still wait when the fork gets its turn.
        calls = begin_in_line(store, [partial(append, store, "same") for _ in range(20)])
        assert clock.is_asked.wait(PATIENCE)
        threading.Timer(0.05, clock.go_on.set).start()
        status = status_of(fork(child))  # which waits for the thread that holds the clock

        assert status == 0
        assert are_stored([call.end() for call in calls]) == [True] * 21
        assert sorted(keys(store)) == ["beside", "child", *["same"] * 20]
        assert verify(store).ok


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot signal a thread")
def test_a_signal_handler_may_append_while_its_thread_waits_for_a_group(path: Path) -> None:
    clock = HeldClock()
    outcomes: list[object] = []

    def append_now(_number: int, _frame: FrameType | None) -> None:
        clock.go_on.set()
        outcomes.append(append(store, "handler"))

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("it is stuck")

    def send_the_signal() -> None:
        until(lambda: len(store._appender._group._waiting) == 1)  # noqa: SLF001
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = [signal.signal(signal.SIGUSR1, append_now), signal.signal(signal.SIGALRM, give_up)]
    try:
        with SQLiteEventStore(path, clock=clock) as store:
            calls = [Call(partial(append, store, "leader"))]
            assert clock.is_asked.wait(PATIENCE)
            calls.append(Call(send_the_signal))
            signal.alarm(int(PATIENCE))
            append(store, "main")

            assert [call.end() is None for call in calls] == [False, True]
            assert are_stored(outcomes) == [True]
            assert sorted(keys(store)) == ["handler", "main"]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGALRM, before[1])


class Interruption(BaseException):
    """What Ctrl-C does, without being it."""


def interrupt_at(step: int, where: list[str]) -> Callable[[FrameType, str, Any], Any]:
    """Make a trace function that raises once, at that line of what a leader does, and then says which one it was.

    Python itself cannot be interrupted where a ``with`` statement ends, nor by the mere word ``try``.
    """
    left = step
    leads = False

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401  # as sys.settrace wants it
        nonlocal left, leads
        leads = leads or frame.f_code is Appender._append_group.__code__  # noqa: SLF001  # where a leader begins
        if not leads or frame.f_code.co_filename != _sqlite_appends.__file__:
            return None
        line = linecache.getline(_sqlite_appends.__file__, frame.f_lineno).strip()
        if event == "line" and not line.startswith(("with ", "try:")) and not where:
            left -= 1
            if left < 0:
                where.append(line)
                raise Interruption
        return trace

    return trace


def lead_and_be_interrupted(store: SQLiteEventStore, step: int) -> list[str]:
    """Interrupt whoever leads a group at a step, and repeat all; return where it was, and nothing at its end."""
    where: list[str] = []
    appends = [partial(append, store, key, event(), event()) for key in ("mine", "b", "c")]

    def lead() -> object:
        sys.settrace(interrupt_at(step, where))
        try:
            return appends[0]()
        finally:
            sys.settrace(None)

    before = keys(store)
    first, *others = grouped(store, [lead, *appends[1:]])

    assert isinstance(first, Interruption) is bool(where)
    if where:
        assert [type(outcome) for outcome in others] == [UnknownOutcome] * 2, where
        assert all("interrupted; repeat the same append" in str(outcome) for outcome in others)
    assert are_stored([repeat() for repeat in appends]) == [True] * 3
    assert sorted(keys(store)) == sorted([*before, *["mine", "b", "c"] * 2])
    return where


def test_whoever_shares_a_commit_with_a_leader_that_is_interrupted_does_not_know_and_repeats(
    store: SQLiteEventStore,
) -> None:
    steps = 0
    while lead_and_be_interrupted(store, steps):
        steps += 1

    assert steps > 20


# Many


def test_versions_are_contiguous_and_what_was_acknowledged_is_there_when_many_threads_race(
    store: SQLiteEventStore,
) -> None:
    def work(thread: int) -> list[AppendResult]:
        random = Random(thread)  # noqa: S311  # a race, not a secret
        acknowledged: list[AppendResult] = []
        for _ in range(25):
            key = random.randrange(50)
            guess = store.version(stream(key)) if random.random() < 0.8 else random.randrange(5)
            try:
                acknowledged.append(append(store, key, *(event() for _ in range(1 + key % 3)), expected=guess))
            except ConcurrencyError as error:
                assert (error.stream, error.expected) == (stream(key), guess)  # noqa: PT017  # most do not fail
        return acknowledged

    outcomes = in_threads([partial(work, thread) for thread in range(16)])

    acknowledged: list[AppendResult] = []
    for outcome in outcomes:
        assert isinstance(outcome, list), outcome
        acknowledged += outcome
    assert 100 < len(acknowledged) < 400
    acknowledged.sort(key=lambda result: result.position)
    assert [result.events for result in acknowledged] == list(store.read_appends())
    assert [stored.position for stored in store.read_all()] == list(range(1, (store.head() or 0) + 1))
    for key in range(50):
        versions = [stored.version for stored in store.read(stream(key))]
        assert versions == list(range(1, len(versions) + 1))
