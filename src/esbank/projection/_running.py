"""Running: rounds of catching up, and a rest between them until there is something to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from attrs import define

from esbank.errors import AlreadyRunning, CheckpointError, ProjectionError, StoreUnavailable, UnknownOutcome
from esbank.projection._failures import Failed, raise_first
from esbank.projection._follower import Follower
from esbank.projection._projector import Projector
from esbank.store import EventStore, ViewStore

__all__ = ["run_until"]

_log: Final = logging.getLogger("esbank.projection")
_BREATH: Final = 0.1
_LONGEST_REST: Final = 1.0
_LONGEST_OUTAGE_REST: Final = 5.0

CatchUp: TypeAlias = Callable[[Iterable[Follower], threading.Event], Mapping[Follower, Failed]]
SaveFailure: TypeAlias = Callable[[Follower, ProjectionError, bool], None]


def run_until(
    stop: threading.Event,
    store: EventStore,
    views: ViewStore,
    followers: Iterable[Follower],
    *,
    catch_up: CatchUp,
    save_failure: SaveFailure,
) -> None:
    """Keep followers at the end of the log; one that fails is tried again as its projector says, and then left alone.

    While a database cannot be reached, all of them wait until it can. Raises ``CheckpointError`` when a view does not
    belong to the store or is out of date.
    """
    attempts = {follower: _Attempts() for follower in followers}
    unavailable = 0
    while not stop.is_set():
        try:
            _go_round(stop, store, views, attempts, catch_up=catch_up, save_failure=save_failure)
            unavailable = 0
        except (StoreUnavailable, UnknownOutcome) as error:
            # A view and its checkpoint were committed together or not at all, so going on repeats nothing.
            unavailable += 1
            _log.warning("projectors wait for the database: %s", error)
            stop.wait(min(_BREATH * 2**unavailable, _LONGEST_OUTAGE_REST))


def _go_round(
    stop: threading.Event,
    store: EventStore,
    views: ViewStore,
    attempts: Mapping[Follower, _Attempts],
    *,
    catch_up: CatchUp,
    save_failure: SaveFailure,
) -> None:
    """Let all followers that are due catch up once, and rest."""
    head = store.head()
    _revive(views, attempts)
    now = time.monotonic()
    due = [follower for follower, attempt in attempts.items() if attempt.due_at <= now]
    failures = catch_up(due, stop)
    for follower in due:
        error = failures.get(follower)
        if error is None:
            attempts[follower].succeed()
        elif isinstance(error, ProjectionError):
            has_stopped = attempts[follower].fail(follower.projector, error.position)
            save_failure(follower, error, has_stopped)
            _tell(store, follower, error, has_stopped=has_stopped)
        elif isinstance(error, AlreadyRunning):
            attempts[follower].due_at = now + _BREATH  # to see that nothing was left untold
    raise_first(due, failures, CheckpointError)
    _rest(store, attempts, head, stop)


@define
class _Attempts:
    """How often a follower has failed in a row at an event, and when it is tried again."""

    count: int = 0
    position: int | None = None
    due_at: float = 0.0

    def succeed(self) -> None:
        self.count, self.due_at = 0, 0.0

    def fail(self, projector: Projector, position: int) -> bool:
        """Count a failure at an event; tell whether it was the last attempt."""
        self.count = self.count + 1 if position == self.position else 1
        self.position = position
        retry = projector.retry
        if retry is None or self.count >= retry.attempts:
            self.due_at = float("inf")
            return True
        self.due_at = time.monotonic() + retry.delay_after(self.count)
        return False


def _revive(views: ViewStore, attempts: Mapping[Follower, _Attempts]) -> None:
    """Go on with the followers that somebody has told to, perhaps in another process."""
    now = time.monotonic()
    for follower, attempt in attempts.items():
        if attempt.due_at > now and follower.view.failure(views.query) is None:
            attempt.succeed()


def _rest(store: EventStore, attempts: Mapping[Follower, _Attempts], head: int | None, stop: threading.Event) -> None:
    """Wait until there is an event after `head`, a follower is due, or the end has come."""
    # No longer than this while one waits, because somebody may tell it to go on.
    latest = time.monotonic() + _LONGEST_REST
    while not stop.is_set():
        if store.wait(after=head, timeout=_BREATH):
            return
        waiting = [attempt.due_at for attempt in attempts.values() if attempt.due_at]
        if waiting and min(*waiting, latest) <= time.monotonic():
            return


def _tell(store: EventStore, follower: Follower, error: ProjectionError, *, has_stopped: bool) -> None:
    if has_stopped:
        _log.error("%s: projector %r has stopped", store, follower.name, exc_info=error)
    else:
        _log.warning("%s: projector %r tries again: %s", store, follower.name, error)
