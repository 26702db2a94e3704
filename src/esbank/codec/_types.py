"""Which types can be stored: from a type, as a field is annotated, to its `Form`."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from copy import deepcopy
from enum import Enum, Flag
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NewType,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs

from esbank._json import check_json, shown
from esbank.codec._containers import dict_form, fixed_tuple_form, list_form, optional_form, set_form, tuple_form
from esbank.codec._forms import Form, Misfit, expected
from esbank.codec._objects import object_form
from esbank.codec._scalars import SCALARS, enum_form
from esbank.errors import DefinitionError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["Forms", "Hooks"]

Hooks: TypeAlias = "Callable[[Converter], object]"
"""Registers a user's own types with the cattrs converter that it is given."""


class _Open(threading.local):
    """The classes that a thread is making forms of; what another one makes at the same time does no harm."""

    def __init__(self) -> None:
        self.classes: list[type] = []


class Forms:
    """The forms of all types that events, states and commands are made of, each compiled once."""

    def __init__(self, hooks: Hooks | None = None) -> None:
        self._forms: dict[Any, Form] = dict(SCALARS)
        self._open = _Open()
        self._converter = None if hooks is None else _hooked_converter(hooks)

    def of(self, annotation: Any) -> Form:
        """Return the form of a type; raises ``DefinitionError`` for one that cannot be stored."""
        if get_origin(annotation) is Annotated:  # its notes may be anything, also what cannot be a key
            return self.of(annotation.__origin__)
        if annotation is None:
            annotation = type(None)
        form = self._forms.get(annotation)
        if form is None:
            form = self._forms[annotation] = self._make(annotation)
        return form

    def _make(self, annotation: Any) -> Form:
        form = self._hooked(annotation)
        if form is not None:
            return form
        if isinstance(annotation, NewType):
            return self.of(annotation.__supertype__)
        if isinstance(annotation, type) and get_origin(annotation) is None:
            return self._of_class(annotation)
        return self._of_generic(annotation)

    def _of_class(self, cls: type) -> Form:
        form: Form | None = None
        if attrs.has(cls):
            form = self._of_attrs_class(cls)
        elif issubclass(cls, Enum) and not issubclass(cls, Flag):
            form = enum_form(cls)
        if form is None:
            raise DefinitionError(_unsupported(cls))
        return form

    def _of_attrs_class(self, cls: type) -> Form:
        if cls in self._open.classes:
            raise DefinitionError(
                f"{cls.__name__} contains itself; keep a list of flat parts, or register a hook for it"
            )
        self._open.classes.append(cls)
        try:
            hints = _hints(cls)
            forms: dict[str, Form] = {}
            for attribute in attrs.fields(cls):
                try:
                    forms[attribute.name] = self.of(hints[attribute.name])
                except KeyError:
                    raise DefinitionError(f"{cls.__name__}.{attribute.name} has no type; annotate it") from None
                except DefinitionError as error:
                    raise DefinitionError(f"{cls.__name__}.{attribute.name}: {error}") from error
            return object_form(cls, forms)
        finally:
            self._open.classes.pop()

    def _of_generic(self, annotation: Any) -> Form:
        origin, arguments = get_origin(annotation), get_args(annotation)
        match origin, arguments:
            case (builtin, (item,)) if builtin is list:
                return list_form(self.of(item))
            case (builtin, (item, last)) if builtin is tuple and last is ...:
                return tuple_form(self.of(item))
            case (builtin, _) if builtin is tuple and hasattr(annotation, "__args__"):
                return fixed_tuple_form(tuple(map(self.of, arguments)))
            case (builtin, (item,)) if builtin in {set, frozenset}:
                form = self.of(item)
                if not form.hashable:
                    raise DefinitionError(f"{form.signature} cannot be in a set: it is not hashable")
                return set_form(builtin, form)
            case (builtin, (key, item)) if builtin is dict and key is str:
                return dict_form(self.of(item))
            case (union, (first, second)) if union in {Union, types.UnionType} and type(None) in arguments:
                return optional_form(self.of(first if second is type(None) else second))
            case _:
                raise DefinitionError(_unsupported(annotation))

    def _hooked(self, annotation: Any) -> Form | None:
        if self._converter is None or not isinstance(annotation, type):
            return None
        dump = self._converter.get_unstructure_hook(annotation)
        load = self._converter.get_structure_hook(annotation)
        if dump is _no_dump and load is _no_load:
            return None
        if dump is _no_dump or load is _no_load:
            raise DefinitionError(f"{annotation.__name__}: register both a structure and an unstructure hook")
        return _hooked_form(annotation, dump, load)


def _hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=False)
    except (NameError, AttributeError) as error:
        raise DefinitionError(
            f"{cls.__name__}: {error}; its fields' types must be importable at run time, not under TYPE_CHECKING"
        ) from error


def _unsupported(annotation: Any) -> str:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    extra = "; write which items it holds" if annotation in {list, tuple, set, frozenset, dict} else ""
    if isinstance(annotation, TypeVar):
        extra = "; a generic class cannot be stored, make a class for each type"
    return (
        f"{name} cannot be stored as JSON by itself{extra}. Stored are str, int, float, bool, None, Decimal, UUID, "
        "datetime, date, enums of str or int, attrs classes, and list, tuple, set, frozenset, dict[str, …] and "
        "Optional of these; for any other type register cattrs hooks: EventRegistry(…, hooks=…)"
    )


def _no_dump(value: object) -> Any:
    raise TypeError(f"no unstructure hook for {type(value).__name__}")


def _no_load(_value: object, cls: type) -> Any:
    raise TypeError(f"no structure hook for {cls.__name__}")


def _hooked_converter(hooks: Hooks) -> Converter:
    """Make a converter that knows the user's hooks alone, not cattrs' own, which coerce."""
    # Most programs have no hooks, and these are slow to import.
    from pathlib import Path  # noqa: PLC0415

    from cattrs import Converter  # noqa: PLC0415

    converter = Converter()
    converter.register_unstructure_hook_func(lambda _: True, _no_dump)
    converter.register_structure_hook_func(lambda _: True, _no_load)
    for builtin in (str, bytes, int, float, Path):  # cattrs takes these, and whatever derives from them, by itself
        converter.register_unstructure_hook(builtin, _no_dump)
        converter.register_structure_hook(builtin, _no_load)
    hooks(converter)
    return converter


def _hooked_form(cls: type, unstructure: Callable[[Any], Any], structure: Callable[[Any, Any], Any]) -> Form:
    def dump(value: Any) -> Any:
        if not isinstance(value, cls):
            raise expected(cls.__name__, value)
        try:
            plain = unstructure(value)
        except Exception as error:
            raise Misfit(f"the hook for {cls.__name__} cannot write {shown(value)}: {error!r}") from error
        try:
            check_json(plain)
        except (ValueError, RecursionError) as error:
            raise Misfit(f"the hook for {cls.__name__} must return what JSON can say: {error}") from error
        return plain

    def load(plain: Any) -> Any:
        try:
            check_json(plain)
        except (ValueError, RecursionError) as error:
            raise Misfit(str(error)) from error
        try:
            return structure(plain, cls)
        except Exception as error:
            raise Misfit(f"the hook for {cls.__name__} refuses {shown(plain)}: {error!r}") from error

    return Form(
        f"hook {cls.__name__}",
        {"hook": cls.__name__},
        Any,
        dump=dump,
        load=load,
        build=load,
        copy=deepcopy,
        changes=True,
        hashable=getattr(cls, "__hash__", None) is not None,
    )
