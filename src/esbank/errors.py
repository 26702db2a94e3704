"""What can go wrong, as one tree.

Every error carries its data as attributes, and its message is made from them, so that a caller can act on it without
parsing text::

    EsbankError
    ├── ConcurrencyError           somebody else wrote to the stream first
    ├── DuplicateEvent             an event id is in its stream already, with other content
    ├── CommandIdReused            a command id came back with a different command
    ├── StreamNotFound             there is no such stream
    ├── VersionNotFound            the stream has not come to this version yet
    ├── UnhandledCommand           the aggregate has no handler for the command
    ├── UnappliedEvent             the aggregate has no applier for the event
    ├── DefinitionError            a class or a registry cannot work as it is written (also a TypeError)
    ├── UnknownEventType           a stored event has a name that the registry does not know
    ├── EventEncodingError         an event cannot be stored as it is
    ├── EventDecodingError         a stored event does not fit its class
    │   └── NewerSchemaVersion     a stored event was written by newer code
    ├── ProjectionError            a projector failed at an event
    ├── NoDigests                  the store keeps no digests, so there is nothing to verify
    ├── ImportRefused              an event of another log cannot go on where this one ends
    ├── NotACopy                   the target of a copy does not hold the beginning of its source
    ├── CheckpointError            a checkpoint does not belong to the events at hand
    ├── AlreadyRunning             another runner follows the log for this projector
    └── StorageError               the database refused or failed
        ├── StoreClosed            the store was closed before this call
        ├── StoreUnavailable       the database cannot be reached now; nothing was stored
        └── UnknownOutcome         a commit failed: the write may or may not have happened

Wrong arguments (a negative version, an empty list of events) are plain ``ValueError`` and ``TypeError``: nobody handles
them, they are mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from esbank.store import ExpectedVersion, StreamId


class EsbankError(Exception):
    """Whatever esbank raises for a caller to handle."""


@define(eq=False, slots=False)
class ConcurrencyError(EsbankError):
    """The stream is not at the version the writer expected; nothing was stored.

    Load again, decide again, append again; ``Repository.execute`` does so by itself. `actual` is the version at which
    the stream is, 0 when it is empty.
    """

    stream: StreamId
    expected: ExpectedVersion
    actual: int

    def __str__(self) -> str:
        return (
            f"{self.stream} is at version {self.actual}, expected {self.expected}; nothing was stored. "
            "Load the aggregate again and decide again."
        )


@define(eq=False, slots=False)
class DuplicateEvent(EsbankError):
    """An event id is in its stream already and this append is not an exact repeat of the one that wrote it."""

    stream: StreamId
    event_id: UUID

    def __str__(self) -> str:
        return (
            f"{self.stream} already holds an event with id {self.event_id} and other content or company; nothing was "
            "stored. Repeat an append with exactly the same events, or give new events new ids."
        )


@define(eq=False, slots=False)
class CommandIdReused(EsbankError):
    """A command id that has been executed on this stream came back with a different command; nothing was stored."""

    stream: StreamId
    command_id: str

    def __str__(self) -> str:
        return (
            f"{self.stream} has executed the command id {self.command_id!r} with a different command. "
            "Repeat a command unchanged, or give it an id of its own."
        )


@define(eq=False, slots=False)
class StreamNotFound(EsbankError):
    """Nothing was ever appended to the stream, or nothing yet by the moment `until` that was asked about."""

    stream: StreamId
    until: datetime | None = None

    def __str__(self) -> str:
        if self.until is None:
            return (
                f"{self.stream} does not exist: nothing was ever appended to it. "
                "Check the key; execute() starts a stream."
            )
        return f"{self.stream} did not exist yet by {self.until}."


@define(eq=False, slots=False)
class VersionNotFound(EsbankError):
    """The stream has not come to this version yet; `actual` is the version at which it is."""

    stream: StreamId
    version: int
    actual: int

    def __str__(self) -> str:
        return (
            f"{self.stream} is at version {self.actual}; there is no version {self.version} of it yet. "
            "Ask for one up to that."
        )


@define(eq=False, slots=False)
class UnhandledCommand(EsbankError):
    """The aggregate has no ``@handles`` method for the class of the command; nothing was stored."""

    aggregate: type
    command: type

    def __str__(self) -> str:
        return (
            f"{self.aggregate.__name__} does not handle {self.command.__name__}: "
            f"mark a method of it with @handles({self.command.__name__})."
        )


@define(eq=False, slots=False)
class UnappliedEvent(EsbankError):
    """The aggregate has no ``@applies`` method for the class of the event; nothing was stored."""

    aggregate: type
    event: type

    def __str__(self) -> str:
        if self.event in {list, tuple}:
            return f"{self.aggregate.__name__} yields a {self.event.__name__}; yield one event after the other."
        return (
            f"{self.aggregate.__name__} does not apply {self.event.__name__}: "
            f"mark a method of it with @applies({self.event.__name__})."
        )


@define(eq=False, slots=False)
class DefinitionError(EsbankError, TypeError):
    """A class or a registry cannot work as it is written."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@define(eq=False, slots=False)
