"""The state machine: sound stores go through its programs, and what is broken is shown by a short one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError, DuplicateEvent
from esbank.store import (
    ANY_VERSION,
    AppendResult,
    EventStore,
    ExpectedVersion,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    Subscription,
)
from esbank.testing.state_machine import EventStoreMachine
from tests.doubles import SERVER, PlainStore, schema_of


class MemoryMachine(EventStoreMachine):
    def open_store(self, folder: Path) -> EventStore:  # noqa: ARG002 - in no folder
        return MemoryEventStore()


class PlainMachine(EventStoreMachine):
    def open_store(self, folder: Path) -> EventStore:  # noqa: ARG002 - in no folder
        return PlainStore(MemoryEventStore())


class SQLiteMachine(EventStoreMachine):
    can_be_reopened = True

    def open_store(self, folder: Path) -> EventStore:
        return SQLiteEventStore(folder / "events.db", durability="normal")


class PostgresMachine(EventStoreMachine):
    can_be_reopened = True

    def open_store(self, folder: Path) -> EventStore:
        return PostgresEventStore(os.environ[SERVER], schema=schema_of(folder))


MACHINES = {"memory": MemoryMachine, "plain": PlainMachine, "sqlite": SQLiteMachine, "postgresql": PostgresMachine}
FEW = {"memory": 25, "plain": 10, "sqlite": 15, "postgresql": 6}

TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(TestMemory.settings, max_examples=10, stateful_step_count=20)


@pytest.mark.parametrize("kind", MACHINES)
def test_a_sound_store_goes_through_every_program(kind: str) -> None:
    few = settings(max_examples=FEW[kind], stateful_step_count=25, deadline=None)

    run_state_machine_as_test(MACHINES[kind], settings=few)


@pytest.mark.soak
@pytest.mark.parametrize("kind", MACHINES)
def test_a_sound_store_goes_through_many_programs(kind: str) -> None:
    many = settings(max_examples=FEW[kind] * 100, stateful_step_count=50, deadline=None)

    run_state_machine_as_test(MACHINES[kind], settings=many)


class RefusesLateRepeats(MemoryEventStore):
    """Knows a repeat only as long as nobody has written after it."""

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        for append in appends:
            found = self.find(append.stream, append.events[-1].event_id)
            if found is not None and found.version < self.version(append.stream):
                raise ConcurrencyError(append.stream, append.expected_version, self.version(append.stream))
        return super().append_many(appends, conditions=conditions)


class LimitsTheWrongEnd(MemoryEventStore):
    """Takes the first events before it turns them round."""

    def read(
        self,
        stream: StreamId,
        *,
        after: int = 0,
        up_to: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[StoredEvent]:
        events = list(super().read(stream, after=after, up_to=up_to, limit=limit))
        return iter(events[::-1] if backwards else events)


class FiltersAfterTheLimit(MemoryEventStore):
    """Counts what it does not return."""

    def read_all(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        kept = [event.position for event in super().read_all(after=after, categories=categories, types=types)]
        return (event for event in super(type(self), self).read_all(after=after, limit=limit) if event.position in kept)


class KnowsIdsOfTheWholeStore(MemoryEventStore):
    """Keeps an event id unique over all streams."""

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        for append in appends:
            for event in append.events:
                for known in self.read_all():
                    if known.event_id == event.event_id and known.stream != append.stream:
                        raise DuplicateEvent(append.stream, event.event_id)
        return super().append_many(appends, conditions=conditions)


class ChecksTheFirstStream(MemoryEventStore):
    """Looks at what is expected of the first stream, and appends to the others whatever their version."""

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        first, *others = appends
        others = [StreamAppend(other.stream, other.events, ANY_VERSION) for other in others]
        return super().append_many([first, *others], conditions=conditions)


class ChecksNoConditions(MemoryEventStore):
    """Forgets what it is told of streams to which it does not write."""

    def append_many(
        self, appends: Sequence[StreamAppend], *, conditions: Sequence[StreamCondition] = ()
    ) -> tuple[AppendResult, ...]:
        unchecked = [StreamCondition(condition.stream, ANY_VERSION) for condition in conditions]
        return super().append_many(appends, conditions=unchecked)


class TestsAVersionForTruth(MemoryEventStore):
    """Takes 0 for nothing said."""

    __test__ = False

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        return super().append(stream, events, expected_version=expected_version or ANY_VERSION)


class FollowsEverything(MemoryEventStore):
    """Forgets the filters of a subscription."""

    def subscribe(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,  # noqa: ARG002 - that is what is wrong
        types: Iterable[str] | None = None,  # noqa: ARG002 - that is what is wrong
    ) -> Subscription:
        return super().subscribe(after=after)


BROKEN = [
    RefusesLateRepeats,
    LimitsTheWrongEnd,
    FiltersAfterTheLimit,
    KnowsIdsOfTheWholeStore,
    ChecksTheFirstStream,
    ChecksNoConditions,
    TestsAVersionForTruth,
    FollowsEverything,
]
FIND = settings(
    max_examples=500, deadline=None, database=None, derandomize=True, phases=[Phase.generate], stateful_step_count=30
)


def machine_of(store: type[MemoryEventStore]) -> type[EventStoreMachine]:
    class Machine(EventStoreMachine):
        def open_store(self, folder: Path) -> EventStore:  # noqa: ARG002 - in no folder
            return store()

    return Machine


@pytest.mark.parametrize("store", BROKEN)
def test_a_broken_store_is_found(store: type[MemoryEventStore]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine_of(store), settings=FIND)


def test_a_failure_is_shown_by_a_short_program() -> None:
    shortest = settings(FIND, phases=[Phase.generate, Phase.shrink], stateful_step_count=10)

    with pytest.raises(AssertionError, match="without an error, not with DuplicateEvent") as raised:
        run_state_machine_as_test(machine_of(KnowsIdsOfTheWholeStore), settings=shortest)

    program = [line for line in raised.value.__notes__ if "state." in line]
    assert len(program) <= 6
    assert program[-1] == "state.teardown()"
    assert "[event_" in program[-2]


def test_a_store_that_forgets_what_was_stored_is_found_when_it_is_reopened() -> None:
    class Forgetful(MemoryMachine):
        can_be_reopened = True

    with pytest.raises(AssertionError, match="the identity of the store is"):
        run_state_machine_as_test(Forgetful, settings=FIND)


def test_a_machine_says_how_to_open_a_store() -> None:
    with pytest.raises(NotImplementedError, match="open a store here"):
        run_state_machine_as_test(EventStoreMachine, settings=FIND)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("esbank.testing", {"pytest", "hypothesis"}), ("esbank.testing.state_machine", {"pytest"})],
)
def test_nothing_is_imported_but_what_is_needed(module: str, unwanted: set[str]) -> None:
    # A process whose coverage is measured imports more than its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    code = f"import sys, {module}; print(*sys.modules)"

    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, encoding="utf-8"
    )

    assert not unwanted & set(process.stdout.split())
