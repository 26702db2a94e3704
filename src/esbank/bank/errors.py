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


class AccountAlreadyExists(BankError):
    """An account is opened once, and its id is not free again after it was closed."""

    def __str__(self) -> str:
        return f"{self._account} was opened before; choose another id"


class AccountNotFound(BankError):
    """There is no such account, or was none yet at the moment asked about."""

    def __str__(self) -> str:
        return f"{self._account} does not exist; open it first"


class AccountIsClosed(BankError):
    """A closed account takes no more commands."""

    def __str__(self) -> str:
        return f"{self._account} is closed"


class InsufficientFunds(BankError):
    """More was `requested` than is `available`: the balance, and the overdraft limit on top."""

    __match_args__ = ("requested", "available")

    def __init__(self, requested: Decimal, available: Decimal) -> None:
        super().__init__(requested, available)
        self.requested = requested
        self.available = available

    def __str__(self) -> str:
        return f"{self.requested} was requested from {self._account}, {self.available} is available"


class NonZeroBalance(BankError):
    """Only an account with a `balance` of zero, nothing on it and nothing owed, can be closed."""

    __match_args__ = ("balance",)

    def __init__(self, balance: Decimal) -> None:
        super().__init__(balance)
        self.balance = balance

    def __str__(self) -> str:
        return f"the balance of {self._account} is {self.balance}; bring it to zero before closing"


class TransactionNotFound(BankError):
    """There is no deposit or withdrawal at this version; `found` is the type of the event there, None without one."""

    __match_args__ = ("version", "found")

    def __init__(self, version: int, found: str | None = None) -> None:
        super().__init__(version, found)
        self.version = version
        self.found = found

    def __str__(self) -> str:
        if self.found is None:
            return f"{self._account} has no event at version {self.version!r:.60}; look it up in the history"
        return (
            f"version {self.version} of {self._account} is {self.found}, neither a deposit nor a withdrawal; "
            "only those can be corrected"
        )


class CorrectionOfCorrection(BankError):
    """A correction is not corrected; the transaction that it corrects, at the version `original`, may be again."""

    __match_args__ = ("version", "original")

    def __init__(self, version: int, original: int) -> None:
        super().__init__(version, original)
        self.version = version
        self.original = original

    def __str__(self) -> str:
        return (
            f"version {self.version} of {self._account} is a correction itself; "
            f"correct the original transaction again, at version {self.original}"
        )


class NothingToCorrect(BankError):
    """A correction would change nothing: the transaction is of this amount as it is."""

    __match_args__ = ("version", "amount")

    def __init__(self, version: int, amount: Decimal) -> None:
        super().__init__(version, amount)
        self.version = version
        self.amount = amount

    def __str__(self) -> str:
        return f"the transaction at version {self.version} of {self._account} is of {self.amount} already"


class InvalidAmount(BankError, ValueError):
    """An `amount` of money cannot be; `problem` says why: a float, not finite, not positive, too many decimals."""

    __match_args__ = ("amount", "problem")

    def __init__(self, amount: object, problem: str) -> None:
        super().__init__(amount, problem)
        self.amount = amount
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.amount!r:.60} is no valid amount: {self.problem}"


class InvalidCommand(BankError, ValueError):
    """A `field` of a command makes no sense; `problem` says why."""

    __match_args__ = ("field", "problem")

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"
