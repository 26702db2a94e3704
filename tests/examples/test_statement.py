"""A statement says what the bank's own view and its balances say, day by day, whatever was booked or corrected late."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import statement as example
from example_programs import Run

from esbank import Metadata
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank, BankError

FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def at(day: int, hour: int = 12) -> Metadata:
    return Metadata(occurred_at=FIRST_DAY + timedelta(days=day - 1, hours=hour))


def march(day: int) -> date:
    return date(2026, 3, day)


@pytest.fixture
def store() -> Iterator[MemoryEventStore]:
    with MemoryEventStore() as opened:
        yield opened


@pytest.fixture
def bank(store: MemoryEventStore) -> Bank:
    return Bank(store)


# Against the bank itself, on histories that nobody wrote.


@frozen
class Try:
    """Something that somebody tries to do with an account."""

    what: str
    cents: int
    hours: int
    which: int


HOURS = st.integers(min_value=0, max_value=10 * 24)
TRIES = st.lists(
    st.builds(
        Try,
        st.sampled_from(["deposit", "withdraw", "correct", "correct"]),
        st.integers(min_value=0, max_value=20_000),
        HOURS,
        st.integers(min_value=2, max_value=8),
    ),
    max_size=15,
)


def attempt(bank: Bank, tried: Try) -> None:
    """Do it, if the bank does not refuse."""
    amount = Decimal(tried.cents) / 100
    metadata = Metadata(occurred_at=FIRST_DAY + timedelta(hours=tried.hours))
    try:
        if tried.what == "deposit":
            bank.deposit("acc-001", amount, "ada", metadata=metadata)
        elif tried.what == "withdraw":
            bank.withdraw("acc-001", amount, "ada", metadata=metadata)
        else:
            bank.correct("acc-001", tried.which, amount, "a slip", metadata=metadata)
    except BankError:
        pass


def fill(bank: Bank, tries: list[Try], initial: int = 100) -> None:
    start = Metadata(occurred_at=FIRST_DAY)
    bank.open_account("acc-001", "Ada", initial_balance=initial, overdraft_limit=100, metadata=start)
    for tried in tries:
        attempt(bank, tried)


@given(TRIES, st.integers(min_value=-1, max_value=12), st.integers(min_value=0, max_value=12))
def test_a_statement_agrees_with_the_view_and_with_the_balances_of_the_bank(
    tries: list[Try], start: int, length: int
) -> None:
    first_day = FIRST_DAY.date() + timedelta(days=start)
    last_day = first_day + timedelta(days=length)
    with MemoryEventStore() as store:
        bank = Bank(store)
        fill(bank, tries)

        account = example.read_account(store, "acc-001")
        statement = example.statement_of(account, first_day, last_day)

        rows = {
            row.version: row
            for row in bank.transactions("acc-001")
            if first_day <= row.occurred_at.astimezone(UTC).date() <= last_day
        }
        assert sorted(movement.number for movement in statement.movements) == sorted(rows)
        for movement in statement.movements:
            row = rows[movement.number]
            assert movement.at == row.occurred_at
            if row.kind != "correction":
                assert movement.amount == (-row.amount if row.kind == "withdrawal" else row.amount)
                assert movement.text == ("initial balance" if row.version == 1 else f"{row.kind}, by {row.made_by}")
            else:
                assert movement.text.startswith(f"correction of no. {row.corrects},")
        midnight = FIRST_DAY + timedelta(days=start)
        assert statement.opening_balance == balance_at(bank, midnight - INSTANT)
        assert statement.closing_balance == balance_at(bank, midnight + timedelta(days=length + 1) - INSTANT)
        last_of_each_moment = {movement.at: movement.balance for movement in statement.movements}
        assert last_of_each_moment == {moment: balance_at(bank, moment) for moment in last_of_each_moment}
        balance = statement.opening_balance
        for movement in statement.movements:
            balance += movement.amount
            assert movement.balance == balance
        assert balance == statement.closing_balance
        assert example.statement_of(account).closing_balance == bank.account("acc-001").balance


def balance_at(bank: Bank, moment: datetime) -> Decimal:
    if moment < FIRST_DAY:
        return Decimal(0)
    return bank.balance_at("acc-001", moment, business_time=True)


@given(TRIES)
def test_when_all_is_recorded_as_it_happens_each_line_is_a_row_of_the_view(tries: list[Try]) -> None:
    with MemoryEventStore() as store:
        bank = Bank(store)
        fill(bank, sorted(tries, key=lambda tried: tried.hours))

        statement = example.statement_of(example.read_account(store, "acc-001"))

        assert [(one.number, one.at, one.amount, one.balance) for one in statement.movements] == [
            (
                row.version,
                row.occurred_at,
                -row.amount if row.kind == "withdrawal" else row.amount,
                row.balance_after,
            )
            for row in bank.transactions("acc-001")
        ]


# What it looks like.


def printed(store: MemoryEventStore, first_day: date | None = None, last_day: date | None = None) -> list[str]:
    statement = example.statement_of(example.read_account(store, "acc-001"), first_day, last_day)
    return [" ".join(line.split()) for line in example.lines_of(statement)]


def test_a_statement_shows_each_movement_with_its_day_text_amount_and_balance(
    store: MemoryEventStore, bank: Bank
) -> None:
    bank.open_account("acc-001", "Ada", initial_balance=1000, metadata=at(1))
    bank.deposit("acc-001", Decimal("500.50"), by="ada", metadata=at(2))
    bank.withdraw("acc-001", 1200, metadata=at(5))
    bank.deposit("acc-001", 1, metadata=at(9))

    assert printed(store, march(2), march(8)) == [
        "Account acc-001 of Ada, in EUR",
        "From 2026-03-02 to 2026-03-08, by the days of UTC on which it happened",
        "",
        "day no. amount balance",
        "2026-03-02 opening balance 1,000.00",
        "2026-03-02 2 deposit, by ada 500.50 1,500.50",
        "2026-03-05 3 withdrawal -1,200.00 300.50",
        "2026-03-08 closing balance 300.50",
    ]


def test_without_days_a_statement_is_of_all_that_has_happened(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", initial_balance=10, metadata=at(3))
    bank.deposit("acc-001", 1, metadata=at(9))
    bank.deposit("acc-001", 2, metadata=at(2))

    lines = printed(store)

    assert lines[1].startswith("From 2026-03-02 to 2026-03-09,")
    assert lines[4:] == [
        "2026-03-02 opening balance 0.00",
        "2026-03-02 3 deposit 2.00 2.00",
        "2026-03-03 1 initial balance 10.00 12.00",
        "2026-03-09 2 deposit 1.00 13.00",
        "2026-03-09 closing balance 13.00",
    ]
    assert printed(store, first_day=march(5))[1].startswith("From 2026-03-05 to 2026-03-09,")
    assert printed(store, first_day=march(20))[1].startswith("From 2026-03-20 to 2026-03-20,")
    assert printed(store, last_day=march(5))[1].startswith("From 2026-03-02 to 2026-03-05,")
    assert printed(store, last_day=march(1))[1].startswith("From 2026-03-01 to 2026-03-01,")


def test_a_correction_is_shown_as_such_on_the_day_of_what_it_corrects(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", metadata=at(1))
    bank.deposit("acc-001", 5000, metadata=at(2))
    bank.withdraw("acc-001", 20, metadata=at(4))
    bank.correct("acc-001", 2, 50, "two digits too many", by="teller-7")
    bank.correct("acc-001", 3, 0, "it never happened", metadata=at(6))

    assert [line for line in printed(store)[4:-1] if line[0] == "2"] == [
        "2026-03-01 opening balance 0.00",
        "2026-03-02 2 deposit 5,000.00 5,000.00",
        "2026-03-02 4 correction of no. 2, 50.00 instead of -4,950.00 50.00",
        "2026-03-04 3 withdrawal -20.00 30.00",
        "2026-03-06 5 correction of no. 3, 0.00 instead of -20.00: 20.00 50.00",
    ]
    assert "5,000.00: two digits too many, by teller-7" in printed(store)
    assert "it never happened" in printed(store)


def test_a_correction_that_a_later_one_has_overtaken_changes_nothing(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", metadata=at(1))
    bank.deposit("acc-001", 100, metadata=at(2))
    bank.correct("acc-001", 2, 50, "a slip", metadata=at(8))
    bank.correct("acc-001", 2, 60, "half a slip", metadata=at(5))

    movements = example.read_account(store, "acc-001").movements

    assert [(one.number, one.amount, one.balance) for one in movements] == [
        (2, Decimal(100), Decimal(100)),
        (4, Decimal(-40), Decimal(60)),
        (3, Decimal(0), Decimal(60)),
    ]


def test_a_day_is_one_of_utc(store: MemoryEventStore, bank: Bank) -> None:
    in_sydney = datetime(2026, 3, 2, 8, tzinfo=timezone(timedelta(hours=11)))  # in UTC it is the evening before
    bank.open_account("acc-001", "Ada", metadata=Metadata(occurred_at=in_sydney))
    bank.deposit("acc-001", 1, metadata=Metadata(occurred_at=in_sydney))

    account = example.read_account(store, "acc-001")

    assert account.opened_on == march(1)
    assert len(example.statement_of(account, march(1), march(1)).movements) == 1
    assert example.statement_of(account, march(2), march(2)).movements == []


def test_a_period_in_which_nothing_happened_is_said_to_be_one(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", initial_balance=7, metadata=at(3))
    bank.deposit("acc-001", 1, metadata=at(9))

    assert printed(store, march(5), march(8))[4:] == [
        "2026-03-05 opening balance 7.00",
        "nothing happened in this period",
        "2026-03-08 closing balance 7.00",
    ]
    assert printed(store, march(1), march(2))[-1] == "The account was opened later, on 2026-03-03."
    assert not [line for line in printed(store) if "nothing" in line or "later" in line]


def test_amounts_have_the_decimals_of_their_currency(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", currency="JPY", initial_balance=1234567, metadata=at(1))

    assert printed(store)[5] == "2026-03-01 1 initial balance 1,234,567 1,234,567"


def test_no_text_can_forge_a_line_or_move_the_cursor(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada\n\x1b[2J", metadata=at(1))
    bank.deposit("acc-001", 1, by="x\n2026-03-01 2 deposit 9.99 9.99\u202e" + "y" * 50, metadata=at(1))

    lines = printed(store)

    assert lines[0] == "Account acc-001 of Ada ?[2J, in EUR"
    assert lines[5].startswith("2026-03-01 2 deposit, by x 2026-03-01 2 deposit 9.99 9.99 1.00 1.00")
    assert lines[6].startswith("?yyy")
    assert "\u202e" not in "".join(lines)


def test_long_texts_leave_the_columns_where_they_are(store: MemoryEventStore, bank: Bank) -> None:
    bank.open_account("acc-001", "Ada", metadata=at(1))
    bank.deposit("acc-001", 1, by="a very long name " * 5, metadata=at(1))

    statement = example.statement_of(example.read_account(store, "acc-001"))

    lines = list(example.lines_of(statement))[3:]
    assert len({len(line) for line in lines if line.endswith("0")}) == 1
    assert max(map(len, lines)) <= 100


# As a person runs it.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with SQLiteEventStore(tmp_path / "bank.db") as store:
        bank = Bank(store)
        bank.open_account("acc-001", "Ada", initial_balance=5, metadata=at(1))
        bank.deposit("acc-001", 6, metadata=at(2))
    return tmp_path / "bank.db"


def test_it_prints_the_statement_of_a_period(run: Run, file: Path) -> None:
    done = run("statement.py", file, "acc-001", "--from", "2026-03-02", "--to", "2026-03-31")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Account acc-001 of Ada, in EUR\nFrom 2026-03-02 to 2026-03-31" in done.stdout
    assert "deposit" in done.stdout
    assert "initial" not in done.stdout
    assert done.stdout.endswith(" 11.00\n")


def test_an_account_that_is_not_there_is_named_with_some_that_are(run: Run, file: Path) -> None:
    done = run("statement.py", file, "acc-002")

    assert done.returncode == 1
    assert done.stderr == "NoSuchAccount: there is no account 'acc-002' among the 1 that there are, such as 'acc-001'\n"


def test_a_bank_without_accounts_has_no_such_account(store: MemoryEventStore) -> None:
    with pytest.raises(example.NoSuchAccount, match=r"among the 0 that there are$"):
        example.read_account(store, "acc-001")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--from", "2026-03-02", "--to", "2026-03-01"], "ends on 2026-03-01, before it begins on 2026-03-02"),
        (["--from", "yesterday"], "yesterday"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(run: Run, file: Path, arguments: list[str], problem: str) -> None:
    done = run("statement.py", file, "acc-001", *arguments)

    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named_and_not_made(run: Run, tmp_path: Path) -> None:
    done = run("statement.py", tmp_path / "absent.db", "acc-001")

    assert done.returncode == 1
    assert "absent.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "absent.db").exists()


def test_the_demo_leaves_accounts_that_have_a_statement(run: Run, tmp_path: Path) -> None:
    assert run("bank_demo.py", tmp_path / "bank.db").returncode == 0

    done = run("statement.py", tmp_path / "bank.db", "acc-001")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1003 + 6
    assert done.stdout.endswith(" 2,310.00\n")


def test_a_statement_of_real_transactions_ends_with_the_banks_own_balance(
    run: Run, transactions: Path, tmp_path: Path
) -> None:
    with transactions.open() as file, (tmp_path / "transactions.csv").open("w") as part:
        header, *rows = file
        of_account = [row for row in rows if row.split(",")[1] == "576" and row.split(",")[2] < "1993-07"]
        part.writelines([header, *of_account])
    assert run("import_transactions.py", tmp_path / "transactions.csv", tmp_path / "bank.db").returncode == 0

    done = run("statement.py", tmp_path / "bank.db", "576", "--to", "1993-06-30")

    balance = Decimal(of_account[-1].split(",")[5])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f" {balance:,}\n")
    assert done.stdout.count("\n") == len(of_account) + 6
