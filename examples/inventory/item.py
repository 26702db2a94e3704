"""An item: its rules, with the numbers that they have in the package's docstring, and its fold.

Its state is what the rules ask for and nothing else. A name, for one, is for readers, and so it is in the view.
"""

from collections.abc import Iterator
from typing import ClassVar

from attrs import define, field

from esbank import Aggregate, applies, handles

from .errors import (
    AlreadyRegistered,
    AlreadyReserved,
    CountBelowReserved,
    InsufficientStock,
    NotRegistered,
    ReservationExceeded,
    ReservationNotFound,
)
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
)

__all__ = ["InventoryItem"]


@define
class InventoryItem(Aggregate[InventoryCommand, InventoryEvent]):
    """A product in one warehouse; `reservations` has what is left to ship, by the id of each open reservation."""

    category: ClassVar[str] = "InventoryItem"

    is_registered: bool = False
    on_hand: int = 0
    reservations: dict[str, int] = field(factory=dict[str, int])

    @property
    def reserved_stock(self) -> int:
        """How many pieces are promised."""
        return sum(self.reservations.values())

    @property
    def available_stock(self) -> int:
        """How many pieces are on hand and not promised."""
        return self.on_hand - self.reserved_stock

    @handles(RegisterProduct)
    def register(self, command: RegisterProduct) -> Iterator[InventoryEvent]:
        """Register the item once (rule 2)."""
        if self.is_registered:
            raise AlreadyRegistered
        yield ProductRegistered(command.sku, command.warehouse, command.name, command.initial_quantity)

    @handles(ReceiveStock)
    def receive(self, command: ReceiveStock) -> Iterator[InventoryEvent]:
        """Take any quantity in (rule 5)."""
        self._require_registered()
        yield StockReceived(command.quantity)

    @handles(ReserveStock)
    def reserve(self, command: ReserveStock) -> Iterator[InventoryEvent]:
        """Promise what nobody else was promised (rule 6), once under each id (rule 7)."""
        self._require_registered()
        reserved = self.reservations.get(command.reservation_id)
        if reserved is not None:
            raise AlreadyReserved(command.reservation_id, reserved)
        if command.quantity > self.available_stock:
            raise InsufficientStock(self.available_stock, command.quantity)
        yield StockReserved(command.reservation_id, command.quantity)

    @handles(CancelReservation)
    def cancel(self, command: CancelReservation) -> Iterator[InventoryEvent]:
        """Take back all that is left of a promise (rule 8)."""
        self._require_registered()
        yield ReservationCancelled(command.reservation_id, self._reserved_under(command.reservation_id))

    @handles(ShipStock)
    def ship(self, command: ShipStock) -> Iterator[InventoryEvent]:
        """Send what was reserved (rule 9), in parts if need be (rule 10)."""
        self._require_registered()
        reserved = self._reserved_under(command.reservation_id)
        if command.quantity > reserved:
            raise ReservationExceeded(command.reservation_id, reserved, command.quantity)
        yield StockShipped(command.reservation_id, command.quantity)

    @handles(AdjustStock)
    def adjust(self, command: AdjustStock) -> Iterator[InventoryEvent]:
        """Believe a count (rule 11) that breaks no promise (rule 12)."""
        self._require_registered()
        if command.counted < self.reserved_stock:
            raise CountBelowReserved(command.counted, self.reserved_stock)
        yield StockAdjusted(command.counted, command.counted - self.on_hand, command.reason)

    def _require_registered(self) -> None:
        """Enforce rule 3."""
        if not self.is_registered:
            raise NotRegistered

    def _reserved_under(self, reservation_id: str) -> int:
        """Enforce rules 8 and 9: cancelling and shipping want a reservation."""
        if reservation_id not in self.reservations:
            raise ReservationNotFound(reservation_id)
        return self.reservations[reservation_id]

    @applies(ProductRegistered)
    def _registered(self, event: ProductRegistered) -> None:
        self.is_registered = True
        self.on_hand = event.initial_quantity

    @applies(StockReceived)
    def _received(self, event: StockReceived) -> None:
        self.on_hand += event.quantity

    @applies(StockReserved)
    def _reserved(self, event: StockReserved) -> None:
        self._change_reservation(event.reservation_id, event.quantity)

    @applies(ReservationCancelled)
    def _cancelled(self, event: ReservationCancelled) -> None:
        self._change_reservation(event.reservation_id, -event.quantity)

    @applies(StockShipped)
    def _shipped(self, event: StockShipped) -> None:
        self.on_hand -= event.quantity
        self._change_reservation(event.reservation_id, -event.quantity)

    @applies(StockAdjusted)
    def _adjusted(self, event: StockAdjusted) -> None:
        self.on_hand = event.counted

    def _change_reservation(self, reservation_id: str, difference: int) -> None:
        """Forget a reservation of which nothing is left (rule 7).

        It takes any order of events: by business time, a shipment may come without its reservation.
        """
        left = self.reservations.pop(reservation_id, 0) + difference
        if left:
            self.reservations[reservation_id] = left
