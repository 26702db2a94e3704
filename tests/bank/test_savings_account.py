"""The bank's account can be extended from outside: a savings account, and the account that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from esbank import EveryNEvents, ProjectionRunner, Repository, UnhandledCommand
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import (
    AccountDetailsQuery,
    AccountIsClosed,
    AccountNotFound,
    AccountOpened,
    Bank,
    BankAccount,
    CloseAccount,
    CorrectTransaction,
    Deposit,
    Deposited,
    InsufficientFunds,
    OpenAccount,
    Status,
    TransactionCorrected,
    TransactionNotFound,
    Withdraw,
    Withdrawn,
)
from esbank.store import StreamId
from esbank.testing import Scenario, raises
from tests.doubles import KINDS, Store, open_store
from tests.typing.savings import (
    AddInterest,
    InterestAdded,
    NoOverdraft,
    SavingsAccount,
    SavingsDetails,
    TooManyWithdrawals,
)

SAVINGS = Scenario(SavingsAccount)
OPENED = AccountOpened("Ada", "EUR", Decimal(100), Decimal(0))


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def savings(store: Store) -> Repository[SavingsAccount]:
    return Repository(store, SavingsAccount, snapshots=EveryNEvents(2))


def withdrawn(amount: int, balance_after: int) -> Withdrawn:
    return Withdrawn(Decimal(amount), Decimal(balance_after), "")


def test_interest_is_added_to_the_balance() -> None:
    SAVINGS.given(OPENED).when(AddInterest(Decimal("1.5"))).then(InterestAdded(Decimal("1.50"), Decimal("101.50")))


def test_interest_of_nothing_is_no_event() -> None:
    SAVINGS.given(OPENED).when(AddInterest(Decimal("0.001"))).then()


def test_interest_follows_the_rules_of_the_parent() -> None:
    SAVINGS.when(AddInterest(Decimal(1))).then(raises(AccountNotFound))


def test_a_savings_account_has_no_overdraft() -> None:
    SAVINGS.when(OpenAccount("Ada", overdraft_limit=1)).then(raises(NoOverdraft))
    SAVINGS.when(OpenAccount("Ada")).then(AccountOpened("Ada", "EUR", Decimal(0), Decimal(0)))


def test_withdrawals_are_counted_between_two_payments_of_interest() -> None:
    three = withdrawn(1, 99), withdrawn(1, 98), withdrawn(1, 97)

    SAVINGS.given(OPENED, *three[:2]).when(Withdraw(1)).then(three[2])
    SAVINGS.given(OPENED, *three).when(Withdraw(1)).then(raises(TooManyWithdrawals, most=3))
    SAVINGS.given(OPENED, *three, InterestAdded(Decimal(1), Decimal(98))).when(Withdraw(1)).then(withdrawn(1, 97))


def test_the_rules_of_the_parent_hold() -> None:
    SAVINGS.given(OPENED).when(Withdraw(101)).then(raises(InsufficientFunds, requested=101, available=100))
    SAVINGS.given(OPENED).when(Deposit(5)).then(Deposited(Decimal(5), Decimal(105), ""))


def test_a_savings_account_lives_in_streams_of_its_own(store: Store, savings: Repository[SavingsAccount]) -> None:
    executed = savings.execute(
        "s-1", OpenAccount("Ada", initial_balance=100), AddInterest(Decimal(2)), Withdraw(102), CloseAccount("moved")
    )

    assert executed.version == 4
    assert executed.state == SavingsAccount("Ada", balance=Decimal(0), status=Status.CLOSED, withdrawals=1)
    assert savings.load("s-1").state == Repository(store, SavingsAccount, snapshots=EveryNEvents(2)).load("s-1").state
    assert store.version(StreamId("SavingsAccount", "s-1")) == 4
    assert store.version(StreamId("BankAccount", "s-1")) == 0
    with pytest.raises(AccountIsClosed):
        savings.execute("s-1", AddInterest(Decimal(2)))


def test_its_transactions_are_corrected_as_those_of_its_parent(savings: Repository[SavingsAccount]) -> None:
    savings.execute("s-1", OpenAccount("Ada", initial_balance=100), Deposit(500), AddInterest(Decimal(1)), Withdraw(6))
    _, deposit, interest, withdrawal = savings.history("s-1")

    executed = savings.execute(
        "s-1",
        CorrectTransaction.of(deposit, 50, "a digit too many"),
        CorrectTransaction.of(withdrawal, 0, "it was another account"),
    )

    assert [envelope.event for envelope in executed.envelopes] == [
        TransactionCorrected(
            deposit.event_id, 2, Decimal(500), Decimal(50), Decimal(-450), Decimal(150), "a digit too many", ""
        ),
        TransactionCorrected(
            withdrawal.event_id, 4, Decimal(-6), Decimal(0), Decimal(6), Decimal(156), "it was another account", ""
        ),
    ]
    assert executed.state.withdrawals == 1
    with pytest.raises(TransactionNotFound) as refused:
        CorrectTransaction.of(interest, Decimal("1.50"), "on too much")
    assert refused.value.found == "InterestAdded"


def test_a_movement_of_its_own_is_corrected_by_what_it_did_to_the_balance(
    savings: Repository[SavingsAccount],
) -> None:
    savings.execute("s-1", OpenAccount("Ada", initial_balance=600), AddInterest(Decimal(1)))
    _, interest = savings.history("s-1")
    assert isinstance(interest.event, InterestAdded)

    command = CorrectTransaction(
        interest.event_id, interest.version, interest.event.amount, Decimal("1.50"), "on too much"
    )

    assert savings.execute("s-1", command).state.balance == Decimal("601.50")


def test_a_bank_account_knows_nothing_of_it(store: Store, savings: Repository[SavingsAccount]) -> None:
    savings.execute("acc-1", OpenAccount("Ada", initial_balance=100))
    bank = Bank(store)
    bank.open_account("acc-1", "Bob", overdraft_limit=20)

    with pytest.raises(UnhandledCommand):
        bank.accounts.execute("acc-1", AddInterest(Decimal(2)))
    for _ in range(5):
        bank.withdraw("acc-1", 4)

    assert bank.account("acc-1").owner == "Bob"
    assert bank.account("acc-1").balance == -20
    assert savings.load("acc-1").state.balance == 100
    assert InterestAdded not in BankAccount.event_classes()
    assert set(BankAccount.event_classes()) < set(SavingsAccount.event_classes())


def test_the_read_model_can_be_extended_as_well(
    store: Store, savings: Repository[SavingsAccount], tmp_path: Path
) -> None:
    Bank(store).open_account("acc-1", "Bob")
    savings.execute("s-1", OpenAccount("Ada", initial_balance=100), AddInterest(Decimal(2)), Withdraw(1))
    *_, withdrawal = savings.history("s-1")
    savings.execute("s-1", CorrectTransaction.of(withdrawal, 3, "misread"))

    with SQLiteEventStore(tmp_path / "savings.db") as views:
        runner = ProjectionRunner(store, [SavingsDetails()], views=views)
        runner.catch_up()
        runner.rebuild()

        (row,) = AccountDetailsQuery(views).all()
    assert (row.account_id, row.owner, row.balance) == ("s-1", "Ada", Decimal(99))
    assert (row.deposit_count, row.withdrawal_count, row.withdrawal_total) == (0, 1, Decimal(1))
    assert (row.correction_count, row.correction_total) == (1, Decimal(-2))
