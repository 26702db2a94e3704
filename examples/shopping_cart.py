"""A shopping cart, and a view of what was taken out of carts before they were checked out.

Run it with ``python examples/shopping_cart.py``. The tutorial in ``docs/tutorial`` builds it, from nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from attrs import define, field, frozen
from attrs.validators import ge, min_len

from esbank import (
    Aggregate,
    EventEnvelope,
    EventStore,
    EveryNEvents,
    Metadata,
    ProjectionRunner,
    Projector,
    Repository,
    applies,
    event,
    handles,
    projects,
)
from esbank.backends.memory import MemoryEventStore
from esbank.store import Transaction, ViewStore

# Commands: what a customer wants. Their validators are the first rules.


@frozen
class CartCommand:
    """The base of all commands to a cart."""


@frozen
class AddItem(CartCommand):
    """Put so many of a product in."""

    product: str = field(validator=min_len(1))
    quantity: int = field(validator=ge(1))


@frozen
class RemoveItem(CartCommand):
    """Take so many of a product out."""

    product: str = field(validator=min_len(1))
    quantity: int = field(validator=ge(1))


@frozen
class CheckOut(CartCommand):
    """Buy what is in the cart."""


# Events: what has happened. The names in `@event` are the storage format.


@frozen
class CartEvent:
    """The base of all events of a cart."""


@event(name="ItemAdded", schema_version=1)
@frozen
class ItemAdded(CartEvent):
    """So many of a product were put in."""

    product: str
    quantity: int


@event(name="ItemRemoved", schema_version=1)
@frozen
class ItemRemoved(CartEvent):
    """So many of a product were taken out."""

    product: str
    quantity: int


@event(name="CheckedOut", schema_version=1)
@frozen
class CheckedOut(CartEvent):
    """The customer bought what was in the cart."""


# Refusals.


class CartError(Exception):
    """The cart refuses, and nothing has changed."""


@define
class NotInCart(CartError):
    """More was to be taken out than there is."""

    product: str
    requested: int
    in_cart: int

    def __str__(self) -> str:
        return f"{self.requested} x {self.product} to be taken out, {self.in_cart} in the cart; take out no more"


@define
class CartIsEmpty(CartError):
    """There is nothing to buy."""

    def __str__(self) -> str:
        return "the cart is empty; add something first"


@define
class CartIsCheckedOut(CartError):
    """What was bought does not change any more."""

    def __str__(self) -> str:
        return "the cart is checked out; begin another one"


# The aggregate: the rules, and then the fold.


@define
class Cart(Aggregate[CartCommand, CartEvent]):
    """What is in the cart, product by product, until it is checked out."""

    category: ClassVar[str] = "Cart"

    quantities: dict[str, int] = field(factory=dict[str, int])
    is_checked_out: bool = False

    @handles(AddItem)
    def add(self, command: AddItem) -> Iterator[CartEvent]:
        """Take anything in, until the cart is checked out."""
        self._require_open()
        yield ItemAdded(command.product, command.quantity)

    @handles(RemoveItem)
    def remove(self, command: RemoveItem) -> Iterator[CartEvent]:
        """Give out no more than there is."""
        self._require_open()
        in_cart = self.quantities.get(command.product, 0)
        if command.quantity > in_cart:
            raise NotInCart(command.product, command.quantity, in_cart)
        yield ItemRemoved(command.product, command.quantity)

    @handles(CheckOut)
    def check_out(self, _command: CheckOut) -> Iterator[CartEvent]:
        """Sell what is in the cart, once."""
        self._require_open()
        if not self.quantities:
            raise CartIsEmpty
        yield CheckedOut()

    def _require_open(self) -> None:
        if self.is_checked_out:
            raise CartIsCheckedOut

    @applies(ItemAdded)
    def _added(self, event: ItemAdded) -> None:
        self._change(event.product, event.quantity)

    @applies(ItemRemoved)
    def _removed(self, event: ItemRemoved) -> None:
        self._change(event.product, -event.quantity)

    @applies(CheckedOut)
    def _checked_out(self, _event: CheckedOut) -> None:
        self.is_checked_out = True

    def _change(self, product: str, difference: int) -> None:
        quantity = self.quantities.pop(product, 0) + difference
        if quantity:
            self.quantities[product] = quantity


def carts_of(store: EventStore) -> Repository[Cart]:
    """Return the carts in a store, with a snapshot of each every 100 events."""
    return Repository(store, Cart, snapshots=EveryNEvents(100))


# The view, and its query.


class RemovedItems(Projector):
    """A row for each time that something was taken out; it stays when the product is put in again."""

    name = "shop.RemovedItems"
    categories: ClassVar[Collection[str] | None] = (Cart.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "removed_items": """(
            cart            TEXT NOT NULL,
            version         INTEGER NOT NULL,
            product         TEXT NOT NULL,
            quantity        INTEGER NOT NULL,
            removed_at      TEXT NOT NULL,
            checked_out_at  TEXT,
            PRIMARY KEY (cart, version)
        )"""
    }

    @projects(ItemRemoved)
    def _removed(self, envelope: EventEnvelope[ItemRemoved], tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO {removed_items} VALUES (:cart, :version, :product, :quantity, :at, NULL)",
            {
                "cart": envelope.stream.key,
                "version": envelope.version,
                "product": envelope.event.product,
                "quantity": envelope.event.quantity,
                "at": envelope.occurred_at.isoformat(timespec="microseconds"),
            },
        )

    @projects(CheckedOut)
    def _checked_out(self, envelope: EventEnvelope[CheckedOut], tx: Transaction) -> None:
        tx.execute(
            "UPDATE {removed_items} SET checked_out_at = :at WHERE cart = :cart",
            {"cart": envelope.stream.key, "at": envelope.occurred_at.isoformat(timespec="microseconds")},
        )


@frozen
class RemovedItem:
    """What was taken out of a cart that was checked out later."""

    cart: str
    product: str
    quantity: int
    removed_at: datetime
    checked_out_at: datetime

    @property
    def before_checkout(self) -> timedelta:
        """How long before the checkout it was taken out."""
        return self.checked_out_at - self.removed_at


def removed_before_checkout(views: ViewStore) -> list[RemovedItem]:
    """List what was taken out of carts that were checked out later, cart by cart, in the order of the events."""
    rows = views.query("""
        SELECT cart, product, quantity, removed_at, checked_out_at FROM removed_items
        WHERE checked_out_at IS NOT NULL ORDER BY cart, version
    """)
    return [
        RemovedItem(cart, product, quantity, datetime.fromisoformat(removed_at), datetime.fromisoformat(checked_out_at))
        for cart, product, quantity, removed_at, checked_out_at in rows
    ]


# The story.


def main() -> None:
    """Tell of a morning in the shop, and ask afterwards."""
    with MemoryEventStore() as store:
        carts = carts_of(store)
        carts.execute("ada-1", AddItem("black tea", 2), AddItem("cup", 1), metadata=at(9, 0))
        carts.execute("ada-1", RemoveItem("cup", 1), metadata=at(9, 14))
        carts.execute("ada-1", CheckOut(), metadata=at(9, 15))
        carts.execute("bob-1", AddItem("pot", 1), AddItem("cup", 4), metadata=at(10, 0))
        carts.execute("bob-1", RemoveItem("pot", 1), metadata=at(10, 5))
        carts.execute("bob-1", RemoveItem("cup", 2), metadata=at(10, 39))
        carts.execute("bob-1", CheckOut(), metadata=at(10, 40))
        carts.execute("cyd-1", AddItem("cup", 1), metadata=at(11, 0))
        carts.execute("cyd-1", RemoveItem("cup", 1), metadata=at(11, 2))  # and goes without buying

        ProjectionRunner(store, [RemovedItems()]).catch_up()
        for item in removed_before_checkout(store):
            minutes = item.before_checkout // timedelta(minutes=1)
            print(f"{item.cart}: {item.quantity} x {item.product} taken out {minutes} min before checkout")


def at(hour: int, minute: int) -> Metadata:
    """Let something have happened at a time of that morning."""
    return Metadata(occurred_at=datetime(2026, 3, 2, hour, minute, tzinfo=UTC))


if __name__ == "__main__":
    main()
