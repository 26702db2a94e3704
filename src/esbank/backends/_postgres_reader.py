"""Reading page by page: memory stays flat however long a log is, and no connection is held between two pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Final

from esbank.backends._appends import MOST
from esbank.backends._postgres_database import Database
from esbank.backends._postgres_events import Statements, stored_events, stream_id
from esbank.store import Rows, StoredEvent, StreamId

__all__ = ["Reader"]

_PAGE: Final = 1000


class Reader:
    """Reads what the statements of one schema select."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._statements = statements

    def stream(self, stream: StreamId, after: int, up_to: int, left: int, *, backwards: bool) -> Iterator[StoredEvent]:
        """Read the events of a stream in version order, or `backwards`, `left` at most."""
        sql = self._statements.read_backwards if backwards else self._statements.read_forwards
        while True:
            self._database.check_open()
            size = min(left, _PAGE)
            rows = self._database.rows(sql, (stream.category, stream.key, after, up_to, size))
            for row in rows:
                yield StoredEvent(stream, *row)
            left -= size
            if len(rows) < size or not left:
                return
            last: int = rows[-1][0]
            after, up_to = (after, last - 1) if backwards else (last, up_to)

    def events(self, sql: str, filters: Sequence[object], position: int, left: int) -> Iterator[StoredEvent]:
        """Read the events after a position that some SQL selects, in position order, `left` at most."""
        for rows in self._pages(sql, filters, position, left):
            yield from stored_events(rows, self._database.name)

    def appends(self, position: int) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the log append by append, from that of the first event after a position."""
        for (first,) in self._database.rows(self._statements.next_append, (position,)):
            position = min(position, first - 1)
        rows = chain.from_iterable(self._pages(self._statements.read_appends, (), position, MOST))
        for _, append in groupby(rows, key=itemgetter(-1)):
            yield tuple(stored_events([row[:-1] for row in append], self._database.name))

    def streams(self, category: str) -> Iterator[StreamId]:
        """List the streams of a category, ordered by key."""
        after = ""
        while True:
            rows = self._database.rows(self._statements.streams, (category, after, _PAGE))
            for (key,) in rows:
                yield stream_id(category, key, self._database.name)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def _pages(self, sql: str, filters: Sequence[object], position: int, left: int) -> Iterator[Rows]:
        sql += self._statements.in_order
        while True:
            self._database.check_open()
            size = min(left, _PAGE)
            rows = self._database.rows(sql, (position, size, *filters))
            yield rows
            left -= size
            if len(rows) < size or not left:
                return
            position = rows[-1][3]
