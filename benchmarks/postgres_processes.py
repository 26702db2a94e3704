"""Processes that append at the same time, each with a store of its own; they are started once and told what to do."""

import importlib
import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import NamedTuple, Self

WARM_UP = 20


class Task(NamedTuple):
    """What a process has to do: append single events to a stream."""

    module: str
    dsn: str
    place: str
    stream: str
    times: int


class Processes:
    """Some processes that wait for tasks."""

    def __init__(self, count: int) -> None:
        """Start them."""
        context = multiprocessing.get_context("spawn")
        self._barrier = context.Barrier(count)  # kept, because it goes away with its last user here
        self._ends: list[Connection] = []
        self._processes = []
        for _ in range(count):
            mine, its = context.Pipe()
            process = context.Process(target=serve, args=(its, self._barrier), daemon=True)
            process.start()
            its.close()
            self._ends.append(mine)
            self._processes.append(process)

    def append(self, module: str, dsn: str, place: str, name: str, times: int) -> float:
        """Have each append so many events to a stream of its own; return the seconds from the first to the last."""
        for number, end in enumerate(self._ends):
            end.send(Task(module, dsn, place, f"{name}-{number}", times))
        begun, ended = zip(*[end.recv() for end in self._ends], strict=True)
        return max(ended) - min(begun)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(10)


def serve(end: Connection, barrier: Barrier) -> None:
    """Do what comes, as long as something comes."""
    while True:
        try:
            task: Task = end.recv()
        except EOFError:
            return
        try:
            end.send(perform(task, barrier))
        except BaseException:
            barrier.abort()
            raise


def perform(task: Task, barrier: Barrier) -> tuple[float, float]:
    """Get ready, wait for the others, and append; return when that began and ended."""
    contender = importlib.import_module(task.module).Contender.open(task.dsn, task.place)
    try:
        with contender.appends(task.stream, WARM_UP + task.times, 1) as append:
            append(WARM_UP)
            barrier.wait()
            begun = time.monotonic()  # the same clock for all processes
            append(task.times)
            return begun, time.monotonic()
    finally:
        contender.close()
