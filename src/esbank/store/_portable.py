"""The optional capability to be copied: to give all of a log away, and to take another one just as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from esbank.store._events import StoredEvent

__all__ = ["PortableLog"]


@runtime_checkable
class PortableLog(Protocol):
    """The optional capability of a store, or of a file of events, to be copied event by event (``esbank.transfer``).

    What was appended together is copied together, because an exact repeat of an append is recognised by that.
    """

    @property
    def identity(self) -> str:
        """Which store this is; for a file, which store its events come from."""
        ...

    def head(self) -> int | None:
        """Return the position of the last event, None when there is none."""
        ...

    def read_appends(self, *, after: int | None = None) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the log append by append, in position order, in pages: the events that were stored together.

        Begins with the append of the first event after the position `after`, and returns each append whole: an event
        at or before `after` comes again where the append goes on beyond it, and none is left out.
        """
        ...

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        """Insert the appends of another log at the end of this one, in one transaction; return how many events.

        They stay as they are: ids, versions, positions with their gaps, times, digests. All of them are held in memory,
        so give a long log in parts.

        Raises ``ImportRefused``, and stores nothing of them, unless they go on where this log and its streams end, are
        sound, and have digests if this log keeps digests, else none. Inline handlers are not told: an inline view takes
        what it lacks with the next append, any other when it is caught up.
        """
        ...
