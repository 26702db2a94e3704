"""A repository keeps aggregates in memory; nobody may notice but by the speed."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import define, field, frozen

from esbank import Aggregate, EveryNEvents, Executed, Repository, SnapshotPolicy, applies, handles
from esbank.store import StreamId
from tests.basket import (
    Add,
    Added,
    Basket,
    BasketCommand,
    BasketEvent,
    BasketIsEmpty,
    BasketIsFull,
    CheckOut,
    Ensure,
    Fill,
    Filled,
    Note,
    Noted,
    Remark,
    SmallBasket,
)
from tests.doubles import KINDS, Store, WatchedSnapshotStore, WatchedStore, open_store

STREAM = StreamId("Basket", "b1")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


def replayed(store: Store) -> Basket:
    """Load the state by a replay of everything, through a repository that has seen nothing."""
    return Repository(store, Basket).load("b1").state


def test_a_command_on_an_aggregate_in_the_cache_reads_nothing(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))
    watched.calls.clear()

    baskets.execute("b1", Add("ink"))

    assert watched.calls == {"append": 1}


def test_a_loaded_aggregate_is_in_the_cache(store: Store) -> None:
    Repository(store, Basket).execute("b1", Add("pen"))
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.load("b1")
    watched.calls.clear()

    baskets.execute("b1", Add("ink"))

    assert watched.calls == {"append": 1}


def test_without_a_cache_every_command_reads(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket, cache=0)

    for sku in ("pen", "ink", "cup"):
        baskets.execute("b1", Add(sku))

    assert watched.calls["read"] == 3
    assert baskets.load("b1").state.skus == ["pen", "ink", "cup"]


def test_the_aggregate_unused_for_longest_leaves_the_cache(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket, cache=2)
    for key in ("a", "b", "a", "c"):
        baskets.execute(key, Add("pen"))
    watched.calls.clear()

    baskets.execute("c", Add("ink"))
    baskets.execute("a", Add("ink"))
    assert watched.calls["read"] == 0

    baskets.execute("b", Add("ink"))
    assert watched.calls["read"] == 1


def test_a_load_sees_what_another_repository_wrote(store: Store) -> None:
    baskets = Repository(store, Basket)
    baskets.execute("b1", Add("pen"))
    Repository(store, Basket).execute("b1", Add("ink"))

    assert baskets.load("b1").state.skus == ["pen", "ink"]


# A stale cache never decides on its own.


def refuse(baskets: Repository[Basket]) -> object:
    with pytest.raises(BasketIsEmpty) as refused:
        baskets.execute("b1", CheckOut())
    return refused


WAYS_INTO_THE_CACHE: dict[str, Callable[[Repository[Basket]], object]] = {
    "executed": lambda baskets: baskets.execute("b1", Fill([])),
    "executed, then loaded": lambda baskets: (baskets.execute("b1", Fill([])), baskets.load("b1")),
    "executed, then refused": lambda baskets: [baskets.execute("b1", Fill([])), refuse(baskets)],
    "refused": refuse,
}


@pytest.mark.parametrize("way", WAYS_INTO_THE_CACHE)
def test_a_refusal_on_a_stale_cache_is_decided_again_on_the_latest_state(store: Store, way: str) -> None:
    baskets = Repository(store, Basket)
    WAYS_INTO_THE_CACHE[way](baskets)
    Repository(store, Basket).execute("b1", Add("pen"))

    assert baskets.execute("b1", CheckOut()).state.checked_out


def test_a_refusal_that_the_latest_state_confirms_is_final(store: Store) -> None:
    baskets = Repository(store, SmallBasket)
    baskets.execute("b1", Add("a"), Add("b"), Add("c"))
    Repository(store, Basket).execute("b1", Add("d"))

    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("e"))

    assert baskets.load("b1").version == 4


@pytest.mark.parametrize("way", ["executed", "loaded", "without events"])
def test_no_events_on_a_stale_cache_are_decided_again_on_the_latest_state(store: Store, way: str) -> None:
    baskets = Repository(store, Basket)
    baskets.execute("b1", Add("pen"))
    if way == "loaded":
        baskets.load("b1")
    elif way == "without events":
        baskets.execute("b1", Ensure("pen"))
    Repository(store, Basket).execute("b1", Fill([]))

    executed = baskets.execute("b1", Ensure("pen"))

    assert [envelope.event for envelope in executed.envelopes] == [Added("pen")]
    assert executed.version == 3


# What is handed out is the caller's own.


def spoil(state: Basket) -> None:
    state.skus.append("spoilt")
    state.quantities["spoilt"] = 1
    for remark in state.remarks:
        remark.text = "spoilt"
        remark.tags.append("spoilt")


@pytest.mark.parametrize("policy", [EveryNEvents(1), EveryNEvents(1000)], ids=["snapshots", "no snapshots"])
def test_changing_a_state_that_was_handed_out_changes_nothing_else(store: Store, policy: SnapshotPolicy) -> None:
    baskets = Repository(store, Basket, snapshots=policy)
    executed = baskets.execute("b1", Add("pen"), Note("blue"))
    spoil(executed.state)
    spoil(baskets.load("b1").state)
    spoil(baskets.load("b1", version=2).state)
    spoil(baskets.execute("b1", Ensure("pen")).state)
    refuse_to_be_full(baskets)

    assert baskets.load("b1").state == Basket(["pen"], {"pen": 1}, [Remark("blue")])
    assert baskets.execute("b1", Add("ink")).state.skus == ["pen", "ink"]
    assert baskets.load("b1").state == replayed(store)


def refuse_to_be_full(baskets: Repository[Basket]) -> None:
    with pytest.raises(BasketIsFull):
        baskets.execute("b1", *(Add("x") for _ in range(Basket.limit + 1)))


def test_changing_the_events_that_were_handed_out_changes_nothing_else(store: Store) -> None:
    baskets = Repository(store, Basket)
    for executed in (baskets.execute("b1", Fill(["pen"]), Note("blue")), baskets.execute("b1", Note("red"))):
        for envelope in executed.envelopes:
            spoil_event(envelope.event)

    for envelope in baskets.history("b1"):
        spoil_event(envelope.event)

    expected = Basket(["pen"], {"pen": 1}, [Remark("blue", ["older"]), Remark("red")])
    assert baskets.load("b1").state == expected
    assert [envelope.event for envelope in baskets.history("b1")] == [
        Filled(["pen"]),
        Noted(Remark("blue")),
        Noted(Remark("red")),
    ]


def spoil_event(event: BasketEvent) -> None:
    match event:
        case Filled(skus):
            skus.append("spoilt")
        case Noted(remark):
            remark.text = "spoilt"
        case _:
            raise AssertionError(event)


def test_changing_a_command_afterwards_changes_nothing_else(store: Store) -> None:
    baskets = Repository(store, Basket)
    command = Fill(["pen"])
    baskets.execute("b1", command)

    command.skus.append("spoilt")

    assert baskets.load("b1").state.skus == ["pen"]
    assert replayed(store).skus == ["pen"]


# A state may keep a list that came with an event, and change it later.


def filled_then_added(store: Store) -> tuple[Repository[Basket], Executed[Basket, BasketEvent]]:
    baskets = Repository(store, Basket)
    return baskets, baskets.execute("b1", Fill(["pen"]), Add("ink"))


def test_an_event_is_stored_as_it_was_when_it_was_yielded(store: Store) -> None:
    filled_then_added(store)

    assert [event.data for event in store.read(STREAM)] == ['{"skus":["pen"]}', '{"sku":"ink","quantity":1}']


def test_an_event_is_returned_as_it_is_stored(store: Store) -> None:
    baskets, executed = filled_then_added(store)

    assert [envelope.event for envelope in executed.envelopes] == [Filled(["pen"]), Added("ink")]
    assert list(executed.envelopes) == list(baskets.history("b1"))


def test_a_state_that_changes_a_list_of_an_event_is_what_a_replay_gives(store: Store) -> None:
    baskets, executed = filled_then_added(store)

    assert executed.state == baskets.load("b1").state == replayed(store) == Basket(["pen", "ink"], {"pen": 1, "ink": 1})


def test_a_state_that_changes_a_list_of_an_event_does_not_change_the_command(store: Store) -> None:
    command = Fill(["pen"])

    Repository(store, Basket).execute("b1", command, Add("ink"))

    assert command == Fill(["pen"])


def test_a_second_attempt_is_given_the_command_as_it_was(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", lambda: Repository(store, Basket).execute("b1", Add("cup")))

    Repository(watched, Basket).execute("b1", Fill(["pen"]), Add("ink"))

    assert [event.data for event in store.read(STREAM)][1] == '{"skus":["pen"]}'
    assert replayed(store).skus == ["pen", "ink"]


# A handler that changes the state spoils nothing but what it returns.


@frozen
class AddCarelessly(BasketCommand):
    sku: str


@define
class CarelessBasket(Basket):
    category: ClassVar[str] = "Basket"

    @handles(AddCarelessly)
    def add_carelessly(self, command: AddCarelessly) -> Iterator[BasketEvent]:
        self.skus.append(command.sku)
        self.quantities.clear()
        yield Added(command.sku)


def test_a_handler_that_changes_the_state_poisons_neither_cache_nor_snapshots(store: Store) -> None:
    baskets = Repository(store, CarelessBasket, snapshots=EveryNEvents(1))
    baskets.execute("b1", Add("pen"))
    baskets.execute("b1", AddCarelessly("ink"))

    expected = CarelessBasket(["pen", "ink"], {"pen": 1, "ink": 1})
    assert baskets.load("b1").state == expected
    assert Repository(store, CarelessBasket, snapshots=EveryNEvents(1)).load("b1").state == expected
    assert baskets.execute("b1", Add("cup")).state.skus == ["pen", "ink", "cup"]


# The cache copies states; a copy is like the original to the last type.


@frozen
class StockCommand:
    pass


@frozen
class Count(StockCommand):
    sku: str


@frozen
class StockEvent:
    pass


@frozen
class Counted(StockEvent):
    sku: str


@define
class Shelf:
    skus: list[str] = field(factory=list)


@define
class LabelledShelf(Shelf):
    label: str = ""


@define
class Stock(Aggregate[StockCommand, StockEvent]):
    category: ClassVar[str] = "Stock"

    counts: dict[str, int] = field(factory=lambda: defaultdict(int))
    latest: dict[str, int] = field(factory=OrderedDict)
    shelf: Shelf = field(factory=lambda: LabelledShelf(label="top"))

    @handles(Count)
    def count(self, command: Count) -> Iterator[StockEvent]:
        yield Counted(command.sku)

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        self.counts[event.sku] += 1
        self.latest[event.sku] = len(self.latest)
        self.shelf.skus.append(event.sku)


def test_a_state_may_hold_subclasses_of_what_its_fields_say(store: Store) -> None:
    stock = Repository(store, Stock)
    stock.execute("s1", Count("pen"))
    stock.execute("s1", Count("ink"))

    executed = stock.execute("s1", Count("pen"))

    assert executed.state.counts == {"pen": 2, "ink": 1}
    assert executed.state.shelf == LabelledShelf(["pen", "ink", "pen"], "top")
    assert isinstance(stock.load("s1").state.latest, OrderedDict)
    assert stock.load("s1").state == Repository(store, Stock).load("s1").state


# Threads share a repository.


def test_threads_that_share_a_repository_lose_nothing(store: Store) -> None:
    baskets = Repository(WatchedSnapshotStore(store), Basket, snapshots=EveryNEvents(7), max_attempts=1000)
    skus = [f"{thread}/{number}" for thread in range(8) for number in range(25)]

    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(lambda sku: baskets.execute("b1", Add(sku)).version, skus))

    assert sorted(versions) == list(range(1, len(skus) + 1))
    assert sorted(baskets.load("b1").state.skus) == sorted(skus)
    assert baskets.load("b1").state == replayed(store)
