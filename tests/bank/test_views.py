"""The bank's read models, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

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
    }
    return AccountRow(**row | differences)  # type: ignore[arg-type]


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
        TransactionRow("acc-1", 1, "opening balance", Decimal(100), Decimal(100), "", NOON, NOON),
        TransactionRow("acc-1", 2, "deposit", Decimal("50.10"), Decimal("150.10"), "Bob", one, one),
        TransactionRow("acc-1", 3, "withdrawal", Decimal("150.10"), Decimal(0), "Eve", two, two),
    ]


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


def test_an_account_id_is_never_sql(bank: Bank) -> None:
    account_id = "x'; DROP TABLE account_details; --{account_details}"
    bank.open_account(account_id, "Robert'); {owner}", initial_balance=1)

    assert bank.account(account_id).owner == "Robert'); {owner}"
    assert [row.account_id for row in bank.transactions(account_id)] == [account_id]
