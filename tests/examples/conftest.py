"""Run the examples as a person would."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import httpx
import pytest

from examples.bank_api.application import Settings
from examples.bank_api.server import serving

ROOT = Path(__file__).parents[2]

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def command(example: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)]


@pytest.fixture
def run() -> Run:
    def run(example: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(example, *arguments), capture_output=True, text=True, check=False, timeout=300)

    return run


@pytest.fixture
def transactions() -> Path:
    path = ROOT.parent / "shared" / "data" / "bank_transactions.csv"
    if not path.exists():
        pytest.skip(f"the real transactions are not here: {path}")
    return path


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
