"""Given, when, then: a scenario passes when the rule holds, and says what is wrong when it does not."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import ClassVar

import pytest
from attrs import define, field, frozen
from cattrs import Converter

from esbank import Aggregate, EventEncodingError, EventRegistry, UnappliedEvent, UnhandledCommand, applies, handles
from esbank.bank import AccountOpened, BankAccount, Deposit, Deposited
from esbank.testing import Scenario, raises


@frozen
class Command:
    pass


@frozen
class Event:
    pass


@frozen
class Put(Command):
    amount: int


@frozen
class Take(Command):
    amount: int


@frozen
class Spill(Command):
    """Its handler changes the state by itself."""

    amount: int


@frozen
class SpillAndRefuse(Command):
    """Its handler changes the state by itself, and then refuses."""


@frozen
class SpillAndPut(Command):
    """Its handler changes the state by itself before it yields an event."""


@frozen
class PutAndSpill(Command):
    """Its handler changes the state by itself after it has yielded an event."""


@frozen
class PutSpillAndPut(Command):
    """Its handler changes the state by itself between two events."""


@frozen
class PutInHalves(Command):
    """Its handler yields an event, and then refuses."""


@frozen
class Misspell(Command):
    """Its event does not fit its own class."""


@frozen
class Announce(Command):
    """Its event is one that the aggregate does not apply."""


@frozen
class Assert(Command):
    """Its handler makes an assertion of its own."""


@frozen
class Put1(Event):
    amount: int


@frozen
class Taken(Event):
    amount: int


@frozen
class Announced(Event):
    pass


class Overdrawn(Exception):
    def __init__(self, requested: int, available: int) -> None:
        super().__init__(f"{requested} of {available}")
        self.requested = requested
        self.available = available


class FarOverdrawn(Overdrawn):
    pass


@define
class Jar(Aggregate[Command, Event]):
    category: ClassVar[str] = "Jar"
    amount: int = 0
    seen: list[int] = field(factory=list)

    @handles(Put)
    def put(self, command: Put) -> Iterator[Event]:
        yield Put1(command.amount)

    @handles(Take)
    def take(self, command: Take) -> Iterator[Event]:
        if command.amount > 1000:
            raise FarOverdrawn(command.amount, self.amount)
        if command.amount > self.amount:
            raise Overdrawn(command.amount, self.amount)
        yield Taken(command.amount)

    @handles(Spill)
    def spill(self, command: Spill) -> Iterable[Event]:
        self.amount -= command.amount
        return []

    @handles(SpillAndRefuse)
    def spill_and_refuse(self, _command: SpillAndRefuse) -> Iterable[Event]:
        self.seen.append(self.amount)
        raise Overdrawn(1, 0)

    @handles(SpillAndPut)
    def spill_and_put(self, _command: SpillAndPut) -> Iterator[Event]:
        self.amount -= 1
        yield Put1(1)

    @handles(PutAndSpill)
    def put_and_spill(self, _command: PutAndSpill) -> Iterator[Event]:
        yield Put1(1)
        self.amount -= 1

    @handles(PutSpillAndPut)
    def put_spill_and_put(self, _command: PutSpillAndPut) -> Iterator[Event]:
        yield Put1(1)
        self.amount -= 1
        yield Put1(1)

    @handles(PutInHalves)
    def put_in_halves(self, _command: PutInHalves) -> Iterator[Event]:
        yield Put1(1)
        raise Overdrawn(1, self.amount)

    @handles(Misspell)
    def misspell(self, _command: Misspell) -> Iterator[Event]:
        yield Put1("1")

    @handles(Announce)
    def announce(self, _command: Announce) -> Iterator[Event]:
        yield Announced()

    @handles(Assert)
    def make_an_assertion(self, _command: Assert) -> Iterator[Event]:
        raise AssertionError("the jar is not round")
        yield Put1(1)

    @applies(Put1)
    def _put(self, event: Put1) -> None:
        self.amount += event.amount
        self.seen.append(event.amount)

    @applies(Taken)
    def _taken(self, event: Taken) -> None:
        self.amount -= event.amount


@frozen
class Count:
    pass


@frozen
class Forget:
    pass


@frozen
class Counted:
    pass


@define
class Counter(Aggregate[Count, Counted]):
    """Counts commands in a field that takes no part in comparisons."""

    category: ClassVar[str] = "Counter"
    commands: int = field(default=0, eq=False)

    @handles(Count)
    def count(self, _command: Count) -> Iterator[Counted]:
        self.commands += 1
        yield Counted()

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        pass


@define
class Memo(Aggregate[Count | Forget, Counted]):
    """Has a field of which no snapshot can be made."""

    category: ClassVar[str] = "Memo"
    seen: list[object] = field(factory=list)

    @handles(Count)
    def count(self, _command: Count) -> Iterator[Counted]:
        yield Counted()

    @handles(Forget)
    def forget(self, command: Forget) -> Iterable[Counted]:
        self.seen.append(command)
        return []

    @applies(Counted)
    def _counted(self, event: Counted) -> None:
        self.seen.append(event)


class Weight:
    """Somebody else's class, which forgets its decimals when it is written."""

    def __init__(self, kilograms: Decimal) -> None:
        self.kilograms = kilograms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weight) and self.kilograms == other.kilograms

    __hash__ = None

    def __repr__(self) -> str:
        return f"Weight({self.kilograms})"


