"""Reading page by page, the same in every database: memory stays flat, and nothing is held between two pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

from esbank.backends._appends import MOST
from esbank.errors import StorageError
from esbank.store import Rows, StoredEvent, StreamId

__all__ = ["Read", "Reader"]

Read: TypeAlias = Callable[[str, Sequence[Any]], Rows]
"""Executes a statement that reads. ``Any``, because only the statement knows the types of its parameters."""

_PAGE: Final = 1000
_MOST_STREAMS: Final = 10_000


class Reader:
    """Reads what a backend's statements select, with its `read`.

    `name` says which store that is, and `remedy` what to do where it is damaged.
    """

    def __init__(self, read: Read, name: str, *, remedy: str = "restore a backup") -> None:
        self._read = read
        self._name = name
        self._remedy = remedy

    def stream(
        self, sql: str, stream: StreamId, *, after: int, up_to: int | None, limit: int | None, backwards: bool
    ) -> Iterator[StoredEvent]:
        """Read the events of a stream in the order of the statement."""
        for rows in self.pages(sql, stream, after=after, up_to=up_to, limit=limit, backwards=backwards):
            for row in rows:
                yield StoredEvent(stream, *row)

    def pages(
        self,
        sql: str,
        stream: StreamId,
        *,
        after: int,
        up_to: int | None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[Rows]:
        """Read a stream in the order of the statement, page by page; none is empty.

        It takes a category, a key, a version after which and one up to which, and how many, and begins with versions.
        Raises ``StorageError`` when one between them is missing, as it is when the database is damaged.
        """
        last = _or_most(up_to)
        left = _or_most(limit)
        begin = None if backwards else after + 1
        while left > 0:
            size = min(left, _PAGE)
            rows = self._read(sql, (stream.category, stream.key, after, last, size))
            if not rows:
                return
            self._check_versions(stream, rows, begin, -1 if backwards else 1)
            yield rows
            if len(rows) < size:
                return
            left -= size
            version: int = rows[-1][0]
            after, last = (after, version - 1) if backwards else (version, last)
            begin = last if backwards else after + 1

    def events(
        self, sql: str, filters: Sequence[object], *, after: float, limit: int | None = None
    ) -> Iterator[StoredEvent]:
        """Read the events after a position in the order of the log.

        The statement takes a position, filters, and how many, and begins with category, key, version and position.
        """
        yield from self.stored_events(self._pages(sql, filters, after, _or_most(limit)))

    def appends(self, sql: str, next_append: str, *, after: float) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the log append by append, from that of the first event after a position.

        The statement is one as `events` takes, and ends with the first position of the append; `next_append` tells that
        of the first event after a position.
        """
        for (first,) in self._read(next_append, (after,)):
            if type(first) is not int:
                raise StorageError(self._name, f"the beginning of an append is damaged: {first!r:.60}; {self._remedy}")
            after = min(after, first - 1)
        rows = chain.from_iterable(self._pages(sql, (), after, MOST))
        for _, append in groupby(rows, key=itemgetter(-1)):
            yield tuple(self.stored_events([[row[:-1] for row in append]]))

    def streams(self, sql: str, category: str) -> Iterator[StreamId]:
        """List the streams of a category; the statement takes it, a key after which, and how many."""
        after = ""
        while True:
            rows = self._read(sql, (category, after, _PAGE))
            for (key,) in rows:
                yield self._stream(category, key)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def stored_events(self, pages: Iterable[Rows]) -> Iterator[StoredEvent]:
        """Make events of rows that begin with the category and the key of a stream."""
        streams: dict[tuple[str, str], StreamId] = {}
        for rows in pages:
            if len(streams) > _MOST_STREAMS:
                streams.clear()
            for category, key, *columns in rows:
                stream = streams.get((category, key))
                if stream is None:
                    stream = streams[category, key] = self._stream(category, key)
                yield StoredEvent(stream, *columns)

    def _check_versions(self, stream: StreamId, rows: Rows, begin: int | None, step: int) -> None:
        """Refuse a page that does not have every version from its first one to its last."""
        first, last = rows[0][0], rows[-1][0]
        begin = first if begin is None else begin
        if first != begin or type(first) is not int or last != first + step * (len(rows) - 1):
            problem = f"{stream} lacks versions between {begin!r:.20} and {last!r:.20}: the database is damaged"
            raise StorageError(self._name, f"{problem}; {self._remedy}")

    def _stream(self, category: str, key: str) -> StreamId:
        try:
            return StreamId(category, key)
        except (TypeError, ValueError) as error:
            problem = f"the name of a stream is damaged, category {category!r} and key {key!r}: {error}"
            raise StorageError(self._name, f"{problem}; {self._remedy}") from error

    def _pages(self, sql: str, filters: Sequence[object], position: float, left: int) -> Iterator[Rows]:
        while left > 0:
            size = min(left, _PAGE)
            rows = self._read(sql, (position, *filters, size))
            yield rows
            if len(rows) < size:
                return
            left -= size
            position = rows[-1][3]


def _or_most(bound: int | None) -> int:
    return MOST if bound is None else bound
