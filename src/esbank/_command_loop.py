"""The command loop: load, decide, append, and on a conflict load and decide again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, TypeVar
from uuid import UUID, uuid5

import msgspec
from attrs import evolve, frozen

from esbank._cache import Cache
from esbank._json import check_json
from esbank._loading import Loader, Replayed
from esbank.aggregate import Aggregate, decide
from esbank.codec import EventCodec
from esbank.errors import CommandIdReused, ConcurrencyError, DuplicateEvent, StorageError, UnappliedEvent
from esbank.events import EventEnvelope
from esbank.store import (
    EventStore,
    ExclusiveStore,
    ExpectedVersion,
    Metadata,
    NewEvent,
    PendingAppend,
    StoreTransaction,
    StreamId,
    TransactionalStore,
    is_expected,
)

__all__ = ["CommandLoop", "Executed"]

A = TypeVar("A", bound=Aggregate[Any, Any])
A_co = TypeVar("A_co", bound=Aggregate[Any, Any], covariant=True)
E_co = TypeVar("E_co", covariant=True)

_log: Final = logging.getLogger("esbank.repository")
_NO_TURN: Final = nullcontext()
_RACES: Final = 3
_LONGEST_PAUSE: Final = 0.1


class Executed(msgspec.Struct, Generic[A_co, E_co], frozen=True):
    """What commands have done: the state after them, its version, and the events in their envelopes."""

    state: A_co
    version: int
    envelopes: tuple[EventEnvelope[E_co], ...]

    @property
    def position(self) -> int | None:
        """The position of the last event, for ``ProjectionRunner.wait_for``; None when there is no event."""
        return self.envelopes[-1].position if self.envelopes else None


class CommandLoop(Generic[A]):
    """Executes commands on the aggregates of one class, in one store."""

    def __init__(
        self,
        store: EventStore,
        codec: EventCodec,
        loader: Loader[A],
        cache: Cache[Replayed[A]],
        *,
        max_attempts: int,
    ) -> None:
        self._store = store
        self._codec = codec
        self._classes = frozenset(codec.registry.classes)
        self._loader = loader
        self._cache = cache
        self._max_attempts = max_attempts
        self._transactional = store if isinstance(store, TransactionalStore) else None

    def check_no_transaction(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread, before it waits for a stream's turn.

        Who has that turn may be waiting for this transaction to end, and then both would wait for ever.
        """
        if self._transactional is not None:
            self._transactional.check_no_transaction()

    def order(
        self,
        commands: tuple[Any, ...],
        metadata: Metadata,
        command_id: str | None,
        expected_version: ExpectedVersion | None,
    ) -> _Order:
        """Put together what a caller wants done; ``ValueError`` for a `command_id` that cannot be one."""
        if command_id is None:
            return _Order(commands, metadata, None, expected_version)
        if type(command_id) is not str or not command_id:
            raise ValueError(f"a command_id is a str that is not empty, not {command_id!r}")
        check_json(command_id, "command_id")
        stamp = _Stamp(command_id, self._codec.fingerprint(commands))
        stamped = evolve(metadata, command_id=command_id, command_fingerprint=stamp.fingerprint)
        return _Order(commands, stamped, stamp, expected_version)

    def execute(self, stream: StreamId, order: _Order) -> Executed[Any, Any]:
        """Do what is asked for, once; whoever calls has the stream's turn."""
        first = self._first_outcome(stream, order)
        if first is not None:
            return first
        replayed = self._cache.take(stream)
        if replayed is None:
            replayed = self._loader.load(stream)
        else:
            # Another process may have written since it was put there.
            replayed.is_fresh = False
        for attempt in range(1, self._max_attempts + 1):
            try:
                return self._attempt(stream, replayed, order, self._turn(attempt))
            except StorageError:
                raise
            except Exception as error:
                # A racer with the same command may have been faster; then its outcome is the answer.
                first = self._first_outcome(stream, order)
                if first is not None:
                    return first
                # What the caller expected is the caller's: no other version will do.
                is_conflict = isinstance(error, ConcurrencyError) and error.expected != order.expected_version
                if not is_conflict or attempt == self._max_attempts:
                    raise
            _pause(attempt)
            self._loader.catch_up(stream, replayed)
        raise AssertionError  # the last attempt has returned or raised

    def _turn(self, attempt: int) -> AbstractContextManager[StoreTransaction | None]:
        """Return what to decide in: who has lost some races waits for a turn, and then nobody is faster.

        Otherwise who takes longer to decide than others take to write would lose every race, in SQLite above all, where
        who has the lock is the first to have it again.
        """
        if attempt <= _RACES or not isinstance(self._store, ExclusiveStore):
            return _NO_TURN
        return self._store.exclusive_transaction()

    def _attempt(
        self,
        stream: StreamId,
        replayed: Replayed[A],
        order: _Order,
        turn: AbstractContextManager[StoreTransaction | None],
    ) -> Executed[Any, Any]:
        with turn as transaction:
            if transaction is not None:
                self._loader.catch_up(stream, replayed)
            state, events, new_events = self._decide(stream, replayed, order)
            if not events:
                self._cache.put(stream, replayed)
                return self._first_outcome(stream, order) or Executed(state, replayed.version, ())
            appended = (transaction or self._store).append(stream, new_events, expected_version=replayed.version)
        result = appended.result if isinstance(appended, PendingAppend) else appended
        if result.version != replayed.version + len(events):
            # The store has recognised a repeat that a racer with the same command id recorded at an earlier version.
            raise DuplicateEvent(stream, new_events[0].event_id)
        try:
            self._loader.advance(replayed, events, result.events)
        except Exception:  # noqa: BLE001 - the events are stored, so the command has succeeded
            _log.exception("%s: its state could not be kept; it will be loaded again", stream)
        else:
            self._cache.put(stream, replayed)
        return Executed(state, result.version, tuple(map(EventEnvelope, events, result.events)))

    def _decide(self, stream: StreamId, replayed: Replayed[A], order: _Order) -> tuple[A, list[object], list[NewEvent]]:
        """Decide on a copy of the replayed state: first on what is at hand, and on the latest before taking a no."""
        while True:
            try:
                _check_expected(stream, order.expected_version, replayed.version)
                state = self._loader.copy(replayed.state)
                events, new_events = self._decide_on(state, order)
            except Exception:
                if replayed.is_fresh or not self._loader.catch_up(stream, replayed):
                    self._cache.put(stream, replayed)
                    raise
            else:
                if events or replayed.is_fresh or not self._loader.catch_up(stream, replayed):
                    return state, events, new_events

    def _decide_on(self, state: Aggregate[Any, Any], order: _Order) -> tuple[list[object], list[NewEvent]]:
        events: list[object] = []
        new_events: list[NewEvent] = []
        decided: Iterator[object] = decide(state, order.commands, copy=self._codec.copy)
        for event in decided:
            if type(event) not in self._classes and type(event) not in state.event_classes():
                raise UnappliedEvent(type(state), type(event))
            event_id = None if order.stamp is None else order.stamp.event_id(len(events))
            new_events.append(self._codec.encode(event, event_id=event_id, metadata=order.metadata))
            events.append(event)
        return events, new_events

    def _first_outcome(self, stream: StreamId, order: _Order) -> Executed[Any, Any] | None:
        """Return what the command did when it was executed before, None if it never was or has no id."""
        stamp = order.stamp
        first = None if stamp is None else self._store.find(stream, stamp.event_id(0))
        if stamp is None or first is None:
            return None
        if first.metadata.command_fingerprint != stamp.fingerprint:
            raise CommandIdReused(stream, stamp.command_id)
        events = [first]
        while (event := self._store.find(stream, stamp.event_id(len(events)))) is not None:
            events.append(event)
        version = events[-1].version
        state = self._loader.load(stream, up_to=version).state
        return Executed(state, version, tuple(map(self._codec.envelope, events)))


@frozen
class _Stamp:
    """What makes a command recognisable when it comes again.

    The ids of its events are made from its id, so that the store itself refuses to record it twice.
    """

    command_id: str
    fingerprint: str

    def event_id(self, index: int) -> UUID:
        """Return the id of the command's event at `index`."""
        return uuid5(_COMMANDS, f"{index}/{self.command_id}")


_COMMANDS: Final = UUID("6d1b0c6e-4f5f-5b0a-9d53-0f6f3a1c7a58")


class _Order(msgspec.Struct, frozen=True):
    """What a caller wants done."""

    commands: tuple[Any, ...]
    metadata: Metadata
    stamp: _Stamp | None
    expected_version: ExpectedVersion | None


def _check_expected(stream: StreamId, expected: ExpectedVersion | None, actual: int) -> None:
    if expected is not None and not is_expected(expected, actual):
        raise ConcurrencyError(stream, expected, actual)


def _pause(attempt: int) -> None:
    """Let the others through: the more conflicts in a row, the longer, and each a different while."""
    time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.001 * 2**attempt)))  # noqa: S311 - no secret depends on it
