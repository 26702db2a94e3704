"""Views that join accounts lose no update, whatever many threads and processes do to the accounts meanwhile."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode

import psycopg
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import owner_totals as example  # noqa: E402
from example_programs import Run  # noqa: E402

from esbank import (  # noqa: E402
    AlreadyRunning,
    EventCodec,
    EventRegistry,
    NoSnapshots,
    ProjectionRunner,
    Projector,
    Repository,
)
from esbank.backends.memory import MemoryEventStore  # noqa: E402
from esbank.backends.postgres import PostgresEventStore  # noqa: E402
from esbank.backends.sqlite import SQLiteEventStore  # noqa: E402
from esbank.bank import (  # noqa: E402
    AccountClosed,
    AccountOpened,
    Bank,
    BankAccount,
    CorrectTransaction,
    Deposit,
    Deposited,
    InsufficientFunds,
    TransactionCorrected,
    Withdraw,
    Withdrawn,
)
from esbank.store import EventStore, ViewStore  # noqa: E402

ACCOUNTS = [f"acc-{number:03}" for number in range(20)]
OWNERS = ("Alice", "Bob", "Carol", "Dave", "Erin")
CURRENCIES = ("EUR", "CHF", "JPY", "KWD")
DAYS = [date(2026, 3, 1) + timedelta(days=number) for number in range(4)]
THREADS = 8
PROCESSES = 4
TIMES = 60


Shared: TypeAlias = SQLiteEventStore | PostgresEventStore
Store: TypeAlias = MemoryEventStore | Shared


def open_at(where: str, inline: Sequence[Projector] = ()) -> Shared:
    """Open the store at a path or a URL, in any process."""
    if where.startswith("postgresql:"):
        dsn, schema = where.split("&esbank_schema=")
        return PostgresEventStore(dsn, schema=schema, inline=inline)
    return SQLiteEventStore(where, inline=inline)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a store as the commands do."""
    if request.param == "sqlite":
        return str(tmp_path / "bank.db")
    told = psycopg.conninfo.conninfo_to_dict(request.getfixturevalue("server_dsn"))
    return f"postgresql:///?{urlencode(told)}&esbank_schema={request.getfixturevalue('schema')}"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        opened: Store = MemoryEventStore()
    elif request.param == "sqlite":
        opened = SQLiteEventStore(tmp_path / "bank.db")
    else:
        dsn, schema = request.getfixturevalue("server_dsn"), request.getfixturevalue("schema")
        opened = PostgresEventStore(dsn, schema=schema)
    with opened:
        yield opened