@frozen
class Weigh:
    weight: Weight


@frozen
class Weighed:
    weight: Weight


@define
class Scale(Aggregate[Weigh, Weighed]):
    category: ClassVar[str] = "Scale"
    last: Decimal = Decimal(0)

    @handles(Weigh)
    def weigh(self, command: Weigh) -> Iterable[Weighed]:
        return [Weighed(command.weight)]

    @applies(Weighed)
    def _weighed(self, event: Weighed) -> None:
        self.last = event.weight.kilograms


def rounding(converter: Converter) -> None:
    converter.register_unstructure_hook(Weight, lambda weight: int(weight.kilograms))
    converter.register_structure_hook(Weight, lambda kilograms, _: Weight(Decimal(kilograms)))


JAR = Scenario(Jar)


class TestPassing:
    def test_commands_cause_the_events_expected(self) -> None:
        JAR.given(Put1(5)).when(Take(2), Put(1)).then(Taken(2), Put1(1))

    def test_nothing_given_is_the_state_before_any_event(self) -> None:
        JAR.when(Put(1)).then(Put1(1))
        JAR.given().when(Put(1)).then(Put1(1))

    def test_a_command_decides_on_what_the_one_before_has_done(self) -> None:
        JAR.when(Put(3), Take(3)).then(Put1(3), Taken(3))

    def test_no_commands_cause_no_events(self) -> None:
        JAR.given(Put1(5)).when().then()

    def test_a_refusal(self) -> None:
        JAR.given(Put1(5)).when(Take(6)).then(raises(Overdrawn))

    def test_a_refusal_with_its_attributes(self) -> None:
        JAR.given(Put1(5)).when(Take(6)).then(raises(Overdrawn, requested=6, available=5))
        JAR.given(Put1(5)).when(Take(6)).then(raises(Overdrawn, available=5))

    def test_a_refusal_after_an_event_or_a_command(self) -> None:
        JAR.when(PutInHalves()).then(raises(Overdrawn, available=1))
        JAR.when(Put(1), Take(2)).then(raises(Overdrawn, available=1))

    def test_an_unknown_command_is_a_refusal_too(self) -> None:
        JAR.when(Command()).then(raises(UnhandledCommand, command=Command))

    def test_the_same_given_serves_twice(self) -> None:
        five = JAR.given(Put1(5))

        five.when(Take(5)).then(Taken(5))
        five.when(Take(5)).then(Taken(5))

    def test_types_of_ones_own_are_stored_by_the_hooks_of_the_registry(self) -> None:
        scenario = Scenario(Scale, registry=EventRegistry(Scale, hooks=rounding))

        scenario.when(Weigh(Weight(Decimal(2)))).then(Weighed(Weight(Decimal(2))))


