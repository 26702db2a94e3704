"""The raw limit: ``sqlite3`` itself, moving the rows that esbank's work cannot do without.

The pragmas (WAL, ``synchronous=FULL``), the columns, the unique indexes and the bytes in each row are those of esbank's
own file. There are no triggers; a digest is 32 constant bytes, which nobody computes; nothing is encoded, decoded,
decided or checked, and no row becomes an object. A commit is durable when it returns.
"""

import os
import sqlite3
import threading
import time
from contextlib import closing

from benchmarks.contender import (
    ACCOUNTS,
    BATCH,
    LOG_ACCOUNTS,
    SNAPSHOT_EVERY,
    TAIL,
    Contender,
    Work,
    account,
    in_threads,
    in_turn,
)

SCHEMA = """
    CREATE TABLE streams (
        stream INTEGER PRIMARY KEY, category TEXT NOT NULL, key TEXT NOT NULL, UNIQUE (category, key)
    );
    CREATE TABLE events (
        position INTEGER PRIMARY KEY, stream INTEGER NOT NULL REFERENCES streams (stream), version INTEGER NOT NULL,
        event_id BLOB NOT NULL, type TEXT NOT NULL, schema_version INTEGER NOT NULL, data TEXT NOT NULL,
        metadata TEXT NOT NULL, recorded_at INTEGER NOT NULL, append INTEGER NOT NULL, correlation_id TEXT, digest BLOB,
        UNIQUE (stream, version), UNIQUE (stream, event_id)
    );
    CREATE INDEX events_by_correlation ON events (correlation_id) WHERE correlation_id IS NOT NULL;
    CREATE TABLE snapshots (
        stream INTEGER PRIMARY KEY REFERENCES streams (stream), version INTEGER NOT NULL, event_id BLOB NOT NULL,
        store TEXT NOT NULL, schema TEXT NOT NULL, state TEXT NOT NULL
    );
"""
INSERT = """
    INSERT INTO events (stream, version, event_id, type, schema_version, data, metadata, recorded_at, append, digest)
    VALUES (?, ?, ?, ?, 1, ?, '{}', ?, ?, ?)
"""
THE_STREAM = "(SELECT stream FROM streams WHERE category = 'BankAccount' AND key = ?)"
LAST = f"SELECT version, digest FROM events WHERE stream = {THE_STREAM} ORDER BY version DESC LIMIT 1"  # noqa: S608
REPLAY = f"""
    SELECT version, position, event_id, type, schema_version, data, metadata, recorded_at, digest FROM events
    WHERE stream = {THE_STREAM} ORDER BY version
"""  # noqa: S608
SNAPSHOT = f"SELECT version, event_id, store, schema, state FROM snapshots WHERE stream = {THE_STREAM}"  # noqa: S608
LOG = """
    SELECT s.category, s.key, e.version, e.position, e.event_id, e.type, e.schema_version, e.data, e.metadata,
           e.recorded_at, e.digest
    FROM events AS e CROSS JOIN streams AS s ON s.stream = e.stream ORDER BY e.position
"""

DEPOSITED = ("Deposited", '{"amount":"1.01","balance_after":"1001.01","by":"robot"}')
PAID = (
    "Paid",
    '{"payment":"0190a5b8-7c1e-7d3a-9f42-6b8e2d4c1a05","amount":"1.01","at":"2026-11-20T09:30:15.123456Z","by":"robot"}',
)
STATE = '{"owner":"Alice","currency":"EUR","balance":"49.49","overdraft_limit":"0.00","status":"open","corrections":{}}'
DIGEST = bytes(32)


