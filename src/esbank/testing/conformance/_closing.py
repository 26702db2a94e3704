"""The identity of a store, and its end."""
# ruff: noqa: S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from collections.abc import Callable

import pytest

from esbank.errors import StoreClosed
from esbank.store import ANY_VERSION, EventStore, StreamAppend, new_event_id
from esbank.testing.conformance._given import ACCOUNT, new_event, new_events

__all__ = ["Closing"]

CALLS: dict[str, Callable[[EventStore], object]] = {
    "append": lambda store: store.append(ACCOUNT, [new_event()], expected_version=ANY_VERSION),
    "append_many": lambda store: store.append_many([StreamAppend(ACCOUNT, [new_event()], ANY_VERSION)]),
    "read": lambda store: list(store.read(ACCOUNT)),
    "read_nothing": lambda store: list(store.read(ACCOUNT, limit=0)),
    "read_all": lambda store: list(store.read_all()),
    "read_all_of_nothing": lambda store: list(store.read_all(limit=0)),
    "read_correlated": lambda store: list(store.read_correlated("c-1")),
    "find": lambda store: store.find(ACCOUNT, new_event_id()),
    "version": lambda store: store.version(ACCOUNT),
    "head": lambda store: store.head(),
    "streams": lambda store: list(store.streams("Account")),
}


class Closing:
    """``EventStore.identity`` and ``close``."""

    def test_a_store_has_an_identity_that_stays(self, store: EventStore) -> None:
        identity = store.identity
        store.append(ACCOUNT, new_events(1), expected_version=0)

        assert isinstance(identity, str)
        assert identity
        assert store.identity == identity

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_a_closed_store_says_so(self, store: EventStore, call: Callable[[EventStore], object]) -> None:
        store.append(ACCOUNT, new_events(1), expected_version=0)
        store.close()

        with pytest.raises(StoreClosed) as raised:
            call(store)

        assert raised.value.store

    def test_a_store_may_be_closed_twice(self, store: EventStore) -> None:
        store.close()
        store.close()

    def test_a_store_closes_itself_at_the_end_of_its_block(self, store: EventStore) -> None:
        with store as entered:
            assert entered is store
            store.append(ACCOUNT, new_events(1), expected_version=0)

        with pytest.raises(StoreClosed):
            store.version(ACCOUNT)

    def test_a_store_closes_itself_when_its_block_raises(self, store: EventStore) -> None:
        def fail() -> None:
            with store:
                msg = "something else"
                raise RuntimeError(msg)

        with pytest.raises(RuntimeError, match="something else"):
            fail()
        with pytest.raises(StoreClosed):
            store.version(ACCOUNT)
