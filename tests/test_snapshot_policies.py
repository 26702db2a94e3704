"""When to take a snapshot."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import frozen

from esbank import ByHand, EveryNEvents, NoSnapshots, OnEvents, SnapshotPolicy


@frozen
class WhenTold(SnapshotPolicy):
    """Somebody's own policy."""

    event: object

    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:  # noqa: ARG002 - the policies share it
        return self.event in events


def due(policy: SnapshotPolicy, *, last: int, version: int, events: Sequence[object] = ()) -> bool:
    return policy.is_due(last=last, version=version, events=events)


@pytest.mark.parametrize(("last", "version"), [(0, 3), (0, 4), (3, 6), (4, 100)])
def test_every_n_events_takes_one_as_soon_as_n_events_have_come(last: int, version: int) -> None:
    assert due(EveryNEvents(3), last=last, version=version)


@pytest.mark.parametrize(("last", "version"), [(0, 0), (0, 2), (3, 3), (3, 5), (98, 100)])
def test_every_n_events_waits_for_n_events(last: int, version: int) -> None:
    assert not due(EveryNEvents(3), last=last, version=version)


def test_every_event_is_often_enough_for_some() -> None:
    assert due(EveryNEvents(1), last=5, version=6)


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "3", None])
def test_n_is_an_int_from_1(n: object) -> None:
    with pytest.raises(ValueError, match="EveryNEvents takes an int from 1"):
        EveryNEvents(n)


@pytest.mark.parametrize("policy", [NoSnapshots(), ByHand()], ids=repr)
@pytest.mark.parametrize(("last", "version"), [(0, 0), (0, 1), (0, 1_000_000)])
def test_no_snapshots_and_by_hand_take_none_after_an_append(policy: SnapshotPolicy, last: int, version: int) -> None:
    assert not due(policy, last=last, version=version, events=["opened", "closed"])


@frozen
class Event:
    pass


@frozen
class Closed(Event):
    pass


@frozen
class Audited(Event):
    pass


@frozen
class ClosedEarly(Closed):
    pass


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ([], False),
        ([Event()], False),
        ([Audited(), Event()], False),
        ([Closed()], True),
        ([Event(), Closed()], True),
        ([Closed(), Event()], True),
        ([Closed(), Closed()], True),
        ([ClosedEarly()], True),
    ],
)
def test_on_events_takes_one_as_soon_as_such_an_event_has_come(events: list[Event], *, answer: bool) -> None:
    assert due(OnEvents(Closed), last=0, version=7, events=events) is answer
    assert due(OnEvents(Closed), last=6, version=7, events=events) is answer


def test_on_events_may_name_several_classes_or_their_base() -> None:
    for event in (Closed(), Audited()):
        assert due(OnEvents(Closed, Audited), last=0, version=1, events=[event])
        assert due(OnEvents(Event), last=0, version=1, events=[event])


@pytest.mark.parametrize(
    "classes", [(), ("Closed",), ([Closed],), ((Closed, Audited),), (Closed | Audited,), (Closed, None), (Closed(),)]
)
def test_on_events_takes_classes_of_events(classes: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="OnEvents takes classes of events"):
        OnEvents(*classes)


@pytest.mark.parametrize(
    ("version", "events", "answer"),
    [(10, [], True), (1, ["closed"], True), (10, ["closed"], True), (1, ["opened"], False)],
)
def test_two_policies_together_take_one_when_either_would(version: int, events: list[str], *, answer: bool) -> None:
    either = EveryNEvents(10) | WhenTold("closed")

    assert due(either, last=0, version=version, events=events) is answer


def test_more_than_two_policies_go_together() -> None:
    any_of_three = NoSnapshots() | WhenTold("closed") | WhenTold("frozen")

    assert due(any_of_three, last=0, version=1, events=["closed"])
    assert due(any_of_three, last=0, version=1, events=["frozen"])
    assert not due(any_of_three, last=0, version=1, events=["opened"])


def test_a_number_of_events_and_an_event_go_together() -> None:
    either = EveryNEvents(10) | OnEvents(Closed) | ByHand()

    assert due(either, last=0, version=10, events=[Event()])
    assert due(either, last=9, version=10, events=[Closed()])
    assert not due(either, last=1, version=10, events=[Event()])


def test_equal_policies_are_equal() -> None:
    assert EveryNEvents(3) == EveryNEvents(3)
    assert EveryNEvents(3) | NoSnapshots() == EveryNEvents(3) | NoSnapshots()
    assert OnEvents(Closed, Audited) == OnEvents(Closed, Audited) != OnEvents(Closed)
    assert ByHand() == ByHand() != NoSnapshots()
    assert len({OnEvents(Closed), OnEvents(Closed), ByHand(), ByHand()}) == 2


def test_a_policy_shows_what_it_is() -> None:
    assert repr(OnEvents(Closed)) == f"OnEvents(classes=({Closed!r},))"
    assert repr(ByHand()) == "ByHand()"
