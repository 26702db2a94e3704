"""A process may die at any statement: what it leaves is whole, and whoever comes next neither skips nor doubles."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import pytest
from psycopg import RawCursor

from esbank import EventEnvelope, ProjectionRunner, Projector, ProjectorState, projects, side_effects
from esbank.backends._sqlite_connection import Connection
from esbank.store import ANY_VERSION, NewEvent, StreamId, Transaction
from tests.basket import Added
from tests.doubles import Store, open_store
from tests.journal import Journal, Place, Totals, add, as_written, journal, names, numbered, open_place, totals

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
    """End the process when it comes to a statement, in whichever database; return how to ask how many there were."""
    count = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # whatever it takes
            nonlocal count
            count += 1
            if count == number:
                os._exit(3)
            return method(*arguments, **options)

        return step

    for cls, names_ in ((Connection, ("rows", "many")), (RawCursor, ("execute", "executemany"))):
        for name in names_:
            setattr(cls, name, counted(getattr(cls, name)))
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


Check: TypeAlias = Callable[[str, Path, int], None]


def die_at_many(
    kind: str,
    folder: Path,
    prepare: Callable[[str, Path], None],
    do: Callable[[str, Path], None],
    check: Check,
    *,
    step: int | None = None,
) -> int:
    """Let it die at its statements, each time in a copy of what was prepared, and check what is left.

    It dies at every so many of them: at fewer where a copy takes long.
    """
    template = folder / "template"
    in_files = "postgresql" not in kind
    if in_files:
        template.mkdir()
        prepare(kind, template)
    number, total = 0, 1
    while number <= total:
        copy = folder / str(number)
        if in_files:
            shutil.copytree(template, copy)
        else:
            copy.mkdir()
            prepare(kind, copy)
        status, count = in_child(lambda copy=copy: do(kind, copy), number)  # type: ignore[misc]
        if number == 0:  # nobody has died, and it is known how often they are to
            assert status == 0, status
            total = count
        else:
            assert status == 3, (number, status)
        check(kind, copy, number)
        shutil.rmtree(copy)
        number += 1 if number == 0 else step or (3 if in_files else 17)
    return total


def assert_in_step(place: Place) -> None:
    """See that each view has the events up to its checkpoint, and none of them twice."""
    for status in runner_at(place).status():
        if status.state is ProjectorState.NEW:
            continue
        position = status.position or 0
        seen = [event for event in place.store.read_all() if event.position <= position and event.type == "BasketAdded"]
        if status.projector == "Journal":
            assert place.views.query(f"SELECT position FROM journal ORDER BY {as_written(place.views)}") == [  # noqa: S608
                (e.position,) for e in seen
            ]
        else:
            assert len(totals(place.views)) == len(seen)


def prepare_log(kind: str, folder: Path) -> None:
    with open_place(kind, folder) as place:
        fill(place.store)


def catch_up(kind: str, folder: Path) -> None:
    with open_place(kind, folder) as place:
        runner_at(place).catch_up()


def run_to_the_end(kind: str, folder: Path) -> None:
    stop = threading.Event()

    class LastTotals(Totals):
        name = "Totals"

        @projects(Added)
        def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
            super()._added(envelope, tx)
            if envelope.event.sku == SKUS[-1]:
                stop.set()

    with open_place(kind, folder) as place:
        runner_at(place, Journal(), LastTotals()).run(stop)


def check_following(kind: str, folder: Path, _: int) -> None:
    with open_place(kind, folder) as place:
        assert_in_step(place)
        runner_at(place).catch_up()
        assert journal(place.views) == SKUS
        assert totals(place.views) == dict.fromkeys(SKUS, 1)


def prepare_views(kind: str, folder: Path) -> None:
    with open_place(kind, folder) as place:
        fill(place.store)
        runner_at(place).catch_up()


def rebuild(kind: str, folder: Path, *, resume: bool = False) -> None:
    with open_place(kind, folder) as place:
        runner_at(place, LoudJournal(), Totals()).rebuild(resume=resume)


def check_rebuilding(kind: str, folder: Path, number: int) -> None:
    with open_place(kind, folder) as place:
        assert journal(place.views) in (SKUS, upper(SKUS))
        assert totals(place.views) == dict.fromkeys(SKUS, 1)
        # The old view goes on as if nothing had been.
        add(place.store, "last", key="b2")
        runner_at(place, Journal() if journal(place.views) == SKUS else LoudJournal(), Totals()).catch_up()
        assert upper(journal(place.views)) == upper([*SKUS, "last"])

        runner_at(place, LoudJournal(), Totals()).rebuild(resume=number % 2 == 1)

        assert journal(place.views) == upper([*SKUS, "last"])
        assert totals(place.views) == dict.fromkeys([*SKUS, "last"], 1)
        assert names(place.views) == {"journal", "journal_by_sku", "totals"}


def append_inline(kind: str, folder: Path) -> None:
    with open_store(kind, folder, inline=[Journal(), Totals()]) as store:
        add(store, "cup", "cap")
        add(store, "fan")


def check_inline(kind: str, folder: Path, _: int) -> None:
    with open_store(kind, folder) as store:
        assert_in_step(Place(store, store))
        log = [event.position for event in store.read_all() if event.type == "BasketAdded"]
        assert len(log) - len(SKUS) in (0, 2, 3)
    with open_store(kind, folder, inline=[Journal(), Totals()]) as store:
        add(store, "last", key="b2")
        head = store.head()
        assert store.query(f"SELECT position FROM journal ORDER BY {as_written(store)}") == [  # noqa: S608
            (one,) for one in [*log, head]
        ]
        assert sum(totals(store).values()) == len(log) + 1


def prepare_letters(kind: str, folder: Path) -> None:
    with open_store(kind, folder) as store:
        add(store, "old")
        ProjectionRunner(store, [Letters(folder / "letters")]).catch_up()
        add(store, *SKUS)


def tell(kind: str, folder: Path) -> None:
    with open_store(kind, folder) as store:
        ProjectionRunner(store, [Letters(folder / "letters")]).catch_up()


def check_letters(kind: str, folder: Path, _: int) -> None:
    tell(kind, folder)
    told = (folder / "letters").read_text().splitlines()
    assert [sku for sku, _ in groupby(told)] == SKUS
    assert len(told) <= len(SKUS) + 1


PROGRAMS: Final[dict[str, tuple[Callable[[str, Path], None], Callable[[str, Path], None], Check]]] = {
    "catch_up": (prepare_log, catch_up, check_following),
    "run": (prepare_log, run_to_the_end, check_following),
    "rebuild": (prepare_views, rebuild, check_rebuilding),
    "inline": (prepare_log, append_inline, check_inline),
    "side effects": (prepare_letters, tell, check_letters),
}
BESIDE = [(name, kind) for name in PROGRAMS for kind in ("sqlite", "postgresql")]
APART = [(name, "sqlite and sqlite") for name in ("catch_up", "run", "rebuild")]
BOTH = [
    ("catch_up", "postgresql and sqlite"),
    ("catch_up", "sqlite and postgresql"),
    ("rebuild", "sqlite and postgresql"),
]


@pytest.mark.parametrize(("name", "kind"), [*BESIDE, *APART, *BOTH])
def test_a_process_may_die_at_any_statement(tmp_path: Path, name: str, kind: str) -> None:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        statements = other.submit(die_at_many, kind, tmp_path, *PROGRAMS[name]).result()

    assert statements > 25


@pytest.mark.soak
@pytest.mark.parametrize(("name", "kind"), [*BESIDE, *APART, *BOTH])
def test_a_process_may_die_at_any_statement_at_all(tmp_path: Path, name: str, kind: str) -> None:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        other.submit(die_at_many, kind, tmp_path, *PROGRAMS[name], step=1).result()


# Processes that are killed at some time or other.


def run_for_ever(kind: str, folder: Path) -> None:
    with open_place(kind, folder) as place:
        runner_at(place).run()


@pytest.mark.parametrize("kind", ["sqlite and sqlite", "sqlite and postgresql"])
def test_a_run_that_is_killed_is_gone_on_with_by_the_next(tmp_path: Path, kind: str) -> None:
    added = 0
    with open_place(kind, tmp_path) as place:
        runner_at(place).catch_up()
        for _ in range(3):
            before = len(journal(place.views))
            process = SPAWN.Process(target=run_for_ever, args=(kind, tmp_path))
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


def rebuild_for_ever(kind: str, folder: Path, has_begun: Event) -> None:
    with open_place(kind, folder) as place:
        runner = runner_at(place)
        while True:
            runner.rebuild(progress=lambda _position, _head: has_begun.set())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_readers_see_a_whole_view_whenever_a_rebuild_is_killed(tmp_path: Path, kind: str) -> None:
    skus = numbered(range(1200))
    with open_place(kind, tmp_path) as place:
        add(place.store, *skus)
        runner_at(place).catch_up()
        for reads in (1, 10, 50, 200):
            has_begun = SPAWN.Event()
            process = SPAWN.Process(target=rebuild_for_ever, args=(kind, tmp_path, has_begun))
            process.start()
            assert has_begun.wait(60)
            for _ in range(reads):
                assert place.views.query("SELECT count(*), sum(position) FROM journal") == [(1200, 720_600)]
            process.kill()
            process.join()
            process.close()

            assert place.views.query("SELECT sku FROM journal ORDER BY position") == [(sku,) for sku in skus]
            runner_at(place).rebuild("Journal", resume=True)
            assert place.views.query("SELECT sku FROM journal ORDER BY position") == [(sku,) for sku in skus]

        runner_at(place).rebuild()
        assert totals(place.views) == dict.fromkeys(skus, 1)


# Going on with a rebuild.


def exit_at(sku: str) -> Callable[[str], object]:
    return lambda added: os._exit(3) if added == sku else None


def rebuild_and_exit(kind: str, folder: Path, sku: str) -> None:
    with open_place(kind, folder) as place:
        runner_at(place, LoudJournal(exit_at(sku))).rebuild()


def interrupt_rebuild(kind: str, place: Place, folder: Path, sku: str) -> None:
    process = SPAWN.Process(target=rebuild_and_exit, args=(kind, folder, sku))
    process.start()
    process.join()
    assert process.exitcode == 3
    assert journal(place.views) == numbered(range(2100))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_interrupted_rebuild_goes_on_where_it_was_or_begins_anew(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        skus = numbered(range(2100))
        add(place.store, *skus)
        runner_at(place, Journal()).catch_up()

        interrupt_rebuild(kind, place, tmp_path, "sku 2050")
        seen: list[str] = []
        progress: list[tuple[int, int]] = []
        runner_at(place, LoudJournal(seen.append)).rebuild(
            resume=True, progress=lambda position, head: progress.append((position, head))
        )
        assert seen == skus[2000:]
        assert progress == [(2100, 2100)]
        assert journal(place.views) == upper(skus)

        runner_at(place, Journal()).rebuild()
        interrupt_rebuild(kind, place, tmp_path, "sku 2050")
        seen.clear()
        runner_at(place, LoudJournal(seen.append)).rebuild()
        assert seen == skus
        assert journal(place.views) == upper(skus)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_is_appended_before_a_rebuild_goes_on_is_in_the_view(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        skus = numbered(range(2100))
        add(place.store, *skus)
        runner_at(place, Journal()).catch_up()
        interrupt_rebuild(kind, place, tmp_path, "sku 1000")
        add(place.store, "last")

        runner_at(place, LoudJournal()).rebuild(resume=True)

        assert journal(place.views) == upper([*skus, "last"])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_with_nothing_to_go_on_with_a_rebuild_begins(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        add(place.store, "pen")
        runner_at(place, LoudJournal()).rebuild(resume=True)
        runner_at(place, LoudJournal()).rebuild(resume=True)

        assert journal(place.views) == ["PEN"]
