"""Names that only one at a time may hold, among all that use a schema, on any machine.

They are advisory locks of one session, so they are gone with whoever held them: nothing has to be renewed, and nothing
expires under a slow holder. When the session is lost, its holder takes the names again before it goes on, unless
somebody else has them by then.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from esbank.backends._postgres_connection import Connection
from esbank.backends._postgres_database import Database
from esbank.errors import AlreadyRunning, StoreUnavailable

__all__ = ["Claims"]


class Claims:
    """The names that one process holds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.after_fork()

    def after_fork(self) -> None:
        """Begin without any: they are the parent's."""
        self._mutex = threading.Lock()
        self._names: set[str] = set()
        self._held: set[str] = set()
        self._session = ExitStack()
        self._connection: Connection | None = None

    @contextmanager
    def claim(self, name: str) -> Generator[None]:
        """Hold a name; raises ``AlreadyRunning`` when somebody else does."""
        with self._mutex:
            if name in self._names:
                raise AlreadyRunning(name)
            self._take(name)
            self._names.add(name)
        try:
            yield
        finally:
            with self._mutex:
                self._names.discard(name)
                self._give_back(name)

    def check(self) -> None:
        """Make sure that the names are still held; raises ``AlreadyRunning`` when one has gone to somebody else."""
        if not self._names:
            return
        with self._mutex:
            if self._connection is not None:
                try:
                    self._connection.rows("SELECT 1")
                except StoreUnavailable:
                    self._leave()
            for name in sorted(self._names - self._held):
                self._take(name)

    def close(self) -> None:
        """Give all names back."""
        with self._mutex:
            self._leave()

    def _take(self, name: str) -> None:
        if self._connection is None:
            self._connection = self._session.enter_context(self._database.own_connection())
        try:
            ((is_mine,),) = self._connection.rows("SELECT pg_try_advisory_lock($1)", (self._key(name),))
        except BaseException:
            self._leave()
            raise
        if not is_mine:
            self._leave_if_unused()
            raise AlreadyRunning(name)
        self._held.add(name)

    def _give_back(self, name: str) -> None:
        if self._connection is not None and name in self._held:
            self._held.discard(name)
            try:
                self._connection.rows("SELECT pg_advisory_unlock($1)", (self._key(name),))
            except StoreUnavailable:
                self._leave()
        self._leave_if_unused()

    def _leave_if_unused(self) -> None:
        if not self._names:
            self._leave()

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.raw.close()  # and with it all locks of the session, whoever uses the connection next
            self._connection = None
        self._held.clear()
        session, self._session = self._session, ExitStack()
        session.close()

    def _key(self, name: str) -> int:
        text = f"{self._database.schema}\0{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)
