"""Reading on: how much there is to read, waiting for more, and iterators that do not end at the end of the log."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import pytest

from esbank.errors import ConcurrencyError, StoreClosed
from esbank.store import ANY_VERSION, EventStore, StoredEvent, StreamAppend, StreamId, Subscription, ViewStore
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_event, new_events

__all__ = ["Subscriptions"]

LONG = 15.0
"""Longer than anything here takes."""
A_MOMENT = 0.1

CALLS: dict[str, Callable[[EventStore, int], object]] = {
    "wait": lambda store, after: store.wait(after=after, timeout=0),
    "count": lambda store, after: store.count(after=after),
    "subscribe": lambda store, after: store.subscribe(after=after),
}


def append(store: EventStore, stream: StreamId = ACCOUNT, count: int = 1) -> int:
    """Append some events; return the position of the last one."""
    return store.append(stream, new_events(count), expected_version=ANY_VERSION).position


@contextmanager
def soon(action: Callable[[], object]) -> Generator[None]:
    """Do something in another thread, when the block will have begun to wait."""
    timer = threading.Timer(A_MOMENT, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


class Subscriptions:
    """``EventStore.count``, ``wait`` and ``subscribe``."""

    has_views: ClassVar[bool] = True

    # How much there is

    def test_an_empty_store_has_nothing_to_count(self, store: EventStore) -> None:
        assert store.count() == 0
        assert store.count(after=0) == 0
        assert store.count(after=10**15) == 0

    def test_the_events_after_a_position_are_counted(self, store: EventStore) -> None:
        for stream in (ACCOUNT, OTHER, ACCOUNT):
            append(store, stream, 2)
        positions = [event.position for event in store.read_all()]

        assert store.count() == store.count(after=None) == 6
        assert [store.count(after=position) for position in positions] == [5, 4, 3, 2, 1, 0]
        assert store.count(after=positions[-1] + 10**9) == 0

    def test_what_is_appended_at_once_is_counted_at_once(self, store: EventStore) -> None:
        done = threading.Event()

        def write() -> set[int]:
            try:
                for _ in range(100):
                    store.append_many([StreamAppend(stream, new_events(3), ANY_VERSION) for stream in (ACCOUNT, OTHER)])
            finally:
                done.set()
            return {0}

        def count() -> set[int]:
            torn = {0}
            while not done.is_set():
                torn.add(store.count() % 6)
            return torn

        assert in_threads([write, count, count]) == [{0}] * 3

    # Waiting

    def test_whoever_waits_for_what_is_there_need_not_wait(self, store: EventStore) -> None:
        first = append(store)
        append(store)

        assert store.wait(after=None, timeout=LONG)
        assert store.wait(after=0, timeout=0)
        assert store.wait(after=first, timeout=-1)

    @pytest.mark.parametrize("timeout", [-1, 0, A_MOMENT])
    def test_whoever_waits_in_vain_is_told(self, store: EventStore, timeout: float) -> None:
        assert not store.wait(after=None, timeout=timeout)
        last = append(store, count=3)

        assert not store.wait(after=last, timeout=timeout)

    @pytest.mark.parametrize("timeout", [LONG, math.inf])
    def test_an_append_ends_the_wait(self, store: EventStore, timeout: float) -> None:
        last = append(store)
        began = time.monotonic()

        with soon(partial(append, store)):
            assert store.wait(after=last, timeout=timeout)

        assert time.monotonic() - began < LONG / 2

    def test_an_append_ends_every_wait(self, store: EventStore) -> None:
        last = append(store)

        def append_then_wait() -> bool:
            append(store)
            return store.wait(after=last, timeout=0)

        waits: list[Callable[[], bool]] = [partial(store.wait, after=last, timeout=LONG)] * 8
        assert in_threads([*waits, append_then_wait]) == [True] * 9

    def test_each_of_many_appends_ends_a_wait(self, store: EventStore) -> None:
        is_wanted = threading.Semaphore()

        def follow() -> None:
            position = None
            try:
                for _ in range(100):
                    assert store.wait(after=position, timeout=LONG)
                    position = next(store.read_all(after=position)).position
                    is_wanted.release()
            finally:
                is_wanted.release(100)

        def append_each() -> None:
            for _ in range(100):
                is_wanted.acquire()
                append(store)

        assert in_threads([follow, append_each]) == [None, None]

    def test_an_append_that_fails_ends_no_wait(self, store: EventStore) -> None:
        last = append(store)

        def fail() -> None:
            with pytest.raises(ConcurrencyError):
                store.append(ACCOUNT, [new_event()], expected_version=7)

        with soon(fail):
            assert not store.wait(after=last, timeout=3 * A_MOMENT)

    def test_an_append_that_is_not_after_the_position_ends_no_wait(self, store: EventStore) -> None:
        last = append(store)

        with soon(partial(append, store)):
            assert not store.wait(after=last + 10**9, timeout=3 * A_MOMENT)

    def test_closing_the_store_ends_the_wait(self, store: EventStore) -> None:
        with soon(store.close), pytest.raises(StoreClosed):
            store.wait(after=None, timeout=LONG)

    def test_one_may_wait_beside_and_inside_a_transaction(self, store: EventStore) -> None:
        views = self._views_of(store)
        first = append(store)

        with views.view_transaction():
            assert store.wait(after=None, timeout=LONG)
            assert not store.wait(after=first, timeout=A_MOMENT)
            assert in_threads([partial(store.wait, after=first, timeout=A_MOMENT)]) == [False]
            assert store.count() == 1

    def test_the_end_of_a_transaction_on_views_is_no_event(self, store: EventStore) -> None:
        views = self._views_of(store)
        last = append(store)

        def change() -> None:
            with views.view_transaction() as tx:
                tx.execute("CREATE TABLE numbers (number INTEGER)")

        with soon(change):
            assert not store.wait(after=last, timeout=3 * A_MOMENT)

    # Subscriptions

    def test_a_subscription_reads_what_is_there_and_then_what_comes(self, store: EventStore) -> None:
        append(store, ACCOUNT, 2)
        append(store, OTHER, 1)

        with store.subscribe() as subscription:
            there = [next(subscription) for _ in range(3)]
            with soon(partial(append, store, OTHER, 2)):
                came = [next(subscription) for _ in range(2)]

        assert there + came == list(store.read_all())

    def test_a_subscription_begins_after_a_position(self, store: EventStore) -> None:
        first = append(store)
        second = append(store)

        with store.subscribe(after=first) as subscription:
            assert subscription.position == first
            assert next(subscription).position == subscription.position == second

    def test_a_subscription_that_begins_beyond_the_end_waits_for_what_is_after_it(self, store: EventStore) -> None:
        last = append(store)

        with store.subscribe(after=last + 10**9) as subscription, soon(subscription.close):
            append(store)
            assert list(subscription) == []
            assert subscription.position == last + 10**9

    def test_a_subscription_reads_on_through_a_long_log(self, store: EventStore) -> None:
        for number in range(5):
            append(store, StreamId("Account", str(number)), 500)

        with store.subscribe() as subscription:
            read = [next(subscription) for _ in range(2_500)]

        assert read == list(store.read_all())

    @pytest.mark.parametrize("once", [tuple, iter], ids=["several", "once"])
    def test_a_subscription_keeps_to_its_filters(
        self, store: EventStore, once: Callable[[list[str]], Iterable[str]]
    ) -> None:
        kept: list[StoredEvent] = []

        with store.subscribe(categories=once(["Account"]), types=once(["Deposited", "Noted"])) as subscription:
            for round_ in range(3):
                for category in ("Account", "Basket"):
                    events = [new_event(round_, type=name) for name in ("Deposited", "Withdrawn", "Noted")]
                    store.append(StreamId(category, "1"), events, expected_version=ANY_VERSION)
                kept += [next(subscription) for _ in range(2)]

        assert kept == list(store.read_all(categories=["Account"], types=["Deposited", "Noted"]))
        assert len(kept) == 6

    def test_a_filter_without_anything_in_it_keeps_nothing(self, store: EventStore) -> None:
        append(store)

        with store.subscribe(types=()) as subscription, soon(subscription.close):
            assert list(subscription) == []

    def test_the_position_moves_past_what_the_filters_leave_out(self, store: EventStore) -> None:
        there = append(store, count=3)
        subscription = store.subscribe(types=["Opened"])

        def read() -> list[StoredEvent]:
            return list(subscription)

        def watch() -> list[StoredEvent]:
            deadline = time.monotonic() + LONG
            with subscription:
                for number in range(3):
                    last = append(store) if number else there
                    while subscription.position != last:
                        assert time.monotonic() < deadline, subscription.position
                        time.sleep(0.001)
            return []

        assert in_threads([read, watch]) == [[], []]

    def test_a_subscription_takes_up_where_another_was(self, store: EventStore) -> None:
        read: list[StoredEvent] = []
        position: int | None = None
        for number in range(6):
            append(store, count=number % 3 + 1)
            with store.subscribe(after=position) as subscription:
                read.append(next(subscription))
                position = subscription.position
        with store.subscribe(after=position) as subscription:
            read += [next(subscription) for _ in range(6)]

        assert read == list(store.read_all())

    def test_a_loop_over_a_subscription_may_be_left_and_taken_up(self, store: EventStore) -> None:
        append(store, count=4)
        read: list[StoredEvent] = []

        with store.subscribe() as subscription:
            for most in (1, 3, 4):
                for event in subscription:
                    read.append(event)
                    if len(read) == most:
                        break

        assert read == list(store.read_all())

    def test_a_subscription_ends_when_another_thread_closes_it(self, store: EventStore) -> None:
        append(store)
        subscription = store.subscribe()

        with soon(subscription.close):
            assert [event.version for event in subscription] == [1]
        append(store)
        assert list(subscription) == []

    def test_a_subscription_that_was_closed_in_its_loop_ends_there(self, store: EventStore) -> None:
        append(store, count=3)
        read: list[int] = []

        with store.subscribe() as subscription:
            for event in subscription:
                read.append(event.version)
                subscription.close()
                subscription.close()

        assert read == [1]
        assert subscription.position == next(store.read_all()).position

    def test_a_subscription_ends_with_its_block(self, store: EventStore) -> None:
        append(store)

        with store.subscribe() as subscription:
            pass

        assert list(subscription) == []

    def test_a_subscription_ends_when_the_store_is_closed(self, store: EventStore) -> None:
        append(store, count=2)
        waiting, reading = store.subscribe(), store.subscribe()
        next(reading)

        with soon(store.close):
            assert len(list(waiting)) == 2

        assert len(list(reading)) <= 1  # what was on its way
        assert list(waiting) == list(reading) == []

    def test_subscriptions_miss_and_repeat_nothing_while_many_write(self, store: EventStore) -> None:
        writers, batches = 4, 30
        filtered = store.subscribe(categories=["Left"], types=["Deposited"])
        subscriptions = [store.subscribe(), store.subscribe(), filtered]
        last = StreamId("Left", "last")

        def write(writer: int) -> None:
            for number in range(batches):
                streams = [StreamId(category, str((writer + number) % 3)) for category in ("Left", "Right")]
                store.append_many([StreamAppend(stream, new_events(number % 3 + 1), ANY_VERSION) for stream in streams])

        def write_last() -> None:
            try:
                outcomes = in_threads([partial(write, writer) for writer in range(writers)])
                assert outcomes == [None] * writers
            finally:
                append(store, last)

        def follow(subscription: Subscription) -> list[StoredEvent]:
            read: list[StoredEvent] = []
            with subscription:
                for event in subscription:
                    read.append(event)
                    if event.stream == last:
                        break
            return read

        tasks: list[Callable[[], list[StoredEvent] | None]] = [write_last]
        tasks += [partial(follow, subscription) for subscription in subscriptions]
        wrote, *read = in_threads(tasks)

        assert wrote is None
        events = list(store.read_all())
        assert len(events) == store.count() == writers * batches * 4 + 1
        assert read == [events, events, [event for event in events if event.stream.category == "Left"]]

    # What makes no sense

    @pytest.mark.parametrize("after", [-1, 2**63, 1.5, 0.0, True, False, "", "1"], ids=repr)
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_a_position_that_is_none_is_refused(
        self, store: EventStore, call: Callable[[EventStore, object], object], after: object
    ) -> None:
        append(store)

        with pytest.raises(ValueError, match="after"):
            call(store, after)

    def test_one_text_is_no_filter(self, store: EventStore) -> None:
        with pytest.raises(TypeError, match="as several"):
            store.subscribe(categories="Account")
        with pytest.raises(TypeError, match="as several"):
            store.subscribe(types="Deposited")

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_nobody_follows_a_closed_store(self, store: EventStore, call: Callable[[EventStore, int], object]) -> None:
        append(store)
        store.close()

        with pytest.raises(StoreClosed):
            call(store, 0)

    def _views_of(self, store: EventStore) -> ViewStore:
        if not self.has_views:
            pytest.skip("this store keeps no views")
        assert isinstance(store, ViewStore)
        return store
