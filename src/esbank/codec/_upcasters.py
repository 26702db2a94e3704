"""Old stored data into new: an upcaster for each step, and the chains that they make.

What is stored never changes: data of an old schema version are turned into those of today each time they are read.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# Parsed JSON is of no type that could be known.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NoReturn, TypeAlias

from attrs import frozen

from esbank._json import shown
from esbank.codec._forms import Form, Misfit, expected, parse
from esbank.errors import DefinitionError
from esbank.events import EventType, check_event_name, check_schema_version

__all__ = ["Upcaster", "chain_upcasters", "read_upcast", "upcaster"]

_Function: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


@frozen
class Upcaster:
    """One step from old stored data to newer; made by `upcaster`, and called like the function it was made from."""

    function: _Function
    source: EventType
    target: EventType

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Turn old data into newer."""
        return self.function(data)

    def __str__(self) -> str:
        return f"the upcaster from {self.source} to {self.target}"


def upcaster(
    name: str, *, from_version: int, to_version: int, to: str | None = None
) -> Callable[[_Function], Upcaster]:
    """Mark a function that turns the stored data of the event `name` at `from_version` into those at `to_version`.

    ::

        @upcaster("Deposited", from_version=1, to_version=2)
        def add_currency(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "currency": "EUR"}

    `to` is the name of the event from then on, by default the same. The function gets parsed JSON, in which a Decimal,
    a UUID or a date is text; it may change that, and returns what to go on with. Registries take upcasters:
    ``EventRegistry(Account, upcasters=[add_currency])``.

    Raises ``DefinitionError`` for a name or a version that cannot be.
    """
    target = name if to is None else to
    for event_name, version in ((name, from_version), (target, to_version)):
        check_event_name("@upcaster", event_name)
        check_schema_version("@upcaster", version)

    def mark(function: _Function) -> Upcaster:
        if isinstance(function, (Upcaster, type)) or not callable(function):
            raise DefinitionError(f"@upcaster marks a function, and each with one step, not {function!r}")
        return Upcaster(function, EventType(name, from_version), EventType(target, to_version))

    return mark


def chain_upcasters(
    upcasters: Iterable[Upcaster], classes: Mapping[str, int]
) -> dict[EventType, tuple[EventType, tuple[Upcaster, ...]]]:
    """Say for every old event type what it becomes, and by which steps.

    `classes` are the schema versions of today, by name. Raises ``DefinitionError`` unless each leads to one of them.
    """
    steps = _by_source(upcasters, classes)
    chains = {source: _follow(source, steps, classes) for source in steps}
    _check_complete(steps, classes)
    return chains


def read_upcast(form: Form, steps: Sequence[Upcaster], text: str) -> Any:
    """Read old data as a value of `form`; raises `Misfit`."""
    data = parse(text, on_repeated=_refuse_repeated)
    if type(data) is not dict:
        raise expected("an object", data)
    for step in steps:
        try:
            data = step(data)
        except Exception as error:
            raise Misfit(f"{step} failed: {error!r}") from error
        if type(data) is not dict:
            raise Misfit(f"{step} returned {shown(data)}: return the data, a dict")
    try:
        return form.load(data)
    except Misfit as misfit:
        raise Misfit(f"{misfit.reason} (after {steps[-1]})", misfit.path) from misfit


def _by_source(upcasters: Iterable[Upcaster], classes: Mapping[str, int]) -> dict[EventType, Upcaster]:
    if isinstance(upcasters, Upcaster) or not isinstance(upcasters, Iterable):
        raise DefinitionError(f"upcasters come in a list, upcasters=[…], not {upcasters!r}")
    steps: dict[EventType, Upcaster] = {}
    for step in upcasters:
        if not isinstance(step, Upcaster):
            raise DefinitionError(f"upcasters are functions marked with @upcaster(…), not {step!r}")
        if step.source in steps:
            raise DefinitionError(f"two upcasters begin at {step.source}; keep one of them")
        today = classes.get(step.source.name)
        if today is not None and step.source.schema_version >= today:
            raise DefinitionError(
                f"{step} begins where nothing old is: {step.source.name} is at schema version {today}; raise that, or "
                "remove the upcaster"
            )
        steps[step.source] = step
    return steps


def _follow(
    source: EventType, steps: Mapping[EventType, Upcaster], classes: Mapping[str, int]
) -> tuple[EventType, tuple[Upcaster, ...]]:
    at, chain, seen = source, list[Upcaster](), set[EventType]()
    while at in steps:
        seen.add(at)
        chain.append(steps[at])
        at = steps[at].target
        if at in seen:
            raise DefinitionError(f"the upcasters go round in a circle: from {at} back to it")
    today = classes.get(at.name)
    if today is None:
        raise DefinitionError(
            f"{chain[-1]} leads nowhere: no class in the registry is stored as {at.name!r}; add the class, or an "
            f"upcaster from {at}"
        )
    if at.schema_version > today:
        raise DefinitionError(
            f"{chain[-1]} goes beyond the class, which is at schema version {today}; raise that: "
            f"@event(name={at.name!r}, schema_version={at.schema_version})"
        )
    if at.schema_version < today:
        raise _missing(at, today)
    return at, tuple(chain)


def _check_complete(steps: Mapping[EventType, Upcaster], classes: Mapping[str, int]) -> None:
    """Once a name has an upcaster, each of its old schema versions needs one."""
    for name in {source.name for source in steps}:
        oldest_without = next(version for version in count(1) if EventType(name, version) not in steps)
        newest = max(classes.get(name, 0), *(source.schema_version for source in steps if source.name == name))
        if oldest_without < newest:
            raise _missing(EventType(name, oldest_without), newest)


def _missing(old: EventType, newest: int) -> DefinitionError:
    return DefinitionError(
        f"nothing turns {old} into what the code reads today, and {old.name} has come to schema version {newest}; add "
        f"the missing link to the registry: EventRegistry(…, upcasters=[…]) with "
        f"@upcaster({old.name!r}, from_version={old.schema_version}, to_version={old.schema_version + 1})"
    )


def _refuse_repeated(key: str) -> NoReturn:
    raise Misfit("the key is there twice", key)
