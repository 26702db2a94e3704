"""Snapshots make loads short and change nothing else: losing or spoiling all of them loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
from attrs import define, evolve, field

from esbank import DefinitionError, EveryNEvents, NoSnapshots, Repository, SnapshotPolicy, StorageError
from esbank.store import Snapshot, StreamId
from tests.basket import Add, AddEach, Basket, CheckedOut, CheckOut, Fill, Note
from tests.doubles import KINDS, PlainStore, Store, WatchedSnapshotStore, fail, open_store

STREAM = StreamId("Basket", "b1")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


def snapshot_version(store: Store) -> int | None:
    snapshot = store.load_snapshot(STREAM)
    return None if snapshot is None else snapshot.version


def test_a_snapshot_is_taken_as_soon_as_enough_events_have_come(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(50))

    taken = [
        snapshot_version(store) for number in range(1, 152) if baskets.execute("b1", Add(str(number))).version == number
    ]

    assert taken == [None] * 49 + [50] * 50 + [100] * 50 + [150] * 2


def test_a_snapshot_is_taken_after_an_append_and_not_in_the_middle_of_it(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(50))

    baskets.execute("b1", AddEach(["pen"] * 49))
    baskets.execute("b1", AddEach(["ink"] * 3))
    assert snapshot_version(store) == 52

    baskets.execute("b1", AddEach(["cup"] * 49))
    assert snapshot_version(store) == 52

    baskets.execute("b1", Add("cup"))
    assert snapshot_version(store) == 102


def test_snapshots_are_due_also_when_every_command_comes_through_a_new_repository(store: Store) -> None:
    for number in range(25):
        Repository(store, Basket, snapshots=EveryNEvents(10)).execute("b1", Add(str(number)))

    assert snapshot_version(store) == 20


def test_no_snapshots_are_taken_unless_asked_for(store: Store) -> None:
    Repository(store, Basket).execute("b1", AddEach(["pen"] * 100))
    Repository(store, Basket, snapshots=NoSnapshots()).execute("b1", Add("ink"))

    assert snapshot_version(store) is None


def test_the_state_at_every_version_is_a_replay_of_its_prefix(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(5))
    for number in range(4):
        baskets.execute("b1", Fill([f"sku {number}"]), Add("ink", 2))
        baskets.execute("b1", Note(f"note {number}"))
    baskets.execute("b1", CheckOut())
    assert snapshot_version(store) == 11

    state = Basket()
    for envelope in Repository(store, Basket).history("b1"):
        state.apply(envelope.event)
        assert baskets.load("b1", version=envelope.version).state == state
        assert Repository(store, Basket).load("b1", version=envelope.version).state == state
    assert baskets.load("b1").state == state
    assert Repository(store, Basket, snapshots=EveryNEvents(5)).load("b1").state == state


def test_every_snapshot_is_a_replay_of_its_prefix(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(1))
    for number in range(6):
        version = baskets.execute("b1", Fill([f"sku {number}"]) if number % 2 else Note("blue")).version

        loaded = Repository(store, Basket, snapshots=EveryNEvents(1)).load("b1")
        assert snapshot_version(store) == version
        assert loaded == Repository(store, Basket).load("b1")


def test_a_load_reads_only_from_the_snapshot_on(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(50))
    for number in range(107):
        baskets.execute("b1", Add(str(number)))
    watched = WatchedSnapshotStore(store)

    loaded = Repository(watched, Basket, snapshots=EveryNEvents(50)).load("b1")

    assert loaded.version == 107
    assert watched.events_read == 1 + 7  # that of the snapshot, to see that it is still the same, and the tail


def test_a_load_of_a_version_before_the_snapshot_does_without_it(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(10))
    baskets.execute("b1", AddEach([str(number) for number in range(10)]))

    assert baskets.load("b1", version=4).state.skus == ["0", "1", "2", "3"]


# Policies.


@define
class AtCheckOut(SnapshotPolicy):
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        assert last < version
        return CheckedOut() in events


def test_either_of_two_policies_is_enough(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(5) | AtCheckOut())

    baskets.execute("b1", Add("pen"))
    assert snapshot_version(store) is None

    baskets.execute("b1", CheckOut())
    assert snapshot_version(store) == 2

    baskets.execute("b1", *(Fill([]) for _ in range(4)))
    assert snapshot_version(store) == 2

    baskets.execute("b1", Fill([]))
    assert snapshot_version(store) == 7


def test_a_failing_policy_does_not_fail_the_command(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(SnapshotPolicy):
        def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
            raise NotImplementedError

    baskets = Repository(store, Basket, snapshots=Failing())

    assert baskets.execute("b1", Add("pen")).version == 1
    assert baskets.execute("b1", Add("ink")).state.skus == ["pen", "ink"]
    assert "it will be loaded again" in caplog.text


# A snapshot that is no good is passed over with a warning, and replaced.


def other_fingerprint(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, schema="0" * 64)


def other_store(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, store="another")


def other_history(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, event_id=uuid4())


def beyond_the_end(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, version=99)


def version_zero(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, version=0)


def no_json(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, state=snapshot.state[:-2])


def other_fields(snapshot: Snapshot) -> Snapshot:
    return evolve(snapshot, state='{"skus": "pen"}')


SPOILT: list[Callable[[Snapshot], Snapshot]] = [
    other_fingerprint,
    other_store,
    other_history,
    beyond_the_end,
    version_zero,
    no_json,
    other_fields,
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_spoilt_snapshot_is_passed_over_with_a_warning_and_replaced_later(
    store: Store, spoil: Callable[[Snapshot], Snapshot], caplog: pytest.LogCaptureFixture
) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(5))
    baskets.execute("b1", AddEach([str(number) for number in range(5)]))
    snapshot = store.load_snapshot(STREAM)
    assert snapshot is not None
    store.save_snapshot(spoil(snapshot))

    fresh = Repository(store, Basket, snapshots=EveryNEvents(5))
    assert fresh.load("b1").state.skus == ["0", "1", "2", "3", "4"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Basket-b1" in caplog.text

    fresh.execute("b1", Add("5"))
    replaced = store.load_snapshot(STREAM)
    assert replaced is not None
    assert (replaced.version, replaced.store, replaced.schema) == (6, snapshot.store, snapshot.schema)
    assert Repository(store, Basket, snapshots=EveryNEvents(5)).load("b1") == fresh.load("b1")


@define
class RicherBasket(Basket):
    category: ClassVar[str] = "Basket"
    colour: str = "brown"


def test_a_class_that_has_changed_does_not_use_its_old_snapshots(store: Store) -> None:
    Repository(store, Basket, snapshots=EveryNEvents(1)).execute("b1", Add("pen"))

    loaded = Repository(store, RicherBasket, snapshots=EveryNEvents(1)).load("b1")

    assert loaded.state == RicherBasket(["pen"], {"pen": 1})


def test_a_snapshot_that_the_store_cannot_read_is_passed_over(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    Repository(store, Basket, snapshots=EveryNEvents(1)).execute("b1", Add("pen"))
    watched = WatchedSnapshotStore(store)
    watched.before("load_snapshot", fail(StorageError("disk", "broken")))

    loaded = Repository(watched, Basket, snapshots=EveryNEvents(1)).load("b1")

    assert loaded.state.skus == ["pen"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_snapshot_that_cannot_be_saved_does_not_fail_the_command(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    watched = WatchedSnapshotStore(store)
    watched.before("save_snapshot", fail(StorageError("disk", "full")), fail(OSError("full")))
    baskets = Repository(watched, Basket, snapshots=EveryNEvents(2))
    baskets.execute("b1", Add("1"))

    assert baskets.execute("b1", Add("2")).version == 2
    assert baskets.execute("b1", Add("3")).version == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert snapshot_version(store) is None

    baskets.execute("b1", Add("4"))
    assert snapshot_version(store) == 4
    assert baskets.load("b1") == Repository(store, Basket).load("b1")


@define
class MistypedBasket(Basket):
    category: ClassVar[str] = "Basket"
    colour: str = field(default=1)  # type: ignore[assignment]


def test_a_state_that_does_not_fit_its_types_does_not_fail_the_command(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    baskets = Repository(store, MistypedBasket, snapshots=EveryNEvents(1))

    assert baskets.execute("b1", Add("pen")).version == 1
    assert snapshot_version(store) is None
    assert "expected str, got int" in caplog.text


# Where there can be no snapshots, none may be asked for.


class Opaque:
    pass


@define
class OpaqueBasket(Basket):
    category: ClassVar[str] = "Basket"
    opaque: Opaque | None = None
    opaques: list[Opaque] = field(factory=list)


def test_snapshots_in_a_store_that_keeps_none_are_refused(store: Store) -> None:
    with pytest.raises(DefinitionError, match="keeps no snapshots"):
        Repository(PlainStore(store), Basket, snapshots=EveryNEvents(50))


def test_snapshots_of_a_state_that_cannot_be_stored_are_refused(store: Store) -> None:
    with pytest.raises(DefinitionError, match=r"OpaqueBasket\.opaque: "):
        Repository(store, OpaqueBasket, snapshots=EveryNEvents(50))


def test_a_state_that_cannot_be_stored_works_without_snapshots(store: Store) -> None:
    baskets = Repository(store, OpaqueBasket)
    baskets.execute("b1", Add("pen")).state.opaques.append(Opaque())

    executed = baskets.execute("b1", Add("ink"))

    assert executed.state == OpaqueBasket(["pen", "ink"], {"pen": 1, "ink": 1})
