"""Why the inventory refuses, each with its data as attributes.

::

    InventoryError
    ├── AlreadyRegistered
    ├── NotRegistered
    ├── InsufficientStock      available, requested
    ├── AlreadyReserved        reservation_id, reserved
    ├── ReservationNotFound    reservation_id
    ├── ReservationExceeded    reservation_id, reserved, requested
    ├── CountBelowReserved     counted, reserved
    ├── InvalidQuantity        quantity, least, most (also a ValueError)
    └── InvalidText            field, problem (also a ValueError)

It is a tree of its own and not of `EsbankError`, so that a program can tell a refusal from a failing store.
"""

from attrs import define

__all__ = [
    "AlreadyRegistered",
    "AlreadyReserved",
    "CountBelowReserved",
    "InsufficientStock",
    "InvalidQuantity",
    "InvalidText",
    "InventoryError",
    "NotRegistered",
    "ReservationExceeded",
    "ReservationNotFound",
]


class InventoryError(Exception):
    """The inventory refuses, and nothing has changed."""


@define
class AlreadyRegistered(InventoryError):
    """An item is registered once."""

    def __str__(self) -> str:
        return "the product is registered in this warehouse already; receive or adjust stock instead"


@define
class NotRegistered(InventoryError):
    """There is no such item."""

    def __str__(self) -> str:
        return "the product is not registered in this warehouse; check the key, or register it first"


@define
class InsufficientStock(InventoryError):
    """More was requested than is on hand and not reserved."""

    available: int
    requested: int

    def __str__(self) -> str:
        return (
            f"{self.requested} requested, {self.available} available; "
            "reserve less, or receive stock or cancel a reservation first"
        )


@define
class AlreadyReserved(InventoryError):
    """The id has a reservation, of which `reserved` pieces are left to ship."""

    reservation_id: str
    reserved: int

    def __str__(self) -> str:
        return (
            f"{self.reservation_id!r} has {self.reserved} reserved already; "
            "cancel that first to change it, or reserve under another id"
        )


@define
class ReservationNotFound(InventoryError):
    """Nothing is reserved under the id: it was never reserved, was cancelled, or has been shipped."""

    reservation_id: str

    def __str__(self) -> str:
        return (
            f"nothing is reserved under {self.reservation_id!r}; check the id in the history, "
            "reserve before shipping, and receive what was shipped and comes back"
        )


@define
class ReservationExceeded(InventoryError):
    """More was to be shipped than the `reserved` pieces that are left of the reservation."""

    reservation_id: str
    reserved: int
    requested: int

    def __str__(self) -> str:
        return (
            f"{self.requested} requested, {self.reserved} reserved under {self.reservation_id!r}; "
            "ship no more than that, and reserve the rest under another id"
        )


@define
class CountBelowReserved(InventoryError):
    """Fewer pieces were counted than are promised."""

    counted: int
    reserved: int

    def __str__(self) -> str:
        return f"{self.counted} counted, {self.reserved} reserved; cancel reservations first, or in the same execute"


@define
class InvalidQuantity(InventoryError, ValueError):
    """A quantity that is not a whole number of pieces from `least` to `most`."""

    quantity: object
    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.quantity!r:.60} is no valid quantity; give an int from {self.least} to {self.most:,}"


@define
class InvalidText(InventoryError, ValueError):
    """A field of a command whose text makes no sense."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"
