"""The optional capability to be copied: to give all of a log away, and to take another one just as it is."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, TypeAlias
from uuid import UUID

import pytest
from msgspec.structs import replace

from esbank.backends.memory import MemoryEventStore
from esbank.errors import DuplicateEvent, ImportRefused, StoreClosed
from esbank.store import (
    ANY_VERSION,
    EventStore,
    Metadata,
    NewEvent,
    PortableLog,
    StoredEvent,
    StreamAppend,
    event_digest,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, everything, new_event, new_events, nothing_changes

__all__ = ["Copies"]

Append: TypeAlias = tuple[StoredEvent, ...]

WHO: Final = Metadata(
    "c-1 😀", "because", "o'Hara", datetime(1969, 7, 20, 20, 17, 0, 1, UTC), {"b": [1, 2.5], "a": "\0"}, command_id="x"
)
TEXTS: Final = ("{}", ' { "naïve" : "\\u00e9 é \\u0000 😀" }\r\n', "[1e400, 12345678901234567890.10, -0.0]")
_LONG_AGO: Final = 1_000_000_000 * 10**9


def fill(store: EventStore) -> list[tuple[NewEvent, ...]]:
    """Append one event, several, and some to several streams at once; return the events of each append."""
    appended: list[tuple[NewEvent, ...]] = []
    for events in (new_events(1), [NewEvent("Noted", text, schema_version=3, metadata=WHO) for text in TEXTS]):
        store.append(ACCOUNT, events, expected_version=ANY_VERSION)
        appended.append(tuple(events))
    both = {OTHER: new_events(2), ACCOUNT: new_events(1)}
    store.append_many([StreamAppend(stream, events, ANY_VERSION) for stream, events in both.items()])
    appended.append((*both[OTHER], *both[ACCOUNT]))
    store.append(OTHER, [new_event(9)], expected_version=2)
    return appended


def spread(appends: Sequence[Append]) -> list[Append]:
    """Put gaps between appends, as the log of a database may have some."""
    return [
        tuple(replace(event, position=event.position + 10 * number) for event in append)
        for number, append in enumerate(appends, 1)
    ]


def read_on(appends: Sequence[Append], after: int | None) -> list[Append]:
    return [append for append in appends if append[-1].position > (after or 0)]


class Copies:
    """``PortableLog``."""

    can_be_copied: ClassVar[bool] = True
    has_digests: ClassVar[bool] = True

    @pytest.fixture
    def log(self, store: EventStore) -> PortableLog:
        """Return the store as what can be copied."""
        if not self.can_be_copied:
            pytest.skip("this store cannot be copied")
        assert isinstance(store, PortableLog)
        return store

    @pytest.fixture
    def source(self) -> Iterator[MemoryEventStore]:
        """Give another store, whose clock stands still."""
        with MemoryEventStore(digests=self.has_digests, clock=lambda: _LONG_AGO) as source:
            yield source

    @pytest.fixture
    def appends(self, source: MemoryEventStore) -> list[Append]:
        """Give the appends of another store."""
        fill(source)
        return spread(list(source.read_appends()))

    def test_the_store_can_be_copied_if_it_says_so(self, store: EventStore) -> None:
        assert isinstance(store, PortableLog) == self.can_be_copied

    # What is read

    def test_an_empty_log_has_no_appends(self, log: PortableLog) -> None:
        assert list(log.read_appends()) == []
        assert list(log.read_appends(after=7)) == []

    def test_what_was_appended_together_is_read_together(self, log: PortableLog, store: EventStore) -> None:
        appended = fill(store)

        appends = list(log.read_appends())

        assert [event for append in appends for event in append] == list(store.read_all())
        assert [len(append) for append in appends] == [1, 3, 3, 1]
        ids = [tuple(event.event_id for event in append) for append in appends]
        assert ids[:3] == [tuple(event.event_id for event in events) for events in appended]

    def test_appends_are_read_after_a_position_and_each_of_them_whole(
        self, log: PortableLog, appends: list[Append]
    ) -> None:
        log.import_events(appends)
        ends = [append[-1].position for append in appends]

        for after in [None, *range(ends[-1] + 3)]:
            assert list(log.read_appends(after=after)) == read_on(appends, after), after

    def test_a_long_log_is_read_whole_wherever_its_appends_end(self, log: PortableLog, store: EventStore) -> None:
        sizes = [999, 2, 1, 1500, 499, 1000, 1]
        for size in sizes:
            store.append(ACCOUNT, new_events(size), expected_version=ANY_VERSION)

        appends = list(log.read_appends())

        assert [len(append) for append in appends] == sizes
        assert [event.version for append in appends for event in append] == list(range(1, sum(sizes) + 1))

    @pytest.mark.parametrize("after", [-1, True, 1.0, "1", 2**63])
    def test_a_position_that_makes_no_sense_is_refused(self, log: PortableLog, after: Any) -> None:  # noqa: ANN401
        with pytest.raises(ValueError, match="after must be an int"):
            list(log.read_appends(after=after))

    # What is taken

    def test_nothing_may_be_imported(self, log: PortableLog, store: EventStore) -> None:
        with nothing_changes(store):
            assert log.import_events([]) == 0

    def test_events_stay_as_they_are(self, log: PortableLog, store: EventStore, appends: list[Append]) -> None:
        events = [event for append in appends for event in append]

        assert log.import_events(iter(appends)) == len(events)

        assert list(log.read_appends()) == appends
        assert everything(store) == (events, events[-1].position, [ACCOUNT, OTHER])
        for stored, event in zip(store.read_all(), events, strict=True):
            assert stored.metadata_text == event.metadata_text
            assert (stored.recorded_at, stored.occurred_at) == (event.recorded_at, event.occurred_at)
            assert stored.digest == event.digest
            assert store.find(event.stream, event.event_id) == event
        for stream in (ACCOUNT, OTHER):
            own = [event for event in events if event.stream == stream]
            assert list(store.read(stream)) == own
            assert store.version(stream) == len(own)
        assert list(store.read_correlated("c-1 😀")) == [event for event in events if event.metadata == WHO]

    def test_a_log_with_gaps_is_read_as_any_other(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        log.import_events(appends)
        events = [event for append in appends for event in append]

        for after in range(events[-1].position + 2):
            rest = [event for event in events if event.position > after]
            assert list(store.read_all(after=after)) == rest
            assert store.count(after=after) == len(rest)
            assert store.wait(after=after, timeout=0) == bool(rest)

    def test_a_log_is_taken_in_parts(self, log: PortableLog, store: EventStore, appends: list[Append]) -> None:
        for append in appends:
            log.import_events([append])

        assert list(log.read_appends()) == appends
        assert store.version(ACCOUNT) == 5

    def test_appends_go_on_behind_what_was_imported(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        log.import_events(appends)
        last = appends[-1][-1]

        result = store.append(OTHER, new_events(2), expected_version=3)

        assert result.version == 5
        assert result.events[0].position > last.position
        assert result.events[0].recorded_at >= last.recorded_at
        if self.has_digests:
            assert result.events[0].digest == event_digest(result.events[0], last.digest)
        assert list(log.read_appends(after=last.position)) == [result.events]

    def test_the_time_goes_on_behind_what_was_imported(self, log: PortableLog, store: EventStore) -> None:
        now = (datetime.now(UTC) + timedelta(days=2) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        with MemoryEventStore(digests=self.has_digests, clock=lambda: now * 1000) as source:
            source.append(ACCOUNT, new_events(1), expected_version=0)
            log.import_events(source.read_appends())

        (stored,) = store.append(ACCOUNT, new_events(1), expected_version=1).events

        assert [event.recorded_at for event in store.read_all()] == [stored.recorded_at] * 2

    def test_what_was_imported_can_go_on_behind_appends(self, log: PortableLog, store: EventStore) -> None:
        store.append(ACCOUNT, new_events(2), expected_version=0)
        with MemoryEventStore(digests=self.has_digests) as source:
            source.import_events(log.read_appends())
            source.append(ACCOUNT, new_events(2), expected_version=2)
            source.append(OTHER, new_events(1), expected_version=0)

            assert log.import_events(source.read_appends(after=store.head())) == 3

            assert everything(store) == everything(source)

    def test_a_repeat_of_an_append_that_was_imported_is_recognised(self, log: PortableLog, store: EventStore) -> None:
        with MemoryEventStore(digests=self.has_digests) as source:
            one, several, both = fill(source)
            log.import_events(spread(list(source.read_appends())))
        appends = [StreamAppend(OTHER, both[:2], 0), StreamAppend(ACCOUNT, both[2:], 4)]

        with nothing_changes(store):
            assert store.append(ACCOUNT, several, expected_version=1).version == 4
            assert [result.version for result in store.append_many(appends)] == [2, 5]
            for part in (several[:2], several[1:], one + several):
                with pytest.raises(DuplicateEvent):
                    store.append(ACCOUNT, part, expected_version=5)

    def test_an_import_wakes_whoever_waits(self, log: PortableLog, store: EventStore, appends: list[Append]) -> None:
        found: list[bool] = []
        waiter = threading.Thread(target=lambda: found.append(store.wait(after=None, timeout=20)), daemon=True)
        waiter.start()
        log.import_events(appends)
        waiter.join(20)

        assert found == [True]

    # What is refused

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            pytest.param({"position": 21}, "does not come after 21", id="the same position"),
            pytest.param({"position": 3}, "does not come after 21", id="an earlier position"),
            pytest.param({"position": 2**63}, "does not come after 21", id="no position"),
            pytest.param({"version": 1}, "is at version 1 by then", id="an earlier version"),
            pytest.param({"version": 3}, "is at version 1 by then", id="a later version"),
            pytest.param({"version": 0}, "is at version 1 by then", id="no version"),
            pytest.param({"stream": OTHER}, "is at version 0 by then", id="another stream"),
            pytest.param({"_recorded_at": _LONG_AGO // 1000 - 1}, "was recorded before", id="an earlier time"),
            pytest.param({"_recorded_at": 2**62}, "damaged", id="no time"),
            pytest.param({"type": ""}, "damaged", id="no type"),
            pytest.param({"type": "\udcff"}, "damaged", id="no type that can be stored"),
            pytest.param({"schema_version": 0}, "damaged", id="no schema version"),
            pytest.param({"data": '{"amount":'}, "damaged", id="no data"),
            pytest.param({"_metadata": '{"who":"I"}'}, "damaged", id="no metadata"),
            pytest.param({"_event_id": b"\0"}, "damaged", id="no id"),
        ],
    )
    def test_an_event_that_does_not_go_on_is_refused_with_all_that_came_with_it(
        self, log: PortableLog, store: EventStore, appends: list[Append], changes: dict[str, Any], reason: str
    ) -> None:
        first, (event, *_), *_ = appends
        assert (first[0].position, event.position) == (11, 22)
        before, changed = replace(first[0], position=21), replace(event, **changes)
        place = changed.stream, changed.version, changed.position

        for parts in ([[before], [changed]], [[before, changed]]):
            with nothing_changes(store), pytest.raises(ImportRefused, match=reason) as raised:
                log.import_events(parts)
            assert (raised.value.stream, raised.value.version, raised.value.position) == place

    def test_an_event_goes_on_where_its_stream_is_in_the_store(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        log.import_events(appends[:2])

        for wrong in (appends[:1], appends[1:2], appends[3:], [appends[2][1:]]):
            with nothing_changes(store), pytest.raises(ImportRefused):
                log.import_events(wrong)
        log.import_events(appends[2:])

        assert list(log.read_appends()) == appends

    def test_an_append_has_no_gap(self, log: PortableLog, store: EventStore, appends: list[Append]) -> None:
        first, second, third = appends[1]
        log.import_events(appends[:1])

        with nothing_changes(store), pytest.raises(ImportRefused, match="gap") as raised:
            log.import_events([(first, second, replace(third, position=third.position + 1))])

        assert raised.value.version == third.version

    @pytest.mark.parametrize("together", [True, False])
    def test_an_id_is_unique_in_its_stream(
        self, log: PortableLog, store: EventStore, source: MemoryEventStore, *, together: bool
    ) -> None:
        first, second = source.append(ACCOUNT, new_events(2), expected_version=0).events
        second = replace(second, _event_id=first.event_id)
        second = replace(second, digest=event_digest(second, first.digest) if self.has_digests else None)
        if not together:
            log.import_events([[first]])

        with nothing_changes(store), pytest.raises(ImportRefused, match=str(first.event_id)):
            log.import_events([[first, second]] if together else [[second]])

    def test_an_id_may_be_in_several_streams(
        self, log: PortableLog, store: EventStore, source: MemoryEventStore
    ) -> None:
        event = new_event()
        for stream in (ACCOUNT, OTHER):
            source.append(stream, [event], expected_version=0)

        log.import_events(source.read_appends())

        assert everything(store) == everything(source)

    @pytest.mark.parametrize(
        "changes",
        [
            {"data": "{ }"},
            {"type": "Withdrawn"},
            {"schema_version": 2},
            {"_metadata": '{"actor":"bob"}'},
            {"_metadata": "{ }"},
            {"_event_id": UUID(int=7)},
            {"digest": bytes(32)},
            {"digest": b""},
            {"digest": None},
        ],
        ids=repr,
    )
    def test_a_digest_that_is_not_that_of_its_event_is_refused(
        self, log: PortableLog, store: EventStore, appends: list[Append], changes: dict[str, Any]
    ) -> None:
        if not self.has_digests:
            pytest.skip("this store keeps no digests")
        log.import_events(appends[:1])
        first, *rest = appends[1]

        with nothing_changes(store), pytest.raises(ImportRefused, match="digest") as raised:
            log.import_events([[replace(first, **changes), *rest], *appends[2:]])

        assert raised.value.version == first.version

    def test_a_digest_follows_that_of_the_event_before_it(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        if not self.has_digests:
            pytest.skip("this store keeps no digests")
        log.import_events(appends[:1])
        with MemoryEventStore(clock=lambda: _LONG_AGO) as another:
            another.append(ACCOUNT, [new_event(5)], expected_version=0)
            another.append(ACCOUNT, new_events(1), expected_version=1)
            (stranger,) = spread(list(another.read_appends()))[1]

        with nothing_changes(store), pytest.raises(ImportRefused, match="digest"):
            log.import_events([[stranger]])

    def test_digests_come_from_a_log_that_keeps_them_and_go_to_one(self, log: PortableLog, store: EventStore) -> None:
        with MemoryEventStore(digests=not self.has_digests) as source:
            fill(source)

            with nothing_changes(store), pytest.raises(ImportRefused, match="digest") as raised:
                log.import_events(source.read_appends())

        assert (raised.value.stream, raised.value.version) == (ACCOUNT, 1)

    def test_an_append_without_events_is_refused(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        with nothing_changes(store), pytest.raises(ValueError, match="at least one event"):
            log.import_events([appends[0], ()])

    def test_what_is_no_stored_event_is_refused(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        wrong: Any = new_event()

        with nothing_changes(store), pytest.raises(TypeError, match="StoredEvent"):
            log.import_events([appends[0], [wrong]])

    def test_a_source_that_fails_leaves_nothing_behind(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        def failing() -> Iterator[Append]:
            yield from appends
            raise LookupError("gone")

        with nothing_changes(store), pytest.raises(LookupError):
            log.import_events(failing())
        log.import_events(appends)

        assert list(log.read_appends()) == appends

    def test_a_closed_store_gives_and_takes_nothing(
        self, log: PortableLog, store: EventStore, appends: list[Append]
    ) -> None:
        store.close()

        with pytest.raises(StoreClosed):
            list(log.read_appends())
        with pytest.raises(StoreClosed):
            log.import_events(appends)
