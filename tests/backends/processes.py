"""Programs that run beside a test, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SQLITE_PROGRAMS = Path(__file__).parent / "sqlite_programs.py"
POSTGRES_PROGRAMS = Path(__file__).parent / "postgres_programs.py"

Process = subprocess.Popen[str]
Start = Callable[..., Process]
Run = Callable[..., Any]


def start_program(programs: Path, name: str, *arguments: object) -> Process:
    """Start one of the programs of a file; it can be talked to."""
    command = [sys.executable, "-W", "error", str(programs), name, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(process: Process, line: str) -> None:
    """Write a line to a program."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: Process) -> str:
    """Read a line from a program."""
    assert process.stdout is not None
    return process.stdout.readline()


def hear_all(process: Process) -> list[str]:
    """Read what a program has left to say, up to its end."""
    assert process.stdout is not None
    return process.stdout.readlines()


def fork(child: Callable[[], object]) -> int:
    """Run `child` in a fork, which ends with the status 0 unless it raises; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        child()
        status = 0
    except BaseException as error:  # noqa: BLE001  # said, and told by the status
        print(f"in the child: {error!r}", file=sys.stderr, flush=True)  # noqa: T201  # this is for whoever mends it
    os._exit(status)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
