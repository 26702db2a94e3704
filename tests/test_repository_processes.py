"""Several processes, some of which are killed, work on one SQLite file; nothing is lost and nothing is done twice."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar, Final

from attrs import define

from esbank import EveryNEvents, Repository, handles
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountEvent, BankAccount, Deposit, InsufficientFunds, OpenAccount, Withdraw
from esbank.store import StreamId
from tests.basket import Add, AddNumbered, Basket

SPAWN: Final = get_context("spawn")
ACCOUNTS: Final = [f"acc-{number}" for number in range(10)]


def move_money(path: Path, seed: int, commands: int) -> list[tuple[str, int]]:
    """Deposit and withdraw at random; return the movements that were accepted, in cents."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    accepted: list[tuple[str, int]] = []
    with SQLiteEventStore(path) as store:
        accounts = Repository(store, BankAccount, snapshots=EveryNEvents(50))
        for _ in range(commands):
            account, cents = chance.choice(ACCOUNTS), chance.randint(-500, 500) or 1
            amount = Decimal(abs(cents)).scaleb(-2)
            try:
                accounts.execute(account, Deposit(amount) if cents > 0 else Withdraw(amount))
            except InsufficientFunds:
                continue
            accepted.append((account, cents))
    return accepted


def test_processes_that_share_accounts_lose_nothing(tmp_path: Path) -> None:
    path, processes, commands = tmp_path / "bank.db", 6, 200
    with SQLiteEventStore(path) as store:
        accounts = Repository(store, BankAccount)
        for account in ACCOUNTS:
            accounts.execute(account, OpenAccount("Ada", initial_balance=10))

        with ProcessPoolExecutor(processes, mp_context=SPAWN) as pool:
            work = [pool.submit(move_money, path, seed, commands) for seed in range(processes)]
            accepted = [movement for done in work for movement in done.result()]

        expected: defaultdict[str, list[int]] = defaultdict(list)
        for account, cents in accepted:
            expected[account].append(cents)
        for account in ACCOUNTS:
            assert accounts.load(account).version == 1 + len(expected[account])
            assert accounts.load(account).state.balance == 10 + Decimal(sum(expected[account])).scaleb(-2)
            versions = [envelope.version for envelope in accounts.history(account)]
            assert versions == list(range(1, len(versions) + 1))
        with_snapshots = Repository(store, BankAccount, snapshots=EveryNEvents(50))
        assert [with_snapshots.load(account) for account in ACCOUNTS] == [accounts.load(key) for key in ACCOUNTS]


@define
class SlowAccount(BankAccount):
    """An account that thinks for so long that another process is always faster."""

    category: ClassVar[str] = BankAccount.category

    @handles(Deposit)
    def deposit(self, command: Deposit) -> Iterator[AccountEvent]:
        time.sleep(0.01)
        yield from super().deposit(command)


def deposit_cents_without_a_pause(path: Path) -> None:
    with SQLiteEventStore(path) as store:
        accounts = Repository(store, BankAccount)
        while True:
            accounts.execute("acc-1", Deposit(Decimal("0.01")))


def test_who_takes_longer_to_decide_than_another_process_to_write_has_a_turn_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    with SQLiteEventStore(path) as store:
        accounts = Repository(store, SlowAccount)
        accounts.execute("acc-1", OpenAccount("Ada"))
        process = SPAWN.Process(target=deposit_cents_without_a_pause, args=(path,), daemon=True)
        process.start()
        while store.version(StreamId("BankAccount", "acc-1")) < 10:
            assert process.is_alive()
            time.sleep(0.001)

        for _ in range(10):
            accounts.execute("acc-1", Deposit(100))

        assert process.is_alive()
        process.kill()
        process.join()
        process.close()
        deposits = Counter(getattr(envelope.event, "amount", None) for envelope in accounts.history("acc-1"))
        assert deposits[Decimal(100)] == 10


def add_numbered(path: Path, commands: int) -> list[tuple[int, list[str]]]:
    with SQLiteEventStore(path) as store:
        baskets = Repository(store, Basket)
        outcomes = [
            baskets.execute("b1", AddNumbered(), AddNumbered(), command_id=f"c{number}") for number in range(commands)
        ]
    return [(executed.version, executed.state.skus) for executed in outcomes]


def test_processes_that_repeat_each_others_commands_all_get_the_first_outcomes(tmp_path: Path) -> None:
    path, processes, commands = tmp_path / "events.db", 4, 50

    with ProcessPoolExecutor(processes, mp_context=SPAWN) as pool:
        work = [pool.submit(add_numbered, path, commands) for _ in range(processes)]
        outcomes = [done.result() for done in work]

    with SQLiteEventStore(path) as store:
        loaded = Repository(store, Basket).load("b1")
    assert loaded.state.skus == [f"sku {number}" for number in range(2 * commands)]
    assert all(outcome == outcomes[0] for outcome in outcomes)


def add_in_turn(path: Path, commands: int) -> None:
    with SQLiteEventStore(path) as store:
        baskets = Repository(store, Basket, snapshots=EveryNEvents(10))
        for number in range(commands):
            baskets.execute("b1", Add(f"a{number}"), Add(f"b{number}"), command_id=f"c{number}")


def test_a_process_that_is_killed_and_starts_again_does_nothing_twice(tmp_path: Path) -> None:
    path, commands, stream = tmp_path / "events.db", 100_000, StreamId("Basket", "b1")
    with SQLiteEventStore(path) as store:
        for _ in range(3):
            before = store.version(stream)
            process = SPAWN.Process(target=add_in_turn, args=(path, commands))
            process.start()
            while store.version(stream) < before + 40:
                assert process.is_alive()
                time.sleep(0.001)
            process.kill()
            process.join()
            process.close()

        done = store.version(stream) // 2
        add_in_turn(path, done + 5)

        skus = [sku for number in range(done + 5) for sku in (f"a{number}", f"b{number}")]
        assert Repository(store, Basket).load("b1").state.skus == skus
        assert Repository(store, Basket, snapshots=EveryNEvents(10)).load("b1").state.skus == skus
