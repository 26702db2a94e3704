"""Side effects tell the world of what is new: at least once, in order, outside of transactions, and in no rebuild."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from esbank import (
    DefinitionError,
    EventEnvelope,
    ProjectionError,
    ProjectionRunner,
    Projector,
    ProjectorState,
    Repository,
    Retry,
    side_effects,
)
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from tests.basket import Add, Added, Basket, CheckedOut, Fill, Filled, Note
from tests.doubles import KINDS, Store, open_store
from tests.journal import (
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    fail_at,
    journal,
    nothing,
    numbered,
    open_place,
    running,
    totals,
    until,
)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


class Letters(Journal):
    """A journal that also writes letters: `told` lists what they were about, `on_letter` is called before each."""

    name = "Letters"

    def __init__(
        self, on_letter: Callable[[str], object] = nothing, on_added: Callable[[str], object] = nothing
    ) -> None:
        super().__init__(on_added)
        self.on_letter = on_letter
        self.told: list[str] = []

    @side_effects(Added)
    def _write(self, envelope: EventEnvelope[Added]) -> None:
        self.on_letter(envelope.event.sku)
        self.told.append(envelope.event.sku)


class SilentLetters(Journal):
    """What it was before it wrote letters."""

    name = "Letters"


class KeenLetters(Letters):
    name = "Letters"
    retry: ClassVar[Retry | None] = Retry(attempts=3, delay=0.001)


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    """Make a runner, and the views, empty, so that all that comes is new."""
    runner = ProjectionRunner(place.store, projectors, views=place.views)
    runner.catch_up()
    return runner


def state_of(runner: ProjectionRunner) -> ProjectorState:
    return runner.status()[0].state


# When.


def test_the_world_is_told_of_each_new_event_once_and_in_order(place: Place) -> None:
    letters = Letters()
    runner = runner_at(place, letters, Totals())

    for number in range(3):
        add(place.store, *numbered(range(number * 600, number * 600 + 600)))
        runner.catch_up()
        runner.catch_up()

    assert letters.told == journal(place.views) == numbered(range(1800))


def test_a_run_tells_as_well(place: Place) -> None:
    letters = Letters()
    runner = runner_at(place, letters)

    with running(runner):
        for number in range(20):
            add(place.store, f"sku {number}")
        until(lambda: len(letters.told) == 20)

    assert letters.told == numbered(range(20))


def test_what_was_there_before_the_view_is_told_to_nobody(place: Place) -> None:
    add(place.store, "pen", "ink")
    letters = Letters()
    runner = runner_at(place, letters)
    add(place.store, "cup")

    runner.catch_up()

    assert letters.told == ["cup"]
    assert journal(place.views) == ["pen", "ink", "cup"]


def test_what_was_in_the_view_before_there_were_side_effects_is_told_to_nobody(place: Place) -> None:
    silent = runner_at(place, SilentLetters())
    add(place.store, "pen", "ink")
    silent.catch_up()
    letters = Letters()

    runner = runner_at(place, letters)
    add(place.store, "cup")
    runner.catch_up()

    assert letters.told == ["cup"]


def test_a_rebuild_tells_nobody(place: Place) -> None:
    add(place.store, "old")
    letters = Letters()
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink")
    runner.catch_up()

    runner.rebuild()
    runner.catch_up()
    assert letters.told == ["pen", "ink"]

    add(place.store, "cup")
    runner.catch_up()
    assert letters.told == ["pen", "ink", "cup"]


def test_a_rebuild_that_makes_the_view_tells_nobody(place: Place) -> None:
    add(place.store, "pen")
    letters = Letters()
    runner = ProjectionRunner(place.store, [letters], views=place.views)

    runner.rebuild()
    runner.catch_up()

    assert letters.told == []


def test_what_came_during_a_rebuild_is_told_after_it(place: Place) -> None:
    letters = Letters()
    runner = runner_at(place, letters)
    add(place.store, "pen")
    runner.catch_up()
    add(place.store, "ink", "cup")

    runner.rebuild()
    assert letters.told == ["pen"]
    assert journal(place.views) == ["pen", "ink", "cup"]

    runner.catch_up()
    assert letters.told == ["pen", "ink", "cup"]


def test_after_a_rebuild_from_another_store_the_world_is_told_of_what_comes_there(tmp_path: Path) -> None:
    with (
        MemoryEventStore() as first,
        MemoryEventStore() as second,
        open_store("sqlite", tmp_path, name="views.db") as views,
    ):
        old = runner_at(Place(first, views), Letters())
        add(first, *numbered(range(10)))
        old.catch_up()
        add(second, "before")
        letters = Letters()
        runner = ProjectionRunner(second, [letters], views=views)

        runner.rebuild()
        add(second, "after")
        runner.catch_up()

        assert letters.told == ["after"]


def test_after_a_rebuild_from_another_store_without_events_the_world_is_told_of_the_first(tmp_path: Path) -> None:
    with (
        MemoryEventStore() as first,
        MemoryEventStore() as second,
        open_store("sqlite", tmp_path, name="views.db") as views,
    ):
        old = runner_at(Place(first, views), Letters())
        add(first, *numbered(range(10)))
        old.catch_up()
        letters = Letters()
        runner = ProjectionRunner(second, [letters], views=views)

        runner.rebuild()
        add(second, "pen")
        runner.catch_up()

        assert letters.told == ["pen"]


def test_after_a_restored_backup_and_a_rebuild_the_world_is_told_of_what_comes_then(tmp_path: Path) -> None:
    path, backup = tmp_path / "events.db", tmp_path / "backup.db"
    with open_store("sqlite", tmp_path, name="views.db") as views:
        with SQLiteEventStore(path) as store:
            letters = Letters()
            runner = runner_at(Place(store, views), letters)
            add(store, "pen")
            runner.catch_up()
        shutil.copy(path, backup)
        with SQLiteEventStore(path) as store:
            add(store, "ink", "cup")
            ProjectionRunner(store, [letters], views=views).catch_up()
        assert letters.told == ["pen", "ink", "cup"]
        shutil.copy(backup, path)

        with SQLiteEventStore(path) as store:
            # More than the world was told of, at the same positions and beyond them.
            add(store, "red", "blue", "grey", "green")
            letters = Letters()
            runner = ProjectionRunner(store, [letters], views=views)
            runner.rebuild()
            runner.catch_up()
            assert (letters.told, journal(views)) == ([], ["pen", "red", "blue", "grey", "green"])

            add(store, "after")
            runner.catch_up()
            assert letters.told == ["after"]


def test_a_run_ends_after_the_side_effect_in_which_it_is_stopped_and_the_next_tells_the_rest(place: Place) -> None:
    stop = threading.Event()
    letters = Letters(lambda sku: stop.set() if sku == "ink" else None)
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup", "cap")

    runner.run(stop)
    assert letters.told == ["pen", "ink"]
    assert journal(place.views) == ["pen", "ink", "cup", "cap"]
    (status,) = runner.status()
    assert (status.state, status.behind, status.untold) == (ProjectorState.BEHIND, 0, 2)

    runner.catch_up()
    assert letters.told == ["pen", "ink", "cup", "cap"]


def test_a_restart_goes_on_where_the_world_was_told(place: Place) -> None:
    first, second = Letters(fail_at("ink")), Letters()
    runner = runner_at(place, first)
    add(place.store, "pen", "ink", "cup")
    with pytest.raises(ProjectionError):
        runner.catch_up()

    runner_at(place, second)

    assert (first.told, second.told) == (["pen"], ["ink", "cup"])


# Which.


class Bell(Projector):
    """Has no tables; rings for two kinds of events."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    @side_effects(Added, Filled)
    def _ring(self, envelope: EventEnvelope[Added | Filled]) -> None:
        self.rung.append(type(envelope.event).__name__)


