"""Names that only one at a time may hold, of all threads, stores and processes; free as soon as the holder is gone."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest

from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import AlreadyRunning, StorageError, StoreClosed
from esbank.store import ViewStore
from esbank.testing.conformance._given import in_threads

SPAWN: Final = get_context("spawn")
PATIENCE: Final = 60

Start = Callable[..., tuple[BaseProcess, Connection]]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def is_free(views: ViewStore, name: str) -> bool:
    try:
        with views.claim(name):
            return True
    except AlreadyRunning:
        return False


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a function in a process of its own; it can be talked to. What still runs after the test is killed."""
    with ExitStack() as stack:

        def start(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
            here, there = SPAWN.Pipe()
            process = SPAWN.Process(target=target, args=(there, *arguments))
            process.start()
            there.close()
            stack.callback(process.close)
            stack.callback(process.join)
            stack.callback(process.kill)
            stack.enter_context(here)
            return process, here

        yield start


def hear(connection: Connection) -> object:
    assert connection.poll(PATIENCE)
    return connection.recv()


# Any store


@pytest.fixture(params=["memory", "sqlite"])
def views(request: pytest.FixtureRequest, path: Path) -> Iterator[MemoryEventStore | SQLiteEventStore]:
    with MemoryEventStore() if request.param == "memory" else SQLiteEventStore(path) as store:
        yield store


def test_a_name_that_is_held_is_refused_to_everybody_else(views: ViewStore) -> None:
    with views.claim("Balances"):
        with pytest.raises(AlreadyRunning) as raised, views.claim("Balances"):
            pass
        assert in_threads([partial(is_free, views, "Balances")]) == [False]
        assert not is_free(views, "Balances")

    assert raised.value.name == "Balances"
    assert is_free(views, "Balances")


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, GeneratorExit])
def test_a_name_is_free_again_when_its_block_raises(views: ViewStore, error: type[BaseException]) -> None:
    def fail() -> None:
        with views.claim("Balances"):
            raise error

    with pytest.raises(error):
        fail()

    assert is_free(views, "Balances")


def test_nothing_is_held_before_the_block_begins(views: ViewStore) -> None:
    claim = views.claim("Balances")

    assert is_free(views, "Balances")
    with claim:
        assert not is_free(views, "Balances")


def test_several_names_are_held_and_let_go_one_by_one(views: ViewStore) -> None:
    names = ["", "a", "A", "a ", "é", "a\0b", "'\";--", "x" * 10_000]
    with ExitStack() as all_but_one:
        with ExitStack() as one:
            one.enter_context(views.claim("one"))
            for name in names:
                all_but_one.enter_context(views.claim(name))
            assert not any(is_free(views, name) for name in ["one", *names])
        assert is_free(views, "one")
        assert not any(is_free(views, name) for name in names)

    assert all(is_free(views, name) for name in names)


def test_a_name_that_one_thread_holds_may_be_let_go_by_another(views: ViewStore) -> None:
    claim = views.claim("Balances")
    claim.__enter__()

    in_threads([partial(claim.__exit__, None, None, None)])

    assert is_free(views, "Balances")


def test_of_many_threads_one_at_a_time_holds_a_name(views: ViewStore) -> None:
    holders: list[int] = []
    most: list[int] = []

    def work(number: int) -> int:
        held = 0
        while held < 20:
            try:
                with views.claim("Balances"):
                    holders.append(number)
                    most.append(len(holders))
                    time.sleep(0)
                    holders.remove(number)
                    held += 1
            except AlreadyRunning:
                time.sleep(0.0001)
        return held

    assert in_threads([partial(work, number) for number in range(8)]) == [20] * 8
    assert most == [1] * 160


def test_events_and_views_may_change_while_a_name_is_held(views: ViewStore) -> None:
    with views.claim("Balances"):
        with views.view_transaction() as tx, views.claim("Totals"):
            tx.execute("CREATE TABLE numbers AS SELECT 1")
        assert views.query("SELECT * FROM numbers") == [(1,)]
        assert not is_free(views, "Balances")


def test_a_closed_store_gives_no_name(views: MemoryEventStore | SQLiteEventStore) -> None:
    views.close()

    with pytest.raises(StoreClosed), views.claim("Balances"):
        pass


def test_stores_in_memory_have_nothing_to_do_with_each_other() -> None:
    with MemoryEventStore() as one, MemoryEventStore() as other, one.claim("Balances"):
        assert is_free(other, "Balances")


# Several stores at files


def test_two_stores_at_one_file_exclude_each_other(path: Path) -> None:
    with SQLiteEventStore(path) as one, SQLiteEventStore(path) as other:
        with one.claim("Balances"), other.claim("Totals"):
            assert not is_free(other, "Balances")
            assert not is_free(one, "Totals")

        assert is_free(other, "Balances")


