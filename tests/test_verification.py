"""Whether what is stored is what was written: whatever is changed in the file is found, and named."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from doubles import KINDS, SERVER, Clock, PlainStore, Store, WatchedStore, open_store, schema_of
from hypothesis import given, settings
from hypothesis import strategies as st

import esbank
from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank
from esbank.errors import NoDigests, StorageError
from esbank.store import ANY_VERSION, Metadata, NewEvent, StreamAppend, StreamId
from esbank.verification import BrokenEvent, Head, Verification, verify

ONE, TWO, THREE = (StreamId("Account", key) for key in "123")
STREAMS = (ONE, TWO, THREE)
WHO = Metadata("c-1", None, "o'Hara", datetime(1969, 7, 20, 20, 17, tzinfo=UTC), {"b": 1, "a": [1.5, "é"]})


def fill(store: Store) -> None:
    """Append to three streams in turns, so that event `version` of stream `n` has the position 3 * version - 3 + n."""
    for version in range(1, 6):
        for stream in STREAMS:
            data = json.dumps({"amount": f"{version}.00", "by": "Zoë 😀"}, ensure_ascii=False, separators=(",", ":"))
            event = NewEvent("Deposited", data, metadata=WHO if version % 2 else Metadata())
            store.append(stream, [event], expected_version=version - 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a file with fifteen events in three streams."""
    path = tmp_path / "events.db"
    with SQLiteEventStore(path, durability="normal") as store:
        fill(store)
    return path


