"""Aggregates as an application sees them: executed, loaded as they are or were, and followed through their history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, takewhile
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from esbank._cache import Cache
from esbank._command_loop import CommandLoop, Executed
from esbank._context import in_context
from esbank._loading import Loader, Replayed
from esbank.aggregate import Aggregate, check_aggregate
from esbank.codec import EventCodec, EventRegistry
from esbank.errors import DefinitionError, StreamNotFound, VersionNotFound
from esbank.events import EventEnvelope
from esbank.snapshots import NoSnapshots, SnapshotPolicy
from esbank.store import NO_METADATA, EventStore, ExpectedVersion, Metadata, StreamId, check_expectation

__all__ = ["Executed", "Loaded", "Repository"]

A_co = TypeVar("A_co", bound=Aggregate[Any, Any], covariant=True)
C = TypeVar("C")
E = TypeVar("E")

_NO_SNAPSHOTS: Final = NoSnapshots()


class Loaded(msgspec.Struct, Generic[A_co], frozen=True):
    """An aggregate's state, and the version of its stream at which it is that."""

    state: A_co
    version: int


class Repository(Generic[A_co]):
    """Loads and executes one class of aggregates in one store; safe to share between threads.

    `registry` names the events, by default those that the aggregate applies. `snapshots` says when to take one.
    `cache` is how many aggregates to keep in memory: a command on one of them needs no read at all. `max_attempts` is
    how often to decide before a ``ConcurrencyError`` is the caller's; from the fourth time on, an ``ExclusiveStore``
    keeps every other writer out meanwhile.

    Raises ``DefinitionError`` when the aggregate cannot work with the registry, the policy or the store.
    """

    def __init__(
        self,
        store: EventStore,
        aggregate: type[A_co],
        *,
        registry: EventRegistry | None = None,
        snapshots: SnapshotPolicy = _NO_SNAPSHOTS,
        cache: int = 1000,
        max_attempts: int = 20,
    ) -> None:
        _check_count("cache", cache, least=0)
        _check_count("max_attempts", max_attempts, least=1)
        _check_store(store)
        check_aggregate(aggregate)
        if not isinstance(snapshots, SnapshotPolicy):
            raise TypeError(f"snapshots is a policy, such as EveryNEvents(50), not {snapshots!r}")
        self._store = store
        self._aggregate = aggregate
        self._codec = EventCodec(_complete_registry(aggregate, registry))
        self._loader = Loader(store, aggregate, self._codec, snapshots)
        self._cache: Cache[Replayed[A_co]] = Cache(cache)
        self._loop = CommandLoop(store, self._codec, self._loader, self._cache, max_attempts=max_attempts)

    def execute(
        self: Repository[Aggregate[C, E]],
        key: str,
        *commands: C,
        metadata: Metadata | None = None,
        command_id: str | None = None,
        expected_version: ExpectedVersion | None = None,
    ) -> Executed[A_co, E]:
        """Let the aggregate decide on `commands`, and append the events of all of them at once, or none.

        An aggregate that does not exist yet decides on its initial state. When somebody else wrote to it meanwhile, it
        decides again on the new state, unless `expected_version` is a number: then only that version will do.

        A `command_id` makes it safe to repeat: the second time changes nothing and returns the first outcome.

        Raises what the domain raises to refuse, ``ConcurrencyError``, ``CommandIdReused`` when the id was executed
        with other commands, ``UnhandledCommand``, ``UnappliedEvent`` and ``EventEncodingError``; then nothing was
        stored. ``UnknownOutcome`` and other kinds of ``StorageError`` come from the store.
        """
        if not commands:
            raise ValueError(f"there is no command after {key!r}; write execute(key, command)")
        for command in commands:
            if isinstance(command, (type, list, tuple)):
                raise TypeError(
                    f"a command is an object of its class, and several come one by one, not {command!r:.60}"
                )
        if expected_version is not None:
            check_expectation(expected_version)
        if metadata is not None and not isinstance(metadata, Metadata):
            raise TypeError(f"metadata are given as Metadata(actor=...), not as {metadata!r:.60}")
        stream = self._aggregate.stream(key)
        order = self._loop.order(commands, in_context(metadata or NO_METADATA), command_id, expected_version)
        self._loop.check_no_transaction()
        with self._cache.turn(stream):
            executed: Executed[A_co, E] = self._loop.execute(stream, order)
        return executed

    def load(
        self,
        key: str,
        *,
        version: int | None = None,
        recorded_until: datetime | None = None,
        occurred_until: datetime | None = None,
    ) -> Loaded[A_co]:
        """Load an aggregate as it is now, or as it was.

        - `version`: as it was at that version of its stream.
        - `recorded_until`: by all that had been recorded by that moment, which is what one could know then.
        - `occurred_until`: by all that had happened by that moment, which is what was true then; it counts what was
          recorded later, and leaves out what was recorded ahead of its time. The events are folded in the order of
          their versions, and the result has the version of the last of them.

        Together they narrow each other. Raises ``StreamNotFound`` when there was none (yet), ``VersionNotFound`` when
        it has not come that far, and ``ValueError`` for a version below 1 or a moment without a time zone.
        """
        stream = self._aggregate.stream(key)
        if version is None and recorded_until is None and occurred_until is None:
            return self._load_latest(stream)
        _check_moment("recorded_until", recorded_until)
        _check_moment("occurred_until", occurred_until)
        up_to = version
        if version is not None:
            _check_count("version", version, least=1)
            self._check_has_come_to(stream, version)
        if recorded_until is not None:
            up_to = self._version_at(stream, recorded_until, version)
        if occurred_until is None or up_to == 0:
            replayed = self._loader.load(stream, up_to=up_to)
        else:
            replayed = self._loader.load_occurred(stream, occurred_until, up_to=up_to)
        if replayed.version == 0:
            raise StreamNotFound(stream, recorded_until if up_to == 0 else occurred_until)
        return Loaded(replayed.state, replayed.version)

    def history(self: Repository[Aggregate[C, E]], key: str) -> Iterator[EventEnvelope[E]]:
        """Read all events of an aggregate, in order, in their envelopes. Raises ``StreamNotFound``."""
        stream = self._aggregate.stream(key)
        events = self._store.read(stream)
        first = next(events, None)
        if first is None:
            raise StreamNotFound(stream)
        return cast("Iterator[EventEnvelope[E]]", map(self._codec.envelope, chain([first], events)))

    def timeline(self: Repository[Aggregate[C, E]], key: str) -> Iterator[tuple[EventEnvelope[E], A_co]]:
        """Step through the history of an aggregate: each event, and the state after it. Raises ``StreamNotFound``."""
        return cast("Iterator[tuple[EventEnvelope[E], A_co]]", self._steps(self.history(key)))

    def snapshot(self, key: str) -> int:
        """Take a snapshot of an aggregate as it is now, whatever the policy says; return its version.

        Raises ``StreamNotFound``, ``DefinitionError`` when the repository was made with ``NoSnapshots`` or the state
        holds a value that does not fit its field's type, and ``StorageError`` when the store cannot keep it.
        """
        stream = self._aggregate.stream(key)
        self._loop.check_no_transaction()
        with self._cache.turn(stream):
            replayed = self._replay(stream)
            self._loader.take_snapshot(stream, replayed)
            self._cache.put(stream, replayed)
            return replayed.version

    def _load_latest(self, stream: StreamId) -> Loaded[A_co]:
        replayed = self._replay(stream)
        loaded = Loaded(self._loader.copy(replayed.state), replayed.version)
        self._cache.put(stream, replayed)
        return loaded

    def _replay(self, stream: StreamId) -> Replayed[A_co]:
        replayed = self._cache.take(stream)
        if replayed is None:
            replayed = self._loader.load(stream)
        else:
            self._loader.catch_up(stream, replayed)
        if replayed.version == 0:
            raise StreamNotFound(stream)
        return replayed

    def _steps(self, envelopes: Iterator[EventEnvelope[Any]]) -> Iterator[tuple[EventEnvelope[Any], A_co]]:
        state = self._aggregate()
        for envelope in envelopes:
            state.apply(self._codec.copy(envelope.event))
            yield envelope, self._loader.copy(state)

    def _check_has_come_to(self, stream: StreamId, version: int) -> None:
        actual = self._store.version(stream)
        if actual == 0:
            raise StreamNotFound(stream)
        if actual < version:
            raise VersionNotFound(stream, version, actual)

    def _version_at(self, stream: StreamId, moment: datetime, version: int | None) -> int:
        by_then = takewhile(lambda event: event.recorded_at <= moment, self._store.read(stream, up_to=version))
        return max((event.version for event in by_then), default=0)


