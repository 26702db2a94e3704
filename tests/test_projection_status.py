"""A runner says where its projectors are: how far behind, in which state, and what has failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar, Final

import pytest

from esbank import (
    CheckpointError,
    EventEnvelope,
    ProjectionError,
    ProjectionRunner,
    Projector,
    ProjectorState,
    ProjectorStatus,
    projects,
)
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import Transaction
from tests.basket import Added
from tests.doubles import Clock, open_store
from tests.journal import PLACES, Journal, Place, Totals, add, fail_at, names, open_place

SPAWN: Final = get_context("spawn")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors, views=place.views)


def status_of(place: Place, projector: Projector) -> ProjectorStatus:
    (status,) = runner_at(place, projector).status()
    return status


def fail_to_catch_up(runner: ProjectionRunner) -> None:
    with pytest.raises(ProjectionError):
        runner.catch_up()


def test_a_projector_that_was_never_run_is_new(place: Place) -> None:
    add(place.store, "pen", "ink")

    status = status_of(place, Journal())

    assert status.seconds_behind >= 0
    assert status == ProjectorStatus(
        projector="Journal",
        state=ProjectorState.NEW,
        position=None,
        head=2,
        behind=2,
        seconds_behind=status.seconds_behind,
        failed_position=None,
        error=None,
        skipped=0,
    )


def test_to_ask_makes_no_view(place: Place) -> None:
    status_of(place, Journal())

    assert names(place.views) == set()


def test_a_projector_is_behind_until_it_has_caught_up(place: Place) -> None:
    runner = runner_at(place, Journal())
    runner.catch_up()
    add(place.store, "pen", "ink")
    add(place.store, "cup")

    (status,) = runner.status()
    assert (status.state, status.position, status.head, status.behind) == (ProjectorState.BEHIND, None, 3, 3)

    runner.catch_up()
    (status,) = runner.status()
    assert (status.state, status.position, status.head, status.behind) == (ProjectorState.CURRENT, 3, 3, 0)
    assert status.seconds_behind == 0


def test_with_an_empty_store_a_projector_has_all_there_is(place: Place) -> None:
    runner = runner_at(place, Journal())
    runner.catch_up()

    (status,) = runner.status()

    assert (status.state, status.position, status.head, status.behind) == (ProjectorState.CURRENT, None, None, 0)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_how_long_the_oldest_event_has_been_waiting_is_told(tmp_path: Path, kind: str) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC) - timedelta(hours=3)
    with open_store(kind, tmp_path, clock=clock) as store:
        runner = ProjectionRunner(store, [Journal()])
        add(store, "pen")
        runner.catch_up()
        clock.forward(hours=1)
        add(store, "ink")
        clock.forward(hours=1)
        add(store, "cup")

        (status,) = runner.status()

        assert 7200 <= status.seconds_behind < 7200 + 600


def test_an_event_from_a_clock_that_is_ahead_has_not_been_waiting(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC) + timedelta(hours=1)
    with open_store("memory", tmp_path, clock=clock) as store:
        add(store, "pen")

        (status,) = ProjectionRunner(store, [Journal()]).status()

        assert status.seconds_behind == 0


def test_projectors_are_listed_as_they_were_given(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place, Totals(), Journal())
    runner.catch_up("Journal")

    assert [(status.projector, status.state) for status in runner.status()] == [
        ("Totals", ProjectorState.NEW),
        ("Journal", ProjectorState.CURRENT),
    ]


# Failures.


def test_a_projector_that_failed_has_stopped_at_the_event(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    fail_to_catch_up(runner_at(place, Journal(fail_at("ink"))))

    status = status_of(place, Journal())

    assert (status.state, status.position, status.behind) == (ProjectorState.STOPPED, 1, 2)
    assert (status.failed_position, status.error) == (2, "LookupError: ink")


def test_once_mended_nothing_has_failed(place: Place) -> None:
    add(place.store, "pen", "ink")
    fail_to_catch_up(runner_at(place, Journal(fail_at("ink"))))

    runner_at(place, Journal()).catch_up()

    status = status_of(place, Journal())
    assert (status.state, status.failed_position, status.error) == (ProjectorState.CURRENT, None, None)


def test_to_resume_lets_a_projector_that_nobody_runs_be_behind_again(place: Place) -> None:
    add(place.store, "pen", "ink")
    runner = runner_at(place, Journal(fail_at("ink")), Totals())
    fail_to_catch_up(runner)

    runner.resume("Journal")

    assert [status.state for status in runner.status()] == [ProjectorState.BEHIND, ProjectorState.CURRENT]


def ask(folder: Path) -> ProjectorStatus:
    with SQLiteEventStore(folder / "events.db", durability="normal") as store:
        (status,) = ProjectionRunner(store, [Journal()]).status()
        return status


def test_a_failure_is_seen_from_another_process(tmp_path: Path) -> None:
    with open_place("sqlite", tmp_path) as place, ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        add(place.store, "pen", "ink")
        fail_to_catch_up(runner_at(place, Journal(fail_at("ink"))))

        status = other.submit(ask, tmp_path).result()

        assert (status.state, status.failed_position, status.error) == (ProjectorState.STOPPED, 2, "LookupError: ink")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (LookupError("x" * 10_000), "LookupError: xxx"),
        (LookupError("\udce4"), "LookupError: "),
        (LookupError("\0"), "LookupError: "),
        (Speechless(), "Speechless"),
    ],
    ids=["long", "a lone surrogate", "a zero", "none"],
)
def test_whatever_the_error_says_the_projector_is_seen_to_have_stopped(
    place: Place, error: Exception, begins: str
) -> None:
    def fail(_: str) -> None:
        raise error

    add(place.store, "pen")
    runner = runner_at(place, Journal(fail), Totals())
    fail_to_catch_up(runner)

    stopped, other = runner.status()

    assert (stopped.state, stopped.failed_position, other.state) == (
        ProjectorState.STOPPED,
        1,
        ProjectorState.CURRENT,
    )
    assert stopped.error is not None
    assert stopped.error.startswith(begins)
    assert len(stopped.error) < 3000


def test_a_failure_that_another_runner_has_got_over_meanwhile_is_not_kept(place: Place) -> None:
    add(place.store, "pen")
    mended = runner_at(place, Journal())

    class Slow(Exception):
        """While this is being written down, another runner goes on."""

        def __str__(self) -> str:
            with suppress(CheckpointError):
                mended.catch_up()
            return "slow"

    def fail(_: str) -> None:
        raise Slow

    fail_to_catch_up(runner_at(place, Journal(fail)))

    assert status_of(place, Journal()).state is ProjectorState.CURRENT
    assert status_of(place, Journal()).position == 1


# Out of date.


class SecondJournal(Journal):
    name = "Journal"
    version: ClassVar[int] = 2


class WiderJournal(Journal):
    name = "Journal"
    tables: ClassVar[Mapping[str, str]] = {
        "journal": "(position INTEGER NOT NULL, sku TEXT NOT NULL, colour TEXT DEFAULT '')"
    }

    @projects(Added)
    def _added(self, _: EventEnvelope[Added], tx: Transaction) -> None:
        raise NotImplementedError


class SlowerJournal(Journal):
    name = "Journal"
    indexes: ClassVar[Mapping[str, str]] = {}


class TidierJournal(Journal):
    name = "Journal"
    tables: ClassVar[Mapping[str, str]] = {
        "journal": """(position INTEGER NOT NULL,
                       sku TEXT NOT NULL)""".replace("\n", "\n  ")
    }


@pytest.mark.parametrize(
    ("projector", "problem"),
    [
        (SecondJournal(), "its view was made by version 1 of it, and this is version 2"),
        (WiderJournal(), "its view was made with other tables or indexes than it declares now"),
        (SlowerJournal(), "its view was made with other tables or indexes than it declares now"),
    ],
    ids=["version", "table", "index"],
)
def test_a_view_that_would_be_made_otherwise_now_is_out_of_date(
    place: Place, projector: Projector, problem: str
) -> None:
    add(place.store, "pen")
    runner_at(place, Journal()).catch_up()

    status = status_of(place, projector)

    assert status.state is ProjectorState.OUTDATED
    assert problem in str(status.error)


def test_a_table_that_is_declared_in_other_lines_is_the_same(place: Place) -> None:
    add(place.store, "pen")
    runner_at(place, Journal()).catch_up()

    assert status_of(place, TidierJournal()).state is ProjectorState.CURRENT


def test_a_view_of_another_store_is_out_of_date_however_many_events_that_has(tmp_path: Path) -> None:
    with (
        MemoryEventStore() as first,
        MemoryEventStore() as second,
        open_store("sqlite", tmp_path, name="views.db") as views,
    ):
        add(first, "pen", "ink")
        ProjectionRunner(first, [Journal()], views=views).catch_up()
        for _ in range(3):
            status = status_of(Place(second, views), Journal())

            assert status.state is ProjectorState.OUTDATED
            assert "another store" in str(status.error)
            add(second, "cup", "cap")


def test_how_many_events_were_skipped_is_told(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal(), Totals())
    for position in (1, 3):
        runner.skip(position, "not needed", projector="Journal", by="alice")

    assert [status.skipped for status in runner.status()] == [2, 0]
