"""A savings account: the bank's account, extended from outside by interest.

Run it with ``python examples/savings_account.py``, or ``python examples/savings_account.py FILE`` to keep the file and
look into it.

Interest is for whole days, both the first and the last counted, at a yearly rate by 365 days, leap year or not. It is
on the balance as it is when it is credited, and nothing on a balance below zero. A bank that pays by the balance of
each day credits each day: a period may be that short.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import ClassVar

from attrs import Attribute, define, field, frozen
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from esbank import (
    EventEnvelope,
    EveryNEvents,
    Metadata,
    ProjectionRunner,
    Projector,
    Repository,
    SnapshotPolicy,
    applies,
    event,
    handles,
    projects,
)
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import (
    AccountCommand,
    AccountEvent,
    BankAccount,
    BankError,
    CorrectTransaction,
    Deposit,
    InvalidCommand,
    OpenAccount,
    TransactionCorrected,
    TransactionNotFound,
    Withdraw,
)
from esbank.bank.money import CURRENCIES, add
from esbank.store import Transaction, ViewStore

DAYS_OF_A_YEAR = 365
ROUNDING = Context(prec=60, rounding=ROUND_HALF_EVEN)  # of its own, so that a program's context changes no amount


# The command, and the error that refuses it.


def _rate(_: object, attribute: Attribute[Decimal], value: object) -> None:
    if type(value) is not Decimal or not value.is_finite() or not 0 < value <= 100:  # noqa: PLR2004
        raise InvalidCommand(attribute.name, f"it must be a Decimal above 0, up to 100, not {value!r:.60}")


def _day(_: object, attribute: Attribute[date], value: object) -> None:
    if type(value) is not date:
        raise InvalidCommand(attribute.name, f"it must be a date without a time, not {value!r:.60}")


def _not_before_the_first(command: CreditInterest, attribute: Attribute[date], value: date) -> None:
    if value < command.first_day:
        raise InvalidCommand(attribute.name, f"it must not be before the first day, {command.first_day}")


@frozen
class CreditInterest(AccountCommand):
    """Credit the interest of the days from `first_day` to `last_day`, at so many percent a year."""

    yearly_percent: Decimal = field(validator=_rate)
    first_day: date = field(validator=_day)
    last_day: date = field(validator=[_day, _not_before_the_first])

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.last_day - self.first_day).days + 1


@define
class InterestAlreadyCredited(BankError):
    """Each day bears interest once; `credited_until` is the last day that has."""

    credited_until: date

    def __str__(self) -> str:
        return f"interest is credited until {self.credited_until}; a period begins after that day"


# The event.


@event(name="InterestCredited", schema_version=1)
@frozen
class InterestCredited(AccountEvent):
    """The interest of a period came in; it may be nothing, and then the period is settled as well."""

    yearly_percent: Decimal
    first_day: date
    last_day: date
    amount: Decimal
    balance_after: Decimal


def correction_of(
    credited: EventEnvelope[AccountEvent], amount: Decimal | int, reason: str, by: str = ""
) -> CorrectTransaction:
    """Correct interest that is in the account's history; `CorrectTransaction.of` knows the bank's own events only."""
    if not isinstance(credited.event, InterestCredited):
        raise TransactionNotFound(credited.version, credited.type)
    return CorrectTransaction(credited.event_id, credited.version, credited.event.amount, amount, reason, by)


# The account, and when to take snapshots of it.


@define
class SavingsAccount(BankAccount):
    """An account that bears interest; all else is as its parent has it."""

    category: ClassVar[str] = "SavingsAccount"

    credited_until: date | None = None

    @handles(CreditInterest)
    def credit_interest(self, command: CreditInterest) -> Iterator[AccountEvent]:
        """Credit the interest of a period that begins after all those before."""
        self.require_open()
        if self.credited_until is not None and command.first_day <= self.credited_until:
            raise InterestAlreadyCredited(self.credited_until)
        interest = self._interest(command.yearly_percent, command.days)
        yield InterestCredited(
            command.yearly_percent, command.first_day, command.last_day, interest, add(self.balance, interest)
        )

    def _interest(self, yearly_percent: Decimal, days: int) -> Decimal:
        balance = max(self.balance, Decimal(0))
        of_a_year = ROUNDING.multiply(balance, yearly_percent)
        exact = ROUNDING.divide(ROUNDING.multiply(of_a_year, Decimal(days)), Decimal(100 * DAYS_OF_A_YEAR))
        return ROUNDING.quantize(exact, Decimal(1).scaleb(-CURRENCIES[self.currency]))

    @applies(InterestCredited)
    def _interest_credited(self, event: InterestCredited) -> None:
        self.balance = add(self.balance, event.amount)
        self.credited_until = event.last_day


class AtYearEnd(SnapshotPolicy):
    """Take a snapshot when the interest of a year's last day is credited, as the books of the year are closed then."""

    @override
    def is_due(self, *, last: int, version: int, events: Sequence[object]) -> bool:
        """Tell whether a year has ended."""
        return any(
            isinstance(event, InterestCredited) and (event.last_day.month, event.last_day.day) == (12, 31)
            for event in events
        )


SNAPSHOTS = AtYearEnd() | EveryNEvents(100)


# The view, and its query.


