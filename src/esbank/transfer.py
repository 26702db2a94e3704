"""Moving a log: from one database to another one, into a file, out of a file, and nothing of it is lost or changed.

Ids, versions, positions, times, digests and order stay, and so does what was appended together: an exact repeat of an
append is recognised in the copy as it was in the source. Snapshots and views stay behind; both can be made again.

``python -m esbank copy`` is this from a shell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile, zip_longest
from typing import Final, TypeAlias

from attrs import frozen

from esbank.errors import NotACopy
from esbank.store import PortableLog, StoredEvent

__all__ = ["Comparison", "Copy", "TransferProgress", "compare_logs", "copy_events"]

TransferProgress: TypeAlias = Callable[[str, int, int], None]
"""What is called now and then: with what is being done, ``"copying"`` or ``"comparing"``, the position reached, and the
last one."""

_Append: TypeAlias = tuple[StoredEvent, ...]

_BATCH: Final = 1000
_FIELDS: Final = (
    "position",
    "stream",
    "version",
    "event_id",
    "type",
    "schema_version",
    "data",
    "metadata_text",
    "recorded_at",
    "digest",
)


@frozen
class Comparison:
    """What a comparison found: how much is equal, and the first `difference`, None when all of it is."""

    events: int
    appends: int
    difference: str | None

    @property
    def ok(self) -> bool:
        """Whether there is no difference."""
        return self.difference is None


@frozen
class Copy:
    """What a copy has done: `copied` counts the events of this run, and `comparison` is of all that is there now."""

    copied: int
    comparison: Comparison

    @property
    def ok(self) -> bool:
        """Whether the target holds what the source held when the copy began."""
        return self.comparison.ok


def copy_events(source: PortableLog, target: PortableLog, *, progress: TransferProgress | None = None) -> Copy:
    """Copy what a source holds now into a target, about 1,000 events in each transaction, and compare the two.

    A target that has the beginning of the source, because a copy was interrupted or the source has grown since, gets
    what it lacks. Nobody else may write to the target meanwhile; the source may be in use.

    Raises ``NotACopy`` when the target holds anything else, and ``ImportRefused`` for an event of the source that is
    damaged, or when only one of the two keeps digests. What was copied before that stays.
    """
    last = source.head() or 0
    reached = _end_of_beginning(source, target, last)
    copied = 0
    for batch in _batches(_up_to(last, source.read_appends(after=reached))):
        copied += target.import_events(batch)
        if progress is not None:
            progress("copying", batch[-1][-1].position, last)
    return Copy(copied, compare_logs(source, target, up_to=last, progress=progress))


def compare_logs(
    source: PortableLog, target: PortableLog, *, up_to: int | None = None, progress: TransferProgress | None = None
) -> Comparison:
    """Compare two logs event by event, in all that is stored of them, up to the first difference.

    `up_to` is the position where the source ends for this purpose, by default where it ends now.
    """
    last = (source.head() or 0) if up_to is None else up_to
    events = appends = told = 0
    for ours, theirs in zip_longest(_up_to(last, source.read_appends()), target.read_appends()):
        difference = _difference(ours, theirs)
        if difference is not None:
            return Comparison(events, appends, difference)
        events += len(ours)
        appends += 1
        if progress is not None and (events - told >= _BATCH or ours[-1].position == last):
            told = events
            progress("comparing", ours[-1].position, last)
    return Comparison(events, appends, None)


def _end_of_beginning(source: PortableLog, target: PortableLog, last: int) -> int | None:
    """Return up to where the target has what the source has; look at what it has last."""
    end = target.head()
    if end is None:
        return None
    ours = next(_up_to(last, source.read_appends(after=end - 1)), None)
    difference = _difference(ours, next(target.read_appends(after=end - 1)))
    if difference is not None:
        raise NotACopy(end, difference)
    return end


def _up_to(position: int, appends: Iterable[_Append]) -> Iterator[_Append]:
    return takewhile(lambda append: append[-1].position <= position, appends)


def _batches(appends: Iterable[_Append]) -> Iterator[Sequence[_Append]]:
    batch: list[_Append] = []
    events = 0
    for append in appends:
        batch.append(append)
        events += len(append)
        if events >= _BATCH:
            yield batch
            batch, events = [], 0
    if batch:
        yield batch


def _difference(ours: _Append | None, theirs: _Append | None) -> str | None:
    """Say what an append in the source and one in the target differ in."""
    if theirs is None:
        return None if ours is None else f"the append at position {ours[0].position} is missing in the target"
    if ours is None:
        return f"the target has an append at position {theirs[0].position}, and the source ends before that"
    if ours[0].position != theirs[0].position:
        return (
            f"where the source has an append at position {ours[0].position}, the target has one at position "
            f"{theirs[0].position}"
        )
    if len(ours) != len(theirs):
        return (
            f"the append at position {ours[0].position} has {len(ours)} events in the source, and {len(theirs)} in the "
            "target"
        )
    return next(filter(None, map(_difference_of_events, ours, theirs)), None)


def _difference_of_events(ours: StoredEvent, theirs: StoredEvent) -> str | None:
    event = f"{ours.stream} version {ours.version} (position {ours.position})"
    for name in _FIELDS:
        try:
            if getattr(ours, name) != getattr(theirs, name):
                return f"{event} has another {name.removesuffix('_text')} in the target"
        except (TypeError, ValueError, OverflowError) as error:
            return f"{event} has a damaged {name.removesuffix('_text')}: {error}"
    return None