def test_a_projector_may_do_nothing_but_tell(place: Place) -> None:
    bell = Bell()
    runner = runner_at(place, bell)
    Repository(place.store, Basket).execute("b1", Add("pen"), Note("blue"), Fill(["ink"]), Add("cup"))

    runner.catch_up()
    runner.rebuild()
    runner.catch_up()

    assert bell.rung == ["Added", "Filled", "Added"]
    assert Bell.event_classes() == Bell.effect_classes() == (Added, Filled)


def test_a_class_lists_what_it_takes_and_what_it_tells(store: Store) -> None:
    class Both(Journal):
        @side_effects(CheckedOut)
        def _tell(self, envelope: EventEnvelope[CheckedOut]) -> None: ...

    ProjectionRunner(store, [Both()])

    assert set(Both.event_classes()) == {Added, CheckedOut}
    assert Both.effect_classes() == (CheckedOut,)


def test_two_methods_that_tell_of_one_event_are_refused() -> None:
    def method(self: Projector, envelope: EventEnvelope[Added]) -> None: ...

    def other(self: Projector, envelope: EventEnvelope[Added]) -> None: ...

    with pytest.raises(DefinitionError, match=r"both method and other are marked @side_effects\(Added\)"):
        type("Twice", (Projector,), {"method": side_effects(Added)(method), "other": side_effects(Added)(other)})


