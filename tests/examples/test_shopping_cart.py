"""The cart keeps its rules, the view tells what was taken out and when, and the tutorial shows just this code."""

from __future__ import annotations

import ast
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import shopping_cart as example
from example_programs import Run
from shopping_cart import (
    AddItem,
    Cart,
    CartError,
    CartIsCheckedOut,
    CartIsEmpty,
    CheckedOut,
    CheckOut,
    ItemAdded,
    ItemRemoved,
    NotInCart,
    RemovedItem,
    RemovedItems,
    RemoveItem,
    carts_of,
    removed_before_checkout,
)

from esbank import Metadata, ProjectionRunner
from esbank.backends.memory import MemoryEventStore
from esbank.testing import Scenario, ViewScenario, check_snapshots, raises

CART = Scenario(Cart)
TEA = ItemAdded("tea", 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


# The rules.


def test_what_is_put_in_is_added_up() -> None:
    CART.given(TEA).when(AddItem("tea", 3), AddItem("cup", 1), RemoveItem("tea", 5)).then(
        ItemAdded("tea", 3), ItemAdded("cup", 1), ItemRemoved("tea", 5)
    )


def test_no_more_can_be_taken_out_than_is_in_the_cart() -> None:
    CART.given(TEA).when(RemoveItem("tea", 3)).then(raises(NotInCart, product="tea", requested=3, in_cart=2))
    CART.given(TEA, ItemRemoved("tea", 1)).when(RemoveItem("tea", 2)).then(raises(NotInCart, requested=2, in_cart=1))
    CART.given(TEA).when(RemoveItem("cup", 1)).then(raises(NotInCart, product="cup", in_cart=0))


@pytest.mark.parametrize("command", [AddItem, RemoveItem])
def test_a_command_is_about_a_product_and_at_least_one_of_it(command: type[AddItem | RemoveItem]) -> None:
    assert command("tea", 1).quantity == 1
    for product, quantity in (("tea", 0), ("tea", -1), ("", 1)):
        with pytest.raises(ValueError, match="must be"):
            command(product, quantity)


def test_a_cart_with_something_in_it_is_checked_out() -> None:
    CART.given(TEA).when(CheckOut()).then(CheckedOut())


def test_an_empty_cart_is_not_checked_out() -> None:
    CART.when(CheckOut()).then(raises(CartIsEmpty))
    CART.given(TEA, ItemRemoved("tea", 2)).when(CheckOut()).then(raises(CartIsEmpty))


@pytest.mark.parametrize("command", [AddItem("cup", 1), RemoveItem("tea", 1), CheckOut()])
def test_a_cart_that_is_checked_out_does_not_change(command: AddItem | RemoveItem | CheckOut) -> None:
    CART.given(TEA, CheckedOut()).when(command).then(raises(CartIsCheckedOut))


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (NotInCart("tea", 3, 2), "3 x tea to be taken out, 2 in the cart; take out no more"),
        (CartIsEmpty(), "add something first"),
        (CartIsCheckedOut(), "begin another one"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_says_what_to_do(refusal: CartError, advice: str) -> None:
    assert advice in str(refusal)


# What is stored.


def test_snapshots_tell_the_same_story() -> None:
    check_snapshots(Cart, [TEA, ItemAdded("cup", 1), ItemRemoved("tea", 1), ItemRemoved("cup", 1), CheckedOut()])


def test_a_snapshot_is_taken_every_100_events() -> None:
    with MemoryEventStore() as store:
        carts = carts_of(store)
        for _ in range(99):
            carts.execute("ada-1", AddItem("tea", 1))
        assert store.load_snapshot(Cart.stream("ada-1")) is None

        carts.execute("ada-1", AddItem("tea", 1))

        snapshot = store.load_snapshot(Cart.stream("ada-1"))
        assert snapshot is not None
        assert snapshot.version == 100


def test_by_business_time_something_may_be_taken_out_before_it_was_put_in() -> None:
    with MemoryEventStore() as store:
        carts = carts_of(store)
        carts.execute("ada-1", AddItem("tea", 2), metadata=Metadata(occurred_at=NOON))
        carts.execute("ada-1", RemoveItem("tea", 1), metadata=Metadata(occurred_at=NOON - timedelta(hours=1)))

        assert carts.load("ada-1", occurred_until=NOON).state == Cart(quantities={"tea": 1})


# The view.


def test_each_removal_has_a_row_that_is_still_without_a_checkout() -> None:
    ViewScenario(RemovedItems).given(
        Cart, "ada-1", TEA, ItemRemoved("tea", 1), ItemAdded("tea", 1), ItemRemoved("tea", 2), recorded_at=NOON
    ).then(
        removed_items=[
            ("ada-1", 2, "tea", 1, "2026-03-02T12:00:00.000000+00:00", None),
            ("ada-1", 4, "tea", 2, "2026-03-02T12:00:00.000000+00:00", None),
        ]
    )


def test_a_checkout_is_told_of_all_removals_of_its_cart_and_of_no_other() -> None:
    ViewScenario(RemovedItems).given(Cart, "ada-1", TEA, ItemRemoved("tea", 1)).given(
        Cart, "bob-1", TEA, ItemRemoved("tea", 1)
    ).given(Cart, "ada-1", CheckedOut(), recorded_at=NOON).then(
        removed_items=[
            {"cart": "ada-1", "checked_out_at": "2026-03-02T12:00:00.000000+00:00"},
            {"cart": "bob-1", "checked_out_at": None},
        ]
    )


def test_it_counts_when_things_happened_and_not_when_they_were_recorded() -> None:
    happened = Metadata(occurred_at=NOON - timedelta(days=1))
    ViewScenario(RemovedItems).given(
        Cart, "ada-1", TEA, ItemRemoved("tea", 1), CheckedOut(), metadata=happened, recorded_at=NOON
    ).then(
        removed_items=[
            {
                "removed_at": "2026-03-01T12:00:00.000000+00:00",
                "checked_out_at": "2026-03-01T12:00:00.000000+00:00",
            }
        ]
    )


def test_one_can_ask_what_was_taken_out_and_how_long_before_the_checkout() -> None:
    with MemoryEventStore() as store:
        carts = carts_of(store)
        for key in ("bob-1", "ada-1", "cyd-1"):
            carts.execute(key, AddItem("tea", 2), AddItem("cup", 1))
        for key in ("bob-1", "ada-1", "cyd-1"):
            carts.execute(key, RemoveItem("cup", 1), metadata=Metadata(occurred_at=NOON))
        carts.execute("ada-1", RemoveItem("tea", 1), metadata=Metadata(occurred_at=NOON + timedelta(minutes=4)))
        for key in ("ada-1", "bob-1"):
            carts.execute(key, CheckOut(), metadata=Metadata(occurred_at=NOON + timedelta(minutes=5)))
        ProjectionRunner(store, [RemovedItems()]).catch_up()

        items = removed_before_checkout(store)

    cup = RemovedItem("ada-1", "cup", 1, NOON, NOON + timedelta(minutes=5))
    tea = RemovedItem("ada-1", "tea", 1, NOON + timedelta(minutes=4), NOON + timedelta(minutes=5))
    assert items == [cup, tea, evolve(cup, cart="bob-1")]
    assert [item.before_checkout for item in items] == [timedelta(minutes=minutes) for minutes in (5, 1, 5)]


# The tutorial.

ROOT = Path(__file__).parents[2]
TUTORIAL = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "tutorial").glob("[0-9]*.md")))
PYTHON = re.compile(r"^```python\n# shopping_cart\.py(?:, continued)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OUTPUT = re.compile(r"^```output\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def definitions(source: str) -> list[str]:
    """Return all of a file that is set apart by two empty lines, but for its docstring, imports and comments."""
    parts = (part.strip() for part in source.split("\n\n\n"))
    return [part for part in parts if part.startswith(("@", "class ", "def ", "if "))]


def imports(source: str) -> set[tuple[str | None, str]]:
    """Return the names that a file imports, with the modules that they are from."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_code_that_the_tutorial_shows_is_the_example() -> None:
    shown = "\n\n".join(PYTHON.findall(TUTORIAL))
    source = Path(example.__file__).read_text()

    assert definitions(shown) == definitions(source)
    assert imports(shown) == imports(source)


def test_the_example_prints_what_the_tutorial_says(run: Run) -> None:
    *_, promised = OUTPUT.findall(TUTORIAL)

    done = run("shopping_cart.py")

    assert (done.returncode, done.stderr, done.stdout) == (0, "", promised)
