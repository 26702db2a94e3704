"""What can go wrong with followers, several at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from esbank.errors import AlreadyRunning, CheckpointError, ProjectionError

if TYPE_CHECKING:
    from esbank.projection._follower import Follower

__all__ = ["Failed", "describe", "raise_first"]

Failed: TypeAlias = ProjectionError | CheckpointError | AlreadyRunning
"""Why a follower did not come to the end of the log."""

_LONGEST: Final = 2000


def describe(error: BaseException | None) -> str:
    """Write an error as text that any database can keep."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - it is somebody's __str__
        text = type(error).__name__
    return text[:_LONGEST].replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def raise_first(
    followers: Iterable[Follower],
    failures: Mapping[Follower, Failed],
    *kinds: type[ProjectionError | CheckpointError],
) -> None:
    """Raise the failure of the first follower that has one of these kinds, with those of the others as notes."""
    kinds = kinds or (ProjectionError, CheckpointError)
    in_order = [failures[follower] for follower in followers if isinstance(failures.get(follower), kinds)]
    if in_order:
        first, *others = in_order
        for other in others:
            first.add_note(f"Another projector failed as well: {other}")
        raise first