class OtherLetters(Letters):
    name = "Letters"

    @side_effects(Added)
    def _write(self, envelope: EventEnvelope[Added]) -> None:
        self.told.append(f"dear {envelope.event.sku}")


def test_a_subclass_tells_it_in_its_own_words(store: Store) -> None:
    letters = OtherLetters()
    runner = runner_at(Place(store, store), letters)
    add(store, "pen")

    runner.catch_up()

    assert letters.told == ["dear pen"]


# Outside of transactions.


def test_a_side_effect_may_append_and_sees_what_is_committed(place: Place) -> None:
    seen: list[list[str]] = []

    def answer(sku: str) -> None:
        seen.append(journal(place.views))
        if sku == "pen":
            add(place.store, "answer", key="b2")

    letters = Letters(answer)
    runner = runner_at(place, letters)
    add(place.store, "pen")

    with running(runner):
        until(lambda: letters.told == ["pen", "answer"])

    assert seen == [["pen"], ["pen", "answer"]]


def test_a_side_effect_may_change_tables_of_its_own(place: Place) -> None:
    with place.views.view_transaction() as tx:
        tx.execute("CREATE TABLE sent (sku TEXT)")

    def send(sku: str) -> None:
        with place.views.view_transaction() as tx:
            tx.execute("INSERT INTO sent VALUES (:sku)", {"sku": sku})

    runner = runner_at(place, Letters(send))
    add(place.store, "pen", "ink")
    runner.catch_up()

    assert place.views.query("SELECT sku FROM sent") == [("pen",), ("ink",)]


def test_others_write_while_the_world_is_told(place: Place) -> None:
    telling, go_on = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        telling.set()
        assert go_on.wait(20)

    with ThreadPoolExecutor(1) as thread:
        letters = Letters(wait)
        runner = runner_at(place, letters)
        add(place.store, "pen")
        done = thread.submit(runner.catch_up)
        try:
            assert telling.wait(20)
            add(place.store, "ink")
            with place.views.view_transaction() as tx:
                tx.execute("DELETE FROM journal WHERE sku = 'ink'")
        finally:
            go_on.set()
        done.result()
        assert letters.told[0] == "pen"


# When they fail.


def test_a_side_effect_that_fails_stops_its_projector_and_no_other(place: Place) -> None:
    letters = Letters(fail_at("ink"))
    runner = runner_at(place, letters, Totals())
    add(place.store, "pen", "ink", "cup")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        add(place.store, "cap")
        runner.wait_for(4, 20, names=["Totals"])

    (status, _) = runner.status()
    assert letters.told == ["pen"]
    assert (status.failed_position, status.error) == (2, "LookupError: ink")
    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1, "cap": 1}


