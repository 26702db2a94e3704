"""How items are kept: how often a snapshot is taken, and how often a command that lost a race decides again."""

from typing import Final

from esbank import EventStore, EveryNEvents, Repository

from .item import InventoryItem

__all__ = ["SNAPSHOTS", "items_of"]

SNAPSHOTS: Final = EveryNEvents(100)
"""An item lives for years and has many small events, so nobody should replay all of them."""

_ATTEMPTS: Final = 100  # all customers of a product that sells well write to one stream


def items_of(store: EventStore) -> Repository[InventoryItem]:
    """Keep items in a store."""
    return Repository(store, InventoryItem, snapshots=SNAPSHOTS, max_attempts=_ATTEMPTS)
