"""The fingerprint of commands tells whether the same ones have come again."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from attrs import field, frozen
from attrs.validators import gt

from esbank import DefinitionError, EventCodec, EventEncodingError, EventRegistry

CODEC = EventCodec(EventRegistry())


@frozen
class Deposit:
    amount: Decimal
    by: str = ""


@frozen
class Withdraw:
    amount: Decimal
    by: str = ""


@frozen
class Ranked:
    place: int = field(validator=gt(0), converter=int)


@frozen
class Labelled:
    labels: frozenset[str]


@frozen
class Raw:
    data: bytes


@frozen
class Nameless:
    pass


class Plain:
    pass


def test_the_same_commands_have_the_same_fingerprint() -> None:
    one = [Deposit(Decimal(5), by="alice"), Withdraw(Decimal(3))]
    again = [Deposit(Decimal(5), by="alice"), Withdraw(Decimal(3))]

    assert CODEC.fingerprint(one) == CODEC.fingerprint(again)


def test_a_fingerprint_stays_the_same_for_ever() -> None:
    assert (
        CODEC.fingerprint([Deposit(Decimal(5), by="alice")])
        == EventCodec(EventRegistry(Deposit)).fingerprint(iter([Deposit(Decimal(5), by="alice")]))
        == "0648a4c16ac509b31105044b7613a5948f41cbdc04ad1efa41e913df1f937334"
    )


@pytest.mark.parametrize(
    "others",
    [
        [],
        [Withdraw(Decimal(5)), Deposit(Decimal(3))],
        [Deposit(Decimal(5))],
        [Deposit(Decimal(5)), Withdraw(Decimal(3)), Withdraw(Decimal(3))],
        [Withdraw(Decimal(3)), Deposit(Decimal(5))],
        [Deposit(Decimal(5)), Withdraw(Decimal(4))],
        [Deposit(Decimal("5.0")), Withdraw(Decimal(3))],
        [Deposit(Decimal(5), by="bob"), Withdraw(Decimal(3))],
        [Deposit(Decimal(5)), Deposit(Decimal(3))],
    ],
    ids=["none", "types", "fewer", "more", "order", "value", "digits", "field", "type"],
)
def test_other_commands_have_another_fingerprint(others: Sequence[object]) -> None:
    assert CODEC.fingerprint([Deposit(Decimal(5)), Withdraw(Decimal(3))]) != CODEC.fingerprint(others)


def test_no_text_in_a_command_can_pass_for_another_command() -> None:
    one = [Deposit(Decimal(1), by='"}\nDeposit 24 {"amount":"1","by":"'), Nameless()]
    two = [Deposit(Decimal(1)), Deposit(Decimal(1)), Nameless()]

    assert CODEC.fingerprint(one) != CODEC.fingerprint(two)


def test_a_command_may_have_validators_and_converters() -> None:
    assert CODEC.fingerprint([Ranked("1")]) == CODEC.fingerprint([Ranked(1)])


def test_the_order_in_a_set_does_not_matter() -> None:
    labels = [f"label-{number}" for number in range(20)]

    assert CODEC.fingerprint([Labelled(frozenset(labels))]) == CODEC.fingerprint([Labelled(frozenset(labels[::-1]))])


@pytest.mark.parametrize("command", [Raw(b"x"), Plain()], ids=["bytes", "no attrs class"])
def test_a_class_of_commands_that_cannot_be_written_is_refused(command: object) -> None:
    with pytest.raises(DefinitionError, match="a command with a command_id must be writable as JSON"):
        CODEC.fingerprint([Deposit(Decimal(1)), command])


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (Deposit(1.5), "amount"),
        (Deposit(Decimal("NaN")), "amount"),
        (Deposit(Decimal(1), by="\ud800"), "by"),
        (Labelled(frozenset({"\ud800"})), "labels"),
    ],
    ids=["float", "NaN", "surrogate", "surrogate in a set"],
)
def test_a_value_in_a_command_that_cannot_be_written_is_refused(command: object, field: str) -> None:
    with pytest.raises(EventEncodingError) as refused:
        CODEC.fingerprint([Deposit(Decimal(1)), command])

    assert refused.value.field == field
