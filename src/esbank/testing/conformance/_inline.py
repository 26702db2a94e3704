"""The optional capability of inline handlers: tables that change in the very transaction that appends events."""
# ruff: noqa: PLR2004, S101  # these are tests: literal expectations are the point, and pytest rewrites assert

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import pytest

from esbank.errors import ConcurrencyError, DuplicateEvent, StorageError, StoreClosed
from esbank.store import (
    ANY_VERSION,
    AppendResult,
    AppendTransaction,
    EventStore,
    InlineHandler,
    SqlValue,
    StoredEvent,
    StreamAppend,
    TransactionalStore,
    ViewStore,
)
from esbank.testing.conformance._given import ACCOUNT, OTHER, in_threads, new_event, new_events, nothing_changes

__all__ = ["InlineHandlers"]

EVENTS: Final = "SELECT position, stream, data FROM inline_events ORDER BY position"


class Stop(BaseException):
    """Something that is no ``Exception``, like an interrupt."""


class Log:
    """Writes down each event in a table, and calls `then` afterwards, inside the transaction."""

    def __init__(self, then: Callable[[AppendTransaction, Sequence[StoredEvent]], object] | None = None) -> None:
        self.then = then
        self.calls: list[tuple[StoredEvent, ...]] = []

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
        if not events:
            tx.execute("CREATE TABLE IF NOT EXISTS inline_events (position BIGINT, stream TEXT, data TEXT)")
        for event in events:
            row: dict[str, SqlValue] = {"position": event.position, "stream": str(event.stream), "data": event.data}
            tx.execute("INSERT INTO inline_events VALUES (:position, :stream, :data)", row)
        self.calls.append(tuple(events))
        if self.then is not None:
            self.then(tx, events)


def written(store: EventStore) -> list[tuple[int, str, str]]:
    """Return what a `Log` has written, and check that it is what the store holds."""
    assert isinstance(store, ViewStore)
    rows = store.query(EVENTS)
    assert rows == [(event.position, str(event.stream), event.data) for event in store.read_all()]
    return rows


class Failing:
    """Fails as it is told to."""

    error: BaseException | None = None

    def on_append(self, _: AppendTransaction, __: Sequence[StoredEvent], /) -> None:
        if self.error is not None:
            raise self.error


