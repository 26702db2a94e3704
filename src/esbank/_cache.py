"""Aggregates that were used lately, each with one user at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from esbank.store import StreamId

__all__ = ["Cache"]

T = TypeVar("T")


class Cache(Generic[T]):
    """At most `size` values by stream; the one unused for longest leaves first.

    A value is taken out and put back, never shared: whoever has taken it may change it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[StreamId, T] = OrderedDict()
        self._lock = threading.Lock()

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
