"""Aggregates that were used lately, each with one user at a time."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet, WeakValueDictionary

from esbank.store import StreamId

__all__ = ["Cache"]

T = TypeVar("T")


class _Turn:
    """A lock that can be referred to weakly."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


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
        self._turns: WeakValueDictionary[StreamId, _Turn] = WeakValueDictionary()
        self._lock = threading.Lock()

    def turn(self, stream: StreamId) -> _Turn:
        """Return the lock that lets one thread at a time work on a stream, so that the others find its value."""
        with self._lock:
            turn = self._turns.get(stream)
            if turn is None:
                turn = self._turns[stream] = _Turn()
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
