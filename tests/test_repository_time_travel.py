"""An aggregate as it was: at a version, or by all that had been recorded at a moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from esbank import EveryNEvents, Loaded, Metadata, Repository, StreamNotFound, VersionNotFound
from esbank.store import StreamId
from tests.basket import Add, Basket, Fill
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


def test_a_moment_without_a_time_zone_is_refused(baskets: Repository[Basket]) -> None:
    with pytest.raises(ValueError, match="time zone"):
        baskets.load("b1", recorded_until=datetime(2024, 5, 1, 13))  # noqa: DTZ001  # naive is the point


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
