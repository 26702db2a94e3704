"""What is checked, and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from attrs import define, field, frozen

__all__ = ["Check", "Finding", "Findings"]


class Check(Enum):
    """A promise that is checked, in words."""

    PROCESSES = "no process failed or hung by itself"
    KEPT = "every acknowledged append is in the log, where its writer was told"
    INVITED = "nothing is in the log twice, nor what nobody appended, nor what was refused"
    WHOLE = "every append is whole, unchanged and in one place"
    NUMBERED = "versions have no gaps; positions grow, and times never go back"
    EXPECTED = "every append met its expectations and conditions"
    JUSTIFIED = "every conflict, and every version that was read, was true at some moment of the call"
    READ = "every stream reads as it is in the log"
    ORDERED = "what was acknowledged before something else began comes before it"
    REPEATED = "an append that came again got the first answer"
    FOLLOWED = "every follower saw exactly the log, in its order"
    VIEWS = "the view is the fold of the log"
    ROWS = "rows and events of one transaction are there together"
    DIGESTS = "every digest is right"


@frozen
class Finding:
    """A promise that was broken: the first evidence, and how many times it was broken in all."""

    check: Check
    evidence: str
    times: int = 1


@define
class Findings:
    """Findings as they come up: of each sort the first one is kept, and the others are counted."""

    _found: dict[Check, Finding] = field(factory=dict[Check, Finding], init=False)

    def add(self, check: Check, evidence: str) -> None:
        """Take one more."""
        first = self._found.get(check)
        self._found[check] = (
            Finding(check, evidence) if first is None else Finding(check, first.evidence, first.times + 1)
        )

    def __iter__(self) -> Iterator[Finding]:
        """Give one finding of each sort."""
        return (self._found[check] for check in Check if check in self._found)
