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
        ├── ConstraintViolated     a constraint refused a row
        ├── StoreUnavailable       the database cannot be reached now; nothing was stored
        └── UnknownOutcome         a commit failed: the write may or may not have happened

Wrong arguments (a negative version, an empty list of events) are plain ``ValueError`` and ``TypeError``: nobody handles
them, they are mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from esbank.store import ExpectedVersion, StreamId


class EsbankError(Exception):
    """Whatever esbank raises for a caller to handle."""

    # Errors are written out, and not made by attrs, because importing esbank would then take a tenth longer.

    __match_args__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        data = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({data})" if data else super().__repr__()


class ConcurrencyError(EsbankError):
    """The stream is not at the version the writer expected; nothing was stored.

    Load again, decide again, append again; ``Repository.execute`` does so by itself. `actual` is the version at which
    the stream is, 0 when it is empty.
    """

    __match_args__ = ("stream", "expected", "actual")

    def __init__(self, stream: StreamId, expected: ExpectedVersion, actual: int) -> None:
        super().__init__(stream, expected, actual)
        self.stream = stream
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return (
            f"{self.stream} is at version {self.actual}, expected {self.expected}; nothing was stored. "
            "Load the aggregate again and decide again."
        )


class DuplicateEvent(EsbankError):
    """An event id is in its stream already and this append is not an exact repeat of the one that wrote it."""

    __match_args__ = ("stream", "event_id")

    def __init__(self, stream: StreamId, event_id: UUID) -> None:
        super().__init__(stream, event_id)
        self.stream = stream
        self.event_id = event_id

    def __str__(self) -> str:
        return (
            f"{self.stream} already holds an event with id {self.event_id} and other content or company; nothing was "
            "stored. Repeat an append with exactly the same events, or give new events new ids."
        )


class CommandIdReused(EsbankError):
    """A command id that has been executed on this stream came back with a different command; nothing was stored."""

    __match_args__ = ("stream", "command_id")

    def __init__(self, stream: StreamId, command_id: str) -> None:
        super().__init__(stream, command_id)
        self.stream = stream
        self.command_id = command_id

    def __str__(self) -> str:
        return (
            f"{self.stream} has executed the command id {self.command_id!r} with a different command. "
            "Repeat a command unchanged, or give it an id of its own."
        )


class StreamNotFound(EsbankError):
    """Nothing was ever appended to the stream, or nothing yet by the moment `until` that was asked about."""

    __match_args__ = ("stream", "until")

    def __init__(self, stream: StreamId, until: datetime | None = None) -> None:
        super().__init__(stream, until)
        self.stream = stream
        self.until = until

    def __str__(self) -> str:
        if self.until is None:
            return (
                f"{self.stream} does not exist: nothing was ever appended to it. "
                "Check the key; execute() starts a stream."
            )
        return f"{self.stream} did not exist yet by {self.until}."


class VersionNotFound(EsbankError):
    """The stream has not come to this version yet; `actual` is the version at which it is."""

    __match_args__ = ("stream", "version", "actual")

    def __init__(self, stream: StreamId, version: int, actual: int) -> None:
        super().__init__(stream, version, actual)
        self.stream = stream
        self.version = version
        self.actual = actual

    def __str__(self) -> str:
        return (
            f"{self.stream} is at version {self.actual}; there is no version {self.version} of it yet. "
            "Ask for one up to that."
        )


class UnhandledCommand(EsbankError):
    """The aggregate has no ``@handles`` method for the class of the command; nothing was stored."""

    __match_args__ = ("aggregate", "command")

    def __init__(self, aggregate: type, command: type) -> None:
        super().__init__(aggregate, command)
        self.aggregate = aggregate
        self.command = command

    def __str__(self) -> str:
        return (
            f"{self.aggregate.__name__} does not handle {self.command.__name__}: "
            f"mark a method of it with @handles({self.command.__name__})."
        )


class UnappliedEvent(EsbankError):
    """The aggregate has no ``@applies`` method for the class of the event; nothing was stored."""

    __match_args__ = ("aggregate", "event")

    def __init__(self, aggregate: type, event: type) -> None:
        super().__init__(aggregate, event)
        self.aggregate = aggregate
        self.event = event

    def __str__(self) -> str:
        if self.event in {list, tuple}:
            return f"{self.aggregate.__name__} yields a {self.event.__name__}; yield one event after the other."
        return (
            f"{self.aggregate.__name__} does not apply {self.event.__name__}: "
            f"mark a method of it with @applies({self.event.__name__})."
        )


