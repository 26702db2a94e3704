"""Views in PostgreSQL: what people have built on their tables outlives a rebuild, and its ways are not in theirs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import psycopg
import pytest

from esbank import CheckpointError, EventEnvelope, ProjectionError, ProjectionRunner, Projector, projects
from esbank.backends.postgres import PostgresEventStore
from esbank.errors import StorageError
from esbank.store import Transaction
from tests.basket import Added
from tests.doubles import schema_of
from tests.journal import Journal, Totals, add, indexes, journal, names, nothing, numbered, totals

SQL = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def schema(tmp_path: Path) -> str:
    return schema_of(tmp_path)


@pytest.fixture
def store(server_dsn: str, schema: str) -> Iterator[PostgresEventStore]:
    with PostgresEventStore(server_dsn, schema=schema) as opened:
        yield opened


@pytest.fixture
def person(server_dsn: str, schema: str) -> Iterator[SQL]:
    """Connect as somebody who knows nothing of esbank."""
    with psycopg.connect(server_dsn, autocommit=True, options=f"-c search_path={schema},public") as connection:
        yield connection


class LoudJournal(Journal):
    """The second version, with the same tables."""

    name = "Journal"
    version: ClassVar[int] = 2

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO {journal} (position, sku) VALUES (:position, :sku)",
            {"position": envelope.position, "sku": envelope.event.sku.upper()},
        )
        self.on_added(envelope.event.sku)


class WideJournal(LoudJournal):
    """The third, with another table."""

    name = "Journal"
    version: ClassVar[int] = 3
    tables: ClassVar[Mapping[str, str]] = {
        "journal": "(position BIGINT PRIMARY KEY, sku TEXT NOT NULL UNIQUE, length INTEGER NOT NULL DEFAULT 3)"
    }


def run(store: PostgresEventStore, *projectors: Projector) -> ProjectionRunner:
    runner = ProjectionRunner(store, projectors)
    runner.catch_up()
    return runner


def rebuild(store: PostgresEventStore, *projectors: Projector, resume: bool = False) -> None:
    ProjectionRunner(store, projectors).rebuild(resume=resume)


# What people have built.


def test_rows_of_people_never_go_with_those_of_a_view(store: PostgresEventStore, person: SQL) -> None:
    add(store, "pen")
    run(store, Journal())
    person.execute("ALTER TABLE journal ADD UNIQUE (position)")
    person.execute("CREATE TABLE notes (position BIGINT REFERENCES journal (position) ON DELETE CASCADE)")
    person.execute("INSERT INTO notes SELECT position FROM journal")

    seen: list[str] = []
    with pytest.raises(CheckpointError, match=r"notes.*drop these keys"):
        rebuild(store, Journal(seen.append))

    assert seen == []
    assert person.execute("SELECT count(*) FROM notes").fetchall() == [(1,)]
    person.execute("DROP TABLE notes")
    rebuild(store, Journal())


def test_rows_of_people_that_come_while_a_view_is_rebuilt_never_go_with_its_own(
    store: PostgresEventStore, person: SQL
) -> None:
    add(store, "pen")
    run(store, Journal())
    person.execute("ALTER TABLE journal ADD UNIQUE (position)")

    def build(_: str) -> None:
        person.execute("CREATE TABLE notes (position BIGINT REFERENCES journal (position) ON DELETE CASCADE)")
        person.execute("INSERT INTO notes SELECT position FROM journal")

    with pytest.raises(CheckpointError, match=r"notes.*drop these keys"):
        rebuild(store, Journal(build))

    assert person.execute("SELECT count(*) FROM notes").fetchall() == [(1,)]


def test_a_rebuild_keeps_what_people_have_built_on_a_table(store: PostgresEventStore, person: SQL) -> None:
    add(store, "pen")
    run(store, Journal())
    role = f"reader_{uuid4().hex}"
    person.execute(f"CREATE ROLE {role}")
    try:
        person.execute(f"GRANT SELECT ON journal TO {role}")
        person.execute("CREATE VIEW skus AS SELECT sku FROM journal")
        person.execute("CREATE VIEW skus_of_skus AS SELECT * FROM skus")
        person.execute("CREATE MATERIALIZED VIEW kept AS SELECT * FROM journal")
        person.execute("CREATE INDEX by_place ON journal (position)")

        rebuild(store, LoudJournal())
        add(store, "ink")
        run(store, LoudJournal())

        assert person.execute("SELECT * FROM skus_of_skus ORDER BY 1").fetchall() == [("INK",), ("PEN",)]
        assert person.execute("SELECT * FROM kept").fetchall() == [(1, "pen")]
        assert indexes(store, "journal") == {"journal_by_sku", "by_place"}
        assert person.execute("SELECT has_table_privilege(%s, 'journal', 'SELECT')", (role,)).fetchone() == (True,)
    finally:
        person.execute(f"DROP OWNED BY {role}")
        person.execute(f"DROP ROLE {role}")


def test_a_transaction_that_began_before_a_rebuild_keeps_the_old_view(store: PostgresEventStore, person: SQL) -> None:
    add(store, *numbered(range(100)))
    run(store, Journal())
    person.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    person.execute("SELECT 1")

    rebuild(store, LoudJournal())  # which waits for no reader either

    assert person.execute("SELECT sku FROM journal ORDER BY position").fetchall() == [
        (s,) for s in numbered(range(100))
    ]
    person.execute("COMMIT")
    assert person.execute("SELECT sku FROM journal WHERE position = 1").fetchall() == [("SKU 0",)]


@pytest.mark.parametrize("projector", [LoudJournal, WideJournal])
def test_readers_see_the_old_view_or_the_new_one_and_nothing_between(
    store: PostgresEventStore, projector: type[LoudJournal]
) -> None:
    add(store, *numbered(range(500)))
    run(store, Journal())
    done = threading.Event()

    def read() -> set[tuple[int, str]]:
        seen = set[tuple[int, str]]()
        while not done.is_set():
            seen |= {(n, least) for n, least in store.query("SELECT count(*), lower(min(sku)) FROM journal")}
        return seen

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        try:
            for _ in range(3):
                rebuild(store, projector())
                rebuild(store, Journal() if projector is LoudJournal else NarrowAgain())
        finally:
            done.set()
        for reader in readers:
            assert reader.result() == {(500, "sku 0")}


class NarrowAgain(Journal):
    name = "Journal"
    version: ClassVar[int] = 4


def test_views_of_people_on_a_table_that_is_declared_otherwise_now_are_named_before_anything_is_done(
    store: PostgresEventStore, person: SQL
) -> None:
    seen: list[str] = []
    add(store, "pen")
    run(store, Journal())
    person.execute("CREATE VIEW skus AS SELECT sku FROM journal")

    with pytest.raises(CheckpointError, match=r"these views read from them: \S*skus; drop these"):
        rebuild(store, WideJournal(seen.append))

    assert seen == []
    assert person.execute("SELECT * FROM skus").fetchall() == [("pen",)]
    person.execute("DROP VIEW skus")
    rebuild(store, WideJournal())
    assert store.query("SELECT * FROM journal") == [(1, "PEN", 3)]


def test_a_rebuild_that_a_new_view_of_people_holds_up_goes_on_once_that_is_gone(
    store: PostgresEventStore, person: SQL
) -> None:
    seen: list[str] = []
    add(store, "pen")
    run(store, Journal())

    def build(sku: str) -> None:
        seen.append(sku)
        person.execute("CREATE OR REPLACE VIEW skus AS SELECT sku FROM journal")

    with pytest.raises(CheckpointError, match=r"skus; drop these, rebuild with resume=True"):
        rebuild(store, WideJournal(build))
    assert journal(store) == ["pen"]
    run(store, Journal())
    person.execute("DROP VIEW skus")

    rebuild(store, WideJournal(build), resume=True)

    assert seen == ["pen"]
    assert store.query("SELECT * FROM journal") == [(1, "PEN", 3)]


# New tables.


def test_tables_that_are_declared_otherwise_get_the_names_that_they_would_have_had(store: PostgresEventStore) -> None:
    add(store, "pen")
    run(store, Journal())

    for projector in (WideJournal(), NarrowAgain()):
        rebuild(store, projector)
        assert names(store) == {"journal", *indexes(store, "journal")} - {"journal_pkey", "journal_sku_key"}
    rebuild(store, WiderStill())

    assert indexes(store, "journal") == {"journal_pkey", "journal_sku_key", "journal_by_sku"}


class WiderStill(WideJournal):
    name = "Journal"
    version: ClassVar[int] = 5


@pytest.mark.parametrize(
    "spoil", ["DROP TABLE journal", "ALTER TABLE journal ADD note TEXT", "DROP INDEX journal_by_sku"]
)
def test_a_rebuild_mends_a_table_that_was_changed_by_hand(store: PostgresEventStore, person: SQL, spoil: str) -> None:
    add(store, "pen")
    run(store, Journal())
    person.execute(spoil)

    rebuild(store, Journal())

    assert store.query("SELECT * FROM journal") == [(1, "pen")]
    assert indexes(store, "journal") == {"journal_by_sku"}


def test_a_table_of_the_same_name_in_another_schema_is_nobodys_business(store: PostgresEventStore, person: SQL) -> None:
    add(store, "pen")
    run(store, Journal())
    person.execute("CREATE TABLE public.journal (position INTEGER NOT NULL, sku TEXT NOT NULL)")
    try:
        person.execute("INSERT INTO public.journal VALUES (7, 'mine')")
        person.execute("DROP TABLE journal")

        rebuild(store, Journal())
        rebuild(store, WideJournal())

        assert person.execute("SELECT * FROM public.journal").fetchall() == [(7, "mine")]
        assert journal(store) == ["PEN"]
    finally:
        person.execute("DROP TABLE public.journal")


class Numbered(Projector):
    """Has columns that PostgreSQL fills, and a table that refers to another."""

    tables: ClassVar[Mapping[str, str]] = {
        "Things": "(number INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sku TEXT UNIQUE,"
        " length INTEGER GENERATED ALWAYS AS (length(sku)) STORED)",
        "Marks": "(number SERIAL PRIMARY KEY, sku TEXT REFERENCES {Things} (sku))",
    }
    indexes: ClassVar[Mapping[str, str]] = {"Things_by_Length": "{Things} (length)"}

    def __init__(self, on_added: Callable[[str], object] = nothing) -> None:
        self.on_added = on_added

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        tx.execute("INSERT INTO {Things} (sku) VALUES (:sku)", {"sku": envelope.event.sku})
        self.on_added(envelope.event.sku)


class NumberedMore(Numbered):
    name = "Numbered"
    tables: ClassVar[Mapping[str, str]] = {**Numbered.tables, "More": "(number SERIAL PRIMARY KEY)"}


def test_numbers_that_a_table_gives_go_on_after_a_rebuild(store: PostgresEventStore, person: SQL) -> None:
    add(store, "pen", "quill")
    run(store, Numbered())

    for number, projector in enumerate((Numbered(), Numbered(), NumberedMore(), NumberedMore())):
        person.execute("INSERT INTO Marks (sku) VALUES ('pen')")
        rebuild(store, projector)
        add(store, f"sku {number}")
        run(store, projector)

    found = person.execute("SELECT number, sku, length FROM Things ORDER BY number").fetchall()
    assert [sku for _, sku, _ in found] == ["pen", "quill", *numbered(range(4))]
    assert [length for _, _, length in found] == [3, 5, 5, 5, 5, 5]
    assert person.execute("SELECT * FROM Marks").fetchall() == []
    assert names(store) == {"things", "marks", "more", "things_by_length"}


class NumberedTwice(Numbered):
    """Has rows, and numbers, that its last version did not have."""

    name = "Numbered"
    version = 2

    @projects(Added)
    def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
        for sku in (envelope.event.sku, f"another {envelope.event.sku}"):
            tx.execute("INSERT INTO {Things} (sku) VALUES (:sku)", {"sku": sku})


def test_numbers_go_on_after_those_that_only_the_rebuild_has_given(store: PostgresEventStore) -> None:
    add(store, "pen", "quill")
    run(store, Numbered())

    rebuild(store, NumberedTwice())
    add(store, "ink")
    run(store, NumberedTwice())

    assert store.query("SELECT number FROM Things ORDER BY number") == [(number,) for number in range(1, 7)]


def test_a_rebuild_that_fails_leaves_the_numbers_as_they_were(store: PostgresEventStore) -> None:
    add(store, "pen", "quill")
    run(store, Numbered())

    def fail(sku: str) -> None:
        if sku == "quill":
            raise LookupError

    with pytest.raises(ProjectionError):
        rebuild(store, Numbered(fail))
    add(store, "ink")
    run(store, Numbered())

    assert store.query("SELECT number FROM Things ORDER BY number") == [(1,), (2,), (3,)]


def test_a_reader_who_asks_again_and_again_does_not_notice_that_a_table_has_another_shape(
    store: PostgresEventStore, server_dsn: str, schema: str
) -> None:
    add(store, "pen")
    run(store, Journal())
    with PostgresEventStore(server_dsn, schema=schema, pool_size=2) as reader:
        for _ in range(20):
            assert reader.query("SELECT * FROM journal") == [(1, "pen")]

        rebuild(store, WideJournal())

        for _ in range(3):
            assert reader.query("SELECT * FROM journal") == [(1, "PEN", 3)]


def test_a_runner_goes_on_after_another_has_rebuilt_its_view_with_other_tables(store: PostgresEventStore) -> None:
    """What the server has prepared for the old tables must not be in the way of the new ones."""
    for number in range(20):
        add(store, f"sku {number}")
        run(store, LoudJournal())
    rebuild(store, WideJournal())
    add(store, "pen")

    run(store, WideJournal())

    assert store.query("SELECT count(*), max(position) FROM journal") == [(21, 21)]


# What a method may do.


def test_a_statement_that_failed_and_was_caught_stops_the_projector_at_its_event(store: PostgresEventStore) -> None:
    class Careless(Journal):
        @projects(Added)
        def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
            super()._added(envelope, tx)
            if envelope.event.sku == "ink":
                with contextlib.suppress(StorageError):
                    tx.execute("SELECT 1 / 0")

    add(store, "pen", "ink", "cup")

    with pytest.raises(ProjectionError) as failed:
        run(store, Careless())

    assert failed.value.position == 2
    assert "division by zero" in str(failed.value.__cause__)
    assert journal(store) == ["pen"]


def test_an_inline_projector_that_catches_a_failed_statement_undoes_the_append(server_dsn: str, schema: str) -> None:
    class Careless(Journal):
        @projects(Added)
        def _added(self, envelope: EventEnvelope[Added], tx: Transaction) -> None:
            super()._added(envelope, tx)
            with contextlib.suppress(StorageError):
                tx.execute("SELECT 1 / 0")

    with PostgresEventStore(server_dsn, schema=schema, inline=[Careless()]) as store:
        with pytest.raises(ProjectionError) as failed:
            add(store, "pen")

        assert "division by zero" in str(failed.value.__cause__)
        assert (store.head(), journal(store)) == (None, [])


# Rights.


def test_a_role_that_may_make_no_tables_keeps_views_that_are_there(
    store: PostgresEventStore, person: SQL, server_dsn: str, schema: str
) -> None:
    add(store, "pen")
    run(store, Journal(), Totals())
    role = f"clerk_{uuid4().hex}"
    person.execute(f"CREATE ROLE {role} LOGIN")
    try:
        person.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        person.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
        add(store, "ink")
        as_clerk = psycopg.conninfo.make_conninfo(server_dsn, user=role)
        with PostgresEventStore(as_clerk, schema=schema, create=False) as clerk:
            runner = run(clerk, Journal(), Totals())
            assert [status.behind for status in runner.status()] == [0, 0]

        assert journal(store) == ["pen", "ink"]
        assert totals(store) == {"pen": 1, "ink": 1}
    finally:
        person.execute(f"DROP OWNED BY {role}")
        person.execute(f"DROP ROLE {role}")
