"""The functions of a PostgreSQL store: what appends, and what a digest is, in SQL.

The order of events rests on the two that append. Both first take the one lock that all appends share, which they hold
up to the commit, and only in later statements look where the log and the streams end: under READ COMMITTED these see
all that earlier holders have committed. ``docs/adr/0011-order-on-postgresql.md`` has the argument.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FUNCTIONS", "LOCK"]

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

FUNCTIONS: Final = (_DIGEST, _APPEND, _APPEND_ONE)
"""What creates them, with ``{schema}`` for the quoted name of their schema."""
