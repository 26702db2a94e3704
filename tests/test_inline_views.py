"""Views that change in the transaction of each append: always the fold of the log, whatever fails and whoever dies."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar, Final
from uuid import UUID

import pytest
from attrs import define, frozen

from esbank import (
    CheckpointError,
    DefinitionError,
    EventEnvelope,
    EventRegistry,
    EventStore,
    ProjectionError,
    ProjectionRunner,
    Projector,
    Repository,
    event,
    projects,
    side_effects,
    upcaster,
)
from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import (
    ANY_VERSION,
    AppendTransaction,
    InlineHandler,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamId,
    Transaction,
    ViewStore,
)
from esbank.testing.conformance._given import in_threads
from esbank.testing.conformance._inline import InlineHandlers
from tests.basket import Add, AddEach, Added, Basket, CheckOut
from tests.doubles import KINDS, SERVER, Store, schema_of
from tests.journal import Journal, Totals, add, fail_at, journal, names, nothing, numbered, totals

SPAWN: Final = get_context("spawn")
PATIENCE: Final = 60
STREAM: Final = StreamId("Basket", "b1")


class TestInlineHandlersInMemory(InlineHandlers):
    has_inline = True

    def open_inline(self, folder: Path, *handlers: InlineHandler) -> AbstractContextManager[EventStore]:
        del folder
        return MemoryEventStore(inline=handlers)


class TestInlineHandlersOfSQLite(InlineHandlers):
    has_inline = True

    def open_inline(self, folder: Path, *handlers: InlineHandler) -> AbstractContextManager[EventStore]:
        return SQLiteEventStore(folder / "events.db", inline=handlers)


def open_at(kind: str, folder: Path, *handlers: InlineHandler) -> SQLiteEventStore | PostgresEventStore:
    """Open the store of a folder, in any process."""
    if kind == "postgresql":
        return PostgresEventStore(os.environ[SERVER], schema=schema_of(folder), inline=handlers)
    return SQLiteEventStore(folder / "events.db", durability="normal", inline=handlers)


def open_file(folder: Path, *handlers: InlineHandler) -> SQLiteEventStore:
    return SQLiteEventStore(folder / "events.db", durability="normal", inline=handlers)


Open = Callable[..., Store]
OpenShared = Callable[..., SQLiteEventStore | PostgresEventStore]


@pytest.fixture(params=KINDS)
def open_inline(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open a store with inline handlers; it is closed after the test."""
    opened: list[Store] = []

    def open_(*handlers: InlineHandler) -> Store:
        memory = request.param == "memory"
        store = MemoryEventStore(inline=handlers) if memory else open_at(request.param, tmp_path, *handlers)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_shared(request: pytest.FixtureRequest) -> OpenShared:
    """Open the store of a folder, as often as one likes."""
    return partial(open_at, request.param)


def added(*skus: str) -> list[NewEvent]:
    """Make events as a repository would."""
    return [NewEvent("BasketAdded", json.dumps({"sku": sku, "quantity": 1})) for sku in skus]


def logged(store: EventStore) -> list[str]:
    """Fold the log into what the journal should say."""
    return [json.loads(stored.data)["sku"] for stored in store.read_all(types=["BasketAdded"])]


def checkpoints(views: ViewStore) -> dict[str, int | None]:
    return dict(views.query("SELECT projector, position FROM esbank_checkpoints ORDER BY projector"))


def assert_in_step(store: Store) -> None:
    """Check that the journal is what the log says, and that its checkpoint is at the end."""
    assert journal(store) == logged(store)
    assert checkpoints(store)["Journal"] == store.head()


def everything(store: Store) -> list[object]:
    """Return all that the store and the journal hold."""
    return [list(store.read_all()), list(store.streams("Basket")), store.head(), journal(store), checkpoints(store)]


# Consistent at once


