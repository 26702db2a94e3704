"""A projector that fails is tried again as it asks for, stops where it is, and goes on when somebody says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar, Final

import pytest
from attrs import define, field

from esbank import DefinitionError, ProjectionError, ProjectionRunner, Projector, ProjectorState, Retry
from esbank.backends.memory import MemoryEventStore
from tests.doubles import open_store
from tests.journal import Journal, Place, Totals, add, fail_at, journal, open_place, running, totals, until

SPAWN: Final = get_context("spawn")


@pytest.fixture(params=["sqlite", "memory and sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


def runner_at(place: Place, *projectors: Projector) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors, views=place.views)


@define
class Faults:
    """Fails for each thing as often as it is told to, and counts how often it was asked."""

    left: dict[str, float]
    asked: dict[str, int] = field(factory=dict[str, int])

    def __call__(self, sku: str) -> None:
        self.asked[sku] = self.asked.get(sku, 0) + 1
        if self.left.get(sku, 0) > 0:
            self.left[sku] -= 1
            raise LookupError(sku)


FOR_EVER: Final = float("inf")


class KeenJournal(Journal):
    """Is tried again at once, four times in all."""

    name = "Journal"
    retry: ClassVar[Retry | None] = Retry(attempts=4, delay=0.001)


class PatientJournal(Journal):
    """Is tried again much later."""

    name = "Journal"
    retry: ClassVar[Retry | None] = Retry(attempts=4, delay=3600, most=3600)


def state_of(runner: ProjectionRunner) -> ProjectorState:
    return runner.status()[0].state


# Without a retry.


def test_a_projector_that_asks_for_nothing_else_stops_at_once_and_is_left_alone(place: Place) -> None:
    faults = Faults({"ink": 1})
    runner = runner_at(place, Journal(faults), Totals())
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        for position in range(3, 13):
            add(place.store, "cup")
            runner.wait_for(position, 20, names=["Totals"])

        assert faults.asked["ink"] == 1
        assert journal(place.views) == ["pen"]
        assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 10}
        assert (runner.status()[0].failed_position, runner.status()[0].error) == (2, "LookupError: ink")


def test_a_stopped_projector_goes_on_when_it_is_told_to_though_nothing_is_appended(place: Place) -> None:
    faults = Faults({"ink": 1})
    runner = runner_at(place, Journal(faults), Totals())
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        runner_at(place, Journal()).resume()
        until(lambda: state_of(runner) is ProjectorState.CURRENT)

    assert journal(place.views) == ["pen", "ink"]
    assert totals(place.views) == {"pen": 1, "ink": 1}


def test_a_stopped_projector_goes_on_when_it_is_told_to_though_something_is_appended_all_the_time(
    place: Place,
) -> None:
    faults = Faults({"ink": 1})
    runner = runner_at(place, Journal(faults), Totals())
    add(place.store, "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        runner.resume("Journal")
        deadline = time.monotonic() + 20
        for number in count():
            add(place.store, f"sku {number}", key=f"b{number}")
            if state_of(runner) is not ProjectorState.STOPPED and faults.asked["ink"] > 1:
                break
            assert time.monotonic() < deadline
        runner.wait_for(place.store.head() or 0, 20)

    assert journal(place.views)[:2] == ["ink", "sku 0"]


def resume(kind: str, folder: Path) -> None:
    with open_store(kind, folder) as store:
        ProjectionRunner(store, [Journal()]).resume()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_stopped_projector_goes_on_when_another_process_says_so(tmp_path: Path, kind: str) -> None:
    with open_store(kind, tmp_path) as store, ProcessPoolExecutor(1, mp_context=SPAWN) as other:
        runner = ProjectionRunner(store, [Journal(Faults({"ink": 1}))])
        add(store, "pen", "ink")

        with running(runner):
            until(lambda: state_of(runner) is ProjectorState.STOPPED)
            other.submit(resume, kind, tmp_path).result()
            until(lambda: state_of(runner) is ProjectorState.CURRENT)

        assert journal(store) == ["pen", "ink"]


def test_a_stopped_projector_goes_on_once_somebody_else_has_got_over_the_event(place: Place) -> None:
    runner = runner_at(place, Journal(fail_at("ink")))
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        runner_at(place, Journal()).catch_up()
        add(place.store, "cup")
        runner.wait_for(3, 20)

    assert journal(place.views) == ["pen", "ink", "cup"]


def test_told_to_go_on_too_early_it_stops_again(place: Place) -> None:
    faults = Faults({"ink": 2})
    runner = runner_at(place, Journal(faults))
    add(place.store, "pen", "ink", "cup")

    with running(runner):
        for attempts in (1, 2):
            until(lambda attempts=attempts: faults.asked.get("ink") == attempts)  # type: ignore[misc]
            until(lambda: state_of(runner) is ProjectorState.STOPPED)
            assert journal(place.views) == ["pen"]
            runner.resume()
        until(lambda: state_of(runner) is ProjectorState.CURRENT)

    assert journal(place.views) == ["pen", "ink", "cup"]


def test_a_stopped_projector_goes_on_when_it_is_run_again(place: Place) -> None:
    runner = runner_at(place, Journal(fail_at("ink")))
    add(place.store, "pen", "ink")
    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)

    mended = runner_at(place, Journal())
    with running(mended):
        until(lambda: state_of(mended) is ProjectorState.CURRENT)

    assert journal(place.views) == ["pen", "ink"]


def test_a_projector_that_is_not_there_cannot_be_resumed(place: Place) -> None:
    with pytest.raises(ValueError, match="'Jurnal'; there are Journal"):
        runner_at(place, Journal()).resume("Jurnal")


# With one.


def test_a_failure_that_passes_is_got_over(place: Place) -> None:
    faults = Faults({"pen": 3, "cup": 2})
    runner = runner_at(place, KeenJournal(faults), Totals())
    add(place.store, "pen", "ink", "cup", "cap")

    with running(runner):
        runner.wait_for(4, 20)

    assert journal(place.views) == ["pen", "ink", "cup", "cap"]
    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1, "cap": 1}


def test_each_event_has_all_of_its_attempts(place: Place) -> None:
    faults = Faults({"pen": 3, "ink": 3, "cup": 3})
    runner = runner_at(place, KeenJournal(faults))
    add(place.store, "pen", "ink", "cup")

    with running(runner):
        runner.wait_for(3, 20)

    assert journal(place.views) == ["pen", "ink", "cup"]


def test_a_failure_that_lasts_is_tried_as_often_as_asked_and_then_stops(place: Place) -> None:
    faults = Faults({"ink": FOR_EVER})
    runner = runner_at(place, KeenJournal(faults), Totals())
    add(place.store, "pen", "ink", "cup")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        add(place.store, "cap")
        runner.wait_for(4, 20, names=["Totals"])

    assert faults.asked["ink"] == 4
    assert journal(place.views) == ["pen"]
    assert totals(place.views) == {"pen": 1, "ink": 1, "cup": 1, "cap": 1}


def test_once_it_goes_on_it_has_all_of_its_attempts_again(place: Place) -> None:
    faults = Faults({"ink": 7})
    runner = runner_at(place, KeenJournal(faults))
    add(place.store, "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        runner.resume()
        until(lambda: state_of(runner) is ProjectorState.CURRENT)

    assert faults.asked["ink"] == 8
    assert journal(place.views) == ["ink"]


def test_once_it_goes_on_it_has_no_more_attempts_than_at_first() -> None:
    faults, store = Faults({"ink": FOR_EVER}), MemoryEventStore()
    runner = ProjectionRunner(store, [KeenJournal(faults)])
    add(store, "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.STOPPED)
        runner.resume()
        until(lambda: faults.asked["ink"] == 8 and state_of(runner) is ProjectorState.STOPPED)


def test_while_one_waits_it_is_seen_to_and_the_others_go_on(place: Place) -> None:
    faults = Faults({"ink": FOR_EVER})
    runner = runner_at(place, PatientJournal(faults), Totals())
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.RETRYING)
        for position in range(3, 8):
            add(place.store, "cup")
            runner.wait_for(position, 20, names=["Totals"])
        (status, _) = runner.status()
        with pytest.raises(TimeoutError):
            runner.wait_for(2, 0.01, names=["Journal"])  # it may come to it yet

    assert (status.failed_position, status.error, status.behind) == (2, "LookupError: ink", 6)
    assert faults.asked["ink"] == 1
    assert journal(place.views) == ["pen"]


def test_to_catch_up_beside_a_runner_that_tries_again_stops_nothing(place: Place) -> None:
    faults = Faults({"ink": FOR_EVER})
    runner = runner_at(place, PatientJournal(faults))
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.RETRYING)
        with pytest.raises(ProjectionError):
            runner_at(place, PatientJournal(faults)).catch_up()

        (status,) = runner.status()
        assert (status.state, status.failed_position) == (ProjectorState.RETRYING, 2)
    assert faults.asked["ink"] == 2


def test_a_runner_logs_what_it_tries_again_and_what_has_stopped(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    runner = runner_at(place, KeenJournal(fail_at("ink")), Totals())
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: len(caplog.records) >= 4)

    assert [(record.name, record.levelname) for record in caplog.records] == [
        *[("esbank.projection", "WARNING")] * 3,
        ("esbank.projection", "ERROR"),
    ]
    *again, stopped = caplog.messages
    assert all(said.startswith(f"{place.store}: projector 'Journal' tries again") for said in again)
    assert stopped.startswith(f"{place.store}: projector 'Journal' has stopped")
    assert caplog.records[-1].exc_info is not None
    error = caplog.records[-1].exc_info[1]
    assert isinstance(error, ProjectionError)
    assert (error.position, repr(error.__cause__)) == (2, "LookupError('ink')")


def test_nobody_need_wait_until_it_would_be_tried_again(place: Place) -> None:
    runner = runner_at(place, PatientJournal(Faults({"ink": 1})))
    add(place.store, "pen", "ink")

    with running(runner):
        until(lambda: state_of(runner) is ProjectorState.RETRYING)
        runner.resume()
        until(lambda: state_of(runner) is ProjectorState.CURRENT)

    assert journal(place.views) == ["pen", "ink"]


def test_to_catch_up_tries_once(place: Place) -> None:
    faults = Faults({"ink": 1})
    runner = runner_at(place, PatientJournal(faults))
    add(place.store, "pen", "ink")

    with pytest.raises(ProjectionError):
        runner.catch_up()
    assert state_of(runner) is ProjectorState.STOPPED
    runner.catch_up()

    assert faults.asked["ink"] == 2
    assert journal(place.views) == ["pen", "ink"]


# How long.


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_the_longest() -> None:
    retry = Retry(attempts=10, delay=0.5, most=5)

    assert [retry.delay_after(attempt) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]
    assert retry.delay_after(1_000_000) == 5


@pytest.mark.parametrize("options", [{"attempts": 0}, {"attempts": -1}, {"delay": 0}, {"most": float("nan")}])
def test_what_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be above zero"):
        Retry(**options)  # type: ignore[arg-type]


def test_a_projector_that_says_it_in_another_way_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Keen: retry is a Retry"):
        type("Keen", (Journal,), {"retry": 3})
