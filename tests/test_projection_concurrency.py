"""Runners in threads and processes, some of which die, work on the same views, and each event takes effect once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import pytest

from esbank import ProjectionRunner
from tests.doubles import WatchedStore
from tests.journal import (
    ACROSS,
    PLACES,
    Journal,
    Place,
    Totals,
    add,
    as_written,
    journal,
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


def runner_at(place: Place) -> ProjectionRunner:
    return ProjectionRunner(place.store, [Journal(), Totals()], views=place.views)


def assert_each_once(place: Place, skus: list[str]) -> None:
    assert sorted(journal(place.views)) == sorted(skus)
    assert totals(place.views) == dict.fromkeys(skus, 1)
    positions = place.views.query(f"SELECT position FROM journal ORDER BY {as_written(place.views)}")  # noqa: S608
    assert positions == sorted(positions)


def test_two_runners_in_turn_handle_each_event_once(place: Place) -> None:
    runners = runner_at(place), runner_at(place)
    for number in range(10):
        add(place.store, f"sku {number}")
        runners[number % 2].catch_up()
    for runner in runners:
        runner.catch_up()

    assert_each_once(place, numbered(range(10)))


def test_a_page_that_another_runner_has_handled_meanwhile_is_left_alone(place: Place) -> None:
    add(place.store, *numbered(range(1500)))
    watched = WatchedStore(place.store)
    watched.after("read_all", runner_at(place).catch_up)

    ProjectionRunner(watched, [Journal(), Totals()], views=place.views).catch_up()

    assert_each_once(place, numbered(range(1500)))


def test_threads_that_catch_up_at_once_handle_each_event_once(place: Place) -> None:
    shared = runner_at(place)

    def follow(thread: int) -> None:
        for number in range(30):
            add(place.store, f"sku {thread}/{number}", key=f"b{thread}")
            (shared if thread % 2 else runner_at(place)).catch_up()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(follow, thread) for thread in range(4)]:
            done.result()

    assert_each_once(place, [f"sku {thread}/{number}" for thread in range(4) for number in range(30)])


KINDS = ["sqlite", "sqlite and sqlite", "postgresql", *ACROSS[:2]]


def follow_until(folder: Path, count: int, on_added: Callable[[str], object] = nothing, *, kind: str) -> None:
    """Catch up until the journal has so many rows."""
    with open_place(kind, folder) as place:
        runner = ProjectionRunner(place.store, [Journal(on_added), Totals()], views=place.views)
        runner.catch_up()
        while len(journal(place.views)) < count:
            runner.catch_up()


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_catch_up_at_once_handle_each_event_once(tmp_path: Path, kind: str) -> None:
    count = 600
    with open_place(kind, tmp_path) as place, ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
        work = [pool.submit(follow_until, tmp_path, count, kind=kind) for _ in range(3)]
        for number in range(count):
            add(place.store, f"sku {number}", key=f"b{number}")
        for done in work:
            done.result()

        assert_each_once(place, numbered(range(count)))


def exit_at_sku_1500(sku: str) -> None:
    if sku == "sku 1500":
        os._exit(3)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_process_that_dies_in_a_handler_leaves_view_and_checkpoint_in_step(tmp_path: Path, kind: str) -> None:
    with open_place(kind, tmp_path) as place:
        add(place.store, *numbered(range(2000)))

        process = SPAWN.Process(target=follow_until, args=(tmp_path, 2000, exit_at_sku_1500), kwargs={"kind": kind})
        process.start()
        process.join()

        assert process.exitcode == 3
        assert journal(place.views) == numbered(range(1000))
        runner_at(place).catch_up()
        assert_each_once(place, numbered(range(2000)))


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_process_that_is_killed_leaves_view_and_checkpoint_in_step(tmp_path: Path, kind: str) -> None:
    added = 0
    with open_place(kind, tmp_path) as place:
        runner_at(place).catch_up()
        for _ in range(3):
            before = len(journal(place.views))
            process = SPAWN.Process(target=follow_until, args=(tmp_path, 1_000_000), kwargs={"kind": kind})
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

        assert_each_once(place, numbered(range(added)))
