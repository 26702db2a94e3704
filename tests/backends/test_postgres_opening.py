"""Opening a store in PostgreSQL: what is there stays, what is wrong is said together with what to do about it."""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from processes import Process, Run, Start, hear, tell
from psycopg_pool import ConnectionPool

from esbank.backends._postgres_connection import Connection
from esbank.backends._postgres_schema import MIGRATIONS, StoreRow
from esbank.backends._postgres_schema import migrate as migrate_schema
from esbank.backends._postgres_watch import Watch
from esbank.backends.postgres import PostgresEventStore, migrate
from esbank.errors import EsbankError, StorageError, StoreClosed
from esbank.store import ANY_VERSION, Metadata, NewEvent, Snapshot, StreamAppend, StreamId
from esbank.testing.conformance._given import in_threads
from esbank.verification import verify

ACCOUNT = StreamId("Account", "1")
NEWER = (*MIGRATIONS, ("CREATE TABLE {schema}.notes (note text)", "INSERT INTO {schema}.notes VALUES ('new')"))


@pytest.fixture
def programs() -> Path:
    return Path(__file__).parent / "postgres_fault_programs.py"


def event(data: str = "{}") -> NewEvent:
    return NewEvent("Deposited", data)


def append(store: PostgresEventStore) -> None:
    store.append(ACCOUNT, [event()], expected_version=ANY_VERSION)


