"""Views made anew beside the old ones, which readers keep until the new ones take their place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from esbank.codec import EventCodec
from esbank.errors import CheckpointError, ProjectionError
from esbank.projection._follower import Follower, follow
from esbank.projection._views import Checkpoint
from esbank.store import EventStore, ViewStore

__all__ = ["rebuild_views"]


def rebuild_views(
    store: EventStore,
    views: ViewStore,
    codec: EventCodec,
    followers: Collection[Follower],
    *,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> dict[Follower, ProjectionError | CheckpointError]:
    """Fill the shadow tables of followers from one read of the log, and let them take over; return what failed.

    When `stop` is set it ends after a page, and none takes over.
    """
    checkpoints = {follower: _begin(views, follower, resume=resume) for follower in followers}
    failures = follow(
        store,
        codec,
        checkpoints,
        lambda follower, checkpoint, page: follower.advance(views, follower.shadow, checkpoint, page),
        progress=progress,
        stop=stop,
    )
    if stop is not None and stop.is_set():
        return failures
    for follower, checkpoint in checkpoints.items():
        try:
            if follower not in failures:
                _finish(views, follower, checkpoint)
        except (ProjectionError, CheckpointError) as error:
            failures[follower] = error
        if isinstance(failures.get(follower), ProjectionError):
            with views.view_transaction() as tx:
                follower.shadow.drop(tx)
    return failures


def _begin(views: ViewStore, follower: Follower, *, resume: bool) -> Checkpoint:
    # Begun first, so that nothing but a table of this projector is ever dropped.
    with views.view_transaction() as tx:
        live = follower.open(tx, follower.view)
        follower.view.check_replaceable(tx)
    if live.version == follower.view.version:
        follower.check_names(live)
    shadow = follower.shadow
    with views.view_transaction() as tx:
        begun = shadow.checkpoint(tx.execute)
        if not resume or begun is None or follower.misfit(begun) is not None:
            shadow.drop(tx)
        return follower.open(tx, shadow)


def _finish(views: ViewStore, follower: Follower, checkpoint: Checkpoint) -> None:
    view, shadow = follower.view, follower.shadow
    with views.view_transaction() as tx:
        if shadow.checkpoint(tx.execute) != checkpoint:
            raise CheckpointError(follower.name, "another rebuild has begun meanwhile; let that one finish")
        checkpoint = follower.handle_the_rest(tx, shadow, checkpoint)
        with follower.making_tables():
            before = view.checkpoint(tx.execute)
            is_same_log = before is not None and follower.is_same_log(before)
            view.take_over(tx, shadow, checkpoint, is_same_log=is_same_log)