class UnknownEventType(EsbankError):
    """A stored event has a type name that no class in the registry bears."""

    type: str
    stream: StreamId
    version: int

    def __str__(self) -> str:
        return (
            f"{self.stream} version {self.version} is a {self.type!r}, which the registry does not know. "
            f"Add the class of that event to it, or give the renamed class its old name: @event(name={self.type!r})."
        )


@define(eq=False, slots=False)
class EventEncodingError(EsbankError):
    """A value cannot be stored as its field is typed; `field` is the path to it, as in ``lines[2].price``."""

    type: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.type}{'.' if self.field else ''}{self.field} cannot be stored: {self.reason}"


@define(eq=False, slots=False)
class EventDecodingError(EsbankError):
    """A stored event does not fit its class; `field` is the path to the misfit, empty when it is the whole event."""

    type: str
    stream: StreamId
    version: int
    field: str
    reason: str

    def __str__(self) -> str:
        where = f", field {self.field}" if self.field else ""
        return f"{self.stream} version {self.version} ({self.type}{where}) cannot be read: {self.reason}"


@define(eq=False, slots=False)
class NewerSchemaVersion(EventDecodingError):
    """A stored event has a higher schema version than its class: newer code wrote it, so this code must not guess."""

    stored: int
    known: int


@define(eq=False, slots=False)
class ProjectionError(EsbankError):
    """A projector failed at an event. It stays before that event: nothing was skipped, and nothing of it was kept.

    The failure itself is the ``__cause__``.
    """

    projector: str
    stream: StreamId
    version: int
    position: int
    type: str

    def __str__(self) -> str:
        return (
            f"projector {self.projector!r} failed at position {self.position} ({self.type}, {self.stream} version "
            f"{self.version}): {_said(self.__cause__)}. It waits there; mend what failed "
            "and catch up again, or rebuild it if its tables have changed."
        )


def _said(error: BaseException | None) -> str:
    """Write an error of ours with its message, and any other as Python shows it."""
    return f"{type(error).__name__}: {error}" if isinstance(error, EsbankError) else repr(error)


class NoDigests(EsbankError):
    """The store was made without digests, so nobody can tell whether its events were changed."""

    def __str__(self) -> str:
        return (
            "this store keeps no digests, so there is nothing to verify: it was made with digests=False, or before "
            "there were any. They are chosen when a store is made."
        )


@define(eq=False, slots=False)
class ImportRefused(EsbankError):
    """An event of another log cannot go on where this one ends; nothing was stored of what was imported with it."""

    stream: StreamId
    version: int
    position: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.stream} version {self.version} (position {self.position}) cannot be imported: {self.reason}; "
            "nothing was stored of what came with it."
        )


@define(eq=False, slots=False)
class NotACopy(EsbankError):
    """The target of a copy does not hold the beginning of its source, so there is nothing to go on with.

    `position` is that of the target's last event. Nothing was copied.
    """

    position: int
    problem: str

    def __str__(self) -> str:
        return (
            f"the target, which goes to position {self.position}, is no beginning of the source: {self.problem}; "
            "nothing was copied. Copy into a new one."
        )


@define(eq=False, slots=False)
class CheckpointError(EsbankError):
    """A view and its checkpoint do not belong to the events at hand, so going on could skip events in silence."""

    projector: str
    problem: str

    def __str__(self) -> str:
        return f"projector {self.projector!r}: {self.problem}"


@define(eq=False, slots=False)
class AlreadyRunning(EsbankError):
    """Somebody else, in this process or in another one, holds this name: for a projector, another runner."""

    name: str

    def __str__(self) -> str:
        return (
            f"{self.name!r} is being run already, in this process or in another one. "
            "One runner is enough; stop the other one first, or let it go on."
        )


@define(eq=False, slots=False)
class StorageError(EsbankError):
    """The database refused or failed. `store` says which one; the driver's own error, if any, is the ``__cause__``."""

    store: str
    problem: str

    def __str__(self) -> str:
        return f"{self.store}: {self.problem}"


@define(eq=False, slots=False)
class StoreClosed(StorageError):
    """The store was closed before this call."""

    problem: str = "the store is closed; open a new one."


@define(eq=False, slots=False)
class StoreUnavailable(StorageError):
    """The database cannot be reached now, or has ended the session before a commit; nothing was stored. Try again.

    So it is when no connection of a pool is free for too long.
    """


@define(eq=False, slots=False)
class UnknownOutcome(StorageError):
    """A commit failed, so the write may or may not have happened.

    Append the very same events (same ids) again: if they are stored, the repeat is recognised.
    """
