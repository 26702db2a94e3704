"""Stores whose optional capabilities are broken: snapshots, views, claims, transactions, inline handlers, copies."""
# ruff: noqa: ANN401  # what is passed on as it came

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Literal

from attrs import evolve
from broken_stores import A_MOMENT, Appends, Conditions, Events, Results, caught_by
from msgspec.structs import replace

from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.errors import AlreadyRunning, StreamNotFound
from esbank.store import (
    AppendResult,
    AppendTransaction,
    ExpectedVersion,
    InlineHandler,
    PendingAppend,
    Rows,
    Snapshot,
    SqlValue,
    StoredEvent,
    StreamAppend,
    StreamId,
    Transaction,
)

Parameters = Mapping[str, SqlValue]

# Snapshots


@caught_by("test_a_snapshot_takes_the_place_of_the_one_before")
class KeepsTheFirstSnapshot(MemoryEventStore):
    """A snapshot is never replaced."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        if self.load_snapshot(snapshot.stream) is None:
            super().save_snapshot(snapshot)


@caught_by("test_a_snapshot_takes_the_place_of_the_one_before")
class KeepsTheNewestSnapshot(MemoryEventStore):
    """A snapshot of an earlier version does not replace one that may be damaged."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        known = self.load_snapshot(snapshot.stream)
        if known is None or known.version <= snapshot.version:
            super().save_snapshot(snapshot)


@caught_by("test_each_stream_has_its_own_snapshot", "test_a_stream_without_a_snapshot_has_none")
class KeepsOneSnapshotForACategory(MemoryEventStore):
    """The streams of a category share a snapshot."""

    def load_snapshot(self, stream: StreamId) -> Snapshot | None:
        found = [known for known in self._snapshots.values() if known.stream.category == stream.category]
        return found[-1] if found else None


@caught_by("test_a_snapshot_of_an_absent_stream_is_refused")
class KeepsSnapshotsOfNothing(MemoryEventStore):
    """A stream that does not exist can have a snapshot."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        try:
            super().save_snapshot(snapshot)
        except StreamNotFound:
            self._snapshots[snapshot.stream] = snapshot


@caught_by("test_a_snapshot_comes_back_as_it_was_saved")
class TakesASnapshotForNew(MemoryEventStore):
    """A snapshot is given the id of the stream's last event, whatever its version."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        last = next(self.read(snapshot.stream, backwards=True, limit=1), None)
        super().save_snapshot(evolve(snapshot, event_id=last.event_id) if last else snapshot)


# Views