def open_accounts(store: EventStore) -> None:
    bank = Bank(store)
    for number, account_id in enumerate(ACCOUNTS):
        owner, currency = OWNERS[number % 5], CURRENCIES[number // 5]
        bank.open_account(account_id, owner, currency=currency, initial_balance=100, metadata=example.on(DAYS[0]))


def use_accounts(store: EventStore, seed: int) -> Counter[str]:
    """Deposit, withdraw and correct; return how often each was done."""
    accounts = Repository(store, BankAccount, max_attempts=1000)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    done: Counter[str] = Counter()
    for _ in range(TIMES):
        account_id = chance.choice(ACCOUNTS)
        amount = chance.randrange(1, 200)
        make = chance.choice([Deposit, Withdraw])
        try:
            made = accounts.execute(account_id, make(amount), metadata=example.on(chance.choice(DAYS)))
        except InsufficientFunds:
            continue
        (envelope,) = made.envelopes
        done[envelope.type] += 1
        if chance.random() < 0.3:
            correction = CorrectTransaction.of(envelope, amount + 1, "a digit was misread")
            accounts.execute(account_id, correction, metadata=example.on(chance.choice(DAYS)))
            done["TransactionCorrected"] += 1
    return done


def fold(store: EventStore) -> tuple[list[example.OwnerTotal], list[example.DayTotal]]:
    """Work out from the log alone what the views should be."""
    codec = EventCodec(EventRegistry(BankAccount))
    opened: dict[str, AccountOpened] = {}
    balances: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    counts: Counter[tuple[str, str]] = Counter()
    days: dict[tuple[date, str], list[Decimal]] = {}
    for envelope in map(codec.envelope, store.read_all()):
        event = envelope.event
        account_id = envelope.stream.key
        if isinstance(event, AccountOpened):
            opened[account_id] = event
        owner, currency = opened[account_id].owner, opened[account_id].currency
        match event:
            case AccountOpened(initial_balance=amount):
                column, change = 0, amount
                counts[owner, currency] += 1
            case Deposited(amount=amount):
                column, change = 1, amount
            case Withdrawn(amount=amount):
                column, change = 2, -amount
            case TransactionCorrected(difference=amount):
                column, change = 3, amount
            case _:
                assert isinstance(event, AccountClosed)
                counts[owner, currency] -= 1
                continue
        balances[owner, currency] += change
        day = envelope.occurred_at.astimezone(UTC).date()
        days.setdefault((day, currency), [Decimal(0)] * 4)[column] += amount
    return (
        [example.OwnerTotal(*key, counts[key], balances[key]) for key in sorted(counts)],
        [example.DayTotal(*key, *amounts) for key, amounts in sorted(days.items())],
    )


def views_of(views: ViewStore) -> tuple[list[example.OwnerTotal], list[example.DayTotal]]:
    return example.owner_totals(views), example.day_totals(views)


def make_runner(store: EventStore) -> ProjectionRunner:
    return ProjectionRunner(store, [projector() for projector in example.PROJECTORS])


# The example itself.


def test_the_example_shows_sums_that_agree_with_the_accounts(run: Run) -> None:
    done = run("owner_totals.py")

    assert (done.returncode, done.stderr) == (0, "")
    for shown in ("owner_totals", "day_totals", "Alice", "2026-03-04", "corrections", "same: True"):
        assert shown in done.stdout
    assert done.stdout.count(" yes ") == 2
    assert " NO " not in done.stdout


def test_the_file_that_it_leaves_can_be_followed_from_the_command_line(run: Run, tmp_path: Path) -> None:
    assert run("owner_totals.py", tmp_path / "bank.db").returncode == 0

    status = project("status", tmp_path / "bank.db")

    assert status.wait(60) == 0
    assert status.stdout is not None
    assert status.stdout.read().count(" current ") == 2
    status.stdout.close()


def test_the_example_does_not_touch_a_file_that_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bank.db").write_text("mine")

    done = run("owner_totals.py", tmp_path / "bank.db")

    assert done.returncode != 0
    assert "is there already" in done.stderr
    assert (tmp_path / "bank.db").read_text() == "mine"


def test_the_example_fails_when_a_view_is_wrong(tmp_path: Path) -> None:
    with SQLiteEventStore(tmp_path / "bank.db") as store:
        open_accounts(store)
        make_runner(store).catch_up()
        with store.view_transaction() as tx:
            tx.execute("UPDATE owner_totals SET balance = '401' WHERE owner = 'Bob' AND currency = 'EUR'")

        with pytest.raises(SystemExit, match="differ"):
            example.check(store, ACCOUNTS)


# The projectors.


def test_one_owner_has_all_of_his_accounts_in_each_currency(store: Store) -> None:
    bank = Bank(store)
    bank.open_account("acc-001", "Alice", initial_balance=Decimal("0.10"))
    bank.open_account("acc-002", "Alice", initial_balance=Decimal("0.20"))
    bank.open_account("acc-003", "Alice", currency="JPY", initial_balance=7)
    bank.open_account("acc-004", "Bob")
    bank.deposit("acc-001", Decimal("999999999999999.99"))
    bank.withdraw("acc-002", Decimal("0.20"))
    bank.close_account("acc-002", "not needed")
    make_runner(store).catch_up()

    assert example.owner_totals(store) == [
        example.OwnerTotal("Alice", "EUR", 1, Decimal("1000000000000000.09")),
        example.OwnerTotal("Alice", "JPY", 1, Decimal(7)),
        example.OwnerTotal("Bob", "EUR", 1, Decimal("0.00")),
    ]
    assert views_of(store) == fold(store)


def test_a_day_has_what_happened_on_it_whenever_it_was_recorded_or_corrected(
    store: Store,
) -> None:
    bank = Bank(store)
    bank.open_account("acc-001", "Alice", initial_balance=100, metadata=example.on(DAYS[0]))
    bank.deposit("acc-001", 50, metadata=example.on(DAYS[2]))
    bank.withdraw("acc-001", 20, metadata=example.on(DAYS[1]))
    bank.correct("acc-001", 2, 5, "a digit too many")
    bank.correct("acc-001", 3, 0, "it was another account", metadata=example.on(DAYS[3]))
    make_runner(store).catch_up()

    zero = Decimal(0)
    assert example.day_totals(store) == [
        example.DayTotal(DAYS[0], "EUR", Decimal(100), zero, zero, zero),
        example.DayTotal(DAYS[1], "EUR", zero, zero, Decimal(20), zero),
        example.DayTotal(DAYS[2], "EUR", zero, Decimal(50), zero, Decimal(-45)),
        example.DayTotal(DAYS[3], "EUR", zero, zero, zero, Decimal(20)),
    ]
    assert [day.net for day in example.day_totals(store)] == [100, -20, 5, 20]
    assert views_of(store) == fold(store)


@pytest.mark.parametrize("page_by_page", [True, False], ids=["step by step", "at once"])
def test_the_views_are_what_a_fold_of_the_log_gives(
    store: Store,
    page_by_page: bool,  # noqa: FBT001
) -> None:
    runner = make_runner(store)
    open_accounts(store)
    for seed in range(5):
        use_accounts(store, seed)
        if page_by_page:
            runner.catch_up()
    runner.catch_up()

    assert views_of(store) == fold(store)
    runner.rebuild()
    assert views_of(store) == fold(store)


def test_inline_the_views_are_the_same_at_any_moment(where: str) -> None:
    with open_at(where, inline()) as store:
        open_accounts(store)
        for seed in range(3):
            use_accounts(store, seed)
            assert views_of(store) == fold(store)


def inline() -> list[Projector]:
    return [projector() for projector in example.PROJECTORS]


# Everything at once.


def in_processes(stack: ExitStack, where: str, how: str) -> list[subprocess.Popen[bytes]]:
    """Use the accounts in processes of their own."""
    program = [sys.executable, "-W", "error", __file__, where, how]
    return [
        stack.enter_context(subprocess.Popen([*program, str(number)], stdout=subprocess.PIPE))
        for number in range(PROCESSES)
    ]


def what_was_done(
    threads: Iterable[Future[Counter[str]]], processes: Iterable[subprocess.Popen[bytes]]
) -> Counter[str]:
    """Wait for all, and count what they have done."""
    done = sum((one.result() for one in threads), Counter[str]())
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        done += Counter(json.loads(output))
    done["AccountOpened"] = len(ACCOUNTS)
    return done


def test_inline_no_update_is_lost_whoever_appends(where: str) -> None:
    with ExitStack() as stack:
        store = stack.enter_context(open_at(where, inline()))
        open_accounts(store)
        threads = stack.enter_context(ThreadPoolExecutor(THREADS))
        processes = in_processes(stack, where, "inline")
        appending = [threads.submit(use_accounts, store, 100 + number) for number in range(THREADS)]

        done = what_was_done(appending, processes)

        assert Counter(event.type for event in store.read_all()) == done
        assert views_of(store) == fold(store)


def project(command: str, where: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-W", "error", "-m", "esbank", "projections", command, where]
    return subprocess.Popen([*arguments, "owner_totals:PROJECTORS"], cwd=EXAMPLES, stdout=subprocess.PIPE, text=True)


def test_no_update_is_lost_while_runners_are_killed_and_views_rebuilt(where: str) -> None:
    with ExitStack() as stack:
        store = stack.enter_context(open_at(where))
        open_accounts(store)
        threads = stack.enter_context(ThreadPoolExecutor(THREADS))
        processes = in_processes(stack, where, "plain")
        appending = [threads.submit(use_accounts, store, 100 + number) for number in range(THREADS)]

        kills, rebuilds = disturb(
            where, is_over=lambda: all(one.done() for one in appending) and all(one.poll() == 0 for one in processes)
        )

        done = what_was_done(appending, processes)
        assert kills >= 2
        assert rebuilds >= 1
        assert Counter(event.type for event in store.read_all()) == done

        runner = make_runner(store)
        runner.catch_up()
        assert views_of(store) == fold(store)
        balances = [loaded_balance(store, account_id) for account_id in ACCOUNTS]
        assert sum(total.balance for total in example.owner_totals(store)) == sum(balances)
        assert sum(day.net for day in example.day_totals(store)) == sum(balances)
        runner.rebuild()
        assert views_of(store) == fold(store)


def loaded_balance(store: EventStore, account_id: str) -> Decimal:
    return Repository(store, BankAccount, snapshots=NoSnapshots(), cache=0).load(account_id).state.balance


def wait_until_free(where: str) -> None:
    """Wait until the server has noticed that a runner is gone."""
    deadline = time.monotonic() + 20
    with open_at(where) as store:
        for name in (projector.name for projector in example.PROJECTORS):
            while True:
                try:
                    with store.claim(name):
                        break
                except AlreadyRunning:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)


def disturb(where: str, is_over: Callable[[], bool]) -> tuple[int, int]:
    """Start runners and kill them, and rebuild beside them, until it is over; return how often each was done."""
    kills = rebuilds = 0
    chance = random.Random(1)  # noqa: S311 - not for secrets
    deadline = time.monotonic() + 240
    while not (is_over() and kills >= 2 and rebuilds >= 1):
        assert time.monotonic() < deadline, "they do not get on"
        wait_until_free(where)
        runner = project("run", where)
        assert runner.stdout is not None
        assert runner.stdout.readline() == "Running. Stop with Ctrl-C.\n"
        time.sleep(chance.uniform(0.05, 0.4))
        with open_at(where) as store:
            make_runner(store).rebuild(*chance.choice([(), ("bank.OwnerTotals",), ("bank.DayTotals",)]))
            rebuilds += 1
        time.sleep(chance.uniform(0, 0.2))
        assert runner.poll() is None, "a rebuild beside it has ended the runner"
        runner.kill()
        runner.wait()
        runner.stdout.close()
        kills += 1
    return kills, rebuilds


def main() -> None:
    """Use the accounts in a process of its own."""
    where, how, seed = sys.argv[1:]
    with open_at(where, inline() if how == "inline" else ()) as store:
        sys.stdout.write(json.dumps(use_accounts(store, seed=int(seed))))


if __name__ == "__main__":
    main()
