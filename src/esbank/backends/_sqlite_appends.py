"""How events get into the file: an append that waits behind another one shares a commit with all that wait."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from esbank.backends._appends import (
    AppendRequest,
    check_expectations,
    results,
    shared_failure,
    write_metadata,
)
from esbank.backends._group_commit import GroupCommit
from esbank.backends._sqlite_connection import Connection
from esbank.backends._sqlite_database import Database
from esbank.backends._sqlite_events import Heads, find_repeat, heads_of, insert
from esbank.errors import ConcurrencyError, ConstraintViolated, StorageError
from esbank.store import AppendResult, StoredEvent, StreamAppend, StreamCondition

__all__ = ["REMEDY", "Appender", "Request", "TellInline"]

REMEDY: Final = "keep a copy of the file, and restore a backup"
_MOST_EVENTS: Final = 1000

Answer: TypeAlias = tuple[AppendResult, ...]
TellInline: TypeAlias = Callable[[Connection, Sequence[StoredEvent]], None]


class Request(AppendRequest):
    """One append, to be held against where its streams are."""

    def check(self, heads: Heads) -> None:
        """Raise ``ConcurrencyError`` for the first stream that is not as expected."""
        check_expectations(self.parts, heads.version_of)


class Appender:
    """Appends to a database, and commits.

    With `in_groups`, threads share commits: that pays where a commit waits for a disk. Appends that tell inline
    handlers what they store go alone.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        clock: Callable[[], int],
        has_digests: bool,
        in_groups: bool,
    ) -> None:
        self._database = database
        self._name = name
        self._clock = clock
        self._has_digests = has_digests
        self._in_groups = in_groups
        self._begin()

    def append(
        self,
        appends: Sequence[StreamAppend],
        conditions: Sequence[StreamCondition],
        tell_inline: TellInline | None,
    ) -> Answer:
        """Append in a transaction of its own, or in one with others."""
        request = Request(appends, conditions, write_metadata(appends))  # before the lock is taken
        if tell_inline is not None or not self._in_groups:
            return self._append_alone(request, tell_inline)
        self._database.check_not_writing()
        if self._process != os.getpid():
            self._begin()  # those who waited are not in a forked child
        answer = self._group.submit(request, frozenset(request.streams), request.count)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def append_in(self, connection: Connection, request: Request, tell_inline: TellInline | None) -> Answer:
        """Append in the open transaction and commit it; roll it back for a repeat, which was committed before."""
        try:
            heads = heads_of(connection, request.streams)
            request.check(heads)
            (stored,) = self._insert(connection, [request], heads)
        except (ConcurrencyError, ConstraintViolated):
            # An id may be taken: by a repeat of what was stored, which succeeds, or by something else, which does not.
            connection.rollback()
            first = find_repeat(connection, request.appends)
            if first is None:
                raise
            return first
        if tell_inline is not None:
            tell_inline(connection, stored)
        self._database.commit(connection)
        return results(request.appends, stored)

    def _begin(self) -> None:
        self._group = GroupCommit[Request, Answer | Exception](
            self._append_group, most=_MOST_EVENTS, after_failure=partial(shared_failure, store=self._name)
        )
        self._process = os.getpid()  # only now, because other threads look at it

    def _append_alone(self, request: Request, tell_inline: TellInline | None = None) -> Answer:
        with self._database.begin() as connection:
            return self.append_in(connection, request, tell_inline)

    def _append_group(self, requests: Sequence[Request]) -> Sequence[Answer | Exception]:
        """Make appends that have no stream in common, with one commit; an error is the answer to one of them."""
        if len(requests) == 1:
            return [self._append_alone(requests[0])]
        with self._database.begin() as connection:
            answers: list[Answer | Exception] = []
            with suppress(Exception):  # it comes again, and only to the one that it concerns
                answers = self._answers(connection, requests)
            if answers:
                self._database.commit(connection)
                return answers
        return [self._outcome(request) for request in requests]

    def _answers(self, connection: Connection, requests: Sequence[Request]) -> list[Answer | Exception]:
        """Append in the open transaction what is as expected of its streams; the others have an answer at once."""
        heads = heads_of(connection, [stream for request in requests for stream in request.streams])
        refused: dict[int, Answer | Exception] = {}
        for place, request in enumerate(requests):
            try:
                request.check(heads)
            except ConcurrencyError as error:
                refused[place] = find_repeat(connection, request.appends) or error
        accepted = [request for place, request in enumerate(requests) if place not in refused]
        stored = iter(self._insert(connection, accepted, heads))
        return [
            refused[place] if place in refused else results(request.appends, next(stored))
            for place, request in enumerate(requests)
        ]

    def _outcome(self, request: Request) -> Answer | Exception:
        try:
            return self._append_alone(request)
        except Exception as error:  # noqa: BLE001 - it is for the one who has asked
            return error

    def _insert(self, connection: Connection, requests: Sequence[Request], heads: Heads) -> list[list[StoredEvent]]:
        now = self._clock() // 1000
        given = [(request.appends, request.metadata) for request in requests]
        try:
            return insert(connection, given, heads, now=now, has_digests=self._has_digests)
        except (TypeError, OverflowError, struct.error) as error:
            problem = f"what an event is to be put behind is damaged: {error}; {REMEDY}"
            raise StorageError(self._name, problem) from error
