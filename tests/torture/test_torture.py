"""A torture: sound stores come through it, and broken ones do not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import NO_STREAM, NewEvent, StreamId
from esbank.testing.torture import Check, torture
from tests.torture import broken_stores


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def test_sqlite_comes_through_it(path: Path) -> None:
    verdict = torture(partial(SQLiteEventStore, path), seconds=20, processes=3)

    assert verdict.ok, verdict
    assert verdict.checks == tuple(Check)
    assert min(verdict.acknowledged, verdict.conflicts, verdict.repeats, verdict.kills, verdict.stops) > 0
    assert verdict.followed > verdict.events
    assert verdict.records is None


def test_postgresql_comes_through_it(server_dsn: str, schema: str) -> None:
    opener = partial(PostgresEventStore, server_dsn, schema=schema)

    verdict = torture(opener, seconds=4, processes=2)

    assert verdict.ok, verdict
    assert verdict.checks == tuple(Check)


@pytest.mark.parametrize(
    ("store", "broken"),
    [
        (broken_stores.AcknowledgesBeforeItStores, Check.KEPT),
        (broken_stores.ChecksBeforeItLocks, Check.EXPECTED),
        (broken_stores.AnswersFromACache, Check.JUSTIFIED),
        (broken_stores.SkipsNowAndThen, Check.FOLLOWED),
        (broken_stores.LeaksErrors, Check.PROCESSES),
        (broken_stores.RefusesWhatExists, Check.JUSTIFIED),
        (broken_stores.FailsNowAndThen, Check.PROCESSES),
        (broken_stores.SkipsInStreams, Check.READ),
    ],
)
def test_a_broken_store_does_not(store: type[SQLiteEventStore], broken: Check, path: Path, tmp_path: Path) -> None:
    verdict = torture(partial(store, path), seconds=2, processes=2, records=tmp_path / "records")

    assert not verdict.ok
    (finding,) = [finding for finding in verdict.findings if finding.check is broken]
    assert f"BROKEN  {broken.value}" in str(verdict)
    assert finding.evidence in str(verdict)
    assert str(tmp_path / "records") in str(verdict)


def test_a_store_with_events_is_left_alone(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        store.append(StreamId("Account", "1"), [NewEvent("Opened", "{}")], expected_version=NO_STREAM)

        with pytest.raises(ValueError, match="name a new store"):
            torture(partial(SQLiteEventStore, path))

        assert store.head() == 1


def test_a_store_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="another store each time"):
        torture(MemoryEventStore)


@pytest.mark.parametrize(("seconds", "processes"), [(0, 1), (-1, 1), (1, 0)])
def test_a_torture_takes_a_while_and_somebody(path: Path, seconds: float, processes: int) -> None:
    with pytest.raises(ValueError, match="at least one process"):
        torture(partial(SQLiteEventStore, path), seconds=seconds, processes=processes)


def test_records_of_another_torture_are_left_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / "writer-0.log").write_text("")

    with pytest.raises(ValueError, match="name a new folder"):
        torture(partial(SQLiteEventStore, path), records=tmp_path)
