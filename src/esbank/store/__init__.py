"""The backend author's page: what a store holds, what it promises, and the protocols that say so.

An application rarely needs this module; it needs a store (``esbank.backends``) and a ``Repository``. Whoever writes a
backend needs nothing else: events come as `NewEvent` with their data as JSON text, and leave as `StoredEvent`. The
promises are spelled out at `EventStore` and checked by ``esbank.testing.conformance``.
"""

from esbank.store._digests import DigestNext, digest_chain, event_digest
from esbank.store._events import NO_METADATA, EventData, Metadata, NewEvent, StoredEvent, microseconds, new_event_id
from esbank.store._portable import PortableLog
from esbank.store._protocols import (
    AppendResult,
    AppendTransaction,
    DataReader,
    EventStore,
    InlineHandler,
    Rows,
    Snapshot,
    SnapshotStore,
    SqlValue,
    StreamAppend,
    StreamCondition,
    Transaction,
    ViewStore,
)
from esbank.store._streams import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    ExpectedVersion,
    StreamId,
    check_expectation,
    is_expected,
)
from esbank.store._subscriptions import Subscription, seconds_to_wait
from esbank.store._transactions import ExclusiveStore, PendingAppend, StoreTransaction, TransactionalStore

__all__ = [
    "ANY_VERSION",
    "NO_METADATA",
    "NO_STREAM",
    "STREAM_EXISTS",
    "AppendResult",
    "AppendTransaction",
    "DataReader",
    "DigestNext",
    "EventData",
    "EventStore",
    "ExclusiveStore",
    "ExpectedVersion",
    "InlineHandler",
    "Metadata",
    "NewEvent",
    "PendingAppend",
    "PortableLog",
    "Rows",
    "Snapshot",
    "SnapshotStore",
    "SqlValue",
    "StoreTransaction",
    "StoredEvent",
    "StreamAppend",
    "StreamCondition",
    "StreamId",
    "Subscription",
    "Transaction",
    "TransactionalStore",
    "ViewStore",
    "check_expectation",
    "digest_chain",
    "event_digest",
    "is_expected",
    "microseconds",
    "new_event_id",
    "seconds_to_wait",
]
