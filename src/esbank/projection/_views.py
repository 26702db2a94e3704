"""A projector's tables and its checkpoint, as SQL that every view store understands."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from attrs import Factory, evolve, field, frozen

from esbank.errors import CheckpointError, DefinitionError
from esbank.projection._binding import BoundTransaction
from esbank.projection._swap import SHADOW, are_alike, drop_tables, keys_on, refill_tables, rename_tables, views_on
from esbank.store import Rows, SqlValue, StoredEvent, Transaction

__all__ = ["Checkpoint", "Failure", "View", "check_identifiers", "has_checkpoints", "prepare"]

Read: TypeAlias = Callable[[str, Mapping[str, SqlValue]], Rows]
"""Executes SQL that reads: that of a transaction, or of a view store."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED: Final = ("esbank_", "sqlite_", "pg_")
_LONGEST: Final = 63 - len(SHADOW)  # PostgreSQL cuts what is longer than 63

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


_COLUMNS: Final = {
    "sqlite": "SELECT name FROM pragma_table_info('{table}')",
    "postgresql": """
        SELECT attname::text FROM pg_attribute
        WHERE attnum > 0 AND NOT attisdropped AND attrelid = pg_catalog.to_regclass(
            pg_catalog.quote_ident(pg_catalog.current_schema()::text) || '.{table}'::text)::oid
    """,
}


def prepare(tx: Transaction) -> None:
    """Make the tables that all projectors share, or bring them up to date; it takes no rights where they are."""
    known = _columns(tx, "esbank_checkpoints")
    if not known:
        tx.execute(_CREATE_CHECKPOINTS)
    else:
        for name, type_ in _LATER_COLUMNS.items():
            if name not in known:
                tx.execute(f"ALTER TABLE esbank_checkpoints ADD COLUMN {name} {type_}")
        if "effects_position" not in known:
            # There were no side effects, so nobody waits to be told of the past.
            tx.execute("UPDATE esbank_checkpoints SET effects_position = position")
    if not _columns(tx, "esbank_skipped_events"):
        tx.execute(_CREATE_SKIPPED)


def has_checkpoints(tx: Transaction) -> bool:
    """Tell whether any projector has ever made a view."""
    return bool(_columns(tx, "esbank_checkpoints"))


def _columns(tx: Transaction, table: str) -> set[str]:
    return {name for (name,) in tx.execute(_COLUMNS[tx.dialect].format(table=table))}


