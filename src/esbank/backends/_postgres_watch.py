"""A watch over commits: PostgreSQL has no timeout for the wait for a synchronous standby, which may never come."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

import psycopg

__all__ = ["Watch"]

_log: Final = logging.getLogger("esbank.backends.postgres")
_ROUND: Final = 1.0
_PATIENCE: Final = 5.0


class Watch:
    """Cancels commits that take longer than `limit` seconds, from a thread that looks once in a while.

    A wait for a standby that is cancelled ends with the commit made here, and a warning that tells so. What takes that
    long before the commit was ended by ``statement_timeout``.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew, without the thread, which is the parent's."""
        self._deadlines: dict[psycopg.Connection[Any], float] = {}
        self._mutex = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, connection: psycopg.Connection[Any]) -> None:
        """Watch a connection, because it is about to commit."""
        if self._limit is not None:
            self._deadlines[connection] = time.monotonic() + self._limit
            if self._thread is None:
                self._start()

    def end(self, connection: psycopg.Connection[Any]) -> None:
        """Watch it no longer."""
        self._deadlines.pop(connection, None)

    def _start(self) -> None:
        with self._mutex:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="esbank watches commits", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _look(self) -> None:
        while not self._stopped.wait(_ROUND):
            now = time.monotonic()
            for connection, deadline in list(self._deadlines.items()):
                if deadline < now and self._deadlines.pop(connection, None) is not None:
                    _log.warning("cancelled after %s seconds, as no standby seems to confirm it", self._limit)
                    try:
                        connection.cancel_safe(timeout=_PATIENCE)
                    except psycopg.Error as error:
                        _log.warning("and cannot be cancelled: %s", error)
