"""Where projectors are, as people want to know it."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

__all__ = ["ProjectorState", "ProjectorStatus"]


class ProjectorState(Enum):
    """How a projector is."""

    NEW = "new"
    """Its view has not been made yet."""
    CURRENT = "current"
    """Its view has all events."""
    BEHIND = "behind"
    """There are events that its view does not have yet, or that the world was not told of."""
    RETRYING = "retrying"
    """An event failed, and a runner tries it again."""
    STOPPED = "stopped"
    """An event failed, and nobody tries it again."""
    OUTDATED = "outdated"
    """Its view was made by another version of it, with other tables, or from other events than the store has."""


@frozen
class ProjectorStatus:
    """Where a projector is.

    `position` is that of the last event in its view, and `head` that of the last in the store; `behind` is how many
    events its view lacks, and `seconds_behind` how long the oldest of these has been waiting. `failed_position` and
    `error` are those of the event that fails, or `error` alone says what is out of date; `skipped` is how many events
    were passed over on purpose. `untold` is how many events are in the view whose side effects are still to come.
    """

    projector: str
    state: ProjectorState
    position: int | None
    head: int | None
    behind: int
    seconds_behind: float
    failed_position: int | None
    error: str | None
    skipped: int
    untold: int = 0