def tamper(path: Path, *statements: str | tuple[str, tuple[object, ...]]) -> None:
    """Change a file as somebody would who may write to it and knows how: the triggers are gone while he does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            sql, parameters = (statement, ()) if isinstance(statement, str) else statement
            changed = connection.execute(sql, parameters).rowcount
            assert changed > 0, f"nothing was changed by {sql}"
        for _, trigger in triggers:
            connection.execute(trigger)


def verified(path: Path, head: Head | None = None) -> Verification:
    with SQLiteEventStore(path) as store:
        return verify(store, head=head)


def head_of(path: Path) -> Head:
    head = verified(path).head
    assert head is not None
    return head


def broken(path: Path) -> list[tuple[StreamId, int, int]]:
    """Name the events that are found to be broken, by stream, version and position."""
    found = verified(path)
    assert found.ok == (not found.broken)
    return [(event.stream, event.version, event.position) for event in found.broken]


def change(column: str, expression: str, *, version: int = 3, stream: int = 2) -> str:
    return f"UPDATE esbank_events SET {column} = {expression} WHERE stream = {stream} AND version = {version}"  # noqa: S608


class TestWhatWasWritten:
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_fine(self, tmp_path: Path, kind: str) -> None:
        with open_store(kind, tmp_path) as store:
            fill(store)
            found = verify(store)

        assert found.ok
        assert (found.events, found.streams, found.broken, found.head_problem) == (15, 3, (), None)
        assert found.head is not None
        assert found.head.position == 15

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_fine_in_an_empty_store(self, tmp_path: Path, kind: str) -> None:
        with open_store(kind, tmp_path) as store:
            assert verify(store) == Verification(events=0, streams=0, head=None, broken=(), head_problem=None)

    def test_is_fine_in_any_store(self) -> None:
        with MemoryEventStore() as store:
            fill(store)

            assert verify(PlainStore(store)).ok

    def test_is_fine_when_commands_of_a_bank_wrote_it(self, tmp_path: Path) -> None:
        with SQLiteEventStore(tmp_path / "bank.db") as store:
            bank = Bank(store)
            with esbank.context(actor="teller-7", correlation_id="visit-1", extra={"branch": "Ålesund"}):
                for account in ("acc-001", "acc-002"):
                    bank.open_account(account, "Zoë", initial_balance=100)
                bank.withdraw("acc-001", 30)
            bank.deposit("acc-001", 5, metadata=Metadata(occurred_at=datetime(1950, 1, 1, tzinfo=UTC)))

            found = verify(store)
            assert (found.ok, found.events) == (True, len(list(store.read_all())))

    def test_is_fine_across_pages(self, tmp_path: Path) -> None:
        with SQLiteEventStore(tmp_path / "events.db") as store:
            appends = [StreamAppend(stream, [NewEvent("A", "{}") for _ in range(900)], 0) for stream in STREAMS]
            store.append_many(appends)

            found = verify(store)

        assert (found.ok, found.events, found.streams) == (True, 2_700, 3)

    def test_is_fine_when_it_was_copied_to_other_positions(self, tmp_path: Path) -> None:
        clock = Clock()
        events = [NewEvent("A", "{}", metadata=WHO) for _ in range(3)]
        with open_store("memory", tmp_path, clock=clock) as one, open_store("sqlite", tmp_path, clock=clock) as other:
            for event in events:
                one.append(ONE, [event], expected_version=ANY_VERSION)
            other.append(TWO, [NewEvent("A", "{}")], expected_version=0)
            other.append(ONE, events, expected_version=0)

            assert [event.digest for event in one.read(ONE)] == [event.digest for event in other.read(ONE)]
            assert [event.position for event in one.read(ONE)] != [event.position for event in other.read(ONE)]
            assert verify(one).ok
            assert verify(other).ok

    @pytest.mark.parametrize("kind", KINDS)
    def test_cannot_be_known_without_digests(self, tmp_path: Path, kind: str) -> None:
        make: dict[str, Callable[[], Store]] = {
            "memory": lambda: MemoryEventStore(digests=False),
            "sqlite": lambda: SQLiteEventStore(tmp_path / "events.db", digests=False),
            "postgresql": lambda: PostgresEventStore(os.environ[SERVER], schema=schema_of(tmp_path), digests=False),
        }
        with make[kind]() as store:
            assert verify(store).ok  # there is nothing that could be wrong
            fill(store)

            with pytest.raises(NoDigests, match="keeps no digests"):
                verify(store)

    def test_is_verified_up_to_where_the_log_ended_at_the_start(self, tmp_path: Path) -> None:
        with open_store("sqlite", tmp_path) as store:
            fill(store)
            watched = WatchedStore(store)
            watched.after("head", lambda: fill_more(store))

            found = verify(watched)

            assert (found.ok, found.events) == (True, 15)
            assert found.head is not None
            assert found.head.position == 15
            assert verify(store, head=found.head).ok

    @pytest.mark.parametrize("kind", KINDS)
    def test_may_be_verified_while_others_append(self, tmp_path: Path, kind: str) -> None:
        with open_store(kind, tmp_path) as store:
            store.append(ONE, [NewEvent("A", "{}") for _ in range(2_500)], expected_version=0)

            found = verify(store, progress=lambda _position, _last: fill_more(store))

            assert (found.ok, found.events) == (True, 2_500)
            assert verify(store, head=found.head).ok

    def test_is_counted_as_it_goes(self, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        with open_store("sqlite", tmp_path) as store:
            store.append(ONE, [NewEvent("A", "{}") for _ in range(2_500)], expected_version=0)
            verify(store, progress=lambda position, last: calls.append((position, last)))

        assert calls == [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)]

    def test_is_not_counted_when_there_is_nothing(self) -> None:
        with MemoryEventStore() as store:
            verify(store, progress=lambda *_: pytest.fail("nothing was reached"))


def fill_more(store: Store) -> None:
    for stream in STREAMS:
        store.append(stream, [NewEvent("Late", "{}")], expected_version=ANY_VERSION)


COVERED = {
    "data": change("data", "replace(data, '3.00', '3000.00')"),
    "data, to equal JSON": change("data", "replace(data, ':', ': ')"),
    "data, by one letter": change("data", "replace(data, 'ë', 'e')"),
    "data, to no JSON": change("data", "'?'"),
    "data, to nothing": change("data", "''"),
    "data, to bytes": change("data", "CAST(data AS BLOB)"),
    "data, no UTF-8": change("data", "CAST(data || x'ff' AS TEXT)"),
    "data, a surrogate": change("data", "CAST(x'22eda08022' AS TEXT)"),
    "data, a NUL": change("data", "CAST(data || x'00' AS TEXT)"),
    "metadata": change("metadata", "replace(metadata, 'o''Hara', 'alice')"),
    "metadata, to equal JSON": change("metadata", "replace(metadata, ',', ', ')"),
    "metadata, when it occurred": change("metadata", "replace(metadata, '1969', '1970')"),
    "metadata, to nothing known": change("metadata", "'{}'"),
    "metadata, to no JSON": change("metadata", "'?'"),
    "metadata, to other JSON": change("metadata", "'[]'"),
    "metadata, to a field unknown": change("metadata", '\'{"author":"alice"}\''),
    "metadata, to bytes": change("metadata", "CAST(metadata AS BLOB)"),
    "metadata, no UTF-8": change("metadata", "CAST(replace(metadata, 'H', x'ff') AS TEXT)"),
    "type": change("type", "'Withdrawn'"),
    "type, no UTF-8": change("type", "CAST(x'44ff' AS TEXT)"),
    "type, to bytes": change("type", "CAST(type AS BLOB)"),
    "schema version": change("schema_version", "2"),
    "schema version, to text": change("schema_version", "'one'"),
    "schema version, to a fraction": change("schema_version", "1.5"),
    "event id": change("event_id", "randomblob(16)"),
    "event id, too short": change("event_id", "substr(event_id, 1, 15)"),
    "event id, too long": change("event_id", "CAST(event_id || x'00' AS BLOB)"),
    "event id, to nothing": change("event_id", "x''"),
    "event id, to text": change("event_id", "hex(event_id)"),
    "event id, to text of its length": change("event_id", "'0123456789abcdef'"),
    "recorded at": change("recorded_at", "recorded_at + 1"),
    "recorded at, 0": change("recorded_at", "0"),
    "recorded at, beyond all time": change("recorded_at", "9223372036854775807"),
    "recorded at, to text": change("recorded_at", "'soon'"),
    "version": change("version", "30"),
    "version, negative": change("version", "-3"),
    "version, to text": change("version", "'three'"),
    "digest": change("digest", "randomblob(32)"),
    "digest, by one byte": change(
        "digest", "CAST(substr(digest, 1, 31) || iif(substr(digest, 32) = x'00', x'01', x'00') AS BLOB)"
    ),
    "digest, too short": change("digest", "substr(digest, 1, 31)"),
    "digest, to none": change("digest", "NULL"),
    "digest, to nothing": change("digest", "x''"),
    "digest, to text": change("digest", "hex(digest)"),
    "digest, to a number": change("digest", "3"),
}


class TestAChangedEvent:
    @pytest.mark.parametrize("statement", COVERED.values(), ids=COVERED)
    def test_is_named_and_no_other_is(self, path: Path, statement: str) -> None:
        head = head_of(path)
        tamper(path, statement)

        found = verified(path, head)

        ((stream, position),) = [(event.stream, event.position) for event in found.broken]
        assert (stream, position) == (TWO, 8)
        assert not found.ok
        assert (found.events, found.streams) == (15, 3)

    @pytest.mark.parametrize("statement", COVERED.values(), ids=COVERED)
    def test_can_be_told_in_words_that_can_be_printed(self, path: Path, statement: str) -> None:
        tamper(path, statement)
        (event,) = verified(path).broken

        assert str(event).encode()
        assert str(event).startswith(f"{TWO} version {event.version} (")
        assert str(event).endswith(event.problem)
        assert "position 8" in str(event)
        assert len(event.problem) > 15

    @pytest.mark.parametrize(
        ("statement", "problem"),
        [
            (COVERED["data"], "its digest is not that of what is stored"),
            (COVERED["version"], "it follows version 2, so something is missing or was added"),
            (COVERED["digest, to none"], "it has no digest"),
            (COVERED["data, no UTF-8"], "it is damaged: "),
            (COVERED["metadata, to no JSON"], "it is damaged: "),
            (COVERED["event id, too short"], "it is damaged: "),
        ],
        ids=["data", "version", "no digest", "no UTF-8", "no JSON", "short id"],
    )
    def test_is_told_with_its_problem(self, path: Path, statement: str, problem: str) -> None:
        tamper(path, statement)

        (event,) = verified(path).broken

        assert event.problem.startswith(problem)
        assert event.type == "Deposited"

    def test_is_named_once_whatever_follows_it(self, path: Path) -> None:
        tamper(path, *(change("data", "'{}'", version=version) for version in (2, 3, 5)))

        assert broken(path) == [(TWO, 2, 5)]

    @pytest.mark.parametrize("version", [1, 5])
    def test_is_named_also_at_the_ends_of_its_stream(self, path: Path, version: int) -> None:
        tamper(path, change("data", "'{}'", version=version))

        assert broken(path) == [(TWO, version, 3 * version - 1)]

    def test_is_named_in_each_stream_in_the_order_of_the_log(self, path: Path) -> None:
        tamper(
            path,
            change("data", "'{}'", stream=3, version=2),
            change("type", "'A'", stream=1, version=4),
            change("digest", "NULL", stream=2, version=1),
        )

        assert broken(path) == [(TWO, 1, 2), (THREE, 2, 6), (ONE, 4, 10)]

    def test_is_named_though_what_follows_was_appended_since(self, path: Path) -> None:
        tamper(path, change("data", "'{}'"))
        with SQLiteEventStore(path) as store:
            fill_more(store)

        assert broken(path) == [(TWO, 3, 8)]

    def test_is_named_on_a_page_with_others(self, tmp_path: Path) -> None:
        path = tmp_path / "events.db"
        with SQLiteEventStore(path) as store:
            store.append(ONE, [NewEvent("A", "{}") for _ in range(2_500)], expected_version=0)
        tamper(path, "UPDATE esbank_events SET data = CAST(x'ff' AS TEXT) WHERE position = 1500")

        assert broken(path) == [(ONE, 1_500, 1_500)]

    def test_does_not_hide_that_a_store_keeps_no_digests_any_more(self, path: Path) -> None:
        head = head_of(path)
        tamper(path, "UPDATE esbank_events SET digest = NULL", "UPDATE esbank_store SET has_digests = 0")

        found = verified(path, head)

        assert [(event.stream, event.version) for event in found.broken] == [(ONE, 1), (TWO, 1), (THREE, 1)]
        assert {event.problem for event in found.broken} == {"it has no digest"}
        assert found.head_problem is not None

    def test_without_a_head_looks_like_a_store_without_digests_if_all_are_gone(self, path: Path) -> None:
        tamper(path, "UPDATE esbank_events SET digest = NULL")

        with pytest.raises(NoDigests):
            verified(path)

    def test_is_named_when_digests_end_with_it(self, path: Path) -> None:
        tamper(path, "UPDATE esbank_store SET has_digests = 0")
        with SQLiteEventStore(path) as store:
            store.append(TWO, [NewEvent("A", "{}")], expected_version=5)

        assert broken(path) == [(TWO, 6, 16)]

    def test_may_be_at_another_position_as_long_as_its_stream_is_in_order(self, path: Path) -> None:
        head = head_of(path)
        tamper(path, "UPDATE esbank_events SET position = 16 WHERE position = 13")

        assert broken(path) == []  # a copy of a store has other positions
        assert verified(path, head).head_problem is not None

    def test_is_named_when_its_position_breaks_the_order_of_its_stream(self, path: Path) -> None:
        tamper(path, "UPDATE esbank_events SET position = 99 WHERE position = 8")

        assert broken(path) == [(TWO, 4, 11)]

    def test_is_found_where_readers_of_the_log_do_not_look(self, path: Path) -> None:
        tamper(path, "UPDATE esbank_events SET position = -1 WHERE position = 14")

        assert broken(path) == [(TWO, 5, -1)]

    def test_that_was_forged_is_found_where_readers_of_the_log_do_not_look(self, path: Path) -> None:
        head = head_of(path)
        for position in (0, -1, -(2**63)):
            copy = path.with_name(f"copy{position}.db")
            copy.write_bytes(path.read_bytes())
            columns = f"{position}, 4, 1, randomblob(16), 'A', 1, '{{}}', '{{}}', recorded_at, {position}"
            tamper(
                copy,
                "INSERT INTO esbank_streams VALUES (4, 'Account', '4')",
                f"INSERT INTO esbank_events SELECT {columns}, NULL, randomblob(32) FROM esbank_events"  # noqa: S608
                " WHERE position = 1",
            )

            found = verified(copy, head)

            assert [(event.stream, event.version) for event in found.broken] == [(StreamId("Account", "4"), 1)]


class TestAnEventThatIsGone:
    @pytest.mark.parametrize("version", [1, 2, 4])
    def test_is_noticed_at_the_one_that_follows_it(self, path: Path, version: int) -> None:
        tamper(path, f"DELETE FROM esbank_events WHERE stream = 2 AND version = {version}")  # noqa: S608

        assert broken(path) == [(TWO, version + 1, 3 * version + 2)]

    def test_is_noticed_though_the_others_were_renumbered(self, path: Path) -> None:
        tamper(
            path,
            "DELETE FROM esbank_events WHERE stream = 2 AND version = 2",
            *(change("version", str(version - 1), version=version) for version in (3, 4, 5)),
        )

        assert broken(path) == [(TWO, 2, 8)]

    @pytest.mark.parametrize("versions", ["5", "4, 5", "1, 2, 3, 4, 5"])
    def test_is_noticed_at_the_end_of_a_stream_by_a_head_alone(self, path: Path, versions: str) -> None:
        head = head_of(path)
        tamper(path, f"DELETE FROM esbank_events WHERE stream = 2 AND version IN ({versions})")  # noqa: S608

        found = verified(path, head)

        assert verified(path).ok
        assert found.broken == ()
        assert found.head_problem == (
            "the log up to position 15 is not what it was then: events are missing, added, changed or moved"
        )

    def test_is_noticed_when_it_was_the_last(self, path: Path) -> None:
        head = head_of(path)
        tamper(path, "DELETE FROM esbank_events WHERE position = 15")
        assert verified(path).ok
        assert verified(path, head).head_problem == (
            "the log ends at position 14, before position 15: its end is missing"
        )

        with SQLiteEventStore(path) as store:
            store.append(ONE, [NewEvent("A", "{}")], expected_version=5)
        assert head_of(path).position == head.position
        assert verified(path, head).head_problem is not None

    def test_is_noticed_when_it_was_the_last_and_others_follow(self, path: Path) -> None:
        head = head_of(path)
        with SQLiteEventStore(path) as store:
            fill_more(store)
        tamper(path, "DELETE FROM esbank_events WHERE stream = 3 AND version >= 5")

        found = verified(path, head)

        assert (found.ok, found.broken) == (False, ())
        assert found.head_problem == "the event at position 15, the last one then, is missing"

    @pytest.mark.parametrize("with_its_events", [True, False], ids=["with its events", "row only"])
    def test_is_noticed_with_its_whole_stream(self, path: Path, with_its_events: bool) -> None:  # noqa: FBT001
        head = head_of(path)
        statements = ["DELETE FROM esbank_events WHERE stream = 2"] if with_its_events else []
        tamper(path, *statements, "DELETE FROM esbank_streams WHERE stream = 2")

        found = verified(path, head)

        assert (found.ok, found.streams) == (False, 2)
        assert found.head_problem is not None

    def test_is_noticed_when_the_whole_log_is_gone(self, path: Path) -> None:
        head = head_of(path)
        tamper(path, "DELETE FROM esbank_events")

        found = verified(path, head)

        assert (found.ok, found.events, found.head) == (False, 0, None)
        assert found.head_problem is not None
        assert verified(path).ok

    def test_is_noticed_in_a_backup_that_was_put_back(self, path: Path, tmp_path: Path) -> None:
        backup = tmp_path / "backup.db"
        with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(backup)) as target:
            live.backup(target)
        with SQLiteEventStore(path) as store:
            fill_more(store)
        head = head_of(path)

        assert verified(backup).ok
        assert verified(backup, head).head_problem == (
            "the log ends at position 15, before position 18: its end is missing"
        )


INSERT = (
    "INSERT INTO esbank_events (position, stream, version, event_id, type, schema_version, data, metadata,"
    " recorded_at, append, digest) SELECT {position}, stream, {version}, randomblob(16), type, schema_version,"
    " '{{}}', metadata, recorded_at, {position}, {digest} FROM esbank_events WHERE stream = 2 AND version = 3"
)


class TestAnEventThatWasAdded:
    @pytest.mark.parametrize("digest", ["digest", "randomblob(32)", "NULL"])
    def test_is_named_at_the_end(self, path: Path, digest: str) -> None:
        tamper(path, INSERT.format(position=16, version=6, digest=digest))

        assert broken(path) == [(TWO, 6, 16)]

    def test_is_named_in_the_middle(self, path: Path) -> None:
        tamper(
            path,
            "UPDATE esbank_events SET position = -position",
            "UPDATE esbank_events SET position = -10 * position",
            change("version", "6", version=5),
            change("version", "5", version=4),
            INSERT.format(position=85, version=4, digest="digest"),
        )

        assert broken(path) == [(TWO, 4, 85)]

    def test_is_named_when_it_has_a_version_that_is_taken_elsewhere(self, path: Path) -> None:
        tamper(path, INSERT.format(position=16, version=9, digest="digest"))

        assert broken(path) == [(TWO, 9, 16)]

    def test_by_the_store_itself_is_no_forgery(self, path: Path) -> None:
        head = head_of(path)
        with SQLiteEventStore(path) as store:
            fill_more(store)

        assert verified(path, head).ok


class TestAStreamUnderAnotherName:
    @pytest.mark.parametrize("assignment", ["key = '9'", "category = 'account'", "category = 'X', key = 'Y'"])
    def test_is_broken_from_its_first_event(self, path: Path, assignment: str) -> None:
        tamper(path, f"UPDATE esbank_streams SET {assignment} WHERE stream = 2")  # noqa: S608

        ((stream, version, position),) = broken(path)
        assert stream != TWO
        assert (version, position) == (1, 2)

    def test_is_noticed_when_two_streams_change_names(self, path: Path) -> None:
        tamper(
            path,
            "UPDATE esbank_streams SET key = 'x' WHERE stream = 1",
            "UPDATE esbank_streams SET key = '1' WHERE stream = 2",
            "UPDATE esbank_streams SET key = '2' WHERE stream = 1",
        )

        assert broken(path) == [(TWO, 1, 1), (ONE, 1, 2)]

    @pytest.mark.parametrize(
        "assignment",
        [
            "category = 'Account-2', key = 'x'",
            "category = ''",
            "key = ''",
            "key = CAST(x'00' AS TEXT)",
            "key = CAST(x'ff' AS TEXT)",
            "key = CAST(x'32' AS BLOB)",
        ],
    )
    def test_that_no_stream_can_have_is_said(self, path: Path, assignment: str) -> None:
        tamper(path, f"UPDATE esbank_streams SET {assignment} WHERE stream = 2")  # noqa: S608

        with pytest.raises(StorageError, match="damaged"):
            verified(path)

    def test_of_two_events_that_change_streams_both_are_named(self, path: Path) -> None:
        tamper(
            path,
            "UPDATE esbank_events SET version = 30 WHERE position = 7",
            "UPDATE esbank_events SET stream = 1 WHERE position = 8",
            "UPDATE esbank_events SET stream = 2, version = 3 WHERE position = 7",
        )

        assert broken(path) == [(TWO, 3, 7), (ONE, 3, 8)]

    def test_of_two_events_of_a_stream_that_change_places_the_first_is_named(self, path: Path) -> None:
        columns = ("event_id", "data", "metadata", "digest")
        with closing(sqlite3.connect(path)) as connection:
            sql = f"SELECT {', '.join(columns)} FROM esbank_events WHERE stream = 2 AND version IN (2, 4)"  # noqa: S608
            second, fourth = connection.execute(f"{sql} ORDER BY version").fetchall()
        assignments = ", ".join(f"{column} = ?" for column in columns)
        update = f"UPDATE esbank_events SET {assignments} WHERE stream = 2 AND version = ?"  # noqa: S608
        free_the_ids = "UPDATE esbank_events SET event_id = randomblob(16) WHERE stream = 2 AND version IN (2, 4)"
        tamper(path, free_the_ids, (update, (*fourth, 2)), (update, (*second, 4)))

        assert broken(path) == [(TWO, 2, 5)]


def forge(path: Path, stream: int, *, amount: str) -> None:
    """Change the third event of a stream, and compute every digest that follows, as its form is written down."""

    def field(content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + content

    def number(value: int) -> bytes:
        return field(struct.pack(">q", value))

    tamper(path, change("data", f'\'{{"amount":"{amount}"}}\'', stream=stream))
    with closing(sqlite3.connect(path)) as connection:
        sql = """
            SELECT version, event_id, data, type, schema_version, metadata, recorded_at FROM esbank_events
            WHERE stream = ? ORDER BY version"""
        rows = connection.execute(sql, (stream,)).fetchall()
    digest = bytes(32)
    updates: list[tuple[str, tuple[object, ...]]] = []
    for version, event_id, data, type_, schema_version, metadata, recorded_at in rows:
        given = json.loads(metadata).get("occurred_at")
        occurred_at = recorded_at if given is None else int(datetime.fromisoformat(given).timestamp()) * 1_000_000
        content = [
            *(field(b"esbank event 1"), field(digest), number(version), field(event_id), field(data.encode())),
            *(field(f"Account-{stream}".encode()), field(type_.encode()), number(schema_version)),
            *(field(metadata.encode()), number(recorded_at), number(occurred_at)),
        ]
        digest = hashlib.sha256(b"".join(content)).digest()
        sql = f"UPDATE esbank_events SET digest = ? WHERE stream = {stream} AND version = ?"  # noqa: S608
        updates.append((sql, (digest, version)))
    tamper(path, *updates)


class TestAHead:
    def test_is_the_digest_of_all_digests_in_the_order_of_the_log(self, path: Path) -> None:
        with SQLiteEventStore(path) as store:
            digests = [event.digest for event in store.read_all() if event.digest is not None]

        assert head_of(path) == Head(15, hashlib.sha256(b"".join(digests)).hexdigest())

    def test_is_written_as_text_that_reads_back(self, path: Path) -> None:
        head = head_of(path)

        assert str(head) == f"15:{head.digest}"
        assert Head.parse(str(head)) == head
        assert Head.parse(f"  {head}\n") == head

    @pytest.mark.parametrize(
        "text",
        [
            "", "15", ":", "15:", f":{'a' * 64}", f"15:{'a' * 63}", f"15:{'a' * 65}", f"15:{'A' * 64}",
            f"15:{'g' * 64}",
            f"-1:{'a' * 64}", f"1.0:{'a' * 64}", f"15 : {'a' * 64}", f"15:{'a' * 64} 16:{'a' * 64}",
            f"\u0661:{'a' * 64}",
            f"15:{'a' * 64}\n15:{'a' * 64}", f"{'9' * 5000}:{'a' * 64}",
        ],
    )  # fmt: skip
    def test_that_is_written_otherwise_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"is no head|integer string"):
            Head.parse(text)

    def test_verifies_for_ever(self, path: Path) -> None:
        heads: list[Head] = []
        with SQLiteEventStore(path) as store:
            for _ in range(5):
                heads.append(head_of(path))
                fill_more(store)

            assert [verify(store, head=head).ok for head in heads] == [True] * 5
            assert [head.position for head in heads] == [15, 18, 21, 24, 27]
            assert len({head.digest for head in heads}) == 5

    def test_of_another_store_does_not_verify(self, path: Path, tmp_path: Path) -> None:
        with SQLiteEventStore(tmp_path / "other.db") as other:
            fill(other)
            head = verify(other).head

        found = verified(path, head)

        assert (found.ok, found.broken) == (False, ())
        assert found.head_problem is not None

    def test_that_is_not_that_of_any_log_does_not_verify(self, path: Path) -> None:
        for position in (0, 1, 15, 10**30):
            assert not verified(path, Head(position, "0" * 64)).ok

    def test_does_not_verify_for_an_empty_store(self) -> None:
        with MemoryEventStore() as store:
            assert not verify(store, head=Head(1, "0" * 64)).ok
            assert not verify(store, head=Head(0, "0" * 64)).ok

    def test_notices_a_chain_that_was_forged_whole(self, path: Path) -> None:
        head = head_of(path)
        forge(path, 2, amount="9999.00")
        with SQLiteEventStore(path) as store:
            assert '"9999.00"' in next(store.read(TWO, after=2)).data

        assert verified(path).ok
        found = verified(path, head)
        assert found.broken == ()
        assert found.head_problem is not None
        assert "is not what it was then" in found.head_problem

    def test_notices_a_changed_event_as_well(self, path: Path) -> None:
        head = head_of(path)
        tamper(path, change("digest", "randomblob(32)"))

        found = verified(path, head)

        assert [event.version for event in found.broken] == [3]
        assert found.head_problem is not None

    def test_says_nothing_about_an_event_whose_digest_was_left(self, path: Path) -> None:
        head = head_of(path)
        tamper(path, change("data", "'{}'"))

        found = verified(path, head)

        assert found.head_problem is None
        assert not found.ok

    def test_notices_streams_that_change_places_in_the_log(self, path: Path) -> None:
        head = head_of(path)
        tamper(
            path,
            *(f"UPDATE esbank_events SET position = {to} WHERE position = {place}"  # noqa: S608
              for place, to in ((7, 99), (8, 7), (99, 8))),
        )  # fmt: skip

        assert verified(path).ok
        assert verified(path, head).head_problem is not None


class TestABrokenEvent:
    def test_is_told_in_one_line(self) -> None:
        event = BrokenEvent(ONE, 3, 7, "Deposited", "it has no digest")

        assert str(event) == "Account-1 version 3 (Deposited, position 7): it has no digest"


def write_random(store: SQLiteEventStore, plan: list[tuple[int, int, str, Metadata]]) -> None:
    for stream, count, data, metadata in plan:
        events = [NewEvent(f"T{number}", data, schema_version=number + 1, metadata=metadata) for number in range(count)]
        store.append(STREAMS[stream], events, expected_version=ANY_VERSION)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLANS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(1, 3),
        st.one_of(TEXTS, st.integers(), st.dictionaries(TEXTS, TEXTS, max_size=3)).map(json.dumps),
        st.builds(
            Metadata,
            correlation_id=st.none() | TEXTS,
            actor=st.none() | TEXTS,
            occurred_at=st.none() | st.datetimes(min_value=datetime(2, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
            extra=st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=2),
        ),
    ),
    min_size=1,
    max_size=8,
)


def other_value(column: str, value: object, draw: Callable[[st.SearchStrategy[Any]], Any]) -> object:
    """Choose a value of the kind that a column has, and not the one it has."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "data": TEXTS,
        "metadata": TEXTS | st.just("{}") | st.just('{"actor":"x"}'),
        "type": TEXTS,
        "schema_version": st.integers(-(2**63), 2**63 - 1),
        "event_id": st.binary(max_size=20),
        "recorded_at": st.integers(-(2**63), 2**63 - 1),
        "version": st.integers(-(2**63), 2**63 - 1),
        "digest": st.none() | st.binary(max_size=40),
    }
    return draw(kinds[column].filter(lambda other: other != value))


