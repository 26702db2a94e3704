"""The PostgreSQL store: what every store promises."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from esbank.backends.postgres import PostgresEventStore
from esbank.store import InlineHandler
from esbank.testing.conformance import EventStoreConformance


class TestConformance(EventStoreConformance):
    is_shared_by_processes = True
    has_inline = True

    @pytest.fixture
    def store(self, server_dsn: str, schema: str) -> Iterator[PostgresEventStore]:
        with PostgresEventStore(server_dsn, schema=schema) as store:
            yield store

    @pytest.fixture(autouse=True)
    def _place(self, server_dsn: str, schema: str) -> None:
        self.server_dsn, self.schema = server_dsn, schema

    def open_elsewhere(self) -> Callable[[], PostgresEventStore]:
        return partial(PostgresEventStore, self.server_dsn, schema=self.schema)

    def open_inline(self, _: Path, *handlers: InlineHandler) -> AbstractContextManager[PostgresEventStore]:
        return PostgresEventStore(self.server_dsn, schema=self.schema, inline=handlers)
