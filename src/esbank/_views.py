"""A projector's tables and its checkpoint, as SQL that every view store understands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from attrs import define, field, frozen

from esbank.errors import DefinitionError
from esbank.store import Rows, SqlValue, Transaction

__all__ = ["Checkpoint", "View", "check_identifier"]

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAMED_TABLE: Final = re.compile(r"\b(?:INTO|FROM|UPDATE|JOIN)\s+\"?([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_SHADOW: Final = "__rebuild"
_RESERVED: Final = ("esbank_", "sqlite_")


def check_identifier(owner: str, name: str) -> None:
    """Refuse a table's or an index's name that is not a plain one, or that esbank or SQLite keep for themselves."""
    if not _IDENTIFIER.fullmatch(name) or name.lower().startswith(_RESERVED) or name.endswith(_SHADOW):
        raise DefinitionError(
            f"{owner}: {name!r} cannot name a table or an index; take letters, digits and '_', "
            f"neither esbank_… nor sqlite_… nor …{_SHADOW}"
        )


@frozen
class Checkpoint:
    """How far a projector has come: the last event it has handled, None before the first, and in which store."""

    store: str
    position: int | None = None
    stream: str | None = None
    event_id: str | None = None


@frozen
class View:
    """The tables and the checkpoint of a projector, or their shadows, which a rebuild fills."""

    projector: str
    tables: Mapping[str, str]
    indexes: Mapping[str, str]
    is_shadow: bool = False

    def shadow(self) -> View:
        """Return the same tables under names of which readers know nothing."""
        return View(self.projector, self.tables, self.indexes, is_shadow=True)

    def checkpoint(self, read: Callable[[str, Mapping[str, SqlValue]], Rows]) -> Checkpoint | None:
        """Read the checkpoint with a function that executes SQL; None when the tables have not been made yet."""
        rows = read(
            "SELECT store, position, stream, event_id FROM esbank_checkpoints WHERE projector = :projector",
            {"projector": self._physical(self.projector)},
        )
        return Checkpoint(*rows[0]) if rows else None

    def save(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        """Write the checkpoint, in the transaction that changes the tables."""
        tx.execute(
            """
            UPDATE esbank_checkpoints
            SET store = :store, position = :position, stream = :stream, event_id = :event_id
            WHERE projector = :projector
            """,
            {
                "projector": self._physical(self.projector),
                "store": checkpoint.store,
                "position": checkpoint.position,
                "stream": checkpoint.stream,
                "event_id": checkpoint.event_id,
            },
        )

    def create(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        """Make the tables and their indexes, empty, and the checkpoint, which also tells whose they are."""
        tx.execute(
            "INSERT INTO esbank_checkpoints (projector, tables, store) VALUES (:projector, :tables, :store)",
            {
                "projector": self._physical(self.projector),
                "tables": " ".join(map(self._physical, self.tables)),
                "store": checkpoint.store,
            },
        )
        self.save(tx, checkpoint)
        for table, columns in self.tables.items():
            tx.execute(f"CREATE TABLE {self._physical(table)} {columns}")
        bound = self.bind(tx)
        for index, columns in self.indexes.items():
            bound.execute(f"CREATE INDEX {self._physical(index)} ON {columns}")

    def drop(self, tx: Transaction) -> None:
        """Drop the tables that `create` made, whatever is declared now, and forget the checkpoint."""
        projector: Mapping[str, SqlValue] = {"projector": self._physical(self.projector)}
        for (tables,) in tx.execute("SELECT tables FROM esbank_checkpoints WHERE projector = :projector", projector):
            for table in tables.split():
                tx.execute(f"DROP TABLE IF EXISTS {table}")
        tx.execute("DELETE FROM esbank_checkpoints WHERE projector = :projector", projector)

    def take_over(self, tx: Transaction, shadow: View, checkpoint: Checkpoint) -> None:
        """Become what `shadow` is, in one transaction: its tables, its rows and its checkpoint."""
        self.drop(tx)
        self.create(tx, checkpoint)
        for table in self.tables:
            # Copied and not renamed: an index cannot be renamed everywhere, and people's own SQL views stay valid.
            tx.execute(f"INSERT INTO {self._physical(table)} SELECT * FROM {shadow._physical(table)}")
        shadow.drop(tx)

    def bind(self, tx: Transaction) -> Transaction:
        """Wrap a transaction so that ``{table}`` in its SQL stands for the table of this view."""
        return _BoundTransaction(tx, self.projector, {table: self._physical(table) for table in self.tables})

    def _physical(self, name: str) -> str:
        return f"{name}{_SHADOW}" if self.is_shadow else name


CREATE_CHECKPOINTS: Final = """
    CREATE TABLE IF NOT EXISTS esbank_checkpoints (
        projector  TEXT PRIMARY KEY,
        tables     TEXT NOT NULL,
        store      TEXT NOT NULL,
        position   BIGINT,
        stream     TEXT,
        event_id   TEXT
    )
"""


@define
class _BoundTransaction:
    """A transaction for one projector's methods."""

    _tx: Transaction
    _projector: str
    _tables: Mapping[str, str]
    _known: dict[str, str] = field(factory=dict[str, str], init=False)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return self._tx.dialect

    def execute(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        return self._tx.execute(self._known.get(sql) or self._resolve(sql), parameters or {})

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, SqlValue]], /) -> None:
        self._tx.executemany(self._known.get(sql) or self._resolve(sql), parameters)

    def _resolve(self, sql: str) -> str:
        self._refuse_bare_names(sql)
        resolved = self._known[sql] = _PLACEHOLDER.sub(self._table, sql)
        return resolved

    def _refuse_bare_names(self, sql: str) -> None:
        """Refuse a statement with which a rebuild would fill the live table instead of its own."""
        for named in _NAMED_TABLE.finditer(_TEXT.sub("''", sql)):
            if named[1] in self._tables:
                raise DefinitionError(f"{self._projector}: write {{{named[1]}}} for its table, with the braces")

    def _table(self, placeholder: re.Match[str]) -> str:
        table = self._tables.get(placeholder[1])
        if table is None:
            raise DefinitionError(
                f"{self._projector} has no table {placeholder[1]!r}; it declares {', '.join(self._tables) or 'none'}"
            )
        return table
