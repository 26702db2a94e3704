"""The forms of values made of others: list, tuple, set, frozenset, dict, and Optional."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# Parsed JSON is of no type that could be known.

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Final, TypeAlias

import msgspec

from esbank.codec._forms import Form, Misfit, Repeated, check_encodable, expected

__all__ = ["dict_form", "fixed_tuple_form", "list_form", "optional_form", "set_form", "tuple_form"]

_encode: Final = msgspec.json.Encoder().encode

_Function: TypeAlias = Callable[[Any], Any]


def optional_form(inner: Form) -> Form:
    """Make the form of ``inner | None``."""

    def lift(function: _Function) -> _Function:
        return lambda value: None if value is None else function(value)

    return Form(
        f"{inner.signature} | None",
        {"optional": inner.schema},
        inner.shape if inner.shape is Any else inner.shape | None,
        dump=lift(inner.dump),
        load=lift(inner.load),
        build=inner.build and lift(inner.build),
        kinds=inner.kinds and inner.kinds | {type(None)},
        check=inner.check and lift(inner.check),
        copy=inner.copy and lift(inner.copy),
        changes=inner.changes,
        hashable=inner.hashable,
    )


def list_form(item: Form) -> Form:
    """Make the form of ``list[item]``."""
    name = f"list[{item.signature}]"
    return Form(
        name,
        {"list": item.schema},
        _generic(list, item.shape),
        dump=_mapped(item.dump, list, name),
        load=_mapped(item.load, list, name),
        build=item.build and _mapped(item.build, list, name),
        copy=_copier(list, _mapped(item.copy, list, name) if item.copy else list),
        changes=True,
        hashable=False,
    )


def tuple_form(item: Form) -> Form:
    """Make the form of ``tuple[item, ...]``."""
    name = f"tuple[{item.signature}, ...]"
    return Form(
        name,
        {"tuple": item.schema},
        _generic(tuple, item.shape, ...),
        dump=_mapped(item.dump, tuple, name),
        load=_mapped(item.load, list, name, into=tuple),
        build=item.build and _mapped(item.build, tuple, name, into=tuple),
        copy=item.copy and _copier(tuple, _mapped(item.copy, tuple, name, into=tuple)),
        changes=item.changes,
        hashable=item.hashable,
    )


def fixed_tuple_form(items: tuple[Form, ...]) -> Form:
    """Make the form of ``tuple[first, second]``."""
    name = f"tuple[{', '.join(item.signature for item in items) or '()'}]"

    def place_by_place(functions: list[_Function], kind: Any) -> _Function:
        def apply(values: Any) -> tuple[Any, ...]:
            if type(values) is not kind or len(values) != len(functions):
                raise expected(name, values)
            return tuple(_each(lambda pair: pair[0](pair[1]), zip(functions, values, strict=True)))

        return apply

    def unless_all_same(functions: list[_Function | None]) -> _Function | None:
        return place_by_place([function or _same for function in functions], tuple) if any(functions) else None

    place_copy = unless_all_same([item.copy for item in items])
    return Form(
        name,
        {"tuple": [item.schema for item in items]},
        _generic(tuple, *(item.shape for item in items)),
        dump=place_by_place([item.dump for item in items], tuple),
        load=place_by_place([item.load for item in items], list),
        build=unless_all_same([item.build for item in items]),
        copy=place_copy and _copier(tuple, place_copy),
        changes=any(item.changes for item in items),
        hashable=all(item.hashable for item in items),
    )


def set_form(kind: type[set[Any] | frozenset[Any]], item: Form) -> Form:
    """Make the form of ``set[item]`` or ``frozenset[item]``: a sorted list, so that equal sets give equal text."""
    name = f"{kind.__name__}[{item.signature}]"

    def dump(values: Any) -> list[Any]:
        if type(values) is not kind:
            raise expected(name, values)
        return sorted([item.dump(value) for value in values], key=_encode)

    def copy(values: Any) -> Any:
        return kind(values if item.copy is None else map(item.copy, values))

    def unique(values: list[Any]) -> Any:
        found = kind(values)
        if len(found) < len(values):
            raise Misfit(f"a {kind.__name__} holds a value once")
        return found

    return Form(
        name,
        {kind.__name__: item.schema},
        _generic(list, item.shape),
        dump=dump,
        load=_mapped(item.load, list, name, into=unique),
        build=_mapped(item.build, list, name, into=unique) if item.build else unique,
        copy=_copier(kind, copy) if kind is set or item.copy else None,
        changes=kind is set or item.changes,
        hashable=kind is frozenset,
    )


def dict_form(item: Form) -> Form:
    """Make the form of ``dict[str, item]``."""
    name = f"dict[str, {item.signature}]"

    def value_by_value(function: _Function) -> _Function:
        def apply(values: Any) -> dict[str, Any]:
            if type(values) is Repeated:
                raise Misfit("the key is there twice", f"[{values.key!r}]")
            if type(values) is not dict:
                raise expected(name, values)
            done: dict[str, Any] = {}
            for key, value in values.items():
                if type(key) is not str:
                    raise expected("a str as key", key)
                check_encodable(key)
                try:
                    done[key] = function(value)
                except Misfit as misfit:
                    raise misfit.under(f"[{key!r}]") from None
            return done

        return apply

    return Form(
        name,
        {"dict": item.schema},
        _generic(dict, str, item.shape),
        dump=value_by_value(item.dump),
        load=value_by_value(item.load),
        build=item.build and value_by_value(item.build),
        copy=_copier(dict, value_by_value(item.copy) if item.copy else dict),
        changes=True,
        hashable=False,
    )


def _copier(kind: Any, copy: _Function) -> _Function:
    """Copy values of just this kind; a state may hold others, a defaultdict for a dict, which keep their ways."""
    return lambda values: copy(values) if type(values) is kind else deepcopy(values)


def _generic(kind: Any, *parameters: Any) -> Any:
    return kind[parameters]


def _mapped(function: _Function, kind: Any, name: str, *, into: _Function | None = None) -> _Function:
    """Make the function that maps all items of a `kind`, and puts the list of them `into` another."""

    def apply(values: Any) -> Any:
        if type(values) is not kind:
            raise expected(name, values)
        done = _each(function, values)
        return done if into is None else into(done)

    return apply


def _each(function: _Function, values: Iterable[Any]) -> list[Any]:
    done: list[Any] = []
    try:
        for value in values:
            done.append(function(value))  # noqa: PERF401 - its length tells which one failed
    except Misfit as misfit:
        raise misfit.under(f"[{len(done)}]") from None
    return done


def _same(value: Any) -> Any:
    return value
