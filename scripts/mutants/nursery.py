"""A process that has imported what all tests need, and forks for each run of some: importing takes most of a short run.

It reads what to run from its standard input, a line of JSON at a time, and answers with the status, or with null when
it took too long. Whatever a run has started ends with it.
"""

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest

NEEDED = ("_hypothesis_pytestplugin", "cattrs", "hypothesis", "msgspec", "psycopg_pool", "rich.console", "sybil")


def main() -> None:
    """Run tests until there is nothing more to read."""
    for module in NEEDED:
        importlib.import_module(module)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            run(task["arguments"], task["environment"], task["said"])
        print(json.dumps(wait(child, task["timeout"])), flush=True)


def run(arguments: Sequence[str], environment: Mapping[str, str], said: str) -> None:
    """Run tests, and end with their status."""
    try:
        os.setsid()
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Asserts in what was imported already are nobody's tests.
        os._exit(pytest.main([*arguments, "-W", "ignore::pytest.PytestAssertRewriteWarning"]))
    finally:
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def wait(child: int, timeout: float) -> int | None:
    """Wait for a run, and kill what is left of it; return its status."""
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
