"""States as a replay gives them: from the first event, or from a snapshot and the events since."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from attrs import define

from esbank.aggregate import Aggregate
from esbank.codec import EventCodec, Misfit, StateCodec
from esbank.errors import DefinitionError, EsbankError
from esbank.snapshots import NoSnapshots, SnapshotPolicy
from esbank.store import DataReader, EventData, EventStore, Snapshot, SnapshotStore, StoredEvent, StreamId
from esbank.store._events import data_of

__all__ = ["Loader", "Replayed"]

A = TypeVar("A", bound=Aggregate[Any, Any])

_log: Final = logging.getLogger("esbank.snapshots")
_PAGE: Final = 1000


@define
class Replayed(Generic[A]):
    """A state as a replay gives it: only ever folded from stored events, never decided on and never handed out.

    `is_fresh` tells that nothing was in the stream beyond `version` when somebody last looked. `has_bad_snapshot` tells
    that there is a snapshot which is of no use.
    """

    state: A
    version: int
    snapshot_version: int = 0
    is_fresh: bool = True
    has_bad_snapshot: bool = False


class Loader(Generic[A]):
    """Replays the aggregates of one class from one store, and takes the snapshots that make it short.

    A snapshot is a cache: one that cannot be read, does not fit the class any more or does not belong to the stream is
    passed over with a warning in the log and replaced after the next append, and one that cannot be written changes
    nothing else.
    """

    def __init__(self, store: EventStore, aggregate: type[A], codec: EventCodec, policy: SnapshotPolicy) -> None:
        self._store = store
        self._aggregate = aggregate
        self._codec = codec
        self._states: StateCodec[A] = StateCodec(aggregate, codec.registry.forms)
        self.copy = self._states.copy
        """Copies a state so that no change to one shows in the other."""
        self._policy = policy
        self._reader = store if isinstance(store, DataReader) else None
        self._snapshots = None if isinstance(policy, NoSnapshots) else self._snapshot_store()

    def load(self, stream: StreamId, *, up_to: int | None = None) -> Replayed[A]:
        """Replay a stream up to a version, or to its end; one that does not exist is at version 0."""
        try:
            snapshot = self._usable_snapshot(stream, up_to)
            if snapshot is not None:
                return self._from_snapshot(snapshot, up_to)
        except _BadSnapshotError as bad:
            _log.warning("%s: its snapshot %s; replaying", stream, bad, exc_info=bad.__cause__)
            has_bad_snapshot = True
        else:
            has_bad_snapshot = False
        replayed = Replayed(self._aggregate(), 0, is_fresh=up_to is None, has_bad_snapshot=has_bad_snapshot)
        self._fold(stream, replayed, self._read(stream, up_to=up_to))
        return replayed

    def load_occurred(self, stream: StreamId, until: datetime, *, up_to: int | None = None) -> Replayed[A]:
        """Fold the events that occurred by a moment, in version order; the version is that of the last of them."""
        replayed = Replayed(self._aggregate(), 0, is_fresh=False)
        events = self._store.read(stream, up_to=up_to)
        self._fold(stream, replayed, _pages(event for event in events if event.occurred_at <= until))
        return replayed

    def catch_up(self, stream: StreamId, replayed: Replayed[A]) -> bool:
        """Fold what has come since; tell whether anything has."""
        before = replayed.version
        self._fold(stream, replayed, self._read(stream, after=before))
        replayed.is_fresh = True
        return replayed.version != before

    def advance(self, replayed: Replayed[A], events: Sequence[object], stored: Sequence[StoredEvent]) -> None:
        """Fold the events that were just appended, as stored, and take a snapshot when it is time for one."""
        for event, as_stored in zip(events, stored, strict=True):
            replayed.state.apply(self._codec.reread(event, as_stored))
        replayed.version = stored[-1].version
        # Another process may append from now on.
        replayed.is_fresh = False
        if self._snapshots is None:
            return
        is_due = self._policy.is_due(last=replayed.snapshot_version, version=replayed.version, events=events)
        if is_due or replayed.has_bad_snapshot:
            try:
                self._save(self._snapshots, replayed, stored[-1])
            except Exception:  # noqa: BLE001 - a snapshot is only a cache
                _log.warning("%s: no snapshot could be taken; its events are safe", stored[-1].stream, exc_info=True)

    def take_snapshot(self, stream: StreamId, replayed: Replayed[A]) -> None:
        """Take a snapshot now, whatever the policy says.

        Raises ``DefinitionError`` under ``NoSnapshots`` or when a value does not fit its field's type, and whatever the
        store raises when it cannot keep it.
        """
        if self._snapshots is None:
            raise DefinitionError(
                "this repository uses no snapshots; make it with a policy, such as snapshots=ByHand()"
            )
        (last,) = self._store.read(stream, after=replayed.version - 1, up_to=replayed.version)
        try:
            self._save(self._snapshots, replayed, last)
        except Misfit as misfit:
            raise DefinitionError(
                f"{stream}: no snapshot can be taken, its state does not fit {self._aggregate.__name__}: "
                f"{misfit.path}: {misfit.reason}"
            ) from misfit

    def _read(self, stream: StreamId, *, after: int = 0, up_to: int | None = None) -> Iterable[Sequence[EventData]]:
        if self._reader is None:
            return _pages(self._store.read(stream, after=after, up_to=up_to))
        return self._reader.read_data(stream, after=after, up_to=up_to)

    def _fold(self, stream: StreamId, replayed: Replayed[A], pages: Iterable[Sequence[EventData]]) -> None:
        apply = replayed.state.apply
        for page in pages:
            applied = 0
            try:
                for event in self._codec.decode_page(stream, page):
                    apply(event)
                    applied += 1
            except EsbankError:
                raise  # it names the event
            except Exception as error:
                version, name, *_ = page[applied]
                error.add_note(f"This came of applying {stream} version {version} ({name}).")
                raise
            replayed.version = page[-1][0]

    def _snapshot_store(self) -> SnapshotStore:
        if not isinstance(self._store, SnapshotStore):
            raise DefinitionError(f"{self._store!r} keeps no snapshots; take a store that does, or NoSnapshots()")
        if self._states.unstorable is not None:
            raise DefinitionError(
                f"{self._aggregate.__name__} cannot have snapshots, take NoSnapshots(): {self._states.unstorable}"
            )
        return self._store

    def _usable_snapshot(self, stream: StreamId, up_to: int | None) -> Snapshot | None:
        """Return the snapshot of a stream if it helps; raises `_BadSnapshotError` if it never will."""
        if self._snapshots is None:
            return None
        try:
            snapshot = self._snapshots.load_snapshot(stream)
        except Exception as error:
            raise _BadSnapshotError("cannot be read") from error
        if snapshot is None:
            return None
        if (snapshot.schema, snapshot.store) != (self._states.schema, self._store.identity):
            raise _BadSnapshotError("is of another class or store")
        if type(snapshot.version) is not int or snapshot.version < 1:
            raise _BadSnapshotError("has no version")
        if up_to is not None and snapshot.version > up_to:
            return None
        return snapshot

    def _from_snapshot(self, snapshot: Snapshot, up_to: int | None) -> Replayed[A]:
        """Replay from a snapshot; raises `_BadSnapshotError` if it is not of this stream or cannot be read."""
        events = self._store.read(snapshot.stream, after=snapshot.version - 1, up_to=up_to)
        first = next(events, None)
        if first is None or first.event_id != snapshot.event_id:
            raise _BadSnapshotError("is of another history")
        try:
            state = self._states.decode(snapshot.state)
        except ValueError as error:
            raise _BadSnapshotError("is damaged") from error
        replayed = Replayed(state, snapshot.version, snapshot.version, is_fresh=up_to is None)
        self._fold(snapshot.stream, replayed, _pages(events))
        return replayed

    def _save(self, snapshots: SnapshotStore, replayed: Replayed[A], last: StoredEvent) -> None:
        state = self._states.encode(replayed.state)
        snapshots.save_snapshot(
            Snapshot(last.stream, replayed.version, last.event_id, self._store.identity, self._states.schema, state)
        )
        replayed.snapshot_version = replayed.version
        replayed.has_bad_snapshot = False


def _pages(events: Iterable[StoredEvent]) -> Iterator[Sequence[EventData]]:
    rest = iter(events)
    while page := [data_of(event) for event in islice(rest, _PAGE)]:
        yield page


class _BadSnapshotError(Exception):
    """A snapshot is of no use; the message goes on from "its snapshot"."""
