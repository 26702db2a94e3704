"""A projector's tables and its checkpoint, as SQL that every view store understands."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

from attrs import Factory, define, evolve, field, frozen

from esbank.errors import DefinitionError
from esbank.store import Rows, SqlValue, StoredEvent, Transaction

__all__ = ["Checkpoint", "Failure", "View", "check_identifier", "prepare"]

Read: TypeAlias = Callable[[str, Mapping[str, SqlValue]], Rows]
"""Executes SQL that reads: that of a transaction, or of a view store."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAMED_TABLE: Final = re.compile(r"\b(?:INTO|FROM|UPDATE|JOIN)\s+\"?([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_SHADOW: Final = "__rebuild"
_RESERVED: Final = ("esbank_", "sqlite_")
_MOST_KNOWN: Final = 256

# What came after the first release of a table, to be added to one that was made before.
_LATER_COLUMNS: Final = {
    "version": "INTEGER",
    "definition": "TEXT",
    "event_names": "TEXT",
    "effects_position": "BIGINT",
    "failed_position": "BIGINT",
    "failed_at": "TEXT",
    "error": "TEXT",
    "has_stopped": "INTEGER",
}
_CREATE_CHECKPOINTS: Final = f"""
    CREATE TABLE IF NOT EXISTS esbank_checkpoints (
        projector  TEXT PRIMARY KEY,
        tables     TEXT NOT NULL,
        store      TEXT NOT NULL,
        position   BIGINT,
        stream     TEXT,
        event_id   TEXT,
        {", ".join(f"{name} {type_}" for name, type_ in _LATER_COLUMNS.items())}
    )
"""
_CREATE_SKIPPED: Final = """
    CREATE TABLE IF NOT EXISTS esbank_skipped_events (
        projector   TEXT NOT NULL,
        position    BIGINT NOT NULL,
        stream      TEXT NOT NULL,
        version     INTEGER NOT NULL,
        event_id    TEXT NOT NULL,
        type        TEXT NOT NULL,
        reason      TEXT NOT NULL,
        skipped_by  TEXT NOT NULL,
        skipped_at  TEXT NOT NULL,
        in_view     INTEGER NOT NULL,
        PRIMARY KEY (projector, position, event_id)
    )
"""


def prepare(tx: Transaction) -> None:
    """Make the tables that all projectors share, or bring them up to date."""
    tx.execute(_CREATE_CHECKPOINTS)
    tx.execute(_CREATE_SKIPPED)
    if tx.dialect == "sqlite":
        known = {name for (name,) in tx.execute("SELECT name FROM pragma_table_info('esbank_checkpoints')")}
        for name, type_ in _LATER_COLUMNS.items():
            if name not in known:
                tx.execute(f"ALTER TABLE esbank_checkpoints ADD COLUMN {name} {type_}")
        if "effects_position" not in known:
            # There were no side effects, so nobody waits to be told of the past.
            tx.execute("UPDATE esbank_checkpoints SET effects_position = position")


def check_identifier(owner: str, name: str) -> None:
    """Refuse a table's or an index's name that is not a plain one, or that esbank or SQLite keep for themselves."""
    if not _IDENTIFIER.fullmatch(name) or name.lower().startswith(_RESERVED) or name.endswith(_SHADOW):
        raise DefinitionError(
            f"{owner}: {name!r} cannot name a table or an index; take letters, digits and '_', "
            f"neither esbank_… nor sqlite_… nor …{_SHADOW}"
        )


@frozen
class Checkpoint:
    """How far a projector has come: the last event it has handled, None before the first, and in which store.

    `version` and `definition` tell what has made the view: the version of the projector, and a digest of its tables.
    `event_names`, as JSON, are the stored names of the events that are in it.
    """

    store: str
    position: int | None
    stream: str | None
    event_id: str | None
    version: int
    definition: str
    event_names: str


@frozen
class Failure:
    """The event at which a projector fails, why, since when, and whether it has stopped trying."""

    position: int
    error: str
    at: datetime
    has_stopped: bool


def _digest(tables: Mapping[str, str], indexes: Mapping[str, str]) -> str:
    declared = (f"{name} {' '.join(sql.split())}" for name, sql in (*tables.items(), *indexes.items()))
    return hashlib.sha256("\n".join(declared).encode()).hexdigest()