class TestFailing:
    def test_other_events_are_shown_beside_those_expected(self) -> None:
        with pytest.raises(AssertionError) as caught:
            JAR.when(Put(1), Put(2)).then(Put1(1), Put1(3))

        assert str(caught.value).splitlines() == [
            "the events are not those expected (-), but (+):",
            "  Put1(amount=1)",
            "- Put1(amount=3)",
            "?             ^",
            "+ Put1(amount=2)",
            "?             ^",
        ]

    def test_events_of_another_class_are_shown_beside_those_expected(self) -> None:
        with pytest.raises(AssertionError) as caught:
            JAR.when(Put(1), Put(2), Take(1)).then(Put1(1), Taken(1))

        assert str(caught.value).splitlines()[1:] == ["  Put1(amount=1)", "+ Put1(amount=2)", "  Taken(amount=1)"]

    def test_events_that_are_equal_are_shown_in_the_same_words(self) -> None:
        past = Scenario(BankAccount).given(AccountOpened("Ada", "EUR", Decimal(10), Decimal(0)))

        with pytest.raises(AssertionError) as caught:
            past.when(Deposit(5), Deposit(1)).then(Deposited(Decimal(5), Decimal(15), ""))

        assert [line[:2] for line in str(caught.value).splitlines()[1:]] == ["  ", "+ "]

    @pytest.mark.parametrize("expected", [[], [Put1(1), Put1(1)], [Taken(1)]], ids=["fewer", "more", "another"])
    def test_the_events_must_be_just_those(self, expected: list[Event]) -> None:
        with pytest.raises(AssertionError, match="the events are not those expected"):
            JAR.when(Put(1)).then(*expected)

    def test_the_order_of_the_events_matters(self) -> None:
        with pytest.raises(AssertionError, match="the events are not those expected"):
            JAR.when(Put(1), Take(1)).then(Taken(1), Put1(1))

    def test_a_refusal_instead_of_events_is_shown_and_is_the_cause(self) -> None:
        with pytest.raises(AssertionError, match=r"expected an event, but it was refused: Overdrawn: 6 of 5") as it:
            JAR.given(Put1(5)).when(Take(6)).then(Taken(6))

        assert isinstance(it.value.__cause__, Overdrawn)

    @pytest.mark.parametrize(
        ("expected", "words"), [([], "no events"), ([Taken(1)], "an event"), ([Taken(1), Taken(2)], "2 events")]
    )
    def test_what_was_expected_is_counted_in_words(self, expected: list[Event], words: str) -> None:
        with pytest.raises(AssertionError, match=f"expected {words}, but it was refused"):
            JAR.when(Take(6)).then(*expected)

    @pytest.mark.parametrize(
        ("commands", "words"),
        [([], r"no events: \[\]"), ([Put(1)], r"an event: \[Put1"), ([Put(1), Put(2)], r"2 events: \[Put1")],
        ids=["none", "one", "two"],
    )
    def test_events_instead_of_a_refusal_are_shown(self, commands: list[Command], words: str) -> None:
        with pytest.raises(AssertionError, match=f"expected Overdrawn, but it gave {words}"):
            JAR.when(*commands).then(raises(Overdrawn))

    @pytest.mark.parametrize("error", [Exception, Overdrawn, ValueError])
    def test_a_refusal_must_be_exactly_of_its_class(self, error: type[Exception]) -> None:
        with pytest.raises(AssertionError, match=f"expected {error.__name__}, but it was refused with FarOver") as it:
            JAR.when(Take(2000)).then(raises(error))

        assert isinstance(it.value.__cause__, FarOverdrawn)

    def test_a_refusal_must_have_the_attributes_expected(self) -> None:
        with pytest.raises(AssertionError) as caught:
            JAR.given(Put1(5)).when(Take(6)).then(raises(Overdrawn, requested=6, available=4))

        assert str(caught.value).splitlines() == [
            "Overdrawn does not have the attributes expected (-), but (+):",
            "- available=4",
            "?           ^",
            "+ available=5",
            "?           ^",
        ]

    def test_an_attribute_that_a_refusal_does_not_have_is_missing(self) -> None:
        with pytest.raises(AssertionError, match=r"\+ balance=no such attribute"):
            JAR.when(Take(6)).then(raises(Overdrawn, balance=0))

    def test_an_expected_attribute_that_is_missing_is_never_there_by_chance(self) -> None:
        with pytest.raises(AssertionError):
            JAR.when(Take(6)).then(raises(Overdrawn, balance="missing"))

    def test_a_refusal_cannot_be_expected_beside_events(self) -> None:
        with pytest.raises(ValueError, match="a refusal comes alone"):
            JAR.when(PutInHalves()).then(Put1(1), raises(Overdrawn))


