"""A rebuild makes a view anew; readers stay on the old, whole one until the new one takes its place in one step."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar, Final

import pytest

from esbank import CheckpointError, EventEnvelope, ProjectionError, ProjectionRunner, Projector, projects
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import Transaction
from tests.basket import Added
from tests.journal import (
    ACROSS,
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    as_written,
    fail_at,
    journal,
    names,
    nothing,
    numbered,
    open_place,
    totals,
)

SPAWN: Final = get_context("spawn")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors, views=place.views)


class LoudJournal(Journal):
    """What the journal's code becomes: what it has written so far must be written anew."""

    name = "Journal"

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        sku = envelope.event.sku
        tx.execute(
            "INSERT INTO {journal} VALUES (:position, :sku)", {"position": envelope.position, "sku": sku.upper()}
        )
        self.on_added(sku)


def test_a_rebuilt_view_is_like_the_old_one(place: Place) -> None:
    add(place.store, *numbered(range(2100)))
    runner = runner_at(place, Journal(), Totals())
    runner.catch_up()
    rows = f"SELECT * FROM journal ORDER BY {as_written(place.views)}"  # noqa: S608
    before = place.views.query(rows), totals(place.views), names(place.views)

    runner.rebuild()

    assert (place.views.query(rows), totals(place.views), names(place.views)) == before


def test_a_rebuild_needs_no_view_from_before(place: Place) -> None:
    add(place.store, "pen", "ink")

    runner_at(place, Journal()).rebuild()

    assert journal(place.views) == ["pen", "ink"]


def test_a_rebuild_of_an_empty_log_gives_an_empty_view(place: Place) -> None:
    runner_at(place, Journal()).rebuild()

    assert journal(place.views) == []


def test_a_rebuild_applies_what_the_code_has_become(place: Place) -> None:
    add(place.store, "pen")
    runner_at(place, Journal()).catch_up()
    add(place.store, "ink")
    runner = runner_at(place, LoudJournal())

    runner.catch_up()
    assert journal(place.views) == ["pen", "INK"]

    runner.rebuild()
    assert journal(place.views) == ["PEN", "INK"]


class OtherShape(Projector):
    """What the journal's table becomes."""

    name = "Journal"
    tables: ClassVar[Mapping[str, str]] = {
        "journal": "(sku TEXT NOT NULL, length INTEGER GENERATED ALWAYS AS (length(sku)) STORED)"
    }

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {journal} (sku) VALUES (:sku)", {"sku": envelope.event.sku})


def test_a_rebuild_gives_the_tables_the_shape_that_they_are_declared_with_now(place: Place) -> None:
    add(place.store, "pen")
    runner_at(place, Journal()).catch_up()

    runner_at(place, OtherShape()).rebuild()

    assert place.views.query("SELECT * FROM journal") == [("pen", 3)]


def test_after_a_rebuild_the_view_goes_on(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place, Journal())
    runner.rebuild()
    add(place.store, "ink")

    runner.catch_up()
    runner_at(place, Journal()).catch_up()

    assert journal(place.views) == ["pen", "ink"]


def test_one_view_can_be_rebuilt_alone(place: Place) -> None:
    add(place.store, "pen")
    seen: list[str] = []
    runner = runner_at(place, Journal(seen.append), Totals())
    runner.catch_up()

    runner.rebuild("Totals")
    assert seen == ["pen"]

    runner.rebuild("Journal")
    assert seen == ["pen", "pen"]
    assert (journal(place.views), totals(place.views)) == (["pen"], {"pen": 1})


def test_an_unknown_name_is_refused_before_anything_is_rebuilt(place: Place) -> None:
    add(place.store, "pen")
    seen: list[str] = []
    runner = runner_at(place, Journal(seen.append))

    with pytest.raises(ValueError, match="'Totals'"):
        runner.rebuild("Journal", "Totals")

    assert seen == []


def test_views_of_people_on_a_table_stay_valid(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place, Journal())
    runner.catch_up()
    with place.views.view_transaction() as tx:
        tx.execute("CREATE VIEW skus AS SELECT sku FROM journal")

    runner.rebuild()

    assert place.views.query("SELECT * FROM skus") == [("pen",)]


# Readers.


