"""Amounts of money: exact decimals, in the units of their currency.

Sums are made in a context of their own, so that neither a program's decimal context nor a very large sum can round them
in silence.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

from esbank.bank.errors import InvalidAmount, InvalidCommand

__all__ = [
    "CURRENCIES",
    "add",
    "amount_of",
    "currency_of",
    "in_currency",
    "non_negative",
    "non_zero",
    "positive",
    "subtract",
]

_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])
_LIMIT: Final = Decimal(1000000000000000000)
_UNITS: Final = {0: Decimal(1), 2: Decimal("0.01"), 3: Decimal("0.001"), 4: Decimal("0.0001")}

# ISO 4217, active codes by the number of decimals of their minor unit.
_BY_DECIMALS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
    "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
    "MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
    "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW "
    "ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES: Final = {code: decimals for decimals, codes in _BY_DECIMALS.items() for code in codes.split()}
"""How many decimals an amount has, by the code of its currency."""


def add(first: Decimal, second: Decimal) -> Decimal:
    """Add exactly."""
    return _EXACT.add(first, second)


def subtract(first: Decimal, second: Decimal) -> Decimal:
    """Subtract exactly."""
    return _EXACT.subtract(first, second)


def amount_of(value: Decimal | int) -> Decimal:
    """Take a Decimal or an int as an amount; raises ``InvalidAmount`` for anything else, floats above all."""
    if type(value) is int:
        return Decimal(value)
    if type(value) is not Decimal:
        problem = (
            'a float is never exact; write Decimal("12.34")'
            if isinstance(value, float)
            else 'it must be a Decimal or an int; write Decimal("12.34")'
        )
        raise InvalidAmount(value, problem)
    return value


def positive(value: Decimal) -> Decimal:
    """Return an amount that is finite and more than zero; raises ``InvalidAmount`` for any other."""
    if _checked(value) <= 0:
        raise InvalidAmount(value, "it must be more than zero")
    return value


def non_negative(value: Decimal) -> Decimal:
    """Return an amount that is finite and not below zero; raises ``InvalidAmount`` for any other."""
    if _checked(value) < 0:
        raise InvalidAmount(value, "it must not be below zero")
    return value


def non_zero(value: Decimal) -> Decimal:
    """Return an amount, above or below zero, that is finite and not zero; raises ``InvalidAmount`` for any other."""
    if _checked(value) == 0:
        raise InvalidAmount(value, "it must not be zero")
    return value


def in_currency(value: Decimal, currency: str) -> Decimal:
    """Write an amount with just the decimals of its currency; raises ``InvalidAmount`` if it has more."""
    decimals = CURRENCIES[currency]
    try:
        amount = _EXACT.quantize(value, _UNITS[decimals])
    except Inexact:
        raise InvalidAmount(value, f"{currency} has {decimals} decimals") from None
    return amount.copy_abs() if amount.is_zero() else amount  # a zero has no sign


def currency_of(code: object) -> str:
    """Return a code of ISO 4217; raises ``InvalidCommand`` for anything else."""
    if not isinstance(code, str) or code not in CURRENCIES:
        field = "currency"
        raise InvalidCommand(field, f"{code!r:.30} is no currency of ISO 4217; write a code such as 'EUR'")
    return code


def _checked(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise InvalidAmount(value, "it must be finite")
    if value.copy_abs() >= _LIMIT:
        raise InvalidAmount(value, f"it must be below {_LIMIT:,}")
    return value
