"""What one process has open: the store, the bank on it, and a thread that keeps the views up to date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Self, cast

from esbank import (
    AlreadyRunning,
    CheckpointError,
    ConcurrencyError,
    EventCodec,
    EventEnvelope,
    EventRegistry,
    Executed,
    Loaded,
    Metadata,
    ProjectionError,
    ProjectorStatus,
    StorageError,
    StreamNotFound,
)
from esbank.backends.urls import Store
from esbank.bank import (
    AccountCommand,
    AccountDetails,
    AccountDetailsQuery,
    AccountEvent,
    AccountNotFound,
    AccountRow,
    Bank,
    BankAccount,
    BankError,
    OpenAccount,
    Status,
    TransactionHistory,
    TransactionHistoryQuery,
    TransactionRow,
)

from .conditions import PreconditionFailed, expected_version

__all__ = ["Busy", "NoSuchPosition", "Service", "ViewBehind"]

_log: Final = logging.getLogger("bank_api")
_PAUSE: Final = 1.0
_PATIENCE: Final = 5.0
_MOST_WAITS: Final = 10
"""How many requests of a process may wait for a view at once: each holds a thread, and the others need some."""


class Busy(Exception):
    """So many wrote to one account at once that the command did not get its turn."""

    def __str__(self) -> str:
        return "many wrote to this account at once; nothing was stored, send it again"


class NoSuchPosition(Exception):
    """The log has not come to the position that a list is to have seen."""

    def __str__(self) -> str:
        return "no event has this position; take it from the answer to a command"


class ViewBehind(Exception):
    """The view did not come to the position in time."""

    def __str__(self) -> str:
        return "the list has not come so far yet; ask again, or without at_least"


class Service:
    """The bank on a store, for all threads of a process; close it before the store.

    Any number of processes may have one on the same store. The views are kept by one of them at a time; the others
    stand by.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._bank = Bank(store)
        self._accounts = self._bank.accounts
        self._codec = EventCodec(EventRegistry(BankAccount))
        self._details = AccountDetailsQuery(store)
        self._transactions = TransactionHistoryQuery(store)
        self._views = self._bank.projections
        self._waits = threading.BoundedSemaphore(_MOST_WAITS)
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep_views, name="views")
        try:
            self._views.catch_up()  # so that the tables are there, and say what has been
        except (ProjectionError, CheckpointError):
            _log.exception("the views are not up to date")  # commands work all the same
        self._keeper.start()

    def execute(
        self,
        account_id: str,
        command: AccountCommand,
        *,
        metadata: Metadata,
        command_id: str | None,
        if_match: str | None,
    ) -> Executed[BankAccount, AccountEvent]:
        """Execute a command; raises what the bank raises, `PreconditionFailed`, `Busy`, and what stores raise."""
        current = 0 if if_match is None else self.store.version(BankAccount.stream(account_id))
        expected = expected_version(if_match, current)
        with _about(account_id):
            try:
                return self._accounts.execute(
                    account_id, command, metadata=metadata, command_id=command_id, expected_version=expected
                )
            except ConcurrencyError as error:
                if error.expected != expected:
                    raise Busy from error
                if error.actual == 0 and not isinstance(command, OpenAccount):
                    raise AccountNotFound from error
                raise PreconditionFailed(account_id, error.actual) from error

    def account(
        self,
        account_id: str,
        *,
        version: int | None = None,
        recorded_until: datetime | None = None,
        occurred_until: datetime | None = None,
    ) -> Loaded[BankAccount]:
        """Load an account as it is, or as it was; raises ``AccountNotFound`` and ``VersionNotFound``."""
        with _about(account_id):
            loaded = self._accounts.load(
                account_id, version=version, recorded_until=recorded_until, occurred_until=occurred_until
            )
            if loaded.state.status is Status.NEW:  # movements that happened before its opening
                raise AccountNotFound
            return loaded

    def events(self, account_id: str, *, after: int, limit: int) -> list[EventEnvelope[AccountEvent]]:
        """Read at most `limit` events of an account after a version; raises ``AccountNotFound`` when it has none."""
        stream = BankAccount.stream(account_id)
        events = list(self._codec.envelopes(self.store.read(stream, after=after, limit=limit)))
        if not events and not self.store.version(stream):
            with _about(account_id):
                raise AccountNotFound
        return cast("list[EventEnvelope[AccountEvent]]", events)

    def transactions(self, account_id: str, *, after: int, limit: int, at_least: int) -> list[TransactionRow]:
        """List movements of an account from the view, once it has come to `at_least`."""
        self._wait_for(at_least, TransactionHistory.name)
        rows = self._transactions.page(account_id, after=after, limit=limit)
        if not rows and not self.store.version(BankAccount.stream(account_id)):
            with _about(account_id):
                raise AccountNotFound
        return rows

    def list_accounts(self, *, after: str, limit: int, at_least: int) -> list[AccountRow]:
        """List accounts from the view, once it has come to `at_least`."""
        self._wait_for(at_least, AccountDetails.name)
        return self._details.page(after=after, limit=limit)

    def views(self) -> list[ProjectorStatus]:
        """Say where the views are; raises ``StorageError`` when the store cannot be reached."""
        return self._views.status()

    def close(self) -> None:
        """Stop keeping the views."""
        self._stop.set()
        self._keeper.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _wait_for(self, position: int, view: str) -> None:
        if not position:
            return
        if position > (self.store.head() or 0):
            raise NoSuchPosition
        if not self._waits.acquire(blocking=False):
            raise ViewBehind
        try:
            self._views.wait_for(position, _PATIENCE, names=[view])
        except TimeoutError as error:
            raise ViewBehind from error
        finally:
            self._waits.release()

    def _keep_views(self) -> None:
        while not self._stop.is_set():
            try:
                self._views.run(self._stop)
            except AlreadyRunning:
                pass  # another process does it; this one is there when that one is gone
            except (CheckpointError, StorageError):
                _log.exception("the views are not kept up to date; trying again")
            self._stop.wait(_PAUSE)


@contextmanager
def _about(account_id: str) -> Generator[None]:
    """Name the account in what goes wrong with it."""
    try:
        yield
    except BankError as error:
        error.account_id = account_id
        raise
    except StreamNotFound as error:
        missing = AccountNotFound()
        missing.account_id = account_id
        raise missing from error
