"""Snapshots make loads short and change nothing else: losing or spoiling all of them loses nothing."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
from attrs import define, evolve, field

from esbank import (
    ByHand,
    DefinitionError,
    EveryNEvents,
    NoSnapshots,
    OnEvents,
    Repository,
    SnapshotPolicy,
    StorageError,
    StreamNotFound,
)
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import Snapshot, StreamId
from tests.basket import (
    Add,
    AddEach,
    Basket,
    BasketEvent,
    BasketIsFull,
    CheckedOut,
    CheckOut,
    Ensure,
    Fill,
    Filled,
    Note,
    Noted,
    SmallBasket,
)
from tests.doubles import KINDS, PlainStore, Store, WatchedSnapshotStore, fail, open_store

STREAM = StreamId("Basket", "b1")
SKUS = ["pen", "ink", "cup"]


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


def test_a_snapshot_of_the_first_version_is_as_good_as_any(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    Repository(store, Basket, snapshots=EveryNEvents(1)).execute("b1", Add("pen"))

    assert Repository(store, Basket, snapshots=EveryNEvents(1)).load("b1").state.skus == ["pen"]
    assert snapshot_version(store) == 1
    assert caplog.records == []


def test_a_load_of_a_version_after_the_snapshot_reads_only_from_there_on(store: Store) -> None:
    Repository(store, Basket, snapshots=EveryNEvents(10)).execute("b1", AddEach([str(number) for number in range(10)]))
    Repository(store, Basket).execute("b1", AddEach(["10", "11", "12"]))
    watched = WatchedSnapshotStore(store)

    loaded = Repository(watched, Basket, snapshots=EveryNEvents(10)).load("b1", version=12)

    assert loaded.version == len(loaded.state.skus) == 12
    assert watched.events_read == 1 + 2


def test_a_load_of_a_version_before_the_snapshot_does_without_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(10))
    baskets.execute("b1", AddEach([str(number) for number in range(10)]))

    assert baskets.load("b1", version=4).state.skus == ["0", "1", "2", "3"]
    assert caplog.records == []


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


def test_a_snapshot_is_taken_as_soon_as_such_an_event_has_come(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=OnEvents(CheckedOut, Filled))

    taken = [
        baskets.execute("b1", *commands) and snapshot_version(store)
        for commands in ([Add("pen")], [Note("blue")], [Fill(["ink"]), Add("cup")], [Add("cap")], [CheckOut()])
    ]

    assert taken == [None, None, 4, 4, 6]
    assert Repository(store, Basket, snapshots=ByHand()).load("b1") == Repository(store, Basket).load("b1")


def test_the_base_of_all_events_takes_a_snapshot_after_every_append(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=OnEvents(BasketEvent))

    assert [baskets.execute("b1", Add(sku)) and snapshot_version(store) for sku in SKUS] == [1, 2, 3]


def test_a_number_of_events_and_an_event_go_together(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(3) | OnEvents(Noted))

    taken = [
        baskets.execute("b1", command) and snapshot_version(store)
        for command in (Add("pen"), Note("blue"), Add("ink"), Add("cup"), Add("cap"), Add("bag"), Note("red"))
    ]

    assert taken == [None, 2, 2, 2, 5, 5, 7]


def test_a_failing_policy_does_not_fail_the_command(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(SnapshotPolicy):
        def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
            raise NotImplementedError

    baskets = Repository(store, Basket, snapshots=Failing())

    assert baskets.execute("b1", Add("pen")).version == 1
    assert baskets.execute("b1", Add("ink")).state.skus == ["pen", "ink"]
    assert "it will be loaded again" in caplog.text


# By hand.


def test_a_snapshot_taken_by_hand_is_the_only_one(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=ByHand())
    baskets.execute("b1", *(Add(str(number)) for number in range(100)))
    assert snapshot_version(store) is None

    assert baskets.snapshot("b1") == 100
    assert snapshot_version(store) == 100

    baskets.execute("b1", Fill(["pen"]), CheckOut())
    assert snapshot_version(store) == 100


def test_a_snapshot_taken_by_hand_makes_loads_short(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=ByHand())
    baskets.execute("b1", *(Fill([str(number)]) for number in range(10)), Note("blue"))
    baskets.snapshot("b1")
    baskets.execute("b1", Add("ink"))
    watched = WatchedSnapshotStore(store)

    loaded = Repository(watched, Basket, snapshots=ByHand()).load("b1")

    assert loaded == Repository(store, Basket).load("b1")
    assert watched.events_read == 1 + 1


@pytest.mark.parametrize("cache", [0, 1000])
def test_a_snapshot_taken_by_hand_is_of_the_latest_state(store: Store, cache: int) -> None:
    baskets = Repository(store, Basket, snapshots=ByHand(), cache=cache)
    baskets.execute("b1", Add("pen"))
    Repository(store, Basket).execute("b1", Add("ink"))

    assert baskets.snapshot("b1") == 2
    assert Repository(store, Basket, snapshots=ByHand()).load("b1").state.skus == ["pen", "ink"]
    assert baskets.execute("b1", Add("cup")).state.skus == ["pen", "ink", "cup"]


def test_a_snapshot_taken_by_hand_is_of_what_was_read_though_another_writer_is_at_work(store: Store) -> None:
    watched = WatchedSnapshotStore(store)
    Repository(store, Basket).execute("b1", Add("pen"))
    watched.before("read", lambda: None, lambda: Repository(store, Basket).execute("b1", Add("ink")))

    assert Repository(watched, Basket, snapshots=ByHand()).snapshot("b1") == snapshot_version(store) == 1
    assert Repository(store, Basket, snapshots=ByHand()).load("b1").state.skus == ["pen", "ink"]


def test_an_aggregate_stays_in_the_cache_when_its_snapshot_is_taken_by_hand(store: Store) -> None:
    watched = WatchedSnapshotStore(store)
    baskets = Repository(watched, Basket, snapshots=ByHand())
    baskets.execute("b1", Add("pen"))
    baskets.snapshot("b1")
    watched.calls.clear()

    baskets.execute("b1", Add("ink"))

    assert watched.calls == {"append": 1}


def test_a_snapshot_can_be_taken_by_hand_whatever_the_policy(store: Store) -> None:
    for number, policy in enumerate([EveryNEvents(50), OnEvents(CheckedOut), AtCheckOut() | ByHand()], start=1):
        baskets = Repository(store, Basket, snapshots=policy)
        baskets.execute("b1", Add("pen"))

        assert baskets.snapshot("b1") == snapshot_version(store) == number


def test_events_are_counted_from_a_snapshot_taken_by_hand(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=EveryNEvents(3))
    baskets.execute("b1", Add("1"), Add("2"))
    baskets.snapshot("b1")

    taken = [baskets.execute("b1", Add(sku)) and snapshot_version(store) for sku in "345"]

    assert taken == [2, 2, 5]


@pytest.mark.parametrize("policy", [ByHand(), NoSnapshots()], ids=repr)
def test_there_is_no_snapshot_of_what_does_not_exist(store: Store, policy: SnapshotPolicy) -> None:
    baskets = Repository(store, Basket, snapshots=policy)

    with pytest.raises(StreamNotFound) as missing:
        baskets.snapshot("b1")

    assert missing.value.stream == STREAM
    assert baskets.execute("b1", Add("pen")).version == 1


def test_a_repository_without_snapshots_takes_none_by_hand(store: Store) -> None:
    for baskets in (Repository(store, Basket), Repository(store, Basket, snapshots=NoSnapshots())):
        baskets.execute("b1", Add("pen"))
        with pytest.raises(DefinitionError, match=r"snapshots=ByHand\(\)"):
            baskets.snapshot("b1")

    assert snapshot_version(store) is None
    assert baskets.execute("b1", Add("ink")).state.skus == ["pen", "pen", "ink"]


def test_a_snapshot_taken_by_hand_that_cannot_be_saved_is_an_error_that_loses_nothing(store: Store) -> None:
    watched = WatchedSnapshotStore(store)
    watched.before("save_snapshot", fail(StorageError("disk", "full")))
    baskets = Repository(watched, Basket, snapshots=ByHand())
    baskets.execute("b1", Add("pen"))

    with pytest.raises(StorageError):
        baskets.snapshot("b1")

    assert baskets.execute("b1", Add("ink")).state.skus == ["pen", "ink"]
    assert baskets.snapshot("b1") == snapshot_version(store) == 2


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


POLICIES = [EveryNEvents(1000), ByHand(), OnEvents(CheckedOut), ByHand() | AtCheckOut()]


def spoilt(store: Store, spoil: Callable[[Snapshot], Snapshot]) -> Snapshot:
    """Make a basket of five with a snapshot, spoil that, and return it as it was."""
    baskets = Repository(store, Basket, snapshots=ByHand())
    baskets.execute("b1", AddEach([str(number) for number in range(5)]))
    baskets.snapshot("b1")
    snapshot = store.load_snapshot(STREAM)
    assert snapshot is not None
    if isinstance(store, PostgresEventStore) and spoil is no_json:
        spoil = other_fields  # PostgreSQL keeps nothing that is no JSON
    store.save_snapshot(spoil(snapshot))
    return snapshot


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_spoilt_snapshot_is_passed_over_with_a_warning_and_replaced_whatever_the_policy(
    store: Store, policy: SnapshotPolicy, spoil: Callable[[Snapshot], Snapshot], caplog: pytest.LogCaptureFixture
) -> None:
    good = spoilt(store, spoil)

    baskets = Repository(store, Basket, snapshots=policy)
    assert baskets.load("b1").state.skus == ["0", "1", "2", "3", "4"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Basket-b1" in caplog.text

    baskets.execute("b1", Add("5"))
    replaced = store.load_snapshot(STREAM)
    assert replaced is not None
    assert (replaced.version, replaced.store, replaced.schema) == (6, good.store, good.schema)
    watched = WatchedSnapshotStore(store)
    assert Repository(watched, Basket, snapshots=policy).load("b1") == Repository(store, Basket).load("b1")
    assert watched.events_read == 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_spoilt_snapshot_is_replaced_once(store: Store, policy: SnapshotPolicy) -> None:
    spoilt(store, no_json)
    baskets = Repository(store, Basket, snapshots=policy)

    taken = [baskets.execute("b1", Add(sku)) and snapshot_version(store) for sku in SKUS]

    assert taken == [6, 6, 6]


def test_a_spoilt_snapshot_is_replaced_also_without_a_cache(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    spoilt(store, no_json)
    baskets = Repository(store, Basket, snapshots=ByHand(), cache=0)

    taken = [baskets.execute("b1", Add(sku)) and snapshot_version(store) for sku in SKUS]

    assert taken == [6, 6, 6]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_spoilt_snapshot_is_replaced_after_a_conflict_too(store: Store) -> None:
    spoilt(store, no_json)
    watched = WatchedSnapshotStore(store)
    watched.before("append", lambda: Repository(store, Basket).execute("b1", Add("quick")))

    Repository(watched, Basket, snapshots=ByHand()).execute("b1", Add("slow"))

    assert snapshot_version(store) == 7
    loaded = Repository(store, Basket, snapshots=ByHand()).load("b1")
    assert loaded.state.skus == ["0", "1", "2", "3", "4", "quick", "slow"]


def test_a_spoilt_snapshot_is_not_replaced_before_something_is_appended(store: Store) -> None:
    spoilt(store, no_json)
    bad = store.load_snapshot(STREAM)
    baskets = Repository(store, SmallBasket, snapshots=ByHand())

    baskets.load("b1")
    baskets.execute("b1", Ensure("0"))
    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("5"))

    assert store.load_snapshot(STREAM) == bad


def test_a_spoilt_snapshot_is_replaced_by_hand_at_once(store: Store) -> None:
    good = spoilt(store, no_json)

    assert Repository(store, Basket, snapshots=ByHand()).snapshot("b1") == 5
    assert store.load_snapshot(STREAM) == good


def test_a_spoilt_snapshot_that_could_not_be_replaced_is_replaced_the_next_time(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt(store, other_fields)
    watched = WatchedSnapshotStore(store)
    watched.before("save_snapshot", fail(StorageError("disk", "full")))
    baskets = Repository(watched, Basket, snapshots=ByHand())

    taken = [baskets.execute("b1", Add(sku)) and snapshot_version(store) for sku in SKUS]

    assert taken == [5, 7, 7]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_repository_without_snapshots_never_looks_at_a_spoilt_one(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt(store, no_json)
    bad = store.load_snapshot(STREAM)

    assert Repository(store, Basket).execute("b1", Add("5")).version == 6
    assert store.load_snapshot(STREAM) == bad
    assert caplog.records == []


def test_a_spoilt_snapshot_is_passed_over_when_asked_for_the_past(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=ByHand())
    spoilt(store, no_json)
    baskets.execute("b1", Add("5"))

    for version in range(1, 7):
        loaded = Repository(store, Basket, snapshots=ByHand()).load("b1", version=version)
        assert loaded.state.skus == [str(number) for number in range(version)]


@define
class RicherBasket(Basket):
    category: ClassVar[str] = "Basket"
    colour: str = "brown"


@pytest.mark.parametrize("policy", [EveryNEvents(1000), ByHand()], ids=repr)
def test_a_class_that_has_changed_replaces_its_old_snapshots(store: Store, policy: SnapshotPolicy) -> None:
    old = Repository(store, Basket, snapshots=ByHand())
    old.execute("b1", Add("pen"))
    old.snapshot("b1")
    baskets = Repository(store, RicherBasket, snapshots=policy)

    assert baskets.load("b1").state == RicherBasket(["pen"], {"pen": 1})

    baskets.execute("b1", Add("ink"))
    watched = WatchedSnapshotStore(store)
    loaded = Repository(watched, RicherBasket, snapshots=policy).load("b1")
    assert loaded.state == RicherBasket(["pen", "ink"], {"pen": 1, "ink": 1})
    assert watched.events_read == 1


@pytest.mark.parametrize("error", [StorageError("disk", "broken"), OSError("broken"), KeyError("broken")], ids=repr)
def test_a_snapshot_that_the_store_cannot_read_is_passed_over_and_replaced(
    store: Store, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    Repository(store, Basket, snapshots=EveryNEvents(1)).execute("b1", Add("pen"))
    watched = WatchedSnapshotStore(store)
    watched.before("load_snapshot", fail(error))
    baskets = Repository(watched, Basket, snapshots=ByHand())

    loaded = baskets.load("b1")

    assert loaded.state.skus == ["pen"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "broken" in caplog.text
    baskets.execute("b1", Add("ink"))
    assert snapshot_version(store) == 2


def test_a_row_that_is_no_snapshot_is_passed_over_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SQLiteEventStore(tmp_path / "events.db", durability="normal") as store:
        Repository(store, Basket, snapshots=EveryNEvents(1)).execute("b1", Add("pen"))
        with closing(sqlite3.connect(tmp_path / "events.db")) as connection, connection:
            connection.execute("UPDATE esbank_snapshots SET event_id = x'00'")
        baskets = Repository(store, Basket, snapshots=ByHand())

        assert baskets.execute("b1", Add("ink")).state.skus == ["pen", "ink"]
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert snapshot_version(store) == 2


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


def test_a_state_that_does_not_fit_its_types_is_named_when_a_snapshot_is_taken_by_hand(store: Store) -> None:
    baskets = Repository(store, MistypedBasket, snapshots=ByHand())
    baskets.execute("b1", Add("pen"))

    with pytest.raises(DefinitionError, match=r"does not fit MistypedBasket: colour: expected str, got int"):
        baskets.snapshot("b1")

    assert baskets.execute("b1", Add("ink")).version == 2


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
