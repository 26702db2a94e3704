"""A SQLite connection whose errors are ours, and the transactions in which somebody else's tables change."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from esbank.backends._pending import PendingAppends
from esbank.backends._statements import check_statement
from esbank.errors import ConstraintViolated, StorageError, StoreClosed
from esbank.store import (
    EventStore,
    ExpectedVersion,
    NewEvent,
    PendingAppend,
    Rows,
    SqlValue,
    StreamId,
)

__all__ = ["Connection", "SQLiteAppendTransaction", "SQLiteStoreTransaction", "SQLiteTransaction"]


class Connection:
    """One connection in autocommit mode: transactions begin and end where the code says so.

    Every error of the driver leaves as a ``StorageError`` that says what to do, with the driver's as its cause.
    """

    def __init__(self, path: str, *, timeout: float, name: str = "") -> None:
        self._name = name or path
        self._only_reads = False
        self._cannot_write = False
        try:
            self._raw = sqlite3.connect(
                path,
                timeout=timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
        except sqlite3.Error as error:
            raise self._error(error) from error

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._raw.in_transaction

    @property
    def cannot_write(self) -> bool:
        """Whether the file turned out to be read-only: SQLite looks when it opens it, and never again."""
        return self._cannot_write

    def check_in_transaction(self) -> None:
        """Raise ``StorageError`` when SQLite has rolled the transaction back by itself."""
        if not self._raw.in_transaction:
            raise StorageError(self._name, "a statement failed and undid the whole transaction; begin it again")

    def rows(self, sql: str, parameters: Sequence[SqlValue] | Mapping[str, SqlValue] = ()) -> Rows:
        """Execute one statement and return all of its rows."""
        try:
            return self._raw.execute(sql, parameters).fetchall()
        except _ERRORS as error:
            if self._only_reads and str(error).startswith("Could not decode to UTF-8"):
                return self._damaged_rows(sql, parameters)
            raise self._error(error, sql) from error

    def run(self, sql: str, parameters: Sequence[SqlValue] = ()) -> None:
        """Execute one statement that returns no rows."""
        try:
            self._raw.execute(sql, parameters)
        except _ERRORS as error:
            raise self._error(error, sql) from error

    def many(self, sql: str, parameters: Iterable[Sequence[SqlValue] | Mapping[str, SqlValue]]) -> None:
        """Execute one statement for each set of parameters."""
        try:
            self._raw.executemany(sql, parameters)
        except _ERRORS as error:
            raise self._error(error, sql) from error

    def define(self, name: str, function: Callable[[bytes], SqlValue]) -> None:
        """Let statements call a function of one argument."""
        self._raw.create_function(name, 1, function, deterministic=True)

    def rollback(self) -> None:
        """Undo what the open transaction did, if one is open."""
        if self._raw.in_transaction:
            self.rows("ROLLBACK")

    def query(self, sql: str, parameters: Mapping[str, SqlValue]) -> Rows:
        """Execute one statement that reads; refuse any other."""
        check_statement(sql)
        return self.rows(sql, parameters)

    def only_read(self, *, yes: bool) -> None:
        """Refuse every statement that would change something, or allow them again."""
        if yes != self._only_reads:
            self._only_reads = True
            self.rows(f"PRAGMA query_only={'ON' if yes else 'OFF'}")
            self._only_reads = yes

    def use_write_ahead_log(self, *, patience: float) -> None:
        """Switch the file to WAL, waiting `patience` seconds for others: SQLite does not wait for this by itself."""
        deadline = time.monotonic() + patience
        while True:
            try:
                ((mode,),) = self.rows("PRAGMA journal_mode=WAL")
            except StorageError as error:
                cause = error.__cause__
                busy = isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
                continue
            if mode == "wal":
                return
            raise StorageError(
                self._name,
                f"the file system cannot hold a write-ahead log (journal mode stays {mode!r}); use a local disk",
            )

    def _damaged_rows(self, sql: str, parameters: Sequence[SqlValue] | Mapping[str, SqlValue]) -> Rows:
        """Read rows with a damaged text among them: it gets lone surrogates, and whoever decodes it names the event."""
        self._raw.text_factory = _text_with_surrogates
        try:
            return self._raw.execute(sql, parameters).fetchall()
        except _ERRORS as error:
            raise self._error(error, sql) from error
        finally:
            self._raw.text_factory = str

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()

    def _error(self, error: Exception, sql: str = "") -> StorageError:
        if isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error):
            return StoreClosed(self._name)
        if self._only_reads and _code(error) == sqlite3.SQLITE_READONLY:
            return StorageError(self._name, "a query only reads; change views in a view_transaction()")
        self._cannot_write = self._cannot_write or _code(error) == sqlite3.SQLITE_READONLY
        advice = _advice(error, self._name)
        problem = f"{error}; {advice}" if advice else f"{error}{_hint(error)}, in: {' '.join(sql.split())}"
        kind = ConstraintViolated if isinstance(error, sqlite3.IntegrityError) else StorageError
        return kind(self._name, problem)


def _text_with_surrogates(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


# The last two are what sqlite3 raises for a number beyond 64 bits and for a lone surrogate.
_ERRORS: Final = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError)

_ADVICE: Final[dict[int, str]] = {
    sqlite3.SQLITE_FULL: "free some space and try again",
    sqlite3.SQLITE_READONLY: "give this user the right to write the file and its folder",
    sqlite3.SQLITE_NOTADB: "choose the path of a SQLite file, or of a file that does not exist yet",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; keep a copy of it, check it with PRAGMA integrity_check, and "
    "restore a backup",
    sqlite3.SQLITE_BUSY: "another process held the file for too long; find it, or raise busy_timeout",
    sqlite3.SQLITE_LOCKED: "another connection of this process held the table for too long",
    sqlite3.SQLITE_IOERR: "the disk failed; check the disk and the system's log, then try again",
    sqlite3.SQLITE_PERM: "give this user the right to use the file",
}


def _code(error: Exception) -> int:
    """Return SQLite's primary result code, 0 where the error is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF


