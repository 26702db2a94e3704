"""Kills processes at any moment, stops them for a while, and starts them again."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import define, field

__all__ = ["Crew", "Server", "Toll", "Worker"]

# Its processes are forks of one that has nothing but the imports done, so a new one is there at once.
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["esbank.testing.torture"])
_LONGEST_REST: Final = 0.3
_LONGEST_STOP: Final = 0.3
_SERVER_KILLED: Final = 0.05
_PROCESS_STOPPED: Final = 0.25
_KILLED_EARLY: Final = 0.1
_GLANCE: Final = 0.02


class Server(Protocol):
    """A server that may be killed, such as ``esbank.testing.postgres.PostgresServer``."""

    def kill(self) -> None:
        """Kill it, so that it has no chance to do anything more."""
        ...

    def start(self) -> None:
        """Start it again."""
        ...


@define
class Toll:
    """How often something was done to whom."""

    kills: int = 0
    stops: int = 0
    server_kills: int = 0


@define
class Worker:
    """A process that is started again whenever it is killed."""

    name: str
    run: Callable[..., object]
    arguments: Sequence[Any]
    opened: Path
    process: BaseProcess = field(init=False)
    was_killed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.process = self._new_process()

    def start(self) -> None:
        """Start it."""
        self.opened.unlink(missing_ok=True)
        self.process, self.was_killed = self._new_process(), False
        self.process.start()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.was_killed = True
        self.process.kill()
        self.process.join()

    def stop(self, seconds: float) -> None:
        """Let it stand still for a while, wherever it is."""
        # Should this process be killed meanwhile, somebody else has to let it go on.
        wake = ["/bin/sh", "-c", f"exec >/dev/null 2>&1; sleep {_LONGEST_STOP + 1}; kill -CONT {self._pid}"]
        with suppress(ProcessLookupError), subprocess.Popen(wake) as waker:  # noqa: S603 - ours
            os.kill(self._pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(self._pid, signal.SIGCONT)
            waker.kill()

    def ask_where(self) -> None:
        """Have it put down where each of its threads is."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGUSR1)
            time.sleep(_GLANCE)

    @property
    def is_open(self) -> bool:
        """Whether it has opened the store since it was started."""
        return self.opened.exists()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """How it has ended."""
        return self.process.exitcode

    def _new_process(self) -> BaseProcess:
        return _FORKS.Process(target=self.run, args=tuple(self.arguments), name=self.name, daemon=True)

    @property
    def _pid(self) -> int:
        return self.process.pid or 0


class Crew:
    """The processes of a torture, and perhaps their server."""

    def __init__(self, workers: Iterable[Worker], server: Server | None) -> None:
        self._workers = list(workers)
        self._server = server
        self.toll = Toll()

    def start(self, patience: float) -> list[str]:
        """Start all of them, and wait until they are at work; name those that are not, and kill them."""
        for worker in self._workers:
            worker.start()
        deadline = time.monotonic() + patience
        for worker in self._workers:
            while worker.is_alive and not worker.is_open and time.monotonic() < deadline:
                time.sleep(_GLANCE)
        return _kill_stuck(worker for worker in self._workers if worker.is_alive and not worker.is_open)

    def torture(self, seconds: float, progress: Callable[[float], object]) -> float:
        """Do harm for so long, or until one ends that nobody has killed; return for how long it was."""
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            progress(passed)
            time.sleep(random.random() * _LONGEST_REST)  # noqa: S311 - chaos, not a secret
            chosen, how = random.choice(self._workers), random.random()  # noqa: S311
            if not chosen.is_alive:
                break
            if not chosen.is_open and random.random() > _KILLED_EARLY:  # noqa: S311
                continue
            if self._server is not None and how < _SERVER_KILLED:
                self._server.kill()
                self._server.start()
                self.toll.server_kills += 1
            elif how < _PROCESS_STOPPED:
                chosen.stop(random.random() * _LONGEST_STOP)  # noqa: S311
                self.toll.stops += 1
            else:
                chosen.kill()
                self.toll.kills += 1
                chosen.start()
        return time.monotonic() - begin

    def wait_for(self, workers: Iterable[Worker], patience: float) -> list[str]:
        """Wait until processes end by themselves; name those that do not, after having asked them where they are."""
        workers, deadline = list(workers), time.monotonic() + patience
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        return _kill_stuck(worker for worker in workers if worker.is_alive)

    def end(self) -> None:
        """Kill all that still run."""
        for worker in self._workers:
            if worker.is_alive:
                worker.kill()


def _kill_stuck(workers: Iterable[Worker]) -> list[str]:
    """Kill processes that do not go on, once they have put down where they are; return their names."""
    stuck: list[str] = []
    for worker in workers:
        worker.ask_where()
        worker.kill()
        stuck.append(worker.name)
    return stuck