def test_a_read_right_after_a_command_sees_its_effects(open_inline: Open) -> None:
    store = open_inline(Journal(), Totals())
    assert (journal(store), totals(store)) == ([], {})
    baskets = Repository(store, Basket)
    for number in range(5):
        baskets.execute("b1", Add(f"sku {number}", 2))

        assert journal(store) == numbered(range(number + 1))
        assert totals(store) == dict.fromkeys(numbered(range(number + 1)), 2)
        assert checkpoints(store) == {"Journal": store.head(), "Totals": store.head()}


def test_an_append_to_several_streams_is_one_step(open_inline: Open) -> None:
    store = open_inline(Journal())

    store.append_many([StreamAppend(StreamId("Basket", key), added(f"{key}1", f"{key}2"), 0) for key in "ba"])

    assert journal(store) == ["b1", "b2", "a1", "a2"]
    assert_in_step(store)


def test_events_that_the_projector_does_not_take_move_its_checkpoint(open_inline: Open) -> None:
    store = open_inline(Journal())
    add(store, "pen")
    Repository(store, Basket).execute("b1", CheckOut())
    store.append(StreamId("Elsewhere", "1"), [NewEvent("Unheard", "{}")], expected_version=0)

    assert_in_step(store)
    assert store.count() == 3


def test_each_thread_sees_its_own_command(open_inline: Open) -> None:
    store = open_inline(Journal(), Totals())

    def work(thread: int) -> None:
        baskets = Repository(store, Basket)
        for number in range(20):
            baskets.execute(f"b{thread}", Add(f"sku {thread}/{number}"))
            assert totals(store)[f"sku {thread}/{number}"] == 1

    assert in_threads([partial(work, thread) for thread in range(4)]) == [None] * 4
    assert_in_step(store)
    assert len(totals(store)) == 80


def test_one_projector_may_serve_several_stores(open_shared: OpenShared, open_inline: Open, tmp_path: Path) -> None:
    projector = Journal()
    (tmp_path / "other").mkdir()
    one, other = open_inline(projector), open_shared(tmp_path / "other", projector)
    with other:

        def work(store: Store, name: str) -> None:
            for number in range(20):
                add(store, f"{name} {number}", key=name)

        assert in_threads([partial(work, store, name) for store, name in ((one, "a"), (other, "b")) * 2]) == [None] * 4
        for store in (one, other):
            assert_in_step(store)
            assert store.count() == 40


# What fails is undone


def append_once(store: Store) -> object:
    return store.append(STREAM, added("pen", "ink"), expected_version=1)


def append_to_several(store: Store) -> object:
    return store.append_many(
        [StreamAppend(StreamId("Basket", "b2"), added("cap"), 0), StreamAppend(STREAM, added("pen", "ink"), 1)]
    )


def execute(store: Store) -> object:
    return Repository(store, Basket).execute("b1", AddEach(["pen", "ink"]))


def execute_with_id(store: Store) -> object:
    return Repository(store, Basket).execute("b1", AddEach(["pen", "ink"]), command_id="c1")


@pytest.mark.parametrize("write", [append_once, append_to_several, execute, execute_with_id])
@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_a_projector_that_fails_undoes_the_append(
    open_inline: Open, write: Callable[[Store], object], order: int
) -> None:
    failing = Journal(fail_at("ink"))
    store = open_inline(*[failing, Totals()][::order])
    add(store, "cup")
    before = everything(store), totals(store)

    for _ in range(2):
        with pytest.raises(ProjectionError) as raised:
            write(store)

        assert (everything(store), totals(store)) == before
        assert (raised.value.projector, raised.value.stream, raised.value.version) == ("Journal", STREAM, 3)
        assert isinstance(raised.value.__cause__, LookupError)

    failing.on_added = nothing
    write(store)
    assert journal(store)[-2:] == ["pen", "ink"]
    assert_in_step(store)
    assert totals(store) == dict.fromkeys(journal(store), 1)


