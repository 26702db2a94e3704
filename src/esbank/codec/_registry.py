"""Which class stands behind which stored name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import attrs
from attrs import evolve, frozen

from esbank.codec._forms import Form, ReadAll, all_reader, reader
from esbank.codec._types import Forms, Hooks
from esbank.codec._upcasters import Upcaster, chain_upcasters, read_upcast
from esbank.errors import DefinitionError
from esbank.events import event_type

__all__ = ["EventBinding", "EventRegistry"]


@runtime_checkable
class _HasEventClasses(Protocol):
    """An aggregate or a projector: a class that lists the events it takes."""

    def event_classes(self) -> Iterable[type]: ...


@frozen(eq=False)
class EventBinding:
    """An event class, its stored name and schema version of today, and how its data are written and read."""

    cls: type
    name: str
    schema_version: int
    form: Form
    read: Callable[[str], Any]
    read_all: ReadAll


class EventRegistry:
    """The event classes that a program knows, by the names under which they are stored.

    Made of event classes, and of aggregates and projectors, which stand for the events that they take::

        EventRegistry(BankAccount, AuditNoteAdded)

    `hooks` is called with a cattrs ``Converter`` to register the types that esbank cannot store by itself; both a
    structure and an unstructure hook are needed, and they also serve inside other classes::

        def hooks(converter: Converter) -> None:
            converter.register_unstructure_hook(Money, str)
            converter.register_structure_hook(Money, lambda text, _: Money.parse(text))

    `upcasters` turn data of older schema versions, or of other names, into those of today. Their chains are checked
    here, and not at the first old event.

    Raises ``DefinitionError`` for a class that is not attrs', has validators or converters, has a field that cannot be
    stored, or bears another class's name; and for upcasters that leave a gap, go round in a circle, begin twice at one
    schema version, or lead to where no class is.
    """

    def __init__(self, *sources: type, hooks: Hooks | None = None, upcasters: Iterable[Upcaster] = ()) -> None:
        self._forms = Forms(hooks)
        self._by_class: dict[type, EventBinding] = {}
        self._by_name: dict[str, EventBinding] = {}
        for source in sources:
            self._add_source(source)
        classes = {binding.name: binding.schema_version for binding in self._by_name.values()}
        self._old = {
            (old.name, old.schema_version): _upcast_binding(self._by_name[today.name], steps)
            for old, (today, steps) in chain_upcasters(upcasters, classes).items()
        }

    @property
    def classes(self) -> tuple[type, ...]:
        """The event classes, in the order in which they came."""
        return tuple(self._by_class)

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which they are stored, or once were."""
        return self.names_of(*self._by_class)

    def names_of(self, *classes: type) -> tuple[str, ...]:
        """List the names under which events of these classes are stored, or once were: what ``read_all`` filters by.

        Raises ``DefinitionError`` for a class that is not in the registry.
        """
        for cls in classes:
            if cls not in self._by_class:
                raise DefinitionError(f"the registry lacks {cls.__name__}; add it")
        names = [name for name, binding in self._by_name.items() if binding.cls in classes]
        names += [name for (name, _), binding in self._old.items() if binding.cls in classes]
        return tuple(dict.fromkeys(names))

    @property
    def forms(self) -> Forms:
        """How values are written and read, of events and of whatever else shares their hooks."""
        return self._forms

    def by_class(self, cls: type) -> EventBinding | None:
        """Find what is known about an event class."""
        return self._by_class.get(cls)

    def by_name(self, name: str) -> EventBinding | None:
        """Find the class behind a stored name."""
        return self._by_name.get(name)

    def by_type(self, name: str, schema_version: int) -> EventBinding | None:
        """Find out how data of a stored name and schema version are read, upcast where they are old."""
        binding = self._by_name.get(name)
        if binding is not None and binding.schema_version == schema_version:
            return binding
        return self._old.get((name, schema_version))

    def newest(self, name: str) -> int | None:
        """Return the highest schema version of a stored name that can be read; None for an unknown name."""
        binding = self._by_name.get(name)
        if binding is not None:
            return binding.schema_version
        return max((version for old, version in self._old if old == name), default=None)

    def _add_source(self, source: type) -> None:
        if not isinstance(source, type):
            raise DefinitionError(f"a registry is made of classes of events, aggregates or projectors, not {source!r}")
        if isinstance(source, _HasEventClasses):
            for cls in source.event_classes():
                self._add(cls)
        else:
            self._add(source)

    def _add(self, cls: type) -> None:
        if cls in self._by_class:
            return
        _check_event_class(cls)
        name = event_type(cls)
        taken = self._by_name.get(name.name)
        if taken is not None:
            raise DefinitionError(
                f"{taken.cls.__qualname__} and {cls.__qualname__} are both stored as {name.name!r}; "
                "give one of them another name: @event(name=…)"
            )
        form = self._forms.of(cls)
        self._by_class[cls] = self._by_name[name.name] = EventBinding(
            cls, name.name, name.schema_version, form, reader(form), all_reader(form)
        )


def _upcast_binding(today: EventBinding, steps: tuple[Upcaster, ...]) -> EventBinding:
    return evolve(today, read=partial(read_upcast, today.form, steps), read_all=_one_by_one)


def _one_by_one(_texts: Sequence[str]) -> None:
    """Old data go through upcasters, each by itself."""


def _check_event_class(cls: type) -> None:
    if not attrs.has(cls):
        raise DefinitionError(f"{cls.__qualname__} is no event class: make it one with @attrs.frozen")
    for attribute in attrs.fields(cls):
        if attribute.validator is not None or attribute.converter is not None:
            what = "validator" if attribute.validator is not None else "converter"
            raise DefinitionError(
                f"{cls.__qualname__}.{attribute.name} has a {what}; an event is a fact that must always be readable, "
                "so check and convert in the command or in the handler"
            )
