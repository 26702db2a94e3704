"""Appends on their way to the functions that make them, alone or several in one call, and what comes of them."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeAlias

from attrs import evolve, frozen
from psycopg.types.numeric import Int4, Int8

from esbank.backends._appends import MOST, AppendRequest, WrittenMetadata, flatten, shared_failure
from esbank.backends._group_commit import GroupCommit
from esbank.backends._postgres_arrays import (
    BIGINT,
    BYTEA,
    INTEGER,
    NULL,
    TEXT,
    UUID,
    Array,
    array,
    pack_bigint,
    pack_bigints,
    pack_bytes,
    pack_element,
    pack_integer,
    pack_integers,
)
from esbank.backends._postgres_connection import (
    ADVICE,
    LOCKED_OUT,
    Connection,
    literal,
    quoted,
    sqlstate,
)
from esbank.backends._postgres_database import Database, discard, keep_open
from esbank.backends._postgres_events import correlation
from esbank.errors import ConstraintViolated, StorageError, StoreUnavailable, UnknownOutcome
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

_HEAVIEST: Final = 2_000_000
"""How much goes to the server in one call, where it comes from several appends: characters of data, and some more."""
_AROUND_DATA: Final = 200

_DURABLE: Final = frozenset({"on", "remote_apply"})
_CANCELLED: Final = frozenset({LOCKED_OUT, "57014"})


class Request(AppendRequest):
    """One append, with how much it is to send."""

    def __init__(
        self,
        appends: Sequence[StreamAppend],
        conditions: Sequence[StreamCondition],
        metadata: Mapping[int, WrittenMetadata],
    ) -> None:
        super().__init__(appends, conditions, metadata)
        self.weight = sum([_AROUND_DATA + len(event.data) for append in appends for event in append.events])
        """How much that is to send."""

        self._packed: Packed | None = None

    def pack(self) -> Packed:
        """Pack what goes into the arrays of a call, unless that is done already."""
        if self._packed is None:
            self._packed = _pack_one(self) if self.count == len(self.parts) == 1 else _pack(self)
        return self._packed


@frozen
class Packed:
    """The elements of the arrays that a call takes, for one request."""

    counts: Sequence[int]
    categories: bytes
    keys: bytes
    expected: bytes
    ids: bytes
    types: bytes
    schema_versions: bytes
    data: bytes
    metadata: bytes
    occurred_at: bytes | None
    correlations: bytes | None


@frozen
class Stored:
    """What became of a request: the version and the position before it of each stream, and the digest of each event."""

    recorded_at: int
    versions: Sequence[int]
    positions: Sequence[int]
    digests: Sequence[bytes | None]


@frozen
class Refused:
    """Nothing was stored by the call: a stream is not as expected, or has an event with one of the ids already."""

    versions: Mapping[StreamId, int]
    unknown: UnknownOutcome | None = None
    """The outcome of the same call before, which may have stored it."""


Answer: TypeAlias = tuple[AppendResult, ...] | Refused


class Appender:
    """Makes the appends of one process, those that wait for each other in one call and one commit.

    They have a connection of their own, unless the pool is somebody else's.
    """

    def __init__(self, database: Database, *, durable: bool, channel: str | None) -> None:
        self._database = database
        self._durable = durable
        self._calls = _Calls(database.schema, durable=durable, channel=channel)
        self._idle: list[Connection] = []
        self._begin()

    def _begin(self) -> None:
        self._group = GroupCommit[Request, Stored | Refused | StorageError](
            self._run, most=_HEAVIEST, after_failure=partial(shared_failure, store=self._database.name)
        )

    def after_fork(self) -> None:
        """Begin anew: whoever waited is not in the child, and the connections are the parent's."""
        keep_open(self._idle)
        self._idle = []
        self._begin()

    def close(self) -> None:
        """Close the connections; those in use are closed when they are given back."""
        while self._idle:
            self._idle.pop().raw.close()

    def append(self, request: Request) -> Answer:
        """Make an append, whose answer rests on nothing but what is committed."""
        names: frozenset[Hashable] = frozenset(request.streams)
        if self._group.is_busy:
            request.pack()  # while the others are on their way
        answer = self._group.submit(request, names, request.weight)
        if isinstance(answer, StorageError):
            raise answer
        return _results(request, answer)

    def check(self, connection: Connection) -> None:
        """Raise ``StorageError`` when the session could lose what it acknowledges."""
        ((setting,),) = connection.rows("SHOW synchronous_commit")
        if self._durable and setting not in _DURABLE:
            problem = f"synchronous_commit is {setting}; {ADVICE['ESB02']}"
            raise StorageError(self._database.name, problem)

    def confirm(self, connection: Connection) -> None:
        """Make sure that what is committed is as durable as if it had just been: for the first result of a repeat."""
        if self._durable:
            connection.append("SELECT pg_catalog.pg_logical_emit_message(true, 'esbank', '')", ())

    def append_in(self, connection: Connection, request: Request) -> Answer:
        """Make an append in an open transaction."""
        return _results(request, self._calls.make(connection, [request])[0])

    def _run(self, requests: Sequence[Request]) -> Sequence[Stored | Refused | StorageError]:
        try:
            return self._make(requests)
        except UnknownOutcome:
            raise
        except StorageError as error:
            is_nobodys_fault = isinstance(error, StoreUnavailable) or sqlstate(error) in _CANCELLED
            if len(requests) == 1 or is_nobodys_fault:
                raise
        # One of them cannot be stored, and has taken the others with it. Each by itself, it fails alone.
        return [self._alone(request) for request in requests]

    def _alone(self, request: Request) -> Stored | Refused | StorageError:
        try:
            (answer,) = self._make([request])
        except StorageError as error:
            return error
        return answer

    def _make(self, requests: Sequence[Request]) -> Sequence[Stored | Refused]:
        with self._session() as connection:
            try:
                return self._calls.make(connection, requests)
            except UnknownOutcome as error:
                if not connection.is_lost:
                    raise
                unknown = error
        # The same again does no harm, and mostly nothing was sent: the server was restarted since the last time.
        try:
            self._database.check_connections()
            self.close()
            with self._session() as connection:
                answers = self._calls.make(connection, requests)
        except ConstraintViolated:
            raise
        except StorageError:  # which says nothing about the first time
            raise unknown from unknown.__cause__
        return [evolve(one, unknown=unknown) if isinstance(one, Refused) else one for one in answers]

    @contextmanager
    def _session(self) -> Generator[Connection]:
        """Borrow a connection to append with."""
        self._database.check_open()
        if not self._database.has_own_pool:
            with self._database.connection() as connection:
                yield connection
            return
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._database.open()
        try:
            yield connection
        finally:
            if connection.is_lost or connection.is_busy or self._database.closed or not connection.is_mine:
                discard(connection)
            else:
                self._idle.append(connection)


