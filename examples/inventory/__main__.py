"""A day in a warehouse, from the first delivery to a rush of customers, on one SQLite file.

Run it from the folder above ``examples`` with ``python -m examples.inventory``, or
``python -m examples.inventory FILE`` to keep the file and look into it.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esbank import ProjectionRunner, Repository
from esbank.backends.sqlite import SQLiteEventStore

from . import (
    AdjustStock,
    CancelReservation,
    InsufficientStock,
    InventoryCommand,
    InventoryError,
    InventoryItem,
    InventoryView,
    ReceiveStock,
    RegisterProduct,
    ReserveStock,
    ShipStock,
    inventory_rows,
    items_of,
)

CUSTOMERS = 200
THREADS = 8

console = Console(width=110, highlight=False)


@contextmanager
def step(title: str) -> Generator[None]:
    """Print what a step is about, and how long it took."""
    console.print(f"\n[bold]{title}[/bold]")
    started = time.perf_counter()
    yield
    console.print(f"[dim]{(time.perf_counter() - started) * 1000:,.1f} ms[/dim]", justify="right")


def main(path: Path) -> None:
    """Walk through a day."""
    with SQLiteEventStore(path) as store:
        items = items_of(store)

        with step("1. Tea is registered in two warehouses, and Hamburg receives more"):
            tea = RegisterProduct("TEA-100", "Hamburg", "Green tea, 100 g", initial_quantity=60)
            elsewhere = RegisterProduct("TEA-100", "Vienna", "Green tea, 100 g")
            items.execute(tea.key, tea)
            items.execute(elsewhere.key, elsewhere)
            items.execute(tea.key, ReceiveStock(40))
            show_stock(items, tea.key)

        with step("2. Two orders reserve; a third one wants more than is available"):
            items.execute(tea.key, ReserveStock("order-1", 30))
            items.execute(tea.key, ReserveStock("order-2", 50))
            show_refusal(items, tea.key, ReserveStock("order-3", 30))
            show_stock(items, tea.key)

        with step("3. The second order is cancelled, so the third one gets its pieces"):
            items.execute(tea.key, CancelReservation("order-2"))
            items.execute(tea.key, ReserveStock("order-3", 30))
            show_stock(items, tea.key)

        with step("4. The first order is shipped in two parcels; nothing is shipped without a reservation"):
            items.execute(tea.key, ShipStock("order-1", 20))
            items.execute(tea.key, ShipStock("order-1", 10))
            show_refusal(items, tea.key, ShipStock("order-1", 1))
            show_stock(items, tea.key)

        with step("5. A leak: only 25 packets are dry. One order has to go, in the same step as the count"):
            count = AdjustStock(25, "water came in")
            show_refusal(items, tea.key, count)
            items.execute(tea.key, CancelReservation("order-3"), count)
            show_stock(items, tea.key)

        with step("6. All of it has been kept"):
            for envelope in items.history(tea.key):
                console.print(f"{envelope.version:>4}  {envelope.event}")

        with step(f"7. 100 packets come in, and {CUSTOMERS} customers want one each, {THREADS} at a time"):
            items.execute(tea.key, ReceiveStock(100))
            show_rush(items, tea.key)
            show_stock(items, tea.key)

        with step("8. The view, made from the events, is a table in the same file"):
            ProjectionRunner(store, [InventoryView()]).catch_up()
            show_view(store)

        with step("9. With a snapshot every 100 events, nobody replays the rush"):
            snapshot = store.load_snapshot(InventoryItem.stream(tea.key))
            version = items.load(tea.key).version
            console.print(f"version {version}, snapshot of version {snapshot.version if snapshot else 0}")


def show_stock(items: Repository[InventoryItem], key: str) -> None:
    """Show the three numbers of an item."""
    item = items.load(key).state
    console.print(f"{key}: {item.on_hand} on hand, {item.reserved_stock} reserved, {item.available_stock} available")


def show_refusal(items: Repository[InventoryItem], key: str, command: InventoryCommand) -> None:
    """Execute what is against a rule, and show the answer."""
    try:
        items.execute(key, command)
    except InventoryError as refusal:
        console.print(f"{type(refusal).__name__}: {refusal}")


def show_rush(items: Repository[InventoryItem], key: str) -> None:
    """Let many customers reserve at once, and show how many were lucky."""

    def buy(customer: int) -> str:
        try:
            items.execute(key, ReserveStock(f"customer-{customer}", 1))
        except InsufficientStock:
            return "came too late"
        return "got a packet"

    with ThreadPoolExecutor(THREADS) as threads:
        answers = Counter(threads.map(buy, range(CUSTOMERS)))
    console.print(", ".join(f"{count} {answer}" for answer, count in sorted(answers.items(), reverse=True)))


def show_view(store: SQLiteEventStore) -> None:
    """Show the rows of the view."""
    table = Table("sku", "warehouse", "name", "total", "reserved", "available", "updated at", title="inventory_view")
    for column in table.columns[3:6]:
        column.justify = "right"
    for row in inventory_rows(store):
        numbers = (str(number) for number in (row.total, row.reserved, row.available))
        table.add_row(row.sku, row.warehouse, row.name, *numbers, f"{row.updated_at:%H:%M:%S.%f}")
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        file = Path(sys.argv[1])
        if file.exists():
            sys.exit(f"{file} is there already; name a new file, because the story begins with an empty one")
        main(file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "inventory.db")
