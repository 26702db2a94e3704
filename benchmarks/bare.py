"""The raw limit: the same rows with the same pragmas through ``sqlite3`` itself, with no library around it."""

import json
import sqlite3
import time
from pathlib import Path

from esbank.store import new_event_id

NAME = "bare driver"

SCHEMA = """
    CREATE TABLE events (
        position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL, event_id BLOB NOT NULL,
        type TEXT NOT NULL, schema_version INTEGER NOT NULL, data TEXT NOT NULL, metadata TEXT NOT NULL,
        recorded_at INTEGER NOT NULL, UNIQUE (stream, version), UNIQUE (stream, event_id)
    )
"""
INSERT = "INSERT INTO events VALUES (?, 1, ?, ?, 'Deposited', 1, ?, '{}', ?)"
DATA = '{"amount":"1.01","balance_after":"1001.01","by":"robot"}'


class Contender:
    """One account's events in one file."""

    def __init__(self, folder: Path) -> None:
        """Make the file."""
        self._connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(SCHEMA)
        self._version = 0

    def commands(self, count: int) -> None:
        """Insert rows, each in a transaction of its own."""
        for _ in range(count):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(INSERT, self._next())
            self._connection.execute("COMMIT")

    def fill(self, count: int) -> None:
        """Insert rows, all in one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(INSERT, [self._next() for _ in range(count)])
        self._connection.execute("COMMIT")

    def replay(self) -> None:
        """Read the rows of the account."""
        for _row in self._connection.execute("SELECT * FROM events WHERE stream = 1 ORDER BY version"):
            pass

    def read_log(self) -> None:
        """Read all rows in order and parse their data."""
        for row in self._connection.execute("SELECT * FROM events ORDER BY position"):
            json.loads(row[6])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _next(self) -> tuple[int, int, bytes, str, int]:
        self._version += 1
        return self._version, self._version, new_event_id().bytes, DATA, time.time_ns() // 1000
