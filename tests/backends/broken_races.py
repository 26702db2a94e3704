"""Stores that are sound as long as one thread uses them."""

import threading
import time
from contextlib import ExitStack

from broken_stores import A_MOMENT, Appends, Conditions, Events, Results, caught_by, check
from msgspec.structs import replace

from esbank.backends.memory import MemoryEventStore
from esbank.errors import DuplicateEvent
from esbank.store import ANY_VERSION, AppendResult, ExpectedVersion, StreamId


@caught_by("test_one_of_many_racers_at_the_same_version_wins")
class ChecksBeforeItLocks(MemoryEventStore):
    """Between the version check and the insert, another writer gets in."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        check(self, appends)
        time.sleep(A_MOMENT)
        hurried = [replace(append, expected_version=ANY_VERSION) for append in appends]
        return super().append_many(hurried, conditions=conditions)


@caught_by("test_of_two_appends_that_exclude_each_other_one_happens")
class ChecksConditionsBeforeItLocks(MemoryEventStore):
    """Between the check of a condition and the insert, another writer gets in."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        check(self, conditions)
        time.sleep(A_MOMENT)
        return super().append_many(appends)


@caught_by("test_many_who_repeat_the_same_append_get_the_same_result")
class LooksForRepeatsBeforeItLocks(MemoryEventStore):
    """Of repeats that come at the same time, each is stored or refused."""

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> AppendResult:
        is_new = self.find(stream, events[0].event_id) is None
        time.sleep(A_MOMENT)
        if is_new and self.find(stream, events[0].event_id) is not None:
            raise DuplicateEvent(stream, events[0].event_id)
        return super().append(stream, events, expected_version=expected_version)


@caught_by("test_no_append_is_lost_when_many_append_to_one_stream")
class LosesWhatItAcknowledged(MemoryEventStore):
    """Of two appends at the same time, one is told and not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.appending = 0

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        self.appending += 1
        time.sleep(A_MOMENT / 10)
        is_alone = self.appending == 1
        try:
            if is_alone:
                return super().append_many(appends, conditions=conditions)
            return tuple(AppendResult(append.stream, len(append.events), 1) for append in appends)
        finally:
            self.appending -= 1


@caught_by("test_what_is_refused_is_never_seen")
class ShowsWhatItWillRefuse(MemoryEventStore):
    """Events are seen before their version is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.unchecked = 0

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        self.unchecked = sum(len(append.events) for append in appends)
        time.sleep(A_MOMENT / 10)
        self.unchecked = 0
        return super().append_many(appends, conditions=conditions)

    def count(self, *, after: int | None = None) -> int:
        return super().count(after=after) + self.unchecked


@caught_by("test_what_was_appended_is_seen_by_every_thread_at_once")
class LagsBehindItsWriter(MemoryEventStore):
    """Who appended sees it at once, and everybody else a moment later."""

    def __init__(self) -> None:
        super().__init__()
        self.before: int | None = None
        self.writer = 0
        self.at = 0.0

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        self.before = super().head()
        self.writer = threading.get_ident()
        results = super().append_many(appends, conditions=conditions)
        self.at = time.monotonic()
        return results

    def head(self) -> int | None:
        lags = threading.get_ident() != self.writer and time.monotonic() < self.at + 20 * A_MOMENT
        return self.before if lags else super().head()


@caught_by("test_appends_to_the_same_streams_in_different_orders_do_not_block_each_other")
class LocksStreamsInTheOrderGiven(MemoryEventStore):
    """Streams are locked in the order given, so that two writers wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: dict[StreamId, threading.Lock] = {}

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        with ExitStack() as stack:
            for append in appends:
                lock = self.locks.setdefault(append.stream, threading.Lock())
                if not lock.acquire(timeout=100 * A_MOMENT):
                    raise TimeoutError("a deadlock")
                stack.callback(lock.release)
                time.sleep(A_MOMENT)
            return super().append_many(appends, conditions=conditions)
