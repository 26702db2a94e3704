"""The runner: brings views up to date, keeps them so, rebuilds them, and says where they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Final

from esbank._context import in_context
from esbank.codec import EventCodec, EventRegistry
from esbank.errors import AlreadyRunning, CheckpointError, DefinitionError, ProjectionError, StorageError
from esbank.projection._effects import cause_side_effects
from esbank.projection._failures import Failed, describe, raise_first
from esbank.projection._follower import Follower, Page, follow
from esbank.projection._projector import Projector
from esbank.projection._rebuild import rebuild_views
from esbank.projection._running import run_until
from esbank.projection._status import ProjectorState, ProjectorStatus
from esbank.projection._views import Checkpoint, Failure, has_checkpoints, prepare
from esbank.store import NO_METADATA, EventStore, StoredEvent, ViewStore, seconds_to_wait

__all__ = ["ProjectionRunner"]

_GLANCE: Final = 0.01


class ProjectionRunner:
    """Keeps the views of some projectors up to date with a store.

    `views` is where the tables are, by default the event store's own database; `registry` names the events, by default
    those that the projectors take. Raises ``DefinitionError`` when two projectors share a name or a table, or when
    there is no place for views.

    Methods that take names of projectors raise ``ValueError`` for one that none of them bears.
    """

    def __init__(
        self,
        store: EventStore,
        projectors: Iterable[Projector],
        *,
        views: ViewStore | None = None,
        registry: EventRegistry | None = None,
    ) -> None:
        if views is None:
            if not isinstance(store, ViewStore):
                raise DefinitionError(f"{store!r} keeps no views; name a store that does: ProjectionRunner(…, views=…)")
            views = store
        self._store = store
        self._views = views
        projectors = tuple(projectors)
        _check_projectors(projectors)
        self._codec = EventCodec(registry or _registry_of(projectors))
        self._followers = {projector.name: Follower(store, self._codec, projector) for projector in projectors}
        self._is_prepared = False
        # An interrupt may come between a Condition's `with` and its lock's, but not in a lock's own.
        self._lock = threading.RLock()
        self._moved = threading.Condition(self._lock)

    @property
    def views(self) -> ViewStore:
        """Where the tables are."""
        return self._views

    def catch_up(self, *names: str) -> None:
        """Bring the views of the projectors with these `names`, or all of them, to where the log ends now, and return.

        May be called by several threads and processes at once. Raises ``ProjectionError`` when a projector fails; it
        stays before that event, and the others go on to the end all the same. Raises ``CheckpointError`` when a view
        does not belong to this store, or is out of date.
        """
        followers = self._named(names)
        failures = self._catch_up(followers)
        for follower, error in failures.items():
            if isinstance(error, ProjectionError):
                self._save_failure(follower, error, not self._is_retried(follower))
        raise_first(followers, failures)

    def run(self, stop: threading.Event | None = None, *, rebuild_outdated: bool = False) -> None:
        """Keep all views up to date until `stop` is set, and end after the page or the side effect at hand.

        A projector that fails stays before its event and is tried again as its `retry` says; then it stops, and the
        others go on. It goes on after `resume`, after `skip`, or when it is run again. With `rebuild_outdated`, views
        that older versions of the projectors have made, or that have other tables, are rebuilt first.

        Raises ``AlreadyRunning`` when another runner, in any process, has one of the projectors, ``CheckpointError``
        as `catch_up` does, ``ProjectionError`` when such a rebuild fails, and ``StorageError``.
        """
        stop = stop or threading.Event()
        with ExitStack() as claims:
            for name in self._followers:
                claims.enter_context(self._views.claim(name))
            if rebuild_outdated:
                self._rebuild_outdated(stop)
            run_until(
                stop,
                self._store,
                self._views,
                self._followers.values(),
                catch_up=self._catch_up,
                save_failure=self._save_failure,
            )

    def wait_for(self, position: int | None, timeout: float = 5.0, *, names: Collection[str] = ()) -> None:
        """Wait until the views have the event at a position: that of an ``AppendResult`` or of what was ``Executed``.

        That is how one reads one's own writes while a runner runs, here or in another process. With `names`, it waits
        for the views of these projectors only. Raises ``TimeoutError`` after so many seconds, and ``CheckpointError``
        when a projector has stopped before that event.
        """
        if isinstance(names, str):
            raise TypeError(f"give the names of projectors as several, as in ({names!r},)")
        deadline = time.monotonic() + seconds_to_wait(timeout)
        for follower in self._named(names):
            while (self._position(follower) or 0) < (position or 0):
                failure = follower.view.failure(self._views.query)
                if failure is not None and failure.has_stopped and failure.position <= (position or 0):
                    raise CheckpointError(follower.name, f"it stopped at position {failure.position}: {failure.error}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"projector {follower.name!r} has not come to position {position} within {timeout} seconds; "
                        "see that a runner runs, and how far behind it is: status()"
                    )
                with self._lock:
                    self._moved.wait(min(left, _GLANCE))

    def status(self) -> list[ProjectorStatus]:
        """Say where each projector is. This takes no right but to read."""
        if not self._is_prepared:
            with self._views.view_transaction() as tx:
                if has_checkpoints(tx):
                    prepare(tx)
                    self._is_prepared = True
        return [self._status(follower) for follower in self._followers.values()]

    def resume(self, *names: str) -> None:
        """Let the projectors with these `names`, or all of them, go on where they stopped: what failed was mended."""
        self._prepare()
        for follower in self._named(names):
            with self._views.view_transaction() as tx:
                follower.view.forget_failure(tx)

    def skip(self, position: int, reason: str, *, projector: str | None = None, by: str | None = None) -> None:
        """Let a projector pass over the event at a position, on purpose; it is kept who wanted that, and why.

        The projector need not be named when there is but one. `by` is who, by default the actor of the ``context``.
        The event stays skipped in rebuilds. Raises ``ValueError`` when there is no such event, when the projector does
        not take it, and when it is not said who or why.
        """
        if projector is None and len(self._followers) > 1:
            raise ValueError(f"say which projector is to skip it; there are {', '.join(self._followers)}")
        (follower,) = self._named([projector] if projector is not None else [])
        by = by or in_context(NO_METADATA).actor
        for said in (by or "", reason):
            _check_said(said)
        if not by or not reason.strip():
            raise ValueError("say who skips the event, and why: by=… and a reason")
        event = self._event_at(position)
        if not follower.takes(event):
            raise ValueError(f"projector {follower.name!r} does not take the {event.type} at position {position}")
        with self._views.view_transaction() as tx:
            checkpoint = follower.open(tx, follower.view)
            told = follower.view.effects_position(tx.execute) or 0
            # What is in the view already and was not told yet stays in the view, in rebuilds too.
            in_view = not told < position <= (checkpoint.position or 0)
            follower.view.skip(tx, event, reason=reason, by=by, in_view=in_view)
            begun = follower.shadow.checkpoint(tx.execute)
            if in_view and begun is not None and position <= (begun.position or 0):
                follower.shadow.drop(
                    tx
                )  # a rebuild that was interrupted has the event already, so it has to begin anew
            failure = follower.view.failure(tx.execute)
            if failure is not None and failure.position == position:
                follower.view.forget_failure(tx)

    def rebuild(self, *names: str, resume: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        """Make the views of the projectors with these `names` anew, or of all of them, from the first event.

        Readers keep the old view, whole, until the new one takes its place in one step; appends and runners go on
        meanwhile. With `resume`, a rebuild that was interrupted goes on where it was. `progress` is called with the
        position reached and the last one. Raises ``ProjectionError`` when a projector fails; its old view then stays.
        """
        followers = self._named(names)
        failures = rebuild_views(self._store, self._views, self._codec, followers, resume=resume, progress=progress)
        raise_first(followers, failures)

    def _named(self, names: Collection[str]) -> list[Follower]:
        for name in names:
            if name not in self._followers:
                raise ValueError(f"no projector is named {name!r}; there are {', '.join(self._followers)}")
        return [self._followers[name] for name in names or self._followers]

    def _prepare(self) -> None:
        if not self._is_prepared:
            with self._views.view_transaction() as tx:
                prepare(tx)
            self._is_prepared = True

    def _begin(self, follower: Follower) -> Checkpoint:
        """Return a checkpoint, after making the tables where there are none and making sure that it fits."""
        self._prepare()
        checkpoint = follower.view.checkpoint(self._views.query)
        if checkpoint is None:
            with self._views.view_transaction() as tx:
                checkpoint = follower.open(tx, follower.view)
        follower.check(checkpoint)
        return checkpoint

    def _catch_up(self, followers: Iterable[Follower], stop: threading.Event | None = None) -> dict[Follower, Failed]:
        """Bring views to where the log ends now, unless it is to stop before; return what failed."""
        checkpoints: dict[Follower, Checkpoint] = {}
        failures: dict[Follower, Failed] = {}
        for follower in followers:
            try:
                checkpoints[follower] = self._begin(follower)
            except CheckpointError as error:
                failures[follower] = error
        failures |= follow(self._store, self._codec, checkpoints, self._advance, stop=stop)
        for follower in checkpoints:
            try:
                if not isinstance(failures.get(follower), CheckpointError):
                    cause_side_effects(follower, self._views, self._codec, stop=stop)
            except ProjectionError as error:
                failures[follower] = error  # of an earlier event than the one at which the view fails, if it does
            except AlreadyRunning as error:
                failures.setdefault(follower, error)
        return failures

    def _advance(self, follower: Follower, checkpoint: Checkpoint, page: Page) -> Checkpoint:
        advanced = follower.advance(self._views, follower.view, checkpoint, page)
        with self._lock:
            self._moved.notify_all()
        return advanced

    def _save_failure(self, follower: Follower, error: ProjectionError, has_stopped: bool) -> None:  # noqa: FBT001
        text = describe(error.__cause__)
        # What cannot be written down is raised or tried again all the same.
        with suppress(StorageError):
            (event,) = self._store.read(error.stream, after=error.version - 1, up_to=error.version)
            with self._views.view_transaction() as tx:
                follower.view.save_failure(tx, event, text, has_stopped=has_stopped)

    def _rebuild_outdated(self, stop: threading.Event) -> None:
        self._prepare()
        outdated = [follower for follower in self._followers.values() if self._may_rebuild(follower)]
        raise_first(outdated, rebuild_views(self._store, self._views, self._codec, outdated, stop=stop))

    def _is_retried(self, follower: Follower) -> bool:
        """Tell whether a runner tries an event again, which is not for somebody else to stop."""
        failure = follower.view.failure(self._views.query)
        return failure is not None and not failure.has_stopped

    def _may_rebuild(self, follower: Follower) -> bool:
        """Tell whether a view is older than its projector; neither a newer one nor another store's is given up."""
        view, checkpoint = follower.view, follower.view.checkpoint(self._views.query)
        return (
            checkpoint is not None
            and checkpoint.store == self._store.identity
            and not view.made(checkpoint)
            and checkpoint.version <= view.version
        )

    def _position(self, follower: Follower) -> int | None:
        self._prepare()
        checkpoint = follower.view.checkpoint(self._views.query)
        return None if checkpoint is None else checkpoint.position

    def _event_at(self, position: int) -> StoredEvent:
        if type(position) is not int:
            raise TypeError(f"a position is an int, not {position!r:.60}")
        event = next(self._store.read_all(after=max(position - 1, 0), limit=1), None)
        if event is None or event.position != position:
            raise ValueError(f"there is no event at position {position}")
        return event

    def _status(self, follower: Follower) -> ProjectorStatus:
        checkpoint = follower.view.checkpoint(self._views.query) if self._is_prepared else None
        failure = None if checkpoint is None else follower.view.failure(self._views.query)
        position = None if checkpoint is None else checkpoint.position
        oldest = next(self._store.read_all(after=position, limit=1), None)
        waiting = 0.0 if oldest is None else (datetime.now(UTC) - oldest.recorded_at).total_seconds()
        behind = self._store.count(after=position)
        misfit = None if checkpoint is None else follower.misfit(checkpoint)
        untold = 0 if checkpoint is None else self._untold(follower, behind)
        return ProjectorStatus(
            projector=follower.name,
            state=_state(checkpoint, misfit, failure, behind + untold),
            position=position,
            head=self._store.head(),
            behind=behind,
            seconds_behind=max(0.0, waiting),
            failed_position=None if failure is None else failure.position,
            error=misfit or (None if failure is None else failure.error),
            skipped=len(follower.view.skipped(self._views.query)) if self._is_prepared else 0,
            untold=untold,
        )

    def _untold(self, follower: Follower, behind: int) -> int:
        if not follower.projector.effect_classes():
            return 0
        told = follower.view.effects_position(self._views.query)
        return max(0, self._store.count(after=told) - behind)


