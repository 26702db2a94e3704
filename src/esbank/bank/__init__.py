"""The reference domain: a bank account, its read models, and the bank that puts them together.

It is written with nothing but esbank's public names, to be used as it is, extended, or read.
"""

from typing import TYPE_CHECKING

from esbank.bank.account import (
    AccountClosed,
    AccountCommand,
    AccountEvent,
    AccountOpened,
    BankAccount,
    CloseAccount,
    CorrectTransaction,
    Deposit,
    Deposited,
    OpenAccount,
    Status,
    TransactionCorrected,
    Withdraw,
    Withdrawn,
)
from esbank.bank.errors import (
    AccountAlreadyExists,
    AccountIsClosed,
    AccountNotFound,
    BankError,
    CorrectionOfCorrection,
    InsufficientFunds,
    InvalidAmount,
    InvalidCommand,
    NonZeroBalance,
    NothingToCorrect,
    TransactionNotFound,
)

if TYPE_CHECKING:
    from esbank.bank.service import Bank
    from esbank.bank.views import (
        AccountDetails,
        AccountDetailsQuery,
        AccountRow,
        TransactionHistory,
        TransactionHistoryQuery,
        TransactionRow,
    )

__all__ = [
    "AccountAlreadyExists",
    "AccountClosed",
    "AccountCommand",
    "AccountDetails",
    "AccountDetailsQuery",
    "AccountEvent",
    "AccountIsClosed",
    "AccountNotFound",
    "AccountOpened",
    "AccountRow",
    "Bank",
    "BankAccount",
    "BankError",
    "CloseAccount",
    "CorrectTransaction",
    "CorrectionOfCorrection",
    "Deposit",
    "Deposited",
    "InsufficientFunds",
    "InvalidAmount",
    "InvalidCommand",
    "NonZeroBalance",
    "NothingToCorrect",
    "OpenAccount",
    "Status",
    "TransactionCorrected",
    "TransactionHistory",
    "TransactionHistoryQuery",
    "TransactionNotFound",
    "TransactionRow",
    "Withdraw",
    "Withdrawn",
]

if not TYPE_CHECKING:  # so that type checkers still refuse a name that there is not

    def __getattr__(name: str) -> object:
        """Import the service and the views once one of their names is asked for: accounts need no projections."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from esbank.bank import service, views  # noqa: PLC0415 - for that, this function is here

        value = globals()[name] = getattr(views if name in views.__all__ else service, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
