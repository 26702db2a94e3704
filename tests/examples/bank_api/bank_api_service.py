"""The bank's service as a process of its own, for tests that kill parts of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
_PATIENCE: Final = 60.0
_GLANCE: Final = 0.02


class ServiceProcess:
    """``python -m examples.bank_api``, with what it says on the way."""

    def __init__(self, store: str, *arguments: str) -> None:
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "examples.bank_api",
            "--store",
            store,
            "--port",
            "0",
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        found = re.search(r"http://[0-9.]+:[0-9]+", first)
        self.url = found[0] if found else ""

    @property
    def said(self) -> str:
        """What it has said on its standard error."""
        return self._said

    def workers(self) -> list[int]:
        """Name the processes that have started to serve and are still there."""
        started = map(int, re.findall(r"Started server process \[([0-9]+)\]", self._said))
        return [pid for pid in started if is_alive(pid)]

    def wait_for(self, what: str, times: int = 1) -> None:
        """Wait until it has said something so many times."""
        deadline = time.monotonic() + _PATIENCE
        while self._said.count(what) < times:
            assert self.process.poll() is None, self._said
            assert time.monotonic() < deadline, self._said
            time.sleep(_GLANCE)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; return the status with which it did."""
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE)

    def close(self) -> None:
        """Kill what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the group is its own
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said += line


@contextmanager
def service(store: str, *arguments: str) -> Generator[ServiceProcess]:
    """Start it; whatever still runs after the block is killed."""
    started = ServiceProcess(store, *arguments)
    try:
        yield started
    finally:
        started.close()


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process, and it is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
