"""The connections of one process to one SQLite database: a writer that threads take in turns, and readers beside it."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from esbank.backends._sqlite_connection import Connection, SQLiteTransaction
from esbank.errors import StorageError, StoreClosed, UnknownOutcome
from esbank.store import Rows, SqlValue, Transaction

__all__ = ["Database"]

_MOST_IDLE_READERS: Final = 8


class Database:
    """One SQLite database, in a file or in memory.

    `connect` opens a connection, and `prepare_writer` sets the writer's up.

    Writing threads queue for the one writer: SQLite has one write lock, and waiting for it in line is faster than
    trying again and again. Readers see what is committed, and wait for nobody.
    """

    def __init__(
        self, name: str, *, connect: Callable[[], Connection], prepare_writer: Callable[[Connection], object]
    ) -> None:
        self._name = name
        self._connect = connect
        self._prepare_writer = prepare_writer
        self._closed = False
        self._writer: Connection | None = None
        self._readers: deque[Connection] = deque()
        self._write_lock = threading.Lock()
        self._writing_thread: int | None = None
        _open_databases.add(self)

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Open a write transaction; commit when the block ends, roll back when it raises."""
        self._check_not_writing()
        with self._write_lock:
            connection = self._writer_connection()
            self._writing_thread = threading.get_ident()
            try:
                connection.rows("BEGIN IMMEDIATE")
                yield connection
                self._commit(connection)
            finally:
                if connection is self._writer:
                    self._writing_thread = None
                    connection.rollback()

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        """Open a write transaction for the tables of views."""
        with self.write() as connection:
            transaction = SQLiteTransaction(connection, self._name)
            try:
                yield transaction
            finally:
                transaction.end()

    def query(self, sql: str, parameters: Mapping[str, SqlValue]) -> Rows:
        """Read what is committed."""
        with self.read() as connection:
            return connection.query(sql, parameters)

    def query_in_turn(self, sql: str, parameters: Mapping[str, SqlValue]) -> Rows:
        """Read with the writer's own connection, once it is free: the only way where no other sees the database."""
        self._check_not_writing()
        with self._write_lock:
            return self._writer_connection().query(sql, parameters)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Borrow a connection to read with."""
        self.check_open()
        readers = self._readers
        try:
            connection = readers.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            if len(readers) < _MOST_IDLE_READERS:
                readers.append(connection)
            else:
                connection.close()
            if self._closed:
                self._close_readers()

    def close(self) -> None:
        """Close all connections, once writers have finished."""
        self._check_not_writing()
        with self._write_lock:
            self._closed = True
            self._close_readers()
            if self._writer is not None:
                self._writer.close()

    def check_open(self) -> None:
        """Raise ``StoreClosed`` once `close` was called."""
        if self._closed:
            raise StoreClosed(self._name)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def forget_connections(self) -> None:
        """Start afresh in the child of a fork, without so much as touching what the parent has open.

        Closing an inherited connection could drop the parent's locks and its write-ahead log, so they are kept alive
        for as long as this process lives.
        """
        _never_closed.append((self._writer, self._readers))
        self._writer = None
        self._readers = deque()
        # Another thread of the parent may have held the lock, and that thread is not here to release it.
        self._write_lock = threading.Lock()
        self._writing_thread = None

    def _writer_connection(self) -> Connection:
        self.check_open()
        if self._writer is None:
            self._writer = self._connect()
            self._prepare_writer(self._writer)
        return self._writer

    def _check_not_writing(self) -> None:
        if self._writing_thread == threading.get_ident():
            raise StorageError(
                self._name,
                "a transaction is open in this thread: end it before you append, begin another, or close the store",
            )

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()

    def _commit(self, connection: Connection) -> None:
        if connection is not self._writer:
            raise StorageError(self._name, "the process was forked inside a transaction; it commits in the parent only")
        try:
            connection.rows("COMMIT")
        except StorageError as error:
            problem = f"the commit failed ({error.problem}); repeat the very same append to learn whether it was stored"
            raise UnknownOutcome(self._name, problem) from error.__cause__


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_never_closed: list[object] = []


def _after_fork_in_child() -> None:
    for database in list(_open_databases):
        database.forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
