"""Who loses race after race waits for a turn to write, and decides in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from esbank import ConcurrencyError, Repository, StorageError
from esbank.store import (
    AppendResult,
    EventStore,
    ExpectedVersion,
    NewEvent,
    StoreTransaction,
    StreamId,
    TransactionalStore,
)
from tests.basket import (
    Add,
    AddEach,
    AddNumbered,
    Basket,
    BasketCommand,
    BasketIsCheckedOut,
    BasketIsFull,
    CheckOut,
    Ensure,
    SmallBasket,
)
from tests.doubles import KINDS, PlainStore, Store, open_store


class OvertakenStore(PlainStore):
    """A store with somebody who is faster than each append; in a transaction there is nobody else."""

    def __init__(self, inner: Store, faster: Callable[[], object]) -> None:
        super().__init__(inner)
        self._inner: EventStore = inner
        self._transactional: TransactionalStore = inner
        self._faster = faster

    def append(
        self, stream: StreamId, events: Sequence[NewEvent], *, expected_version: ExpectedVersion
    ) -> AppendResult:
        self._faster()
        return self._inner.append(stream, events, expected_version=expected_version)

    def exclusive_transaction(self) -> AbstractContextManager[StoreTransaction]:
        return self._transactional.transaction()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


def overtaken(store: Store, *faster: BasketCommand, aggregate: type[Basket] = Basket) -> Repository[Basket]:
    """Make a repository of which each race is lost to the next of these commands, and to the last again and again."""
    left = list(faster)

    def be_faster() -> None:
        Repository(store, Basket).execute("b1", left.pop(0) if len(left) > 1 else left[0])

    return Repository(OvertakenStore(store, be_faster), aggregate)


def test_who_loses_every_race_decides_at_last_while_nobody_else_can_write(store: Store) -> None:
    executed = overtaken(store, Add("ink")).execute("b1", AddNumbered())

    assert executed.state.skus == ["ink", "ink", "ink", "sku 3"]
    assert executed.version == 4
    assert [envelope.version for envelope in executed.envelopes] == [4]
    assert Repository(store, Basket).load("b1").state == executed.state


def test_what_others_write_until_a_turn_comes_is_seen_in_it(store: Store) -> None:
    def be_faster() -> None:
        Repository(store, Basket).execute("b1", Add("ink"))

    class CrowdedStore(OvertakenStore):
        def exclusive_transaction(self) -> AbstractContextManager[StoreTransaction]:
            be_faster()
            return super().exclusive_transaction()

    executed = Repository(CrowdedStore(store, be_faster), Basket).execute("b1", AddNumbered())

    assert executed.state.skus == ["ink", "ink", "ink", "ink", "sku 4"]


def test_the_state_after_a_turn_is_kept_for_the_next_command(store: Store) -> None:
    baskets = overtaken(store, Add("ink"))
    baskets.execute("b1", AddNumbered())

    assert baskets.execute("b1", AddNumbered()).state.skus[3:] == ["sku 3", "ink", "ink", "ink", "sku 7"]


def test_in_a_turn_a_command_may_be_refused(store: Store) -> None:
    baskets = overtaken(store, Add("a"), Add("b"), Add("c"), aggregate=SmallBasket)

    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("d"))
    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("d"))

    assert Repository(store, Basket).execute("b1", Add("e")).state.skus == ["a", "b", "c", "e"]


def test_in_a_turn_a_command_may_find_nothing_left_to_do(store: Store) -> None:
    executed = overtaken(store, Add("a"), Add("b"), Add("pen")).execute("b1", Ensure("pen"))

    assert (executed.state.skus, executed.version, executed.envelopes) == (["a", "b", "pen"], 3, ())
    assert Repository(store, Basket).execute("b1", CheckOut()).version == 4


def test_a_command_that_a_racer_has_executed_before_the_turn_has_the_racers_outcome(store: Store) -> None:
    def be_faster() -> None:
        Repository(store, Basket).execute("b1", Add("ink"))

    class RepeatedStore(OvertakenStore):
        def exclusive_transaction(self) -> AbstractContextManager[StoreTransaction]:
            Repository(store, Basket).execute("b1", AddNumbered(), AddNumbered(), command_id="c1")
            be_faster()
            return super().exclusive_transaction()

    executed = Repository(RepeatedStore(store, be_faster), Basket).execute(
        "b1", AddNumbered(), AddNumbered(), command_id="c1"
    )

    assert executed.state.skus == ["ink", "ink", "ink", "sku 3", "sku 4"]
    assert executed.version == 5
    assert Repository(store, Basket).load("b1").version == 6


def test_a_version_that_the_caller_expects_is_not_waited_for(store: Store) -> None:
    with pytest.raises(ConcurrencyError):
        overtaken(store, Add("ink")).execute("b1", Add("pen"), expected_version=0)

    assert Repository(store, Basket).load("b1").state.skus == ["ink"]


def test_several_commands_share_a_turn_and_are_stored_together_or_not_at_all(store: Store) -> None:
    baskets = overtaken(store, Add("a"), AddEach(["b"]), CheckOut())

    with pytest.raises(BasketIsCheckedOut):
        baskets.execute("b1", Ensure("a"), Add("c"))

    assert Repository(store, Basket).load("b1").state.skus == ["a", "b"]


def test_in_a_transaction_a_command_is_refused_before_it_waits_for_whoever_waits_for_the_transaction(
    store: Store,
) -> None:
    baskets = Repository(store, Basket)
    begun = threading.Event()

    def execute() -> None:
        begun.wait()
        baskets.execute("b1", Add("ink"))

    other = threading.Thread(target=execute, daemon=True)
    other.start()
    with store.transaction():
        begun.set()
        time.sleep(0.2)  # the other has the turn of b1 by now, and waits for this transaction to end
        with pytest.raises(StorageError, match="a transaction is open in this thread"):
            baskets.execute("b1", Add("pen"))
    other.join(5)
    assert not other.is_alive()