def _check_said(said: object) -> None:
    if not isinstance(said, str):
        raise TypeError(f"who skips an event, and why, is a str, not {said!r:.60}")


def _state(checkpoint: Checkpoint | None, misfit: str | None, failure: Failure | None, behind: int) -> ProjectorState:
    if checkpoint is None:
        return ProjectorState.NEW
    if misfit is not None:
        return ProjectorState.OUTDATED
    if failure is not None:
        return ProjectorState.STOPPED if failure.has_stopped else ProjectorState.RETRYING
    return ProjectorState.BEHIND if behind else ProjectorState.CURRENT


def _registry_of(projectors: Sequence[Projector]) -> EventRegistry:
    """Take the registry that the projectors name, or make one of what they take."""
    named = {id(projector.registry): projector.registry for projector in projectors if projector.registry is not None}
    if not named:
        return EventRegistry(*(type(projector) for projector in projectors))
    if len(named) > 1:
        raise DefinitionError("the projectors name several registries; give the runner one for all: registry=…")
    (registry,) = named.values()
    return registry


def _check_projectors(projectors: Sequence[Projector]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for projector in projectors:
        if not isinstance(projector, Projector):
            raise TypeError(f"a runner takes projectors, objects of their classes, not {projector!r}")
        names = {("projector", projector.name): projector.name}
        names |= {("table or index", name.lower()): name for name in (*projector.tables, *projector.indexes)}
        for key, name in names.items():
            if key in taken:
                raise DefinitionError(
                    f"{type(projector).__name__} and {taken[key]} share the name {name!r}; give each its own"
                )
        taken |= dict.fromkeys(names, type(projector).__name__)
    for projector in projectors:
        if not projector.event_classes():
            raise DefinitionError(f"{projector.name} takes no events: mark a method of it with @projects(SomeEvent)")