def test_a_command_that_was_undone_leaves_no_trace_of_its_id(open_inline: Open) -> None:
    failing = Journal(fail_at("pen"))
    store = open_inline(failing)
    baskets = Repository(store, Basket)
    baskets.execute("b1", Add("cup"), command_id="c0")
    with pytest.raises(ProjectionError):
        baskets.execute("b1", Add("pen"), command_id="c1")

    # It is neither in the cache, nor bound to what the command was.
    assert baskets.load("b1").state.skus == ["cup"]
    failing.on_added = nothing
    done = baskets.execute("b1", Add("ink"), command_id="c1")

    assert (done.version, done.state.skus) == (2, ["cup", "ink"])
    assert_in_step(store)


def test_what_the_projector_cannot_read_is_not_appended(open_inline: Open) -> None:
    store = open_inline(Journal())
    add(store, "cup")
    for event_ in (NewEvent("BasketAdded", "{}"), NewEvent("BasketAdded", '{"sku":"a"}', schema_version=99)):
        before = everything(store)

        with pytest.raises(ProjectionError):
            store.append(STREAM, [*added("pen"), event_], expected_version=1)

        assert everything(store) == before


class Wrong(Journal):
    """Writes SQL that fails in several ways."""

    name: ClassVar[str] = "Journal"

    def __init__(self, sql: str) -> None:
        super().__init__()
        self.sql = sql

    def project(self, envelope: EventEnvelope[Any], tx: Transaction) -> None:
        super().project(envelope, tx)
        if envelope.version > 1:
            tx.execute(self.sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO nowhere VALUES (1)",
        "INSERT INTO {nowhere} VALUES (1)",
        "INSERT INTO journal VALUES (1, 'a')",
        "INSERT INTO esbank_skipped_events (projector) VALUES (NULL)",
        "COMMIT",
        "ROLLBACK",
    ],
)
def test_a_statement_that_fails_undoes_the_append(open_inline: Open, sql: str) -> None:
    store = open_inline(Wrong(sql))
    add(store, "cup")
    before = everything(store)

    with pytest.raises((ProjectionError, DefinitionError)):
        add(store, "pen")

    assert everything(store) == before


def test_a_row_that_a_unique_key_refuses_is_no_repeat_of_the_append(open_inline: Open) -> None:
    """A store takes a unique key that refuses a row for a repeat, but only where it is its own."""

    class Unique(Projector):
        tables: ClassVar[Mapping[str, str]] = {"seen": "(sku TEXT PRIMARY KEY)"}

        @projects(Added)
        def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
            tx.execute("INSERT INTO {seen} VALUES (:sku)", {"sku": envelope.event.sku})

    store = open_inline(Unique())
    add(store, "pen")

    with pytest.raises(ProjectionError):
        add(store, "pen")

    assert store.version(STREAM) == 1


# Repeats


def test_a_repeat_of_an_append_is_not_handled_again(open_inline: Open) -> None:
    store = open_inline(Journal())
    events = added("pen", "ink")
    first = store.append(STREAM, events, expected_version=0)
    add(store, "cup")

    assert store.append(STREAM, events, expected_version=0) == first
    assert store.append(STREAM, events, expected_version=ANY_VERSION) == first
    assert store.append(STREAM, events, expected_version=3) == first
    assert_in_step(store)


def test_a_repeat_of_a_command_is_not_handled_again(open_inline: Open) -> None:
    store = open_inline(Journal())
    baskets = Repository(store, Basket)

    def repeat(number: int) -> int:
        one = baskets if number % 2 else Repository(store, Basket)
        return one.execute("b1", AddEach(["pen", "ink"]), command_id="c1").version

    assert in_threads([partial(repeat, number) for number in range(6)]) == [2] * 6
    assert journal(store) == ["pen", "ink"]
    assert_in_step(store)


# Appends without it


def test_opening_a_store_makes_the_tables_and_catches_up(open_shared: OpenShared, tmp_path: Path) -> None:
    with open_shared(tmp_path) as store:
        add(store, *numbered(range(2_500)))

    for _ in range(2):
        with open_shared(tmp_path, Journal()) as store:
            assert journal(store) == numbered(range(2_500))
            assert_in_step(store)