class Passing:
    """Passes statements on, to be made worse by whoever inherits from it."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, store: MemoryEventStore) -> None:
        self.begin = store._views.view_transaction  # noqa: SLF001
        self.late: list[tuple[str, Parameters]] = []

    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        raise NotImplementedError

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> None:
        for each in parameters:
            self.execute(sql, each)

    def commit_late(self) -> None:
        if self.late:
            with self.begin() as tx:
                for sql, parameters in self.late:
                    tx.execute(sql, parameters)


class Autocommit(Passing):
    """Commits each statement."""

    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        with self.begin() as tx:
            return tx.execute(sql, parameters or {})


@caught_by(
    "test_a_transaction_is_rolled_back_when_its_block_raises",
    "test_an_event_that_fails_leaves_no_trace_in_the_view",
)
class CommitsEachStatement(MemoryEventStore):
    """Each statement of a transaction commits by itself."""

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        yield Autocommit(self)


class Optimist(Passing):
    """Reads at once, and writes when it commits."""

    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        if sql.lstrip().startswith(("INSERT", "UPDATE")):
            self.late.append((sql, parameters or {}))
            return []
        with self.begin() as tx:
            return tx.execute(sql, parameters or {})


@caught_by(
    "test_a_transaction_excludes_every_other_writer",
    "test_each_event_takes_effect_once_however_many_runners_there_are",
)
class ReadsBeforeItLocks(MemoryEventStore):
    """What a transaction reads may have changed when it writes, so that a fence holds nobody off."""

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        transaction = Optimist(self)
        yield transaction
        time.sleep(A_MOMENT / 5)
        transaction.commit_late()


class Checkpointing(Passing):
    """Writes the checkpoint of a projector when it commits, and all else at once."""

    def __init__(self, store: MemoryEventStore, tx: Transaction) -> None:
        super().__init__(store)
        self.tx = tx

    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        if "UPDATE esbank_checkpoints" in sql:
            self.late.append((sql, parameters or {}))
            return []
        return self.tx.execute(sql, parameters or {})


@caught_by("test_a_view_is_never_seen_without_its_checkpoint")
class CommitsTheCheckpointAfterTheView(MemoryEventStore):
    """A view and its checkpoint are committed in two transactions."""

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        with super().view_transaction() as tx:
            transaction = Checkpointing(self, tx)
            yield transaction
        time.sleep(A_MOMENT / 5)
        transaction.commit_late()


class Rounding(Passing):
    """Rounds floats."""

    def __init__(self, store: MemoryEventStore, tx: Transaction) -> None:
        super().__init__(store)
        self.tx = tx

    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        rounded = {
            name: round(value, 6) if isinstance(value, float) else value for name, value in (parameters or {}).items()
        }
        return self.tx.execute(sql, rounded)


@caught_by("test_floats_and_bytes_are_kept")
class RoundsFloats(MemoryEventStore):
    """A float is rounded on its way into a view."""

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        with super().view_transaction() as tx:
            yield Rounding(self, tx)


@caught_by("test_a_query_changes_nothing")
class ChangesByQueries(SQLiteEventStore):
    """A query may write."""

    def query(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        with self.view_transaction() as tx:
            return tx.execute(sql, parameters or {})


@caught_by("test_a_query_sees_only_what_is_committed", "test_a_query_waits_for_no_writer")
class ShowsWhatIsNotCommitted(SQLiteEventStore):
    """A query sees what an open transaction has done."""

    open: Transaction | None = None

    @contextmanager
    def view_transaction(self) -> Generator[Transaction]:
        with super().view_transaction() as tx:
            self.open = tx
            yield tx
            self.open = None

    def query(self, sql: str, parameters: Parameters | None = None, /) -> Rows:
        if self.open is None:
            return super().query(sql, parameters or {})
        return self.open.execute(sql, parameters or {})


@caught_by(
    "test_a_name_that_is_held_is_refused_to_everybody_else", "test_of_many_who_want_a_name_one_at_a_time_holds_it"
)
class LetsEverybodyHoldAName(MemoryEventStore):
    """A name can be held by several."""

    def claim(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()


@caught_by("test_a_name_is_free_again_when_its_block_raises")
class HoldsANameForEver(MemoryEventStore):
    """A name whose holder has failed is never free again."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()

    @contextmanager
    def claim(self, name: str) -> Generator[None]:
        if name in self.held:
            raise AlreadyRunning(name)
        self.held.add(name)
        yield
        self.held.remove(name)


@caught_by("test_names_are_held_one_by_one_to_the_letter")
class CutsTheNamesItHolds(MemoryEventStore):
    """Long names that begin alike are one."""

    def claim(self, name: str) -> AbstractContextManager[None]:
        return super().claim(name[:255])


# Transactions


class Collecting:
    """A transaction that collects appends for whenever its store thinks best."""

    def __init__(self, tx: Transaction) -> None:
        self.execute = tx.execute
        self.executemany = tx.executemany
        self.dialect = tx.dialect
        self.appends: list[StreamAppend] = []
        self.pending: list[PendingAppend] = []

    def append(self, stream: StreamId, events: Events, *, expected_version: ExpectedVersion) -> PendingAppend:
        self.appends.append(StreamAppend(stream, tuple(events), expected_version))
        self.pending.append(PendingAppend(stream, "a broken store"))
        return self.pending[-1]

    def resolve(self, results: Iterable[AppendResult]) -> None:
        for pending, result in zip(self.pending, results, strict=True):
            pending.resolve(result)


@caught_by(
    "test_a_wrong_version_undoes_everything",
    "test_a_duplicate_undoes_everything",
    "test_who_reads_sees_neither_a_row_without_its_event_nor_an_event_without_its_row",
)
class CommitsRowsBeforeEvents(MemoryEventStore):
    """Rows are committed before the events that came with them."""

    @contextmanager
    def transaction(self) -> Generator[Collecting]:
        with self.view_transaction() as tx:
            transaction = Collecting(tx)
            yield transaction
        if transaction.appends:
            time.sleep(A_MOMENT / 5)
            transaction.resolve(self.append_many(transaction.appends))


