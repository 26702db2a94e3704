"""An upcaster is a function from data to data, and says so; what is none is a type error where it is used."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, assert_type

import pytest
from attrs import frozen

from esbank import DefinitionError, EventRegistry, Upcaster, event, upcaster


@event(name="Deposited", schema_version=2)
@frozen
class Deposited:
    amount: int
    currency: str


@upcaster("Deposited", from_version=1, to_version=2)
def add_currency(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "currency": "EUR"}


def test_marking_a_function_makes_an_upcaster_that_is_called_like_it() -> None:
    assert_type(add_currency, Upcaster)
    assert_type(add_currency({"amount": 1}), dict[str, Any])
    assert_type(str(add_currency), str)


def test_a_function_may_take_less_particular_data_and_return_more_particular_ones() -> None:
    @upcaster("Deposited", from_version=1, to_version=2)
    def general(data: Mapping[str, object]) -> dict[str, Any]:
        return dict(data)

    @upcaster("Deposited", from_version=1, to_version=2)
    def objects(data: dict[str, object]) -> dict[str, object]:
        return data

    @upcaster("Deposited", from_version=1, to_version=2)
    def texts(data: dict[str, str]) -> dict[str, str]:
        return data

    for one in (general, objects, texts):
        assert_type(one, Upcaster)


class Data(TypedDict):
    amount: int


def test_what_is_no_function_from_data_to_data_is_a_type_error() -> None:
    mark = upcaster("Deposited", from_version=1, to_version=2)

    @mark  # type: ignore[arg-type]
    def nothing(_: dict[str, Any]) -> None: ...

    @mark  # type: ignore[arg-type]
    def optional(_: dict[str, Any]) -> dict[str, Any] | None: ...

    @mark  # type: ignore[arg-type]
    def pair(data: dict[str, Any]) -> tuple[dict[str, Any]]:
        return (data,)

    @mark  # type: ignore[arg-type]
    def text(data: str) -> dict[str, Any]:
        return {"text": data}

    @mark  # type: ignore[arg-type]
    def typed(_: dict[str, Any]) -> Data:  # no dict for a type checker: others may be keys of it too
        return {"amount": 1}

    @mark  # type: ignore[arg-type]
    def of_an_event(event: Deposited) -> Deposited:
        return event

    @mark  # type: ignore[arg-type]
    def generator(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield data

    @mark  # type: ignore[arg-type]
    async def later(data: dict[str, Any]) -> dict[str, Any]:
        return data

    for one in (nothing, optional, pair, text, typed, of_an_event, generator, later):
        assert_type(one, Upcaster)


def test_both_versions_are_to_be_named() -> None:
    with pytest.raises(TypeError, match="to_version"):
        upcaster("Deposited", from_version=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="from_version"):
        upcaster("Deposited", to_version=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        upcaster("Deposited", 1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="from_version"):
        upcaster(add_currency.function)  # type: ignore[call-arg, arg-type]


def test_a_version_is_a_number_and_a_name_a_text() -> None:
    with pytest.raises(DefinitionError):
        upcaster("Deposited", from_version="1", to_version=2)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError):
        upcaster(Deposited, from_version=1, to_version=2)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError):
        upcaster("PaidIn", from_version=1, to=Deposited, to_version=2)  # type: ignore[arg-type]


def test_a_registry_takes_upcasters_from_anything_that_can_be_gone_through() -> None:
    def found() -> Iterator[Upcaster]:
        yield add_currency

    for upcasters in ([add_currency], (add_currency,), {add_currency}, found()):
        assert_type(EventRegistry(Deposited, upcasters=upcasters).names_of(Deposited), tuple[str, ...])


def test_a_registry_takes_nothing_but_upcasters() -> None:
    with pytest.raises(DefinitionError):
        EventRegistry(Deposited, upcasters=[add_currency.function])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        EventRegistry(Deposited, upcasters=add_currency)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        EventRegistry(Deposited, upcasters=None)  # type: ignore[arg-type]