def test_the_next_append_takes_what_was_appended_without_it_first(open_shared: OpenShared, tmp_path: Path) -> None:
    with open_shared(tmp_path, Journal()) as store, open_shared(tmp_path) as plain:
        add(store, "pen")
        add(plain, *numbered(range(1_500)), key="b2")
        assert journal(store) == ["pen"]

        add(store, "ink")

        assert journal(store) == ["pen", *numbered(range(1_500)), "ink"]
        assert_in_step(store)


def test_two_stores_at_one_file_move_the_same_view(open_shared: OpenShared, tmp_path: Path) -> None:
    with (
        open_shared(tmp_path, Journal()) as one,
        open_shared(tmp_path, Journal()) as other,
        open_shared(tmp_path) as plain,
    ):
        for number in range(12):
            add((one, other, plain)[number % 3], f"sku {number}")
        add(one, "last")

        assert journal(other) == [*numbered(range(12)), "last"]
        assert_in_step(other)


def test_an_event_that_was_appended_without_it_and_fails_holds_up_appends_until_it_is_skipped(
    open_shared: OpenShared, tmp_path: Path
) -> None:
    with open_shared(tmp_path, Journal(fail_at("ink"))) as store, open_shared(tmp_path) as plain:
        add(plain, "pen", "ink", "cup")
        before = everything(store)

        with pytest.raises(ProjectionError) as raised:
            add(store, "cap")
        assert everything(store) == before
        assert (raised.value.position, raised.value.version) == (2, 2)

        ProjectionRunner(plain, [Journal()]).skip(2, "never sold", by="alice")
        add(store, "cap")
        assert journal(store) == ["pen", "cup", "cap"]


# Views that do not fit


class NewerJournal(Journal):
    name: ClassVar[str] = "Journal"
    version: ClassVar[int] = 2


class WiderJournal(Journal):
    name: ClassVar[str] = "Journal"
    tables: ClassVar[Mapping[str, str]] = {**Journal.tables, "more": "(x INTEGER)"}


@pytest.mark.parametrize("changed", [NewerJournal, WiderJournal])
def test_a_view_that_is_out_of_date_lets_no_store_open_until_it_is_rebuilt(
    open_shared: OpenShared, tmp_path: Path, changed: type[Journal]
) -> None:
    with open_shared(tmp_path, Journal()) as store:
        add(store, "pen")

    with pytest.raises(CheckpointError, match="rebuild the view"):
        open_shared(tmp_path, changed())
    gc.collect()  # a store that was left open would warn

    assert not (tmp_path / "events.db-wal").exists()
    with open_shared(tmp_path) as plain:
        ProjectionRunner(plain, [changed()]).rebuild()
    with open_shared(tmp_path, changed()) as store:
        add(store, "ink")
        assert_in_step(store)


def test_a_view_of_another_store_lets_no_store_open(open_shared: OpenShared, tmp_path: Path) -> None:
    with MemoryEventStore() as other, open_shared(tmp_path) as views:
        add(other, "pen")
        ProjectionRunner(other, [Journal()], views=views).catch_up()
        add(views, "ink")

    with pytest.raises(CheckpointError, match="another store"):
        open_shared(tmp_path, Journal())
    gc.collect()

    with open_shared(tmp_path) as store:
        assert journal(store) == ["pen"]


def test_a_view_that_is_ahead_of_its_store_lets_no_store_open(open_shared: OpenShared, tmp_path: Path) -> None:
    with open_shared(tmp_path, Journal()) as store:
        add(store, "pen")
        with store.view_transaction() as tx:
            tx.execute("UPDATE esbank_checkpoints SET position = 7")

    with pytest.raises(CheckpointError, match="position 7"):
        open_shared(tmp_path, Journal())


def test_a_table_that_is_somebody_elses_lets_no_store_open(open_shared: OpenShared, tmp_path: Path) -> None:
    with open_shared(tmp_path) as store, store.view_transaction() as tx:
        tx.execute("CREATE TABLE journal (mine TEXT)")

    with pytest.raises(CheckpointError, match="tables cannot be made"):
        open_shared(tmp_path, Journal(), Totals())

    with open_shared(tmp_path) as store:
        assert names(store) == {"journal"}


