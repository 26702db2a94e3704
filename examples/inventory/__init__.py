"""The stock of products in warehouses: a second domain, as a package outside esbank would have it.

Run its story from the folder above ``examples`` with ``python -m examples.inventory [FILE]``; the views alone with
``python -m esbank projections run FILE examples.inventory:InventoryView``.

The words: *on hand* is what lies in the warehouse, *reserved* is what of it is promised, under the id of a reservation,
such as an order's number. What is on hand and not reserved is *available*.

The rules, cited by their numbers where they are enforced:

1.  A product in one warehouse is an item, with a stream of its own under the key ``sku@warehouse``. A rule never looks
    at two products or at two warehouses, so these need not wait for one another. All the rules of an item look at the
    same two numbers, so its commands must. Neither part of the key has an ``@``, so it can be taken apart again.
2.  An item is registered once (`AlreadyRegistered`).
3.  Before that, nothing can be done with it (`NotRegistered`).
4.  Quantities are whole pieces and more than zero. Only what is there at first and what is counted may be zero
    (`InvalidQuantity`).
5.  What is received is available at once.
6.  No more can be reserved than is available; it is all or nothing (`InsufficientStock`). So nothing is promised twice.
7.  An id has one reservation at a time (`AlreadyReserved`). The same order again may be a mistake or other wishes:
    to add it up would ship too much, to ignore it would hide a new quantity. A retry is told from both by its
    ``command_id``, for ever. Once a reservation is shipped or cancelled, its id may be used again, so that an item
    remembers only what is open.
8.  Cancelling makes available what has not been shipped yet. When nothing is left to cancel, because the reservation
    was shipped, cancelled or never made, it is refused (`ReservationNotFound`). Pieces that come back are received.
9.  Nothing is shipped without a reservation (`ReservationNotFound`): it might be what others were promised.
10. A reservation may be shipped in parts. What is left of it stays reserved, and no more than that can be shipped
    (`ReservationExceeded`).
11. Adjusting sets what is on hand to what was counted, reserved pieces included, and says why. A count that agrees is
    kept as well, because it is a fact that somebody will ask for.
12. Less than is reserved cannot be the count (`CountBelowReserved`). A promise would be broken, and which one is for
    people to decide. They cancel it and adjust in one ``execute``, so that either both happen or neither.
"""

from .errors import (
    AlreadyRegistered,
    AlreadyReserved,
    CountBelowReserved,
    InsufficientStock,
    InvalidQuantity,
    InvalidText,
    InventoryError,
    NotRegistered,
    ReservationExceeded,
    ReservationNotFound,
)
from .item import InventoryItem
from .messages import (
    AdjustStock,
    CancelReservation,
    InventoryCommand,
    InventoryEvent,
    ProductRegistered,
    ReceiveStock,
    RegisterProduct,
    ReservationCancelled,
    ReserveStock,
    ShipStock,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockShipped,
    item_key,
)
from .policies import SNAPSHOTS, items_of
from .views import InventoryRow, InventoryView, inventory_rows

__all__ = [
    "SNAPSHOTS",
    "AdjustStock",
    "AlreadyRegistered",
    "AlreadyReserved",
    "CancelReservation",
    "CountBelowReserved",
    "InsufficientStock",
    "InvalidQuantity",
    "InvalidText",
    "InventoryCommand",
    "InventoryError",
    "InventoryEvent",
    "InventoryItem",
    "InventoryRow",
    "InventoryView",
    "NotRegistered",
    "ProductRegistered",
    "ReceiveStock",
    "RegisterProduct",
    "ReservationCancelled",
    "ReservationExceeded",
    "ReservationNotFound",
    "ReserveStock",
    "ShipStock",
    "StockAdjusted",
    "StockReceived",
    "StockReserved",
    "StockShipped",
    "inventory_rows",
    "item_key",
    "items_of",
]
