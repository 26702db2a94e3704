"""The rows of a table, expected and found: whole, or the columns that matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from esbank.store import SqlValue, ViewStore
from esbank.testing._differences import list_difference

__all__ = ["Row", "in_one_form", "row_difference", "select"]

Row: TypeAlias = Mapping[str, SqlValue] | tuple[SqlValue, ...]
"""A row of a table: a tuple of all its columns, or some of them by name."""


def in_one_form(table: str, rows: Iterable[Row]) -> list[Row]:
    """List rows that a test expects; raises ``ValueError`` when they do not all tell the same columns."""
    rows = list(rows)
    if len({frozenset(row) if isinstance(row, Mapping) else None for row in rows}) > 1:
        raise ValueError(f"make the rows of {table} all tuples, or all dicts with the same keys")
    columns = _columns(rows)
    return [{column: row[column] for column in columns} if isinstance(row, Mapping) else row for row in rows]


def select(views: ViewStore, table: str, like: Sequence[Row] = ()) -> list[Row]:
    """Read the rows of a table in the form of those that are expected."""
    columns = _columns(like)
    rows = views.query(f"SELECT {', '.join(columns) or '*'} FROM {table}")  # noqa: S608 - the test's own names
    return [dict(zip(columns, row, strict=True)) if columns else row for row in rows]


def row_difference(expected: Sequence[Row], actual: Sequence[Row]) -> str:
    """Show how some rows differ from others, whatever their order; an empty text when they do not."""
    if _are_same(expected, actual):
        return ""
    wanted, found = sorted(expected, key=_by_values), sorted(actual, key=_by_values)
    return list_difference(wanted, found)


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(rows[0]) if rows and isinstance(rows[0], Mapping) else []


def _are_same(expected: Sequence[Row], actual: Sequence[Row]) -> bool:
    left = list(actual)
    for row in expected:
        if row not in left:
            return False
        left.remove(row)
    return not left


def _by_values(row: Row) -> str:
    return repr(tuple(row.values()) if isinstance(row, Mapping) else row)
