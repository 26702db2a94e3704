"""The bank's own events: every one that was ever stored by a released bank can be read."""

from importlib.resources import files
from pathlib import Path

import esbank.bank
from esbank.bank import AccountDetails, BankAccount, TransactionHistory
from esbank.cli import main
from esbank.testing import check_schema_lock

LOCK = Path(esbank.bank.__file__).with_name("schema.json")


def test_stored_events_stay_readable() -> None:
    check_schema_lock(LOCK, BankAccount)


def test_the_lock_file_is_as_it_is_written(tmp_path: Path) -> None:
    copy = tmp_path / "schema.json"
    copy.write_bytes(LOCK.read_bytes())

    assert main(["schema", "write", str(copy), "esbank.bank:BankAccount"]) == 0

    assert copy.read_bytes() == LOCK.read_bytes()


def test_whoever_extends_the_bank_finds_its_lock_file_in_the_package() -> None:
    with files("esbank.bank").joinpath("schema.json").open("rb") as installed:
        assert installed.read() == LOCK.read_bytes()


def test_the_views_take_no_other_events() -> None:
    check_schema_lock(LOCK, BankAccount, AccountDetails, TransactionHistory)