def execute(dsn: str, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


# Making a store


def test_a_store_is_made_once_by_however_many_processes(server_dsn: str, schema: str, start: Start) -> None:
    processes: list[Process] = [start("open_new", server_dsn, schema) for _ in range(8)]
    for process in processes:
        assert hear(process) == '"ready"\n'
    for process in processes:
        tell(process, "go")

    told = [json.loads(hear(process)) for process in processes]

    assert len({identity for identity, _ in told}) == 1
    assert [version for _, version in told] == [1] * 8
    with PostgresEventStore(server_dsn, schema=schema, create=False) as store:
        assert store.identity == told[0][0]
        assert [stored.position for stored in store.read_all()] == list(range(1, 9))


def test_migrate_makes_a_store_and_leaves_one_that_is_there(server_dsn: str, schema: str) -> None:
    migrate(server_dsn, schema=schema, digests=False)
    with PostgresEventStore(server_dsn, schema=schema, create=False) as store:
        identity = store.identity
        append(store)
        assert next(store.read_all()).digest is None

    migrate(server_dsn, schema=schema)
    with ConnectionPool(server_dsn, min_size=2, max_size=2, open=True) as pool:
        migrate(pool, schema=schema)
        with PostgresEventStore(pool, schema=schema) as store:
            assert store.identity == identity
            assert store.version(ACCOUNT) == 1


def test_every_schema_is_a_store_of_its_own(server_dsn: str, schema: str) -> None:
    with (
        PostgresEventStore(server_dsn, schema=schema) as one,
        PostgresEventStore(server_dsn, schema=f"{schema}_2") as other,
    ):
        append(one)

        assert one.identity != other.identity
        assert other.head() is None
        with one.claim("mine"), other.claim("mine"):
            pass


def test_a_store_that_is_not_there_is_not_made_unasked(server_dsn: str, schema: str) -> None:
    with pytest.raises(StorageError, match=f"no event store in schema '{schema}'; check the name"):
        PostgresEventStore(server_dsn, schema=schema, create=False)

    assert execute(server_dsn, f"SELECT FROM pg_namespace WHERE nspname = '{schema}'") == []


def test_a_store_that_newer_code_has_made_is_refused(server_dsn: str, schema: str) -> None:
    migrate(server_dsn, schema=schema)
    newer = len(MIGRATIONS) + 1
    execute(server_dsn, f'UPDATE "{schema}".esbank_store SET schema_version = {newer}')  # noqa: S608  # our own schema

    for create in (True, False):
        with pytest.raises(StorageError, match=f"schema version {newer}.* up to {len(MIGRATIONS)}; upgrade esbank"):
            PostgresEventStore(server_dsn, schema=schema, create=create)


def test_a_store_that_does_not_know_who_it_is_is_refused(server_dsn: str, schema: str) -> None:
    migrate(server_dsn, schema=schema)
    execute(server_dsn, f'DELETE FROM "{schema}".esbank_store')  # noqa: S608  # our own schema

    with pytest.raises(StorageError, match="lost its row; restore a backup"):
        PostgresEventStore(server_dsn, schema=schema)


def brought_up_to_date(dsn: str, schema: str, migrations: Sequence[Sequence[str]]) -> StoreRow:
    with psycopg.connect(dsn, autocommit=True) as raw:
        return migrate_schema(Connection(raw, "test", Watch(None)), schema, migrations)


def test_an_older_store_is_brought_up_to_date_once(server_dsn: str, schema: str) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        append(store)
        identity = store.identity

    told = in_threads([lambda: brought_up_to_date(server_dsn, schema, NEWER) for _ in range(8)])

    assert told == [StoreRow(identity, len(NEWER), has_digests=True)] * 8
    assert execute(server_dsn, f'TABLE "{schema}".notes') == [("new",)]
    with pytest.raises(StorageError, match="upgrade esbank"):
        PostgresEventStore(server_dsn, schema=schema)


def test_a_new_store_is_brought_up_to_date_once_by_whoever_comes_first(server_dsn: str, schema: str) -> None:
    told = in_threads([lambda: brought_up_to_date(server_dsn, schema, NEWER) for _ in range(8)])

    assert len({row.identity for row in told if isinstance(row, StoreRow)}) == 1
    assert execute(server_dsn, f'TABLE "{schema}".notes') == [("new",)]


def test_a_step_that_fails_leaves_the_store_as_it_was(server_dsn: str, schema: str) -> None:
    migrate(server_dsn, schema=schema)
    broken = (*MIGRATIONS, ("CREATE TABLE {schema}.notes (note text)", "SELECT 1 / 0"))

    with pytest.raises(StorageError, match="division by zero"):
        brought_up_to_date(server_dsn, schema, broken)

    assert execute(server_dsn, f"SELECT to_regclass('\"{schema}\".notes')") == [(None,)]
    with PostgresEventStore(server_dsn, schema=schema) as store:
        append(store)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_any_text_is_refused(server_dsn: str, schema: str, encoding: str) -> None:
    execute(
        server_dsn,
        f"CREATE DATABASE {schema} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    dsn = psycopg.conninfo.make_conninfo(server_dsn, dbname=schema)

    with pytest.raises(StorageError, match=f"encoding {encoding}; make one with CREATE DATABASE … ENCODING 'UTF8'"):
        PostgresEventStore(dsn)

    assert execute(dsn, "SELECT FROM pg_namespace WHERE nspname = 'esbank'") == []
    execute(server_dsn, f"DROP DATABASE {schema} WITH (FORCE)")


NAMES = [
    "UPPER", "a b", " ", "a.b", 'quo"te', "it's", "50%", "%s", "$1", "a$$b", "$body$", "{schema}", "{", "back\\slash",
    "ü😀", "--", "/*", "a;b", ":name", "select", "x" * 63, "é" * 31,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_names_a_schema(dsn: str, name: str) -> None:
    with PostgresEventStore(dsn, schema=name, notify=True) as store:
        (first, *_) = store.append(ACCOUNT, [event()], expected_version=0).events
        store.append(ACCOUNT, [event(), event()], expected_version=1)
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        store.save_snapshot(Snapshot(ACCOUNT, 1, first.event_id, store.identity, "schema", "{}"))

        assert len(list(store.read_all())) == 3
        assert store.query("SELECT number FROM numbers") == [(1,)]
        assert store.load_snapshot(ACCOUNT) is not None
        assert store.wait(after=2, timeout=1)
        with store.claim("mine"):
            pass
        with store.transaction() as tx:
            tx.append(ACCOUNT, [event()], expected_version=3)
        with PostgresEventStore(dsn, schema=f"{name[:20]}2") as copy:
            copy.import_events(store.read_appends())
            assert list(copy.read_all()) == list(store.read_all())

    assert (name,) in execute(dsn, "SELECT nspname FROM pg_namespace")


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, "pg_mine", "a\0b"])
def test_a_name_that_postgresql_does_not_take_is_refused(server_dsn: str, name: str) -> None:
    with pytest.raises(ValueError, match="at most 63 bytes and does not begin with pg_"):
        PostgresEventStore(server_dsn, schema=name)


def test_whoever_looks_into_the_database_finds_everything_explained(dsn: str) -> None:
    migrate(dsn)
    unexplained = execute(
        dsn,
        """
        SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class AS c
            LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind = 'r'
                AND c.relname IN ('esbank_events', 'esbank_store') AND a.attname NOT IN ('id', 'created_at')
        WHERE c.relnamespace = 'esbank'::regnamespace AND c.relkind IN ('r', 'v')
            AND col_description(c.oid, coalesce(a.attnum, 0)) IS NULL AND a.attnum IS NOT NULL
        UNION ALL
        SELECT relname FROM pg_class WHERE relnamespace = 'esbank'::regnamespace AND relkind IN ('r', 'v')
            AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT proname FROM pg_proc WHERE pronamespace = 'esbank'::regnamespace
            AND obj_description(oid, 'pg_proc') IS NULL
        """,
    )

    assert unexplained == []


# Rights


@pytest.fixture
def role(dsn: str, schema: str) -> Iterator[str]:
    """Make a role that may do nothing but connect."""
    execute(dsn, f"CREATE ROLE {schema} LOGIN")
    yield schema
    execute(dsn, f"DROP OWNED BY {schema}", f"DROP ROLE {schema}")


def grant(dsn: str, *rights: str) -> None:
    execute(dsn, *(f"GRANT {right}" for right in rights))


def as_role(dsn: str, role: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, user=role)


READING = ("USAGE ON SCHEMA esbank TO {role}", "SELECT ON ALL TABLES IN SCHEMA esbank TO {role}")
APPENDING = ("EXECUTE ON FUNCTION esbank.esbank_append, esbank.esbank_append_one TO {role}",)
SNAPSHOTS = ("INSERT, UPDATE ON esbank.esbank_snapshots TO {role}",)
VIEWS = ("CREATE ON SCHEMA esbank TO {role}",)


def rights(role: str, *lists: Sequence[str]) -> list[str]:
    return [right.format(role=role) for some in lists for right in some]


def test_a_role_that_may_not_make_a_store_is_told_so(dsn: str, role: str) -> None:
    with pytest.raises(StorageError, match=r"permission denied for database .*; give the role this right"):
        PostgresEventStore(as_role(dsn, role))


def test_a_role_that_may_not_look_into_the_schema_is_told_so(dsn: str, role: str) -> None:
    migrate(dsn)

    with pytest.raises(StorageError, match="permission denied for schema esbank; give the role this right"):
        PostgresEventStore(as_role(dsn, role))


def test_a_role_with_the_rights_to_read_reads_and_nothing_else(dsn: str, role: str) -> None:
    with PostgresEventStore(dsn) as store:
        (stored,) = store.append(ACCOUNT, [event()], expected_version=0).events
    grant(dsn, *rights(role, READING))

    with PostgresEventStore(as_role(dsn, role), create=False) as store:
        assert list(store.read_all()) == [stored]
        assert store.query("SELECT count(*) FROM esbank_event_log") == [(1,)]
        verify(store)
        with pytest.raises(StorageError, match="permission denied for function esbank_append_one; give the role"):
            append(store)
        with pytest.raises(StorageError, match="permission denied for function esbank_append; give the role"):
            store.append(ACCOUNT, [event(), event()], expected_version=1)
        with pytest.raises(StorageError, match="permission denied"):
            store.save_snapshot(Snapshot(ACCOUNT, 1, stored.event_id, store.identity, "schema", "{}"))
        with pytest.raises(StorageError, match="permission denied"), store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers (number integer)")
        assert list(store.read_all()) == [stored]


def test_a_role_with_the_rights_to_append_appends_and_changes_nothing(dsn: str, role: str) -> None:
    migrate(dsn)
    grant(dsn, *rights(role, READING, APPENDING, SNAPSHOTS))
    theirs = as_role(dsn, role)

    with PostgresEventStore(theirs, notify=True) as store:
        (stored,) = store.append(ACCOUNT, [event()], expected_version=0).events
        store.append_many([StreamAppend(StreamId("Account", key), [event(), event()], 0) for key in ("2", "3")])
        with store.transaction() as tx:
            tx.append(ACCOUNT, [event()], expected_version=1)
        for state in ("{}", "[]"):
            snapshot = Snapshot(ACCOUNT, 1, stored.event_id, store.identity, "schema", state)
            store.save_snapshot(snapshot)
            assert store.load_snapshot(ACCOUNT) == snapshot
        with store.claim("mine"):
            pass
        assert store.head() == 6
        before = list(store.read_all())
        copy = "SELECT 99, category, key, 99, gen_random_uuid(), type, 1, data, metadata, 1, 99, NULL, NULL"
        for sql in (
            f"INSERT INTO esbank.esbank_events {copy} FROM esbank.esbank_events WHERE position = 1",
            "UPDATE esbank.esbank_events SET data = '[]'",
            "DELETE FROM esbank.esbank_events",
            "TRUNCATE esbank.esbank_events",
            "UPDATE esbank.esbank_event_log SET type = 'x'",
            "UPDATE esbank.esbank_store SET identity = 'x'",
            "ALTER TABLE esbank.esbank_events DISABLE TRIGGER ALL",
            "DROP TABLE esbank.esbank_events",
            "DROP FUNCTION esbank.esbank_refuse CASCADE",
            "CREATE TABLE esbank.numbers (number integer)",
            "SET session_replication_role = replica",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                execute(theirs, sql)
        assert list(store.read_all()) == before


def test_a_role_that_may_make_tables_in_the_schema_keeps_views(dsn: str, role: str) -> None:
    migrate(dsn)
    grant(dsn, *rights(role, READING, APPENDING, SNAPSHOTS, VIEWS))

    with PostgresEventStore(as_role(dsn, role)) as store:
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 1 AS number")
        with store.transaction() as tx:
            tx.execute("INSERT INTO numbers VALUES (2)")
            tx.append(ACCOUNT, [event()], expected_version=0)

        assert store.query("SELECT count(*) FROM numbers") == [(2,)]
        assert store.version(ACCOUNT) == 1


def test_a_role_may_not_make_an_append_do_its_own_work(dsn: str, role: str) -> None:
    """The functions run with the rights of whoever made them, so nothing of the caller's may slip into them."""
    migrate(dsn)
    grant(dsn, *rights(role, READING, APPENDING, VIEWS))
    theirs = psycopg.conninfo.make_conninfo(as_role(dsn, role), options="-c search_path=mine,esbank,pg_catalog")
    grant(dsn, f"CREATE ON DATABASE {psycopg.conninfo.conninfo_to_dict(dsn)['dbname']} TO {role}")
    execute(
        theirs,
        "CREATE SCHEMA mine",
        "CREATE TABLE mine.esbank_events (LIKE esbank.esbank_events)",
        "CREATE FUNCTION mine.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        "CREATE FUNCTION mine.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
    )

    with PostgresEventStore(theirs) as store:
        append(store)
        store.append(ACCOUNT, [event(), event()], expected_version=1)
        verify(store)
        assert all(stored.recorded_at.year > 2000 for stored in store.read_all())
    assert execute(dsn, "SELECT count(*) FROM mine.esbank_events") == [(0,)]


# Events are never changed

COPY = "SELECT position, category, key, version, event_id, type, schema_version, data, metadata, recorded_at, append"
CHANGES = {
    "update": "UPDATE esbank_events SET data = '[]'",
    "update of none": "UPDATE esbank_events SET data = '[]' WHERE false",
    "update of a digest": "UPDATE esbank_events SET digest = NULL",
    "update through the view": "UPDATE esbank_event_log SET type = 'x'",
    "delete through the view": "DELETE FROM esbank_event_log",
    "delete": "DELETE FROM esbank_events WHERE version = 2",
    "delete in a query": "WITH gone AS (DELETE FROM esbank_events RETURNING 1) SELECT count(*) FROM gone",
    "truncate": "TRUNCATE esbank_events",
    "truncate more": "TRUNCATE esbank_snapshots, esbank_events CASCADE",
    "upsert": f"INSERT INTO esbank_events {COPY} FROM esbank_events"  # constants
    " ON CONFLICT (position) DO UPDATE SET data = '[]'",
    "merge": "MERGE INTO esbank_events AS e USING (VALUES (1)) AS v (position) ON e.position = v.position"
    " WHEN MATCHED THEN UPDATE SET data = '[]'",
    "merge and delete": "MERGE INTO esbank_events AS e USING (VALUES (1)) AS v (position) ON e.position = v.position"
    " WHEN MATCHED THEN DELETE",
}


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("replication", ["origin", "replica"])
def test_an_event_is_never_changed_nor_deleted_by_anybody(
    server_dsn: str, schema: str, sql: str, replication: str
) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        store.append(ACCOUNT, [event(), event()], expected_version=0)
        before = list(store.read_all())

        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            execute(server_dsn, f"SET search_path = {schema}", f"SET session_replication_role = {replication}", sql)

        assert list(store.read_all()) == before


def test_a_view_cannot_change_the_log_either(server_dsn: str, schema: str) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        append(store)

        with pytest.raises(StorageError, match="append-only"), store.view_transaction() as tx:
            tx.execute("DELETE FROM esbank_events")

        assert store.version(ACCOUNT) == 1


# Text


TEXTS = [
    " {} ", '{ "a" :\t1 ,\r\n "a": 2 }', "1e999", "-0.0", "123456789012345678901234567890.5e-7", '"\\u0000"',
    '{"\\u0000": "a\\u0000b"}', '"\\/\\b\\u00FC"', '"\U0001f600"', '"\x7f\u2028"', "[" * 200 + "]" * 200, "null",
    f'"{"ü" * 100_000}"',
]  # fmt: skip


def test_json_text_is_kept_to_the_letter(server_dsn: str, schema: str) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        for text in TEXTS:
            store.append(ACCOUNT, [event(text)], expected_version=ANY_VERSION)
        store.append(ACCOUNT, [event(text) for text in TEXTS], expected_version=ANY_VERSION)

        assert [stored.data for stored in store.read(ACCOUNT)] == TEXTS * 2
        verify(store)


@pytest.mark.parametrize("text", ["a\0b", "\0", "c" * 100_000, "ü😀", "'\"\\", ""], ids=repr)
def test_metadata_may_say_anything(server_dsn: str, schema: str, text: str) -> None:
    metadata = Metadata(correlation_id=text, actor=text, extra={text: [text, 1e300]})
    events = [NewEvent("Deposited", "{}", metadata=metadata) for _ in range(3)]
    with PostgresEventStore(server_dsn, schema=schema) as store:
        store.append(ACCOUNT, events[:1], expected_version=0)
        result = store.append(ACCOUNT, events[1:], expected_version=1)

        assert [stored.metadata for stored in store.read_all()] == [metadata] * 3
        assert [stored.version for stored in store.read_correlated(text)] == [1, 2, 3]
        assert list(store.read_correlated(f"{text}x")) == []
        assert store.append(ACCOUNT, events[1:], expected_version=1) == result
        verify(store)


# Closing, and forks


def test_a_store_that_is_dropped_without_close_warns_and_gives_its_connections_back(
    server_dsn: str, schema: str
) -> None:
    dsn = psycopg.conninfo.make_conninfo(server_dsn, application_name=schema)
    store = PostgresEventStore(dsn, schema=schema)
    append(store)

    stores = [store]
    del store

    with pytest.warns(ResourceWarning, match=r"PostgresEventStore\(.*was dropped without close\(\)"):
        stores.clear()
    gc.collect()


def test_a_store_that_could_not_be_opened_leaves_no_connection(server_dsn: str, schema: str) -> None:
    dsn = psycopg.conninfo.make_conninfo(server_dsn, application_name=schema)
    with pytest.raises(StorageError):
        PostgresEventStore(dsn, schema=schema, create=False)

    with closing(psycopg.connect(server_dsn, autocommit=True)) as connection:
        for _ in range(200):
            row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (schema,))
            if row.fetchone() == (0,):
                return
    raise AssertionError("a connection is left")


def test_a_closed_store_says_so(server_dsn: str, schema: str) -> None:
    store = PostgresEventStore(server_dsn, schema=schema)
    store.close()
    store.close()

    with pytest.raises(StoreClosed):
        append(store)
    with pytest.raises(EsbankError), store.claim("mine"):
        pass


@pytest.mark.parametrize("how", ["exits", "returns", "leaves"])
def test_parent_and_child_both_go_on_with_the_store(server_dsn: str, schema: str, run: Run, how: str) -> None:
    told = run("fork_and_append_in_both", server_dsn, schema, how)

    assert told == {"status": 0, "versions": list(range(1, 62)), "log": 61}


def test_children_that_do_nothing_leave_the_parent_its_sessions(server_dsn: str, schema: str, run: Run) -> None:
    dsn = psycopg.conninfo.make_conninfo(server_dsn, application_name=schema)

    told = run("fork_and_do_nothing", dsn, schema)

    assert told == {"statuses": [0, 0, 0], "kept": True, "versions": list(range(1, 32)), "log": 31}


def test_a_name_that_a_parent_holds_is_not_its_childs(server_dsn: str, schema: str, run: Run) -> None:
    assert run("fork_and_hold", server_dsn, schema) == [7, 3]


def test_a_transaction_in_which_the_process_forks_is_the_parents(server_dsn: str, schema: str, run: Run) -> None:
    told = run("fork_inside_transaction", server_dsn, schema)

    assert told == {"statuses": [7, 7, 7], "rows": [[6]], "versions": [1, 2, 3, 4, 5], "log": 5}


def test_children_forked_while_threads_append_do_not_hang(server_dsn: str, schema: str, run: Run) -> None:
    told = run("fork_while_threads_append", server_dsn, schema)

    assert told["statuses"] == [0] * 15
    assert told["versions"] == list(range(1, 16))
    assert told["log"] == told["appended"]


def test_a_pool_of_the_parent_is_not_used_in_a_child(server_dsn: str, schema: str, run: Run) -> None:
    told = run("fork_with_a_pool_of_ones_own", server_dsn, schema)

    assert told["status"] == 0
    assert told["said"].startswith("StorageError: ")
    assert "open another store in the child" in told["said"]
    assert told["versions"] == [1, 2]
