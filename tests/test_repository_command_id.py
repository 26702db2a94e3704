"""A command with an id may be repeated: the second time changes nothing and returns the first outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, frozen

from esbank import (
    CommandIdReused,
    ConcurrencyError,
    DefinitionError,
    EveryNEvents,
    Metadata,
    Repository,
    UnknownOutcome,
    handles,
)
from esbank.store import NO_STREAM, STREAM_EXISTS, ExpectedVersion, StreamId
from tests.basket import (
    Add,
    AddEach,
    Added,
    AddNumbered,
    Basket,
    BasketCommand,
    BasketEvent,
    BasketIsCheckedOut,
    BasketIsEmpty,
    CheckOut,
    Ensure,
    Fill,
)
from tests.doubles import KINDS, Store, WatchedStore, fail, open_store

STREAM = StreamId("Basket", "b1")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def baskets(store: Store) -> Repository[Basket]:
    return Repository(store, Basket)


def skus(store: Store) -> list[str]:
    return Repository(store, Basket).load("b1").state.skus


def elsewhere(
    store: Store, *commands: BasketCommand, command_id: str | None = None, metadata: Metadata | None = None
) -> Callable[[], object]:
    """Make an action that executes commands through another repository."""
    return lambda: Repository(store, Basket).execute("b1", *commands, command_id=command_id, metadata=metadata)


# Repeating.


def test_a_repeat_returns_the_first_outcome_and_changes_nothing(store: Store, baskets: Repository[Basket]) -> None:
    first = baskets.execute("b1", Add("pen"), command_id="c1")

    again = baskets.execute("b1", Add("pen"), command_id="c1")

    assert again == first
    assert store.version(STREAM) == 1


def test_a_repeat_returns_the_state_as_it_was_then(store: Store, baskets: Repository[Basket]) -> None:
    baskets.execute("b1", Add("cup"))
    first = baskets.execute("b1", AddEach(["pen", "ink"]), command_id="c1")
    baskets.execute("b1", Fill([]), Add("cap"))

    again = baskets.execute("b1", AddEach(["pen", "ink"]), command_id="c1")

    assert again == first
    assert (again.version, again.state.skus) == (3, ["cup", "pen", "ink"])
    assert [envelope.event for envelope in again.envelopes] == [Added("pen"), Added("ink")]
    assert store.version(STREAM) == 5


def test_a_repeat_may_come_through_another_repository(store: Store, baskets: Repository[Basket]) -> None:
    first = baskets.execute("b1", AddNumbered(), AddNumbered(), command_id="c1")
    elsewhere(store, Add("cup"))()

    again = Repository(store, Basket, cache=0, snapshots=EveryNEvents(1)).execute(
        "b1", AddNumbered(), AddNumbered(), command_id="c1"
    )

    assert again == first


def test_after_a_repeat_the_repository_goes_on_from_the_latest_state(baskets: Repository[Basket]) -> None:
    baskets.execute("b1", Add("pen"), command_id="c1")
    baskets.execute("b1", Add("ink"))
    baskets.execute("b1", Add("pen"), command_id="c1")

    assert baskets.execute("b1", Add("cup")).state.skus == ["pen", "ink", "cup"]


def test_a_repeat_is_not_refused_for_what_has_happened_since(baskets: Repository[Basket]) -> None:
    baskets.execute("b1", Add("pen"), command_id="c1")
    baskets.execute("b1", CheckOut())

    assert baskets.execute("b1", Add("pen"), command_id="c1").version == 1


@pytest.mark.parametrize("expected", [NO_STREAM, 7])
def test_a_repeat_does_not_look_at_the_expected_version(baskets: Repository[Basket], expected: ExpectedVersion) -> None:
    first = baskets.execute("b1", Add("pen"), command_id="c1", expected_version=NO_STREAM)
    baskets.execute("b1", Add("ink"))

    assert baskets.execute("b1", Add("pen"), command_id="c1", expected_version=expected) == first


def test_a_first_time_does_look_at_the_expected_version(baskets: Repository[Basket]) -> None:
    with pytest.raises(ConcurrencyError):
        baskets.execute("b1", Add("pen"), command_id="c1", expected_version=1)
    with pytest.raises(ConcurrencyError):
        baskets.execute("b1", Add("pen"), command_id="c1", expected_version=STREAM_EXISTS)

    assert baskets.execute("b1", Add("pen"), command_id="c1", expected_version=NO_STREAM).version == 1


def test_a_repeat_with_other_metadata_is_still_a_repeat(baskets: Repository[Basket]) -> None:
    first = baskets.execute("b1", Add("pen"), command_id="c1", metadata=Metadata(actor="alice"))

    assert baskets.execute("b1", Add("pen"), command_id="c1", metadata=Metadata(actor="bob")) == first


def test_an_id_belongs_to_its_stream(baskets: Repository[Basket]) -> None:
    baskets.execute("b1", Add("pen"), command_id="c1")

    assert baskets.execute("b2", Add("ink"), command_id="c1").state.skus == ["ink"]


def test_neighbours_with_other_ids_are_told_apart(baskets: Repository[Basket]) -> None:
    firsts = [baskets.execute("b1", AddNumbered(), AddNumbered(), command_id=f"c{number}") for number in range(3)]

    agains = [baskets.execute("b1", AddNumbered(), AddNumbered(), command_id=f"c{number}") for number in range(3)]

    assert agains == firsts


# Another command, or none.


@pytest.mark.parametrize(
    "others",
    [(Add("ink"),), (Add("pen", 2),), (Ensure("pen"),), (Add("pen"), Add("pen")), (CheckOut(),)],
    ids=["field", "default", "class", "number", "refused"],
)
def test_an_id_with_another_command_is_refused(
    store: Store, baskets: Repository[Basket], others: tuple[BasketCommand, ...]
) -> None:
    baskets.execute("b1", Add("pen"), command_id="c1")

    with pytest.raises(CommandIdReused) as reused:
        baskets.execute("b1", *others, command_id="c1")

    assert (reused.value.stream, reused.value.command_id) == (STREAM, "c1")
    assert store.version(STREAM) == 1


def test_a_refused_command_leaves_no_trace_and_may_be_tried_again(store: Store, baskets: Repository[Basket]) -> None:
    with pytest.raises(BasketIsEmpty):
        baskets.execute("b1", CheckOut(), command_id="c1")
    assert store.head() is None
    baskets.execute("b1", Add("pen"))

    assert baskets.execute("b1", CheckOut(), command_id="c1").state.checked_out


def test_the_id_of_a_refused_command_may_go_to_another(baskets: Repository[Basket]) -> None:
    with pytest.raises(BasketIsEmpty):
        baskets.execute("b1", CheckOut(), command_id="c1")

    assert baskets.execute("b1", Add("pen"), command_id="c1").version == 1


def test_a_command_without_events_leaves_no_trace(store: Store, baskets: Repository[Basket]) -> None:
    baskets.execute("b1", Add("pen"))
    assert baskets.execute("b1", Ensure("pen"), command_id="c1").envelopes == ()
    assert store.version(STREAM) == 1
    baskets.execute("b1", Fill([]))

    (envelope,) = baskets.execute("b1", Ensure("pen"), command_id="c1").envelopes

    assert envelope.event == Added("pen")


@frozen
class Shapeless(BasketCommand):
    anything: object


@define
class ShapelessBasket(Basket):
    category: ClassVar[str] = "Basket"

    @handles(Shapeless)
    def anything(self, _: Shapeless) -> Iterator[BasketEvent]:
        yield Added("anything")


def test_a_command_that_cannot_be_written_cannot_have_an_id(store: Store) -> None:
    baskets = Repository(store, ShapelessBasket)

    with pytest.raises(DefinitionError, match="command_id"):
        baskets.execute("b1", Shapeless(1), command_id="c1")

    assert store.head() is None
    assert baskets.execute("b1", Shapeless(1)).version == 1


@pytest.mark.parametrize("wrong", [7, "", b"c1"])
def test_an_id_is_text(store: Store, baskets: Repository[Basket], wrong: Any) -> None:  # noqa: ANN401 - of any wrong type
    with pytest.raises(ValueError, match="command_id"):
        baskets.execute("b1", Add("pen"), command_id=wrong)

    assert store.head() is None


# What is stored.


def test_the_id_is_in_the_metadata_of_every_event(baskets: Repository[Basket]) -> None:
    executed = baskets.execute("b1", AddEach(["pen", "ink"]), command_id="c1")
    baskets.execute("b1", Add("cup"))

    assert [envelope.metadata.command_id for envelope in executed.envelopes] == ["c1", "c1"]
    assert [envelope.metadata.command_id for envelope in baskets.history("b1")] == ["c1", "c1", None]


def test_the_rest_of_the_metadata_is_kept(baskets: Repository[Basket]) -> None:
    at = datetime(2024, 2, 29, 12, tzinfo=UTC)
    metadata = Metadata("order-7", "event-3", "alice", at, {"channel": "web"})

    baskets.execute("b1", Add("pen"), command_id="c1", metadata=metadata)

    (envelope,) = baskets.history("b1")
    kept = envelope.metadata
    assert (kept.correlation_id, kept.causation_id, kept.actor) == ("order-7", "event-3", "alice")
    assert (kept.occurred_at, kept.extra) == (at, {"channel": "web"})
    assert envelope.occurred_at == at


def test_metadata_passed_on_from_an_event_does_not_pass_its_command_id_on(baskets: Repository[Basket]) -> None:
    first = baskets.execute("b1", Add("pen"), command_id="c1")
    baskets.execute("b1", Add("ink"), metadata=first.envelopes[0].metadata)

    assert baskets.execute("b1", Add("pen"), command_id="c1") == first


# Races.


def test_of_many_at_once_one_happens_and_all_get_its_outcome(store: Store) -> None:
    repositories = [Repository(store, Basket, max_attempts=1000) for _ in range(4)]

    def execute(number: int) -> object:
        executed = repositories[number % 4].execute("b1", AddNumbered(), AddNumbered(), command_id="c1")
        repositories[number % 4].execute("b1", Add("cup"))
        return executed

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(execute, range(16)))

    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert store.version(STREAM) == 2 + 16


def test_a_racer_that_did_the_very_same_is_recognised_by_the_append(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", elsewhere(store, Add("pen"), command_id="c1"))

    executed = Repository(watched, Basket).execute("b1", Add("pen"), command_id="c1")

    assert (executed.version, executed.state.skus) == (1, ["pen"])
    assert list(executed.envelopes) == list(Repository(store, Basket).history("b1"))


def test_a_racer_that_did_the_very_same_before_others_wrote_is_recognised_by_the_append(store: Store) -> None:
    watched = WatchedStore(store)

    def race() -> None:
        elsewhere(store, Add("pen"), command_id="c1")()
        elsewhere(store, Add("ink"))()

    watched.before("append", race)

    executed = Repository(watched, Basket).execute("b1", Add("pen"), command_id="c1")

    assert (executed.version, executed.state.skus) == (1, ["pen"])
    assert skus(store) == ["pen", "ink"]


def test_a_racer_that_decided_on_a_newer_state_wins(store: Store) -> None:
    watched = WatchedStore(store)

    def race() -> None:
        elsewhere(store, Add("ink"))()
        elsewhere(store, AddNumbered(), command_id="c1")()

    watched.before("append", race)

    executed = Repository(watched, Basket).execute("b1", AddNumbered(), command_id="c1")

    assert (executed.version, executed.state.skus) == (2, ["ink", "sku 1"])
    assert skus(store) == ["ink", "sku 1"]


def test_a_racer_with_other_metadata_wins(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", elsewhere(store, Add("pen"), command_id="c1", metadata=Metadata(actor="bob")))

    executed = Repository(watched, Basket).execute("b1", Add("pen"), command_id="c1", metadata=Metadata(actor="alice"))

    assert [envelope.metadata.actor for envelope in executed.envelopes] == ["bob"]
    assert store.version(STREAM) == 1


def test_a_racer_wins_also_over_one_who_expected_a_version(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", elsewhere(store, Add("pen"), command_id="c1", metadata=Metadata(actor="bob")))

    executed = Repository(watched, Basket).execute("b1", Add("pen"), command_id="c1", expected_version=NO_STREAM)

    assert [envelope.metadata.actor for envelope in executed.envelopes] == ["bob"]


def test_a_racer_with_another_command_under_the_id_is_named(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", elsewhere(store, Add("ink"), command_id="c1"))

    with pytest.raises(CommandIdReused):
        Repository(watched, Basket).execute("b1", Add("pen"), command_id="c1")

    assert skus(store) == ["ink"]


# The racer comes right after the id was looked up, while the cache is stale.


def test_a_racer_whose_effect_would_refuse_the_repeat_wins(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Fill([]))

    def race() -> None:
        elsewhere(store, Add("pen"))()
        elsewhere(store, CheckOut(), command_id="c1")()

    watched.after("find", race)

    executed = baskets.execute("b1", CheckOut(), command_id="c1")

    assert (executed.version, executed.state.checked_out) == (3, True)


def test_a_racer_whose_effect_leaves_nothing_to_do_wins(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))

    def race() -> None:
        elsewhere(store, Fill([]))()
        elsewhere(store, Ensure("pen"), command_id="c1")()

    watched.after("find", race)

    executed = baskets.execute("b1", Ensure("pen"), command_id="c1")

    assert [envelope.event for envelope in executed.envelopes] == [Added("pen")]


def test_a_racer_whose_effect_was_undone_since_wins(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))

    def race() -> None:
        elsewhere(store, Fill([]))()
        elsewhere(store, Ensure("pen"), command_id="c1")()
        elsewhere(store, Fill(["cup"]))()

    watched.after("find", race)

    executed = baskets.execute("b1", Ensure("pen"), command_id="c1")

    assert (executed.version, executed.state.skus) == (3, ["pen"])
    assert store.version(STREAM) == 4
    assert baskets.load("b1") == Repository(store, Basket).load("b1")


def test_a_racer_that_moved_the_stream_past_the_expected_version_wins(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))

    def race() -> None:
        elsewhere(store, Add("ink"))()
        elsewhere(store, Add("cup"), command_id="c1")()

    watched.after("find", race)

    assert baskets.execute("b1", Add("cup"), command_id="c1", expected_version=2).version == 3


# An unknown outcome.


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_an_unknown_outcome_the_command_is_simply_repeated(store: Store, when: str) -> None:
    watched = WatchedStore(store)
    getattr(watched, when)("append", fail(UnknownOutcome("db", "the connection broke")))
    baskets = Repository(watched, Basket)
    with pytest.raises(UnknownOutcome):
        baskets.execute("b1", Add("pen"), CheckOut(), command_id="c1")

    executed = baskets.execute("b1", Add("pen"), CheckOut(), command_id="c1")

    assert executed.version == 2
    assert store.version(STREAM) == 2
    with pytest.raises(BasketIsCheckedOut):
        baskets.execute("b1", Add("ink"))
