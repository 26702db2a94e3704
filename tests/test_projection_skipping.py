"""An event is passed over when somebody says so, and why, and never else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from esbank import ProjectionError, ProjectionRunner, Projector, ProjectorState, Repository, context
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from tests.basket import Add, Basket, Note
from tests.doubles import open_store
from tests.journal import (
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    fail_at,
    journal,
    numbered,
    open_place,
    running,
    totals,
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors, views=place.views)


def test_nothing_is_skipped_unless_somebody_says_so(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal(fail_at("ink")))

    for _ in range(10):
        with pytest.raises(ProjectionError):
            runner.catch_up()

    assert journal(place.views) == ["pen"]
    assert place.views.query("SELECT * FROM esbank_skipped_events") == []


def test_a_projector_that_stopped_goes_on_behind_the_event_that_it_skips(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal(fail_at("ink")), Totals())
    with pytest.raises(ProjectionError):
        runner.catch_up()

    runner.skip(2, "was never sold", projector="Journal", by="alice")
    runner.catch_up()

    assert journal(place.views) == ["pen", "cup"]
    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1}


def test_it_is_kept_which_event_was_skipped_when_by_whom_and_why(place: Place) -> None:
    add(place.store, "pen", "ink")
    (_, ink) = place.store.read_all()

    runner_at(place, Journal()).skip(2, "was never sold", by="alice")

    columns = "projector, position, stream, version, event_id, type, reason, skipped_by"
    assert place.views.query(f"SELECT {columns} FROM esbank_skipped_events") == [  # noqa: S608
        ("Journal", 2, "Basket-b1", 2, str(ink.event_id), "BasketAdded", "was never sold", "alice")
    ]
    ((at,),) = place.views.query("SELECT skipped_at FROM esbank_skipped_events")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(at)) < timedelta(minutes=10)


def test_whoever_acts_is_the_one_who_skips(place: Place) -> None:
    add(place.store, "pen", "ink")
    runner = runner_at(place, Journal())

    with context(actor="bob"):
        runner.skip(1, "was never sold")
        runner.skip(2, "was never sold", by="alice")

    assert place.views.query("SELECT position, skipped_by FROM esbank_skipped_events ORDER BY position") == [
        (1, "bob"),
        (2, "alice"),
    ]


@pytest.mark.parametrize(
    ("position", "reason", "by", "message"),
    [
        (1, "was never sold", None, "who skips the event, and why"),
        (1, "was never sold", "", "who skips the event, and why"),
        (1, "", "alice", "who skips the event, and why"),
        (1, " \n", "alice", "who skips the event, and why"),
        (4, "was never sold", "alice", "no event at position 4"),
        (0, "was never sold", "alice", "no event at position 0"),
        (-1, "was never sold", "alice", "no event at position -1"),
        (2, "was never sold", "alice", "'Journal' does not take the BasketNoted at position 2"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_skipped(
    place: Place, position: int, reason: str, by: str | None, message: str
) -> None:
    Repository(place.store, Basket).execute("b1", Add("pen"), Note("blue"), Add("ink"))
    runner = runner_at(place, Journal())
    runner.catch_up()

    with pytest.raises(ValueError, match=message):
        runner.skip(position, reason, by=by)

    assert place.views.query("SELECT * FROM esbank_skipped_events") == []


def test_which_of_several_projectors_is_to_skip_it_must_be_said(place: Place) -> None:
    add(place.store, "pen")
    runner = runner_at(place, Journal(), Totals())

    with pytest.raises(ValueError, match="which projector is to skip it; there are Journal, Totals"):
        runner.skip(1, "was never sold", by="alice")
    with pytest.raises(ValueError, match="'Jurnal'; there are Journal, Totals"):
        runner.skip(1, "was never sold", projector="Jurnal", by="alice")


def test_an_event_is_skipped_once_and_the_first_reason_stays(place: Place) -> None:
    add(place.store, "pen", "ink")
    runner = runner_at(place, Journal())

    runner.skip(1, "was never sold", by="alice")
    runner.skip(1, "because", by="bob")
    runner.catch_up()

    assert journal(place.views) == ["ink"]
    assert place.views.query("SELECT reason, skipped_by FROM esbank_skipped_events") == [("was never sold", "alice")]


def test_an_event_that_a_view_has_not_come_to_yet_can_be_skipped(place: Place) -> None:
    runner = runner_at(place, Journal(fail_at("cup")), Totals())
    add(place.store, "pen")
    runner.catch_up()
    add(place.store, "ink", "cup", "cap")

    runner.skip(3, "was never sold", projector="Journal", by="alice")
    runner.catch_up()

    assert journal(place.views) == ["pen", "ink", "cap"]
    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1, "cap": 1}


def test_to_skip_another_event_lets_nothing_go_on(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal(fail_at("ink")))
    with pytest.raises(ProjectionError):
        runner.catch_up()

    runner.skip(3, "was never sold", by="alice")

    assert runner.status()[0].failed_position == 2
    with pytest.raises(ProjectionError) as failed:
        runner.catch_up()
    assert failed.value.position == 2


@pytest.mark.parametrize("kind", ["sqlite", "memory and sqlite", "postgresql", "sqlite and postgresql"])
def test_a_runner_that_has_nothing_else_to_do_goes_on(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place, ThreadPoolExecutor(1) as thread:
        add(place.store, "pen", "ink", "cup")
        runner = runner_at(place, Journal(fail_at("ink")), Totals())
        stop = threading.Event()
        done = thread.submit(runner.run, stop)
        try:
            runner.wait_for(3, 20, names=["Totals"])
            runner_at(place, Journal()).skip(2, "was never sold", by="alice")
            runner.wait_for(3, 20)
        finally:
            stop.set()
        done.result()

        assert journal(place.views) == ["pen", "cup"]


class Overtaken(Exception):
    """While this is being written down, somebody does something."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile

    def __str__(self) -> str:
        self.meanwhile()
        return "overtaken"


