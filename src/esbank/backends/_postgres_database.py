"""One process's connections to a PostgreSQL database: borrowed for a statement or a transaction, and given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeAlias

import psycopg
from attrs import frozen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from esbank.backends._postgres_connection import (
    Connection,
    PostgresTransaction,
    Raw,
    execute,
    literal,
    quoted,
    storage_error,
)
from esbank.backends._postgres_watch import Watch
from esbank.errors import StorageError, StoreClosed, StoreUnavailable
from esbank.store import Rows, SqlValue, Transaction

__all__ = ["Database", "Limits", "Pool", "describe", "discard", "keep_open"]

Pool: TypeAlias = ConnectionPool[Any]
"""A pool of connections of any kind: what kind of rows they return does not matter here."""

_FEWEST: Final = 2
_HARMLESS: Final = ("invalid URI query parameter", "invalid connection option")


@frozen
class Limits:
    """How long anything may take, in seconds; None for as long as the server's own settings say."""

    connect: float
    lock: float | None
    statement: float | None
    idle: float | None


def describe(source: str | Pool, schema: str) -> str:
    """Name a database and a schema in it, without the password."""
    dsn = source if isinstance(source, str) else source.conninfo
    try:
        said = conninfo_to_dict(dsn() if callable(dsn) else dsn)
    except psycopg.Error as error:
        # What else the driver says may show the password.
        reason = str(error).strip() if str(error).startswith(_HARMLESS) else "write postgresql://user@host/database"
        problem = f"this is no connection string of PostgreSQL: {reason}; a schema is named by schema=…"
        raise ValueError(problem) from None
    where = f"{said.get('host', '')}{':' if 'port' in said else ''}{said.get('port', '')}"
    return f"postgresql://{where}/{said.get('dbname', said.get('user', ''))} ({schema})"


