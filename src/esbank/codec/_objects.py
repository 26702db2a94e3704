"""The form of an attrs class: its fields, private ones and those without ``init`` included, by name.

Reading never runs the class's own code: an object is made without ``__init__`` and its fields are set one by one, so
neither a validator nor a converter can make old data unreadable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec
from attrs import frozen
from msgspec import UNSET, UnsetType

from esbank.codec._forms import Form, Misfit

__all__ = ["object_form"]

_set: Final = object.__setattr__
_encode: Final = msgspec.json.Encoder().encode


@frozen
class _Field:
    name: str
    form: Form
    attribute: attrs.Attribute[Any]

    def default(self, owner: object) -> Any:
        """Return the value of a field that the data do not have."""
        default = self.attribute.default
        if default is attrs.NOTHING:
            raise Misfit("it is missing, and the field has no default", self.name)
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            return default.factory(owner) if default.takes_self else default.factory()
        return default


def object_form(cls: type, forms: dict[str, Form]) -> Form:
    """Make the form of the attrs class `cls`, given the forms of its fields."""
    fields = tuple(_Field(a.name, forms[a.name], a) for a in attrs.fields(cls))
    names = {field.name for field in fields}

    def dump(value: object) -> dict[str, Any]:
        if type(value) is not cls:
            msg = f"expected {cls.__name__}, got {type(value).__name__} {value!r:.60}"
            raise Misfit(msg)
        plain: dict[str, Any] = {}
        for field in fields:
            try:
                plain[field.name] = field.form.dump(getattr(value, field.name))
            except Misfit as misfit:
                raise misfit.under(field.name) from None
        return plain

    def load(plain: object) -> Any:
        if type(plain) is not dict:
            msg = f"expected an object, got {type(plain).__name__} {plain!r:.60}"
            raise Misfit(msg)
        for key in plain:
            if key not in names:
                msg = f"{cls.__name__} has no such field"
                raise Misfit(msg, key)
        made = object.__new__(cls)
        for field in fields:
            try:
                value = field.form.load(plain[field.name]) if field.name in plain else UNSET
            except Misfit as misfit:
                raise misfit.under(field.name) from None
            _set(made, field.name, field.default(made) if value is UNSET else value)
        return made

    return Form(
        signature=f"{cls.__name__}({', '.join(f'{field.name}: {field.form.signature}' for field in fields)})",
        shape=_shape(cls, fields),
        dump=dump,
        load=load,
        build=_builder(cls, fields),
        copy=_copier(cls, fields),
    )


def _shape(cls: type, fields: tuple[_Field, ...]) -> type[msgspec.Struct]:
    """Make the struct that msgspec reads: what is missing stays unset, so that writing it again leaves it out too."""
    return msgspec.defstruct(
        cls.__name__,
        [(f"field_{i}", _or_unset(field.form.shape), UNSET) for i, field in enumerate(fields)],
        rename={f"field_{i}": field.name for i, field in enumerate(fields)},
        forbid_unknown_fields=True,
        gc=False,
    )


def _or_unset(shape: Any) -> Any:
    return Any if shape is Any else shape | UnsetType


def _builder(cls: type, fields: tuple[_Field, ...]) -> Callable[[msgspec.Struct], Any]:
    plan = tuple((field, field.name, field.form.build) for field in fields)
    as_tuple = msgspec.structs.astuple
    new = object.__new__

    def build(struct: msgspec.Struct) -> Any:
        made = new(cls)
        for (field, name, convert), value in zip(plan, as_tuple(struct), strict=True):
            if value is UNSET:
                _set(made, name, field.default(made))
            elif convert is None:
                _set(made, name, value)
            else:
                try:
                    _set(made, name, convert(value))
                except Misfit as misfit:
                    raise misfit.under(name) from None
        return made

    return build


def _copier(cls: type, fields: tuple[_Field, ...]) -> Callable[[Any], Any] | None:
    if _is_frozen(cls) and not any(field.form.copy for field in fields):
        return None
    plan = tuple((field.name, field.form.copy) for field in fields)
    new = object.__new__

    def copy(value: Any) -> Any:
        made = new(cls)
        for name, copy_field in plan:
            current = getattr(value, name)
            _set(made, name, current if copy_field is None else copy_field(current))
        return made

    return copy


def _is_frozen(cls: type) -> bool:
    """Try it: attrs has no public way to ask."""
    fields = attrs.fields(cls)
    if not fields:
        return True
    try:
        setattr(object.__new__(cls), fields[0].name, None)
    except attrs.exceptions.FrozenError:
        return True
    except Exception:
        return False
    return False
