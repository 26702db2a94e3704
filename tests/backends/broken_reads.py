"""Stores whose reads are broken: bounds, order, filters, and the edges of pages."""
# ruff: noqa: ANN401  # what is passed on as it came

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from broken_stores import caught_by

from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import EventData, StoredEvent, StreamId

PAGE = 1000

BOUNDS = "test_a_stream_is_read_between_bounds_in_either_direction"
FILTERS = "test_the_log_is_filtered_by_category_and_type"


def skip_the_edges(events: Iterable[Any]) -> Iterator[Any]:
    """Leave out what comes first on every page but the first."""
    return (event for number, event in enumerate(events) if number == 0 or number % PAGE)


# One stream


@caught_by("test_what_a_replay_reads_is_what_a_stream_says")
class ReplaysTooMuch(SQLiteEventStore):
    """What a replay reads has no end."""

    def read_data(self, stream: StreamId, *, after: int = 0, up_to: int | None = None) -> Iterator[Sequence[EventData]]:
        del up_to
        return super().read_data(stream, after=after)


@caught_by("test_what_a_replay_reads_is_what_a_stream_says")
class ReplaysWithGaps(SQLiteEventStore):
    """What a replay reads lacks the first event of every page but the first."""

    def read_data(self, stream: StreamId, *, after: int = 0, up_to: int | None = None) -> Iterator[Sequence[EventData]]:
        for number, page in enumerate(super().read_data(stream, after=after, up_to=up_to)):
            yield page if number == 0 else page[1:]


@caught_by(BOUNDS)
class ReadsAfterInclusively(MemoryEventStore):
    """`after` is inclusive."""

    def read(self, stream: StreamId, *, after: int = 0, **rest: Any) -> Iterator[StoredEvent]:
        return super().read(stream, after=max(after - 1, 0), **rest)


