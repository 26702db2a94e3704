"""When the power fails: what was acknowledged is on the disk, and the rest is there in whole appends or not at all.

A copy of a file shows what programs have written, be it on the disk yet or not. So here the system calls of a program
are recorded, and from them the disk is made as it may have been at some moment: with what was synced by then, and with
as much of the rest as chance would have it, in any order, down to single sectors.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import sleep

import pytest
from attrs import Factory, define, frozen
from processes import Process, Start, hear

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, NewEvent, StoredEvent, StreamId
from esbank.verification import verify

PROGRAMS = Path(__file__).parent / "sqlite_fault_programs.py"
ACCOUNT = StreamId("Account", "1")
SECTOR = 512


@pytest.fixture
def programs() -> Path:
    return PROGRAMS


# What a program asked of the disk


@frozen
class Make:
    name: str


@frozen
class Remove:
    name: str


@frozen
class Write:
    name: str
    offset: int
    content: bytes


@frozen
class Resize:
    name: str
    size: int


@frozen
class Sync:
    """All of a file is on the disk when this is done, or the names of all files if it is the folder's."""

    name: str


@frozen
class Acknowledge:
    """The program says that everything up to a position is stored."""

    position: int


Step = Make | Remove | Write | Resize | Sync | Acknowledge

CALLS = {
    "openat": r'AT_FDCWD<.*>, "(?P<name>.*)", .*O_CREAT.*',
    "unlink": r'"(?P<name>.*)"',
    "pwrite64": r'\d+<(?P<name>.*?)>, "(?P<content>.*)", \d+, (?P<offset>\d+)',
    "ftruncate": r"\d+<(?P<name>.*?)>, (?P<size>\d+)",
    "fsync": r"\d+<(?P<name>.*?)>",
    "fdatasync": r"\d+<(?P<name>.*?)>",
    "write": r'1<.*>, "(?P<position>\d+)(?:\\n)?", \d+',
}
CALL = re.compile(rf"\d+ +(?P<call>{'|'.join(CALLS)})\((?P<arguments>.*)\) += \d+(<.*>)?\n")


