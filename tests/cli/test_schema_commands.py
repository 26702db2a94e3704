"""``python -m esbank schema``: write what there is, check what there is now, and be told what to do."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from commands import Run, WriteModule

SHOP = """
from attrs import frozen
from esbank import event, EventRegistry

@event(name="Ordered")
@frozen
class Ordered:
    product: str
    amount: int

@event(name="Shipped")
@frozen
class Shipped:
    parcel: str

class Events:
    Ordered = Ordered

registry = EventRegistry(Ordered, Shipped)
"""
CHANGED = SHOP.replace("amount: int", "price: int")
MORE = SHOP.replace("amount: int", "amount: int | None = None")
UPCAST = """
from attrs import frozen
from esbank import event, upcaster

@event(name="Ordered", schema_version=3)
@frozen
class Ordered:
    sku: str

@upcaster("Ordered", from_version=1, to_version=2)
def first(data):
    return {"number": data["product"]}

@upcaster("Ordered", from_version=2, to_version=3)
def second(data):
    return {"sku": data["number"]}

@upcaster("Shipped", from_version=1, to_version=3, to="Ordered")
def shipped(data):
    return {"sku": data["parcel"]}

UPCASTERS = [second, shipped]
"""
ADVICE = (
    "Undo the change; or raise the schema version, @event(name='Ordered', schema_version=2), and add an upcaster, "
    "@upcaster('Ordered', from_version=1, to_version=2). If no such event was ever stored, remove its entry from the "
    "lock file instead, and write it again."
)


def test_what_was_written_passes_the_check(start: Run, module: WriteModule, folder: Path) -> None:
    module("shop", SHOP)

    written = start("schema", "write", "schema.json", "shop:Ordered", "shop:Shipped")
    checked = start("schema", "check", "schema.json", "shop:Ordered", "shop:Shipped")

    assert (written.code, written.output, written.errors) == (0, "schema.json agrees with the code.\n", "")
    assert checked == written
    assert '"Shipped"' in (folder / "schema.json").read_text(encoding="utf-8")


def test_a_breaking_change_fails_the_check_and_is_not_written(start: Run, module: WriteModule, folder: Path) -> None:
    module("shop", SHOP)
    start("schema", "write", "schema.json", "shop:registry")
    before = (folder / "schema.json").read_bytes()
    module("shop", CHANGED)

    checked = start("schema", "check", "schema.json", "shop:registry")
    written = start("schema", "write", "schema.json", "shop:registry")

    found = dedent(f"""\
        Ordered, schema version 1: stored events can no longer be read
            - amount: int    <- it was removed, and stored data have it
            + price: int    <- it was added without a default, and stored data lack it
            {ADVICE}
        """)
    assert (checked.code, checked.output, checked.errors) == (1, found, "")
    assert (written.code, written.output, written.errors) == (1, f"{found}schema.json was not written.\n", "")
    assert (folder / "schema.json").read_bytes() == before


def test_any_other_change_fails_the_check_until_it_is_written(run: Run, module: WriteModule) -> None:
    module("shop", SHOP)
    run("schema", "write", "schema.json", "shop:Ordered")
    module("shop", MORE)

    checked = run("schema", "check", "schema.json", "shop:registry")

    assert checked.code == 1
    assert checked.errors == ""
    assert checked.output == dedent("""\
        Ordered, schema version 1: it has changed; stored events stay readable
            - amount: int
            + amount?: int | None
            Write the lock file again, and commit it: python -m esbank schema write …
        Shipped, schema version 1: the lock file does not have it
            Write the lock file again, and commit it: python -m esbank schema write …
        """)
    assert run("schema", "write", "schema.json", "shop:registry").code == 0
    assert run("schema", "check", "schema.json", "shop:registry").code == 0


def test_checking_changes_nothing(run: Run, module: WriteModule, folder: Path) -> None:
    module("shop", SHOP)
    run("schema", "write", "schema.json", "shop:Ordered")
    before = (folder / "schema.json").read_bytes()

    assert run("schema", "check", "schema.json", "shop:registry").code == 1

    assert (folder / "schema.json").read_bytes() == before


@pytest.mark.parametrize(
    "targets",
    [
        ["shop:registry"],
        ["shop:Ordered", "shop:Shipped"],
        ["shop:Events.Ordered", "shop:Shipped"],
        ["shop:Shipped", "shop:Ordered", "shop:Ordered"],
    ],
)
def test_targets_are_classes_or_a_registry_by_module_and_name(
    run: Run, module: WriteModule, targets: list[str]
) -> None:
    module("shop", SHOP)
    assert run("schema", "write", "schema.json", *targets).code == 0

    assert run("schema", "check", "schema.json", "shop:registry").code == 0


def test_upcasters_are_targets_too_one_by_one_or_in_a_list(run: Run, module: WriteModule) -> None:
    module("shop", SHOP)
    run("schema", "write", "schema.json", "shop:registry")
    module("now", UPCAST)

    assert run("schema", "write", "schema.json", "now:Ordered").code == 1
    assert run("schema", "write", "schema.json", "now:Ordered", "now:first", "now:UPCASTERS").code == 0
    assert run("schema", "check", "schema.json", "now:UPCASTERS", "now:Ordered", "now:first").code == 0


def test_an_aggregate_and_a_projector_stand_for_their_events(run: Run) -> None:
    assert run("schema", "write", "schema.json", "esbank.bank:BankAccount").code == 0

    assert run("schema", "check", "schema.json", "esbank.bank:AccountDetails").code == 0


def test_a_lock_file_that_is_not_there_is_said_with_how_to_write_it(start: Run, module: WriteModule) -> None:
    module("shop", SHOP)

    result = start("schema", "check", "schema.json", "shop:Ordered")

    assert (result.code, result.output) == (2, "")
    assert result.errors == "schema.json does not exist; write it: python -m esbank schema write schema.json …\n"


@pytest.mark.parametrize("command", ["write", "check"])
def test_a_file_that_is_no_lock_file_is_refused(run: Run, module: WriteModule, folder: Path, command: str) -> None:
    module("shop", SHOP)
    (folder / "schema.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")

    result = run("schema", command, "schema.json", "shop:Ordered")

    assert (result.code, result.output) == (2, "")
    assert result.errors == (
        "schema.json is no JSON (Expecting value: line 1 column 1 (char 0)); restore it from version control, and "
        "write it again\n"
    )
    assert (folder / "schema.json").read_text(encoding="utf-8") == "<<<<<<< HEAD\n"


def test_a_file_that_cannot_be_written_is_an_error(run: Run, module: WriteModule, folder: Path) -> None:
    module("shop", SHOP)

    result = run("schema", "write", "missing/schema.json", "shop:Ordered")

    assert (result.code, result.output) == (2, "")
    assert result.errors == "missing/schema.json cannot be written: make the folder missing first\n"
    assert not (folder / "missing").exists()


@pytest.mark.parametrize("command", ["write", "check"])
def test_targets_must_be_named(run: Run, command: str) -> None:
    result = run("schema", command, "schema.json")

    assert (result.code, result.output) == (2, "")
    assert result.errors == "name what has the events, as in esbank.bank:BankAccount\n"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("shop", "'shop' is no target: write module:name, as in esbank.bank:BankAccount"),
        ("shop:", "'shop:' is no target: write module:name"),
        (":Ordered", "':Ordered' is no target: write module:name"),
        ("shop:Cancelled", "shop:Cancelled: module 'shop' has no attribute 'Cancelled'"),
        ("shop:Events.Nothing", "shop:Events.Nothing: type object 'Events' has no attribute 'Nothing'"),
        ("shop.py:Ordered", "No module named 'shop.py'; 'shop' is not a package; run the command where"),
        ("no_shop:Ordered", "no_shop:Ordered: No module named 'no_shop'; run the command where the module can be"),
        (".shop:Ordered", ".shop:Ordered: write the whole name of the module, without a dot before it"),
        ("shop:Events", "Events is no event class"),
        ("shop:Ordered.product", "events are told by their classes, by upcasters or by a registry, not by"),
        ("shop:__doc__", "events are told by their classes, by upcasters or by a registry, not by None"),
        ("shop:__name__", "events are told by their classes, by upcasters or by a registry, not by 'shop'"),
    ],
)
def test_a_target_that_names_no_events_is_said(run: Run, module: WriteModule, target: str, problem: str) -> None:
    module("shop", SHOP)

    result = run("schema", "write", "schema.json", target)

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors


def test_one_registry_stands_for_all(run: Run, module: WriteModule) -> None:
    module("shop", SHOP)

    result = run("schema", "write", "schema.json", "shop:registry", "shop:Ordered")

    assert result.code == 2
    assert result.errors == "one registry stands for all events: name either that, or classes and upcasters\n"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_driver", "ModuleNotFoundError: No module named 'no_such_driver'"),
        ("from math import no_such_name", "ImportError: cannot import name 'no_such_name' from 'math'"),
        ("None.value", "AttributeError: 'NoneType' object has no attribute 'value'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
@pytest.mark.parametrize("command", ["write", "check"])
def test_a_module_that_cannot_be_imported_is_not_taken_for_one_that_is_not_there(
    run: Run, module: WriteModule, command: str, source: str, problem: str
) -> None:
    module("broken", source)

    result = run("schema", command, "schema.json", "broken:Ordered")

    assert (result.code, result.output) == (2, "")
    assert f"broken:Ordered: the module cannot be imported: {problem}" in result.errors
    assert "broken.py, line 1" in result.errors or "SyntaxError" in result.errors
    assert "run the command where" not in result.errors


def test_names_are_shown_as_they_are(run: Run, module: WriteModule) -> None:
    module("shop", SHOP.replace('name="Ordered"', 'name="[bold]a:key:b[/bold]\\n\\n"'))
    run("schema", "write", "schema.json", "shop:registry")

    result = run("schema", "check", "schema.json", "shop:Shipped")

    assert result.output.startswith("[bold]a:key:b[/bold]\n\n, schema version 1: the event is gone")