def overtaken_at_ink(place: Place) -> Callable[[str], None]:
    """Make an action that fails for the ink at position 2, which is skipped before the failure is written down."""

    def skip() -> None:
        runner_at(place, Journal()).skip(2, "was never sold", by="alice")

    def action(sku: str) -> None:
        if sku == "ink":
            raise Overtaken(skip)

    return action


def test_what_is_skipped_while_it_is_tried_has_not_failed(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal(overtaken_at_ink(place)))
    with pytest.raises(ProjectionError):
        runner.catch_up()

    (status,) = runner.status()
    assert (status.state, status.failed_position, status.skipped) == (ProjectorState.BEHIND, None, 1)

    runner.catch_up()
    assert journal(place.views) == ["pen", "cup"]


@pytest.mark.parametrize("kind", ["sqlite", "memory and sqlite", "postgresql", "sqlite and postgresql"])
def test_a_runner_goes_on_when_the_event_is_skipped_while_it_tries_it(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        add(place.store, "pen", "ink", "cup")
        runner = runner_at(place, Journal(overtaken_at_ink(place)))

        with running(runner):
            runner.wait_for(3, 20)

        assert journal(place.views) == ["pen", "cup"]


# Rebuilds.


def test_a_rebuild_skips_what_was_skipped(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal(fail_at("ink")))
    with pytest.raises(ProjectionError):
        runner.rebuild()

    runner.skip(2, "was never sold", by="alice")
    runner.rebuild()

    assert journal(place.views) == ["pen", "cup"]


def interrupt_at(last: str) -> Callable[[str], None]:
    def action(sku: str) -> None:
        if sku == last:
            raise KeyboardInterrupt

    return action


@pytest.mark.parametrize(
    ("position", "begins"), [(5, 0), (1000, 0), (1050, 1000)], ids=["has it", "has it at its end", "has it not"]
)
def test_a_rebuild_that_has_the_event_already_begins_anew(place: Place, position: int, begins: int) -> None:
    skus = numbered(range(1100))
    add(place.store, *skus)
    runner_at(place, Journal()).catch_up()
    with pytest.raises(KeyboardInterrupt):
        runner_at(place, Journal(interrupt_at("sku 1060"))).rebuild()
    seen: list[str] = []
    runner = runner_at(place, Journal(seen.append))

    runner.skip(position, "was never sold", by="alice")
    runner.rebuild(resume=True)

    skipped = skus[position - 1]
    assert seen == [sku for sku in skus[begins:] if sku != skipped]
    assert journal(place.views) == [sku for sku in skus if sku != skipped]


def test_what_was_skipped_comes_back_when_its_row_is_deleted_and_the_view_rebuilt(place: Place) -> None:
    add(place.store, "pen", "ink", "cup")
    runner = runner_at(place, Journal())
    runner.skip(2, "was never sold", by="alice")
    runner.catch_up()
    with place.views.view_transaction() as tx:
        tx.execute("DELETE FROM esbank_skipped_events")

    runner.rebuild()

    assert journal(place.views) == ["pen", "ink", "cup"]


def test_an_event_of_another_store_at_the_same_position_is_not_skipped(tmp_path: Path) -> None:
    with (
        MemoryEventStore() as first,
        MemoryEventStore() as second,
        open_store("sqlite", tmp_path, name="views.db") as views,
    ):
        add(first, "pen", "ink", "cup")
        add(second, "red", "blue", "grey")
        runner_at(Place(first, views), Journal()).skip(2, "was never sold", by="alice")
        runner = runner_at(Place(second, views), Journal())

        runner.rebuild()
        assert journal(views) == ["red", "blue", "grey"]

        runner.skip(2, "was never sold either", by="bob")
        runner.rebuild()
        assert journal(views) == ["red", "grey"]


# Inline.


def test_a_store_whose_inline_view_fails_can_be_opened_again_once_the_event_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    failing = Journal(fail_at("ink"))
    with SQLiteEventStore(path, durability="normal") as store:
        add(store, "pen", "ink", "cup")
    with pytest.raises(ProjectionError):
        SQLiteEventStore(path, durability="normal", inline=[failing])

    with SQLiteEventStore(path, durability="normal") as store:
        ProjectionRunner(store, [failing]).skip(2, "was never sold", by="alice")

    with SQLiteEventStore(path, durability="normal", inline=[failing]) as store:
        add(store, "cap")
        assert journal(store) == ["pen", "cup", "cap"]
