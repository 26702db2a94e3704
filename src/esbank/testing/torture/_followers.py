"""Processes that follow the log in different ways, and put down every event that they see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from random import Random
from typing import Final

from esbank.errors import StorageError
from esbank.store import EventStore, StoredEvent, StreamId
from esbank.testing.torture._journal import Lines
from esbank.testing.torture._plan import CATEGORIES, END
from esbank.testing.torture._task import Task, open_task

__all__ = ["Follower", "follow", "line_of"]

_BREATH: Final = 0.002
_PAUSE: Final = 0.05


class Follower(Enum):
    """The ways to follow: all of the log or one category of it, by subscription or by asking for page after page."""

    SUBSCRIBER = "subscriber"
    CATEGORY_SUBSCRIBER = "category-subscriber"
    POLLER = "poller"
    CATEGORY_POLLER = "category-poller"

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that it follows."""
        only_one = self in {Follower.CATEGORY_SUBSCRIBER, Follower.CATEGORY_POLLER}
        return CATEGORIES[:1] if only_one else CATEGORIES

    @property
    def last(self) -> StreamId:
        """The stream of the last event that it sees."""
        return END[len(self.categories) - 1]


def line_of(event: StoredEvent) -> bytes:
    """Write down that an event was seen."""
    return f"{event.position} {event.event_id.hex}".encode()


def follow(task: Task, follower: Follower) -> None:
    """Follow the log up to the last event, which is appended when the time is up; go on where one's predecessor was."""
    with Lines(task.record(follower.value)) as lines, open_task(task, follower.value) as store:
        position = int(lines.tail[-1].split()[0]) if lines.tail else None
        while True:
            try:
                for page in _WAYS[follower](store, follower, position):
                    lines.write(*map(line_of, page))
                    position = page[-1].position
                    if any(event.stream == follower.last for event in page):
                        return
            except StorageError as error:
                task.complain(follower.value, error)
                time.sleep(_PAUSE)


def _subscribe(store: EventStore, follower: Follower, position: int | None) -> Iterator[list[StoredEvent]]:
    categories = None if follower.categories == CATEGORIES else follower.categories
    with store.subscribe(after=position, categories=categories) as subscription:
        for event in subscription:
            yield [event]


def _poll(store: EventStore, follower: Follower, position: int | None) -> Iterator[list[StoredEvent]]:
    categories = None if follower.categories == CATEGORIES else follower.categories
    random = Random()  # noqa: S311 - chaos, not a secret
    while True:
        page = list(store.read_all(after=position, categories=categories, limit=random.choice((1, 7, 100, 5000))))
        if page:
            yield page
            position = page[-1].position
        else:
            time.sleep(_BREATH)


_WAYS: Final[Mapping[Follower, Callable[[EventStore, Follower, int | None], Iterator[list[StoredEvent]]]]] = {
    Follower.SUBSCRIBER: _subscribe,
    Follower.CATEGORY_SUBSCRIBER: _subscribe,
    Follower.POLLER: _poll,
    Follower.CATEGORY_POLLER: _poll,
}
