"""The bank's read models: tables that people can query with any tool, and a typed query class for each.

Amounts are text, so that SQLite cannot turn them into floats; sums are made in Python. Times are UTC in ISO 8601, with
all six digits of their microseconds, so that their order as text is their order in time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, ClassVar, Final

from attrs import frozen

from esbank import EventEnvelope, Projector, projects
from esbank.bank.account import (
    AccountClosed,
    AccountOpened,
    BankAccount,
    Deposited,
    TransactionCorrected,
    Withdrawn,
)
from esbank.bank.money import add
from esbank.store import Transaction, ViewStore

__all__ = [
    "AccountDetails",
    "AccountDetailsQuery",
    "AccountRow",
    "TransactionHistory",
    "TransactionHistoryQuery",
    "TransactionRow",
]


class AccountDetails(Projector):
    """One row for each account: who, how much, since when, what went in and out as recorded, and the corrections.

    Its table is ``account_details``, its name ``bank.AccountDetails``; `AccountDetailsQuery` asks it.
    """

    name = "bank.AccountDetails"
    categories: ClassVar[Collection[str] | None] = (BankAccount.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "account_details": """(
            account_id         TEXT PRIMARY KEY,
            owner              TEXT NOT NULL,
            currency           TEXT NOT NULL,
            status             TEXT NOT NULL,
            balance            TEXT NOT NULL,
            overdraft_limit    TEXT NOT NULL,
            opened_at          TEXT NOT NULL,
            last_activity      TEXT NOT NULL,
            deposit_count      INTEGER NOT NULL,
            deposit_total      TEXT NOT NULL,
            withdrawal_count   INTEGER NOT NULL,
            withdrawal_total   TEXT NOT NULL,
            correction_count   INTEGER NOT NULL,
            correction_total   TEXT NOT NULL
        )"""
    }

    @projects(AccountOpened)
    def _opened(self, envelope: EventEnvelope[AccountOpened], tx: Transaction) -> None:
        event = envelope.event
        tx.execute(
            """
            INSERT INTO {account_details}
            VALUES (:account_id, :owner, :currency, 'open', :balance, :overdraft_limit, :at, :at,
                    0, '0', 0, '0', 0, '0')
            """,
            {
                "account_id": envelope.stream.key,
                "owner": event.owner,
                "currency": event.currency,
                "balance": str(event.initial_balance),
                "overdraft_limit": str(event.overdraft_limit),
                "at": _text(envelope.occurred_at),
            },
        )

    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None:
        ((total,),) = tx.execute(
            "SELECT deposit_total FROM {account_details} WHERE account_id = :account_id",
            {"account_id": envelope.stream.key},
        )
        tx.execute(
            """
            UPDATE {account_details} SET balance = :balance,
                last_activity = CASE WHEN :at > last_activity THEN :at ELSE last_activity END,
                deposit_count = deposit_count + 1, deposit_total = :total
            WHERE account_id = :account_id
            """,
            _moved(envelope, envelope.event.amount, total),
        )

    @projects(Withdrawn)
    def _withdrawn(self, envelope: EventEnvelope[Withdrawn], tx: Transaction) -> None:
        ((total,),) = tx.execute(
            "SELECT withdrawal_total FROM {account_details} WHERE account_id = :account_id",
            {"account_id": envelope.stream.key},
        )
        tx.execute(
            """
            UPDATE {account_details} SET balance = :balance,
                last_activity = CASE WHEN :at > last_activity THEN :at ELSE last_activity END,
                withdrawal_count = withdrawal_count + 1, withdrawal_total = :total
            WHERE account_id = :account_id
            """,
            _moved(envelope, envelope.event.amount, total),
        )

    @projects(TransactionCorrected)
    def _corrected(self, envelope: EventEnvelope[TransactionCorrected], tx: Transaction) -> None:
        ((total,),) = tx.execute(
            "SELECT correction_total FROM {account_details} WHERE account_id = :account_id",
            {"account_id": envelope.stream.key},
        )
        tx.execute(
            """
            UPDATE {account_details} SET balance = :balance,
                last_activity = CASE WHEN :at > last_activity THEN :at ELSE last_activity END,
                correction_count = correction_count + 1, correction_total = :total
            WHERE account_id = :account_id
            """,
            _moved(envelope, envelope.event.difference, total),
        )

    @projects(AccountClosed)
    def _closed(self, envelope: EventEnvelope[AccountClosed], tx: Transaction) -> None:
        tx.execute(
            """
            UPDATE {account_details} SET status = 'closed',
                last_activity = CASE WHEN :at > last_activity THEN :at ELSE last_activity END
            WHERE account_id = :account_id
            """,
            {"account_id": envelope.stream.key, "at": _text(envelope.occurred_at)},
        )


def _moved(
    envelope: EventEnvelope[Deposited] | EventEnvelope[Withdrawn] | EventEnvelope[TransactionCorrected],
    amount: Decimal,
    total: str,
) -> dict[str, str]:
    return {
        "account_id": envelope.stream.key,
        "balance": str(envelope.event.balance_after),
        "at": _text(envelope.occurred_at),
        "total": str(add(Decimal(total), amount)),
    }


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


@frozen
class AccountRow:
    """An account as `AccountDetails` shows it.

    `last_activity` is the latest moment at which something occurred. The totals of deposits and of withdrawals are as
    recorded; `correction_total` is what corrections have changed in the balance since.
    """

    account_id: str
    owner: str
    currency: str
    status: str
    balance: Decimal
    overdraft_limit: Decimal
    opened_at: datetime
    last_activity: datetime
    deposit_count: int
    deposit_total: Decimal
    withdrawal_count: int
    withdrawal_total: Decimal
    correction_count: int
    correction_total: Decimal


_ACCOUNT: Final = """
    SELECT account_id, owner, currency, status, balance, overdraft_limit, opened_at, last_activity,
           deposit_count, deposit_total, withdrawal_count, withdrawal_total, correction_count, correction_total
    FROM account_details"""


class AccountDetailsQuery:
    """Asks `AccountDetails`, as it is in a store of views: as of the last time that it was brought up to date.

    Raises ``StorageError`` while there is no such view.
    """

    def __init__(self, views: ViewStore) -> None:
        self._views = views

    def get(self, account_id: str) -> AccountRow | None:
        """Find an account; None when the view has none of this id."""
        rows = self._views.query(f"{_ACCOUNT} WHERE account_id = :account_id", {"account_id": account_id})
        return _account(rows[0]) if rows else None

    def all(self) -> Iterator[AccountRow]:
        """List all accounts, ordered by id."""
        # Not ordered by SQL, because each database has an order of its own for text.
        return map(_account, sorted(self._views.query(_ACCOUNT), key=itemgetter(0)))

    def page(self, *, after: str = "", limit: int) -> list[AccountRow]:
        """List at most `limit` accounts, those that come after an id in the order that the database has for text."""
        rows = self._views.query(
            f"{_ACCOUNT} WHERE account_id > :after ORDER BY account_id LIMIT :limit", {"after": after, "limit": limit}
        )
        return [_account(row) for row in rows]


def _account(row: tuple[Any, ...]) -> AccountRow:
    account_id, owner, currency, status, balance, limit, opened, last, *totals = row
    deposits, put_in, withdrawals, taken_out, corrections, corrected = totals
    return AccountRow(
        account_id,
        owner,
        currency,
        status,
        Decimal(balance),
        Decimal(limit),
        datetime.fromisoformat(opened),
        datetime.fromisoformat(last),
        deposits,
        Decimal(put_in),
        withdrawals,
        Decimal(taken_out),
        corrections,
        Decimal(corrected),
    )


class TransactionHistory(Projector):
    """One row for each movement, and who, when and why: opening balance, deposits, withdrawals and corrections.

    Its table is ``transaction_history``, its name ``bank.TransactionHistory``; `TransactionHistoryQuery` asks it.
    """

    name = "bank.TransactionHistory"
    categories: ClassVar[Collection[str] | None] = (BankAccount.category,)
    tables: ClassVar[Mapping[str, str]] = {
        "transaction_history": """(
            account_id     TEXT NOT NULL,
            version        INTEGER NOT NULL,
            kind           TEXT NOT NULL,
            amount         TEXT NOT NULL,
            balance_after  TEXT NOT NULL,
            made_by        TEXT NOT NULL,
            occurred_at    TEXT NOT NULL,
            recorded_at    TEXT NOT NULL,
            actor          TEXT,
            correlation_id TEXT,
            causation_id   TEXT,
            corrects       INTEGER,
            PRIMARY KEY (account_id, version)
        )"""
    }

    @projects(AccountOpened)
    def _opened(self, envelope: EventEnvelope[AccountOpened], tx: Transaction) -> None:
        balance = envelope.event.initial_balance
        if balance:
            _add_movement(tx, envelope, "opening balance", balance, balance)

    @projects(Deposited)
    def _deposited(self, envelope: EventEnvelope[Deposited], tx: Transaction) -> None:
        event = envelope.event
        _add_movement(tx, envelope, "deposit", event.amount, event.balance_after, made_by=event.by)

    @projects(Withdrawn)
    def _withdrawn(self, envelope: EventEnvelope[Withdrawn], tx: Transaction) -> None:
        event = envelope.event
        _add_movement(tx, envelope, "withdrawal", event.amount, event.balance_after, made_by=event.by)

    @projects(TransactionCorrected)
    def _corrected(self, envelope: EventEnvelope[TransactionCorrected], tx: Transaction) -> None:
        event = envelope.event
        _add_movement(
            tx,
            envelope,
            "correction",
            event.difference,
            event.balance_after,
            made_by=event.by,
            corrects=event.corrected_version,
        )


def _add_movement(
    tx: Transaction,
    envelope: EventEnvelope[Any],
    kind: str,
    amount: Decimal,
    balance_after: Decimal,
    *,
    made_by: str = "",
    corrects: int | None = None,
) -> None:
    metadata = envelope.metadata
    tx.execute(
        """
        INSERT INTO {transaction_history}
        VALUES (:account_id, :version, :kind, :amount, :balance_after, :made_by, :occurred_at, :recorded_at,
                :actor, :correlation_id, :causation_id, :corrects)
        """,
        {
            "account_id": envelope.stream.key,
            "version": envelope.version,
            "kind": kind,
            "amount": str(amount),
            "balance_after": str(balance_after),
            "made_by": made_by,
            "occurred_at": _text(envelope.occurred_at),
            "recorded_at": _text(envelope.recorded_at),
            "actor": metadata.actor,
            "correlation_id": metadata.correlation_id,
            "causation_id": metadata.causation_id,
            "corrects": corrects,
        },
    )


@frozen
class TransactionRow:
    """A movement as `TransactionHistory` shows it; `version` is the version of the account that it made.

    A correction's amount is what it changed in the balance, and `corrects` the version of the transaction.
    """

    account_id: str
    version: int
    kind: str
    amount: Decimal
    balance_after: Decimal
    made_by: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    corrects: int | None


_TRANSACTION: Final = """
    SELECT account_id, version, kind, amount, balance_after, made_by, occurred_at, recorded_at,
           actor, correlation_id, causation_id, corrects
    FROM transaction_history WHERE account_id = :account_id"""


class TransactionHistoryQuery:
    """Asks `TransactionHistory`, as `AccountDetailsQuery` does its view."""

    def __init__(self, views: ViewStore) -> None:
        self._views = views

    def of(self, account_id: str) -> list[TransactionRow]:
        """List the movements of an account, in order; none when the view has none of this id."""
        rows = self._views.query(f"{_TRANSACTION} ORDER BY version", {"account_id": account_id})
        return [_transaction(row) for row in rows]

    def page(self, account_id: str, *, after: int = 0, limit: int) -> list[TransactionRow]:
        """List at most `limit` movements of an account, in order, those after a version of it."""
        rows = self._views.query(
            f"{_TRANSACTION} AND version > :after ORDER BY version LIMIT :limit",
            {"account_id": account_id, "after": after, "limit": limit},
        )
        return [_transaction(row) for row in rows]


def _transaction(row: tuple[Any, ...]) -> TransactionRow:
    account_id, version, kind, amount, balance_after, made_by, occurred_at, recorded_at, *audit = row
    actor, correlation_id, causation_id, corrects = audit
    return TransactionRow(
        account_id,
        version,
        kind,
        Decimal(amount),
        Decimal(balance_after),
        made_by,
        datetime.fromisoformat(occurred_at),
        datetime.fromisoformat(recorded_at),
        actor,
        correlation_id,
        causation_id,
        corrects,
    )
