"""A reader that goes on: at the end of the log it waits for more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Self

from esbank.errors import StoreClosed, StoreUnavailable
from esbank.store._events import StoredEvent

if TYPE_CHECKING:
    from esbank.store._protocols import EventStore

__all__ = ["Subscription", "seconds_to_wait"]

_log: Final = logging.getLogger("esbank.store")
_BREATH: Final = 0.1


def seconds_to_wait(timeout: object) -> float:
    """Return a timeout, cut to the longest for which a thread can wait; refuse what is none with a ``ValueError``."""
    if not isinstance(timeout, (int, float)) or timeout != timeout:  # noqa: PLR0124 - NaN, for which nobody ever waited
        raise ValueError(f"a timeout is a number of seconds, not {timeout!r:.60}")
    return min(timeout, threading.TIMEOUT_MAX)


class Subscription:
    """An iterator over the events of a store, in position order, that waits for new ones until it is closed.

    For one thread; any other may close it. It ends when the store is closed, too. While the database cannot be reached
    it waits for that as well, and tells the log. A backend makes one of itself and of
    the filters that were given to its ``subscribe``.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        after: int | None = None,
        categories: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> None:
        self._store = store
        self._position = after
        self._categories = None if categories is None else tuple(categories)
        self._types = None if types is None else tuple(types)
        self._closed = threading.Event()
        self._events = self._follow()

    @property
    def position(self) -> int | None:
        """How far it has come: nothing that it is to read is at or before this position any more."""
        return self._position

    def close(self) -> None:
        """End it: whoever waits for the next event finds none."""
        self._closed.set()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StoredEvent:
        try:
            return next(self._events)
        except StopIteration:
            raise
        except BaseException:
            self._events = self._follow()  # so that an error is no end: who asks again goes on from its position
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _follow(self) -> Iterator[StoredEvent]:
        while not self._closed.is_set():
            try:
                if self._store.wait(after=self._position, timeout=_BREATH):
                    yield from self._read_on()
            except StoreUnavailable as error:
                _log.warning("a subscription tries again: %s", error)
                self._closed.wait(_BREATH)
            except StoreClosed:
                return

    def _read_on(self) -> Iterator[StoredEvent]:
        head = self._store.head() or 0
        for event in self._store.read_all(after=self._position, categories=self._categories, types=self._types):
            if self._closed.is_set():
                return
            self._position = event.position
            yield event
        # All up to the head could be seen before the reading began, so what the filters leave out is done with.
        self._position = max(self._position or 0, head)
