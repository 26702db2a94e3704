"""One projector on its way through the log: page by page, each in one transaction with the checkpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from esbank.codec import EventCodec
from esbank.errors import CheckpointError, DefinitionError, ProjectionError, StorageError, StoreUnavailable
from esbank.events import EventEnvelope
from esbank.projection._views import Checkpoint, View, prepare
from esbank.store import EventStore, StoredEvent, StreamId, Transaction, ViewStore

if TYPE_CHECKING:
    from esbank.projection._projector import Projector

__all__ = ["PAGE", "Follower", "Page", "follow"]

PAGE: Final = 1000


class Page:
    """Some events in a row, each decoded once at most, however many projectors take it."""

    def __init__(self, codec: EventCodec, events: Sequence[StoredEvent]) -> None:
        self.events = events
        self._codec = codec
        self._envelopes: dict[int, EventEnvelope[Any]] = {}

    def envelopes(self, events: Sequence[StoredEvent]) -> Iterator[EventEnvelope[Any]]:
        """Decode some of the events; raises as ``EventCodec.decode`` does, at the one that cannot be read."""
        known = self._envelopes
        decoded = self._codec.envelopes([stored for stored in events if stored.position not in known])
        for stored in events:
            envelope = known.get(stored.position)
            if envelope is None:
                envelope = known[stored.position] = next(decoded)
            yield envelope

    def envelope(self, stored: StoredEvent) -> EventEnvelope[Any]:
        """Decode one of the events; raises as ``EventCodec.decode`` does."""
        return next(self.envelopes([stored]))

    def before(self, position: int) -> Page:
        """Return the part before a position."""
        part = Page(self._codec, [event for event in self.events if event.position < position])
        part._envelopes = self._envelopes
        return part


class Follower:
    """Keeps the view of one projector: makes its tables, checks that it belongs to the store, moves it on."""

    def __init__(self, store: EventStore, codec: EventCodec, projector: Projector) -> None:
        self.store = store
        self._codec = codec
        self._projector = projector
        classes = projector.event_classes()
        for cls in classes:
            if codec.registry.by_class(cls) is None:
                raise DefinitionError(f"the registry lacks {cls.__name__}, which a projector takes; add it")
        self.view = View(
            projector.name,
            projector.version,
            projector.tables,
            projector.indexes,
            has_effects=bool(projector.effect_classes()),
        )
        self.shadow = self.view.shadow()
        self._classes = frozenset(classes)
        self._types = frozenset(codec.registry.names_of(*classes))
        self._takes_type: dict[tuple[str, int], bool] = {}
        self._categories = None if projector.categories is None else frozenset(projector.categories)

    @property
    def name(self) -> str:
        """The name of the projector."""
        return self._projector.name

    @property
    def projector(self) -> Projector:
        """The projector."""
        return self._projector

    def open(self, tx: Transaction, view: View) -> Checkpoint:
        """Return the checkpoint of a view, after making its tables where there are none."""
        prepare(tx)
        checkpoint = view.checkpoint(tx.execute)
        if checkpoint is None:
            checkpoint = view.empty(self.store.identity)
            with self.making_tables():
                view.create(tx, checkpoint)
            # The world need not be told of what is past.
            view.save_effects_position(tx, self.store.head())
        return checkpoint

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise ``CheckpointError`` for a view that is out of date, and one that was made from other events.

        That is how a store is noticed that was swapped, or restored from a backup that is older than the view.
        """
        if checkpoint.store != self.store.identity:
            problem = "its view was made from another store; open the right one, or rebuild the view from this one"
            raise CheckpointError(self.name, problem)
        self._check_made(checkpoint)
        if not self.is_same_log(checkpoint):
            problem = (
                f"the store does not hold the event at position {checkpoint.position}, the last that the view saw; "
                "if the store was restored from a backup, rebuild the view"
            )
            raise CheckpointError(self.name, problem)

    def is_same_log(self, checkpoint: Checkpoint) -> bool:
        """Tell whether the store still has the last event that a view saw, at its position."""
        if checkpoint.store != self.store.identity:
            return False
        if checkpoint.position is None or checkpoint.stream is None or checkpoint.event_id is None:
            return True
        last = self.store.find(StreamId.parse(checkpoint.stream), UUID(checkpoint.event_id))
        return last is not None and last.position == checkpoint.position

    def misfit(self, checkpoint: Checkpoint) -> str | None:
        """Say what `check` has against a view, if anything."""
        try:
            self.check(checkpoint)
        except CheckpointError as error:
            return error.problem
        return None

    @contextmanager
    def making_tables(self) -> Generator[None]:
        """Say whose tables cannot be made."""
        try:
            yield
        except StorageError as error:
            raise CheckpointError(self.name, f"its tables cannot be made: {error.problem}") from error

    def committed(self, tx: Transaction, view: View) -> Checkpoint:
        """Return the checkpoint of a view that is there; raises ``CheckpointError`` where it is not, or is another."""
        checkpoint = view.checkpoint(tx.execute)
        if checkpoint is None:
            raise CheckpointError(self.name, "its view was taken away meanwhile; try again")
        self._check_made(checkpoint)
        return checkpoint

    def takes(self, stored: StoredEvent) -> bool:
        """Tell whether the projector takes an event."""
        takes_type = self._takes_type.get((stored.type, stored.schema_version))
        if takes_type is None:
            takes_type = self._takes_type[stored.type, stored.schema_version] = self._looks_up(stored)
        return takes_type and (self._categories is None or stored.stream.category in self._categories)

    def _looks_up(self, stored: StoredEvent) -> bool:
        if stored.type not in self._types:
            return False
        # An old name can have led to several classes. What nothing can read may be of any: then reading it says why.
        binding = self._codec.registry.by_type(stored.type, stored.schema_version)
        return binding is None or binding.cls in self._classes

    def handle(self, tx: Transaction, view: View, checkpoint: Checkpoint, page: Page) -> Checkpoint:
        """Take a page into a view at a checkpoint; raises ``ProjectionError`` that names the event that failed."""
        bound = view.bind(tx)
        skipped = view.skipped(tx.execute, after=page.events[0].position - 1, in_view=True)
        project, takes = self._projector.project, self.takes
        taken: list[StoredEvent] = []
        at = page.events[0]
        try:
            for at in page.events:
                if takes(at) and (not skipped or (at.position, at.event_id) not in skipped):
                    taken.append(at)  # noqa: PERF401 - `at` tells which one failed
            envelopes = page.envelopes(taken)
            for at in taken:  # noqa: B007 - same
                project(next(envelopes), bound)
                bound.check()
        except StoreUnavailable:
            raise  # it says nothing about the event
        except Exception as error:
            raise self.failed_at(at) from error
        known: list[str] = json.loads(checkpoint.event_names)
        event_names = json.dumps(sorted({*known, *(event.type for event in taken)}))
        checkpoint = view.at(self.store.identity, page.events[-1], event_names)
        view.save(tx, checkpoint)
        return checkpoint

    def handle_the_rest(self, tx: Transaction, view: View, checkpoint: Checkpoint) -> Checkpoint:
        """Take all that is committed beyond a checkpoint into a view, in one transaction."""
        head = self.store.head() or 0
        while (checkpoint.position or 0) < head:
            page = Page(self._codec, list(self.store.read_all(after=checkpoint.position, limit=PAGE)))
            checkpoint = self.handle(tx, view, checkpoint, page)
        return checkpoint

    def failed_at(self, stored: StoredEvent) -> ProjectionError:
        """Name the event at which something has failed."""
        return ProjectionError(self.name, stored.stream, stored.version, stored.position, stored.type)

    def advance(self, views: ViewStore, view: View, checkpoint: Checkpoint, page: Page) -> Checkpoint:
        """Handle a page in one transaction, unless another runner was here first; return the checkpoint there is.

        When an event fails, those before it are kept.
        """
        try:
            return self._advance(views, view, checkpoint, page)
        except ProjectionError as error:
            done = page.before(error.position)
            if done.events:
                self.advance(views, view, checkpoint, done)  # of which another one may fail
            raise

    def _advance(self, views: ViewStore, view: View, checkpoint: Checkpoint, page: Page) -> Checkpoint:
        with views.view_transaction() as tx:
            current = self.committed(tx, view)
            return current if current != checkpoint else self.handle(tx, view, current, page)

    def _check_made(self, checkpoint: Checkpoint) -> None:
        if not self.view.made(checkpoint):
            problem = (
                f"its view was made by version {checkpoint.version} of it, and this is version {self.view.version}"
                if checkpoint.version != self.view.version
                else "its view was made with other tables or indexes than it declares now"
            )
            raise CheckpointError(self.name, f"{problem}; rebuild the view")
        self.check_names(checkpoint)

    def check_names(self, checkpoint: Checkpoint) -> None:
        """Raise ``CheckpointError`` when the view has events that would be passed over in silence from now on."""
        names: list[str] = json.loads(checkpoint.event_names)
        lost = [name for name in names if name not in self._types]
        if lost:
            problem = (
                f"its view has events stored as {', '.join(lost)}, which it follows no longer; name the registry that "
                "knows them (registry = … in the class of the projector), or raise its version and rebuild the view"
            )
            raise CheckpointError(self.name, problem)


