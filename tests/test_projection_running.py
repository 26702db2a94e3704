"""A runner keeps views up to date until it is told to stop, and is the only one to do so."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import ClassVar, Final

import pytest

from esbank import (
    AlreadyRunning,
    CheckpointError,
    ProjectionError,
    ProjectionRunner,
    Projector,
    ProjectorState,
    Repository,
    Retry,
    StoreClosed,
)
from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import EventStore, Rows, SqlValue
from tests.basket import Add, Basket, Ensure
from tests.doubles import KINDS, Store, open_store
from tests.journal import (
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    as_written,
    fail_at,
    journal,
    nothing,
    numbered,
    open_place,
    running,
    totals,
    until,
)

SPAWN: Final = get_context("spawn")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors or (Journal(), Totals()), views=place.views)


def run_briefly(runner: ProjectionRunner) -> None:
    """Run it, and stop at once if it may run."""
    stop = threading.Event()
    stop.set()
    runner.run(stop)


def append(store: EventStore, sku: str) -> int | None:
    """Append one event; say where it is."""
    return Repository(store, Basket).execute("b1", Add(sku)).position


def test_a_runner_takes_what_was_there_and_what_comes(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place)

    with running(runner):
        runner.wait_for(1, 20)
        assert journal(place.views) == ["pen"]
        for number in range(20):
            add(place.store, f"sku {number}")
        runner.wait_for(21, 20)

        assert journal(place.views) == ["pen", *numbered(range(20))]
        assert totals(place.views) == dict.fromkeys(["pen", *numbered(range(20))], 1)


def test_once_stopped_it_takes_nothing_more_and_can_be_run_again(place: Place) -> None:
    runner = runner_at(place)
    with running(runner):
        add(place.store, "pen")
        runner.wait_for(1, 20)
    add(place.store, "ink")
    assert journal(place.views) == ["pen"]

    with running(runner):
        runner.wait_for(2, 20)

    assert journal(place.views) == ["pen", "ink"]


def test_a_runner_that_is_stopped_before_it_begins_does_nothing(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place)

    run_briefly(runner)

    assert [status.state for status in runner.status()] == [ProjectorState.NEW] * 2


def test_an_empty_store_is_waited_at(place: Place) -> None:
    runner = runner_at(place)

    with running(runner):
        until(lambda: runner.status()[0].state is ProjectorState.CURRENT)
        add(place.store, "pen")
        runner.wait_for(1, 20)

    assert journal(place.views) == ["pen"]


def test_a_run_ends_after_the_page_in_which_it_is_stopped_and_the_next_goes_on_there(place: Place) -> None:
    skus = numbered(range(2100))
    add(place.store, *skus)
    stop = threading.Event()

    runner_at(place, Journal(lambda sku: stop.set() if sku == "sku 10" else None)).run(stop)
    assert journal(place.views) == skus[:1000]

    runner_at(place, Journal()).catch_up()
    assert journal(place.views) == skus


def test_what_threads_append_meanwhile_is_handled_once_and_in_order(place: Place) -> None:
    runner = runner_at(place)

    def write(thread: int) -> None:
        for number in range(25):
            add(place.store, f"sku {thread}/{number}", key=f"b{thread}")

    with running(runner):
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(write, thread) for thread in range(4)]:
                done.result()
        runner.wait_for(100, 20)

    skus = [f"sku {thread}/{number}" for thread in range(4) for number in range(25)]
    assert sorted(journal(place.views)) == sorted(skus)
    assert totals(place.views) == dict.fromkeys(skus, 1)
    positions = place.views.query(f"SELECT position FROM journal ORDER BY {as_written(place.views)}")  # noqa: S608
    assert positions == sorted(positions)


def test_others_may_catch_up_while_a_runner_runs(place: Place) -> None:
    runner, other = runner_at(place), runner_at(place)

    with running(runner):
        for number in range(20):
            add(place.store, f"sku {number}")
            other.catch_up()
            assert len(journal(place.views)) == number + 1

    assert totals(place.views) == dict.fromkeys(numbered(range(20)), 1)


def test_a_store_that_is_closed_ends_the_run(tmp_path: Path) -> None:
    store = SQLiteEventStore(tmp_path / "events.db", durability="normal")
    runner = ProjectionRunner(store, [Journal()])

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(runner.run)
        until(lambda: runner.status()[0].state is ProjectorState.CURRENT)
        store.close()

        with pytest.raises(StoreClosed):
            done.result(20)


# Reading one's own writes.


def test_a_command_is_seen_as_soon_as_it_was_waited_for(place: Place) -> None:
    runner = runner_at(place)

    with running(runner):
        for number in range(20):
            runner.wait_for(append(place.store, f"sku {number}"), 20)
            assert journal(place.views)[-1] == f"sku {number}"


def test_what_is_in_the_view_already_is_not_waited_for(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place)
    runner.catch_up()

    runner.wait_for(1, 0)


def test_after_a_command_without_events_there_is_nothing_to_wait_for(place: Place) -> None:
    baskets = Repository(place.store, Basket)
    baskets.execute("b1", Add("pen"))
    nothing_new = baskets.execute("b1", Ensure("pen"))
    runner = runner_at(place, Journal(fail_at("pen")))

    runner.wait_for(nothing_new.position, 0)
    with pytest.raises(ProjectionError):
        runner.catch_up()
    runner.wait_for(nothing_new.position, 0)


def test_whoever_waits_in_vain_is_told_what_to_look_at(place: Place) -> None:
    add(place.store, "pen")

    with pytest.raises(TimeoutError, match=r"'Journal' has not come to position 1 .*status\(\)"):
        runner_at(place).wait_for(1, 0.01)


def test_only_those_that_are_named_are_waited_for(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place)
    runner.catch_up("Totals")

    runner.wait_for(1, 0, names=["Totals"])
    with pytest.raises(TimeoutError, match="'Journal'"):
        runner.wait_for(1, 0.01, names=("Totals", "Journal"))
    with pytest.raises(ValueError, match="'Jurnal'; there are Journal, Totals"):
        runner.wait_for(1, 0, names=["Jurnal"])
    with pytest.raises(TypeError, match=r"give the names of projectors as several, as in \('Totals',\)"):
        runner.wait_for(1, 0, names="Totals")


def test_nobody_waits_for_a_projector_that_has_stopped(place: Place) -> None:
    runner = runner_at(place, Journal(fail_at("ink")))
    add(place.store, "pen", "ink", "cup")

    with running(runner):
        runner.wait_for(1, 20)
        for position in (2, 3):
            with pytest.raises(CheckpointError, match="it stopped at position 2: LookupError: ink"):
                runner.wait_for(position, 20)
        runner.wait_for(1, 0)


# One runner, in whichever process.


def test_a_second_run_of_a_projector_is_refused(place: Place) -> None:
    runner = runner_at(place)

    with running(runner):
        until(lambda: runner.status()[0].state is ProjectorState.CURRENT)
        for second in (runner, runner_at(place), runner_at(place, Totals())):
            with pytest.raises(AlreadyRunning) as refused:
                run_briefly(second)
            assert refused.value.name in {"Journal", "Totals"}
            assert "stop the other one first" in str(refused.value)

        runner.wait_for(append(place.store, "pen"), 20)

    assert journal(place.views) == ["pen"]


def test_runners_of_different_projectors_run_side_by_side(place: Place) -> None:
    first, second = runner_at(place, Journal()), runner_at(place, Totals())

    with running(first), running(second):
        add(place.store, "pen")
        first.wait_for(1, 20)
        second.wait_for(1, 20)

    assert (journal(place.views), totals(place.views)) == (["pen"], {"pen": 1})


def test_a_run_that_is_refused_keeps_nobody_else_out(place: Place) -> None:
    first = runner_at(place, Journal())

    with running(first):
        until(lambda: first.status()[0].state is ProjectorState.CURRENT)
        with pytest.raises(AlreadyRunning):
            run_briefly(runner_at(place, Totals(), Journal()))
        with running(runner_at(place, Totals())):
            pass


def test_after_a_run_that_raised_another_one_may_begin(place: Place) -> None:
    add(place.store, "pen")

    class Interrupted(Journal):
        name = "Journal"

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner_at(place, Interrupted(interrupt)).run()
    runner = runner_at(place, Journal())
    with running(runner):
        runner.wait_for(1, 20)

    assert journal(place.views) == ["pen"]


def test_a_file_has_one_runner_by_whatever_path_it_was_opened(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with (
        SQLiteEventStore(tmp_path / "folder" / "events.db", durability="normal") as store,
        SQLiteEventStore(tmp_path / "link" / "events.db", durability="normal") as same,
    ):
        runner = ProjectionRunner(store, [Journal()])
        with running(runner):
            until(lambda: runner.status()[0].state is ProjectorState.CURRENT)
            with pytest.raises(AlreadyRunning):
                run_briefly(ProjectionRunner(same, [Journal()]))


def run_until_the_end(kind: str, folder: Path, started: Event) -> None:
    """Run in a process of its own for as long as that is there."""
    with open_store(kind, folder) as store:
        ProjectionRunner(store, [Journal(lambda _: started.set()), Totals()]).run()


@contextmanager
def running_in_another_process(kind: str, folder: Path) -> Iterator[BaseProcess]:
    """Run in another process from the first event on."""
    started = SPAWN.Event()
    process = SPAWN.Process(target=run_until_the_end, args=(kind, folder, started))
    process.start()
    try:
        assert started.wait(60)
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def try_to_run(kind: str, folder: Path) -> str:
    """Say whether one may run here."""
    with open_store(kind, folder) as store:
        try:
            run_briefly(ProjectionRunner(store, [Journal()]))
        except AlreadyRunning as error:
            return f"{error.name} is running"
    return "runs"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_in_another_process_is_refused_until_this_one_ends(tmp_path: Path, kind: str) -> None:
    with open_store(kind, tmp_path) as store, ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        runner = ProjectionRunner(store, [Journal()])

        with running(runner):
            until(lambda: runner.status()[0].state is ProjectorState.CURRENT)
            assert other.submit(try_to_run, kind, tmp_path).result() == "Journal is running"

        assert other.submit(try_to_run, kind, tmp_path).result() == "runs"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_runner_in_another_process_is_waited_for_until_it_is_killed(tmp_path: Path, kind: str) -> None:
    with open_store(kind, tmp_path) as store:
        add(store, "sku 0")
        runner = ProjectionRunner(store, [Journal(), Totals()])

        with running_in_another_process(kind, tmp_path) as process:
            assert try_to_run(kind, tmp_path) == "Journal is running"
            slowness: list[float] = []
            for number in range(1, 10):
                position = append(store, f"sku {number}")
                appended = time.monotonic()
                runner.wait_for(position, 20)
                slowness.append(time.monotonic() - appended)
                assert journal(store)[-1] == f"sku {number}"
            # The quickest, because a busy machine makes any one of them slow.
            assert min(slowness) < 0.5

            process.kill()
            process.join()

        until(lambda: try_to_run(kind, tmp_path) == "runs")  # once the server has noticed
        add(store, "sku 10")
        with running(runner):
            runner.wait_for(11, 20)
        assert journal(store) == numbered(range(11))
        assert totals(store) == dict.fromkeys(numbered(range(11)), 1)


def fork_while_running(kind: str, folder: Path) -> list[str]:
    """Fork, and say what may run: in the child during the run and after it, and here while the child is there."""
    with open_store(kind, folder) as store:
        told, tell = os.pipe()
        wait, go_on = os.pipe()
        with store.claim("Journal"):
            child = os.fork()
            if child == 0:
                try:
                    os.write(tell, f"child: {try_to_run(kind, folder)}\n".encode())
                    os.read(wait, 1)
                    os.write(tell, f"child, when the parent has ended: {try_to_run(kind, folder)}\n".encode())
                    os.read(wait, 1)
                finally:
                    os._exit(0)
            os.close(tell)  # so that a child that fails is not waited for
            said = [os.read(told, 200).decode()]
            # The child has come and gone, and the claim is what it was.
            with ProcessPoolExecutor(1, mp_context=SPAWN) as other:
                said.append(f"another: {other.submit(try_to_run, kind, folder).result()}")
        os.write(go_on, b"x")
        said.append(os.read(told, 200).decode())
        said.append(f"parent: {try_to_run(kind, folder)}")
        os.write(go_on, b"x")
        os.waitpid(child, 0)
        return [line.strip() for line in said]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_forked_child_has_no_part_in_what_its_parent_runs(tmp_path: Path, kind: str) -> None:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as program:
        assert program.submit(fork_while_running, kind, tmp_path).result() == [
            "child: Journal is running",
            "another: Journal is running",
            "child, when the parent has ended: runs",
            "parent: runs",
        ]


# Idle.


class PatientJournal(Journal):
    """Fails, and is tried again much later."""

    name = "Journal"
    retry: ClassVar[Retry | None] = Retry(attempts=3, delay=3600, most=3600)


def count_statements_while_idle(folder: Path, how: str) -> int:
    """Count the statements of a second in which there is nothing to do."""
    count = 0
    rows = Connection.rows

    def counted(self: Connection, sql: str, parameters: Sequence[SqlValue] | Mapping[str, SqlValue] = ()) -> Rows:
        nonlocal count
        count += 1
        return rows(self, sql, parameters)

    journal_of = {
        "current": Journal(nothing),
        "stopped": Journal(fail_at("pen")),
        "waiting to try again": PatientJournal(fail_at("pen")),
    }
    state = {"current": ProjectorState.CURRENT, "stopped": ProjectorState.STOPPED}
    with SQLiteEventStore(folder / "events.db", durability="normal") as store:
        add(store, "pen")
        runner = ProjectionRunner(store, [journal_of[how], Totals()])
        with running(runner):
            runner.wait_for(1, 20, names=["Totals"])
            until(lambda: runner.status()[0].state is state.get(how, ProjectorState.RETRYING))
            Connection.rows = counted  # type: ignore[method-assign]
            time.sleep(1.0)
            return count


@pytest.mark.parametrize("how", ["current", "stopped", "waiting to try again"])
def test_a_runner_with_nothing_to_do_asks_the_database_little(tmp_path: Path, how: str) -> None:
    with ProcessPoolExecutor(1, mp_context=SPAWN) as program:
        # About fifty; one that does not rest makes tens of thousands.
        assert program.submit(count_statements_while_idle, tmp_path, how).result() < 1000


def test_a_failure_ends_no_run_but_a_catch_up(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place, Journal(fail_at("pen")), Totals())

    with running(runner):
        runner.wait_for(1, 20, names=["Totals"])
        with pytest.raises(ProjectionError):
            runner.catch_up()
        add(place.store, "ink")
        runner.wait_for(2, 20, names=["Totals"])
