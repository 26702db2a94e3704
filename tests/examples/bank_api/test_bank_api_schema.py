"""A tester that reads the description of the API sends what it allows and forbids, and nothing surprises it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from examples.bank_api.application import Settings
from examples.bank_api.server import serving

EXAMPLES = 15
SEED = 20260301
ANY = """
[[operations]]
include-name = "POST /accounts/{account_id}"
# How many decimals an amount may have, the currency of the account says, and no schema can.
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "412", "422"]
"""
KNOWN = f"""
[parameters]
"path.account_id" = "acc-1"
"header.If-Match" = "*"
{ANY}
"""


@pytest.fixture(scope="module")
def url(bank_api_store: str) -> Iterator[str]:
    """Serve a bank with an account that has some events, and with streams that end soon."""
    with serving(Settings(bank_api_store, keep_alive=0.02, longest_stream=0.05)) as url:
        for command in (
            '{"type": "OpenAccount", "owner": "Ada", "overdraft_limit": 1000000}',
            *['{"type": "Deposit", "amount": 5}'] * 3,
        ):
            httpx.post(f"{url}/accounts/acc-1", content=command, headers={"Content-Type": "application/json"})
        yield url


@pytest.mark.parametrize("config", [pytest.param(ANY, id="any account"), pytest.param(KNOWN, id="one that is there")])
def test_the_service_does_what_its_description_says(url: str, config: str, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(config)
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/docs/openapi.json"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--checks", "all"),
        # Litestar 2.25 answers OPTIONS with the methods of the first handler of a path.
        *("--exclude-checks", "allow_header_conformance"),
        *("--max-examples", str(EXAMPLES), "--seed", str(SEED), "--generation-deterministic"),
        *("--continue-on-failure", "--no-color"),
    ]
    tested = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "Tested: 7" in tested.stdout
    assert "passed" in tested.stdout
