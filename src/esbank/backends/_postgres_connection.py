"""A PostgreSQL connection whose errors are ours, and the transaction that views change in."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, TypeAlias

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import TupleRow, tuple_row

from esbank.backends._appends import REPEAT
from esbank.backends._pending import PendingAppends
from esbank.backends._postgres_arrays import register
from esbank.backends._postgres_watch import Watch
from esbank.backends._statements import check_statement, number_parameters
from esbank.errors import ConstraintViolated, StorageError, StoreUnavailable, UnknownOutcome
from esbank.store import EventStore, ExpectedVersion, NewEvent, PendingAppend, Rows, SqlValue, StreamId

__all__ = [
    "ADVICE",
    "LOCKED_OUT",
    "Connection",
    "PostgresAppendTransaction",
    "PostgresStoreTransaction",
    "PostgresTransaction",
    "Raw",
    "execute",
    "literal",
    "quoted",
    "sqlstate",
    "storage_error",
]

_KEPT: Final = "_esbank"

Raw: TypeAlias = psycopg.Connection[Any]
"""A connection of the driver. ``Any``, because a pool that somebody else has made may return rows of any kind."""


def quoted(identifier: str) -> str:
    """Write an identifier so that it stands for itself in SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a text so that it stands for itself in SQL."""
    return "'" + text.replace("'", "''") + "'"


class Connection:
    """One connection in autocommit mode, borrowed from a pool: transactions begin and end where the code says so.

    Every error of the driver leaves as a ``StorageError`` that says what to do, with the driver's as its cause.
    """

    def __init__(self, raw: Raw, name: str, watch: Watch) -> None:
        self.name = name
        self.raw = raw
        self.watch = watch
        self._cursor: psycopg.RawCursor[TupleRow] = psycopg.RawCursor(raw, row_factory=tuple_row)
        register(self._cursor)
        self._owner = os.getpid()
        self._in_transaction = False
        self._is_unconfirmed = False
        raw.add_notice_handler(self.heard)

    @classmethod
    def of(cls, raw: Raw, name: str, watch: Watch) -> Connection:
        """Return the one that was made of a driver's connection before, or make it."""
        kept: Connection | None = vars(raw).get(_KEPT)
        if kept is None or kept.watch is not watch:
            if kept is not None:
                raw.remove_notice_handler(kept.heard)
            kept = vars(raw)[_KEPT] = cls(raw, name, watch)
        return kept

    @property
    def is_mine(self) -> bool:
        """Whether this process has opened it, and not one from which it was forked."""
        return os.getpid() == self._owner

    def _check_owner(self) -> None:
        if not self.is_mine:
            raise StorageError(self.name, "the process was forked inside a transaction; only the parent can go on")

    @property
    def is_lost(self) -> bool:
        """Whether the server is gone, or has closed the connection."""
        return self.raw.closed

    @property
    def is_busy(self) -> bool:
        """Whether a statement is still on its way, because whoever waited for it was interrupted: of no more use."""
        return bool(self.raw.pgconn.transaction_status == TransactionStatus.ACTIVE)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun, and neither committed nor rolled back."""
        return self._in_transaction

    def rows(
        self,
        sql: str,
        parameters: Sequence[object] | None = None,
        *,
        binary: bool | None = None,
        prepare: bool | None = None,
    ) -> Rows:
        """Execute one statement with ``$1``, ``$2`` … parameters, and return all of its rows."""
        self._check_owner()
        try:
            cursor = self._cursor.execute(sql.encode(), parameters, binary=binary, prepare=prepare)
            result = cursor.pgresult
            return cursor.fetchall() if result is not None and result.status == ExecStatus.TUPLES_OK else []
        except _ERRORS as error:
            raise self._error(error, sql) from error

    def rows_in_binary(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Execute one statement as `rows` does, and have the rows in PostgreSQL's binary form, which is faster."""
        return self.rows(sql, parameters, binary=True)

    def many(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """Execute one statement for each set of parameters."""
        self._check_owner()
        try:
            self._cursor.executemany(sql.encode(), parameters)
        except _ERRORS as error:
            raise self._error(error, sql) from error

    def script(self, sql: str) -> None:
        """Execute several statements, without parameters."""
        self._check_owner()
        try:
            self._cursor.execute(sql.encode())
        except _ERRORS as error:
            raise self._error(error, sql) from error

    def append(self, sql: str, parameters: Sequence[object]) -> Rows:
        """Execute one statement that appends; it commits by itself, unless a transaction is open.

        Then it raises ``UnknownOutcome`` when the connection is lost, and when a standby has not confirmed the commit.
        """
        if self._in_transaction:
            return self.rows(sql, parameters, binary=True)
        self._is_unconfirmed = False
        self.watch.begin(self.raw)
        try:
            rows = self.rows(sql, parameters, binary=True)
        except StoreUnavailable as error:
            raise self._lost(error) from error.__cause__
        finally:
            self.watch.end(self.raw)
        self._check_confirmed()
        return rows

    @contextmanager
    def transaction(self, begin: str = "") -> Generator[None]:
        """Open a transaction; commit when the block ends, roll back when it raises."""
        self.begin(begin)
        try:
            yield
            self.commit()
        finally:
            self.rollback()

    def begin(self, more: str = "") -> None:
        """Open a transaction, and execute what more is to be executed at its beginning."""
        self._in_transaction = True
        try:
            self.script(f"BEGIN ISOLATION LEVEL READ COMMITTED; {more}")
        except BaseException as error:
            self.rollback()
            if isinstance(error, StorageError) and sqlstate(error) == LOCKED_OUT:
                # Nothing was begun, so whoever can wait may try again.
                raise StoreUnavailable(self.name, error.problem) from error.__cause__
            raise

    def commit(self) -> None:
        """Commit the open transaction.

        Raises ``UnknownOutcome`` when it remains open whether that has happened.
        """
        self.check_sound()
        self._is_unconfirmed = False
        self.watch.begin(self.raw)
        try:
            self.script("COMMIT")
        except StoreUnavailable as error:
            raise self._lost(error) from error.__cause__
        finally:
            self.watch.end(self.raw)
        self._in_transaction = False
        self._check_confirmed()

    def check_sound(self) -> None:
        """Raise ``StorageError`` when a statement of the open transaction has failed, or has ended it."""
        if self.raw.pgconn.transaction_status == TransactionStatus.IDLE:
            raise StorageError(self.name, "a statement has ended the transaction; look what became of it")
        if self.raw.pgconn.transaction_status == TransactionStatus.INERROR:
            raise StorageError(self.name, "a statement of the transaction has failed, so all of it is rolled back")

    def rollback(self) -> None:
        """Undo what the open transaction did, if one is open and can be reached."""
        if self._in_transaction and self.is_mine:
            self._in_transaction = False
            if self.is_busy:
                self.raw.close()
            with suppress(StoreUnavailable):
                if not self.is_lost:
                    self.script("ROLLBACK")

    def _check_confirmed(self) -> None:
        if self._is_unconfirmed:
            problem = f"it is committed here, but no synchronous standby has confirmed that; {REPEAT}"
            raise UnknownOutcome(self.name, problem)

    def _lost(self, error: StoreUnavailable) -> UnknownOutcome:
        return UnknownOutcome(self.name, f"the connection was lost ({error.problem}); {REPEAT}")

    def heard(self, notice: Diagnostic) -> None:
        """Take a warning of the server."""
        # Told as a mere warning, and its text is translated: the name of the server's function is not.
        if notice.source_function == "SyncRepWaitForLSN":
            self._is_unconfirmed = True

    def _error(self, error: Exception, sql: str) -> StorageError:
        return storage_error(error, self.name, sql, is_lost=self.is_lost)


# The others are what psycopg raises for a number that no type holds, and for a lone surrogate.
_ERRORS: Final = (psycopg.Error, OverflowError, UnicodeError)

_NO_SUCH_TABLE: Final = "42P01"
_CONSTRAINT_VIOLATIONS: Final = "23"
"""What the states begin with in which a statement ends that a constraint has refused."""
LOCKED_OUT: Final = "55P03"
"""The state in which a statement ends that has waited for a lock for too long."""
ADVICE: Final = {
    "ESB01": "appends need READ COMMITTED, which sees what others have just committed: set "
    "default_transaction_isolation of the role, or of the pool's sessions",
    "ESB02": "what is acknowledged could be lost with less than synchronous_commit = on: set it for the role, or "
    'accept the loss with durability="normal"',
    "ESB03": "a commit that no standby has confirmed is told by a warning: set client_min_messages to notice",
    "42501": "give the role this right: the documentation of PostgreSQL stores says which ones a role needs",
    "53100": "free some space and try again",
    "53300": "lower the size of pools, or raise max_connections",
    LOCKED_OUT: "another transaction held a lock for too long; find it in pg_stat_activity, or raise lock_timeout",
    "40P01": "two transactions waited for each other, and this one was rolled back; try again",
    "57014": "it was cancelled, or took longer than statement_timeout; nothing of it was stored",
    "25006": "the server is a standby, or the session is read-only; connect to the primary",
    _NO_SUCH_TABLE: "the tables of a view are made by its runner's first catch_up()",
}
_IDLE_FOR_TOO_LONG: Final = "25P03"
_LOST: Final = frozenset({"57P01", "57P02", "57P03", "57P05"})


def storage_error(error: Exception, name: str, sql: str = "", *, is_lost: bool = False) -> StorageError:
    """Make our error of one of the driver's."""
    state = getattr(error, "sqlstate", None)
    said = " ".join(str(error).split("\n", 1)[0].split())
    if state == _IDLE_FOR_TOO_LONG:
        return StorageError(name, f"{said}; it was rolled back: end transactions sooner, or raise idle_timeout")
    if is_lost and "FATAL" in said:
        return StoreUnavailable(name, f"{said}; check role, password and database, unless the server is just starting")
    if is_lost or state in _LOST or (state or "").startswith("08"):
        return StoreUnavailable(name, f"{said}; the server cannot be reached now, or has ended the session")
    advice = ADVICE.get(state or "", "")
    problem = f"{said}; {advice}" if advice else f"{said}{_hint(error)}"
    if sql and (not advice or state == _NO_SUCH_TABLE):
        problem += f", in: {' '.join(sql.split())[:300]}"
    return (ConstraintViolated if (state or "").startswith(_CONSTRAINT_VIOLATIONS) else StorageError)(name, problem)


def sqlstate(error: StorageError) -> str | None:
    """Return PostgreSQL's own name for an error of ours, if it is of PostgreSQL's making."""
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    return state


def _hint(error: Exception) -> str:
    hint = error.diag.message_hint if isinstance(error, psycopg.Error) else None
    return f" ({hint})" if hint else ""


class PostgresTransaction:
    """An open transaction on views: implements ``esbank.store.Transaction``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._has_ended = False

    def end(self) -> None:
        """Take no more statements."""
        self._has_ended = True

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """PostgreSQL's SQL."""
        return "postgresql"

    def execute(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        """Execute one statement with ``:name`` parameters; return its rows, if any."""
        self.check_open()
        return execute(self._connection, sql, parameters or {})

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, SqlValue]], /) -> None:
        """Execute one statement for each set of ``:name`` parameters."""
        self.check_open()
        check_statement(sql)
        numbered, names = number_parameters(sql)
        self._connection.many(numbered, (_values(self._connection, names, values) for values in parameters))

    def check_open(self) -> None:
        """Raise ``StorageError`` once the transaction has ended."""
        if self._has_ended:
            problem = "the transaction has ended; execute statements inside its with block"
            raise StorageError(self._connection.name, problem)