def test_a_side_effect_that_failed_is_tried_again_and_then_forgotten(place: Place) -> None:
    failing = True

    def fail(sku: str) -> None:
        if failing and sku == "ink":
            raise LookupError(sku)

    letters = Letters(fail)
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup")
    for _ in range(2):
        with pytest.raises(ProjectionError) as failed:
            runner.catch_up()
        assert (failed.value.position, repr(failed.value.__cause__)) == (2, "LookupError('ink')")
        assert state_of(runner) is ProjectorState.STOPPED
    failing = False

    runner.catch_up()

    assert letters.told == journal(place.views) == ["pen", "ink", "cup"]
    assert state_of(runner) is ProjectorState.CURRENT


def test_a_side_effect_is_retried_as_its_projector_asks_for(place: Place) -> None:
    left = {"pen": 2, "cup": 2}

    def fail(sku: str) -> None:
        if left.get(sku):
            left[sku] -= 1
            raise LookupError(sku)

    letters = KeenLetters(fail)
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup")

    with running(runner):
        until(lambda: len(letters.told) == 3)
        until(lambda: state_of(runner) is ProjectorState.CURRENT)

    assert letters.told == ["pen", "ink", "cup"]


def test_a_side_effect_that_fails_for_good_is_passed_over_and_stays_in_the_view(place: Place) -> None:
    letters = Letters(fail_at("ink"))
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup")
    with pytest.raises(ProjectionError):
        runner.catch_up()

    runner.skip(2, "has moved without a trace", by="alice")
    runner.catch_up()
    assert letters.told == ["pen", "cup"]
    assert state_of(runner) is ProjectorState.CURRENT

    runner.rebuild()
    assert journal(place.views) == ["pen", "ink", "cup"]


def test_a_side_effect_that_is_passed_over_once_it_may_go_on_stays_in_the_view_too(place: Place) -> None:
    letters = Letters(fail_at("ink"))
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup")
    with pytest.raises(ProjectionError):
        runner.catch_up()

    runner.resume()
    runner.skip(2, "has moved without a trace", by="alice")
    runner.catch_up()
    assert letters.told == ["pen", "cup"]

    runner.rebuild()
    assert journal(place.views) == ["pen", "ink", "cup"]


def test_the_last_event_that_was_told_leaves_the_view_when_it_is_passed_over_and_that_is_rebuilt(place: Place) -> None:
    runner = runner_at(place, Letters())
    add(place.store, "pen", "ink")
    runner.catch_up()

    runner.skip(2, "never happened", by="alice")
    runner.rebuild()

    assert journal(place.views) == ["pen"]


def test_to_pass_over_a_side_effect_leaves_an_interrupted_rebuild_what_it_has(place: Place) -> None:
    def interrupt(sku: str) -> None:
        if sku == "sku 1050":
            raise KeyboardInterrupt

    runner = runner_at(place, Letters(fail_at("sku 5")))
    add(place.store, *numbered(range(1100)))
    with pytest.raises(ProjectionError):
        runner.catch_up()
    with pytest.raises(KeyboardInterrupt):
        ProjectionRunner(place.store, [Letters(nothing, interrupt)], views=place.views).rebuild()
    seen: list[str] = []

    runner.skip(6, "has moved without a trace", by="alice")
    ProjectionRunner(place.store, [Letters(nothing, seen.append)], views=place.views).rebuild(resume=True)

    assert seen == numbered(range(1000, 1100))
    assert journal(place.views) == numbered(range(1100))


def test_what_is_still_to_be_told_is_counted_apart_from_what_the_view_lacks(place: Place) -> None:
    runner = runner_at(place, Letters(fail_at("ink")), Totals())
    add(place.store, "pen", "ink", "cup")
    with pytest.raises(ProjectionError):
        runner.catch_up()
    add(place.store, "cap")

    (letters, totals_) = runner.status()
    assert (letters.state, letters.behind, letters.untold) == (ProjectorState.STOPPED, 1, 2)
    assert (totals_.state, totals_.behind, totals_.untold) == (ProjectorState.BEHIND, 1, 0)

    mended = runner_at(place, Letters(), Totals())
    assert [(status.state, status.untold) for status in mended.status()] == [(ProjectorState.CURRENT, 0)] * 2