@frozen
class View:
    """The tables and the checkpoint of a projector, or their shadows, which a rebuild fills."""

    projector: str
    version: int
    tables: Mapping[str, str]
    indexes: Mapping[str, str]
    has_effects: bool = field(default=False, kw_only=True)
    is_shadow: bool = field(default=False, kw_only=True)
    _resolved: dict[str, str] = field(factory=dict[str, str], init=False, eq=False, repr=False)
    definition: str = field(
        init=False, default=Factory(lambda view: _digest(view.tables, view.indexes), takes_self=True)
    )

    def shadow(self) -> View:
        """Return the same tables under names of which readers know nothing."""
        return evolve(self, is_shadow=True)

    def empty(self, store: str) -> Checkpoint:
        """Make the checkpoint of a view that has nothing yet."""
        return Checkpoint(store, None, None, None, self.version, self.definition, "[]")

    def at(self, store: str, last: StoredEvent, event_names: str) -> Checkpoint:
        """Make the checkpoint of a view that has all events of a store up to `last`."""
        return Checkpoint(
            store, last.position, str(last.stream), str(last.event_id), self.version, self.definition, event_names
        )

    def made(self, checkpoint: Checkpoint) -> bool:
        """Tell whether the checkpoint is of a view as it is made now."""
        return (checkpoint.version, checkpoint.definition) == (self.version, self.definition)

    def checkpoint(self, read: Read) -> Checkpoint | None:
        """Read the checkpoint; None when the tables have not been made yet."""
        # One from before versions were kept was made by the first.
        rows = read(
            """
            SELECT store, position, stream, event_id,
                   coalesce(version, 1), coalesce(definition, :definition), coalesce(event_names, '[]')
            FROM esbank_checkpoints WHERE projector = :projector
            """,
            {**self._row, "definition": self.definition},
        )
        return Checkpoint(*rows[0]) if rows else None

    def failure(self, read: Read) -> Failure | None:
        """Read at which event the projector fails; None when it does not."""
        rows = read(
            """
            SELECT failed_position, error, failed_at, has_stopped FROM esbank_checkpoints
            WHERE projector = :projector AND failed_position IS NOT NULL
            """,
            self._row,
        )
        if not rows:
            return None
        ((position, error, at, has_stopped),) = rows
        return Failure(position, error, datetime.fromisoformat(at), bool(has_stopped))

    def save_failure(self, tx: Transaction, failed: StoredEvent, error: str, *, has_stopped: bool) -> None:
        """Write at which event the projector fails, unless another runner has got over it, or it was skipped."""
        tx.execute(
            """
            UPDATE esbank_checkpoints
            SET failed_position = :position, error = :error, failed_at = :at, has_stopped = :has_stopped
            WHERE projector = :projector
                AND (coalesce(position, 0) < :position OR coalesce(effects_position, 0) < :position)
                AND NOT EXISTS (
                    SELECT 1 FROM esbank_skipped_events AS s
                    WHERE s.projector = :name AND s.position = :position AND s.event_id = :event_id
                )
            """,
            {
                **self._row,
                "name": self.projector,
                "position": failed.position,
                "event_id": str(failed.event_id),
                "error": error,
                "at": datetime.now(UTC).isoformat(),
                "has_stopped": int(has_stopped),
            },
        )

    def forget_failure(self, tx: Transaction) -> None:
        """Let the projector try again."""
        tx.execute(
            """
            UPDATE esbank_checkpoints SET failed_position = NULL, error = NULL, failed_at = NULL, has_stopped = NULL
            WHERE projector = :projector
            """,
            self._row,
        )

    def skip(self, tx: Transaction, event: StoredEvent, *, reason: str, by: str, in_view: bool) -> None:
        """Write down that an event is to be passed over: by the view as well, or by side effects alone."""
        tx.execute(
            """
            INSERT INTO esbank_skipped_events
            VALUES (:projector, :position, :stream, :version, :event_id, :type, :reason, :by, :at, :in_view)
            ON CONFLICT (projector, position, event_id) DO NOTHING
            """,
            {
                "projector": self.projector,
                "position": event.position,
                "stream": str(event.stream),
                "version": event.version,
                "event_id": str(event.event_id),
                "type": event.type,
                "reason": reason,
                "by": by,
                "at": datetime.now(UTC).isoformat(),
                "in_view": int(in_view),
            },
        )

    def skipped(self, read: Read, *, after: int = 0, in_view: bool = False) -> set[tuple[int, UUID]]:
        """Read which events after a position are to be passed over, or those that the view passes over too.

        Their ids are part of it, because another store has other events at these positions.
        """
        rows = read(
            """
            SELECT position, event_id FROM esbank_skipped_events
            WHERE projector = :projector AND position > :after AND in_view >= :in_view
            """,
            {"projector": self.projector, "after": after, "in_view": int(in_view)},
        )
        return {(position, UUID(event_id)) for position, event_id in rows}

    def effects_position(self, read: Read) -> int | None:
        """Read up to where the world was told of events."""
        rows = read("SELECT effects_position FROM esbank_checkpoints WHERE projector = :projector", self._row)
        return rows[0][0] if rows else None

    def save_effects_position(self, tx: Transaction, position: int | None) -> None:
        """Write up to where the world was told of events; what failed up to there is forgotten."""
        tx.execute(
            """
            UPDATE esbank_checkpoints
            SET effects_position = :position,
                failed_position = CASE WHEN failed_position > :position THEN failed_position END
            WHERE projector = :projector
            """,
            {**self._row, "position": position},
        )

    def save(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        """Write the checkpoint, in the transaction that changes the tables.

        An event that failed is forgotten; a side effect that failed is one of an event that is in the view already.
        Without side effects there is nothing to tell, so that those that come with new code begin from here.
        """
        tx.execute(
            """
            UPDATE esbank_checkpoints
            SET store = :store, position = :position, stream = :stream, event_id = :event_id,
                version = :version, definition = :definition, event_names = :event_names,
                failed_position = CASE WHEN failed_position <= position THEN failed_position END,
                effects_position = CASE WHEN :has_effects THEN effects_position ELSE :position END
            WHERE projector = :projector
            """,
            {
                **self._row,
                "store": checkpoint.store,
                "position": checkpoint.position,
                "stream": checkpoint.stream,
                "event_id": checkpoint.event_id,
                "version": checkpoint.version,
                "definition": checkpoint.definition,
                "event_names": checkpoint.event_names,
                "has_effects": int(self.has_effects),
            },
        )

    def create(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        """Make the tables and their indexes, empty, and the checkpoint, which also tells whose they are."""
        tx.execute(
            "INSERT INTO esbank_checkpoints (projector, tables, store) VALUES (:projector, :tables, :store)",
            {**self._row, "tables": " ".join(map(self._physical, self.tables)), "store": checkpoint.store},
        )
        self.save(tx, checkpoint)
        for table, columns in self.tables.items():
            tx.execute(f"CREATE TABLE {self._physical(table)} {columns}")
        bound = self.bind(tx)
        for index, columns in self.indexes.items():
            bound.execute(f"CREATE INDEX {self._physical(index)} ON {columns}")

    def drop(self, tx: Transaction) -> None:
        """Drop the tables that `create` made, whatever is declared now, and forget the checkpoint."""
        for (tables,) in tx.execute("SELECT tables FROM esbank_checkpoints WHERE projector = :projector", self._row):
            for table in tables.split():
                tx.execute(f"DROP TABLE IF EXISTS {table}")
        tx.execute("DELETE FROM esbank_checkpoints WHERE projector = :projector", self._row)

    def take_over(self, tx: Transaction, shadow: View, checkpoint: Checkpoint, *, is_same_log: bool) -> None:
        """Become what `shadow` is, in one transaction: its tables, its rows and its checkpoint."""
        told = self.effects_position(tx.execute) or 0
        self.drop(tx)
        self.create(tx, checkpoint)
        if self.has_effects:
            # Of another store, or of one that was restored, the world was told other things at these positions.
            last = checkpoint.position or 0
            self.save_effects_position(tx, min(told, last) if is_same_log else last)
        for table in self.tables:
            # Copied and not renamed: an index cannot be renamed everywhere, and people's own SQL views stay valid.
            tx.execute(f"INSERT INTO {self._physical(table)} SELECT * FROM {shadow._physical(table)}")
        shadow.drop(tx)

    def bind(self, tx: Transaction) -> Transaction:
        """Wrap a transaction so that ``{table}`` in its SQL stands for the table of this view."""
        tables = {table: self._physical(table) for table in self.tables}
        return _BoundTransaction(tx, self.projector, tables, self._resolved)

    @property
    def _row(self) -> Mapping[str, SqlValue]:
        return {"projector": self._physical(self.projector)}

    def _physical(self, name: str) -> str:
        return f"{name}{_SHADOW}" if self.is_shadow else name


@define
class _BoundTransaction:
    """A transaction for one projector's methods."""

    _tx: Transaction
    _projector: str
    _tables: Mapping[str, str]
    _known: dict[str, str]

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return self._tx.dialect

    def execute(self, sql: str, parameters: Mapping[str, SqlValue] | None = None, /) -> Rows:
        return self._tx.execute(self._known.get(sql) or self._resolve(sql), parameters or {})

    def executemany(self, sql: str, parameters: Iterable[Mapping[str, SqlValue]], /) -> None:
        self._tx.executemany(self._known.get(sql) or self._resolve(sql), parameters)

    def _resolve(self, sql: str) -> str:
        self._refuse_bare_names(sql)
        if len(self._known) >= _MOST_KNOWN:  # somebody writes values into the SQL
            self._known.clear()
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
