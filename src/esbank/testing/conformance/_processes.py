"""Many processes at one store: what threads may rely on, they may too; one that is killed leaves nothing half done."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import json
import time
from collections import Counter
from functools import partial
from typing import ClassVar

import pytest

from esbank.errors import AlreadyRunning
from esbank.store import ANY_VERSION, NO_STREAM, EventStore, ViewStore
from esbank.testing.conformance._elsewhere import (
    PATIENCE,
    OpenStore,
    OtherProcess,
    append_all,
    append_for_ever,
    count_up,
    follow,
    hold,
    in_processes,
    look_and_append,
    race,
    repeat,
)
from esbank.testing.conformance._given import ACCOUNT, new_events

__all__ = ["Processes"]

RACERS = 2


class Processes:
    """Processes that share a store."""

    has_views: ClassVar[bool] = True
    is_shared_by_processes: ClassVar[bool] = False

    def open_elsewhere(self) -> OpenStore:
        """Say how another process opens the very store that `store` gave: something to be pickled, and then called."""
        raise NotImplementedError(
            "return something like partial(MyEventStore, path), or is_shared_by_processes = False"
        )

    @pytest.fixture
    def elsewhere(self, store: EventStore) -> OpenStore:  # noqa: ARG002  # it has to be there first
        """Give what opens the store in another process, if it can be shared."""
        if not self.is_shared_by_processes:
            pytest.skip("this store belongs to one process")
        return self.open_elsewhere()

    def test_processes_share_one_store_if_it_says_so(self, store: EventStore, elsewhere: OpenStore) -> None:
        (event,) = store.append(ACCOUNT, new_events(1), expected_version=0).events

        with OtherProcess(elsewhere, look_and_append) as other:
            assert other.identity() == store.identity
            other.begin()
            assert other.hear() == [str(event.event_id)]
            assert store.wait(after=event.position, timeout=PATIENCE / 6)
            assert other.hear() is None

        assert store.count() == 2

    def test_of_processes_that_race_one_wins_each_version(self, store: EventStore, elsewhere: OpenStore) -> None:
        won = in_processes(elsewhere, [partial(race, end=30)] * RACERS)

        assert sorted(version for versions in won for version in versions) == list(range(1, 31))
        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, 31))

    def test_processes_lose_and_double_no_append_and_one_that_follows_sees_all_in_order(
        self, store: EventStore, elsewhere: OpenStore
    ) -> None:
        entries = [[new_events(number % 3 + 1) for number in range(15)] for _ in range(2)]
        total = sum(len(events) for writer in entries for events in writer)
        writers = [partial(append_all, entries=writer) for writer in entries]

        *_, seen = in_processes(elsewhere, [*writers, partial(follow, total=total)])

        log = list(store.read_all())
        assert seen == [(event.position, str(event.event_id)) for event in log]
        assert [event.version for event in log] == list(range(1, total + 1))
        place = {event.event_id: index for index, event in enumerate(log)}
        assert len(place) == total
        for writer in entries:
            places = [place[event.event_id] for events in writer for event in events]
            assert places == sorted(places)
            for events in writer:
                first = place[events[0].event_id]
                assert [place[event.event_id] for event in events] == list(range(first, first + len(events)))

    def test_processes_that_repeat_the_same_append_get_the_same_result(
        self, store: EventStore, elsewhere: OpenStore
    ) -> None:
        events = new_events(2)

        told = in_processes(elsewhere, [partial(repeat, events=events)] * RACERS)

        assert told == [(2, store.head(), [str(event.event_id) for event in events])] * RACERS
        assert store.append(ACCOUNT, events, expected_version=NO_STREAM).position == store.head()
        assert store.count() == 2

    def test_a_process_that_is_killed_leaves_whole_appends_and_all_that_it_told(
        self, store: EventStore, elsewhere: OpenStore
    ) -> None:
        def stored() -> list[int]:
            numbers = Counter(json.loads(event.data)["number"] for event in store.read_all())
            assert set(numbers.values()) <= {3}, "an append is there in part"
            return list(numbers)

        with OtherProcess(elsewhere, append_for_ever) as other:
            other.identity()
            other.begin()
            told = [other.hear_after(stored) for _ in range(5)]
            assert stored()[:5] == told
            told += other.kill()

        assert told == list(range(1, len(told) + 1))
        assert stored() in (told, [*told, len(told) + 1])
        last = store.append(ACCOUNT, new_events(2), expected_version=ANY_VERSION).version
        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, last + 1))

    def test_a_transaction_on_views_excludes_writers_in_other_processes(
        self, store: EventStore, elsewhere: OpenStore
    ) -> None:
        views = self._views_of(store)
        with views.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 0 AS number")

        in_processes(elsewhere, [partial(count_up, times=10)] * 2)

        assert views.query("SELECT number FROM numbers") == [(20,)]

    def test_a_name_that_a_process_holds_is_free_once_it_is_killed(
        self, store: EventStore, elsewhere: OpenStore
    ) -> None:
        views = self._views_of(store)

        with OtherProcess(elsewhere, partial(hold, name="Balances")) as other:
            other.identity()
            other.begin()
            assert other.hear() == "held"
            with pytest.raises(AlreadyRunning), views.claim("Balances"):
                pass
            other.kill()

        deadline = time.monotonic() + PATIENCE / 6
        while True:
            try:
                with views.claim("Balances"):
                    return
            except AlreadyRunning:
                assert time.monotonic() < deadline

    def _views_of(self, store: EventStore) -> ViewStore:
        if not self.has_views:
            pytest.skip("this store keeps no views")
        assert isinstance(store, ViewStore)
        return store
