"""The stock of all items as a table that people can query with any tool, and a typed query for it.

It is for people who look, and is some moments old. No rule relies on it: an item decides on its own events.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar

from attrs import frozen

from esbank import EventEnvelope, Projector, projects
from esbank.store import Transaction, ViewStore

from .item import InventoryItem
from .messages import (
    ProductRegistered,
    ReservationCancelled,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockShipped,
)

__all__ = ["InventoryRow", "InventoryView", "inventory_rows"]


class InventoryView(Projector):
    """One row for each item; `updated_at` is when its last event was recorded."""

    name = "inventory.InventoryView"
    categories: ClassVar[Collection[str] | None] = (InventoryItem.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "inventory_view": """(
            item        TEXT PRIMARY KEY,
            name        TEXT NOT NULL,
            sku         TEXT NOT NULL,
            warehouse   TEXT NOT NULL,
            total       BIGINT NOT NULL,
            reserved    BIGINT NOT NULL,
            available   BIGINT NOT NULL,
            updated_at  TEXT NOT NULL
        )"""
    }

    @projects(ProductRegistered)
    def _registered(self, envelope: EventEnvelope[ProductRegistered], tx: Transaction) -> None:
        event = envelope.event
        tx.execute(
            "INSERT INTO {inventory_view} VALUES (:item, :name, :sku, :warehouse, :quantity, 0, :quantity, :at)",
            {
                "item": envelope.stream.key,
                "name": event.name,
                "sku": event.sku,
                "warehouse": event.warehouse,
                "quantity": event.initial_quantity,
                "at": _text(envelope.recorded_at),
            },
        )

    @projects(StockReceived)
    def _received(self, envelope: EventEnvelope[StockReceived], tx: Transaction) -> None:
        _change(tx, envelope, total=envelope.event.quantity)

    @projects(StockReserved)
    def _reserved(self, envelope: EventEnvelope[StockReserved], tx: Transaction) -> None:
        _change(tx, envelope, reserved=envelope.event.quantity)

    @projects(ReservationCancelled)
    def _cancelled(self, envelope: EventEnvelope[ReservationCancelled], tx: Transaction) -> None:
        _change(tx, envelope, reserved=-envelope.event.quantity)

    @projects(StockShipped)
    def _shipped(self, envelope: EventEnvelope[StockShipped], tx: Transaction) -> None:
        _change(tx, envelope, total=-envelope.event.quantity, reserved=-envelope.event.quantity)

    @projects(StockAdjusted)
    def _adjusted(self, envelope: EventEnvelope[StockAdjusted], tx: Transaction) -> None:
        _change(tx, envelope, total=envelope.event.difference)


def _change(tx: Transaction, envelope: EventEnvelope[Any], *, total: int = 0, reserved: int = 0) -> None:
    tx.execute(
        """
        UPDATE {inventory_view}
        SET total = total + :total, reserved = reserved + :reserved, available = available + :available,
            updated_at = :at
        WHERE item = :item
        """,
        {
            "item": envelope.stream.key,
            "total": total,
            "reserved": reserved,
            "available": total - reserved,
            "at": _text(envelope.recorded_at),
        },
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


@frozen
class InventoryRow:
    """An item as `InventoryView` shows it."""

    name: str
    sku: str
    warehouse: str
    total: int
    reserved: int
    available: int
    updated_at: datetime


def inventory_rows(views: ViewStore) -> list[InventoryRow]:
    """List all items, ordered by sku and warehouse."""
    rows = views.query("SELECT name, sku, warehouse, total, reserved, available, updated_at FROM inventory_view")
    # Not ordered by SQL, because each database has an order of its own for text.
    return sorted(map(_row, rows), key=attrgetter("sku", "warehouse"))


def _row(values: tuple[Any, ...]) -> InventoryRow:
    name, sku, warehouse, total, reserved, available, updated_at = values
    return InventoryRow(name, sku, warehouse, total, reserved, available, datetime.fromisoformat(updated_at))