def follow(
    store: EventStore,
    codec: EventCodec,
    checkpoints: dict[Follower, Checkpoint],
    advance: Callable[[Follower, Checkpoint, Page], Checkpoint],
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> dict[Follower, ProjectionError | CheckpointError]:
    """Bring followers from their checkpoints to where the log ends now; those that are at one place share each page.

    Others may append faster than this can follow, so it goes no further than the end at the beginning. A follower that
    fails stays where it is; returned is why. `checkpoints` are changed to where each has come. It ends early, after a
    page, when `stop` is set.
    """
    head = store.head() or 0
    failures: dict[Follower, ProjectionError | CheckpointError] = {}
    while True:
        behind = {
            follower: checkpoint.position or 0
            for follower, checkpoint in checkpoints.items()
            if follower not in failures and (checkpoint.position or 0) < head
        }
        if not behind or (stop is not None and stop.is_set()):
            return failures
        start = min(behind.values())
        # Not beyond where the next one is, so that they go on together.
        meeting = min((position for position in behind.values() if position > start), default=None)
        events = list(store.read_all(after=start, limit=PAGE))
        if meeting is not None:
            events = [event for event in events if event.position <= meeting]
        if not events:
            return failures
        page = Page(codec, events)
        for follower, position in behind.items():
            if position == start:
                try:
                    checkpoints[follower] = advance(follower, checkpoints[follower], page)
                except (ProjectionError, CheckpointError) as error:
                    failures[follower] = error
        if progress is not None:
            progress(min(events[-1].position, head), head)