@caught_by(BOUNDS)
class ReadsUpToExclusively(MemoryEventStore):
    """`up_to` is exclusive."""

    def read(self, stream: StreamId, *, up_to: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        return super().read(stream, up_to=up_to and up_to - 1, **rest)


@caught_by(BOUNDS)
class TestsUpToForTruth(MemoryEventStore):
    """`up_to=0` is taken for no bound."""

    def read(self, stream: StreamId, *, up_to: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        return super().read(stream, up_to=up_to or None, **rest)


@caught_by(BOUNDS)
class ReadsOneTooMany(MemoryEventStore):
    """One event more than the limit is read."""

    def read(self, stream: StreamId, *, limit: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        return super().read(stream, limit=limit and limit + 1, **rest)


@caught_by(BOUNDS)
class TestsTheLimitForTruth(MemoryEventStore):
    """`limit=0` is taken for no limit."""

    def read(self, stream: StreamId, *, limit: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        return super().read(stream, limit=limit or None, **rest)


@caught_by(BOUNDS, "test_a_long_stream_is_read_whole")
class ReadsOnlyForwards(MemoryEventStore):
    """`backwards` is ignored."""

    def read(self, stream: StreamId, *, backwards: bool = False, **rest: Any) -> Iterator[StoredEvent]:  # noqa: ARG002
        return super().read(stream, **rest)


@caught_by(BOUNDS)
class ReadsBackwardsFromTheEnd(MemoryEventStore):
    """Backwards, a stream is read from its end, whatever the bounds."""

    def read(self, stream: StreamId, *, backwards: bool = False, **rest: Any) -> Iterator[StoredEvent]:
        if not backwards:
            return super().read(stream, **rest)
        return super().read(stream, limit=rest.get("limit"), backwards=True)


@caught_by(BOUNDS, "test_a_long_stream_is_read_whole")
class TurnsWhatItReadForwards(MemoryEventStore):
    """Backwards, the limit is counted from the wrong end."""

    def read(self, stream: StreamId, *, backwards: bool = False, **rest: Any) -> Iterator[StoredEvent]:
        events = list(super().read(stream, **rest))
        return iter(events[::-1] if backwards else events)


@caught_by("test_a_long_stream_is_read_whole")
class SkipsTheEdgesOfPages(MemoryEventStore):
    """An event at the edge of a page of a stream is skipped."""

    def read(self, stream: StreamId, **bounds: Any) -> Iterator[StoredEvent]:
        return skip_the_edges(super().read(stream, **bounds))


@caught_by("test_a_bound_that_makes_no_sense_is_refused")
class MendsBounds(MemoryEventStore):
    """A negative bound is taken for 0."""

    def read(self, stream: StreamId, **bounds: Any) -> Iterator[StoredEvent]:
        sensible = {name: max(bound, 0) if type(bound) is int else bound for name, bound in bounds.items()}
        return super().read(stream, **sensible)


@caught_by("test_an_absent_stream_is_empty_and_at_version_0")
class RaisesForAnAbsentStream(MemoryEventStore):
    """A stream that does not exist is an error."""

    def read(self, stream: StreamId, **bounds: Any) -> Iterator[StoredEvent]:
        if not self.version(stream):
            raise LookupError(stream)
        return super().read(stream, **bounds)


@caught_by("test_an_event_is_found_in_its_own_stream_only")
class FindsAnywhere(MemoryEventStore):
    """An event is found in whatever stream it is."""

    def find(self, stream: StreamId, event_id: UUID) -> StoredEvent | None:  # noqa: ARG002
        return next((event for event in self.read_all() if event.event_id == event_id), None)


@caught_by("test_what_no_event_is_called_is_found_nowhere")
class RefusesLongNames(MemoryEventStore):
    """A name that is too long for a stream cannot be asked for."""

    def streams(self, category: str) -> Iterator[StreamId]:
        StreamId(category, "1")
        return super().streams(category)


@caught_by("test_the_streams_of_a_category_are_listed_by_key")
class ListsByPrefix(MemoryEventStore):
    """The streams of all categories that begin alike are listed."""

    def streams(self, category: str) -> Iterator[StreamId]:
        return iter(sorted(stream for stream in self._streams if stream.category.startswith(category)))


@caught_by("test_the_streams_of_a_category_are_listed_by_key", "test_many_streams_are_listed_whole")
class ListsInOrderOfAppearance(MemoryEventStore):
    """Streams are listed in the order in which they began."""

    def streams(self, category: str) -> Iterator[StreamId]:
        return iter([stream for stream in self._streams if stream.category == category])


@caught_by("test_many_streams_are_listed_whole")
class SkipsStreamsAtTheEdgesOfPages(MemoryEventStore):
    """A stream at the edge of a page is not listed."""

    def streams(self, category: str) -> Iterator[StreamId]:
        return skip_the_edges(super().streams(category))


# The log


@caught_by("test_the_log_is_read_after_a_position", "test_whoever_reads_on_from_the_last_position_sees_everything_once")
class ReadsTheLogInclusively(MemoryEventStore):
    """The event at the position after which the log is read comes again."""

    def read_all(self, *, after: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        return super().read_all(after=after and after - 1, **rest)


@caught_by("test_the_log_is_read_in_position_order")
class ReadsStreamAfterStream(MemoryEventStore):
    """The log is read stream by stream, instead of in the order of positions."""

    def read_all(self, *, limit: int | None = None, **rest: Any) -> Iterator[StoredEvent]:
        events = sorted(super().read_all(**rest), key=lambda event: (event.stream, event.version))
        return islice(events, limit)


@caught_by(FILTERS)
class FiltersCategoriesByPrefix(MemoryEventStore):
    """Categories that begin alike pass the filter."""

    def read_all(
        self, *, categories: Iterable[str] | None = None, limit: int | None = None, **rest: Any
    ) -> Iterator[StoredEvent]:
        wanted = ("",) if categories is None else tuple(categories)
        events = super().read_all(**rest)
        return islice((event for event in events if event.stream.category.startswith(wanted)), limit)


@caught_by(FILTERS)
class FiltersWithoutCase(MemoryEventStore):
    """Types in upper and lower case pass the same filter."""

    def read_all(
        self, *, types: Iterable[str] | None = None, limit: int | None = None, **rest: Any
    ) -> Iterator[StoredEvent]:
        wanted = None if types is None else {name.casefold() for name in types}
        events = super().read_all(**rest)
        return islice((event for event in events if wanted is None or event.type.casefold() in wanted), limit)


@caught_by(FILTERS, "test_a_long_log_is_read_whole_and_filtered_across_its_pages")
class IgnoresTypes(MemoryEventStore):
    """The filter of types is ignored."""

    def read_all(self, *, types: Iterable[str] | None = None, **rest: Any) -> Iterator[StoredEvent]:  # noqa: ARG002
        return super().read_all(**rest)


@caught_by(FILTERS)
class TestsFiltersForTruth(MemoryEventStore):
    """A filter with nothing in it is taken for none."""

    def read_all(self, *, categories: Any = None, types: Any = None, **rest: Any) -> Iterator[StoredEvent]:
        return super().read_all(categories=categories or None, types=types or None, **rest)


@caught_by("test_a_filter_may_be_any_iterable")
class FiltersAsOftenAsItReads(MemoryEventStore):
    """A filter that can be read only once is read for every event."""

    def read_all(
        self, *, categories: Iterable[str] | None = None, limit: int | None = None, **rest: Any
    ) -> Iterator[StoredEvent]:
        events = super().read_all(**rest)
        return islice((event for event in events if categories is None or event.stream.category in categories), limit)


@caught_by(FILTERS, "test_a_long_log_is_read_whole_and_filtered_across_its_pages")
class FiltersAfterTheLimit(MemoryEventStore):
    """The limit counts what the filters leave out."""

    def read_all(self, *, after: int | None = None, limit: int | None = None, **filters: Any) -> Iterator[StoredEvent]:
        seen = {event.position for event in super().read_all(after=after, limit=limit)}
        return (event for event in super().read_all(after=after, **filters) if event.position in seen)


@caught_by("test_a_long_log_is_read_whole_and_filtered_across_its_pages")
class SkipsTheEdgesOfPagesOfTheLog(MemoryEventStore):
    """An event at the edge of a page of the log is skipped."""

    def read_all(self, **bounds: Any) -> Iterator[StoredEvent]:
        return skip_the_edges(super().read_all(**bounds))


@caught_by("test_a_long_log_is_read_whole_and_filtered_across_its_pages")
class StopsAtAPageWithoutAMatch(MemoryEventStore):
    """The log ends at the first page of which a filter leaves nothing."""

    def read_all(self, *, after: int | None = None, limit: int | None = None, **filters: Any) -> Iterator[StoredEvent]:
        found: list[StoredEvent] = []
        last = after or 0
        while page := list(super().read_all(after=last, limit=50)):
            first, last = last, page[-1].position
            matches = [event for event in super().read_all(after=first, **filters) if event.position <= last]
            if not matches:
                break
            found += matches
        return islice(found, limit)


@caught_by("test_a_new_store_is_empty")
class BeginsAtPosition0(MemoryEventStore):
    """The head of an empty store is 0, instead of none."""

    def head(self) -> int | None:
        return super().head() or 0


@caught_by("test_the_events_after_a_position_are_counted")
class CountsInclusively(MemoryEventStore):
    """The event at the position after which events are counted counts as well."""

    def count(self, *, after: int | None = None) -> int:
        return super().count(after=after) + bool(after)


# Conversations


@caught_by("test_an_event_is_in_its_own_conversation_only")
class CorrelatesByPrefix(MemoryEventStore):
    """Conversations whose ids begin alike are one."""

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        return (event for event in self.read_all() if (event.metadata.correlation_id or "").startswith(correlation_id))


@caught_by("test_a_conversation_is_read_from_all_streams_in_position_order")
class CorrelatesInOneStream(MemoryEventStore):
    """A conversation is read from one stream only."""

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        events = list(super().read_correlated(correlation_id))
        return (event for event in events if event.stream == events[0].stream)


@caught_by("test_a_long_conversation_is_read_whole")
class CorrelatesOnePage(MemoryEventStore):
    """Of a conversation, the first page is read."""

    def read_correlated(self, correlation_id: str) -> Iterator[StoredEvent]:
        return islice(super().read_correlated(correlation_id), PAGE)
