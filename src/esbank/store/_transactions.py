"""The optional capability of one transaction for the caller's own tables and for appends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from esbank.errors import StorageError
from esbank.store._events import NewEvent
from esbank.store._protocols import AppendResult, Transaction
from esbank.store._streams import ExpectedVersion, StreamId

__all__ = ["ExclusiveStore", "PendingAppend", "StoreTransaction", "TransactionalStore"]


class PendingAppend:
    """An append that is made when its transaction commits.

    A backend makes one for each append to a transaction, with the name of the store for its error, and tells it its
    result after the commit.
    """

    def __init__(self, stream: StreamId, store: str) -> None:
        self._stream = stream
        self._store = store
        self._result: AppendResult | None = None

    @property
    def stream(self) -> StreamId:
        """The stream that is appended to."""
        return self._stream

    @property
    def result(self) -> AppendResult:
        """Where the append ended.

        Raises ``StorageError`` inside the transaction's block, and for ever when the transaction was rolled back.
        """
        if self._result is None:
            raise StorageError(
                self._store,
                f"nothing was appended to {self._stream} yet: the result is known after the transaction's block, "
                "if it commits",
            )
        return self._result

    def resolve(self, result: AppendResult) -> None:
        """Take the result; for backends."""
        self._result = result

    def __repr__(self) -> str:
        return f"PendingAppend({self._stream})"


class StoreTransaction(Transaction, Protocol):
    """One open transaction on the tables of the caller, and the appends that are made when it commits."""

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> PendingAppend:
        """Have `events` stored at the end of `stream` by the commit, if it is at `expected_version` then.

        Raises as ``EventStore.append`` does for what makes no sense, and ``ValueError`` when a stream is named twice.
        """
        ...


@runtime_checkable
class TransactionalStore(Protocol):
    """The optional capability to change the caller's own tables in the very transaction that appends events."""

    def transaction(self) -> AbstractContextManager[StoreTransaction]:
        """Open a transaction; commit when the block ends, roll back when it raises.

        - The appends are made last, just before the commit, all at once as ``append_many`` does; inline handlers are
          told. So an expectation that fails raises ``ConcurrencyError`` at the end of the block.
        - Whatever fails, nothing is stored: no event and no row.
        - When the appends are, all together, an exact repeat, the statements were committed with them the first time.
          They are rolled back, and the first results are returned. So a block that appends may be repeated whole after
          an ``UnknownOutcome``, if its statements do not fail the second time.
        - Inside the block, its thread neither appends in another way, nor begins another transaction, nor closes the
          store: ``StorageError``.
        - Whether it excludes other writers depends on the database. What is read in it may change before it commits,
          unless the statements lock it, or an expectation holds it.
        """
        ...

    def check_no_transaction(self) -> None:
        """Raise ``StorageError`` inside a transaction of this thread, of whatever kind.

        For whoever is about to wait for a thread that may wait for this transaction to end.
        """
        ...


@runtime_checkable
class ExclusiveStore(Protocol):
    """The optional capability to keep every other writer out while one makes up its mind.

    A repository asks for it when a command has lost some races for its stream: it then decides in its turn to write, so
    nobody is faster, however long it takes.
    """

    def exclusive_transaction(self) -> AbstractContextManager[StoreTransaction]:
        """Open a transaction as ``TransactionalStore.transaction`` does; until it ends, nobody else appends.

        What is read meanwhile, by any method of the store, is the latest there is, and waits for nothing.
        """
        ...
