"""Interest is exact, comes once for each day, and is told by year; all else is as the bank's own account has it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import savings_account as example
from example_programs import Run
from savings_account import (
    CreditInterest,
    InterestAlreadyCredited,
    InterestByYear,
    InterestCredited,
    SavingsAccount,
    YearOfInterest,
)

from esbank import Metadata, NoSnapshots, ProjectionRunner, Repository
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import (
    AccountClosed,
    AccountDetailsQuery,
    AccountIsClosed,
    AccountNotFound,
    AccountOpened,
    Bank,
    BankAccount,
    CorrectTransaction,
    Deposit,
    Deposited,
    InsufficientFunds,
    InvalidCommand,
    OpenAccount,
    TransactionNotFound,
    Withdraw,
    Withdrawn,
)
from esbank.bank.money import CURRENCIES
from esbank.store import StreamId
from esbank.testing import Scenario, ViewScenario, check_snapshots, raises

SAVINGS = Scenario(SavingsAccount)
OPENED = AccountOpened("Ada", "EUR", Decimal("1000.00"), Decimal("0.00"))
RATE = Decimal("3.65")  # a hundredth of a percent a day
JANUARY = (date(2026, 1, 1), date(2026, 1, 31))
FEBRUARY = (date(2026, 2, 1), date(2026, 2, 28))


def credited(amount: str, balance_after: str, period: tuple[date, date] = JANUARY) -> InterestCredited:
    return InterestCredited(RATE, *period, Decimal(amount), Decimal(balance_after))


@pytest.fixture
def store() -> Iterator[MemoryEventStore]:
    with MemoryEventStore() as opened:
        yield opened


@pytest.fixture
def savings(store: MemoryEventStore) -> Repository[SavingsAccount]:
    return Repository(store, SavingsAccount, snapshots=example.SNAPSHOTS)


# The rules.


def test_interest_is_for_every_day_of_the_period_the_first_and_the_last_included() -> None:
    SAVINGS.given(OPENED).when(CreditInterest(RATE, *JANUARY)).then(credited("3.10", "1003.10"))
    day = (date(2026, 1, 1), date(2026, 1, 1))
    SAVINGS.given(OPENED).when(CreditInterest(RATE, *day)).then(credited("0.10", "1000.10", day))


def test_a_leap_year_bears_interest_for_366_days_of_365() -> None:
    year = (date(2028, 1, 1), date(2028, 12, 31))
    SAVINGS.given(OPENED).when(CreditInterest(RATE, *year)).then(credited("36.60", "1036.60", year))


def test_interest_bears_interest() -> None:
    SAVINGS.given(OPENED).when(CreditInterest(RATE, *JANUARY), CreditInterest(RATE, *FEBRUARY)).then(
        credited("3.10", "1003.10"), credited("2.81", "1005.91", FEBRUARY)
    )


@pytest.mark.parametrize(
    ("currency", "balance", "interest"),
    [
        ("EUR", "50.00", "0.00"),  # 0.005: a half goes to the even neighbour
        ("EUR", "50.01", "0.01"),
        ("EUR", "150.00", "0.02"),
        ("JPY", "14999", "1"),
        ("JPY", "15000", "2"),
        ("KWD", "10.000", "0.001"),
        ("CLF", "10.0000", "0.0010"),
    ],
)
def test_interest_has_the_decimals_of_its_currency(currency: str, balance: str, interest: str) -> None:
    day = (date(2026, 1, 1), date(2026, 1, 1))
    opened = AccountOpened("Ada", currency, Decimal(balance), Decimal(0))
    after = str(Decimal(balance) + Decimal(interest))
    SAVINGS.given(opened).when(CreditInterest(RATE, *day)).then(credited(interest, after, day))


@given(
    cents=st.integers(min_value=0, max_value=10**17),
    hundredths=st.integers(min_value=1, max_value=10_000),
    days=st.integers(min_value=1, max_value=4_000),
    precision=st.integers(min_value=1, max_value=28),
)
def test_interest_is_the_nearest_cent_whatever_the_context(
    cents: int, hundredths: int, days: int, precision: int
) -> None:
    account = SavingsAccount()
    account.apply(AccountOpened("Ada", "EUR", Decimal(f"{cents}E-2"), Decimal(0)))
    first_day = date(2026, 1, 1)
    command = CreditInterest(Decimal(f"{hundredths}E-2"), first_day, first_day + timedelta(days=days - 1))

    with localcontext(prec=precision):
        (event,) = account.credit_interest(command)

    assert isinstance(event, InterestCredited)
    assert event.amount.as_tuple().exponent == -2
    interest = int(event.amount.scaleb(2, example.ROUNDING))
    assert abs(2 * (cents * hundredths * days - interest * 10_000 * 365)) <= 10_000 * 365


@pytest.mark.parametrize("balance", ["0.00", "-20.00"])
def test_a_balance_that_is_not_above_zero_bears_nothing_and_the_period_is_settled_all_the_same(balance: str) -> None:
    opened = AccountOpened("Ada", "EUR", Decimal("0.00"), Decimal("50.00"))
    below = [Withdrawn(-Decimal(balance), Decimal(balance), "")] if Decimal(balance) else []
    nothing = credited("0.00", balance)
    SAVINGS.given(opened, *below).when(CreditInterest(RATE, *JANUARY)).then(nothing)
    SAVINGS.given(opened, *below, nothing).when(Deposit(100), CreditInterest(RATE, *JANUARY)).then(
        raises(InterestAlreadyCredited, credited_until=JANUARY[1])
    )


@pytest.mark.parametrize(
    "period",
    [
        JANUARY,
        (date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 1, 10), date(2026, 1, 10)),
        (date(2025, 12, 1), date(2026, 2, 28)),
        (date(2025, 12, 1), date(2025, 12, 31)),
    ],
)
def test_no_day_bears_interest_twice(period: tuple[date, date]) -> None:
    SAVINGS.given(OPENED, credited("3.10", "1003.10")).when(CreditInterest(RATE, *period)).then(
        raises(InterestAlreadyCredited, credited_until=date(2026, 1, 31))
    )


def test_the_refusal_says_when_a_period_may_begin() -> None:
    assert str(InterestAlreadyCredited(date(2026, 1, 31))) == (
        "interest is credited until 2026-01-31; a period begins after that day"
    )


def test_interest_follows_the_rules_of_the_parent() -> None:
    SAVINGS.when(CreditInterest(RATE, *JANUARY)).then(raises(AccountNotFound))
    opened = AccountOpened("Ada", "EUR", Decimal("0.00"), Decimal("0.00"))
    SAVINGS.given(opened, AccountClosed("moved")).when(CreditInterest(RATE, *JANUARY)).then(raises(AccountIsClosed))


def test_money_comes_and_goes_as_on_any_account() -> None:
    SAVINGS.given(OPENED, credited("3.10", "1003.10")).when(Deposit(1), Withdraw(Decimal("1004.10"))).then(
        Deposited(Decimal("1.00"), Decimal("1004.10"), ""), Withdrawn(Decimal("1004.10"), Decimal("0.00"), "")
    )
    SAVINGS.given(OPENED).when(Withdraw(1001)).then(raises(InsufficientFunds, available=Decimal(1000)))


@pytest.mark.parametrize(
    ("rate", "first_day", "last_day", "field"),
    [
        (Decimal(0), *JANUARY, "yearly_percent"),
        (Decimal(-1), *JANUARY, "yearly_percent"),
        (Decimal("100.01"), *JANUARY, "yearly_percent"),
        (Decimal("NaN"), *JANUARY, "yearly_percent"),
        (Decimal("Infinity"), *JANUARY, "yearly_percent"),
        (2.5, *JANUARY, "yearly_percent"),
        (RATE, "2026-01-01", date(2026, 1, 31), "first_day"),
        (RATE, date(2026, 1, 1), datetime(2026, 1, 31, tzinfo=UTC), "last_day"),
        (RATE, date(2026, 1, 2), date(2026, 1, 1), "last_day"),
    ],
)
def test_a_command_that_makes_no_sense_names_the_field(
    rate: Decimal, first_day: date, last_day: date, field: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        CreditInterest(rate, first_day, last_day)

    assert refused.value.field == field


def test_interest_counts_in_the_past_as_what_it_was(savings: Repository[SavingsAccount]) -> None:
    noons = [datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 3, 2)]
    savings.execute("s-1", OpenAccount("Ada"), Deposit(1000), metadata=Metadata(occurred_at=noons[0]))
    savings.execute("s-1", Deposit(1000), metadata=Metadata(occurred_at=noons[1]))  # which is ahead of its time
    savings.execute("s-1", CreditInterest(RATE, *JANUARY), metadata=Metadata(occurred_at=noons[2]))

    assert savings.load("s-1", occurred_until=noons[2]).state.balance == Decimal("1006.20")


# Corrections.


def test_interest_can_be_corrected(savings: Repository[SavingsAccount]) -> None:
    savings.execute("s-1", OpenAccount("Ada"), Deposit(1000), CreditInterest(RATE, *JANUARY))
    wrong = list(savings.history("s-1"))[2]

    savings.execute("s-1", example.correction_of(wrong, Decimal("1.00"), "less was agreed", by="teller-7"))

    assert savings.load("s-1").state.balance == Decimal("1001.00")


def test_only_interest_is_corrected_as_interest(savings: Repository[SavingsAccount]) -> None:
    savings.execute("s-1", OpenAccount("Ada"), Deposit(1000))
    deposit = list(savings.history("s-1"))[1]

    with pytest.raises(TransactionNotFound, match="version 2"):
        example.correction_of(deposit, 1, "no interest")


# Snapshots.


def test_a_snapshot_is_taken_when_a_year_ends(store: MemoryEventStore, savings: Repository[SavingsAccount]) -> None:
    stream = SavingsAccount.stream("s-1")
    savings.execute("s-1", OpenAccount("Ada"), Deposit(1000))
    savings.execute("s-1", CreditInterest(RATE, date(2026, 1, 1), date(2026, 12, 30)))
    assert store.load_snapshot(stream) is None

    savings.execute("s-1", CreditInterest(RATE, date(2026, 12, 31), date(2026, 12, 31)))
    savings.execute("s-1", CreditInterest(RATE, date(2027, 1, 1), date(2027, 3, 31)))

    snapshot = store.load_snapshot(stream)
    assert snapshot is not None
    assert snapshot.version == 4
    without = Repository(store, SavingsAccount, snapshots=NoSnapshots(), cache=0)
    assert Repository(store, SavingsAccount, snapshots=example.SNAPSHOTS).load("s-1") == without.load("s-1")


def test_a_snapshot_is_taken_after_100_events_at_the_latest(
    store: MemoryEventStore, savings: Repository[SavingsAccount]
) -> None:
    savings.execute("s-1", OpenAccount("Ada"), *[Deposit(1)] * 98)
    assert store.load_snapshot(SavingsAccount.stream("s-1")) is None

    savings.execute("s-1", Deposit(1))

    assert store.load_snapshot(SavingsAccount.stream("s-1")) is not None


def test_a_snapshot_remembers_until_when_interest_is_credited() -> None:
    check_snapshots(
        SavingsAccount,
        [OPENED, credited("3.10", "1003.10"), Deposited(Decimal("1.00"), Decimal("1004.10"), "")],
    )
    account = SavingsAccount()
    account.apply(credited("3.10", "3.10"))
    assert account.credited_until == date(2026, 1, 31)


# The view.


def test_the_view_adds_up_interest_by_account_and_year() -> None:
    first = (date(2026, 12, 1), date(2026, 12, 31))
    over_new_year = (date(2026, 12, 15), date(2027, 1, 14))
    ViewScenario(InterestByYear).given(
        SavingsAccount, "s-1", OPENED, credited("0.10", "1000.10"), credited("0.20", "1000.30", first)
    ).given(
        SavingsAccount, "s-2", OPENED, credited("0.40", "1000.40"), credited("0.80", "1001.20", over_new_year)
    ).given(StreamId("ChildrensSavings", "s-3"), credited("1.60", "1001.60")).then(
        interest_by_year=[("s-1", 2026, "0.30"), ("s-2", 2026, "0.40"), ("s-2", 2027, "0.80")]
    )


def test_the_view_has_neither_deposits_nor_their_corrections_nor_other_accounts(
    store: MemoryEventStore, savings: Repository[SavingsAccount]
) -> None:
    savings.execute("s-1", OpenAccount("Ada"), Deposit(1000), CreditInterest(RATE, *JANUARY))
    deposit = list(savings.history("s-1"))[1]
    savings.execute("s-1", CorrectTransaction.of(deposit, 900, "a slip"))
    Bank(store).open_account("acc-1", "Bob", initial_balance=10)
    ProjectionRunner(store, [InterestByYear()]).catch_up()

    assert example.interest_by_year(store) == [YearOfInterest("s-1", 2026, Decimal("3.10"))]


def test_a_correction_counts_for_the_year_of_the_interest(
    store: MemoryEventStore, savings: Repository[SavingsAccount]
) -> None:
    runner = ProjectionRunner(store, [InterestByYear()])
    later = Metadata(occurred_at=datetime(2027, 5, 1, tzinfo=UTC))
    savings.execute("s-1", OpenAccount("Ada"), Deposit(1000), CreditInterest(RATE, *JANUARY))
    savings.execute("s-1", CreditInterest(RATE, date(2026, 2, 1), date(2027, 1, 31)))
    wrong = list(savings.history("s-1"))[2]
    for amount in (1, 2):  # the second takes the place of the first
        savings.execute("s-1", example.correction_of(wrong, amount, "less was agreed"), metadata=later)
    runner.catch_up()

    expected = [YearOfInterest("s-1", 2026, Decimal("2.00")), YearOfInterest("s-1", 2027, Decimal("36.61"))]
    assert example.interest_by_year(store) == expected
    runner.rebuild()
    assert example.interest_by_year(store) == expected


def test_the_bank_itself_does_not_see_savings(store: MemoryEventStore, savings: Repository[SavingsAccount]) -> None:
    savings.execute("s-1", OpenAccount("Ada"))
    bank = Bank(store)
    bank.projections.catch_up()

    assert list(AccountDetailsQuery(store).all()) == []
    with pytest.raises(AccountNotFound):
        bank.account("s-1")
    assert InterestCredited not in BankAccount.event_classes()


def test_every_currency_of_the_bank_can_bear_interest() -> None:
    for currency in CURRENCIES:
        account = SavingsAccount(currency=currency, balance=Decimal(1000))
        account.apply(AccountOpened("Ada", currency, Decimal(1000), Decimal(0)))
        (event,) = account.credit_interest(CreditInterest(RATE, *JANUARY))
        assert isinstance(event, InterestCredited)
        assert -int(event.amount.as_tuple().exponent) == CURRENCIES[currency]


# The story.


def test_the_story_shows_what_happens(run: Run) -> None:
    done = run("savings_account.py")

    assert (done.returncode, done.stderr) == (0, "")
    for shown in (
        "90 days: balance 10061.64",
        "InterestAlreadyCredited: interest is credited until 2026-03-31",
        "the snapshot is of version 5",
        "204.07",
        "balance 7739.24",
        "191.75",
    ):
        assert shown in done.stdout


def test_the_story_leaves_the_file_that_it_is_given(run: Run, tmp_path: Path) -> None:
    assert run("savings_account.py", tmp_path / "savings.db").returncode == 0

    with SQLiteEventStore(tmp_path / "savings.db", create=False) as store:
        assert store.version(SavingsAccount.stream("s-1")) == 7
        assert len(example.interest_by_year(store)) == 2


def test_the_story_does_not_touch_a_file_that_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "savings.db").write_text("mine")

    done = run("savings_account.py", tmp_path / "savings.db")

    assert done.returncode != 0
    assert "is there already" in done.stderr
    assert (tmp_path / "savings.db").read_text() == "mine"
