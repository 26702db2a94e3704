"""The PostgreSQL store on the other versions of PostgreSQL that are installed here."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from esbank.backends.postgres import PostgresEventStore
from esbank.store import InlineHandler
from esbank.testing.conformance import EventStoreConformance
from esbank.testing.conformance._digests import Digests
from esbank.testing.conformance._many import AppendsToManyStreams
from esbank.testing.conformance._views import Views
from esbank.testing.postgres import PostgresServer

OLDEST = 15
NAMED = "ESBANK_TEST_POSTGRES_BINARIES"


def installed() -> list[Path]:
    """List the folders with binaries: those that the variable names, else those of the usual packages."""
    named = os.environ.get(NAMED)
    if named:
        return [Path(folder) for folder in named.split(os.pathsep)]
    return sorted(folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if version_in(folder) >= OLDEST)


def version_in(folder: Path) -> int:
    """Ask which version a folder has; 0 where it has no server."""
    try:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    found = re.search(r"\d+", said)
    return int(found[0]) if found else 0


FOLDERS = installed()
pytestmark = pytest.mark.skipif(
    not FOLDERS, reason=f"no other PostgreSQL is installed in /usr/lib/postgresql; {NAMED} may name its binaries"
)


@pytest.fixture(scope="module", params=FOLDERS or [None], ids=str)
def other_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a server of another version."""
    with PostgresServer(binaries=request.param) as server:
        yield server.dsn


class _Store:
    has_inline = True

    @pytest.fixture
    def store(self, other_dsn: str, schema: str) -> Iterator[PostgresEventStore]:
        self.dsn, self.schema = other_dsn, schema
        with PostgresEventStore(other_dsn, schema=schema) as store:
            yield store

    @pytest.fixture(autouse=True)
    def _place(self, other_dsn: str, schema: str) -> None:
        self.dsn, self.schema = other_dsn, schema

    def open_inline(self, folder: Path, *handlers: InlineHandler) -> AbstractContextManager[PostgresEventStore]:
        assert folder.is_dir()
        return PostgresEventStore(self.dsn, schema=self.schema, inline=handlers)


@pytest.mark.soak
class TestConformance(_Store, EventStoreConformance):
    pass


class TestSomeOfIt(_Store, AppendsToManyStreams, Digests, Views):
    has_digests = has_views = has_queries_during_transactions = True
