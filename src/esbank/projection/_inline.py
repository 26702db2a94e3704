"""A view that changes in the transaction of each append."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from esbank.codec import EventCodec, EventRegistry
from esbank.errors import DefinitionError, ProjectionError
from esbank.projection._follower import Follower, Page
from esbank.store import AppendTransaction, StoredEvent

if TYPE_CHECKING:
    from esbank.projection._projector import Projector

__all__ = ["InlineView"]


class InlineView:
    """Moves the view of one projector with the appends to a store.

    Whoever opens the store without the projector appends past its view. The checkpoint shows that, and the next append
    takes what is missing first.
    """

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self._codec = EventCodec(projector.registry or EventRegistry(type(projector)))
        self._follower: Follower | None = None

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent]) -> None:
        """Take the events that are being appended; without any, make the view and check it."""
        follower = self._follower
        if follower is None or follower.store is not tx.store:
            follower = self._follower = Follower(tx.store, self._codec, self._projector)
        if not events:
            checkpoint = follower.open(tx, follower.view)
            follower.check(checkpoint)
        else:
            checkpoint = follower.committed(tx, follower.view)
            if (checkpoint.position or 0) >= events[0].position:
                raise DefinitionError(f"two inline projectors share the name {follower.name!r}; give each its own")
        try:
            checkpoint = follower.handle_the_rest(tx, follower.view, checkpoint)
            if events:
                follower.handle(tx, follower.view, checkpoint, Page(self._codec, events))
        except ProjectionError as error:
            if events:
                error.add_note("The projector is inline, so the append was undone and nothing of it was stored.")
            raise
