"""Whether a store still holds what was written: every digest is computed again, and compared.

A digest covers an event and, through that of its predecessor, all that came before it in the stream. So a changed, a
removed or an added event shows in its own stream. What no chain can show is that the end of a stream, or a whole one,
is gone: for that, keep a `Head` somewhere else, and verify against it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from itertools import takewhile
from typing import Final, Self

from attrs import frozen

from esbank.errors import NoDigests
from esbank.store import EventStore, StoredEvent, StreamId, event_digest

__all__ = ["BrokenEvent", "Head", "Verification", "verify"]

_HEAD: Final = re.compile(r"([0-9]+):([0-9a-f]{64})")
_MOST_DIGITS: Final = 19  # of 2**63, the highest position
_STEP: Final = 1000


@frozen
class Head:
    """Where a log ended, and what it held: the SHA-256 over the digests of all its events, in their order.

    Written as ``position:digest``, to be kept where nobody who can write to the store can reach it.
    """

    position: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str(head)`` wrote. Raises ``ValueError`` for anything else."""
        if not isinstance(text, str):
            raise ValueError(f"{text!r:.100} is no head, which is text")  # noqa: TRY004 - as for any other
        found = _HEAD.fullmatch(text.strip())
        if found is None or len(found[1]) > _MOST_DIGITS:
            raise ValueError(f"{text!r:.100} is no head: it is a position, a colon, and 64 hexadecimal digits")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.position}:{self.digest}"


@frozen
class BrokenEvent:
    """The first event of a stream that is not what was written; whatever follows it in the stream proves nothing."""

    stream: StreamId
    version: int
    position: int
    type: str
    problem: str

    def __str__(self) -> str:
        text = f"{self.stream} version {self.version} ({self.type}, position {self.position}): {self.problem}"
        return text.encode(errors="backslashreplace").decode()  # so that a damaged type can be printed


@frozen
class Verification:
    """What a verification found: `head` is to be kept, `broken` and `head_problem` are to be looked into.

    `head` is None when the store is empty; `head_problem` is None when the store still holds all that the given head
    was made of, or when none was given.
    """

    events: int
    streams: int
    head: Head | None
    broken: tuple[BrokenEvent, ...]
    head_problem: str | None

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.broken and self.head_problem is None


def verify(
    store: EventStore, *, head: Head | None = None, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Compute every digest again, up to where the log ends now, and compare; with `head`, look for what is missing too.

    `progress` is called now and then with the position reached and the last one. Memory grows with the number of
    streams, not with that of events. Raises ``NoDigests`` when no event has a digest, unless a head
    says that there were some.
    """
    last = store.head() or 0
    check = _Check(head)
    for event in takewhile(lambda event: event.position <= last, store.read_all()):
        check.add(event)
        if progress is not None and (check.events % _STEP == 0 or event.position == last):
            progress(event.position, last)
    return check.finish()


class _Check:
    """A verification on its way through the log."""

    def __init__(self, head: Head | None) -> None:
        self.events = 0
        self._without_digest = 0
        self._expected = head
        self._found: str | None = None
        self._position = 0
        self._log = hashlib.sha256()
        self._last: dict[StreamId, tuple[int, bytes | None]] = {}
        self._broken: dict[StreamId, BrokenEvent] = {}

    def add(self, event: StoredEvent) -> None:
        self.events += 1
        self._position = event.position
        if isinstance(event.digest, bytes):
            self._log.update(event.digest)
        else:
            self._without_digest += 1
        if self._expected is not None and event.position == self._expected.position:
            self._found = self._log.hexdigest()
        if event.stream not in self._broken:
            version, digest = self._last.get(event.stream, (0, None))
            problem = _problem(event, version, digest)
            if problem is not None:
                self._broken[event.stream] = BrokenEvent(
                    event.stream, event.version, event.position, event.type, problem
                )
        self._last[event.stream] = event.version, event.digest

    def finish(self) -> Verification:
        # Where there is a head there were digests: that they are gone is a finding.
        if self.events and self._without_digest == self.events and self._expected is None:
            raise NoDigests
        head = Head(self._position, self._log.hexdigest()) if self.events else None
        broken = tuple(self._broken.values())
        return Verification(self.events, len(self._last), head, broken, self._head_problem())

    def _head_problem(self) -> str | None:
        if self._expected is None or self._found == self._expected.digest:
            return None
        position = self._expected.position
        if self._position < position:
            return f"the log ends at position {self._position}, before position {position}: its end is missing"
        if self._found is None:
            return f"the event at position {position}, the last one then, is missing"
        return f"the log up to position {position} is not what it was then: events are missing, added, changed or moved"


def _problem(event: StoredEvent, last_version: int, last_digest: bytes | None) -> str | None:
    if event.version != last_version + 1:
        return f"it follows version {last_version}, so something is missing or was added"
    if event.digest is None:
        return "it has no digest"
    try:
        digest = event_digest(event, last_digest)
    except Exception as error:  # noqa: BLE001 - what is damaged can fail in any way
        return f"it is damaged: {error}"
    return None if digest == event.digest else "its digest is not that of what is stored"
