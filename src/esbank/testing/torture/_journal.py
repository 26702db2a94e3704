"""What writers and followers have done and seen, in files outside the store: the evidence.

A line is on its way before the call that it announces is made, and the answer's before anything else is done. So a
process that is killed leaves at most one append without an answer, and what it was told is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self, TypeAlias

import msgspec

__all__ = ["Answered", "Began", "Conflicted", "Entry", "Journal", "Lines", "Looked", "Unanswered", "entries"]

_TAIL: Final = 1 << 20

Times: TypeAlias = tuple[int, int]
"""When something began and when it ended, by a clock that all processes share, in nanoseconds."""


class Looked(msgspec.Struct, tag="looked", frozen=True):
    """A writer was told the version of a stream."""

    stream: str
    version: int
    times: Times


class Began(msgspec.Struct, tag="began", frozen=True):
    """A writer is about to make an append, or makes it again; `seen` has the version of each stream of the plan."""

    number: int
    at: int
    seen: list[int]


class Answered(msgspec.Struct, tag="answered", frozen=True):
    """The append was acknowledged: the last version and the last position of each stream that it wrote to."""

    number: int
    times: Times
    versions: list[int]
    positions: list[int]


class Conflicted(msgspec.Struct, tag="conflicted", frozen=True):
    """The append was refused, because a stream was not as expected."""

    number: int
    times: Times
    stream: str
    expected: str
    actual: int


class Unanswered(msgspec.Struct, tag="unanswered", frozen=True):
    """The store could not say what became of the append."""

    number: int
    times: Times
    error: str


Entry: TypeAlias = Looked | Began | Answered | Conflicted | Unanswered

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode


class Lines:
    """A file that gets whole lines at its end, whatever becomes of those who write to it.

    Whoever opens it takes away the line at which its predecessor was killed.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.tail = self._read_tail()

    def write(self, *lines: bytes) -> None:
        """Write lines, without keeping anything back."""
        rest = memoryview(b"".join(line + b"\n" for line in lines))
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read_tail(self) -> list[bytes]:
        """Read the last lines, a megabyte at most."""
        size = os.fstat(self._file).st_size
        begin = max(0, size - _TAIL)
        *lines, torn = os.pread(self._file, _TAIL, begin).split(b"\n")
        os.ftruncate(self._file, size - len(torn))
        return lines[1:] if begin else lines


class Journal:
    """The journal of one writer; it goes on where its predecessor was killed."""

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path)
        self._last = [_decode(line) for line in self._lines.tail]

    def write(self, entry: Entry) -> None:
        """Write what has happened, or is about to."""
        self._lines.write(_encode(entry))

    @property
    def unfinished(self) -> Began | None:
        """The append without an answer at which the predecessor was killed."""
        begun = self._last_begun
        answers = (entry.number for entry in self._last if isinstance(entry, Answered | Conflicted))
        return None if begun is None or begun.number in answers else begun

    @property
    def next_number(self) -> int:
        """The number of the next new append."""
        return 0 if self._last_begun is None else self._last_begun.number + 1

    @property
    def _last_begun(self) -> Began | None:
        begun = [entry for entry in self._last if isinstance(entry, Began)]
        return max(begun, key=lambda entry: entry.number, default=None)

    def close(self) -> None:
        """Let go of the file."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def entries(path: Path) -> Iterator[Entry]:
    """Read a journal; a last line that is not whole was never said."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield _decode(line)
