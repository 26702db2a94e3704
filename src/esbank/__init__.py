"""Typed event sourcing and CQRS: aggregates, an append-only store, snapshots, and views that follow the log.

These names are for applications; ``esbank.store`` is for whoever writes a backend, and the backends themselves are
imported by path, as in ``from esbank.backends.sqlite import SQLiteEventStore``.
"""

from typing import TYPE_CHECKING

from esbank._context import context
from esbank.aggregate import Aggregate, applies, handles
from esbank.codec import EventCodec, EventRegistry, Upcaster, upcaster
from esbank.errors import (
    AlreadyRunning,
    CheckpointError,
    CommandIdReused,
    ConcurrencyError,
    ConstraintViolated,
    DefinitionError,
    DuplicateEvent,
    EsbankError,
    EventDecodingError,
    EventEncodingError,
    ImportRefused,
    NewerSchemaVersion,
    NoDigests,
    NotACopy,
    ProjectionError,
    StorageError,
    StoreClosed,
    StoreUnavailable,
    StreamNotFound,
    UnappliedEvent,
    UnhandledCommand,
    UnknownEventType,
    UnknownOutcome,
    VersionNotFound,
)
from esbank.events import EventEnvelope, event
from esbank.repository import Executed, Loaded, Repository
from esbank.snapshots import ByHand, EveryNEvents, NoSnapshots, OnEvents, SnapshotPolicy
from esbank.store import EventStore, Metadata

if TYPE_CHECKING:
    from esbank.projection import (
        ProjectionRunner,
        Projector,
        ProjectorState,
        ProjectorStatus,
        Retry,
        projects,
        side_effects,
    )

__all__ = [
    "Aggregate",
    "AlreadyRunning",
    "ByHand",
    "CheckpointError",
    "CommandIdReused",
    "ConcurrencyError",
    "ConstraintViolated",
    "DefinitionError",
    "DuplicateEvent",
    "EsbankError",
    "EventCodec",
    "EventDecodingError",
    "EventEncodingError",
    "EventEnvelope",
    "EventRegistry",
    "EventStore",
    "EveryNEvents",
    "Executed",
    "ImportRefused",
    "Loaded",
    "Metadata",
    "NewerSchemaVersion",
    "NoDigests",
    "NoSnapshots",
    "NotACopy",
    "OnEvents",
    "ProjectionError",
    "ProjectionRunner",
    "Projector",
    "ProjectorState",
    "ProjectorStatus",
    "Repository",
    "Retry",
    "SnapshotPolicy",
    "StorageError",
    "StoreClosed",
    "StoreUnavailable",
    "StreamNotFound",
    "UnappliedEvent",
    "UnhandledCommand",
    "UnknownEventType",
    "UnknownOutcome",
    "Upcaster",
    "VersionNotFound",
    "applies",
    "context",
    "event",
    "handles",
    "projects",
    "side_effects",
    "upcaster",
]

if not TYPE_CHECKING:  # so that type checkers still refuse a name that there is not

    def __getattr__(name: str) -> object:
        """Import projections once one of their names is asked for: a program that only writes needs none."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from esbank import projection  # noqa: PLC0415 - for that, this function is here

        value = globals()[name] = getattr(projection, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
