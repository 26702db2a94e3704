"""What mypy and pyright infer from an aggregate: its commands, its events and its state, and that others are wrong."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_type

import pytest
from attrs import frozen
from savings import AddInterest, SavingsAccount

import esbank
from esbank import (
    Aggregate,
    ByHand,
    DefinitionError,
    EventEnvelope,
    EveryNEvents,
    Executed,
    Loaded,
    NoSnapshots,
    OnEvents,
    Repository,
    SnapshotPolicy,
    UnhandledCommand,
)
from esbank.backends.memory import MemoryEventStore
from esbank.bank import AccountClosed, AccountCommand, AccountEvent, Bank, BankAccount, Deposit, OpenAccount, Withdrawn
from esbank.store import ANY_VERSION, NO_STREAM, STREAM_EXISTS


@frozen
class Unrelated:
    pass


@pytest.fixture
def accounts() -> Repository[BankAccount]:
    return Repository(MemoryEventStore(), BankAccount, snapshots=EveryNEvents(50))


@pytest.fixture
def savings() -> Repository[SavingsAccount]:
    return Repository(MemoryEventStore(), SavingsAccount)


def test_a_repository_is_of_the_aggregate_that_it_was_given() -> None:
    store = MemoryEventStore()

    assert_type(Repository(store, BankAccount), Repository[BankAccount])
    assert_type(Repository(store, SavingsAccount), Repository[SavingsAccount])
    assert_type(Bank(store).accounts, Repository[BankAccount])


def test_execute_infers_the_state_and_the_events(accounts: Repository[BankAccount]) -> None:
    executed = accounts.execute("a", OpenAccount("Ada"), Deposit(Decimal(1)))

    assert_type(executed, Executed[BankAccount, AccountEvent])
    assert_type(executed.state, BankAccount)
    assert_type(executed.state.balance, Decimal)
    assert_type(executed.version, int)
    assert_type(executed.envelopes, tuple[EventEnvelope[AccountEvent], ...])
    assert_type(executed.envelopes[0].event, AccountEvent)


def test_load_infers_the_state(accounts: Repository[BankAccount]) -> None:
    accounts.execute("a", OpenAccount("Ada"))

    assert_type(accounts.load("a"), Loaded[BankAccount])
    assert_type(accounts.load("a", version=1).state, BankAccount)


def test_a_state_of_the_past_is_a_state(accounts: Repository[BankAccount]) -> None:
    accounts.execute("a", OpenAccount("Ada"))
    now = datetime.now(UTC)

    assert_type(accounts.load("a", occurred_until=now), Loaded[BankAccount])
    assert_type(accounts.load("a", version=1, recorded_until=now, occurred_until=now).state.balance, Decimal)


def test_a_moment_is_no_text(accounts: Repository[BankAccount]) -> None:
    with pytest.raises(TypeError):
        accounts.load("a", occurred_until="2024-05-01")  # type: ignore[arg-type]


def test_history_infers_the_events(accounts: Repository[BankAccount]) -> None:
    accounts.execute("a", OpenAccount("Ada"))

    assert_type(accounts.history("a"), Iterator[EventEnvelope[AccountEvent]])
    for envelope in accounts.history("a"):
        assert_type(envelope.event, AccountEvent)


def test_timeline_infers_the_events_and_the_states(
    accounts: Repository[BankAccount], savings: Repository[SavingsAccount]
) -> None:
    accounts.execute("a", OpenAccount("Ada"))
    savings.execute("s", OpenAccount("Ada"))

    assert_type(accounts.timeline("a"), Iterator[tuple[EventEnvelope[AccountEvent], BankAccount]])
    for envelope, state in accounts.timeline("a"):
        assert_type(envelope.event, AccountEvent)
        assert_type(state.balance, Decimal)
    for _, saved in savings.timeline("s"):
        assert_type(saved.withdrawals, int)


def test_expected_versions_are_numbers_or_one_of_the_constants(accounts: Repository[BankAccount]) -> None:
    accounts.execute("a", OpenAccount("Ada"), expected_version=NO_STREAM)
    accounts.execute("a", Deposit(1), expected_version=STREAM_EXISTS)
    accounts.execute("a", Deposit(1), expected_version=ANY_VERSION)
    accounts.execute("a", Deposit(1), expected_version=3)


def test_a_command_of_something_else_is_a_type_error(accounts: Repository[BankAccount]) -> None:
    with pytest.raises(UnhandledCommand):
        accounts.execute("a", Unrelated())  # type: ignore[arg-type]


def test_a_command_of_something_else_among_others_is_a_type_error(accounts: Repository[BankAccount]) -> None:
    with pytest.raises(UnhandledCommand):
        accounts.execute("a", OpenAccount("Ada"), Unrelated())  # type: ignore[arg-type]


def test_an_event_is_no_command(accounts: Repository[BankAccount]) -> None:
    event = accounts.execute("a", OpenAccount("Ada")).envelopes[0].event
    with pytest.raises(UnhandledCommand):
        accounts.execute("a", event)  # type: ignore[arg-type]


def test_a_subclass_takes_its_own_commands_and_its_parents(savings: Repository[SavingsAccount]) -> None:
    executed = savings.execute("s", OpenAccount("Ada"), Deposit(100), AddInterest(Decimal(1)))

    assert_type(executed, Executed[SavingsAccount, AccountEvent])
    assert_type(executed.state.withdrawals, int)
    with pytest.raises(UnhandledCommand):
        savings.execute("s", Unrelated())  # type: ignore[arg-type]


def test_a_repository_of_a_subclass_serves_where_one_of_its_parent_is_asked_for(
    savings: Repository[SavingsAccount],
) -> None:
    def open_in(repository: Repository[BankAccount]) -> Executed[BankAccount, AccountEvent]:
        return repository.execute("x", OpenAccount("Ada"))

    def open_in_any(repository: Repository[Aggregate[AccountCommand, AccountEvent]]) -> int:
        return repository.execute("y", OpenAccount("Ada")).version

    def states(loaded: Sequence[Loaded[BankAccount]]) -> list[Decimal]:
        return [one.state.balance for one in loaded]

    assert open_in(savings).version == open_in_any(savings) == 1
    assert states([savings.load("x")]) == [0]


def test_a_repository_of_a_parent_does_not_serve_for_a_subclass(accounts: Repository[BankAccount]) -> None:
    wrong: Repository[SavingsAccount] = accounts  # type: ignore[assignment]

    assert wrong is accounts


def test_what_is_no_aggregate_has_no_repository() -> None:
    with pytest.raises(DefinitionError, match="a class of aggregates is needed"):
        Repository(MemoryEventStore(), Unrelated)  # type: ignore[type-var]


def test_policies_combine_to_a_policy() -> None:
    assert_type(EveryNEvents(50) | NoSnapshots(), SnapshotPolicy)
    assert_type(EveryNEvents(50) | NoSnapshots() | EveryNEvents(7), SnapshotPolicy)

    class Weekly(SnapshotPolicy):
        def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
            return version - last > 7 and bool(events)

    Repository(MemoryEventStore(), BankAccount, snapshots=Weekly() | EveryNEvents(50))
    Repository(MemoryEventStore(), BankAccount, snapshots=ByHand() | OnEvents(AccountClosed, Withdrawn))


def test_a_snapshot_by_hand_is_of_a_version(accounts: Repository[BankAccount]) -> None:
    accounts.execute("a", OpenAccount("Ada"))

    assert_type(accounts.snapshot("a"), int)


def test_a_policy_on_events_takes_classes() -> None:
    with pytest.raises(TypeError):
        OnEvents("AccountClosed")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        OnEvents([AccountClosed])  # type: ignore[arg-type]


def test_a_context_goes_around_a_block_and_on_a_function(accounts: Repository[BankAccount]) -> None:
    @esbank.context(actor="alice")
    def open_account(key: str, *, owner: str) -> int:
        return accounts.execute(key, OpenAccount(owner)).version

    with esbank.context(correlation_id="1", causation_id="2", extra={"pages": [1, None, {"last": True}]}) as nothing:
        assert_type(nothing, None)
        assert_type(open_account("a", owner="Ada"), int)
    with pytest.raises(TypeError):
        open_account("b", name="Ada")  # type: ignore[call-arg]


def test_a_context_takes_texts_by_name() -> None:
    with pytest.raises(TypeError), esbank.context("alice"):  # type: ignore[call-arg]
        pass
    with pytest.raises(TypeError), esbank.context(actor=7):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match="JSON cannot say"), esbank.context(extra={"who": Unrelated()}):  # type: ignore[dict-item]
        pass


def test_any_aggregate_may_be_kept_as_any(accounts: Repository[BankAccount]) -> None:
    anything: Repository[Aggregate[Any, Any]] = accounts

    assert anything is accounts
