"""Events as an application sees them: classes of its own, and envelopes around what a store holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Generic, TypeVar, overload
from uuid import UUID

import msgspec
from attrs import frozen

from esbank.errors import DefinitionError
from esbank.store import Metadata, StoredEvent, StreamId
from esbank.store._streams import check_text

__all__ = ["EventEnvelope", "EventType", "check_event_name", "check_schema_version", "event", "event_type"]

T = TypeVar("T")
E_co = TypeVar("E_co", covariant=True)

_MARK: Final = "__esbank_event__"


@frozen
class EventType:
    """What a store calls an event's class: a name, which outlives the class's own, and a schema version."""

    name: str
    schema_version: int

    def __str__(self) -> str:
        return f"{self.name} {self.schema_version}"


@overload
def event(cls: type[T], /) -> type[T]: ...
@overload
def event(*, name: str | None = None, schema_version: int = 1) -> Callable[[type[T]], type[T]]: ...
def event(
    cls: type[T] | None = None, /, *, name: str | None = None, schema_version: int = 1
) -> type[T] | Callable[[type[T]], type[T]]:
    """Give an event class the name and the schema version under which it is stored.

    Without it, the name is the class's and the schema version 1. Works on either side of ``@frozen``. Raises
    ``DefinitionError`` for an empty name or a schema version below 1.
    """
    if name is not None:
        check_event_name("@event", name)
    check_schema_version("@event", schema_version)

    def mark(marked: type[T]) -> type[T]:
        if not isinstance(marked, type):
            raise DefinitionError(f"@event marks a class, not {marked!r}")
        setattr(marked, _MARK, EventType(name or marked.__name__, schema_version))
        return marked

    return mark if cls is None else mark(cls)


def event_type(cls: type) -> EventType:
    """Return the name and the schema version under which events of `cls` are stored."""
    # Looked up in the class itself: a subclass of an event is another event, under a name of its own.
    mark: EventType | None = vars(cls).get(_MARK)
    return mark or EventType(cls.__name__, 1)


def check_event_name(where: str, name: object) -> None:
    """Refuse with a ``DefinitionError`` what a store could not keep as a name."""
    try:
        check_text(f"{where}: a name", name)
    except (TypeError, ValueError) as error:
        raise DefinitionError(str(error)) from error


def check_schema_version(where: str, version: object) -> None:
    """Refuse with a ``DefinitionError`` what does not count from 1."""
    if type(version) is not int or version < 1:
        raise DefinitionError(f"{where}: a schema version is an int from 1, not {version!r}")


class EventEnvelope(msgspec.Struct, Generic[E_co], frozen=True):
    """A stored event with its data decoded: the fact itself as `event`, and around it all that the store knows."""

    event: E_co
    stored: StoredEvent

    @property
    def stream(self) -> StreamId:
        """The stream that holds the event."""
        return self.stored.stream

    @property
    def version(self) -> int:
        """Its place in the stream, from 1."""
        return self.stored.version

    @property
    def position(self) -> int:
        """Its place in the store."""
        return self.stored.position

    @property
    def event_id(self) -> UUID:
        """Its id, unique within the stream."""
        return self.stored.event_id

    @property
    def type(self) -> str:
        """The name of its type, as stored."""
        return self.stored.type

    @property
    def schema_version(self) -> int:
        """The schema version of its data, as stored."""
        return self.stored.schema_version

    @property
    def metadata(self) -> Metadata:
        """Who, why, in which conversation."""
        return self.stored.metadata

    @property
    def recorded_at(self) -> datetime:
        """When the store recorded it."""
        return self.stored.recorded_at

    @property
    def occurred_at(self) -> datetime:
        """When it happened in the business: as given, else when it was recorded."""
        return self.stored.occurred_at
