"""An aggregate as it was: at a version, by all that had been recorded by a moment, by all that had happened by then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from esbank import (
    Aggregate,
    ByHand,
    EventCodec,
    EventRegistry,
    EveryNEvents,
    Loaded,
    Metadata,
    NoSnapshots,
    Repository,
    SnapshotPolicy,
    StreamNotFound,
    VersionNotFound,
    applies,
    handles,
)
from esbank.store import StoredEvent, StreamId
from tests.basket import Add, Basket, BasketCommand, Fill, Note
from tests.doubles import KINDS, Clock, Store, open_store

STREAM = StreamId("Basket", "b1")
SKUS = ["pen", "ink", "cup", "cap", "bag"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with open_store(request.param, tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture(params=[2, 1000], ids=["snapshots", "no snapshots"])
def baskets(store: Store, clock: Clock, request: pytest.FixtureRequest) -> Repository[Basket]:
    """Make a basket with five events: one at noon, and one at every full hour after it."""
    repository = Repository(store, Basket, snapshots=EveryNEvents(request.param))
    for sku in SKUS:
        repository.execute("b1", Add(sku))
        clock.forward(hours=1)
    return repository


def at(hour: int, minute: int = 0, second: int = 0, microsecond: int = 0) -> datetime:
    return datetime(2024, 5, 1, hour, minute, second, microsecond, tzinfo=UTC)


def test_an_aggregate_can_be_loaded_as_it_was_at_a_version(baskets: Repository[Basket]) -> None:
    for version in range(1, 6):
        loaded = baskets.load("b1", version=version)
        assert (loaded.state.skus, loaded.version) == (SKUS[:version], version)


def test_a_state_of_the_past_does_not_get_into_the_cache(baskets: Repository[Basket]) -> None:
    baskets.load("b1", version=2)
    baskets.load("b1", recorded_until=at(13))

    assert baskets.load("b1").state.skus == SKUS
    assert baskets.execute("b1", Fill([])).version == 6


def test_a_version_beyond_the_end_is_not_found(baskets: Repository[Basket]) -> None:
    with pytest.raises(VersionNotFound) as missing:
        baskets.load("b1", version=6)

    assert (missing.value.stream, missing.value.version, missing.value.actual) == (STREAM, 6, 5)


@pytest.mark.parametrize("version", [0, -1, True])
@pytest.mark.parametrize("key", ["b1", "absent"])
def test_a_version_is_a_number_from_one(baskets: Repository[Basket], key: str, version: int) -> None:
    with pytest.raises(ValueError, match="version must be an int from 1"):
        baskets.load(key, version=version)


@pytest.mark.parametrize("version", [1, 6])
def test_no_version_of_an_absent_aggregate_is_found(baskets: Repository[Basket], version: int) -> None:
    with pytest.raises(StreamNotFound):
        baskets.load("b2", version=version)


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        (at(12), 1),
        (at(12, 59, 59, 999_999), 1),
        (at(13), 2),
        (at(13, 30), 2),
        (at(16), 5),
        (at(16) + timedelta(days=1000), 5),
        (datetime(2024, 5, 1, 15, 30, tzinfo=timezone(timedelta(hours=2))), 2),
    ],
    ids=str,
)
def test_an_aggregate_can_be_loaded_by_what_had_been_recorded(
    baskets: Repository[Basket], moment: datetime, version: int
) -> None:
    assert baskets.load("b1", recorded_until=moment) == Loaded(baskets.load("b1", version=version).state, version)


def test_before_the_first_event_there_was_no_aggregate(baskets: Repository[Basket]) -> None:
    with pytest.raises(StreamNotFound) as missing:
        baskets.load("b1", recorded_until=at(11, 59, 59, 999_999))

    assert (missing.value.stream, missing.value.until) == (STREAM, at(11, 59, 59, 999_999))


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None) -> None:
        return None


@pytest.mark.parametrize("name", ["recorded_until", "occurred_until"])
@pytest.mark.parametrize("key", ["b1", "absent"])
@pytest.mark.parametrize("zone", [None, Nowhere()], ids=["naive", "nowhere"])
def test_a_moment_without_a_time_zone_is_refused(
    baskets: Repository[Basket], key: str, name: str, zone: tzinfo | None
) -> None:
    moment: Any = {name: datetime(2024, 5, 1, 13, tzinfo=zone)}

    with pytest.raises(ValueError, match=f"{name} must know its time zone"):
        baskets.load(key, **moment)
    with pytest.raises(ValueError, match=f"{name} must know its time zone"):
        baskets.load(key, version=1, **{"recorded_until": at(16), "occurred_until": at(16), **moment})


@pytest.mark.parametrize("name", ["recorded_until", "occurred_until"])
@pytest.mark.parametrize("wrong", [date(2024, 5, 1), "2024-05-01T13:00:00Z", 1714568400, at(13).timetz()], ids=str)
def test_a_moment_is_a_datetime(
    baskets: Repository[Basket],
    name: str,
    wrong: Any,  # noqa: ANN401 - of any wrong type
) -> None:
    for key in ("b1", "absent"):
        with pytest.raises(TypeError, match=f"{name} is a datetime with a time zone"):
            baskets.load(key, **{name: wrong})


def test_of_a_version_and_a_moment_the_earlier_one_counts(baskets: Repository[Basket]) -> None:
    assert baskets.load("b1", version=2, recorded_until=at(15)).version == 2
    assert baskets.load("b1", version=4, recorded_until=at(13)).version == 2


def test_what_counts_is_when_it_was_recorded_not_when_it_happened(
    store: Store, baskets: Repository[Basket], clock: Clock
) -> None:
    late = baskets.execute("b1", Add("late"), metadata=Metadata(occurred_at=at(9)))

    assert late.envelopes[0].occurred_at == at(9)
    assert late.envelopes[0].recorded_at == clock.now
    assert baskets.load("b1", recorded_until=at(16, 59)).version == 5
    assert store.version(STREAM) == 6


def test_events_of_one_append_were_recorded_at_once(baskets: Repository[Basket], clock: Clock) -> None:
    baskets.execute("b1", Add("x"), Add("y"))

    assert baskets.load("b1", recorded_until=clock.now).version == 7


def test_a_clock_that_goes_backwards_does_not_reorder_the_past(baskets: Repository[Basket], clock: Clock) -> None:
    clock.forward(hours=-3)
    executed = baskets.execute("b1", Add("x"))

    assert executed.envelopes[0].recorded_at == at(16)
    assert baskets.load("b1", recorded_until=at(15, 30)).version == 4
    assert baskets.load("b1", recorded_until=at(16)).version == 6


# By what had happened.


@pytest.fixture
def told_late(store: Store, clock: Clock) -> Repository[Basket]:
    """Make a basket with an event at every full hour from noon on; of two it is said when they happened."""
    repository = Repository(store, Basket)
    happened = {"cup": Metadata(occurred_at=at(9)), "cap": Metadata(occurred_at=at(20))}
    for sku in SKUS:
        repository.execute("b1", Add(sku), metadata=happened.get(sku))
        clock.forward(hours=1)
    return repository


@pytest.mark.parametrize(
    ("moment", "skus", "version"),
    [
        (at(9), ["cup"], 3),
        (at(11, 59, 59, 999_999), ["cup"], 3),
        (at(12), ["pen", "cup"], 3),
        (at(13), ["pen", "ink", "cup"], 3),
        (at(15, 59, 59, 999_999), ["pen", "ink", "cup"], 3),
        (at(16), ["pen", "ink", "cup", "bag"], 5),
        (at(19, 59, 59, 999_999), ["pen", "ink", "cup", "bag"], 5),
        (at(20), ["pen", "ink", "cup", "cap", "bag"], 5),
        (datetime.max.replace(tzinfo=UTC), ["pen", "ink", "cup", "cap", "bag"], 5),
        (datetime(2024, 5, 1, 11, tzinfo=timezone(timedelta(hours=2))), ["cup"], 3),
    ],
    ids=str,
)
def test_an_aggregate_can_be_loaded_by_what_had_happened(
    told_late: Repository[Basket], moment: datetime, skus: list[str], version: int
) -> None:
    assert told_late.load("b1", occurred_until=moment) == Loaded(Basket(skus, dict.fromkeys(skus, 1)), version)


def test_what_had_happened_does_not_get_into_the_cache(told_late: Repository[Basket]) -> None:
    told_late.load("b1", occurred_until=at(12))
    told_late.load("b1", recorded_until=at(16), occurred_until=at(16))

    assert told_late.load("b1").state.skus == SKUS
    assert told_late.execute("b1", Add("mug")).state.skus == [*SKUS, "mug"]


def test_what_nobody_dated_happened_when_it_was_recorded(baskets: Repository[Basket]) -> None:
    for hour in range(12, 17):
        assert baskets.load("b1", occurred_until=at(hour)) == baskets.load("b1", recorded_until=at(hour))


def test_what_had_happened_is_folded_in_the_order_in_which_it_was_recorded(
    store: Store, baskets: Repository[Basket]
) -> None:
    """An earlier fact that came later does not undo the order in which the aggregate decided."""
    baskets.execute("b1", Fill(["cup"]), metadata=Metadata(occurred_at=at(9)))
    baskets.execute("b1", Add("mug"), metadata=Metadata(occurred_at=at(8)))

    assert baskets.load("b1", occurred_until=at(16)).state.skus == ["cup", "mug"]
    assert Repository(store, Basket).load("b1", occurred_until=at(12)).state.skus == ["cup", "mug"]


def test_what_had_happened_is_folded_without_a_snapshot(store: Store, clock: Clock) -> None:
    baskets = Repository(store, Basket, snapshots=ByHand())
    baskets.execute("b1", Add("cap"), metadata=Metadata(occurred_at=at(20)))
    clock.forward(hours=1)
    baskets.execute("b1", Add("pen"))
    baskets.snapshot("b1")
    snapshot = store.load_snapshot(STREAM)
    assert snapshot is not None
    baskets.execute("b1", Add("ink"), metadata=Metadata(occurred_at=at(9)))
    store.save_snapshot(evolve(snapshot, state=snapshot.state.replace("pen", "lie")))

    for repository in (baskets, Repository(store, Basket, snapshots=ByHand())):
        assert repository.load("b1", occurred_until=at(19)).state.skus == ["pen", "ink"]
        assert repository.load("b1", occurred_until=at(20)).state.skus == ["cap", "pen", "ink"]
        assert repository.load("b1", version=2, occurred_until=at(20)).state.skus == ["cap", "pen"]


@pytest.mark.parametrize(
    ("version", "recorded", "occurred", "skus", "at_version"),
    [
        (None, at(13, 59), at(13), ["pen", "ink"], 2),
        (None, at(14), at(13), ["pen", "ink", "cup"], 3),
        (None, at(14), at(9), ["cup"], 3),
        (None, at(15), at(16), ["pen", "ink", "cup"], 3),
        (None, at(15), at(20), ["pen", "ink", "cup", "cap"], 4),
        (None, at(16), at(20), SKUS, 5),
        (2, None, at(20), ["pen", "ink"], 2),
        (3, None, at(12), ["pen", "cup"], 3),
        (4, None, at(19), ["pen", "ink", "cup"], 3),
        (4, None, at(20), ["pen", "ink", "cup", "cap"], 4),
        (5, at(14), at(12), ["pen", "cup"], 3),
        (5, at(13), at(20), ["pen", "ink"], 2),
        (1, at(16), at(20), ["pen"], 1),
    ],
)
def test_all_of_them_together_narrow_each_other(
    told_late: Repository[Basket],
    version: int | None,
    recorded: datetime | None,
    occurred: datetime,
    skus: list[str],
    at_version: int,
) -> None:
    loaded = told_late.load("b1", version=version, recorded_until=recorded, occurred_until=occurred)

    assert loaded == Loaded(Basket(skus, dict.fromkeys(skus, 1)), at_version)


@pytest.mark.parametrize(
    ("version", "recorded", "occurred", "until"),
    [
        (None, None, at(8, 59, 59, 999_999), at(8, 59, 59, 999_999)),
        (None, at(11), None, at(11)),
        (None, at(11), at(20), at(11)),
        (None, at(11), at(8), at(11)),
        (None, at(13), at(9), at(9)),
        (2, None, at(11), at(11)),
        (2, at(16), at(10), at(10)),
        (2, at(10), at(16), at(10)),
    ],
)
def test_the_moment_by_which_there_was_nothing_is_named(
    told_late: Repository[Basket],
    version: int | None,
    recorded: datetime | None,
    occurred: datetime | None,
    until: datetime,
) -> None:
    with pytest.raises(StreamNotFound) as missing:
        told_late.load("b1", version=version, recorded_until=recorded, occurred_until=occurred)

    assert (missing.value.stream, missing.value.until) == (STREAM, until)
    assert str(until) in str(missing.value)


def test_what_never_existed_is_not_found_by_any_moment(told_late: Repository[Basket]) -> None:
    for moments in ({"occurred_until": at(20)}, {"recorded_until": at(20), "occurred_until": at(20)}):
        with pytest.raises(StreamNotFound):
            told_late.load("absent", **moments)


def test_a_version_beyond_the_end_is_not_found_by_any_moment(told_late: Repository[Basket]) -> None:
    with pytest.raises(VersionNotFound):
        told_late.load("b1", version=6, recorded_until=at(11), occurred_until=at(8))


# Whatever is asked, the answer is a plain fold of the events that count.

ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.builds(lambda minute, zone: at(12, minute).astimezone(zone), st.integers(0, 20), ZONES)
SOME_SKUS = st.sampled_from(SKUS)


@frozen
class Step:
    """Somebody waits for some minutes (or sets the clock back), and then executes commands."""

    minutes: int
    commands: list[BasketCommand]
    occurred_at: datetime | None


@frozen
class Question:
    """What to ask for: a version in the stream from its end, and moments."""

    from_end: int | None
    recorded_until: datetime | None
    occurred_until: datetime | None


COMMANDS = st.one_of(
    st.builds(Add, SOME_SKUS, st.integers(1, 3)),
    st.builds(Fill, st.lists(SOME_SKUS, max_size=2)),
    st.builds(Note, SOME_SKUS),
)
STEPS = st.builds(Step, st.integers(-2, 4), st.lists(COMMANDS, min_size=1, max_size=3), st.none() | MOMENTS)
QUESTIONS = st.builds(Question, st.none() | st.integers(0, 8), st.none() | MOMENTS, st.none() | MOMENTS)
CODEC = EventCodec(EventRegistry(Basket))


def counts(event: StoredEvent, version: int | None, question: Question) -> bool:
    happened = event.recorded_at if event.metadata.occurred_at is None else event.metadata.occurred_at
    return (
        (version is None or event.version <= version)
        and (question.recorded_until is None or event.recorded_at <= question.recorded_until)
        and (question.occurred_until is None or happened <= question.occurred_until)
    )


def folded(events: list[StoredEvent]) -> Loaded[Basket] | None:
    state = Basket()
    for event in events:
        state.apply(CODEC.decode(event))
    return Loaded(state, events[-1].version) if events else None


def answer(baskets: Repository[Basket], version: int | None, question: Question) -> Loaded[Basket] | None:
    moments = {"recorded_until": question.recorded_until, "occurred_until": question.occurred_until}
    try:
        return baskets.load("b1", version=version, **moments)
    except StreamNotFound:
        return None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(
    policy=st.sampled_from([NoSnapshots(), EveryNEvents(1), EveryNEvents(3)]),
    steps=st.lists(STEPS, min_size=1, max_size=6),
    questions=st.lists(QUESTIONS, min_size=1, max_size=12),
)
@settings(deadline=None)
def test_every_answer_is_a_fold_of_the_events_that_count(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    policy: SnapshotPolicy,
    steps: list[Step],
    questions: list[Question],
) -> None:
    clock = Clock()
    with open_store(kind, tmp_path_factory.mktemp("asked"), clock=clock) as store:
        baskets = Repository(store, Basket, snapshots=policy)
        for step in steps:
            clock.forward(minutes=step.minutes)
            baskets.execute("b1", *step.commands, metadata=Metadata(occurred_at=step.occurred_at))
        events = list(store.read(STREAM))
        for question in questions:
            version = None if question.from_end is None else max(1, len(events) - question.from_end)
            expected = folded([event for event in events if counts(event, version, question)])

            assert answer(baskets, version, question) == expected
            assert answer(Repository(store, Basket, snapshots=policy), version, question) == expected


@frozen
class Take:
    sku: str


@frozen
class Put:
    sku: str


@frozen
class Stocked:
    sku: str


@frozen
class Taken:
    sku: str


@define
class Shelf(Aggregate[Put | Take, Stocked | Taken]):
    category: ClassVar[str] = "Shelf"
    stock: dict[str, int] = field(factory=dict[str, int])

    @handles(Put)
    def put(self, command: Put) -> Iterator[Stocked | Taken]:
        yield Stocked(command.sku)

    @handles(Take)
    def take(self, command: Take) -> Iterator[Stocked | Taken]:
        yield Taken(command.sku)

    @applies(Stocked)
    def _stocked(self, event: Stocked) -> None:
        self.stock[event.sku] = 1

    @applies(Taken)
    def _taken(self, event: Taken) -> None:
        self.stock[event.sku] -= 1


def test_an_event_that_cannot_be_folded_without_those_before_it_is_named(store: Store) -> None:
    shelves = Repository(store, Shelf)
    shelves.execute("s1", Put("pen"))
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    shelves.execute("s1", Take("pen"), metadata=Metadata(occurred_at=long_ago))

    with pytest.raises(KeyError) as failed:
        shelves.load("s1", occurred_until=long_ago)

    assert failed.value.__notes__ == ["This came of applying Shelf-s1 version 2 (Taken)."]
