"""From the first process to the verdict."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from attrs import evolve

from esbank.errors import EsbankError, StorageError
from esbank.store import ANY_VERSION, EventStore, NewEvent, TransactionalStore, ViewStore
from esbank.testing.torture._chaos import Crew, Server, Worker
from esbank.testing.torture._findings import Check, Findings
from esbank.testing.torture._followers import Follower, follow
from esbank.testing.torture._judge import judge
from esbank.testing.torture._plan import END
from esbank.testing.torture._task import OpenStore, Task, open_task
from esbank.testing.torture._verdict import Verdict
from esbank.testing.torture._views import project, runner_of
from esbank.testing.torture._writers import CREATE_ROWS, THREADS, write

__all__ = ["torture"]

Progress: TypeAlias = Callable[[str, float, float], object]

_PATIENCE: Final = 60.0
_PAUSE: Final = 0.05
_OPENING_PATIENCE: Final = 90.0
"""Longer than a process tries to open the store, so that it can say why it could not."""


def torture(
    open_store: OpenStore,
    *,
    seconds: float = 20.0,
    processes: int = 4,
    seed: int | None = None,
    records: Path | None = None,
    server: Server | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Torture a store, and judge it.

    `open_store` opens the very same store in every process, so it is something that can be pickled: a function of a
    module, or a ``partial`` of one. The store is a new one, because what is appended stays for ever. `processes` is how
    many processes write, with three threads each; half a dozen others follow the log and keep a view. A `server` that
    was started for this is killed and started again, too. `seed` decides what is appended. `records` is the folder for
    what everybody puts down, by default a temporary one, which is removed when nothing was found. `progress` is called
    with what is being done, and how far it is of how much.

    Raises ``ValueError`` when the store holds events, or is another one each time it is opened, and when there is
    something in the folder already. Works where processes can be killed with SIGKILL: on Linux and macOS.
    """
    if processes < 1 or seconds <= 0:
        raise ValueError(f"at least one process must write for a while, not {processes} for {seconds} seconds")
    with open_store() as store:
        _check_store(store, open_store)
        return _Torture(
            store,
            open_store,
            seconds=seconds,
            processes=processes,
            records=records,
            seed=random.getrandbits(32) if seed is None else seed,
            server=server,
            progress=progress or _nothing,
        ).run()


def _check_store(store: EventStore, open_store: OpenStore) -> None:
    if store.head() is not None:
        raise ValueError(f"{store!r} holds events: name a new store, because what a torture appends stays for ever")
    with open_store() as again:
        if again.identity != store.identity:
            raise ValueError(f"{store!r} is another store each time it is opened, so processes cannot share it")


def _make_folder(records: Path | None) -> Path:
    """Make the folder for the records: those of another torture would be taken for this one's."""
    if records is None:
        return Path(tempfile.mkdtemp(prefix="esbank-torture-"))
    folder = records.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"there is something in {folder}: name a new folder for the records")
    return folder


def _append_last(task: Task, name: str) -> None:
    """Append the event that ends each category; in a process of its own, because it may get stuck."""
    with open_task(task, name) as store:
        for stream in END:
            event = NewEvent("TortureEnd", "{}")
            while True:
                try:
                    store.append(stream, [event], expected_version=ANY_VERSION)
                    break
                except StorageError as error:
                    task.rest(error)


def _nothing(_what: str, _done: float, _total: float) -> None:
    return None


