"""What every process of a torture is told, how it begins, and how it tells why it ended."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from traceback import format_exc
from typing import Final, TypeAlias

from attrs import frozen

from esbank.errors import StorageError, StoreUnavailable
from esbank.store import EventStore

__all__ = ["OpenStore", "Task", "open_task"]

_PATIENCE: Final = 20.0
_OPENING_PATIENCE: Final = 60.0
_PAUSE: Final = 0.05

OpenStore: TypeAlias = Callable[[], EventStore]


@frozen
class Task:
    """Which store is tortured, where the records are kept, and what decides about that which is appended.

    The store is opened in the working directory, where a relative path means the same to all. `identity` is the store's
    own; `transactions` tells whether some appends share one with rows of a table.
    """

    open_store: OpenStore
    working_directory: Path
    identity: str
    folder: Path
    seed: int
    transactions: bool

    def open(self) -> EventStore:
        """Open the store, as soon as its server lets us."""
        deadline = time.monotonic() + _OPENING_PATIENCE
        while True:
            try:
                return self.open_store()
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._over.exists()

    def end(self) -> None:
        """Tell everybody that the time is up."""
        self._over.touch()

    @property
    def _over(self) -> Path:
        return self.folder / "over"

    def rest(self, error: StorageError) -> None:
        """Wait a little before trying again what has failed; raise the error when the time was up long ago."""
        if self.is_over and time.time() - self._over.stat().st_mtime > _PATIENCE:
            raise error
        time.sleep(_PAUSE)

    def record(self, name: str) -> Path:
        """Name the file in which a process or a thread puts down what it does and sees."""
        return self.folder / f"{name}.log"

    def opened(self, name: str) -> Path:
        """Name the file that is there as soon as a process has opened the store."""
        return self.folder / f"{name}.opened"

    def stacks(self, name: str) -> Path:
        """Name the file in which a process puts down where each of its threads is."""
        return self.folder / f"{name}.stacks"

    def died(self, name: str) -> Path:
        """Name the file in which a process or a thread puts down why it failed."""
        return self.folder / f"{name}.died"

    def complain(self, name: str, error: StorageError) -> None:
        """Put down that a call failed, after which one goes on; a server that was killed is an excuse, nothing else."""
        with (self.folder / f"{name}.errors").open("a", encoding="utf-8") as errors:
            errors.write(f"{error!r}\n")

    @contextmanager
    def telling_why(self, name: str) -> Generator[None]:
        """Put down why the block fails, if it does."""
        try:
            yield
        except BaseException:  # noqa: BLE001 - whatever it is, it must not happen
            self.died(name).write_text(format_exc(), encoding="utf-8")
            raise SystemExit(1) from None


@contextmanager
def open_task(task: Task, name: str) -> Generator[EventStore]:
    """Open the store in a process of its own, which ends with its parent, and tells where it is when it is asked."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(task.working_directory)
    logging.basicConfig(filename=task.folder / f"{name}.messages")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    with ExitStack() as resources:
        faulthandler.register(signal.SIGUSR1, resources.enter_context(task.stacks(name).open("a")))
        resources.enter_context(task.telling_why(name))
        store = resources.enter_context(task.open())
        if store.identity != task.identity:
            raise RuntimeError(
                f"{store!r} is another store than the one that was opened first: what is given to open it must open "
                "the very same one in every process"
            )
        task.opened(name).touch()
        yield store


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
