"""The rules of an inventory, by their numbers in the package; its view; and a rush that never sells a piece twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import fields_dict

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from inventory import (  # noqa: E402
    AdjustStock,
    AlreadyRegistered,
    AlreadyReserved,
    CancelReservation,
    CountBelowReserved,
    InsufficientStock,
    InvalidQuantity,
    InvalidText,
    InventoryCommand,
    InventoryError,
    InventoryItem,
    InventoryRow,
    InventoryView,
    NotRegistered,
    ProductRegistered,
    ReceiveStock,
    RegisterProduct,
    ReservationCancelled,
    ReservationExceeded,
    ReservationNotFound,
    ReserveStock,
    ShipStock,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockShipped,
    inventory_rows,
    item_key,
    items_of,
)

from esbank import (  # noqa: E402
    EventEnvelope,
    Metadata,
    NoSnapshots,
    ProjectionError,
    ProjectionRunner,
    ProjectorState,
    Repository,
    projects,
)
from esbank.backends.memory import MemoryEventStore  # noqa: E402
from esbank.backends.postgres import PostgresEventStore  # noqa: E402
from esbank.backends.sqlite import SQLiteEventStore  # noqa: E402
from esbank.store import Transaction  # noqa: E402
from esbank.testing import Scenario, ViewScenario, check_schema_lock, check_snapshots, raises  # noqa: E402

TEA = item_key("TEA-100", "Hamburg")
ITEM = Scenario(InventoryItem)
PROCESSES = 4
CUSTOMERS_OF_EACH = 250


def registered(pieces: int = 10) -> ProductRegistered:
    return ProductRegistered("TEA-100", "Hamburg", "Green tea", pieces)


def register(pieces: int = 10) -> RegisterProduct:
    return RegisterProduct("TEA-100", "Hamburg", "Green tea", pieces)


# 1. The key.


def test_a_product_in_a_warehouse_has_a_key_of_its_own() -> None:
    assert item_key("TEA-100", "Hamburg") == register().key == "TEA-100@Hamburg"
    assert str(InventoryItem.stream(TEA)) == "InventoryItem-TEA-100@Hamburg"


def test_the_same_product_in_two_warehouses_is_two_items() -> None:
    with MemoryEventStore() as store:
        items = items_of(store)
        for warehouse in ("Hamburg", "Vienna"):
            command = RegisterProduct("TEA-100", warehouse, "Green tea", 5)
            items.execute(command.key, command)
        items.execute(TEA, ReserveStock("order-1", 5))

        assert items.load(TEA).state.available_stock == 0
        assert items.load(item_key("TEA-100", "Vienna")).state.available_stock == 5


@pytest.mark.parametrize(("sku", "warehouse", "field"), [("a@b", "c", "sku"), ("a", "b@c", "warehouse")])
def test_two_items_never_have_the_same_key(sku: str, warehouse: str, field: str) -> None:
    with pytest.raises(InvalidText, match="must not contain '@'") as refused:
        item_key(sku, warehouse)
    assert refused.value.field == field
    with pytest.raises(InvalidText) as refused:
        RegisterProduct(sku, warehouse, "Green tea")
    assert refused.value.field == field


# 2 and 3. Registering.


def test_a_product_is_registered_with_what_is_there() -> None:
    ITEM.when(register(10)).then(registered(10))


def test_a_product_may_be_registered_before_there_is_any_of_it() -> None:
    ITEM.when(RegisterProduct("TEA-100", "Hamburg", "Green tea")).then(registered(0))


def test_a_product_is_registered_once() -> None:
    ITEM.given(registered()).when(register()).then(raises(AlreadyRegistered))
    ITEM.given(registered(0)).when(register(0)).then(raises(AlreadyRegistered))


@pytest.mark.parametrize(
    "command",
    [
        ReceiveStock(1),
        ReserveStock("order-1", 1),
        CancelReservation("order-1"),
        ShipStock("order-1", 1),
        AdjustStock(1, "counted"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nothing_is_done_with_a_product_that_was_never_registered(command: InventoryCommand) -> None:
    ITEM.when(command).then(raises(NotRegistered))


# 4. Quantities and texts.


def fields_with(quantity: object) -> dict[type[InventoryCommand], dict[str, Any]]:
    return {
        ReceiveStock: {"quantity": quantity},
        ReserveStock: {"reservation_id": "order-1", "quantity": quantity},
        ShipStock: {"reservation_id": "order-1", "quantity": quantity},
        RegisterProduct: {
            "sku": "TEA-100",
            "warehouse": "Hamburg",
            "name": "Green tea",
            "initial_quantity": quantity,
        },
        AdjustStock: {"counted": quantity, "reason": "counted"},
    }


@pytest.mark.parametrize("wrong", [-1, 1_000_000_001, 1.0, True, "1", None], ids=repr)
@pytest.mark.parametrize("command", fields_with(1))
def test_a_quantity_is_a_whole_number_of_pieces(command: type[InventoryCommand], wrong: object) -> None:
    with pytest.raises(InvalidQuantity, match=r"give an int from [01] to 1,000,000,000") as refused:
        command(**fields_with(wrong)[command])

    assert refused.value.quantity is wrong
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("command", [ReceiveStock, ReserveStock, ShipStock])
def test_what_moves_is_more_than_nothing(command: type[InventoryCommand]) -> None:
    with pytest.raises(InvalidQuantity) as refused:
        command(**fields_with(0)[command])

    assert (refused.value.quantity, refused.value.least, refused.value.most) == (0, 1, 1_000_000_000)


@pytest.mark.parametrize("command", [RegisterProduct, AdjustStock])
def test_what_is_there_may_be_nothing(command: type[InventoryCommand]) -> None:
    assert command(**fields_with(0)[command])


@pytest.mark.parametrize("wrong", ["", " ", "two\nlines", "\0", "\ud800", 7, None], ids=repr)
@pytest.mark.parametrize(
    ("command", "field"),
    [
        (command, field)
        for command in (*fields_with(1), CancelReservation)
        for field in fields_dict(command)
        if field in {"sku", "warehouse", "name", "reservation_id", "reason"}
    ],
)
def test_a_text_is_a_line(command: type[InventoryCommand], field: str, wrong: object) -> None:
    with pytest.raises(InvalidText, match=f"{field}: it must be a str of one line") as refused:
        command(**{**fields_with(1).get(command, {}), field: wrong})

    assert refused.value.field == field
    assert isinstance(refused.value, ValueError)


# 5. Receiving.


def test_what_is_received_is_available_at_once() -> None:
    ITEM.given(registered(0)).when(ReceiveStock(5), ReserveStock("order-1", 5)).then(
        StockReceived(5), StockReserved("order-1", 5)
    )


# 6 and 7. Reserving.


def test_all_that_is_available_may_be_reserved() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(ReserveStock("order-2", 6)).then(
        StockReserved("order-2", 6)
    )


def test_no_more_is_reserved_than_is_available_though_it_is_on_hand() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(ReserveStock("order-2", 7)).then(
        raises(InsufficientStock, available=6, requested=7)
    )


def test_an_order_is_not_reserved_twice() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(ReserveStock("order-1", 4)).then(
        raises(AlreadyReserved, reservation_id="order-1", reserved=4)
    )


def test_an_order_that_was_shipped_in_part_is_not_reserved_again() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4), StockShipped("order-1", 3)).when(
        ReserveStock("order-1", 4)
    ).then(raises(AlreadyReserved, reserved=1))


@pytest.mark.parametrize("end", [ReservationCancelled("order-1", 4), StockShipped("order-1", 4)])
def test_an_order_that_was_cancelled_or_shipped_may_be_reserved_again(
    end: ReservationCancelled | StockShipped,
) -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4), end).when(ReserveStock("order-1", 5)).then(
        StockReserved("order-1", 5)
    )


def test_a_reservation_that_is_only_sent_again_changes_nothing_even_after_it_was_shipped() -> None:
    with MemoryEventStore() as store:
        items = items_of(store)
        items.execute(TEA, register(10))
        first = items.execute(TEA, ReserveStock("order-1", 4), command_id="reserve order-1")
        assert items.execute(TEA, ReserveStock("order-1", 4), command_id="reserve order-1") == first
        items.execute(TEA, ShipStock("order-1", 4))

        assert items.execute(TEA, ReserveStock("order-1", 4), command_id="reserve order-1") == first

        assert items.load(TEA).state == InventoryItem(is_registered=True, on_hand=6)
        assert items.load(TEA).version == 3


# 8. Cancelling.


def test_what_was_reserved_is_available_again_once_it_is_cancelled() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 10)).when(
        CancelReservation("order-1"), ReserveStock("order-2", 10)
    ).then(ReservationCancelled("order-1", 10), StockReserved("order-2", 10))


def test_of_what_was_shipped_in_part_the_rest_is_cancelled() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 10), StockShipped("order-1", 4)).when(
        CancelReservation("order-1")
    ).then(ReservationCancelled("order-1", 6))


@pytest.mark.parametrize(
    "before",
    [
        (),
        (StockReserved("order-2", 1),),
        (StockReserved("order-1", 4), StockShipped("order-1", 4)),
        (StockReserved("order-1", 4), ReservationCancelled("order-1", 4)),
    ],
    ids=["never reserved", "another is reserved", "shipped", "cancelled"],
)
def test_only_what_is_reserved_can_be_cancelled_or_shipped(before: tuple[Any, ...]) -> None:
    for command in (CancelReservation("order-1"), ShipStock("order-1", 1)):
        ITEM.given(registered(10), *before).when(command).then(raises(ReservationNotFound, reservation_id="order-1"))


# 9 and 10. Shipping.


def test_a_reservation_is_shipped() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(ShipStock("order-1", 4)).then(
        StockShipped("order-1", 4)
    )


def test_a_reservation_is_shipped_in_parts() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(
        ShipStock("order-1", 1), ShipStock("order-1", 3), ShipStock("order-1", 1)
    ).then(raises(ReservationNotFound))
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(ShipStock("order-1", 1), ShipStock("order-1", 3)).then(
        StockShipped("order-1", 1), StockShipped("order-1", 3)
    )


def test_what_was_shipped_is_neither_on_hand_nor_reserved() -> None:
    item = InventoryItem()
    for event in (registered(10), StockReserved("order-1", 4), StockShipped("order-1", 1)):
        item.apply(event)

    assert (item.on_hand, item.reserved_stock, item.available_stock) == (9, 3, 6)


def test_no_more_is_shipped_than_is_left_of_a_reservation() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4), StockShipped("order-1", 1)).when(
        ShipStock("order-1", 4)
    ).then(raises(ReservationExceeded, reservation_id="order-1", reserved=3, requested=4))


# 11 and 12. Adjusting.


@pytest.mark.parametrize(("counted", "difference"), [(12, 2), (10, 0), (4, -6)])
def test_a_count_is_believed_whether_it_finds_more_or_fewer_or_what_was_thought(counted: int, difference: int) -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(AdjustStock(counted, "yearly count")).then(
        StockAdjusted(counted, difference, "yearly count")
    )


def test_with_nothing_reserved_the_count_may_be_zero() -> None:
    ITEM.given(registered(10)).when(AdjustStock(0, "burnt"), ReserveStock("order-1", 1)).then(
        raises(InsufficientStock, available=0, requested=1)
    )


def test_a_count_that_breaks_a_promise_is_refused() -> None:
    ITEM.given(registered(10), StockReserved("order-1", 4)).when(AdjustStock(3, "water came in")).then(
        raises(CountBelowReserved, counted=3, reserved=4)
    )


def test_a_promise_is_cancelled_in_the_same_step_as_the_count_or_neither_happens() -> None:
    with MemoryEventStore() as store:
        items = items_of(store)
        items.execute(TEA, register(10), ReserveStock("order-1", 4), ReserveStock("order-2", 4))

        with pytest.raises(CountBelowReserved):
            items.execute(TEA, CancelReservation("order-1"), AdjustStock(3, "water came in"))
        assert items.load(TEA).state.reservations == {"order-1": 4, "order-2": 4}

        items.execute(TEA, CancelReservation("order-1"), AdjustStock(4, "water came in"))
        assert items.load(TEA).state == InventoryItem(is_registered=True, on_hand=4, reservations={"order-2": 4})


# All rules together.


def any_command(chance: random.Random) -> InventoryCommand:
    order = f"order-{chance.randrange(5)}"
    pieces = chance.randrange(1, 12)
    return chance.choice(
        [
            ReceiveStock(pieces),
            ReserveStock(order, pieces),
            CancelReservation(order),
            ShipStock(order, pieces),
            AdjustStock(pieces, "counted"),
        ]
    )


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_asked_for_no_more_is_promised_than_is_there(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    done: Counter[type] = Counter()
    with MemoryEventStore() as store:
        items = items_of(store)
        items.execute(TEA, register(10))
        for _ in range(300):
            try:
                item = items.execute(TEA, any_command(chance)).state
            except InventoryError as refusal:
                done[type(refusal)] += 1
                continue
            done[InventoryItem] += 1
            assert 0 <= item.reserved_stock <= item.on_hand
            assert item.available_stock == item.on_hand - item.reserved_stock
            assert all(left > 0 for left in item.reservations.values())
    refusals = {InsufficientStock, AlreadyReserved, ReservationNotFound, ReservationExceeded, CountBelowReserved}
    assert set(done) == {InventoryItem, *refusals}


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (AlreadyRegistered(), "receive or adjust stock instead"),
        (NotRegistered(), "register it first"),
        (InsufficientStock(3, 5), "5 requested, 3 available; reserve less, or receive stock"),
        (AlreadyReserved("order-1", 2), "'order-1' has 2 reserved already; cancel that first"),
        (ReservationNotFound("order-1"), "nothing is reserved under 'order-1'; check the id"),
        (ReservationExceeded("order-1", 2, 5), "5 requested, 2 reserved under 'order-1'; ship no more than that"),
        (CountBelowReserved(3, 4), "3 counted, 4 reserved; cancel reservations first"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_says_what_to_do(refusal: InventoryError, advice: str) -> None:
    assert advice in str(refusal)


# What is stored.


def test_stored_events_stay_readable() -> None:
    check_schema_lock(EXAMPLES / "inventory" / "schema.json", InventoryItem)


HISTORY = (
    registered(10),
    StockReceived(5),
    StockReserved("order-1", 4),
    StockReserved("order-2", 6),
    StockShipped("order-1", 3),
    ReservationCancelled("order-2", 6),
    StockAdjusted(11, -1, "one is torn"),
)


def test_snapshots_tell_the_same_story() -> None:
    check_snapshots(InventoryItem, HISTORY)


def test_a_snapshot_is_taken_every_100_events() -> None:
    with MemoryEventStore() as store:
        items = items_of(store)
        items.execute(TEA, register(0))
        for _ in range(98):
            items.execute(TEA, ReceiveStock(1))
        assert store.load_snapshot(InventoryItem.stream(TEA)) is None

        items.execute(TEA, ReceiveStock(1))

        snapshot = store.load_snapshot(InventoryItem.stream(TEA))
        assert snapshot is not None
        assert snapshot.version == 100
        assert items_of(store).load(TEA).state.on_hand == 99


def test_by_business_time_a_shipment_may_come_without_its_reservation() -> None:
    morning, evening = (datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (8, 20))
    with MemoryEventStore() as store:
        items = items_of(store)
        items.execute(TEA, register(10), metadata=Metadata(occurred_at=morning))
        items.execute(TEA, ReserveStock("order-1", 4), metadata=Metadata(occurred_at=evening))
        items.execute(TEA, ShipStock("order-1", 4), metadata=Metadata(occurred_at=morning))

        assert items.load(TEA, occurred_until=morning).state.on_hand == 6
        assert items.load(TEA).state == InventoryItem(is_registered=True, on_hand=6)


# The view.


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(total: int, reserved: int, available: int) -> dict[str, object]:
    return {
        "name": "Green tea",
        "sku": "TEA-100",
        "warehouse": "Hamburg",
        "total": total,
        "reserved": reserved,
        "available": available,
    }


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (1, row(10, 0, 10)),
        (2, row(15, 0, 15)),
        (3, row(15, 4, 11)),
        (4, row(15, 10, 5)),
        (5, row(12, 7, 5)),
        (6, row(12, 1, 11)),
        (7, row(11, 1, 10)),
    ],
)
def test_the_view_has_the_stock_after_each_event(events: int, expected: dict[str, object]) -> None:
    ViewScenario(InventoryView).given(InventoryItem, TEA, *HISTORY[:events]).then(inventory_view=[expected])


def test_the_view_says_when_the_last_event_was_recorded_whenever_it_happened() -> None:
    ViewScenario(InventoryView).given(InventoryItem, TEA, registered(), recorded_at=NOON).given(
        InventoryItem,
        TEA,
        StockReceived(5),
        metadata=Metadata(occurred_at=NOON - timedelta(days=9)),
        recorded_at=NOON + timedelta(hours=1),
    ).then(inventory_view=[{"updated_at": "2026-03-01T13:00:00.000000+00:00"}])


def test_each_warehouse_has_a_row_of_its_own() -> None:
    in_vienna = ProductRegistered("TEA-100", "Vienna", "Green tea", 3)

    ViewScenario(InventoryView).given(InventoryItem, TEA, registered(10)).given(
        InventoryItem, item_key("TEA-100", "Vienna"), in_vienna, StockReceived(1)
    ).then(inventory_view=[{"warehouse": "Hamburg", "total": 10}, {"warehouse": "Vienna", "total": 4}])


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[MemoryEventStore | SQLiteEventStore | PostgresEventStore]:
    if request.param == "memory":
        opened: MemoryEventStore | SQLiteEventStore | PostgresEventStore = MemoryEventStore()
    elif request.param == "sqlite":
        opened = SQLiteEventStore(tmp_path / "inventory.db")
    else:
        dsn, schema = request.getfixturevalue("server_dsn"), request.getfixturevalue("schema")
        opened = PostgresEventStore(dsn, schema=schema)
    with opened:
        yield opened


def test_the_query_lists_all_items_as_they_are(
    store: MemoryEventStore | SQLiteEventStore | PostgresEventStore,
) -> None:
    items = items_of(store)
    for command in (RegisterProduct("b", "Vienna", "Cup"), RegisterProduct("B", "Zug", "Pot"), register(10)):
        items.execute(command.key, command)
    last = items.execute(TEA, ReserveStock("order-1", 4)).envelopes[-1]
    ProjectionRunner(store, [InventoryView()]).catch_up()

    rows = inventory_rows(store)

    assert [(one.sku, one.warehouse) for one in rows] == [("B", "Zug"), ("TEA-100", "Hamburg"), ("b", "Vienna")]
    assert rows[1] == InventoryRow("Green tea", "TEA-100", "Hamburg", 10, 4, 6, last.recorded_at)


class SpoiltView(InventoryView):
    """Fails at a shipment, for as long as it is spoilt."""

    name = "inventory.SpoiltView"
    is_spoilt: ClassVar[bool] = True

    @projects(StockShipped)
    def _shipped(self, envelope: EventEnvelope[StockShipped], tx: Transaction) -> None:
        if self.is_spoilt:
            raise RuntimeError("the view is spoilt")
        super()._shipped(envelope, tx)


def test_commands_go_on_while_a_view_has_failed_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SQLiteEventStore(tmp_path / "inventory.db") as store, ExitStack() as stack:
        items = items_of(store)
        runner = ProjectionRunner(store, [SpoiltView()])
        stop = threading.Event()
        thread = threading.Thread(target=runner.run, args=(stop,))
        stack.callback(thread.join)
        stack.callback(stop.set)
        thread.start()

        items.execute(TEA, register(10), ReserveStock("order-1", 4))
        shipped = items.execute(TEA, ShipStock("order-1", 4))
        wait_until(lambda: runner.status()[0].state is ProjectorState.STOPPED)
        items.execute(TEA, ReceiveStock(5))
        with pytest.raises(InsufficientStock):
            items.execute(TEA, ReserveStock("order-2", 12))

        (status,) = runner.status()
        assert (status.state, status.failed_position) == (ProjectorState.STOPPED, shipped.position)
        assert items.load(TEA).state.available_stock == 11
        assert [(one.total, one.reserved) for one in inventory_rows(store)] == [(10, 4)]

        monkeypatch.setattr(SpoiltView, "is_spoilt", False)
        runner.resume(SpoiltView.name)
        wait_until(lambda: runner.status()[0].state is ProjectorState.CURRENT)
        assert [(one.total, one.reserved) for one in inventory_rows(store)] == [(11, 0)]


def test_whoever_brings_a_failing_view_up_to_date_is_told(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "inventory.db") as store:
        items_of(store).execute(TEA, register(10), ReserveStock("order-1", 4), ShipStock("order-1", 4))

        with pytest.raises(ProjectionError, match="the view is spoilt"):
            ProjectionRunner(store, [SpoiltView()]).catch_up()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# The rush.


def test_a_thousand_customers_of_four_processes_never_get_a_piece_twice(tmp_path: Path) -> None:
    path = tmp_path / "inventory.db"
    with SQLiteEventStore(path) as store, ExitStack() as stack:
        items_of(store).execute(TEA, register(600))

        program = [sys.executable, "-W", "error", __file__, str(path)]
        processes = [
            stack.enter_context(
                subprocess.Popen([*program, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for number in range(PROCESSES)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers: Counter[str] = Counter()
        for process in processes:
            told, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            answers += Counter(json.loads(told))

        assert answers == {"reserved": 600, "InsufficientStock": 400}
        replayed = Repository(store, InventoryItem, snapshots=NoSnapshots(), cache=0).load(TEA)
        assert replayed.version == 601
        assert (replayed.state.on_hand, replayed.state.available_stock) == (600, 0)
        assert len(replayed.state.reservations) == 600
        assert items_of(store).load(TEA) == replayed
        buyers = [customer.split("-")[1] for customer in replayed.state.reservations]
        assert len(list(groupby(buyers))) > 50, "they came one process after the other, so it was no race"


def buy(path: str, number: str) -> None:
    """Reserve a piece for each customer, in a process of its own; they come as people do, some milliseconds apart."""
    chance = random.Random(number)  # noqa: S311 - not for secrets
    answers: Counter[str] = Counter()
    with SQLiteEventStore(path) as store:
        items = items_of(store)
        print("ready", flush=True)  # noqa: T201 - to the test
        sys.stdin.readline()
        for customer in range(CUSTOMERS_OF_EACH):
            time.sleep(chance.uniform(0, 0.004))
            try:
                items.execute(TEA, ReserveStock(f"customer-{number}-{customer}", 1))
                answers["reserved"] += 1
            except InsufficientStock:
                answers["InsufficientStock"] += 1
    print(json.dumps(answers))  # noqa: T201 - to the test


# The story.


def tell(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-W", "error", "-m", "examples.inventory", *map(str, arguments)]
    return subprocess.run(program, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False, timeout=60)


def test_the_story_shows_what_is_allowed_and_what_is_refused() -> None:
    done = tell()

    assert (done.returncode, done.stderr) == (0, "")
    for shown in (
        "TEA-100@Hamburg: 100 on hand, 80 reserved, 20 available",
        "InsufficientStock: 30 requested, 20 available",
        "ReservationNotFound: nothing is reserved under 'order-1'",
        "CountBelowReserved: 25 counted, 30 reserved",
        "10  StockAdjusted(counted=25, difference=-45, reason='water came in')",
        "125 got a packet, 75 came too late",
        "inventory_view",
        "version 136, snapshot of version 100",
    ):
        assert shown in done.stdout


def test_the_view_of_the_file_that_it_leaves_can_be_made_from_the_command_line(tmp_path: Path) -> None:
    assert tell(tmp_path / "inventory.db").returncode == 0

    status = subprocess.run(
        [sys.executable, "-m", "esbank", "projections", "status", tmp_path / "inventory.db", "inventory:InventoryView"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert status.returncode == 0, status.stderr
    assert "current" in status.stdout


def test_the_story_does_not_touch_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "inventory.db").write_text("mine")

    done = tell(tmp_path / "inventory.db")

    assert done.returncode != 0
    assert "is there already" in done.stderr
    assert (tmp_path / "inventory.db").read_text() == "mine"


if __name__ == "__main__":
    buy(*sys.argv[1:])
