"""Projectors that are at one place share each page of the log, and none of them holds up or disturbs the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from esbank import EventEnvelope, ProjectionError, ProjectionRunner, Projector, projects
from esbank.store import Transaction
from tests.basket import Added
from tests.doubles import WatchedStore
from tests.journal import (
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    as_written,
    fail_at,
    journal,
    numbered,
    open_place,
    totals,
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


class Marks(Projector):
    """One row for each event, and what it was given."""

    tables: ClassVar[Mapping[str, str]] = {"marks": "(position INTEGER NOT NULL)"}

    def __init__(self) -> None:
        self.given: list[EventEnvelope[Any]] = []

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {marks} VALUES (:position)", {"position": envelope.position})
        self.given.append(envelope)


class MoreMarks(Marks):
    tables: ClassVar[Mapping[str, str]] = {"more_marks": "(position INTEGER NOT NULL)"}

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {more_marks} VALUES (:position)", {"position": envelope.position})
        self.given.append(envelope)


def watch(place: Place, *projectors: Projector) -> tuple[ProjectionRunner, WatchedStore]:
    watched = WatchedStore(place.store)
    return ProjectionRunner(watched, projectors, views=place.views), watched


def assert_whole(place: Place, *tables: str, count: int) -> None:
    for table in tables:
        rows = place.views.query(f"SELECT position FROM {table} ORDER BY {as_written(place.views)}")  # noqa: S608
        assert rows == [(position,) for position in range(1, count + 1)]


@pytest.mark.parametrize("do", ["catch_up", "rebuild"])
def test_the_log_is_read_once_for_all(place: Place, do: str) -> None:
    add(place.store, *numbered(range(2500)))
    alone, watched = watch(place, Journal())
    getattr(alone, do)()
    reads, events = watched.calls["read_all"], watched.events_read
    assert (reads, events) == (3, 2500)
    with place.views.view_transaction() as tx:
        tx.execute("DROP TABLE journal")
        tx.execute("DELETE FROM esbank_checkpoints")

    together, watched = watch(place, Journal(), Totals(), Marks(), MoreMarks())
    getattr(together, do)()

    assert (watched.calls["read_all"], watched.events_read) == (reads, events)
    assert_whole(place, "journal", "marks", "more_marks", count=2500)
    assert len(totals(place.views)) == 2500


def test_each_event_is_decoded_once_for_all(place: Place) -> None:
    add(place.store, "pen", "ink")
    marks, more = Marks(), MoreMarks()

    ProjectionRunner(place.store, [marks, more], views=place.views).catch_up()

    assert [first is second for first, second in zip(marks.given, more.given, strict=True)] == [True, True]


def test_one_that_is_behind_reads_up_to_the_next_and_they_go_on_together(place: Place) -> None:
    add(place.store, *numbered(range(1500)))
    watch(place, Journal())[0].catch_up()
    add(place.store, *numbered(range(1500, 1700)), key="b2")
    watch(place, Marks())[0].catch_up()
    add(place.store, *numbered(range(1700, 4000)), key="b3")

    runner, watched = watch(place, Totals(), Journal(), Marks())
    runner.catch_up()

    # To 1000, 1500 (where one is), 1700 (where another is), and from there together to 2700, 3700 and 4000.
    assert watched.calls["read_all"] == 6
    assert_whole(place, "journal", "marks", count=4000)
    assert totals(place.views) == dict.fromkeys(numbered(range(4000)), 1)


def test_one_that_is_new_does_not_hold_up_those_that_are_there(place: Place) -> None:
    add(place.store, *numbered(range(1200)))
    watch(place, Journal())[0].catch_up()

    runner, watched = watch(place, Journal(), Totals())
    runner.catch_up()

    assert watched.events_read == 1200
    assert_whole(place, "journal", count=1200)


@pytest.mark.parametrize("number", [0, 500, 999, 1000, 1700])
def test_one_that_fails_does_not_disturb_the_others(place: Place, number: int) -> None:
    add(place.store, *numbered(range(2500)))
    runner, watched = watch(place, Marks(), Journal(fail_at(f"sku {number}")), Totals(), MoreMarks())

    with pytest.raises(ProjectionError) as failed:
        runner.catch_up()

    assert failed.value.projector == "Journal"
    assert watched.calls["read_all"] == 3
    assert_whole(place, "journal", count=number)
    assert_whole(place, "marks", "more_marks", count=2500)
    assert len(totals(place.views)) == 2500


def test_what_one_has_read_of_a_page_is_kept_when_another_breaks_off(place: Place) -> None:
    add(place.store, *numbered(range(1500)))

    def break_off(sku: str) -> None:
        if sku == "sku 1200":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(place, Marks(), Journal(break_off), MoreMarks())[0].catch_up()
    assert_whole(place, "marks", count=1500)
    assert_whole(place, "journal", "more_marks", count=1000)

    runner, watched = watch(place, Marks(), Journal(), MoreMarks())
    runner.catch_up()

    assert watched.calls["read_all"] == 1
    assert_whole(place, "journal", "marks", "more_marks", count=1500)


def test_in_a_rebuild_one_that_fails_does_not_disturb_the_others(place: Place) -> None:
    add(place.store, *numbered(range(1500)))
    runner, watched = watch(place, Journal(fail_at("sku 1200")), Marks(), Totals())

    with pytest.raises(ProjectionError):
        runner.rebuild()

    assert watched.calls["read_all"] == 2
    assert journal(place.views) == []
    assert_whole(place, "marks", count=1500)
    assert len(totals(place.views)) == 1500


def test_in_a_run_one_that_comes_later_joins_the_others(place: Place) -> None:
    add(place.store, *numbered(range(1100)))
    ProjectionRunner(place.store, [Journal()], views=place.views).catch_up()
    runner = ProjectionRunner(place.store, [Journal(), Marks(), Totals()], views=place.views)
    stop = threading.Event()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(runner.run, stop)
        try:
            for number in range(1100, 1120):
                add(place.store, f"sku {number}", key=f"b{number}")
            runner.wait_for(1120, 20)
        finally:
            stop.set()
        done.result()

    assert_whole(place, "journal", "marks", count=1120)
    assert totals(place.views) == dict.fromkeys(numbered(range(1120)), 1)
