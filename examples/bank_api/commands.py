"""What comes in: the bodies of requests, read strictly, and turned into commands of the bank.

An amount may be a JSON number or a string. Either is taken as it is written, digit by digit: a JSON reader that makes
floats of numbers has lost the amount before anybody could look at it.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, Any, Final, NoReturn, TypeAlias

import msgspec

from esbank import bank
from esbank.bank.money import CURRENCIES

__all__ = ["Body", "InvalidBody", "MalformedBody", "body_schema", "read_command"]

_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$(?!\n)"
"""No control characters: PostgreSQL cannot hold a NUL in a text, and the others are no part of a name.

In Python a `$` is also right before a last line break, hence the rest.
"""
_AMOUNT: Final = re.compile(r"-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_TEXT_OF_AMOUNT: Final = r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,4})?$(?!\n)"
_AMOUNT_SCHEMA: Final = {
    "oneOf": [
        {"type": "string", "pattern": f"^{_TEXT_OF_AMOUNT}", "examples": ["0.00"]},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 10**18, "examples": [0.0]},
    ],
}
_POSITIVE_AMOUNT_SCHEMA: Final = {
    "oneOf": [
        {"type": "string", "pattern": rf"^(?!0(\.0+)?$){_TEXT_OF_AMOUNT}", "examples": ["500.00"]},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10**18, "examples": [500.0]},
    ],
}

Amount: TypeAlias = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=_AMOUNT_SCHEMA)]
PositiveAmount: TypeAlias = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=_POSITIVE_AMOUNT_SCHEMA)]
Currency: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(CURRENCIES)})]
Name: TypeAlias = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$(?!\n)"),
]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=1000, pattern=_PRINTABLE)]


class MalformedBody(Exception):
    """The body is no JSON, or has a key twice, which two readers may understand in two ways."""


class InvalidBody(Exception):
    """The body is JSON, but no command."""


class OpenAccount(msgspec.Struct, tag_field="type", tag=True, forbid_unknown_fields=True):
    """Open an account."""

    owner: Name
    currency: Currency = "EUR"
    initial_balance: Amount = msgspec.field(default_factory=lambda: msgspec.Raw(b"0"))
    overdraft_limit: Amount = msgspec.field(default_factory=lambda: msgspec.Raw(b"0"))

    def command(self) -> bank.OpenAccount:
        """Make the command of it."""
        return bank.OpenAccount(self.owner, self.currency, _amount(self.initial_balance), _amount(self.overdraft_limit))


class Deposit(msgspec.Struct, tag_field="type", tag=True, forbid_unknown_fields=True):
    """Put money in."""

    amount: PositiveAmount
    by: Text = ""

    def command(self) -> bank.Deposit:
        """Make the command of it."""
        return bank.Deposit(_amount(self.amount), self.by)


class Withdraw(msgspec.Struct, tag_field="type", tag=True, forbid_unknown_fields=True):
    """Take money out."""

    amount: PositiveAmount
    by: Text = ""

    def command(self) -> bank.Withdraw:
        """Make the command of it."""
        return bank.Withdraw(_amount(self.amount), self.by)


class CloseAccount(msgspec.Struct, tag_field="type", tag=True, forbid_unknown_fields=True):
    """Close an account for good."""

    reason: Text

    def command(self) -> bank.CloseAccount:
        """Make the command of it."""
        return bank.CloseAccount(self.reason)


Body: TypeAlias = OpenAccount | Deposit | Withdraw | CloseAccount
_DECODER: Final[msgspec.json.Decoder[Body]] = msgspec.json.Decoder(Body)


def read_command(body: bytes) -> bank.AccountCommand:
    """Read a body; raises ``MalformedBody``, ``InvalidBody``, and what the bank says of values that cannot be."""
    _check_json(body)
    try:
        return _DECODER.decode(body).command()
    except msgspec.ValidationError as error:
        raise InvalidBody(str(error)) from error
    except msgspec.DecodeError as error:  # half of a surrogate pair, which is JSON, and no text
        raise MalformedBody(str(error)) from error


def body_schema() -> dict[str, Any]:
    """Describe the bodies as JSON Schema."""
    kinds = (OpenAccount, Deposit, Withdraw, CloseAccount)
    _, schemas = msgspec.json.schema_components(kinds)
    return {"oneOf": list(schemas.values())}


def _amount(raw: msgspec.Raw) -> Decimal:
    """Read an amount digit by digit; whether the bank can have it, the bank knows."""
    text = bytes(raw).decode()
    if text.startswith('"'):
        text = msgspec.json.decode(text, type=str)
    if _AMOUNT.fullmatch(text) is None:
        raise bank.InvalidAmount(text, 'write a number such as 12.34 or "12.34"')
    return Decimal(text)


def _check_json(body: bytes) -> None:
    """Raise ``MalformedBody`` for what is no JSON, and for a key that comes twice."""
    try:
        json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=str, parse_int=str)
    except RecursionError as error:
        raise MalformedBody("it is nested too deeply") from error
    except ValueError as error:
        raise MalformedBody(str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")
