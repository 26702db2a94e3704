"""The names that a view store lets one at a time hold: that is how a projector has one runner."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import ClassVar

import pytest

from esbank.errors import AlreadyRunning, StoreClosed
from esbank.store import EventStore, ViewStore
from esbank.testing.conformance._given import in_threads

__all__ = ["Claims"]

LONG = "é😀" * 500


class Claims:
    """``ViewStore.claim``."""

    has_views: ClassVar[bool] = True

    @pytest.fixture
    def claims(self, store: EventStore) -> ViewStore:
        """Return the store as what lets names be held."""
        if not self.has_views:
            pytest.skip("this store keeps no views")
        assert isinstance(store, ViewStore)
        return store

    @pytest.mark.parametrize("name", ["Balances", LONG], ids=["short", "long"])
    def test_a_name_that_is_held_is_refused_to_everybody_else(self, claims: ViewStore, name: str) -> None:
        def hold() -> None:
            with claims.claim(name):
                pass

        with claims.claim(name):
            with pytest.raises(AlreadyRunning) as raised:
                hold()
            (refused,) = in_threads([hold])

        assert raised.value.name == name
        assert isinstance(refused, AlreadyRunning)
        assert in_threads([hold]) == [None]

    @pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
    def test_a_name_is_free_again_when_its_block_raises(self, claims: ViewStore, error: type[BaseException]) -> None:
        for _ in range(2):
            with pytest.raises(error), claims.claim("Balances"):
                raise error

    def test_names_are_held_one_by_one_to_the_letter(self, claims: ViewStore) -> None:
        names = ["Balances", "balances", "Balances ", "Balance", "é", "e\u0301", LONG, f"{LONG}s", "../a", "'; --"]
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(claims.claim(name))
            for name in names:
                with pytest.raises(AlreadyRunning), claims.claim(name):
                    pass

    def test_of_many_who_want_a_name_one_at_a_time_holds_it(self, claims: ViewStore) -> None:
        holders: list[int] = []

        def hold_often(holder: int) -> None:
            held = 0
            while held < 5:
                with suppress(AlreadyRunning), claims.claim("Balances"):
                    holders.append(holder)
                    time.sleep(0.001)
                    assert holders.pop() == holder
                    assert not holders
                    held += 1

        assert in_threads([partial(hold_often, holder) for holder in range(4)]) == [None] * 4

    def test_a_closed_store_gives_no_name(self, claims: ViewStore, store: EventStore) -> None:
        store.close()

        with pytest.raises(StoreClosed), claims.claim("Balances"):
            pass
