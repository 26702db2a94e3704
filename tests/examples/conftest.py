"""Run the examples as a person would."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

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