class InterestByYear(Projector):
    """What each account was credited in each year, by the last day of the period, and as corrected since."""

    name = "savings.InterestByYear"
    categories: ClassVar[Collection[str] | None] = (SavingsAccount.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "interest_by_year": """(
            account_id  TEXT NOT NULL,
            year        INTEGER NOT NULL,
            interest    TEXT NOT NULL,
            PRIMARY KEY (account_id, year)
        )""",
        "interest_credits": """(
            account_id  TEXT NOT NULL,
            event_id    TEXT NOT NULL,
            year        INTEGER NOT NULL,
            PRIMARY KEY (account_id, event_id)
        )""",
    }

    @projects(InterestCredited)
    def _credited(self, envelope: EventEnvelope[InterestCredited], tx: Transaction) -> None:
        account_id, year = envelope.stream.key, envelope.event.last_day.year
        tx.execute(
            "INSERT INTO {interest_credits} VALUES (:account_id, :event_id, :year)",
            {"account_id": account_id, "event_id": str(envelope.event_id), "year": year},
        )
        tx.execute(
            "INSERT INTO {interest_by_year} VALUES (:account_id, :year, '0') ON CONFLICT DO NOTHING",
            {"account_id": account_id, "year": year},
        )
        _add_interest(tx, account_id, year, envelope.event.amount)

    @projects(TransactionCorrected)
    def _corrected(self, envelope: EventEnvelope[TransactionCorrected], tx: Transaction) -> None:
        years = tx.execute(
            "SELECT year FROM {interest_credits} WHERE account_id = :account_id AND event_id = :event_id",
            {"account_id": envelope.stream.key, "event_id": str(envelope.event.corrected_event_id)},
        )
        for (year,) in years:  # none when it is no interest that was corrected
            _add_interest(tx, envelope.stream.key, year, envelope.event.difference)


def _add_interest(tx: Transaction, account_id: str, year: int, amount: Decimal) -> None:
    """Add exactly, in Python: SQLite would calculate with floats."""
    which: dict[str, str | int] = {"account_id": account_id, "year": year}
    ((interest,),) = tx.execute(
        "SELECT interest FROM {interest_by_year} WHERE account_id = :account_id AND year = :year", which
    )
    tx.execute(
        "UPDATE {interest_by_year} SET interest = :interest WHERE account_id = :account_id AND year = :year",
        {**which, "interest": str(add(Decimal(interest), amount))},
    )


@frozen
class YearOfInterest:
    """What an account was credited in a year."""

    account_id: str
    year: int
    interest: Decimal


def interest_by_year(views: ViewStore) -> list[YearOfInterest]:
    """List what every account was credited in every year."""
    rows = views.query("SELECT account_id, year, interest FROM interest_by_year ORDER BY account_id, year")
    return [YearOfInterest(account_id, year, Decimal(interest)) for account_id, year, interest in rows]


# The story.

console = Console(width=110, highlight=False)

PERIODS = [
    (date(2026, 1, 1), date(2026, 3, 31)),
    (date(2026, 4, 1), date(2026, 12, 31)),
    (date(2027, 1, 1), date(2027, 3, 31)),
]


def main(path: Path) -> None:
    """Save for a year and a quarter."""
    with SQLiteEventStore(path) as store:
        savings = Repository(store, SavingsAccount, snapshots=SNAPSHOTS)
        runner = ProjectionRunner(store, [InterestByYear()])
        rate = Decimal("2.5")

        step("1. Alice saves 10,000, and interest of 2.5% a year is credited for the first quarter")
        savings.execute("s-1", OpenAccount("Alice"), Deposit(10_000), metadata=on(PERIODS[0][0]))
        credit(savings, rate, *PERIODS[0])

        step("2. The quarter is not credited twice, nor any day of it")
        for period in (PERIODS[0], (date(2026, 3, 31), date(2026, 4, 30))):
            try:
                credit(savings, rate, *period)
            except InterestAlreadyCredited as refusal:
                console.print(f"InterestAlreadyCredited: {refusal}")

        step("3. She takes 2,500 out, as from any account, and interest is credited until March 2027")
        savings.execute("s-1", Withdraw(2_500, by="alice"), metadata=on(PERIODS[1][0]))
        for period in PERIODS[1:]:
            credit(savings, rate, *period)
        snapshot = store.load_snapshot(SavingsAccount.stream("s-1"))
        console.print(f"the snapshot is of version {snapshot.version if snapshot else 0}, from the end of the year")
        show_interest(store, runner)

        step("4. For the first quarter 2% was agreed: the correction counts for the year of what it corrects")
        _, _, wrong, *_ = savings.history("s-1")
        correction = correction_of(wrong, Decimal("49.32"), "2% was agreed", by="teller-7")
        corrected = savings.execute("s-1", correction, metadata=Metadata(occurred_at=wrong.occurred_at))
        console.print(f"balance {corrected.state.balance}")
        show_interest(store, runner)

        step("5. What is stored")
        for envelope in savings.history("s-1"):
            console.print(envelope.version, envelope.type, envelope.stored.data, soft_wrap=True)


def step(title: str) -> None:
    """Print what a step is about."""
    console.print(f"\n[bold]{title}[/bold]")


def on(day: date) -> Metadata:
    """Let something have happened at noon."""
    return Metadata(occurred_at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def credit(savings: Repository[SavingsAccount], rate: Decimal, first_day: date, last_day: date) -> None:
    """Credit the interest of a period, and tell how much it is."""
    command = CreditInterest(rate, first_day, last_day)
    state = savings.execute("s-1", command, metadata=on(last_day)).state
    console.print(f"{first_day} to {last_day}, {command.days} days: balance {state.balance}")


def show_interest(store: SQLiteEventStore, runner: ProjectionRunner) -> None:
    """Bring the view up to date, and show it."""
    runner.catch_up()
    table = Table("account", "year", "interest", title="interest_by_year")
    for row in interest_by_year(store):
        table.add_row(row.account_id, str(row.year), str(row.interest))
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        file = Path(sys.argv[1])
        if file.exists():
            sys.exit(f"{file} is there already; name a new file, because the story begins with an empty one")
        main(file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "savings.db")
