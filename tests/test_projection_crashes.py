"""A process may die at any statement: what it leaves is whole, and whoever comes next neither skips nor doubles."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import ClassVar, Final

import pytest

from esbank import EventEnvelope, ProjectionRunner, Projector, ProjectorState, projects, side_effects
from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, NewEvent, Rows, SqlValue, StreamId, Transaction
from tests.basket import Added
from tests.doubles import Store
from tests.journal import Journal, Place, Totals, add, journal, numbered, totals

SPAWN: Final = get_context("spawn")
SKUS: Final = numbered(range(6))


class LoudJournal(Journal):
    """The second version of the journal."""

    name = "Journal"
    version: ClassVar[int] = 2

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        sku = envelope.event.sku
        tx.execute(
            "INSERT INTO {journal} VALUES (:position, :sku)", {"position": envelope.position, "sku": sku.upper()}
        )
        self.on_added(sku)


class Letters(Journal):
    """Writes a line to a file for each thing that was added."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    @side_effects(Added)
    def _tell(self, envelope: EventEnvelope[Added]) -> None:
        with self.file.open("a") as file:
            file.write(f"{envelope.event.sku}\n")


def upper(skus: Iterable[str]) -> list[str]:
    return [sku.upper() for sku in skus]


def open_file(folder: Path, name: str, projectors: Sequence[Projector] = ()) -> SQLiteEventStore:
    return SQLiteEventStore(folder / name, durability="normal", inline=projectors)


@contextmanager
def open_files(folder: Path, *, apart: bool) -> Iterator[Place]:
    with open_file(folder, "events.db") as store:
        if not apart:
            yield Place(store, store)
        else:
            with open_file(folder, "views.db") as views:
                yield Place(store, views)


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors or (Journal(), Totals()), views=place.views)


def fill(store: Store) -> None:
    """Append some events on either side of the end of a page, and many between that nobody takes."""
    events = [NewEvent("BasketAdded", f'{{"sku":"{sku}","quantity":1}}') for sku in SKUS]
    others = [NewEvent("Unheard", "{}") for _ in range(996)]
    for key, some in (("b1", events[:2]), ("b0", others), ("b1", events[2:])):
        store.append(StreamId("Basket", key), some, expected_version=ANY_VERSION)


# Processes that die at the n-th statement: one program forks them, which is quicker than to start them one by one.


def die_at(number: int) -> Callable[[], int]:
    """End the process when it comes to a statement; return how to ask how many there were."""
    rows, many, count = Connection.rows, Connection.many, 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == number:
            os._exit(3)

    def dying_rows(self: Connection, sql: str, parameters: Sequence[SqlValue] | Mapping[str, SqlValue] = ()) -> Rows:
        step()
        return rows(self, sql, parameters)

    def dying_many(
        self: Connection, sql: str, parameters: Iterable[Sequence[SqlValue] | Mapping[str, SqlValue]]
    ) -> None:
        step()
        many(self, sql, parameters)

    Connection.rows = dying_rows  # type: ignore[method-assign]
    Connection.many = dying_many  # type: ignore[method-assign]
    return lambda: count


