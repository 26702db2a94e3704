"""The optional capability of one transaction for the caller's own tables and for appends."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from esbank.errors import ConcurrencyError, ConstraintViolated, DuplicateEvent, StorageError, StoreClosed
from esbank.store import (
    ANY_VERSION,
    NO_STREAM,
    STREAM_EXISTS,
    AppendResult,
    EventStore,
    ExpectedVersion,
    Metadata,
    NewEvent,
    PendingAppend,
    Rows,
    StoreTransaction,
    StreamAppend,
    TransactionalStore,
    ViewStore,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_event, new_events, nothing_changes

__all__ = ["ADD", "Transactions", "pay", "payments", "write"]

INSERT = "INSERT INTO payments (reference, amount) VALUES (:reference, :amount)"
SELECT = "SELECT reference, amount FROM payments ORDER BY reference"
ADD = "UPDATE payments SET amount = amount + :amount WHERE reference = :reference"


class Stop(BaseException):
    """Something that is no ``Exception``, like an interrupt."""


def pay(tx: StoreTransaction, reference: str, amount: int = 1) -> None:
    """Add a row to the table of payments."""
    tx.execute(INSERT, {"reference": reference, "amount": amount})


def payments(transactions: TransactionalStore) -> Rows:
    """Return the rows of the table of payments."""
    with transactions.transaction() as tx:
        return tx.execute(SELECT)


def write(transactions: TransactionalStore, reference: str, *appends: StreamAppend) -> list[AppendResult]:
    """Add a row to the table of payments and append, in one transaction."""
    with transactions.transaction() as tx:
        pay(tx, reference)
        pending = [tx.append(one.stream, one.events, expected_version=one.expected_version) for one in appends]
    return [one.result for one in pending]


class Transactions:
    """``TransactionalStore``."""

    has_transactions: ClassVar[bool] = True

    @pytest.fixture
    def transactions(self, store: EventStore) -> TransactionalStore:
        """Return the store as one that has transactions, with a table of somebody's own in it."""
        if not self.has_transactions:
            pytest.skip("this store has no transactions for the caller's own tables")
        assert isinstance(store, TransactionalStore)
        with store.transaction() as tx:
            tx.execute("CREATE TABLE payments (reference TEXT PRIMARY KEY, amount BIGINT)")
        return store

    def test_the_store_has_transactions_if_it_says_so(self, store: EventStore) -> None:
        assert isinstance(store, TransactionalStore) == self.has_transactions

    def test_a_thread_can_be_asked_whether_it_is_in_a_transaction(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        transactions.check_no_transaction()
        with transactions.transaction(), pytest.raises(StorageError):
            transactions.check_no_transaction()
        if isinstance(store, ViewStore):
            views: ViewStore = store
            with views.view_transaction(), pytest.raises(StorageError):
                transactions.check_no_transaction()
        with transactions.transaction():
            assert in_threads([transactions.check_no_transaction]) == [None]
        transactions.check_no_transaction()

    # What is stored

    def test_rows_and_events_are_stored_together(self, transactions: TransactionalStore, store: EventStore) -> None:
        store.append(OTHER, new_events(2), expected_version=0)

        with transactions.transaction() as tx:
            pay(tx, "a", 1)
            account = tx.append(ACCOUNT, new_events(2), expected_version=NO_STREAM)
            tx.executemany(INSERT, [{"reference": reference, "amount": 2} for reference in "bc"])
            other = tx.append(OTHER, new_events(3), expected_version=2)

        assert payments(transactions) == [("a", 1), ("b", 2), ("c", 2)]
        assert (account.stream, other.stream) == (ACCOUNT, OTHER)
        assert (account.result.version, other.result.version) == (2, 5)
        assert list(account.result.events) == list(store.read(ACCOUNT))
        assert list(other.result.events) == list(store.read(OTHER, after=2))
        assert [*account.result.events, *other.result.events] == list(store.read_all(limit=9))[2:]

    def test_nothing_is_appended_before_the_block_ends(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        with transactions.transaction() as tx:
            pending = tx.append(ACCOUNT, new_events(1), expected_version=0)

            assert (store.version(ACCOUNT), store.head()) == (0, None)
            with pytest.raises(StorageError, match="after the transaction's block"):
                _ = pending.result

        assert pending.result == AppendResult(ACCOUNT, 1, store.head() or 0)

    def test_a_block_that_is_left_early_commits(self, transactions: TransactionalStore, store: EventStore) -> None:
        def leave() -> PendingAppend:
            with transactions.transaction() as tx:
                pay(tx, "a")
                return tx.append(ACCOUNT, new_events(1), expected_version=0)

        assert leave().result.version == store.version(ACCOUNT) == 1
        assert payments(transactions) == [("a", 1)]

    def test_a_transaction_sees_its_own_rows_and_says_which_sql_it_speaks(
        self, transactions: TransactionalStore
    ) -> None:
        with transactions.transaction() as tx:
            pay(tx, "a", 3)

            assert tx.execute(SELECT) == [("a", 3)]
            assert tx.dialect in {"sqlite", "postgresql"}

    def test_a_transaction_without_appends_commits_its_rows(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        store.append(ACCOUNT, new_events(1), expected_version=0)

        with nothing_changes(store), transactions.transaction() as tx:
            pay(tx, "a")

        assert payments(transactions) == [("a", 1)]

    def test_a_transaction_without_statements_appends(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        with transactions.transaction() as tx:
            pending = tx.append(ACCOUNT, new_events(2), expected_version=NO_STREAM)

        assert list(pending.result.events) == list(store.read_all())

    def test_a_transaction_does_nothing_when_its_block_does_nothing(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        with nothing_changes(store), transactions.transaction():
            pass

    def test_what_becomes_of_the_events_given_does_not_matter(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        events = new_events(2)
        with transactions.transaction() as tx:
            tx.append(ACCOUNT, events, expected_version=0)
            events.clear()

        assert store.version(ACCOUNT) == 2

    # What is undone

    @pytest.mark.parametrize("error", [RuntimeError, Stop, ConcurrencyError(OTHER, 1, 2)])
    def test_nothing_is_stored_when_the_block_raises(
        self, transactions: TransactionalStore, store: EventStore, error: type[BaseException] | BaseException
    ) -> None:
        pending: list[PendingAppend] = []

        def change() -> None:
            with transactions.transaction() as tx:
                pay(tx, "a")
                tx.execute("CREATE TABLE half_done (number INTEGER)")
                pending.append(tx.append(ACCOUNT, new_events(1), expected_version=0))
                raise error

        with nothing_changes(store), pytest.raises(error if isinstance(error, type) else type(error)):
            change()

        assert payments(transactions) == []
        with pytest.raises(StorageError):
            _ = pending[0].result
        with transactions.transaction() as tx:
            tx.execute("CREATE TABLE half_done (number INTEGER)")

    @pytest.mark.parametrize("expected", [NO_STREAM, 1, 3, STREAM_EXISTS])
    def test_a_wrong_version_undoes_everything(
        self, transactions: TransactionalStore, store: EventStore, expected: ExpectedVersion
    ) -> None:
        actual = 0 if expected is STREAM_EXISTS else 2
        if actual:
            store.append(OTHER, new_events(actual), expected_version=0)
        pending: list[PendingAppend] = []

        def change() -> None:
            with transactions.transaction() as tx:
                pay(tx, "a")
                pending.append(tx.append(ACCOUNT, new_events(1), expected_version=0))
                pending.append(tx.append(OTHER, new_events(1), expected_version=expected))

        with nothing_changes(store), pytest.raises(ConcurrencyError) as raised:
            change()

        assert (raised.value.stream, raised.value.expected, raised.value.actual) == (OTHER, expected, actual)
        assert payments(transactions) == []
        for append in pending:
            with pytest.raises(StorageError):
                _ = append.result
        assert len(pending) == 2

    def test_a_duplicate_undoes_everything(self, transactions: TransactionalStore, store: EventStore) -> None:
        taken = new_event()
        store.append(OTHER, [taken], expected_version=0)

        appends = [StreamAppend(ACCOUNT, new_events(1), 0), StreamAppend(OTHER, [new_event(), taken], ANY_VERSION)]
        with nothing_changes(store), pytest.raises(DuplicateEvent) as raised:
            write(transactions, "a", *appends)

        assert (raised.value.stream, raised.value.event_id) == (OTHER, taken.event_id)
        assert payments(transactions) == []

    def test_a_wrong_statement_undoes_everything(self, transactions: TransactionalStore, store: EventStore) -> None:
        def change() -> None:
            with transactions.transaction() as tx:
                pay(tx, "a")
                tx.append(ACCOUNT, new_events(1), expected_version=0)
                pay(tx, "a")

        with nothing_changes(store), pytest.raises(ConstraintViolated):
            change()

        assert payments(transactions) == []

    @pytest.mark.parametrize("amount", [0, None])
    def test_a_constraint_of_a_table_says_that_it_was_violated(
        self, transactions: TransactionalStore, store: EventStore, amount: int | None
    ) -> None:
        with transactions.transaction() as tx:
            tx.execute("CREATE TABLE refunds (amount BIGINT NOT NULL CHECK (amount > 0))")

        def refund() -> None:
            with transactions.transaction() as tx:
                tx.append(ACCOUNT, new_events(1), expected_version=0)
                tx.execute("INSERT INTO refunds VALUES (:amount)", {"amount": amount})

        with nothing_changes(store), pytest.raises(ConstraintViolated):
            refund()

    # What comes again

    @pytest.mark.parametrize("expected", [NO_STREAM, 7, ANY_VERSION])
    def test_a_block_that_comes_again_changes_nothing_and_gets_the_first_results(
        self, transactions: TransactionalStore, store: EventStore, expected: ExpectedVersion
    ) -> None:
        events = {stream: new_events(2) for stream in (ACCOUNT, OTHER)}

        def deposit(expected: ExpectedVersion) -> list[AppendResult]:
            with transactions.transaction() as tx:
                tx.execute(ADD, {"reference": "a", "amount": 5})
                pending = [tx.append(stream, events[stream], expected_version=expected) for stream in events]
            return [append.result for append in pending]

        with transactions.transaction() as tx:
            pay(tx, "a", 0)
        first = deposit(NO_STREAM)
        store.append(ACCOUNT, new_events(1), expected_version=2)

        with nothing_changes(store):
            again = deposit(expected)

        assert again == first
        assert [result.events for result in again] == [result.events for result in first]
        assert payments(transactions) == [("a", 5)]

    def test_a_part_of_a_block_that_comes_again_is_refused(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        here, there = new_events(2), new_events(2)
        write(transactions, "a", StreamAppend(ACCOUNT, here, 0), StreamAppend(OTHER, there, 0))

        with nothing_changes(store):
            for part in (here, here[:1], [*here, new_event()]):
                with pytest.raises(DuplicateEvent):
                    write(transactions, "b", StreamAppend(ACCOUNT, part, ANY_VERSION))

        assert payments(transactions) == [("a", 1)]

    # What is refused

    @pytest.mark.parametrize(
        ("error", "arguments"),
        [
            (ValueError, (ACCOUNT, new_events(0), 0)),
            (ValueError, (ACCOUNT, new_events(1), -1)),
            (ValueError, (ACCOUNT, new_events(1), True)),
            (ValueError, (ACCOUNT, new_events(1), None)),
            (ValueError, (ACCOUNT, [NewEvent("A", "{}", metadata=Metadata(actor="\ud800"))], 0)),
            (TypeError, ("Account-1", new_events(1), 0)),
            (TypeError, (ACCOUNT, ["an event"], 0)),
            (TypeError, (ACCOUNT, new_event(), 0)),
            (DuplicateEvent, (ACCOUNT, [new_event()] * 2, 0)),
        ],
        ids=["empty", "negative", "bool", "none", "metadata", "stream", "event", "one", "twice"],
    )
    def test_what_makes_no_sense_is_refused_at_once_and_the_transaction_goes_on(
        self,
        transactions: TransactionalStore,
        store: EventStore,
        error: type[Exception],
        arguments: tuple[Any, Sequence[NewEvent], Any],
    ) -> None:
        stream, events, expected = arguments
        with transactions.transaction() as tx:
            with pytest.raises(error):
                tx.append(stream, events, expected_version=expected)
            pay(tx, "a")
            pending = tx.append(ACCOUNT, new_events(2), expected_version=0)

        assert list(pending.result.events) == list(store.read_all())
        assert len(pending.result.events) == 2
        assert payments(transactions) == [("a", 1)]

    def test_a_stream_named_twice_in_one_transaction_is_refused(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        with transactions.transaction() as tx:
            tx.append(ACCOUNT, new_events(1), expected_version=0)
            tx.append(OTHER, new_events(1), expected_version=0)
            with pytest.raises(ValueError, match="twice"):
                tx.append(ACCOUNT, new_events(1), expected_version=1)

        assert (store.version(ACCOUNT), store.version(OTHER)) == (1, 1)

    @pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "BEGIN", "SAVEPOINT a", "/* all done */ commit;"])
    def test_a_statement_that_controls_transactions_is_refused_in_one(
        self, transactions: TransactionalStore, store: EventStore, sql: str
    ) -> None:
        def change() -> None:
            with transactions.transaction() as tx:
                pay(tx, "a")
                tx.append(ACCOUNT, new_events(1), expected_version=0)
                with pytest.raises((ValueError, StorageError)):
                    tx.execute(sql)
                with pytest.raises((ValueError, StorageError)):
                    tx.executemany(sql, [{}])
                raise Stop

        with nothing_changes(store), pytest.raises(Stop):
            change()

        assert payments(transactions) == []

    def test_inside_the_block_there_is_no_other_way_to_write(
        self, transactions: TransactionalStore, store: EventStore
    ) -> None:
        def begin() -> None:
            with transactions.transaction():
                pass

        def begin_on_views() -> None:
            assert isinstance(store, ViewStore)
            with store.view_transaction():
                pass

        actions: list[Callable[[], object]] = [
            lambda: store.append(OTHER, [new_event()], expected_version=ANY_VERSION),
            lambda: store.append_many([StreamAppend(OTHER, [new_event()], ANY_VERSION)]),
            begin,
            store.close,
        ]
        if isinstance(store, ViewStore):
            actions.append(begin_on_views)

        def try_all() -> AppendResult:
            with transactions.transaction() as tx:
                pending = tx.append(ACCOUNT, new_events(1), expected_version=0)
                for action in actions:
                    with pytest.raises(StorageError) as raised:
                        action()
                    assert not isinstance(raised.value, StoreClosed)
                pay(tx, "a")
            return pending.result

        (result,) = in_threads([try_all])

        assert isinstance(result, AppendResult), result
        assert list(result.events) == list(store.read_all())
        assert payments(transactions) == [("a", 1)]

    @pytest.mark.parametrize("error", [None, RuntimeError])
    def test_a_transaction_that_has_ended_takes_nothing_more(
        self, transactions: TransactionalStore, store: EventStore, error: type[Exception] | None
    ) -> None:
        kept: list[StoreTransaction] = []

        def change() -> None:
            with transactions.transaction() as tx:
                kept.append(tx)
                if error is not None:
                    raise error

        if error is None:
            change()
        else:
            with pytest.raises(error):
                change()

        def use_it() -> None:
            (tx,) = kept
            with pytest.raises(StorageError):
                pay(tx, "a")
            with pytest.raises(StorageError):
                tx.append(ACCOUNT, new_events(1), expected_version=ANY_VERSION)

        with nothing_changes(store):
            use_it()
            with transactions.transaction():
                use_it()
        assert payments(transactions) == []

    def test_a_closed_store_has_no_transactions(self, transactions: TransactionalStore, store: EventStore) -> None:
        store.close()

        with pytest.raises(StoreClosed), transactions.transaction():
            pass
