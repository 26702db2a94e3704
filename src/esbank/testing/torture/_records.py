"""What the journals say: each append with all its tries, and which versions of a stream were seen when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import define, field

from esbank.store import STREAM_EXISTS
from esbank.testing.torture._findings import Check, Findings
from esbank.testing.torture._journal import Answered, Began, Conflicted, Entry, Looked, entries
from esbank.testing.torture._linearizability import FOREVER, Seen
from esbank.testing.torture._plan import Name

__all__ = ["Attempt", "Records", "read_records"]

_EXISTS: Final = str(STREAM_EXISTS)


def read_records(folder: Path, findings: Findings) -> Records:
    """Read the journals of all writers."""
    records = Records(findings)
    for path in sorted(folder.glob("writer-*.log")):
        records.add(int(path.stem.removeprefix("writer-")), entries(path))
    return records


@define
class Attempt:
    """An append, from its first try to its first answer."""

    begun: int
    seen: list[int]
    tries: int = 1
    ended: int = FOREVER
    answer: Answered | None = None
    is_refused: bool = False
    refusals: list[Conflicted] = field(factory=list[Conflicted])
    is_found: bool = False


@define
class Records:
    """All journals together."""

    findings: Findings
    attempts: dict[Name, Attempt] = field(factory=dict[Name, Attempt])
    seen: defaultdict[str, defaultdict[int, Seen]] = field(factory=lambda: defaultdict(lambda: defaultdict(Seen)))
    acknowledged: int = 0
    conflicts: int = 0
    looks: int = 0
    repeats: int = 0
    unanswered: int = 0
    first_error: str | None = None

    def add(self, writer: int, entries: Iterable[Entry]) -> None:
        """Take the journal of a writer."""
        for entry in entries:
            if isinstance(entry, Looked):
                self.looks += 1
                self.seen[entry.stream][entry.version].add(entry.times)
                continue
            name = Name(writer, entry.number)
            if isinstance(entry, Began):
                self._begin(name, entry)
            elif isinstance(entry, Answered):
                self._acknowledge(name, entry)
            elif isinstance(entry, Conflicted):
                self._refuse(name, entry)
            else:
                self.unanswered += 1
                self.first_error = self.first_error or f"{name}: {entry.error}"

    def _begin(self, name: Name, entry: Began) -> None:
        attempt = self.attempts.get(name)
        if attempt is None:
            self.attempts[name] = Attempt(entry.at, entry.seen)
        else:
            attempt.tries += 1
            self.repeats += 1

    def _acknowledge(self, name: Name, entry: Answered) -> None:
        attempt = self.attempts[name]
        if attempt.answer is None:
            self.acknowledged += 1
            attempt.answer, attempt.ended = entry, entry.times[1]
        elif (attempt.answer.versions, attempt.answer.positions) != (entry.versions, entry.positions):
            self.findings.add(
                Check.REPEATED,
                f"{name} was told versions {attempt.answer.versions} at positions {attempt.answer.positions}, and "
                f"versions {entry.versions} at positions {entry.positions} when it came again",
            )

    def _refuse(self, name: Name, entry: Conflicted) -> None:
        self.conflicts += 1
        self.seen[entry.stream][entry.actual].add(entry.times)
        attempt = self.attempts[name]
        if attempt.answer is not None:
            self.findings.add(
                Check.REPEATED,
                f"{name} was acknowledged, and refused when it came again: {entry.stream} is at {entry.actual}, "
                f"expected {entry.expected}",
            )
            return
        attempt.refusals.append(entry)
        # The request of a writer that was killed may be on its way still. It can do nothing any more once its stream is
        # past the version that it expects, but it can where the stream need only exist.
        attempt.is_refused = attempt.tries == 1 or entry.expected != _EXISTS
