"""Appends: new ones, repeats, and such as are neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Final, TypeAlias

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, multiple, rule

from esbank.errors import ConcurrencyError, DuplicateEvent
from esbank.store import (
    ANY_VERSION,
    STREAM_EXISTS,
    AppendResult,
    ExpectedVersion,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    event_digest,
)
from esbank.testing.state_machine._store import CATEGORIES, CONVERSATIONS, EVENT, STREAM, StoreMachine

__all__ = ["PARTS", "Appends", "Part", "as_appends"]

Part: TypeAlias = tuple[StreamId, list[NewEvent], ExpectedVersion]
"""One stream's part of an append to several."""


@frozen
class Append:
    """An append that was stored, to be repeated."""

    appends: tuple[StreamAppend, ...]
    conditions: tuple[StreamCondition, ...] = ()


APPEND: Final[Bundle[Append]] = Bundle("append")
EXPECTED: Final = st.just(ANY_VERSION) | st.sampled_from((ANY_VERSION, STREAM_EXISTS, 0, 1, 2, 3))
EVENTS: Final = st.lists(EVENT, min_size=1, max_size=3, unique_by=attrgetter("data"))
PARTS: Final = st.lists(st.tuples(STREAM, EVENTS, EXPECTED), min_size=1, max_size=3, unique_by=itemgetter(0))
CONDITIONS: Final = st.lists(st.tuples(STREAM, EXPECTED), max_size=2, unique_by=itemgetter(0))


class Appends(StoreMachine):
    """``EventStore.append`` and ``append_many``."""

    @rule(target=APPEND, stream=STREAM, events=EVENTS, expected_version=EXPECTED)
    def append(
        self, stream: StreamId, events: list[NewEvent], expected_version: ExpectedVersion
    ) -> MultipleResults[Append]:
        """Append to one stream."""
        append = Append((StreamAppend(stream, tuple(events), expected_version),))
        return self._append(append, lambda: [self.store.append(stream, events, expected_version=expected_version)])

    @rule(target=APPEND, appends=PARTS, conditions=CONDITIONS)
    def append_many(
        self, appends: list[Part], conditions: list[tuple[StreamId, ExpectedVersion]]
    ) -> MultipleResults[Append]:
        """Append to several streams, under conditions on others."""
        return self._append_many(as_appends(appends), tuple(StreamCondition(*one) for one in conditions))

    @rule(append=APPEND)
    def repeat(self, append: Append) -> None:
        """Append the very same again."""
        self._append_many(append.appends, append.conditions)

    @rule(target=APPEND, append=APPEND)
    def repeat_for_the_first_stream_only(self, append: Append) -> MultipleResults[Append]:
        """Append a part of the same again, or all of it if it was for one stream."""
        return self._append_many(append.appends[:1])

    def check_append(
        self,
        appends: Sequence[StreamAppend],
        conditions: Sequence[StreamCondition],
        call: Callable[[], Sequence[AppendResult]],
    ) -> bool:
        """Do an append, which must end as the model says; tell whether it has stored anything."""
        first = self.model.first_results(appends)
        refusals = [_tell(error) for error in self.model.refusals(appends, conditions)]
        wanted = " or ".join(refusals) or ("with its first result" if first else "without an error")
        results: tuple[AppendResult, ...] = ()
        refusal: ConcurrencyError | DuplicateEvent | None = None
        try:
            results = tuple(call())
        except (ConcurrencyError, DuplicateEvent) as error:
            refusal = error
        ended = "" if refusal is None else _tell(refusal)
        if ended not in (refusals or [""]):
            self.fail(f"the append must end {wanted}, not {ended or f'with {results}'}", refusal)
        if first is not None:
            self.expect("the result of an append that comes again", results, first)
            self.expect_events("an append that comes again", _events(results), _events(first))
        elif not refusals:
            self._check_stored(appends, results)
            self.model.add(appends, results)
        self.check_log()
        return not refusals and first is None

    def check_log(self) -> None:
        """Compare what is stored, and all that the store says about it, with the model."""
        store, model = self.store, self.model
        self.expect_events("the log", list(store.read_all()), model.log)
        self.expect("the head", store.head(), model.head())
        for number in range(len(model.log) + 2):
            after = self.position_after(number)
            self.expect(f"the count after {number} events", store.count(after=after), len(model.read_all(after=after)))
        for stream in self.streams:
            self.expect(f"the version of {stream}", store.version(stream), model.version(stream))
            for event in self.events:
                found, expected = store.find(stream, event.event_id), model.find(stream, event.event_id)
                self.expect(f"what is found of {event.event_id} in {stream}", found, expected)
        for category in CATEGORIES:
            self.expect(f"the streams of {category}", list(store.streams(category)), model.streams(category))
        for conversation in CONVERSATIONS.values():
            read = list(store.read_correlated(conversation))
            self.expect_events(f"the conversation {conversation}", read, model.read_correlated(conversation))

    def _append_many(
        self, appends: tuple[StreamAppend, ...], conditions: tuple[StreamCondition, ...] = ()
    ) -> MultipleResults[Append]:
        return self._append(Append(appends, conditions), lambda: self.store.append_many(appends, conditions=conditions))

    def _append(self, append: Append, call: Callable[[], Sequence[AppendResult]]) -> MultipleResults[Append]:
        streams = [one.stream for one in append.appends] + [one.stream for one in append.conditions]
        if len(set(streams)) < len(streams):
            self.expect_error("an append that names a stream twice", ValueError, call)
            self.check_log()
            return multiple()
        return multiple(append) if self.check_append(append.appends, append.conditions, call) else multiple()

    def _check_stored(self, appends: Sequence[StreamAppend], results: Sequence[AppendResult]) -> None:
        """Compare what a store has returned for a new append with what was given to it."""
        stored = _events(results)
        self.expect("what was stored", list(map(_place, stored)), self.model.places(appends))
        last = [result.events[-1] for result in results]
        ends = [AppendResult(end.stream, end.version, end.position) for end in last]
        self.expect("the results", list(results), ends)
        for before, event in pairwise([*self.model.log[-1:], *stored]):
            if event.position <= before.position or event.recorded_at < before.recorded_at:
                self.fail(f"{event} does not come after {before}")
        digests = {event.stream: event.digest for event in self.model.log}
        for event in stored:
            if event.digest is not None:
                self.expect(f"the digest of {event}", event.digest, event_digest(event, digests.get(event.stream)))
            digests[event.stream] = event.digest


def as_appends(parts: Sequence[Part]) -> tuple[StreamAppend, ...]:
    """Make what a store takes of what a program says."""
    return tuple(StreamAppend(stream, tuple(events), expected) for stream, events, expected in parts)


def _events(results: Sequence[AppendResult]) -> list[StoredEvent]:
    return [event for result in results for event in result.events]


def _place(stored: StoredEvent) -> tuple[StreamId, int, NewEvent]:
    event = NewEvent(
        stored.type,
        stored.data,
        event_id=stored.event_id,
        schema_version=stored.schema_version,
        metadata=stored.metadata,
    )
    return stored.stream, stored.version, event


def _tell(error: ConcurrencyError | DuplicateEvent) -> str:
    data = ", ".join(f"{name} {getattr(error, name)}" for name in error.__match_args__)
    return f"with {type(error).__name__} ({data})"
