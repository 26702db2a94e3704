"""When the disk is full, fails or may not be written any more: what was acknowledged stays, and the store goes on."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from os import getuid
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from processes import Run

from esbank.backends._sqlite_connection import Connection
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import StorageError
from esbank.store import ANY_VERSION, NewEvent, StreamAppend, StreamId
from esbank.verification import verify

PROGRAMS = Path(__file__).parent / "sqlite_fault_programs.py"
ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")
NOBODY = 65534


def works(*command: str) -> bool:
    """Tell whether this system has a command, and lets it do its work."""
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


def told_by(*program: object, under: Sequence[object] = ()) -> Any:  # noqa: ANN401  # as json has it
    """Run one of the programs of faults, perhaps under another one; return what it says."""
    command = [*under, sys.executable, "-W", "error", PROGRAMS, *program]
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, timeout=120)
    return json.loads(done.stdout)


# Full


def writer_of(store: SQLiteEventStore) -> Connection:
    writer = store._database._writer  # noqa: SLF001  # to make it fail
    assert writer is not None
    return writer


def test_a_full_disk_keeps_what_was_acknowledged_and_nothing_else(store: SQLiteEventStore) -> None:
    store.append(ACCOUNT, [NewEvent("Deposited", "{}")], expected_version=ANY_VERSION)
    writer = writer_of(store)
    ((pages,),) = writer.rows("PRAGMA page_count")
    writer.rows(f"PRAGMA max_page_count={pages + 8}")
    acknowledged = list(store.read_all())

    def fill() -> list[StreamAppend]:
        while True:
            appends = [
                StreamAppend(stream, [NewEvent("Noted", f'"{"x" * 2_000}"') for _ in range(2)], ANY_VERSION)
                for stream in (ACCOUNT, OTHER)
            ]
            try:
                results = store.append_many(appends)
            except StorageError as error:
                assert "free some space and try again" in str(error)  # noqa: PT017  # which append failed matters
                return appends
            acknowledged.extend(event for result in results for event in result.events)

    failed = fill()

    assert list(store.read_all()) == acknowledged
    with pytest.raises(StorageError, match="free some space and try again"):
        store.append_many(failed)
    assert list(store.read_all()) == acknowledged

    writer.rows(f"PRAGMA max_page_count={pages + 1_000}")
    results = store.append_many(failed)

    assert list(store.read_all()) == acknowledged + [event for result in results for event in result.events]
    assert store.query("PRAGMA integrity_check") == [("ok",)]


def test_a_disk_that_fails_while_committing_keeps_what_was_acknowledged(path: Path, run: Run) -> None:
    told = run("fill_the_disk", path)

    acknowledged = told["acknowledged"]
    kind, message = told["failure"]
    assert acknowledged > 0
    assert told["then"] == list(range(1, 3 * acknowledged + 2))
    assert told["now"] == list(range(1, 3 * acknowledged + 5))
    assert kind in {"StorageError", "UnknownOutcome"}
    assert "try again" in message or "repeat the same append" in message
    with SQLiteEventStore(path) as store:
        assert [event.version for event in store.read(ACCOUNT)] == told["now"]
        assert store.query("PRAGMA integrity_check") == [("ok",)]


SMALL_DISK = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"',
)


@pytest.mark.skipif(
    not works(*SMALL_DISK, "/tmp", "true"),  # noqa: S108  # others do not see what is mounted there
    reason="this user may not mount a small disk, not even for one process (unshare --user --mount)",
)
def test_a_small_disk_may_run_full_again_and_again(tmp_path: Path) -> None:
    told = told_by("fill_a_small_disk", tmp_path, under=[*SMALL_DISK, tmp_path])

    assert [kind for kind, _ in told["errors"]] == ["UnknownOutcome"] * 3
    assert all("free some space and try again" in message for _, message in told["errors"])
    assert told["stored"] == told["head"] > 50
    assert told["ok"]


# Failing


def with_faults(path: Path, fault: str, *program: object) -> Any:  # noqa: ANN401  # as json has it
    """Run a program some of whose system calls on the files of a store fail, as `fault` tells strace."""
    files = [part for suffix in ("", "-wal", "-shm", "-journal") for part in ("-P", f"{path}{suffix}")]
    calls, _, _ = fault.partition(":")
    strace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-o",
        f"{path}.trace",
        *files,
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={fault}",
    ]
    told = told_by(*program, under=strace)
    told["faults"] = Path(f"{path}.trace").read_text().count("(INJECTED)")
    return told


needs_strace = pytest.mark.skipif(
    not works("strace", "-o", "/dev/null", "-e", "inject=sync:error=EIO", "true"),
    reason="strace, which makes system calls fail, is not installed or may not trace here",
)
FAULTS = {
    "the disk is full": "pwrite64:error=ENOSPC:when=30+101",
    "a write fails": "pwrite64:error=EIO:when=40+89",
    "a sync fails": "fsync,fdatasync:error=EIO:when=9+4",
    "a read fails": "pread64:error=EIO:when=12+307",
    "a file cannot be cut": "ftruncate:error=EIO:when=2+4",
    "a file cannot be removed": "unlink:error=EIO:when=1+3",
    "too many files are open": "openat:error=EMFILE:when=6+7",
}


@needs_strace
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_whatever_fails_now_and_then_is_stored_once_when_it_is_repeated(path: Path, fault: str) -> None:
    told = with_faults(path, fault, "write_through_faults", path, 20)

    assert told["faults"] > 1
    assert told["errors"]
    assert {kind for kind, _ in told["errors"]} <= {"StorageError", "UnknownOutcome"}
    with SQLiteEventStore(path) as store:
        assert [str(event.event_id) for event in store.read_all()] == told["stored"]
        assert [event.version for event in store.read(ACCOUNT)] == list(range(1, 121))
        assert verify(store).ok
        assert store.query("PRAGMA integrity_check") == [("ok",)]


@needs_strace
@pytest.mark.parametrize("fault", ["pwrite64:error=EIO:when=300", "fsync,fdatasync:error=EIO:when=15"])
def test_an_append_of_unknown_outcome_is_there_whole_or_not_when_its_process_is_gone(path: Path, fault: str) -> None:
    told = with_faults(path, fault, "write_until_a_fault", path)

    repeated = [NewEvent("Noted", f'"{"x" * 4_000}"', event_id=UUID(event_id)) for event_id in told["failed"]]
    with SQLiteEventStore(path) as store:
        found = [str(event.event_id) for event in store.read_all()]
        assert found in (told["stored"], told["stored"] + told["failed"])
        store.append(ACCOUNT, repeated, expected_version=ANY_VERSION)
        assert [str(event.event_id) for event in store.read_all()] == told["stored"] + told["failed"]
        assert verify(store).ok


# Read-only


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """Make a folder that belongs to a user who has no special rights."""
    with tempfile.TemporaryDirectory() as folder:
        if getuid() == 0:
            shutil.chown(folder, NOBODY)
        yield Path(folder)


def test_a_store_whose_files_become_read_only_can_still_be_read(nobodys: Path) -> None:
    told = told_by("lose_the_right_to_write", nobodys)

    assert told["seen"] == [[1, 2]] * 3 + [[1, 2, 3, 4]]
    assert len(told["errors"]) == 2
    assert all("give this user the right to write the file and its folder" in error for error in told["errors"])
