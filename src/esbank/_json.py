"""What JSON can say exactly, shared by all who write it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from typing_extensions import TypeAliasType

Json = TypeAliasType("Json", "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None")
"""What JSON can say."""


def shown(value: object) -> str:
    """Write a value into a message: what is long is cut off, and what cannot be written is told by its class."""
    try:
        return f"{value!r:.60}"
    except (ValueError, RecursionError):  # thousands of digits, thousands of lists in each other
        return f"<{type(value).__name__}>"


def check_json(value: Any, path: str = "") -> None:  # noqa: ANN401 - it checks any value
    """Raise ``ValueError`` that names the path for whatever JSON would lose or bend: NaN, other keys, other types."""
    kind = cast("type[object]", type(value))
    if kind in _PLAIN:
        if kind is str and not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise ValueError(_say(path, "the text holds a lone surrogate, which UTF-8 cannot say"))
        return
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(_say(path, f"a number must be finite, not {value!r}"))
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(_say(path, f"a key must be a str, not {shown(key)}"))
            check_json(item, f"{path}[{key!r}]")
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            check_json(item, f"{path}[{index}]")
    else:
        raise ValueError(_say(path, f"JSON cannot say {shown(value)}"))


_PLAIN: Final[frozenset[type[object]]] = frozenset({str, int, bool, type(None)})


def _say(path: str, problem: str) -> str:
    return f"{path}: {problem}" if path else problem
