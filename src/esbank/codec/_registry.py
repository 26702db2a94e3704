"""Which class stands behind which stored name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import attrs
from attrs import frozen

from esbank.codec._forms import Form, reader
from esbank.codec._types import Forms, Hooks
from esbank.errors import DefinitionError
from esbank.events import event_type

__all__ = ["EventBinding", "EventRegistry"]


@runtime_checkable
class _HasEventClasses(Protocol):
    """An aggregate or a projector: a class that lists the events it takes."""

    def event_classes(self) -> Iterable[type]: ...


@frozen(eq=False)
class EventBinding:
    """An event class, its stored name and schema version, and how its data are written and read."""

    cls: type
    name: str
    schema_version: int
    form: Form
    read: Callable[[str], Any]


class EventRegistry:
    """The event classes that a program knows, by the names under which they are stored.

    Made of event classes, and of aggregates and projectors, which stand for the events that they take::

        EventRegistry(BankAccount, AuditNoteAdded)

    `hooks` is called with a cattrs ``Converter`` to register the types that esbank cannot store by itself; both a
    structure and an unstructure hook are needed, and they also serve inside other classes::

        def hooks(converter: Converter) -> None:
            converter.register_unstructure_hook(Money, str)
            converter.register_structure_hook(Money, lambda text, _: Money.parse(text))

    Raises ``DefinitionError`` for a class that is not attrs', has validators or converters, has a field that cannot be
    stored, or bears another class's name.
    """

    def __init__(self, *sources: type, hooks: Hooks | None = None) -> None:
        self._forms = Forms(hooks)
        self._by_class: dict[type, EventBinding] = {}
        self._by_name: dict[str, EventBinding] = {}
        for source in sources:
            self._add_source(source)

    @property
    def classes(self) -> tuple[type, ...]:
        """The event classes, in the order in which they came."""
        return tuple(self._by_class)

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which they are stored."""
        return tuple(self._by_name)

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
            cls, name.name, name.schema_version, form, reader(form)
        )


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
