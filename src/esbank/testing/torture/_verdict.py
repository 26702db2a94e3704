"""What a torture comes to."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from esbank.testing.torture._findings import Check, Finding

__all__ = ["Verdict"]


@frozen
class Verdict:
    """What a torture has found, and how much it has tried.

    `checks` are the promises that were checked: a store without views, digests or transactions is not asked for them.
    `records` is the folder with what everybody has put down, None when it was removed.
    """

    seconds: float
    seed: int
    writers: int
    acknowledged: int
    events: int
    streams: int
    conflicts: int
    looks: int
    repeats: int
    unanswered: int
    followed: int
    kills: int
    stops: int
    server_kills: int
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    records: Path | None

    @property
    def ok(self) -> bool:
        """Whether all promises were kept."""
        return not self.findings

    def __str__(self) -> str:
        found = {finding.check: finding for finding in self.findings}
        lines = [
            self._done,
            self._suffered,
            *(f"{'BROKEN' if check in found else 'kept  '}  {check.value}" for check in self.checks),
        ]
        for finding in self.findings:
            further = f", the first of {finding.times:,}" if finding.times > 1 else ""
            lines.append(f"\nNot so{further}: {finding.check.value}.\n{finding.evidence}")
        if self.findings and self.records is not None:
            lines.append(f"\nThe records of all processes are in {self.records}; the seed was {self.seed}.")
        return "\n".join(lines)

    @property
    def _done(self) -> str:
        return (
            f"{self.acknowledged:,} appends acknowledged ({self.events:,} events in {self.streams:,} streams) to "
            f"{self.writers:,} writers in {self.seconds:.0f} s; {self.conflicts:,} conflicts, {self.repeats:,} repeats"
            f", {self.unanswered:,} unanswered; {self.looks:,} versions read, {self.followed:,} events followed"
        )

    @property
    def _suffered(self) -> str:
        times = "once" if self.server_kills == 1 else f"{self.server_kills:,} times"
        server = f", the server killed {times}" if self.server_kills else ""
        return f"{self.kills:,} processes killed, {self.stops:,} stopped for a while{server}"
