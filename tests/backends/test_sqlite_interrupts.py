"""An interrupt may come at any moment: all of a call happened or nothing, no lock stays behind, and the store goes on.

Python looks for signals when a function begins or goes on, and after each call that it makes. At each of these moments
in turn a call of the store is interrupted here, in our own code and in that of ``with`` statements and locks.
"""

import contextlib
import dis
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from processes import Process, Run, Start, fork, hear, status_of, tell

from esbank import backends
from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError, StorageError
from esbank.store import ANY_VERSION, NewEvent, Snapshot, StreamAppend, StreamCondition, StreamId
from esbank.verification import verify

PATIENCE = 20.0
ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")
PROGRAMS = Path(__file__).parent / "sqlite_fault_programs.py"
WATCHED = (str(Path(backends.__file__).parent), contextlib.__file__, threading.__file__)


@pytest.fixture(autouse=True)
def _no_garbage_of_others() -> Iterator[None]:
    """Keep stores that other tests have left in cycles from being closed in the midst of an interruption."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def programs() -> Path:
    return PROGRAMS


# Interrupting


class Interruption(BaseException):
    """What Ctrl-C does, without being it."""


class Interrupter:
    """A trace function that raises once, at the moment with this number, and then says where."""

    def __init__(self, moment: int) -> None:
        self.where: str | None = None
        self._left = moment

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401  # as sys.settrace wants it
        if self.where is not None or not frame.f_code.co_filename.startswith(WATCHED):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if is_a_moment(frame, event):
            self._left -= 1
            if self._left < 0:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise Interruption
        return self


def is_a_moment(frame: FrameType, event: str) -> bool:
    """Tell whether Python would look for signals now; it does not when an exception is thrown into a generator."""
    now, last = instructions(frame.f_code).get(frame.f_lasti, ("", ""))
    return (event == "call" and now == "RESUME") or (event == "opcode" and last.startswith("CALL"))


@cache
def instructions(code: CodeType) -> dict[int, tuple[str, str]]:
    """Name for each place the instruction there, and the one before it."""
    names = [(instruction.offset, instruction.opname) for instruction in dis.get_instructions(code)]
    return {offset: (name, last) for (offset, name), (_, last) in zip(names, [(0, ""), *names], strict=False)}


def in_a_thread(work: Callable[[], object]) -> object:
    """Return what `work` returns or raises in a thread of its own; a thread that is stuck is an outcome, too."""
    outcome: list[object] = [TimeoutError("stuck")]

    def run() -> None:
        try:
            outcome[0] = work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            outcome[0] = error
            for one in (error, error.__context__):
                if one is not None:
                    # Its frames would keep blocks from being left that nobody is in any more.
                    one.with_traceback(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return outcome[0]


def watched(interrupter: Interrupter, call: Callable[[], object]) -> object:
    sys.settrace(interrupter)
    try:
        return call()
    finally:
        sys.settrace(None)


def moments(new_call: Callable[[], Callable[[], object]], *, step: int = 1) -> Iterator[str]:
    """Interrupt a new call at each moment in turn, until one comes to its end; yield where it was."""
    for moment in count(step=step):
        interrupter = Interrupter(moment)
        outcome = in_a_thread(partial(watched, interrupter, new_call()))
        if interrupter.where is None:
            assert not isinstance(outcome, BaseException), outcome
            assert moment > 10
            return
        assert is_interruption(outcome), (interrupter.where, outcome)
        yield interrupter.where


def is_interruption(outcome: object) -> bool:
    """Tell whether a call has raised it; whoever leaves blocks because of it may put an error of its own on top."""
    return isinstance(outcome, Interruption) or (
        isinstance(outcome, Exception) and isinstance(outcome.__context__, Interruption)
    )


def two_events() -> list[NewEvent]:
    return [NewEvent("Deposited", "{}"), NewEvent("Deposited", "{}")]


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteEventStore]:
    store = SQLiteEventStore(path, busy_timeout=1)
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE rows (event TEXT PRIMARY KEY)")
    store.append(OTHER, two_events(), expected_version=0)
    yield store
    assert in_a_thread(store.close) is None


@pytest.fixture
def other(path: Path, store: SQLiteEventStore, start: Start) -> Process:
    """Start a process that appends to the same file, each time that it is told to."""
    assert store.version(OTHER) == 2
    return start("append_when_told", path)


def others_go_on(store: SQLiteEventStore, other: Process) -> None:
    """Check that a thread and a process can write, and that reading is still all that a query can do."""
    store.append(OTHER, two_events(), expected_version=ANY_VERSION)
    assert len(list(store.read(OTHER))) == store.version(OTHER)
    with pytest.raises(StorageError, match="a query only reads"):
        store.query("DELETE FROM rows")
    tell(other, "append")
    assert hear(other) == "true\n"


def check_in_a_thread(check: Callable[[], None], where: str) -> None:
    assert in_a_thread(check) is None, f"after an interrupt at {where}"


def check_that_it_may_fork() -> None:
    assert in_a_thread(lambda: status_of(fork(lambda: None))) == 0, "after all these interrupts, a fork hangs"


# Calls that append two events


def append(store: SQLiteEventStore, events: list[NewEvent]) -> None:
    store.append(ACCOUNT, events, expected_version=ANY_VERSION)


def append_on_a_condition(store: SQLiteEventStore, events: list[NewEvent]) -> None:
    store.append_many([StreamAppend(ACCOUNT, events, ANY_VERSION)], conditions=[StreamCondition(OTHER, ANY_VERSION)])


def append_with_a_row(store: SQLiteEventStore, events: list[NewEvent]) -> None:
    with store.transaction() as tx:
        tx.execute("INSERT OR IGNORE INTO rows VALUES (:event)", {"event": str(events[0].event_id)})
        tx.append(ACCOUNT, events, expected_version=ANY_VERSION)


@pytest.mark.parametrize("write", [append, append_on_a_condition, append_with_a_row])
def test_a_write_that_is_interrupted_is_there_whole_or_not_and_may_be_repeated(
    store: SQLiteEventStore, other: Process, write: Callable[[SQLiteEventStore, list[NewEvent]], None]
) -> None:
    batches: list[list[NewEvent]] = []
    outcomes: set[int] = set()

    def new_call() -> Callable[[], None]:
        batches.append(two_events())
        return partial(write, store, batches[-1])

    def check() -> None:
        first, second = (store.find(ACCOUNT, event.event_id) for event in batches[-1])
        there = store.version(ACCOUNT) - 2 * (len(batches) - 1)
        assert there in {0, 2}
        assert [first is not None, second is not None] == [there == 2] * 2
        if write is append_with_a_row:
            rows = store.query("SELECT 1 FROM rows WHERE event = :event", {"event": str(batches[-1][0].event_id)})
            assert len(rows) == there / 2
        outcomes.add(there)
        write(store, batches[-1])
        assert store.version(ACCOUNT) == 2 * len(batches)
        others_go_on(store, other)

    for where in moments(new_call):
        check_in_a_thread(check, where)

    assert outcomes == {0, 2}
    check_that_it_may_fork()
    assert [event.event_id for event in store.read(ACCOUNT)] == [event.event_id for batch in batches for event in batch]
    assert verify(store).ok


# Calls that leave the log as it is


def refused(store: SQLiteEventStore) -> None:
    with suppress(ConcurrencyError):
        store.append(OTHER, two_events(), expected_version=0)


def failing_block(store: SQLiteEventStore) -> None:
    with suppress(ZeroDivisionError), store.view_transaction() as tx:
        tx.execute("INSERT INTO rows VALUES ('?')")
        1 / 0  # noqa: B018


def half_read(store: SQLiteEventStore) -> None:
    reading = store.read_all()
    assert next(reading).version == 1


def save_snapshot(store: SQLiteEventStore) -> None:
    store.save_snapshot(Snapshot(OTHER, 1, next(store.read(OTHER)).event_id, store.identity, "1", "{}"))


def follow(store: SQLiteEventStore) -> None:
    with store.subscribe() as subscription:
        assert next(subscription).version == 1


@pytest.mark.parametrize(
    "call",
    [
        refused,
        failing_block,
        half_read,
        save_snapshot,
        follow,
        lambda store: store.query("SELECT * FROM rows"),
        lambda store: store.wait(after=store.head(), timeout=0.001),
    ],
    ids=["refused", "failing_block", "half_read", "save_snapshot", "follow", "query", "wait"],
)
def test_a_call_that_is_interrupted_leaves_the_log_as_it_is_and_no_lock_behind(
    store: SQLiteEventStore, other: Process, call: Callable[[SQLiteEventStore], object]
) -> None:
    before = [store.version(OTHER)]

    def check() -> None:
        assert store.version(OTHER) == before[-1]
        assert store.query("SELECT * FROM rows") == []
        others_go_on(store, other)
        before.append(store.version(OTHER))

    for where in moments(lambda: partial(call, store)):
        check_in_a_thread(check, where)

    check_that_it_may_fork()
    assert [event.version for event in store.read(OTHER)] == list(range(1, 2 * len(before) + 1))


# Opening and closing


def live(path: Path, events: list[NewEvent]) -> SQLiteEventStore:
    with SQLiteEventStore(path, durability="normal") as store:
        append(store, events)
    return store


@pytest.mark.filterwarnings("ignore:.* was dropped without close:ResourceWarning")
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_store_may_be_opened_again_whenever_its_life_was_interrupted(tmp_path: Path, step: int) -> None:
    lives: list[tuple[Path, list[NewEvent]]] = []

    def new_life() -> Callable[[], SQLiteEventStore]:
        lives.append((tmp_path / f"{len(lives)}.db", two_events()))
        return partial(live, *lives[-1])

    def check() -> None:
        path, events = lives[-1]
        with SQLiteEventStore(path, durability="normal", busy_timeout=1) as store:
            assert store.version(ACCOUNT) in {0, 2}
            append(store, events)
            assert [event.event_id for event in store.read_all()] == [event.event_id for event in events]
            assert verify(store).ok

    for where in moments(new_life, step=step):
        check_in_a_thread(check, where)

    check_that_it_may_fork()


def test_a_writer_syncs_as_asked_though_it_was_interrupted_while_it_was_set_up(path: Path) -> None:
    stores: list[SQLiteEventStore] = []

    def new_call() -> Callable[[], None]:
        stores.append(SQLiteEventStore(path, durability="normal"))
        return partial(append, stores[-1], two_events())

    for where in moments(new_call):
        with stores[-1] as store:
            was_set_up = writer_of(store) is not None
            append(store, two_events())
            writer = writer_of(store)
            assert writer is not None
            assert writer.rows("PRAGMA synchronous") == [(1,)], f"after an interrupt at {where}"
        if was_set_up:
            break


def writer_of(store: SQLiteEventStore) -> Connection | None:
    return store._database._writer  # noqa: SLF001  # nothing else tells


# Real signals


@pytest.mark.parametrize("times", [300, pytest.param(20_000, marks=pytest.mark.soak)])
def test_real_interrupts_at_random_moments_leave_a_store_that_goes_on(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    # Coverage would measure the program too, and has locks of its own, which an interrupt leaves held.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)

    told = run("interrupt_at_random", path, 1, times)

    assert told["interrupted"] > 0
    assert told["problems"] == []
    assert told["fork"] == 0
    with SQLiteEventStore(path) as store:
        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, 2 * times + 1))
        assert verify(store).ok