def check_identifiers(owner: str, names: Collection[str]) -> None:
    """Refuse the name of a table or an index that not every database takes, or that it or esbank keeps for itself."""
    for name in names:
        if not _IDENTIFIER.fullmatch(name) or name.lower().startswith(_RESERVED) or name.lower().endswith(SHADOW):
            raise DefinitionError(
                f"{owner}: {name!r} cannot name a table or an index; take letters, digits and '_', "
                f"neither esbank_… nor sqlite_… nor pg_… nor …{SHADOW}"
            )
        if len(name) > _LONGEST:
            raise DefinitionError(f"{owner}: {name!r} is too long to name a table or an index; take {_LONGEST} letters")
    if len({name.lower() for name in names}) < len(names):
        raise DefinitionError(f"{owner}: tables and indexes share a name, whatever its case: {', '.join(names)}")


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
                effects_position = CASE WHEN :has_effects = 1 THEN effects_position ELSE :position END
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
        self._insert(tx, checkpoint)
        for table, columns in self.tables.items():
            for other in self.tables:  # to which it may refer
                columns = columns.replace(f"{{{other}}}", self._physical(other))  # noqa: PLW2901
            tx.execute(f"CREATE TABLE {self._physical(table)} {columns}")
        self._create_indexes(tx)

    def _create_indexes(self, tx: Transaction, unless: str = "") -> None:
        bound = self.bind(tx)
        for index, columns in self.indexes.items():
            bound.execute(f"CREATE INDEX {unless} {self._physical(index)} ON {columns}")

    def drop(self, tx: Transaction) -> None:
        """Drop the tables that `create` made, whatever is declared now, and forget the checkpoint."""
        drop_tables(tx, self._made_tables(tx))
        self._delete(tx)

    def check_replaceable(self, tx: Transaction) -> None:
        """Raise ``CheckpointError`` when the tables are declared otherwise now, and views of people hold the old."""
        checkpoint = self.checkpoint(tx.execute)
        if tx.dialect == "postgresql" and checkpoint is not None:
            self._check_unreferenced(tx)
            if checkpoint.definition != self.definition:
                self._check_free(tx)

    def take_over(self, tx: Transaction, shadow: View, checkpoint: Checkpoint, *, is_same_log: bool) -> None:
        """Become what `shadow` is, in one transaction: its tables, its rows and its checkpoint."""
        told = self.effects_position(tx.execute) or 0
        if tx.dialect == "postgresql":
            self._replace(tx, shadow, checkpoint)
        else:
            self.drop(tx)
            self.create(tx, checkpoint)
            for table in self.tables:
                # Copied and not renamed: an index cannot be renamed, and people's own SQL views stay valid.
                tx.execute(f"INSERT INTO {self._physical(table)} SELECT * FROM {shadow._physical(table)}")
        if self.has_effects:
            # Of another store, or of one that was restored, the world was told other things at these positions.
            last = checkpoint.position or 0
            self.save_effects_position(tx, min(told, last) if is_same_log else last)
        shadow.drop(tx)

    def _replace(self, tx: Transaction, shadow: View, checkpoint: Checkpoint) -> None:
        self._check_unreferenced(tx)
        before = self.checkpoint(tx.execute)
        tables = {table: shadow._physical(table) for table in self.tables}
        if before is not None and before.definition == self.definition and are_alike(tx, tables):
            refill_tables(tx, tables)
            self._create_indexes(tx, "IF NOT EXISTS")
            self._delete(tx)
        else:
            self._check_free(tx)
            self.drop(tx)
            rename_tables(tx, tables)
        self._insert(tx, checkpoint)

    def _check_unreferenced(self, tx: Transaction) -> None:
        tables = keys_on(tx, self._made_tables(tx))
        if tables:
            problem = (
                f"these tables refer to its own by a foreign key: {', '.join(tables)}; rows of a view come and go, so "
                "drop these keys, and rebuild"
            )
            raise CheckpointError(self.projector, problem)

    def _check_free(self, tx: Transaction) -> None:
        views = views_on(tx, self._made_tables(tx))
        if views:
            problem = (
                f"its tables have to be made anew, and these views read from them: {', '.join(views)}; drop these, "
                "rebuild with resume=True, and make them anew"
            )
            raise CheckpointError(self.projector, problem)

    def _insert(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        tx.execute(
            "INSERT INTO esbank_checkpoints (projector, tables, store) VALUES (:projector, :tables, :store)",
            {**self._row, "tables": " ".join(map(self._physical, self.tables)), "store": checkpoint.store},
        )
        self.save(tx, checkpoint)

    def _delete(self, tx: Transaction) -> None:
        tx.execute("DELETE FROM esbank_checkpoints WHERE projector = :projector", self._row)

    def _made_tables(self, tx: Transaction) -> list[str]:
        rows = tx.execute("SELECT tables FROM esbank_checkpoints WHERE projector = :projector", self._row)
        return [table for (tables,) in rows for table in tables.split()]

    def bind(self, tx: Transaction) -> BoundTransaction:
        """Wrap a transaction so that ``{table}`` in its SQL stands for the table of this view."""
        tables = {table: self._physical(table) for table in self.tables}
        return BoundTransaction(tx, self.projector, tables, self._resolved)

    @property
    def _row(self) -> Mapping[str, SqlValue]:
        return {"projector": self._physical(self.projector)}

    def _physical(self, name: str) -> str:
        return f"{name}{SHADOW}" if self.is_shadow else name
