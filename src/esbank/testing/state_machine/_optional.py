"""What a store may be able to do besides: snapshots, and tables that change in transactions, alone or with appends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from esbank.errors import StreamNotFound
from esbank.store import (
    AppendResult,
    Snapshot,
    SnapshotStore,
    StreamId,
    Transaction,
    TransactionalStore,
    ViewStore,
    new_event_id,
)
from esbank.testing.state_machine._appends import PARTS, Appends, Part, as_appends
from esbank.testing.state_machine._store import HAS_EVENTS, STREAM

__all__ = ["Snapshots", "Tables"]

_CREATE: Final = "CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, note TEXT)"
_WRITE: Final = """
    INSERT INTO notes VALUES (:number, :note) ON CONFLICT (number) DO UPDATE SET note = excluded.note
"""
_READ: Final = "SELECT number, note FROM notes ORDER BY number"

_NUMBERS: Final = st.integers(1, 3)
_NOTES: Final = st.sampled_from("abc")


class Snapshots(Appends):
    """``SnapshotStore``, for a store that is one."""

    @HAS_EVENTS
    @precondition(lambda self: isinstance(self.store, SnapshotStore))
    @rule(stream=STREAM, state=st.sampled_from(("{}", '{"balance":"1.10"}')))
    def save_snapshot(self, stream: StreamId, state: str) -> None:
        """Keep a snapshot of a stream as it is now; there is none of a stream without events."""
        store = cast("SnapshotStore", self.store)
        version = self.model.version(stream)
        snapshot = Snapshot(stream, max(version, 1), new_event_id(), self.store.identity, "state machine", state)
        if not version:
            self.expect_error("a snapshot of nothing", StreamNotFound, lambda: store.save_snapshot(snapshot))
        else:
            store.save_snapshot(snapshot)
            self.model.snapshots[stream] = snapshot
        self.check_snapshots()

    def check_snapshots(self) -> None:
        """Compare the snapshots of all streams with the model."""
        if isinstance(self.store, SnapshotStore):
            for stream in self.streams:
                snapshot = self.store.load_snapshot(stream)
                self.expect(f"the snapshot of {stream}", snapshot, self.model.snapshots.get(stream))


class Tables(Appends):
    """A table of numbered notes for a ``ViewStore``, written together with appends by a ``TransactionalStore``."""

    def __init__(self) -> None:
        super().__init__()
        if isinstance(self.store, ViewStore):
            with self.store.view_transaction() as tx:
                tx.execute(_CREATE)

    @HAS_EVENTS
    @precondition(lambda self: isinstance(self.store, ViewStore))
    @rule(number=_NUMBERS, note=_NOTES, fails=st.booleans())
    def view_transaction(self, number: int, note: str, fails: bool) -> None:  # noqa: FBT001 - named in programs
        """Write a note, and commit it or roll it back."""
        store = cast("ViewStore", self.store)
        with suppress(_Stop), store.view_transaction() as tx:
            _write(tx, number, note)
            if fails:
                raise _Stop
        if not fails:
            self.model.notes[number] = note
        self.check_notes()

    @precondition(lambda self: isinstance(self.store, ViewStore) and isinstance(self.store, TransactionalStore))
    @rule(appends=PARTS, number=_NUMBERS, note=_NOTES)
    def transaction(self, appends: list[Part], number: int, note: str) -> None:
        """Write a note and append, both or neither; where the append is a repeat, the note was written before."""
        store = cast("TransactionalStore", self.store)

        def commit() -> Sequence[AppendResult]:
            with store.transaction() as tx:
                _write(tx, number, note)
                pending = [tx.append(stream, events, expected_version=wanted) for stream, events, wanted in appends]
            return [one.result for one in pending]

        if self.check_append(as_appends(appends), (), commit):
            self.model.notes[number] = note
        self.check_notes()

    def check_notes(self) -> None:
        """Compare the notes with the model."""
        if isinstance(self.store, ViewStore):
            self.expect("the table of notes", self.store.query(_READ), sorted(self.model.notes.items()))


class _Stop(Exception):
    """What ends a transaction early."""


def _write(tx: Transaction, number: int, note: str) -> None:
    tx.execute(_WRITE, {"number": number, "note": note})
