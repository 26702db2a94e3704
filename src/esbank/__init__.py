"""Typed event sourcing and CQRS: aggregates, an append-only store, snapshots, and views that follow the log.

These names are for applications; ``esbank.store`` is for whoever writes a backend, and the backends themselves are
imported by path, as in ``from esbank.backends.sqlite import SQLiteEventStore``.
"""

from esbank._context import context
from esbank.aggregate import Aggregate, applies, handles
from esbank.codec import EventCodec, EventRegistry, Upcaster, upcaster
from esbank.errors import (
    AlreadyRunning,
    CheckpointError,
    CommandIdReused,
    ConcurrencyError,
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
from esbank.projection import (
    ProjectionRunner,
    Projector,
    ProjectorState,
    ProjectorStatus,
    Retry,
    projects,
    side_effects,
)
from esbank.repository import Executed, Loaded, Repository
from esbank.snapshots import ByHand, EveryNEvents, NoSnapshots, OnEvents, SnapshotPolicy
from esbank.store import EventStore, Metadata

__all__ = [
    "Aggregate",
    "AlreadyRunning",
    "ByHand",
    "CheckpointError",
    "CommandIdReused",
    "ConcurrencyError",
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
