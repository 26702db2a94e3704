"""Noticing at once what this process has appended."""

from __future__ import annotations

import threading

__all__ = ["Changes"]


class Changes:
    """Counts what has changed, so that threads can wait for more."""

    def __init__(self) -> None:
        self.count = 0
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child: whoever was about to wait is not there to let go of the lock."""
        # An interrupt may come between a Condition's `with` and its lock's, but not in a lock's own.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: list[int] = []

    def add(self) -> None:
        """Count one more, and wake those that wait."""
        with self._lock:
            self.count += 1
            if self._waiting:
                self._changed.notify_all()

    def wait(self, since: int, timeout: float) -> None:
        """Wait until the count is another one, at most `timeout` seconds."""
        with self._lock:
            waiting = self._waiting  # in a child that a signal handler has forked meanwhile there is another one
            waiting.append(since)
            self._changed.wait_for(lambda: self.count != since, timeout)
            # Whoever an interrupt keeps from coming here is told in vain from then on, which costs a microsecond.
            waiting.remove(since)
