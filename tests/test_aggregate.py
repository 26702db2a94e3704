"""Aggregates: commands and events find the methods marked with their classes."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

import pytest
from attrs import define, field, frozen

from esbank import Aggregate, DefinitionError, UnappliedEvent, UnhandledCommand, applies, handles
from esbank.aggregate import decide
from esbank.store import StreamId


@frozen
class Command:
    pass


@frozen
class Event:
    pass


@frozen
class Add(Command):
    amount: int = 1


@frozen
class Subtract(Command):
    amount: int = 1


@frozen
class Double(Command):
    pass


@frozen
class Added(Event):
    amount: int = 1


@frozen
class Subtracted(Event):
    amount: int = 1


@frozen
class Doubled(Event):
    pass


class Refused(Exception):
    """The counter does not go there."""


@define
class Counter(Aggregate[Command, Event]):
    category: ClassVar[str] = "Counter"
    total: int = 0
    seen: list[int] = field(factory=list)

    @handles(Add)
    def add(self, command: Add) -> Iterator[Event]:
        for _ in range(command.amount):
            yield Added()
            self.note_for_test()

    @handles(Subtract)
    def subtract(self, command: Subtract) -> Iterable[Event]:
        if command.amount > self.total:
            raise Refused
        return [Subtracted(command.amount)]

    @applies(Added)
    def _added(self, event: Added) -> None:
        self.total += event.amount

    @applies(Subtracted)
    def _subtracted(self, event: Subtracted) -> None:
        self.total -= event.amount

    def note_for_test(self) -> None:
        self.seen.append(self.total)


@define
class Doubler(Counter):
    """Adds a command and an event, and overrides a handler and an applier of its parent."""

    category: ClassVar[str] = "Doubler"
    times: int = 0

    @handles(Double)
    def double(self, _command: Double) -> Iterator[Event]:
        yield Doubled()

    @applies(Doubled)
    def _doubled(self, _event: Doubled) -> None:
        self.times += 1
        self.total *= 2

    def add(self, command: Add) -> Iterator[Event]:
        yield from super().add(command)
        yield Doubled()

    def _subtracted(self, event: Subtracted) -> None:
        super()._subtracted(event)
        self.times += 1


def events_of(state: Aggregate[Command, Event], *commands: Command) -> list[Event]:
    return list(decide(state, commands))


class TestHandling:
    def test_a_command_finds_its_method(self) -> None:
        assert events_of(Counter(), Add(2)) == [Added(), Added()]

    def test_a_handler_may_return_a_list(self) -> None:
        assert events_of(Counter(total=5), Subtract(5)) == [Subtracted(5)]

    def test_deciding_alone_changes_nothing(self) -> None:
        counter = Counter(total=5)

        assert list(counter.handle(Subtract(5))) == [Subtracted(5)]
        assert counter == Counter(total=5)

    def test_what_the_domain_raises_comes_through(self) -> None:
        with pytest.raises(Refused):
            Counter().handle(Subtract(1))

    def test_an_unknown_command_is_an_error_that_names_both_classes(self) -> None:
        with pytest.raises(UnhandledCommand) as caught:
            Counter().handle(Double())

        assert (caught.value.aggregate, caught.value.command) == (Counter, Double)

    def test_a_command_is_found_by_its_class_and_not_by_its_parents(self) -> None:
        @frozen
        class AddALot(Add):
            pass

        with pytest.raises(UnhandledCommand) as caught:
            Counter().handle(AddALot())

        assert caught.value.command is AddALot

    def test_one_method_may_take_several_classes(self) -> None:
        class Either(Aggregate[Command, Event]):
            category = "Either"

            @handles(Add, Subtract)
            def change(self, command: Add | Subtract) -> Iterable[Event]:
                return [Added(command.amount)]

        assert list(Either().handle(Add(1))) == [Added(1)]
        assert list(Either().handle(Subtract(2))) == [Added(2)]

    def test_marks_add_up(self) -> None:
        class Either(Aggregate[Command, Event]):
            category = "Either"

            @handles(Add)
            @handles(Subtract)
            def change(self, command: Add | Subtract) -> Iterable[Event]:
                return [Added(command.amount)]

        assert list(Either().handle(Add(1))) == [Added(1)]
        assert list(Either().handle(Subtract(2))) == [Added(2)]

    def test_a_handler_that_returns_none_is_an_error_that_names_it(self) -> None:
        class Forgetful(Aggregate[Command, Event]):
            category = "Forgetful"

            @handles(Add)
            def add(self, command: Add) -> None:
                pass

        with pytest.raises(DefinitionError, match=r"Forgetful\.add returned None for Add: yield the events"):
            Forgetful().handle(Add())

    def test_a_handler_that_returns_a_single_event_is_an_error(self) -> None:
        class Single(Aggregate[Command, Event]):
            category = "Single"

            @handles(Add)
            def add(self, _command: Add) -> Event:
                return Added()

        with pytest.raises(TypeError, match="Added"):
            events_of(Single(), Add())


class TestApplying:
    def test_an_event_finds_its_method(self) -> None:
        counter = Counter()
        counter.apply(Added(3))

        assert counter.total == 3

    def test_an_unknown_event_is_an_error_that_names_both_classes(self) -> None:
        with pytest.raises(UnappliedEvent) as caught:
            Counter().apply(Doubled())

        assert (caught.value.aggregate, caught.value.event) == (Counter, Doubled)

    def test_an_event_is_found_by_its_class_and_not_by_its_parents(self) -> None:
        @frozen
        class AddedALot(Added):
            pass

        with pytest.raises(UnappliedEvent) as caught:
            Counter().apply(AddedALot())

        assert caught.value.event is AddedALot

    def test_the_classes_of_the_events_are_listed(self) -> None:
        assert Counter.event_classes() == (Added, Subtracted)
        assert set(Doubler.event_classes()) == {Added, Subtracted, Doubled}


class TestDeciding:
    def test_an_event_is_applied_before_the_handler_goes_on(self) -> None:
        counter = Counter()
        events_of(counter, Add(3))

        assert counter.seen == [1, 2, 3]

    def test_an_event_is_not_applied_before_somebody_has_taken_it(self) -> None:
        counter = Counter()
        events = decide(counter, [Add(2)])

        next(events)
        assert counter.total == 0

        next(events)
        assert counter.total == 1

    def test_a_command_decides_on_what_the_one_before_has_done(self) -> None:
        counter = Counter()

        assert events_of(counter, Add(2), Subtract(2), Add(1)) == [Added(), Added(), Subtracted(2), Added()]
        assert counter.total == 1

    def test_a_refusal_comes_after_the_events_before_it(self) -> None:
        events = decide(Counter(), [Add(1), Subtract(2)])

        assert next(events) == Added()
        with pytest.raises(Refused):
            next(events)

    def test_no_commands_cause_no_events(self) -> None:
        assert events_of(Counter()) == []


class TestExtending:
    def test_a_subclass_handles_what_it_adds_and_what_it_inherits(self) -> None:
        doubler = Doubler(total=5)

        assert events_of(doubler, Double(), Subtract(3)) == [Doubled(), Subtracted(3)]

    def test_its_parent_is_left_as_it_was(self) -> None:
        with pytest.raises(UnhandledCommand):
            Counter().handle(Double())
        with pytest.raises(UnappliedEvent):
            Counter().apply(Doubled())

    def test_a_handler_is_overridden_by_name_without_a_mark_and_can_call_its_parent(self) -> None:
        assert events_of(Doubler(), Add(2)) == [Added(), Added(), Doubled()]
        assert events_of(Counter(), Add(2)) == [Added(), Added()]

    def test_an_applier_is_overridden_by_name_without_a_mark_and_can_call_its_parent(self) -> None:
        doubler = Doubler(total=3)
        doubler.apply(Subtracted(1))

        assert (doubler.total, doubler.times) == (2, 1)

    def test_a_handler_is_overridden_by_name_with_a_mark(self) -> None:
        @define
        class Stubborn(Counter):
            category: ClassVar[str] = "Stubborn"

            @handles(Add)
            def add(self, _command: Add) -> Iterable[Event]:
                return []

        assert events_of(Stubborn(), Add(2)) == []

    def test_a_handler_is_overridden_by_its_mark_under_another_name(self) -> None:
        @define
        class Stubborn(Counter):
            category: ClassVar[str] = "Stubborn"

            @handles(Add)
            def ignore(self, _command: Add) -> Iterable[Event]:
                return []

        assert events_of(Stubborn(), Add(2)) == []

    def test_a_method_marked_anew_no_longer_takes_what_its_namesake_took(self) -> None:
        @define
        class Turned(Counter):
            category: ClassVar[str] = "Turned"

            @handles(Double)
            def add(self, _command: Double) -> Iterable[Event]:
                return [Added()]

        assert events_of(Turned(), Double()) == [Added()]
        with pytest.raises(UnhandledCommand):
            Turned().handle(Add())

    def test_a_method_set_to_none_is_gone(self) -> None:
        @define
        class OnlyUp(Counter):
            category: ClassVar[str] = "OnlyUp"
            subtract = None
            _subtracted = None

        assert OnlyUp.event_classes() == (Added,)
        with pytest.raises(UnhandledCommand):
            OnlyUp().handle(Subtract())

    def test_a_removed_method_can_come_back_further_down(self) -> None:
        @define
        class OnlyUp(Counter):
            category: ClassVar[str] = "OnlyUp"
            subtract = None

        @define
        class UpAndDown(OnlyUp):
            category: ClassVar[str] = "UpAndDown"

            @handles(Subtract)
            def subtract(self, command: Subtract) -> Iterable[Event]:
                return [Subtracted(command.amount)]

        assert events_of(UpAndDown(), Subtract()) == [Subtracted()]

    def test_mixins_bring_their_methods(self) -> None:
        class Doubling:
            @handles(Double)
            def double(self, _command: Double) -> Iterable[Event]:
                return [Added(self.total)]

        @define
        class Mixed(Doubling, Counter):
            category: ClassVar[str] = "Mixed"

        assert events_of(Mixed(total=4), Double()) == [Added(4)]

    def test_super_works_in_the_handlers_of_a_class_that_attrs_has_made_anew(self) -> None:
        assert Doubler.__slots__ == ("times",)

        doubler = Doubler()
        events_of(doubler, Add(1))

        assert doubler.seen == [1]

    def test_a_class_without_slots_works_as_well(self) -> None:
        @define(slots=False)
        class Loose(Counter):
            category: ClassVar[str] = "Loose"

            def add(self, command: Add) -> Iterable[Event]:
                return super().add(command)

        assert events_of(Loose(), Add(1)) == [Added()]


class TestDefinitionMistakes:
    def test_two_methods_for_one_command(self) -> None:
        with pytest.raises(DefinitionError, match=r"Torn: both add and also_add are marked @handles\(Add\)"):

            class Torn(Aggregate[Command, Event]):
                category = "Torn"

                @handles(Add)
                def add(self, command: Add) -> Iterable[Event]: ...

                @handles(Subtract, Add)
                def also_add(self, command: Add) -> Iterable[Event]: ...

    def test_two_methods_for_one_event(self) -> None:
        with pytest.raises(DefinitionError, match=r"Torn: both _added and _also are marked @applies\(Added\)"):

            class Torn(Aggregate[Command, Event]):
                category = "Torn"

                @applies(Added)
                def _added(self, event: Added) -> None: ...

                @applies(Added)
                def _also(self, event: Added) -> None: ...

    @pytest.mark.parametrize(("mark", "name"), [(handles, "handles"), (applies, "applies")])
    def test_a_mark_without_a_class(self, mark: type, name: str) -> None:
        with pytest.raises(DefinitionError, match=f"@{name} needs the class that the method takes"):
            mark()

    @pytest.mark.parametrize("taken", ["Add", Add(), None, Add | Subtract], ids=repr)
    def test_a_mark_with_what_is_no_class(self, taken: object) -> None:
        with pytest.raises(DefinitionError, match="@handles takes classes, not"):
            handles(Subtract, taken)

    def test_a_mark_that_was_left_without_its_call(self) -> None:
        with pytest.raises(DefinitionError, match="@handles takes classes, not <function"):

            class Bare(Aggregate[Command, Event]):
                category = "Bare"

                @handles
                def add(self, command: Add) -> Iterable[Event]: ...


class TestCategory:
    def test_it_begins_the_names_of_the_streams(self) -> None:
        assert Counter.stream("a-1") == StreamId("Counter", "a-1")

    @pytest.mark.parametrize(
        ("category", "problem"),
        [
            ("", "must not be empty"),
            ("Bank-Account", "must not contain '-'"),
            ("nul\0", "must not contain a NUL"),
            (None, "write category: ClassVar"),
            (7, "write category: ClassVar"),
        ],
    )
    def test_one_that_cannot_begin_a_name_is_refused(self, category: object, problem: str) -> None:
        with pytest.raises(DefinitionError, match=f"Unusable: .*{problem}"):
            type("Unusable", (Aggregate,), {"category": category})

    def test_one_that_attrs_would_take_for_a_field_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="Mistyped"):

            @define
            class Mistyped(Aggregate[Command, Event]):
                category: str = "Mistyped"

    def test_a_base_for_others_needs_none(self) -> None:
        @define
        class Base(Aggregate[Command, Event]):
            total: int = 0

        @define
        class Concrete(Base):
            category: ClassVar[str] = "Concrete"

        assert Concrete.stream("1") == StreamId("Concrete", "1")

    def test_a_subclass_must_state_its_own(self) -> None:
        with pytest.raises(DefinitionError, match=r'Silent must state its own category; .*ClassVar\[str\] = "Counter"'):

            @define
            class Silent(Counter):
                pass

    def test_a_subclass_may_share_the_streams_of_its_parent_if_it_says_so(self) -> None:
        @define
        class Newer(Counter):
            category: ClassVar[str] = "Counter"

        assert Newer.stream("1") == Counter.stream("1")