def _check_moment(name: str, moment: datetime | None) -> None:
    if moment is None:
        return
    if not isinstance(moment, datetime):
        raise TypeError(f"{name} is a datetime with a time zone, as in datetime.now(UTC), not {moment!r}")
    if moment.utcoffset() is None:
        raise ValueError(f"{name} must know its time zone, as in datetime.now(UTC): {moment!r}")


def _check_count(name: str, number: object, *, least: int) -> None:
    if type(number) is not int or number < least:
        raise ValueError(f"{name} must be an int from {least}, not {number!r}")


def _check_store(store: object) -> None:
    if not callable(getattr(store, "append_many", None)):
        raise TypeError(
            f"a repository is made of a store and a class of aggregates, in this order, not of {store!r:.60}"
        )


def _complete_registry(aggregate: type[Aggregate[Any, Any]], registry: EventRegistry | None) -> EventRegistry:
    if registry is None:
        return EventRegistry(aggregate)
    if not isinstance(registry, EventRegistry):
        raise TypeError(f"registry is an EventRegistry, not {registry!r:.60}")
    for cls in aggregate.event_classes():
        if registry.by_class(cls) is None:
            raise DefinitionError(f"the registry lacks {cls.__name__}, which {aggregate.__name__} applies; add it")
    return registry