def test_an_event_that_fails_at_the_beginning_lets_no_store_open(open_shared: OpenShared, tmp_path: Path) -> None:
    with open_shared(tmp_path) as store:
        add(store, "pen", "ink")

    with pytest.raises(ProjectionError) as raised:
        open_shared(tmp_path, Journal(fail_at("ink")))
    gc.collect()

    assert raised.value.position == 2
    with open_shared(tmp_path, Journal()) as store:
        assert_in_step(store)


def test_a_view_that_a_newer_version_has_rebuilt_meanwhile_takes_no_appends_of_the_older(
    open_shared: OpenShared, tmp_path: Path
) -> None:
    with open_shared(tmp_path, Journal()) as store, open_shared(tmp_path) as plain:
        add(store, "pen")
        ProjectionRunner(plain, [NewerJournal()]).rebuild()
        before = everything(store)

        with pytest.raises(CheckpointError, match="made by version 2"):
            add(store, "ink")

        assert everything(store) == before


def test_a_view_that_was_taken_away_takes_no_appends(open_inline: Open) -> None:
    store = open_inline(Journal())
    add(store, "pen")
    with store.view_transaction() as tx:
        tx.execute("DELETE FROM esbank_checkpoints")

    with pytest.raises(CheckpointError, match="taken away"):
        add(store, "ink")

    assert store.version(STREAM) == 1


# What is no inline view


def test_two_projectors_of_one_name_are_refused(open_inline: Open) -> None:
    with pytest.raises((DefinitionError, CheckpointError)):
        add(open_inline(Journal(), Journal()), "pen")


def test_handlers_are_given_as_several(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        MemoryEventStore(inline=Journal())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        SQLiteEventStore(tmp_path / "events.db", inline=Journal())  # type: ignore[arg-type]
    gc.collect()  # a store that was left open would warn

    assert not (tmp_path / "events.db").exists()


def test_a_projector_may_be_of_any_kind_of_class(open_inline: Open) -> None:
    @frozen
    class Frozen(Journal):
        name: ClassVar[str] = "Journal"
        bank: str = "ours"
        on_added: Callable[[str], object] = nothing

    @define
    class Slotted(Totals):
        name: ClassVar[str] = "Totals"
        bank: str = "ours"

    store = open_inline(Frozen(), Slotted())
    add(store, "pen")

    assert_in_step(store)
    assert totals(store) == {"pen": 1}


# Beside a runner


def test_a_runner_finds_nothing_to_do_for_an_inline_view(open_inline: Open) -> None:
    store = open_inline(Journal())
    runner = ProjectionRunner(store, [Journal(), Totals()])
    add(store, "pen", "ink")

    found = {status.projector: (status.position, status.behind) for status in runner.status()}
    assert found == {"Journal": (2, 0), "Totals": (None, 2)}
    runner.catch_up()
    runner.wait_for(2)

    assert_in_step(store)
    assert totals(store) == {"pen": 1, "ink": 1}


def test_a_runner_may_do_whatever_it_does_while_threads_append(open_inline: Open) -> None:
    store = open_inline(Journal(), Totals())
    stop = threading.Event()
    runner = ProjectionRunner(store, [Journal(), Totals()])

    def write(thread: int) -> None:
        for number in range(25):
            add(store, f"sku {thread}/{number}", key=f"b{thread}")

    def write_all() -> None:
        try:
            assert in_threads([partial(write, thread) for thread in range(3)]) == [None] * 3
        finally:
            stop.set()

    def again_and_again(action: Callable[[], object]) -> None:
        while not stop.is_set():
            action()

    actions = [runner.status, runner.catch_up, ProjectionRunner(store, [Totals()]).rebuild]
    outcomes = in_threads([write_all, partial(runner.run, stop), *(partial(again_and_again, one) for one in actions)])

    assert outcomes == [None] * 5
    assert_in_step(store)
    assert totals(store) == dict.fromkeys(logged(store), 1)
    assert len(logged(store)) == 75


def test_a_rebuilt_view_goes_on_inline(open_inline: Open) -> None:
    store = open_inline(Journal())
    add(store, "pen", "ink")
    with store.view_transaction() as tx:
        tx.execute("DELETE FROM journal")

    ProjectionRunner(store, [Journal()]).rebuild()
    add(store, "cup")

    assert journal(store) == ["pen", "ink", "cup"]
    assert_in_step(store)


def test_side_effects_are_left_to_a_runner(open_inline: Open) -> None:
    told: list[str] = []

    class Letters(Journal):
        name: ClassVar[str] = "Journal"

        @side_effects(Added)
        def _tell(self, envelope: EventEnvelope[Added]) -> None:
            told.append(envelope.event.sku)

    store = open_inline(Letters())
    add(store, "pen", "ink")
    assert told == []
    assert_in_step(store)

    for _ in range(2):
        ProjectionRunner(store, [Letters()]).catch_up()
    assert told == ["pen", "ink"]


# Old events


@event(name="PaidIn", schema_version=2)
@frozen
class PaidIn:
    amount: int


@upcaster("PaidIn", from_version=1, to_version=2)
def in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"amount": data["euros"] * 100}