class TestWhateverWasWritten:
    @given(plan=PLANS)
    @settings(deadline=None, max_examples=25)
    def test_is_fine_as_long_as_nobody_touches_it(self, plan: list[tuple[int, int, str, Metadata]]) -> None:
        with TemporaryDirectory() as folder, SQLiteEventStore(Path(folder) / "a", durability="normal") as store:
            write_random(store, plan)

            found = verify(store)

            assert found.ok
            assert verify(store, head=found.head) == found

    @given(plan=PLANS, data=st.data())
    @settings(deadline=None, max_examples=60)
    def test_one_change_of_what_is_covered_is_found_and_named(
        self, plan: list[tuple[int, int, str, Metadata]], data: st.DataObject
    ) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "events.db"
            with SQLiteEventStore(path, durability="normal") as store:
                write_random(store, plan)
                log = list(store.read_all())
            event = data.draw(st.sampled_from(log), label="event")
            columns = ("data", "metadata", "type", "schema_version", "event_id", "recorded_at", "version", "digest")
            column = data.draw(st.sampled_from(columns), label="column")
            with closing(sqlite3.connect(path)) as connection:
                sql = f"SELECT {column} FROM esbank_events WHERE position = ?"  # noqa: S608
                ((value,),) = connection.execute(sql, (event.position,)).fetchall()
                ids = {
                    row[0]
                    for row in connection.execute(
                        "SELECT event_id FROM esbank_events WHERE stream ="
                        " (SELECT stream FROM esbank_events WHERE position = ?)",
                        (event.position,),
                    )
                }
            other = other_value(column, value, data.draw)
            taken = {one.version for one in log if one.stream == event.stream}
            if (column == "event_id" and other in ids) or (column == "version" and other in taken):
                return  # the unique keys refuse it
            update = f"UPDATE esbank_events SET {column} = ? WHERE position = ?"  # noqa: S608
            if len(log) == 1 and other is None:
                return  # then it is a store without digests
            tamper(path, (update, (other, event.position)))

            assert [position for _, _, position in broken(path)] == [event.position]