class DefinitionError(EsbankError, TypeError):
    """A class or a registry cannot work as it is written."""

    __match_args__ = ("problem",)

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class UnknownEventType(EsbankError):
    """A stored event has a type name that no class in the registry bears."""

    __match_args__ = ("type", "stream", "version")

    def __init__(self, type: str, stream: StreamId, version: int) -> None:
        super().__init__(type, stream, version)
        self.type = type
        self.stream = stream
        self.version = version

    def __str__(self) -> str:
        return (
            f"{self.stream} version {self.version} is a {self.type!r}, which the registry does not know. "
            f"Add the class of that event to it, or give the renamed class its old name: @event(name={self.type!r})."
        )


class EventEncodingError(EsbankError):
    """A value cannot be stored as its field is typed; `field` is the path to it, as in ``lines[2].price``."""

    __match_args__ = ("type", "field", "reason")

    def __init__(self, type: str, field: str, reason: str) -> None:
        super().__init__(type, field, reason)
        self.type = type
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.type}{'.' if self.field else ''}{self.field} cannot be stored: {self.reason}"


class EventDecodingError(EsbankError):
    """A stored event does not fit its class; `field` is the path to the misfit, empty when it is the whole event."""

    __match_args__ = ("type", "stream", "version", "field", "reason")

    def __init__(self, type: str, stream: StreamId, version: int, field: str, reason: str) -> None:
        super().__init__(type, stream, version, field, reason)
        self.type = type
        self.stream = stream
        self.version = version
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        where = f", field {self.field}" if self.field else ""
        return f"{self.stream} version {self.version} ({self.type}{where}) cannot be read: {self.reason}"


class NewerSchemaVersion(EventDecodingError):
    """A stored event has a higher schema version than its class: newer code wrote it, so this code must not guess."""

    __match_args__ = ("type", "stream", "version", "field", "reason", "stored", "known")

    def __init__(
        self, type: str, stream: StreamId, version: int, field: str, reason: str, stored: int, known: int
    ) -> None:
        super().__init__(type, stream, version, field, reason)
        self.args += (stored, known)
        self.stored = stored
        self.known = known


class ProjectionError(EsbankError):
    """A projector failed at an event. It stays before that event: nothing was skipped, and nothing of it was kept.

    The failure itself is the ``__cause__``.
    """

    __match_args__ = ("projector", "stream", "version", "position", "type")

    def __init__(self, projector: str, stream: StreamId, version: int, position: int, type: str) -> None:
        super().__init__(projector, stream, version, position, type)
        self.projector = projector
        self.stream = stream
        self.version = version
        self.position = position
        self.type = type

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


class ImportRefused(EsbankError):
    """An event of another log cannot go on where this one ends; nothing was stored of what was imported with it."""

    __match_args__ = ("stream", "version", "position", "reason")

    def __init__(self, stream: StreamId, version: int, position: int, reason: str) -> None:
        super().__init__(stream, version, position, reason)
        self.stream = stream
        self.version = version
        self.position = position
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.stream} version {self.version} (position {self.position}) cannot be imported: {self.reason}; "
            "nothing was stored of what came with it."
        )


class NotACopy(EsbankError):
    """The target of a copy does not hold the beginning of its source, so there is nothing to go on with.

    `position` is that of the target's last event. Nothing was copied.
    """

    __match_args__ = ("position", "problem")

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(position, problem)
        self.position = position
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the target, which goes to position {self.position}, is no beginning of the source: {self.problem}; "
            "nothing was copied. Copy into a new one."
        )


class CheckpointError(EsbankError):
    """A view and its checkpoint do not belong to the events at hand, so going on could skip events in silence."""

    __match_args__ = ("projector", "problem")

    def __init__(self, projector: str, problem: str) -> None:
        super().__init__(projector, problem)
        self.projector = projector
        self.problem = problem

    def __str__(self) -> str:
        return f"projector {self.projector!r}: {self.problem}"


class AlreadyRunning(EsbankError):
    """Somebody else, in this process or in another one, holds this name: for a projector, another runner."""

    __match_args__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name!r} is being run already, in this process or in another one. "
            "One runner is enough; stop the other one first, or let it go on."
        )


class StorageError(EsbankError):
    """The database refused or failed. `store` says which one; the driver's own error, if any, is the ``__cause__``."""

    __match_args__ = ("store", "problem")

    def __init__(self, store: str, problem: str) -> None:
        super().__init__(store, problem)
        self.store = store
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.store}: {self.problem}"


class StoreClosed(StorageError):
    """The store was closed before this call."""

    def __init__(self, store: str, problem: str = "the store is closed; open a new one.") -> None:
        super().__init__(store, problem)


class ConstraintViolated(StorageError):
    """A constraint refused a row, such as a unique key or a check of one of your own tables; nothing was stored."""


class StoreUnavailable(StorageError):
    """The database cannot be reached now, or has ended the session before a commit; nothing was stored. Try again.

    So it is when no connection of a pool is free for too long.
    """


class UnknownOutcome(StorageError):
    """A commit failed, so the write may or may not have happened.

    Append the very same events (same ids) again: if they are stored, the repeat is recognised.
    """
