"""What a follower has seen, held against the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from esbank.store import StoredEvent
from esbank.testing.torture._followers import Follower, line_of

__all__ = ["Witness"]


class Witness:
    """A follower's lines, in the order in which it wrote them; it speaks up once, at the first event that differs."""

    def __init__(self, follower: Follower, lines: Iterable[bytes]) -> None:
        self._follower = follower
        self._lines: Iterator[bytes] = iter(lines)
        self._problem: str | None = None
        self._has_ended = False
        self.seen = 0

    def compare(self, event: StoredEvent) -> None:
        """Compare the next event of the log with the next one that was seen."""
        if self._problem is not None or event.stream.category not in self._follower.categories:
            return
        line = next(self._lines, b"").rstrip(b"\n")
        if not line and self._has_ended:
            return  # an append that was on its way when its writer was killed may come in after the end
        self._has_ended = self._has_ended or event.stream == self._follower.last
        if line == line_of(event):
            self.seen += 1
        else:
            saw = f"saw {line.decode()}" if line else "saw no more"
            self._problem = f"after {self.seen} events the {self._follower.value} {saw}, not {line_of(event).decode()}"

    def dismiss(self) -> str | None:
        """Say what was wrong, if something was."""
        line = next(self._lines, b"").rstrip(b"\n")
        if self._problem is None and line:
            return f"the {self._follower.value} saw {line.decode()}, beyond the end of the log"
        return self._problem
