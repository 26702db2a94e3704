"""Digests: a chain through each stream, so that whoever changes an event must change all that follow it.

The digest of an event is the SHA-256 of these fields, each after its length in bytes as a 32-bit number:

1. the name of this form, ``esbank event 1``
2. the digest of the event before it in the stream; 32 zero bytes for the first
3. its version
4. its id, as 16 bytes
5. its data, the exact text that is stored
6. its stream, as ``category-key``
7. its type
8. its schema version
9. its metadata, the exact text that is stored
10. when it was recorded
11. when it occurred: as given, else when it was recorded

Texts are UTF-8. Numbers are 64 bits and signed, times are microseconds since 1970, and all numbers are big endian. The
position is left out, so that a copy of a store keeps its digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final, TypeAlias

from esbank.store._events import StoredEvent, microseconds
from esbank.store._streams import StreamId

__all__ = ["DigestNext", "digest_chain", "event_digest"]

DigestNext: TypeAlias = Callable[[int, bytes, str, int, str, str, int], bytes]
"""Digests the next event of an append, given its version, its id, its type, its schema version, its data, its metadata
as stored, and when it occurred in microseconds since 1970."""

_length: Final = Struct(">I").pack
_number: Final = Struct(">Iq").pack
_two_numbers: Final = Struct(">IqIq").pack
_version_id_and_length: Final = Struct(">IqI16sI").pack


def _field(content: bytes) -> bytes:
    return _length(len(content)) + content


@lru_cache(maxsize=1024, typed=True)
def _type_fields(type_: str, schema_version: int) -> bytes:
    return _field(type_.encode()) + _number(8, schema_version)


# Copied for each event: to make a new one takes as long as to digest a small event.
_STARTED: Final = hashlib.sha256(_field(b"esbank event 1") + _length(32))
_NO_PREDECESSOR: Final = bytes(32)


def digest_chain(stream: StreamId, previous: bytes | None, recorded_at: int) -> DigestNext:
    """Make the function that digests the events of one append to a stream, in order.

    `previous` is the digest of the stream's last event, None when there is none; `recorded_at` is in microseconds since
    1970.
    """
    stream_field = _field(str(stream).encode())
    before = _NO_PREDECESSOR if previous is None else previous
    # Most events of an append have the type and the metadata of their neighbour: these fields are put together once.
    shared: tuple[str, int, str] | None = None
    shared_fields = b""

    def digest_next(
        version: int, event_id: bytes, type_: str, schema_version: int, data: str, metadata: str, occurred_at: int
    ) -> bytes:
        nonlocal before, shared, shared_fields
        if shared != (type_, schema_version, metadata):
            shared = (type_, schema_version, metadata)
            shared_fields = b"".join(
                (
                    stream_field,
                    _type_fields(type_, schema_version),
                    _field(metadata.encode()),
                    _two_numbers(8, recorded_at, 8, occurred_at),
                )
            )
        content = data.encode()
        own_fields = _version_id_and_length(8, version, 16, event_id, len(content))
        digest = _STARTED.copy()
        digest.update(b"".join((before, own_fields, content, shared_fields)))
        before = digest.digest()
        return before

    return digest_next


def event_digest(event: StoredEvent, previous: bytes | None) -> bytes:
    """Compute the digest that a stored event must have, given that of the event before it in its stream."""
    digest_next = digest_chain(event.stream, previous, microseconds(event.recorded_at))
    return digest_next(
        event.version,
        event.event_id.bytes,
        event.type,
        event.schema_version,
        event.data,
        event.metadata_text,
        microseconds(event.occurred_at),
    )