def test_an_event_that_the_view_skips_is_told_to_nobody(place: Place) -> None:
    letters = Letters(nothing, fail_at("ink"))
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup")

    runner.skip(2, "was never sold", by="alice")
    runner.catch_up()

    assert letters.told == journal(place.views) == ["pen", "cup"]


def test_what_is_in_the_view_is_told_though_a_later_event_fails(place: Place) -> None:
    letters = Letters(nothing, fail_at("cup"))
    runner = runner_at(place, letters)
    add(place.store, "pen", "ink", "cup", "cap")

    with pytest.raises(ProjectionError):
        runner.catch_up()

    assert letters.told == journal(place.views) == ["pen", "ink"]


# Several at once.


def test_of_several_runners_one_tells(place: Place) -> None:
    told: list[str] = []
    runners = [runner_at(place, Letters(told.append)) for _ in range(4)]

    def follow(runner: ProjectionRunner, thread: int) -> None:
        for number in range(10):
            add(place.store, f"sku {thread}/{number}", key=f"b{thread}")
            runner.catch_up()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(follow, runner, number) for number, runner in enumerate(runners)]:
            done.result()
    runners[0].catch_up()

    assert told == journal(place.views)
    assert len(told) == 40


def test_what_one_leaves_to_another_is_told_without_waiting_for_the_next_event(place: Place) -> None:
    telling, go_on = threading.Event(), threading.Event()
    told: list[str] = []

    def wait(sku: str) -> None:
        telling.set()
        assert go_on.wait(20)
        told.append(sku)

    slow, runner = runner_at(place, Letters(wait)), runner_at(place, Letters(told.append))
    add(place.store, "pen")
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(slow.catch_up)
        try:
            assert telling.wait(20)
            with running(runner):
                add(place.store, "ink")
                runner.wait_for(2, 20)
                go_on.set()
                until(lambda: len(told) == 2)
        finally:
            go_on.set()
        done.result()

    assert told == ["pen", "ink"]


def test_what_one_has_left_untold_is_told_without_waiting_for_the_next_event(place: Place) -> None:
    letters = Letters()
    runner = runner_at(place, letters)

    with running(runner):
        with place.views.claim("Letters side effects"):
            add(place.store, "pen")
            runner.wait_for(1, 20)
            time.sleep(0.05)  # so that the runner finds them claimed, as a rule
            assert letters.told == []
        until(lambda: letters.told == ["pen"])


# With an inline view.


@pytest.mark.parametrize("kind", KINDS)
def test_a_runner_tells_what_is_in_an_inline_view(kind: str, tmp_path: Path) -> None:
    letters = Letters()
    with open_store(kind, tmp_path, inline=[letters]) as store:
        add(store, "pen")
        assert letters.told == []
        runner = ProjectionRunner(store, [letters])

        runner.catch_up()
        assert letters.told == ["pen"]

        with running(runner):
            add(store, "ink")
            until(lambda: letters.told == ["pen", "ink"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_inline_view_is_behind_until_the_world_was_told(kind: str, tmp_path: Path) -> None:
    letters = Letters()
    with open_store(kind, tmp_path, inline=[letters]) as store:
        runner = ProjectionRunner(store, [letters])
        assert state_of(runner) is ProjectorState.CURRENT
        add(store, "pen", "ink")

        (status,) = runner.status()
        assert (status.state, status.position, status.behind, status.untold) == (ProjectorState.BEHIND, 2, 0, 2)

        runner.catch_up()
        (status,) = runner.status()
        assert (status.state, status.behind, status.untold) == (ProjectorState.CURRENT, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_append_to_an_inline_view_does_not_make_a_failed_side_effect_forgotten(kind: str, tmp_path: Path) -> None:
    letters = Letters(fail_at("ink"))
    with open_store(kind, tmp_path, inline=[letters]) as store:
        runner = ProjectionRunner(store, [letters])
        add(store, "pen", "ink")
        with pytest.raises(ProjectionError):
            runner.catch_up()

        add(store, "cup")

        (status,) = runner.status()
        assert (status.state, status.position, status.failed_position) == (ProjectorState.STOPPED, 3, 2)
