"""Hundreds of threads at one store, and dozens of stores at one file."""

from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import ConcurrencyError
from esbank.store import ANY_VERSION, NewEvent, StreamAppend, StreamId
from esbank.testing.conformance._given import in_threads
from esbank.verification import verify

SHARED = StreamId("Account", "shared")


def events(thread: int) -> list[NewEvent]:
    return [NewEvent("Deposited", str(thread)) for _ in range(2)]


def test_three_hundred_threads_may_use_one_store(path: Path) -> None:
    with SQLiteEventStore(path, durability="normal") as store:

        def work(thread: int) -> int:
            own = StreamId("Account", str(thread))
            store.append_many([StreamAppend(own, events(thread), 0), StreamAppend(SHARED, events(thread), ANY_VERSION)])
            with store.transaction() as tx:
                tx.append(own, events(thread), expected_version=2)
            return len(list(store.read(own)))

        assert in_threads([partial(work, thread) for thread in range(300)]) == [4] * 300
        shared = [int(event.data) for event in store.read(SHARED)]
        assert all(one == other for one, other in zip(shared[::2], shared[1::2], strict=True))
        assert Counter(shared) == dict.fromkeys(range(300), 2)
        found = verify(store)
        assert (found.ok, found.events, found.streams) == (True, 1_800, 301)


def test_fifty_threads_may_each_have_a_store_of_their_own_at_one_file(path: Path) -> None:
    SQLiteEventStore(path).close()

    def work(thread: int) -> int:
        conflicts = 0
        with SQLiteEventStore(path, durability="normal") as store:
            while True:
                try:
                    store.append(SHARED, events(thread), expected_version=store.version(SHARED))
                except ConcurrencyError:
                    conflicts += 1
                else:
                    return conflicts

    outcomes = in_threads([partial(work, thread) for thread in range(50)])

    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    with SQLiteEventStore(path) as store:
        log = list(store.read_all())
        assert [event.version for event in log] == list(range(1, 101))
        assert all(one.position < other.position for one, other in pairwise(log))
        assert all(one.data == other.data for one, other in zip(log[::2], log[1::2], strict=True))
        assert Counter(int(event.data) for event in log) == dict.fromkeys(range(50), 2)
        assert verify(store).ok
