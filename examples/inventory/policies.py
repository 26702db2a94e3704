"""How items are kept: how often a snapshot is taken."""

from typing import Final

from esbank import EventStore, EveryNEvents, Repository

from .item import InventoryItem

__all__ = ["SNAPSHOTS", "items_of"]

SNAPSHOTS: Final = EveryNEvents(100)
"""An item lives for years and has many small events, so nobody should replay all of them."""


def items_of(store: EventStore) -> Repository[InventoryItem]:
    """Keep items in a store."""
    return Repository(store, InventoryItem, snapshots=SNAPSHOTS)
