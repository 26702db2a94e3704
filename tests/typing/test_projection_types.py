"""A projector's methods, its runner and what that says have types."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import ClassVar, assert_type

import pytest
from attrs import frozen

from esbank import (
    EventEnvelope,
    ProjectionRunner,
    Projector,
    ProjectorState,
    ProjectorStatus,
    Retry,
    projects,
    side_effects,
)
from esbank.backends.memory import MemoryEventStore
from esbank.store import InlineHandler, NewEvent, StreamId, Transaction, ViewStore


@frozen
class DoorEvent:
    pass


@frozen
class Opened(DoorEvent):
    by: str = ""


@frozen
class Closed(DoorEvent):
    by: str = ""


@frozen
class Painted(DoorEvent):
    colour: str = ""


class Bell(Projector):
    """Everything as it should be."""

    tables: ClassVar[Mapping[str, str]] = {"rings": "(by TEXT)"}
    version: ClassVar[int] = 2
    retry: ClassVar[Retry | None] = Retry(attempts=3, delay=0.5, most=60)

    @projects(Opened, Closed)
    def _moved(self, envelope: EventEnvelope[Opened | Closed], tx: Transaction) -> None:
        assert_type(envelope.event, Opened | Closed)
        tx.execute("INSERT INTO {rings} VALUES (:by)", {"by": envelope.event.by})

    @side_effects(Opened)
    def _ring(self, envelope: EventEnvelope[Opened]) -> None:
        assert_type(envelope.event, Opened)
        assert_type(envelope.event.by, str)

    @side_effects(Closed, Painted)
    def _ring_twice(self, envelope: EventEnvelope[Closed | Painted]) -> None:
        assert_type(envelope.event, Closed | Painted)


class LooseBell(Projector):
    """A method may take more than it is marked with."""

    @side_effects(Opened, Closed, Painted)
    def _ring(self, envelope: EventEnvelope[DoorEvent]) -> None:
        assert_type(envelope.event, DoorEvent)


class WrongBell(Projector):
    @side_effects(Opened)  # type: ignore[arg-type]
    def _opened(self, envelope: EventEnvelope[Closed]) -> None:
        pass

    @side_effects(Closed)  # type: ignore[arg-type]
    def _closed(self, envelope: EventEnvelope[Closed], tx: Transaction) -> None:
        pass

    @side_effects(Painted)  # type: ignore[arg-type]
    def _painted(self, envelope: EventEnvelope[Painted]) -> str:
        return envelope.event.colour


def test_what_a_runner_does_and_says_has_a_type() -> None:
    with MemoryEventStore() as store:
        result = store.append(StreamId("Door", "1"), [NewEvent("Opened", '{"by":"me"}')], expected_version=0)
        runner = ProjectionRunner(store, [Bell(), LooseBell()])
        assert_type(runner.views, ViewStore)
        stop = threading.Event()
        stop.set()

        runner.run(stop, rebuild_outdated=True)
        runner.catch_up("Bell")
        runner.wait_for(result.position, 0.5, names=["Bell"])
        runner.resume("Bell", "LooseBell")
        runner.skip(result.position, "was a mistake", projector="Bell", by="me")
        runner.rebuild("Bell", resume=True, progress=assert_int)

        (bell, _) = runner.status()
        assert_type(runner.status(), list[ProjectorStatus])
        assert_type(bell.state, ProjectorState)
        assert_type(bell.projector, str)
        assert_type(bell.position, int | None)
        assert_type(bell.head, int | None)
        assert_type(bell.behind, int)
        assert_type(bell.seconds_behind, float)
        assert_type(bell.failed_position, int | None)
        assert_type(bell.error, str | None)
        assert_type(bell.skipped, int)
        assert bell.skipped == 1


def assert_int(position: int, head: int) -> None:
    assert_type((position, head), tuple[int, int])


def test_what_a_retry_says_has_a_type() -> None:
    assert_type(Retry().attempts, int)
    assert_type(Retry().delay_after(1), float)
    with pytest.raises(TypeError):
        Retry(attempts="three")  # type: ignore[arg-type]


def test_a_projector_is_an_inline_handler() -> None:
    handler: InlineHandler = Bell()
    with MemoryEventStore(inline=[handler, LooseBell()]) as store:
        store.append(StreamId("Door", "1"), [NewEvent("Opened", '{"by":"me"}')], expected_version=0)
        assert store.query("SELECT by FROM rings") == [("me",)]


def test_a_projector_says_what_it_takes_and_what_it_tells() -> None:
    assert_type(Bell.event_classes(), tuple[type, ...])
    assert_type(Bell.effect_classes(), tuple[type, ...])
    assert Bell.effect_classes() == (Opened, Closed, Painted)
    # At run time the marks are all there is.
    assert set(WrongBell.effect_classes()) == {Opened, Closed, Painted}


def test_a_projector_is_asked_for_where_one_is_needed() -> None:
    with MemoryEventStore() as store, pytest.raises(TypeError, match="a runner takes projectors"):
        ProjectionRunner(store, [Bell])  # type: ignore[list-item]
