"""Several processes that serve on one socket, and one that starts them again when they die."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Final

from .application import Settings
from .server import Server

__all__ = ["log_to_terminal", "serve", "serve_in_processes"]

_log: Final = logging.getLogger("bank_api")
_GLANCE: Final = 0.2
_DID_NOT_START: Final = 3
"""The status with which uvicorn ends when the application could not start."""


def log_to_terminal() -> None:
    """Write what happens to the standard error, as each process has to by itself."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


def serve(settings: Settings, listening: socket.socket) -> None:
    """Serve in this process until a signal tells it to stop."""
    _run(Server(settings), listening)


def serve_in_processes(settings: Settings, listening: socket.socket, count: int) -> None:
    """Serve in so many processes until a signal tells this one to stop; one that dies gets a successor.

    They are spawned: one that has threads and an open database is nothing to fork. They accept from one socket, so what
    waits there when one of them dies is served by another. None outlives this one.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    workers = [_start(settings, listening) for _ in range(count)]
    did_not_start = 0  # in a row: one that dies after it has served is another matter
    while not stop.is_set() and did_not_start < count:
        wait([worker.sentinel for worker in workers], timeout=_GLANCE)
        for dead in [worker for worker in workers if not worker.is_alive() and not stop.is_set()]:
            did_not_start = did_not_start + 1 if dead.exitcode == _DID_NOT_START else 0
            if did_not_start == count:
                break
            _log.warning("process %s died (%s), another takes its place", dead.pid, dead.exitcode)
            workers[workers.index(dead)] = _start(settings, listening)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
    if not stop.is_set():
        sys.exit(_DID_NOT_START)


def _start(settings: Settings, listening: socket.socket) -> BaseProcess:
    worker = multiprocessing.get_context("spawn").Process(target=_work, args=(settings, listening))
    worker.start()
    return worker


def _work(settings: Settings, listening: socket.socket) -> None:
    log_to_terminal()
    server = Server(settings)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    _run(server, listening)


def _end_with_parent(server: Server) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        server.should_exit = True


def _run(server: Server, listening: socket.socket) -> None:
    with suppress(KeyboardInterrupt):  # which uvicorn raises once it has ended because of one
        server.run([listening])
