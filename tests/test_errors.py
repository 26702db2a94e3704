"""Every error carries its data, says them, says what to do, and can be sent to another process."""

import inspect
import pickle
import re
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from uuid import UUID

import pytest
from attrs import frozen

from esbank import errors
from esbank.bank import errors as bank_errors
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
from esbank.errors import (
    AlreadyRunning,
    CheckpointError,
    CommandIdReused,
    ConcurrencyError,
    ConstraintViolated,
    DefinitionError,
    DuplicateEvent,
    EsbankError,
    EventDecodingError,
    EventEncodingError,
    ImportRefused,
    NewerSchemaVersion,
    NoDigests,
    NotACopy,
    ProjectionError,
    StorageError,
    StoreClosed,
    StoreUnavailable,
    StreamNotFound,
    UnappliedEvent,
    UnhandledCommand,
    UnknownEventType,
    UnknownOutcome,
    VersionNotFound,
)
from esbank.store import STREAM_EXISTS, StreamId


@frozen
class Till:
    pass


@frozen
class Pay:
    pass


@frozen
class Paid:
    pass


STREAM = StreamId("Till", "cash-7")

WITH_ADVICE: list[tuple[EsbankError, str]] = [
    (ConcurrencyError(STREAM, 3, 5), "Load the aggregate again and decide again"),
    (DuplicateEvent(STREAM, UUID(int=9)), "Repeat an append with exactly the same events, or give new events new ids"),
    (CommandIdReused(STREAM, "c-1"), "Repeat a command unchanged, or give it an id of its own"),
    (UnhandledCommand(Till, Pay), "mark a method of it with @handles(Pay)"),
    (UnappliedEvent(Till, Paid), "mark a method of it with @applies(Paid)"),
    (UnknownEventType("Paid", STREAM, 4), "Add the class of that event to it"),
    (ProjectionError("Totals", STREAM, 4, 70, "Paid"), "mend what failed and catch up again"),
    (AlreadyRunning("Totals"), "One runner is enough"),
    (NoDigests(), "They are chosen when a store is made"),
    (NotACopy(70, "Till-cash-7 version 4 has another data"), "Copy into a new one"),
    (StoreClosed("till.db"), "open a new one"),
    (AccountAlreadyExists(), "choose another id"),
    (AccountNotFound(), "open it first"),
    (NonZeroBalance(Decimal("2.50")), "bring it to zero before closing"),
    (CorrectionOfCorrection(7, 3), "correct the original transaction again"),
]
"""Errors that know what to do."""

TOLD_WHAT: list[EsbankError] = [
    DefinitionError("the class has no name; give it one"),
    EventEncodingError("Paid", "lines[2].price", "expected Decimal, got float 1.5"),
    EventDecodingError("Paid", STREAM, 4, "lines[2].price", "expected a Decimal as text, got int 1"),
    NewerSchemaVersion("Paid", STREAM, 4, "price", "it is version 9, this code knows up to 1: upgrade", 9, 1),
    CheckpointError("Totals", "its checkpoint is of another store; rebuild it"),
    ImportRefused(STREAM, 4, 70, "it has no digest; import into a store made with digests=False"),
    StorageError("till.db", "the disk is full; make room"),
    ConstraintViolated("till.db", "UNIQUE constraint failed: payments.reference"),
    StoreUnavailable("postgresql:///bank (esbank)", "the server is gone; it cannot be reached now"),
    UnknownOutcome("till.db", "the commit failed; repeat the very same append"),
    InvalidAmount(-1, "it must be more than zero"),
    InvalidCommand("owner", "it must not be empty"),
]
"""Errors whose advice is given by whoever raises them."""

FACTS: list[EsbankError] = [
    StreamNotFound(STREAM, datetime(2026, 1, 2, tzinfo=UTC)),
    VersionNotFound(STREAM, 9, 4),
    AccountIsClosed(),
    InsufficientFunds(Decimal(70), Decimal("12.34")),
    TransactionNotFound(9, "AccountOpened"),
    NothingToCorrect(7, Decimal("12.34")),
]
"""Refusals that speak for themselves."""

BARE: list[EsbankError] = [EsbankError("told"), BankError("told")]
"""Base classes."""

EVERY_ERROR = [*(error for error, _ in WITH_ADVICE), *TOLD_WHAT, *FACTS, *BARE]


def name_of(value: object) -> str:
    return type(value).__name__ if isinstance(value, EsbankError) else ""


def data_of(error: EsbankError) -> dict[str, object]:
    return {name: getattr(error, name) for name in error.__match_args__}


def classes_in(module: ModuleType) -> set[type[Exception]]:
    return {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.__name__
    }


def drawn_tree(module: ModuleType) -> dict[str, tuple[str, ...]]:
    """Read the tree in a module's docstring: the bases of each class that is drawn, by its name."""
    bases: dict[str, tuple[str, ...]] = {}
    line_above: list[str] = []
    (drawing,) = re.findall(r"::\n\n((?: {4}.+\n)+)", module.__doc__ or "")
    for branches, name, text in re.findall(r"^ {4}([ │├└─]*)(\w+)(.*)", drawing, re.MULTILINE):
        depth = len(branches) // 4
        line_above[depth:] = [name]
        bases[name] = (*line_above[:depth][-1:], *re.findall(r"\(also an? (\w+)\)", text))
    return bases


def parents(cls: type, root: type) -> tuple[str, ...]:
    return () if cls is root else tuple(base.__name__ for base in cls.__bases__)


