"""``python -m esbank torture``: a verdict on a store, as a person reads it."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Run

from esbank.backends.sqlite import SQLiteEventStore


def test_a_sound_store_gets_a_verdict_and_keeps_what_was_appended(start: Run, folder: Path) -> None:
    result = start("torture", "new.db", "--seconds", 1, "--processes", 1)

    assert (result.code, result.errors) == (0, "")
    assert "appends acknowledged" in result.output
    assert "kept    every acknowledged append is in the log" in result.output
    assert "BROKEN" not in result.output
    with SQLiteEventStore(folder / "new.db", create=False) as store:
        assert store.head()


def test_a_server_of_its_own_is_killed_too(start: Run) -> None:
    result = start("torture", "embedded-postgres", "--seconds", 3, "--processes", 1)

    assert (result.code, result.errors) == (0, "")
    assert "kept    every follower saw exactly the log" in result.output


def test_records_are_kept_where_they_are_wanted(start: Run, folder: Path) -> None:
    assert start("torture", "new.db", "--seconds", 1, "--processes", 1, "--records", "records").code == 0

    journal = (folder / "records" / "writer-0.log").read_text()
    assert json.loads(journal.splitlines()[0])["type"] == "looked"


def test_a_store_with_events_is_left_alone(run: Run, store: Path) -> None:
    before = store.read_bytes()

    result = run("torture", store)

    assert result.code == 2
    assert "name a new store" in result.errors
    assert store.read_bytes() == before