class TestPurity:
    @pytest.mark.parametrize(
        "command", [Spill(1), SpillAndPut(), PutSpillAndPut(), PutAndSpill()], ids=lambda it: type(it).__name__
    )
    def test_a_handler_that_changes_the_state_is_caught(self, command: Command) -> None:
        with pytest.raises(AssertionError, match=r"changed the state itself; only events may, in a method .*@applies"):
            JAR.given(Put1(5)).when(command)

    def test_it_is_caught_before_it_refuses(self) -> None:
        with pytest.raises(AssertionError, match=r"handling SpillAndRefuse\(\) changed the state itself"):
            JAR.given(Put1(5)).when(SpillAndRefuse())

    def test_the_change_is_shown(self) -> None:
        with pytest.raises(AssertionError) as caught:
            JAR.given(Put1(5)).when(Spill(3))

        assert "- Jar(amount=5, seen=[5])" in str(caught.value)
        assert "+ Jar(amount=2, seen=[5])" in str(caught.value)

    def test_a_change_that_equality_leaves_out_is_caught_too(self) -> None:
        with pytest.raises(AssertionError, match=r"handling Count\(\) changed the state itself"):
            Scenario(Counter).when(Count())

    def test_a_state_that_no_snapshot_can_hold_is_compared_all_the_same(self) -> None:
        Scenario(Memo).when(Count()).then(Counted())
        with pytest.raises(AssertionError, match=r"handling Forget\(\) changed the state itself"):
            Scenario(Memo).when(Forget())

    def test_an_assertion_in_a_handler_fails_the_test_as_it_is(self) -> None:
        with pytest.raises(AssertionError, match="the jar is not round"):
            JAR.when(Assert())


class TestStoring:
    def test_an_event_that_does_not_come_back_the_same_is_caught(self) -> None:
        scenario = Scenario(Scale, registry=EventRegistry(Scale, hooks=rounding))

        with pytest.raises(AssertionError) as caught:
            scenario.when(Weigh(Weight(Decimal("1.5"))))

        message = str(caught.value)
        assert message.startswith("Weighed(weight=Weight(1.5)) does not survive being stored:\n")
        assert "- Weighed(weight=Weight(1.5))" in message
        assert "+ Weighed(weight=Weight(1))" in message

    def test_one_that_is_given_is_caught_too(self) -> None:
        scenario = Scenario(Scale, registry=EventRegistry(Scale, hooks=rounding))

        with pytest.raises(AssertionError, match="does not survive being stored"):
            scenario.given(Weighed(Weight(Decimal("1.5"))))

    def test_an_event_that_cannot_be_stored_is_no_event(self) -> None:
        with pytest.raises(AssertionError, match="it was refused: EventEncodingError"):
            JAR.when(Misspell()).then(Put1("1"))

    def test_one_that_is_given_is_an_error(self) -> None:
        with pytest.raises(EventEncodingError, match=r"Put1\.amount cannot be stored"):
            JAR.given(Put1("1"))

    def test_an_event_that_the_aggregate_does_not_apply_is_no_event(self) -> None:
        scenario = Scenario(Jar, registry=EventRegistry(Jar, Announced))

        scenario.when(Announce()).then(raises(UnappliedEvent, event=Announced))
