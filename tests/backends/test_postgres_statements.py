"""A statement of a view that PostgreSQL refuses is an error, also when it is one of many."""

import pytest

from esbank.backends.postgres import PostgresEventStore
from esbank.errors import StorageError


def test_a_row_that_is_refused_among_many_is_an_error_and_none_is_kept(server_dsn: str, schema: str) -> None:
    with PostgresEventStore(server_dsn, schema=schema) as store:
        with store.view_transaction() as tx:
            tx.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")

        with pytest.raises(StorageError, match="duplicate key"), store.view_transaction() as tx:
            tx.executemany("INSERT INTO numbers VALUES (:number)", [{"number": 1}, {"number": 1}])

        assert store.query("SELECT number FROM numbers") == []