def recorded(program: str, path: Path, *arguments: object) -> list[Step]:
    """Run a program that writes to the file at `path`; return what it asked of the disk, and what it said, in order."""
    trace = path.with_suffix(".trace")
    strace = ["strace", "-f", "--seccomp-bpf", "-y", "-s", "1000000", "-e", f"trace={','.join(CALLS)}", "-o", trace]
    subprocess.run(
        [*strace, sys.executable, PROGRAMS, program, path, *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    with trace.open(encoding="ascii") as lines:
        return [step for line in lines for step in steps_in(line, path)]


def steps_in(line: str, path: Path) -> Iterator[Step]:
    """Read a line of strace's; there is nothing in it when it concerns other files, or memory that processes share."""
    call = CALL.fullmatch(line)
    found = call and re.fullmatch(CALLS[call["call"]], call["arguments"])
    if not call or not found:
        return
    if call["call"] == "write":
        yield Acknowledge(int(found["position"]))
        return
    name = found["name"]
    if name == str(path.parent) or (name.startswith(str(path)) and not name.endswith("-shm")):
        match call["call"]:
            case "openat":
                yield Make(name)
            case "unlink":
                yield Remove(name)
            case "pwrite64":
                yield Write(name, int(found["offset"]), ast.literal_eval(f'b"{found["content"]}"'))
            case "ftruncate":
                yield Resize(name, int(found["size"]))
            case _:
                yield Sync(name)


# What is left of it


@define(eq=False)
class File:
    """The content that is on the disk, and what was asked of it since."""

    content: bytearray = Factory(bytearray)
    unsynced: list[Write | Resize] = Factory(list)

    def sync(self) -> None:
        for step in self.unsynced:
            carry_out(step, self.content)
        self.unsynced.clear()

    def after_power_loss(self, random: Random, survival: float) -> bytearray:
        content = bytearray(self.content)
        for step in self.unsynced:
            for part in sectors(step) if isinstance(step, Write) else [step]:
                if random.random() < survival:
                    carry_out(part, content)
        return content


def carry_out(step: Write | Resize, content: bytearray) -> None:
    if isinstance(step, Write):
        end = step.offset + len(step.content)
        content.extend(bytes(max(0, end - len(content))))
        content[step.offset : end] = step.content
    else:
        del content[step.size :]
        content.extend(bytes(step.size - len(content)))


def sectors(write: Write) -> Iterator[Write]:
    """Divide a write where the sectors of the disk do, each of which is written whole."""
    start, end = write.offset, write.offset + len(write.content)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield Write(write.name, start, write.content[start - write.offset : stop - write.offset])
        start = stop


@define
class Disk:
    """A folder as programs see it, as it is on the disk, and the names that were made or removed in between."""

    folder: str
    seen: dict[str, File] = Factory(dict)
    names: dict[str, File] = Factory(dict)
    unsynced: list[tuple[str, File | None]] = Factory(list)
    acknowledged: int = 0

    def take(self, step: Step) -> None:
        match step:
            case Acknowledge(position):
                self.acknowledged = position
            case Make(name):
                if name not in self.seen:
                    self.seen[name] = File()
                    self.unsynced.append((name, self.seen[name]))
            case Remove(name):
                if self.seen.pop(name, None) is not None:
                    self.unsynced.append((name, None))
            case Sync(self.folder):
                self.names = dict(self.seen)
                self.unsynced.clear()
            case Sync(name):
                self.seen[name].sync()
            case Write() | Resize():
                self.seen[step.name].unsynced.append(step)

    def after_power_loss(self, random: Random, survival: float) -> dict[str, bytearray]:
        """Return what is in the files; names are on the disk in the order in which they were made and removed."""
        names = dict(self.names)
        for name, file in self.unsynced:
            if random.random() >= survival:
                break
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        return {name: file.after_power_loss(random, survival) for name, file in names.items()}


def losses(
    steps: list[Step], folder: Path, *, count: int, random: Random
) -> Iterator[tuple[int, dict[str, bytearray]]]:
    """Lose power at so many moments; yield what was acknowledged by then, and what is in the files."""
    disk = Disk(str(folder))
    said = [index for index, step in enumerate(steps) if isinstance(step, Acknowledge)]
    moments = {*random.choices(said, k=count // 2), *random.choices(range(len(steps)), k=count // 2)}
    for index, step in enumerate(steps):
        disk.take(step)
        if index in moments:
            yield disk.acknowledged, disk.after_power_loss(random, random.choice([0.0, 0.0, 0.5, 0.9]))


def written(files: dict[str, bytearray], folder: Path) -> Path:
    """Write files into a new folder; return the path of the store among them."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
    return folder / "events.db"


@frozen
class Recording:
    """What a program asked of the disk, and what it had stored in the end."""

    folder: Path
    steps: list[Step]
    events: list[StoredEvent]

    @property
    def ends(self) -> list[int]:
        """Where each append ended; the events of one program have the positions 1, 2, 3 and so on."""
        return [step.position for step in self.steps if isinstance(step, Acknowledge)]


def record(folder: Path, durability: str, seed: int) -> Recording:
    path = folder / "events.db"
    steps = recorded("write_in_many_ways", path, durability, seed)
    starts = [step for step in steps if isinstance(step, Write) and step.name.endswith("-wal") and step.offset == 0]
    assert len(starts) > 2, "the log was never begun anew while the store was open, so this shows too little"
    with SQLiteEventStore(path) as store:
        return Recording(folder, steps, list(store.read_all()))


def check_whole(path: Path, events: list[StoredEvent], ends: Iterable[int]) -> int:
    """Check that a store holds the first of these events, up to an end of an append, and goes on; return how many."""
    with SQLiteEventStore(path, durability="normal") as store:
        found = list(store.read_all())
        assert found == events[: len(found)]
        assert len(found) in {0, *ends}
        assert store.query("PRAGMA integrity_check") == [("ok",)]
        if found:
            assert verify(store).ok
            counted = [event.data for event in found if event.type == "Counted"]
            assert store.query("SELECT CAST(batch AS TEXT) FROM counted") == [(batch,) for batch in counted]
        for stream in store.streams("Account"):
            versions = [event.version for event in store.read(stream)]
            assert versions == list(range(1, store.version(stream) + 1))
        then = store.append(ACCOUNT, [NewEvent("Noted", "{}")], expected_version=ANY_VERSION)
        assert [*found, *then.events] == list(store.read_all())
        assert verify(store).ok
    return len(found)


def what_is_left(recording: Recording, folder: Path, *, count: int, seed: int) -> Iterator[tuple[int, int]]:
    """Lose power so many times; yield how many events were acknowledged, and how many are there."""
    random = Random(seed)  # noqa: S311  # the same in each run
    all_losses = losses(recording.steps, recording.folder, count=count, random=random)
    for number, (acknowledged, files) in enumerate(all_losses):
        path = written(files, folder / str(number))
        yield acknowledged, check_whole(path, recording.events, recording.ends)
        shutil.rmtree(path.parent)


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None
    or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode != 0,  # noqa: S607
    reason="strace, which records what is synced, is not installed or may not trace here",
)
OFTEN = pytest.mark.parametrize(
    ("seed", "count"), [(1, 24), *(pytest.param(seed, 400, marks=pytest.mark.soak) for seed in (2, 3, 4))]
)


@needs_strace
@OFTEN
def test_what_was_acknowledged_is_there_after_a_loss_of_power(tmp_path: Path, seed: int, count: int) -> None:
    recording = record(tmp_path, "full", seed)

    for acknowledged, found in what_is_left(recording, tmp_path / "left", count=count, seed=seed):
        assert found >= acknowledged, f"seed {seed}"


@needs_strace
@OFTEN
def test_with_less_durability_a_loss_of_power_takes_the_last_appends_and_no_others(
    tmp_path: Path, seed: int, count: int
) -> None:
    recording = record(tmp_path, "normal", seed)

    left = list(what_is_left(recording, tmp_path / "left", count=count, seed=seed))

    assert any(found < acknowledged for acknowledged, found in left), f"seed {seed}: nothing was ever lost"
    # Half-way the store was closed, which syncs what it holds.
    closed = recording.ends[len(recording.ends) // 2 - 1]
    assert all(found >= closed for acknowledged, found in left if acknowledged > closed), f"seed {seed}"


# What processes have written at a moment, be it on the disk or not


@contextmanager
def paused(processes: list[Process]) -> Iterator[None]:
    """Stop processes wherever they are, for as long as the block lasts."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
    yield
    for process in processes:
        process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
@pytest.mark.parametrize("count", [12, pytest.param(60, marks=pytest.mark.soak)])
def test_a_copy_taken_at_any_moment_has_what_was_acknowledged_before(
    path: Path, tmp_path: Path, start: Start, count: int
) -> None:
    random = Random(count)  # noqa: S311  # the same in each run
    notes = {key: tmp_path / f"{key}.notes" for key in "abc"}
    processes = [start("append_and_note", path, key, file) for key, file in notes.items()]
    assert [hear(process) for process in processes] == ['"ready"\n'] * 3
    copied: list[int] = []

    for number in range(count):
        sleep(random.uniform(0.01, 0.05))
        with paused(processes):
            acknowledged = {key: [int(line) for line in file.read_text().split()] for key, file in notes.items()}
            files = {name: bytearray(Path(name).read_bytes()) for name in (str(path), f"{path}-wal")}
        with SQLiteEventStore(written(files, tmp_path / str(number)), durability="normal") as copy:
            assert verify(copy).ok
            for key, versions in acknowledged.items():
                stream = StreamId("Account", key)
                batches = [int(event.data.strip('{"number:}')) for event in copy.read(stream)]
                expected = [batch for batch in range(len(versions) + 1) for _ in range(batch % 3 + 1)]
                assert batches in (expected, expected[: sum(versions[-1:])]), f"copy {number} of {count}"
            copied.append(len(list(copy.read_all())))
            copy.append(ACCOUNT, [NewEvent("Noted", "{}")], expected_version=0)

    assert copied == sorted(copied)
    assert copied[-1] > copied[0]
