"""The main job: what the demo shows is so."""

from pathlib import Path

from example_programs import Run

from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount


def test_the_demo_shows_the_bank_from_first_event_to_rebuilt_view(run: Run) -> None:
    done = run("bank_demo.py")

    assert done.returncode == 0, done.stderr
    for shown in (
        "balance 1300.00, version 3",
        "InsufficientFunds: 5000.00 was requested from account acc-001, 1300.00 is available",
        "balance 2310.00",
        "snapshot of version 1000, same account: True",
        "at version 2: 1500.00",
        "1001 of 1510.00",
    ):
        assert shown in done.stdout


def test_the_demo_leaves_the_file_that_it_is_given(run: Run, tmp_path: Path) -> None:
    assert run("bank_demo.py", tmp_path / "bank.db").returncode == 0

    with SQLiteEventStore(tmp_path / "bank.db") as store:
        assert store.version(BankAccount.stream("acc-001")) == 1003


def test_the_demo_does_not_touch_a_file_that_is_there(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bank.db"
    file.write_text("mine")

    done = run("bank_demo.py", file)

    assert done.returncode != 0
    assert "is there already" in done.stderr
    assert file.read_text() == "mine"
