"""What the lock says of two types is true: all data of the old one can be read as the new one, unless it says no.

The verdict is held against the codec itself. Types are drawn together with a change to them; values written as the old
type are read as the new one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Optional
from uuid import UUID

import attrs
import pytest
from attrs import field
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from esbank import EventCodec, EventDecodingError, EventRegistry, event
from esbank.codec import check_schema, describe_schema, misfits
from esbank.store import NO_METADATA, StoredEvent, StreamId

Spec = Any
"""A type to be: the name of a scalar, or a kind and what it consists of. Equal specs give the very same class."""

WEST = timezone(timedelta(hours=-5, minutes=-30))

SCALARS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "str": (str, st.text(max_size=4)),
    "int": (int, st.integers()),
    "bool": (bool, st.booleans()),
    "None": (type(None), st.none()),
    "float": (float, st.floats(allow_nan=False, allow_infinity=False)),
    "Decimal": (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    "UUID": (UUID, st.uuids()),
    "datetime": (datetime, st.datetimes(timezones=st.sampled_from([UTC, WEST]))),
    "date": (date, st.dates()),
}
CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "list": lambda item: list[item],
    "tuple": lambda item: tuple[item, ...],
    "set": lambda item: set[item],
    "frozenset": lambda item: frozenset[item],
    "dict": lambda item: dict[str, item],
    "optional": lambda item: Optional[item],  # noqa: UP045 - of None, there is no other way
}
ENUMS = [("enum", values) for values in [("a",), ("a", "b"), ("b", "a"), ("a", "b", "c"), (1,), (1, 2), (1, 2, 2**70)]]
HASHABLE = {"tuple", "frozenset", "optional", "fixed", "object"}


@cache
def annotation(spec: Spec) -> Any:  # noqa: ANN401 - it makes types of all kinds
    if isinstance(spec, str):
        return SCALARS[spec][0]
    kind, inner = spec
    if kind == "enum":
        return Enum("AnEnum", {f"M{value}": value for value in inner})
    if kind == "fixed":
        return tuple[tuple(map(annotation, inner))]  # type: ignore[misc]
    if kind == "object":
        return attrs.make_class(
            "Part",
            {
                name: field(type=annotation(part), **({"default": None} if has_default else {}), kw_only=True)
                for name, part, has_default in inner
            },
            frozen=True,
        )
    return CONTAINERS[kind](annotation(inner))


@cache
def values(spec: Spec) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each kind
    if isinstance(spec, str):
        return SCALARS[spec][1]
    kind, inner = spec
    match kind:
        case "enum":
            return st.sampled_from(annotation(spec))
        case "fixed":
            return st.tuples(*map(values, inner))
        case "object":
            return st.builds(annotation(spec), **{name: values(part) for name, part, _ in inner})
        case "list":
            return lists(inner)
        case "tuple":
            return lists(inner).map(tuple)
        case "dict":
            return st.dictionaries(st.text(max_size=2), values(inner), max_size=2)
        case "set":
            return st.sets(values(inner), max_size=3)
        case "frozenset":
            return st.frozensets(values(inner), max_size=3)
        case _:
            return st.none() | values(inner)


def lists(item: Spec) -> st.SearchStrategy[list[Any]]:
    """Draw lists; in half of them is something twice."""
    drawn = st.lists(values(item), max_size=3)
    return drawn | drawn.map(lambda items: items + items[:1])


def specs(*, hashable: bool = False, depth: int = 2) -> st.SearchStrategy[Spec]:
    simple = st.sampled_from(sorted(SCALARS)) | st.sampled_from(ENUMS)
    if depth == 0:
        return simple
    inner = specs(hashable=hashable, depth=depth - 1)
    in_sets = specs(hashable=True, depth=depth - 1)
    kinds = sorted(CONTAINERS.keys() & HASHABLE if hashable else CONTAINERS)
    containers = st.sampled_from(kinds).flatmap(
        lambda kind: st.tuples(st.just(kind), in_sets if kind in {"set", "frozenset"} else inner)
    )
    fixed = st.tuples(st.just("fixed"), st.lists(inner, max_size=3).map(tuple))
    return simple | containers | fixed | objects(inner)


def objects(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    fields = st.lists(st.tuples(st.sampled_from("xyz"), inner, st.booleans()), max_size=3, unique_by=lambda one: one[0])
    return st.tuples(st.just("object"), fields.map(tuple))


@st.composite
def changed(draw: st.DrawFn, spec: Spec, *, hashable: bool = False) -> Spec:  # noqa: C901, PLR0911 - many kinds
    """Draw another type that is not far from `spec`."""
    match draw(st.sampled_from(["inside", "inside", "inside", "keep", "wrap", "replace"])):
        case "keep":
            return spec
        case "replace":
            return draw(specs(hashable=hashable, depth=1))
        case "wrap":
            return ("optional", spec)
    if isinstance(spec, str):
        return draw(st.sampled_from(sorted(SCALARS)))
    kind, inner = spec
    if kind == "enum":
        return draw(st.sampled_from(ENUMS))
    if kind == "object":
        return ("object", draw(changed_fields(inner, hashable=hashable)))
    if kind == "fixed":
        items = tuple(draw(changed(item, hashable=hashable)) for item in inner)
        if items and draw(st.booleans()):
            kinds = ["tuple", "frozenset"] if hashable else ["list", "tuple", "set"]
            other = draw(st.sampled_from(kinds))
            return (other, items[0]) if other != "set" or is_hashable(items[0]) else spec
        return ("fixed", draw(st.sampled_from([items, items[1:], (*items, "int")])))
    if draw(st.booleans()):
        in_set = hashable or kind in {"set", "frozenset"}
        return (kind, draw(changed(inner, hashable=in_set)))
    if kind == "optional" and draw(st.booleans()):
        return inner
    other = draw(st.sampled_from(["list", "tuple", "set", "frozenset", "fixed", "dict"]))
    if other == "fixed":
        return ("fixed", (inner, inner))
    wanted = (other, inner)
    fits = is_hashable(wanted) if hashable else other not in {"set", "frozenset"} or is_hashable(inner)
    return wanted if fits else spec


@st.composite
def changed_fields(draw: st.DrawFn, fields: tuple[Any, ...], *, hashable: bool) -> tuple[Any, ...]:
    now: dict[str, tuple[str, Spec, bool]] = {}
    for name, part, has_default in fields:
        what = draw(st.sampled_from(["keep", "type", "type", "type", "type", "default", "remove", "rename"]))
        if what == "remove":
            continue
        new_name = draw(st.sampled_from("xyz")) if what == "rename" else name
        new_part = draw(changed(part, hashable=hashable)) if what == "type" else part
        now[new_name] = (new_name, new_part, has_default != (what == "default"))
    if draw(st.booleans()):
        now["new"] = ("new", draw(specs(hashable=hashable, depth=1)), draw(st.booleans()))
    return tuple(now.values())


def is_hashable(spec: Spec) -> bool:
    if isinstance(spec, str):
        return True
    kind, inner = spec
    if kind == "enum":
        return True
    if kind == "fixed":
        return all(map(is_hashable, inner))
    if kind == "object":
        return all(is_hashable(part) for _, part, _ in inner)
    return kind in HASHABLE and (kind == "frozenset" or is_hashable(inner))


@cache
def codec_of(spec: Spec) -> EventCodec:
    cls = event(name="Changed")(annotation(spec))
    return EventCodec(EventRegistry(cls))


def schema_of(codec: EventCodec) -> Mapping[str, Any]:
    """Give the fields as a lock file holds them."""
    binding = codec.registry.by_name("Changed")
    assert binding is not None
    fields: Mapping[str, Any] = json.loads(json.dumps(binding.form.schema["object"]))
    return fields


def read(codec: EventCodec, text: str) -> object:
    return codec.decode(StoredEvent(StreamId("Any", "1"), 1, 1, UUID(int=1), "Changed", 1, text, NO_METADATA, 0))


def older(  # noqa: PLR0911 - one for each kind
    draw: Callable[[st.SearchStrategy[bool]], bool],
    spec: Spec,
    plain: Any,  # noqa: ANN401 - any JSON
) -> Any:  # noqa: ANN401 - any JSON
    """Leave out fields that have a default: data that were written before there was the field."""
    if plain is None or isinstance(spec, str):
        return plain
    kind, inner = spec
    match kind:
        case "object":
            return {
                name: older(draw, part, plain[name])
                for name, part, has_default in inner
                if not has_default or draw(st.booleans())
            }
        case "optional":
            return older(draw, inner, plain)
        case "list" | "tuple":
            return [older(draw, inner, item) for item in plain]
        case "fixed":
            return [older(draw, item, one) for item, one in zip(inner, plain, strict=True)]
        case "dict":
            return {key: older(draw, inner, item) for key, item in plain.items()}
        case _:  # in a set, two might become the same
            return plain


@settings(deadline=None)  # classes are made
@given(st.data())
def test_what_is_not_called_breaking_can_be_read(data: st.DataObject) -> None:
    old = data.draw(objects(specs()), "old")
    new = ("object", data.draw(changed_fields(old[1], hashable=False), "new"))
    writer, reader = codec_of(old), codec_of(new)
    assume(not misfits(schema_of(writer), schema_of(reader)))

    text = writer.encode(data.draw(values(old), "value")).data
    without = json.dumps(older(data.draw, old, json.loads(text)))

    read(reader, text)
    read(reader, without)


X = ("x", "int", False)
X_OR_NOT = ("x", "int", True)
Y = ("y", "int", False)
Y_OR_NOT = ("y", "int", True)
SMALL: dict[Spec, list[str]] = {
    "str": ['""', '"x"', '"1"'],
    "int": ["0", "1", "1180591620717411303424"],
    "bool": ["false", "true"],
    "None": ["null"],
    "float": ["0.0", "0.5", "1.0"],
    "Decimal": ['"1.00"', '"1e9"'],
    "UUID": ['"00000000-0000-0000-0000-000000000001"'],
    "datetime": ['"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00-05:30"'],
    "date": ['"2026-01-01"'],
    ("enum", ("a",)): ['"a"'],
    ("enum", ("a", "b")): ['"a"', '"b"'],
    ("enum", ("b", "a")): ['"a"', '"b"'],
    ("enum", (1,)): ["1"],
    ("enum", (1, 2)): ["1", "2"],
    ("optional", "int"): ["null", "1"],
    ("optional", "str"): ["null", '"x"'],
    ("list", "int"): ["[]", "[1,1]", "[2,1,3]"],
    ("list", "str"): ["[]", '["x","x"]'],
    ("list", ("optional", "int")): ["[null,1,1]"],
    ("tuple", "int"): ["[]", "[1,1]", "[2,1,3]"],
    ("set", "int"): ["[]", "[1,2]", "[1,2,3]"],
    ("set", ("optional", "int")): ["[1,null]", "[null]"],
    ("frozenset", "int"): ["[]", "[1,2]", "[1,2,3]"],
    ("fixed", ()): ["[]"],
    ("fixed", ("int",)): ["[1]"],
    ("fixed", ("int", "int")): ["[1,1]", "[2,1]"],
    ("fixed", ("int", ("optional", "int"))): ["[1,1]", "[2,null]"],
    ("fixed", ("int", "str")): ['[1,"x"]'],
    ("dict", "int"): ["{}", '{"x":1}', '{"y":1}', '{"z":1}'],
    ("dict", ("optional", "int")): ["{}", '{"x":1}', '{"y":null}'],
    ("object", ()): ["{}"],
    ("object", (X,)): ['{"x":1}'],
    ("object", (X_OR_NOT,)): ["{}", '{"x":1}'],
    ("object", (X, Y)): ['{"x":1,"y":1}'],
    ("object", (X, Y_OR_NOT)): ['{"x":1}', '{"x":1,"y":1}'],
    ("object", (("x", "str", False),)): ['{"x":"x"}'],
}


def is_caution(old: Spec, new: Spec) -> bool:
    """Tell whether the text could be read, and it is called breaking all the same: it might mean something else."""
    new = new[1] if new[0] == "optional" else new
    if old == "None":  # a field that never had a value, as nobody writes it
        return True
    if new in {"str", "int"}:  # what is written as such: dates, amounts, enums
        return True
    if new[0] in {"set", "frozenset"}:  # a tuple that is too short for anything to be there twice
        return old in {("fixed", ()), ("fixed", ("int",))}
    return bool(new[0] == "dict" and old[0] == "object")


@pytest.mark.parametrize("old", SMALL, ids=str)
def test_the_verdict_is_true_for_every_two_small_types(old: Spec) -> None:
    before = codec_of(("object", (("value", old, False),)))
    texts = [f'{{"value":{text}}}' for text in SMALL[old]]
    for text in texts:
        read(before, text)
    for new in SMALL:
        now = codec_of(("object", (("value", new, False),)))
        breaks = bool(misfits(schema_of(before), schema_of(now)))

        if not all(is_readable(now, text) for text in texts):
            assert breaks, f"{new} does not read all of {texts}"
        elif breaks:
            assert is_caution(old, new), f"{new} reads all of {texts}"


def is_readable(codec: EventCodec, text: str) -> bool:
    try:
        read(codec, text)
    except EventDecodingError:
        return False
    return True


@pytest.mark.parametrize(
    ("spec", "description"),
    [
        ("None", "None"),
        ("Decimal", "Decimal"),
        (("list", "str"), "list[str]"),
        (("set", "str"), "set[str]"),
        (("frozenset", "str"), "frozenset[str]"),
        (("dict", "str"), "dict[str, str]"),
        (("tuple", "str"), "tuple[str, ...]"),
        (("fixed", ("str", "int")), "tuple[str, int]"),
        (("fixed", ()), "tuple[]"),
        (("optional", ("list", "int")), "list[int] | None"),
        (("enum", ("a", "b")), "one of 'a', 'b'"),
        (("enum", (1, 2)), "one of 1, 2"),
        (("object", (("x", "str", False), ("y", ("list", "int"), True))), "{x: str, y?: list[int]}"),
        (("list", ("object", ())), "list[{}]"),
    ],
)
def test_a_type_is_described_as_people_write_it(spec: Spec, description: str) -> None:
    schema = schema_of(codec_of(("object", (("x", spec, False),))))

    assert describe_schema(schema["x"]) == description


@pytest.mark.parametrize(
    ("written", "now", "problems"),
    [
        ({}, {}, {}),
        ({"a": "int"}, {"a": "int"}, {}),
        ({"a": "int"}, {"a?": "int"}, {}),
        ({"a?": "int"}, {"a?": "int"}, {}),
        ({}, {"a?": "int"}, {}),
        ({}, {"a": "int"}, {"a": "it was added without a default, and stored data lack it"}),
        ({"a": "int"}, {}, {"a": "it was removed, and stored data have it"}),
        ({"a?": "int"}, {}, {"a": "it was removed, and stored data have it"}),
        ({"a?": "int"}, {"a": "int"}, {"a": "it has lost its default, and older data may lack it"}),
        ({"a": "int"}, {"a": "str"}, {"a": "its type does not read what is stored"}),
        ({"a?": "int"}, {"a?": "str"}, {"a": "its type does not read what is stored"}),
        (
            {"a": "int", "b": "int"},
            {"b": {"list": "int"}, "c": "int"},
            {
                "a": "it was removed, and stored data have it",
                "b": "its type does not read what is stored",
                "c": "it was added without a default, and stored data lack it",
            },
        ),
    ],
)
def test_what_does_not_fit_is_told_field_by_field(
    written: Mapping[str, Any], now: Mapping[str, Any], problems: Mapping[str, str]
) -> None:
    assert misfits(written, now) == problems


@pytest.mark.parametrize("kind", ["range", "array"])
def test_a_kind_of_tomorrow_reads_what_is_the_same_and_nothing_else(kind: str) -> None:
    assert misfits({"at": {kind: "int"}}, {"at": {kind: "int"}}) == {}
    assert misfits({"at": {kind: "int"}}, {"at": {kind: "str"}}) == {"at": "its type does not read what is stored"}


@pytest.mark.parametrize("kind", ["array", "dict", "list", "optional", "set", "zone"])
def test_only_tuples_and_enums_are_over_several(kind: str) -> None:
    with pytest.raises(ValueError, match="is no type"):
        check_schema({kind: ["str"]})
