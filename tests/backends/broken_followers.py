"""Stores that mislead those who follow them, and stores that do not end."""
# ruff: noqa: ANN401  # what is passed on as it came

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from broken_stores import A_MOMENT, Appends, Conditions, Results, caught_by

from esbank.backends.memory import MemoryEventStore
from esbank.errors import StoreClosed
from esbank.store import StoredEvent, StreamId, Subscription


@caught_by("test_an_append_ends_the_wait", "test_each_of_many_appends_ends_a_wait")
class LooksOnceInsteadOfWaiting(MemoryEventStore):
    """Whoever waits is told at once that there is nothing."""

    def wait(self, *, after: int | None, timeout: float) -> bool:  # noqa: ARG002
        return super().wait(after=after, timeout=0)


@caught_by("test_whoever_waits_in_vain_is_told", "test_an_append_that_fails_ends_no_wait")
class WakesForNothing(MemoryEventStore):
    """Whoever waits in vain is told that there is something."""

    def wait(self, *, after: int | None, timeout: float) -> bool:
        super().wait(after=after, timeout=timeout)
        return True


@caught_by("test_an_append_that_is_not_after_the_position_ends_no_wait")
class WakesForAnything(MemoryEventStore):
    """An append wakes whoever waits, also for what comes after a later position."""

    def wait(self, *, after: int | None, timeout: float) -> bool:
        return super().wait(after=min(after or 0, self.head() or 0), timeout=timeout)


@caught_by("test_each_of_many_appends_ends_a_wait")
class LosesWakeUps(MemoryEventStore):
    """An append between the look and the wait wakes nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = threading.Condition()

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results = super().append_many(appends, conditions=conditions)
        with self.woken:
            self.woken.notify_all()
        return results

    def wait(self, *, after: int | None, timeout: float) -> bool:
        if super().wait(after=after, timeout=0):
            return True
        time.sleep(A_MOMENT)
        with self.woken:
            return self.woken.wait(min(timeout, 20 * A_MOMENT))


@caught_by("test_who_follows_the_log_sees_every_event_once_and_in_order")
class ShowsLateWhatItNumberedEarly(MemoryEventStore):
    """A position is given before the commit, so that what becomes visible later has an earlier one."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.uncommitted: set[int] = set()

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        with self.lock:
            results = super().append_many(appends, conditions=conditions)
            mine = {event.position for result in results for event in result.events}
            self.uncommitted |= mine
        time.sleep(A_MOMENT * (results[0].version % 3) / 5)
        with self.lock:
            self.uncommitted -= mine
        return results

    def read_all(self, *, limit: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        with self.lock:
            events = [event for event in super().read_all(**rest) if event.position not in self.uncommitted]
        return iter(events[:limit])


@caught_by("test_a_subscription_keeps_to_its_filters", "test_a_filter_without_anything_in_it_keeps_nothing")
class FollowsEverything(MemoryEventStore):
    """A subscription ignores its filters."""

    def subscribe(
        self,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,  # noqa: ARG002
        types: Iterable[str] | None = None,  # noqa: ARG002
    ) -> Subscription:
        return super().subscribe(after=after)


@caught_by("test_a_subscription_begins_after_a_position", "test_a_subscription_takes_up_where_another_was")
class FollowsFromTheBeginning(MemoryEventStore):
    """A subscription begins with the first event, wherever it is to begin."""

    def subscribe(self, *, after: int | None = None, **filters: Any) -> Subscription:  # noqa: ARG002
        return super().subscribe(**filters)


# The end of a store


@caught_by(
    "test_a_closed_store_says_so",
    "test_nobody_follows_a_closed_store",
    "test_a_store_closes_itself_at_the_end_of_its_block",
)
class GoesOnAfterItsEnd(MemoryEventStore):
    """A store that was closed still answers."""

    def close(self) -> None:
        pass


@caught_by("test_a_closed_store_says_so")
class ReadsNothingAfterItsEnd(MemoryEventStore):
    """A store that was closed is empty."""

    def read(self, stream: StreamId, **bounds: Any) -> Iterator[StoredEvent]:
        with suppress(StoreClosed):
            return super().read(stream, **bounds)
        return iter(())


@caught_by("test_a_closed_store_says_so", "test_a_store_closes_itself_when_its_block_raises")
class EndsWithAnErrorOfItsOwn(MemoryEventStore):
    """A store that was closed says so by another error."""

    def version(self, stream: StreamId) -> int:
        try:
            return super().version(stream)
        except StoreClosed as error:
            raise RuntimeError("Cannot operate on a closed database.") from error


@caught_by("test_a_store_may_be_closed_twice")
class EndsOnce(MemoryEventStore):
    """A store that was closed cannot be closed again."""

    def close(self) -> None:
        if self._closed:
            raise StoreClosed("EndsOnce")
        super().close()


@caught_by("test_a_store_has_an_identity_that_stays")
class IsNeverTheSame(MemoryEventStore):
    """A store has another identity each time it is asked."""

    @property
    def identity(self) -> str:
        return uuid4().hex
