"""What a statement costs does not grow with the log: the plans use keys, and the work done is counted."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from esbank.backends._sqlite_events import (
    _APPENDED_WITH,
    FIND,
    LAST,
    READ_ALL,
    READ_BACKWARDS,
    READ_DATA,
    READ_FORWARDS,
    _look_up,
)
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, Metadata, NewEvent, StreamAppend, StreamCondition, StreamId

ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")
FIRST = [NewEvent("Deposited", "{}", metadata=Metadata(correlation_id="first")) for _ in range(3)]
CONVERSATION = f"{READ_ALL} AND e.correlation_id = ? ORDER BY e.position LIMIT ?"

STATEMENTS = {
    "page of a stream": (READ_FORWARDS, ("Account", "1", 5, 10, 100)),
    "page of a stream backwards": (READ_BACKWARDS, ("Account", "1", 5, 10, 100)),
    "page of data": (READ_DATA, ("Account", "1", 5, 10, 100)),
    "page of the log": (f"{READ_ALL} ORDER BY e.position LIMIT ?", (5, 100)),
    "page of a filtered log": (
        f"{READ_ALL} AND s.category IN (?) AND e.type IN (?, ?) ORDER BY e.position LIMIT ?",
        (5, "Account", "A", "B", 100),
    ),
    "page of a conversation": (CONVERSATION, (5, "c-1", 100)),
    "head of a stream": _look_up([("Account", "1")]),
    "heads of streams": _look_up([("Account", "1"), ("Account", "2"), ("Account", "absent")]),
    "event by its id": (FIND, ("Account", "1", b"0" * 16)),
    "append of an event": (_APPENDED_WITH, ("Account", "1", b"0" * 16)),
}


def plan_of(path: Path, sql: str, parameters: tuple[object, ...]) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


@pytest.mark.parametrize(("sql", "parameters"), STATEMENTS.values(), ids=STATEMENTS)
def test_a_statement_searches_by_a_key_and_sorts_nothing(
    store: SQLiteEventStore, path: Path, sql: str, parameters: tuple[object, ...]
) -> None:
    store.append(ACCOUNT, FIRST, expected_version=0)

    plan = plan_of(path, sql, parameters)

    assert plan
    assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN")], plan
    # The bare one is how SQLite says that it looks at the end of a table.
    searches = [step for step in plan if step.startswith("SEARCH") and step != "SEARCH esbank_events"]
    assert all("KEY" in step or "INDEX" in step for step in searches), plan


@pytest.mark.parametrize("analyzed", [False, True], ids=["", "analyzed"])
def test_a_conversation_is_looked_up_by_its_index(
    store: SQLiteEventStore,
    path: Path,
    analyzed: bool,  # noqa: FBT001  # a parameter
) -> None:
    for number in range(50):
        events = [NewEvent("A", "{}", metadata=Metadata(correlation_id=f"c-{number % 5}")), NewEvent("A", "{}")]
        store.append(StreamId("Account", str(number)), events, expected_version=0)
    if analyzed:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ANALYZE")

    events_step, streams_step = plan_of(path, CONVERSATION, (0, "c-1", 1000))

    assert events_step == "SEARCH e USING INDEX esbank_events_by_correlation (correlation_id=? AND rowid>?)"
    assert streams_step.startswith("SEARCH s USING INTEGER PRIMARY KEY")


def test_events_outside_a_conversation_are_not_in_its_index(store: SQLiteEventStore, path: Path) -> None:
    store.append(ACCOUNT, [*FIRST, NewEvent("A", "{}")], expected_version=0)

    assert plan_of(path, "SELECT count(*) FROM esbank_events WHERE correlation_id IS NOT NULL", ()) == [
        "SEARCH esbank_events USING COVERING INDEX esbank_events_by_correlation (correlation_id>?)"
    ]
    with pytest.raises(sqlite3.OperationalError, match="no query solution"):
        plan_of(path, "SELECT 1 FROM esbank_events INDEXED BY esbank_events_by_correlation", ())


def test_the_head_of_the_log_is_looked_up_by_its_key(store: SQLiteEventStore, path: Path) -> None:
    # SQLite calls it a scan: one in the order of the primary key from its end, which LIMIT stops at the first row.
    assert plan_of(path, LAST, ()) == ["SCAN esbank_events"]
    assert store.head() is None


@contextmanager
def counted(store: SQLiteEventStore) -> Iterator[list[int]]:
    """Count the steps of SQLite's machine, in the writer and the one idle reader."""
    database = store._database  # noqa: SLF001  # to count there
    steps = [0]

    def step() -> None:
        steps[0] += 1

    assert database._writer is not None  # noqa: SLF001
    connections = [database._writer._raw, *(reader._raw for reader in database._readers)]  # noqa: SLF001
    for connection in connections:
        connection.set_progress_handler(step, 1)
    yield steps
    for connection in connections:
        connection.set_progress_handler(None, 0)


OPERATIONS: dict[str, Callable[[SQLiteEventStore], object]] = {
    "append": lambda store: store.append(OTHER, [NewEvent("A", "{}")], expected_version=store.version(OTHER)),
    "append to any version": lambda store: store.append(OTHER, [NewEvent("A", "{}")], expected_version=ANY_VERSION),
    "append under a condition": lambda store: store.append_many(
        [StreamAppend(OTHER, [NewEvent("A", "{}")], ANY_VERSION)], conditions=[StreamCondition(ACCOUNT, ANY_VERSION)]
    ),
    "repeat of an old append": lambda store: store.append(ACCOUNT, FIRST, expected_version=0),
    "repeat at any version": lambda store: store.append(ACCOUNT, FIRST, expected_version=ANY_VERSION),
    "version": lambda store: store.version(ACCOUNT),
    "head": lambda store: store.head(),
    "find": lambda store: store.find(ACCOUNT, FIRST[1].event_id),
    "last event of a stream": lambda store: list(store.read(ACCOUNT, backwards=True, limit=1)),
    "short conversation": lambda store: list(store.read_correlated("first")),
    "first events of the log": lambda store: list(store.read_all(limit=3)),
    "end of the log": lambda store: list(store.read_all(after=store.head())),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_the_work_done_does_not_grow_with_the_log(path: Path, operation: Callable[[SQLiteEventStore], object]) -> None:
    with SQLiteEventStore(path, durability="normal") as store:
        store.append(ACCOUNT, FIRST, expected_version=0)

        def work() -> int:
            operation(store)
            with counted(store) as steps:
                operation(store)
            assert steps[0] > 0
            return steps[0]

        for stream in (ACCOUNT, OTHER):
            store.append(stream, [NewEvent("B", "{}") for _ in range(20)], expected_version=ANY_VERSION)
        little = work()
        for stream in (ACCOUNT, OTHER):
            store.append(stream, [NewEvent("B", "{}") for _ in range(2_000)], expected_version=ANY_VERSION)
        much = work()

    assert much < 2 * little
