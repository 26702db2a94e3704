"""Names that only one at a time may hold, among all processes that use a file.

The operating system keeps the locks, so they are gone with whoever held them: nothing has to be renewed, and nothing
expires under a slow holder. They are locks on single bytes of an empty file beside the store's.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from attrs import define, field

from esbank.errors import AlreadyRunning, StorageError

__all__ = ["claim", "claim_in_process"]

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(file: int, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int, offset: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)

    def _unlock(file: int, offset: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, offset)


@define
class _LockFile:
    """A file that this process has open once: to close it would give up all of its locks."""

    descriptor: int
    names: set[str] = field(factory=set[str])


_open_files: Final[dict[str, _LockFile]] = {}
_mutex: Final = threading.Lock()


@contextmanager
def claim(file: str, name: str) -> Generator[None]:
    """Hold `name` among all that use `file`; raises ``AlreadyRunning`` when somebody else does."""
    offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]) >> 1
    with _mutex:
        lock_file = _open_files.get(file)
        if lock_file is None:
            lock_file = _LockFile(_open(file))
        if name in lock_file.names:
            raise AlreadyRunning(name)
        try:
            _lock(lock_file.descriptor, offset)
        except OSError as error:
            _close_if_unused(file, lock_file)
            if isinstance(error, (BlockingIOError, PermissionError)):
                raise AlreadyRunning(name) from error
            raise StorageError(file, f"{error}; use a local disk") from error
        _open_files[file] = lock_file
        lock_file.names.add(name)
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # a forked child has no part in it
            with _mutex:
                lock_file.names.discard(name)
                _unlock(lock_file.descriptor, offset)
                _close_if_unused(file, lock_file)


@contextmanager
def claim_in_process(names: set[str], name: str) -> Generator[None]:
    """Hold `name` among those that share a set of `names`; raises ``AlreadyRunning`` when it is in there."""
    with _mutex:
        if name in names:
            raise AlreadyRunning(name)
        names.add(name)
    try:
        yield
    finally:
        names.discard(name)


def _open(file: str) -> int:
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(file, f"{error}; give this user the right to write the file and its folder") from error


def _close_if_unused(file: str, lock_file: _LockFile) -> None:
    if not lock_file.names:
        os.close(lock_file.descriptor)
        _open_files.pop(file, None)


def _forget_all() -> None:
    """Begin a forked child without any: its parent holds the locks."""
    for lock_file in _open_files.values():
        os.close(lock_file.descriptor)
    _open_files.clear()
    _mutex.release()


if hasattr(os, "register_at_fork"):
    # Nobody is to be between opening or closing a file and saying so.
    os.register_at_fork(before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_forget_all)
