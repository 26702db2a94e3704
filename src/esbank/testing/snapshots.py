"""Whether a snapshot ever tells another story than the events."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import ndiff
from itertools import starmap
from pprint import pformat
from typing import Any, TypeVar

from esbank.aggregate import Aggregate, check_aggregate
from esbank.codec import EventCodec, EventRegistry, StateCodec

__all__ = ["check_snapshots"]

C = TypeVar("C")
E = TypeVar("E")


def check_snapshots(
    aggregate: type[Aggregate[C, E]], events: Iterable[E], *, registry: EventRegistry | None = None
) -> None:
    """Replay events with a snapshot at every version, and without any, and compare all that comes of it.

    ::

        def test_snapshots_never_lie() -> None:
            check_snapshots(BankAccount, [envelope.event for envelope in accounts.history("acc-001")])

    Each state is written and read as a snapshot is; that must give the same state, and so must going on from there to
    the last event. Raises ``AssertionError`` that names the version and shows the difference.
    """
    check_aggregate(aggregate)
    events = list(events)
    if not events:
        raise ValueError("there are no events to replay")
    check = _Check(aggregate, events, registry or EventRegistry(aggregate))
    for version in range(1, len(check.replayed)):
        check.snapshot_at(version)


class _Check:
    """The states that a replay without snapshots gives, to compare the others with."""

    def __init__(self, aggregate: type[Aggregate[Any, Any]], events: list[Any], registry: EventRegistry) -> None:
        self._events = events
        self._copy = EventCodec(registry).copy
        self._states: StateCodec[Aggregate[Any, Any]] = StateCodec(aggregate, registry.forms)
        if self._states.unstorable is not None:
            raise AssertionError(f"{aggregate.__name__} cannot have snapshots: {self._states.unstorable}")
        state = aggregate()
        self.replayed = [self._states.copy(state)]
        for event in events:
            state.apply(self._copy(event))
            self.replayed.append(self._states.copy(state))
        # None is ever taken of the state before any event.
        self._texts = ["", *starmap(self._encode, enumerate(self.replayed[1:], 1))]

    def snapshot_at(self, version: int) -> None:
        """Go on from a snapshot at `version` to the last event."""
        try:
            state = self._states.decode(self._texts[version])
        except ValueError as error:
            raise AssertionError(f"the snapshot at version {version} cannot be read: {error}") from error
        self._compare(version, version, state)
        for reached, event in enumerate(self._events[version:], version + 1):
            state.apply(self._copy(event))
            self._compare(version, reached, state)

    def _encode(self, version: int, state: Aggregate[Any, Any]) -> str:
        try:
            return self._states.encode(state)
        except ValueError as error:
            path = getattr(error, "path", "")
            where = f"{type(state).__name__}.{path}" if path else type(state).__name__
            raise AssertionError(f"the state at version {version} cannot be kept: {where}: {error}") from error

    def _compare(self, snapshot: int, version: int, state: Aggregate[Any, Any]) -> None:
        expected = self.replayed[version]
        # Their text as well, because equality leaves out a field with eq=False.
        if state == expected and self._states.encode(state) == self._texts[version]:
            return
        difference = "\n".join(ndiff(pformat(expected).splitlines(), pformat(state).splitlines()))
        raise AssertionError(
            f"version {version} is not the same from the snapshot at version {snapshot} (+) as without it (-):\n"
            f"{difference}"
        )
