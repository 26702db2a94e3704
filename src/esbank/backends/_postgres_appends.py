"""Appends on their way to the functions that make them, alone or several in one call, and what comes of them."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from typing import Final, TypeAlias

from attrs import frozen
from psycopg.types.numeric import Int4, Int8

from esbank.backends._appends import MOST, WrittenMetadata, concerned, flatten, results
from esbank.backends._group_commit import GroupCommit
from esbank.backends._postgres_arrays import bytes_array, integers, small_integers, texts, uuids
from esbank.backends._postgres_connection import Connection, literal, quoted
from esbank.backends._postgres_database import Database
from esbank.backends._postgres_events import correlation
from esbank.errors import EsbankError, StorageError, StoreUnavailable, UnknownOutcome
from esbank.store import (
    ANY_VERSION,
    STREAM_EXISTS,
    AppendResult,
    ExpectedVersion,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
)

__all__ = ["Answer", "Appender", "Refused", "Request"]

_MOST_EVENTS: Final = 1000
"""How many events go to the server in one call, where they come from several appends."""

_CANCELLED: Final = frozenset({"55P03", "57014"})


@frozen
class Request:
    """What ``append_many`` is given, with the metadata written."""

    appends: Sequence[StreamAppend]
    conditions: Sequence[StreamCondition]
    metadata: Mapping[int, WrittenMetadata]

    @property
    def parts(self) -> list[StreamAppend | StreamCondition]:
        """All that names a stream."""
        return concerned(self.appends, self.conditions)


@frozen
class Refused:
    """Nothing was stored: a stream is not as expected, or has an event with one of the ids already."""

    versions: Mapping[StreamId, int]


Answer: TypeAlias = tuple[AppendResult, ...] | Refused


class Appender:
    """Makes the appends of one process, those that wait for each other in one call and one commit.

    They have a connection of their own, unless the pool is somebody else's.
    """

    def __init__(self, database: Database, *, durable: bool, channel: str | None) -> None:
        self._database = database
        self._calls = _Calls(database.schema, durable=durable, channel=channel)
        self._keeps_connection = database.has_own_pool
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew: whoever waited is not in the child, and the connection is the parent's."""
        self._group = GroupCommit[Request, Answer | StorageError](
            self._run, most=_MOST_EVENTS, after_failure=self._after_failure
        )
        self._using = threading.Lock()
        self._session = ExitStack()
        self._connection: Connection | None = None

    def close(self) -> None:
        """Give the connection back, once the appends at hand are made."""
        with self._using:
            self._leave()

    def append(self, request: Request) -> Answer:
        """Make an append, whose answer rests on nothing but what is committed."""
        names: frozenset[Hashable] = frozenset(part.stream for part in request.parts)
        answer = self._group.submit(request, names, sum(len(append.events) for append in request.appends))
        if isinstance(answer, StorageError):
            raise answer
        return answer

    def append_in(self, connection: Connection, request: Request) -> Answer:
        """Make an append in an open transaction."""
        return self._calls.make(connection, [request])[0]

    def _run(self, requests: Sequence[Request]) -> Sequence[Answer | StorageError]:
        try:
            return self._make(requests)
        except UnknownOutcome:
            raise
        except StorageError as error:
            if len(requests) == 1 or getattr(error.__cause__, "sqlstate", None) in _CANCELLED:
                raise
        # One of them cannot be stored, and has taken the others with it. Each by itself, it fails alone.
        return [self._alone(request) for request in requests]

    def _alone(self, request: Request) -> Answer | StorageError:
        try:
            (answer,) = self._make([request])
        except StorageError as error:
            return error
        return answer

    def _make(self, requests: Sequence[Request]) -> Sequence[Answer]:
        with self._using:
            connection = self._borrow()
            try:
                return self._calls.make(connection, requests)
            except UnknownOutcome as error:
                if not connection.is_lost:
                    raise
                unknown = error
            finally:
                if connection.is_lost or not self._keeps_connection:
                    self._leave()
            # The same again does no harm, and mostly nothing was sent: the server was restarted since the last time.
            try:
                self._database.check_connections()
                return self._calls.make(self._borrow(), requests)
            except (StoreUnavailable, UnknownOutcome):
                raise unknown from None
            finally:
                if not self._keeps_connection:
                    self._leave()

    def _borrow(self) -> Connection:
        self._database.check_open()
        if self._connection is None:
            self._connection = self._session.enter_context(self._database.own_connection())
        return self._connection

    def _leave(self) -> None:
        self._connection = None
        session, self._session = self._session, ExitStack()
        session.close()

    def _after_failure(self, error: BaseException) -> BaseException:
        if isinstance(error, EsbankError):
            mine = copy(error)
            mine.__cause__ = error.__cause__
            return mine
        problem = (
            f"the thread that made this append together with its own was stopped by {error!r}; repeat the same append, "
            "or the command with its command_id, to learn whether it was stored"
        )
        return UnknownOutcome(self._database.name, problem)


