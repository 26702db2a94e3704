"""Waiting for appends: those of this process are noticed at once, others are asked for, or told by PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from esbank.backends._changes import Changes
from esbank.backends._postgres_database import Database
from esbank.backends._postgres_listener import Listener

__all__ = ["Waiting"]

# How long to pause before the database is asked again for what others have appended, in seconds: the longer it has been
# quiet, the longer.
_SHORTEST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.04
_LONGEST_PAUSE_OF_A_LISTENER: Final = 1.0


class Waiting:
    """Lets threads of one process wait for appends to one store.

    With a `channel`, PostgreSQL tells on it of what other processes have appended.
    """

    def __init__(self, database: Database, channel: str | None) -> None:
        self._database = database
        self._channel = channel
        self.begin()

    def begin(self) -> None:
        """Begin, or begin anew in a forked child."""
        self._changes = Changes()
        self._stirred = time.monotonic()  # when somebody who waited has last found something
        self._listening = threading.Lock()
        self._listener: Listener | None = None

    def tell(self) -> None:
        """Wake those that wait."""
        self._changes.add()

    def wait(self, head: Callable[[], int | None], *, after: int | None, seconds: float) -> bool:
        """Wait until `head`, the position of the last event, is after a position; tell whether it is in time."""
        deadline = time.monotonic() + seconds
        longest = _LONGEST_PAUSE if self._listen() is None else _LONGEST_PAUSE_OF_A_LISTENER
        while True:
            seen = self._changes.count
            if (head() or 0) > (after or 0):
                self._stirred = time.monotonic()
                return True
            now = time.monotonic()
            if not now < deadline:
                return False
            # Over several calls, because a subscription waits in short turns.
            pause = min(max(_SHORTEST_PAUSE, (now - self._stirred) / 4), longest)
            self._changes.wait(seen, min(deadline - now, pause))

    def close(self) -> None:
        """Wake those that wait, because nothing more will come, and listen no longer."""
        self._changes.add()
        if self._listener is not None:
            self._listener.stop()

    def _listen(self) -> Listener | None:
        if self._channel is None:
            return None
        with self._listening:
            if self._listener is None and not self._database.closed:
                self._listener = Listener(self._database, self._channel, self._changes.add)
            return self._listener
