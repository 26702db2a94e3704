"""What views may say in SQL: one statement at a time, none that begins or ends a transaction, ``:name`` parameters."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["check_statement", "number_parameters"]

_CONTROLS_TRANSACTION: Final = re.compile(
    r"(?:[\s;]++|--[^\n]*+\n|/\*.*?\*/)*+"
    r"(BEGIN|START|COMMIT|END|ABORT|ROLLBACK|SAVEPOINT|RELEASE|PREPARE\s+TRANSACTION)\b",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"""
      (?P<kept> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
              | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | --[^\n]* | /\*.*?\*/ | :: | := )
    | (?<![\w:]) : (?P<name>[A-Za-z_]\w*)
    | (?P<end> ; )
    """,
    re.VERBOSE | re.DOTALL,
)
_NOTHING_MORE: Final = re.compile(r"(?:[\s;]++|--[^\n]*+(?:\n|$)|/\*.*?\*/)*+", re.DOTALL)


@lru_cache(maxsize=1024)
def check_statement(sql: str) -> None:
    """Refuse a statement that would take the connection out of the hands of whoever holds it."""
    found = _CONTROLS_TRANSACTION.match(sql)
    if found:
        raise ValueError(f"{found[1].upper()} has no place here: transactions begin and end by themselves")


@lru_cache(maxsize=1024)
def number_parameters(sql: str) -> tuple[str, tuple[str, ...]]:
    """Write each ``:name`` of a statement as ``$1``, ``$2`` …, and return the names in that order.

    What is in quotes or in a comment stays as it is. Raises ``ValueError`` when there is more than one statement.
    """
    names: dict[str, int] = {}

    def number(token: re.Match[str]) -> str:
        if token["end"] and not _NOTHING_MORE.fullmatch(sql, token.end()):
            raise ValueError(f"execute one statement at a time, not {sql[:60]!r}…")
        name = token["name"]
        return token[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return _TOKEN.sub(number, sql), tuple(names)
