"""What is large is stored, and then let go of."""

from pathlib import Path

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import NewEvent, StreamId

STATM = Path("/proc/self/statm")


@pytest.mark.skipif(not STATM.exists(), reason="this system does not tell how much memory is in use")
def test_large_events_are_not_kept_by_the_statement_that_has_stored_them(path: Path) -> None:
    def resident() -> int:
        return int(STATM.read_text().split()[1]) * 4096

    large = f'"{"x" * 2**20}"'
    with SQLiteEventStore(path) as store:
        store.append(StreamId("Bill", "1"), [NewEvent("T", large)], expected_version=0)
        before = resident()
        store.append(StreamId("Bill", "2"), [NewEvent("T", large) for _ in range(64)], expected_version=0)
        assert resident() - before < 32 * 2**20
