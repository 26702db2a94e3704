"""Many threads at one store: one wins where only one can, nothing is lost, and who follows the log misses nothing."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from esbank.errors import ConcurrencyError
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    AppendResult,
    EventStore,
    ExpectedVersion,
    NewEvent,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_event, new_events

__all__ = ["Races"]

RACERS = 8


class Races:
    """Threads that share a store."""

    @pytest.mark.parametrize("version", [0, 3])
    def test_one_of_many_racers_at_the_same_version_wins(self, store: EventStore, version: int) -> None:
        if version:
            store.append(ACCOUNT, new_events(version), expected_version=0)
        entries = [new_events(2) for _ in range(RACERS)]

        outcomes = in_threads([partial(store.append, ACCOUNT, entry, expected_version=version) for entry in entries])

        losses = [outcome for outcome in outcomes if isinstance(outcome, ConcurrencyError)]
        (won,) = [outcome for outcome in outcomes if isinstance(outcome, AppendResult)]
        assert len(losses) == RACERS - 1, outcomes
        assert {(loss.stream, loss.expected, loss.actual) for loss in losses} == {(ACCOUNT, version, version + 2)}
        assert list(store.read(ACCOUNT, after=version)) == list(won.events)

    @pytest.mark.parametrize("expected", [NO_STREAM, ANY_VERSION])
    def test_many_who_repeat_the_same_append_get_the_same_result(
        self, store: EventStore, expected: ExpectedVersion
    ) -> None:
        events = new_events(3)

        outcomes = in_threads([partial(store.append, ACCOUNT, events, expected_version=expected)] * RACERS)

        assert [event.event_id for event in store.read_all()] == [event.event_id for event in events]
        assert outcomes == [outcomes[0]] * RACERS
        assert isinstance(outcomes[0], AppendResult)

    def test_no_append_is_lost_when_many_append_to_one_stream(self, store: EventStore) -> None:
        def appends(events: list[NewEvent]) -> None:
            for event in events:
                store.append(ACCOUNT, [event], expected_version=ANY_VERSION)

        entries = [new_events(10) for _ in range(RACERS)]

        assert in_threads([partial(appends, entry) for entry in entries]) == [None] * RACERS

        stored = list(store.read(ACCOUNT))
        assert [event.version for event in stored] == list(range(1, RACERS * 10 + 1))
        order = {event.event_id: event.version for event in stored}
        for entry in entries:
            versions = [order[event.event_id] for event in entry]
            assert versions == sorted(versions)

    def test_who_loses_and_tries_again_gets_through_in_the_end(self, store: EventStore) -> None:
        def append_at_the_end() -> int:
            conflicts = 0
            events = new_events(2)
            while True:
                try:
                    store.append(ACCOUNT, events, expected_version=store.version(ACCOUNT))
                except ConcurrencyError:
                    conflicts += 1
                else:
                    return conflicts

        outcomes = in_threads([append_at_the_end] * RACERS)

        assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, 2 * RACERS + 1))

    def test_appends_to_the_same_streams_in_different_orders_do_not_block_each_other(self, store: EventStore) -> None:
        def transfers(*streams: StreamId) -> None:
            for _ in range(10):
                store.append_many([StreamAppend(stream, new_events(1), ANY_VERSION) for stream in streams])

        outcomes = in_threads([partial(transfers, ACCOUNT, OTHER), partial(transfers, OTHER, ACCOUNT)] * 2)

        assert outcomes == [None] * 4
        for stream in (ACCOUNT, OTHER):
            assert [event.version for event in store.read(stream)] == list(range(1, 41))

    def test_of_two_appends_that_exclude_each_other_one_happens(self, store: EventStore) -> None:
        def book(seat: StreamId, unless: StreamId) -> None:
            store.append_many(
                [StreamAppend(seat, new_events(1), ANY_VERSION)], conditions=[StreamCondition(unless, NO_STREAM)]
            )

        for number in range(20):
            left, right = StreamId("Left", str(number)), StreamId("Right", str(number))

            outcomes = in_threads([partial(book, left, right), partial(book, right, left)])

            (loss,) = [outcome for outcome in outcomes if outcome is not None]
            assert isinstance(loss, ConcurrencyError), loss
            assert store.version(left) + store.version(right) == 1

    def test_what_is_appended_at_once_is_seen_at_once(self, store: EventStore) -> None:
        done = threading.Event()

        def write() -> None:
            try:
                for _ in range(60):
                    store.append_many([StreamAppend(stream, new_events(3), ANY_VERSION) for stream in (ACCOUNT, OTHER)])
            finally:
                done.set()

        def read() -> set[int]:
            torn: set[int] = set()
            while not done.is_set():
                torn.add(len(list(store.read(ACCOUNT))) % 3)
                torn.add(len(list(store.read_all())) % 6)
            return torn

        tasks: list[Callable[[], set[int] | None]] = [write, read, read]
        wrote, *torn = in_threads(tasks)

        assert wrote is None
        assert [outcome or {0} for outcome in torn] == [{0}, {0}]

    def test_what_was_appended_is_seen_by_every_thread_at_once(self, store: EventStore) -> None:
        for version in range(1, 21):
            result = store.append(ACCOUNT, new_events(1), expected_version=version - 1)

            def look(result: AppendResult = result) -> tuple[int, int | None, list[int], bool]:
                read = [event.position for event in store.read(ACCOUNT, after=result.version - 1)]
                followed = store.wait(after=result.position - 1, timeout=0)
                return store.version(ACCOUNT), store.head(), read, followed

            assert in_threads([look]) == [(version, result.position, [result.position], True)]

    def test_what_is_refused_is_never_seen(self, store: EventStore) -> None:
        store.append(OTHER, new_events(1), expected_version=0)
        done = threading.Event()

        def write() -> None:
            try:
                for _ in range(30):
                    appends = [StreamAppend(stream, new_events(2), NO_STREAM) for stream in (ACCOUNT, OTHER)]
                    with pytest.raises(ConcurrencyError):
                        store.append_many(appends)
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                assert [event.version for event in store.read_all()] == [1]
                assert list(store.read(ACCOUNT)) == []
                assert (store.version(ACCOUNT), store.count()) == (0, 1)

        assert in_threads([write, read, read]) == [None] * 3

    def test_who_follows_the_log_sees_every_event_once_and_in_order(self, store: EventStore) -> None:
        batches = 40
        writers = 4
        total = sum(number % 3 + 1 for number in range(batches)) * writers
        have_written = [threading.Event() for _ in range(writers)]

        def write(writer: int) -> None:
            try:
                for number in range(batches):
                    stream = StreamId("Account", str((writer + number) % 3))
                    events = [new_event(number) for _ in range(number % 3 + 1)]
                    store.append(stream, events, expected_version=ANY_VERSION)
            finally:
                have_written[writer].set()

        def follow(limit: int | None) -> list[StoredEvent]:
            seen: list[StoredEvent] = []
            while True:
                is_last = all(done.is_set() for done in have_written)
                page = list(store.read_all(after=seen[-1].position if seen else None, limit=limit))
                seen += page
                if seen:
                    head = store.head()
                    assert head is not None
                    assert head >= seen[-1].position
                if is_last and not page:
                    return seen

        tasks: list[Callable[[], list[StoredEvent] | None]] = [partial(write, writer) for writer in range(writers)]
        tasks += [partial(follow, None), partial(follow, 5)]
        outcomes = in_threads(tasks)

        assert outcomes[:writers] == [None] * writers
        events = list(store.read_all())
        assert len(events) == total
        assert outcomes[writers:] == [events, events]
