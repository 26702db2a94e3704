"""A log as a text file, one line for each event: to move it to another database, to hand it over, to keep it for long.

It is no store: nobody appends to it or reads a stream of it. ``esbank.transfer`` copies a store into it and out of it,
and loses nothing.

Lines are JSON in UTF-8, and each ends with a newline. The first one says what the file is::

    {"format":"esbank events","version":1,"store":"…"}

`store` is the identity of the store that it was begun from. Each further line is an event, in position order:

=================== ================================================================================================
`position`          its place in the log
`append`            the position of the first event that was appended with it
`append_end`        the position of the last event that was appended with it; their positions are contiguous
`category`, `key`   the two parts of its stream's name
`version`           its place in the stream
`event_id`          a UUID
`type`              the name of the event's type
`schema_version`    a number from 1
`data`, `metadata`  the JSON texts that are stored, as texts: every byte of them counts, because the digest covers them
`recorded_at`       microseconds since 1970-01-01T00:00:00Z
`digest`            64 hexadecimal digits (see ``event_digest``), or null where the store keeps no digests
=================== ================================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Self, TypeAlias
from uuid import UUID

import msgspec
from attrs import define, field

from esbank.backends._claims import claim
from esbank.backends._imports import check_import
from esbank.errors import AlreadyRunning, StorageError, StoreClosed
from esbank.store import StoredEvent, StreamId, microseconds

__all__ = ["JsonlLog"]

_FORMAT: Final = "esbank events"
_VERSION: Final = 1
_FINISH: Final = "whoever wrote it was interrupted, so copy into it once more"
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
_Moment: TypeAlias = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000_000, le=253_402_300_799_999_999)]
_Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Header(msgspec.Struct):
    format: str
    version: int
    store: str


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    position: _Number
    append: _Number
    append_end: _Number
    category: str
    key: str
    version: _Number
    event_id: UUID
    type: str
    schema_version: _Number
    data: str
    metadata: str
    recorded_at: _Moment
    digest: _Digest | None


_decode_header: Final = msgspec.json.Decoder(_Header).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


class _CutOffError(StorageError):
    """The file ends within a line or within an append, as a writer leaves it that was killed."""


@define
class _Contents:
    """What a file holds up to `end`, in bytes: the identity of the store, and where the log and its streams are."""

    identity: str
    end: int
    last: tuple[int, int] = (0, 0)
    has_digests: bool | None = None
    heads: dict[StreamId, tuple[int, bytes | None]] = field(factory=dict[StreamId, tuple[int, bytes | None]])

    def add(self, append: Sequence[StoredEvent], size: int) -> None:
        for event in append:
            self.heads[event.stream] = event.version, event.digest
        self.last = append[-1].position, microseconds(append[-1].recorded_at)
        self.has_digests = append[-1].digest is not None
        self.end += size


class JsonlLog:
    """The file of events at `path`: a ``PortableLog``. Its memory grows with the number of streams.

    Without `copy_of` the file must be there, and is only read. `copy_of` is the identity of the store that is to be
    copied into it: then it is made when it is not there, and what a writer has left half-written at its end, because it
    was killed, is cut off. One at a time may write; an empty file beside it, which ends in ``-claims``, sees to that.

    Raises ``StorageError`` that names the line for a file that is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, copy_of: str | None = None) -> None:
        self._path = os.fspath(path)
        if copy_of is not None:
            _check_identity(copy_of)
        self._file = Path(self._path).absolute()
        self._closed = False
        with self._named_errors(), ExitStack() as resources:
            self._writer = None if copy_of is None else self._open_writer(resources, copy_of)
            self._contents = self._look()
            self._resources = resources.pop_all()

    @property
    def identity(self) -> str:
        """Which store the events come from."""
        return self._contents.identity

    def head(self) -> int | None:
        """Return the position of the last event, None when there is none."""
        self._check_open()
        return self._contents.last[0] or None

    def read_appends(self, *, after: int | None = None) -> Iterator[tuple[StoredEvent, ...]]:
        """Read the file append by append: the events that were stored together."""
        self._check_open()
        return self._appends_after(after or 0)

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        """Write the appends of a log at the end, as they are, all or nothing; return how many events.

        They are on the disk when this returns. Ids are compared with those of the same call, not with the whole file.
        """
        self._check_open()
        writer = self._writer
        if writer is None:
            raise StorageError(self._path, "the file was opened to be read; give copy_of= to copy into it")
        appends = [tuple(append) for append in appends]
        contents = self._contents
        has_digests = contents.has_digests
        if has_digests is None:
            has_digests = bool(appends and appends[0] and appends[0][0].digest is not None)
        checked = check_import(
            appends,
            last=contents.last,
            head_of=lambda stream: contents.heads.get(stream, (0, None)),
            is_known=lambda _stream, _event_id: False,
            has_digests=has_digests,
        )
        count = len(list(checked))
        texts = [_write_append(append) for append in appends]
        with self._named_errors():
            self._write(writer, b"".join(texts))
        for append, text in zip(appends, texts, strict=True):
            contents.add(append, len(text))
        return count

    def close(self) -> None:
        """Let go of the file. May be called again; every other call then raises ``StoreClosed``."""
        self._closed = True
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"JsonlLog({self._path!r})"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(self._path)

    def _open_writer(self, resources: ExitStack, identity: str) -> FileIO:
        self._file.touch()
        try:
            resources.enter_context(claim(f"{os.path.realpath(self._file)}-claims", "writer"))
        except AlreadyRunning as error:
            raise StorageError(self._path, "somebody else copies into the file; wait until that is done") from error
        writer = resources.enter_context(self._file.open("r+b", buffering=0))
        header = _encode(_Header(_FORMAT, _VERSION, identity)) + b"\n"
        begun = writer.read(len(header))
        if len(begun) < len(header) and header.startswith(begun):  # it is new, or whoever made it was killed
            writer.seek(0)
            _write_out(writer, header)
            _sync_folder(self._file.parent)
        return writer

    def _look(self) -> _Contents:
        with self._file.open("rb") as file:
            header = file.readline()
            contents = _Contents(self._identity_in(header), len(header))
            try:
                for append, size in self._whole_appends(file):
                    contents.add(append, size)
            except _CutOffError:
                if self._writer is None:
                    raise
                self._writer.truncate(contents.end)
        return contents

    def _identity_in(self, header: bytes) -> str:
        try:
            told = _decode_header(header)
        except (ValueError, RecursionError):
            told = None
        if told is None or told.format != _FORMAT or not header.endswith(b"\n"):
            raise StorageError(self._path, "line 1: this is no file of events; check the path")
        if told.version != _VERSION:
            problem = f"the file has format version {told.version}, this esbank knows {_VERSION}; upgrade esbank"
            raise StorageError(self._path, problem)
        return told.store

    def _appends_after(self, after: int) -> Iterator[tuple[StoredEvent, ...]]:
        with self._named_errors(), self._file.open("rb") as file:
            reached = len(file.readline())
            appends = self._whole_appends(file)
            # What is behind that is not written yet.
            while reached < self._contents.end:
                self._check_open()
                append, size = next(appends, ((), 0))
                if not append:
                    raise _CutOffError(self._path, f"the file was cut off while it was read; {_FINISH}")
                reached += size
                if append[-1].position > after:
                    yield append

    def _whole_appends(self, file: BinaryIO) -> Iterator[tuple[tuple[StoredEvent, ...], int]]:
        """Read appends from the second line on, each with its size in bytes."""
        append: list[StoredEvent] = []
        size = 0
        before: _Line | None = None
        for number, text in enumerate(file, 2):
            if not text.endswith(b"\n"):
                raise _CutOffError(self._path, f"line {number} is cut off; {_FINISH}")
            try:
                line = _decode_line(text)
                _check_place(line, before)
                append.append(_event(line))
            except (ValueError, RecursionError) as error:
                problem = f"line {number} is damaged: {error}; keep a copy of the file, and copy its source once more"
                raise StorageError(self._path, problem) from error
            size += len(text)
            before = line
            if line.position == line.append_end:
                yield tuple(append), size
                append, size = [], 0
        if append:
            raise _CutOffError(self._path, f"the file ends within an append; {_FINISH}")

    def _write(self, writer: FileIO, text: bytes) -> None:
        try:
            writer.seek(self._contents.end)
            _write_out(writer, text)
        except OSError:
            with suppress(OSError):
                writer.truncate(self._contents.end)
            self.close()
            raise

    @contextmanager
    def _named_errors(self) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(self._path, "there is no such file or folder; check the path") from error
        except OSError as error:
            problem = f"{error.strerror}; free some space, or give this user the right to it, and copy again"
            raise StorageError(self._path, problem) from error


