"""Views that projectors keep in a store: each event takes effect once, and the checkpoint says which have."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import ClassVar

import pytest
from attrs import frozen

from esbank.errors import ProjectionError
from esbank.events import EventEnvelope
from esbank.projection import ProjectionRunner, Projector, projects
from esbank.store import ANY_VERSION, EventStore, Transaction, ViewStore
from esbank.testing.conformance._given import ACCOUNT, in_threads, new_events

__all__ = ["Checkpoints"]

SEEN = "SELECT position FROM seen_events ORDER BY position"
BOTH = "SELECT (SELECT max(position) FROM seen_events), (SELECT position FROM esbank_checkpoints)"


@frozen
class Deposited:
    """The event of which all that is given here is made."""

    number: int


class SeenEvents(Projector):
    """One row for each event; fails at one of them, after its row."""

    tables: ClassVar[Mapping[str, str]] = {"seen_events": "(position BIGINT NOT NULL)"}

    def __init__(self, fails_at: int = 0) -> None:
        self.fails_at = fails_at

    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None:
        tx.execute("INSERT INTO {seen_events} VALUES (:position)", {"position": envelope.position})
        if envelope.version == self.fails_at:
            raise LookupError


class Checkpoints:
    """``ViewStore``, under a ``ProjectionRunner``."""

    has_views: ClassVar[bool] = True

    @pytest.fixture
    def projected(self, store: EventStore) -> ViewStore:
        """Return the store as what keeps views of its own events."""
        if not self.has_views:
            pytest.skip("this store keeps no views")
        assert isinstance(store, ViewStore)
        return store

    def test_an_event_that_fails_leaves_no_trace_in_the_view(self, projected: ViewStore, store: EventStore) -> None:
        store.append(ACCOUNT, new_events(6), expected_version=0)
        positions = [(event.position,) for event in store.read_all()]
        failing = SeenEvents(fails_at=4)

        for _ in range(2):
            with pytest.raises(ProjectionError) as raised:
                ProjectionRunner(store, [failing]).catch_up()
            assert raised.value.version == failing.fails_at
            assert projected.query(SEEN) == positions[:3]
        failing.fails_at = 0
        ProjectionRunner(store, [failing]).catch_up()

        assert projected.query(SEEN) == positions

    def test_a_view_is_never_seen_without_its_checkpoint(self, projected: ViewStore, store: EventStore) -> None:
        runner = ProjectionRunner(store, [SeenEvents()])
        runner.catch_up()
        done = threading.Event()

        def keep_up() -> None:
            try:
                for _ in range(20):
                    store.append(ACCOUNT, new_events(2), expected_version=ANY_VERSION)
                    runner.catch_up()
            finally:
                done.set()

        def look() -> None:
            while not done.is_set():
                ((seen, checkpoint),) = projected.query(BOTH)
                assert seen == checkpoint

        assert in_threads([keep_up, look, look]) == [None] * 3
        assert projected.query(BOTH) == [(store.head(), store.head())]

    def test_each_event_takes_effect_once_however_many_runners_there_are(
        self, projected: ViewStore, store: EventStore
    ) -> None:
        ProjectionRunner(store, [SeenEvents()]).catch_up()

        def keep_up() -> None:
            runner = ProjectionRunner(store, [SeenEvents()])
            for _ in range(10):
                store.append(ACCOUNT, new_events(2), expected_version=ANY_VERSION)
                runner.catch_up()

        assert in_threads([keep_up] * 4) == [None] * 4
        assert projected.query(SEEN) == [(event.position,) for event in store.read_all()]
