"""How much a store in a file asks of the disk, as its writing connection says."""

from pathlib import Path

import pytest

from esbank.backends.sqlite import SQLiteEventStore

FULL, NORMAL = 2, 1


@pytest.mark.parametrize(("durability", "synchronous", "fullfsync"), [("full", FULL, 1), ("normal", NORMAL, 0)])
def test_a_commit_waits_for_the_disk_as_far_as_asked(
    path: Path, durability: str, synchronous: int, fullfsync: int
) -> None:
    with SQLiteEventStore(path, durability=durability) as store, store.transaction() as tx:
        assert tx.execute("PRAGMA synchronous") == [(synchronous,)]
        assert tx.execute("PRAGMA fullfsync") == [(fullfsync,)]


def test_a_commit_waits_for_the_disk_unless_it_is_said_otherwise(path: Path) -> None:
    with SQLiteEventStore(path) as store, store.transaction() as tx:
        assert tx.execute("PRAGMA synchronous") == [(FULL,)]
