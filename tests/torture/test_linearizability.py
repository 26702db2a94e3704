"""Linearizability: the short check agrees with a search through all orders."""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank.testing.torture._linearizability import FOREVER, Made, Seen, contradictions


@frozen
class Call:
    """An append that brings its stream from a version to another, or a look at its version, where both are the same."""

    before: int
    after: int
    begun: int
    ended: int


def is_linearizable(calls: list[Call]) -> bool:
    """Search for an order of the calls that agrees with the clock, and in which each could be told what it was told."""
    return any(map(is_possible, permutations(calls)))


def is_possible(order: tuple[Call, ...]) -> bool:
    version = 0
    for index, call in enumerate(order):
        if call.before != version or any(later.ended < call.begun for later in order[index:]):
            return False
        version = call.after
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Call]:
    """Draw appends of one to three events, each to where the last one ended, and looks at any version."""
    calls: list[Call] = []
    version = 0
    for size in draw(st.lists(st.integers(1, 3), max_size=3)):
        begun = draw(st.integers(0, 20))
        ended = draw(st.one_of(st.integers(begun, 20), st.just(FOREVER)))
        calls.append(Call(version, version + size, begun, ended))
        version += size
    for looked in draw(st.lists(st.integers(0, version + 1), max_size=3)):
        begun = draw(st.integers(0, 20))
        calls.append(Call(looked, looked, begun, draw(st.integers(begun, 20))))
    return calls


@settings(derandomize=True, max_examples=500, deadline=None)
@given(histories())
def test_the_check_finds_just_those_histories_that_have_no_order(calls: list[Call]) -> None:
    history = [Made(call.after, call.begun, call.ended, "an append") for call in calls if call.before != call.after]
    seen: defaultdict[int, Seen] = defaultdict(Seen)
    for call in calls:
        if call.before == call.after:
            seen[call.before].add((call.begun, call.ended))

    assert (not list(contradictions(history, seen))) == is_linearizable(calls)
