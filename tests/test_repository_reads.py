"""A command reads what it has to, once."""

from __future__ import annotations

import pytest

from esbank import EveryNEvents, Repository
from esbank.backends.memory import MemoryEventStore
from tests.basket import (
    Add,
    AddEach,
    Basket,
    BasketIsCheckedOut,
    BasketIsEmpty,
    BasketIsFull,
    CheckOut,
    Ensure,
    SmallBasket,
)
from tests.doubles import WatchedSnapshotStore


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore()


@pytest.fixture
def watched(store: MemoryEventStore) -> WatchedSnapshotStore:
    return WatchedSnapshotStore(store)


def test_a_refusal_right_after_a_replay_reads_nothing_more(watched: WatchedSnapshotStore) -> None:
    with pytest.raises(BasketIsEmpty):
        Repository(watched, Basket).execute("b1", CheckOut())

    assert watched.calls == {"read": 1}


def test_a_refusal_right_after_a_replay_from_a_snapshot_reads_nothing_more(
    store: MemoryEventStore, watched: WatchedSnapshotStore
) -> None:
    Repository(store, Basket, snapshots=EveryNEvents(2)).execute("b1", Add("pen"), CheckOut())

    with pytest.raises(BasketIsCheckedOut):
        Repository(watched, Basket, snapshots=EveryNEvents(2)).execute("b1", Add("ink"))

    assert watched.calls == {"load_snapshot": 1, "read": 1}


def test_a_refusal_of_what_is_in_the_cache_reads_what_is_new(watched: WatchedSnapshotStore) -> None:
    baskets = Repository(watched, SmallBasket)
    baskets.execute("b1", AddEach(["a", "b", "c"]))
    watched.calls.clear()

    for _ in range(2):
        with pytest.raises(BasketIsFull):
            baskets.execute("b1", Add("d"))

    assert watched.calls == {"read": 2}


def test_a_refusal_after_a_conflict_has_read_what_was_new_once(
    store: MemoryEventStore, watched: WatchedSnapshotStore
) -> None:
    baskets = Repository(watched, SmallBasket)
    baskets.execute("b1", AddEach(["a", "b"]))
    watched.calls.clear()
    watched.before("append", lambda: Repository(store, Basket).execute("b1", Add("c")))

    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("d"))

    assert watched.calls == {"append": 1, "read": 1}


def test_a_command_without_events_leaves_the_aggregate_in_the_cache(watched: WatchedSnapshotStore) -> None:
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))
    baskets.execute("b1", Ensure("pen"))
    watched.calls.clear()

    baskets.execute("b1", Add("ink"))

    assert watched.calls == {"append": 1}


def test_a_refused_command_leaves_the_aggregate_in_the_cache(watched: WatchedSnapshotStore) -> None:
    baskets = Repository(watched, SmallBasket)
    baskets.execute("b1", AddEach(["a", "b", "c"]))
    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("d"))
    watched.calls.clear()

    baskets.execute("b1", CheckOut())

    assert watched.calls == {"append": 1}


def test_a_thousand_aggregates_are_in_the_cache_unless_it_is_said_otherwise(watched: WatchedSnapshotStore) -> None:
    baskets = Repository(watched, Basket)
    for number in range(1000):
        baskets.execute(f"b{number}", Add("pen"))
    watched.calls.clear()

    baskets.execute("b0", Add("ink"))
    assert watched.calls == {"append": 1}

    baskets.execute("b1000", Add("pen"))
    baskets.execute("b1", Add("ink"))
    assert watched.calls == {"append": 3, "read": 2}
