"""A repository carried across a fork: the child waits for no thread of its parent, and knows nothing of its states."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import define, frozen

from esbank import Aggregate, Repository, applies, handles
from esbank.backends.sqlite import SQLiteEventStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@frozen
class Ring:
    pass


@frozen
class Rung:
    pass


@define
class Bell(Aggregate[Ring, Rung]):
    category: ClassVar[str] = "Bell"
    deciding: ClassVar[threading.Event] = threading.Event()
    decide: ClassVar[threading.Event] = threading.Event()
    rung: int = 0

    @handles(Ring)
    def ring(self, _: Ring) -> Iterator[Rung]:
        Bell.deciding.set()
        assert Bell.decide.wait(30)
        yield Rung()

    @applies(Rung)
    def _rung(self, _: Rung) -> None:
        self.rung += 1


def fork_while_a_thread_decides(path: Path) -> list[int]:
    """Ring a bell in a child while a thread of its parent is about to; return how often each has seen it rung."""
    told, tell = os.pipe()
    with SQLiteEventStore(path) as store:
        bells = Repository(store, Bell)
        Bell.decide.set()
        bells.execute("front", Ring())
        Bell.decide.clear()
        Bell.deciding.clear()
        thread = threading.Thread(target=bells.execute, args=("front", Ring()))
        thread.start()
        Bell.deciding.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # it may wait for ever
            try:
                Bell.decide.set()
                os.write(tell, bytes([bells.execute("front", Ring()).state.rung]))
            finally:
                os._exit(0)
        os.close(tell)  # so that a child that fails is not waited for
        seen_by_child = list(os.read(told, 1))
        os.waitpid(child, 0)
        Bell.decide.set()
        thread.join()
        return [*seen_by_child, bells.load("front").state.rung]


def test_a_child_works_on_the_aggregate_on_which_a_thread_of_its_parent_was_at_work(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as program:
        assert program.submit(fork_while_a_thread_decides, tmp_path / "bells.db").result(60) == [2, 3]
