"""Corrections as a program makes them, over every store: what they change, what they leave, and who wins a race."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

import esbank
from esbank import EveryNEvents, Metadata, Repository
from esbank.backends.memory import MemoryEventStore
from esbank.bank import (
    Bank,
    BankAccount,
    CorrectionOfCorrection,
    InsufficientFunds,
    InvalidCommand,
    NothingToCorrect,
    TransactionCorrected,
    TransactionNotFound,
)
from esbank.store import StreamId
from tests.doubles import KINDS, Clock, Store, WatchedSnapshotStore, open_store

STREAM = StreamId("BankAccount", "acc-1")


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


@pytest.fixture
def deposited_at(bank: Bank, clock: Clock) -> datetime:
    """Open an account with 100, deposit 500 an hour later, and let a day pass."""
    bank.open_account("acc-1", "Ada", initial_balance=100)
    moment = clock.forward(hours=1)
    bank.deposit("acc-1", 500, by="Bob")
    clock.forward(days=1)
    return moment


def test_a_correction_is_an_event_that_names_the_wrong_one(store: Store, bank: Bank, deposited_at: datetime) -> None:
    before = list(store.read(STREAM))

    executed = bank.correct("acc-1", 2, 50, "a digit too many", by="Eve")

    wrong = before[1]
    assert [envelope.event for envelope in executed.envelopes] == [
        TransactionCorrected(
            wrong.event_id, 2, Decimal(500), Decimal(50), Decimal(-450), Decimal(150), "a digit too many", "Eve"
        )
    ]
    assert (executed.version, executed.state.balance) == (3, 150)
    assert executed.envelopes[0].occurred_at == deposited_at
    assert list(store.read(STREAM))[:2] == before


def test_corrections_survive_snapshots_and_another_process(store: Store, bank: Bank, deposited_at: datetime) -> None:
    assert deposited_at
    accounts = Repository(store, BankAccount, snapshots=EveryNEvents(1))
    bank.correct("acc-1", 2, 50, "a digit too many")
    accounts.snapshot("acc-1")

    afresh = Bank(store).correct("acc-1", 2, 60, "misread")

    (envelope,) = afresh.envelopes
    assert isinstance(envelope.event, TransactionCorrected)
    assert envelope.event.difference == 10
    assert afresh.state == Repository(store, BankAccount).load("acc-1").state == bank.accounts.load("acc-1").state


def test_one_event_is_read_however_long_the_history_is(store: Store, bank: Bank) -> None:
    watched = WatchedSnapshotStore(store)
    bank.open_account("acc-1", "Ada")
    for _ in range(99):
        bank.deposit("acc-1", 1)
    other = Bank(watched, views=store)
    other.deposit("acc-1", 1)
    read = watched.events_read

    other.correct("acc-1", 3, 2, "miscounted")

    assert watched.events_read == read + 1


def test_an_event_that_is_not_there_is_not_corrected(bank: Bank, deposited_at: datetime) -> None:
    assert deposited_at
    for version in (-1, 0, 3, 2**63, 10**30):
        with pytest.raises(TransactionNotFound) as refused:
            bank.correct("acc-1", version, 5, "misread")
        assert refused.value.version == version


def test_a_correction_is_not_corrected_but_its_transaction_is(bank: Bank, deposited_at: datetime) -> None:
    assert deposited_at
    bank.correct("acc-1", 2, 50, "a digit too many")

    with pytest.raises(CorrectionOfCorrection) as refused:
        bank.correct("acc-1", 3, 60, "misread")

    assert bank.correct("acc-1", refused.value.original, 60, "misread").state.balance == 160


def test_a_correction_takes_the_metadata_it_is_given(bank: Bank, deposited_at: datetime) -> None:
    metadata = Metadata("letter-7", "form-3", "auditor", extra={"branch": 4})

    with esbank.context(actor="nobody", correlation_id="nothing"):
        (given,) = bank.correct("acc-1", 2, 50, "a digit too many", metadata=metadata).envelopes
        (around,) = bank.correct("acc-1", 2, 60, "misread").envelopes

    assert given.metadata == Metadata("letter-7", "form-3", "auditor", deposited_at, {"branch": 4})
    assert around.metadata == Metadata("nothing", None, "nobody", deposited_at)


def test_a_withdrawal_that_rested_on_a_wrong_deposit_stays_and_the_balance_says_so(
    bank: Bank, deposited_at: datetime
) -> None:
    assert deposited_at
    bank.withdraw("acc-1", 550)

    assert bank.correct("acc-1", 2, 50, "a digit too many").state.balance == -400
    with pytest.raises(InsufficientFunds) as refused:
        bank.withdraw("acc-1", 1)
    assert refused.value.available == -400
    assert bank.deposit("acc-1", 400).state.balance == 0


# Two times.


def test_business_time_shows_what_was_true_and_recorded_time_what_was_believed(
    bank: Bank, clock: Clock, deposited_at: datetime
) -> None:
    bank.correct("acc-1", 2, 50, "a digit too many")
    corrected_at = clock.now
    just_before = corrected_at - timedelta(microseconds=1)

    assert bank.balance_at("acc-1", deposited_at) == 600
    assert bank.balance_at("acc-1", just_before) == 600
    assert bank.balance_at("acc-1", corrected_at) == 150

    assert bank.balance_at("acc-1", deposited_at - timedelta(microseconds=1), business_time=True) == 100
    assert bank.balance_at("acc-1", deposited_at, business_time=True) == 150
    assert bank.balance_at("acc-1", corrected_at, business_time=True) == 150


def test_what_one_could_know_about_the_past_at_any_time(bank: Bank, clock: Clock, deposited_at: datetime) -> None:
    known_at = [clock.now]
    for amount in (50, 60):
        clock.forward(days=1)
        bank.correct("acc-1", 2, amount, "misread")
        known_at.append(clock.now)

    balances = [
        bank.accounts.load("acc-1", recorded_until=moment, occurred_until=deposited_at).state.balance
        for moment in known_at
    ]

    assert balances == [600, 150, 160]


def test_a_correction_may_have_happened_later_than_its_transaction(
    bank: Bank, clock: Clock, deposited_at: datetime
) -> None:
    later = Metadata(occurred_at=deposited_at + timedelta(hours=5))
    bank.correct("acc-1", 2, 50, "the cheque bounced", metadata=later)

    assert bank.balance_at("acc-1", deposited_at, business_time=True) == 600
    assert bank.balance_at("acc-1", deposited_at + timedelta(hours=5), business_time=True) == 150

    bank.correct("acc-1", 2, 60, "misread")

    assert bank.balance_at("acc-1", deposited_at, business_time=True) == 160
    assert bank.balance_at("acc-1", clock.now, business_time=True) == 160


def test_a_correction_has_not_happened_before_its_transaction(bank: Bank, deposited_at: datetime) -> None:
    earlier = Metadata(occurred_at=deposited_at - timedelta(microseconds=1))

    with pytest.raises(InvalidCommand, match="the transaction happened later") as refused:
        bank.correct("acc-1", 2, 50, "a digit too many", metadata=earlier)

    assert (refused.value.field, refused.value.account_id) == ("occurred_at", "acc-1")
    assert bank.correct("acc-1", 2, 50, "misread", metadata=Metadata(occurred_at=deposited_at)).version == 3


# Two people correct at once.


def test_of_two_corrections_to_the_same_amount_the_second_is_refused(store: Store, deposited_at: datetime) -> None:
    assert deposited_at
    watched = WatchedSnapshotStore(store)
    one, two = Bank(watched, views=store), Bank(store)
    watched.before("append", lambda: two.correct("acc-1", 2, 50, "a digit too many"))

    with pytest.raises(NothingToCorrect) as refused:
        one.correct("acc-1", 2, 50, "a digit too many")

    assert (refused.value.version, refused.value.amount, refused.value.account_id) == (2, 50, "acc-1")
    assert (store.version(STREAM), one.account("acc-1").balance) == (3, 150)


def test_of_two_corrections_to_different_amounts_the_last_one_counts(store: Store, deposited_at: datetime) -> None:
    assert deposited_at
    watched = WatchedSnapshotStore(store)
    one, two = Bank(watched, views=store), Bank(store)
    watched.before("append", lambda: two.correct("acc-1", 2, 50, "a digit too many"))

    executed = one.correct("acc-1", 2, 60, "misread")

    (envelope,) = executed.envelopes
    assert isinstance(envelope.event, TransactionCorrected)
    assert (envelope.version, envelope.event.difference, envelope.event.balance_after) == (4, 10, 160)
    assert executed.state.balance == one.account("acc-1").balance == 160


def race(banks: list[Bank], version: int, amounts: list[int]) -> list[object]:
    """Let each bank correct the transaction to its amount, all at once; return what came of each."""
    barrier = Barrier(len(banks))

    def correct(bank: Bank, amount: int) -> object:
        barrier.wait()
        try:
            return bank.correct("acc-1", version, amount, "misread")
        except NothingToCorrect as refusal:
            return refusal

    with ThreadPoolExecutor(len(banks)) as threads:
        return list(threads.map(correct, banks, amounts))


@pytest.mark.parametrize("apart", [True, False], ids=["two banks", "one bank"])
def test_threads_that_want_the_same_amount_correct_it_once(store: Store, bank: Bank, *, apart: bool) -> None:
    bank.open_account("acc-1", "Ada")
    banks = [bank, Bank(store) if apart else bank]
    for _ in range(20):
        version = bank.deposit("acc-1", 500).version
        outcomes = race(banks, version, [50, 50])
        assert sorted(isinstance(outcome, NothingToCorrect) for outcome in outcomes) == [False, True]

    assert store.version(STREAM) == 41
    assert [one.account("acc-1").balance for one in banks] == [20 * 50] * 2


@pytest.mark.parametrize("apart", [True, False], ids=["two banks", "one bank"])
def test_of_threads_that_want_different_amounts_the_last_one_wins(store: Store, bank: Bank, *, apart: bool) -> None:
    bank.open_account("acc-1", "Ada")
    banks = [bank, Bank(store) if apart else bank]
    expected = Decimal(0)
    for _ in range(20):
        version = bank.deposit("acc-1", 500).version
        outcomes = race(banks, version, [50, 60])
        assert not any(isinstance(outcome, NothingToCorrect) for outcome in outcomes)
        *_, last = bank.history("acc-1")
        assert isinstance(last.event, TransactionCorrected)
        expected += last.event.corrected
        assert last.event.corrected in {50, 60}
        assert last.event.balance_after == expected

    assert [one.account("acc-1").balance for one in banks] == [expected] * 2


# Whatever happens.


@frozen
class Movement:
    """A transaction as the test remembers it: its sign, and each amount with the moment from which it counts."""

    sign: int
    occurred_at: datetime
    amounts: list[tuple[datetime, Decimal]] = field(factory=list[tuple[datetime, Decimal]])

    def until(self, moment: datetime) -> Decimal:
        """Say what it did to the balance, by all that had happened until a moment."""
        amounts = [amount for occurred_at, amount in self.amounts if occurred_at <= moment]
        return self.sign * amounts[-1] if amounts else Decimal(0)


@frozen
class Move:
    """Deposit or withdraw, some hours after the opening."""

    sign: int
    amount: Decimal
    hours: int


@frozen
class Correct:
    """Correct one of the transactions so far, some hours after the opening or when it happened."""

    which: int
    amount: Decimal
    hours: int | None


AMOUNTS = st.decimals("0.01", "1000", places=2)
HOURS = st.integers(0, 5)
STEPS = st.lists(
    st.builds(Move, st.sampled_from([1, -1]), AMOUNTS, HOURS)
    | st.builds(Correct, st.integers(0, 9), st.just(Decimal(0)) | AMOUNTS, st.none() | HOURS),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_balance_is_the_fold_of_the_latest_corrected_amounts(steps: list[Move | Correct]) -> None:
    clock = Clock()
    opened_at = clock.now
    movements: dict[int, Movement] = {}
    believed: list[tuple[datetime, Decimal]] = []

    def true_at(moment: datetime) -> Decimal:
        return sum((movement.until(moment) for movement in movements.values()), Decimal(100))

    with MemoryEventStore(clock=clock) as store:
        bank = Bank(store)
        bank.open_account("acc-1", "Ada", initial_balance=100, overdraft_limit=500)
        for step in steps:
            clock.forward(minutes=10)
            if isinstance(step, Move):
                move(bank, movements, step, opened_at)
            elif movements:
                correct(bank, movements, step, opened_at)
            believed.append((clock.now, true_at(opened_at + timedelta(days=1))))
            assert bank.accounts.load("acc-1").state.balance == believed[-1][1]

        for moment, balance in believed:
            assert bank.balance_at("acc-1", moment) == balance
        for hours in range(6):
            moment = opened_at + timedelta(hours=hours)
            assert bank.balance_at("acc-1", moment, business_time=True) == true_at(moment)
        check_the_views(bank)


def move(bank: Bank, movements: dict[int, Movement], step: Move, opened_at: datetime) -> None:
    occurred_at = opened_at + timedelta(hours=step.hours)
    command = bank.deposit if step.sign > 0 else bank.withdraw
    try:
        version = command("acc-1", step.amount, metadata=Metadata(occurred_at=occurred_at)).version
    except InsufficientFunds:
        return
    movements[version] = Movement(step.sign, occurred_at, [(occurred_at, step.amount)])


def correct(bank: Bank, movements: dict[int, Movement], step: Correct, opened_at: datetime) -> None:
    version, movement = list(movements.items())[step.which % len(movements)]
    metadata = None
    if step.hours is not None:
        metadata = Metadata(occurred_at=max(opened_at + timedelta(hours=step.hours), movement.occurred_at))
    if step.amount == movement.amounts[-1][1]:
        with pytest.raises(NothingToCorrect):
            bank.correct("acc-1", version, step.amount, "misread", metadata=metadata)
        return
    (envelope,) = bank.correct("acc-1", version, step.amount, "misread", metadata=metadata).envelopes
    movement.amounts.append((envelope.occurred_at, step.amount))


def check_the_views(bank: Bank) -> None:
    """Check that both read models add up to the balance, and that a rebuild gives the same rows."""
    balance = bank.accounts.load("acc-1").state.balance
    row, rows = bank.account("acc-1"), bank.transactions("acc-1")
    assert row.balance == balance == 100 + row.deposit_total - row.withdrawal_total + row.correction_total
    assert rows[-1].balance_after == balance
    assert sum(-one.amount if one.kind == "withdrawal" else one.amount for one in rows) == balance

    bank.projections.rebuild()

    assert (bank.account("acc-1"), bank.transactions("acc-1")) == (row, rows)
