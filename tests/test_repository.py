"""Executing commands: decide, append, and decide again when somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, frozen

from esbank import (
    Aggregate,
    ConcurrencyError,
    DefinitionError,
    EventEncodingError,
    EventRegistry,
    Metadata,
    Repository,
    StorageError,
    StreamNotFound,
    UnappliedEvent,
    UnhandledCommand,
    applies,
    handles,
)
from esbank.backends.memory import MemoryEventStore
from esbank.store import ANY_VERSION, NO_STREAM, STREAM_EXISTS, ExpectedVersion, StreamId
from tests.basket import (
    Add,
    AddEach,
    Added,
    Basket,
    BasketCommand,
    BasketEvent,
    BasketIsCheckedOut,
    BasketIsEmpty,
    BasketIsFull,
    CheckedOut,
    CheckOut,
    Ensure,
    Fill,
    Filled,
    SmallBasket,
)
from tests.doubles import KINDS, PlainStore, Store, WatchedStore, fail, open_store

STREAM = StreamId("Basket", "b1")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def baskets(store: Store) -> Repository[Basket]:
    return Repository(store, Basket)


def add_elsewhere(store: Store, sku: str) -> Callable[[], object]:
    """Make an action that adds through another repository."""
    return lambda: Repository(store, Basket).execute("b1", Add(sku))


def test_a_command_on_an_absent_stream_decides_on_the_initial_state(baskets: Repository[Basket]) -> None:
    executed = baskets.execute("b1", Add("pen"))

    assert executed.state == Basket(["pen"], {"pen": 1})
    assert executed.version == 1
    assert [envelope.event for envelope in executed.envelopes] == [Added("pen")]


def test_an_envelope_tells_where_and_when_the_event_was_stored(store: Store, baskets: Repository[Basket]) -> None:
    (envelope,) = baskets.execute("b1", Add("pen"), metadata=Metadata(actor="alice")).envelopes
    (stored,) = store.read(STREAM)

    assert envelope.stored == stored
    assert envelope.stream == STREAM
    assert (envelope.version, envelope.type, envelope.metadata.actor) == (1, "BasketAdded", "alice")


def test_each_command_decides_on_what_those_before_it_did(baskets: Repository[Basket]) -> None:
    executed = baskets.execute("b1", Add("pen"), CheckOut())

    assert executed.state.checked_out
    assert executed.version == 2
    assert [envelope.event for envelope in executed.envelopes] == [Added("pen"), CheckedOut()]


def test_several_commands_append_at_once(store: Store) -> None:
    watched = WatchedStore(store)

    Repository(watched, Basket).execute("b1", Add("pen"), Add("ink"), CheckOut())

    assert watched.calls["append"] == 1
    assert store.version(STREAM) == 3


def test_when_one_of_several_commands_is_refused_none_of_them_happens(
    store: Store, baskets: Repository[Basket]
) -> None:
    with pytest.raises(BasketIsCheckedOut):
        baskets.execute("b1", Add("pen"), CheckOut(), Add("ink"))

    assert store.version(STREAM) == 0
    assert baskets.execute("b1", Add("ink")).state.skus == ["ink"]


def test_a_refusal_leaves_the_stream_untouched(store: Store, baskets: Repository[Basket]) -> None:
    with pytest.raises(BasketIsEmpty):
        baskets.execute("b1", CheckOut())

    assert store.head() is None


def test_a_refusal_after_the_first_event_throws_the_state_away(store: Store) -> None:
    baskets = Repository(store, SmallBasket)
    baskets.execute("b1", Add("pen"))

    with pytest.raises(BasketIsFull) as refused:
        baskets.execute("b1", AddEach(["a", "b", "c"]))

    assert refused.value.sku == "c"
    assert store.version(STREAM) == 1
    assert baskets.load("b1").state.skus == ["pen"]
    assert baskets.execute("b1", AddEach(["x", "y"])).state.skus == ["pen", "x", "y"]


def test_events_applied_so_far_are_seen_by_the_rest_of_the_handler(store: Store) -> None:
    baskets = Repository(store, SmallBasket)

    with pytest.raises(BasketIsFull):
        baskets.execute("b1", AddEach(["a", "b", "c", "d"]))


def test_a_command_without_events_stores_nothing_and_returns_the_state(
    store: Store, baskets: Repository[Basket]
) -> None:
    baskets.execute("b1", Add("pen"))

    executed = baskets.execute("b1", Ensure("pen"))

    assert (executed.version, executed.envelopes, executed.state.skus) == (1, (), ["pen"])
    assert store.version(STREAM) == 1


def test_what_was_executed_says_at_which_position_its_last_event_is(store: Store, baskets: Repository[Basket]) -> None:
    assert baskets.execute("b1", Ensure("pen"), command_id="c1").position == 1
    Repository(store, Basket).execute("b2", Add("ink"))

    several = baskets.execute("b1", Add("cup"), Add("cap"))

    assert (several.position, several.version) == (4, 3)
    assert several.position == store.head()
    assert baskets.execute("b1", Ensure("pen"), command_id="c1").position == 1


def test_what_was_executed_without_an_event_has_no_position(baskets: Repository[Basket]) -> None:
    baskets.execute("b1", Add("pen"))

    assert baskets.execute("b1", Ensure("pen")).position is None


def test_no_commands_make_no_sense(baskets: Repository[Basket]) -> None:
    with pytest.raises(ValueError, match="no command"):
        baskets.execute("b1")


def test_an_aggregate_that_does_not_exist_cannot_be_loaded(baskets: Repository[Basket]) -> None:
    with pytest.raises(StreamNotFound) as missing:
        baskets.load("b1")

    assert missing.value.stream == STREAM


def test_the_history_of_an_aggregate_that_does_not_exist_is_an_error_at_once(baskets: Repository[Basket]) -> None:
    with pytest.raises(StreamNotFound):
        baskets.history("b1")


def test_the_history_has_every_event_in_order(baskets: Repository[Basket]) -> None:
    for number in range(5):
        baskets.execute("b1", Add(f"sku {number}"))

    history = list(baskets.history("b1"))

    assert [envelope.event for envelope in history] == [Added(f"sku {number}") for number in range(5)]
    assert [envelope.version for envelope in history] == [1, 2, 3, 4, 5]


def test_a_very_long_history_is_read_whole(store: Store, baskets: Repository[Basket]) -> None:
    baskets.execute("b1", AddEach([f"sku {number}" for number in range(1000)]))
    baskets.execute("b1", *(Fill([str(number)]) for number in range(1500)))

    assert [envelope.version for envelope in baskets.history("b1")] == list(range(1, 2501))
    assert Repository(store, Basket).load("b1").state.skus == ["1499"]


# Somebody else was faster.


def test_a_command_overtaken_by_another_decides_again_on_the_new_state(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", add_elsewhere(store, "ink"))

    executed = Repository(watched, Basket).execute("b1", Add("pen"))

    assert executed.version == 2
    assert executed.state.skus == ["ink", "pen"]
    assert watched.calls["append"] == 2


def test_the_new_state_may_refuse_what_the_old_one_allowed(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, SmallBasket)
    baskets.execute("b1", Add("a"), Add("b"))
    watched.before("append", add_elsewhere(store, "c"))

    with pytest.raises(BasketIsFull):
        baskets.execute("b1", Add("d"))

    assert Repository(store, Basket).load("b1").state.skus == ["a", "b", "c"]


def test_attempts_are_bounded(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", *(add_elsewhere(store, "ink") for _ in range(10)))

    with pytest.raises(ConcurrencyError) as conflict:
        Repository(watched, Basket, max_attempts=3).execute("b1", Add("pen"))

    assert watched.calls["append"] == 3
    assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == (STREAM, 2, 3)


def test_there_are_twenty_attempts_unless_it_is_said_otherwise() -> None:
    store = MemoryEventStore()
    watched = WatchedStore(store)
    watched.before("append", *(add_elsewhere(store, "ink") for _ in range(30)))

    with pytest.raises(ConcurrencyError):
        Repository(watched, Basket).execute("b1", Add("pen"))

    assert watched.calls["append"] == 20


def test_after_too_many_attempts_the_next_command_works(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket, max_attempts=1)
    baskets.execute("b1", Add("pen"))
    watched.before("append", add_elsewhere(store, "ink"))
    with pytest.raises(ConcurrencyError):
        baskets.execute("b1", Add("cup"))

    assert baskets.execute("b1", Add("cup")).state.skus == ["pen", "ink", "cup"]


def test_a_failing_store_is_not_tried_again_and_poisons_nothing(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))
    watched.before("append", fail(StorageError("disk", "full")))

    with pytest.raises(StorageError, match="full"):
        baskets.execute("b1", Add("ink"))

    assert watched.calls["append"] == 2
    assert baskets.load("b1").state.skus == ["pen"]
    assert baskets.execute("b1", Add("cup")).state.skus == ["pen", "cup"]


def test_an_append_that_failed_after_it_was_stored_is_seen_by_the_next_command(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))
    watched.after("append", fail(StorageError("network", "gone")))

    with pytest.raises(StorageError, match="gone"):
        baskets.execute("b1", Add("ink"))

    assert baskets.execute("b1", Add("cup")).state.skus == ["pen", "ink", "cup"]


# What the caller expects.


@pytest.mark.parametrize("expected", [2, STREAM_EXISTS, ANY_VERSION])
def test_a_met_expectation_lets_the_command_through(baskets: Repository[Basket], expected: ExpectedVersion) -> None:
    baskets.execute("b1", Add("pen"), Add("ink"))

    assert baskets.execute("b1", Add("cup"), expected_version=expected).version == 3


@pytest.mark.parametrize("expected", [NO_STREAM, ANY_VERSION])
def test_a_met_expectation_of_an_absent_stream_lets_the_command_through(
    baskets: Repository[Basket], expected: ExpectedVersion
) -> None:
    assert baskets.execute("b1", Add("cup"), expected_version=expected).version == 1


@pytest.mark.parametrize("expected", [NO_STREAM, 1, 3])
def test_an_unmet_expectation_names_what_was_expected_and_what_is(
    store: Store, baskets: Repository[Basket], expected: ExpectedVersion
) -> None:
    baskets.execute("b1", Add("pen"), Add("ink"))

    with pytest.raises(ConcurrencyError) as conflict:
        baskets.execute("b1", Add("cup"), expected_version=expected)

    assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == (STREAM, expected, 2)
    assert store.version(STREAM) == 2


def test_a_stream_expected_to_exist_that_does_not_is_refused_without_trying_again(store: Store) -> None:
    watched = WatchedStore(store)

    with pytest.raises(ConcurrencyError) as conflict:
        Repository(watched, Basket).execute("b1", Add("pen"), expected_version=STREAM_EXISTS)

    assert (conflict.value.expected, conflict.value.actual) == (STREAM_EXISTS, 0)
    assert watched.calls["append"] == 0
    assert watched.calls["read"] == 1


def test_an_expected_number_is_not_tried_again(store: Store) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))
    watched.before("append", add_elsewhere(store, "ink"))

    with pytest.raises(ConcurrencyError) as conflict:
        baskets.execute("b1", Add("cup"), expected_version=1)

    assert (conflict.value.expected, conflict.value.actual) == (1, 2)
    assert watched.calls["append"] == 2
    assert store.version(STREAM) == 2


@pytest.mark.parametrize("expected", [STREAM_EXISTS, ANY_VERSION])
def test_an_expectation_that_is_no_number_is_tried_again(store: Store, expected: ExpectedVersion) -> None:
    watched = WatchedStore(store)
    baskets = Repository(watched, Basket)
    baskets.execute("b1", Add("pen"))
    watched.before("append", add_elsewhere(store, "ink"))

    assert baskets.execute("b1", Add("cup"), expected_version=expected).state.skus == ["pen", "ink", "cup"]


def test_an_expectation_is_compared_with_the_store_and_not_with_the_cache(store: Store) -> None:
    baskets = Repository(store, Basket)
    baskets.execute("b1", Add("pen"))
    add_elsewhere(store, "ink")()

    with pytest.raises(ConcurrencyError) as conflict:
        baskets.execute("b1", Add("cup"), expected_version=1)
    assert (conflict.value.expected, conflict.value.actual) == (1, 2)

    add_elsewhere(store, "cap")()
    assert baskets.execute("b1", Add("cup"), expected_version=3).version == 4


@pytest.mark.parametrize("expected", [True, -1])
def test_an_expectation_that_makes_no_sense_is_no_conflict(baskets: Repository[Basket], expected: int) -> None:
    baskets.execute("b1", Add("pen"))

    with pytest.raises(ValueError, match="expected version"):
        baskets.execute("b1", Add("ink"), expected_version=expected)


# What cannot be executed stores nothing.


@frozen
class Unheard(BasketCommand):
    pass


@frozen
class Unapplied(BasketEvent):
    pass


@frozen
class YieldUnapplied(BasketCommand):
    pass


@frozen
class YieldUnstorable(BasketCommand):
    pass


@frozen
class ReturnNone(BasketCommand):
    pass


@frozen
class ReturnList(BasketCommand):
    pass


@define
class OddBasket(Basket):
    category: ClassVar[str] = "Basket"

    @handles(YieldUnapplied)
    def yield_unapplied(self, _: YieldUnapplied) -> Iterator[BasketEvent]:
        yield Added("pen")
        yield Unapplied()

    @handles(YieldUnstorable)
    def yield_unstorable(self, _: YieldUnstorable) -> Iterator[BasketEvent]:
        wrong: Any = 1.5
        yield Added("pen")
        yield Added("ink", wrong)

    @handles(ReturnNone)
    def return_none(self, _: ReturnNone) -> Iterator[BasketEvent]:
        nothing: Any = None
        return nothing  # type: ignore[no-any-return]

    @handles(ReturnList)
    def return_list(self, _: ReturnList) -> list[BasketEvent]:
        return [Added("pen"), Added("ink")]


def test_a_command_without_a_handler_stores_nothing(store: Store) -> None:
    with pytest.raises(UnhandledCommand) as unhandled:
        Repository(store, Basket).execute("b1", Add("pen"), Unheard())

    assert (unhandled.value.aggregate, unhandled.value.command) == (Basket, Unheard)
    assert store.head() is None


@pytest.mark.parametrize("registry", [None, EventRegistry(OddBasket, Unapplied)], ids=["default", "complete"])
def test_an_event_without_an_applier_stores_nothing(store: Store, registry: EventRegistry | None) -> None:
    with pytest.raises(UnappliedEvent) as unapplied:
        Repository(store, OddBasket, registry=registry).execute("b1", YieldUnapplied())

    assert (unapplied.value.aggregate, unapplied.value.event) == (OddBasket, Unapplied)
    assert store.head() is None


def test_an_event_that_cannot_be_encoded_stores_nothing(store: Store) -> None:
    with pytest.raises(EventEncodingError) as unstorable:
        Repository(store, OddBasket).execute("b1", YieldUnstorable())

    assert (unstorable.value.type, unstorable.value.field) == ("BasketAdded", "quantity")
    assert store.head() is None


def test_a_handler_that_returns_none_is_an_error(store: Store) -> None:
    with pytest.raises(DefinitionError, match="return_none returned None for ReturnNone"):
        Repository(store, OddBasket).execute("b1", ReturnNone())

    assert store.head() is None


def test_a_handler_may_return_a_list(store: Store) -> None:
    assert Repository(store, OddBasket).execute("b1", ReturnList()).version == 2


# A repository that cannot work says so when it is made.


@define
class Needy(Basket):
    category: ClassVar[str] = "Needy"
    owner: str = ""

    def __init__(self, owner: str) -> None:
        self.__attrs_init__(owner=owner)  # type: ignore[attr-defined]


@define
class Nowhere(Aggregate[BasketCommand, BasketEvent]):
    pass


def test_an_aggregate_that_needs_arguments_is_refused(store: Store) -> None:
    with pytest.raises(DefinitionError, match="every field of Needy needs a default"):
        Repository(store, Needy)


def test_an_aggregate_without_a_category_is_refused(store: Store) -> None:
    with pytest.raises(DefinitionError, match="Nowhere needs a category"):
        Repository(store, Nowhere)


def test_a_registry_that_lacks_an_event_is_refused(store: Store) -> None:
    with pytest.raises(DefinitionError, match="lacks Noted, which Basket applies"):
        Repository(store, Basket, registry=EventRegistry(Added, Filled))


@pytest.mark.parametrize("setting", [{"cache": -1}, {"cache": True}, {"max_attempts": 0}, {"max_attempts": 1.5}])
def test_a_count_that_makes_no_sense_is_refused(store: Store, setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Repository(store, Basket, **setting)


def test_any_store_will_do_without_snapshots(store: Store) -> None:
    assert Repository(PlainStore(store), Basket).execute("b1", Add("pen")).version == 1


# Rules may change; what has happened has happened.


def test_history_stays_readable_after_a_rule_was_tightened(store: Store) -> None:
    Repository(store, Basket).execute("b1", AddEach(["a", "b", "c", "d", "e"]))

    stricter = Repository(store, SmallBasket)

    assert stricter.load("b1").state.skus == ["a", "b", "c", "d", "e"]
    with pytest.raises(BasketIsFull):
        stricter.execute("b1", Add("f"))


@frozen
class Rename(BasketCommand):
    name: str


@frozen
class Renamed(BasketEvent):
    name: str


@define
class NamedBasket(Basket):
    category: ClassVar[str] = "NamedBasket"
    name: str = ""

    @handles(Rename)
    def rename(self, command: Rename) -> Iterator[BasketEvent]:
        yield Renamed(command.name)

    @applies(Renamed)
    def _renamed(self, event: Renamed) -> None:
        self.name = event.name


def test_a_subclass_has_streams_of_its_own_and_its_parents_commands(store: Store) -> None:
    executed = Repository(store, NamedBasket).execute("b1", Add("pen"), Rename("desk"))

    assert executed.state.name == "desk"
    assert store.version(StreamId("NamedBasket", "b1")) == 2
    assert store.version(STREAM) == 0