class _Calls:
    """The two functions of a schema."""

    def __init__(self, schema: str, *, durable: bool, channel: str | None) -> None:
        always = f"{str(durable).lower()}, {'NULL' if channel is None else literal(channel)}::text"
        self._one = (
            f"SELECT recorded, head, last, seal FROM {quoted(schema)}.esbank_append_one({always},"
            " $1::text, $2::text, $3::bigint, $4::uuid, $5::text, $6::integer, $7::text, $8::text, $9::bigint,"
            " $10::bytea)"
        )
        # All types are named: else a function of the same name, of anybody who may create one, could fit better.
        kinds = "integer text text bigint integer uuid text integer text text bigint bytea"
        numbers = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds.split(), 1))
        self._many = (
            f"SELECT recorded, versions, positions, digests FROM {quoted(schema)}.esbank_append({always}, {numbers})"
        )

    def make(self, connection: Connection, requests: Sequence[Request]) -> Sequence[Stored | Refused]:
        """Make appends in one call, which commits by itself unless a transaction is open."""
        if len(requests) == 1 and requests[0].count == len(requests[0].parts) == 1:
            return [_stored_one(requests[0], *connection.append(self._one, _one(requests[0]))[0])]
        return list(_stored(requests, *connection.append(self._many, _many(requests))[0]))


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
        None if written.correlation_id is None else correlation(written.correlation_id),
    )


def _stored_one(
    request: Request, recorded_at: int, version: int, position: int | None, digest: bytes | None
) -> Stored | Refused:
    if position is None:
        return Refused({request.parts[0].stream: version})
    return Stored(recorded_at, (version,), (position,), (digest,))


def _pack_one(request: Request) -> Packed:
    """Do what `_pack` does, for one event: most requests have no more, and this takes half the time."""
    (append,) = request.appends
    (event,) = append.events
    written = request.metadata[id(event.metadata)]
    correlation_id = written.correlation_id
    return Packed(
        [1],
        pack_element(append.stream.category.encode()),
        pack_element(append.stream.key.encode()),
        pack_bigint(_expected(append.expected_version)),
        pack_element(event.event_id.bytes),
        pack_element(event.type.encode()),
        pack_integer(event.schema_version),
        pack_element(event.data.encode()),
        pack_element(written.text.encode()),
        None if written.occurred_at is None else pack_bigint(written.occurred_at),
        None if correlation_id is None else pack_element(correlation(correlation_id)),
    )


