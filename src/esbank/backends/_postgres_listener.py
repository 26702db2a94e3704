"""Being told of appends by PostgreSQL, instead of asking for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import psycopg

from esbank.backends._postgres_connection import Connection, quoted, storage_error
from esbank.backends._postgres_database import Database
from esbank.errors import StorageError

__all__ = ["Listener"]

_log: Final = logging.getLogger("esbank.backends.postgres")
_BREATH: Final = 0.2
_LONGEST_PAUSE: Final = 5.0


class Listener:
    """A thread that calls `heard` whenever something may have been appended."""

    def __init__(self, database: Database, channel: str, heard: Callable[[], object]) -> None:
        self._database = database
        self._channel = channel
        self._heard = heard
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"esbank listens to {channel}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _listen(self) -> None:
        pause = _BREATH
        while not self._stopped.is_set():
            try:
                with self._database.own_connection() as connection:
                    connection.script(f"LISTEN {quoted(self._channel)}")
                    pause = _BREATH
                    self._hear(connection)
            except StorageError as error:
                _log.warning("%s: not told of appends for the moment, so it asks: %s", self._database.name, error)
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _hear(self, connection: Connection) -> None:
        try:
            self._heard()  # what was appended before this session listened
            while not self._stopped.is_set():
                for _ in connection.raw.notifies(timeout=_BREATH, stop_after=1):
                    self._heard()
        except psycopg.Error as error:
            raise storage_error(error, self._database.name, is_lost=True) from error
        finally:
            connection.raw.close()  # it would go on listening in the hands of whoever uses it next
