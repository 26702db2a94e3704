"""The connections of one process to one SQLite database: a writer that threads take in turns, and readers beside it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from esbank.backends._appends import REPEAT, WrittenMetadata
from esbank.backends._changes import Changes
from esbank.backends._sqlite_connection import Connection, SQLiteStoreTransaction, SQLiteTransaction
from esbank.errors import StorageError, StoreClosed, UnknownOutcome
from esbank.store import AppendResult, Rows, SqlValue, StreamAppend, Transaction

__all__ = ["Database", "fork_lock"]

_MOST_IDLE_READERS: Final = 8
_MOMENT: Final = 0.01

_Append: TypeAlias = Callable[
    [Connection, Sequence[StreamAppend], Mapping[int, WrittenMetadata]], tuple[AppendResult, ...]
]


class Database:
    """One SQLite database, in a file or, with ``path=":memory:"``, in memory.

    `connect` opens a connection, and `prepare_writer` sets the writer's up.

    Writing threads queue for the one writer: SQLite has one write lock, and waiting for it in line is faster than
    trying again and again. Readers see what is committed, and wait for nobody.

    A connection must not be carried across a fork: SQLite keeps its locks per process, and the child would believe that
    it holds what only the parent does. So a fork waits until nobody uses a connection, closes all of them, and both
    processes open new ones. One in memory has no locks and is kept.
    """

    def __init__(
        self,
        name: str,
        *,
        connect: Callable[[], Connection],
        prepare_writer: Callable[[Connection], object],
        is_in_memory: bool = False,
    ) -> None:
        self._name = name
        self._connect = connect
        self._prepare_writer = prepare_writer
        self._is_in_memory = is_in_memory
        self._closed = False
        self._lost_in_fork = False
        self._writer: Connection | None = None
        self._write_lock = threading.Lock()
        self._writing_thread: int | None = None
        self._readers: deque[Connection] = deque()
        self._reading: set[object] = set()
        # An interrupt may come between a Condition's `with` and its lock's, but not in a lock's own.
        self._readers_lock = threading.RLock()
        self._no_reader = threading.Condition(self._readers_lock)
        self._watcher: Connection | None = None
        self._watchers = 0
        self._changes = Changes()
        _open_databases.add(self)

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Open a write transaction; commit when the block ends, roll back when it raises."""
        with self.begin() as connection:
            yield connection
            self.commit(connection)

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """Open a write transaction; roll back when the block ends, unless it was committed."""
        self.check_not_writing()
        with self._write_lock:
            connection = self._writer_connection()
            self._writing_thread = threading.get_ident()
            try:
                connection.only_read(yes=False)
                connection.run("BEGIN IMMEDIATE")
                yield connection
            finally:
                if connection is self._writer:
                    self._writing_thread = None
                    # An interrupt may come in the middle; a function for this would be one more place for it.
                    try:
                        connection.rollback()
                    except BaseException:
                        connection.rollback()
                        raise
                    if connection.cannot_write:
                        self._writer = None
                        connection.close()

    def commit(self, connection: Connection) -> None:
        """Commit what `begin` opened. What the block does then is done before anybody else writes."""
        self.check_open()
        connection.check_in_transaction()
        try:
            connection.run("COMMIT")
        except StorageError as error:
            raise UnknownOutcome(self._name, f"the commit failed ({error.problem}); {REPEAT}") from error.__cause__
        self._changes.add()

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        """Open a write transaction for the tables of views."""
        with self.write() as connection:
            transaction = SQLiteTransaction(connection, self._name)
            try:
                yield transaction
            finally:
                transaction.end()

    @contextmanager
    def transaction(self, append: _Append) -> Generator[SQLiteStoreTransaction]:
        """Open a write transaction for the caller's own tables and for appends; `append` makes them and commits."""
        with self.begin() as connection:
            transaction = SQLiteStoreTransaction(connection, self._name)
            try:
                yield transaction
            finally:
                transaction.end()
            self.check_open()
            connection.check_in_transaction()
            pending = transaction.pending
            if pending.appends:
                pending.resolve(append(connection, pending.appends, pending.metadata))
            else:
                self.commit(connection)

    def query(self, sql: str, parameters: Mapping[str, SqlValue]) -> Rows:
        """Read what is committed."""
        with self.read() as connection:
            return connection.query(sql, parameters)

    def query_in_turn(self, sql: str, parameters: Mapping[str, SqlValue]) -> Rows:
        """Read with the writer's own connection, once it is free: the only way where no other sees the database."""
        self.check_not_writing()
        with self._write_lock:
            connection = self._writer_connection()
            connection.only_read(yes=True)
            try:
                return connection.query(sql, parameters)
            finally:
                connection.only_read(yes=False)

    def rows(self, sql: str, parameters: Sequence[SqlValue]) -> Rows:
        """Execute one statement that only reads."""
        with self.read() as connection:
            return connection.rows(sql, parameters)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Borrow a connection to read with."""
        connection: Connection | None = None
        reading = object()
        try:
            with self._readers_lock:
                self.check_open()
                self._reading.add(reading)
                connection = self._readers.pop() if self._readers else None
            if connection is None:
                connection = self._connect_reader()
            yield connection
        finally:
            try:  # as in `write`
                self._return(reading, connection)
            except BaseException:
                self._return(reading, connection)
                raise

    def changes(self) -> tuple[int, int, int]:
        """Return something that differs from what it was before whenever somebody has committed, in any process."""
        mine = self._changes.count
        with self._readers_lock:
            self.check_open()
            if self._watcher is None:
                self._watcher = self._connect()
                # Each connection counts for itself: what a new one says cannot be compared with what another said.
                self._watchers += 1
            ((others,),) = self._watcher.rows("PRAGMA data_version")
            return mine, self._watchers, others

    def wait_for_change(self, since: tuple[int, int, int], timeout: float) -> None:
        """Wait until this process has committed something since, at most `timeout` seconds."""
        self._changes.wait(since[0], timeout)

    def close(self) -> None:
        """Close all connections, once writers have finished."""
        self.check_not_writing()
        with self._write_lock, self._readers_lock:
            self._closed = True
            self._close_connections()
        self._changes.add()  # nobody waits for more

    def check_open(self) -> None:
        """Raise ``StoreClosed`` once `close` was called."""
        if self._closed:
            raise StoreClosed(self._name)
        if self._lost_in_fork:
            raise StorageError(self._name, "the process was forked inside a transaction; only the parent can go on")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def hold(self) -> bool:
        """Keep everybody out, if nobody is in within a moment."""
        is_mine = self._writing_thread == threading.get_ident()
        if not is_mine and not self._write_lock.acquire(timeout=_MOMENT):
            return False
        with self._readers_lock:
            if self._no_reader.wait_for(lambda: not self._reading, timeout=_MOMENT):
                self._no_reader.acquire()  # once more than this block gives back
                return True
        if not is_mine:
            self._write_lock.release()
        return False

    def release(self) -> None:
        """Let everybody in again."""
        self._no_reader.release()
        if self._writing_thread is None:
            self._write_lock.release()

    def before_fork(self) -> None:
        """Close all connections."""
        if self._writing_thread is None and not self._is_in_memory:
            self._close_connections()

    def after_fork(self, *, in_child: bool) -> None:
        """Let everybody go on, but for a child that was forked inside a transaction: that is the parent's."""
        self.release()
        if in_child:
            self._changes.renew()
        if in_child and self._writing_thread is not None:
            self._lost_in_fork = True
            # Never closed, because closing it would roll back what the parent is still writing.
            _inherited.append((self._writer, self._readers, self._watcher))
            self._writer = self._watcher = None

    def _writer_connection(self) -> Connection:
        self.check_open()
        if self._writer is None:
            writer = self._connect()
            self._prepare_writer(writer)
            self._writer = writer
        return self._writer

    def _connect_reader(self) -> Connection:
        reader = self._connect()
        reader.only_read(yes=True)
        return reader

    def check_not_writing(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread."""
        if self._writing_thread == threading.get_ident():
            raise StorageError(
                self._name,
                "a transaction is open in this thread: end it before you append, begin another, or close the store",
            )

    def _return(self, reading: object, connection: Connection | None) -> None:
        with self._readers_lock:
            if reading in self._reading:
                self._reading.remove(reading)
                if connection is not None:
                    self._readers.append(connection)
            if self._readers and (self._closed or len(self._readers) > _MOST_IDLE_READERS):
                self._readers.pop().close()
            if not self._reading:
                self._no_reader.notify_all()

    def _close_connections(self) -> None:
        while self._readers:
            self._readers.pop().close()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_forking: list[Database] = []
_inherited: list[object] = []

fork_lock: Final = threading.Lock()
"""Held during a fork; and by whoever opens a connection that no `Database` looks after."""


def _before_fork() -> None:
    fork_lock.acquire()
    # All or none: to wait for one while holding another would block a thread that needs both.
    while not _hold_all():
        time.sleep(_MOMENT)
    for database in _forking:
        database.before_fork()


def _hold_all() -> bool:
    for database in list(_open_databases):
        if not database.hold():
            while _forking:
                _forking.pop().release()
            return False
        _forking.append(database)
    return True


def _after_fork(*, in_child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(in_child=in_child)
    fork_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )
