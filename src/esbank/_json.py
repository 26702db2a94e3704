"""What JSON can say exactly, shared by all who write it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | None | Sequence[Json] | Mapping[str, Json]"
"""What JSON can say."""


def check_json(value: object, path: str = "") -> None:
    """Raise ``ValueError`` that names the path for whatever JSON would lose or bend: NaN, other keys, other types."""
    if value is None or type(value) in {str, int, bool}:
        return
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(_say(path, f"a number must be finite, not {value!r}"))
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(_say(path, f"a key must be a str, not {key!r}"))
            check_json(item, f"{path}[{key!r}]")
    elif type(value) in {list, tuple}:
        for index, item in enumerate(value):  # type: ignore[arg-type, var-annotated]  # mypy does not narrow by `in`
            check_json(item, f"{path}[{index}]")
    else:
        raise ValueError(_say(path, f"JSON cannot say {value!r}"))


def _say(path: str, problem: str) -> str:
    return f"{path}: {problem}" if path else problem
