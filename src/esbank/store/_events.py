"""Events on their way into a store, and as a store holds them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeAlias
from uuid import UUID

import msgspec
from attrs import Attribute, field, fields, frozen
from attrs.validators import instance_of

from esbank._json import Json, check_json
from esbank.store._streams import StreamId, check_text

__all__ = [
    "NO_METADATA",
    "EventData",
    "Metadata",
    "NewEvent",
    "StoredEvent",
    "data_of",
    "encoded_event",
    "microseconds",
    "new_event_id",
]

EventData: TypeAlias = tuple[int, str, int, str]
"""What a replay needs of an event: its version, its type, its schema version and its data."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Count the microseconds from 1970 to a moment, as backends store it."""
    return (moment - _EPOCH) // _MICROSECOND


def new_event_id() -> UUID:
    """Make a UUID of version 7 (RFC 9562): random, and ordered by time, so that an index of them grows at its end."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(_random.take(), "big")
    return UUID(int=(milliseconds << 80) | (random & _RANDOM_BITS) | _VERSION_AND_VARIANT)


_VERSION_AND_VARIANT: Final = (0x7 << 76) | (0x2 << 62)
_RANDOM_BITS: Final = ((1 << 80) - 1) & ~((0xF << 76) | (0x3 << 62))


class _Random:
    """Random bytes from the system, many at a time: to ask for them costs more than to use them."""

    def __init__(self) -> None:
        self._process = 0
        self._parts: list[bytes] = []

    def take(self) -> bytes:
        """Return ten bytes that nobody else gets, in no thread and in no process."""
        if self._process != os.getpid():  # a forked child has the parts of its parent
            self._parts, self._process = [], os.getpid()
        try:
            return self._parts.pop()
        except IndexError:
            many = os.urandom(10 * 256)
            first, *others = [many[start : start + 10] for start in range(0, len(many), 10)]
            self._parts.extend(others)
            return first


_random: Final = _Random()


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise TypeError(f"occurred_at must be a datetime, not {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"occurred_at must know its time zone, as in datetime.now(UTC): {value!r}")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"occurred_at must be a moment that UTC can say: {value!r}") from error


def _optional_text(_instance: object, attribute: Attribute[str | None], value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str or None, not {value!r}")


def _as_dict(value: Mapping[str, Json]) -> dict[str, Json]:
    return dict(value)


@frozen
class Metadata:
    """Who, why, in which conversation and when: what is known about an event beside the fact itself.

    `occurred_at` is when it happened in the business, kept in UTC; without it an event is taken to have happened when
    it was recorded. `extra` takes whatever else JSON can say. `command_id` and `command_fingerprint` are kept by
    ``Repository.execute`` to recognise a command that comes again.
    """

    correlation_id: str | None = field(default=None, validator=_optional_text)
    causation_id: str | None = field(default=None, validator=_optional_text)
    actor: str | None = field(default=None, validator=_optional_text)
    occurred_at: datetime | None = field(default=None, converter=_in_utc)
    extra: Mapping[str, Json] = field(factory=dict[str, Json], converter=_as_dict, hash=False)
    command_id: str | None = field(default=None, validator=_optional_text, kw_only=True)
    command_fingerprint: str | None = field(default=None, validator=_optional_text, kw_only=True)

    def to_json(self) -> str:
        """Write the JSON text that backends store; what is not known is left out.

        Raises ``ValueError`` when something in it is not what JSON can say.
        """
        known = {name: value for name in _METADATA_FIELDS if (value := getattr(self, name)) is not None}
        if self.extra:
            try:
                check_json(self.extra, "extra")
            except RecursionError as error:
                raise ValueError("extra is nested too deeply") from error
        else:
            del known["extra"]
        try:
            return msgspec.json.encode(known, order="deterministic").decode()
        except UnicodeEncodeError as error:
            raise ValueError(f"metadata must not contain a lone surrogate: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises ``ValueError`` for anything else."""
        if not isinstance(text, str):
            raise TypeError(f"metadata are read from a str, not {text!r:.60}")
        try:
            return cls(**msgspec.structs.asdict(_METADATA_SHAPE.decode(text)))
        except RecursionError as error:
            raise ValueError("the metadata are nested too deeply") from error
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise ValueError(f"the metadata cannot be read: {error}") from error


_METADATA_FIELDS: Final = tuple(attribute.name for attribute in fields(Metadata))


class _MetadataShape(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    extra: dict[str, Any] = {}
    command_id: str | None = None
    command_fingerprint: str | None = None


_METADATA_SHAPE: Final = msgspec.json.Decoder(_MetadataShape)
NO_METADATA: Final = Metadata()
_HIGHEST_SCHEMA_VERSION: Final = 2**31 - 1
_UUID_BYTES: Final = 16
_JSON_TEXT: Final = msgspec.json.Decoder(msgspec.Raw)


def _is_event_type(_instance: object, _attribute: Attribute[str], value: object) -> None:
    check_text("an event's type", value)


def _is_json_text(_instance: object, _attribute: Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"an event's data must be JSON text, not {value!r}")
    try:
        _JSON_TEXT.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"an event's data must be JSON text: {error}: {value[:60]!r}") from error


