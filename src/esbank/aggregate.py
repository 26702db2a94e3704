"""The consistency boundary: an aggregate decides on commands and folds events.

A subclass marks its methods with the class that they take; a look-up by type finds them. The tables of these methods
are made when the class is, so a mistake shows at import and not at the first command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar, overload

from attrs import define

from esbank._dispatch import Marker, methods_by_class
from esbank.errors import DefinitionError, UnappliedEvent, UnhandledCommand
from esbank.store import StreamId

__all__ = ["Aggregate", "applies", "decide", "handles"]

C = TypeVar("C")
E = TypeVar("E")
A = TypeVar("A", bound="Aggregate[Any, Any]")
C2 = TypeVar("C2")
C3 = TypeVar("C3")
E2 = TypeVar("E2")
E3 = TypeVar("E3")

_Handler: TypeAlias = Callable[[A, C], Iterable[E]]
_HandlesMark: TypeAlias = Callable[[_Handler[A, C, E]], _Handler[A, C, E]]
_Applier: TypeAlias = Callable[[A, E], None]
_AppliesMark: TypeAlias = Callable[[_Applier[A, E]], _Applier[A, E]]

_HANDLES: Final = Marker("handles")
_APPLIES: Final = Marker("applies")


# The overloads give several classes their union: mypy would take the class that they have in common.
@overload
def handles(command: type[C], /) -> _HandlesMark[A, C, E]: ...
@overload
def handles(command: type[C], other: type[C2], /) -> _HandlesMark[A, C | C2, E]: ...
@overload
def handles(command: type[C], other: type[C2], third: type[C3], /) -> _HandlesMark[A, C | C2 | C3, E]: ...
@overload
def handles(*commands: type[C]) -> _HandlesMark[A, C, E]: ...
def handles(*commands: type[Any]) -> _HandlesMark[Any, Any, Any]:
    """Mark the method of an aggregate that decides on commands of these classes.

    The method yields the events that the command causes (or returns an iterable of them), or raises what the domain
    raises to refuse. It never changes the state: each event is applied as it is yielded, so what follows in the method
    sees its effect. It may be called again for the same command, and inside a transaction, so it asks no store and has
    no side effects.
    """
    return _HANDLES(*commands)


@overload
def applies(event: type[E], /) -> _AppliesMark[A, E]: ...
@overload
def applies(event: type[E], other: type[E2], /) -> _AppliesMark[A, E | E2]: ...
@overload
def applies(event: type[E], other: type[E2], third: type[E3], /) -> _AppliesMark[A, E | E2 | E3]: ...
@overload
def applies(*events: type[E]) -> _AppliesMark[A, E]: ...
def applies(*events: type[Any]) -> _AppliesMark[Any, Any]:
    """Mark the method of an aggregate that folds events of these classes into the state.

    The method changes the state and nothing else, and it never refuses: what has happened, happened.
    """
    return _APPLIES(*events)


@define
class Aggregate(Generic[C, E]):
    """The base of a domain's aggregates, generic in the base classes of their commands and of their events.

    A subclass is an ``attrs.define`` class whose fields all have defaults (that is the state before any event), with
    a `category`, the first part of the names of its streams::

        @define
        class Counter(Aggregate[CounterCommand, CounterEvent]):
            category: ClassVar[str] = "Counter"
            total: int = 0

            @handles(Add)
            def add(self, command: Add) -> Iterator[CounterEvent]:
                yield Added(command.amount)

            @applies(Added)
            def _added(self, event: Added) -> None:
                self.total += event.amount

    Raise `snapshot_version` when a corrected ``@applies`` method gives another state: older snapshots are then passed
    over.

    It holds no store, no clock and no list of pending events, so it can be tested with nothing but itself. A subclass
    of an aggregate inherits its methods, may override them and may add commands and events; it states a category of
    its own (the same, to share its parent's streams). Raises ``DefinitionError`` when the class is made, if the
    category is missing or unusable, or if two methods take one class.
    """

    category: ClassVar[str]
    snapshot_version: ClassVar[int] = 1
    _handlers: ClassVar[Mapping[type, Callable[..., Any]]] = {}
    _appliers: ClassVar[Mapping[type, Callable[..., Any]]] = {}

    def __init_subclass__(cls) -> None:
        # Runs twice for a class with slots, because attrs makes such a class anew: both times the tables are made for
        # the class at hand, and only the final one is ever used.
        super().__init_subclass__()
        _check_category(cls)
        cls._handlers = methods_by_class(cls, _HANDLES)
        cls._appliers = methods_by_class(cls, _APPLIES)

    def handle(self, command: C) -> Iterable[E]:
        """Decide: return the events that `command` causes, or raise what the domain raises to refuse it.

        Raises ``UnhandledCommand`` when no method is marked with the class of the command.
        """
        handler = self._handlers.get(type(command))
        if handler is None:
            raise UnhandledCommand(type(self), type(command))
        decided: Iterable[E] = handler(self, command)
        if not hasattr(decided, "__iter__"):
            raise DefinitionError(
                f"{type(self).__name__}.{handler.__name__} returned {decided!r:.60} for {type(command).__name__}: "
                "yield the events, or return a list of them, empty if there are none"
            )
        return decided

    def apply(self, event: E) -> None:
        """Fold: change the state by what has happened.

        Raises ``UnappliedEvent`` when no method is marked with the class of the event.
        """
        applier = self._appliers.get(type(event))
        if applier is None:
            raise UnappliedEvent(type(self), type(event))
        applier(self, event)

    @classmethod
    def stream(cls, key: str) -> StreamId:
        """Name the stream of the aggregate with this key."""
        return StreamId(cls.category, key)

    @classmethod
    def event_classes(cls) -> tuple[type[E], ...]:
        """List the classes of the events that the aggregate applies."""
        return tuple(cls._appliers)


def check_aggregate(cls: type[Aggregate[Any, Any]]) -> None:
    """Raise ``DefinitionError`` for a class whose states could not be kept in streams."""
    is_class = isinstance(cls, type)
    if not is_class or not issubclass(cls, Aggregate):
        raise DefinitionError(f"a class of aggregates is needed, not {cls!r:.60}")
    if "__attrs_attrs__" not in vars(cls):
        raise DefinitionError(f"{cls.__name__} is no attrs class, so its fields would be lost: put @attrs.define on it")
    if not hasattr(cls, "category"):
        raise DefinitionError(f'{cls.__name__} needs a category: ClassVar[str] = "{cls.__name__}"')
    try:
        cls()
    except TypeError as error:
        raise DefinitionError(
            f"every field of {cls.__name__} needs a default, the state before any event: {error}"
        ) from error


def decide(
    state: Aggregate[C, E], commands: Iterable[C], *, copy: Callable[[E], E] = lambda event: event
) -> Iterator[E]:
    """Let `state` decide on `commands` one after the other; yield each event, and apply it before the next one.

    `copy` makes what is applied, so that the state shares no list with the event. When this raises, `state` may be half
    changed: throw it away.
    """
    for command in commands:
        for event in state.handle(command):
            yield event
            state.apply(copy(event))


def _check_category(cls: type[Aggregate[Any, Any]]) -> None:
    if "category" not in vars(cls):
        if hasattr(cls, "category"):
            raise DefinitionError(
                f"{cls.__name__} must state its own category; "
                f'repeat category: ClassVar[str] = "{cls.category}" to share the streams of its parent'
            )
        return
    category: object = cls.category
    if not isinstance(category, str):
        raise DefinitionError(
            f'{cls.__name__}: write category: ClassVar[str] = "{cls.__name__}", a text of the class and no field'
        )
    try:
        StreamId(category, "key")
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"{cls.__name__}: {error}") from error
