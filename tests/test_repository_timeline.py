"""The history of an aggregate step by step: each event, and the state after it, which is the reader's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import define, evolve, field

from esbank import ByHand, EveryNEvents, NoSnapshots, Repository, SnapshotPolicy, StreamNotFound
from esbank.store import StreamId
from tests.basket import Add, Added, Basket, BasketEvent, CheckedOut, CheckOut, Fill, Filled, Note, Noted, Remark
from tests.doubles import KINDS, Store, WatchedStore, open_store

STREAM = StreamId("Basket", "b1")
EVENTS = [Filled(["pen"]), Added("ink"), Noted(Remark("blue")), Noted(Remark("red")), CheckedOut()]
STATES = [
    Basket(["pen"], {"pen": 1}),
    Basket(["pen", "ink"], {"pen": 1, "ink": 1}),
    Basket(["pen", "ink"], {"pen": 1, "ink": 1}, [Remark("blue")]),
    Basket(["pen", "ink"], {"pen": 1, "ink": 1}, [Remark("blue", ["older"]), Remark("red")]),
    Basket(["pen", "ink"], {"pen": 1, "ink": 1}, [Remark("blue", ["older"]), Remark("red")], checked_out=True),
]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def baskets(store: Store) -> Repository[Basket]:
    """Make a basket whose state takes over what is in its events, and changes it with later ones."""
    repository = Repository(store, Basket)
    repository.execute("b1", Fill(["pen"]), Add("ink"))
    repository.execute("b1", Note("blue"))
    repository.execute("b1", Note("red"), CheckOut())
    return repository


def test_a_timeline_is_each_event_and_the_state_after_it(baskets: Repository[Basket]) -> None:
    steps = list(baskets.timeline("b1"))

    assert [envelope.event for envelope, _ in steps] == EVENTS
    assert [state for _, state in steps] == STATES


def test_the_envelopes_of_a_timeline_are_those_of_the_history(baskets: Repository[Basket]) -> None:
    assert [envelope for envelope, _ in baskets.timeline("b1")] == list(baskets.history("b1"))


@pytest.mark.parametrize("policy", [NoSnapshots(), EveryNEvents(1), EveryNEvents(2)], ids=repr)
def test_the_states_of_a_timeline_are_those_at_its_versions(store: Store, policy: SnapshotPolicy) -> None:
    baskets = Repository(store, Basket, snapshots=policy)
    for number in range(4):
        baskets.execute("b1", Fill([f"sku {number}"]), Add("ink", 2))
        baskets.execute("b1", Note(f"note {number}"))

    for repository in (baskets, Repository(store, Basket, snapshots=policy)):
        steps = [(envelope.version, state) for envelope, state in repository.timeline("b1")]
        assert [version for version, _ in steps] == list(range(1, 13))
        for version, state in steps:
            assert repository.load("b1", version=version).state == state
        assert repository.load("b1").state == steps[-1][1]


def test_a_timeline_of_what_does_not_exist_is_refused_at_once(baskets: Repository[Basket]) -> None:
    with pytest.raises(StreamNotFound) as missing:
        baskets.timeline("b2")

    assert (missing.value.stream, missing.value.until) == (StreamId("Basket", "b2"), None)


def test_a_timeline_reads_no_further_than_it_is_followed(store: Store, baskets: Repository[Basket]) -> None:
    watched = WatchedStore(store)

    assert baskets.load("b1").version == 5
    timeline = Repository(watched, Basket).timeline("b1")
    envelope, _ = next(timeline)

    assert (envelope.version, watched.events_read) == (1, 1)


def test_a_timeline_does_without_snapshots(store: Store) -> None:
    baskets = Repository(store, Basket, snapshots=ByHand())
    baskets.execute("b1", Add("pen"))
    baskets.snapshot("b1")
    snapshot = store.load_snapshot(STREAM)
    assert snapshot is not None
    store.save_snapshot(evolve(snapshot, state=snapshot.state.replace("pen", "lie")))
    baskets.execute("b1", Add("ink"))

    steps = Repository(store, Basket, snapshots=ByHand()).timeline("b1")

    assert [state.skus for _, state in steps] == [["pen"], ["pen", "ink"]]


# What is handed out is the reader's own.


def spoil(event: BasketEvent, state: Basket) -> None:
    match event:
        case Filled(skus):
            skus.append("spoilt")
        case Noted(remark):
            remark.text = "spoilt"
            remark.tags.append("spoilt")
        case _:
            pass
    state.skus.append("spoilt")
    state.quantities["spoilt"] = 1
    state.checked_out = True
    for remark in state.remarks:
        remark.text = "spoilt"
        remark.tags.append("spoilt")
    state.remarks.clear()


def test_changing_what_a_timeline_handed_out_does_not_change_what_it_hands_out_later(
    baskets: Repository[Basket],
) -> None:
    timeline = baskets.timeline("b1")

    for event, state in zip(EVENTS, STATES, strict=True):
        envelope, after = next(timeline)
        assert (envelope.event, after) == (event, state)
        spoil(envelope.event, after)

    assert list(timeline) == []


def test_changing_one_state_of_a_timeline_changes_neither_its_event_nor_the_others(
    baskets: Repository[Basket],
) -> None:
    for spoilt in range(len(STATES)):
        steps = list(baskets.timeline("b1"))
        state = steps[spoilt][1]
        state.skus.append("spoilt")
        for remark in state.remarks:
            remark.tags.append("spoilt")

        assert [envelope.event for envelope, _ in steps] == EVENTS
        assert [other for _, other in steps if other is not state] == [*STATES[:spoilt], *STATES[spoilt + 1 :]]


def test_changing_what_a_timeline_handed_out_changes_nothing_else(store: Store, baskets: Repository[Basket]) -> None:
    baskets.load("b1")
    for envelope, state in baskets.timeline("b1"):
        spoil(envelope.event, state)

    assert baskets.load("b1").state == STATES[-1]
    assert baskets.execute("b1", Note("late")).state.skus == ["pen", "ink"]
    assert [envelope.event for envelope in baskets.history("b1")][:5] == EVENTS
    assert baskets.load("b1") == Repository(store, Basket).load("b1")


def test_commands_between_the_steps_change_no_step(baskets: Repository[Basket]) -> None:
    timeline = baskets.timeline("b1")

    for number, state in enumerate(STATES, start=1):
        baskets.execute("b1", Fill([f"late {number}"]))
        assert next(timeline)[1] == state


def test_two_timelines_are_independent(baskets: Repository[Basket]) -> None:
    for (envelope, state), (other_envelope, other_state) in zip(
        baskets.timeline("b1"), baskets.timeline("b1"), strict=True
    ):
        spoil(envelope.event, state)
        assert other_envelope.event == EVENTS[envelope.version - 1]
        assert other_state == STATES[envelope.version - 1]


class Opaque:
    def __init__(self) -> None:
        self.spoilt = False


@define
class OpaqueBasket(Basket):
    category: ClassVar[str] = "Basket"
    opaque: Opaque = field(factory=Opaque, eq=False)


@pytest.mark.usefixtures("baskets")
def test_a_state_that_cannot_be_stored_has_a_timeline_too(store: Store) -> None:
    for _, state in Repository(store, OpaqueBasket).timeline("b1"):
        assert not state.opaque.spoilt
        state.opaque.spoilt = True
