"""Events of the domain to stored data and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar
from uuid import UUID

from esbank._context import in_context
from esbank.codec._forms import Misfit
from esbank.codec._registry import EventRegistry
from esbank.errors import (
    DefinitionError,
    EsbankError,
    EventDecodingError,
    EventEncodingError,
    NewerSchemaVersion,
    UnknownEventType,
)
from esbank.events import EventEnvelope
from esbank.store import NO_METADATA, EventData, Metadata, NewEvent, StoredEvent, StreamId, new_event_id
from esbank.store._events import data_of, encoded_event

__all__ = ["EventCodec"]

E = TypeVar("E")

_PAGE: Final = 250


class EventCodec:
    """Writes events as JSON and reads them back, by the classes in a registry.

    Strict both ways: exact types and no coercion, unknown and duplicate keys are errors, a missing key takes its
    field's default.
    """

    def __init__(self, registry: EventRegistry) -> None:
        if not isinstance(registry, EventRegistry):
            raise TypeError(f"events are named by an EventRegistry, not by {registry!r:.60}")
        self._registry = registry
        self._by_type = registry.by_type
        self._copiers = {
            cls: binding.form.copy
            for cls in registry.classes
            if (binding := registry.by_class(cls)) is not None and binding.form.changes
        }
        self._unchanging = frozenset(registry.classes) - self._copiers.keys()

    @property
    def registry(self) -> EventRegistry:
        """The classes it knows."""
        return self._registry

    def encode(self, event: object, *, event_id: UUID | None = None, metadata: Metadata | None = None) -> NewEvent:
        """Write an event for a store, by default with what the ``context`` around says as its metadata.

        Raises ``EventEncodingError`` for a value that is not exactly of its field's type, and for an event whose class
        is not in the registry.
        """
        binding = self._registry.by_class(type(event))
        if binding is None:
            reason = "its class is not in the registry; add it"
            raise EventEncodingError(type(event).__name__, "", reason)
        try:
            data = binding.form.to_json(event)
        except Misfit as misfit:
            raise EventEncodingError(binding.name, misfit.path, misfit.reason) from misfit
        return encoded_event(
            binding.name,
            data,
            event_id or new_event_id(),
            binding.schema_version,
            in_context(NO_METADATA) if metadata is None else metadata,
        )

    def decode(self, stored: StoredEvent) -> object:
        """Read the event that a store holds.

        Old data go through their upcasters. Raises ``UnknownEventType`` for a name that is not in the registry,
        ``NewerSchemaVersion`` for data of newer code, and ``EventDecodingError`` for data that do not fit the class.
        """
        return self._decode(stored.stream, data_of(stored))

    def decode_page(self, stream: StreamId, page: Sequence[EventData]) -> Iterable[object]:
        """Read events of a stream in their order, in half the time that `decode` takes for each. Raises as it does."""
        kinds = [(type_, schema_version) for _, type_, schema_version, _ in page]
        return self._decode_together(kinds, [data[-1] for data in page], lambda at: self._decode(stream, page[at]))

    def envelopes(self, events: Iterable[StoredEvent]) -> Iterator[EventEnvelope[object]]:
        """Read events that a store holds, in their order, as `envelope` does each, but in half the time.

        It takes some hundred at once, so give it what ends, such as ``store.read_all()``, and not a subscription.
        Raises as `decode` does, at the event that cannot be read.
        """
        rest = iter(events)
        while page := list(islice(rest, _PAGE)):
            kinds = [(stored.type, stored.schema_version) for stored in page]
            decoded = self._decode_together(kinds, [stored.data for stored in page], partial(self._decode_at, page))
            yield from map(EventEnvelope, decoded, page)

    def envelope(self, stored: StoredEvent) -> EventEnvelope[object]:
        """Read the event that a store holds, and keep all that the store knows around it. Raises as `decode` does."""
        return EventEnvelope(self.decode(stored), stored)

    def reread(self, event: object, stored: StoredEvent) -> object:
        """Return what reading `stored` gives, given that it was written from `event`.

        That is the event itself, if nothing can change it.
        """
        return event if type(event) in self._unchanging else self.decode(stored)

    def copy(self, event: E) -> E:
        """Copy an event so that no change to one shows in the other; itself, if nothing can change it."""
        copier = self._copiers.get(type(event))
        if copier is None:
            return event
        copied: E = copier(event)
        return copied

    def fingerprint(self, commands: Iterable[object]) -> str:
        """Digest commands, so that the same ones are recognised when they come again.

        Raises ``DefinitionError`` for a class of commands that cannot be written as JSON, and ``EventEncodingError``
        for a value in one.
        """
        digest = hashlib.sha256()
        for command in commands:
            cls = type(command)
            try:
                text = self._registry.forms.of(cls).to_json(command)
            except Misfit as misfit:
                raise EventEncodingError(cls.__name__, misfit.path, misfit.reason) from misfit
            except DefinitionError as error:
                raise DefinitionError(
                    f"a command with a command_id must be writable as JSON, to be recognised again: {error}"
                ) from error
            digest.update(f"{cls.__name__} {len(text)} {text}\n".encode())
        return digest.hexdigest()

    def _decode(self, stream: StreamId, data: EventData) -> object:
        version, type_, schema_version, text = data
        binding = self._by_type(type_, schema_version)
        if binding is None:
            raise self._unreadable(stream, data)
        try:
            return binding.read(text)
        except Misfit as misfit:
            raise EventDecodingError(type_, stream, version, misfit.path, misfit.reason) from misfit

    def _decode_at(self, page: Sequence[StoredEvent], at: int) -> object:
        return self.decode(page[at])

    def _decode_together(
        self, kinds: Sequence[tuple[str, int]], texts: Sequence[str], decode: Callable[[int], object]
    ) -> Iterable[object]:
        """Read the texts of each type and schema version together; where that cannot be, `decode` those one by one."""
        if len(set(kinds)) == 1:
            events = self._read_all(kinds[0], texts)
            return (decode(at) for at in range(len(texts))) if events is None else events
        return self._in_order(kinds, texts, decode)

    def _in_order(
        self, kinds: Sequence[tuple[str, int]], texts: Sequence[str], decode: Callable[[int], object]
    ) -> Iterator[object]:
        texts_of: dict[tuple[str, int], list[str]] = {}
        for kind, text in zip(kinds, texts, strict=True):
            texts_of.setdefault(kind, []).append(text)
        decoded: dict[tuple[str, int], Iterator[object] | None] = {}
        for kind, of_kind in texts_of.items():
            events = self._read_all(kind, of_kind)
            decoded[kind] = None if events is None else iter(events)
        for at, kind in enumerate(kinds):
            together = decoded[kind]
            yield decode(at) if together is None else next(together)

    def _read_all(self, kind: tuple[str, int], texts: Sequence[str]) -> Sequence[object] | None:
        binding = self._by_type(*kind)
        return None if binding is None else binding.read_all(texts)

    def _unreadable(self, stream: StreamId, data: EventData) -> EsbankError:
        version, type_, schema_version, _ = data
        known = self._registry.newest(type_)
        if known is None:
            return UnknownEventType(type_, stream, version)
        where = (type_, stream, version, "")
        if type(schema_version) is not int:
            return EventDecodingError(*where, f"its schema version is damaged: {schema_version!r:.60}")
        if schema_version > known:
            reason = (
                f"it has schema version {schema_version}, this code knows up to {known}: newer code wrote it, "
                "so upgrade this program"
            )
            return NewerSchemaVersion(*where, reason, schema_version, known)
        reason = (
            f"it has schema version {schema_version}, and nothing here turns that into version {known}; add an "
            "upcaster: EventRegistry(…, upcasters=[…])"
        )
        return EventDecodingError(*where, reason)
