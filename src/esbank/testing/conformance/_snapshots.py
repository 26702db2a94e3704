"""The optional capability to keep one snapshot for each stream."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import evolve

from esbank.errors import StoreClosed, StreamNotFound
from esbank.store import EventStore, Snapshot, SnapshotStore, StreamId, new_event_id
from esbank.testing.conformance._given import ACCOUNT, OTHER, new_events, nothing_changes

__all__ = ["Snapshots"]


def _snapshot(stream: StreamId = ACCOUNT, version: int = 1, state: str = '{"balance":"1.10"}') -> Snapshot:
    return Snapshot(stream, version, new_event_id(), store="a-store", schema="a-schema", state=state)


class Snapshots:
    """``SnapshotStore``."""

    has_snapshots: ClassVar[bool] = True

    @pytest.fixture
    def snapshots(self, store: EventStore) -> SnapshotStore:
        """Return the store as what keeps snapshots."""
        if not self.has_snapshots:
            pytest.skip("this store keeps no snapshots")
        assert isinstance(store, SnapshotStore)
        store.append(ACCOUNT, new_events(3), expected_version=0)
        store.append(OTHER, new_events(1), expected_version=0)
        return store

    def test_the_store_keeps_snapshots_if_it_says_so(self, store: EventStore) -> None:
        assert isinstance(store, SnapshotStore) == self.has_snapshots

    def test_a_stream_without_a_snapshot_has_none(self, snapshots: SnapshotStore) -> None:
        snapshots.save_snapshot(_snapshot(OTHER))

        assert snapshots.load_snapshot(ACCOUNT) is None
        assert snapshots.load_snapshot(StreamId("Account", "absent")) is None

    def test_a_snapshot_comes_back_as_it_was_saved(self, snapshots: SnapshotStore, store: EventStore) -> None:
        saved = _snapshot(version=3, state=' {"naïve":"😀", "balance": 1.10}\n')

        with nothing_changes(store):
            snapshots.save_snapshot(saved)

        assert snapshots.load_snapshot(ACCOUNT) == saved

    def test_each_stream_has_its_own_snapshot(self, snapshots: SnapshotStore) -> None:
        mine, yours = _snapshot(ACCOUNT, 3), _snapshot(OTHER, 1)

        snapshots.save_snapshot(mine)
        snapshots.save_snapshot(yours)

        assert (snapshots.load_snapshot(ACCOUNT), snapshots.load_snapshot(OTHER)) == (mine, yours)

    @pytest.mark.parametrize("version", [1, 2, 3])
    def test_a_snapshot_takes_the_place_of_the_one_before(self, snapshots: SnapshotStore, version: int) -> None:
        snapshots.save_snapshot(_snapshot(version=2))
        newer = _snapshot(version=version, state='{"balance":"2"}')

        snapshots.save_snapshot(newer)

        assert snapshots.load_snapshot(ACCOUNT) == newer

    def test_a_snapshot_is_saved_again_and_again(self, snapshots: SnapshotStore) -> None:
        saved = _snapshot()

        snapshots.save_snapshot(saved)
        snapshots.save_snapshot(saved)

        assert snapshots.load_snapshot(ACCOUNT) == saved

    def test_a_large_state_is_kept(self, snapshots: SnapshotStore) -> None:
        saved = evolve(_snapshot(), state=f'"{"é" * (1 << 19)}"')

        snapshots.save_snapshot(saved)

        assert snapshots.load_snapshot(ACCOUNT) == saved

    def test_a_snapshot_of_an_absent_stream_is_refused(self, snapshots: SnapshotStore) -> None:
        absent = StreamId("Account", "absent")

        with pytest.raises(StreamNotFound) as raised:
            snapshots.save_snapshot(_snapshot(absent))

        assert raised.value.stream == absent
        assert snapshots.load_snapshot(absent) is None

    def test_a_closed_store_keeps_no_snapshots(self, snapshots: SnapshotStore, store: EventStore) -> None:
        store.close()

        with pytest.raises(StoreClosed):
            snapshots.save_snapshot(_snapshot())
        with pytest.raises(StoreClosed):
            snapshots.load_snapshot(ACCOUNT)
