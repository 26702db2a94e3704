"""What was expected beside what there is, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import ndiff
from pprint import pformat

__all__ = ["difference", "line_difference", "list_difference"]


def difference(expected: object, actual: object) -> str:
    """Show one thing (-) beside another (+), and point (?) at the letters that differ."""
    return line_difference(_lines(expected), _lines(actual))


def list_difference(expected: Sequence[object], actual: Sequence[object]) -> str:
    """Show the items of one list (-) beside those of another (+), each on a line of its own.

    Equal ones are shown in the same words: ``Decimal("5")`` is no other amount than ``Decimal("5.00")``.
    """
    alike = [next((one for one in actual if one == item), item) for item in expected]
    return line_difference(
        [line for item in alike for line in _lines(item)], [line for item in actual for line in _lines(item)]
    )


def line_difference(expected: Sequence[str], actual: Sequence[str]) -> str:
    """Show some lines (-) beside others (+)."""
    return "\n".join(line.rstrip() for line in ndiff(expected, actual))


def _lines(value: object) -> list[str]:
    return pformat(value, width=100, sort_dicts=False).splitlines()