class _Calls:
    """The two functions of a schema."""

    def __init__(self, schema: str, *, durable: bool, channel: str | None) -> None:
        always = f"{str(durable).lower()}, {'NULL' if channel is None else literal(channel)}"
        self._one = (
            f"SELECT recorded, head, last, seal FROM {quoted(schema)}.esbank_append_one({always},"
            " $1::text, $2::text, $3, $4, $5::text, $6, $7::text, $8::text, $9, $10)"
        )
        numbers = ", ".join(f"${number}" for number in range(1, 14))
        self._many = (
            f"SELECT recorded, versions, positions, digests FROM {quoted(schema)}.esbank_append({always}, {numbers})"
        )

    def make(self, connection: Connection, requests: Sequence[Request]) -> Sequence[Answer]:
        """Make appends in one call, which commits by itself unless a transaction is open."""
        if len(requests) == 1:
            (request,) = requests
            if len(request.appends) == 1 and len(request.appends[0].events) == 1 and not request.conditions:
                return [_answer_of_one(request, *connection.append(self._one, _one(request))[0])]
        recorded, versions, positions, digests = connection.append(self._many, _many(requests))[0]
        return list(_answers(requests, recorded, versions, positions, digests))


def _one(request: Request) -> Sequence[object]:
    (append,) = request.appends
    (event,) = append.events
    written = request.metadata[id(event.metadata)]
    return (
        append.stream.category,
        append.stream.key,
        Int8(_expected(append.expected_version)),
        event.event_id,
        event.type,
        Int4(event.schema_version),
        event.data,
        written.text,
        None if written.occurred_at is None else Int8(written.occurred_at),
        correlation(written.correlation_id),
    )


def _answer_of_one(request: Request, recorded: int, head: int, last: int | None, seal: bytes | None) -> Answer:
    (append,) = request.appends
    (event,) = append.events
    if last is None:
        return Refused({append.stream: head})
    stored = StoredEvent(
        append.stream,
        head + 1,
        last + 1,
        event.event_id.bytes,
        event.type,
        event.schema_version,
        event.data,
        request.metadata[id(event.metadata)].text,
        recorded,
        seal,
    )
    return (AppendResult(append.stream, head + 1, last + 1, (stored,)),)


def _many(requests: Sequence[Request]) -> Sequence[object]:
    streams = [(number, part) for number, request in enumerate(requests, 1) for part in request.parts]
    counts = [len(part.events) if isinstance(part, StreamAppend) else 0 for _, part in streams]
    events = [event for request in requests for _, event in flatten(request.appends)]
    written = [request.metadata[id(event.metadata)] for request in requests for _, event in flatten(request.appends)]
    is_known = any(one.occurred_at is not None for one in written)
    has_conversation = any(one.correlation_id is not None for one in written)
    return (
        small_integers([number for number, _ in streams]),
        texts([part.stream.category for _, part in streams]),
        texts([part.stream.key for _, part in streams]),
        integers([_expected(part.expected_version) for _, part in streams]),
        small_integers(counts),
        small_integers([part for part, count in enumerate(counts, 1) for _ in range(count)]),
        uuids([event.event_id.bytes for event in events]),
        texts([event.type for event in events]),
        small_integers([event.schema_version for event in events]),
        texts([event.data for event in events]),
        texts([one.text for one in written]),
        integers([one.occurred_at for one in written]) if is_known else None,
        bytes_array([correlation(one.correlation_id) for one in written]) if has_conversation else None,
    )


def _answers(
    requests: Sequence[Request],
    recorded: int,
    versions: Sequence[int],
    positions: Sequence[int],
    digests: Sequence[bytes | None] | None,
) -> Iterator[Answer]:
    part = event = 0
    for request in requests:
        parts = request.parts
        events = sum(len(append.events) for append in request.appends)
        if positions[part] < 0:
            yield Refused({one.stream: version for one, version in zip(parts, versions[part:], strict=False)})
        else:
            heads = zip(versions[part:], positions[part:], strict=False)
            yield _stored(request, recorded, heads, [None] * events if digests is None else digests[event:])
        part += len(parts)
        event += events


def _stored(
    request: Request, recorded: int, heads: Iterable[tuple[int, int]], digests: Sequence[bytes | None]
) -> Answer:
    stored: list[StoredEvent] = []
    for append, (version, position) in zip(request.appends, heads, strict=False):
        stored += (
            StoredEvent(
                append.stream,
                version + number,
                position + number,
                event.event_id.bytes,
                event.type,
                event.schema_version,
                event.data,
                request.metadata[id(event.metadata)].text,
                recorded,
                digest,
            )
            for number, (event, digest) in enumerate(zip(append.events, digests[len(stored) :], strict=False), 1)
        )
    return results(request.appends, stored)


def _expected(expected: ExpectedVersion) -> int:
    if expected is ANY_VERSION:
        return -1
    if expected is STREAM_EXISTS:
        return -2
    return min(expected, MOST)
