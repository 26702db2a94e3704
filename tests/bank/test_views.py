"""The bank's read models, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

import esbank
from esbank import Metadata
from esbank.bank import (
    AccountDetailsQuery,
    AccountRow,
    Bank,
    TransactionHistoryQuery,
    TransactionRow,
)
from tests.doubles import KINDS, Clock, Store, open_store

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with open_store(request.param, tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def bank(store: Store) -> Bank:
    return Bank(store)


def account_row(**differences: object) -> AccountRow:
    """Make the row of an account that was opened at noon with 100, and with changes."""
    row: dict[str, object] = {
        "account_id": "acc-1",
        "owner": "Ada",
        "currency": "EUR",
        "status": "open",
        "balance": Decimal(100),
        "overdraft_limit": Decimal(20),
        "opened_at": NOON,
        "last_activity": NOON,
        "deposit_count": 0,
        "deposit_total": Decimal(0),
        "withdrawal_count": 0,
        "withdrawal_total": Decimal(0),
        "correction_count": 0,
        "correction_total": Decimal(0),
    }
    return AccountRow(**row | differences)  # type: ignore[arg-type]


def transaction_row(  # noqa: PLR0913 - as wide as a row
    version: int,
    kind: str,
    amount: str,
    balance_after: str,
    *,
    made_by: str = "",
    occurred_at: datetime = NOON,
    recorded_at: datetime | None = None,
    actor: str | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    corrects: int | None = None,
) -> TransactionRow:
    """Make the row of a movement that was recorded when it occurred, by a program that says nothing about itself."""
    return TransactionRow(
        "acc-1",
        version,
        kind,
        Decimal(amount),
        Decimal(balance_after),
        made_by,
        occurred_at,
        recorded_at or occurred_at,
        actor,
        correlation_id,
        causation_id,
        corrects,
    )


def open_account(bank: Bank) -> None:
    bank.open_account("acc-1", "Ada", initial_balance=100, overdraft_limit=20)


def test_an_account_that_was_opened_has_a_row_and_no_deposits(bank: Bank) -> None:
    open_account(bank)

    assert bank.account("acc-1") == account_row()


def test_a_row_follows_every_movement(bank: Bank, clock: Clock) -> None:
    open_account(bank)
    clock.forward(hours=1)
    bank.deposit("acc-1", Decimal("50.10"))
    assert bank.account("acc-1") == account_row(
        balance=Decimal("150.10"), last_activity=NOON + HOUR, deposit_count=1, deposit_total=Decimal("50.10")
    )

    clock.forward(hours=1)
    bank.deposit("acc-1", Decimal("0.20"))
    bank.withdraw("acc-1", Decimal("160.30"))
    assert bank.account("acc-1") == account_row(
        balance=Decimal(-10),
        last_activity=NOON + 2 * HOUR,
        deposit_count=2,
        deposit_total=Decimal("50.30"),
        withdrawal_count=1,
        withdrawal_total=Decimal("160.30"),
    )


def test_a_row_says_that_an_account_is_closed(bank: Bank, clock: Clock) -> None:
    open_account(bank)
    bank.withdraw("acc-1", 100)
    clock.forward(hours=1)
    bank.close_account("acc-1", "moved")

    assert bank.account("acc-1") == account_row(
        status="closed",
        balance=Decimal(0),
        last_activity=NOON + HOUR,
        withdrawal_count=1,
        withdrawal_total=Decimal(100),
    )


def test_rows_tell_when_it_happened_not_when_it_was_recorded(bank: Bank, clock: Clock) -> None:
    earlier = NOON - timedelta(days=3)
    bank.open_account("acc-1", "Ada", initial_balance=100, overdraft_limit=20, metadata=Metadata(occurred_at=earlier))
    clock.forward(hours=1)
    bank.deposit("acc-1", 5, metadata=Metadata(occurred_at=earlier + HOUR))

    row = bank.account("acc-1")
    assert (row.opened_at, row.last_activity) == (earlier, earlier + HOUR)
    opening, deposit = bank.transactions("acc-1")
    assert (opening.occurred_at, opening.recorded_at) == (earlier, NOON)
    assert (deposit.occurred_at, deposit.recorded_at) == (earlier + HOUR, NOON + HOUR)


def test_transactions_list_the_movements_with_the_opening_balance_as_a_kind_of_its_own(
    bank: Bank, clock: Clock
) -> None:
    open_account(bank)
    clock.forward(hours=1)
    bank.deposit("acc-1", Decimal("50.10"), "Bob")
    clock.forward(hours=1)
    bank.withdraw("acc-1", Decimal("150.10"), "Eve")
    bank.close_account("acc-1", "moved")

    one, two = NOON + HOUR, NOON + 2 * HOUR
    assert bank.transactions("acc-1") == [
        transaction_row(1, "opening balance", "100", "100"),
        transaction_row(2, "deposit", "50.10", "150.10", made_by="Bob", occurred_at=one),
        transaction_row(3, "withdrawal", "150.10", "0", made_by="Eve", occurred_at=two),
    ]


def test_transactions_say_on_whose_behalf_in_which_conversation_and_because_of_what(bank: Bank) -> None:
    bank.open_account("acc-1", "Ada", initial_balance=100, metadata=Metadata("signup-1", "form-7", "web"))
    with esbank.context(actor="teller-7", correlation_id="branch-3"):
        bank.deposit("acc-1", 5, "Bob")
        bank.correct("acc-1", 2, 4, "miscounted", metadata=Metadata(causation_id="letter-9"))
    bank.withdraw("acc-1", 1)

    assert bank.transactions("acc-1") == [
        transaction_row(
            1, "opening balance", "100", "100", actor="web", correlation_id="signup-1", causation_id="form-7"
        ),
        transaction_row(2, "deposit", "5", "105", made_by="Bob", actor="teller-7", correlation_id="branch-3"),
        transaction_row(
            3,
            "correction",
            "-1",
            "104",
            actor="teller-7",
            correlation_id="branch-3",
            causation_id="letter-9",
            corrects=2,
        ),
        transaction_row(4, "withdrawal", "1", "103"),
    ]


def test_a_correction_is_a_row_of_its_own_and_the_others_stay_as_they_were(bank: Bank, clock: Clock) -> None:
    open_account(bank)
    clock.forward(hours=1)
    bank.deposit("acc-1", Decimal("50.10"), "Bob")
    bank.withdraw("acc-1", 20, "Bob")
    before = bank.transactions("acc-1")
    clock.forward(hours=1)
    bank.correct("acc-1", 2, Decimal("5.10"), "a digit too many", by="Eve")
    bank.correct("acc-1", 3, 0, "it was another account", by="Eve")

    one, two = NOON + HOUR, NOON + 2 * HOUR
    assert bank.transactions("acc-1") == [
        *before,
        transaction_row(4, "correction", "-45", "85.10", made_by="Eve", occurred_at=one, recorded_at=two, corrects=2),
        transaction_row(5, "correction", "20", "105.10", made_by="Eve", occurred_at=one, recorded_at=two, corrects=3),
    ]


def test_a_row_counts_corrections_beside_what_was_recorded(bank: Bank) -> None:
    open_account(bank)
    bank.deposit("acc-1", Decimal("50.10"))
    bank.withdraw("acc-1", 30)
    bank.correct("acc-1", 2, Decimal("5.10"), "a digit too many")
    bank.correct("acc-1", 2, Decimal("5.20"), "misread")
    bank.correct("acc-1", 3, 20, "miscounted")

    row = account_row(
        balance=Decimal("85.20"),
        deposit_count=1,
        deposit_total=Decimal("50.10"),
        withdrawal_count=1,
        withdrawal_total=Decimal(30),
        correction_count=3,
        correction_total=Decimal("-34.90"),
    )
    assert bank.account("acc-1") == row
    assert row.balance == 100 + row.deposit_total - row.withdrawal_total + row.correction_total


def test_the_last_activity_never_goes_back(bank: Bank, clock: Clock) -> None:
    open_account(bank)
    bank.deposit("acc-1", 5)
    clock.forward(hours=1)
    latest = clock.now
    bank.withdraw("acc-1", 105)
    clock.forward(hours=1)
    back_dated = Metadata(occurred_at=NOON - HOUR)

    for command in (
        lambda: bank.deposit("acc-1", 5, metadata=back_dated),
        lambda: bank.withdraw("acc-1", 5, metadata=back_dated),
        lambda: bank.correct("acc-1", 2, 6, "miscounted"),
        lambda: bank.correct("acc-1", 2, 5, "not at all"),
        lambda: bank.close_account("acc-1", "moved", metadata=back_dated),
    ):
        command()
        assert bank.account("acc-1").last_activity == latest


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (NOON, NOON + timedelta(microseconds=1)),
        (NOON - timedelta(microseconds=1), NOON),
        (NOON, NOON + timedelta(seconds=1)),
        (NOON + timedelta(microseconds=9), NOON + timedelta(microseconds=10)),
        (datetime(999, 12, 31, tzinfo=UTC), datetime(1000, 1, 1, tzinfo=UTC)),
        (
            datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))),
            datetime(2024, 5, 1, 11, tzinfo=UTC),
        ),
    ],
    ids=["a microsecond after", "a microsecond before", "a second", "ten microseconds", "years", "time zones"],
)
def test_times_are_in_order_as_text(store: Store, bank: Bank, earlier: datetime, later: datetime) -> None:
    bank.open_account("acc-1", "Ada", metadata=Metadata(occurred_at=earlier))
    bank.deposit("acc-1", 1, metadata=Metadata(occurred_at=later))
    bank.deposit("acc-1", 2, metadata=Metadata(occurred_at=earlier))

    row = bank.account("acc-1")
    assert (row.opened_at, row.last_activity) == (earlier, later)
    bank.transactions("acc-1")
    assert store.query("SELECT version FROM transaction_history ORDER BY occurred_at, version") == [(3,), (2,)]
    ((opened_at, last_activity),) = store.query("SELECT opened_at, last_activity FROM account_details")
    assert len(opened_at) == len(last_activity) == len("2024-05-01T12:00:00.000000+00:00")


def test_a_rebuild_gives_the_same_rows(store: Store, bank: Bank, clock: Clock) -> None:
    open_account(bank)
    bank.deposit("acc-1", Decimal("50.10"), "Bob", metadata=Metadata("c", "b", "a", occurred_at=NOON - HOUR))
    clock.forward(hours=1)
    bank.withdraw("acc-1", 20)
    bank.correct("acc-1", 2, 5, "a digit too many", metadata=Metadata(actor="Eve"))
    bank.correct("acc-1", 2, 6, "misread")
    bank.correct("acc-1", 3, 0, "never happened", by="Eve")
    bank.projections.catch_up()
    tables = ("account_details", "transaction_history")
    before = [store.query(f"SELECT * FROM {table}") for table in tables]  # noqa: S608 - names of our own

    bank.projections.rebuild()

    assert [store.query(f"SELECT * FROM {table}") for table in tables] == before  # noqa: S608 - names of our own


def test_an_account_that_was_opened_empty_has_no_transactions(bank: Bank) -> None:
    bank.open_account("acc-1", "Ada")

    assert bank.transactions("acc-1") == []


def test_amounts_are_kept_as_text_with_the_decimals_of_their_currency(store: Store, bank: Bank) -> None:
    bank.open_account("acc-1", "Ada", currency="BHD", initial_balance=1, overdraft_limit=2)
    bank.open_account("acc-2", "Ada", currency="JPY", initial_balance=10**17)
    bank.deposit("acc-1", Decimal("0.1"))
    bank.projections.catch_up()

    assert store.query("SELECT balance, overdraft_limit, deposit_total FROM account_details ORDER BY account_id") == [
        ("1.100", "2.000", "0.100"),
        ("100000000000000000", "0", "0"),
    ]
    assert store.query("SELECT amount, balance_after FROM transaction_history ORDER BY account_id, version") == [
        ("1.000", "1.000"),
        ("0.100", "1.100"),
        ("100000000000000000", "100000000000000000"),
    ]


def test_totals_are_exact(bank: Bank) -> None:
    bank.open_account("acc-1", "Ada")
    for _ in range(10):
        bank.deposit("acc-1", Decimal("0.10"))
    bank.deposit("acc-1", Decimal("99999999999999999.99"))

    assert bank.account("acc-1").deposit_total == Decimal("100000000000000000.99")


def test_queries_need_no_bank(store: Store, bank: Bank) -> None:
    for number in (2, 10, 1):
        bank.open_account(f"acc-{number}", "Ada", initial_balance=number)
    bank.projections.catch_up()

    details, transactions = AccountDetailsQuery(store), TransactionHistoryQuery(store)

    assert [row.account_id for row in details.all()] == ["acc-1", "acc-10", "acc-2"]
    assert details.get("acc-10") == bank.account("acc-10")
    assert details.get("acc-3") is None
    assert transactions.of("acc-2") == bank.transactions("acc-2")
    assert transactions.of("acc-3") == []


def test_pages_of_accounts_have_each_of_them_once(store: Store, bank: Bank) -> None:
    ids = [f"acc-{number}" for number in range(12)] + ["ACC-1", "Zoë", "zebra"]
    for account_id in ids:
        bank.open_account(account_id, "Ada")
    bank.projections.catch_up()
    details = AccountDetailsQuery(store)

    pages = [details.page(limit=4)]
    while pages[-1]:
        pages.append(details.page(after=pages[-1][-1].account_id, limit=4))

    assert [len(page) for page in pages] == [4, 4, 4, 3, 0]
    assert sorted(row.account_id for page in pages for row in page) == sorted(ids)
    assert details.get("Zoë") in [row for page in pages for row in page]


def test_pages_of_transactions_go_on_after_a_version_and_keep_to_their_account(store: Store, bank: Bank) -> None:
    for account_id in ("acc-1", "acc-2"):
        bank.open_account(account_id, "Ada", initial_balance=1)
        for _ in range(4):
            bank.deposit(account_id, 1)
    bank.projections.catch_up()
    transactions = TransactionHistoryQuery(store)

    assert transactions.page("acc-2", limit=3) == transactions.of("acc-2")[:3]
    assert transactions.page("acc-2", after=3, limit=3) == transactions.of("acc-2")[3:]
    assert transactions.page("acc-2", after=5, limit=3) == []


def test_an_account_id_is_never_sql(bank: Bank) -> None:
    account_id = "x'; DROP TABLE account_details; --{account_details}"
    bank.open_account(account_id, "Robert'); {owner}", initial_balance=1)

    assert bank.account(account_id).owner == "Robert'); {owner}"
    assert [row.account_id for row in bank.transactions(account_id)] == [account_id]