def _check_identity(identity: object) -> None:
    if not isinstance(identity, str) or not identity.isprintable():
        raise ValueError(f"copy_of is the identity of a store, not {identity!r:.60}")


def _check_place(line: _Line, before: _Line | None) -> None:
    """Refuse a line that does not go on where the one before it ends, with a ``ValueError``."""
    if before is not None and before.position < before.append_end:
        expected = before.position + 1, before.append, before.append_end
    else:
        expected = line.position, line.position, max(line.position, line.append_end)
    if (line.position, line.append, line.append_end) != expected or (before and line.position <= before.position):
        place = f"position {line.position}, of an append from {line.append} to {line.append_end},"
        raise ValueError(f"{place} cannot come here")


def _event(line: _Line) -> StoredEvent:
    return StoredEvent(
        StreamId(line.category, line.key),
        line.version,
        line.position,
        line.event_id,
        line.type,
        line.schema_version,
        line.data,
        line.metadata,
        line.recorded_at,
        None if line.digest is None else bytes.fromhex(line.digest),
    )


def _write_append(append: Sequence[StoredEvent]) -> bytes:
    lines = (
        _Line(
            position=event.position,
            append=append[0].position,
            append_end=append[-1].position,
            category=event.stream.category,
            key=event.stream.key,
            version=event.version,
            event_id=event.event_id,
            type=event.type,
            schema_version=event.schema_version,
            data=event.data,
            metadata=event.metadata_text,
            recorded_at=microseconds(event.recorded_at),
            digest=None if event.digest is None else event.digest.hex(),
        )
        for event in append
    )
    return b"".join(_encode(line) + b"\n" for line in lines)


def _write_out(file: FileIO, text: bytes) -> None:
    """Write all of a text, and wait until it is on the disk."""
    left = memoryview(text)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """See that the name of a new file is on the disk too, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
