"""``ETag`` and ``If-Match``: the version of an account, as HTTP says it."""

from __future__ import annotations

import re
from typing import Final

from esbank.store import STREAM_EXISTS, ExpectedVersion

__all__ = ["MalformedCondition", "PreconditionFailed", "etag", "expected_version", "is_current"]

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAGS: Final = re.compile(rf"[ \t,]*{_TAG.pattern}[ \t]*(?:,[ \t]*(?:{_TAG.pattern}[ \t]*)?)*")
_VERSION: Final = re.compile("0|[1-9][0-9]{0,17}")
_NEVER: Final = 2**62
"""A version to which no account comes."""


class MalformedCondition(Exception):
    """The header is no list of entity tags."""


class PreconditionFailed(Exception):
    """The account is not at a version that the caller has seen; `version` is the one at which it is."""

    def __init__(self, account_id: str, version: int) -> None:
        super().__init__(account_id, version)
        self.account_id = account_id
        self.version = version

    def __str__(self) -> str:
        return f"account {self.account_id} is at version {self.version} now; read it again and decide again"


def etag(version: int) -> str:
    """Write a version as an entity tag."""
    return f'"{version}"'


def expected_version(if_match: str | None, current: int) -> ExpectedVersion | None:
    """Say which version a command is to find, None for any; of several, the one that is there.

    A tag that we never gave, and a weak one, stand for a version that never comes. Raises ``MalformedCondition``.
    """
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return STREAM_EXISTS
    versions = [
        int(tag) if not weak and _VERSION.fullmatch(tag) else _NEVER for weak, tag in _tags("If-Match", if_match)
    ]
    return current if current in versions else versions[0]


def is_current(if_none_match: str | None, version: int) -> bool:
    """Tell whether a reader has the version already. Raises ``MalformedCondition``."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(tag == str(version) for _, tag in _tags("If-None-Match", if_none_match))


def _tags(name: str, header: str) -> list[tuple[str, str]]:
    if _TAGS.fullmatch(header) is None:
        raise MalformedCondition(f'{name} is * or a list of entity tags such as "3", with their quotes')
    return _TAG.findall(header)
