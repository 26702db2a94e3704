"""The transaction that a projector's methods are given: in its SQL ``{name}`` stands for a table of the view."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from attrs import define, field

from esbank.errors import DefinitionError, StorageError
from esbank.store import Rows, SqlValue, Transaction

__all__ = ["BoundTransaction"]

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAMED_TABLE: Final = re.compile(r"\b(?:INTO|FROM|UPDATE|JOIN)\s+\"?([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_MOST_KNOWN: Final = 256


@define
class BoundTransaction:
    """A transaction for one projector's methods."""

    _tx: Transaction
    _projector: str
    _tables: Mapping[str, str]
    _known: dict[str, str]
    _failed: StorageError | None = field(init=False, default=None)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return self._tx.dialect

    def execute(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        resolved = self._known.get(sql) or self._resolve(sql)
        try:
            return self._tx.execute(resolved, parameters or {})
        except StorageError as error:
            self._failed = error
            raise

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, SqlValue]], /) -> None:
        resolved = self._known.get(sql) or self._resolve(sql)
        try:
            self._tx.executemany(resolved, parameters)
        except StorageError as error:
            self._failed = error
            raise

    def check(self) -> None:
        """Raise what a method has caught: in PostgreSQL nothing can be done in a transaction after it."""
        if self._failed is not None and self._tx.dialect == "postgresql":
            raise self._failed

    def _resolve(self, sql: str) -> str:
        self._refuse_bare_names(sql)
        if len(self._known) >= _MOST_KNOWN:  # somebody writes values into the SQL
            self._known.clear()
        resolved = self._known[sql] = _PLACEHOLDER.sub(self._table, sql)
        return resolved

    def _refuse_bare_names(self, sql: str) -> None:
        """Refuse a statement with which a rebuild would fill the live table instead of its own."""
        tables = {table.lower(): table for table in self._tables}
        for named in _NAMED_TABLE.finditer(_TEXT.sub("''", sql)):
            table = tables.get(named[1].lower())
            if table is not None:
                raise DefinitionError(f"{self._projector}: write {{{table}}} for its table, with the braces")

    def _table(self, placeholder: re.Match[str]) -> str:
        table = self._tables.get(placeholder[1])
        if table is None:
            raise DefinitionError(
                f"{self._projector} has no table {placeholder[1]!r}; it declares {', '.join(self._tables) or 'none'}"
            )
        return table
