"""The reference domain: a bank account, its read models, and the bank that puts them together.

It is written with nothing but esbank's public names, to be used as it is, extended, or read.
"""

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
