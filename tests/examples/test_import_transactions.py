"""Real transactions as commands: every balance exact, and nothing twice however often it is killed."""

import csv
import itertools
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from example_programs import Run, command

from esbank import EsbankError, NoSnapshots, Repository
from esbank.backends.postgres import PostgresEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import AccountDetailsQuery, BankAccount

HEADER = "transaction_id,account_id,date,kind,amount,balance_after\n"


def last_balances(path: Path) -> dict[str, Decimal]:
    with path.open(newline="") as file:
        return {row["account_id"]: Decimal(row["balance_after"]) for row in csv.DictReader(file)}


def replayed_balances(database: Path) -> dict[str, Decimal]:
    with SQLiteEventStore(database) as store:
        accounts = Repository(store, BankAccount, snapshots=NoSnapshots(), cache=0)
        return {stream.key: accounts.load(stream.key).state.balance for stream in store.streams("BankAccount")}


def events_in(database: Path) -> int:
    with SQLiteEventStore(database) as store:
        return sum(1 for _ in store.read_all())


@pytest.fixture
def every_sixth_account(transactions: Path, tmp_path: Path) -> Path:
    """Return all transactions of 200 accounts."""
    path = tmp_path / "transactions.csv"
    with transactions.open(newline="") as file, path.open("w", newline="") as part:
        rows = csv.DictReader(file)
        written = csv.DictWriter(part, rows.fieldnames or ())
        written.writeheader()
        written.writerows(row for row in rows if int(row["account_id"]) % 6 == 0)
    return path


@pytest.fixture
def some_transactions(transactions: Path, tmp_path: Path) -> Path:
    """Return the first 4,000 of them."""
    path = tmp_path / "transactions.csv"
    with transactions.open() as file:
        path.write_text("".join(itertools.islice(file, 4_001)))
    return path


def test_the_transactions_of_some_accounts_give_the_banks_own_balances(
    run: Run, every_sixth_account: Path, tmp_path: Path
) -> None:
    database = tmp_path / "bank.db"

    done = run("import_transactions.py", every_sixth_account, database)

    assert done.returncode == 0, done.stderr
    balances = replayed_balances(database)
    assert balances == last_balances(every_sixth_account)
    assert len(balances) > 150


@pytest.mark.soak
def test_all_transactions_give_the_banks_own_balances(run: Run, transactions: Path, tmp_path: Path) -> None:
    database = tmp_path / "bank.db"

    done = run("import_transactions.py", transactions, database)

    assert done.returncode == 0, done.stderr
    assert "47,527 rows, every balance as the bank has it" in done.stdout
    assert "38,221,131.50" in done.stdout
    assert events_in(database) == 47_527 + 1_201
    balances = replayed_balances(database)
    assert balances == last_balances(transactions)
    assert (len(balances), sum(balances.values())) == (1_201, Decimal("38221131.50"))


def test_an_import_that_is_killed_goes_on_without_a_duplicate(
    run: Run, some_transactions: Path, tmp_path: Path
) -> None:
    database = tmp_path / "bank.db"
    balances = last_balances(some_transactions)
    for kill_at in (500, 2_000):
        process = subprocess.Popen(command("import_transactions.py", some_transactions, database))
        wait_for_events(database, kill_at)
        process.kill()
        process.wait()
        assert events_in(database) < 4_000 + len(balances)

    done = run("import_transactions.py", some_transactions, database)

    assert done.returncode == 0, done.stderr
    assert events_in(database) == 4_000 + len(balances)
    assert replayed_balances(database) == balances


def test_an_import_into_postgresql_that_is_killed_goes_on_without_a_duplicate(
    run: Run, some_transactions: Path, dsn: str
) -> None:
    url = f"postgresql:///?{urlencode(psycopg.conninfo.conninfo_to_dict(dsn))}"
    balances = last_balances(some_transactions)
    process = subprocess.Popen(command("import_transactions.py", some_transactions, url))
    with PostgresEventStore(url) as store:
        assert store.wait(after=1_000, timeout=60)
        process.kill()
        process.wait()

        done = run("import_transactions.py", some_transactions, url)

        assert done.returncode == 0, done.stderr
        assert "4,000 rows, every balance as the bank has it" in done.stdout
        assert store.count() == 4_000 + len(balances)
        accounts = Repository(store, BankAccount, snapshots=NoSnapshots(), cache=0)
        assert {key: accounts.load(key).state.balance for key in balances} == balances
        assert {row.account_id: row.balance for row in AccountDetailsQuery(store).all()} == balances


def wait_for_events(database: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if database.exists():
            try:
                with SQLiteEventStore(database) as store:
                    if (store.head() or 0) >= count:
                        return
            except EsbankError:
                pass  # the import is just making it
        time.sleep(0.02)
    pytest.fail("the import does not get on")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("transaction_id,account_id\n", "lacks the columns amount, balance_after, date, kind"),
        (f"{HEADER}1,1,1993-01-01,deposit,ten,10\n", "line 2"),
        (f"{HEADER}1,1,1993-01-01,gift,10,10\n", "line 2: KeyError('gift')"),
        (f"{HEADER}1,1,yesterday,deposit,10,10\n", "line 2"),
        (f"{HEADER}1,1,1993-01-01,deposit,-10,10\n", "line 2: InvalidAmount"),
        (f"{HEADER}1,1,1993-01-01,deposit,10,10\n2,1\n", "line 3"),
        (f"{HEADER}1,1,1993-01-01,deposit,10,11\n", "line 2, transaction 1: the balance is 10.00, the bank says 11"),
        (f"{HEADER}1,1,1993-01-01,withdrawal,10001,-10001\n", "line 2, transaction 1: 10001.00 was requested"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "transactions.csv"
    path.write_text(text)

    done = run("import_transactions.py", path, tmp_path / "bank.db")

    assert done.returncode == 1
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    done = run("import_transactions.py", tmp_path / "absent.csv", tmp_path / "bank.db")

    assert done.returncode == 1
    assert "absent.csv" in done.stderr
    assert "Traceback" not in done.stderr