class InlineHandlers:
    """``InlineHandler``, for stores that take some."""

    has_inline: ClassVar[bool] = False
    has_transactions: ClassVar[bool] = True

    def open_inline(self, folder: Path, *handlers: InlineHandler) -> AbstractContextManager[EventStore]:
        """Open a store with inline handlers; each time the same one, if it outlives its closing."""
        raise NotImplementedError(f"say how to open a store with {handlers} in {folder}, or has_inline = False")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Give a folder for a store with inline handlers, if there is such a store."""
        if not self.has_inline:
            pytest.skip("this store takes no inline handlers")
        return tmp_path

    def test_an_append_and_what_a_handler_makes_of_it_are_there_together(self, folder: Path) -> None:
        with self.open_inline(folder, Log()) as store:
            assert written(store) == []
            for number in range(3):
                store.append(ACCOUNT, new_events(number + 1), expected_version=ANY_VERSION)
                assert len(written(store)) == store.count()
            store.append_many([StreamAppend(stream, new_events(2), ANY_VERSION) for stream in (OTHER, ACCOUNT)])

            assert len(written(store)) == 10

    def test_a_handler_is_called_when_the_store_is_opened_and_once_for_each_append(self, folder: Path) -> None:
        log = Log()
        with self.open_inline(folder, log) as store:
            assert log.calls == [()]
            one = store.append(ACCOUNT, new_events(2), expected_version=0)
            many = store.append_many([StreamAppend(stream, new_events(1), ANY_VERSION) for stream in (OTHER, ACCOUNT)])

            assert log.calls == [(), one.events, tuple(event for result in many for event in result.events)]

    def test_handlers_are_called_in_turn_in_one_transaction(self, folder: Path) -> None:
        seen: list[int] = []

        class Second:
            def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
                ((count,),) = tx.execute("SELECT count(*) FROM inline_events")
                seen.append(count)
                assert len(events) <= count

        with self.open_inline(folder, Log(), Second()) as store:
            store.append(ACCOUNT, new_events(2), expected_version=0)
            store.append(ACCOUNT, new_events(1), expected_version=2)

        assert seen == [0, 2, 3]

    @pytest.mark.parametrize(
        "error", [LookupError("no"), Stop(), StorageError("it", "no"), ConcurrencyError(OTHER, 1, 2)]
    )
    def test_a_handler_that_fails_undoes_the_append(self, folder: Path, error: BaseException) -> None:
        first, second = Log(), Failing()
        events = new_events(2)
        with self.open_inline(folder, first, second) as store:
            store.append(ACCOUNT, new_events(1), expected_version=0)
            second.error = error
            with nothing_changes(store):
                with pytest.raises(type(error)) as raised:
                    store.append(ACCOUNT, events, expected_version=1)
                with pytest.raises(type(error)):
                    store.append_many([StreamAppend(OTHER, events, 0), StreamAppend(ACCOUNT, new_events(1), 1)])
                assert len(written(store)) == 1
            assert raised.value is error

            second.error = None
            assert store.append(ACCOUNT, events, expected_version=1).version == 3
            assert len(written(store)) == 3

    def test_what_is_not_appended_is_not_handled(self, folder: Path) -> None:
        log = Log()
        with self.open_inline(folder, log) as store:
            events = new_events(2)
            first = store.append(ACCOUNT, events, expected_version=0)
            for expected in (0, ANY_VERSION):
                assert store.append(ACCOUNT, events, expected_version=expected) == first
            with pytest.raises(ConcurrencyError):
                store.append(ACCOUNT, new_events(1), expected_version=7)
            with pytest.raises(DuplicateEvent):
                store.append(ACCOUNT, [*events, new_event()], expected_version=2)
            with pytest.raises(ValueError, match="no events"):
                store.append(ACCOUNT, [], expected_version=2)

            assert log.calls == [(), first.events]
            assert len(written(store)) == 2

    def test_a_handler_reads_what_was_committed_before(self, folder: Path) -> None:
        seen: list[tuple[int | None, int, int, list[int], bool]] = []

        def look(tx: AppendTransaction, events: Sequence[StoredEvent]) -> None:
            store = tx.store
            head = store.head()
            there = [event.position for event in store.read_all()]
            new = [event for event in events if store.find(event.stream, event.event_id) is not None]
            assert new == []
            seen.append((head, store.version(ACCOUNT), store.count(), there, store.wait(after=head, timeout=0)))

        with self.open_inline(folder, Log(look)) as store:
            one = store.append(ACCOUNT, new_events(1), expected_version=0).position
            store.append(ACCOUNT, new_events(1), expected_version=1)

        assert seen == [(None, 0, 0, [], False), (None, 0, 0, [], False), (one, 1, 1, [one], False)]

    def test_a_handler_neither_appends_nor_begins_a_transaction_nor_closes_the_store(self, folder: Path) -> None:
        refused: list[Exception] = []

        def begin(store: EventStore) -> None:
            assert isinstance(store, ViewStore)
            with store.view_transaction():
                pass

        def try_all(tx: AppendTransaction, _: Sequence[StoredEvent]) -> None:
            actions: list[Callable[[], object]] = [
                lambda: tx.store.append(OTHER, [new_event()], expected_version=ANY_VERSION),
                lambda: tx.store.append_many([StreamAppend(OTHER, [new_event()], ANY_VERSION)]),
                partial(begin, tx.store),
                tx.store.close,
            ]
            for action in actions:
                with pytest.raises(StorageError) as raised:
                    action()
                refused.append(raised.value)
            with pytest.raises(ValueError, match="COMMIT"):
                tx.execute("COMMIT")

        with self.open_inline(folder, Log(try_all)) as store:
            store.append(ACCOUNT, new_events(1), expected_version=0)

            assert len(written(store)) == 1
        assert len(refused) == 8
        assert not any(isinstance(error, StoreClosed) for error in refused)

    def test_a_handler_takes_the_appends_of_a_transaction_all_at_once_and_no_repeat(self, folder: Path) -> None:
        if not self.has_transactions:
            pytest.skip("this store has no transactions for the caller's own tables")
        log = Log()
        events = {stream: new_events(2) for stream in (OTHER, ACCOUNT)}
        with self.open_inline(folder, log) as store:
            assert isinstance(store, TransactionalStore)
            for _ in range(2):
                with store.transaction() as tx:
                    for stream, given in events.items():
                        tx.append(stream, given, expected_version=0)
            with store.transaction() as tx:
                tx.execute("DELETE FROM inline_events WHERE position < 0")

            assert log.calls == [(), tuple(store.read_all())]
            assert len(written(store)) == 4

    def test_a_handler_that_fails_undoes_a_transaction(self, folder: Path) -> None:
        if not self.has_transactions:
            pytest.skip("this store has no transactions for the caller's own tables")
        failing = Failing()
        with self.open_inline(folder, Log(), failing) as store:
            assert isinstance(store, TransactionalStore)
            failing.error = LookupError("no")

            def change(store: TransactionalStore) -> None:
                with store.transaction() as tx:
                    tx.execute("CREATE TABLE payments (reference TEXT)")
                    tx.append(ACCOUNT, new_events(1), expected_version=0)

            with nothing_changes(store), pytest.raises(LookupError):
                change(store)
            failing.error = None
            change(store)

            assert len(written(store)) == 1

    def test_the_ended_transaction_of_an_append_takes_no_more_statements(self, folder: Path) -> None:
        kept: list[AppendTransaction] = []

        with self.open_inline(folder, Log(lambda tx, _: kept.append(tx))) as store:
            store.append(ACCOUNT, new_events(1), expected_version=0)
            for tx in kept:
                with pytest.raises(StorageError, match="ended"):
                    tx.execute("DELETE FROM inline_events")

            assert len(written(store)) == 1
        assert len(kept) == 2

    def test_a_handler_cannot_change_what_is_told_of_the_append(self, folder: Path) -> None:
        def change(_: AppendTransaction, events: Sequence[StoredEvent]) -> None:
            assert isinstance(events, tuple)

        with self.open_inline(folder, Log(change)) as store:
            assert len(store.append(ACCOUNT, new_events(2), expected_version=0).events) == 2

    def test_a_handler_that_fails_at_the_beginning_lets_no_store_open(self, folder: Path) -> None:
        def refuse(_: AppendTransaction, __: Sequence[StoredEvent]) -> None:
            raise LookupError

        with pytest.raises(LookupError):
            self.open_inline(folder, Log(refuse))

        with self.open_inline(folder, Log()) as store:
            store.append(ACCOUNT, new_events(1), expected_version=0)
            assert len(written(store)) == 1

    @pytest.mark.parametrize("handlers", [[Log], ["a handler"], [None]], ids=["class", "text", "none"])
    def test_what_takes_no_appends_is_no_handler(self, folder: Path, handlers: list[InlineHandler]) -> None:
        with pytest.raises(TypeError, match="on_append"):
            self.open_inline(folder, *handlers)

    def test_threads_that_append_and_read_do_not_block_each_other(self, folder: Path) -> None:
        done = threading.Event()

        def append() -> None:
            for _ in range(25):
                store.append(ACCOUNT, new_events(2), expected_version=ANY_VERSION)

        def append_all() -> None:
            try:
                assert in_threads([append] * 4) == [None] * 4
            finally:
                done.set()

        def look_inside() -> None:
            assert isinstance(store, ViewStore)
            while not done.is_set():
                with store.view_transaction() as tx:
                    there = [(event.position, str(event.stream), event.data) for event in store.read_all()]
                    assert tx.execute(EVENTS) == there
                    assert store.count() == store.version(ACCOUNT) == len(there)

        def look_outside() -> None:
            assert isinstance(store, ViewStore)
            while not done.is_set():
                count = store.count()
                assert len(store.query(EVENTS)) >= count

        with self.open_inline(folder, Log(lambda tx, _: list(tx.store.read_all()))) as store:
            assert in_threads([append_all, look_inside, look_outside, look_outside]) == [None] * 4
            assert len(written(store)) == 200

    def test_who_waits_for_an_event_finds_what_the_handler_made_of_it(self, folder: Path) -> None:
        def follow() -> None:
            assert isinstance(store, ViewStore)
            with store.subscribe() as subscription:
                for count in range(1, 51):
                    position = next(subscription).position
                    rows = store.query(EVENTS)
                    assert position in [row[0] for row in rows]
                    assert len(rows) >= count

        def append() -> None:
            for _ in range(50):
                store.append(ACCOUNT, new_events(1), expected_version=ANY_VERSION)

        with self.open_inline(folder, Log()) as store:
            assert in_threads([append, follow, follow]) == [None] * 3

    def test_many_who_repeat_the_same_append_have_it_handled_once(self, folder: Path) -> None:
        events = new_events(3)
        with self.open_inline(folder, Log()) as store:
            outcomes = in_threads([partial(store.append, ACCOUNT, events, expected_version=0)] * 8)

            assert isinstance(outcomes[0], AppendResult)
            assert outcomes == [outcomes[0]] * 8
            assert len(written(store)) == 3
