"""Whether an event survives being stored."""

from __future__ import annotations

from typing import TypeVar, cast

from esbank.codec import EventCodec
from esbank.store import StoredEvent, StreamId
from esbank.testing._differences import difference

__all__ = ["stored_and_read"]

E = TypeVar("E")


def stored_and_read(codec: EventCodec, event: E) -> E:
    """Send an event through the codec, as a store would; raises ``AssertionError`` when it comes back another."""
    new = codec.encode(event)
    stored = StoredEvent(
        StreamId("Scenario", "1"), 1, 1, new.event_id, new.type, new.schema_version, new.data, new.metadata, 0
    )
    read = cast("E", codec.decode(stored))
    if read != event:
        raise AssertionError(f"{event!r} does not survive being stored:\n{difference(event, read)}")
    return read