def _pack(request: Request) -> Packed:
    parts = request.parts
    events = [event for _, event in flatten(request.appends)]
    written = [request.metadata[id(event.metadata)] for event in events]
    occurred_at = [one.occurred_at for one in written]
    correlations = [None if one.correlation_id is None else correlation(one.correlation_id) for one in written]
    return Packed(
        counts=[len(part.events) if isinstance(part, StreamAppend) else 0 for part in parts],
        categories=pack_bytes([part.stream.category.encode() for part in parts]),
        keys=pack_bytes([part.stream.key.encode() for part in parts]),
        expected=pack_bigints([_expected(part.expected_version) for part in parts]),
        ids=pack_bytes([event.event_id.bytes for event in events]),
        types=pack_bytes([event.type.encode() for event in events]),
        schema_versions=pack_integers([event.schema_version for event in events]),
        data=pack_bytes([event.data.encode() for event in events]),
        metadata=pack_bytes([one.text.encode() for one in written]),
        occurred_at=pack_bigints(occurred_at) if any(one is not None for one in occurred_at) else None,
        correlations=pack_bytes(correlations) if any(correlations) else None,
    )


def _many(requests: Sequence[Request]) -> Sequence[object]:
    packed = [request.pack() for request in requests]
    counts = [count for one in packed for count in one.counts]
    streams, events = len(counts), sum(counts)
    appends = [number for number, one in enumerate(packed, 1) for _ in one.counts]
    return (
        array(INTEGER, streams, [pack_integers(appends)]),
        array(TEXT, streams, [one.categories for one in packed]),
        array(TEXT, streams, [one.keys for one in packed]),
        array(BIGINT, streams, [one.expected for one in packed]),
        array(INTEGER, streams, [pack_integers(counts)]),
        array(UUID, events, [one.ids for one in packed]),
        array(TEXT, events, [one.types for one in packed]),
        array(INTEGER, events, [one.schema_versions for one in packed]),
        array(TEXT, events, [one.data for one in packed]),
        array(TEXT, events, [one.metadata for one in packed]),
        _optional(BIGINT, requests, [one.occurred_at for one in packed]),
        _optional(BYTEA, requests, [one.correlations for one in packed]),
    )


def _optional(kind: int, requests: Sequence[Request], elements: Sequence[bytes | None]) -> Array | None:
    """Make an array of what most events do not have; None when none has it."""
    if not any(elements):
        return None
    count = sum([request.count for request in requests])
    return array(kind, count, [own or NULL * request.count for request, own in zip(requests, elements, strict=True)])


def _stored(
    requests: Sequence[Request],
    recorded_at: int,
    versions: Sequence[int],
    positions: Sequence[int],
    digests: Sequence[bytes | None] | None,
) -> Iterator[Stored | Refused]:
    part = event = 0
    for request in requests:
        parts = slice(part, part + len(request.parts))
        events = slice(event, event + request.count)
        part, event = parts.stop, events.stop
        if positions[parts.start] < 0:
            streams = (one.stream for one in request.parts)
            yield Refused(dict(zip(streams, versions[parts], strict=True)))
        else:
            sealed = (None,) * request.count if digests is None else digests[events]
            yield Stored(recorded_at, versions[parts], positions[parts], sealed)


def _results(request: Request, stored: Stored | Refused) -> Answer:
    if isinstance(stored, Refused):
        return stored
    digests = iter(stored.digests)
    done: list[AppendResult] = []
    for append, version, position in zip(request.appends, stored.versions, stored.positions, strict=False):
        events = tuple(
            [
                StoredEvent(
                    append.stream,
                    version + number,
                    position + number,
                    event.event_id.bytes,
                    event.type,
                    event.schema_version,
                    event.data,
                    request.metadata[id(event.metadata)].text,
                    stored.recorded_at,
                    next(digests),
                )
                for number, event in enumerate(append.events, 1)
            ]
        )
        done.append(AppendResult(append.stream, version + len(events), position + len(events), events))
    return tuple(done)


def _expected(expected: ExpectedVersion) -> int:
    if expected is ANY_VERSION:
        return -1
    if expected is STREAM_EXISTS:
        return -2
    return min(expected, MOST)
