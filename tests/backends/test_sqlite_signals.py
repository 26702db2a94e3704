"""A process that somebody ends while its threads append: it comes to its end, and what was acknowledged stays."""

import os
import signal
import time
from pathlib import Path

import pytest
from processes import Start, hear

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import StreamId
from esbank.verification import verify


@pytest.fixture
def programs() -> Path:
    return Path(__file__).parent / "sqlite_fault_programs.py"


@pytest.mark.skipif(os.name == "nt", reason="this system has no such signals")
@pytest.mark.parametrize(
    ("number", "on_termination", "status"),
    [
        (signal.SIGINT, "dies", -signal.SIGINT),
        (signal.SIGTERM, "dies", -signal.SIGTERM),
        (signal.SIGTERM, "exits", 7),
    ],
    ids=["interrupted", "terminated", "told to exit"],
)
def test_what_was_acknowledged_stays_when_a_process_is_ended_by_a_signal(
    path: Path, tmp_path: Path, start: Start, number: signal.Signals, on_termination: str, status: int
) -> None:
    notes = tmp_path / "notes"
    process = start("append_in_threads", path, notes, on_termination)
    assert hear(process) == '"ready"\n'
    while len(notes.read_text().splitlines()) < 40:
        time.sleep(0.01)
    process.send_signal(number)

    assert process.wait(60) == status
    assert hear(process) == ("" if status == -signal.SIGTERM else '"ended"\n')
    acknowledged = dict(line.split() for line in notes.read_text().splitlines(keepends=True) if line.endswith("\n"))
    with SQLiteEventStore(path) as store:
        assert verify(store).ok
        assert store.query("PRAGMA integrity_check") == [("ok",)]
        for key, version in acknowledged.items():
            # An append that had come to its end may not have been noted yet.
            assert store.version(StreamId("Account", key)) in {int(version), int(version) + 2}
