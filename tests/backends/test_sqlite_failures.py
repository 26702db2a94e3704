"""When the disk is full, the file is locked or damaged, or a commit fails: what was acknowledged stays."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from processes import Run, Start, hear, tell

from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import EsbankError, StorageError, UnknownOutcome
from esbank.store import ANY_VERSION, NewEvent, StoredEvent, StreamAppend, StreamId

ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")


def writer_of(store: SQLiteEventStore) -> Connection:
    writer = store._database._writer  # noqa: SLF001  # to make it fail
    assert writer is not None
    return writer


def append(store: SQLiteEventStore, count: int = 1) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}") for _ in range(count)], expected_version=ANY_VERSION)


# The disk


def test_a_full_disk_keeps_what_was_acknowledged_and_nothing_else(store: SQLiteEventStore) -> None:
    append(store)
    writer = writer_of(store)
    ((pages,),) = writer.rows("PRAGMA page_count")
    writer.rows(f"PRAGMA max_page_count={pages + 8}")
    acknowledged = list(store.read_all())

    def fill() -> list[StreamAppend]:
        while True:
            appends = [
                StreamAppend(stream, [NewEvent("Noted", f'"{"x" * 2_000}"') for _ in range(2)], ANY_VERSION)
                for stream in (ACCOUNT, OTHER)
            ]
            try:
                results = store.append_many(appends)
            except StorageError as error:
                assert "free some space and try again" in str(error)  # noqa: PT017  # which append failed matters
                return appends
            acknowledged.extend(event for result in results for event in result.events)

    failed = fill()

    assert list(store.read_all()) == acknowledged
    with pytest.raises(StorageError, match="nothing of this write was stored"):
        store.append_many(failed)
    assert list(store.read_all()) == acknowledged

    writer.rows(f"PRAGMA max_page_count={pages + 1_000}")
    results = store.append_many(failed)

    assert list(store.read_all()) == acknowledged + [event for result in results for event in result.events]
    assert store.query("PRAGMA integrity_check") == [("ok",)]


def test_a_disk_that_fails_while_committing_keeps_what_was_acknowledged(path: Path, run: Run) -> None:
    told = run("fill_the_disk", path)

    acknowledged = told["acknowledged"]
    kind, message = told["failure"]
    assert acknowledged > 0
    assert told["then"] == list(range(1, 3 * acknowledged + 2))
    assert told["now"] == list(range(1, 3 * acknowledged + 5))
    assert kind in {"StorageError", "UnknownOutcome"}
    assert "try again" in message or "repeat the same append" in message
    with SQLiteEventStore(path) as store:
        assert [event.version for event in store.read(ACCOUNT)] == told["now"]
        assert store.query("PRAGMA integrity_check") == [("ok",)]


def test_a_commit_that_fails_is_an_unknown_outcome_and_the_store_goes_on(store: SQLiteEventStore) -> None:
    with store.view_transaction() as tx:
        tx.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        tx.execute("CREATE TABLE children (parent REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
    writer_of(store).rows("PRAGMA foreign_keys=ON")

    with pytest.raises(UnknownOutcome, match="repeat the same append") as raised, store.view_transaction() as tx:
        tx.execute("INSERT INTO children VALUES (7)")

    assert isinstance(raised.value.__cause__, sqlite3.IntegrityError)
    assert store.query("SELECT * FROM children") == []
    append(store)
    assert store.version(ACCOUNT) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.append(ACCOUNT, [NewEvent("A", "{}", schema_version=2**63)], expected_version=ANY_VERSION),
        lambda store: store.query("SELECT :value", {"value": 2**64}),
        lambda store: store.query("SELECT :value", {"value": "\ud800"}),
        lambda store: store.query("SELECT :value", {"value": object()}),
        lambda store: store.query("SELECT '\ud800'"),
        lambda store: list(store.streams("\ud800")),
        lambda store: list(store.read_all(types=["\ud800"])),
        lambda store: list(store.read_all(categories=["\ud800"])),
    ],
    ids=["schema_version", "number", "surrogate", "object", "sql", "category", "types", "categories"],
)
def test_a_value_that_sqlite_cannot_hold_is_no_error_of_the_driver(
    store: SQLiteEventStore, call: Callable[[SQLiteEventStore], object]
) -> None:
    append(store)
    failure: Exception | None = None
    try:
        result = call(store)
    except (EsbankError, ValueError, TypeError) as error:
        failure = error
    else:
        assert result == []

    assert not isinstance(failure, (UnicodeError, sqlite3.Error))
    append(store)
    assert store.version(ACCOUNT) == 2


INDENTED = ["\n" + " " * 64, "\n" * 64 + "\t" * 64, "-- so\n" * 64, "/* so */ " * 64, "/* / " * 64 + "*/"]


@pytest.mark.parametrize("before", INDENTED, ids=["blanks", "lines", "remarks", "comments", "nested"])
def test_a_statement_may_come_after_any_blanks_and_comments(path: Path, run: Run, before: str) -> None:
    assert run("execute", path, f"{before}SELECT 1") == [[[1]], [[1]]]


# Locks


def test_a_lock_that_another_process_holds_for_too_long_is_said(path: Path, start: Start) -> None:
    with SQLiteEventStore(path, busy_timeout=0.1) as store:
        append(store)
        other = start("hold_write_lock", path)
        hear(other)

        with pytest.raises(StorageError, match=r"another process held the file for too long.*busy_timeout"):
            append(store)
        with pytest.raises(StorageError, match="busy_timeout"), store.view_transaction():
            pass
        assert [event.version for event in store.read_all()] == [1]
        assert store.version(ACCOUNT) == 1

        other.communicate("let go\n", timeout=60)
        append(store)
        assert store.version(ACCOUNT) == 2


def test_a_file_whose_write_lock_is_held_may_be_opened_and_read(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        append(store)
    other = start("hold_write_lock", path)
    hear(other)

    with SQLiteEventStore(path, busy_timeout=0.1) as store:
        assert store.version(ACCOUNT) == 1


def test_a_new_file_that_another_process_holds_is_said(path: Path, start: Start) -> None:
    other = start("hold_write_lock", path, "BEGIN EXCLUSIVE")
    hear(other)

    with pytest.raises(StorageError, match="busy_timeout"):
        SQLiteEventStore(path, busy_timeout=0.1)

    other.communicate("let go\n", timeout=60)
    with SQLiteEventStore(path) as store:
        append(store)


def test_who_waits_for_another_process_gets_through(path: Path, start: Start) -> None:
    with SQLiteEventStore(path, busy_timeout=60) as store:
        other = start("hold_write_lock", path)
        hear(other)
        tell(other, "let go")

        append(store)

        assert store.version(ACCOUNT) == 1


def test_who_opens_a_new_file_waits_for_another_process(path: Path, start: Start) -> None:
    other = start("hold_write_lock", path, "BEGIN EXCLUSIVE", 0.5)
    hear(other)

    with SQLiteEventStore(path, busy_timeout=60) as store:
        append(store)

        assert store.version(ACCOUNT) == 1


# Damage


@pytest.fixture
def intact(tmp_path: Path) -> tuple[Path, list[StoredEvent]]:
    """Fill a file of some pages; return what is in it as well."""
    path = tmp_path / "intact.db"
    with SQLiteEventStore(path, durability="normal") as store:
        for number in range(60):
            events = [NewEvent("Noted", f'"{"x" * 200}"') for _ in range(3)]
            store.append(StreamId("Account", str(number % 7)), events, expected_version=ANY_VERSION)
        return path, list(store.read_all())


def read_and_append(path: Path) -> list[StoredEvent]:
    with SQLiteEventStore(path, durability="normal") as store:
        events = list(store.read_all())
        streams = list(store.streams("Account"))
        for stream in streams:
            assert [event.version for event in store.read(stream)] == list(range(1, store.version(stream) + 1))
        append(store)
        return events


def damaged(path: Path, copy: Path, damage: Callable[[bytearray], object]) -> Path:
    content = bytearray(path.read_bytes())
    damage(content)
    copy.write_bytes(content)
    for suffix in ("-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    return copy


def cut(content: bytearray, size: int) -> None:
    del content[size:]


def blot(content: bytearray, start: int, with_: bytes) -> None:
    content[start : start + 4096] = with_ * 4096


def test_a_truncated_file_is_a_storage_error(intact: tuple[Path, list[StoredEvent]], path: Path) -> None:
    whole, _ = intact
    size = whole.stat().st_size
    for length in (50, 100, 4_000, 4_096, 4_196, 8_192, size // 2, size - 4_096):
        with pytest.raises(StorageError) as raised:
            read_and_append(damaged(whole, path, partial(cut, size=length)))

        assert isinstance(raised.value.__cause__, sqlite3.Error), length
        assert raised.value.store == str(path)


@pytest.mark.parametrize("with_", [b"\0", b"\xff", b"x"])
def test_a_damaged_page_is_a_storage_error_or_does_no_harm(
    intact: tuple[Path, list[StoredEvent]], path: Path, with_: bytes
) -> None:
    whole, events = intact
    refused = 0
    for start in range(0, whole.stat().st_size, 4_096):
        copy = damaged(whole, path, partial(blot, start=start, with_=with_))
        try:
            found = read_and_append(copy)
        except StorageError:
            refused += 1
        else:
            assert found == events, f"page at {start}"

    assert refused > 3


def test_damage_is_said_together_with_what_to_do(intact: tuple[Path, list[StoredEvent]], path: Path) -> None:
    whole, _ = intact

    with pytest.raises(StorageError, match=r"damaged; keep a copy of it, .* restore a backup"):
        read_and_append(damaged(whole, path, partial(cut, size=8_192)))


def test_a_torn_write_ahead_log_leaves_whole_appends(store: SQLiteEventStore, path: Path, tmp_path: Path) -> None:
    for _ in range(12):
        append(store, 3)
    events = list(store.read_all())
    log = path.with_name(path.name + "-wal")
    copy = tmp_path / "copy.db"
    kept: set[int] = set()

    for size in range(0, log.stat().st_size + 1, 2_500):
        shutil.copy(path, copy)
        copy.with_name("copy.db-wal").write_bytes(log.read_bytes()[:size])
        copy.with_name("copy.db-shm").unlink(missing_ok=True)
        with SQLiteEventStore(copy) as torn:
            found = list(torn.read_all())
            append(torn)
        assert found == events[: len(found)], size
        assert len(found) % 3 == 0
        kept.add(len(found))

    assert len(kept) > 5
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
