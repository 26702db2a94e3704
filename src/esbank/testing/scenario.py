"""Given events, when commands, then events or a refusal: a test that reads like the rule it checks.

The idea is as old as event sourcing; Emmett's ``DeciderSpecification`` and disintegrate's ``TestHarness`` are models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

from attrs import frozen

from esbank.aggregate import Aggregate, check_aggregate
from esbank.codec import EventCodec, EventRegistry, StateCodec
from esbank.errors import UnappliedEvent
from esbank.testing._differences import difference, line_difference, list_difference
from esbank.testing._storing import stored_and_read

__all__ = ["Raises", "Scenario", "raises"]

A_co = TypeVar("A_co", bound=Aggregate[Any, Any], covariant=True)
C = TypeVar("C")
E = TypeVar("E")


class _Missing(Enum):
    ATTRIBUTE = "no such attribute"

    def __repr__(self) -> str:
        return self.value


@frozen
class Raises:
    """A refusal that a scenario expects; made by `raises`."""

    error: type[Exception]
    attributes: dict[str, object]


def raises(error: type[Exception], **attributes: object) -> Raises:
    """Expect a refusal by exactly this class of error, with these attributes among its own."""
    return Raises(error, attributes)


class Scenario(Generic[A_co]):
    """Tests one class of aggregates, with nothing but itself.

    ::

        Scenario(BankAccount).given(opened).when(Withdraw(Decimal(5))).then(raises(InsufficientFunds))

    Besides what it is told to, it checks that `handle` does not change the state (only events do), and that every event
    can be stored and comes back the same.
    """

    def __init__(self, aggregate: type[A_co], *, registry: EventRegistry | None = None) -> None:
        check_aggregate(aggregate)
        self._aggregate = aggregate
        self._codec = EventCodec(registry or EventRegistry(aggregate))

    def given(self: Scenario[Aggregate[C, E]], *events: E) -> Given[C, E]:
        """Begin with what has happened, the oldest first; with nothing, it is the state before any event."""
        state = self._aggregate()
        for event in events:
            state.apply(stored_and_read(self._codec, event))
        return Given(state, self._codec)

    def when(self: Scenario[Aggregate[C, E]], *commands: C) -> Outcome[E]:
        """Execute commands on the state before any event."""
        return self.given().when(*commands)


class Given(Generic[C, E]):
    """A state to execute commands on."""

    def __init__(self, state: Aggregate[C, E], codec: EventCodec) -> None:
        self._states = StateCodec(type(state), codec.registry.forms)
        self._given = self._state = state
        self._codec = codec

    def when(self, *commands: C) -> Outcome[E]:
        """Execute commands, one after the other."""
        self._state = self._states.copy(self._given)
        events: list[E] = []
        try:
            for command in commands:
                self._execute(command, events)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the domain refuses with
            return Outcome([], error)
        return Outcome(events, None)

    def _execute(self, command: C, events: list[E]) -> None:
        before = self._states.copy(self._state)
        try:
            for event in self._state.handle(command):
                self._check_unchanged(before, command)
                if type(event) not in self._state.event_classes():
                    raise UnappliedEvent(type(self._state), type(event))
                self._state.apply(stored_and_read(self._codec, event))
                events.append(event)
                before = self._states.copy(self._state)
        finally:
            self._check_unchanged(before, command)

    def _check_unchanged(self, before: Aggregate[C, E], command: C) -> None:
        if not self._is_same(before):
            raise AssertionError(
                f"handling {command!r} changed the state itself; only events may, in a method marked @applies:\n"
                f"{difference(before, self._state)}"
            )

    def _is_same(self, before: Aggregate[C, E]) -> bool:
        try:
            # Their text, because equality leaves out a field with eq=False.
            return self._states.encode(self._state) == self._states.encode(before)
        except ValueError:  # no snapshot could hold it either
            return self._state == before


class Outcome(Generic[E]):
    """What came of the commands."""

    def __init__(self, events: list[E], error: Exception | None) -> None:
        self._events = events
        self._error = error

    def then(self, *expected: E | Raises) -> None:
        """Expect just these events, none when nothing is given, or a refusal: ``raises(Error, attribute=value)``.

        Raises ``AssertionError`` that shows what was expected beside what there is.
        """
        refusals = [one for one in expected if isinstance(one, Raises)]
        if refusals:
            if len(expected) > 1:
                raise ValueError("a refusal comes alone: nothing is stored then, so expect no events beside it")
            self._check_refusal(refusals[0])
            return
        if self._error is not None:
            msg = f"expected {_plural(expected)}, but it was refused: {_said(self._error)}"
            raise AssertionError(msg) from self._error
        if self._events != list(expected):
            raise AssertionError(
                f"the events are not those expected (-), but (+):\n{list_difference(expected, self._events)}"
            )

    def _check_refusal(self, expected: Raises) -> None:
        if self._error is None:
            raise AssertionError(
                f"expected {expected.error.__name__}, but it gave {_plural(self._events)}: {self._events!r}"
            )
        if type(self._error) is not expected.error:
            msg = f"expected {expected.error.__name__}, but it was refused with {_said(self._error)}"
            raise AssertionError(msg) from self._error
        actual = {name: getattr(self._error, name, _Missing.ATTRIBUTE) for name in expected.attributes}
        wrong = [name for name in actual if actual[name] != expected.attributes[name]]
        if wrong:
            msg = (
                f"{expected.error.__name__} does not have the attributes expected (-), but (+):\n"
                f"{line_difference(_named(expected.attributes, wrong), _named(actual, wrong))}"
            )
            raise AssertionError(msg) from self._error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _named(values: Mapping[str, object], names: Iterable[str]) -> list[str]:
    return [f"{name}={values[name]!r}" for name in names]


def _plural(events: Iterable[object]) -> str:
    count = len(list(events))
    return "an event" if count == 1 else f"{count or 'no'} events"
