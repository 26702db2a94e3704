"""Projectors: classes that turn events into tables, and what is to be done when one fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias, TypeVar, overload

from attrs import Attribute, field, frozen

from esbank._dispatch import Marker, methods_by_class
from esbank.codec import EventRegistry
from esbank.errors import DefinitionError
from esbank.events import EventEnvelope
from esbank.projection._inline import InlineView
from esbank.projection._views import check_identifiers
from esbank.store import AppendTransaction, StoredEvent, Transaction

__all__ = ["Projector", "Retry", "projects", "side_effects"]

E = TypeVar("E")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
P = TypeVar("P", bound="Projector")

_PROJECTS: Final = Marker("projects")
_SIDE_EFFECTS: Final = Marker("side_effects")

_Method: TypeAlias = Callable[[P, EventEnvelope[E], Transaction], None]
_Mark: TypeAlias = Callable[[_Method[P, E]], _Method[P, E]]
_Effect: TypeAlias = Callable[[P, EventEnvelope[E]], None]
_EffectMark: TypeAlias = Callable[[_Effect[P, E]], _Effect[P, E]]


# The overloads give several classes their union: mypy would take the class that they have in common.
@overload
def projects(event: type[E], /) -> _Mark[P, E]: ...
@overload
def projects(event: type[E], other: type[E2], /) -> _Mark[P, E | E2]: ...
@overload
def projects(event: type[E], other: type[E2], third: type[E3], /) -> _Mark[P, E | E2 | E3]: ...
@overload
def projects(*events: type[E]) -> _Mark[P, E]: ...
def projects(*events: type[Any]) -> _Mark[Any, Any]:
    """Mark the method of a projector that takes events of these classes.

    It is given the envelope and the transaction in which to change the projector's tables.
    """
    return _PROJECTS(*events)


@overload
def side_effects(event: type[E], /) -> _EffectMark[P, E]: ...
@overload
def side_effects(event: type[E], other: type[E2], /) -> _EffectMark[P, E | E2]: ...
@overload
def side_effects(event: type[E], other: type[E2], third: type[E3], /) -> _EffectMark[P, E | E2 | E3]: ...
@overload
def side_effects(*events: type[E]) -> _EffectMark[P, E]: ...
def side_effects(*events: type[Any]) -> _EffectMark[Any, Any]:
    """Mark the method of a projector that tells the world of events of these classes: sends a letter, calls a service.

    It is given the envelope, outside of any transaction, at least once for each event that comes after the view was
    first made, and never in a rebuild.
    """
    return _SIDE_EFFECTS(*events)


def _positive(_instance: object, attribute: Attribute[Any], value: float) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"{attribute.name} is a number, not {value!r}")
    if not value > 0:
        raise ValueError(f"{attribute.name} must be above zero, not {value!r}")


@frozen
class Retry:
    """How often a runner tries an event again before it stops; it waits longer each time.

    `attempts` counts the first one as well; `delay` is how many seconds to wait after it, and doubles up to `most`, in
    seconds too. Raises ``ValueError`` for a number that is not above zero.
    """

    attempts: int = field(default=5, validator=_positive)
    delay: float = field(default=0.1, validator=_positive)
    most: float = field(default=30.0, validator=_positive)

    def delay_after(self, attempt: int) -> float:
        """Return how many seconds to wait after an attempt, which count from 1."""
        return float(min(self.most, self.delay * 2 ** min(attempt - 1, 64)))


class Projector:
    """Turns events into a view: tables of SQL that people query.

    A subclass declares its tables, by name, with their columns as SQL, and marks the methods that fill them. In their
    SQL ``{name}`` stands for the table ``name``, so that a rebuild can fill another one meanwhile::

        class Balances(Projector):
            tables = {"balances": "(account TEXT PRIMARY KEY, balance TEXT NOT NULL)"}

            @projects(Deposited, Withdrawn)
            def _moved(self, envelope: EventEnvelope[Deposited | Withdrawn], tx: Transaction) -> None:
                tx.execute(
                    "INSERT INTO {balances} VALUES (:account, :balance)"
                    " ON CONFLICT (account) DO UPDATE SET balance = excluded.balance",
                    {"account": envelope.stream.key, "balance": str(envelope.event.balance_after)},
                )

    - `name` is what its checkpoint is kept under, by default the name of the class.
    - `version` is to be raised when its methods, corrected, make another view of the same events: the view is then
      known to be out of date until it is rebuilt. So is one whose tables are declared otherwise than they were made.
    - `categories` are the categories of the streams it follows, by default all.
    - A table may refer to another one of its projector: ``REFERENCES {name}``, with the braces here as well.
    - `indexes` maps the name of an index to what it is on: ``{"balances_by_balance": "{balances} (balance)"}``.
    - `retry` says how often a runner tries an event that fails before it stops there, by default never.
    - `registry` names the events, with their upcasters; by default the classes that the methods are marked with.

    What a method does besides, outside its transaction, can happen more than once and happens in a rebuild too: such
    things belong into a method marked with ``@side_effects``. An object of the class can be given to a store as an
    inline handler: then its view changes with each append.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    categories: ClassVar[Collection[str] | None] = None
    tables: ClassVar[Mapping[str, str]] = {}
    indexes: ClassVar[Mapping[str, str]] = {}
    retry: ClassVar[Retry | None] = None
    registry: ClassVar[EventRegistry | None] = None
    _methods: ClassVar[Mapping[type, Callable[..., None]]] = {}
    _effects: ClassVar[Mapping[type, Callable[..., None]]] = {}
    _inline: InlineView | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__
        if isinstance(cls.categories, str) or not all(isinstance(one, str) for one in cls.categories or ()):
            raise DefinitionError(
                f'{cls.__name__}: categories are texts in a tuple, as in ("BankAccount",), not {cls.categories!r}'
            )
        if type(cls.version) is not int or cls.version < 1:
            raise DefinitionError(f"{cls.__name__}: version is an int from 1, not {cls.version!r}")
        if cls.retry is not None and not isinstance(cls.retry, Retry):
            raise DefinitionError(f"{cls.__name__}: retry is a Retry(…), not {cls.retry!r}")
        check_identifiers(cls.__name__, [*cls.tables, *cls.indexes])
        cls._methods = methods_by_class(cls, _PROJECTS)
        cls._effects = methods_by_class(cls, _SIDE_EFFECTS)

    @classmethod
    def event_classes(cls) -> tuple[type, ...]:
        """List the classes of the events that the projector takes."""
        return tuple(dict.fromkeys((*cls._methods, *cls._effects)))

    @classmethod
    def effect_classes(cls) -> tuple[type, ...]:
        """List the classes of the events that it tells the world of."""
        return tuple(cls._effects)

    def project(self, envelope: EventEnvelope[Any], tx: Transaction) -> None:
        """Take one event into the view. ``Any``, because it is of any class that a method is marked with."""
        if type(envelope.event) in self._methods:
            self._methods[type(envelope.event)](self, envelope, tx)

    def cause_side_effects(self, envelope: EventEnvelope[Any]) -> None:
        """Tell the world of one event. ``Any``, as for `project`."""
        if type(envelope.event) in self._effects:
            self._effects[type(envelope.event)](self, envelope)

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
        """Take events in the transaction that appends them, after those that were appended without it before.

        Raises ``ProjectionError`` when a method fails, and ``CheckpointError`` when the view does not belong to the
        store or is out of date; the append is then undone.
        """
        inline = self._inline
        if inline is None:
            inline = InlineView(self)
            object.__setattr__(self, "_inline", inline)  # a subclass may be frozen
        inline.on_append(tx, events)
