"""Stores that are sound as long as one process uses them."""

import os
import threading
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from uuid import UUID

from broken_stores import A_MOMENT, Appends, Conditions, Results, caught_by, check
from msgspec.structs import replace

from esbank.backends._claims import claim_in_process
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import DuplicateEvent
from esbank.store import ANY_VERSION, AppendResult


class MainProcess(SQLiteEventStore):
    """Knows which process made the file."""

    def __init__(self, path: Path) -> None:
        self.is_elsewhere = path.exists()
        super().__init__(path)


@caught_by("test_of_processes_that_race_one_wins_each_version")
class LocksItsOwnThreads(SQLiteEventStore):
    """A lock between the version check and the insert keeps off the threads of one process only."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.lock = threading.Lock()

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        with self.lock:
            check(self, appends)
            time.sleep(A_MOMENT)
            hurried = [replace(append, expected_version=ANY_VERSION) for append in appends]
            return super().append_many(hurried, conditions=conditions)


@caught_by("test_processes_that_repeat_the_same_append_get_the_same_result")
class RemembersItsOwnAppends(SQLiteEventStore):
    """A repeat is recognised by the process that appended first, and by no other."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.own: set[UUID] = set()

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        for append in appends:
            for event in append.events:
                if event.event_id not in self.own and self.find(append.stream, event.event_id):
                    raise DuplicateEvent(append.stream, event.event_id)
        results = super().append_many(appends, conditions=conditions)
        self.own.update(event.event_id for append in appends for event in append.events)
        return results


@caught_by("test_a_process_that_is_killed_leaves_whole_appends_and_all_that_it_told")
class CommitsEachEvent(SQLiteEventStore):
    """Each event of an append is committed by itself."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results: list[AppendResult] = []
        for append in appends:
            for event in append.events:
                results += super().append_many([replace(append, events=[event])], conditions=conditions)
                time.sleep(A_MOMENT)
        return (results[-1],)


@caught_by("test_a_process_that_is_killed_leaves_whole_appends_and_all_that_it_told")
class AnswersBeforeItCommits(MainProcess):
    """An append is told before it is committed."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        commit = partial(super().append_many, appends, conditions=conditions)
        if not self.is_elsewhere:
            return commit()
        threading.Timer(20 * A_MOMENT, commit).start()
        return ()


@caught_by("test_processes_share_one_store_if_it_says_so")
class HearsOnlyItself(SQLiteEventStore):
    """Whoever waits does not notice the appends of other processes."""

    last: int = 0

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results = super().append_many(appends, conditions=conditions)
        self.last = results[-1].position
        return results

    def wait(self, *, after: int | None, timeout: float) -> bool:
        time.sleep(min(timeout, 50 * A_MOMENT))
        return self.last > (after or 0)


@caught_by("test_processes_share_one_store_if_it_says_so")
class IsAnotherStoreElsewhere(SQLiteEventStore):
    """Each process has a store of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.with_suffix(f".{os.getpid()}"))


@caught_by("test_a_name_that_a_process_holds_is_free_once_it_is_killed")
class HoldsNamesInOneProcess(SQLiteEventStore):
    """A name that one process holds is free in another."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.held: set[str] = set()

    def claim(self, name: str) -> AbstractContextManager[None]:
        return claim_in_process(self.held, name)


@caught_by("test_a_process_that_is_killed_leaves_whole_appends_and_all_that_it_told")
class DiesElsewhere(MainProcess):
    """Another process that opens the store dies."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if self.is_elsewhere:
            os._exit(3)


@caught_by("test_a_process_that_is_killed_leaves_whole_appends_and_all_that_it_told")
class IsStuckElsewhere(MainProcess):
    """Another process that appends never comes back."""

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        if self.is_elsewhere:
            time.sleep(3600)
        return super().append_many(appends, conditions=conditions)
