"""Run the examples as a person would."""

import subprocess
from pathlib import Path

import pytest
from example_programs import ROOT, Run, command


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
