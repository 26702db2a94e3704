"""A stream whose name somebody has spoilt is said to be damaged, with what to do."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import StorageError
from esbank.store import NO_STREAM, NewEvent, StreamId


@pytest.mark.parametrize("spoil", ["category = ''", "category = 'a-b'", "category = x'61'", "key = x'61'", "key = ''"])
def test_the_events_of_a_stream_with_a_spoilt_name_are_not_read(path: Path, spoil: str) -> None:
    with SQLiteEventStore(path) as store:
        store.append(StreamId("Door", "front"), [NewEvent("Built", "{}")], expected_version=NO_STREAM)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(f"UPDATE esbank_streams SET {spoil}")  # noqa: S608 - of the test

    with (
        SQLiteEventStore(path) as store,
        pytest.raises(StorageError, match="the name of a stream is damaged"),
    ):
        list(store.read_all())