class BareDriver(Contender):
    """Rows in one file."""

    title = "bare driver"
    imports = "import sqlite3"

    def command(self, count: int) -> Work:
        """Look where the account is, and insert a row."""
        return self._inserts(count, accounts=ACCOUNTS, looks=True)

    def command_cached(self, count: int) -> Work:
        """Insert a row."""
        return self._inserts(count, accounts=ACCOUNTS)

    def deposits(self, count: int) -> Work:
        """Insert the rows of one account."""
        return self._inserts(count, accounts=1)

    def threads(self, count: int, threads: int) -> Work:
        """Insert one row at a time, in several threads that take turns."""
        connection = self._connect()
        lock = threading.Lock()

        def append(number: int) -> None:
            for version in range(1, count // threads + 1):
                with lock:
                    insert(connection, number + 1, version)

        return in_threads(threads, append)

    def batches(self, count: int) -> Work:
        """Insert many rows at once, of one account after the other."""
        connection = self._connect()

        def work() -> None:
            for stream in range(1, count // BATCH + 1):
                insert_many(connection, stream, range(1, BATCH + 1))

        return work

    def fill_stream(self, count: int) -> None:
        """Insert the rows of one stream."""
        insert_many(self._connect(), 1, range(1, count + 1))

    def replay(self, _count: int) -> Work:
        """Fetch them."""
        connection = self._connect()
        return lambda: connection.execute(REPLAY, (account(0),)).fetchall()

    def fill_rich_stream(self, count: int) -> None:
        """Insert the rows of one stream of longer events."""
        insert_many(self._connect(), 1, range(1, count + 1), PAID)

    def replay_rich(self, count: int) -> Work:
        """Fetch them."""
        return self.replay(count)

    def fill_snapshots(self, count: int) -> None:
        """Insert accounts with a snapshot."""
        connection = self._connect(count)
        for number in range(1, count + 1):
            insert_many(connection, number, range(1, SNAPSHOT_EVERY + TAIL + 1))
        connection.executemany(
            "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?)",
            [(number, SNAPSHOT_EVERY, event_id(), "0" * 32, "0" * 64, STATE) for number in range(1, count + 1)],
        )

    def load_snapshots(self, count: int) -> Work:
        """Fetch each snapshot."""
        connection = self._connect()

        def work() -> None:
            for number in range(count):
                connection.execute(SNAPSHOT, (account(number),)).fetchall()

        return work

    def fill_log(self, count: int) -> None:
        """Insert the rows of many accounts."""
        connection = self._connect(LOG_ACCOUNTS)
        for part in range(count // 10):
            first = part // LOG_ACCOUNTS * 10 + 1
            insert_many(connection, part % LOG_ACCOUNTS + 1, range(first, first + 10))

    def read_log(self, _count: int) -> Work:
        """Fetch them in order."""
        connection = self._connect()

        def work() -> None:
            for _row in connection.execute(LOG):
                pass

        return work

    def _inserts(self, count: int, *, accounts: int, looks: bool = False) -> Work:
        connection = self._connect()
        keys = in_turn(count, accounts)

        def work() -> None:
            for number, key in enumerate(keys):
                if looks:
                    connection.execute(LAST, (key,)).fetchall()
                insert(connection, number % accounts + 1, number // accounts + 1)

        return work

    def _connect(self, streams: int = ACCOUNTS) -> sqlite3.Connection:
        path = self.folder / "bare.db"
        is_new = not path.exists()
        connection = self.opened.enter_context(
            closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if is_new:
            connection.executescript(SCHEMA)
            rows = [("BankAccount", account(number)) for number in range(streams)]
            connection.executemany("INSERT INTO streams (category, key) VALUES (?, ?)", rows)
        return connection


def insert(connection: sqlite3.Connection, stream: int, version: int) -> None:
    """Insert one row, durably."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(INSERT, row(stream, version))
    connection.execute("COMMIT")


def insert_many(
    connection: sqlite3.Connection, stream: int, versions: range, event: tuple[str, str] = DEPOSITED
) -> None:
    """Insert rows with one commit, durably."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, [row(stream, version, event) for version in versions])
    connection.execute("COMMIT")


def row(stream: int, version: int, event: tuple[str, str] = DEPOSITED) -> tuple[object, ...]:
    """Make a row."""
    return (stream, version, event_id(), *event, time.time_ns() // 1000, version, DIGEST)


def event_id() -> bytes:
    """Make an id that grows with time, as those of esbank do."""
    return time.time_ns().to_bytes(8, "big") + os.urandom(8)
