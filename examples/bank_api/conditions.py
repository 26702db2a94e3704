"""``ETag`` and ``If-Match``: the version of an account, as HTTP says it."""

from __future__ import annotations

import re
from typing import Final

from esbank.store import STREAM_EXISTS, ExpectedVersion

__all__ = ["PreconditionFailed", "etag", "expected_version", "is_current"]

_VERSION: Final = re.compile('"[1-9][0-9]{0,17}"')
_NEVER: Final = 2**62
"""A version to which no account comes."""


class PreconditionFailed(Exception):
    """The account is not at a version that the caller has seen; `version` is the one at which it is."""

    def __init__(self, account_id: str, version: int) -> None:
        super().__init__(account_id, version)
        self.account_id = account_id
        self.version = version

    def __str__(self) -> str:
        where = f"is at version {self.version} now" if self.version else "is not there"
        return f"account {self.account_id} {where}; read it again and decide again"


def etag(version: int) -> str:
    """Write a version as an entity tag."""
    return f'"{version}"'


def expected_version(if_match: str | None, current: int) -> ExpectedVersion | None:
    """Say which version a command is to find, None for any; of several, the one that is there.

    What is no tag of ours, and a weak one, stands for a version that never comes.
    """
    if if_match is None:
        return None
    if if_match == "*":
        return STREAM_EXISTS
    versions = [int(tag[1:-1]) if _VERSION.fullmatch(tag) else _NEVER for tag in _tags(if_match)]
    return current if current in versions else versions[0]


def is_current(if_none_match: str | None, version: int) -> bool:
    """Tell whether a reader has the version already."""
    if if_none_match is None:
        return False
    return if_none_match == "*" or etag(version) in (tag.removeprefix("W/") for tag in _tags(if_none_match))


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]