def test_stores_at_different_files_do_not_exclude_each_other(path: Path, tmp_path: Path) -> None:
    with SQLiteEventStore(path) as one, SQLiteEventStore(tmp_path / "other.db") as other, one.claim("Balances"):
        assert is_free(other, "Balances")


def symbolic(path: Path) -> Path:
    link = path.with_name("link.db")
    link.symlink_to(path)
    return link


def in_linked_folder(path: Path) -> Path:
    link = path.with_name("link")
    link.symlink_to(path.parent, target_is_directory=True)
    return link / path.name


OTHER_NAMES: Final = {
    "relative": lambda path: Path(os.path.relpath(path)),
    "through the parent": lambda path: path.parent / ".." / path.parent.name / path.name,
    "link": symbolic,
    "linked folder": in_linked_folder,
}


@pytest.mark.parametrize("other_name", OTHER_NAMES.values(), ids=OTHER_NAMES)
def test_a_file_with_several_names_is_one_file(path: Path, start: Start, other_name: Callable[[Path], Path]) -> None:
    with SQLiteEventStore(path) as one, SQLiteEventStore(other_name(path)) as other:
        with one.claim("Balances"):
            assert not is_free(other, "Balances")
            with other.claim("Totals"):
                pass
            # Neither did that let go of what the first one holds.
            process, connection = start(tell_whether_free, other_name(path) if path.is_symlink() else path)
            assert hear(connection) is False
        assert is_free(other, "Balances")
    process.join(PATIENCE)


def test_what_else_happens_to_the_store_frees_no_name(path: Path, start: Start) -> None:
    one = SQLiteEventStore(path)
    with one.claim("Balances"):
        with SQLiteEventStore(path) as other:
            assert not is_free(other, "Balances")
            assert is_free(other, "Totals")
        one.close()

        _, connection = start(tell_whether_free, path)
        assert hear(connection) is False

    with SQLiteEventStore(path) as again:
        assert is_free(again, "Balances")


def test_a_name_costs_an_empty_file_beside_the_store(path: Path) -> None:
    claims = path.with_name("events.db-claims")
    with SQLiteEventStore(path) as store:
        assert not claims.exists()
        with store.claim("Balances"):
            assert claims.read_bytes() == b"" or not sys.platform.startswith("linux")
        assert claims.stat().st_size == 0
        claims.unlink()

        assert is_free(store, "Balances")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nobody says which files are open")
