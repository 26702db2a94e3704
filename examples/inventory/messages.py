"""What can be asked of an item, and what can have happened to it: its commands, then its events.

The names in ``@event`` are the storage format.
"""

from __future__ import annotations

from typing import Final

from attrs import Attribute, field, frozen

from esbank import event

from .errors import InvalidQuantity, InvalidText

__all__ = [
    "MOST_PIECES",
    "AdjustStock",
    "CancelReservation",
    "InventoryCommand",
    "InventoryEvent",
    "ProductRegistered",
    "ReceiveStock",
    "RegisterProduct",
    "ReservationCancelled",
    "ReserveStock",
    "ShipStock",
    "StockAdjusted",
    "StockReceived",
    "StockReserved",
    "StockShipped",
    "item_key",
]

MOST_PIECES: Final = 1_000_000_000
"""The largest quantity of one command, so that no sum outgrows a column of 64 bits."""


def item_key(sku: str, warehouse: str) -> str:
    """Name an item (rule 1)."""
    _check_key_part("sku", sku)
    _check_key_part("warehouse", warehouse)
    return f"{sku}@{warehouse}"


def _check_key_part(name: str, value: object) -> None:
    if "@" in _checked_text(name, value):
        raise InvalidText(name, f"it must not contain '@', which separates the parts of a key: {value!r:.60}")


def _checked_text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise InvalidText(name, f"it must be a str of one line that is not empty, not {value!r:.60}")
    return value


# Commands. Their validators are the rules that need no state.


def _key_part(_: object, attribute: Attribute[str], value: object) -> None:
    _check_key_part(attribute.name, value)


def _text(_: object, attribute: Attribute[str], value: object) -> None:
    _checked_text(attribute.name, value)


def _quantity(_: object, __: Attribute[int], value: object) -> None:
    _check_quantity(value, least=1)


def _quantity_or_zero(_: object, __: Attribute[int], value: object) -> None:
    _check_quantity(value, least=0)


def _check_quantity(value: object, *, least: int) -> None:
    """Enforce rule 4; by `type`, because a bool is an int too."""
    if type(value) is not int or not least <= value <= MOST_PIECES:
        raise InvalidQuantity(value, least, MOST_PIECES)


@frozen
class InventoryCommand:
    """The base of all commands to an item."""


@frozen
class RegisterProduct(InventoryCommand):
    """Begin to keep a product in a warehouse; execute it under its `key`."""

    sku: str = field(validator=_key_part)
    warehouse: str = field(validator=_key_part)
    name: str = field(validator=_text)
    initial_quantity: int = field(default=0, validator=_quantity_or_zero)

    @property
    def key(self) -> str:
        """The key of the item that it registers (rule 1)."""
        return item_key(self.sku, self.warehouse)


@frozen
class ReceiveStock(InventoryCommand):
    """Put pieces into the warehouse."""

    quantity: int = field(validator=_quantity)


@frozen
class ReserveStock(InventoryCommand):
    """Promise pieces, under an id such as an order's number."""

    reservation_id: str = field(validator=_text)
    quantity: int = field(validator=_quantity)


@frozen
class CancelReservation(InventoryCommand):
    """Take back what is left of a promise."""

    reservation_id: str = field(validator=_text)


@frozen
class ShipStock(InventoryCommand):
    """Send pieces that were reserved, all of them or some."""

    reservation_id: str = field(validator=_text)
    quantity: int = field(validator=_quantity)


@frozen
class AdjustStock(InventoryCommand):
    """Say how many pieces were counted in the warehouse, reserved ones included."""

    counted: int = field(validator=_quantity_or_zero)
    reason: str = field(validator=_text)


# Events.


@frozen
class InventoryEvent:
    """The base of all events of an item."""


@event(name="ProductRegistered", schema_version=1)
@frozen
class ProductRegistered(InventoryEvent):
    """A product is kept in a warehouse from now on."""

    sku: str
    warehouse: str
    name: str
    initial_quantity: int


@event(name="StockReceived", schema_version=1)
@frozen
class StockReceived(InventoryEvent):
    """Pieces came in."""

    quantity: int


@event(name="StockReserved", schema_version=1)
@frozen
class StockReserved(InventoryEvent):
    """Pieces were promised."""

    reservation_id: str
    quantity: int


@event(name="ReservationCancelled", schema_version=1)
@frozen
class ReservationCancelled(InventoryEvent):
    """The `quantity` that was left of a promise was taken back."""

    reservation_id: str
    quantity: int


@event(name="StockShipped", schema_version=1)
@frozen
class StockShipped(InventoryEvent):
    """Pieces that were reserved went out."""

    reservation_id: str
    quantity: int


@event(name="StockAdjusted", schema_version=1)
@frozen
class StockAdjusted(InventoryEvent):
    """Pieces were counted, and there were `difference` more than was thought; below zero, there were fewer."""

    counted: int
    difference: int
    reason: str
