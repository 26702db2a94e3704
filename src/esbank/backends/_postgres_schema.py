"""The tables of a PostgreSQL store, and how a database gets them.

Each entry of `MIGRATIONS` takes a schema from one version to the next; ``{schema}`` stands for its name, quoted. What
everything means is kept in the database as well, by ``COMMENT ON``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from attrs import frozen

from esbank.backends._postgres_connection import Connection, quoted
from esbank.backends._postgres_functions import FUNCTIONS
from esbank.errors import StorageError

__all__ = ["MIGRATIONS", "StoreRow", "filled", "look", "migrate"]

_TABLES: Final = """
CREATE TABLE {schema}.esbank_store (
    id              integer PRIMARY KEY CHECK (id = 1),
    identity        text NOT NULL,
    schema_version  integer NOT NULL,
    has_digests     boolean NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.esbank_store IS 'The event store: one row.';
COMMENT ON COLUMN {schema}.esbank_store.identity IS 'Which store this is: made with it, kept for ever.';
COMMENT ON COLUMN {schema}.esbank_store.schema_version IS 'The version of these tables.';
COMMENT ON COLUMN {schema}.esbank_store.has_digests IS 'Whether each event is sealed by a digest.';

CREATE TABLE {schema}.esbank_events (
    position        bigint PRIMARY KEY,
    category        text COLLATE "C" NOT NULL,
    key             text COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    event_id        uuid NOT NULL,
    type            text COLLATE "C" NOT NULL,
    schema_version  integer NOT NULL,
    data            json NOT NULL,
    metadata        json NOT NULL,
    recorded_at     bigint NOT NULL,
    append          bigint NOT NULL,
    correlation     bytea,
    digest          bytea,
    CONSTRAINT esbank_events_version UNIQUE (category, key, version),
    CONSTRAINT esbank_events_id UNIQUE (event_id, category, key),
    CONSTRAINT esbank_events_stream CHECK (category <> '' AND strpos(category, '-') = 0 AND key <> ''
        AND octet_length(category) + 1 + octet_length(key) <= 512),
    CONSTRAINT esbank_events_type CHECK (type <> '' AND schema_version >= 1)
);
CREATE UNIQUE INDEX esbank_events_first ON {schema}.esbank_events (category, key) WHERE version = 1;
CREATE INDEX esbank_events_correlation ON {schema}.esbank_events (correlation, position)
    WHERE correlation IS NOT NULL;
COMMENT ON TABLE {schema}.esbank_events IS 'The log: events are appended by esbank_append, never changed or deleted.';
COMMENT ON COLUMN {schema}.esbank_events.position IS 'Its place in the store; in this order readers see events.';
COMMENT ON COLUMN {schema}.esbank_events.category IS 'What its stream is about; the stream is category-key.';
COMMENT ON COLUMN {schema}.esbank_events.key IS 'Which stream of the category.';
COMMENT ON COLUMN {schema}.esbank_events.version IS 'Its place in its stream: 1, 2, 3 ...';
COMMENT ON COLUMN {schema}.esbank_events.event_id IS 'Unique within its stream: a repeated append is recognised by it.';
COMMENT ON COLUMN {schema}.esbank_events.type IS 'The stored name of its class.';
COMMENT ON COLUMN {schema}.esbank_events.schema_version IS 'The version of the form of its data.';
COMMENT ON COLUMN {schema}.esbank_events.data IS 'The fact: the exact JSON text that was appended.';
COMMENT ON COLUMN {schema}.esbank_events.metadata IS 'Who, why, in which conversation and when: exact JSON text.';
COMMENT ON COLUMN {schema}.esbank_events.recorded_at IS 'When it was recorded, in microseconds since 1970 (UTC).';
COMMENT ON COLUMN {schema}.esbank_events.append IS 'Position of the first event that was appended together with it.';
COMMENT ON COLUMN {schema}.esbank_events.correlation IS 'SHA-256 of the correlation_id in its metadata, to find it by.';
COMMENT ON COLUMN {schema}.esbank_events.digest IS 'Seals the event and all before it in its stream.';

CREATE TABLE {schema}.esbank_snapshots (
    category  text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    event_id  uuid NOT NULL,
    store     text NOT NULL,
    schema    text NOT NULL,
    state     json NOT NULL,
    PRIMARY KEY (category, key)
);
COMMENT ON TABLE {schema}.esbank_snapshots IS 'States of aggregates: a cache. Rows may be deleted at any time.';

CREATE VIEW {schema}.esbank_event_log AS
    SELECT position, category || '-' || key AS stream, version, type, schema_version, data, metadata,
           to_timestamp(0) + recorded_at * interval '1 microsecond' AS recorded_at, event_id,
           encode(digest, 'hex') AS digest
    FROM {schema}.esbank_events;
COMMENT ON VIEW {schema}.esbank_event_log IS 'The events, for people who look into the database.';
"""

_GUARDS: Final = """
CREATE FUNCTION {schema}.esbank_refuse() RETURNS trigger LANGUAGE plpgsql AS $esbank_body$
BEGIN
    RAISE EXCEPTION 'events are append-only: % is refused', tg_op USING ERRCODE = 'restrict_violation';
END $esbank_body$;
COMMENT ON FUNCTION {schema}.esbank_refuse() IS 'Keeps events from being changed.';
CREATE TRIGGER esbank_events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.esbank_events
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.esbank_refuse();
ALTER TABLE {schema}.esbank_events ENABLE ALWAYS TRIGGER esbank_events_no_change;
"""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = ((_TABLES, _GUARDS, *FUNCTIONS),)


@frozen
class StoreRow:
    """What a store says of itself."""

    identity: str
    schema_version: int
    has_digests: bool


def migrate(
    connection: Connection,
    schema: str,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
    *,
    create: bool = True,
    digests: bool = True,
) -> StoreRow:
    """Bring a schema to the newest version, in one transaction, whoever else tries at the same time.

    `create` says whether to make a store where none is, and `digests` whether that one keeps digests. Raises
    ``StorageError`` for a schema that newer code has made, where there is no store to open, and without the rights.
    """
    known = len(migrations)
    found = look(connection, schema)
    if found is not None and found.schema_version == known:
        return found
    if found is None and not create:
        raise StorageError(connection.name, f"there is no event store in schema {schema!r}; check the name")
    with connection.transaction():
        connection.rows("SELECT pg_advisory_xact_lock(1702060640, hashtext($1))", (schema,))
        # Looked at again, because another process may have made it while this one waited for the lock.
        found = look(connection, schema)
        version = 0 if found is None else found.schema_version
        if version > known:
            problem = f"the store has schema version {version}, this esbank knows up to {known}; upgrade esbank"
            raise StorageError(connection.name, problem)
        if found is None:
            _prepare(connection, schema)
            found = StoreRow(uuid4().hex, known, digests)
        for statements in migrations[version:]:
            for statement in statements:
                connection.script(filled(statement, schema, digests=str(found.has_digests).lower()))
        if version == 0:
            connection.rows(
                f"INSERT INTO {quoted(schema)}.esbank_store (id, identity, schema_version, has_digests)"
                " VALUES (1, $1, $2, $3)",
                (found.identity, known, found.has_digests),
            )
        else:
            connection.rows(f"UPDATE {quoted(schema)}.esbank_store SET schema_version = $1", (known,))
    return StoreRow(found.identity, known, found.has_digests)


def filled(statement: str, schema: str, **more: str) -> str:
    """Write the name of a schema into a statement: as an identifier, and inside a literal."""
    name = quoted(schema)
    return statement.format(schema=name, quoted=name.replace("'", "''"), **more)


def look(connection: Connection, schema: str) -> StoreRow | None:
    """Read what the store in a schema says of itself; None where there is none."""
    # Not by to_regclass(): that would go on believing what this session saw before it waited for the lock.
    found = connection.rows(
        "SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = 'esbank_store'",
        (schema,),
    )
    if not found:
        return None
    rows = connection.rows(f"SELECT identity, schema_version, has_digests FROM {quoted(schema)}.esbank_store")
    if len(rows) != 1:
        raise StorageError(connection.name, "the table esbank_store has lost its row; restore a backup")
    return StoreRow(*rows[0])


def _prepare(connection: Connection, schema: str) -> None:
    ((encoding,),) = connection.rows("SHOW server_encoding")
    if encoding != "UTF8":
        problem = f"the database has the encoding {encoding}; make one with CREATE DATABASE … ENCODING 'UTF8'"
        raise StorageError(connection.name, problem)
    # IF NOT EXISTS would ask for the right to make one, also where a role with that right has made it.
    if not connection.rows("SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1", (schema,)):
        connection.script(f"CREATE SCHEMA {quoted(schema)}")