def _is_schema_version(_instance: object, _attribute: Attribute[int], value: object) -> None:
    if type(value) is not int or not 1 <= value <= _HIGHEST_SCHEMA_VERSION:
        raise ValueError(f"a schema version is an int from 1 to {_HIGHEST_SCHEMA_VERSION}, not {value!r}")


@frozen
class NewEvent:
    """An event on its way into a store: the name of its type, its data as JSON text, and what is known about it.

    `event_id` is unique within its stream, and a repeated append is recognised by it. Raises ``ValueError`` when the
    type is empty, `data` is not JSON, or `schema_version` is below 1 or beyond 31 bits.
    """

    type: str = field(validator=_is_event_type)
    data: str = field(validator=_is_json_text)
    event_id: UUID = field(factory=new_event_id, kw_only=True, validator=instance_of(UUID))
    schema_version: int = field(default=1, kw_only=True, validator=_is_schema_version)
    metadata: Metadata = field(default=NO_METADATA, kw_only=True, validator=instance_of(Metadata))


def encoded_event(type_: str, data: str, event_id: UUID, schema_version: int, metadata: Metadata) -> NewEvent:
    """Make a `NewEvent` of what a codec has just written, without looking at every part of it once more."""
    if type(event_id) is not UUID or type(metadata) is not Metadata:
        return NewEvent(type_, data, event_id=event_id, schema_version=schema_version, metadata=metadata)
    made = object.__new__(NewEvent)
    _set_type(made, type_)
    _set_data(made, data)
    _set_event_id(made, event_id)
    _set_schema_version(made, schema_version)
    _set_metadata(made, metadata)
    return made


_set_type, _set_data, _set_event_id, _set_schema_version, _set_metadata = (
    getattr(NewEvent, attribute.name).__set__ for attribute in fields(NewEvent)
)


def _as_uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, bytes) or len(value) != _UUID_BYTES:
        raise ValueError(f"an event's id is damaged: {value!r:.60}")
    return UUID(bytes=value)


def _as_metadata(value: Metadata | str) -> Metadata:
    if isinstance(value, Metadata):
        return value
    if not isinstance(value, str):
        raise ValueError(f"an event's metadata are damaged: {value!r:.60}")  # noqa: TRY004 - a row is at fault
    return Metadata.from_json(value)


def _as_datetime(value: datetime | int) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return _EPOCH + value * _MICROSECOND
    except (TypeError, OverflowError) as error:
        raise ValueError(f"the time when an event was recorded is damaged: {value!r:.60}") from error


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as a store holds it.

    `version` is its place in its stream, `position` its place in the store, `recorded_at` (UTC, microseconds) when the
    store recorded it. A backend may pass the id as 16 bytes, the metadata as JSON text and the time in microseconds
    since 1970, just as it stores them: they are converted when somebody looks, which a replay never does.

    Give its values by position: the names of those three are not the properties'.

    `digest` seals the event and all that precede it in the stream; None in a store that keeps no digests.
    """

    # A struct of msgspec, because one is made for every event that is read: an eighth of the time that an attrs class
    # takes. None of its values can refer back to it, so the garbage collector need not look.
    stream: StreamId
    version: int
    position: int
    _event_id: UUID | bytes
    type: str
    schema_version: int
    data: str
    _metadata: Metadata | str
    _recorded_at: datetime | int
    digest: bytes | None = None

    @property
    def event_id(self) -> UUID:
        """The id, unique within the stream."""
        return _as_uuid(self._event_id)

    @property
    def metadata(self) -> Metadata:
        """Who, why, in which conversation and when."""
        return _as_metadata(self._metadata)

    @property
    def metadata_text(self) -> str:
        """The metadata as the JSON text that is stored."""
        return self._metadata if isinstance(self._metadata, str) else _as_metadata(self._metadata).to_json()

    @property
    def recorded_at(self) -> datetime:
        """When the store recorded it; never decreases with `position`."""
        return _as_datetime(self._recorded_at)

    @property
    def occurred_at(self) -> datetime:
        """When it happened in the business: as given, else when it was recorded."""
        return self.metadata.occurred_at or self.recorded_at

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredEvent):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash((self.stream, self.version, self.position))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(self, name)}" for name in _SHOWN)
        return f"StoredEvent({shown})"

    def _content(self) -> tuple[object, ...]:
        return (
            self.stream,
            self.version,
            self.position,
            self.event_id,
            self.type,
            self.schema_version,
            self.data,
            self.metadata,
            self.recorded_at,
            self.digest,
        )


def data_of(stored: StoredEvent) -> EventData:
    """Return no more of an event than a replay needs."""
    return stored.version, stored.type, stored.schema_version, stored.data


_SHOWN: Final = (
    *("stream", "version", "position", "event_id", "type", "schema_version"),
    *("data", "metadata", "recorded_at"),
)


def _shown(stored: StoredEvent, name: str) -> str:
    """Show a damaged value as it is: whoever looks for the damage must see it."""
    try:
        return repr(getattr(stored, name))
    except (ValueError, TypeError):
        return repr(getattr(stored, f"_{name}"))
