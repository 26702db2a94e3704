"""Events of the domain to stored data and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar
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
from esbank.store import NO_METADATA, Metadata, NewEvent, StoredEvent, new_event_id

__all__ = ["EventCodec"]

E = TypeVar("E")


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
        return NewEvent(
            binding.name,
            data,
            event_id=event_id or new_event_id(),
            schema_version=binding.schema_version,
            metadata=in_context(NO_METADATA) if metadata is None else metadata,
        )

    def decode(self, stored: StoredEvent) -> object:
        """Read the event that a store holds.

        Old data go through their upcasters. Raises ``UnknownEventType`` for a name that is not in the registry,
        ``NewerSchemaVersion`` for data of newer code, and ``EventDecodingError`` for data that do not fit the class.
        """
        binding = self._by_type(stored.type, stored.schema_version)
        if binding is None:
            raise self._unreadable(stored)
        try:
            return binding.read(stored.data)
        except Misfit as misfit:
            raise EventDecodingError(stored.type, stored.stream, stored.version, misfit.path, misfit.reason) from misfit

    def envelope(self, stored: StoredEvent) -> EventEnvelope[object]:
        """Read the event that a store holds, and keep all that the store knows around it. Raises as `decode` does."""
        return EventEnvelope(self.decode(stored), stored)

    def reread(self, event: object, stored: StoredEvent) -> object:
        """Return what reading `stored` gives, given that it was written from `event`.

        That is the event itself, if nothing can change it.
        """
        binding = self._registry.by_class(type(event))
        return event if binding is not None and not binding.form.changes else self.decode(stored)

    def copy(self, event: E) -> E:
        """Copy an event so that no change to one shows in the other; itself, if nothing can change it."""
        binding = self._registry.by_class(type(event))
        if binding is None or binding.form.copy is None or not binding.form.changes:
            return event
        copied: E = binding.form.copy(event)
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

    def _unreadable(self, stored: StoredEvent) -> EsbankError:
        known = self._registry.newest(stored.type)
        if known is None:
            return UnknownEventType(stored.type, stored.stream, stored.version)
        where = (stored.type, stored.stream, stored.version, "")
        if type(stored.schema_version) is not int:
            return EventDecodingError(*where, f"its schema version is damaged: {stored.schema_version!r:.60}")
        if stored.schema_version > known:
            reason = (
                f"it has schema version {stored.schema_version}, this code knows up to {known}: newer code wrote it, "
                "so upgrade this program"
            )
            return NewerSchemaVersion(*where, reason, stored.schema_version, known)
        reason = (
            f"it has schema version {stored.schema_version}, and nothing here turns that into version {known}; add an "
            "upcaster: EventRegistry(…, upcasters=[…])"
        )
        return EventDecodingError(*where, reason)
