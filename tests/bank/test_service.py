"""The bank as a program uses it, over every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from esbank import (
    CommandIdReused,
    DefinitionError,
    EventEnvelope,
    EveryNEvents,
    Metadata,
    ProjectionError,
    Projector,
    Repository,
    StreamNotFound,
)
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import (
    AccountAlreadyExists,
    AccountClosed,
    AccountDetails,
    AccountIsClosed,
    AccountNotFound,
    AccountOpened,
    Bank,
    BankAccount,
    BankError,
    CorrectionOfCorrection,
    Deposit,
    Deposited,
    InsufficientFunds,
    InvalidAmount,
    InvalidCommand,
    NonZeroBalance,
    NothingToCorrect,
    Status,
    TransactionNotFound,
    Withdrawn,
)
from esbank.store import StreamId, Transaction
from tests.doubles import KINDS, Clock, PlainStore, Store, WatchedSnapshotStore, open_store


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


def test_an_account_is_opened(bank: Bank) -> None:
    executed = bank.open_account("acc-1", "Ada", initial_balance=Decimal(100), overdraft_limit=20)

    assert executed.version == 1
    assert executed.state == BankAccount("Ada", "EUR", Decimal(100), Decimal(20), Status.OPEN)
    assert [envelope.event for envelope in executed.envelopes] == [
        AccountOpened("Ada", "EUR", Decimal(100), Decimal(20))
    ]


def test_an_account_is_opened_empty_in_euros_unless_told_otherwise(bank: Bank) -> None:
    assert bank.open_account("acc-1", "Ada").state == BankAccount("Ada", status=Status.OPEN)
    assert bank.open_account("acc-2", "Ada", currency="JPY").state.currency == "JPY"


def test_money_is_moved_and_the_account_closed(bank: Bank) -> None:
    bank.open_account("acc-1", "Ada")
    assert bank.deposit("acc-1", Decimal("50.25"), "Bob").state.balance == Decimal("50.25")
    assert bank.withdraw("acc-1", Decimal("50.25"), by="Eve").state.balance == 0

    closed = bank.close_account("acc-1", "moved")

    assert (closed.version, closed.state.status) == (4, Status.CLOSED)
    assert [envelope.event for envelope in bank.history("acc-1")] == [
        AccountOpened("Ada", "EUR", Decimal(0), Decimal(0)),
        Deposited(Decimal("50.25"), Decimal("50.25"), "Bob"),
        Withdrawn(Decimal("50.25"), Decimal(0), "Eve"),
        AccountClosed("moved"),
    ]


def test_accounts_are_apart(bank: Bank) -> None:
    for number in range(3):
        bank.open_account(f"acc-{number}", f"owner {number}", initial_balance=number)

    assert [bank.account(f"acc-{number}").balance for number in range(3)] == [0, 1, 2]
    assert [bank.account(f"acc-{number}").owner for number in range(3)] == ["owner 0", "owner 1", "owner 2"]


def test_another_bank_over_the_same_store_sees_everything(store: Store, bank: Bank) -> None:
    bank.open_account("acc-1", "Ada", initial_balance=5)
    assert bank.account("acc-1").balance == 5

    Bank(store).deposit("acc-1", 5)

    assert bank.account("acc-1").balance == 10
    assert bank.deposit("acc-1", 1).state.balance == 11
    assert bank.accounts.load("acc-1").state.balance == 11


def test_a_refusal_that_another_bank_has_made_groundless_is_no_refusal(store: Store, bank: Bank) -> None:
    bank.open_account("acc-1", "Ada")
    with pytest.raises(InsufficientFunds):
        bank.withdraw("acc-1", 5)
    Bank(store).deposit("acc-1", 5)

    assert bank.withdraw("acc-1", 5).state.balance == 0


# Refusals.

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
BAD_COMMANDS: dict[str, tuple[Callable[[Bank], object], type[BankError]]] = {
    "opened before": (lambda bank: bank.open_account("acc-1", "Ada"), AccountAlreadyExists),
    "opened without an owner": (lambda bank: bank.open_account("acc-9", " "), InvalidCommand),
    "opened in an unknown currency": (lambda bank: bank.open_account("acc-9", "Ada", currency="XXX"), InvalidCommand),
    "opened below zero": (lambda bank: bank.open_account("acc-9", "Ada", initial_balance=-1), InvalidAmount),
    "opened too precisely": (
        lambda bank: bank.open_account("acc-9", "Ada", currency="JPY", initial_balance=Decimal("0.5")),
        InvalidAmount,
    ),
    "an overdraft below zero": (lambda bank: bank.open_account("acc-9", "Ada", overdraft_limit=-1), InvalidAmount),
    "a deposit of nothing": (lambda bank: bank.deposit("acc-1", 0), InvalidAmount),
    "a deposit below zero": (lambda bank: bank.deposit("acc-1", Decimal(-5)), InvalidAmount),
    "a deposit of half a cent": (lambda bank: bank.deposit("acc-1", Decimal("0.005")), InvalidAmount),
    "a deposit of a float": (lambda bank: bank.deposit("acc-1", _any(0.5)), InvalidAmount),
    "a deposit of NaN": (lambda bank: bank.deposit("acc-1", Decimal("NaN")), InvalidAmount),
    "a deposit by nobody": (lambda bank: bank.deposit("acc-1", 1, _any(None)), InvalidCommand),
    "a deposit to nowhere": (lambda bank: bank.deposit("acc-9", 1), AccountNotFound),
    "a deposit to a closed account": (lambda bank: bank.deposit("acc-2", 1), AccountIsClosed),
    "a withdrawal of nothing": (lambda bank: bank.withdraw("acc-1", 0), InvalidAmount),
    "a withdrawal of too much": (lambda bank: bank.withdraw("acc-1", Decimal("100.01")), InsufficientFunds),
    "a withdrawal of text": (lambda bank: bank.withdraw("acc-1", _any("1")), InvalidAmount),
    "a withdrawal from nowhere": (lambda bank: bank.withdraw("acc-9", 1), AccountNotFound),
    "a withdrawal from a closed account": (lambda bank: bank.withdraw("acc-2", 1), AccountIsClosed),
    "a correction of the opening": (lambda bank: bank.correct("acc-1", 1, 5, "miscounted"), TransactionNotFound),
    "a correction of nothing": (lambda bank: bank.correct("acc-1", 9, 5, "miscounted"), TransactionNotFound),
    "a correction of version 0": (lambda bank: bank.correct("acc-1", 0, 5, "miscounted"), TransactionNotFound),
    "a correction of a text": (lambda bank: bank.correct("acc-1", _any("2"), 5, "miscounted"), TransactionNotFound),
    "a correction of a correction": (
        lambda bank: bank.correct("acc-3", 3, 5, "miscounted"),
        CorrectionOfCorrection,
    ),
    "a correction that changes nothing": (lambda bank: bank.correct("acc-3", 2, 50, "misread"), NothingToCorrect),
    "a correction to below zero": (lambda bank: bank.correct("acc-3", 2, -1, "miscounted"), InvalidAmount),
    "a correction to half a cent": (
        lambda bank: bank.correct("acc-3", 2, Decimal("0.005"), "miscounted"),
        InvalidAmount,
    ),
    "a correction to a float": (lambda bank: bank.correct("acc-3", 2, _any(0.5), "miscounted"), InvalidAmount),
    "a correction for no reason": (lambda bank: bank.correct("acc-3", 2, 5, " "), InvalidCommand),
    "a correction by nobody": (lambda bank: bank.correct("acc-3", 2, 5, "miscounted", by=_any(None)), InvalidCommand),
    "a correction before its time": (
        lambda bank: bank.correct("acc-3", 2, 5, "misread", metadata=Metadata(occurred_at=LONG_AGO)),
        InvalidCommand,
    ),
    "a correction of nowhere": (lambda bank: bank.correct("acc-9", 2, 5, "miscounted"), AccountNotFound),
    "a correction of a closed account": (lambda bank: bank.correct("acc-2", 2, 5, "miscounted"), AccountIsClosed),
    "closed with money on it": (lambda bank: bank.close_account("acc-1", "moved"), NonZeroBalance),
    "closed for no text": (lambda bank: bank.close_account("acc-1", _any(7)), InvalidCommand),
    "closed twice": (lambda bank: bank.close_account("acc-2", "moved"), AccountIsClosed),
    "closed though never opened": (lambda bank: bank.close_account("acc-9", "moved"), AccountNotFound),
}


def _any(value: object) -> Any:  # noqa: ANN401 - for what a type checker would refuse
    return value


@pytest.fixture
def busy_bank(bank: Bank) -> Bank:
    """Make a bank with an account with 100 on it, a closed one, and one with a deposit that was corrected to 50."""
    bank.open_account("acc-1", "Ada", initial_balance=100)
    bank.open_account("acc-2", "Bob")
    bank.deposit("acc-2", 5)
    bank.withdraw("acc-2", 5)
    bank.close_account("acc-2", "moved")
    bank.open_account("acc-3", "Eve")
    bank.deposit("acc-3", 500)
    bank.correct("acc-3", 2, 50, "a digit too many")
    return bank


@pytest.mark.parametrize("case", BAD_COMMANDS)
@pytest.mark.parametrize("command_id", [None, "c1"])
def test_a_bad_command_leaves_everything_untouched_and_names_the_account(
    store: Store, busy_bank: Bank, case: str, command_id: str | None
) -> None:
    command, error = BAD_COMMANDS[case]
    before = list(store.read_all()), busy_bank.account("acc-1"), busy_bank.transactions("acc-1")

    with pytest.raises(error) as refused:
        command(_any(_WithCommandId(busy_bank, command_id)))

    assert type(refused.value) is error
    assert refused.value.account_id in {"acc-1", "acc-2", "acc-3", "acc-9"}
    if not isinstance(refused.value, InvalidAmount | InvalidCommand):
        assert refused.value.account_id in str(refused.value)
    assert (list(store.read_all()), busy_bank.account("acc-1"), busy_bank.transactions("acc-1")) == before
    assert busy_bank.deposit("acc-1", 1, command_id=command_id).state.balance == 101


class _WithCommandId:
    """A bank that gives every command an id."""

    def __init__(self, bank: Bank, command_id: str | None) -> None:
        self._bank = bank
        self._command_id = command_id

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the bank has
        method = getattr(self._bank, name)
        return lambda *args, **kwargs: method(*args, command_id=self._command_id, **kwargs)


@pytest.mark.parametrize(
    "question",
    [
        lambda bank: bank.account("acc-9"),
        lambda bank: bank.transactions("acc-9"),
        lambda bank: bank.history("acc-9"),
        lambda bank: bank.balance_at("acc-9", datetime.now(UTC)),
        lambda bank: bank.balance_at("acc-9", datetime.now(UTC), business_time=True),
    ],
    ids=["account", "transactions", "history", "balance_at", "balance_at by business time"],
)
def test_there_is_nothing_to_know_about_an_account_that_is_not_there(
    bank: Bank, question: Callable[[Bank], object]
) -> None:
    with pytest.raises(AccountNotFound, match="account acc-9 does not exist") as refused:
        question(bank)

    assert refused.value.account_id == "acc-9"


def test_a_refusal_keeps_its_cause(bank: Bank) -> None:
    with pytest.raises(AccountNotFound) as refused:
        bank.history("acc-9")

    assert isinstance(refused.value.__cause__, StreamNotFound)


def test_refusals_carry_their_data(busy_bank: Bank) -> None:
    with pytest.raises(InsufficientFunds, match=r"150\.00 was requested from account acc-1, 100\.00 is") as refused:
        busy_bank.withdraw("acc-1", 150)
    assert (refused.value.requested, refused.value.available) == (Decimal(150), Decimal(100))

    with pytest.raises(NonZeroBalance, match=r"account acc-1 is 100\.00") as left:
        busy_bank.close_account("acc-1", "moved")
    assert left.value.balance == 100

    with pytest.raises(TransactionNotFound, match="account acc-1 has no event at version 2") as missing:
        busy_bank.correct("acc-1", 2, 5, "miscounted")
    assert (missing.value.version, missing.value.found) == (2, None)

    with pytest.raises(TransactionNotFound, match="version 1 of account acc-1 is AccountOpened, neither a") as other:
        busy_bank.correct("acc-1", 1, 5, "miscounted")
    assert (other.value.version, other.value.found) == (1, "AccountOpened")

    with pytest.raises(CorrectionOfCorrection, match="correct the original transaction again, at version 2") as again:
        busy_bank.correct("acc-3", 3, 5, "miscounted")
    assert (again.value.version, again.value.original) == (3, 2)

    with pytest.raises(NothingToCorrect, match=r"version 2 of account acc-3 is of 50\.00 already") as same:
        busy_bank.correct("acc-3", 2, 50, "miscounted")
    assert (same.value.version, same.value.amount) == (2, Decimal(50))


@pytest.mark.parametrize("account_id", ["", "\0", "\ud800", "x" * 600])
def test_an_account_id_is_one_that_a_stream_can_bear(store: Store, bank: Bank, account_id: str) -> None:
    with pytest.raises(ValueError, match="stream"):
        bank.open_account(account_id, "Ada")

    assert store.head() is None


# What happened when.


def test_the_balance_at_a_moment_is_what_had_been_recorded_by_then(bank: Bank, clock: Clock) -> None:
    opened_at = clock.now
    bank.open_account("acc-1", "Ada", initial_balance=100)
    clock.forward(hours=1)
    bank.deposit("acc-1", 50, metadata=Metadata(occurred_at=opened_at - timedelta(days=1)))
    clock.forward(hours=1)
    bank.withdraw("acc-1", 30)

    assert bank.balance_at("acc-1", opened_at) == 100
    assert bank.balance_at("acc-1", opened_at + timedelta(minutes=59)) == 100
    assert bank.balance_at("acc-1", opened_at + timedelta(hours=1)) == 150
    assert bank.balance_at("acc-1", clock.now) == 120
    assert bank.balance_at("acc-1", clock.now + timedelta(days=365)) == 120


def test_the_balance_at_a_moment_by_business_time_is_what_had_happened_by_then(bank: Bank, clock: Clock) -> None:
    opened_at = clock.now
    bank.open_account("acc-1", "Ada", initial_balance=100)
    clock.forward(hours=2)
    bank.deposit("acc-1", 50, metadata=Metadata(occurred_at=opened_at + timedelta(hours=1)))
    bank.withdraw("acc-1", 30, metadata=Metadata(occurred_at=opened_at + timedelta(hours=3)))

    def balance_after(hours: float) -> Decimal:
        return bank.balance_at("acc-1", opened_at + timedelta(hours=hours), business_time=True)

    assert [balance_after(hours) for hours in (0, 0.5, 1, 2, 3, 99)] == [100, 100, 150, 150, 120, 120]
    assert bank.balance_at("acc-1", opened_at + timedelta(hours=1)) == 100


def test_what_happened_before_the_account_was_opened_makes_no_balance(bank: Bank, clock: Clock) -> None:
    opened_at = clock.now
    bank.open_account("acc-1", "Ada", initial_balance=100)
    bank.deposit("acc-1", 50, metadata=Metadata(occurred_at=opened_at - timedelta(days=2)))

    for days in (1, 3):
        with pytest.raises(AccountNotFound) as refused:
            bank.balance_at("acc-1", opened_at - timedelta(days=days), business_time=True)
        assert refused.value.account_id == "acc-1"
    assert bank.balance_at("acc-1", opened_at, business_time=True) == 150


def test_a_closed_account_has_a_balance_at_any_moment_since_it_was_opened(busy_bank: Bank, clock: Clock) -> None:
    assert busy_bank.balance_at("acc-2", clock.now) == 0
    assert busy_bank.balance_at("acc-2", clock.now, business_time=True) == 0


def test_there_was_no_balance_before_the_account_was_opened(bank: Bank, clock: Clock) -> None:
    clock.forward(hours=1)
    bank.open_account("acc-1", "Ada", initial_balance=100)

    with pytest.raises(AccountNotFound) as refused:
        bank.balance_at("acc-1", clock.now - timedelta(microseconds=1))

    assert refused.value.account_id == "acc-1"


@pytest.mark.parametrize("business_time", [False, True])
def test_a_moment_without_a_time_zone_is_refused(busy_bank: Bank, *, business_time: bool) -> None:
    naive = datetime(2024, 5, 1)  # noqa: DTZ001 - naive is the point
    with pytest.raises(ValueError, match="time zone"):
        busy_bank.balance_at("acc-1", naive, business_time=business_time)


# Repeating.


def test_a_command_that_is_repeated_happens_once(store: Store, bank: Bank) -> None:
    commands: list[Callable[[], object]] = [
        lambda: bank.open_account("acc-1", "Ada", initial_balance=10, command_id="c1"),
        lambda: bank.deposit("acc-1", 5, command_id="c2"),
        lambda: bank.withdraw("acc-1", 14, command_id="c3"),
        lambda: bank.correct("acc-1", 3, 15, "miscounted", command_id="c4"),
        lambda: bank.close_account("acc-1", "moved", command_id="c5"),
    ]

    firsts = [command() for command in commands]
    agains = [command() for command in commands]

    assert agains == firsts
    assert store.version(StreamId("BankAccount", "acc-1")) == 5


def test_an_id_with_another_command_is_refused(busy_bank: Bank) -> None:
    busy_bank.deposit("acc-1", 5, command_id="c1")

    with pytest.raises(CommandIdReused):
        busy_bank.deposit("acc-1", 6, command_id="c1")
    with pytest.raises(CommandIdReused):
        busy_bank.withdraw("acc-1", 5, command_id="c1")
    with pytest.raises(CommandIdReused):
        busy_bank.correct("acc-1", 2, 6, "miscounted", command_id="c1")

    assert busy_bank.account("acc-1").balance == 105


def test_metadata_goes_with_the_events_of_every_command(bank: Bank) -> None:
    metadata = Metadata("order-7", "event-3", "teller", extra={"branch": 4})
    bank.open_account("acc-1", "Ada", metadata=metadata)
    bank.deposit("acc-1", 5, metadata=metadata)
    bank.withdraw("acc-1", 5, metadata=metadata)
    bank.close_account("acc-1", "moved", metadata=metadata)

    assert [envelope.metadata for envelope in bank.history("acc-1")] == [metadata] * 4


# Read models beside the accounts.


def fail_on_deposits(self: Projector, envelope: EventEnvelope[Any], tx: Transaction) -> None:
    """Stand in for ``AccountDetails.project``, with a mistake."""
    if isinstance(envelope.event, Deposited):
        raise ZeroDivisionError
    Projector.project(self, envelope, tx)


def test_a_failing_projector_fails_no_command(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.open_account("acc-1", "Ada")
    with monkeypatch.context() as mistaken:
        mistaken.setattr(AccountDetails, "project", fail_on_deposits)
        assert bank.deposit("acc-1", 5).version == 2
        with pytest.raises(ProjectionError):
            bank.account("acc-1")
        assert bank.withdraw("acc-1", 3).version == 3
        assert len(list(bank.history("acc-1"))) == 3

    assert bank.account("acc-1").balance == 2


def test_the_read_models_may_be_in_another_database(store: Store, tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "views.db") as views:
        bank = Bank(store, views=views)
        bank.open_account("acc-1", "Ada", initial_balance=7)

        assert bank.account("acc-1").balance == 7
        assert views.query("SELECT balance FROM account_details") == [("7.00",)]
        assert views.head() is None


def test_read_models_that_were_rebuilt_are_as_before(busy_bank: Bank) -> None:
    busy_bank.deposit("acc-1", Decimal("0.10"))
    before = busy_bank.account("acc-1"), busy_bank.transactions("acc-1")

    busy_bank.projections.rebuild()

    assert (busy_bank.account("acc-1"), busy_bank.transactions("acc-1")) == before


def test_a_store_that_can_keep_neither_snapshots_nor_views_will_not_do(store: Store) -> None:
    with pytest.raises(DefinitionError, match="snapshots"):
        Bank(PlainStore(store))
    with pytest.raises(DefinitionError, match="views"):
        Bank(WatchedSnapshotStore(store))


# A thousand deposits.


def test_after_a_thousand_deposits_account_replay_snapshots_and_read_model_agree(store: Store, bank: Bank) -> None:
    bank.open_account("acc-1", "Ada", initial_balance=Decimal("0.01"))
    total = Decimal("0.01")
    for number in range(1, 1001):
        amount = Decimal(number).scaleb(-2)
        total += amount
        assert bank.deposit("acc-1", amount).state.balance == total

    snapshot = store.load_snapshot(StreamId("BankAccount", "acc-1"))
    assert snapshot is not None
    assert snapshot.version == 1000
    assert total == Decimal("5005.01")
    by_replay = Repository(store, BankAccount).load("acc-1")
    assert by_replay.state.balance == total
    assert by_replay == bank.accounts.load("acc-1") == Bank(store).accounts.load("acc-1")
    row = bank.account("acc-1")
    assert (row.balance, row.deposit_count, row.deposit_total) == (total, 1000, Decimal(5005))
    assert len(bank.transactions("acc-1")) == 1001


def test_the_state_at_every_version_is_a_replay_of_its_prefix(store: Store, bank: Bank) -> None:
    state = BankAccount()
    executed = bank.open_account("acc-1", "Ada")
    for number in range(1, 131):
        state.apply(executed.envelopes[0].event)
        latest = Repository(store, BankAccount, snapshots=EveryNEvents(50)).load("acc-1")
        assert (latest.version, latest.state) == (number, state)
        executed = bank.deposit("acc-1", number)

    state = BankAccount()
    for envelope in bank.history("acc-1"):
        state.apply(envelope.event)
        assert bank.accounts.load("acc-1", version=envelope.version).state == state


def test_money_is_exact_in_any_decimal_context(bank: Bank, clock: Clock) -> None:
    with localcontext(Context(prec=3)):
        bank.open_account("acc-1", "Ada", initial_balance=Decimal("123456.78"))
        for _ in range(3):
            bank.deposit("acc-1", Decimal("1000.01"))
        bank.withdraw("acc-1", Decimal("6456.79"))

        row = bank.account("acc-1")
        assert row.balance == Decimal("120000.02")
        assert (row.deposit_total, row.withdrawal_total) == (Decimal("3000.03"), Decimal("6456.79"))
        assert bank.balance_at("acc-1", clock.now) == Decimal("120000.02")
        assert bank.transactions("acc-1")[-1].balance_after == Decimal("120000.02")
        assert Bank(bank_store(bank)).accounts.execute("acc-1", Deposit(1)).state.balance == Decimal("120001.02")


def bank_store(bank: Bank) -> Store:
    views = bank.projections.views
    assert isinstance(views, Store)
    return views