def test_no_file_stays_open_when_nothing_is_held(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        with store.claim("Balances"):
            assert not is_free(store, "Balances")
            assert open_claims() == 1
        assert open_claims() == 0


def open_claims() -> int:
    files = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(file.name.endswith("-claims") for file in files)


def test_a_file_that_cannot_be_written_is_said(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        path.with_name("events.db-claims").mkdir()

        with pytest.raises(StorageError, match="right to write") as raised, store.claim("Balances"):
            pass

    assert isinstance(raised.value.__cause__, OSError)
    assert not isinstance(raised.value, AlreadyRunning)


# Several processes


def tell_whether_free(connection: Connection, path: Path) -> None:
    with SQLiteEventStore(path) as store:
        connection.send(is_free(store, "Balances"))


def hold(connection: Connection, path: Path, how_to_end: str) -> None:
    """Hold a name until told to end, in one of several ways."""
    with SQLiteEventStore(path) as store, store.claim("Balances"):
        connection.send("holds")
        connection.recv()
        if how_to_end == "exit":
            os._exit(0)
        if how_to_end == "raise":
            sys.exit(1)


def hold_in_turn(connection: Connection, path: Path, rounds: int) -> None:
    """Hold a name again and again; in between, a file shows that nobody else does."""
    mark = path.with_name("held")
    with SQLiteEventStore(path) as store:
        connection.send("ready")
        connection.recv()
        while rounds:
            try:
                with store.claim("Balances"):
                    mark.touch(exist_ok=False)
                    time.sleep(0.001)
                    mark.unlink()
                    rounds -= 1
            except AlreadyRunning:
                time.sleep(0.001)
        connection.send("done")


def test_a_name_that_another_process_holds_is_refused_until_it_is_let_go(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        process, connection = start(hold, path, "let go")
        assert hear(connection) == "holds"
        assert not is_free(store, "Balances")
        assert is_free(store, "Totals")

        connection.send("end")
        process.join(PATIENCE)

        assert process.exitcode == 0
        assert is_free(store, "Balances")


@pytest.mark.parametrize("how", ["kill", "exit", "raise"])
def test_a_name_is_free_as_soon_as_its_holder_is_gone(path: Path, start: Start, how: str) -> None:
    with SQLiteEventStore(path) as store:
        process, connection = start(hold, path, how)
        assert hear(connection) == "holds"
        assert not is_free(store, "Balances")

        if how == "kill":
            process.kill()
        else:
            connection.send("end")
        process.join(PATIENCE)

        assert is_free(store, "Balances")


def test_of_many_processes_one_at_a_time_holds_a_name(path: Path, start: Start) -> None:
    SQLiteEventStore(path).close()
    started = [start(hold_in_turn, path, 20) for _ in range(3)]
    assert [hear(connection) for _, connection in started] == ["ready"] * 3
    for _, connection in started:
        connection.send("begin")

    assert [hear(connection) for _, connection in started] == ["done"] * 3


# Forks


def in_child(action: Callable[[], bool]) -> int:
    """Run an action in a fork; return the child's process id. Its status is 0 if the action returned true."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = 0 if action() else 2
    finally:
        os._exit(status)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_while_holding(connection: Connection, path: Path) -> None:
    """Tell what a child, and whoever asks beside it, can hold."""
    with SQLiteEventStore(path) as store, SQLiteEventStore(path) as other:
        with store.claim("Balances"), other.claim("Totals"):

            def child() -> bool:
                refused = [not is_free(at, name) for at in (store, other) for name in ("Balances", "Totals")]
                with store.claim("the child's"):
                    return all(refused) and not is_free(other, "the child's") and is_free(store, "another")

            connection.send([status_of(in_child(child)) for _ in range(3)])
            connection.recv()  # meanwhile others have asked
        connection.send([is_free(store, name) for name in ("Balances", "Totals", "the child's")])


def leave_the_block_in_a_child(connection: Connection, path: Path) -> None:
    """End a block both in a child and, later, in its parent."""
    parent = os.getpid()
    with SQLiteEventStore(path) as store:
        with store.claim("Balances"):
            pid = os.fork()
            if pid:
                connection.send(status_of(pid))
                connection.recv()
        if os.getpid() != parent:
            os._exit(0)
        connection.send(is_free(store, "Balances"))


def end_before_the_child(connection: Connection, path: Path) -> None:
    """End, without leaving the block, while a child lives on."""
    store = SQLiteEventStore(path)
    claim = store.claim("Balances")
    claim.__enter__()

    def child() -> bool:
        connection.send("born")
        connection.recv()
        with closing(store):
            connection.send(is_free(store, "Balances"))
        return True

    in_child(child)
    os._exit(0)


def fork_while_threads_claim(connection: Connection, path: Path) -> None:
    """Fork again and again while threads take and leave names; each child takes one as well."""
    with SQLiteEventStore(path) as store:
        done = threading.Event()

        def work(name: str) -> None:
            while not done.is_set():
                with store.claim(name):
                    pass

        def child(number: int) -> bool:
            return is_free(store, f"child {number}")

        threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        statuses = [status_of(in_child(partial(child, number))) for number in range(20)]
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
        connection.send(statuses)


@needs_fork
def test_a_forked_child_holds_nothing_and_may_hold_other_names(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        _, connection = start(fork_while_holding, path)
        assert hear(connection) == [0, 0, 0]
        assert [is_free(store, name) for name in ("Balances", "Totals", "the child's")] == [False, False, True]

        connection.send("go on")
        assert hear(connection) == [True, True, True]


@needs_fork
def test_a_forked_child_that_leaves_the_block_lets_nothing_go(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        _, connection = start(leave_the_block_in_a_child, path)
        assert hear(connection) == 0
        assert not is_free(store, "Balances")

        connection.send("go on")
        assert hear(connection) is True


@needs_fork
def test_a_child_that_outlives_the_holder_does_not_hold_on(path: Path, start: Start) -> None:
    with SQLiteEventStore(path) as store:
        process, connection = start(end_before_the_child, path)
        assert hear(connection) == "born"
        while process.is_alive():  # to join it would be to wait for its child as well
            time.sleep(0.001)

        assert is_free(store, "Balances")
        connection.send("go on")
        assert hear(connection) is True


@needs_fork
def test_a_fork_while_threads_take_names_hangs_nobody(path: Path, start: Start) -> None:
    _, connection = start(fork_while_threads_claim, path)

    assert hear(connection) == [0] * 20


def test_the_type_of_a_claim_is_a_block(views: ViewStore) -> None:
    claim: AbstractContextManager[None] = views.claim("Balances")

    with claim as held:
        assert held is None  # type: ignore[func-returns-value]
