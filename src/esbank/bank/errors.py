"""Why the bank refuses, each with its data as attributes.

::

    BankError                  account_id, where it is known
    ├── AccountAlreadyExists
    ├── AccountNotFound
    ├── AccountIsClosed
    ├── InsufficientFunds      requested, available
    ├── NonZeroBalance         balance
    ├── TransactionNotFound    version, found
    ├── CorrectionOfCorrection version, original
    ├── NothingToCorrect       version, amount
    ├── InvalidAmount          amount, problem (also a ValueError)
    └── InvalidCommand         field, problem (also a ValueError)
"""

from __future__ import annotations

from decimal import Decimal

from attrs import define

from esbank import EsbankError

__all__ = [
    "AccountAlreadyExists",
    "AccountIsClosed",
    "AccountNotFound",
    "BankError",
    "CorrectionOfCorrection",
    "InsufficientFunds",
    "InvalidAmount",
    "InvalidCommand",
    "NonZeroBalance",
    "NothingToCorrect",
    "TransactionNotFound",
]


class BankError(EsbankError):
    """The bank refuses, and nothing has changed.

    An account does not know its own id; `account_id` is None until somebody who does, such as `Bank`, fills it in.
    """

    account_id: str | None = None

    @property
    def _account(self) -> str:
        return "the account" if self.account_id is None else f"account {self.account_id}"


@define(eq=False, slots=False)
class AccountAlreadyExists(BankError):
    """An account is opened once."""

    def __str__(self) -> str:
        return f"{self._account} was opened before; choose another id"


@define(eq=False, slots=False)
class AccountNotFound(BankError):
    """There is no such account."""

    def __str__(self) -> str:
        return f"{self._account} does not exist; open it first"


@define(eq=False, slots=False)
class AccountIsClosed(BankError):
    """A closed account takes no more commands."""

    def __str__(self) -> str:
        return f"{self._account} is closed"


@define(eq=False, slots=False)
class InsufficientFunds(BankError):
    """More was requested than the balance and the overdraft limit give."""

    requested: Decimal
    available: Decimal

    def __str__(self) -> str:
        return f"{self.requested} was requested from {self._account}, {self.available} is available"


@define(eq=False, slots=False)
class NonZeroBalance(BankError):
    """Only an account with nothing on it, and nothing owed, can be closed."""

    balance: Decimal

    def __str__(self) -> str:
        return f"the balance of {self._account} is {self.balance}; bring it to zero before closing"


@define(eq=False, slots=False)
class TransactionNotFound(BankError):
    """There is no deposit or withdrawal at this version; `found` is the type of the event there, None without one."""

    version: int
    found: str | None = None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self._account} has no event at version {self.version!r:.60}; look it up in the history"
        return (
            f"version {self.version} of {self._account} is {self.found}, neither a deposit nor a withdrawal; "
            "only those can be corrected"
        )


@define(eq=False, slots=False)
class CorrectionOfCorrection(BankError):
    """A correction is not corrected; the transaction that it corrects, at the version `original`, may be again."""

    version: int
    original: int

    def __str__(self) -> str:
        return (
            f"version {self.version} of {self._account} is a correction itself; "
            f"correct the original transaction again, at version {self.original}"
        )


@define(eq=False, slots=False)
class NothingToCorrect(BankError):
    """A correction would change nothing: the transaction is of this amount as it is."""

    version: int
    amount: Decimal

    def __str__(self) -> str:
        return f"the transaction at version {self.version} of {self._account} is of {self.amount} already"


@define(eq=False, slots=False)
class InvalidAmount(BankError, ValueError):
    """An amount of money that cannot be."""

    amount: object
    problem: str

    def __str__(self) -> str:
        return f"{self.amount!r:.60} is no valid amount: {self.problem}"


@define(eq=False, slots=False)
class InvalidCommand(BankError, ValueError):
    """A command with a field that makes no sense."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"