def test_every_error_is_tried_here() -> None:
    assert {type(error) for error in EVERY_ERROR} == classes_in(errors) | classes_in(bank_errors)


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    tree = {cls.__name__: parents(cls, EsbankError) for cls in classes_in(errors)}

    assert drawn_tree(errors) == tree


def test_the_tree_of_the_bank_that_is_drawn_is_the_tree_that_is() -> None:
    tree = {cls.__name__: parents(cls, BankError) for cls in classes_in(bank_errors)}

    assert drawn_tree(bank_errors) == tree


@pytest.mark.parametrize("error", EVERY_ERROR, ids=name_of)
def test_every_error_is_an_esbank_error(error: EsbankError) -> None:
    with pytest.raises(EsbankError):
        raise error


@pytest.mark.parametrize("error", EVERY_ERROR, ids=name_of)
def test_every_error_survives_pickling_with_its_data_and_its_message(error: EsbankError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - we have just written it

    assert type(copy) is type(error)
    assert data_of(copy) == data_of(error)
    assert str(copy) == str(error)


@pytest.mark.parametrize(
    "error",
    [
        AccountAlreadyExists(),
        AccountNotFound(),
        AccountIsClosed(),
        InsufficientFunds(Decimal(70), Decimal("12.34")),
        NonZeroBalance(Decimal("2.50")),
        InvalidAmount(-1, "it must be more than zero"),
        InvalidCommand("owner", "it must not be empty"),
    ],
    ids=name_of,
)
def test_an_error_of_the_bank_survives_pickling_with_its_account(error: BankError) -> None:
    error.account_id = "acc-001"

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - we have just written it

    assert copy.account_id == "acc-001"
    assert str(copy) == str(error)


def test_an_error_survives_pickling_with_its_notes() -> None:
    error = StreamNotFound(STREAM)
    error.add_note("while closing the till")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - we have just written it

    assert copy.__notes__ == ["while closing the till"]


def said(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)


@pytest.mark.parametrize(
    "error",
    [error for error in EVERY_ERROR if type(error) is not NewerSchemaVersion],
    ids=name_of,
)
def test_the_message_of_an_error_says_all_its_data(error: EsbankError) -> None:
    unsaid = {name for name, value in data_of(error).items() if said(value) not in str(error)}

    assert not unsaid


def test_the_message_about_a_newer_schema_version_is_the_reason() -> None:
    error = NewerSchemaVersion("Paid", STREAM, 4, "", "it has schema version 9, this code knows up to 1", 9, 1)

    assert (error.stored, error.known) == (9, 1)
    assert str(error) == "Till-cash-7 version 4 (Paid) cannot be read: it has schema version 9, this code knows up to 1"


@pytest.mark.parametrize(("error", "advice"), WITH_ADVICE, ids=name_of)
def test_the_message_of_an_error_says_what_to_do(error: EsbankError, advice: str) -> None:
    assert advice in str(error)


@pytest.mark.parametrize(
    "error",
    [AccountAlreadyExists(), AccountNotFound(), AccountIsClosed(), InsufficientFunds(Decimal(2), Decimal(1))],
    ids=name_of,
)
def test_an_error_of_the_bank_names_its_account_once_it_is_known(error: BankError) -> None:
    unknown = str(error)
    error.account_id = "acc-001"

    assert "the account" in unknown
    assert "account acc-001" in str(error)


def test_a_conflict_says_in_words_what_was_expected() -> None:
    error = ConcurrencyError(STREAM, STREAM_EXISTS, 0)

    assert "is at version 0, expected a stream that exists" in str(error)


def test_an_error_about_a_whole_event_names_no_field() -> None:
    error = EventEncodingError("Paid", "", "its class is not in the registry; add it")

    assert str(error) == "Paid cannot be stored: its class is not in the registry; add it"


def test_an_error_about_a_field_names_the_path_to_it() -> None:
    error = EventDecodingError("Paid", STREAM, 4, "lines[2].price", "expected int, got str '1'")

    assert str(error) == (
        "Till-cash-7 version 4 (Paid, field lines[2].price) cannot be read: expected int, got str '1'"
    )


def test_a_definition_error_is_a_type_error() -> None:
    assert issubclass(DefinitionError, TypeError)


@pytest.mark.parametrize("cls", [InvalidAmount, InvalidCommand])
def test_an_invalid_argument_of_a_command_is_a_value_error(cls: type) -> None:
    assert issubclass(cls, ValueError)


@pytest.mark.parametrize("error", [error for error in EVERY_ERROR if error not in BARE], ids=name_of)
def test_an_error_is_made_of_its_data_by_order_or_by_name(error: EsbankError) -> None:
    assert tuple(data_of(error).values()) == error.args == type(error)(**data_of(error)).args


def test_an_error_that_is_made_by_names_survives_pickling() -> None:
    error = StoreClosed(problem="it is closed", store="till.db")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - we have just written it

    assert (copy.store, copy.problem) == ("till.db", "it is closed")


def test_an_error_shows_its_data_by_name() -> None:
    assert repr(StreamNotFound(STREAM)) == f"StreamNotFound(stream={STREAM!r}, until=None)"
    assert repr(AccountAlreadyExists()) == "AccountAlreadyExists()"
    assert repr(BankError("told")) == "BankError('told')"


def test_an_error_is_equal_to_itself_alone() -> None:
    assert StreamNotFound(STREAM) != StreamNotFound(STREAM)
