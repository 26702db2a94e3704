"""A log moves from one store to another, whole: interrupted, killed and run again, it is the same in the end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace

from esbank.backends.jsonl import JsonlLog
from esbank.backends.memory import MemoryEventStore
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountDetails, Bank
from esbank.errors import ImportRefused, NotACopy, StorageError
from esbank.store import ANY_VERSION, Metadata, NewEvent, PortableLog, StoredEvent, StreamAppend, StreamId
from esbank.testing.postgres import PostgresServer
from esbank.transfer import Comparison, compare_logs, copy_events
from esbank.verification import verify

ONE, TWO = StreamId("Account", "1"), StreamId("Account", "2 😀 é\n\"'")
WHO = Metadata("c-1", None, "o'Hara", extra={"b": 1, "a": [1.5, "é"]})
KINDS = ["memory", "sqlite", "jsonl"]
Log: TypeAlias = MemoryEventStore | SQLiteEventStore | JsonlLog
Append: TypeAlias = tuple[StoredEvent, ...]


def open_log(kind: str, folder: Path, name: str, *, digests: bool = True) -> Log:
    """Open a log that is empty the first time."""
    if kind == "memory":
        return MemoryEventStore(digests=digests)
    if kind == "sqlite":
        return SQLiteEventStore(folder / f"{name}.db", durability="normal", digests=digests)
    return JsonlLog(folder / f"{name}.jsonl", copy_of=name)


def new_events(count: int) -> list[NewEvent]:
    return [NewEvent("Noted", f'{{"n": {n}}}', metadata=WHO if n % 2 else Metadata()) for n in range(count)]


def fill(store: MemoryEventStore | SQLiteEventStore, *, rounds: int = 3) -> None:
    """Append to two streams, one after the other and both at once: six events in four appends, each time."""
    for _ in range(rounds):
        store.append(ONE, new_events(1), expected_version=ANY_VERSION)
        store.append(TWO, new_events(2), expected_version=ANY_VERSION)
        store.append_many([StreamAppend(stream, new_events(1), ANY_VERSION) for stream in (TWO, ONE)])
        store.append(ONE, new_events(1), expected_version=ANY_VERSION)


@pytest.fixture
def source() -> Iterator[MemoryEventStore]:
    """Give a store with 18 events in 12 appends."""
    with MemoryEventStore() as source:
        fill(source)
        yield source


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """Give an empty log of each kind."""
    with open_log(request.param, tmp_path, "target") as target:
        yield target


def of(appends: Sequence[Append]) -> MemoryEventStore:
    """Make a store that holds other appends than anybody has made: it has no digests."""
    store = MemoryEventStore(digests=False)
    store.import_events([replace(event, digest=None) for event in append] for append in appends)
    return store


class TestACopy:
    @pytest.mark.parametrize("digests", [True, False], ids=["digests", "no digests"])
    @pytest.mark.parametrize("second", KINDS)
    @pytest.mark.parametrize("first", KINDS)
    def test_holds_what_the_source_holds_on_every_way(
        self, tmp_path: Path, first: str, second: str, *, digests: bool
    ) -> None:
        with (
            MemoryEventStore(digests=digests) as origin,
            open_log(first, tmp_path, "first", digests=digests) as middle,
            open_log(second, tmp_path, "second", digests=digests) as target,
        ):
            fill(origin)

            for source, copy in ((origin, middle), (middle, target)):
                done = copy_events(source, copy)
                assert done.ok
                assert (done.copied, done.comparison) == (18, Comparison(18, 12, None))

            assert list(target.read_appends()) == list(origin.read_appends())
            assert [len(append) for append in target.read_appends()] == [1, 2, 2, 1] * 3

    @pytest.mark.parametrize("kind", ["memory", "sqlite"])
    def test_is_verified_as_the_source_is(self, tmp_path: Path, source: MemoryEventStore, kind: str) -> None:
        with open_log(kind, tmp_path, "copy") as copy:
            assert not isinstance(copy, JsonlLog)
            copy_events(source, copy)

            assert verify(copy) == verify(source)
            assert verify(copy, head=verify(source).head).ok

    def test_recognises_the_repeat_of_an_append(self, tmp_path: Path) -> None:
        events = {stream: new_events(2) for stream in (ONE, TWO)}
        appends = [StreamAppend(stream, given, 0) for stream, given in events.items()]
        with (
            SQLiteEventStore(tmp_path / "source.db") as source,
            JsonlLog(tmp_path / "file.jsonl", copy_of=source.identity) as file,
            SQLiteEventStore(tmp_path / "copy.db") as copy,
        ):
            first = source.append_many(appends)
            copy_events(source, file)
            copy_events(file, copy)

            assert copy.append_many(appends) == first
            assert copy.head() == 4

    def test_of_nothing_is_nothing(self, target: Log) -> None:
        with MemoryEventStore() as empty:
            done = copy_events(empty, target)

        assert (done.ok, done.copied, done.comparison) == (True, 0, Comparison(0, 0, None))
        assert target.head() is None

    def test_goes_on_where_the_source_has_grown(self, source: MemoryEventStore, target: Log) -> None:
        assert copy_events(source, target).copied == 18
        assert copy_events(source, target).copied == 0
        fill(source, rounds=1)

        done = copy_events(source, target)

        assert (done.ok, done.copied, done.comparison.events) == (True, 6, 24)

    def test_ends_where_the_source_was_when_it_began(self, source: MemoryEventStore, target: Log) -> None:
        def grow(_step: str, _reached: int, _last: int) -> None:
            fill(source, rounds=1)

        done = copy_events(source, target, progress=grow)

        assert (done.ok, done.copied, done.comparison.events) == (True, 18, 18)
        assert target.head() == 18
        assert (source.head() or 0) > 18

    def test_is_made_in_parts_and_tells_how_far_it_is(self, target: Log) -> None:
        told: list[tuple[str, int, int]] = []
        with MemoryEventStore() as source:
            for size in (999, 2, 1500, 998, 1, 1):
                source.append(ONE, new_events(size), expected_version=ANY_VERSION)

            done = copy_events(source, target, progress=lambda *progress: told.append(progress))

        assert (done.ok, done.copied) == (True, 3501)
        assert told == [
            *[("copying", reached, 3501) for reached in (1001, 2501, 3501)],
            *[("comparing", reached, 3501) for reached in (1001, 2501, 3501)],
        ]

    def test_is_a_log_that_can_be_copied(self, target: Log) -> None:
        assert isinstance(target, PortableLog)

    def test_of_a_damaged_event_is_refused_and_keeps_what_came_before(self, target: Log) -> None:
        with MemoryEventStore() as source:
            source.append(ONE, new_events(1000), expected_version=0)
            source.append(TWO, new_events(1), expected_version=0)
            source._log[-1] = replace(source._log[-1], data="[]")  # noqa: SLF001 - nobody else can

            with pytest.raises(ImportRefused) as raised:
                copy_events(source, target)

        assert (raised.value.stream, raised.value.version, raised.value.position) == (TWO, 1, 1001)
        assert target.head() == 1000

    @pytest.mark.parametrize("digests", [True, False])
    def test_does_not_mix_events_with_and_without_digests(self, tmp_path: Path, *, digests: bool) -> None:
        with MemoryEventStore(digests=digests) as source, MemoryEventStore(digests=not digests) as target:
            fill(source)
            with pytest.raises(ImportRefused, match="digest"):
                copy_events(source, target)

            with JsonlLog(tmp_path / "file.jsonl", copy_of=source.identity) as file:
                copy_events(source, file)
                fill(target)
                later = [
                    tuple(replace(event, position=event.position + 18, version=event.version + 9) for event in append)
                    for append in target.read_appends()
                ]
                with pytest.raises(ImportRefused, match="digest"):
                    file.import_events(later)

    def test_leaves_inline_views_to_the_next_append(self, tmp_path: Path) -> None:
        with MemoryEventStore() as source:
            Bank(source).open_account("acc-001", "Alice", initial_balance=100)
            with SQLiteEventStore(tmp_path / "copy.db", inline=[AccountDetails()]) as copy:
                copy_events(source, copy)
                assert copy.query("SELECT * FROM account_details") == []

                Bank(copy).open_account("acc-002", "Bob")

                assert copy.query("SELECT count(*) FROM account_details") == [(2,)]


class TestATargetThatHoldsSomethingElse:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"data": '{"n": 1 }'}, id="data"),
            pytest.param({"type": "Paid"}, id="type"),
            pytest.param({"schema_version": 2}, id="schema version"),
            pytest.param({"_metadata": '{ "actor": "bob" }'}, id="metadata"),
            pytest.param({"_event_id": bytes(16)}, id="id"),
            pytest.param({"stream": StreamId("Account", "3"), "version": 1}, id="stream"),
        ],
    )
    def test_is_refused(self, source: MemoryEventStore, change: dict[str, Any]) -> None:
        *before, (event, *more) = list(source.read_appends())[:2]
        with of([*before, (event, *(replace(one, **change) for one in more))]) as target:
            with pytest.raises(NotACopy) as raised:
                copy_events(source, target)

            assert raised.value.position == target.head() == 3

    def test_is_refused_when_its_time_is_another(self, source: MemoryEventStore) -> None:
        (event,) = next(source.read_appends())
        earlier = replace(event, _recorded_at=event.recorded_at - timedelta(days=1))
        with of([(earlier,)]) as target, pytest.raises(NotACopy, match="recorded_at"):
            copy_events(source, target)

    def test_is_refused_when_it_is_a_log_of_its_own(self, source: MemoryEventStore) -> None:
        with MemoryEventStore() as target:
            fill(target, rounds=1)

            with pytest.raises(NotACopy, match=r"goes to position 6, .* has another event_id") as raised:
                copy_events(source, target)

            assert raised.value.position == target.head() == 6

    def test_is_refused_when_it_goes_on_beyond_the_source(self, source: MemoryEventStore, target: Log) -> None:
        copy_events(source, target)
        with of([]) as empty, of(list(source.read_appends())[:-1]) as shorter:
            for other in (empty, shorter):
                with pytest.raises(NotACopy, match="the source ends before that"):
                    copy_events(other, target)
        assert target.head() == 18

    @pytest.mark.parametrize("parts", [[2, 1], [1, 1, 1]])
    def test_is_refused_when_its_last_events_were_appended_in_other_company(self, parts: list[int]) -> None:
        with MemoryEventStore(digests=False) as source:
            source.append(ONE, new_events(3), expected_version=0)
            events = list(source.read_all())
            split = [tuple(events.pop(0) for _ in range(part)) for part in parts]
            for count in range(1, len(parts) + 1):
                with (
                    of(split[:count]) as target,
                    pytest.raises(NotACopy, match=r"position 1 has 3 events|an append at position 1,"),
                ):
                    copy_events(source, target)

    def test_is_refused_when_it_ends_where_the_source_has_no_event(self, source: MemoryEventStore) -> None:
        appends = list(source.read_appends())
        moved = [tuple(replace(event, position=event.position + 1) for event in append) for append in appends[1:]]
        problem = "source has an append at position 3, the target has one at position 2"
        with (
            of([appends[0], *moved]) as gapped,
            of(appends[:2]) as target,
            pytest.raises(NotACopy, match=problem),
        ):
            copy_events(gapped, target)


class TestAComparison:
    @pytest.mark.parametrize(
        ("change", "difference"),
        [
            ({"data": '{"n":  0}'}, "data"),
            ({"type": "Paid"}, "type"),
            ({"schema_version": 2}, "schema_version"),
            ({"_metadata": "{ }"}, "metadata"),
            ({"_event_id": bytes(16)}, "event_id"),
        ],
    )
    def test_names_the_first_event_that_differs(
        self, source: MemoryEventStore, change: dict[str, Any], difference: str
    ) -> None:
        appends = list(source.read_appends())
        event, other = appends[2]
        with of(appends) as whole, of([*appends[:2], (replace(event, **change), other), *appends[3:]]) as target:
            assert compare_logs(whole, target) == Comparison(
                3, 2, f"Account-2 😀 é\n\"' version 3 (position 4) has another {difference} in the target"
            )
            # What the target ends with is what the source has there, so only the comparison can tell.
            done = copy_events(whole, target)
        assert (done.ok, done.copied, done.comparison.events) == (False, 0, 3)

    def test_sees_what_is_missing_and_what_is_too_much(self, source: MemoryEventStore, target: Log) -> None:
        appends = list(source.read_appends())
        target.import_events(appends[:-1])

        missing = compare_logs(source, target)
        with MemoryEventStore() as shorter:
            shorter.import_events(appends[:-2])
            more = compare_logs(shorter, target)

        assert missing == Comparison(17, 11, "the append at position 18 is missing in the target")
        assert more == Comparison(15, 10, "the target has an append at position 16, and the source ends before that")

    def test_sees_what_was_not_appended_together(self, source: MemoryEventStore) -> None:
        first, (one, two), *rest = source.read_appends()
        with of([first, (one, two), *rest]) as whole, of([first, (one,), (two,), *rest]) as target:
            difference = "the append at position 2 has 2 events in the source, and 1 in the target"
            assert compare_logs(whole, target) == Comparison(1, 1, difference)
            assert not copy_events(whole, target).ok

    def test_sees_other_positions(self, source: MemoryEventStore) -> None:
        first, *rest = source.read_appends()
        moved = [tuple(replace(event, position=event.position + 1) for event in append) for append in rest]
        with of([first, *rest]) as whole, of([first, *moved]) as target:
            difference = "where the source has an append at position 2, the target has one at position 3"
            assert compare_logs(whole, target) == Comparison(1, 1, difference)

    def test_survives_what_is_damaged(self, source: MemoryEventStore, target: Log) -> None:
        copy_events(source, target)
        source._log[0] = replace(source._log[0], _event_id=b"short")  # noqa: SLF001 - nobody else can

        comparison = compare_logs(source, target)

        assert comparison.events == 0
        assert str(comparison.difference).startswith("Account-1 version 1 (position 1) has a damaged event_id: ")


SIZE = 30_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a file that takes a while to copy."""
    path = tmp_path_factory.mktemp("large") / "source.db"
    with SQLiteEventStore(path, durability="normal") as store:
        for number in range(SIZE // 30):
            stream = StreamId("Account", str(number % 7))
            for size in (3, 20, 7):
                store.append(stream, new_events(size), expected_version=ANY_VERSION)
    return path


def open_target(kind: str, where: str) -> SQLiteEventStore | PostgresEventStore | JsonlLog:
    if kind == "jsonl":
        return JsonlLog(where)
    return SQLiteEventStore(where, create=False) if kind == "sqlite" else PostgresEventStore(where, create=False)


def copied(kind: str, where: str) -> int:
    """Tell about how many events have come through so far."""
    if kind == "jsonl":
        return Path(where).read_bytes().count(b"\n") if Path(where).exists() else 0
    try:
        with closing(open_target(kind, where)) as target:
            return target.head() or 0
    except StorageError:  # it is being made
        return 0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Start a server."""
    with PostgresServer() as server:
        yield server


@pytest.mark.parametrize("kind", ["sqlite", "jsonl", "postgresql"])
def test_a_copy_that_is_killed_again_and_again_goes_on(
    request: pytest.FixtureRequest, large: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "postgresql":
        where = request.getfixturevalue("server").dsn
    else:
        where = str(tmp_path / ("copy.jsonl" if kind == "jsonl" else "copy.db"))
    command = [sys.executable, "-m", "esbank", "copy", str(large), where]
    seen = [0]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and copied(kind, where) < seen[-1] + 2000:
                time.sleep(0.001)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        seen.append(copied(kind, where))
    assert seen == sorted(set(seen))
    assert seen[-1] < SIZE

    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("30,000 events in 3,000 appends: the target holds what the source held.\n")
    assert not done.stdout.startswith("30,000 ")
    with SQLiteEventStore(large) as source, open_target(kind, where) as target:
        assert compare_logs(source, target).ok
        if not isinstance(target, JsonlLog):
            assert verify(target) == verify(source)
