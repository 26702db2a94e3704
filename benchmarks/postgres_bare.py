"""The raw limit on PostgreSQL: the same rows through ``psycopg`` itself, with no library around it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg

from esbank.store import new_event_id

NAME = "bare psycopg"

SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS {place};
    CREATE TABLE IF NOT EXISTS {place}.events (
        position bigserial PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL, event_id uuid NOT NULL,
        type text NOT NULL, schema_version integer NOT NULL, data json NOT NULL, metadata json NOT NULL,
        recorded_at bigint NOT NULL, UNIQUE (stream, version), UNIQUE (event_id, stream)
    )
"""
COLUMNS = "stream, version, event_id, type, schema_version, data, metadata, recorded_at"
INSERT_ONE = f"INSERT INTO events ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING position"  # noqa: S608
INSERT_MANY = f"""
    INSERT INTO events ({COLUMNS})
    SELECT stream, version, event_id, type, schema_version, data::json, metadata::json, recorded_at
    FROM unnest(%s::text[], %s::bigint[], %s::uuid[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::bigint[])
        AS e ({COLUMNS})
    RETURNING position
"""  # noqa: S608
READ = """
    SELECT position, stream, version, event_id, type, schema_version, data::text, metadata::text, recorded_at
    FROM events WHERE position > %s ORDER BY position LIMIT 1000
"""
ADD_MOVE = "INSERT INTO moves VALUES (%s, %s)"
DATA = '{"amount":"1.01","balance_after":"1001.01","by":"robot"}'

Row = tuple[Any, ...]


class Contender:
    """One table, and connections to it."""

    def __init__(self, dsn: str, place: str) -> None:
        """Make the table."""
        self._connect = lambda: psycopg.connect(dsn, autocommit=True, options=f"-c search_path={place}")
        self._connection = self._connect()
        self._connection.execute(SCHEMA.format(place=place))

    @classmethod
    def open(cls, dsn: str, place: str) -> Self:
        """Use a table that is there."""
        return cls(dsn, place)

    @contextmanager
    def appends(self, stream: str, times: int, size: int) -> Iterator[Callable[[int], None]]:
        """Make rows ready, on a connection of their own; yield what inserts as many times as it is told."""
        versions = iter(range(1, times * size + 1))
        ready = iter([[_row(stream, next(versions)) for _ in range(size)] for _ in range(times)])

        def insert_one(count: int) -> None:
            for _ in range(count):
                (row,) = next(ready)
                cursor.execute(INSERT_ONE, (*row, time.time_ns() // 1000))
                cursor.fetchone()

        def insert_many(count: int) -> None:
            for _ in range(count):
                rows = next(ready)
                columns = [list(column) for column in zip(*rows, strict=True)]
                cursor.execute(INSERT_MANY, (*columns, [time.time_ns() // 1000] * len(rows)))
                cursor.fetchall()

        with self._connect() as connection, connection.cursor() as cursor:
            yield insert_one if size == 1 else insert_many

    def fill(self, streams: int, size: int) -> None:
        """Fill a log."""
        for number in range(streams):
            with self.appends(f"BankAccount-{number}", 1, size) as append:
                append(1)

    def read_log(self) -> None:
        """Read all rows in order and parse their data."""
        for rows in self._pages():
            for row in rows:
                json.loads(row[6])

    def catch_up(self, dsn: str, views: str) -> None:
        """Make a view of the log: read a page, parse it, execute, remember the place, commit."""
        with psycopg.connect(dsn, autocommit=True, options=f"-c search_path={views}") as connection:
            connection.execute(f"CREATE SCHEMA {views}")
            connection.execute("CREATE TABLE moves (position bigint PRIMARY KEY, amount text NOT NULL)")
            connection.execute("CREATE TABLE place AS SELECT 0::bigint AS position")
            cursor = connection.cursor()
            for rows in self._pages():
                with connection.transaction():
                    for row in rows:
                        cursor.execute(ADD_MOVE, (row[0], json.loads(row[6])["amount"]))
                    cursor.execute("UPDATE place SET position = %s", (rows[-1][0],))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _pages(self) -> Iterator[Sequence[Row]]:
        cursor = self._connection.cursor(binary=True)
        position = 0
        while rows := cursor.execute(READ, (position,)).fetchall():
            yield rows
            position = rows[-1][0]


def _row(stream: str, version: int) -> Row:
    return stream, version, new_event_id(), "Moved", 1, DATA, "{}"