def in_child(do: Callable[[], object], number: int) -> tuple[int, int]:
    """Do it in a fork that dies at a statement; return its exit code and how many statements there were."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count = die_at(number)
            do()
            os.write(tell, str(count()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(tell)
    _, status = os.waitpid(child, 0)
    with os.fdopen(told) as answer:
        return os.waitstatus_to_exitcode(status), int(answer.read() or 0)


def die_everywhere(
    folder: Path, prepare: Callable[[Path], object], do: Callable[[Path], object], check: Callable[[Path, int], object]
) -> int:
    """Let it die at each of its statements, each time in a copy of what was prepared, and check what is left."""
    template = folder / "template"
    template.mkdir()
    prepare(template)
    for number in range(10_000):
        copy = folder / str(number)
        shutil.copytree(template, copy)
        status, count = in_child(lambda copy=copy: do(copy), number)  # type: ignore[misc]
        if number == 0:  # nobody has died, and it is known how often they are to
            assert status == 0, status
            total = count
        else:
            assert status == 3, (number, status)
        check(copy, number)
        shutil.rmtree(copy)
        if number == total:
            break
    return total


def assert_in_step(place: Place) -> None:
    """See that each view has the events up to its checkpoint, and none of them twice."""
    for status in runner_at(place).status():
        if status.state is ProjectorState.NEW:
            continue
        position = status.position or 0
        seen = [event for event in place.store.read_all() if event.position <= position and event.type == "BasketAdded"]
        if status.projector == "Journal":
            assert place.views.query("SELECT position FROM journal ORDER BY rowid") == [(e.position,) for e in seen]
        else:
            assert len(totals(place.views)) == len(seen)


def prepare_log(folder: Path, *, apart: bool) -> None:
    with open_files(folder, apart=apart) as place:
        fill(place.store)


def catch_up(folder: Path, *, apart: bool) -> None:
    with open_files(folder, apart=apart) as place:
        runner_at(place).catch_up()


def run_to_the_end(folder: Path, *, apart: bool) -> None:
    stop = threading.Event()

    class LastTotals(Totals):
        name = "Totals"

        @projects(Added)
        def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
            super()._added(envelope, tx)
            if envelope.event.sku == SKUS[-1]:
                stop.set()

    with open_files(folder, apart=apart) as place:
        runner_at(place, Journal(), LastTotals()).run(stop)


def check_following(folder: Path, _: int, *, apart: bool) -> None:
    with open_files(folder, apart=apart) as place:
        assert_in_step(place)
        runner_at(place).catch_up()
        assert journal(place.views) == SKUS
        assert totals(place.views) == dict.fromkeys(SKUS, 1)


def prepare_views(folder: Path, *, apart: bool) -> None:
    with open_files(folder, apart=apart) as place:
        fill(place.store)
        runner_at(place).catch_up()


def rebuild(folder: Path, *, apart: bool, resume: bool = False) -> None:
    with open_files(folder, apart=apart) as place:
        runner_at(place, LoudJournal(), Totals()).rebuild(resume=resume)


def check_rebuilding(folder: Path, number: int, *, apart: bool) -> None:
    with open_files(folder, apart=apart) as place:
        assert journal(place.views) in (SKUS, upper(SKUS))
        assert totals(place.views) == dict.fromkeys(SKUS, 1)
        # The old view goes on as if nothing had been.
        add(place.store, "last", key="b2")
        runner_at(place, Journal() if journal(place.views) == SKUS else LoudJournal(), Totals()).catch_up()
        assert upper(journal(place.views)) == upper([*SKUS, "last"])

        runner_at(place, LoudJournal(), Totals()).rebuild(resume=number % 2 == 1)

        assert journal(place.views) == upper([*SKUS, "last"])
        assert totals(place.views) == dict.fromkeys([*SKUS, "last"], 1)
        left = place.views.query("SELECT name FROM sqlite_master WHERE name LIKE '%__rebuild%'")
        assert left == []


def append_inline(folder: Path) -> None:
    with open_file(folder, "events.db", [Journal(), Totals()]) as store:
        add(store, "cup", "cap")
        add(store, "fan")


def check_inline(folder: Path, _: int) -> None:
    with open_file(folder, "events.db") as store:
        assert_in_step(Place(store, store))
        log = [event.position for event in store.read_all() if event.type == "BasketAdded"]
        assert len(log) - len(SKUS) in (0, 2, 3)
    with open_file(folder, "events.db", [Journal(), Totals()]) as store:
        add(store, "last", key="b2")
        head = store.head()
        assert store.query("SELECT position FROM journal ORDER BY rowid") == [(one,) for one in [*log, head]]
        assert sum(totals(store).values()) == len(log) + 1


def prepare_letters(folder: Path) -> None:
    with open_file(folder, "events.db") as store:
        add(store, "old")
        ProjectionRunner(store, [Letters(folder / "letters")]).catch_up()
        add(store, *SKUS)


def tell(folder: Path) -> None:
    with open_file(folder, "events.db") as store:
        ProjectionRunner(store, [Letters(folder / "letters")]).catch_up()


def check_letters(folder: Path, _: int) -> None:
    tell(folder)
    told = (folder / "letters").read_text().splitlines()
    assert [sku for sku, _ in groupby(told)] == SKUS
    assert len(told) <= len(SKUS) + 1


def program(name: str, folder: Path, *, apart: bool) -> int:
    """Let one of them die everywhere; return how many statements it has."""
    if name == "inline":
        return die_everywhere(folder, lambda copy: prepare_log(copy, apart=False), append_inline, check_inline)
    if name == "side effects":
        return die_everywhere(folder, prepare_letters, tell, check_letters)
    prepare, do, check = {
        "catch_up": (prepare_log, catch_up, check_following),
        "run": (prepare_log, run_to_the_end, check_following),
        "rebuild": (prepare_views, rebuild, check_rebuilding),
    }[name]
    return die_everywhere(
        folder,
        lambda copy: prepare(copy, apart=apart),
        lambda copy: do(copy, apart=apart),
        lambda copy, number: check(copy, number, apart=apart),
    )


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        ("catch_up", False),
        ("catch_up", True),
        ("run", False),
        ("run", True),
        ("rebuild", False),
        ("rebuild", True),
        ("inline", False),
        ("side effects", False),
    ],
)
def test_a_process_may_die_at_any_statement(tmp_path: Path, name: str, apart: bool) -> None:  # noqa: FBT001
    with ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        statements = other.submit(program, name, tmp_path, apart=apart).result()

    assert statements > 25


# Processes that are killed at some time or other.


def run_for_ever(folder: Path) -> None:
    with open_files(folder, apart=True) as place:
        runner_at(place).run()


def test_a_run_that_is_killed_is_gone_on_with_by_the_next(tmp_path: Path) -> None:
    added = 0
    with open_files(tmp_path, apart=True) as place:
        runner_at(place).catch_up()
        for _ in range(3):
            before = len(journal(place.views))
            process = SPAWN.Process(target=run_for_ever, args=(tmp_path,))
            process.start()
            while len(journal(place.views)) < before + 20:
                add(place.store, f"sku {added}", key=f"b{added}")
                added += 1
                assert process.is_alive()
                time.sleep(0.001)
            process.kill()
            process.join()
            process.close()
        runner_at(place).catch_up()

        assert journal(place.views) == numbered(range(added))
        assert totals(place.views) == dict.fromkeys(numbered(range(added)), 1)


def rebuild_for_ever(folder: Path, has_begun: Event) -> None:
    with open_files(folder, apart=False) as place:
        runner = runner_at(place)
        while True:
            runner.rebuild(progress=lambda _position, _head: has_begun.set())


def test_readers_see_a_whole_view_whenever_a_rebuild_is_killed(tmp_path: Path) -> None:
    skus = numbered(range(1200))
    with open_files(tmp_path, apart=False) as place:
        add(place.store, *skus)
        runner_at(place).catch_up()
        for reads in (1, 10, 50, 200):
            has_begun = SPAWN.Event()
            process = SPAWN.Process(target=rebuild_for_ever, args=(tmp_path, has_begun))
            process.start()
            assert has_begun.wait(60)
            for _ in range(reads):
                assert place.views.query("SELECT count(*), sum(position) FROM journal") == [(1200, 720_600)]
            process.kill()
            process.join()
            process.close()

            assert journal(place.views) == skus
            runner_at(place).rebuild("Journal", resume=True)
            assert journal(place.views) == skus

        runner_at(place).rebuild()
        assert totals(place.views) == dict.fromkeys(skus, 1)


# Going on with a rebuild.


def exit_at(sku: str) -> Callable[[str], object]:
    return lambda added: os._exit(3) if added == sku else None


def rebuild_and_exit(folder: Path, sku: str) -> None:
    with open_files(folder, apart=False) as place:
        runner_at(place, LoudJournal(exit_at(sku))).rebuild()


def interrupt_rebuild(place: Place, folder: Path, sku: str) -> None:
    process = SPAWN.Process(target=rebuild_and_exit, args=(folder, sku))
    process.start()
    process.join()
    assert process.exitcode == 3
    assert journal(place.views) == numbered(range(2100))


def test_an_interrupted_rebuild_goes_on_where_it_was_or_begins_anew(tmp_path: Path) -> None:
    with open_files(tmp_path, apart=False) as place:
        skus = numbered(range(2100))
        add(place.store, *skus)
        runner_at(place, Journal()).catch_up()

        interrupt_rebuild(place, tmp_path, "sku 2050")
        seen: list[str] = []
        progress: list[tuple[int, int]] = []
        runner_at(place, LoudJournal(seen.append)).rebuild(
            resume=True, progress=lambda position, head: progress.append((position, head))
        )
        assert seen == skus[2000:]
        assert progress == [(2100, 2100)]
        assert journal(place.views) == upper(skus)

        runner_at(place, Journal()).rebuild()
        interrupt_rebuild(place, tmp_path, "sku 2050")
        seen.clear()
        runner_at(place, LoudJournal(seen.append)).rebuild()
        assert seen == skus
        assert journal(place.views) == upper(skus)


def test_what_is_appended_before_a_rebuild_goes_on_is_in_the_view(tmp_path: Path) -> None:
    with open_files(tmp_path, apart=False) as place:
        skus = numbered(range(2100))
        add(place.store, *skus)
        runner_at(place, Journal()).catch_up()
        interrupt_rebuild(place, tmp_path, "sku 1000")
        add(place.store, "last")

        runner_at(place, LoudJournal()).rebuild(resume=True)

        assert journal(place.views) == upper([*skus, "last"])


def test_with_nothing_to_go_on_with_a_rebuild_begins(tmp_path: Path) -> None:
    with open_files(tmp_path, apart=False) as place:
        add(place.store, "pen")
        runner_at(place, LoudJournal()).rebuild(resume=True)
        runner_at(place, LoudJournal()).rebuild(resume=True)

        assert journal(place.views) == ["PEN"]
