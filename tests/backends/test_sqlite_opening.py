"""Opening a SQLite file: what is there stays, what is wrong is said together with what to do about it."""

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, closing
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve
from processes import Run, Start, hear, hear_all, tell

from esbank.backends._sqlite_connection import Connection
from esbank.backends._sqlite_schema import MIGRATIONS, migrate
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import DuplicateEvent, NoDigests, StorageError
from esbank.store import ANY_VERSION, Metadata, NewEvent, Rows, Snapshot, SqlValue, StreamId
from esbank.verification import verify

ACCOUNT = StreamId("Account", "1")
NEWER = (*MIGRATIONS, ("CREATE TABLE notes (note TEXT)", "INSERT INTO notes VALUES ('new')"))


def append(store: SQLiteEventStore) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION)


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_file_is_made_when_it_is_not_there(path: Path) -> None:
    with SQLiteEventStore(path):
        assert path.is_file()


def test_what_was_stored_is_there_when_the_file_is_opened_again(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        identity = store.identity
        append(store)
        snapshot = Snapshot(ACCOUNT, 1, next(store.read(ACCOUNT)).event_id, identity, "schema", "{}")
        store.save_snapshot(snapshot)
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers AS SELECT 1")
        events = list(store.read_all())

    with SQLiteEventStore(str(path)) as store:
        assert store.identity == identity
        assert list(store.read_all()) == events
        assert store.load_snapshot(ACCOUNT) == snapshot
        assert store.query("SELECT * FROM numbers") == [(1,)]


def test_every_file_has_an_identity_of_its_own(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "a") as one, SQLiteEventStore(tmp_path / "b") as other:
        assert one.identity != other.identity


def test_two_stores_in_one_process_share_a_file(path: Path) -> None:
    with SQLiteEventStore(path) as one:
        with SQLiteEventStore(path) as other:
            assert one.identity == other.identity
            append(one)
            append(other)
            append(one)
            assert list(one.read_all()) == list(other.read_all())
        append(one)

        assert [event.version for event in one.read(ACCOUNT)] == [1, 2, 3, 4]


def test_tables_of_the_application_may_be_in_the_file_already(path: Path) -> None:
    execute(path, "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)")

    with SQLiteEventStore(path) as store:
        append(store)

        assert store.query("SELECT x FROM mine") == [(1,)]


@pytest.mark.parametrize(
    "name", ["a b.db", "ü😀.db", "50%.db", "a?b#c.db", "file:x.db?mode=memory", "'q\".db", ":memory"]
)
def test_any_name_names_a_file(tmp_path: Path, name: str) -> None:
    with SQLiteEventStore(tmp_path / name) as store:
        append(store)
        assert store.version(ACCOUNT) == 1

    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_relative_path_goes_on_meaning_the_same_file(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with chdir(tmp_path):
        store = SQLiteEventStore("events.db")
    with store, chdir(elsewhere):
        append(store)

        assert store.version(ACCOUNT) == 1
        assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("no_path", ["", ":memory:"])
def test_a_path_that_names_no_file_is_refused(no_path: str) -> None:
    with pytest.raises(ValueError, match="MemoryEventStore"):
        SQLiteEventStore(no_path)


@pytest.mark.parametrize("durability", ["FULL", "off", "", None, 2])
def test_a_durability_misspelt_is_refused(path: Path, durability: Literal["full"]) -> None:
    with pytest.raises(ValueError, match='"full" or "normal"'):
        SQLiteEventStore(path, durability=durability)
    assert not path.exists()


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"make the folder .*/missing first") as raised:
        SQLiteEventStore(tmp_path / "missing" / "events.db")

    assert raised.value.store == str(tmp_path / "missing" / "events.db")
    assert isinstance(raised.value.__cause__, sqlite3.Error)


def test_a_folder_for_a_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="this is a folder; name a file in it"):
        SQLiteEventStore(tmp_path)


