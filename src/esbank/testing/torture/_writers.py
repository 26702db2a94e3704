"""A process of writers: threads that share a store, race for the same streams, and put down what they are told."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from esbank.errors import ConcurrencyError, StorageError
from esbank.store import AppendResult, EventStore, StreamAppend, StreamCondition, StreamId, TransactionalStore
from esbank.testing.torture._journal import Answered, Began, Conflicted, Journal, Looked, Unanswered
from esbank.testing.torture._plan import Name, Plan, Way, make_plan
from esbank.testing.torture._task import Task, open_task

__all__ = ["CREATE_ROWS", "THREADS", "write"]

THREADS: Final = 3
CREATE_ROWS: Final = "CREATE TABLE IF NOT EXISTS torture_rows (event_id TEXT PRIMARY KEY)"
_INSERT_ROW: Final = "INSERT INTO torture_rows VALUES (:event_id) ON CONFLICT DO NOTHING"

_REMEMBERED: Final = 50
_REPEATED: Final = 0.05


def write(task: Task, process: int) -> None:
    """Append until the time is up."""
    with open_task(task, f"writers-{process}") as store:
        names = range(process * THREADS, (process + 1) * THREADS)
        threads = [threading.Thread(target=partial(_run, task, store, writer), daemon=True) for writer in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _run(task: Task, store: EventStore, writer: int) -> None:
    name = f"writer-{writer}"
    with task.telling_why(name), Journal(task.record(name)) as journal:
        _Writer(task, store, writer, journal).run()


class _Writer:
    """One thread that appends."""

    def __init__(self, task: Task, store: EventStore, writer: int, journal: Journal) -> None:
        self._task = task
        self._store = store
        self._writer = writer
        self._journal = journal
        self._done: deque[Began] = deque(maxlen=_REMEMBERED)

    def run(self) -> None:
        unfinished = self._journal.unfinished
        if unfinished is not None:
            self._append(self._plan(unfinished.number), unfinished)
        number = self._journal.next_number
        while not self._task.is_over:
            plan = self._plan(number)
            begun = Began(number, 0, [self._look(stream) for stream in plan.streams])
            if self._append(plan, begun):
                self._done.append(begun)
            if self._done and random.random() < _REPEATED:  # noqa: S311 - chaos, not a secret
                again = random.choice(self._done)  # noqa: S311
                self._append(self._plan(again.number), again)
            number += 1

    def _plan(self, number: int) -> Plan:
        return make_plan(self._task.seed, Name(self._writer, number), transactions=self._task.transactions)

    def _look(self, stream: StreamId) -> int:
        """Read the version of a stream, in one of two ways."""
        while True:
            begun = time.monotonic_ns()
            try:
                if random.random() < 0.5:  # noqa: PLR2004, S311 - half of them
                    version = self._store.version(stream)
                else:
                    last = next(self._store.read(stream, limit=1, backwards=True), None)
                    version = 0 if last is None else last.version
            except StorageError as error:
                self._task.complain(f"writer-{self._writer}", error)
                self._task.rest(error)
            else:
                self._journal.write(Looked(str(stream), version, (begun, time.monotonic_ns())))
                return version

    def _append(self, plan: Plan, begun: Began) -> bool:
        """Append until there is an answer; tell whether it is stored."""
        number = begun.number
        while True:
            at = time.monotonic_ns()
            self._journal.write(Began(number, at, begun.seen))
            try:
                results = _make(self._store, plan, begun.seen)
            except ConcurrencyError as error:
                times = at, time.monotonic_ns()
                self._journal.write(Conflicted(number, times, str(error.stream), str(error.expected), error.actual))
                return False
            except StorageError as error:
                self._journal.write(Unanswered(number, (at, time.monotonic_ns()), repr(error)))
                self._task.rest(error)
            else:
                times = at, time.monotonic_ns()
                versions, positions = [one.version for one in results], [one.position for one in results]
                self._journal.write(Answered(number, times, versions, positions))
                return True


def _make(store: EventStore, plan: Plan, seen: Sequence[int]) -> Sequence[AppendResult]:
    """Make an append in the way that was planned."""
    parts = list(zip(plan.parts, seen, strict=False))  # what a condition has seen comes last
    if plan.way is Way.TRANSACTION and isinstance(store, TransactionalStore):
        with store.transaction() as tx:
            tx.executemany(_INSERT_ROW, [{"event_id": str(new.event_id)} for _, new in plan.events])
            pending = [
                tx.append(part.stream, part.events, expected_version=part.expectation.version(version))
                for part, version in parts
            ]
        return [one.result for one in pending]
    if plan.way is Way.ALONE:
        ((part, version),) = parts
        return [store.append(part.stream, part.events, expected_version=part.expectation.version(version))]
    appends = [StreamAppend(part.stream, part.events, part.expectation.version(version)) for part, version in parts]
    conditions = [] if plan.condition is None else [StreamCondition(plan.condition, seen[-1])]
    return store.append_many(appends, conditions=conditions)
