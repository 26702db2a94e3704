"""The bank over HTTP, served on a real socket for tests."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from examples.bank_api.application import Settings
from examples.bank_api.server import serving


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def bank_api_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name an empty store, as ``examples.bank_api`` is told which one to use."""
    if request.param == "sqlite":
        return str(tmp_path_factory.mktemp("bank_api") / "bank.db")
    server: str = request.getfixturevalue("server_dsn")
    return f"{server}&esbank_schema=test_{uuid4().hex}"


@pytest.fixture(scope="module")
def bank_api(bank_api_store: str) -> Iterator[httpx.Client]:
    """Serve the bank on a real socket; the tests of a module share it, and each has an account of its own."""
    with (
        serving(Settings(bank_api_store, keep_alive=0.1)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.fixture
def account_id() -> str:
    """Name an account that nobody else uses."""
    return f"acc-{uuid4().hex}"
