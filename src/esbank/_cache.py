"""Aggregates that were used lately, each with one user at a time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from esbank.store import StreamId

__all__ = ["Cache"]

T = TypeVar("T")

_LEAST_TURNS: Final = 1000


class Cache(Generic[T]):
    """At most `size` values by stream; the one unused for longest leaves first.

    A value is taken out and put back, never shared: whoever has taken it may change it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()
        _caches.add(self)

    def clear(self) -> None:
        """Forget everything, and who is at work."""
        self._values: OrderedDict[StreamId, T] = OrderedDict()
        self._turns: dict[StreamId, threading.RLock] = {}
        self._lock = threading.RLock()  # a signal handler may come here while its thread is inside

    def turn(self, stream: StreamId) -> threading.RLock:
        """Return the lock that lets one thread at a time work on a stream, so that the others find its value.

        Of the streams that were not used lately the locks are forgotten, even if one is held: then two threads may work
        on a stream at once, and one of them loses the race for its next version.
        """
        with self._lock:
            turn = self._turns.pop(stream, None) or threading.RLock()
            if len(self._turns) >= max(self._size, _LEAST_TURNS):
                del self._turns[next(iter(self._turns))]
            self._turns[stream] = turn  # last, so that the one unused for longest is first
            return turn

    def take(self, stream: StreamId) -> T | None:
        """Take the value of a stream out, if there is one."""
        with self._lock:
            return self._values.pop(stream, None)

    def put(self, stream: StreamId, value: T) -> None:
        """Put the value of a stream in."""
        if not self._size:
            return
        with self._lock:
            self._values[stream] = value
            self._values.move_to_end(stream)
            if len(self._values) > self._size:
                self._values.popitem(last=False)


_caches: Final[WeakSet[Cache[Any]]] = WeakSet()


def _clear_all() -> None:
    for cache in list(_caches):
        cache.clear()


if hasattr(os, "register_at_fork"):
    # A thread that held a lock is not in the child to release it.
    os.register_at_fork(after_in_child=_clear_all)
