"""What tests of the commands share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from attrs import frozen


@frozen
class Result:
    """What a command has said, and its exit code."""

    code: int
    output: str
    errors: str


Run: TypeAlias = Callable[..., Result]
WriteModule: TypeAlias = Callable[[str, str], None]


def run_process(folder: Path, *arguments: object, **environment: str) -> Result:
    """Run a command in a process of its own, as a person does from a shell in the folder."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "esbank", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Result(process.returncode, process.stdout, process.stderr)