@caught_by(
    "test_a_block_that_comes_again_changes_nothing_and_gets_the_first_results",
    "test_a_block_that_many_repeat_takes_effect_once",
)
class CommitsTheStatementsOfARepeat(MemoryEventStore):
    """The statements of a transaction that comes again take effect again."""

    def _append(self, connection: Any, appends: Any, *rest: Any) -> tuple[AppendResult, ...]:
        first = self._find_repeat(appends)
        if first is None or connection is None:
            return super()._append(connection, appends, *rest)
        self._views.commit(connection)
        return first


@caught_by("test_who_decides_in_an_exclusive_transaction_is_never_too_late")
class ExcludesOnlyTransactions(SQLiteEventStore):
    """An exclusive transaction excludes other transactions, and lets appends through."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.exclusive = threading.Lock()

    @contextmanager
    def exclusive_transaction(self) -> Generator[Collecting]:
        with self.exclusive:
            with super().transaction() as tx:
                transaction = Collecting(tx)
            yield transaction
            transaction.resolve(self.append_many(transaction.appends))


# Inline handlers


@caught_by("test_a_handler_that_fails_undoes_the_append", "test_what_is_not_appended_is_not_handled")
class TellsInlineHandlersTooLate(MemoryEventStore):
    """An inline handler is told after the commit."""

    def __init__(self, *, inline: Sequence[InlineHandler] = ()) -> None:
        super().__init__()
        self.handlers = inline
        self.tell(())

    def append_many(self, appends: Appends, *, conditions: Conditions = ()) -> Results:
        results = super().append_many(appends, conditions=conditions)
        self.tell([event for result in results for event in result.events])
        return results

    def tell(self, events: Sequence[StoredEvent]) -> None:
        if self.handlers:
            with self.view_transaction() as tx:
                for handler in self.handlers:
                    handler.on_append(tx, events)


class Quiet:
    """An inline handler that keeps the failures of another one to itself."""

    def __init__(self, handler: InlineHandler) -> None:
        self.handler = handler

    def on_append(self, tx: AppendTransaction, events: Sequence[StoredEvent], /) -> None:
        with suppress(BaseException) if events else nullcontext():
            self.handler.on_append(tx, events)


@caught_by("test_a_handler_that_fails_undoes_the_append")
class SwallowsTheFailuresOfHandlers(MemoryEventStore):
    """An inline handler that fails undoes nothing."""

    def __init__(self, *, inline: Sequence[InlineHandler] = ()) -> None:
        super().__init__(inline=[Quiet(handler) for handler in inline])


# Copies


@caught_by("test_events_stay_as_they_are", "test_a_log_with_gaps_is_read_as_any_other")
class RenumbersWhatItImports(MemoryEventStore):
    """Events that are imported are given other positions."""

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        position = self.head() or 0
        renumbered: list[list[StoredEvent]] = []
        for append in appends:
            renumbered.append([replace(event, position=position + place) for place, event in enumerate(append, 1)])
            position += len(append)
        return super().import_events(renumbered)


@caught_by("test_what_was_appended_together_is_read_together", "test_a_long_log_is_read_whole_wherever_its_appends_end")
class GivesItsLogEventByEvent(MemoryEventStore):
    """What was appended together is given away event by event."""

    def read_appends(self, *, after: int | None = None) -> Iterator[tuple[StoredEvent, ...]]:
        return ((event,) for append in super().read_appends(after=after) for event in append)


@caught_by(
    "test_an_event_that_does_not_go_on_is_refused_with_all_that_came_with_it",
    "test_a_source_that_fails_leaves_nothing_behind",
)
class ImportsInParts(MemoryEventStore):
    """Of an import that fails, what came before stays."""

    def import_events(self, appends: Iterable[Sequence[StoredEvent]]) -> int:
        return sum(super(ImportsInParts, self).import_events([append]) for append in appends)