def _advice(error: Exception, path: str) -> str:
    """Say what to do; empty where the statement is at fault, and not the database."""
    if _code(error) == sqlite3.SQLITE_CANTOPEN:
        file = Path(path)
        if file.is_dir():
            return "this is a folder; name a file in it"
        if not file.parent.is_dir():
            return f"make the folder {file.parent} first"
        return "check that this user may read and write the file and its folder"
    return _ADVICE.get(_code(error), "")


def _hint(error: Exception) -> str:
    """Say what the mistake in a statement often is."""
    if "no such table" in str(error):
        return " (the tables of a view are made by its runner's first catch_up())"
    if "Decimal" in str(error):
        return " (pass a Decimal as text: str(amount))"
    return ""


class SQLiteTransaction:
    """An open transaction on views: implements ``esbank.store.Transaction``."""

    def __init__(self, connection: Connection, store: str) -> None:
        self._connection = connection
        self._store = store
        self._has_ended = False

    def end(self) -> None:
        """Take no more statements."""
        self._has_ended = True

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """SQLite's SQL."""
        return "sqlite"

    def execute(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        """Execute one statement with ``:name`` parameters; return its rows, if any."""
        self._check(sql)
        return self._connection.rows(sql, parameters or {})

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, SqlValue]], /) -> None:
        """Execute one statement for each set of ``:name`` parameters."""
        self._check(sql)
        self._connection.many(sql, parameters)

    def _check(self, sql: str) -> None:
        self._check_not_ended()
        check_statement(sql)
        # Without a transaction, the statement would take effect by itself.
        self._connection.check_in_transaction()

    def _check_not_ended(self) -> None:
        if self._has_ended:
            raise StorageError(self._store, "the transaction has ended; use it inside its with block")


class SQLiteStoreTransaction(SQLiteTransaction):
    """An open transaction on the caller's own tables: implements ``esbank.store.StoreTransaction``."""

    def __init__(self, connection: Connection, store: str) -> None:
        super().__init__(connection, store)
        self.pending = PendingAppends(store)

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> PendingAppend:
        """Have `events` stored at the end of `stream` by the commit, if it is at `expected_version` then."""
        self._check_not_ended()
        return self.pending.add(stream, events, expected_version)


class SQLiteAppendTransaction(SQLiteTransaction):
    """The transaction of an append: implements ``esbank.store.AppendTransaction``."""

    def __init__(self, connection: Connection, store: EventStore) -> None:
        super().__init__(connection, repr(store))
        self._event_store = store

    @property
    def store(self) -> EventStore:
        """The store that is appended to."""
        return self._event_store