class Balance(Projector):
    tables: ClassVar[Mapping[str, str]] = {"balance": "(account TEXT PRIMARY KEY, cents INTEGER NOT NULL)"}
    registry: ClassVar[EventRegistry | None] = EventRegistry(PaidIn, upcasters=[in_cents])

    @projects(PaidIn)
    def _paid(self, envelope: EventEnvelope[PaidIn], tx: Transaction) -> None:
        tx.execute(
            """
            INSERT INTO {balance} AS b VALUES (:account, :cents)
            ON CONFLICT (account) DO UPDATE SET cents = b.cents + excluded.cents
            """,
            {"account": envelope.stream.key, "cents": envelope.event.amount},
        )


def test_the_registry_of_a_projector_brings_its_upcasters(open_inline: Open) -> None:
    store = open_inline(Balance())
    account = StreamId("Account", "a1")
    store.append(account, [NewEvent("PaidIn", '{"euros":3}')], expected_version=0)
    store.append(account, [NewEvent("PaidIn", '{"amount":5}', schema_version=2)], expected_version=1)

    assert store.query("SELECT * FROM balance") == [("a1", 305)]
    with pytest.raises(ProjectionError):
        store.append(account, [NewEvent("PaidIn", '{"amount":5}', schema_version=3)], expected_version=2)
    assert store.version(account) == 2


# A handler of one's own


def test_a_handler_of_ones_own_may_tell_a_projector_more(open_inline: Open) -> None:
    """It keeps the last sku of each stream, beside a journal that it hands everything on to."""

    class Latest:
        def __init__(self) -> None:
            self.journal = Journal()

        def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
            self.journal.on_append(tx, events)
            tx.execute("CREATE TABLE IF NOT EXISTS latest (stream TEXT PRIMARY KEY, position INTEGER)")
            tx.executemany(
                "INSERT INTO latest VALUES (:stream, :position)"
                " ON CONFLICT (stream) DO UPDATE SET position = excluded.position",
                ({"stream": str(event.stream), "position": event.position} for event in events),
            )

    store = open_inline(Latest())
    add(store, "pen", "ink")
    add(store, "cup", key="b2")

    assert store.query("SELECT * FROM latest ORDER BY stream") == [("Basket-b1", 2), ("Basket-b2", 3)]
    assert_in_step(store)


# Processes


