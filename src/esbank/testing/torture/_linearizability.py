"""Whether what writers and readers of one stream were told can have happened in some order: linearizability.

The notion is Herlihy and Wing's (1990). Appends and looks at a stream's version must have an order that agrees with the
clock. As versions only grow, there is one order to check, and nothing to search for: that of the versions. No call that
was told a lower version may have begun after one that was told a higher version had ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from attrs import define

from esbank.testing.torture._journal import Times

__all__ = ["FOREVER", "Made", "Seen", "contradictions"]

FOREVER: Final = 2**63
"""When something ended that never was answered."""


@define
class Seen:
    """Those who were told one version of a stream: when the last of them began to ask, and the first one knew."""

    last_begun: int = -1
    first_ended: int = FOREVER

    def add(self, times: Times) -> None:
        """Take one who was told."""
        begun, ended = times
        self.last_begun = max(self.last_begun, begun)
        self.first_ended = min(self.first_ended, ended)


class Made(NamedTuple):
    """An append that brought its stream to `version`; `name` says which."""

    version: int
    begun: int
    ended: int
    name: object


def contradictions(history: Sequence[Made], seen: Mapping[int, Seen]) -> Iterator[str]:
    """Say what cannot have been: `history` has the appends in the order of their versions."""
    made = {one.version: one for one in history}
    last_begun: int = -1
    by: object = "nobody"
    for version in sorted(made.keys() | seen.keys()):
        one, looks = made.get(version), seen.get(version)
        if one is not None:
            if one.ended < last_begun:
                yield f"{by} began after {one.name} had brought it to {version}, and yet found less"
            if one.begun > last_begun:
                last_begun, by = one.begun, one.name
        elif version > 0:
            yield f"somebody was told version {version}, at which it never was between two appends"
        if looks is not None:
            if looks.first_ended < last_begun:
                yield f"{by} began after somebody was told version {version}, and yet found less"
            if looks.last_begun > last_begun:
                last_begun, by = looks.last_begun, f"somebody who was told version {version}"
