"""Ten megabytes of whatever: read in the memory and the time that one would give it, or refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SIZES = Path(__file__).with_name("hostile_sizes.py")
SORTS = ["brackets", "digits", "fraction"]
MORE = ["braces", "exponents", "text", "escapes", "keys", "repeated", "cut", "zeros"]


@pytest.mark.parametrize("sort", [*SORTS, *(pytest.param(sort, marks=pytest.mark.soak) for sort in MORE)])
def test_ten_megabytes_are_read_or_refused_within_bounds(tmp_path: Path, sort: str) -> None:
    command = [sys.executable, "-W", "error", str(SIZES), sort, str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (process.returncode, process.stderr) == (0, "")
    assert int(process.stdout) > 20
