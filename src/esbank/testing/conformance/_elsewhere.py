"""Processes of their own that open a store anew: what they do in it, and how they are heard without ever hanging."""
# ruff: noqa: S101  # these are for tests, and pytest rewrites assert

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final, Self, TypeAlias

from esbank.errors import ConcurrencyError
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    EventStore,
    NewEvent,
    StreamAppend,
    StreamId,
    ViewStore,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, new_event

__all__ = [
    "OpenStore",
    "OtherProcess",
    "Say",
    "Task",
    "append_all",
    "append_for_ever",
    "count_up",
    "follow",
    "hold",
    "in_processes",
    "look_and_append",
    "race",
    "repeat",
]

OpenStore: TypeAlias = Callable[[], AbstractContextManager[EventStore]]
"""Opens the very same store, in whatever process it is called; it can be pickled."""
Say: TypeAlias = Callable[[object], None]
"""Tells the test something."""
Task: TypeAlias = Callable[[EventStore, Say], Any]
"""What a process does once it is told to begin; it can be pickled. What it returns is the last that the test hears."""

PATIENCE = 60.0
_A_MOMENT: Final = 0.2
_SPAWN: Final = get_context("spawn")


class OtherProcess:
    """A process with a store of its own that does a task when it is told to begin; it is killed with the block."""

    def __init__(self, open_store: OpenStore, task: Task) -> None:
        self._connection, there = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_run, args=(there, open_store, task), daemon=True)
        self._process.start()
        there.close()  # so that this end notices when the process is gone

    def identity(self) -> str:
        """Wait until the store is open there, and return which one it is."""
        identity: str = self.hear()
        return identity

    def begin(self) -> None:
        """Let the process begin with its task."""
        self._connection.send("begin")

    def hear(self, patience: float | None = None) -> Any:  # noqa: ANN401  # each task says something else
        """Return what the process says next; fail if that is an error, if it has died, and if it is stuck."""
        assert self._connection.poll(PATIENCE if patience is None else patience), "the other process is stuck"
        try:
            failure, said = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(PATIENCE)
            raise AssertionError(f"the other process died, with exit code {self._process.exitcode}") from error
        assert not failure, f"the other process failed:\n{failure}"
        return said

    def hear_after(self, meanwhile: Callable[[], object]) -> Any:  # noqa: ANN401  # as `hear`
        """Do something again and again until the process says something, and return that."""
        deadline = time.monotonic() + PATIENCE
        while not self._connection.poll() and time.monotonic() < deadline:
            meanwhile()
        return self.hear(0)

    def kill(self) -> list[Any]:
        """End the process at once, as ``kill -9`` does; return what it had said up to then."""
        self._process.kill()
        self._process.join(PATIENCE)
        said: list[Any] = []
        with suppress(EOFError, OSError):  # the last word may be cut off
            while True:
                said.append(self._connection.recv()[1])
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()


def in_processes(open_store: OpenStore, tasks: Sequence[Task]) -> list[Any]:
    """Do each task in a process of its own, all at once; return what they returned, in their order."""
    with ExitStack() as stack:
        others = [stack.enter_context(OtherProcess(open_store, task)) for task in tasks]
        for other in others:
            other.identity()
        for other in others:
            other.begin()
        deadline = time.monotonic() + PATIENCE
        return [other.hear(max(0.0, deadline - time.monotonic())) for other in others]


def _run(connection: Connection, open_store: OpenStore, task: Task) -> None:
    def say(something: object) -> None:
        connection.send(("", something))

    with connection:
        try:
            with open_store() as store:
                say(store.identity)
                connection.recv()
                returned = task(store, say)
            say(returned)
        except Exception:  # noqa: BLE001  # whatever it is, the test is to hear of it
            connection.send((traceback.format_exc(), None))


# Tasks


def look_and_append(store: EventStore, say: Say) -> None:
    """Say what is there; when the others will have begun to wait, append an event."""
    say([str(event.event_id) for event in store.read_all()])
    time.sleep(_A_MOMENT)
    store.append(OTHER, [new_event()], expected_version=NO_STREAM)


def race(store: EventStore, _say: Say, *, end: int) -> list[int]:
    """Append at the version at which a stream is, up to a version; return the versions that were won."""
    won: list[int] = []
    while (version := store.version(ACCOUNT)) < end:
        try:
            won.append(store.append(ACCOUNT, [new_event()], expected_version=version).version)
        except ConcurrencyError as error:
            if (error.stream, error.expected) != (ACCOUNT, version) or error.actual <= version:
                raise
    return won


def append_all(store: EventStore, _say: Say, *, entries: Sequence[Sequence[NewEvent]]) -> None:
    """Make one append of each entry."""
    for events in entries:
        store.append(ACCOUNT, events, expected_version=ANY_VERSION)


def follow(store: EventStore, _say: Say, *, total: int) -> list[tuple[int, str]]:
    """Read the log as it grows, up to so many events or until nothing comes; return positions and ids."""
    seen: list[tuple[int, str]] = []
    position: int | None = None
    while len(seen) < total and store.wait(after=position, timeout=PATIENCE / 6):
        for event in store.read_all(after=position, limit=5):
            position = event.position
            seen.append((position, str(event.event_id)))
    return seen


def repeat(store: EventStore, _say: Say, *, events: Sequence[NewEvent]) -> tuple[int, int, list[str]]:
    """Make an append that others make as well; return its result."""
    result = store.append(ACCOUNT, events, expected_version=NO_STREAM)
    return result.version, result.position, [str(event.event_id) for event in result.events]


def append_for_ever(store: EventStore, say: Say) -> None:
    """Append to two streams at a time, three events that bear one number; say each number once they are stored."""
    own = StreamId("Account", str(os.getpid()))
    for number in count(1):
        events = [new_event(number) for _ in range(3)]
        store.append_many([StreamAppend(ACCOUNT, events[:2], ANY_VERSION), StreamAppend(own, events[2:], ANY_VERSION)])
        say(number)


def count_up(store: EventStore, _say: Say, *, times: int) -> None:
    """Add to a number in a view, reading it before writing it."""
    assert isinstance(store, ViewStore)
    for _ in range(times):
        with store.view_transaction() as tx:
            ((number,),) = tx.execute("SELECT number FROM numbers")
            tx.execute("UPDATE numbers SET number = :number", {"number": number + 1})


def hold(store: EventStore, say: Say, *, name: str) -> None:
    """Hold a name until the end."""
    assert isinstance(store, ViewStore)
    with store.claim(name):
        say("held")
        time.sleep(2 * PATIENCE)