@pytest.mark.parametrize(
    "content", [b"dear diary, " * 1_000, b"%PDF-1.7\n" + bytes(200), bytes(range(1, 100))], ids=["text", "pdf", "bytes"]
)
def test_a_file_of_something_else_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StorageError, match="choose the path of a SQLite file"):
        SQLiteEventStore(path)

    assert path.read_bytes() == content


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Make a folder into which every user may look."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_that_may_not_be_written_is_said(open_to_all: Path, run: Run) -> None:
    path = open_to_all / "events.db"
    with SQLiteEventStore(path) as store:
        append(store)
    path.chmod(0o444)
    open_to_all.chmod(0o777)

    error, message = run("open_as_nobody", path)

    assert error == "StorageError"
    assert "give this user the right to write the file and its folder" in message


def test_a_folder_that_may_not_be_written_is_said(open_to_all: Path, run: Run) -> None:
    path = open_to_all / "events.db"
    open_to_all.chmod(0o555)

    error, message = run("open_as_nobody", path)

    assert error == "StorageError"
    assert "may read and write the file and its folder" in message


def test_a_file_beside_which_nothing_may_be_written_is_said(open_to_all: Path, run: Run) -> None:
    path = open_to_all / "events.db"
    with SQLiteEventStore(path) as store:
        append(store)
    path.chmod(0o666)
    open_to_all.chmod(0o555)

    error, message = run("open_as_nobody", path)

    assert error == "StorageError"
    assert "folder" in message


def test_a_file_of_newer_code_is_refused_and_left_alone(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        append(store)
    execute(path, "UPDATE esbank_store SET schema_version = 99")
    before = path.read_bytes()

    with pytest.raises(StorageError, match=r"schema version 99, .* knows up to 2; upgrade esbank"):
        SQLiteEventStore(path)

    assert path.read_bytes() == before


def test_an_older_file_is_migrated_and_keeps_what_it_has(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        append(store)
        identity = store.identity

    with closing(Connection(str(path), timeout=30)) as connection:
        assert migrate(connection, str(path), NEWER) == identity
        assert migrate(connection, str(path), NEWER) == identity
        assert connection.rows("SELECT schema_version FROM esbank_store") == [(3,)]
        assert connection.rows("SELECT note FROM notes") == [("new",)]
        assert connection.rows("SELECT version FROM esbank_events") == [(1,)]


def test_a_new_file_goes_through_all_migrations(path: Path) -> None:
    with closing(Connection(str(path), timeout=30)) as connection:
        identity = migrate(connection, str(path), NEWER)

        assert connection.rows("SELECT identity, schema_version FROM esbank_store") == [(identity, 3)]
        assert connection.rows("SELECT note FROM notes") == [("new",)]


class Overtaken(Connection):
    """A connection before whose transaction another process migrates the file."""

    def rows(self, sql: str, parameters: Sequence[SqlValue] | Mapping[str, SqlValue] = ()) -> Rows:
        if sql == "BEGIN IMMEDIATE":
            with closing(Connection(self._name, timeout=30)) as other:
                migrate(other, self._name, NEWER)
        return super().rows(sql, parameters)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "older"])
