"""The bank as an application uses it: accounts, and the two read models beside them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from attrs import evolve

from esbank import (
    EventCodec,
    EventEnvelope,
    EventRegistry,
    EventStore,
    EveryNEvents,
    Executed,
    Metadata,
    ProjectionRunner,
    Repository,
    StreamNotFound,
)
from esbank.bank.account import (
    AccountCommand,
    AccountEvent,
    BankAccount,
    CloseAccount,
    CorrectTransaction,
    Deposit,
    OpenAccount,
    Status,
    Withdraw,
)
from esbank.bank.errors import AccountNotFound, BankError, InvalidCommand, TransactionNotFound
from esbank.bank.views import (
    AccountDetails,
    AccountDetailsQuery,
    AccountRow,
    TransactionHistory,
    TransactionHistoryQuery,
    TransactionRow,
)
from esbank.store import NO_METADATA, ViewStore

__all__ = ["Bank"]


class Bank:
    """Opens accounts and moves money, takes a snapshot every 50 events, and shows both read models.

    The read models are in `views`, by default in the event store's own database. A command never waits for them and
    never fails because of them; a query brings them up to date first.

    Every command takes the `metadata` of its events and a `command_id` that makes it safe to repeat. It raises a
    ``BankError`` when the bank refuses, and whatever ``Repository.execute`` raises.
    """

    def __init__(self, store: EventStore, *, views: ViewStore | None = None) -> None:
        self._store = store
        self._codec = EventCodec(EventRegistry(BankAccount))
        self._accounts = Repository(store, BankAccount, snapshots=EveryNEvents(50))
        self._runner = ProjectionRunner(store, [AccountDetails(), TransactionHistory()], views=views)
        self._details = AccountDetailsQuery(self._runner.views)
        self._transactions = TransactionHistoryQuery(self._runner.views)

    @property
    def accounts(self) -> Repository[BankAccount]:
        """The accounts themselves."""
        return self._accounts

    @property
    def projections(self) -> ProjectionRunner:
        """What keeps the read models up to date."""
        return self._runner

    def open_account(
        self,
        account_id: str,
        owner: str,
        *,
        currency: str = "EUR",
        initial_balance: Decimal | int = 0,
        overdraft_limit: Decimal | int = 0,
        metadata: Metadata | None = None,
        command_id: str | None = None,
    ) -> Executed[BankAccount, AccountEvent]:
        """Open an account; raises ``AccountAlreadyExists``, ``InvalidAmount`` and ``InvalidCommand``."""
        with _about(account_id):
            command = OpenAccount(owner, currency, initial_balance, overdraft_limit)
            return self._execute(account_id, command, metadata, command_id)

    def deposit(
        self,
        account_id: str,
        amount: Decimal | int,
        by: str = "",
        *,
        metadata: Metadata | None = None,
        command_id: str | None = None,
    ) -> Executed[BankAccount, AccountEvent]:
        """Put money in; raises ``AccountNotFound``, ``AccountIsClosed`` and ``InvalidAmount``."""
        with _about(account_id):
            return self._execute(account_id, Deposit(amount, by), metadata, command_id)

    def withdraw(
        self,
        account_id: str,
        amount: Decimal | int,
        by: str = "",
        *,
        metadata: Metadata | None = None,
        command_id: str | None = None,
    ) -> Executed[BankAccount, AccountEvent]:
        """Take money out; raises ``InsufficientFunds``, and whatever `deposit` raises."""
        with _about(account_id):
            return self._execute(account_id, Withdraw(amount, by), metadata, command_id)

    def correct(
        self,
        account_id: str,
        version: int,
        amount: Decimal | int,
        reason: str,
        *,
        by: str = "",
        metadata: Metadata | None = None,
        command_id: str | None = None,
    ) -> Executed[BankAccount, AccountEvent]:
        """Say that the deposit or the withdrawal at `version` should have been of `amount`; 0: it should not have been.

        Nothing that is stored changes: a correction is a new event. It has happened when the transaction has, unless
        the metadata name a later moment. A transaction may be corrected again; then the latest amount counts.

        Raises ``TransactionNotFound``, ``CorrectionOfCorrection``, ``NothingToCorrect``, ``AccountNotFound``,
        ``AccountIsClosed``, ``InvalidAmount`` and ``InvalidCommand``; never ``InsufficientFunds``, because it states
        what is true.
        """
        with _about(account_id):
            wrong = self._event(account_id, version)
            command = CorrectTransaction.of(wrong, amount, reason, by)
            return self._execute(account_id, command, _since(wrong, metadata), command_id)

    def close_account(
        self,
        account_id: str,
        reason: str,
        *,
        metadata: Metadata | None = None,
        command_id: str | None = None,
    ) -> Executed[BankAccount, AccountEvent]:
        """Close an account for good; raises ``NonZeroBalance``, ``AccountNotFound`` and ``AccountIsClosed``."""
        with _about(account_id):
            return self._execute(account_id, CloseAccount(reason), metadata, command_id)

    def account(self, account_id: str) -> AccountRow:
        """Show an account as it is now; raises ``AccountNotFound``."""
        self._runner.catch_up(AccountDetails.name)
        row = self._details.get(account_id)
        if row is None:
            raise _not_found(account_id)
        return row

    def transactions(self, account_id: str) -> list[TransactionRow]:
        """List the movements of an account, in order; raises ``AccountNotFound``."""
        self.account(account_id)
        self._runner.catch_up(TransactionHistory.name)
        return self._transactions.of(account_id)

    def history(self, account_id: str) -> Iterator[EventEnvelope[AccountEvent]]:
        """Read the events of an account, in order; raises ``AccountNotFound``."""
        with _about(account_id):
            return self._accounts.history(account_id)

    def balance_at(self, account_id: str, when: datetime, *, business_time: bool = False) -> Decimal:
        """Say what the balance was at a moment, which needs a time zone.

        It is by all that had been recorded by then, which is what one could know; with `business_time`, by all that
        had happened by then, whenever it was recorded, which is what was true. Raises ``AccountNotFound`` when there
        was no account by then.
        """
        with _about(account_id):
            if business_time:
                account = self._accounts.load(account_id, occurred_until=when).state
            else:
                account = self._accounts.load(account_id, recorded_until=when).state
            if account.status is Status.NEW:  # movements from before its opening
                raise AccountNotFound
            return account.balance

    def _execute(
        self, account_id: str, command: AccountCommand, metadata: Metadata | None, command_id: str | None
    ) -> Executed[BankAccount, AccountEvent]:
        return self._accounts.execute(account_id, command, metadata=metadata, command_id=command_id)

    def _event(self, account_id: str, version: int) -> EventEnvelope[object]:
        stream = BankAccount.stream(account_id)
        newest = self._store.version(stream)
        if newest == 0:
            raise AccountNotFound
        if type(version) is not int or not 1 <= version <= newest:
            raise TransactionNotFound(version)
        (stored,) = self._store.read(stream, after=version - 1, up_to=version)
        return self._codec.envelope(stored)


def _since(wrong: EventEnvelope[object], metadata: Metadata | None) -> Metadata:
    """Let a correction have happened when the transaction has, unless its metadata say later."""
    metadata = metadata or NO_METADATA
    if metadata.occurred_at is None:
        return evolve(metadata, occurred_at=wrong.occurred_at)
    if metadata.occurred_at < wrong.occurred_at:
        raise InvalidCommand("occurred_at", f"the transaction happened later, at {wrong.occurred_at.isoformat()}")
    return metadata


@contextmanager
def _about(account_id: str) -> Generator[None]:
    """Name the account in what goes wrong with it."""
    try:
        yield
    except BankError as error:
        error.account_id = account_id
        raise
    except StreamNotFound as error:
        raise _not_found(account_id) from error


def _not_found(account_id: str) -> AccountNotFound:
    error = AccountNotFound()
    error.account_id = account_id
    return error
