"""Tables that go, and how those of a view made anew take their place in PostgreSQL, where people have built on them.

As long as the tables are declared as they were, their rows are exchanged and the tables stay: with them the views of
people, their indexes and their grants; and no reader has to wait, not even one whose transaction began long before.
Otherwise the new tables get the names of the old ones, for which readers wait a moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from esbank.store import Rows, Transaction

__all__ = ["SHADOW", "are_alike", "drop_tables", "keys_on", "refill_tables", "rename_tables", "views_on"]

SHADOW: Final = "__rebuild"
"""How the names of the new tables end, as long as there are the old ones."""


def drop_tables(tx: Transaction, tables: Iterable[str]) -> None:
    """Drop tables at once, because they may refer to each other; those that are not there are passed over."""
    tables = tuple(tables)
    if tx.dialect == "sqlite":
        for table in tables:
            tx.execute(f"DROP TABLE IF EXISTS {table}")
    elif tables:
        tx.execute(f"DROP TABLE IF EXISTS {', '.join(_here(tx, table) for table in tables)}")


def are_alike(tx: Transaction, tables: Mapping[str, str]) -> bool:
    """Tell whether each of these tables is there, with the columns of the one that is to replace it."""
    return all(_columns(tx, table) == _columns(tx, other) for table, other in tables.items())


def refill_tables(tx: Transaction, tables: Mapping[str, str]) -> None:
    """Exchange the rows of each of these tables for those of another."""
    for table in reversed(tuple(tables)):  # one may refer to those before it
        tx.execute(f"DELETE FROM {_here(tx, table)}")
    for table, other in tables.items():
        names = ", ".join(name for name, *_, is_generated in _columns(tx, table) if not is_generated)
        old, new = _here(tx, table), _here(tx, other)
        tx.execute(f"INSERT INTO {old} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {new}")
        _advance_sequences(tx, old, new)


def rename_tables(tx: Transaction, tables: Mapping[str, str]) -> None:
    """Give each of these names to the table that has another, and its indexes theirs."""
    for table, other in tables.items():
        tx.execute(f"ALTER TABLE {_here(tx, other)} RENAME TO {table}")
        indexes = tx.execute(
            """
            SELECT i.indexrelid::regclass::text,
                   pg_catalog.quote_ident(pg_catalog.replace(c.relname::text, :shadow::text, ''))
            FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indrelid = pg_catalog.to_regclass(:table)::oid
                AND pg_catalog.strpos(c.relname::text, :shadow::text) > 0
            """,
            {"table": _here(tx, table), "shadow": SHADOW},
        )
        for index, name in indexes:
            tx.execute(f"ALTER INDEX {index} RENAME TO {name}")


def views_on(tx: Transaction, tables: Iterable[str]) -> list[str]:
    """List the views of people that read from these tables, and would not let them go."""
    found = set[str]()
    for table in tables:
        rows = tx.execute(
            """
            SELECT r.ev_class::regclass::text FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
            WHERE d.classid = 'pg_rewrite'::regclass::oid AND d.refclassid = 'pg_class'::regclass::oid
                AND d.refobjid = pg_catalog.to_regclass(:table)::oid AND r.ev_class <> d.refobjid
            """,
            {"table": _here(tx, table)},
        )
        found |= {name for (name,) in rows}
    return sorted(found)


def keys_on(tx: Transaction, tables: Iterable[str]) -> list[str]:
    """List the tables of people that refer to these by a foreign key: their rows would go, or not let these go."""
    names = [_here(tx, table) for table in tables]
    mine = [_oid(tx, name) for name in names]
    found = set[str]()
    for name in names:
        rows = tx.execute(
            """
            SELECT conrelid::regclass::text FROM pg_constraint
            WHERE contype = 'f' AND confrelid = pg_catalog.to_regclass(:table)::oid
                AND conrelid <> ALL (CAST(:mine AS oid[]))
            """,
            {"table": name, "mine": f"{{{','.join(mine)}}}"},
        )
        found |= {table for (table,) in rows}
    return sorted(found)


def _oid(tx: Transaction, name: str) -> str:
    ((oid,),) = tx.execute("SELECT coalesce(pg_catalog.to_regclass(:name)::oid, 0)::bigint", {"name": name})
    return str(oid)


def _here(tx: Transaction, table: str) -> str:
    """Name a table so that none of another schema is meant."""
    ((schema,),) = tx.execute("SELECT pg_catalog.quote_ident(pg_catalog.current_schema()::text)")
    return f"{schema}.{table}"


def _columns(tx: Transaction, table: str) -> Rows:
    return tx.execute(
        """
        SELECT pg_catalog.quote_ident(attname::text), pg_catalog.format_type(atttypid, atttypmod),
               attcollation::bigint, attnotnull, attidentity::text, attgenerated::text <> ''
        FROM pg_attribute
        WHERE attrelid = pg_catalog.to_regclass(:table)::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """,
        {"table": _here(tx, table)},
    )


def _advance_sequences(tx: Transaction, table: str, other: str) -> None:
    """Let the numbers that a table gives to its rows go on after those that another has given."""
    sequences = tx.execute(
        """
        SELECT pg_catalog.pg_get_serial_sequence(:table::text, attname::text),
               pg_catalog.pg_get_serial_sequence(:other::text, attname::text)
        FROM pg_attribute
        WHERE attrelid = pg_catalog.to_regclass(:table)::oid AND attnum > 0 AND NOT attisdropped
            AND pg_catalog.pg_get_serial_sequence(:table::text, attname::text) IS NOT NULL
        """,
        {"table": table, "other": other},
    )
    for mine, its in sequences:
        # Never back, because that would stay so when the transaction is rolled back.
        tx.execute(
            "SELECT pg_catalog.setval(CAST(:mine AS regclass), greatest(m.last_value, i.last_value),"
            f" m.is_called OR i.is_called) FROM {mine} AS m, {its} AS i",
            {"mine": mine},
        )