class _Torture:
    """One torture, from the first process to the verdict."""

    def __init__(
        self,
        store: EventStore,
        open_store: OpenStore,
        *,
        seconds: float,
        processes: int,
        seed: int,
        records: Path | None,
        server: Server | None,
        progress: Progress,
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._server = server
        self._views = store if isinstance(store, ViewStore) else None
        self._progress = progress
        self._findings = Findings()
        self._is_temporary = records is None
        folder = _make_folder(records)
        self._task = Task(open_store, Path.cwd(), store.identity, folder, seed, self._create_rows())
        self._writers = [self._worker(f"writers-{one}", write, one) for one in range(processes)]
        self._followers = [self._worker(one.value, follow, one) for one in Follower]
        for one in Follower:
            self._task.record(one.value).touch()  # for the judge, should it never get so far
        # One of them alone rebuilds, as two that do so at once are told to try again.
        projectors = {} if self._views is None else {"projector-1": True, "projector-2": False}
        self._projectors = [
            self._worker(name, partial(project, rebuilds=rebuilds), name) for name, rebuilds in projectors.items()
        ]
        self._workers = [*self._writers, *self._followers, *self._projectors]
        self._crew = Crew(self._workers, server)
        self._last_word = self._worker("end", _append_last, "end")

    def _worker(self, name: str, run: Callable[..., object], argument: object) -> Worker:
        return Worker(name, run, (self._task, argument), self._task.opened(name))

    def run(self) -> Verdict:
        """Torture and judge."""
        try:
            if self._views is not None:
                runner_of(self._store).catch_up()  # makes the table of the view
            self._tell_stuck(self._crew.start(_OPENING_PATIENCE))
            self._seconds = self._crew.torture(self._seconds, self._tell_time)
            self._task.end()
            self._end_the_log()
            self._end_all()
            self._look_for_the_dead()
            return self._judge(self._last_position())
        except BaseException:
            self._end_all()
            self._forget()
            raise

    def _end_all(self) -> None:
        self._crew.end()
        if self._last_word.is_alive:
            self._last_word.kill()

    def _create_rows(self) -> bool:
        """Make the table that is written to together with events, where the store can do that."""
        if self._views is None or not isinstance(self._store, TransactionalStore):
            return False
        with self._views.view_transaction() as tx:
            tx.execute(CREATE_ROWS)
        return True

    def _end_the_log(self) -> None:
        """Let the writers come to their end, append the last events, and wait for those who follow."""
        self._progress("Ending", 0, 1)
        self._tell_stuck(self._crew.wait_for(self._writers, _PATIENCE))
        self._last_word.start()
        self._tell_stuck(self._crew.wait_for([self._last_word], _PATIENCE))
        if self._last_word.exit_code:
            return
        self._tell_stuck(self._crew.wait_for(self._followers, _PATIENCE))
        if self._views is not None:
            try:
                runner_of(self._store).wait_for(self._head(), _PATIENCE)
            except (TimeoutError, EsbankError) as error:
                self._findings.add(Check.PROCESSES, f"the view does not come to the end of the log: {error}")

    def _last_position(self) -> int:
        """Return where the log ends now, for the view too.

        An append that was on its way when its writer was killed may have come in after the last events.
        """
        if self._views is not None:
            runner_of(self._store).catch_up()
        return self._head()

    def _head(self) -> int:
        """Look where the log ends; a server that was killed may have left connections that are none any more."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._store.head() or 0
            except StorageError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def _tell_stuck(self, stuck: Iterable[str]) -> None:
        for name in stuck:
            path = self._task.stacks(name)
            stacks = path.read_text(encoding="utf-8") if path.exists() else "it had not begun"
            self._findings.add(Check.PROCESSES, f"{name} was stuck:\n{stacks}")

    def _look_for_the_dead(self) -> None:
        """Find the processes and threads that have ended otherwise than they should, and say why."""
        for died in sorted(self._task.folder.glob("*.died")):
            self._findings.add(Check.PROCESSES, f"{died.stem} failed: {died.read_text(encoding='utf-8')}")
        for worker in (*self._workers, self._last_word):
            if worker.exit_code and not worker.was_killed and not self._task.died(worker.name).exists():
                self._findings.add(Check.PROCESSES, f"{worker.name} ended with the code {worker.exit_code}")

    def _tell_errors(self, first: str | None) -> None:
        """Find the calls that have failed, for which there is no excuse if no server was killed."""
        errors = [] if first is None else [first]
        for path in sorted(self._task.folder.glob("*.errors")):
            errors += [f"{path.stem}: {error}" for error in path.read_text(encoding="utf-8").splitlines()]
        for error in errors:
            self._findings.add(Check.PROCESSES, f"a call failed, and nobody has killed a server: {error}")

    def _judge(self, last: int) -> Verdict:
        found = judge(
            self._store, self._task, last, self._findings, lambda position: self._progress("Judging", position, last)
        )
        if self._server is None:
            self._tell_errors(found.records.first_error)
        verdict = Verdict(
            seconds=self._seconds,
            seed=self._task.seed,
            writers=len(self._writers) * THREADS,
            acknowledged=found.records.acknowledged,
            events=found.events,
            streams=found.streams,
            conflicts=found.records.conflicts,
            looks=found.records.looks,
            repeats=found.records.repeats,
            unanswered=found.records.unanswered,
            followed=found.followed,
            kills=self._crew.toll.kills,
            stops=self._crew.toll.stops,
            server_kills=self._crew.toll.server_kills,
            checks=tuple(check for check in Check if check in found.checks),
            findings=tuple(self._findings),
            records=self._task.folder,
        )
        if verdict.ok and self._is_temporary:
            self._forget()
            return evolve(verdict, records=None)
        return verdict

    def _forget(self) -> None:
        """Remove the records, unless they are wanted."""
        if self._is_temporary:
            shutil.rmtree(self._task.folder)

    def _tell_time(self, passed: float) -> None:
        self._progress("Torturing", passed, self._seconds)
