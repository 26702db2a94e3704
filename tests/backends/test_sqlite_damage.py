"""When a file is cut, blotted or changed by a single bit: it is said, or found, or does no harm."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import EsbankError, StorageError
from esbank.store import ANY_VERSION, Metadata, NewEvent, StoredEvent, StreamId
from esbank.verification import Head, verify

ACCOUNT = StreamId("Account", "1")


def append(store: SQLiteEventStore, count: int = 1) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}") for _ in range(count)], expected_version=ANY_VERSION)


# Pages


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


@pytest.mark.parametrize("gone", [1, 2, 700, 1000, 1001])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_stream_in_which_a_version_is_missing_is_no_stream(
    store: SQLiteEventStore, path: Path, gone: int, *, backwards: bool
) -> None:
    append(store, 1200)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DROP TRIGGER esbank_events_no_delete")
        database.execute("DELETE FROM esbank_events WHERE version = ?", (gone,))
    missing = pytest.raises(StorageError, match=r"Account-1 lacks versions .* restore a backup")

    if gone > 1 or not backwards:  # backwards, nobody knows where it should end
        with missing:
            list(store.read(ACCOUNT, backwards=backwards))
    assert [event.version for event in store.read(ACCOUNT, after=gone)] == list(range(gone + 1, 1201))
    assert not verify(store).ok


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


# Bits


Contents = tuple[object, ...]


def contents(event: StoredEvent) -> Contents:
    """Return all of an event that is sealed, as it is stored."""
    return (
        event.stream,
        event.version,
        event.event_id,
        event.type,
        event.schema_version,
        event.data,
        event.metadata_text,
        event.recorded_at,
        event.digest,
    )


class Log:
    """A file with events of many kinds, what is in it, and the places in it where the rows of events are."""

    def __init__(self, path: Path) -> None:
        known = Metadata(correlation_id="c", actor="ann", occurred_at=datetime(2020, 1, 1, tzinfo=UTC))
        with SQLiteEventStore(path, durability="normal") as store:
            for number in range(40):
                metadata = known if number % 2 else Metadata()
                events = [
                    NewEvent("Noted", f'{{"number":{number},"text":"{"x" * 100}{part}"}}', metadata=metadata)
                    for part in range(3)
                ]
                store.append(StreamId("Account", str(number % 7)), events, expected_version=ANY_VERSION)
            self.events = [contents(event) for event in store.read_all()]
            self.streams = {
                stream: [contents(event) for event in store.read(stream)] for stream in store.streams("Account")
            }
            self.head = verify(store).head
            stored = list(store.read_all())
        self.path = path
        self._bytes = path.read_bytes()
        self.rows = sorted({place for event in stored for place in self._row(event)})

    def _row(self, event: StoredEvent) -> range:
        # Only rows hold data and digests. An id comes early in a row, after the lengths of all columns.
        data = self._bytes.index(event.data.encode())
        assert event.digest is not None
        return range(
            self._bytes.rindex(event.event_id.bytes, 0, data) - 20,
            self._bytes.index(event.digest, data) + len(event.digest),
        )

    def is_what_readers_see(self, store: SQLiteEventStore) -> bool:
        """Tell whether they see all that was stored, as it was."""
        return (
            [contents(event) for event in store.read_all()] == self.events
            and list(store.streams("Account")) == list(self.streams)
            and all(
                [contents(event) for event in store.read(stream)] == self.streams[stream] for stream in self.streams
            )
        )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("log") / "intact.db")


def flip(content: bytearray, place: int, bit: int) -> None:
    content[place] ^= 1 << bit


def is_found(store: SQLiteEventStore, head: Head | None) -> bool:
    """Tell whether verification finds damage, or cannot get through the log for it."""
    try:
        return not verify(store, head=head).ok
    except EsbankError:
        return True


def is_unharmed(log: Log, store: SQLiteEventStore) -> bool:
    try:
        return log.is_what_readers_see(store)
    except Exception:  # noqa: BLE001  # a value of another type fails only when it is looked at, in any way
        return False


FLIPS = pytest.mark.parametrize(("seed", "count"), [(1, 40), pytest.param(2, 1_000, marks=pytest.mark.soak)])


@FLIPS
def test_a_flipped_bit_in_the_row_of_an_event_is_found_by_verification(
    log: Log, path: Path, seed: int, count: int
) -> None:
    random = Random(seed)  # noqa: S311  # the same in each run
    found = 0
    for _ in range(count):
        place, bit = random.choice(log.rows), random.randrange(8)
        with SQLiteEventStore(damaged(log.path, path, partial(flip, place=place, bit=bit))) as store:
            if is_found(store, log.head):
                found += 1
            else:
                assert [contents(event) for event in store.read_all()] == log.events, (seed, place, bit)

    assert found > count * 0.9


@FLIPS
def test_a_flipped_bit_anywhere_is_said_or_found_or_does_no_harm(log: Log, path: Path, seed: int, count: int) -> None:
    random = Random(-seed)  # noqa: S311  # the same in each run
    harmed = 0
    for _ in range(count):
        place, bit = random.randrange(log.path.stat().st_size), random.randrange(8)
        damaged(log.path, path, partial(flip, place=place, bit=bit))
        try:
            with SQLiteEventStore(path) as store:
                if is_unharmed(log, store):
                    continue
                harmed += 1
                is_sound = store.query("PRAGMA integrity_check") == [("ok",)]
                assert is_found(store, log.head) or not is_sound, (seed, place, bit)
        except StorageError:
            harmed += 1

    assert count * 0.3 < harmed < count


# While it is open


@pytest.mark.parametrize("count", [12, pytest.param(150, marks=pytest.mark.soak)])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_that_is_cut_while_it_is_open_is_never_misread(tmp_path: Path, suffix: str, count: int) -> None:
    random = Random(count)  # noqa: S311  # the same in each run
    said = 0
    for number in range(count):
        path = tmp_path / f"{number}.db"
        with SQLiteEventStore(path, durability="normal") as store:
            for _ in range(20):
                append(store, 3)
            move_into_file(store)
            for _ in range(20):
                append(store, 3)
            events = list(store.read_all())
            file = path.with_name(path.name + suffix)
            size = random.randrange(file.stat().st_size)
            os.truncate(file, size)
            for _ in range(2):
                for reader in (partial(read_all, store), partial(read_anew, path)):
                    try:
                        found, is_whole = reader()
                    except StorageError:
                        said += 1
                    else:
                        assert found[: len(events)] == events or not is_whole, (count, number, size)
                with suppress(StorageError):
                    append(store)

    assert said > count


def move_into_file(store: SQLiteEventStore) -> None:
    """Move what is in the write-ahead log into the file, as SQLite does now and then."""
    store.query("PRAGMA wal_checkpoint")


def read_all(store: SQLiteEventStore) -> tuple[list[StoredEvent], bool]:
    return list(store.read_all()), verify(store).ok


def read_anew(path: Path) -> tuple[list[StoredEvent], bool]:
    with SQLiteEventStore(path, durability="normal") as store:
        return read_all(store)
