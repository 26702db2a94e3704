"""A clock that goes back, jumps ahead or stands still changes when events were recorded, in order, and nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, repeat
from pathlib import Path
from random import Random

import pytest

from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, Metadata, NewEvent, StreamAppend, StreamId
from esbank.verification import verify

ACCOUNT = StreamId("Account", "1")
OTHER = StreamId("Account", "2")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
APPENDS = 12


def seconds(times: list[int]) -> list[datetime]:
    return [NOON + timedelta(seconds=second) for second in times]


CLOCKS = {
    "goes back": seconds([*range(APPENDS // 2), *range(-APPENDS, -APPENDS // 2)]),
    "jumps a year ahead and comes back": seconds([0, 1, 2, *[365 * 86_400] * 2, *range(3, APPENDS - 2)]),
    "stands still": seconds([0] * APPENDS),
    "is before 1970": [datetime(1969, 12, 31, tzinfo=UTC)] * APPENDS,
    "says anything": seconds([Random(1).randrange(-(10**8), 10**8) for _ in range(APPENDS)]),  # noqa: S311  # no secret
}


def nanoseconds(times: list[datetime]) -> Iterator[int]:
    """Tell these times, one after the other, and the last of them for ever."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for time in [*times, *repeat(times[-1], 100)]:
        yield (time - epoch) // timedelta(microseconds=1) * 1_000


def append(store: SQLiteEventStore, number: int) -> list[NewEvent]:
    """Append in one of several ways; each takes the time once."""
    events = [NewEvent("Noted", str(number), metadata=Metadata(occurred_at=NOON if number % 2 else None))]
    if number % 3 == 0:
        store.append(ACCOUNT, events, expected_version=ANY_VERSION)
    elif number % 3 == 1:
        store.append_many([StreamAppend(ACCOUNT, events, ANY_VERSION)])
    else:
        with store.transaction() as tx:
            tx.append(ACCOUNT, events, expected_version=ANY_VERSION)
    return events


@pytest.mark.parametrize("times", CLOCKS.values(), ids=CLOCKS.keys())
def test_whatever_the_clock_does_events_are_recorded_in_order_across_reopening_too(
    path: Path, times: list[datetime]
) -> None:
    clock = nanoseconds(times)
    appended: list[NewEvent] = []
    for session in range(3):
        with SQLiteEventStore(path, durability="normal", clock=lambda: next(clock)) as store:
            for number in range(APPENDS // 3):
                appended += append(store, session * APPENDS // 3 + number)

    with SQLiteEventStore(path, clock=lambda: next(clock)) as store:
        found = list(store.read_all())
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        assert [event.recorded_at for event in found] == list(accumulate([epoch, *times], max))[1:]
        assert [event.event_id for event in found] == [event.event_id for event in appended]
        assert [(event.version, event.position) for event in found] == [(n, n) for n in range(1, APPENDS + 1)]
        assert [event.occurred_at for event in found] == [
            NOON if number % 2 else event.recorded_at for number, event in enumerate(found)
        ]
        assert list(store.read(ACCOUNT)) == found
        assert verify(store).ok
        assert store.append(ACCOUNT, appended[:1], expected_version=0).events == (found[0],)
