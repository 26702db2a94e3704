"""The appends that a transaction collects until it commits."""

from __future__ import annotations

from collections.abc import Iterable

from esbank.backends._appends import WrittenMetadata, check_appends, name_once, write_metadata
from esbank.store import AppendResult, ExpectedVersion, NewEvent, PendingAppend, StreamAppend, StreamId

__all__ = ["PendingAppends"]


class PendingAppends:
    """What is to be appended to a store, `appends`, with their `metadata` as ``write_metadata`` writes them."""

    def __init__(self, store: str) -> None:
        self.appends: list[StreamAppend] = []
        self.metadata: dict[int, WrittenMetadata] = {}
        self._store = store
        self._streams: set[StreamId] = set()
        self._pending: list[PendingAppend] = []

    def add(self, stream: StreamId, events: Iterable[NewEvent], expected_version: ExpectedVersion) -> PendingAppend:
        """Collect one append, or refuse it at once if it makes no sense."""
        append = StreamAppend(stream, tuple(events), expected_version)
        check_appends([append])
        metadata = write_metadata([append])
        name_once(stream, self._streams)
        pending = PendingAppend(stream, self._store)
        self.appends.append(append)
        self.metadata.update(metadata)
        self._pending.append(pending)
        return pending

    def resolve(self, results: Iterable[AppendResult]) -> None:
        """Tell the results, in the order of the appends."""
        for pending, result in zip(self._pending, results, strict=True):
            pending.resolve(result)