class PostgresAppendTransaction(PostgresTransaction):
    """The transaction of an append: implements ``esbank.store.AppendTransaction``."""

    def __init__(self, connection: Connection, store: EventStore) -> None:
        super().__init__(connection)
        self._store = store

    @property
    def store(self) -> EventStore:
        """The store that is appended to."""
        return self._store


class PostgresStoreTransaction(PostgresTransaction):
    """A transaction on the caller's own tables: implements ``esbank.store.StoreTransaction``."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.pending = PendingAppends(connection.name)

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> PendingAppend:
        """Have `events` stored by the commit."""
        self.check_open()
        return self.pending.add(stream, events, expected_version)


def execute(
    connection: Connection, sql: str, parameters: Mapping[str, SqlValue], *, prepare: bool | None = None
) -> Rows:
    """Execute one statement with ``:name`` parameters that leaves transactions alone."""
    check_statement(sql)
    numbered, names = number_parameters(sql)
    return connection.rows(numbered, _values(connection, names, parameters) or None, prepare=prepare)


def _values(connection: Connection, names: Sequence[str], parameters: Mapping[str, SqlValue]) -> Sequence[SqlValue]:
    try:
        return [parameters[name] for name in names]
    except KeyError as error:
        raise StorageError(connection.name, f"the statement has a parameter :{error.args[0]} without a value") from None