def test_a_file_that_another_process_migrates_first_is_migrated_once(path: Path, is_new: bool) -> None:  # noqa: FBT001
    if not is_new:
        with SQLiteEventStore(path) as store:
            append(store)

    with closing(Overtaken(str(path), timeout=30)) as connection:
        identity = migrate(connection, str(path), NEWER)

        assert connection.rows("SELECT identity, schema_version FROM esbank_store") == [(identity, 3)]
        assert connection.rows("SELECT note FROM notes") == [("new",)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        append(store)
        identity = store.identity
    broken = (*MIGRATIONS, ("CREATE TABLE notes (note TEXT)", "INSERT INTO nowhere VALUES (1)"))

    with closing(Connection(str(path), timeout=30)) as connection, pytest.raises(StorageError, match="nowhere"):
        migrate(connection, str(path), broken)

    with SQLiteEventStore(path) as store:
        append(store)
        assert store.identity == identity
        assert store.version(ACCOUNT) == 2
        with pytest.raises(StorageError, match="notes"):
            store.query("SELECT * FROM notes")


OLD_METADATA = [
    Metadata(),
    Metadata(correlation_id="c-1"),
    Metadata(actor="alice", extra={"correlation_id": "c-1"}),
    Metadata(correlation_id="c-2", causation_id="c-1", actor="o'Hara"),
    Metadata(correlation_id=""),
    Metadata(correlation_id='quote " back \\ slash / é e\u0301 😀 \n\t\x7f\u2028'),
    Metadata(correlation_id="null"),
    Metadata(correlation_id="1"),
    Metadata(correlation_id="c-1"),
]


def write_old_file(path: Path, metadata: Sequence[str]) -> list[NewEvent]:
    """Write a file as the first version of the schema had it: two streams that take turns, one event for each text."""
    events = [NewEvent("Deposited", f'{{"number":{number}}}') for number in range(len(metadata))]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO esbank_store (id, identity, schema_version) VALUES (1, 'old-store', 1)")
        connection.execute("INSERT INTO esbank_streams VALUES (1, 'Account', '1'), (2, 'Account', '2')")
        for number, (event, text) in enumerate(zip(events, metadata, strict=True)):
            connection.execute(
                "INSERT INTO esbank_events VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)",
                (
                    *(number + 1, number % 2 + 1, number // 2 + 1, event.event_id.bytes, event.type),
                    *(event.data, text, 1_700_000_000_000_000 + number, number + 1),
                ),
            )
    return events


def test_a_file_from_before_digests_keeps_its_events_and_gets_none(path: Path) -> None:
    events = write_old_file(path, [metadata.to_json() for metadata in OLD_METADATA])

    with SQLiteEventStore(path) as store:
        log = list(store.read_all())
        assert store.identity == "old-store"
        assert store.query("SELECT schema_version, has_digests FROM esbank_store") == [(2, 0)]
        assert [(event.event_id, event.data) for event in log] == [(event.event_id, event.data) for event in events]
        assert [event.metadata for event in log] == OLD_METADATA
        assert {event.digest for event in log} == {None}


def test_conversations_in_a_file_from_before_are_found(path: Path) -> None:
    write_old_file(path, [metadata.to_json() for metadata in OLD_METADATA])

    with SQLiteEventStore(path) as store:
        for correlation_id in {metadata.correlation_id for metadata in OLD_METADATA} - {None}:
            assert correlation_id is not None
            positions = [
                place for place, metadata in enumerate(OLD_METADATA, 1) if metadata.correlation_id == correlation_id
            ]
            assert [event.position for event in store.read_correlated(correlation_id)] == positions, correlation_id
        assert list(store.read_correlated("alice")) == []


def test_a_conversation_in_a_file_from_before_is_found_by_its_whole_name(path: Path) -> None:
    write_old_file(path, [Metadata(correlation_id=name).to_json() for name in ("a\0b", "a", "\0")])

    with SQLiteEventStore(path) as store:
        for position, name in enumerate(("a\0b", "a", "\0"), 1):
            assert [event.position for event in store.read_correlated(name)] == [position]


@pytest.mark.parametrize("damaged", ["", "{", "actor: alice", '{"extra":' + "[" * 3_000], ids=len)
def test_a_file_from_before_opens_though_metadata_in_it_are_damaged(path: Path, damaged: str) -> None:
    write_old_file(path, ['{"correlation_id":"c-1"}', damaged, '{"correlation_id":"c-1"}'])

    with SQLiteEventStore(path) as store:
        assert [event.position for event in store.read_correlated("c-1")] == [1, 3]
        assert [event.metadata_text for event in store.read_all()][1] == damaged


def test_a_file_from_before_goes_on_without_digests(path: Path) -> None:
    events = write_old_file(path, ["{}", "{}", '{"correlation_id":"c-1"}'])
    known = evolve(events[2], metadata=Metadata(correlation_id="c-1"))
    late = NewEvent("Deposited", "{}", metadata=Metadata(correlation_id="c-1"))

    with SQLiteEventStore(path) as store:
        assert store.append(ACCOUNT, [known], expected_version=0).position == 3  # a repeat
        with pytest.raises(DuplicateEvent):
            store.append(ACCOUNT, [known, late], expected_version=ANY_VERSION)
        (stored,) = store.append(ACCOUNT, [late], expected_version=2).events

        assert (stored.version, stored.position, stored.digest) == (3, 4, None)
        assert [event.position for event in store.read_correlated("c-1")] == [3, 4]
        with pytest.raises(NoDigests):
            verify(store)


def test_a_file_from_before_stays_append_only(path: Path) -> None:
    write_old_file(path, ["{}"] * 3)
    SQLiteEventStore(path).close()

    with closing(sqlite3.connect(path)) as connection:
        for statement in ("UPDATE esbank_events SET digest = x'00'", "DELETE FROM esbank_events WHERE position = 3"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_a_file_from_before_is_migrated_into_what_a_new_file_is(path: Path, tmp_path: Path) -> None:
    def tables(path: Path) -> list[object]:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()

    write_old_file(path, ["{}"])
    SQLiteEventStore(path).close()
    SQLiteEventStore(tmp_path / "new.db").close()

    assert tables(path) == tables(tmp_path / "new.db")


def test_a_migration_of_a_file_from_before_that_fails_leaves_it_as_it_was(path: Path) -> None:
    write_old_file(path, ['{"correlation_id":"c-1"}'])
    broken = (*MIGRATIONS, ("INSERT INTO nowhere VALUES (1)",))
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())

    with closing(Connection(str(path), timeout=30)) as connection, pytest.raises(StorageError, match="nowhere"):
        migrate(connection, str(path), broken)

    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before
    with SQLiteEventStore(path) as store:
        assert [event.position for event in store.read_correlated("c-1")] == [1]


def test_processes_that_open_a_file_from_before_at_once_migrate_it_once(path: Path, start: Start) -> None:
    write_old_file(path, ['{"correlation_id":"c-1"}'] * 50)
    processes = [start("open_new", path) for _ in range(4)]

    assert [hear(process) for process in processes] == ['"ready"\n'] * 4
    for process in processes:
        tell(process, "begin")
    said = ["".join(hear_all(process)) for process in processes]

    assert said == ['["old-store", 1]\n'] * 4
    with SQLiteEventStore(path) as store:
        assert len(list(store.read_correlated("c-1"))) == 50
        assert len(list(store.read_all())) == 54


def test_a_file_keeps_digests_unless_it_was_made_without(path: Path) -> None:
    with SQLiteEventStore(path):
        pass

    with SQLiteEventStore(path, digests=False) as store:
        append(store)
        assert verify(store).ok
        assert [event.digest is None for event in store.read_all()] == [False]


def test_a_file_made_without_digests_stays_without(path: Path) -> None:
    with SQLiteEventStore(path, digests=False) as store:
        append(store)

    with SQLiteEventStore(path) as store:
        append(store)
        assert [event.digest for event in store.read(ACCOUNT)] == [None, None]
        with pytest.raises(NoDigests):
            verify(store)


def test_the_chain_goes_on_when_a_file_is_opened_again(path: Path) -> None:
    for _ in range(3):
        with SQLiteEventStore(path) as one, SQLiteEventStore(path) as other:
            append(one)
            append(other)
            append(one)

    with SQLiteEventStore(path) as store:
        assert (verify(store).ok, verify(store).events) == (True, 9)


def test_a_file_without_its_identity_is_refused(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        append(store)
    execute(path, "DELETE FROM esbank_store")

    with pytest.raises(StorageError):
        SQLiteEventStore(path)
