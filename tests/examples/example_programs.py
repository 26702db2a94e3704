"""The examples as programs that tests run."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[2]

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def command(example: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)]
