"""A view of what was appended, and the processes that keep it up to date."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from typing import ClassVar, Final

from attrs import define

from esbank.codec import EventRegistry
from esbank.errors import AlreadyRunning, StorageError
from esbank.events import EventEnvelope
from esbank.projection import ProjectionRunner, Projector, projects
from esbank.store import EventStore, Transaction
from esbank.testing.torture._plan import REGISTRY, Mark
from esbank.testing.torture._task import Task, open_task

__all__ = ["Fold", "Tally", "project", "runner_of"]

_BREATH: Final = 0.05
_REBUILT: Final = 0.5


class Tally(Projector):
    """What each stream has had: how many events, and a checksum that tells their order too."""

    registry: ClassVar[EventRegistry | None] = REGISTRY
    tables: ClassVar[Mapping[str, str]] = {
        "torture_tally": "(stream TEXT PRIMARY KEY, events BIGINT NOT NULL, checksum TEXT NOT NULL)"
    }

    @projects(Mark)
    def _marked(self, envelope: EventEnvelope[Mark], tx: Transaction) -> None:
        stream = str(envelope.stream)
        rows = tx.execute("SELECT events, checksum FROM {torture_tally} WHERE stream = :stream", {"stream": stream})
        fold = Fold(*rows[0]) if rows else Fold()
        fold.add(envelope.event_id.hex)
        tx.execute(
            "INSERT INTO {torture_tally} VALUES (:stream, :events, :checksum)"
            " ON CONFLICT (stream) DO UPDATE SET events = excluded.events, checksum = excluded.checksum",
            {"stream": stream, "events": fold.events, "checksum": fold.checksum},
        )


@define
class Fold:
    """A row of the view, as a fold of the events of its stream."""

    events: int = 0
    checksum: str = ""

    def add(self, event_id: str) -> None:
        """Take the next event."""
        self.events += 1
        self.checksum = hashlib.sha256(f"{self.checksum} {event_id}".encode()).hexdigest()


def runner_of(store: EventStore) -> ProjectionRunner:
    """Make a runner for the view."""
    return ProjectionRunner(store, [Tally()])


def project(task: Task, name: str, *, rebuilds: bool) -> None:
    """Keep the view up to date, as soon as nobody else does, until one is killed; perhaps rebuild it now and then."""
    with open_task(task, name) as store:
        runner = runner_of(store)
        while True:
            try:
                if rebuilds and random.random() < _REBUILT:  # noqa: S311 - chaos, not a secret
                    runner.rebuild()
                runner.run()
            except AlreadyRunning:
                time.sleep(_BREATH)
            except StorageError as error:
                task.complain(name, error)
                time.sleep(_BREATH)
