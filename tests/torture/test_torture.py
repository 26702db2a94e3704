"""A torture: sound stores come through it, and broken ones do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, EventStore, NewEvent, StreamId
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
    ],
)
def test_a_broken_store_does_not(store: type[SQLiteEventStore], broken: Check, path: Path, tmp_path: Path) -> None:
    verdict = torture(partial(store, path), seconds=3, processes=2, records=tmp_path / "records")

    assert not verdict.ok
    (finding,) = [finding for finding in verdict.findings if finding.check is broken]
    assert f"BROKEN  {broken.value}" in str(verdict)
    assert finding.evidence in str(verdict)
    assert str(tmp_path / "records") in str(verdict)
