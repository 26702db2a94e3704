"""A snapshot that tells another story than the events is found, at the version where it begins."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from textwrap import dedent
from typing import ClassVar

import pytest
from attrs import define, field, frozen
from cattrs import Converter

from esbank import Aggregate, DefinitionError, EventRegistry, UnappliedEvent, applies
from esbank.backends.memory import MemoryEventStore
from esbank.bank import AccountOpened, Bank, BankAccount
from esbank.testing import check_snapshots
from tests.basket import Added, Basket, CheckedOut, Filled, Noted, Remark


@frozen
class Count:
    """The command of the counters, which have none."""


@frozen
class Counted:
    by: int = 1


ONE_TO_THREE = [Counted(1), Counted(2), Counted(3)]


def complaint(aggregate: type[Aggregate[Count, Counted]], *, registry: EventRegistry | None = None) -> str:
    with pytest.raises(AssertionError) as raised:
        check_snapshots(aggregate, ONE_TO_THREE, registry=registry)
    return str(raised.value)


# What passes.


def test_the_bank_passes_with_corrections() -> None:
    with MemoryEventStore() as store:
        bank = Bank(store)
        bank.open_account("acc-001", "Alice", initial_balance=100, overdraft_limit=50)
        bank.deposit("acc-001", 500, by="teller-7")
        bank.withdraw("acc-001", 120)
        bank.correct("acc-001", 2, 50, "a digit too many", by="teller-9")
        bank.correct("acc-001", 2, 55, "the slip says 55", by="teller-9")
        bank.correct("acc-001", 3, 155, "counted again", by="teller-9")
        bank.close_account("acc-001", "moved away")
        events = [envelope.event for envelope in bank.history("acc-001")]

    assert len(events) == 7
    check_snapshots(BankAccount, events)


def test_nested_and_growing_states_pass() -> None:
    check_snapshots(
        Basket,
        [Added("pen"), Noted(Remark("first")), Filled(["ink", "cup"]), Noted(Remark("second", ["x"])), CheckedOut()],
    )


def test_without_events_there_is_nothing_to_check() -> None:
    with pytest.raises(ValueError, match="there are no events to replay"):
        check_snapshots(Basket, [])


def test_events_may_come_from_a_generator() -> None:
    def events() -> Iterator[Added]:
        yield Added("pen")
        yield Added("ink")

    check_snapshots(Basket, events())


def test_what_was_given_is_not_changed() -> None:
    events = [Filled(["pen"]), Added("ink"), Noted(Remark("first")), Noted(Remark("second"))]

    check_snapshots(Basket, events)

    assert events == [Filled(["pen"]), Added("ink"), Noted(Remark("first")), Noted(Remark("second"))]


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Point({self.x}, {self.y})"


@define
class Walker(Aggregate[Count, Counted]):
    category: ClassVar[str] = "Walker"
    at: Point = field(factory=lambda: Point(0, 0))

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        self.at = Point(self.at.x + event.by, self.at.y + 1)


def whole(converter: Converter) -> None:
    converter.register_unstructure_hook(Point, lambda point: [point.x, point.y])
    converter.register_structure_hook(Point, lambda plain, _: Point(*plain))


def half(converter: Converter) -> None:
    converter.register_unstructure_hook(Point, lambda point: point.x)
    converter.register_structure_hook(Point, lambda x, _: Point(x, 0))


def refusing(converter: Converter) -> None:
    def read(plain: list[int], _: object) -> Point:
        if plain[0] == 3:
            raise ValueError("three is too much")
        return Point(*plain)

    converter.register_unstructure_hook(Point, lambda point: [point.x, point.y])
    converter.register_structure_hook(Point, read)


def test_hooks_come_from_the_registry() -> None:
    check_snapshots(Walker, ONE_TO_THREE, registry=EventRegistry(Walker, hooks=whole))


# What is found.


def test_hooks_that_lose_something_are_found() -> None:
    told = complaint(Walker, registry=EventRegistry(Walker, hooks=half))

    assert told.startswith("version 1 is not the same from the snapshot at version 1 (+) as without it (-):\n")
    assert "- Walker(at=Point(1, 1))\n" in told
    assert "+ Walker(at=Point(1, 0))" in told


def test_hooks_that_do_not_read_what_they_have_written_are_found() -> None:
    told = complaint(Walker, registry=EventRegistry(Walker, hooks=refusing))

    assert told.startswith("the snapshot at version 2 cannot be read: the hook for Point refuses [3, 2]")
    assert "three is too much" in told


def test_a_field_that_snapshots_cannot_hold_is_found() -> None:
    assert complaint(Walker).startswith("Walker cannot have snapshots: Walker.at: Point cannot be stored as JSON")


@define
class Sloppy(Aggregate[Count, Counted]):
    category: ClassVar[str] = "Sloppy"
    total: Decimal = Decimal(0)

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        self.total = event.by / 2 if event.by == 2 else Decimal(event.by)  # type: ignore[assignment]


def test_a_value_that_is_not_of_its_fields_type_is_found() -> None:
    assert complaint(Sloppy) == "the state at version 2 cannot be kept: Sloppy.total: expected Decimal, got float 1.0"


@define
class Shared(Aggregate[Count, Counted]):
    category: ClassVar[str] = "Shared"
    all: list[int] = field(factory=list)
    latest: list[int] = field(factory=list)

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        if event.by == 2:
            self.latest = self.all
        self.all.append(event.by)


def test_two_fields_that_share_one_list_are_found() -> None:
    assert complaint(Shared) == dedent("""\
        version 3 is not the same from the snapshot at version 2 (+) as without it (-):
        - Shared(all=[1, 2, 3], latest=[1, 2, 3])
        ?                                   ---

        + Shared(all=[1, 2, 3], latest=[1, 2])""")


@define
class OfTheWorld(Aggregate[Count, Counted]):
    """Counts how often it has counted in a place that is not its own."""

    category: ClassVar[str] = "OfTheWorld"
    times: ClassVar[int] = 0
    seen: int = 0

    @applies(Counted)
    def _counted(self, _: Counted) -> None:
        OfTheWorld.times += 1
        self.seen = OfTheWorld.times


def test_a_fold_that_looks_outside_the_state_is_found() -> None:
    assert complaint(OfTheWorld).startswith("version 2 is not the same from the snapshot at version 1 (+) as without")


@define
class Uncompared(Aggregate[Count, Counted]):
    category: ClassVar[str] = "Uncompared"
    times: ClassVar[int] = 0
    seen: int = field(default=0, eq=False)

    @applies(Counted)
    def _counted(self, _: Counted) -> None:
        Uncompared.times += 1
        self.seen = Uncompared.times


def test_a_field_that_equality_leaves_out_is_compared_too() -> None:
    told = complaint(Uncompared)

    assert told.startswith("version 2 is not the same from the snapshot at version 1 (+) as without it (-):")
    assert "- Uncompared(seen=2)" in told
    assert "+ Uncompared(seen=4)" in told


@define(slots=False)
class Hiding(Aggregate[Count, Counted]):
    """Keeps something beside its fields."""

    category: ClassVar[str] = "Hiding"
    hidden = 0
    total: int = 0

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        self.hidden += event.by
        if event.by == 3:
            self.total = self.hidden


def test_something_that_is_kept_beside_the_fields_is_found() -> None:
    told = complaint(Hiding)

    assert told.startswith("version 3 is not the same from the snapshot at version 1 (+) as without it (-):")
    assert "- Hiding(total=6)" in told
    assert "+ Hiding(total=5)" in told


# What it does not take.


def test_only_aggregates_have_snapshots() -> None:
    with pytest.raises(DefinitionError, match="a class of aggregates is needed"):
        check_snapshots(int, [])  # type: ignore[arg-type]


def test_an_event_that_the_aggregate_does_not_apply_is_an_error() -> None:
    opened = AccountOpened("Alice", "EUR", Decimal(0), Decimal(0))

    with pytest.raises(UnappliedEvent, match="Basket does not apply AccountOpened"):
        check_snapshots(Basket, [Added("pen"), opened])  # type: ignore[list-item]
