"""Reads of a stream, of the log, of a conversation, and subscriptions."""

from __future__ import annotations

import threading
from itertools import islice
from typing import Final

from attrs import define
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule

from esbank.store import StreamId, Subscription
from esbank.testing.state_machine._store import (
    FEW,
    HAS_EVENTS,
    SOME_CATEGORIES,
    SOME_TYPES,
    STREAM,
    StoreMachine,
)

__all__ = ["Following", "Reads"]

_PATIENCE: Final = 10.0


@define(eq=False)
class Following:
    """A subscription, the position after which it goes on, and its filters."""

    subscription: Subscription
    position: int | None
    categories: list[str] | None
    types: list[str] | None


SUBSCRIPTION: Final[Bundle[Following]] = Bundle("subscription")


class Reads(StoreMachine):
    """All that ``EventStore`` can be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: list[Following] = []

    @HAS_EVENTS
    @rule(stream=STREAM, after=FEW, up_to=st.none() | FEW, limit=st.none() | FEW, backwards=st.booleans())
    def read(self, stream: StreamId, after: int, up_to: int | None, limit: int | None, backwards: bool) -> None:  # noqa: FBT001 - named in programs
        """Read a stream."""
        read = self.store.read(stream, after=after, up_to=up_to, limit=limit, backwards=backwards)
        expected = self.model.read(stream, after=after, up_to=up_to, limit=limit, backwards=backwards)
        self.expect_events(f"{stream}", list(read), expected)

    @HAS_EVENTS
    @rule(after_events=FEW, categories=SOME_CATEGORIES, types=SOME_TYPES, limit=st.none() | FEW)
    def read_all(
        self, after_events: int, categories: list[str] | None, types: list[str] | None, limit: int | None
    ) -> None:
        """Read the log after so many of its events."""
        after = self.position_after(after_events)
        read = self.store.read_all(after=after, categories=categories, types=types, limit=limit)
        expected = self.model.read_all(after=after, categories=categories, types=types, limit=limit)
        self.expect_events("the log", list(read), expected)

    @HAS_EVENTS
    @rule(target=SUBSCRIPTION, after_events=FEW, categories=SOME_CATEGORIES, types=SOME_TYPES)
    def subscribe(self, after_events: int, categories: list[str] | None, types: list[str] | None) -> Following:
        """Begin to follow the log after so many of its events."""
        after = self.position_after(after_events)
        subscription = self.store.subscribe(after=after, categories=categories, types=types)
        self.subscriptions.append(Following(subscription, after, categories, types))
        return self.subscriptions[-1]

    @HAS_EVENTS
    @rule(subscription=SUBSCRIPTION, taken_up=st.booleans())
    def read_on(self, subscription: Following, taken_up: bool) -> None:  # noqa: FBT001 - named in programs
        """Read what a subscription has not read yet, itself or by another that takes it up where it is."""
        if taken_up:
            subscription.subscription.close()
            self.subscribe_again(subscription)
        expected = self.model.read_all(
            after=subscription.position, categories=subscription.categories, types=subscription.types
        )
        if not expected:
            return  # it would wait
        # So it would if it missed an event.
        end = threading.Timer(_PATIENCE, subscription.subscription.close)
        end.start()
        read = list(islice(subscription.subscription, len(expected)))
        end.cancel()
        self.expect_events("the subscription", read, expected)
        subscription.position = read[-1].position

    def subscribe_again(self, subscription: Following) -> None:
        """Take up a subscription that has ended where it has come to."""
        subscription.subscription = self.store.subscribe(
            after=subscription.subscription.position, categories=subscription.categories, types=subscription.types
        )
