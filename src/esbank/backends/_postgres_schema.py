"""The tables of a PostgreSQL store, the functions that append, and how a database gets them.

Each entry of `MIGRATIONS` takes a schema from one version to the next; ``{schema}`` stands for its name, quoted. What
everything means is kept in the database as well, by ``COMMENT ON``.

The order of events rests on the two functions that append. Both first take the one lock that all appends share, which
they hold up to the commit, and only in later statements look where the log and the streams end: under READ COMMITTED
these see all that earlier holders have committed. ``docs/adr/0011-order-on-postgresql.md`` has the argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from attrs import frozen

from esbank.backends._postgres_connection import Connection, quoted
from esbank.errors import StorageError

__all__ = ["LOCK", "MIGRATIONS", "StoreRow", "filled", "look", "migrate"]

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

# The form of a digest is that of `esbank.store.event_digest`. PostgreSQL puts the body in the place of a call, but only
# if it is not declared to be more constant than convert_to(), which is STABLE.
_DIGEST: Final = r"""
CREATE FUNCTION {schema}.esbank_digest(
    previous bytea, version bigint, event_id uuid, data text, category text, key text, type text,
    schema_version integer, metadata text, recorded_at bigint, occurred_at bigint
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $esbank_body$
    SELECT sha256(
        bytea '\x0000000e657362616e6b206576656e742031'
        || '\x00000020' || coalesce(previous, '\x0000000000000000000000000000000000000000000000000000000000000000')
        || '\x00000008' || int8send(version)
        || '\x00000010' || uuid_send(event_id)
        || int4send(octet_length(data)) || convert_to(data, 'UTF8')
        || int4send(octet_length(category) + 1 + octet_length(key)) || convert_to(category || '-' || key, 'UTF8')
        || int4send(octet_length(type)) || convert_to(type, 'UTF8')
        || '\x00000008' || int8send(schema_version)
        || int4send(octet_length(metadata)) || convert_to(metadata, 'UTF8')
        || '\x00000008' || int8send(recorded_at)
        || '\x00000008' || int8send(coalesce(occurred_at, recorded_at)))
$esbank_body$;
COMMENT ON FUNCTION {schema}.esbank_digest IS 'The digest of an event, given that of its predecessor in its stream.';
"""

_REFUSE_SESSION: Final = """
    IF current_setting('transaction_isolation') <> 'read committed'
        OR durable AND (current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
            OR current_setting('client_min_messages') = 'error') THEN
        RAISE EXCEPTION 'transaction_isolation is %, synchronous_commit is %, client_min_messages is %',
            current_setting('transaction_isolation'), current_setting('synchronous_commit'),
            current_setting('client_min_messages')
            USING ERRCODE = CASE WHEN current_setting('transaction_isolation') <> 'read committed' THEN 'ESB01'
                                 WHEN current_setting('client_min_messages') <> 'error' THEN 'ESB02'
                                 ELSE 'ESB03' END;
    END IF;
"""
LOCK: Final = "SELECT pg_advisory_xact_lock(1702060641, '{quoted}.esbank_events'::regclass::oid::integer)"
"""Lets nobody else append before the open transaction ends."""

_LOCK: Final = f"{LOCK.replace('SELECT', 'PERFORM')};"
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# Whatever the caller's search path is; and one plan for all calls, none that was good while the table was small.
_SETTINGS: Final = (
    "SET search_path TO pg_catalog, pg_temp SET enable_seqscan TO off SET plan_cache_mode TO force_generic_plan"
)

# Streams come in the order of their appends; `appends` says to which one each belongs. Events come in the order of
# their streams; `counts` says how many each has. Expected is a version, -1 for any, -2 for a stream that exists. An
# append that cannot be stored as expected is left out: the positions of its streams stay -1, the others are stored.
_APPEND: Final = f"""
CREATE FUNCTION {{schema}}.esbank_append(
    durable boolean, channel text,
    appends integer[], categories text[], keys text[], expected bigint[], counts integer[],
    ids uuid[], types text[], schema_versions integer[], data text[], metadata text[], occurred_at bigint[],
    correlations bytea[],
    OUT recorded bigint, OUT versions bigint[], OUT positions bigint[], OUT digests bytea[]
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER {_SETTINGS} AS $esbank_body$
DECLARE
    last    bigint;                 -- the position of the last event
    latest  bigint;                 -- when that was recorded
    first   bigint;                 -- the position of the first event of the append at hand
    head    bigint;
    digest  bytea;
    part    integer;
    parts   integer[];              -- for each event, its stream
    start   integer := 0;
    starts  integer[] := '{{{{}}}}';    -- for each stream, how many events come before its own
    firsts  bigint[] := '{{{{}}}}';
    heads   bytea[];                -- for each stream, the digest of its last event
    refused integer[];              -- the appends that are left out
    streams text := '[1:' || cardinality(counts) || ']';
    events  text := '[1:' || (SELECT sum(c.count) FROM unnest(counts) AS c (count)) || ']';
BEGIN
    {_REFUSE_SESSION}
    IF coalesce(0 > ANY (counts), true)
        OR (streams = ALL (ARRAY[array_dims(appends), array_dims(categories), array_dims(keys), array_dims(expected),
            array_dims(counts)])) IS NOT TRUE
        OR (events = ALL (ARRAY[array_dims(ids), array_dims(types), array_dims(schema_versions), array_dims(data),
            array_dims(metadata), coalesce(array_dims(occurred_at), events),
            coalesce(array_dims(correlations), events)])) IS NOT TRUE THEN
        RAISE EXCEPTION 'the arrays do not fit each other' USING ERRCODE = 'array_subscript_error';
    END IF;
    {_LOCK}
    SELECT e.position, e.recorded_at INTO last, latest
        FROM {{schema}}.esbank_events AS e ORDER BY e.position DESC LIMIT 1;
    last := coalesce(last, 0);
    recorded := greatest(latest, {_NOW});
    positions := array_fill(-1::bigint, ARRAY[cardinality(appends)]);
    parts := ARRAY(SELECT p.n FROM unnest(counts) WITH ORDINALITY AS p (count, n), generate_series(1, p.count) AS e
                   ORDER BY p.n);
    SELECT array_agg(coalesce(h.version, 0) ORDER BY p.n), array_agg(h.digest ORDER BY p.n)
        INTO versions, heads
        FROM unnest(categories, keys) WITH ORDINALITY AS p (category, key, n)
        LEFT JOIN LATERAL (
            SELECT e.version, e.digest FROM {{schema}}.esbank_events AS e
            WHERE e.category = p.category AND e.key = p.key ORDER BY e.version DESC LIMIT 1) AS h ON true;
    refused := ARRAY(
        SELECT p.append FROM unnest(appends, expected, versions) AS p (append, expected, version)
        WHERE CASE p.expected WHEN -1 THEN false WHEN -2 THEN p.version = 0 ELSE p.expected <> p.version END);
    -- With a number it is the version that tells a repeat. IS NOT DISTINCT FROM, so that the index of ids is used.
    IF 0 > ANY (expected) THEN
        refused := refused || ARRAY(
            SELECT appends[e.part] FROM unnest(parts, ids) AS e (part, id)
            WHERE expected[e.part] < 0 AND versions[e.part] > 0 AND EXISTS (
                SELECT FROM {{schema}}.esbank_events AS known
                WHERE known.event_id = e.id AND known.category IS NOT DISTINCT FROM categories[e.part]
                    AND known.key IS NOT DISTINCT FROM keys[e.part]));
    END IF;
    FOR i IN 1 .. cardinality(appends) LOOP
        starts[i] := start;
        start := start + counts[i];
        CONTINUE WHEN appends[i] = ANY (refused);
        IF i = 1 OR appends[i] <> appends[i - 1] THEN
            first := last + 1;
        END IF;
        positions[i] := last;
        firsts[i] := first;
        last := last + counts[i];
    END LOOP;
    IF {{digests}} THEN
        digests := array_fill(NULL::bytea, ARRAY[cardinality(parts)]);
        FOR i IN 1 .. cardinality(parts) LOOP
            CONTINUE WHEN positions[parts[i]] < 0;
            IF part IS DISTINCT FROM parts[i] THEN
                part := parts[i];
                digest := heads[part];
                head := versions[part];
            END IF;
            head := head + 1;
            digest := {{schema}}.esbank_digest(digest, head, ids[i], data[i], categories[part], keys[part], types[i],
                schema_versions[i], metadata[i], recorded, occurred_at[i]);
            digests[i] := digest;
        END LOOP;
    END IF;
    INSERT INTO {{schema}}.esbank_events
        SELECT positions[e.part] + e.n - starts[e.part], categories[e.part], keys[e.part],
            versions[e.part] + e.n - starts[e.part], e.id, e.type, e.schema_version, e.data::json, e.metadata::json,
            recorded, firsts[e.part], e.correlation, e.digest
        FROM unnest(parts, ids, types, schema_versions, data, metadata, correlations, digests)
            WITH ORDINALITY AS e (part, id, type, schema_version, data, metadata, correlation, digest, n)
        WHERE positions[e.part] >= 0;
    IF channel IS NOT NULL AND first IS NOT NULL THEN
        PERFORM pg_notify(channel, '');
    END IF;
END $esbank_body$;
COMMENT ON FUNCTION {{schema}}.esbank_append IS 'Appends events to streams, each append whole or not at all.';
REVOKE ALL ON FUNCTION {{schema}}.esbank_append FROM PUBLIC;
"""

# The same for one event, which is what most appends are, in fewer steps: each costs more than the row that it stores.
_APPEND_ONE: Final = f"""
CREATE FUNCTION {{schema}}.esbank_append_one(
    durable boolean, channel text, a_category text, a_key text, expected bigint,
    id uuid, a_type text, a_schema_version integer, a_data text, a_metadata text, occurred_at bigint,
    a_correlation bytea,
    OUT recorded bigint, OUT head bigint, OUT last bigint, OUT seal bytea
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER {_SETTINGS} AS $esbank_body$
DECLARE
    previous   bytea;
    is_refused boolean;
BEGIN
    {_REFUSE_SESSION}
    {_LOCK}
    SELECT e.position, e.recorded_at INTO last, recorded
        FROM {{schema}}.esbank_events AS e ORDER BY e.position DESC LIMIT 1;
    last := coalesce(last, 0);
    recorded := greatest(recorded, {_NOW});
    SELECT e.version, e.digest INTO head, previous
        FROM {{schema}}.esbank_events AS e
        WHERE e.category = a_category AND e.key = a_key ORDER BY e.version DESC LIMIT 1;
    head := coalesce(head, 0);
    IF expected >= 0 THEN
        is_refused := expected <> head;
    ELSIF head = 0 THEN
        is_refused := expected = -2;
    ELSE
        is_refused := EXISTS (
            SELECT FROM {{schema}}.esbank_events AS e
            WHERE e.event_id = id AND e.category IS NOT DISTINCT FROM a_category
                AND e.key IS NOT DISTINCT FROM a_key);
    END IF;
    IF is_refused THEN
        last := NULL;
        RETURN;
    END IF;
    IF {{digests}} THEN
        seal := {{schema}}.esbank_digest(previous, head + 1, id, a_data, a_category, a_key, a_type, a_schema_version,
            a_metadata, recorded, occurred_at);
    END IF;
    INSERT INTO {{schema}}.esbank_events
        VALUES (last + 1, a_category, a_key, head + 1, id, a_type, a_schema_version, a_data::json, a_metadata::json,
            recorded, last + 1, a_correlation, seal);
    IF channel IS NOT NULL THEN
        PERFORM pg_notify(channel, '');
    END IF;
END $esbank_body$;
COMMENT ON FUNCTION {{schema}}.esbank_append_one IS 'Appends one event, as esbank_append does.';
REVOKE ALL ON FUNCTION {{schema}}.esbank_append_one FROM PUBLIC;
"""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = ((_TABLES, _GUARDS, _DIGEST, _APPEND, _APPEND_ONE),)


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
