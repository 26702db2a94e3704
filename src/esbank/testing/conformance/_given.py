"""What the tests are given: events to append, a look at all that a store holds, and threads that cannot hang."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from esbank.store import EventStore, NewEvent, StoredEvent, StreamId

__all__ = ["ACCOUNT", "OTHER", "everything", "in_threads", "new_event", "new_events", "nothing_changes"]

T = TypeVar("T")

ACCOUNT: Final = StreamId("Account", "1")
OTHER: Final = StreamId("Account", "2")

_PATIENCE: Final = 20.0


def new_event(number: int = 0, *, type: str = "Deposited") -> NewEvent:  # noqa: A002  # as NewEvent calls it
    """Make an event that says its number."""
    return NewEvent(type, f'{{"number":{number}}}')


def new_events(count: int) -> list[NewEvent]:
    """Make events that are numbered from 1."""
    return [new_event(number) for number in range(1, count + 1)]


def everything(store: EventStore) -> tuple[list[StoredEvent], int | None, list[StreamId]]:
    """Return all that a store can show about its events."""
    events: list[StoredEvent] = list(store.read_all())
    categories = sorted({event.stream.category for event in events} | {ACCOUNT.category})
    return events, store.head(), [stream for category in categories for stream in store.streams(category)]


@contextmanager
def nothing_changes(store: EventStore) -> Generator[None]:
    """Check that a store holds the same after the block as before."""
    before = everything(store)
    yield
    assert everything(store) == before


def in_threads(functions: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """Call each function in a thread of its own, all at once; return what they returned or raised, in their order.

    They take turns as often as Python can. Threads that are stuck fail the test instead of hanging it.
    """
    outcomes: list[T | BaseException] = [TimeoutError("this thread is stuck")] * len(functions)
    start = threading.Barrier(len(functions))

    def run(index: int) -> None:
        try:
            start.wait(_PATIENCE)
            outcomes[index] = functions[index]()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(functions))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    stuck = [thread for thread in threads if thread.is_alive()]
    assert not stuck, f"{len(stuck)} of {len(threads)} threads are stuck"
    return outcomes
