"""The rules of an append, the same in every backend: what makes sense, what is expected, what is a repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final, Protocol
from uuid import UUID

from attrs import frozen

from esbank.errors import ConcurrencyError, DuplicateEvent, EsbankError, UnknownOutcome
from esbank.store import (
    NO_METADATA,
    AppendResult,
    AppendTransaction,
    DigestNext,
    InlineHandler,
    Metadata,
    NewEvent,
    Snapshot,
    StoredEvent,
    StreamAppend,
    StreamCondition,
    StreamId,
    check_expectation,
    is_expected,
    microseconds,
)

__all__ = [
    "MOST",
    "REPEAT",
    "AppendRequest",
    "WrittenMetadata",
    "check_appends",
    "check_claim",
    "check_correlation_id",
    "check_event_id",
    "check_expectations",
    "check_filters",
    "check_inline",
    "check_name",
    "check_read",
    "check_snapshot",
    "check_stream",
    "concerned",
    "flatten",
    "name_once",
    "names_in",
    "number",
    "recognise",
    "results",
    "shared_failure",
    "tell_inline",
    "write_metadata",
]


REPEAT: Final = "repeat the same append, or the command with its command_id, to learn whether it was stored"
"""What to do about an unknown outcome."""
MOST: Final = 2**63 - 1
"""The highest version or position that every backend can count to."""


def check_appends(appends: Sequence[StreamAppend], conditions: Sequence[StreamCondition] = ()) -> None:
    """Refuse what makes no sense, before anything is touched: ``ValueError``, ``TypeError``, ``DuplicateEvent``."""
    if not appends:
        raise ValueError("there is nothing to append")
    named: set[StreamId] = set()
    for part in concerned(appends, conditions):
        if not isinstance(part, (StreamAppend, StreamCondition)):
            raise TypeError(f"append_many takes StreamAppend and StreamCondition, not {part!r:.60}")
        check_stream(part.stream)
        name_once(part.stream, named)
        check_expectation(part.expected_version)
    for append in appends:
        if not isinstance(append, StreamAppend):
            raise TypeError(f"a condition goes into conditions=, not among the appends: {append!r}")
        _check_events(append)


def name_once(stream: StreamId, named: set[StreamId]) -> None:
    """Add a stream to those that are named, or refuse it with a ``ValueError`` if it is one of them."""
    if stream in named:
        raise ValueError(f"{stream} is named twice; put all that concerns a stream into one append")
    named.add(stream)


def _check_events(append: StreamAppend) -> None:
    events = append.events
    if not isinstance(events, Sequence):  # what can be gone through only once would be checked, and not stored
        raise TypeError(f"events come in a list or a tuple, not as {events!r:.60}")
    if not events:
        raise ValueError(f"there are no events to append to {append.stream}")
    ids: set[int] = set()
    for event in events:
        if not isinstance(event, NewEvent):
            raise TypeError(f"a store takes NewEvent, not {event!r}; an EventCodec makes one of an event")
        number = event.event_id.int
        if number in ids:
            raise DuplicateEvent(append.stream, event.event_id)
        ids.add(number)


def check_expectations(parts: Iterable[StreamAppend | StreamCondition], version_of: Callable[[StreamId], int]) -> None:
    """Raise ``ConcurrencyError`` for the first stream that is not as expected."""
    for part in parts:
        actual = version_of(part.stream)
        if not is_expected(part.expected_version, actual):
            raise ConcurrencyError(part.stream, part.expected_version, actual)


def check_stream(stream: object) -> None:
    """Refuse what does not name a stream with a ``TypeError``."""
    if not isinstance(stream, StreamId):
        raise TypeError(f"a stream is named by a StreamId, not {stream!r:.60}; StreamId.parse() reads one from text")


def check_event_id(event_id: object) -> None:
    """Refuse what is no id of an event with a ``TypeError``."""
    if not isinstance(event_id, UUID):
        raise TypeError(f"an event's id is a UUID, not {event_id!r:.60}")


def check_snapshot(snapshot: object) -> None:
    """Refuse what cannot be kept as a snapshot with a ``TypeError``."""
    if not isinstance(snapshot, Snapshot):
        raise TypeError(f"a store keeps a Snapshot, not {snapshot!r:.60}")
    check_stream(snapshot.stream)
    check_event_id(snapshot.event_id)


def check_filters(after: int | None, categories: object, types: object) -> None:
    """Refuse a position that makes no sense, and one text where several are meant, which would be taken by letters."""
    check_read(after=0 if after is None else after)
    for wanted in (categories, types):
        if isinstance(wanted, str):
            raise TypeError(f"give categories and types as several, as in ({wanted!r},)")


def names_in(wanted: Iterable[str]) -> list[str]:
    """List the names to filter by; refuse a class, which stands for names, with a ``TypeError``."""
    names = list(wanted)
    for name in names:
        check_name(name)
    return names


def check_name(name: object) -> None:
    """Refuse what is no name of a category or a type, or one that no database could hold, with an error."""
    if not isinstance(name, str):
        raise TypeError(f"categories and types are names, as registry.names_of(SomeEvent) gives them, not {name!r}")
    if "\0" in name or _has_lone_surrogate(name):
        raise ValueError(f"a name must not contain a NUL or a lone surrogate: {name!r}")


def check_inline(handlers: Iterable[InlineHandler]) -> tuple[InlineHandler, ...]:
    """Refuse with a ``TypeError`` what takes no appends, before anything is opened."""
    handlers = tuple(handlers)
    for handler in handlers:
        if isinstance(handler, type) or not callable(getattr(handler, "on_append", None)):
            raise TypeError(f"an inline handler is an object with on_append(), such as a projector, not {handler!r}")
    return handlers


class _EndingTransaction(AppendTransaction, Protocol):
    """A transaction that can be told to take no more statements."""

    def end(self) -> None: ...


def tell_inline(
    handlers: Sequence[InlineHandler], begin: Callable[[], _EndingTransaction], stored: Sequence[StoredEvent]
) -> None:
    """Let handlers take events in the open transaction that appends them, as `begin` makes it for them."""
    if not handlers:
        return
    transaction = begin()
    try:
        for handler in handlers:
            handler.on_append(transaction, tuple(stored))
    finally:
        transaction.end()


def check_read(*, after: int = 0, up_to: int | None = None, limit: int | None = None) -> None:
    """Refuse bounds that make no sense with a ``ValueError``."""
    for name, bound in (("after", after), ("up_to", up_to), ("limit", limit)):
        if bound is not None and (type(bound) is not int or not 0 <= bound <= MOST):
            raise ValueError(f"{name} must be an int from 0 to {MOST}, not {bound!r:.60}")


def check_correlation_id(correlation_id: object) -> None:
    """Refuse what no event can have with a ``TypeError`` or a ``ValueError``."""
    _check_text("a correlation_id", correlation_id)


def check_claim(name: object) -> None:
    """Refuse what cannot be held as a name with a ``TypeError`` or a ``ValueError``."""
    _check_text("what is claimed", name)


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str, not {text!r}")
    if _has_lone_surrogate(text):
        raise ValueError(f"{what} must not contain a lone surrogate: {text!r}")


def _has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def concerned(
    appends: Sequence[StreamAppend], conditions: Sequence[StreamCondition]
) -> list[StreamAppend | StreamCondition]:
    """List all that names a stream and expects something of it."""
    return [*appends, *conditions]


def flatten(appends: Iterable[StreamAppend]) -> Iterator[tuple[StreamId, NewEvent]]:
    """List the events of all streams in the order in which they get their positions."""
    for append in appends:
        for event in append.events:
            yield append.stream, event


@frozen
class WrittenMetadata:
    """Metadata on their way into a store; `occurred_at` is in microseconds since 1970."""

    text: str
    correlation_id: str | None
    occurred_at: int | None


def write_metadata(appends: Iterable[StreamAppend]) -> dict[int, WrittenMetadata]:
    """Write the metadata of all events, by the ``id()`` of each: most events of an append share theirs."""
    written: dict[int, WrittenMetadata] = {}
    for append in appends:
        for event in append.events:
            metadata = event.metadata
            if id(metadata) not in written:
                written[id(metadata)] = _NOTHING_WRITTEN if metadata is NO_METADATA else _write(metadata)
    return written


def _write(metadata: Metadata) -> WrittenMetadata:
    occurred_at = None if metadata.occurred_at is None else microseconds(metadata.occurred_at)
    return WrittenMetadata(metadata.to_json(), metadata.correlation_id, occurred_at)


class AppendRequest:
    """What ``append_many`` is given, with the metadata written."""

    def __init__(
        self,
        appends: Sequence[StreamAppend],
        conditions: Sequence[StreamCondition],
        metadata: Mapping[int, WrittenMetadata],
    ) -> None:
        self.appends = appends
        self.metadata = metadata
        self.parts = concerned(appends, conditions)
        """All that names a stream and expects something of it."""
        self.streams = [part.stream for part in self.parts]
        self.count = sum([len(append.events) for append in appends])
        """How many events there are."""


_NOTHING_WRITTEN: Final = WrittenMetadata(NO_METADATA.to_json(), None, None)


def number(
    append: StreamAppend,
    metadata: Mapping[int, WrittenMetadata],
    *,
    version: int,
    position: int,
    recorded_at: int,
    digest_next: DigestNext | None,
) -> Iterator[tuple[tuple[Any, ...], str | None]]:
    """Give events their places after a version and a position, and seal them.

    Yields for each what a ``StoredEvent`` is made of besides its stream, and its correlation id.
    """
    for event in append.events:
        version += 1
        position += 1
        written = metadata[id(event.metadata)]
        event_id = event.event_id.bytes
        digest = None
        if digest_next is not None:
            occurred_at = recorded_at if written.occurred_at is None else written.occurred_at
            digest = digest_next(
                version, event_id, event.type, event.schema_version, event.data, written.text, occurred_at
            )
        yield (
            (
                version,
                position,
                event_id,
                event.type,
                event.schema_version,
                event.data,
                written.text,
                recorded_at,
                digest,
            ),
            written.correlation_id,
        )


def _repeated(appends: Sequence[StreamAppend], first: Sequence[StoredEvent]) -> bool:
    """Tell whether `appends` say again, word for word, what an earlier append stored as `first`."""
    given = list(flatten(appends))
    return len(given) == len(first) and all(
        stored.stream == stream
        and stored.event_id == event.event_id
        and stored.type == event.type
        and stored.schema_version == event.schema_version
        and stored.data == event.data
        and stored.metadata_text == event.metadata.to_json()
        for (stream, event), stored in zip(given, first, strict=True)
    )


def recognise(
    appends: Sequence[StreamAppend], first: Sequence[StoredEvent], stream: StreamId, event: NewEvent
) -> tuple[AppendResult, ...]:
    """Return the first results of `appends`, of which one event has an id that came with what is stored as `first`.

    Raises ``DuplicateEvent`` when they are not the same.
    """
    if not _repeated(appends, first):
        raise DuplicateEvent(stream, event.event_id)
    return results(appends, first)


def shared_failure(error: BaseException, store: str) -> BaseException:
    """Say what the failure of a call means to those who have shared it with the one who made it."""
    if isinstance(error, EsbankError):
        mine = copy(error)
        mine.__cause__ = error.__cause__
        return mine
    problem = f"{error!r}: the thread that made this append together with its own was interrupted; {REPEAT}"
    return UnknownOutcome(store, problem)


def results(appends: Sequence[StreamAppend], stored: Sequence[StoredEvent]) -> tuple[AppendResult, ...]:
    """Say for each stream where its append ended, given all events in the order of `flatten`."""
    done: list[AppendResult] = []
    start = 0
    for append in appends:
        events = tuple(stored[start : start + len(append.events)])
        start += len(events)
        done.append(AppendResult(append.stream, events[-1].version, events[-1].position, events))
    return tuple(done)