def append_many_times(kind: str, folder: Path, name: str, appends: int) -> None:
    """Execute commands, and see the effects of each."""
    with open_at(kind, folder, Journal(), Totals()) as store:
        baskets = Repository(store, Basket)
        for number in range(appends):
            baskets.execute(name, AddEach([f"{name}/{number}", f"{name}/{number}"]))
            assert totals(store)[f"{name}/{number}"] == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_append_to_one_store_move_the_same_view(tmp_path: Path, kind: str) -> None:
    with ProcessPoolExecutor(8, mp_context=SPAWN) as pool:
        for done in [pool.submit(append_many_times, kind, tmp_path, f"p{number}", 12) for number in range(8)]:
            done.result()

    with open_at(kind, tmp_path) as store:
        assert_in_step(store)
        assert store.count() == 8 * 12 * 2
        assert totals(store) == {f"p{process}/{number}": 2 for process in range(8) for number in range(12)}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_are_killed_leave_a_view_that_is_the_fold_of_the_log(tmp_path: Path, kind: str) -> None:
    with open_at(kind, tmp_path) as store:
        for round_ in range(3):
            processes = [
                SPAWN.Process(target=append_many_times, args=(kind, tmp_path, f"p{round_}{letter}", 1_000_000))
                for letter in "ab"
            ]
            for process in processes:
                process.start()
            least = store.count() + 20 * (round_ + 1)
            deadline = time.monotonic() + PATIENCE
            while store.count() < least and time.monotonic() < deadline:
                assert all(process.is_alive() for process in processes)
                time.sleep(0.001)
            for process in processes:
                process.kill()
            for process in processes:
                process.join(PATIENCE)
                process.close()

            if kind == "sqlite":
                assert store.query("PRAGMA integrity_check") == [("ok",)]
            assert store.count() >= least
            assert_in_step(store)
            assert totals(store) == dict.fromkeys(logged(store), 2)


def die_at_statement(number: int) -> None:
    """Kill this process when SQLite begins its n-th statement from now on, on whatever connection."""
    statements = count(1)
    connect = sqlite3.connect

    def trace(_: str) -> None:
        if next(statements) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401  # whatever connect takes
        connection = connect(*arguments, **options)
        connection.set_trace_callback(trace)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]


def open_and_append(folder: Path, *, command_id: str = "c1") -> None:
    """Open a store, which catches up, and append to one stream and to two."""
    with open_file(folder, Journal(), Totals()) as store:
        Repository(store, Basket).execute("b1", AddEach(["cup", "cap"]), command_id=command_id)
        ids = [UUID(int=number) for number in (1, 2)]
        events = [NewEvent("BasketAdded", '{"sku":"jar","quantity":1}', event_id=one) for one in ids]
        store.append_many([StreamAppend(StreamId("Basket", f"m{n}"), [one], 0) for n, one in enumerate(events)])


def kill_at_every_statement(template: Path, folder: Path) -> list[int]:
    """Run `open_and_append` in forks, each killed one statement later than the last one; return what each has left."""
    left: list[int] = []
    for number in count(1):
        work = folder / str(number)
        shutil.copytree(template, work)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                die_at_statement(number)
                open_and_append(work)
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in {0, -signal.SIGKILL}
        left.append(check_what_is_left(work))
        if number % 4 == 0 or status == 0:
            open_and_append(work)
            assert check_what_is_left(work) == 6
        if status == 0:
            break
    return left


def check_what_is_left(folder: Path) -> int:
    """Check that a view is there whole or not at all, and in step with the log; return how many events there are."""
    with open_file(folder) as store:
        assert store.query("PRAGMA integrity_check") == [("ok",)]
        events = store.count()
        if store.query("SELECT name FROM sqlite_master WHERE name = 'esbank_checkpoints'"):
            assert_in_step(store)
            assert checkpoints(store) == {"Journal": store.head(), "Totals": store.head()}
            assert sum(totals(store).values()) == events
        else:
            assert events == 2
        return events


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_whenever_a_process_is_killed_the_view_is_in_step_with_the_log(tmp_path: Path) -> None:
    template, folder = tmp_path / "template", tmp_path / "runs"
    template.mkdir()
    with open_file(template) as store:
        add(store, "pen", "ink")

    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        left = pool.submit(kill_at_every_statement, template, folder).result()

    assert left == sorted(left)
    assert set(left) == {2, 4, 6}
    assert len(left) > 50
    assert left.count(4) > 10
