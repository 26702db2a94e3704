"""Types as they are stored: to show them to people, and to tell whether one reads what another has written.

A schema is JSON, so that a file can hold it: the name of a type, or what kind it is of over what it consists of, as in
``{"list": "str"}`` and ``{"object": {"product": "str", "note?": "str"}}``. Old data may lack a field with a question
mark. Names of classes are not stored, so they are no part of it.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# Parsed JSON is of no type that could be known.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

__all__ = ["Fields", "Schema", "check_schema", "describe_schema", "misfits"]

Schema: TypeAlias = Any
"""A type as it is stored, in JSON."""
Fields: TypeAlias = Mapping[str, Schema]
"""The fields of an object: the type of each by its name, which ends in a question mark where old data may lack it."""

# Every function here goes down as deep as a schema does.
_DEEPEST: Final = 100
# What each kind of list reads: a set wants to be sure that nothing is there twice.
_READS: Final[dict[str, set[str]]] = {
    "list": {"list", "tuple", "set", "frozenset"},
    "tuple": {"list", "tuple", "set", "frozenset"},
    "set": {"set", "frozenset"},
    "frozenset": {"set", "frozenset"},
}


def describe_schema(schema: Schema) -> str:  # noqa: PLR0911 - one for each kind
    """Write a type as people do: ``list[{product: str, note?: str}]``."""
    if isinstance(schema, str):
        return schema
    ((kind, inner),) = schema.items()
    match kind:
        case "optional":
            return f"{describe_schema(inner)} | None"
        case "enum":
            return f"one of {', '.join(map(repr, inner))}"
        case "object":
            return f"{{{', '.join(f'{name}: {describe_schema(field)}' for name, field in inner.items())}}}"
        case "hook":
            return f"{inner} by a hook"
        case "dict":
            return f"dict[str, {describe_schema(inner)}]"
        case "tuple" if isinstance(inner, list):
            return f"tuple[{', '.join(map(describe_schema, inner))}]"
        case _:
            return f"{kind}[{describe_schema(inner)}{', ...' if kind == 'tuple' else ''}]"


def check_schema(schema: Schema, depth: int = 0) -> None:
    """Raise ``ValueError`` for JSON that is no schema. A name or a kind that is not known may be one of tomorrow."""
    if depth > _DEEPEST:
        raise ValueError(f"types in types, more than {_DEEPEST} deep")
    if isinstance(schema, str):
        return
    if not isinstance(schema, dict) or len(schema) != 1:
        raise ValueError(f"{schema!r:.60} is no type")
    kind, inner = _parts(schema)
    if kind == "object" and not isinstance(inner, dict):
        raise ValueError(f"{schema!r:.60} is no type: an object has fields")
    if kind == "object":
        parts = list(inner.values())
    elif kind == "tuple" and isinstance(inner, list):
        parts = inner
    elif kind == "enum" and isinstance(inner, list):
        parts = []
    else:
        parts = [inner]
    for part in parts:
        check_schema(part, depth + 1)


def misfits(written: Fields, read: Fields) -> dict[str, str]:
    """Say for which fields, and why, data written by `written` may not be readable by `read`."""
    problems: dict[str, str] = {}
    for field, schema in written.items():
        name = field.removesuffix("?")
        if name not in read and f"{name}?" not in read:
            problems[name] = "it was removed, and stored data have it"
        elif name in read and field != name:
            problems[name] = "it has lost its default, and older data may lack it"
        elif not _reads(read.get(name, read.get(f"{name}?")), schema):
            problems[name] = "its type does not read what is stored"
    for field in read:
        if not field.endswith("?") and field not in written and f"{field}?" not in written:
            problems[field] = "it was added without a default, and stored data lack it"
    return problems


def _reads(reader: Schema, written: Schema) -> bool:  # noqa: PLR0911 - one for each kind
    if reader == written:
        return True
    kind, inner = _parts(reader)
    written_kind, written_inner = _parts(written)
    if kind == "optional":
        return _reads(inner, written_inner if written_kind == "optional" else written)
    if kind in _READS:
        return written_kind in _READS[kind] and _reads_items(inner, written_inner)
    if kind != written_kind:
        return False
    if kind == "dict":
        return _reads(inner, written_inner)
    if kind == "enum":
        return all(value in inner for value in written_inner)
    return kind == "object" and not misfits(written_inner, inner)


def _reads_items(items: Schema, written: Schema) -> bool:
    """Compare what lists hold: items of one type, or, in a tuple of fixed length, a list of types."""
    if isinstance(items, list):
        return isinstance(written, list) and len(items) == len(written) and all(map(_reads, items, written))
    return all(_reads(items, one) for one in (written if isinstance(written, list) else [written]))


def _parts(schema: Schema) -> tuple[str, Any]:
    if isinstance(schema, str):
        return schema, None
    ((kind, inner),) = schema.items()
    return kind, inner
