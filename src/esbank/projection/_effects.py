"""Side effects: what a projector tells the world, at least once, outside of any transaction."""

from __future__ import annotations

import threading

from esbank.codec import EventCodec
from esbank.projection._follower import PAGE, Follower, Page
from esbank.store import StoredEvent, ViewStore

__all__ = ["cause_side_effects"]


def cause_side_effects(
    follower: Follower, views: ViewStore, codec: EventCodec, *, stop: threading.Event | None = None
) -> None:
    """Tell the world of the events that are in the view and that it was not told of yet.

    After each of them the place is kept, so that a crash repeats one at most, and there it ends when `stop` is set.
    Raises ``ProjectionError`` when a method fails, and ``AlreadyRunning`` when somebody else is at it.
    """
    stop = stop or threading.Event()
    if _is_behind(follower, views):
        with views.claim(f"{follower.name} side effects"):
            # Again, for what others have put into the view while this one was at it, and left to it.
            while not stop.is_set() and _is_behind(follower, views):
                _cause(follower, views, codec, stop)


def _is_behind(follower: Follower, views: ViewStore) -> bool:
    if not follower.projector.effect_classes():
        return False
    checkpoint = follower.view.checkpoint(views.query)
    reached = 0 if checkpoint is None else checkpoint.position or 0
    return (follower.view.effects_position(views.query) or 0) < reached


def _cause(follower: Follower, views: ViewStore, codec: EventCodec, stop: threading.Event) -> None:
    view = follower.view
    checkpoint = view.checkpoint(views.query)
    if checkpoint is None or checkpoint.position is None:
        return
    position = view.effects_position(views.query) or 0
    while position < checkpoint.position:
        page = Page(codec, list(follower.store.read_all(after=position, limit=PAGE)))
        skipped = view.skipped(views.query, after=position)
        for stored in page.events:
            if stop.is_set():
                return
            if stored.position <= checkpoint.position and (stored.position, stored.event_id) not in skipped:
                _cause_of(follower, views, page, stored)
        position = min(page.events[-1].position, checkpoint.position)
        _keep(follower, views, position)


def _cause_of(follower: Follower, views: ViewStore, page: Page, stored: StoredEvent) -> None:
    if not follower.takes(stored):
        return
    try:
        envelope = page.envelope(stored)
        if type(envelope.event) not in follower.projector.effect_classes():
            return
        follower.projector.cause_side_effects(envelope)
    except Exception as error:
        raise follower.failed_at(stored) from error
    _keep(follower, views, stored.position)


def _keep(follower: Follower, views: ViewStore, position: int) -> None:
    with views.view_transaction() as tx:
        follower.view.save_effects_position(tx, position)
