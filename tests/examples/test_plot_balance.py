"""The picture shows each balance as it was, and just the time that it was below zero."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import plot_balance as example
from example_programs import Run
from statement import read_account

from esbank import Metadata
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")

FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)


def march(day: int) -> datetime:
    return FIRST_DAY + timedelta(days=day - 1)


def on(day: int) -> Metadata:
    return Metadata(occurred_at=march(day))


@pytest.fixture
def store() -> Iterator[MemoryEventStore]:
    with MemoryEventStore() as opened:
        yield opened


@pytest.fixture
def bank(store: MemoryEventStore) -> Bank:
    return Bank(store)


def overdraw(bank: Bank) -> None:
    """Be below zero from the 3rd to the 5th, at zero until the 9th, and below zero again."""
    bank.open_account("acc-001", "Ada", initial_balance=10, overdraft_limit=100, metadata=on(1))
    bank.withdraw("acc-001", 30, metadata=on(3))
    bank.withdraw("acc-001", 5, metadata=on(4))
    bank.deposit("acc-001", 25, metadata=on(5))
    bank.withdraw("acc-001", 1, metadata=on(9))


# What is to be drawn.


def test_a_balance_is_below_zero_until_a_movement_brings_it_back(store: MemoryEventStore, bank: Bank) -> None:
    overdraw(bank)
    account = read_account(store, "acc-001")

    times = example.below_zero(example.balances_of(account), march(12))

    assert times == [(march(3), march(5)), (march(9), march(12))]
    assert example.title_of(account, times) == "account acc-001 of Ada: 5.0 days below zero, down to -25.00"


def test_an_account_that_is_never_below_zero_has_no_such_time(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", initial_balance=10, metadata=on(1))
    bank.withdraw("acc-001", 10, metadata=on(2))
    account = read_account(store, "acc-001")

    assert example.below_zero(example.balances_of(account), march(12)) == []
    assert example.title_of(account, []) == "account acc-001 of Ada"


def test_what_is_made_good_in_the_same_moment_was_never_below_zero(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", overdraft_limit=100, metadata=on(1))
    bank.withdraw("acc-001", 10, metadata=on(2))
    bank.deposit("acc-001", 30, metadata=on(2))

    balances = example.balances_of(read_account(store, "acc-001"))

    assert balances == {march(2): Decimal(20)}
    assert example.below_zero(balances, march(12)) == []


def test_a_late_deposit_counts_from_when_it_happened(store: MemoryEventStore, bank: Bank) -> None:
    overdraw(bank)
    bank.deposit("acc-001", 50, metadata=on(4))

    balances = example.balances_of(read_account(store, "acc-001"))

    assert list(balances) == [march(1), march(3), march(4), march(5), march(9)]
    assert example.below_zero(balances, march(12)) == [(march(3), march(4))]


# The picture.


@needs_matplotlib
def test_the_picture_shows_the_balance_and_the_time_below_zero(store: MemoryEventStore, bank: Bank) -> None:
    from matplotlib.colors import same_color, to_rgba  # noqa: PLC0415 - absent where this test is skipped
    from matplotlib.dates import num2date  # noqa: PLC0415 - same

    overdraw(bank)
    bank.open_account("acc-002", "Bob", currency="JPY", initial_balance=500, metadata=on(2))
    bank.withdraw("acc-002", 1, metadata=on(12))

    figure = example.draw([read_account(store, "acc-001"), read_account(store, "acc-002")])

    first, second = figure.axes
    line, zero = first.lines
    assert line.get_drawstyle() == "steps-post"
    assert list(line.get_xdata()) == [march(day) for day in (1, 3, 4, 5, 9, 12)]
    assert list(line.get_ydata()) == [10, -20, -25, 0, -1, -1]
    assert list(zero.get_ydata()) == [0, 0]
    marked = [(num2date(red.get_x()), num2date(red.get_x() + red.get_width())) for red in first.patches]
    assert marked == [(march(3), march(5)), (march(9), march(12))]
    assert all(same_color(red.get_facecolor(), to_rgba("tab:red", 0.15)) for red in first.patches)
    (area,) = first.collections
    assert area.get_datalim(first.transData).intervaly.tolist() == [-25, 0]
    assert not second.patches
    assert list(second.lines[0].get_ydata()) == [500, 499, 499]
    assert (first.get_ylabel(), second.get_ylabel()) == ("EUR", "JPY")
    assert first.get_xlim() == second.get_xlim()


@needs_matplotlib
def test_an_owner_is_no_formula(store: MemoryEventStore, bank: Bank, tmp_path: Path) -> None:
    bank.open_account("acc-001", r"Ada $\frac$ Lovelace", initial_balance=10, metadata=on(1))

    example.draw([read_account(store, "acc-001")]).savefig(tmp_path / "balance.png")

    assert (tmp_path / "balance.png").exists()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with SQLiteEventStore(tmp_path / "bank.db") as store:
        overdraw(Bank(store))
        Bank(store).open_account("acc-002", "Bob")
    return tmp_path / "bank.db"


@needs_matplotlib
def test_it_writes_a_png(run: Run, file: Path, tmp_path: Path) -> None:
    done = run("plot_balance.py", file, "acc-001", "acc-001", "--picture", tmp_path / "picture")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'picture'}\n"
    png = (tmp_path / "picture").read_bytes()
    assert png.startswith(b"\x89PNG\r\n")
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    assert (width, height) == (1500, 900)


@needs_matplotlib
def test_a_real_account_that_went_below_zero_is_drawn(run: Run, transactions: Path, tmp_path: Path) -> None:
    with transactions.open() as file, (tmp_path / "transactions.csv").open("w") as part:
        header, *rows = file
        part.writelines([header, *(row for row in rows if row.split(",")[1] == "1539")])
    assert run("import_transactions.py", tmp_path / "transactions.csv", tmp_path / "bank.db").returncode == 0

    done = run("plot_balance.py", tmp_path / "bank.db", "1539", "--picture", tmp_path / "balance.png")

    assert done.returncode == 0, done.stderr
    with SQLiteEventStore(tmp_path / "bank.db") as store:
        (panel,) = example.draw([read_account(store, "1539")]).axes
    assert panel.get_title(loc="left") == "account 1539 of 1539: 73.0 days below zero, down to -5,446.60"
    assert len(panel.patches) == 4


# What cannot be drawn.


def test_without_matplotlib_it_says_what_to_install(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "matplotlib.py").write_text("raise ModuleNotFoundError(\"No module named 'matplotlib'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "absent"), prepend=":")

    done = run("plot_balance.py", file, "acc-001", "--picture", tmp_path / "balance.png")

    assert done.returncode == 1
    assert done.stderr == (
        "CannotDraw: No module named 'matplotlib'; it takes matplotlib: pip install 'esbank[plot]'\n"
    )
    assert not (tmp_path / "balance.png").exists()


@pytest.mark.parametrize(
    ("account", "problem"),
    [
        ("acc-002", "CannotDraw: nothing has happened on account 'acc-002'\n"),
        ("acc-003", "NoSuchAccount: there is no account 'acc-003' among the 2 that there are"),
    ],
)
def test_an_account_that_cannot_be_drawn_is_named(
    run: Run, file: Path, tmp_path: Path, account: str, problem: str
) -> None:
    done = run("plot_balance.py", file, "acc-001", account, "--picture", tmp_path / "balance.png")

    assert done.returncode == 1
    assert done.stderr.startswith(problem)
    assert not (tmp_path / "balance.png").exists()


def test_a_file_that_is_not_there_is_named_and_not_made(run: Run, tmp_path: Path) -> None:
    done = run("plot_balance.py", tmp_path / "absent.db", "acc-001")

    assert done.returncode == 1
    assert "absent.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "absent.db").exists()