@pytest.mark.parametrize("kind", ["sqlite", "memory and sqlite", "sqlite and sqlite", "postgresql", *ACROSS])
def test_readers_see_the_old_whole_view_while_a_rebuild_runs(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        seen: list[list[str]] = []
        add(place.store, *numbered(range(1100)))
        runner_at(place, Journal()).catch_up()

        def look(sku: str) -> None:
            if sku in {"sku 0", "sku 999", "sku 1000", "sku 1099"}:
                seen.append(journal(place.views))

        runner_at(place, LoudJournal(look)).rebuild()

        assert seen == [numbered(range(1100))] * 4
        assert journal(place.views) == [sku.upper() for sku in numbered(range(1100))]


def test_readers_never_see_half_a_view(tmp_path: Path) -> None:
    with open_place("sqlite", tmp_path) as place:
        add(place.store, *numbered(range(300)))
        runner = runner_at(place, Journal())
        runner.catch_up()
        done = threading.Event()

        def read() -> set[int]:
            seen: set[int] = set()
            while not done.is_set():
                seen |= {count for (count,) in place.views.query("SELECT count(*) FROM journal")}
            return seen

        with ThreadPoolExecutor(1) as thread:
            reader = thread.submit(read)
            try:
                for _ in range(10):
                    runner.rebuild()
            finally:
                done.set()
            assert reader.result() == {300}


# Failures.


def test_a_failing_rebuild_leaves_the_old_view(place: Place) -> None:
    add(place.store, *numbered(range(1100)))
    runner_at(place, Journal()).catch_up()

    with pytest.raises(ProjectionError) as failed:
        runner_at(place, LoudJournal(fail_at("sku 1050"))).rebuild()

    assert failed.value.version == 1051
    assert journal(place.views) == numbered(range(1100))


def test_after_a_failed_rebuild_the_old_view_goes_on(place: Place) -> None:
    add(place.store, "pen", "ink")
    runner_at(place, Journal()).catch_up()
    with pytest.raises(ProjectionError):
        runner_at(place, LoudJournal(fail_at("ink"))).rebuild()
    add(place.store, "cup")

    runner_at(place, Journal()).catch_up()

    assert journal(place.views) == ["pen", "ink", "cup"]


def test_a_failed_rebuild_can_be_run_again(place: Place) -> None:
    add(place.store, *numbered(range(1100)))
    runner_at(place, Journal()).catch_up()
    before = names(place.views)
    with pytest.raises(ProjectionError):
        runner_at(place, LoudJournal(fail_at("sku 1050"))).rebuild()

    runner_at(place, LoudJournal()).rebuild()

    assert journal(place.views) == [sku.upper() for sku in numbered(range(1100))]
    assert names(place.views) == before


def test_a_rebuild_mends_a_projector_that_had_stopped(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    with pytest.raises(ProjectionError):
        runner_at(place, Journal(fail_at("ink"))).catch_up()
    runner = runner_at(place, Journal())

    runner.rebuild()
    runner.catch_up()

    assert journal(place.views) == ["pen", "ink", "cup"]


def exit_at(sku: str) -> Callable[[str], object]:
    return lambda added: os._exit(3) if added == sku else None


def rebuild_and_exit(path: Path, sku: str) -> None:
    with SQLiteEventStore(path) as store:
        ProjectionRunner(store, [LoudJournal(exit_at(sku))]).rebuild()


@pytest.mark.parametrize("number", [0, 1050])
def test_an_interrupted_rebuild_leaves_no_trace_and_can_be_run_again(tmp_path: Path, number: int) -> None:
    with open_place("sqlite", tmp_path) as place:
        add(place.store, *numbered(range(1100)))
        runner_at(place, Journal()).catch_up()

        process = SPAWN.Process(target=rebuild_and_exit, args=(tmp_path / "events.db", f"sku {number}"))
        process.start()
        process.join()
        assert process.exitcode == 3

        assert journal(place.views) == numbered(range(1100))
        add(place.store, "last")
        runner_at(place, Journal()).catch_up()
        assert journal(place.views) == [*numbered(range(1100)), "last"]

        runner_at(place, LoudJournal()).rebuild()
        assert journal(place.views) == [sku.upper() for sku in [*numbered(range(1100)), "last"]]
        assert names(place.views) == {"journal", "journal_by_sku"}


# Meanwhile.


@pytest.mark.parametrize("kind", ["sqlite", "memory and sqlite", "sqlite and sqlite", "postgresql", *ACROSS])
def test_a_rebuild_takes_in_what_is_appended_meanwhile(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        add(place.store, *numbered(range(1500)))
        runner = runner_at(place, Journal(), Totals())
        runner.catch_up()

        def write() -> None:
            for number in range(1500, 1800):
                add(place.store, f"sku {number}", key=f"b{number}")

        with ThreadPoolExecutor(1) as thread:
            writer = thread.submit(write)
            for _ in range(5):
                runner.rebuild()
            writer.result()
        runner.catch_up()

        assert journal(place.views) == numbered(range(1800))
        assert totals(place.views) == dict.fromkeys(numbered(range(1800)), 1)


@pytest.mark.parametrize("kind", ["memory and sqlite", "sqlite and sqlite", *ACROSS])
def test_what_is_appended_at_the_last_moment_is_in_the_rebuilt_view(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        add(place.store, "pen")

        # It is told so when the shadow is full, just before that takes the old view's place.
        runner_at(place, Journal()).rebuild(progress=lambda _position, _head: add(place.store, "ink"))

        assert journal(place.views) == ["pen", "ink"]


def test_another_runner_may_catch_up_while_a_rebuild_runs(tmp_path: Path) -> None:
    with open_place("sqlite", tmp_path) as place:
        add(place.store, *numbered(range(1500)))
        runner_at(place, Journal()).catch_up()
        done = threading.Event()

        def follow() -> None:
            number = 1500
            while not done.is_set():
                add(place.store, f"sku {number}", key=f"b{number}")
                runner_at(place, Journal()).catch_up()
                number += 1

        with ThreadPoolExecutor(1) as thread:
            follower = thread.submit(follow)
            try:
                for _ in range(5):
                    runner_at(place, Journal()).rebuild()
            finally:
                done.set()
            follower.result()
        runner_at(place, Journal()).catch_up()

        head = place.store.head()
        assert head is not None
        assert journal(place.views) == numbered(range(head))


def rebuild(place: Place, on_added: Callable[[str], object] = nothing) -> bool:
    try:
        runner_at(place, Journal(on_added)).rebuild()
    except CheckpointError:
        return False
    return True


def test_of_two_rebuilds_at_once_at_least_one_succeeds_and_the_view_is_right(place: Place) -> None:
    add(place.store, *numbered(range(1500)))
    runner_at(place, Journal()).catch_up()

    for _ in range(5):
        with ThreadPoolExecutor(2) as threads:
            outcomes = [threads.submit(rebuild, place) for _ in range(2)]
            assert any(outcome.result() for outcome in outcomes)
        assert journal(place.views) == numbered(range(1500))
        assert names(place.views) == {"journal", "journal_by_sku"}


def test_a_rebuild_that_another_overtook_says_so_and_changes_nothing(tmp_path: Path) -> None:
    with open_place("sqlite and sqlite", tmp_path) as place:
        add(place.store, *numbered(range(1500)))
        arrived, go_on = threading.Event(), threading.Event()

        def wait(sku: str) -> None:
            # In the last page of this one, with the first page behind it.
            if sku == "sku 1000":
                arrived.set()
                go_on.wait(30)

        with ThreadPoolExecutor(2) as threads:
            slow = threads.submit(rebuild, place, wait)
            arrived.wait(30)
            fast = threads.submit(rebuild, place)
            go_on.set()
            assert slow.result() or fast.result()

        assert journal(place.views) == numbered(range(1500))
        runner_at(place, Journal()).catch_up()
        assert journal(place.views) == numbered(range(1500))


def test_a_rebuild_that_another_overtook_holds_no_other_projector_up(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place, Journal(), Totals())
    runner.catch_up()
    add(place.store, "ink")

    with pytest.raises(CheckpointError, match="another rebuild has begun meanwhile"):
        runner.rebuild(progress=lambda *_: runner_at(place, Journal()).rebuild())

    assert journal(place.views) == ["pen", "ink"]
    assert totals(place.views) == {"pen": 1, "ink": 1}


def test_a_rebuild_that_fails_leaves_nothing_in_the_database(tmp_path: Path) -> None:
    with open_place("sqlite", tmp_path) as place:
        add(place.store, "pen")
        ProjectionRunner(place.store, [Journal()], views=place.views).catch_up()
        tables = names(place.views)

        class Failing(Journal):
            name = "Journal"

            def project(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:  # noqa: ARG002
                raise RuntimeError

        with pytest.raises(ProjectionError):
            ProjectionRunner(place.store, [Failing()], views=place.views).rebuild()

        assert names(place.views) == tables
        assert place.views.query("SELECT projector FROM esbank_checkpoints") == [("Journal",)]


@pytest.mark.parametrize("do", ["catch_up", "rebuild"])
def test_it_ends_where_the_log_ended_though_others_append_all_the_time(tmp_path: Path, do: str) -> None:
    with open_place("memory and sqlite", tmp_path) as place:
        add(place.store, "pen")

        class Chased(Journal):
            name = "Journal"

            def project(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
                super().project(envelope, tx)
                if envelope.position < 5_000:
                    add(place.store, f"sku {envelope.position}")

        getattr(ProjectionRunner(place.store, [Chased()], views=place.views), do)()

        assert (place.store.head() or 0) < 5_000
