"""A log as a text file: what is in it, what is cut off, what is refused."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank.backends.jsonl import JsonlLog
from esbank.backends.memory import MemoryEventStore
from esbank.errors import StorageError, StoreClosed
from esbank.store import ANY_VERSION, Metadata, NewEvent, StreamAppend, StreamId
from esbank.transfer import copy_events

ONE, TWO = StreamId("Account", "1"), StreamId("Account", "2")
TEXT = '{ "amount": 12345678901234567890.10, "by": "Zoë\\u0000" }'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "events.jsonl"


@pytest.fixture
def source() -> Iterator[MemoryEventStore]:
    """Give a store with seven events in three appends."""
    with MemoryEventStore(clock=lambda: 1_700_000_000_123_456_000) as source:
        source.append(ONE, [NewEvent("Deposited", TEXT, event_id=UUID(int=9))], expected_version=0)
        source.append_many([StreamAppend(stream, [NewEvent("A", "{}")], ANY_VERSION) for stream in (TWO, ONE)])
        who = Metadata("c-1", actor="o'Hara")
        source.append(TWO, [NewEvent("B", str(n), metadata=who) for n in range(4)], expected_version=1)
        yield source


def copied(source: MemoryEventStore, path: Path) -> bytes:
    """Copy a store into a file; return what is in it."""
    with JsonlLog(path, copy_of=source.identity) as log:
        assert copy_events(source, log).ok
    return path.read_bytes()


def test_the_first_line_says_what_it_is_and_each_other_is_an_event(source: MemoryEventStore, path: Path) -> None:
    header, first, second, third, *_ = copied(source, path).decode().splitlines()

    assert json.loads(header) == {"format": "esbank events", "version": 1, "store": source.identity}
    digest = next(source.read(ONE)).digest
    assert digest is not None
    assert list(json.loads(first).items()) == [
        ("position", 1),
        ("append", 1),
        ("append_end", 1),
        ("category", "Account"),
        ("key", "1"),
        ("version", 1),
        ("event_id", "00000000-0000-0000-0000-000000000009"),
        ("type", "Deposited"),
        ("schema_version", 1),
        ("data", TEXT),
        ("metadata", "{}"),
        ("recorded_at", 1_700_000_000_123_456),
        ("digest", digest.hex()),
    ]
    for line in (second, third):
        told = json.loads(line)
        assert (told["append"], told["append_end"]) == (2, 3)


def test_a_file_of_a_store_without_digests_has_none(path: Path) -> None:
    with MemoryEventStore(digests=False) as source:
        source.append(ONE, [NewEvent("A", "{}")], expected_version=0)

        assert copied(source, path).endswith(b',"digest":null}\n')


def test_a_file_tells_where_it_comes_from_and_how_far_it_goes(source: MemoryEventStore, path: Path) -> None:
    with JsonlLog(path, copy_of=source.identity) as log:
        assert (log.identity, log.head()) == (source.identity, None)
        copy_events(source, log)
        assert log.head() == 7

    with JsonlLog(path) as log:
        assert (log.identity, log.head()) == (source.identity, 7)
        assert repr(log) == f"JsonlLog('{path}')"
        assert list(log.read_appends()) == list(source.read_appends())
        assert list(log.read_appends(after=2)) == list(source.read_appends(after=2))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
DATA = (
    st.builds(json.dumps, VALUES, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
    | st.integers(min_value=10**30).map(lambda number: f"[{number}.{number}e-{number % 400}]")
    | st.text("aé😀/", max_size=9).map(lambda text: f'"{text}"'.replace("a", "\\u0061"))
).filter(lambda text: "Infinity" not in text)
EVENTS = st.builds(
    NewEvent,
    NAMES,
    DATA,
    event_id=st.uuids(),
    schema_version=st.integers(1, 2**31 - 1),
    metadata=st.builds(
        Metadata,
        TEXTS,
        actor=TEXTS,
        occurred_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        extra=st.dictionaries(TEXTS, TEXTS),
    ),
)
STREAMS = st.builds(StreamId, NAMES.map(lambda name: name.replace("-", "_")), NAMES)


@settings(max_examples=50, deadline=None)
@given(
    appends=st.lists(
        st.tuples(STREAMS, st.lists(EVENTS, min_size=1, max_size=3, unique_by=lambda event: event.event_id)), max_size=5
    )
)
def test_whatever_can_be_stored_comes_back_letter_by_letter(
    tmp_path_factory: pytest.TempPathFactory, appends: list[tuple[StreamId, list[NewEvent]]]
) -> None:
    path = tmp_path_factory.mktemp("file") / "events.jsonl"
    with MemoryEventStore() as source, MemoryEventStore() as target:
        for stream, events in appends:
            if not any(source.find(stream, event.event_id) for event in events):
                source.append(stream, events, expected_version=ANY_VERSION)
        copied(source, path)
        with JsonlLog(path) as log:
            assert copy_events(log, target).ok

        assert list(target.read_appends()) == list(source.read_appends())
        texts = [[(event.data, event.metadata_text) for event in store.read_all()] for store in (source, target)]
        assert texts[0] == texts[1]


# What was interrupted


def test_wherever_a_writer_was_killed_the_next_one_goes_on(source: MemoryEventStore, path: Path) -> None:
    whole = copied(source, path)
    ends = {whole.index(b"\n") + 1}
    for append in source.read_appends():
        ends.add(sum(map(len, whole.splitlines(keepends=True)[: append[-1].position + 1])))

    for size in sorted({*range(0, len(whole), 11), *ends, *(end - 1 for end in ends), *(end + 1 for end in ends)}):
        path.write_bytes(whole[:size])
        with JsonlLog(path, copy_of=source.identity) as log:
            assert path.stat().st_size in ends
            done = copy_events(source, log)
            assert done.ok
        assert path.read_bytes() == whole


def test_a_file_that_was_cut_off_is_not_read(source: MemoryEventStore, path: Path) -> None:
    whole = copied(source, path)
    lines = whole.splitlines(keepends=True)

    path.write_bytes(whole[:-1])
    with pytest.raises(StorageError, match=r"line 8 is cut off; .* copy into it once more"):
        JsonlLog(path)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(StorageError, match=r"the file ends within an append; .* copy into it once more"):
        JsonlLog(path)
    assert path.read_bytes() == b"".join(lines[:-1])


def test_one_at_a_time_writes(source: MemoryEventStore, path: Path) -> None:
    with JsonlLog(path, copy_of=source.identity):
        with pytest.raises(StorageError, match="somebody else copies into the file"):
            JsonlLog(path, copy_of=source.identity)
        with JsonlLog(path) as reader:
            assert reader.head() is None
    with JsonlLog(path, copy_of=source.identity) as log:
        assert copy_events(source, log).ok


def test_what_is_written_while_a_file_is_read_is_not_read(source: MemoryEventStore, path: Path) -> None:
    first, *rest = source.read_appends()
    with JsonlLog(path, copy_of=source.identity) as log:
        log.import_events([first])
        with JsonlLog(path) as reader:
            reading = reader.read_appends()
            log.import_events(rest)

            assert list(reading) == [first]
            assert reader.head() == 1


def test_a_file_that_shrinks_while_it_is_read_is_noticed(source: MemoryEventStore, path: Path) -> None:
    whole = copied(source, path)
    with JsonlLog(path) as log:
        path.write_bytes(whole[: whole.index(b"\n") + 1])

        with pytest.raises(StorageError, match="cut off while it was read"):
            list(log.read_appends())


# What is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"position": "2"},
        {"position": 1},
        {"position": 0},
        {"position": True},
        {"position": 4},
        {"append": 1},
        {"append": 3},
        {"append_end": 1},
        {"category": "A-B"},
        {"key": ""},
        {"key": "\0"},
        {"version": 0},
        {"event_id": "9"},
        {"type": None},
        {"schema_version": 1.5},
        {"data": {}},
        {"metadata": {}},
        {"recorded_at": 2**62},
        {"digest": "00"},
        {"digest": "0" * 64 + "\n"},
        {"digest": "G" * 64},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_line_is_named(source: MemoryEventStore, path: Path, changes: dict[str, object]) -> None:
    lines = copied(source, path).splitlines(keepends=True)
    line = json.loads(lines[2])
    lines[2] = json.dumps({**line, **changes}).encode() + b"\n"
    path.write_bytes(b"".join(lines))

    for options in ({}, {"copy_of": source.identity}):
        with pytest.raises(StorageError, match=r"events\.jsonl: line [34] is damaged: ") as raised:
            JsonlLog(path, **options)
        assert raised.value.store == str(path)
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[]\n", b"{\n", b'{"position":"\xff"}\n', b"\0\n"])
def test_a_line_that_is_no_event_is_named(source: MemoryEventStore, path: Path, line: bytes) -> None:
    lines = copied(source, path).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))

    with pytest.raises(StorageError, match="line 3 is damaged"):
        JsonlLog(path)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_line_that_is_missing_within_an_append_is_noticed(source: MemoryEventStore, path: Path, number: int) -> None:
    lines = copied(source, path).splitlines(keepends=True)
    del lines[number + 1]
    path.write_bytes(b"".join(lines))

    with pytest.raises(StorageError, match=r"line [3-8] is damaged"):
        JsonlLog(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"dear diary,\n", b'{"format": "esbank events"', b'{"format":"x","version":1,"store":""}\n', b"{}\n"],
)
def test_what_is_no_file_of_events_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StorageError, match="line 1: this is no file of events"):
        JsonlLog(path)
    if content:
        with pytest.raises(StorageError, match="line 1: this is no file of events"):
            JsonlLog(path, copy_of="another")
    assert path.read_bytes() == content


def test_a_file_that_newer_code_wrote_is_refused(path: Path) -> None:
    path.write_bytes(b'{"format":"esbank events","version":2,"store":"a","more":1}\n')

    with pytest.raises(StorageError, match="format version 2, this esbank knows 1; upgrade"):
        JsonlLog(path)


def test_a_file_that_is_not_there_is_not_made_to_be_read(path: Path) -> None:
    with pytest.raises(StorageError, match="there is no such file"):
        JsonlLog(path)
    with pytest.raises(StorageError, match="there is no such file or folder"):
        JsonlLog(path.parent / "missing" / "events.jsonl", copy_of="a")
    with pytest.raises(StorageError, match="Is a directory"):
        JsonlLog(path.parent)

    assert list(path.parent.iterdir()) == []


def test_a_file_that_was_opened_to_be_read_takes_nothing(source: MemoryEventStore, path: Path) -> None:
    copied(source, path)

    with JsonlLog(path) as log, pytest.raises(StorageError, match="opened to be read"):
        log.import_events([])


def test_a_closed_file_gives_and_takes_nothing(source: MemoryEventStore, path: Path) -> None:
    log = JsonlLog(path, copy_of=source.identity)
    copy_events(source, log)
    reading = log.read_appends()
    next(reading)
    log.close()
    log.close()

    for call in (log.head, log.read_appends, lambda: log.import_events([]), lambda: next(reading)):
        with pytest.raises(StoreClosed):
            call()


@pytest.mark.parametrize("part", [0, 100])
def test_a_disk_that_is_full_leaves_the_file_as_it_was(
    source: MemoryEventStore, path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    first, *rest = source.read_appends()
    log = JsonlLog(path, copy_of=source.identity)
    log.import_events([first])
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        with path.open("r+b") as file:
            file.truncate(len(before) + part)  # so much was written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"No space left on device; free some space, .* copy again") as raised:
            log.import_events(rest)
    assert isinstance(raised.value.__cause__, OSError)
    assert path.read_bytes() == before

    with JsonlLog(path, copy_of=source.identity) as again:
        assert copy_events(source, again).copied == 6