class Database:
    """One schema of one PostgreSQL database, reached through a pool: of our own, or one that somebody else made.

    The transactions on views of this process take turns before they take a connection; those of other processes wait in
    the server. A forked child opens connections of its own; a pool that somebody else made is the parent's.
    """

    def __init__(self, source: str | Pool, schema: str, *, pool_size: int, limits: Limits) -> None:
        if not isinstance(source, (str, ConnectionPool)):
            raise TypeError(f"a store takes a connection string or a psycopg_pool.ConnectionPool, not {source!r}")
        self.schema = schema
        self._source = source
        self._dsn = source if isinstance(source, str) else None
        self._limits = limits
        self._pool_size = pool_size
        self.name = describe(source, schema)
        self._check_size()
        self._look_here_first = (
            f"SELECT set_config('search_path', concat_ws(', ', {literal(quoted(schema))},"
            " nullif(current_setting('search_path'), ''), 'pg_temp'), true)"
            + "".join(f"; SET LOCAL {name} TO DEFAULT" for name in _PLANS)
        )
        # A rebuild copies whole tables; what has to wait for a lock is still limited.
        self._lock_views = (
            "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(1702060642,"
            f" {literal(f'{quoted(schema)}.esbank_store')}::regclass::oid::integer)"
        )
        self._watch = Watch(None if limits.statement is None else limits.statement + _GRACE)
        self._closed = False
        self._is_orphan = False
        self._reset()

    def _reset(self) -> None:
        self._pool: Pool | None = None
        self._mutex = threading.Lock()
        self._view_lock = threading.Lock()
        self._inside = threading.local()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def has_own_pool(self) -> bool:
        """Whether nobody else uses the pool."""
        return self._dsn is not None

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """Borrow a connection on which no transaction is open."""
        pool = self._open_pool()
        raw = self._get(pool)
        autocommit = raw.autocommit
        connection = Connection.of(raw, self.name, self._watch)
        try:
            if not autocommit:
                raw.autocommit = True
            yield connection
        finally:
            if connection.is_mine:
                if not autocommit and raw.pgconn.transaction_status == TransactionStatus.IDLE:
                    raw.autocommit = False
                pool.putconn(raw)
            else:
                keep_open(connection)

    def _get(self, pool: Pool) -> Raw:
        deadline = time.monotonic() + self._limits.connect
        while True:
            left = deadline - time.monotonic()
            try:
                # In slices: when the pool gives up connecting, somebody has to ask again for it to begin again.
                raw: Raw = pool.getconn(max(0.01, min(left, _SLICE)))
            except PoolClosed as error:
                if self._closed:
                    raise StoreClosed(self.name) from error
                raise StorageError(self.name, f"{error}; open the pool first, and close it last") from error
            except psycopg.Error as error:
                if isinstance(error, PoolTimeout) and left > _SLICE:
                    continue
                raise self._not_connected(error, pool) from error
            encoding = raw.pgconn.parameter_status(b"client_encoding")
            if encoding == b"UTF8":
                return raw
            pool.putconn(raw)
            problem = f"the pool's sessions have the client_encoding {(encoding or b'').decode()}; give it UTF8"
            raise StorageError(self.name, problem)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Execute one statement that only reads; once more when the connection turns out to be lost."""
        return self.repeat_when_lost(lambda connection: connection.rows(sql, parameters, binary=True))

    def repeat_when_lost(self, work: Callable[[Connection], Rows]) -> Rows:
        """Do with a connection what may be done twice; once more with a sound one when it turns out to be lost."""
        with self.connection() as connection:
            try:
                return work(connection)
            except StoreUnavailable:
                if not connection.is_lost:
                    raise
        self.check_connections()
        with self.connection() as connection:
            return work(connection)

    def check_connections(self) -> None:
        """Replace idle connections that are lost: one that was makes it likely that all were, as after a restart."""
        self._open_pool().check()

    def query(self, sql: str, parameters: Mapping[str, SqlValue]) -> Rows:
        """Read what is committed, with the tables of views at hand."""

        def read(connection: Connection) -> Rows:
            with connection.transaction(f"SET TRANSACTION READ ONLY; {self._look_here_first}"):
                # A rebuild may give a table another shape, which a statement that the server has prepared would refuse.
                return execute(connection, sql, parameters, prepare=False)

        return self.repeat_when_lost(read)

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Open a transaction, which takes no lock; commit when the block ends, roll back when it raises."""
        self.check_not_writing()
        with self._inside_transaction(), self._begun(self._look_here_first) as connection:
            yield connection

    def lock_views(self, connection: Connection) -> None:
        """Keep all others from changing views until the open transaction ends."""
        connection.script(self._lock_views)

    @contextmanager
    def exclusive(self) -> Generator[Connection]:
        """Open a transaction on views that excludes all others, in any process."""
        self.check_not_writing()
        begin = f"{self._look_here_first}; {self._lock_views}"
        with self._view_lock, self._inside_transaction(), self._begun(begin) as connection:
            yield connection

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        """Open a transaction on views that excludes all others, in any process."""
        with self.exclusive() as connection:
            transaction = PostgresTransaction(connection)
            try:
                yield transaction
            finally:
                transaction.end()

    @contextmanager
    def own_connection(self) -> Generator[Connection]:
        """Borrow a connection for long."""
        if self._dsn is None:
            with self.connection() as connection:
                yield connection
        else:
            connection = self.open()
            try:
                yield connection
            finally:
                discard(connection)

    def open(self) -> Connection:
        """Open a connection beside the pool, which must be one of our own."""
        source = self._source
        if not isinstance(source, str):
            raise TypeError("the pool that was given opens all connections")
        raw: Raw | None = None
        try:
            raw = psycopg.connect(source, **self._arguments(source))
            self._configure(raw)
        except psycopg.Error as error:
            if raw is not None:
                raw.close()
            raise storage_error(error, self.name, is_lost=True) from error
        return Connection(raw, self.name, self._watch)

    def check_open(self) -> None:
        """Raise ``StoreClosed`` once `close` was called."""
        if self._closed:
            raise StoreClosed(self.name)

    def check_not_writing(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread."""
        if getattr(self._inside, "transaction", False):
            raise StorageError(
                self.name,
                "a transaction is open in this thread: end it before you append, begin another, or close the store",
            )

    def close(self) -> None:
        """Give all connections back, once the transactions on views have ended."""
        self.check_not_writing()
        with self._view_lock, self._mutex:
            self._closed = True
            self._watch.stop()
            pool, self._pool = self._pool, None
            if pool is not None and self._dsn is not None:
                pool.close()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the connections are the parent's."""
        keep_open(self._pool)
        self._watch.after_fork()
        self._is_orphan = self._dsn is None
        self._reset()

    @contextmanager
    def _begun(self, begin: str = "") -> Generator[Connection]:
        """Open a transaction; where the connection turns out to be lost before it has begun, open it with another."""
        with ExitStack() as borrowed:
            connection = borrowed.enter_context(self.connection())
            try:
                connection.begin(begin)
            except StoreUnavailable:
                if not connection.is_lost:
                    raise
                borrowed.close()
                self.check_connections()
                connection = borrowed.enter_context(self.connection())
                connection.begin(begin)
            try:
                yield connection
                if connection.in_transaction:
                    connection.commit()
            finally:
                connection.rollback()

    @contextmanager
    def _inside_transaction(self) -> Generator[None]:
        self._inside.transaction = True
        try:
            yield
        finally:
            self._inside.transaction = False

    def _open_pool(self) -> Pool:
        pool = self._pool
        if pool is not None:
            return pool
        with self._mutex:
            self.check_open()
            if self._is_orphan:
                raise StorageError(self.name, "the pool is the parent process's; open another store in the child")
            if self._pool is None:
                source = self._source
                self._pool = self._make_pool(source) if isinstance(source, str) else source
            return self._pool

    def _make_pool(self, dsn: str) -> Pool:
        return ConnectionPool(
            dsn,
            kwargs=self._arguments(dsn),
            configure=self._configure,
            min_size=1,
            max_size=self._pool_size,
            reconnect_timeout=_SLICE,
            open=True,
            name=self.name,
        )

    def _arguments(self, dsn: str) -> dict[str, Any]:
        given = conninfo_to_dict(dsn)
        return {
            "autocommit": True,
            "client_encoding": "UTF8",
            "application_name": given.get("application_name", "esbank"),
            "connect_timeout": given.get("connect_timeout", max(2, round(self._limits.connect))),
            # So that a network which has swallowed an answer does not keep us waiting for ever.
            **{name: given.get(name, value) for name, value in _KEEPALIVES.items()},
        }

    def _configure(self, raw: Raw) -> None:
        limits = {
            "lock_timeout": self._limits.lock,
            "statement_timeout": self._limits.statement,
            "idle_in_transaction_session_timeout": self._limits.idle,
        }
        settings = {name: f"{seconds * 1000:.0f}" for name, seconds in limits.items() if seconds is not None}
        settings |= {"default_transaction_isolation": "read committed", "client_min_messages": "notice", **_PLANS}
        raw.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
            (list(settings), list(settings.values())),
        )

    def _not_connected(self, error: psycopg.Error, pool: Pool) -> StorageError:
        """Say why there is no connection: the server cannot be reached, or all are in use."""
        try:
            self._knock(pool)
        except StorageError as reason:
            return reason
        if isinstance(error, PoolTimeout) and pool.get_stats().get("pool_size", 0) >= pool.max_size:
            problem = (
                f"all {pool.max_size} connections of the pool are in use for too long; end transactions sooner, or "
                "make the pool larger"
            )
            return StoreUnavailable(self.name, problem)
        return StoreUnavailable(self.name, str(error))

    def _knock(self, pool: Pool) -> None:
        """Raise ``StorageError`` when the server does not let anybody in."""
        if self.has_own_pool:
            discard(self.open())
        elif isinstance(pool.conninfo, str) and not callable(pool.kwargs):
            try:
                psycopg.connect(pool.conninfo, **(pool.kwargs or {})).close()
            except psycopg.Error as error:
                raise storage_error(error, self.name, is_lost=True) from error

    def _check_size(self) -> None:
        if not isinstance(self._source, str) and self._source.max_size < _FEWEST:
            raise ValueError(f"a pool of at least {_FEWEST} connections is needed: one reads while another writes")
        if self._pool_size < _FEWEST:
            raise ValueError(f"pool_size is a number of connections from {_FEWEST}, not {self._pool_size!r}")


# Events are looked up by an index, also where the server knows nothing of the table yet, or made its plan when that was
# small. The caller's own statements are planned as usual.
_PLANS: Final = {"enable_seqscan": "off", "enable_bitmapscan": "off"}
_KEEPALIVES: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

_SLICE: Final = 1.0
_GRACE: Final = 1.0

_inherited: Final[list[object]] = []


def discard(connection: Connection) -> None:
    """Close a connection, unless it is the parent's: to close that in a child would end the parent's session."""
    if connection.is_mine:
        connection.raw.close()
    else:
        keep_open(connection)


def keep_open(inherited: object) -> None:
    """Keep for good what a parent process has opened."""
    _inherited.append(inherited)
